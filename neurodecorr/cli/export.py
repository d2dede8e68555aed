"""`export`: learnt circuits as files for other tools and chips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodecorr.cli.compare import Percentages, say_done
from neurodecorr.cli.errors import WRITTEN, Choice
from neurodecorr.cli.progress import progress_bar

SIDES = ("two", "one")
BUDGET_EPILOG = """\b
Examples:
  neurodecorr budget results/compare-natural
  neurodecorr budget results/compare-natural --accuracy 1 --bits 6,8,10 --mismatch 0.5,1,2
  neurodecorr budget results/compare-natural --circuit "R congruent" --tau 1e-5 --chips 500
  neurodecorr budget results/compare-natural --sides one --g-min 50e-6 --g-max 225e-6

\b
Into DIR go budget.html (the page, with its figure), budget.svg, budget.png and budget.json.
Percentages are shares of the output, rms over units and inputs. --accuracy solves the
inverse question: the fewest bits and the largest mismatch for the error that you want.
"""


class Counts(click.ParamType):  # type: ignore[type-arg]  # generic only in recent versions of click
    """Parameter of whole numbers with commas between them."""

    name = "n,n,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return 4, 6 for "4,6"."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 4,6,8.", param, ctx)
        if min(found) < 1:
            self.fail(f"bits must be ≥ 1; got {value!r}.", param, ctx)
        return found


class Percentage(Percentages):
    """Parameter of one percentage, converted to a fraction."""

    name = "%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return 0.05 for "5"."""
        found = super().convert(value, param, ctx) if not isinstance(value, float) else (value,)
        if len(found) != 1 or not 0 < found[0] < 1:
            self.fail(f"{value!r} is not a percentage between 0 and 100.", param, ctx)
        return found[0]


