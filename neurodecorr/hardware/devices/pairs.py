"""Weights as conductances: a pair of devices for each, or one device and a reference that its column shares."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, number, positive, samples
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices.conductance_range import conductance_range, level_step, quantised


def code_unit(weights: npt.ArrayLike, codes: tuple[int, int]) -> float:
    """Return the smallest weight per code for which every weight fits.

    ::

        q = max(max(W) / high, min(W) / low)

    Parameters
    ----------
    weights : (rows, columns) array
        W.
    codes : (int, int)
        Smallest and largest code, low ≤ 0 < high.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a weight is negative where no code is.

    References
    ----------
    synsense/rockpool, `rockpool/transform/quantize_methods.py`.
    """
    W, (low, high) = samples(weights, "weights"), whole_codes(codes)
    if low == 0 and W.min() < 0:
        row, column = (int(k) for k in np.argwhere(W < 0)[0])
        raise InputError(
            f"weights must be ≥ 0 for the codes 0 … {high}; got {W[row, column]:g} at row {row}, column {column}. "
            "Choose codes on both sides of 0."
        )
    return max(float(W.max()) / high, float(W.min()) / low if low else 0.0, 0.0) or 1.0


def coded(weights: npt.ArrayLike, codes: tuple[int, int], unit: float | None = None) -> npt.NDArray[np.int64]:
    """Return weights as whole numbers.

    ::

        k = rint(W / q),    low ≤ k ≤ high

    Halves go to the even code. With low = −high and no `unit` this is Rockpool's `global_quantize`.

    Parameters
    ----------
    weights : (rows, columns) array
        W.
    codes : (int, int)
        Smallest and largest code, low ≤ 0 < high.
    unit : float, optional
        q, weight per code. Default: `code_unit`.

    Returns
    -------
    (rows, columns) array of int64

    Raises
    ------
    InputError
        If a weight does not fit.

    Examples
    --------
    >>> coded([[1.0, -0.5], [0.26, 0.0]], codes=(-4, 4)).tolist()
    [[4, -2], [1, 0]]

    References
    ----------
    synsense/rockpool, `rockpool/transform/quantize_methods.py`.
    """
    W, (low, high) = samples(weights, "weights"), whole_codes(codes)
    q = code_unit(W, codes) if unit is None else positive(unit, "unit", "weight per code")
    with np.errstate(over="ignore"):
        k = np.rint(W / q)
    outside = (k < low) | (k > high)
    if outside.any():
        row, column = (int(n) for n in np.argwhere(outside)[0])
        raise InputError(
            f"weights must fit the codes {low} … {high}; at {q:g} per code the weight {W[row, column]:g} at row {row}, "
            f"column {column} needs {k[row, column]:g} ({int(outside.sum())} such in all). Choose a larger "
            "unit, that is a smaller scale, or none."
        )
    return np.asarray(k.astype(np.int64))


def whole_codes(codes: Any) -> tuple[int, int]:
    """Return (low, high) with low ≤ 0 < high, or raise `ConfigError`."""
    pair = tuple(codes) if isinstance(codes, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(k, int) and not isinstance(k, bool) for k in pair):
        raise ConfigError(f"codes must be two whole numbers, such as (-256, 255); got {codes!r}.")
    if not pair[0] <= 0 < pair[1]:
        raise ConfigError(f"codes must hold 0 and a number above it, such as (-256, 255); got {codes!r}.")
    return pair[0], pair[1]


Sides = Literal["two", "one"]
SIDES: tuple[Sides, ...] = ("two", "one")
# A target that rounding carries past the limit is still the limit.
_ROUNDING = 1e-12


@short_repr
@dataclass(frozen=True, eq=False)
class Pair:
    """Two conductances for each weight of a matrix.

    ::

        W = (G⁺ − G⁻) / s,    current into row i: I_i = ∑_j (G⁺_ij − G⁻_ij) v_j = s ∑_j W_ij v_j

    Attributes
    ----------
    plus : (rows, columns) array
        G⁺ in siemens: row is the receiving unit, column the sending unit.
    minus : (rows, columns) or (1, columns) array
        G⁻ in siemens. With one side there is one reference device per column, which all rows share.
    scale : float
        s, siemens per unit of weight.
    g_min, g_max : float
        Smallest and largest conductance of a device, in siemens.
    sides : {"two", "one"}, default "two"
        A device for each sign, or a reference that the rows share; "one" wherever G⁻ has fewer rows than G⁺.

    Examples
    --------
    >>> import numpy as np

    >>> pair = map_to_conductances(np.array([[1.0, -0.5], [0.25, 1.0]]), g_max=16e-6)
    >>> (pair.plus * 1e6).round(9).tolist(), (pair.minus * 1e6).round(9).tolist()
    ([[16.0, 0.0], [4.0, 16.0]], [[0.0, 8.0], [0.0, 0.0]])
    """

    plus: Floats
    minus: Floats
    scale: float
    g_min: float
    g_max: float
    sides: Sides = "two"

    def __post_init__(self) -> None:
        if self.minus.shape[-2] != self.plus.shape[-2]:
            object.__setattr__(self, "sides", "one")

    def __repr__(self) -> str:
        limits = f"g_min={self.g_min:g}, g_max={self.g_max:g}"
        return f"Pair({self.plus.shape}, scale={self.scale:g}, {limits}, sides={self.sides!r})"

    def weights(self) -> Floats:
        """Return the weights that these conductances are, (G⁺ − G⁻) / s.

        Returns
        -------
        (rows, columns) array
        """
        return np.asarray((self.plus - self.minus) / self.scale)


def map_to_conductances(
    weights: npt.ArrayLike,
    g_min: float = 0.0,
    g_max: float = 25e-6,
    sides: Sides = "two",
    scale: float | None = None,
    reference: float | None = None,
) -> Pair:
    """Map signed weights to conductances between `g_min` and `g_max`.

    ::

        two sides:  G± = g_min + s max(±W, 0),           s = (g_max − g_min) / max|W|
        one side:   G⁺ = g_ref + s W,   G⁻ = g_ref,      s = (g_max − g_min) / (max(W, 0) − min(W, 0))
                    g_ref = g_min − s min(W, 0)

    Two sides is aihwkit's `SinglePairConductanceConverter`, and CrossSim's `BALANCED` core with `ONE_SIDED` style. One
    side is aihwkit's `SingleDeviceConductanceConverter` with the conductance of weight 0 made explicit: devices of a
    reference line, one per column, whose current is taken off every row. CrossSim's `OFFSET` core with
    `UNIT_COLUMN_SUBTRACTION` is the same where the weights reach equally far to both sides.

    Parameters
    ----------
    weights : (rows, columns) array
        R, M, or any matrix; row is the receiving unit.
    g_min, g_max : float
        Range of a device in siemens, 0 ≤ g_min < g_max.
    sides : {"two", "one"}
        A device for each sign, or one device and a shared reference.
    scale : float, optional
        s in siemens per unit of weight. Default: the largest for which every weight fits.
    reference : float, optional
        g_ref of one side in siemens. Default: the smallest for which every weight fits.

    Returns
    -------
    Pair

    Raises
    ------
    InputError
        If the weights are not finite, or do not fit into the range at this scale.
    ConfigError
        If the range, the scale or the reference cannot be used.

    References
    ----------
    IBM/aihwkit 1.1.0, `inference/converter/conductance.py`; sandialabs/cross-sim 3.2, `simulator/cores/`.
    """
    W = samples(weights, "weights").astype(np.float64, copy=False)
    g_min, g_max = conductance_range(g_min, g_max)
    s = (
        weight_scale(W, g_min, g_max, sides)
        if scale is None
        else positive(scale, "scale", "siemens per unit of weight")
    )
    plus, minus = _targets(W, s, g_min, sides, _reference(reference, sides))
    _fits(W, plus, minus, g_min, g_max, s)
    return Pair(np.clip(plus, g_min, g_max), np.clip(minus, g_min, g_max), s, g_min, g_max, sides)


def weight_scale(weights: Floats, g_min: float, g_max: float, sides: Sides = "two") -> float:
    """Return the largest scale s, in siemens per unit of weight, at which every weight fits.

    ::

        two sides:  s = (g_max − g_min) / max|W|,    one side:  s = (g_max − g_min) / (max(W, 0) − min(W, 0))

    References
    ----------
    IBM/aihwkit 1.1.0, `inference/converter/conductance.py`.
    """
    high, low = max(float(weights.max()), 0.0), min(float(weights.min()), 0.0)
    span = max(high, -low) if choice(sides, "sides", SIDES) == "two" else high - low
    s = (g_max - g_min) / span if span > 0 else g_max - g_min
    if not np.isfinite(s) or s == 0:
        raise InputError(
            f"weights must be such that a conductance range of {g_max - g_min:g} S has a finite scale; the largest "
            f"magnitude is {span:g}. Rescale the weights."
        )
    return s


def reference_level(
    weights: Floats, bits: int, g_min: float, g_max: float, scale: float | None = None
) -> tuple[float, float]:
    """Return a reference that is a level, and the scale for it.

    ::

        g_ref = g_min + k Δ,    s = min((g_max − g_ref) / max(W, 0), (g_ref − g_min) / −min(W, 0))

    The level k is the one with the largest scale; at a given scale the lowest that leaves room for the smallest weight.
    """
    step, top = level_step(bits, g_min, g_max), 2**bits - 1
    high, low = max(float(weights.max()), 0.0), max(-float(weights.min()), 0.0)
    if scale is not None:
        k = math.ceil(positive(scale, "scale", "siemens per unit of weight") * low / step * (1 - _ROUNDING))
        return g_min + k * step, scale
    ideal = top * low / (high + low) if high + low > 0 else 0.0
    options = {min(max(k, 0), top) for k in (math.floor(ideal), math.ceil(ideal))}
    scales = {k: min(_ratio((top - k) * step, high), _ratio(k * step, low)) for k in sorted(options)}
    best = max(scales, key=lambda k: scales[k])
    if scales[best] == 0:
        raise ConfigError(
            f"bits must leave a level on each side of the reference for weights of both signs; got bits = {bits}. "
            "Choose bits ≥ 2, or two sides."
        )
    return g_min + best * step, scales[best] if math.isfinite(scales[best]) else g_max - g_min


def _ratio(room: float, weight: float) -> float:
    return room / weight if weight > 0 else math.inf


def _reference(reference: float | None, sides: Sides) -> float | None:
    if reference is None:
        return None
    if choice(sides, "sides", SIDES) == "two":
        raise ConfigError(f"reference belongs to sides='one'; with two sides there is none. Got {reference!r}.")
    return number(reference, "reference", "siemens")


def _targets(W: Floats, s: float, g_min: float, sides: Sides, reference: float | None) -> tuple[Floats, Floats]:
    if choice(sides, "sides", SIDES) == "two":
        return g_min + s * np.maximum(W, 0), g_min + s * np.maximum(-W, 0)
    level = g_min - s * min(float(W.min()), 0.0) if reference is None else reference
    return level + s * W, np.full((1, W.shape[1]), level)


def _fits(W: Floats, plus: Floats, minus: Floats, g_min: float, g_max: float, s: float) -> None:
    """Raise unless every conductance lies in the range."""
    slack = _ROUNDING * g_max
    over = (np.maximum(plus, minus) > g_max + slack) | (np.minimum(plus, minus) < g_min - slack)
    if over.any():
        row, column = (int(k) for k in np.argwhere(over)[0])
        needs = plus[row, column], minus[row % len(minus), column]
        raise InputError(
            f"conductances must lie between g_min = {g_min:g} and g_max = {g_max:g} S; at scale {s:g} S per unit the "
            f"weight {W[row, column]:g} at row {row}, column {column} needs {needs[0]:g} and {needs[1]:g} S "
            f"({int(over.sum())} such in all). Choose scale=None for the largest scale that fits."
        )


def targets_on_levels(
    W: Floats,
    bits: int,
    g_min: float,
    g_max: float,
    sides: Sides,
    scale: float | None = None,
    reference: float | None = None,
) -> Pair:
    """Round conductances to the levels of devices of `bits` bits.

    ::

        G ← g_min + Δ rint((G − g_min)/Δ),    Δ = (g_max − g_min)/(2ᵇ − 1)

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
    """Return conductances of whole-number weights; the largest code uses the whole range.

    ::

        two sides:  G± = g_min + Δ max(±k, 0),    one side:  G⁺ = g_ref + Δ k,    k = rint(W/q)
    """
    step = code_step(codes, g_min, g_max, sides)
    unit = code_unit(W, codes) if scale is None else step / positive(scale, "scale", "siemens per unit of weight")
    reference = None if sides == "two" else g_min - step * codes[0]
    pair = map_to_conductances(coded(W, codes, unit), g_min, g_max, sides, step, reference)
    return replace(pair, scale=step / unit)


def code_step(codes: tuple[int, int], g_min: float, g_max: float, sides: Sides) -> float:
    """Return the siemens per code at which the codes fill the range.

    ::

        Δ = (g_max − g_min)/max(high, −low) with two sides,    (g_max − g_min)/(high − low) with one
    """
    low, high = codes
    return (g_max - g_min) / (max(high, -low) if sides == "two" else high - low)
