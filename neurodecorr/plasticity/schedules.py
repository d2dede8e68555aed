"""How the learning rate falls with learning time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodecorr._checks import choice, positive
from neurodecorr.errors import ConfigError

__all__ = ["Constant", "Decay", "Schedule", "clock_after", "never", "rate_at", "rows_until", "schedule_named"]


def never(value: object) -> bool:
    """Tell whether a time is infinite, whichever object says so: `math.inf`, `numpy.inf` or `float("inf")`."""
    return isinstance(value, float | np.floating) and bool(value == math.inf)


@dataclass(frozen=True)
class Constant:
    """Keep the rate as it is: for inputs whose statistics change.

    The price is a noise floor that grows with the rate.

    Examples
    --------
    >>> rate_at(Constant(), 1e-3, clock=50.0)
    0.001
    """

    hold: float = math.inf
    half: float = 1.0

    def __post_init__(self) -> None:
        if not never(self.hold):
            positive(self.hold, "hold")
        positive(self.half, "half")


@dataclass(frozen=True)
class Decay:
    """Search at a constant rate, then converge.

    ::

        η = η₀ exp(−max(0, s − hold)/half),    s = Σ η

    The clock s is the sum of the rates used so far, so one schedule serves every rate, limited steps included: the
    weak directions of the input grow by a factor e per unit of s. Once `hold` has passed, the law above is
    η(t) = η₀/(1 + η₀t/half), that is half/t. The relative rule makes each remaining correlation decay as exp(−2s),
    whatever the covariance; so half = ½ is the rate of a running average (Robbins–Monro): the rule forgets where it
    started and weighs all samples since alike.

    Parameters
    ----------
    hold : float, default 6.5
        Clock at which the rate begins to fall; weak directions have then grown e^6.5 ≈ 700-fold.
    half : float, default 0.5
        Clock interval over which the rate falls by e.

    Examples
    --------
    >>> rate_at(Decay(), 1e-3, clock=6.0)
    0.001
    """

    hold: float = 6.5
    half: float = 0.5

    def __post_init__(self) -> None:
        positive(self.hold, "hold")
        positive(self.half, "half")


Schedule = Constant | Decay
_NAMED: dict[str, Schedule] = {"constant": Constant(), "decay": Decay()}


def schedule_named(value: object) -> Schedule:
    """Return the schedule called `value` ("constant" or "decay"), or `value` itself if it is one."""
    if isinstance(value, Constant | Decay):
        return value
    if not isinstance(value, str):
        raise ConfigError(f"schedule must be 'constant', 'decay', or an instance of Decay; got {value!r}.")
    return _NAMED[choice(value, "schedule", _NAMED)]


def rate_at(schedule: Schedule, rate: float, clock: float) -> float:
    """Return the learning rate once the rates used so far add up to `clock`."""
    return rate * math.exp(-max(0.0, clock - schedule.hold) / schedule.half)


def clock_after(schedule: Schedule, rate: float, clock: float, rows: float) -> float:
    """Return the clock after `rows` samples, ds/dt = η(s): linear until `hold`, then s + half · ln(1 + η t/half)."""
    held = min(rows, max(0.0, schedule.hold - clock) / rate)
    clock += held * rate
    rest = rows - held
    if rest <= 0:
        return clock
    return clock + schedule.half * math.log1p(rate_at(schedule, rate, clock) * rest / schedule.half)


def rows_until(schedule: Schedule, rate: float, clock: float, later: float) -> float:
    """Return the samples that take the clock to `later`: the inverse of `clock_after`."""
    held = max(0.0, min(later, schedule.hold) - clock)
    rest = later - clock - held
    if rest <= 0:
        return held / rate
    after = rate_at(schedule, rate, clock + held)
    return held / rate + schedule.half / after * math.expm1(rest / schedule.half)
