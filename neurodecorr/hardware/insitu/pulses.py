"""Compiled pulses on pairs of devices, and what a pair conducts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurodecorr._compile import jit
from neurodecorr.hardware.insitu.codes import MINUS, PLUS

Array = np.ndarray[Any, np.dtype[Any]]


@jit()
def next_word(state: Array) -> Any:
    """xorshift64* (Vigna 2016): 64 bits, one state per chip, so that the draws do not depend on the workers."""
    word = state[0]
    word ^= word >> np.uint64(12)
    word ^= word << np.uint64(25)
    word ^= word >> np.uint64(27)
    state[0] = word
    return word * np.uint64(2685821657736338717)


@jit()
def uniform(state: Array) -> float:
    """Draw from [0, 1): the upper 53 bits."""
    return float(next_word(state) >> np.uint64(11)) * 1.1102230246251565e-16


@jit()
def normal(state: Array) -> float:
    """Draw from N(0, 1) (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@jit()
def pulse(
    value: float,
    up: bool,
    step: float,
    top: float,
    slope: float,
    noise: float,
    state: Array,
    additive: bool = False,
) -> float:
    """Return a device's value after one pulse: aihwkit's linear step, between hard bounds.

    ::

        v ← clip(v ± Δ (1 ∓ γ w) (1 + σ ξ), 0, top),    w = 2 v/top − 1;    additive: Δ (1 ∓ γ w + σ ξ)
    """
    along = 2.0 * value / top - 1.0
    shape = 1.0 - slope * along if up else 1.0 + slope * along
    if noise > 0.0:
        shape = shape + noise * normal(state) if additive else shape * (1.0 + noise * normal(state))
    moved = value + step * shape if up else value - step * shape
    return min(max(moved, 0.0), top)


@jit()
def pulses_due(wanted: float, most: int, carry: bool, rest: Array, i: int, j: int, state: Array) -> int:
    """Return how many pulses to send, signed, and keep what is left over, if the synapse can.

    Without memory the number is rounded up or down at random, so that it is right on average.
    """
    if carry:
        wanted += rest[i, j]
        due = int(min(max(wanted, -float(most)), float(most)))
        rest[i, j] = wanted - due
        return due
    size = int(min(math.floor(abs(wanted) + uniform(state)), float(most)))
    return size if wanted >= 0.0 else -size


@jit()
def send(
    pairs: Array,
    limits: Array,
    i: int,
    j: int,
    due: int,
    unit: float,
    one_way: bool,
    slope: float,
    noise: float,
    state: Array,
    additive: bool = False,
) -> None:
    """Send pulses to a pair: take from the other device while it holds a step, else give to the device of this sign."""
    grown, shrunk = (PLUS, MINUS) if due > 0 else (MINUS, PLUS)
    for _ in range(abs(due)):
        take = not one_way and limits[1, shrunk, i, j] > 0.0 and pairs[shrunk, i, j] > 0.5 * unit
        side, row = (shrunk, 1) if take else (grown, 0)
        pairs[side, i, j] = pulse(
            pairs[side, i, j], not take, limits[row, side, i, j], limits[2, side, i, j], slope, noise, state, additive
        )


@jit()
def refresh(
    pairs: Array,
    factors: Array,
    limits: Array,
    i: int,
    j: int,
    unit: float,
    upper: float,
    lower: float,
    slope: float,
    noise: float,
    spread: float,
    state: Array,
    additive: bool = False,
) -> bool:
    """Once both devices of a pair are high, reset both and write their difference anew; return whether it was done.

    The difference is that of the currents: two devices without it do not differ by what they seem to hold.
    """
    filled, other = pairs[PLUS, i, j] / limits[2, PLUS, i, j], pairs[MINUS, i, j] / limits[2, MINUS, i, j]
    working = limits[0, PLUS, i, j] > 0.0 and limits[0, MINUS, i, j] > 0.0
    if not working or max(filled, other) <= upper or min(filled, other) <= lower:
        return False
    aim = pairs[PLUS, i, j] * factors[PLUS, i, j] - pairs[MINUS, i, j] * factors[MINUS, i, j]
    for side in range(2):
        pairs[side, i, j] = min(abs(spread * normal(state)), 1.0) * limits[2, side, i, j] if spread > 0.0 else 0.0
    # Programmed with verification: pulses until the value is reached or passed, or as many as fill a device.
    side, sign = (PLUS, 1.0) if aim > 0.0 else (MINUS, -1.0)
    for _ in range(int(8.0 * limits[2, side, i, j] / unit)):
        now = pairs[PLUS, i, j] * factors[PLUS, i, j] - pairs[MINUS, i, j] * factors[MINUS, i, j]
        if sign * now >= sign * aim:
            break
        pairs[side, i, j] = pulse(
            pairs[side, i, j], True, limits[0, side, i, j], limits[2, side, i, j], slope, noise, state, additive
        )
    return True


@jit()
def weigh(pairs: Array, factors: Array, floor: float, leak: Array, i: int, j: int) -> float:
    """Return what synapse (i, j) conducts: both devices through their factors, and the leak on the diagonal."""
    weight = (pairs[PLUS, i, j] + floor) * factors[PLUS, i, j] - (pairs[MINUS, i, j] + floor) * factors[MINUS, i, j]
    return float(weight + leak[i] if i == j else weight)


@jit()
def weigh_all(pairs: Array, factors: Array, floor: float, leak: Array, W: Array) -> None:
    """Write the weights of a chip into W."""
    for i in range(W.shape[0]):
        for j in range(W.shape[0]):
            W[i, j] = weigh(pairs, factors, floor, leak, i, j)
