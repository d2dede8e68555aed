"""`sweep`: learning rates by validation, then several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodecorr.cli.errors import WRITTEN
from neurodecorr.cli.progress import progress_bar

FILES = ("grid.csv", "table.csv", "curves.svg", "curves.png")
EPILOG = """\b
A sweep file:
  schema = 1
  model = "digits"                        # or the path of a model file, from the sweep file on
  credit = ["bp", "fa"]                   # default: bp, fa, dfa, np
  decorrelation = ["none", "feedforward"]
  rates = [1e-2, 1e-3, 1e-4]              # of W; default 1e-2 … 1e-7
  decorrelation_rates = [1e-2, 1e-3]      # of M or R
  validation = 300                        # training samples held out while rates are chosen
  epochs = 10                             # default: those of the model
  select = "validation accuracy"          # or "validation loss", of the last epoch
  seeds = [0, 1, 2, 3, 4]                 # of the final runs; the first one also of the grid

\b
Into the folder go cells/ (one run each; finished ones are not repeated, begun ones go on),
grid.csv, table.csv, curves.svg and curves.png (mean, and lowest to highest seed).

\b
On a cluster, whose workers see the same folders and have the same versions:
  dask worker tcp://host:8786 --nthreads 1
  neurodecorr sweep mine.toml --scheduler tcp://host:8786
"""


@click.command(epilog=EPILOG, short_help="Choose learning rates by validation, then train several seeds.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", metavar="PATH", help="Folder or file of the data; overrides that of the file.")
@click.option("--jobs", type=int, default=1, help="Processes to use; the numbers do not depend on it.")
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler, tcp://host:8786, instead of processes here.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write to.")
@click.option("--overwrite", is_flag=True, help="Replace the tables of another sweep; its cells stay.")
@click.option("--quiet", is_flag=True, help="Print the path of the table only.")
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    file: Path,
    data: str | None,
    jobs: int,
    scheduler: str | None,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Run the sweep that FILE describes. Interrupted, it goes on where it was."""
    from neurodecorr.experiments.sweep import load_sweep, run_sweep, sweep_grid, sweep_settings, write_csv
    from neurodecorr.io.atomic import require_writable
    from neurodecorr.io.claims import claim
    from neurodecorr.plots import save
    from neurodecorr.plots.training import envelopes

    description = load_sweep(file)
    if data is not None:
        own = Path(data).expanduser()
        place = str(own.absolute()) if own.exists() else data
        description = description.model_copy(update={"data": place})
    folder = out or Path("results") / f"sweep-{file.stem}"
    require_writable(folder)
    ctx.meta[WRITTEN] = f"what is finished is in {folder / 'cells'}; the same command goes on"
    grid = sweep_grid(description)
    held = claim(folder, "sweep", sweep_settings(description, grid), makes=FILES, overwrite=overwrite)
    if not held.done:
        held.begin()
    elif not quiet:
        click.echo(f"{folder} holds this sweep already, finished; what is there is not done again.", err=True)
    with progress_bar(quiet) as progress:
        found = run_sweep(description, folder, jobs=jobs, scheduler=scheduler, progress=progress, grid=grid)
    table: list[dict[str, Any]] = found.table()
    if not held.done:
        written = [write_csv(folder / "grid.csv", found.grid), write_csv(folder / "table.csv", table)]
        curves = {curve: [h.epochs["test accuracy"] for h in runs] for curve, runs in found.finals.items() if runs}
        if curves:
            written += save(envelopes(curves), folder, "curves")
        held.finish(written)
    if not quiet:
        for row in table:
            click.echo(_line(row))
        click.echo()
    click.echo(folder / "table.csv")


def _line(row: dict[str, Any]) -> str:
    """Return what became of a curve."""
    curve = f"{row['curve']:<16}"
    if row["rate"] is None:
        return f"{curve} every rate diverged"
    second = "" if row["decorrelation rate"] is None else f", {row['decorrelation rate']:g}"
    lost = f"; {row['diverged']} of {row['seeds']} seeds diverged" if row["diverged"] else ""
    if row["diverged"] == row["seeds"]:
        return f"{curve} rate {row['rate']:g}{second}{lost}"
    span = f"{row['last']:.2%} ({row['lowest']:.2%} … {row['highest']:.2%})"
    return f"{curve} rate {row['rate']:g}{second}: test accuracy {span}{lost}"
