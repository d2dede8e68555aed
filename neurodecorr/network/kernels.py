"""Compiled passes over pictures with their channels last, (b, H, W, C), and over the drives of units.

What the routes say of any array, for numpy's: each place is written once, in the order in which it lies in memory.
"""

from __future__ import annotations

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._typing import Array


@jit()
def gather(pictures: Array, patches: Array, stride: int, padding: int) -> None:
    """Copy the patch of each place, (b, H', W', k, k, C); zeros stand for what lies outside.

    ::

        patch ← X[window of the place]
    """
    height, width, channels = pictures.shape[1:]
    samples, down, across, size = patches.shape[:4]
    flat, out = pictures.ravel(), patches.ravel()
    run, place = size * channels, 0
    for s in range(samples):
        for i in range(down):
            for j in range(across):
                left = j * stride - padding
                for row in range(i * stride - padding, i * stride - padding + size):
                    target = out[place : place + run]
                    place += run
                    if row < 0 or row >= height:
                        for c in range(run):
                            target[c] = 0
                        continue
                    line = (s * height + row) * width
                    if left >= 0 and left + size <= width:
                        source = flat[(line + left) * channels : (line + left) * channels + run]
                        for c in range(run):
                            target[c] = source[c]
                        continue
                    for k in range(size):
                        inside = 0 <= left + k < width
                        for c in range(channels):
                            target[k * channels + c] = flat[(line + left + k) * channels + c] if inside else 0


@jit()
def collect(patches: Array, pictures: Array, stride: int, padding: int) -> None:
    """Sum at each place of the pictures what the patches that saw it say: the transpose of `gather`.

    ::

        X[window of the place] ← X[window of the place] + patch
    """
    height, width, channels = pictures.shape[1:]
    samples, down, across, size = patches.shape[:4]
    flat, out = patches.ravel(), pictures.ravel()
    run, whole, place = size * channels, height * width * channels, 0
    for s in range(samples):
        out[s * whole : (s + 1) * whole] = 0
        for i in range(down):
            for j in range(across):
                left = j * stride - padding
                first, last = max(0, -left), min(size, width - left)
                length = (last - first) * channels
                for row in range(i * stride - padding, i * stride - padding + size):
                    if 0 <= row < height and length > 0:
                        source = flat[place + first * channels : place + last * channels]
                        start = ((s * height + row) * width + left + first) * channels
                        target = out[start : start + length]
                        for c in range(length):
                            target[c] += source[c]
                    place += run


@jit()
def maxima(pictures: Array, best: Array, winner: Array, size: int, stride: int) -> None:
    """Find the largest number of each window and channel, and which place of the window holds it; NaN wins."""
    samples, down, across, channels = best.shape
    for s in range(samples):
        for i in range(down):
            for j in range(across):
                high, where = best[s, i, j], winner[s, i, j]
                high[:] = pictures[s, i * stride, j * stride]
                where[:] = 0
                for place in range(1, size * size):
                    seen = pictures[s, i * stride + place // size, j * stride + place % size]
                    for c in range(channels):
                        higher = seen[c] > high[c] or seen[c] != seen[c]
                        high[c] = seen[c] if higher else high[c]
                        where[c] = place if higher else where[c]


@jit()
def unpool(E: Array, winner: Array, wide: Array, size: int, stride: int) -> None:
    """Add the gradient of each window at the place of its largest number: the transpose of `maxima`.

    ::

        X[largest of the window] ← X[largest of the window] + gradient
    """
    samples, down, across, channels = E.shape
    zero = wide.dtype.type(0)
    for s in range(samples):
        wide[s] = zero
        for i in range(down):
            for j in range(across):
                gradient, where = E[s, i, j], winner[s, i, j]
                for place in range(size * size):
                    target = wide[s, i * stride + place // size, j * stride + place % size]
                    for c in range(channels):
                        target[c] += gradient[c] if where[c] == place else zero


@jit()
def leaky_relu(h: Array, leak: float, x: Array) -> None:
    """x = h above zero, leak · h below.

    ::

        x ← h if h > 0 else leak · h

    Reference: Maas, Hannun & Ng (2013), ICML Workshop on Deep Learning for Audio, Speech and Language Processing.
    """
    factor = h.dtype.type(leak)
    for i in range(h.size):
        x[i] = max(h[i], factor * h[i])


@jit()
def leaky_slope(h: Array, leak: float, slope: Array) -> None:
    """1 above zero, leak below.

    ::

        ∂x/∂h = 1 if h > 0 else leak
    """
    one, factor = h.dtype.type(1), h.dtype.type(leak)
    for i in range(h.size):
        slope[i] = one if h[i] > 0 else factor


@jit()
def leaky_back(h: Array, leak: float, E: Array) -> None:
    """Multiply a gradient in place by 1 above zero, by leak below.

    ::

        E ← E ∘ ∂x/∂h
    """
    one, factor = h.dtype.type(1), h.dtype.type(leak)
    for i in range(h.size):
        E[i] *= one if h[i] > 0 else factor


@jit()
def add_row_compiled(X: Array, row: Array) -> None:
    """Add the same numbers to every row of X.

    ::

        X_ij ← X_ij + b_j
    """
    for i in range(X.shape[0]):
        line = X[i]
        for j in range(line.size):
            line[j] += row[j]


@jit()
def sum_rows_compiled(X: Array) -> Array:
    """Return the sum of all rows.

    ::

        ∑_i X_ij
    """
    found = np.zeros(X.shape[1], X.dtype)
    for i in range(X.shape[0]):
        line = X[i]
        for j in range(line.size):
            found[j] += line[j]
    return found


@jit()
def squares(X: Array) -> float:
    """Return the sum of all squares: rows in the type of X, their sum in double precision.

    ::

        ∑_ij X_ij²
    """
    total = 0.0
    for row in range(X.shape[0]):
        line, part = X[row], X.dtype.type(0)
        for i in range(line.size):
            part += line[i] * line[i]
        total += part
    return total
