"""What a chip is told to hold: conductances for weights, on the levels that its devices have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import positive
from neurodecorr.hardware.devices.codes import code_unit, coded
from neurodecorr.hardware.devices.levels import quantised
from neurodecorr.hardware.devices.pairs import Pair, Sides, map_to_conductances, reference_level

__all__ = ["code_step", "targets_on_codes", "targets_on_levels"]

Floats = npt.NDArray[np.floating[Any]]


def targets_on_levels(
    W: Floats,
    bits: int,
    g_min: float,
    g_max: float,
    sides: Sides,
    scale: float | None = None,
    reference: float | None = None,
) -> Pair:
    """Return conductances that are levels of devices of `bits` bits.

    With one side the reference is a level too: between two levels it would move all weights.
    """
    if sides == "one" and reference is None:
        reference, scale = reference_level(W, bits, g_min, g_max, scale)
    pair = map_to_conductances(W, g_min, g_max, sides, scale, reference)
    plus, minus = (quantised(G, bits, g_min, g_max) for G in (pair.plus, pair.minus))
    return replace(pair, plus=plus, minus=minus)


def targets_on_codes(
    W: Floats, codes: tuple[int, int], g_min: float, g_max: float, sides: Sides, scale: float | None = None
) -> Pair:
    """Return conductances that stand for whole-number weights; the largest code takes the whole range."""
    step = code_step(codes, g_min, g_max, sides)
    unit = code_unit(W, codes) if scale is None else step / positive(scale, "scale", "siemens per unit of weight")
    reference = None if sides == "two" else g_min - step * codes[0]
    pair = map_to_conductances(coded(W, codes, unit), g_min, g_max, sides, step, reference)
    return replace(pair, scale=step / unit)


def code_step(codes: tuple[int, int], g_min: float, g_max: float, sides: Sides) -> float:
    """Return the siemens per code at which the codes fill the range."""
    low, high = codes
    return (g_max - g_min) / (max(high, -low) if sides == "two" else high - low)
