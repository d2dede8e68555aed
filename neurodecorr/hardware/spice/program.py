"""Programs of other hands: an argument list, a folder of their own, a small environment, and an end to their time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["LARGEST_OUTPUT", "OutOfTimeError", "TooMuchOutputError", "program_folder", "run_program"]

LARGEST_OUTPUT = 2**31  # bytes of one file that a program writes
PASSED_ON = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")


class OutOfTimeError(Exception):
    """A program did not end in time, and was ended."""


class TooMuchOutputError(Exception):
    """A program wrote a file of more than `LARGEST_OUTPUT` bytes, and was ended."""


@contextlib.contextmanager
def program_folder() -> Iterator[Path]:
    """Give an empty folder for one program, and remove it with all that is left in it.

    Yields
    ------
    Path
        The folder.
    """
    with tempfile.TemporaryDirectory(prefix="neurodecorr-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run_program(command: Sequence[str], folder: Path, timeout_s: float) -> str:
    """Run a program in a folder, without a shell, and return what it printed.

    It sees nothing of the environment but where programs and libraries are; its home is the folder, so that it finds
    no start-up files. What it started is ended with it.

    Parameters
    ----------
    command : sequence of str
        The program, by its whole path, and its arguments.
    folder : Path
        From `program_folder`.
    timeout_s : float
        Longest time to wait, in seconds.

    Returns
    -------
    str
        Its output and its complaints.

    Raises
    ------
    OutOfTimeError, TooMuchOutputError
        If it takes more than it may.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    printed = folder / "printed.txt"
    with printed.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _limit_files(process.pid)
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise OutOfTimeError(command[0]) from None
        finally:
            _end(process)
    if process.returncode == -getattr(signal, "SIGXFSZ", 0):
        raise TooMuchOutputError(command[0])
    return printed.read_bytes().decode("utf-8", "replace")


def _limit_files(pid: int) -> None:
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (LARGEST_OUTPUT, LARGEST_OUTPUT))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, and its session with it."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait(60)
