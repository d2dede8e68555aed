"""The command line. What is heavy is imported by the command that needs it, so that help and errors come at once."""

from neurodecorr.cli import progress as progress
from neurodecorr.cli.shell import main

__all__ = ["main"]
