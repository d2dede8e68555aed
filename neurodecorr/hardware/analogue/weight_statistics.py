"""How far weights are off, on average over chips: mean and variance of what each device does to them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.special

from neurodecorr._typing import Floats
from neurodecorr._validation import square
from neurodecorr.hardware.analogue.wire_resistance import wired
from neurodecorr.hardware.devices import Devices, map_to_conductances
from neurodecorr.hardware.devices.drift import power_law
from neurodecorr.hardware.devices.pairs import Pair

# Abscissae for means over normal exponents of drift.
NODES = 40
SOURCES = ("bits", "programming", "mismatch", "stuck", "drift", "read noise", "wires")


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of the error of the weights.

    ::

        B_ij = E[δW_ij],    V_ij = Var[δW_ij],    and Var[δW_ij] = V_ij + s_j with s_j common to all rows

    Parameters
    ----------
    bias : (n, n) array
        B, in the unit of the weights.
    variance : (n, n) array
        V, from devices that one weight has for itself.
    shared : (n,) array
        s, from the reference device that a column shares; 0 with two sides.
    plus, minus : (n, n) array
        Mean conductances that act between columns and rows, in the unit of the weights.
    fine : bool, default True
        Whether levels lie close enough for their rounding to look random: at least half of the weights that it moves
        are half a level or more in size.
    """

    bias: Floats
    variance: Floats
    shared: Floats
    plus: Floats
    minus: Floats
    fine: bool = True

    def __repr__(self) -> str:
        return f"Moments(n={len(self.bias)}, fine={self.fine})"


def sources(devices: Devices) -> Iterator[tuple[str, Devices]]:
    """Yield what can go wrong with these devices, one thing at a time.

    Parameters
    ----------
    devices : Devices
        All of it.

    Yields
    ------
    str, Devices
        Name of the source, and the devices with this source only.
    """
    clean = replace(
        devices, bits=None, codes=None, programming=None, mismatch=0.0, stuck_on=0.0, stuck_off=0.0,
        drift=None, read_noise=None, wire_resistance_ohm=0.0, dac=None, adc=None,
    )  # fmt: skip
    fields = {
        "bits": ("bits", "codes"),
        "programming": ("programming",),
        "mismatch": ("mismatch",),
        "stuck": ("stuck_on", "stuck_off"),
        "drift": ("drift",),
        "read noise": ("read_noise",),
        "wires": ("wire_resistance_ohm",),
    }
    for name in SOURCES:
        values = {field: getattr(devices, field) for field in fields[name]}
        if any(values.values()):
            yield name, replace(clean, **values)


def weight_moments(weights: npt.ArrayLike, devices: Devices, time_s: float = 0.0, as_made: bool = False) -> Moments:
    """Return mean and variance of the error of programmed weights, over chips.

    ::

        levels:  V_ij = Δ²/12 for every device off the end of its range and no reference,    Δ = level step / s
        others:  E[G], E[G²] through  programming → mismatch → drift → stuck → read noise;    wires by the nodal solve

    The error of rounding to levels is taken as uniform; for weights known beforehand it is in truth a number each. So
    its share holds where many weights are spread over several levels. Where most are smaller than half a level they
    become 0, all in one direction: then it is too small, or too large, by half (`Moments.fine`).

    Parameters
    ----------
    weights : (n, n) array
        R or M as meant.
    devices : Devices
        What they are programmed into.
    time_s : float, default 0
        Seconds since programming.
    as_made : bool, default False
        Round these very weights to levels, in B, instead of Δ²/12 in V.

    Returns
    -------
    Moments

    References
    ----------
    Widrow and Kollár, Quantization Noise, §4 (Δ²/12).
    """
    W = square(weights, "weights").astype(np.float64)
    made = devices.map(W)
    reference = None if made.sides == "two" else float(made.minus[0, 0])
    free = map_to_conductances(W, devices.g_min, devices.g_max, made.sides, made.scale, reference)
    target = made if as_made else free
    means, variances = zip(*(device_moments(G, devices, time_s) for G in (target.plus, target.minus)), strict=True)
    plus, minus = wired(means[0], means[1], devices.wire_resistance_ohm)
    own, other = (
        _behind_wires(*parts) / target.scale**2
        for parts in ((variances[0], means[0], plus), (variances[1], means[1], minus))
    )
    moved, step, one = _moved(W, free), devices.weight_step(made.scale), target.sides == "one"
    levels = 0.0 if as_made else step**2 / 12 * moved
    return Moments(
        bias=(plus - minus) / target.scale - W,
        variance=levels + (own if one else own + other),
        shared=other.mean(axis=0) if one else np.zeros(len(W)),
        plus=plus / target.scale,
        minus=minus / target.scale,
        fine=not moved.any() or float(np.median(np.abs(W[moved]))) >= step / 2,
    )


