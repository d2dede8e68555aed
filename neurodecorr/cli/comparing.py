"""`compare` and `report`: run the comparison, and draw it again."""

from __future__ import annotations

import dataclasses
import importlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurodecorr.cli.manners import WRITTEN, Choice

if TYPE_CHECKING:
    from neurodecorr.data import Dataset
    from neurodecorr.workbench import Comparison

__all__ = ["compare", "report"]

RULES = ("explicit", "local", "congruent")
HELD_OUT = 4  # held-out samples per sample of the stream, where they can be had
# Options that decide the numbers, in the order in which the report repeats them.
DECIDING = (
    "data",
    "rule",
    "rate",
    "schedule",
    "gain",
    "limit",
    "samples",
    "size",
    "batch",
    "seed",
    "mismatch",
    "draws",
)
EPILOG = """\b
Examples:
  neurodecorr compare
  neurodecorr compare --data gaussian --rate 1e-2 --schedule constant
  neurodecorr compare --data photos/ --size 12 --rule local --rule congruent
  neurodecorr compare --data activity.npy --mismatch 1,2,5,10,20 --draws 50 --out results/mine

\b
Into the folder go report.html, every figure as SVG and PNG, result.npz (all matrices and
numbers), traces.h5 (learning curves) and manifest.json (options, versions, checksums).
"""


class Percentages(click.ParamType):  # type: ignore[type-arg]  # generic only in recent versions of click
    """Percentages separated by commas, as fractions."""

    name = "%,%,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return 0.01, 0.05 for "1,5"."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip().removesuffix("%").strip() for part in str(value).split(",")]
        try:
            return tuple(float(part) / 100 for part in parts)
        except ValueError:
            self.fail(f"{value!r} is not a list of percentages such as 1,5,10.", param, ctx)


class Limit(click.ParamType):  # type: ignore[type-arg]
    """A number, or "none"."""

    name = "number|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Return 0.1 for "0.1" and None for "none"."""
        if value is None or str(value).strip().lower() == "none":
            return None
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'none'.", param, ctx)


@click.command(epilog=EPILOG, short_help="Run the comparison and write its report.")
@click.option(
    "--data",
    default="natural",
    metavar="NAME|PATH",
    help="What to decorrelate: natural (patches of photographs), gaussian, digits, a folder of images, a PNG or JPEG, "
    "a .npy or .npz file with a table (samples × features) or images.",
)
@click.option(
    "--rule",
    type=Choice([*RULES, "all"]),
    multiple=True,
    default=("all",),
    help="Learning rule; may be given several times. local: a synapse needs its own two signals only; congruent: "
    "stable by construction; explicit: the textbook inverse.",
)
@click.option("--rate", type=float, default=1e-3, help="Learning rate η, per unit of mean input power.")
@click.option(
    "--schedule", type=Choice(["decay", "constant"]), default="decay", help="How the rate falls while learning."
)
@click.option(
    "--gain", type=Choice(["node", "layer"]), default="node", help="Keep the power of each unit, or of the layer."
)
@click.option(
    "--limit",
    type=Limit(),
    default="0.1",
    help="Largest relative change of the weights in one step, or none.",
)
@click.option("--samples", type=int, default=20_000, help="Samples of the stream.")
@click.option("--size", type=int, default=8, help="Side of an image patch, in pixels; size² units. Also for gaussian.")
@click.option("--batch", type=int, default=1, help="Samples per update; 1 learns from each sample as it comes.")
@click.option("--seed", type=int, default=0, help="Seed of the samples and of the mismatch.")
@click.option(
    "--mismatch", type=Percentages(), default="1,5,10", help="Levels of synaptic mismatch, in % of each weight."
)
@click.option("--draws", type=int, default=20, help="Mismatched copies per level.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write to; made if missing.  [default: results/compare-<data>]",
)
@click.option("--jobs", type=int, default=1, help="Processes to use; the numbers do not depend on it.")
@click.option("--quiet", is_flag=True, help="Print the path of the report only.")
@click.pass_context
def compare(ctx: click.Context, /, out: Path | None, jobs: int, quiet: bool, **options: Any) -> None:
    """Decorrelate one stream by matrices M and by circuits R, and report how they differ.

    Every form sees the same samples in the same order and is judged on held-out samples: how well it decorrelates, how
    fast the circuit settles, whether it stays stable, what it costs, and what synaptic mismatch does to it. The closed
    form M* is the reference.
    """
    from neurodecorr.recording import require_writable
    from neurodecorr.workbench import compare as run

    data, seed = options["data"], options["seed"]
    folder = out or Path("results") / f"compare-{_short(data)}"
    require_writable(folder)
    # The figures' library loads beside the simulation, where there is a second processor.
    threading.Thread(target=importlib.import_module, args=("neurodecorr.plots",), daemon=True).start()
    stream, held_out = _inputs(data, options["samples"], seed, options["size"])
    found = run(
        stream,
        held_out,
        rules=_rules(options["rule"]),
        rate=options["rate"],
        schedule=options["schedule"],
        gain=options["gain"],
        limit=options["limit"],
        batch=options["batch"],
        mismatch=options["mismatch"],
        draws=options["draws"],
        seed=seed,
        jobs=jobs,
        progress=not quiet,
    )
    command = _command({name: options[name] for name in DECIDING})
    found = dataclasses.replace(found, config={**found.config, "size": options["size"], "command": command})
    _publish(ctx, found, folder, quiet)


