"""Input that changes in time: constant from switch to switch, or any function of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.norms import EPS, norms
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats, Ints
from neurodecorr._validation import ROUNDING, finite, instants, numeral, real_array, sample_or_samples
from neurodecorr.circuit.kernels import LEAST_ERROR, LEAST_STEP, Flow, factor
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.circuit.problem import Problem, drive
from neurodecorr.circuit.propagators import SERIES_NORM, Ladder, exponential_propagator, split
from neurodecorr.circuit.runge_kutta import FIRST_STEP, largest_step
from neurodecorr.circuit.tableaux import DORMAND_PRINCE, Tableau
from neurodecorr.errors import InputError

# Of the series of the rest of a step, ‖hF‖ ≤ 1/2: 2⁻¹⁶/17! < 1e-19.
TERMS = 16


@jit()
def switched_residual(A: Array, rates: Array, u: Array, z: Array, out: Array) -> None:
    """Write out ← κ ∘ (u − A z)."""
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
    """z ← z + h ∑_k (−hF)^k r/(k+1)!; r and `term` are overwritten."""
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


# The drive u, (samples, N), at a time in units of τ.
Drive = Callable[[float], Floats]


@short_repr
@dataclass(frozen=True, eq=False)
class PiecewiseConstant:
    """Input that jumps at given times and is constant in between.

    ::

        x(t) = values[k]    for times[k] ≤ t < times[k + 1]

    Every method integrates it without an error from the jumps; the exact ones exactly.

    Parameters
    ----------
    times : (pieces,) array
        Start of each piece, in the unit of τ; the first is 0, and they increase strictly.
    values : (pieces, n) or (pieces, samples, n) array
        Input in each piece.

    Raises
    ------
    InputError
        If the times do not start at 0 or do not increase, or the values do not match them.

    Examples
    --------
    >>> from neurodecorr.circuit.model import Circuit
    >>> from neurodecorr.circuit.integrate import integrate
    >>> x = PiecewiseConstant([0.0, 1.0], [[1.0], [0.0]])
    >>> integrate(Circuit([[1.0]]), x, 2.0, "exponential", times=[1.0, 2.0]).xbar.round(6)
    array([[0.632121],
           [0.232544]])
    """

    times: Floats
    values: Floats

    def __post_init__(self) -> None:
        times = instants(self.times, "times", from_zero=True)
        values = finite(real_array(self.values, "values"), "values")
        if values.ndim not in (2, 3) or len(values) != len(times):
            raise InputError(
                f"values must be (pieces, n) or (pieces, samples, n) with {len(times)} pieces; got {values.shape}."
            )
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", values)


def drives_at(x: Callable[[float], npt.ArrayLike], t: float, features: int, samples: int | None) -> tuple[Floats, bool]:
    """Return the input at a time as (samples, n), and whether it is a single one; its number must not change."""
    drives, single = sample_or_samples(x(t), f"x({numeral(t)})", features)
    if samples is not None and len(drives) != samples:
        raise InputError(
            f"x(t) must return as many samples at all times; got {len(drives)} at t = {numeral(t)}, {samples} at 0."
        )
    return drives, single


def drives_of(values: Floats, circuit: LinearCircuit, dtype: npt.DTypeLike) -> Floats:
    """Return the drives of all pieces, (pieces, samples, N), from inputs (pieces, n) or (pieces, samples, n)."""
    rows = values.reshape(-1, values.shape[-1])
    return drive(circuit, rows, dtype).reshape(len(values), -1, circuit.state_size)


def driven_frames(problem: Problem, s: Floats, u: Drive, tableau: Tableau, step: float) -> tuple[Floats, Ints, Ints]:
    """Return the states at times s (units of τ), by equal steps up to each; steps and products."""
    h, counts = split(s, step)
    frames, z, now = np.empty((len(s), *problem.U.shape), problem.dtype), problem.Z, 0.0
    for frame, (size, count) in enumerate(zip(h, counts, strict=True)):
        for k in range(count):
            K = _slopes(problem, tableau, u, now + k * size, size, z)
            z = z + size * np.tensordot(tableau.b.astype(problem.dtype), K, 1)
        now = float(s[frame])
        frames[frame] = z
    steps = np.full(len(z), counts.sum())
    return frames, steps, steps * tableau.stages


def adaptive_driven_frames(
    problem: Problem, s: Floats, u: Drive, tolerances: tuple[float, float]
) -> tuple[Floats, Ints, Ints]:
    """Return the states at times s by Dormand–Prince steps of the whole batch, as small as its worst sample asks."""
    tableau, largest, (rtol, atol) = DORMAND_PRINCE, largest_step(problem), tolerances
    frames, z, now, h, last = np.empty((len(s), *problem.U.shape), problem.dtype), problem.Z, 0.0, 0.0, LEAST_ERROR
    h, taken, tried = FIRST_STEP * largest, 0, 0
    for frame, end in enumerate(s):
        while now < end:
            ends = now + h * (1 + ROUNDING) >= end
            size = float(end - now) if ends else h
            K = _slopes(problem, tableau, u, now, size, z)
            new = z + size * np.tensordot(tableau.b.astype(problem.dtype), K, 1)
            at_new = _slope(problem, u(now + size), new)
            off = size * (np.tensordot(tableau.error[:-1].astype(problem.dtype), K, 1) + tableau.error[-1] * at_new)
            error = float((norms(off) / (atol + rtol * np.maximum(norms(z), norms(new)))).max())
            tried += 1
            if not np.isfinite(error):
                frames[frame:] = np.nan
                return frames, np.full(len(z), taken), np.full(len(z), tried * (tableau.stages + 1))
            if error <= 1 or size <= LEAST_STEP * largest:
                now, z, taken = float(end) if ends else now + size, new, taken + 1
                grown = size * factor(error, last)
                h, last = min(largest, max(h, grown) if ends else grown), max(error, LEAST_ERROR)
            else:
                h = size * min(1.0, factor(error, 1.0))
        frames[frame] = z
    return frames, np.full(len(z), taken), np.full(len(z), tried * (tableau.stages + 1))


def _slopes(problem: Problem, tableau: Tableau, u: Drive, now: float, h: float, z: Floats) -> Floats:
    """Return the slopes of one step, (stages, samples, N); stage i sees the input at its own time, c_i = ∑_j a_ij."""
    K = np.empty((tableau.stages, *z.shape), z.dtype)
    for i, row in enumerate(tableau.a):
        inner = z + h * np.tensordot(row[:i].astype(z.dtype), K[:i], 1) if i else z
        K[i] = _slope(problem, u(now + float(row.sum()) * h), inner)
    return K


def _slope(problem: Problem, u: Floats, z: Floats) -> Floats:
    return np.asarray(problem.rates * (u - z @ problem.A.T))
