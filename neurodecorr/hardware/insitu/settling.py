"""Compiled settled states of a chip, and its test of stability."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodecorr._compile import jit
from neurodecorr._norms import norm
from neurodecorr.hardware.insitu.codes import RAISED, UNSETTLED

Array = np.ndarray[Any, np.dtype[Any]]

REFINEMENTS = 12
SETTLED = 1e-9
# Tests in a row, each followed by a raise, before a chip is given up.
ROUNDS = 400


@jit()
def invert(W: Array, M: Array, work: Array) -> None:
    """Write W⁻¹ into M: Gauss and Jordan, with the largest pivot of each column."""
    n = W.shape[0]
    work[:] = W
    M[:] = 0.0
    for k in range(n):
        M[k, k] = 1.0
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(work[i, k]) > abs(work[best, k]):
                best = i
        if best != k:
            for j in range(n):
                work[k, j], work[best, j] = work[best, j], work[k, j]
                M[k, j], M[best, j] = M[best, j], M[k, j]
        scale = 1.0 / work[k, k] if work[k, k] != 0.0 else 0.0
        for j in range(n):
            work[k, j] *= scale
            M[k, j] *= scale
        for i in range(n):
            pull = work[i, k]
            if i != k and pull != 0.0:
                for j in range(n):
                    work[i, j] -= pull * work[k, j]
                    M[i, j] -= pull * M[k, j]


@jit()
def product(A: Array, v: Array, out: Array) -> None:
    """Write A v into `out`."""
    for i in range(A.shape[0]):
        total = 0.0
        for j in range(A.shape[1]):
            total += A[i, j] * v[j]
        out[i] = total


@jit()
def refine(W: Array, M: Array, x: Array, xbar: Array, residual: Array, error: Array) -> bool:
    """Correct x̄ by M (x − W x̄) until that is small; return whether it got there."""
    size = norm(x)
    for _ in range(REFINEMENTS):
        product(W, xbar, residual)
        for i in range(x.size):
            residual[i] = x[i] - residual[i]
        if norm(residual) <= SETTLED * size:
            return True
        product(M, residual, error)
        for i in range(x.size):
            xbar[i] += error[i]
    return False


@jit()
def settle(W: Array, M: Array, work: Array, x: Array, xbar: Array, residual: Array, error: Array) -> bool:
    """Settle one sample on the weights as they are now; M is an inverse of some samples ago, renewed if need be."""
    product(M, x, xbar)
    if refine(W, M, x, xbar, residual, error):
        return True
    invert(W, M, work)
    product(M, x, xbar)
    return refine(W, M, x, xbar, residual, error)


@jit()
def stress(W: Array, x: Array, margin: float, duration: float, rail: float, v: Array, flow: Array, hit: Array) -> bool:
    """Run dv/dt = x − (W − μI) v from rest for `duration` τ; mark the units that reach the rail; return if none did.

    Each unit feeds μ of its activity back to itself while it is tested: what is stable then is stable with room.
    """
    bound = 0.0
    for i in range(W.shape[0]):
        bound = max(bound, np.sum(np.abs(W[i])))
    dt = 1.0 / bound
    v[:] = 0.0
    for i in range(x.size):
        hit[i] = False
    for _ in range(int(duration / dt) + 1):
        product(W, v, flow)
        passed = False
        for i in range(x.size):
            v[i] += dt * (x[i] - flow[i] + margin * v[i])
            if abs(v[i]) > rail:
                hit[i] = True
                passed = True
        if passed:
            return False
    return True


@jit()
def guard(
    W: Array,
    leak: Array,
    X: Array,
    first: int,
    margin: float,
    duration: float,
    rail: float,
    step: float,
    rounds: int,
    v: Array,
    flow: Array,
    hit: Array,
    counters: Array,
) -> bool:
    """Test the chip, and have every unit that reached the rail raise its own leak, until none does."""
    for round in range(rounds):
        if stress(W, X[(first + round) % X.shape[0]], margin, duration, rail, v, flow, hit):
            return True
        for i in range(leak.size):
            if hit[i]:
                leak[i] += step
                W[i, i] += step
                counters[RAISED] += 1
    counters[UNSETTLED] += 1
    return False
