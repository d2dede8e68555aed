"""Trials one after the other or side by side, with one bar over all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from joblib import Parallel, delayed
from tqdm import tqdm

from neurodecorr.workbench.comparison import Entry

__all__ = ["run_all"]

NAME = "comparing forms"
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


def run_all(trials: Sequence[Callable[..., Entry]], jobs: int, progress: bool) -> Iterator[Entry]:
    """Run trials and yield their entries in order.

    In this process each trial tells how far it is (`tell`, a share of 1); other processes tell when one is done.

    Parameters
    ----------
    trials : sequence of callables
        Each takes `tell` and returns an entry.
    jobs : int
        Processes.
    progress : bool
        Whether the bar is shown.
    """
    seconds = 0.1 if sys.stderr.isatty() else 10.0  # a log file gets a line now and then
    with tqdm(total=len(trials), desc=NAME, bar_format=BAR, mininterval=seconds, disable=not progress) as bar:

        def tell(done: float) -> None:
            bar.update(done - bar.n)

        if jobs == 1:
            for index, trial in enumerate(trials):
                yield trial(tell=lambda share, index=index: tell(index + share))
                tell(index + 1)
            return
        results: Any = Parallel(n_jobs=jobs, return_as="generator")(delayed(trial)() for trial in trials)
        for index, entry in enumerate(results):
            tell(index + 1)
            yield entry
