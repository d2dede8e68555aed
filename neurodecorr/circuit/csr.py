"""Compiled kernels over compressed sparse rows: one pass over the synapses each.

Indices are read as unsigned: a signed one may count from the end, and the test for that costs half the speed or more.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from neurodecorr._compile import jit, prange
from neurodecorr._sparse import Rows
from neurodecorr.circuit.kernels import DIVERGED, MET, RUNNING

__all__ = ["Goals", "march_sparse", "sparse_residual"]

Array = np.ndarray[Any, np.dtype[Any]]


class Goals(NamedTuple):
    """When a sample stops: residual ≤ `absolute` + `relative` ‖z‖, or > `largest` ‖u‖, or after `most` steps."""

    absolute: float
    relative: float
    largest: float
    most: int


@jit()
def chebyshev_rows(
    A: Rows, u: Array, z: Array, p: Array, alpha: float, omega: float, out: Array, first: int, last: int
) -> float:
    """p ← α (u − A z) + ω p,  out ← z + p in rows `first` … `last` − 1; return their share of ‖u − A z‖²."""
    square = 0.0
    for i in range(first, last):
        total = u[i]
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            total -= A.data[s] * z[np.uint32(A.indices[s])]
        p[i] = alpha * total + omega * p[i]
        out[i] = z[i] + p[i]
        square += total * total
    return square


@jit(parallel=True)
def chebyshev_on_threads(
    A: Rows, u: Array, z: Array, p: Array, alpha: float, omega: float, out: Array, cuts: Array
) -> float:
    """Take the step in all rows, those between two cuts by one thread; return ‖u − A z‖²."""
    squares = np.empty(cuts.size - 1)
    for part in prange(cuts.size - 1):
        squares[part] = chebyshev_rows(A, u, z, p, alpha, omega, out, cuts[part], cuts[part + 1])
    return float(np.sum(squares))


@jit()
def march_sparse(A: Rows, u: Array, z: Array, centre: float, focus: float, goal: Goals, cuts: Array) -> tuple[int, int]:
    """Take Chebyshev-scheduled Euler steps until the goal; z moves along. Return the steps taken and the code.

    The three-term recurrence of `chebyshev.recurrence`, two states in turn; on threads where the rows are cut.
    """
    p, other = np.zeros_like(z), np.empty_like(z)
    limit = goal.largest * math.sqrt(np.sum(u * u))
    rho, alpha, omega = focus / centre, 1.0 / centre, 0.0
    for step in range(goal.most + 1):
        old, new = (z, other) if step % 2 == 0 else (other, z)
        if cuts.size > 2:
            gap = math.sqrt(chebyshev_on_threads(A, u, old, p, alpha, omega, new, cuts))
        else:
            gap = math.sqrt(chebyshev_rows(A, u, old, p, alpha, omega, new, 0, u.size))
        size = math.sqrt(np.sum(old * old)) if goal.relative > 0 else 0.0
        met = gap <= goal.absolute + goal.relative * size
        lost = not gap <= limit
        if met or lost or step == goal.most:
            z[:] = old
            return step, MET if met else (DIVERGED if lost else RUNNING)
        alpha = 1.0 / (centre - focus * rho / 2)
        omega = focus * alpha / 2 * rho
        rho = focus * alpha / 2
    return goal.most, RUNNING


@jit()
def sparse_residual(A: Rows, u: Array, z: Array, gap: Array, noise: Array) -> None:
    """Write u − A z and a bound on its rounding, γ (|u| + |A||z|), in float64."""
    unit = 2.0**-53
    for i in range(u.size):
        total = np.float64(u[i])
        size = abs(total)
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            term = np.float64(A.data[s]) * np.float64(z[np.uint32(A.indices[s])])
            total -= term
            size += abs(term)
        gap[i] = total
        # n products and n subtractions, in any order: γ_{n+1}; 1.01 covers its denominator and the sum of sizes.
        noise[i] = 1.01 * (A.indptr[i + 1] - A.indptr[i] + 2) * unit * size
