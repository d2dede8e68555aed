"""Exact settling: climb by doubling the time, then descend by halving it, to the first step that is certified.

Every state is exact, z(s) = z₀ + Q(s) r₀, so the settling time is found to one step dt in 2 log₂(time/dt) products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.circuit.kernels import MET, RUNNING, STALLED
from neurodecorr.circuit.problem import Problem, Run, Watch
from neurodecorr.circuit.propagator import Ladder

__all__ = ["settle_exactly"]

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

# The settling time is found to this share of the slowest time constant.
RESOLUTION = 1 / 64


def settle_exactly(problem: Problem, method: str) -> Run:
    """Settle by exact exponential steps of dt, found by doubling and bisection over their number."""
    margin = problem.circuit.spectrum.margin
    dt = RESOLUTION / margin if problem.dt is None else problem.dt
    search = _Search(problem, Ladder(problem.circuit.flow, dt, problem.dtype), problem.count_of(dt))
    search.climb()
    search.descend()
    return search.run(dt)


class _Search:
    """Per sample: the latest state known not to be settled (`base`), and the earliest known to be (`found`)."""

    def __init__(self, problem: Problem, ladder: Ladder, limit: int) -> None:
        self.problem, self.ladder, self.limit = problem, ladder, limit
        self.watch = Watch(problem, problem.goal(0.5))
        samples = len(problem.U)
        self.base, self.found = problem.Z.copy(), problem.Z.copy()
        self.base_steps, self.found_steps = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
        self.slope = np.zeros_like(problem.Z)
        self.products = np.full(samples, problem.first_product)
        self.top = np.full(samples, -1)
        everyone = np.arange(samples)
        self.code = self._keep(everyone, problem.Z, self.base_steps)

    def climb(self) -> None:
        """Try 1, 2, 4, … steps from the start, until settled, at the limit, or at rest to rounding."""
        rows, level = np.flatnonzero(self.code == RUNNING), 0
        start, slope = self.base.copy(), self.slope.copy()
        while rows.size and 2**level <= self.limit:
            code = self._try(rows, start[rows], slope[rows], np.zeros_like(rows), level)
            self.code[rows], self.top[rows] = code, level - (code == MET)
            rows = rows[code == RUNNING]
            if rows.size and self.ladder.ends_at(level):
                if 2 ** (level + 1) <= self.limit:
                    self._rest(rows, level)
                break
            level += 1

    def descend(self) -> None:
        """Add ever shorter steps to the base, as long as it stays unsettled."""
        for level in range(int(self.top.max(initial=0)) - 1, -1, -1):
            fits = self.base_steps + 2**level <= self.limit
            rows = np.flatnonzero((self.top > level) & fits & (self.code <= MET))
            if rows.size:
                code = self._try(rows, self.base[rows], self.slope[rows], self.base_steps[rows], level)
                self.code[rows] = np.maximum(self.code[rows], code)

    def run(self, dt: float) -> Run:
        """Return the earliest settled states, or the latest ones reached."""
        met = self.code == MET
        Z = np.where(met[:, None], self.found, self.base)
        steps = np.where(met, self.found_steps, self.base_steps)
        return Run(Z, steps, self.products, steps * dt, self.code)

    def _try(self, rows: Ints, z: Floats, slope: Floats, steps: Ints, level: int) -> Ints:
        """Move rows 2^level steps on and keep where they come to."""
        trial = z + slope @ self.ladder[level].T
        self.products[rows] += 2
        return self._keep(rows, trial, steps + 2**level)

    def _keep(self, rows: Ints, z: Floats, steps: Ints) -> Ints:
        """Keep states as found if they are settled, else as base."""
        gap = self.problem.U[rows] - z @ self.problem.A.T
        code = self.watch(rows, gap, z)
        code[code == STALLED] = RUNNING
        met, rest = code == MET, code != MET
        self.found[rows[met]], self.found_steps[rows[met]] = z[met], steps[met]
        self.base[rows[rest]], self.base_steps[rows[rest]] = z[rest], steps[rest]
        self.slope[rows[rest]] = self.problem.rates * gap[rest]
        return code

    def _rest(self, rows: Ints, level: int) -> None:
        """Take the longest step once more, which removes the rounding of the first; what is unsettled then stays so."""
        code = self._try(rows, self.base[rows], self.slope[rows], self.base_steps[rows], level)
        self.code[rows] = np.where(code == RUNNING, STALLED, code)
        self.top[rows] = -1
