"""Devices that hold a finite number of conductances."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import count
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices.limits import conductance_range, conductances

__all__ = ["level_step", "quantised"]

Floats = npt.NDArray[np.floating[Any]]


def level_step(bits: int, g_min: float, g_max: float) -> float:
    """Return the distance between neighbouring levels of a device, in siemens.

    ::

        Δ = (g_max − g_min) / (2ᵇ − 1)
    """
    low, high = conductance_range(g_min, g_max)
    if count(bits, "bits") > 52:
        raise ConfigError(f"bits must be at most 52, the digits of a float; got {bits}.")
    return (high - low) / float(2**bits - 1)


def quantised(G: npt.ArrayLike, bits: int, g_min: float, g_max: float) -> Floats:
    """Move conductances to the nearest of 2ᵇ levels between `g_min` and `g_max`.

    ::

        G ← g_min + Δ rint((G − g_min) / Δ),    Δ = (g_max − g_min) / (2ᵇ − 1)

    This is CrossSim's `cell_bits`. Halves go to the even level.

    Parameters
    ----------
    G : array
        Conductances in siemens, between g_min and g_max.
    bits : int
        b ≥ 1. Two-sided pairs of such devices hold 2ᵇ⁺¹ − 1 weights.
    g_min, g_max : float
        First and last level in siemens.

    Returns
    -------
    array
        The levels.

    Raises
    ------
    InputError
        If a conductance lies outside the range.
    ConfigError
        If bits < 1, or the range cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> from neurodecorr.hardware.devices import quantised
    >>> G = quantised(np.array([0.0, 2.4e-6, 2.6e-6, 15e-6]), bits=4, g_min=0.0, g_max=15e-6)
    >>> (1e6 * G).round(9).tolist()
    [0.0, 2.0, 3.0, 15.0]

    References
    ----------
    sandialabs/cross-sim 3.2, `simulator/devices/idevice.py`, `IDevice._apply_conductance_quantization`.
    """
    low, high = conductance_range(g_min, g_max)
    step = level_step(bits, low, high)
    held = conductances(G, "G", low, high)
    if not held.size:
        raise InputError("G must hold at least one conductance; it is empty.")
    levels = low + step * np.rint((held - low) / step)
    return np.asarray(np.minimum(levels, high))  # the last level is the end, whatever the rounding
