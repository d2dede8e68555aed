"""Exact trajectories under an input that switches: one schedule of steps from event to event, few propagators.

An event is a switch or a requested time. Steps that repeat share one propagator each; all others share the rungs
Q(h), Q(2h), Q(4h), … and a short series, so that no step costs more than a few products.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.norms import EPS
from neurodecorr._typing import Array, Floats, Ints
from neurodecorr.circuit.kernels import Flow
from neurodecorr.circuit.problem import Problem
from neurodecorr.circuit.propagators import SERIES_NORM, Ladder, exponential_propagator

# Of the series of the rest of a step, ‖hF‖ ≤ 1/2: 2⁻¹⁶/17! < 1e-19.
TERMS = 16


@jit()
def switched_residual(A: Array, rates: Array, u: Array, z: Array, out: Array) -> None:
    """Write κ ∘ (u − A z) into `out`."""
    for i in range(z.size):
        total = A[i, 0] * z[0]
        for j in range(1, z.size):
            total += A[i, j] * z[j]
        out[i] = rates[i] * (u[i] - total)


@jit()
def add_term(Q: Array, r: Array, z: Array) -> None:
    """z ← z + Q r."""
    for i in range(z.size):
        total = Q[i, 0] * r[0]
        for j in range(1, z.size):
            total += Q[i, j] * r[j]
        z[i] += total


@jit()
def add_series(A: Array, rates: Array, h: float, r: Array, term: Array, z: Array) -> None:
    """z ← z + h Σ_k (−hF)^k r/(k+1)!; r and `term` are overwritten."""
    for i in range(z.size):
        r[i] *= h
        z[i] += r[i]
    for k in range(2, TERMS + 1):
        for i in range(z.size):
            total = A[i, 0] * r[0]
            for j in range(1, z.size):
                total += A[i, j] * r[j]
            term[i] = -h / k * rates[i] * total
        for i in range(z.size):
            r[i] = term[i]
            z[i] += r[i]


# A propagator of N units costs about this many products per unit, a step by rungs and series this many products.
PROPAGATOR, BY_RUNGS = 6, 24
# Up to this many multiplications per step a compiled loop is faster than calls of BLAS.
COMPILED = 2**15


class Events(NamedTuple):
    """Steps from event to event: its length, the piece it lies in, and the frame at its end, −1 for none."""

    steps: Floats
    piece: Ints
    frame: Ints


class Walk(NamedTuple):
    """Propagators (count, N, N); those to apply in each step, −1 for none; and the rest of it, left to a series."""

    Q: Floats
    order: Ints
    rest: Floats


@jit()
def walk(flow: Flow, U: Array, Z: Array, course: Events, chosen: Walk, frames: Array) -> None:
    """Take all steps of each sample, in place, and save the states that were asked for.

    Parameters
    ----------
    flow : Flow
        Matrix and rates of the dynamics.
    U : (pieces, samples, N) array
        Drives.
    Z : (samples, N) array
        States.
    course, chosen : Events, Walk
        The steps, and the propagators that take them, in the precision of the states.
    frames : (times, samples, N) array
        Receives the states.
    """
    A, rates, Q, order, rest = flow.A, flow.rates, chosen.Q, chosen.order, chosen.rest
    piece, frame = course.piece, course.frame
    r, term = np.empty(Z.shape[1], Z.dtype), np.empty(Z.shape[1], Z.dtype)
    for row in range(Z.shape[0]):
        z = Z[row]
        for k in range(piece.size):
            u = U[piece[k], row]
            for q in range(order.shape[1]):
                if order[k, q] >= 0:
                    switched_residual(A, rates, u, z, r)
                    add_term(Q[order[k, q]], r, z)
            if rest[k] > 0:
                switched_residual(A, rates, u, z, r)
                add_series(A, rates, rest[k], r, term, z)
            if frame[k] >= 0:
                for i in range(z.size):
                    frames[frame[k], row, i] = z[i]


def events(switches: Floats, s: Floats) -> Events:
    """Merge switches and requested times, both in units of τ, into one course; it ends with the last time."""
    inner = switches[(switches > 0) & (switches < s[-1])]
    ends = np.union1d(inner, s)
    steps = np.diff(ends, prepend=0.0)
    piece = np.searchsorted(switches, ends - steps / 2, side="right") - 1
    frame = np.full(len(ends), -1)
    frame[np.searchsorted(ends, s)] = np.arange(len(s))
    return Events(steps, piece, frame)


def plan(F: Floats, steps: Floats, span: float) -> Walk:
    """Choose the propagators of a course; steps that differ by the rounding of the times are one."""
    grain = 2.0 ** math.ceil(math.log2(8 * EPS * span)) if span > 0 else 1.0
    keys, first, which, uses = np.unique(
        np.round(steps / grain), return_index=True, return_inverse=True, return_counts=True
    )
    shared = (uses * BY_RUNGS >= PROPAGATOR * len(F)) & (keys > 0)
    if PROPAGATOR * len(F) * len(keys) <= BY_RUNGS * len(steps):
        shared = keys > 0
    own = np.cumsum(shared) - 1
    Q = [exponential_propagator(F, float(steps[first[k]])) for k in np.flatnonzero(shared)]
    order, rest = np.where(shared[which], own[which], -1)[:, None], np.zeros(len(steps))
    alone = ~shared[which] & (keys[which] > 0)
    if alone.any():
        h = SERIES_NORM / float(np.linalg.norm(F, 1))
        counts = np.floor(steps / h).astype(np.int64)
        rest[alone] = steps[alone] - counts[alone] * h
        levels = int(counts[alone].max()).bit_length()
        digits = (counts[:, None] >> np.arange(levels)) & 1
        ladder = Ladder(F, h, np.float64)
        rungs = np.where((digits > 0) & alone[:, None], len(Q) + np.arange(levels), -1)
        order = np.concatenate([order, rungs], axis=1)
        Q += [ladder[level] for level in range(levels)]
    return Walk(np.array(Q) if Q else np.empty((0, *F.shape)), order, rest)


def switched_frames(problem: Problem, switches: Floats, U: Floats, s: Floats) -> tuple[Floats, Ints, Ints]:
    """Return the exact states at times s under drives U, (pieces, samples, N), from switch to switch; steps, products.

    ::

        z ← z + Q(h) κ ∘ (u − A z)
    """
    course = events(switches, s)
    found = plan(problem.circuit.flow, course.steps, float(s[-1]))
    frames, Z = np.empty((len(s), *problem.Z.shape), problem.dtype), problem.Z.copy()
    found = Walk(found.Q.astype(problem.dtype), found.order, found.rest.astype(problem.dtype))
    if Z.size * Z.shape[1] <= COMPILED:
        walk(Flow(problem.A, problem.rates), U, Z, course, found, frames)
    else:
        _walk(problem, U, Z, course, found, frames)
    taken = np.full(len(Z), np.count_nonzero(course.steps))
    products = 2 * np.count_nonzero(found.order >= 0) + (TERMS + 1) * np.count_nonzero(found.rest)
    return frames, taken, np.full(len(Z), products)


def _walk(problem: Problem, U: Floats, Z: Floats, course: Events, chosen: Walk, frames: Floats) -> None:
    """Do as the kernel `walk` does, by products of whole batches."""
    A, rates, (Q, order, rest) = problem.A.T, problem.rates, chosen
    unit = bool((rates == 1).all())
    for k, (piece, frame) in enumerate(zip(course.piece.tolist(), course.frame.tolist(), strict=True)):
        for q in order[k].tolist():
            if q >= 0:
                gap = Z @ A
                np.subtract(U[piece], gap, out=gap)
                Z += (gap if unit else rates * gap) @ Q[q].T
        if rest[k] > 0:
            term = rest[k] * (rates * (U[piece] - Z @ A))
            Z += term
            for j in range(2, TERMS + 1):
                term = (-rest[k] / j) * (rates * (term @ A))
                Z += term
        if frame >= 0:
            frames[frame] = Z