@click.command(short_help="Draw the figures and the report again.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option("--quiet", is_flag=True, help="Print the path of the report only.")
@click.pass_context
def report(ctx: click.Context, /, folder: Path, quiet: bool) -> None:
    """Draw the figures and the report of DIR again, from its result.npz, and print the table.

    Nothing is simulated.
    """
    from neurodecorr.workbench import Comparison

    _publish(ctx, Comparison.load(folder), folder if folder.is_dir() else folder.parent, quiet)


def _publish(ctx: click.Context, comparison: Comparison, folder: Path, quiet: bool) -> None:
    """Write the folder, then print the table and, last, the path of the report."""
    from neurodecorr.report import publish
    from neurodecorr.workbench import table_text

    ctx.meta[WRITTEN] = f"each file in {folder} is whole, but some may be missing or old"
    if not quiet:
        click.echo(f"writing {folder}", err=True)
    path = publish(comparison, folder)
    if not quiet:
        click.echo(table_text(comparison))
    click.echo(f"report: {path}" if not quiet else str(path))


def _inputs(data: str, samples: int, seed: int, size: int) -> tuple[Dataset, Dataset | None]:
    """Return the stream, and held-out samples where fresh ones can be drawn; elsewhere a fifth will be held out."""
    from neurodecorr.data import correlated_gaussian, load_inputs, natural_patches

    stream = load_inputs(data, samples, seed, size)
    if data == "natural":
        return stream, natural_patches(size, HELD_OUT * samples, seed + 1)
    if data == "gaussian":
        return stream, correlated_gaussian(stream.features, HELD_OUT * samples, seed=seed, draw=1)
    return stream, None


def _rules(chosen: tuple[str, ...]) -> tuple[str, ...]:
    return RULES if "all" in chosen else tuple(dict.fromkeys(chosen))


def _short(data: str) -> str:
    """Return a name for the folder: the name of the data, or the last part of its path."""
    path = Path(data)
    return path.stem or path.resolve().name or "data"


def _command(options: dict[str, Any]) -> list[str]:
    """Return the command that gives these numbers again, defaults written out."""
    words = ["neurodecorr", "compare"]
    for name, value in options.items():
        if name == "rule":
            words += [word for rule in value for word in ("--rule", rule)]
        elif name == "mismatch":
            words += ["--mismatch", ",".join(f"{100 * level:g}" for level in value)]
        else:
            words += [f"--{name}", "none" if value is None else str(value)]
    return words
