"""Progress on standard error: a bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from neurodecorr._texts import encodable, one_line
from neurodecorr.cli.errors import beneath

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from neurodecorr._validation import Progress


# Seconds between two pictures of a bar, which an eye does not miss, and between two lines of a log.
REFRESH, LINES = 0.1, 10.0


@contextlib.contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Progress | None]:
    """Yield a function that shows the progress that the library reports, while the block runs.

    In a terminal it is a bar that is redrawn; elsewhere, as in a log, a line every ten seconds. A total of 0 is a
    remark, which is a line of its own. Nothing is started beside the computation, no thread and no lock.

    Parameters
    ----------
    quiet : bool, default False
        Give None instead: nothing is shown.

    Examples
    --------
    >>> import neurodecorr as nd

    >>> inputs = nd.data.correlated_gaussian(features=3, samples=600)
    >>> with progress_bar(quiet=True) as progress:
    ...     comparison = nd.compare(inputs, rules=["local"], draws=2, progress=progress)
    """
    if quiet:
        yield None
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        console = Console(file=beneath(sys.stderr), highlight=False)
        own = {"redirect_stdout": False, "redirect_stderr": False, "auto_refresh": False}
        with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, **own) as bars:
            yield _Bar(bars)


class _Lines:
    """Lines of a log."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, words: str, done: float, total: float) -> None:
        """Write a line if it is a remark, or the last one is long ago."""
        if total == 0:
            click.echo(words, err=True)
        elif time.monotonic() - self._last >= LINES:
            self._last = time.monotonic()
            click.echo(f"{words}: {done / total:.0%}", err=True)


class _Bar:
    """A bar of a terminal."""

    def __init__(self, bars: Bars) -> None:
        self._bars, self._task, self._drawn = bars, bars.add_task("", visible=False), 0.0

    def __call__(self, words: str, done: float, total: float) -> None:
        """Redraw the bar, or write a remark above it."""
        console = self._bars.console
        text = encodable(one_line(words), console.encoding)
        if total == 0:
            console.print(text, markup=False)
            return
        known = None if total == float("inf") else total
        self._bars.update(self._task, description=text, completed=done, total=known, visible=True)
        if time.monotonic() - self._drawn >= REFRESH or done >= total:
            self._bars.refresh()
            self._drawn = time.monotonic()
