"""Converters between numbers and voltages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import count, entries, positive
from neurodecorr.errors import ConfigError


@short_repr
@dataclass(frozen=True)
class Converter:
    """DAC or ADC: round values to the nearest step and limit them to the bound.

    ::

        v ← clip(Δ rint(v / Δ), −B, B),    Δ = 2 B / (2ᵇ − 2)

    One of the 2ᵇ codes is lost to a zero in the middle. This is aihwkit's converter with `inp_res` or `out_res` =
    1 / (2ᵇ − 2), and CrossSim's `SignMagnitudeDAC` and `SignMagnitudeADC`.

    Parameters
    ----------
    bits : int
        b ≥ 2.
    bound : float
        B > 0, in the unit of the values.

    Examples
    --------
    >>> import numpy as np

    >>> Converter(bits=3, bound=3.0)(np.array([-9.0, -0.4, 0.6, 2.2])).tolist()
    [-3.0, -0.0, 1.0, 2.0]

    References
    ----------
    IBM/aihwkit 1.1.0, `simulator/parameters/io.py`, `IOParameters`; sandialabs/cross-sim 3.2,
    `simulator/circuits/dac/quantizer_dac.py` and `simulator/circuits/adc/quantizer_adc.py`.
    """

    bits: int
    bound: float

    def __post_init__(self) -> None:
        count(self.bits, "bits", least=2)
        if self.bits > 52:
            raise ConfigError(f"bits must be at most 52, the digits of a float; got {self.bits}.")
        object.__setattr__(self, "bound", positive(self.bound, "bound"))

    @property
    def step(self) -> float:
        """Δ, the distance between neighbouring codes."""
        return 2 * self.bound / float(2**self.bits - 2)

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the values as they come out.

        Parameters
        ----------
        values : array
            In the unit of the bound.

        Returns
        -------
        array

        Raises
        ------
        InputError
            If a value is not finite.
        """
        v = entries(values, "values")
        return np.asarray(np.clip(self.step * np.rint(v / self.step), -self.bound, self.bound))

    def saturated(self, values: npt.ArrayLike) -> int:
        """Return how many of the values lie beyond the bound."""
        return int(np.count_nonzero(np.abs(entries(values, "values")) > self.bound))


def converter(value: Any, name: str) -> Converter | None:
    """Return `value` if it is a converter or None; otherwise raise `ConfigError`."""
    if value is None or isinstance(value, Converter):
        return value
    raise ConfigError(f"{name} must be a Converter or None; got {value!r} of type {type(value).__name__}.")
