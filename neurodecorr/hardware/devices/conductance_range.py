"""Devices that hold a finite number of conductances."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Floats
from neurodecorr._validation import count, entries, finite, number, positive, real_array, shown
from neurodecorr.errors import ConfigError, InputError

# Of no device that holds a weight; a larger number is one of microsiemens.
LARGEST_S = 1.0


def conductance_range(g_min: Any, g_max: Any) -> tuple[float, float]:
    """Return 0 ≤ g_min < g_max ≤ 1 in siemens.

    Raises
    ------
    ConfigError
        If they are no such range.
    InputError
        If a conductance lies above 1 S: it was meant in another unit.
    """
    low, high = number(g_min, "g_min", "siemens"), positive(g_max, "g_max", "siemens")
    for name, value in (("g_max", high), ("g_min", low)):
        in_siemens(value, name)
    if low < 0:
        raise ConfigError(f"g_min must be ≥ 0 siemens: no passive device has a negative conductance; got {g_min!r}.")
    if high <= low:
        raise ConfigError(
            f"g_max must exceed g_min; got g_min = {low:g} S and g_max = {high:g} S. In siemens 25 µS is 25e-6."
        )
    return low, high


def in_siemens(value: float, name: str) -> None:
    """Raise `InputError` if a conductance lies above 1 S, which no device of a crossbar has."""
    if value > LARGEST_S:
        raise InputError(f"{name} must be in siemens, at most {LARGEST_S:g} S; got {value:g} S. 25 µS is 25e-6.")


def conductances(value: Any, name: str, g_min: float = 0.0, g_max: float = np.inf) -> Floats:
    """Return `value` as finite conductances between g_min and g_max, in siemens.

    Raises
    ------
    InputError
        If an entry is not finite, or lies outside.
    """
    G = finite(real_array(value, name), name).astype(np.float64, copy=False)
    out = ~((g_min <= G) & (g_max >= G))
    if out.any():
        place = tuple(int(k) for k in np.argwhere(out)[0])
        raise InputError(
            f"{name} must lie between {g_min:g} and {g_max:g} S; got {G[place]:g} S at index {place} "
            f"({int(out.sum())} such in all). Conductances are in siemens: 25 µS is 25e-6."
        )
    return G


def cells(G: Any, g_max: Any, name: str = "G") -> tuple[Floats, float]:
    """Return conductances, at least one, and the largest of them, in siemens."""
    held = conductances(entries(G, name), name)
    _, high = conductance_range(0.0, g_max)
    return held, high


def rows_and_columns(shape: Any) -> tuple[int, int]:
    """Return the shape of a matrix of weights, (rows, columns), both ≥ 1, or raise `ConfigError`."""
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ConfigError(f"shape must be (rows, columns) of the weights; got {shape!r}.")
    return count(shape[0], "rows"), count(shape[1], "columns")


def able_to(model: Any, name: str, method: str, example: str) -> None:
    """Raise `ConfigError` unless `model` is None or has the named method."""
    if model is not None and (isinstance(model, type) or not callable(getattr(model, method, None))):
        raise ConfigError(f"{name} must have a method {method}, or be None; got {shown(model)}. Try {example}.")


def level_step(bits: int, g_min: float, g_max: float) -> float:
    """Return the distance between neighbouring levels of a device, in siemens.

    ::

        Δ = (g_max − g_min) / (2ᵇ − 1)

    References
    ----------
    sandialabs/cross-sim 3.2, `cell_bits`.
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
