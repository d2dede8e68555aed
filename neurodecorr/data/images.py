"""Labelled images, kept as the bytes they came in: a quarter of the memory of float32, an eighth of float64."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats
from neurodecorr.data.dataset import Dataset, held_out_samples
from neurodecorr.errors import InputError

# Images whose pixels are counted at a time; the counter works on 8 bytes per pixel.
_STRETCH = 512


@short_repr
@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Labelled images as unsigned bytes, with their classes and their source.

    It answers to `inputs`, `targets`, `features`, `shape`, `take` and `split` as a `Dataset` does, but keeps one byte
    per pixel. `Epochs` turns one batch after the other into numbers.

    Parameters
    ----------
    images : (samples, channels, height, width) array of uint8
        One image per row.
    targets : (samples,) array of int
        The class of each image, 0 … classes − 1.
    classes : tuple of str, optional
        The names of the classes; by default "0", "1", … up to the largest target.
    name : str, default "images"
        A short name for tables and file names.
    white : int, default 255
        The pixel value that stands for 1.
    description : str, default ""
        One sentence on where the images come from.

    Raises
    ------
    InputError
        If the images are no (samples, channels, height, width) array of uint8, or the targets do not fit them.

    Examples
    --------
    >>> dataset = ImageDataset(np.full((3, 1, 2, 2), 51, dtype=np.uint8), [0, 1, 1], name="three")
    >>> dataset
    ImageDataset('three', 3 images of 1 × 2 × 2, 2 classes)
    >>> dataset.inputs[0].tolist()
    [0.20000000298023224, 0.20000000298023224, 0.20000000298023224, 0.20000000298023224]
    """

    images: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int64]
    classes: tuple[str, ...] = ()
    name: str = "images"
    white: int = 255
    description: str = ""

    def __post_init__(self) -> None:
        images = _validation.numeric(self.images, "images")
        if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
            raise InputError(
                "images must be a (samples, channels, height, width) array of uint8 with at least one pixel; got shape "
                f"{images.shape} of type {images.dtype}. For other numbers use Dataset."
            )
        object.__setattr__(self, "classes", tuple(_validation.checked_names(self.classes, "classes")))
        object.__setattr__(self, "images", np.ascontiguousarray(images))
        object.__setattr__(self, "targets", _labels(self.targets, len(images), len(self.classes)))
        if not self.classes:
            object.__setattr__(self, "classes", tuple(str(k) for k in range(int(self.targets.max()) + 1)))
        _validation.count(self.white, "white")
        for name in ("name", "description"):
            _validation.checked_text(getattr(self, name), name)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.shape))
        return f"ImageDataset({self.name!r}, {len(self)} images of {size}, {len(self.classes)} classes)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.images.shape[1:]
        return int(channels), int(height), int(width)

    @property
    def features(self) -> int:
        """Number of pixels of an image, over all channels."""
        return int(np.prod(self.shape))

    @property
    def inputs(self) -> npt.NDArray[np.float32]:
        """All images as float32, (samples, features), pixel/white; made anew at each call, four bytes per pixel."""
        flat = self.images.reshape(len(self), -1)
        return np.divide(flat, np.float32(self.white), dtype=np.float32)

    def take(self, indices: npt.ArrayLike | slice) -> ImageDataset:
        """Return the images at these indices, in this order; the classes stay.

        Parameters
        ----------
        indices : slice or array of int or bool
            Which images.

        Returns
        -------
        ImageDataset
            The chosen images; a slice shares memory with this dataset.
        """
        chosen = indices if isinstance(indices, slice) else _validation.indices(indices, "indices", len(self))
        return replace(self, images=self.images[chosen], targets=self.targets[chosen])

    def split(self, held_out: float = 0.2, seed: int | np.random.Generator = 0) -> tuple[ImageDataset, ImageDataset]:
        """Return a training set and a held-out set that share no image, drawn as `Dataset.split` draws them.

        Parameters
        ----------
        held_out : float or int, default 0.2
            A fraction in (0, 1) of the images, or a whole number of them.
        seed : int or numpy.random.Generator, default 0
            Chooses the images.

        Returns
        -------
        tuple of two ImageDataset
            Training set, held-out set, both in the order of this dataset.

        Raises
        ------
        ConfigError
            If either set would be empty.
        """
        away = held_out_samples(len(self), held_out, seed)
        return self.take(~away), self.take(away)

    def table(self) -> Dataset:
        """Return the images as a `Dataset` of float64 rows, pixel/white; eight bytes per pixel.

        Returns
        -------
        Dataset
            (samples, features) inputs with the same targets; grey images are drawn as (height, width).
        """
        shape = self.shape[1:] if self.shape[0] == 1 else self.shape
        inputs = self.images.reshape(len(self), -1) / self.white
        words = f"{self.description} Pixel values divided by {self.white}.".strip()
        return Dataset(inputs, self.targets, self.name, shape, words)

    def statistics(self) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of each channel, over all images and places.

        ::

            m = ⟨p⟩/w,    s² = ⟨p²⟩/w² − m²    (p pixel, w white)

        Pixels are counted value by value, so both are exact but for the last rounding, in any order of the images.

        Returns
        -------
        tuple of two (channels,) arrays
            Mean and standard deviation, in units of white.

        Examples
        --------
        >>> mean, std = ImageDataset(np.uint8([[[[0, 255]]], [[[255, 0]]]]), [0, 0]).statistics()
        >>> mean.tolist(), std.tolist()
        ([0.5], [0.5])
        """
        counts = np.stack([_histogram(self.images[:, channel]) for channel in range(self.shape[0])])
        pixels, values = int(counts[0].sum()), range(256)
        sums = [sum(int(n) * p for n, p in zip(row, values, strict=True)) for row in counts]
        squares = [sum(int(n) * p * p for n, p in zip(row, values, strict=True)) for row in counts]
        # Whole numbers of any length: N Σp² − (Σp)² cancels nothing.
        spread = [sqrt(pixels * square - total**2) for total, square in zip(sums, squares, strict=True)]
        unit = pixels * self.white
        return np.array(sums) / unit, np.array(spread) / unit


def _histogram(pixels: Array) -> npt.NDArray[np.int64]:
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(pixels), _STRETCH):
        counts += np.bincount(pixels[start : start + _STRETCH].ravel(), minlength=256)
    return counts


def _labels(value: Any, samples: int, classes: int) -> npt.NDArray[np.int64]:
    targets = _validation.numeric(value, "targets")
    if targets.dtype.kind not in "iu" or targets.shape != (samples,):
        raise InputError(
            f"targets must be one whole number for each of {samples} images; got shape {targets.shape} of type "
            f"{targets.dtype}."
        )
    bad = (targets < 0) | ((targets >= classes) if classes else False)
    if bad.any():
        where, most = int(np.argmax(bad)), f"{classes - 1}" if classes else "the number of classes − 1"
        raise InputError(f"targets must lie in 0 … {most}; got {targets[where]} at index {where}.")
    return targets.astype(np.int64)
