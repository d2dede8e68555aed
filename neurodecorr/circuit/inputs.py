"""Input that changes in time: constant from switch to switch, or any function of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.norms import norms
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats, Ints
from neurodecorr._validation import ROUNDING, finite, instants, numeral, real_array, sample_or_samples
from neurodecorr.circuit.kernels import LEAST_ERROR, LEAST_STEP, factor
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.circuit.problem import Problem, drive
from neurodecorr.circuit.propagators import split
from neurodecorr.circuit.runge_kutta import FIRST_STEP, largest_step
from neurodecorr.circuit.tableaux import DORMAND_PRINCE, Tableau
from neurodecorr.errors import InputError

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
    """Return the slopes of one step, (stages, samples, N); stage i sees the input at its own time, c_i = Σ_j a_ij."""
    K = np.empty((tableau.stages, *z.shape), z.dtype)
    for i, row in enumerate(tableau.a):
        inner = z + h * np.tensordot(row[:i].astype(z.dtype), K[:i], 1) if i else z
        K[i] = _slope(problem, u(now + float(row.sum()) * h), inner)
    return K


def _slope(problem: Problem, u: Floats, z: Floats) -> Floats:
    return np.asarray(problem.rates * (u - z @ problem.A.T))
