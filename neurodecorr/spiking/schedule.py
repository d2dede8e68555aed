"""Steps, frames and records of one run: checked once, the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import digits, positive
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.spiking.stimulus import Stimulus

__all__ = ["Schedule", "schedule"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """How many steps of which length, and after which of them activity is recorded.

    Parameters
    ----------
    dt_s : float
        Time step, in seconds.
    steps : int
        Number of steps.
    hold : int
        Steps per frame of the stimulus.
    every : int
        Steps per record; the first record is taken at the end of step 0.
    """

    dt_s: float
    steps: int
    hold: int
    every: int

    @property
    def records(self) -> int:
        """Number of records."""
        return (self.steps - 1) // self.every + 1

    @property
    def t_s(self) -> Floats:
        """Times of the records, in seconds: the ends of their steps."""
        return np.asarray((np.arange(self.records) * self.every + 1) * self.dt_s)

    @property
    def duration_s(self) -> float:
        """Simulated time, in seconds."""
        return self.steps * self.dt_s


def schedule(stimulus: Any, units: int, dt_s: float, record_s: float) -> Schedule:
    """Return the schedule of a run, or say what does not fit."""
    if not isinstance(stimulus, Stimulus):
        raise InputError(
            f"stimulus must be a Stimulus; got {type(stimulus).__name__}. "
            "Use constant_stimulus(x, duration_s), ou_stimulus(Σ, frames) or Stimulus(values, frame_s)."
        )
    if stimulus.units != units:
        raise InputError(f"stimulus must have {units} units, as the network has; got {stimulus.units}.")
    dt_s = positive(dt_s, "dt_s", "s")
    hold = stimulus.steps_per_frame(dt_s)
    steps = hold * len(stimulus.values)
    if positive(record_s, "record_s", "s") > stimulus.duration_s * (1 + 1e-9):
        return Schedule(dt_s, steps, hold, steps)  # the first record is the only one
    every = round(record_s / dt_s)
    if every < 1 or abs(every * dt_s - record_s) > 1e-9 * record_s:
        raise ConfigError(f"record_s must be a whole number of steps of {digits(dt_s)} s; got {digits(record_s)} s.")
    return Schedule(dt_s, steps, hold, every)
