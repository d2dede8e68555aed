"""Results of a run of a spiking network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Float64s, Int64s
from neurodecorr._validation import finite, number, real_array
from neurodecorr.errors import ConfigError, InputError


@short_repr
@dataclass(frozen=True, eq=False)
class Spikes:
    """Spike trains, ordered by time and then by unit.

    Parameters
    ----------
    step : (spikes,) integer array
        Number of the time step, from 0.
    unit : (spikes,) integer array
        Which unit.
    sign : (spikes,) integer array
        +1 or −1; always +1 for units that spike one way.
    dt_s : float
        Time step, in seconds.
    """

    step: Int64s
    unit: Int64s
    sign: Int64s
    dt_s: float

    @property
    def time_s(self) -> Float64s:
        """Time of each spike, in seconds."""
        return np.asarray(self.step * self.dt_s)

    def __len__(self) -> int:
        return len(self.step)

    def __repr__(self) -> str:
        return f"Spikes({len(self)}, dt_s={self.dt_s:g})"


@short_repr
@dataclass(frozen=True, eq=False)
class SpikeRun:
    """Spikes, filtered activity and weights of one run of a spiking network.

    Parameters
    ----------
    t_s : (records,) array
        Times of the records, in seconds.
    activity : (records, n) array
        Filtered spikes r at these times: in units of the input for a spike code, in spikes per second for LIF units.
    spikes : Spikes
        All spikes.
    weights : (n, n) array
        Lateral weights at the end of the run.
    duration_s : float
        Simulated time, in seconds.
    overloaded : int
        How often a unit was left beyond its threshold by its one spike per step; 0 where the step is short enough.
    engine : str
        What ran it.
    """

    t_s: Float64s
    activity: Float64s
    spikes: Spikes
    weights: Float64s
    duration_s: float
    overloaded: int
    engine: str

    @property
    def units(self) -> int:
        """Number of units n."""
        return int(self.activity.shape[1])

    @property
    def rates_hz(self) -> Float64s:
        """Spikes of each unit per second, of both signs."""
        return np.asarray(np.bincount(self.spikes.unit, minlength=self.units) / self.duration_s)

    @property
    def spikes_per_unit_second(self) -> float:
        """Cost: spikes per unit and second, of both signs."""
        return len(self.spikes) / (self.units * self.duration_s)

    def settled(self, skip_s: float = 0.0) -> Float64s:
        """Return the records from `skip_s` seconds on."""
        late = self.t_s >= number(skip_s, "skip_s", "s")
        if not late.any():
            raise ConfigError(f"skip_s must leave at least one record before {self.t_s[-1]:g} s; got {skip_s:g} s.")
        return np.asarray(self.activity[late])

    def error(self, target: npt.ArrayLike, skip_s: float = 0.0) -> float:
        """Return the rms distance of the activity from a target.

        ::

            √⟨(r_i(t) − x̄_i)²⟩

        Parameters
        ----------
        target : (n,) or (records, n) array_like
            Activity x̄ = M x of the rate circuit, at rest or at the times of the records.
        skip_s : float, default 0.0
            Time to settle that is left out, in seconds.

        Returns
        -------
        float
            In units of activity; γ/√12 is predicted for a spike code.
        """
        aim, skip_s = finite(real_array(target, "target"), "target"), number(skip_s, "skip_s", "s")
        if aim.shape not in ((self.units,), self.activity.shape):
            raise InputError(
                f"target must have shape ({self.units},) or {self.activity.shape}, as the activity; got {aim.shape}."
            )
        aim = np.broadcast_to(aim, self.activity.shape)[self.t_s >= skip_s]
        return float(np.sqrt(np.mean((self.settled(skip_s) - aim) ** 2)))

    def __repr__(self) -> str:
        behind = f", overloaded={self.overloaded}" if self.overloaded else ""
        return f"SpikeRun(units={self.units}, duration_s={self.duration_s:g}, spikes={len(self.spikes)}{behind})"


@short_repr
@dataclass(frozen=True, eq=False)
class RateRun:
    """Activity of the rate circuit, integrated by Brian2.

    Parameters
    ----------
    t_s : (records,) array
        Times, in seconds; the first is 0.
    xbar : (records, n) array
        Activity x̄.
    target : str
        Brian2's target of code generation.
    """

    t_s: Float64s
    xbar: Float64s
    target: str

    def __repr__(self) -> str:
        return f"RateRun(units={self.xbar.shape[1]}, duration_s={self.t_s[-1]:g}, records={len(self.t_s)})"


def spikes_from(rows: Any, dt_s: float) -> Spikes:
    """Return spike trains from rows of step, unit, sign in any order."""
    table = np.asarray(rows, dtype=np.int64).reshape(-1, 3)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    return Spikes(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), dt_s)
