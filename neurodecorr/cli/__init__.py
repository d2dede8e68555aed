"""The command line. What is heavy is imported by the command that needs it, so that help and errors come at once."""

from neurodecorr.cli.progress import progress_bar
from neurodecorr.cli.shell import main

__all__ = ["main", "progress_bar"]
