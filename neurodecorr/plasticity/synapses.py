"""Compiled single-sample learning over existing synapses only: compressed sparse rows, one pass per update.

==================  ==========================================================================
`local_step`        R_ij ← (R_ij + η w_ij x_i x̄_j)/g_j                        g = 1 + η p
`symmetric_step`    R_ij ← (R_ij + η/2 w_ij (x_i x̄_j + x̄_i x_j))/√(g_i g_j)
`relative_step`     M_ij ← g_i (M_ij − η/(1 + η x̄ᵀx̄) x̄_i (x̄ᵀM)_j)
==================  ==========================================================================

Indices are read as unsigned: a signed one may count from the end, and the test for that costs half the speed or more.
Rows share nothing, so that threads give the same numbers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from neurodecorr._compile import jit, prange
from neurodecorr._sparse import sparse_product
from neurodecorr.plasticity.codes import FASTEST_MEMORY, HUGE, OUTLIER, TRACE_MEMORY

__all__ = ["LOCAL", "RELATIVE", "SYMMETRIC", "Synapses", "learn_rows"]

Array = np.ndarray[Any, np.dtype[Any]]

LOCAL, SYMMETRIC, RELATIVE = 0, 1, 2
SAMPLES, TRACE, LIMITED, CLIPPED, PRODUCTS = 0, 1, 2, 3, 4


class Synapses(NamedTuple):
    """Weights in compressed sparse rows: unit i hears units indices[s] with weights data[s], indptr[i] ≤ s.

    `taper` holds the reach w of each synapse, or one number for all.
    """

    data: Array
    indices: Array
    indptr: Array
    taper: Array


@jit()
def product_transposed(A: Synapses, v: Array, out: Array) -> None:
    """Write Aᵀ v into `out`, in the order in which A lies in memory."""
    out[:] = 0
    for i in range(v.size):
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            out[np.uint32(A.indices[s])] += v[i] * A.data[s]


@jit()
def local_step(A: Synapses, x: Array, xbar: Array, eta: float, keep: Array, first: int, last: int) -> None:
    """R_ij ← (R_ij + η w_ij x_i x̄_j)/g_j in rows `first` … `last` − 1; `keep` holds 1/g."""
    each = A.taper.size > 1
    for i in range(first, last):
        pull = eta * x[i]
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            j = np.uint32(A.indices[s])
            A.data[s] = (A.data[s] + (A.taper[s] if each else A.taper[0]) * pull * xbar[j]) * keep[j]


@jit()
def symmetric_step(A: Synapses, x: Array, xbar: Array, eta: float, keep: Array, first: int, last: int) -> None:
    """R_ij ← (R_ij + η/2 w_ij (x_i x̄_j + x̄_i x_j))/√(g_i g_j) in the given rows; `keep` holds 1/√g."""
    each = A.taper.size > 1
    for i in range(first, last):
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            j = np.uint32(A.indices[s])
            mixed = (A.taper[s] if each else A.taper[0]) * 0.5 * eta * (x[i] * xbar[j] + xbar[i] * x[j])
            A.data[s] = (A.data[s] + mixed) * (keep[i] * keep[j])


@jit()
def relative_step(A: Synapses, back: Array, xbar: Array, shrink: float, gain: Array, first: int, last: int) -> None:
    """M_ij ← g_i (M_ij − η/(1 + η x̄ᵀx̄) x̄_i (x̄ᵀM)_j) in the given rows; `shrink` is η/(1 + η x̄ᵀx̄)."""
    for i in range(first, last):
        pull = shrink * xbar[i]
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            A.data[s] = gain[i] * (A.data[s] - pull * back[np.uint32(A.indices[s])])


@jit()
def step_rows(rule: int, A: Synapses, x: Array, xbar: Array, eta: float, gain: Array, first: int, last: int) -> None:
    """Take the step of a rule in rows `first` … `last` − 1."""
    if rule == LOCAL:
        local_step(A, x, xbar, eta, gain, first, last)
    elif rule == SYMMETRIC:
        symmetric_step(A, x, xbar, eta, gain, first, last)
    else:
        relative_step(A, x, xbar, eta, gain, first, last)


@jit(parallel=True)
def step_on_threads(rule: int, A: Synapses, x: Array, xbar: Array, eta: float, gain: Array, cuts: Array) -> None:
    """Take the step of a rule, the rows between two cuts by one thread."""
    for part in prange(cuts.size - 1):
        step_rows(rule, A, x, xbar, eta, gain, cuts[part], cuts[part + 1])


@jit()
def clip(A: Synapses, share: float, symmetric: bool, factor: Array) -> int:
    """Shrink the off-diagonal weights so that Σ_{j≠i} |R_ij| ≤ `share` R_ii; return how many rows were too strong.

    By row s_i, or by min(s_i, s_j), which keeps a symmetric R symmetric.
    """
    strong = 0
    for i in range(factor.size):
        own, around = 0.0, 0.0
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            if A.indices[s] == i:
                own = A.data[s]
            else:
                around += abs(A.data[s])
        factor[i] = 1.0
        if around > share * own:
            factor[i] = max(share * own, 0.0) / around
            strong += 1
    if strong > 0:
        for i in range(factor.size):
            for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
                j = np.uint32(A.indices[s])
                if j != i:
                    A.data[s] *= min(factor[i], factor[j]) if symmetric else factor[i]
    return strong


@jit()
def settle_row(A: Synapses, x: Array, z: Array, work: Array, cuts: Array, tol: float, most: int) -> int:
    """Bring ‖x − A z‖ below `tol` ‖x‖ by BiCGStab from z; return the products spent, or −1 if it does not get there.

    Needs no bounds of the spectrum, which moves while A learns (van der Vorst 1992).
    """
    r, shadow, p, v, s, t = work[0], work[1], work[2], work[3], work[4], work[5]
    sparse_product(A, z, v, cuts)
    for i in range(x.size):
        r[i] = x[i] - v[i]
    goal = tol * tol * np.sum(x * x)
    products, square = 1, np.sum(r * r)
    fresh, rho = True, 1.0
    alpha = omega = 1.0
    while not square <= goal:
        if products >= most or not square < HUGE:
            return -1
        if fresh:
            shadow[:] = r
            p[:] = r
            rho = square
            fresh = False
        else:
            new = np.sum(shadow * r)
            beta = new / rho * (alpha / omega)
            for i in range(x.size):
                p[i] = r[i] + beta * (p[i] - omega * v[i])
            rho = new
        sparse_product(A, p, v, cuts)
        alpha = rho / np.sum(shadow * v)
        for i in range(x.size):
            s[i] = r[i] - alpha * v[i]
        sparse_product(A, s, t, cuts)
        length = np.sum(t * t)
        omega = np.sum(t * s) / length if length > 0 else 0.0
        for i in range(x.size):
            z[i] += alpha * p[i] + omega * s[i]
            r[i] = s[i] - omega * t[i]
        products += 2
        square = np.sum(r * r)
        # A shadow residual that has become orthogonal carries no more information: begin anew from here.
        fresh = abs(np.sum(shadow * r)) <= 1e-10 * math.sqrt(square * np.sum(shadow * shadow)) or omega == 0.0
    return products


@jit()
def learn_rows(
    rule: int,
    A: Synapses,
    xbar: Array,
    mean: Array,
    power: Array,
    counters: Array,
    X: Array,
    cuts: Array,
    rate: float,
    half: float,
    limit: float,
    share: float,
    tol: float,
    most: int,
) -> int:
    """Learn from the rows of X one by one, in place; return the row that did not settle, or −1.

    Parameters
    ----------
    rule : int
        `LOCAL`, `SYMMETRIC` (R, settled) or `RELATIVE` (M, one product).
    A : Synapses
        R or M.
    xbar, mean, power : (n,) arrays
        Last activity, where settling begins; running mean and power of the inputs.
    counters : (5,) array
        Samples, running ⟨x̄²⟩, steps limited, rows clipped, products spent.
    X : (samples, n) array
        The stream.
    cuts : (parts + 1,) array
        Where rows are cut for threads, 0 … n; two numbers for no threads.
    rate, half : float
        η = rate/(1 + t/half) in units of the inverse mean input power.
    limit : float
        Upper bound of η times the power that the synapses of a unit carry.
    share : float
        Dominance kept, see `clip`; infinity for none.
    tol, most : float, int
        Relative residual to settle to, and the products allowed.
    """
    n = xbar.size
    x, gain, work = np.empty(n), np.empty(n), np.empty((6, n))
    fan_in = A.data.size / n
    for k in range(X.shape[0]):
        time = counters[SAMPLES]
        eta = rate / (1.0 + time / half)
        memory = max(1.0 / (time + 1.0), min(eta, FASTEST_MEMORY))
        for j in range(n):
            mean[j] += memory * (X[k, j] - mean[j])
            x[j] = X[k, j] - mean[j]
            power[j] += memory * (x[j] * x[j] - power[j])
        unit = np.sum(power) / n
        eta = eta / unit if unit > 0 else 0.0
        if rule == RELATIVE:
            sparse_product(A, x, xbar, cuts)
            counters[PRODUCTS] += 1
        else:
            used = settle_row(A, x, xbar, work, cuts, tol, most)
            if used < 0:
                return k
            counters[PRODUCTS] += used
        size = np.sum(xbar * xbar) / n
        if not size < HUGE:
            return k
        counters[TRACE] += max(1.0 / (time + 1.0), TRACE_MEMORY) * (size - counters[TRACE])
        strength = fan_in * max(counters[TRACE], size / OUTLIER)
        if eta * strength > limit:
            eta = limit / strength
            counters[LIMITED] += 1
        for j in range(n):
            gain[j] = 1.0 + eta * power[j]
        if rule == LOCAL:
            gain[:] = 1.0 / gain
        elif rule == SYMMETRIC:
            gain[:] = 1.0 / np.sqrt(gain)
        else:
            product_transposed(A, xbar, x)
            eta = eta / (1.0 + eta * np.sum(xbar * xbar))
        if cuts.size > 2:
            step_on_threads(rule, A, x, xbar, eta, gain, cuts)
        else:
            step_rows(rule, A, x, xbar, eta, gain, 0, n)
        if share < math.inf:
            counters[CLIPPED] += clip(A, share, rule == SYMMETRIC, gain)
        counters[SAMPLES] = time + 1.0
    return -1
