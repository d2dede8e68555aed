"""Operational amplifiers that are not ideal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._validation import shown
from neurodecorr.errors import ConfigError


@short_repr
@dataclass(frozen=True)
class Amplifier:
    """Operational amplifier with one pole.

    ::

        (1/ω) dv_out/dt = v₊ + v_os − v₋ − v_out/A₀,    ω = 2π GBW,    |v_out| ≤ V_swing

    The default is the ideal one: v₋ = v₊ at all times.

    Parameters
    ----------
    gain : float, default inf
        Open-loop gain A₀ at low frequency, volts per volt.
    bandwidth_hz : float, default inf
        Gain–bandwidth product GBW in hertz.
    swing_v : float, default inf
        The output stays within ± this many volts.
    offset_v : float, default 0
        Standard deviation of the input offset v_os over amplifiers, in volts.
    bias_a : float, default 0
        Supply current at rest of each amplifier, in amperes.
    supply_v : float, default 1
        Supply voltage, in volts.

    Raises
    ------
    ConfigError
        If a value lies outside its range.

    Examples
    --------
    >>> Amplifier(gain=1e4, bandwidth_hz=1e6).rate
    6283185.307179586

    References
    ----------
    Gray, Hurst, Lewis and Meyer, Analysis and Design of Analog Integrated Circuits, §6 and §9 (single-pole model).
    """

    gain: float = math.inf
    bandwidth_hz: float = math.inf
    swing_v: float = math.inf
    offset_v: float = 0.0
    bias_a: float = 0.0
    supply_v: float = 1.0

    def __post_init__(self) -> None:
        for name, unit in (("gain", "V/V"), ("bandwidth_hz", "Hz"), ("swing_v", "V"), ("supply_v", "V")):
            object.__setattr__(self, name, _above(getattr(self, name), name, unit, least=math.ulp(0.0)))
        for name, unit in (("offset_v", "V"), ("bias_a", "A")):
            object.__setattr__(self, name, _above(getattr(self, name), name, unit, least=0.0))
            if math.isinf(getattr(self, name)):
                raise ConfigError(f"{name} must be finite ({unit}); got inf.")

    @property
    def rate(self) -> float:
        """Rate ω = 2π GBW, per second."""
        return 2 * math.pi * self.bandwidth_hz

    @property
    def leak(self) -> float:
        """Share 1/A₀ of the output that an input needs; 0 for an infinite gain."""
        return 1 / self.gain

    @property
    def inversion(self) -> float:
        """Gain h = 1/(1 + 2/A₀) of an inverter made of two equal conductances; 1 for an infinite gain."""
        return 1 / (1 + 2 * self.leak)


def _above(value: Any, name: str, unit: str, least: float) -> float:
    """Return `value` as a float ≥ `least`, infinity allowed."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    fits = isinstance(value, float) or (whole and int(value).bit_length() < 1024)
    if not fits or math.isnan(value) or value < least:
        sign = ">" if least > 0 else "≥"
        raise ConfigError(
            f"{name} must be a number {sign} 0 ({unit}); got {shown(value)}. Use math.inf for an ideal one."
        )
    return float(value)
