"""What drives a circuit: constant, constant from switch to switch, or linear from point to point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import ROUNDING, finite, instants, number, real_array, shown
from neurodecorr.circuit import PiecewiseConstant
from neurodecorr.errors import InputError
from neurodecorr.export.spice.deck import joined

EDGE = 1e-3  # length of a switch, in steps; ngspice merges times nearer than 5e-5 of one


@short_repr
@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """Input that goes in straight lines from point to point, and stays at the last one.

    Called with a time it returns the input then, so that `circuit.integrate` takes it too.

    Parameters
    ----------
    times : (points,) array
        In the unit of τ; the first is 0, and they increase strictly.
    values : (points, n) array
        Input at each of them.

    Raises
    ------
    InputError
        If the times do not start at 0 or do not increase, or the values do not match them.

    Examples
    --------
    >>> ramp = PiecewiseLinear([0.0, 2.0], [[0.0, 1.0], [1.0, 1.0]])
    >>> ramp(0.5).tolist(), ramp(3.0).tolist()
    ([0.25, 1.0], [1.0, 1.0])
    """

    times: Floats
    values: Floats

    def __post_init__(self) -> None:
        times = instants(self.times, "times", from_zero=True)
        values = finite(real_array(self.values, "values"), "values").astype(np.float64)
        if values.ndim != 2 or len(values) != len(times):
            raise InputError(f"values must be (points, n) with {len(times)} points; got {values.shape}.")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", values)

    def __repr__(self) -> str:
        return f"PiecewiseLinear(n={self.values.shape[1]}, times={len(self.times)}, t_end={self.times[-1]:g})"

    def __call__(self, t: float) -> Floats:
        """Return the input at a time."""
        time = number(t, "t")
        return np.array([np.interp(time, self.times, column) for column in self.values.T])


@dataclass(frozen=True, eq=False)
class SourceWaveforms:
    """One waveform for each unit, in seconds and in units of x.

    Parameters
    ----------
    times : (points,) array
        One point for a constant.
    values : (points, n) array
        Input at each of them.
    switches : bool
        Whether values jump at the times instead of moving in lines between them.
    """

    times: Floats
    values: Floats
    switches: bool

    def __repr__(self) -> str:
        return f"SourceWaveforms(n={self.values.shape[1]}, times={len(self.times)}, switches={self.switches})"

    def at_end(self, stop_s: float) -> Floats:
        """Return the input that is on at the end of a run, (n,)."""
        if self.switches:
            # A switch at the end, to rounding, comes too late.
            begun = int(np.searchsorted(self.times, stop_s * (1 - ROUNDING), side="left"))
            return np.asarray(self.values[max(0, begun - 1)])
        return np.array([np.interp(stop_s, self.times, column) for column in self.values.T])

    def sources(self, scale: float, step_s: float, simulator: str) -> list[str]:
        """Return what stands behind the nodes of each source, times `scale`: `DC …` or `PWL(…)`.

        A switch is a line around its time, a thousandth of a step long: its centre decides, its length enters squared.
        """
        if len(self.times) == 1:
            return [f"DC {value}" for value in (scale * self.values[0]).tolist()]
        times, values = self.times, self.values
        if self.switches:
            half = min(EDGE * step_s, float(np.diff(times).min()) / 4) / 2
            middles = np.stack([times[1:] - half, times[1:] + half], axis=1).ravel()
            times = np.concatenate([[0.0], middles])
            both = np.stack([values[:-1], values[1:]], axis=1).reshape(-1, values.shape[1])
            values = np.concatenate([values[:1], both])
        stamps, lines = times.tolist(), []
        for column in (scale * values).T.tolist():
            # ngspice warns where the value before the transient is left to the waveform; gnucap knows no other.
            start = f"DC {column[0]} PWL(" if simulator == "ngspice" else "PWL("
            points = (f"{time} {value}" for time, value in zip(stamps, column, strict=True))
            lines.append(joined(start, points) + ")")
        return lines


def waveforms(x: Any, n: int, unit_s: float) -> SourceWaveforms:
    """Return the waveforms of an input of n units.

    Parameters
    ----------
    x : (n,) array_like, PiecewiseConstant or PiecewiseLinear
        The input, its times in the unit of the circuit's τ.
    n : int
        Number of units.
    unit_s : float
        That unit in seconds.

    Raises
    ------
    InputError
        If the input has not n units, is not finite, or is many samples at once.
    """
    if isinstance(x, PiecewiseConstant | PiecewiseLinear):
        if x.values.ndim != 2 or x.values.shape[1] != n:
            raise InputError(f"x must have one value per unit and time, (times, {n}); got {x.values.shape}.")
        return SourceWaveforms(x.times * unit_s, x.values.astype(np.float64), isinstance(x, PiecewiseConstant))
    if callable(x):
        raise InputError(
            f"x must be known at points for a netlist; got {shown(x)}. Wrap it: "
            "PiecewiseLinear(times, [x(t) for t in times])."
        )
    values = finite(real_array(x, "x"), "x").astype(np.float64)
    if values.shape != (n,):
        raise InputError(
            f"x must have shape ({n},), one entry per unit; got {values.shape}. Present many samples one after the "
            "other, with PiecewiseConstant(times, X)."
        )
    return SourceWaveforms(np.zeros(1), values[None, :], switches=True)
