"""`models`, `show` and `train`: networks from model files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurodecorr._texts import one_line
from neurodecorr.cli.errors import WRITTEN, Choice
from neurodecorr.cli.progress import progress_bar

if TYPE_CHECKING:
    from neurodecorr.models import Model
    from neurodecorr.training.history import History


FILES = ("grid.csv", "table.csv", "curves.svg", "curves.png")
SWEEP_EPILOG = """\b
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


@click.command(epilog=SWEEP_EPILOG, short_help="Choose learning rates by validation, then train several seeds.")
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


# Spelt out here, as help comes at once only if nothing heavy is imported; tests compare them with the library's.
CREDITS = ("bp", "fa", "dfa", "np")
FORMS = ("none", "feedforward", "recurrent", "batch_norm")
WATCHES = ("angle", "correlation", "input correlation", "condition", "weight norm", "activity")
RECORDED = ("weights", "activities", "residuals", "margins", "errors")
RECIPES = ("plain", "cifar", "tiny-imagenet")
LATERAL_FEEDBACK = ("none", "exact", "adjoint", "random")
EPILOG = """\b
Examples:
  neurodecorr train digits                                     a few seconds, no download
  neurodecorr train digits --credit np --decorrelation recurrent
  neurodecorr train dense_cifar10 --data cifar10/ --credit fa --decorrelation feedforward
  neurodecorr train dense_cifar10 --data cifar10/ --resume     go on after a stop
  neurodecorr train dense_cifar10 --data cifar10/ --device cuda
  neurodecorr train digits --watch angle --record weights,activities --record-every 50

\b
--credit          error carried down by
  bp              the transposed weights (and Mᵀ): backpropagation, not local
  fa, dfa         fixed random weights, layer by layer or straight from the output
  np              nothing: each unit is credited by its own noise and the change of the loss
--decorrelation   input of each layer becomes
  feedforward     x̄ = M (x − μ)
  recurrent       where τ dx̄/dt = x − μ − R x̄ settles
  batch_norm      (x − μ)/σ, for comparison
--watch           per layer: angle to backpropagation, correlation after and input correlation
                  before decorrelation, condition, weight norm, activity

\b
Into the folder go checkpoint.npz (written on the way), result.npz (weights, losses,
accuracies, what was watched, versions), traces/ (with --record), curves.svg and curves.png.
"""


@click.command(short_help="List the models that come with the package.")
def models() -> None:
    """List the models that come with the package."""
    from neurodecorr.models import load_model, model_names

    names = model_names()
    width = max(map(len, names))
    for name in names:
        found = load_model(name).document
        click.echo(f"{name:<{width}}  {one_line(found.title)}; rates for {', '.join(found.rates)}")
    click.echo("\nneurodecorr show MODEL prints one; neurodecorr train MODEL trains it.")


@click.command(short_help="Print what a model is.")
@click.argument("model")
def show(model: str) -> None:
    """Print layers, rates and source of MODEL: a name, or the path of a .toml file."""
    from neurodecorr.models import load_model

    for line in _described(load_model(model)):
        click.echo(line)


def _described(model: Model) -> list[str]:
    found = model.document
    lines = [
        one_line(found.title),
        f"source: {one_line(found.source)}",
        f"data:   {one_line(found.data.name)}, {_times(found.data.shape)}",
        "",
    ]
    network, shape = model.network(), found.data.shape
    for index, layer in enumerate(network.layers, 1):
        units, n = layer.W.shape
        lines.append(
            f"layer {index}: {_times(shape):>12} → {_times(layer.shape):<12} W {units} × {n}, R or M {n} × {n}, "
            f"{layer.activation.name}"
        )
        shape = layer.shape
    weights = sum(layer.W.size + layer.b.size for layer in network.layers)
    lateral = sum(layer.W.shape[1] ** 2 for layer in network.layers)
    lines += [f"{weights:,} weights, {lateral:,} lateral ones with decorrelation", ""]
    lines += [
        f"{name:<4} rate {r.alone:g} alone; with decorrelation {r.decorrelated:g}, and {r.decorrelation:g} for M or R"
        for name, r in found.rates.items()
    ]
    rule = found.decorrelation
    return [
        *lines,
        f"decorrelation: {rule.rule}, gain by {rule.gain}, {rule.rate_is} rate, reads {rule.share:.0%} of each batch",
    ]


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


