"""Learning in whole numbers, compiled; `integers_plain` says the same in plain Python, bit for bit.

Numbers are fixed-point: R has F fraction bits, inputs and activities A, the activity while it settles A + G.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodecorr._compile import jit
from neurodecorr.hardware.insitu.codes import INTEGER_RAILED, RELIEF, RESTLESS, SATURATED

Array = np.ndarray[Any, np.dtype[Any]]


@jit()
def next_word32(state: Array) -> int:
    """xorshift32 (Marsaglia 2003), triple 13, 17, 5; held in 64 bits, so that every shift stays positive."""
    word = state[0]
    word ^= (word << 13) & 0xFFFFFFFF
    word ^= word >> 17
    word ^= (word << 5) & 0xFFFFFFFF
    state[0] = word
    return int(word)


@jit()
def rounded(value: int, shift: int) -> int:
    """Return value/2ˢ, halves upwards; s = 0 changes nothing."""
    return (value + ((1 << shift) >> 1)) >> shift


@jit()
def dithered(value: int, shift: int, state: Array) -> int:
    """Return value/2ˢ rounded at random, right on average: a uniform number below 2ˢ is added before the shift."""
    word = next_word32(state)
    noise = word >> (32 - shift) if shift <= 32 else word << (shift - 32)
    return (value + noise) >> shift


@jit()
def clipped(value: int, limit: int) -> int:
    """Return the value held within ± limit."""
    return min(max(value, -limit), limit)


@jit()
def settle_integers(
    R: Array, x: Array, y: Array, flow: Array, fraction: int, guard: int, pace: int, most: int, limit: int
) -> bool:
    """y ← y + ((x 2^(F+G) − R y) / 2^(F+s)), rounded, until nothing moves; dt = 2⁻ˢ. Return whether it came to rest."""
    n = x.size
    y[:] = 0
    for _ in range(most):
        moved = False
        for i in range(n):
            total = x[i] << (fraction + guard)
            for j in range(n):
                total -= R[i, j] * y[j]
            flow[i] = rounded(total, fraction + pace)
        for i in range(n):
            if flow[i] != 0:
                moved = True
            y[i] = clipped(y[i] + flow[i], limit << guard)
        if not moved:
            return True
    return False


@jit()
def learn_integer_stream(
    R: Array,
    sums: Array,
    state: Array,
    counters: Array,
    X: Array,
    power: Array,
    shifts: Array,
    first: int,
    numbers: Array,
) -> None:
    """Learn from the rows of X one by one, in place, in whole numbers only.

    ::

        A_ij ← A_ij + s_i x̄_j 2^F − R_ij p_j,    every B samples  R_ij ← R_ij + A_ij / 2^(2A + e),  A_ij ← 0

    Parameters
    ----------
    R, sums : (n, n) int64 arrays
        Weights; changes gathered since the last update.
    state : (1,) int64 array
        Generator, 1 … 2³² − 1.
    counters : (3,) int64 array
        Weights held at the limit, activities that reached theirs, samples that did not come to rest.
    X : (samples, n) int64 array
        Inputs.
    power : (n,) int64 array
        p_j with 2A fraction bits.
    shifts : (samples,) int64 array
        e of each sample: η = 2⁻ᵉ.
    first : int
        Samples seen before.
    numbers : (9,) int64 array
        Largest weight, F, A, G, s, most steps, largest activity, B, whether to round at random.
    """
    largest, fraction, activity, guard = numbers[0], numbers[1], numbers[2], numbers[3]
    pace, most, limit, batch, random = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8] > 0
    n, relief = R.shape[0], 1 << max(fraction - RELIEF, 0)
    y, flow = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for t in range(X.shape[0]):
        if not settle_integers(R, X[t], y, flow, fraction, guard, pace, most, limit):
            counters[RESTLESS] += 1
        for i in range(n):
            total = 0
            for j in range(n):
                total += R[i, j] * y[j]
            flow[i] = clipped(rounded(total, fraction + guard), limit)
        railed = 0
        for i in range(n):
            y[i] = rounded(y[i], guard)
            if abs(y[i]) >= limit:
                railed += 1
                R[i, i] = clipped(R[i, i] + relief, largest)
        counters[INTEGER_RAILED] += railed
        if railed > 0:
            continue
        update = (first + t + 1) % batch == 0
        shift = 2 * activity + shifts[t]
        for i in range(n):
            for j in range(n):
                sums[i, j] += ((flow[i] * y[j]) << fraction) - R[i, j] * power[j]
                if update:
                    wanted = dithered(sums[i, j], shift, state) if random else rounded(sums[i, j], shift)
                    sums[i, j] = 0
                    R[i, j] += wanted
                    if abs(R[i, j]) > largest:
                        counters[SATURATED] += 1
                        R[i, j] = clipped(R[i, j], largest)
