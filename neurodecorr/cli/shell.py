"""The command `neurodecorr`: its subcommands, and what they have in common."""

from __future__ import annotations

import click

from neurodecorr import __version__
from neurodecorr.cli.budget import budget
from neurodecorr.cli.compare import compare_command, report
from neurodecorr.cli.doctor import doctor
from neurodecorr.cli.errors import DEBUG, Shell
from neurodecorr.cli.export import export
from neurodecorr.cli.locality import locality
from neurodecorr.cli.sweep import sweep
from neurodecorr.cli.train import models, show, train

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
