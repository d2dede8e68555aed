"""The command `neurodecorr`: its subcommands, and what they have in common."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from typing import Any

import click

from neurodecorr import __version__
from neurodecorr.cli.compare import compare_command, report
from neurodecorr.cli.errors import DEBUG, Shell
from neurodecorr.cli.export import budget, export
from neurodecorr.cli.train import models, show, sweep, train

# Extra of the package: the module that shows whether it is there.
EXTRAS = {"brian2": "brian2", "torch": "torch", "dask": "distributed", "xarray": "xarray"}
MARGIN = 14


@click.command(short_help="Say what is installed, and where kernels are cached.")
def doctor() -> None:
    """Print versions, BLAS and threads, where compiled kernels are cached, and which extras are installed."""
    from neurodecorr.io import provenance

    record = provenance({}, 0)
    for head, words in _lines(record):
        click.echo(f"{head:<{MARGIN}}{words}")


def _lines(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((name, version or "not installed") for name, version in record["versions"].items())
    for library in record["blas"]:
        yield "BLAS", f"{library['name']} {library['version']} ({library['kernel']}), {library['threads']} thread(s)"
    limits = ", ".join(f"{name}={value}" for name, value in record["thread_limits"].items())
    yield "processors", f"{record['cpus']}{f'; {limits}' if limits else ''}"
    yield "platform", f"{record['platform']['system']} {record['platform']['machine']}"
    yield "kernel cache", _cache()
    for extra, module in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        yield f"[{extra}]", _version(module) if there else f"not installed; pip install 'neurodecorr[{extra}]'"


def _version(module: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return f"installed, {importlib.metadata.version(module)}"
    return "installed"


def _cache() -> str:
    """Ask a compiled kernel where it is kept."""
    from neurodecorr.plasticity import steps

    compiled: Any = steps.learn_stream
    if not hasattr(compiled, "stats"):
        return "none: NUMBA_DISABLE_JIT is set, so kernels run uncompiled, some hundred times slower."
    place = compiled.stats.cache_path
    if place is None:
        return "none: no writable folder, so kernels compile anew in each process. Set NUMBA_CACHE_DIR."
    return f"writable, {place}"


@click.command(short_help="Show which signals the synapses of each rule read.")
def locality() -> None:
    """Run every rule on perturbed signals and print what each synapse's change depends on.

    Rules of decorrelation, and of feedback weights that learn:

    \b
      local      only what the synapse can measure, and a global scalar such as the rate
      broadcast  also a scalar of the whole layer, or the weight of the reciprocal synapse
      not local  also other synapses' weights, or activity of third units

    Rules of credit assignment:

    \b
      local      only the synapse's two units, feedback onto them, the output's error or the loss
      needs …    what else has to be transported or broadcast: Wᵀ, Mᵀ, a layer scalar; or
                 error units, a population of its own that errors pass on their way
    """  # noqa: D301 - click takes the letter \b, not its spelling
    from neurodecorr.locality import audit_all, format_audit
    from neurodecorr.locality.credit import CREDIT_READS, audit_all_credit, audit_all_feedback

    tables = {
        "Decorrelation": format_audit(audit_all()),
        "Feedback weights that learn": format_audit(audit_all_feedback()),
        "Credit assignment": format_audit(audit_all_credit(), CREDIT_READS),
    }
    click.echo("\n\n".join(f"{title}\n{table}" for title, table in tables.items()))


HELP = """\
Decorrelate by a feedforward matrix M or by a recurrent circuit R, compare the two, and train networks with either.

\b
  x̄ = M x                    a matrix answers at once
  τ dx̄/dt = x − R x̄          a circuit settles to R⁻¹x, and learns from local signals only
"""
EPILOG = """\b
Examples:
  neurodecorr compare                          natural images, all rules, in well under a minute
  neurodecorr compare --data photos/ --size 12 patches of your own images
  neurodecorr report results/compare-natural   draw the figures and the report again
  neurodecorr train digits                     a network of which every layer can decorrelate
  neurodecorr export results/compare-natural --to bundle    for chips and simulators
  neurodecorr budget results/compare-natural   how many bits, what settling time, what error
  neurodecorr locality                         what each rule's synapses read
  neurodecorr doctor                           what is installed, and whether kernels are cached
"""


@click.group(
    cls=Shell,
    help=HELP,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="neurodecorr")
@click.option("--debug", DEBUG, is_flag=True, hidden=True, envvar="NEURODECORR_DEBUG", help="Show tracebacks.")
def main(**options: bool) -> None:
    """Gather the commands."""


main.add_command(compare_command)
main.add_command(report)
main.add_command(models)
main.add_command(show)
main.add_command(train)
main.add_command(sweep)
main.add_command(export)
main.add_command(budget)
main.add_command(locality)
main.add_command(doctor)
