"""Compiled passes over the weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._typing import Array

BLOCK = 256  # pairs of normal numbers that are made at once, in the nearest cache
# Single-precision constants: a double among them would turn the whole loop to double precision.
LN_2, ROOT_2 = np.float32(np.log(2)), np.float32(np.sqrt(2))
HALF, ONE, TWO = np.float32(0.5), np.float32(1), np.float32(2)
QUARTER_TURN = np.float32(np.pi / 2)
STEP_32, STEP_30 = np.float32(2.0**-32), np.float32(2.0**-30)
# Series of artanh s/s in s², of sin φ/φ and of cos φ in φ².
ARTANH = tuple(np.float32(1 / k) for k in (3, 5, 7, 9))
SINE = tuple(np.float32(1 / k) for k in (-6, 120, -5040, 362880))
COSINE = tuple(np.float32(1 / k) for k in (-2, 24, -720, 40320))


class AdamStep(NamedTuple):
    """Numbers of one step of Adam: η/(1 − β₁ᵗ), β₁, β₂, u = 1/(1 − β₂ᵗ), ε."""

    rate: float
    first: float
    second: float
    unbias: float
    epsilon: float


@jit()
def adam(w: Array, g: Array, m: Array, v: Array, step: AdamStep) -> None:
    """Change the weights by one step of Adam, in one pass, since memory traffic decides its time.

    ::

        m ← β₁ m + (1 − β₁) g,    v ← β₂ v + (1 − β₂) g²,    w ← w − η m/(√(u v) + ε)

    References
    ----------
    Kingma & Ba (2015), ICLR, arXiv:1412.6980, Algorithm 1.
    """
    real = w.dtype.type
    b1, b2, a1, a2 = real(step.first), real(step.second), real(1 - step.first), real(1 - step.second)
    eta, u, eps = real(step.rate), real(step.unbias), real(step.epsilon)
    for i in range(w.size):
        gradient = g[i]
        mean = b1 * m[i] + a1 * gradient
        square = b2 * v[i] + a2 * gradient * gradient
        m[i], v[i] = mean, square
        w[i] -= eta * mean / (np.sqrt(u * square) + eps)


@jit()
def normals(bits: Array, out: Array) -> None:
    """Turn random 64-bit numbers into standard normal numbers, two from each.

    ::

        z = √(−2 ln u) (cos θ, sin θ)

    The upper half of the bits is u in (0, 1], the lower θ: two bits its quadrant, thirty the place φ in it. Logarithm,
    sine and cosine are series, since calls to a library are made one by one; they are good to single precision.

    References
    ----------
    Box & Muller (1958), Annals of Mathematical Statistics 29, 610–611.
    """
    pairs = bits.size
    u = np.empty(BLOCK, np.float32)
    code = u.view(np.int32)
    exponent = np.empty(BLOCK, np.float32)
    for begin in range(0, pairs, BLOCK):
        part = bits[begin : begin + BLOCK]
        cosines, sines = out[begin : begin + BLOCK], out[pairs + begin : pairs + begin + BLOCK]
        for i in range(part.size):
            u[i] = (np.float32(np.int64(part[i] >> np.uint64(32))) + HALF) * STEP_32
        for i in range(part.size):
            exponent[i] = np.float32((code[i] >> np.int32(23)) - np.int32(127))
            code[i] = (code[i] & np.int32(0x7FFFFF)) | np.int32(0x3F800000)
        for i in range(part.size):
            high = u[i] > ROOT_2
            mantissa = HALF * u[i] if high else u[i]
            whole = exponent[i] + ONE if high else exponent[i]
            s = (mantissa - ONE) / (mantissa + ONE)
            q = s * s
            series = ONE + q * (ARTANH[0] + q * (ARTANH[1] + q * (ARTANH[2] + q * ARTANH[3])))
            u[i] = np.sqrt(max(np.float32(0), -TWO * (whole * LN_2 + TWO * s * series)))
        for i in range(part.size):
            low = np.int32(part[i] & np.uint64(0xFFFFFFFF))
            place = np.float32((low >> np.int32(2)) & np.int32(0x3FFFFFFF))
            phi = QUARTER_TURN * ((place + HALF) * STEP_30 - HALF)
            q = phi * phi
            sine = phi * (ONE + q * (SINE[0] + q * (SINE[1] + q * (SINE[2] + q * SINE[3]))))
            cosine = ONE + q * (COSINE[0] + q * (COSINE[1] + q * (COSINE[2] + q * COSINE[3])))
            odd = (low & np.int32(1)) != 0
            radius = -u[i] if (low & np.int32(2)) != 0 else u[i]
            cosines[i] = radius * (sine if odd else cosine)
            if i < sines.size:
                sines[i] = radius * (cosine if odd else -sine)
