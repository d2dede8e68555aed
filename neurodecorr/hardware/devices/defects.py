"""Permanent errors of devices: mismatch and stuck devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Floats, Int8s
from neurodecorr._validation import entries, fraction, not_negative, whole_numbers
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices.conductance_range import conductances


def mismatch_factors(level: float, normals: npt.ArrayLike) -> Floats:
    """Return the factors of mismatch, one per conductance, which a chip keeps for life.

    A conductance cannot be negative, so a factor is at least 0.

    ::

        G ← f G,    f = max(1 + σ ξ, 0),    ξ ~ N(0, 1) per device

    Parameters
    ----------
    level : float
        σ ≥ 0, relative.
    normals : array
        ξ.

    Returns
    -------
    array

    Examples
    --------
    >>> mismatch_factors(0.5, [0.0, 1.0, -3.0]).tolist()
    [1.0, 1.5, 0.0]
    """
    return np.asarray(np.maximum(1 + not_negative(level, "level") * entries(normals, "normals"), 0.0))


def stuck_devices(on: float, off: float, uniforms: npt.ArrayLike) -> Int8s:
    """Return the stuck devices as +1, −1 or 0.

    ::

        +1 (on)  where u < p_on,    −1 (off)  where u ≥ 1 − p_off,    0 elsewhere;    u uniform on [0, 1) per device

    Each device is stuck independently of the others. The draws u decide: the same draws with larger shares keep every
    device stuck that was.

    Parameters
    ----------
    on, off : float
        Shares p_on and p_off in [0, 1], with p_on + p_off ≤ 1.
    uniforms : array
        u.

    Returns
    -------
    array of int8

    Raises
    ------
    ConfigError
        If a share lies outside [0, 1], or both together exceed 1.
    InputError
        If u is not finite, or lies outside [0, 1).

    Examples
    --------
    >>> stuck_devices(0.1, 0.2, [0.05, 0.5, 0.85]).tolist()
    [1, 0, -1]
    """
    on, off = shares(on, off)
    u = entries(uniforms, "uniforms")
    if (u < 0).any() or (u >= 1).any():
        raise InputError(f"uniforms must lie in [0, 1), as draws do; got {u.min():g} to {u.max():g}.")
    return np.where(u < on, 1, np.where(u >= 1 - off, -1, 0)).astype(np.int8)


def stuck_at(G: Floats, stuck: Int8s, g_min: float, g_max: float) -> Floats:
    """Return conductances with the stuck ones at an end of the range.

    ::

        G ← g_max where stuck on,    G ← g_min where stuck off

    A stuck device ignores programming, mismatch and drift. Its readings are as noisy as any other's.

    Parameters
    ----------
    G : array
        Conductances in siemens.
    stuck : array of int8
        1 on, −1 off, 0 free.
    g_min, g_max : float
        Ends of the range in siemens.

    Returns
    -------
    array
    """
    low, high = not_negative(g_min, "g_min", "siemens"), not_negative(g_max, "g_max", "siemens")
    if low > high:
        raise ConfigError(f"g_max must not lie below g_min; got {low:g} and {high:g} S.")
    held, signs = conductances(G, "G"), whole_numbers(stuck, "stuck")
    if not held.size or held.shape != signs.shape or (np.abs(signs) > 1).any():
        raise InputError(
            f"stuck must hold 1, 0 or −1 for each of the conductances, {held.shape}; got shape {signs.shape}"
            f"{f', {signs.min()} to {signs.max()}' if signs.size else ''}."
        )
    return held_at(held, signs, low, high)


def held_at(G: Floats, stuck: Any, g_min: float, g_max: float) -> Floats:
    """Apply `stuck_at` to conductances and signs that are already validated.

    ::

        G ← g_max where stuck on,    G ← g_min where stuck off
    """
    return np.where(stuck == 0, G, np.where(stuck > 0, g_max, g_min))


def shares(on: Any, off: Any) -> tuple[float, float]:
    """Return two shares whose sum is at most 1, or raise `ConfigError`."""
    up, down = fraction(on, "stuck_on"), fraction(off, "stuck_off")
    if up + down > 1:
        raise ConfigError(f"stuck_on + stuck_off must be ≤ 1: a device is stuck one way; got {up:g} + {down:g}.")
    return up, down
