"""Exact settling: climb by doubling the time, then descend by halving it, to the first step that is certified.

Every state is exact, z(s) = z₀ + Q(s) r₀, so the settling time is found to one step dt in 2 log₂(time/dt) products.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.norms import EPS
from neurodecorr._numerics.simd import read_only
from neurodecorr._typing import Floats, Ints
from neurodecorr._validation import ROUNDING
from neurodecorr.circuit.chebyshev_kernels import fresh_memory, judge_rows
from neurodecorr.circuit.kernels import MET, RUNNING, STALLED
from neurodecorr.circuit.problem import Problem, SolverResult
from neurodecorr.errors import ConfigError

# With ‖hF‖ ≤ 1/2 the series below ends within rounding: 2⁻¹⁶/17! < 1e-19.
SERIES_NORM = 0.5
SERIES_TERMS = 16
HIGHEST_LEVEL = 60


def exponential_propagator(F: Floats, h: float) -> Floats:
    """Return Q(h) of the exact flow, by a short series and step doubling.

    ::

        Q(h) = h ∑_k (−hF)^k / (k+1)!,        Q(2h) = Q(h) (2I − F Q(h))

    Doubling Q instead of e^(−hF) keeps small steps free of cancellation; its error per doubling is that of one product.

    Parameters
    ----------
    F : (N, N) array
        Matrix of the dynamics.
    h : float
        Step in units of τ.

    Returns
    -------
    (N, N) array
        The propagator of the residual.

    Examples
    --------
    >>> import numpy as np
    >>> float(exponential_propagator(np.array([[2.0]]), 0.5)[0, 0].round(12))  # (1 − e⁻¹)/2
    0.316060279414

    References
    ----------
    Moler & Van Loan (2003), SIAM Review 45, 3–49 (scaling and squaring).
    """
    size = float(np.linalg.norm(F, 1)) * h
    doublings = max(0, math.ceil(math.log2(size / SERIES_NORM))) if size > 0 else 0
    Q = _series(F, h / 2**doublings)
    for _ in range(doublings):
        Q = 2 * Q - Q @ (F @ Q)
    return Q


def _series(F: Floats, h: float) -> Floats:
    """Return h ∑_{k<16} y^k/(k+1)!, y = −hF, in blocks of four powers: six products (Paterson and Stockmeyer 1973)."""
    y = -h * F
    y2 = y @ y
    powers = [np.eye(len(F)), y, y2, y2 @ y]
    y4 = y2 @ y2
    total = np.zeros_like(F)
    for block in range(SERIES_TERMS - 4, -1, -4):
        total = total @ y4 + sum(power / math.factorial(block + k + 1) for k, power in enumerate(powers))
    return h * total


def implicit_propagator(F: Floats, h: float) -> Floats:
    """Return Q(h) of one two-stage Radau IIA step: order 3, A- and L-stable.

    ::

        P(−y) = (1 − y/3) / (1 + 2y/3 + y²/6),    Q = F⁻¹(I − P(−hF)) = 2h Re[c (hF − pI)⁻¹],
        p = −2 + i√2,    c = ½ − i√2

    One complex inverse in place of a quadratic in F, which would square its condition.

    Parameters
    ----------
    F : (N, N) array
        Matrix of the dynamics.
    h : float
        Step in units of τ.

    Returns
    -------
    (N, N) array
        The propagator of the residual.

    References
    ----------
    Hairer and Wanner, Solving Ordinary Differential Equations II, §IV.5.
    """
    pole, weight = complex(-2, math.sqrt(2)), complex(0.5, -math.sqrt(2))
    inverse = np.linalg.inv(h * F - pole * np.eye(len(F)))
    return np.ascontiguousarray(2 * h * (weight * inverse).real)


class Ladder:
    """Exact propagators of the steps dt, 2dt, 4dt, … , built as they are asked for.

    ::

        Q(2h) = Q(h) (I + E(h)),    E(h) = I − F Q(h) = e^(−hF)

    This is the Newton–Schulz iteration for F⁻¹: doubling the time of the circuit doubles its correct digits.

    Parameters
    ----------
    F : (N, N) array
        Matrix of the dynamics, all eigenvalues with positive real part.
    dt : float
        Step of the lowest rung, in units of τ.
    dtype : dtype
        Precision in which the rungs are handed out; they are built in float64.
    """

    def __init__(self, F: Floats, dt: float, dtype: npt.DTypeLike) -> None:
        self.F, self.dtype = F, np.dtype(dtype)
        self._top = exponential_propagator(F, dt)
        self._rungs = [self._top.astype(self.dtype)]
        self._left = [math.inf, self._shrink()]

    def __getitem__(self, level: int) -> Floats:
        """Return Q(2^level dt)."""
        while len(self._rungs) <= level:
            self._top = self._top + self._top @ self._E
            self._rungs.append(self._top.astype(self.dtype))
            self._left.append(self._shrink())
        return self._rungs[level]

    def ends_at(self, level: int) -> bool:
        """Tell whether longer steps than this rung, which has been built, would change nothing but rounding.

        ‖E‖ squares from rung to rung once it is below one; where it no longer falls, it is rounding.
        """
        before, now = self._left[level], self._left[level + 1]
        return now <= EPS or (before < 0.1 and now > before / 2) or level >= HIGHEST_LEVEL

    def _shrink(self) -> float:
        self._E = np.eye(len(self.F)) - self.F @ self._top
        return float(np.linalg.norm(self._E))


Propagator = Callable[[Floats, float], Floats]

# An hour's work for the smallest circuit; beyond 2⁶³ a count would not even be a number.
MOST_STEPS = 10**10


def split(s: Floats, step: float) -> tuple[Floats, Ints]:
    """Return size and number of equal steps, at most `step`, up to each time from the one before."""
    gaps = np.diff(s, prepend=0.0)
    counts = np.maximum(np.ceil(gaps / step * (1 - ROUNDING)), gaps > 0)
    if not counts.sum() <= MOST_STEPS:
        raise ConfigError(
            f"the course must take at most {MOST_STEPS:.0e} steps; steps of {step:.3g} τ up to {s[-1]:.3g} τ make "
            f"{counts.sum():.3g}. Take a longer dt, or method 'exponential', which needs none."
        )
    counts = counts.astype(np.int64)
    return gaps / np.maximum(counts, 1), counts


def exact_cost(problem: Problem, s: Floats) -> float:
    """Return about how many products per sample `exact_frames` is worth, its propagators included.

    Products of matrices run at twice the speed of those with single vectors.
    """
    moving = s[1:] if s[0] == 0 else s
    gaps = np.diff(moving, prepend=0.0)
    if not moving.size:
        return 1.0
    distinct = 1 if np.ptp(gaps) <= 8 * EPS * s[-1] else len(np.unique(gaps))
    doublings = max(0.0, math.log2(2 * float(np.linalg.norm(problem.A, 1)) * float(gaps.max())))
    propagators = distinct * (6 + 2 * doublings + math.log2(len(s))) * problem.U.shape[1] / 2
    return float(propagators / len(problem.U) + 2 * len(moving))


def exact_frames(problem: Problem, s: Floats) -> tuple[Floats, Ints, Ints]:
    """Return the exact states at times s (units of τ), steps and products."""
    moving = s[1:] if s[0] == 0 else s
    gaps = np.diff(moving, prepend=0.0)
    size = problem.U.shape[1]
    # Doubling squares a matrix log₂ (frames) times, and saves one of two products per frame and sample.
    worth = math.log2(len(moving) + 1) * size <= len(moving) * len(problem.U) or size <= 64
    if len(moving) > 2 and worth and np.ptp(gaps) <= 8 * EPS * s[-1]:
        return _doubled_frames(problem, float(s[-1] / len(moving)), len(moving), len(moving) < len(s))
    return marched_frames(problem, s, math.inf, exponential_propagator)


def marched_frames(problem: Problem, s: Floats, step: float, propagator: Propagator) -> tuple[Floats, Ints, Ints]:
    """March by one propagator per distinct step; steps that differ by the rounding of the times share one.

    ::

        z ← z + Q(h) (u − A z)
    """
    h, counts = split(s, step)
    grain = 2.0 ** math.ceil(math.log2(8 * EPS * s[-1])) if s[-1] > 0 else 1.0
    F, z, dtype = problem.circuit.flow, problem.Z, problem.dtype
    frames = np.empty((len(s), *problem.U.shape), dtype)
    for frame, (size, count) in enumerate(zip(h, counts, strict=True)):
        if count:
            key = (propagator.__name__, grain, round(size / grain))
            if key not in problem.known:
                problem.known[key] = propagator(F, size).astype(dtype)
            for _ in range(count):
                z = z + (problem.rates * (problem.U - z @ problem.A.T)) @ problem.known[key].T
        frames[frame] = z
    steps = np.full(len(z), counts.sum())
    return frames, steps, 2 * steps


def _doubled_frames(problem: Problem, h: float, count: int, with_start: bool) -> tuple[Floats, Ints, Ints]:
    """Return `count` frames h apart, by doubling their number.

    ::

        y_{m+j} = y_m + E(mh) y_j,    y_j = z_j − z₀,    E(h) = I − F Q(h),    E(2h) = E(h)²
    """
    F, samples = problem.circuit.flow, len(problem.U)
    Q = exponential_propagator(F, h)
    E = np.eye(len(F)) - F @ Q
    frames = np.empty((count + with_start, *problem.U.shape), problem.dtype)
    y = frames[int(with_start) :]
    y[0] = (problem.rates * (problem.U - problem.Z @ problem.A.T)) @ Q.T.astype(problem.dtype)
    done = 1
    while done < count:
        more = min(done, count - done)
        np.matmul(
            y[:more].reshape(more * samples, -1),
            E.T.astype(problem.dtype),
            out=y[done : done + more].reshape(more * samples, -1),
        )
        y[done : done + more] += y[done - 1]
        done += more
        if done < count:
            E = E @ E
    if problem.Z.any():
        y += problem.Z
    frames[: int(with_start)] = problem.Z
    return frames, np.full(samples, count), np.full(samples, count + 1)


# The settling time is found to this share of the slowest time constant.
RESOLUTION = 1 / 64


def settle_exactly(problem: Problem, method: str) -> SolverResult:
    """Settle by exact exponential steps of dt, found by doubling and bisection over their number.

    ::

        z ← z + Q(h) (u − A z),    h = dt, 2 dt, 4 dt, …
    """
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
        self.goal, self.memory = problem.goal(0.5), fresh_memory(problem.U)
        samples = len(problem.U)
        self.base, self.found = problem.Z.copy(), problem.Z.copy()
        self.base_steps, self.found_steps = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
        self.slope = np.zeros_like(problem.Z)
        self.products = np.full(samples, problem.first_product)
        self.top = np.full(samples, -1)
        everyone = np.arange(samples)
        self.code = self._keep(everyone, problem.Z.copy(), self.base_steps)

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

    def run(self, dt: float) -> SolverResult:
        """Return the earliest settled states, or the latest ones reached."""
        met = self.code == MET
        Z = np.where(met[:, None], self.found, self.base)
        steps = np.where(met, self.found_steps, self.base_steps)
        return SolverResult(Z, steps, self.products, steps * dt, self.code)

    def _try(self, rows: Ints, z: Floats, slope: Floats, steps: Ints, level: int) -> Ints:
        """Move rows 2^level steps on and keep where they come to."""
        trial = z + slope @ self.ladder[level].T
        self.products[rows] += 2
        return self._keep(rows, trial, steps + 2**level)

    def _keep(self, rows: Ints, z: Floats, steps: Ints) -> Ints:
        """Keep states as found if they are settled, else as base."""
        gap, code = z @ self.problem.A.T, np.empty(len(rows), np.int64)
        judge_rows(read_only(self.problem.U[rows]), gap, z, self.goal, rows, self.memory, code)
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
