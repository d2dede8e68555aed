"""Compiled kernels over compressed sparse rows: one pass over the synapses each.

Indices are read as unsigned: a signed one may count from the end, and the test for that costs half the speed or more.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from neurodecorr._compile import jit
from neurodecorr.circuit.kernels import DIVERGED, MET, RUNNING

__all__ = ["Goals", "Rows", "march_sparse", "sparse_product", "sparse_residual"]

Array = np.ndarray[Any, np.dtype[Any]]


class Rows(NamedTuple):
    """A matrix in compressed sparse rows: row i holds data[indptr[i] : indptr[i + 1]] in columns `indices`."""

    data: Array
    indices: Array
    indptr: Array


class Goals(NamedTuple):
    """When a sample stops: residual ≤ `absolute` + `relative` ‖z‖, or > `largest` ‖u‖, or after `most` steps."""

    absolute: float
    relative: float
    largest: float
    most: int


@jit()
def sparse_product(A: Rows, v: Array, out: Array) -> None:
    """Write A v into `out`."""
    for i in range(out.size):
        total = 0.0
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            total += A.data[s] * v[np.uint32(A.indices[s])]
        out[i] = total


@jit()
def chebyshev_pass(A: Rows, u: Array, z: Array, p: Array, alpha: float, omega: float, out: Array) -> float:
    """p ← α (u − A z) + ω p,  out ← z + p; return ‖u − A z‖²."""
    square = 0.0
    for i in range(u.size):
        total = u[i]
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            total -= A.data[s] * z[np.uint32(A.indices[s])]
        p[i] = alpha * total + omega * p[i]
        out[i] = z[i] + p[i]
        square += total * total
    return square


@jit()
def march_sparse(A: Rows, u: Array, z: Array, centre: float, focus: float, goal: Goals) -> tuple[int, int]:
    """Take Chebyshev-scheduled Euler steps until the goal; z moves along. Return the steps taken and the code.

    The three-term recurrence of `chebyshev.recurrence`, two states in turn.
    """
    p, other = np.zeros_like(z), np.empty_like(z)
    limit = goal.largest * math.sqrt(np.sum(u * u))
    rho, alpha, omega = focus / centre, 1.0 / centre, 0.0
    for step in range(goal.most + 1):
        old, new = (z, other) if step % 2 == 0 else (other, z)
        gap = math.sqrt(chebyshev_pass(A, u, old, p, alpha, omega, new))
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
