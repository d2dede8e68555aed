"""`export`: learnt circuits as files for other tools and chips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurodecorr.cli.errors import WRITTEN, Choice

# Spelt out here, as help comes at once only if nothing heavy is imported; tests compare them with the library's.
TARGETS = ("csv", "npz", "nir", "spice", "bundle")
DIALECTS = ("canonical", "sinabs", "rockpool", "nengo")
KINDS = ("ota", "crossbar")
SIMULATORS = ("ngspice", "gnucap")
SIDES = ("two", "one")
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
    """Write a circuit of DIR, the folder of a comparison, a training run or a living circuit, for other tools."""
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