class Names(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.2 on
    """Parameter of names of recorded arrays, with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names, or fail with the nearest right one."""
        known = Choice(RECORDED)
        return tuple(known.convert(name.strip(), param, ctx) for name in str(value).split(","))


@click.command(epilog=EPILOG, short_help="Train a network.")
@click.argument("model")
@click.option(
    "--data",
    metavar="PATH",
    help="Folder or file of the data: MNIST, CIFAR-10, CIFAR-100, Tiny ImageNet, or a .npz with x_train, y_train, "
    "x_test, y_test.  [default: digits that come with scikit-learn, for models made for them]",
)
@click.option("--credit", type=Choice(CREDITS), default="bp", help="How each layer learns its share of the error.")
@click.option("--decorrelation", "form", type=Choice(FORMS), default="none", help="Of the input of every layer.")
@click.option("--epochs", type=int, help="Epochs in all.  [default: those of the model]")
@click.option("--batch", type=int, help="Samples per batch.  [default: that of the model]")
@click.option("--rate", type=float, help="Learning rate of W.  [default: that of the model for this rule]")
@click.option("--decorrelation-rate", type=float, help="Learning rate of M or R.  [default: that of the model]")
@click.option("--validation", type=int, default=0, help="Training samples held out and measured after each epoch.")
@click.option("--seed", type=int, default=0, help="Of weights, order of samples, noise and augmentation.")
@click.option("--recipe", type=Choice(RECIPES), help="Crops and flips in training.  [default: those of the model]")
@click.option(
    "--lateral-feedback",
    type=Choice(LATERAL_FEEDBACK),
    help="What fa sends errors through where bp has Mᵀ; exact is weight transport.  [default: that of the model]",
)
@click.option("--device", metavar="NAME", help="cpu, cuda, …: train with PyTorch there.  [default: numpy]")
@click.option("--watch", "watches", type=Choice(WATCHES), multiple=True, help="A number per layer to keep; repeatable.")
@click.option("--watch-every", type=int, default=100, help="Batches between two such numbers.")
@click.option(
    "--record",
    type=Names(),
    metavar="NAMES",
    help="Arrays to stream to disk, with commas: weights, activities, residuals, margins, errors.",
)
@click.option("--record-every", type=int, default=100, help="Batches between two recorded rows.")
@click.option("--every", type=int, default=500, help="Batches between two checkpoints.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write to.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder, to the bit.")
@click.option("--overwrite", is_flag=True, help="Begin anew, and replace what another run left in the folder.")
@click.option("--quiet", is_flag=True, help="Print the path of the result only.")
@click.pass_context
def train(
    ctx: click.Context,
    /,
    model: str,
    out: Path | None,
    every: int,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    record: tuple[str, ...] | None,
    record_every: int,
    **options: Any,
) -> None:
    """Train MODEL, a name from `neurodecorr models` or the path of a .toml file, and write weights and curves."""
    from neurodecorr.io.atomic import require_writable
    from neurodecorr.models import load_model
    from neurodecorr.plots import save, training
    from neurodecorr.training import RecordingOptions
    from neurodecorr.training.runs import claim_run, finished_history, prepare_run, written

    description = load_model(model)
    folder = out or _default_folder(description.name, options)
    recording = None if record is None else RecordingOptions(record, record_every)
    require_writable(folder)
    run = prepare_run(description, options)
    held = claim_run(run, folder, recording=recording, resume=resume, overwrite=overwrite)
    if held.done:
        if not quiet:
            click.echo(f"{folder} holds this run already, finished; nothing was trained.", err=True)
        _finish(finished_history(folder), folder, quiet)
        return
    ctx.meta[WRITTEN] = f"the last checkpoint is in {folder}; the same command with --resume goes on from it"
    with progress_bar(quiet) as progress:
        history = run.go(folder, every=every, resume=resume, recording=recording, progress=progress, begin=held.begin)
    title = ", ".join([description.name, options["credit"], *([options["form"]] if options["form"] != "none" else [])])
    save(training(history, title), folder, "curves")
    held.finish(written(folder))
    _finish(history, folder, quiet)


def _finish(history: History, folder: Path, quiet: bool) -> None:
    """Print the table and, last, the path of the result."""
    if not quiet:
        for line in _table(history):
            click.echo(line)
    click.echo(folder / "result.npz")


def _default_folder(name: str, options: dict[str, Any]) -> Path:
    seed = f"-seed{options['seed']}" if options["seed"] else ""
    return Path("results") / f"train-{name}-{options['credit']}-{options['form']}{seed}"


def _table(history: History) -> list[str]:
    lines = [f"{'epoch':>5}" + "".join(f"{name:>21}" for name in history.epochs)]
    for epoch in range(len(history)):
        lines.append(f"{epoch + 1:>5}" + "".join(f"{_cell(n, v[epoch]):>21}" for n, v in history.epochs.items()))
    return [*lines, ""]


def _cell(name: str, value: float) -> str:
    if value != value:
        return "–"
    return f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4f}"
