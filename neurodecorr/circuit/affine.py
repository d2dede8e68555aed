"""Trajectories by propagators: one matrix per distinct step, and frames by doubling where the steps are equal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import ROUNDING
from neurodecorr.circuit.problem import Problem
from neurodecorr.circuit.propagator import exponential_propagator
from neurodecorr.errors import ConfigError

__all__ = ["exact_cost", "exact_frames", "marched_frames", "split"]

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Propagator = Callable[[Floats, float], Floats]

EPS = float(np.finfo(np.float64).eps)
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
    """March by one propagator per distinct step; steps that differ by the rounding of the times share one."""
    h, counts = split(s, step)
    grain = 2.0 ** math.ceil(math.log2(8 * EPS * s[-1])) if s[-1] > 0 else 1.0
    frames, z = np.empty((len(s), *problem.U.shape), problem.dtype), problem.Z
    for frame, (size, count) in enumerate(zip(h, counts, strict=True)):
        if count:
            key = (propagator.__name__, grain, round(size / grain))
            if key not in problem.known:
                problem.known[key] = propagator(problem.circuit.flow, size).astype(problem.dtype)
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
