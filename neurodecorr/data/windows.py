"""Every square window of a set of grey images: their exact moments, and random draws from them.

The population is the one that `draw` samples from: an image chosen uniformly, or by its weight, then a position in it
chosen uniformly. A window of side s is a sample with n = s² features, row after row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from neurodecorr._checks import Floats
from neurodecorr.data.dataset import NO_CONTRAST
from neurodecorr.errors import InputError

__all__ = ["Scale", "covariance", "draw", "scale"]


@dataclass(frozen=True)
class Scale:
    """Give all windows mean 0 and mean variance 1 by two numbers.

    ::

        x ← (x − m)/s,    m = mean entry of a window,    s² = tr Σ/n

    Parameters
    ----------
    shift : float
        m, in the unit of the pixels.
    spread : float
        s, in the unit of the pixels, > 0.
    """

    shift: float
    spread: float


def draw(
    images: Sequence[Floats], size: int, samples: int, rng: np.random.Generator, weights: Floats | None = None
) -> Floats:
    """Draw windows: image uniform or by its weight, position uniform, with replacement.

    Parameters
    ----------
    images : sequence of (height, width) arrays
        Grey images, each at least `size` in both directions.
    size : int
        Side s of a window, pixels.
    samples : int
        How many windows.
    rng : numpy.random.Generator
        Source of randomness.
    weights : (images,) array, optional
        Probability of each image, in all 1.

    Returns
    -------
    (samples, size²) array
        The windows, in the unit of the pixels.
    """
    corners = np.array([image.shape for image in images]) - size + 1
    which = rng.integers(len(images), size=samples) if weights is None else rng.choice(len(images), samples, p=weights)
    rows, columns = rng.integers(0, corners[which].T)
    patches = np.empty((samples, size, size))
    for k, image in enumerate(images):
        mine = which == k
        windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
        patches[mine] = windows[rows[mine], columns[mine]]
    return patches.reshape(samples, size * size)


def scale(images: Sequence[Floats], size: int, weights: Floats | None = None) -> Scale:
    """Return the shift and the spread of the population of all windows.

    Parameters
    ----------
    images : sequence of (height, width) arrays
        Grey images.
    size : int
        Side of a window, pixels.
    weights : (images,) array, optional
        Probability of each image, in all 1; uniform by default.

    Returns
    -------
    Scale
        Fixed by the images and the size alone: no seed, no sample.

    Raises
    ------
    InputError
        If no pixel position varies over the windows.
    """
    shift = float(np.mean([image.mean() for image in images]))  # any shift near the mean avoids cancellation
    mean = np.average([_window_means(image - shift, size) for image in images], axis=0, weights=weights)
    square = np.average([_window_means((image - shift) ** 2, size) for image in images], axis=0, weights=weights)
    variance = float((square - mean**2).mean())
    peak = max(float(np.abs(image).max()) for image in images)
    if variance <= (NO_CONTRAST * peak) ** 2:
        raise InputError(f"images must have contrast; every {size} × {size} window holds the same values.")
    return Scale(shift + float(mean.mean()), sqrt(variance))


def covariance(images: Sequence[Floats], size: int, weights: Floats | None = None) -> Floats:
    """Return the exact covariance of the population of all windows.

    ::

        Σ[(i,j), (k,l)] = ⟨X[p+i, q+j] X[p+k, q+l]⟩ − μ[i,j] μ[k,l],    mean over all images and positions (p, q)

    Entries with the same lag (k − i, l − j) are sums over shifted boxes of one product image, so the cost is one
    product image for each of the 2s² − 2s + 1 lags instead of n² products for every position, and the memory is that
    of one image.

    Parameters
    ----------
    images : sequence of (height, width) arrays
        Grey images.
    size : int
        Side s of a window, pixels.
    weights : (images,) array, optional
        Probability of each image, in all 1; uniform by default.

    Returns
    -------
    (size², size²) array
        Σ, in the unit of the pixels squared; symmetric to the bit.
    """
    shift = scale(images, size, weights).shift
    centred = [image - shift for image in images]
    share = np.full(len(images), 1 / len(images)) if weights is None else weights
    mean = np.average([_window_means(image, size).ravel() for image in centred], axis=0, weights=share)
    second = np.zeros((size * size, size * size))
    for weight, image in zip(share, centred, strict=True):
        second += weight * _second_moment(image, size)
    result: Floats = second - np.outer(mean, mean)
    return result


def _second_moment(image: Floats, size: int) -> Floats:
    moment = np.empty((size, size, size, size))
    height, width = image.shape
    for down, right in _lags(size):
        left, over = max(0, -right), max(0, right)
        product = image[: height - down, left : width - over] * image[down:, over : width - left]
        means = _box_means(product, height - size + 1, width - size + 1)
        i = np.arange(size - down)[:, None]
        j = left + np.arange(size - abs(right))
        moment[i, j, i + down, j + right] = means
        moment[i + down, j + right, i, j] = means
    return moment.reshape(size * size, size * size)


def _lags(size: int) -> Iterator[tuple[int, int]]:
    """One of each pair of opposite lags between two pixels of a window."""
    for down in range(size):
        for right in range(1 - size if down else 0, size):
            yield down, right


def _window_means(image: Floats, size: int) -> Floats:
    """Mean over all windows, per position in the window, (size, size)."""
    height, width = image.shape
    return _box_means(image, height - size + 1, width - size + 1)


def _box_means(image: Floats, height: int, width: int) -> Floats:
    """Mean of the image in every box of this height and width."""
    rows = _indicator(len(image), height)
    columns = _indicator(image.shape[1], width)
    means: Floats = rows @ image @ columns.T / (height * width)
    return means


def _indicator(length: int, box: int) -> Floats:
    """Row i is one on i … i + box − 1: a box sum along one axis is a matrix product."""
    starts = np.arange(length - box + 1)[:, None]
    places = np.arange(length)
    return ((places >= starts) & (places < starts + box)).astype(np.float64)