def _behind_wires(variance: Floats, mean: Floats, acting: Floats) -> Floats:
    """Return the variance of what acts: of resistors in series, dG_eff/dG = (G_eff/G)²."""
    left = np.divide(acting, mean, out=np.ones_like(acting), where=mean > 0)
    return np.asarray(variance * left**4)


def device_moments(G: Floats, devices: Devices, time_s: float = 0.0) -> tuple[Floats, Floats]:
    """Return mean and variance of conductances over chips, in siemens and siemens².

    ::

        E[max(m + σξ, 0)] = m Φ(m/σ) + σ φ(m/σ),    E[max(m + σξ, 0)²] = (m² + σ²) Φ(m/σ) + m σ φ(m/σ)

    Means over drift exponents by Gauss–Hermite quadrature.

    Parameters
    ----------
    G : array
        Targets.
    devices : Devices
        What goes wrong; levels are left out.
    time_s : float, default 0
        Seconds since programming.

    Returns
    -------
    mean, variance : array
    """
    first, second = G, G**2
    if devices.programming is not None:
        first, second = _clipped(G, devices.programming.sigma(G, devices.g_max))
    written = second
    if devices.mismatch:
        one, two = _clipped(np.ones(()), np.full((), devices.mismatch))
        first, second = first * one, second * two
    if devices.drift is not None and time_s > 0:
        one, two = _drifted(G, devices, time_s)
        first, second = first * one, second * two
    on, off = devices.stuck_on, devices.stuck_off
    if on or off:
        first = (1 - on - off) * first + on * devices.g_max + off * devices.g_min
        second = (1 - on - off) * second + on * devices.g_max**2 + off * devices.g_min**2
    variance = np.maximum(second - first**2, 0.0)
    if devices.read_noise is not None:
        sigma = devices.read_noise.sigma(np.sqrt(second), np.sqrt(written), devices.g_max, time_s)
        variance = variance + sigma**2
    return first, variance


def _moved(W: Floats, target: Pair) -> npt.NDArray[np.bool_]:
    """Return where rounding can move a weight: off 0 and the ends of the range, which are levels, as references are."""
    ends = (1 - 1e-12) * target.g_max
    devices = (target.plus, target.minus) if target.sides == "two" else (target.plus,)
    return np.asarray((W != 0) & np.any([(target.g_min < G) & (ends > G) for G in devices], axis=0))


def _clipped(mean: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Return the first two moments of a normal variable cut off at 0."""
    safe = np.where(sigma > 0, sigma, 1.0)
    u = mean / safe
    above, density = scipy.special.ndtr(u), np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    first = np.where(sigma > 0, mean * above + sigma * density, np.maximum(mean, 0.0))
    second = np.where(sigma > 0, (mean**2 + sigma**2) * above + mean * sigma * density, first**2)
    return first, second


def _drifted(G: Floats, devices: Devices, time_s: float) -> tuple[Floats, Floats]:
    """Return the first two moments of what is left of each conductance."""
    assert devices.drift is not None
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    first, second = np.zeros_like(G), np.zeros_like(G)
    for node, weight in zip(nodes, weights, strict=True):
        exponents = devices.drift.exponents(G, devices.g_max, np.full_like(G, node))
        left = power_law(exponents, time_s, devices.drift.t0_s)
        first, second = first + weight * left, second + weight * left**2
    return first, second
