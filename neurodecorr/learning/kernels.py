"""Compiled passes over the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodecorr._compile import jit

__all__ = ["adam"]

Array = np.ndarray[Any, np.dtype[Any]]


@jit()
def adam(
    w: Array, g: Array, m: Array, v: Array, rate: float, first: float, second: float, unbias: float, epsilon: float
) -> None:
    """w ← w − η m/(√(u v) + ε), after m and v have moved; everything in one pass, since memory bounds it."""
    real = w.dtype.type
    b1, b2, a1, a2 = real(first), real(second), real(1 - first), real(1 - second)
    eta, u, eps = real(rate), real(unbias), real(epsilon)
    for i in range(w.size):
        gradient = g[i]
        mean = b1 * m[i] + a1 * gradient
        square = b2 * v[i] + a2 * gradient * gradient
        m[i], v[i] = mean, square
        w[i] -= eta * mean / (np.sqrt(u * square) + eps)
