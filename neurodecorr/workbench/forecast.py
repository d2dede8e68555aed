"""How long a comparison will take, from a fraction of a second of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from neurodecorr import plasticity
from neurodecorr._threads import one_thread
from neurodecorr.plasticity import Plan
from neurodecorr.workbench.trial import SETTLED, Bench

__all__ = ["forecast", "spelt_time"]

# Multiply-adds of learning below which a comparison is short on any machine: nothing is measured.
LITTLE = 3e9
# Rows that are learnt to load the kernels and to be timed, and four times as many that are timed, too.
ROWS = 32
# Decompositions of the size of R that settling, certificates and paths of a circuit take, in eigenvalue problems.
SETTLING = 6
# Updates between two inspections of a learner.
INSPECTED = 1000


def forecast(bench: Bench, plans: Sequence[Plan | None], jobs: int) -> float:
    """Return the seconds that the trials will take, about; 0 for what is short on any machine.

    One decomposition, one solution and a few steps of every rule are timed. What a circuit takes beside learning
    follows from them.

    Parameters
    ----------
    bench : Bench
        What the trials share.
    plans : sequence of Plan or None
        How each form learns; None for the closed form.
    jobs : int
        Processes.

    Returns
    -------
    float
        Seconds.
    """
    n = len(bench.covariance)
    learners = [plan for plan in plans if plan is not None]
    visits = [max(len(bench.stream), plan.visits(n)) for plan in learners]
    if sum(visits) * n * n + len(learners) * bench.looks * 25 * n**3 < LITTLE:
        return 0.0
    with one_thread(n):
        eigenvalues = _seconds(lambda: np.linalg.eigvals(bench.circuit + np.triu(bench.circuit, 1)))
        solution = _seconds(lambda: np.linalg.solve(bench.circuit, bench.held_out[:SETTLED].T))
        total = eigenvalues
        for plan, count in zip(learners, visits, strict=True):
            row, call = _costs(bench, plan)
            total += count * row + bench.looks * (eigenvalues + call) + count / plan.batch / INSPECTED * call
            if plan.recurrent:
                total += SETTLING * eigenvalues + len(bench.levels) * bench.draws * solution
    return total / max(1, min(jobs, len(plans)))


def spelt_time(seconds: float) -> str:
    """Return a forecast in words, rounded up: "40 seconds", "3 minutes".

    Parameters
    ----------
    seconds : float
        How long.
    """
    for unit, name, most in ((1.0, "seconds", 90.0), (60.0, "minutes", 5400.0)):
        if seconds < most:
            count = int(np.ceil(seconds / unit))
            return f"{10 * -(-count // 10) if name == 'seconds' else count} {name}"
    return f"{seconds / 3600:.1f} hours"


def _costs(bench: Bench, plan: Plan) -> tuple[float, float]:
    """Return the seconds that a row takes, and those that a call takes beside its rows."""
    few, many = (bench.stream[: max(1, rows // plan.batch) * plan.batch] for rows in (ROWS, 4 * ROWS))
    state = plasticity.learn(plasticity.start(bench.stream, plan), few, plan)  # loads, or compiles, the kernels
    short = _seconds(lambda: plasticity.learn(state, few, plan))
    if len(many) == len(few):
        return short / len(few), 0.0
    row = max(0.0, _seconds(lambda: plasticity.learn(state, many, plan)) - short) / (len(many) - len(few))
    return row, max(0.0, short - row * len(few))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