@click.command(epilog=BUDGET_EPILOG, short_help="Say how many bits, what settling time, what error a chip has.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--circuit",
    metavar="NAME",
    help="Which: a form of the comparison, or a layer of the network.  [default: the learnt circuit that decorrelates "
    "best]",
)
@click.option("--accuracy", type=Percentage(), default="5", help="Wanted error of the output, in %.")
@click.option("--bits", type=Counts(), default="4,6,8", help="Bits of a device to try.")
@click.option("--mismatch", type=Percentages(), default="1,2,5,10", help="Mismatch of devices to try, in %.")
@click.option("--chips", type=int, default=100, help="Chips of each kind to simulate.")
@click.option("--tau", type=float, default=1e-6, metavar="SECONDS", help="Time constant τ of the chip.")
@click.option("--g-min", type=float, default=0.0, help="Smallest conductance of a device, siemens.")
@click.option("--g-max", type=float, default=25e-6, help="Largest conductance of a device, siemens.")
@click.option("--sides", type=Choice(SIDES), default="two", help="Devices for both signs, or one and a reference.")
@click.option("--seed", type=int, default=0, help="Seed of the chips.")
@click.option("--jobs", type=int, default=1, help="Processes to use; the numbers do not depend on it.")
@click.option("--out", type=click.Path(path_type=Path), metavar="PATH", help="Folder to write to.  [default: DIR]")
@click.option("--overwrite", is_flag=True, help="Replace another budget that is in the folder.")
@click.option("--quiet", is_flag=True, help="Print the path of the page only.")
@click.pass_context
def budget(
    ctx: click.Context,
    /,
    folder: Path,
    circuit: str | None,
    out: Path | None,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Say what the circuit of DIR asks of an analogue chip: how many bits, what settling time, what error.

    DIR is the folder of a comparison or a training run. The circuit R (a closed loop) and the matrix M (an open loop)
    are laid out on the same devices and amplifiers. Each error is given in closed form and on simulated chips.
    """
    from neurodecorr.export.budget import hardware_budget, ideal_devices
    from neurodecorr.export.circuits import chosen_circuit, find_circuits
    from neurodecorr.report.page import claim_budget, publish_budget, source_of
    from neurodecorr.report.tables import budget_text

    found = chosen_circuit(find_circuits(folder), circuit)
    place = out or (folder if folder.is_dir() else folder.parent)
    settings = {name: value for name, value in options.items() if name != "jobs"} | {"circuit": found.name}
    mine = claim_budget(place, settings, source_of(folder), overwrite=overwrite)
    if mine.done:
        say_done(place / "budget.html", quiet, "page")
        return
    with progress_bar(quiet) as progress:
        answers = hardware_budget(
            found,
            bits=options["bits"],
            mismatch=options["mismatch"],
            accuracy=options["accuracy"],
            chips=options["chips"],
            tau_s=options["tau"],
            devices=ideal_devices(options["g_min"], options["g_max"], options["sides"]),
            seed=options["seed"],
            jobs=options["jobs"],
            progress=progress,
        )
    ctx.meta[WRITTEN] = f"each file in {place} is whole, but some may be missing or old"
    path = publish_budget(answers, place, mine=mine)
    if not quiet:
        click.echo(budget_text(answers))
    click.echo(f"page: {path}" if not quiet else str(path))


# Spelt out here, as help comes at once only if nothing heavy is imported; tests compare them with the library's.
TARGETS = ("csv", "npz", "nir", "spice", "bundle")
DIALECTS = ("canonical", "sinabs", "rockpool", "nengo")
KINDS = ("ota", "crossbar")
SIMULATORS = ("ngspice", "gnucap")
EPILOG = """\b
Examples:
  neurodecorr export results/compare-natural --to bundle --tau 0.02
  neurodecorr export results/compare-natural --to spice --kind crossbar
  neurodecorr export results/compare-natural --to nir --circuit "R congruent" --out circuit.nir
  neurodecorr export results/train-digits-bp-recurrent --to nir      a file per layer
  neurodecorr export results/train-digits-bp-recurrent --to spice    the whole network

\b
--to         writes
  csv        a folder of tables: R, fixed point, conductances, every connection, golden response
  npz        one file of arrays: R, M, mean, samples, golden response   (numpy.load)
  nir        one graph per circuit, for neuromorphic simulators and chips (nir.read)
  spice      a netlist driven by a held-out sample, with the x̄ to expect  (ngspice -b)
  bundle     all of these in one folder (or one file, with --out NAME.zip), with units and
             checksums; neurodecorr.export.load_bundle verifies it

\b
The circuit is τ dx̄/dt = x − R x̄. R[i, j] acts from unit j on unit i; R[i, j] > 0 inhibits; x is
the input minus its mean. Times are in seconds, conductances in siemens, weights without unit.
"""


@click.command(epilog=EPILOG, short_help="Write a learnt circuit for other tools and chips.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--to", "to", type=Choice(TARGETS), required=True, help="Format; see below.")
@click.option(
    "--circuit",
    metavar="NAME",
    help="Which: a form of the comparison, a layer of the network, or network.  [default: the learnt circuit that "
    "decorrelates best; all layers]",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="PATH", help="Where.  [default: DIR/exports/…]")
@click.option("--tau", type=float, metavar="SECONDS", help="Time constant τ.  [default: the run's τ, taken as seconds]")
@click.option("--samples", type=int, default=8, help="Held-out samples as golden stimuli.")
@click.option("--bits", type=int, default=16, help="Of fixed-point weights, the sign included.")
@click.option("--g-min", type=float, default=0.0, help="Smallest conductance of a device, siemens.")
@click.option("--g-max", type=float, default=25e-6, help="Largest conductance of a device, siemens.")
@click.option("--sides", type=Choice(SIDES), default="two", help="Devices for both signs, or one and a reference.")
@click.option(
    "--dialect", type=Choice(DIALECTS), default="canonical", help="Of NIR: whom its numbers are for. nengo: a script."
)
@click.option(
    "--dt", "dt_s", type=float, metavar="SECONDS", help="Step of that tool.  [default: 1/20 of the fastest mode]"
)
@click.option("--kind", type=Choice(KINDS), default="ota", help="Of the netlist: transconductors or a crossbar.")
@click.option("--simulator", type=Choice(SIMULATORS), default="ngspice", help="Which will read the netlist.")
@click.option("--overwrite", is_flag=True, help="Replace what stands there already.")
@click.option("--quiet", is_flag=True, help="Print the paths written only.")
@click.pass_context
def export(
    ctx: click.Context,
    /,
    folder: Path,
    to: str,
    circuit: str | None,
    out: Path | None,
    tau: float | None,
    samples: int,
    overwrite: bool,
    quiet: bool,
    **formats: Any,
) -> None:
    """Write a circuit of DIR, the folder of a comparison, a training run or a run of nd.run_online, for other tools."""
    from neurodecorr.export.bundle import Formats
    from neurodecorr.export.run import Export, export_run

    ctx.meta[WRITTEN] = "nothing half-written is left"
    for one in export_run(folder, Export(to, circuit, out, tau, samples, Formats(**formats), overwrite)):
        if quiet:
            click.echo(one.path)
            continue
        click.echo(f"{one.name}: {one.what}")
        click.echo(f"  wrote {one.path}")
        click.echo(f"  open  {one.opening}")
