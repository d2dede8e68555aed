"""`compare` and `report`: run the comparison, and draw it again."""

from __future__ import annotations

import dataclasses
import importlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurodecorr.cli.errors import WRITTEN, Choice, RuleChoice
from neurodecorr.cli.progress import progress_bar

if TYPE_CHECKING:
    from neurodecorr.comparison import Comparison
    from neurodecorr.data.sources import Split
    from neurodecorr.io.claims import Claim


RULES = ("explicit", "implicit", "congruent")
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
    "seeds",
    "kind",
    "transpose",
    "mismatch",
    "draws",
)
# Those of them that `nd.compare` takes by the same name.
COMPARED = ("rate", "schedule", "gain", "limit", "batch", "mismatch", "draws", "seed", "seeds")
EPILOG = """\b
Examples:
  neurodecorr compare
  neurodecorr compare --data gaussian --rate 1e-2 --schedule constant
  neurodecorr compare --data photos/ --size 12 --rule implicit --rule congruent
  neurodecorr compare --data activity.npy --mismatch 1,2,5,10,20 --draws 50 --out results/mine
  neurodecorr compare --data channels_by_time.npy --transpose --seeds 3

\b
Into the folder go report.html, every figure as SVG and PNG, result.npz (all matrices and
numbers), traces.h5 (learning curves) and manifest.json (options, versions, checksums).
"""


class Percentages(click.ParamType):  # type: ignore[type-arg]  # generic only in recent versions of click
    """Parameter of percentages with commas between them, converted to fractions."""

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
    """Parameter that is a number or "none"."""

    name = "number|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Return 0.1 for "0.1" and None for "none"."""
        if value is None or str(value).strip().lower() == "none":
            return None
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'none'.", param, ctx)


@click.command("compare", epilog=EPILOG, short_help="Run the comparison and write its report.")
@click.option(
    "--data",
    default="natural",
    metavar="NAME|PATH",
    help="What to decorrelate: natural (patches of photographs), gaussian, digits, a folder of images, a PNG or JPEG, "
    "a .npy or .npz file with a table (samples × features) or images.",
)
@click.option(
    "--rule",
    type=RuleChoice([*RULES, "all"]),
    multiple=True,
    default=("all",),
    help="Learning rule; may be given several times. implicit, or local: a synapse of R needs its own two signals; "
    "congruent: stable by construction; explicit: the textbook inverse.",
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
@click.option("--seeds", type=int, default=1, help="Runs, with the seeds that follow --seed: numbers get intervals.")
@click.option(
    "--as",
    "kind",
    type=Choice(["images", "table"]),
    help="What a .npy or .npz file holds, where its shape leaves it open.",
)
@click.option("--transpose", is_flag=True, help="The columns of a table are its samples, not its rows.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write to; made if missing.  [default: results/compare-<data>]",
)
@click.option("--overwrite", is_flag=True, help="Replace another run that is in the folder, and what was made from it.")
@click.option("--png", is_flag=True, help="Write each figure as PNG, too; `neurodecorr report DIR --png` does later.")
@click.option("--jobs", type=int, default=1, help="Processes to use; the numbers do not depend on it.")
@click.option("--quiet", is_flag=True, help="Print the path of the report only.")
@click.pass_context
def compare_command(
    ctx: click.Context, /, out: Path | None, overwrite: bool, png: bool, jobs: int, quiet: bool, **options: Any
) -> None:
    """Decorrelate one stream by matrices M and by circuits R, and report how they differ.

    Every form sees the same samples in the same order and is judged on what was held out: how well it decorrelates,
    how fast the circuit settles, whether it stays stable, what it costs, and what synaptic mismatch does to it. The
    closed form M* is the reference. A comparison that is in its folder already is not run again.
    """
    from neurodecorr.comparison import compare as compare_forms
    from neurodecorr.data.sources import SOURCES
    from neurodecorr.io.manifest import content_hash
    from neurodecorr.report.page import claim_folder

    data = options["data"]
    folder = out or Path("results") / f"compare-{_short(data)}"
    settings = {name: options[name] for name in DECIDING} | {"rule": _rules(options["rule"])}
    if data not in SOURCES and Path(data).exists():
        settings |= {"data": _short(data), "content": content_hash(data)}
    mine = claim_folder(folder, settings, overwrite=overwrite)
    if mine.done:
        say_done(folder / "report.html", quiet)
        return
    # The figures' library loads beside the simulation, where there is a second processor.
    threading.Thread(target=importlib.import_module, args=("neurodecorr.plots",), daemon=True).start()
    with progress_bar(quiet) as progress:
        found = compare_forms(
            _Splits(options, quiet),
            rules=settings["rule"],
            **{name: options[name] for name in COMPARED},
            jobs=jobs,
            progress=progress,
        )
    command = _command({name: options[name] for name in DECIDING})
    found = dataclasses.replace(found, config={**found.config, "size": options["size"], "command": command})
    _publish(ctx, found, folder, quiet, png, mine)


@click.command(short_help="Draw the figures and the report again.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace files that were changed since they were written.")
@click.option("--png", is_flag=True, help="Write each figure as PNG, too.")
@click.option("--quiet", is_flag=True, help="Print the path of the report only.")
@click.pass_context
def report(ctx: click.Context, /, folder: Path, overwrite: bool, png: bool, quiet: bool) -> None:
    """Draw the figures and the report of DIR again, from its result.npz, and print the table.

    Nothing is simulated.
    """
    from neurodecorr.report.folder import draw_again

    ctx.meta[WRITTEN] = _half(folder)
    comparison, path = draw_again(folder, overwrite=overwrite, png=png)
    _print(comparison, path, quiet)


def _publish(ctx: click.Context, comparison: Comparison, folder: Path, quiet: bool, png: bool, mine: Claim) -> None:
    """Write the folder, then print the table and, last, the path of the report."""
    from neurodecorr.report.folder import publish

    ctx.meta[WRITTEN] = _half(folder)
    if not quiet:
        click.echo(f"writing {folder}", err=True)
    _print(comparison, publish(comparison, folder, png=png, mine=mine), quiet)


def _half(folder: Path) -> str:
    return f"each file in {folder} is whole, but some may be missing or old"


def _print(comparison: Comparison, path: Path, quiet: bool) -> None:
    from neurodecorr.report.tables import table_text

    if not quiet:
        click.echo(table_text(comparison))
    click.echo(f"report: {path}" if not quiet else str(path))


def say_done(path: Path, quiet: bool, what: str = "report") -> None:
    """Print that this very run exists already, and its folder."""
    if not quiet:
        click.echo(f"done already: {path.parent} holds this very run; nothing was changed")
    click.echo(f"{what}: {path}" if not quiet else str(path))


class _Splits:
    """Load the split of a seed; what was understood is said once, before any work."""

    def __init__(self, options: dict[str, Any], quiet: bool) -> None:
        self._options, self._quiet = options, quiet

    def __call__(self, seed: int) -> Split:
        """Return stream and held-out samples."""
        from neurodecorr.data import load_split

        options = self._options
        split = load_split(
            options["data"],
            options["samples"],
            seed,
            options["size"],
            kind=options["kind"],
            transpose=options["transpose"],
        )
        if not self._quiet:
            click.echo(split.stream.description, err=True)
            self._quiet = True
        return split


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
        elif name == "kind":
            words += ["--as", value] if value else []
        elif name == "transpose":
            words += ["--transpose"] if value else []
        else:
            words += [f"--{name}", "none" if value is None else str(value)]
    return words
