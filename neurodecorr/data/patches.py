"""Patches of images: scikit-learn's two photographs, or the user's own.

All patches of one set of images share one shift and one factor, fixed by all their pixels and not by the draw: another
seed gives other patches on the same scale. They come from the same pictures, so many overlap with those of the first
seed: what was never seen is held out by `load_split`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from neurodecorr import _checks
from neurodecorr._checks import Array, Floats
from neurodecorr._memory import require_memory
from neurodecorr.data import windows
from neurodecorr.data.dataset import Dataset
from neurodecorr.data.pictures import Images, pictures, read_picture
from neurodecorr.errors import InputError

__all__ = [
    "image_patch_covariance",
    "image_patches",
    "natural_patch_covariance",
    "natural_patches",
    "patches_of",
    "photographs",
]

PHOTOGRAPHS = ("china.jpg", "flower.jpg")


def natural_patches(size: int = 8, samples: int = 20_000, seed: int | np.random.Generator = 0) -> Dataset:
    """Return grey patches of the two photographs that ship with scikit-learn.

    ::

        x = (patch − m)/s,    m, s over every patch of the photographs: mean 0, mean variance tr Σ/n = 1

    Photograph and position are drawn uniformly. Works offline. Neighbouring pixels of natural images are strongly
    correlated: for 8 × 8 patches cond(Σ) ≈ 1.03e4 and the rms correlation between pixels is 0.93.

    Parameters
    ----------
    size : int, default 8
        Side of a patch, pixels; n = size² features.
    samples : int, default 20_000
        Number of patches.
    seed : int or numpy.random.Generator, default 0
        Chooses the patches; the scale does not depend on it, so another seed gives other patches of the
        same pictures, on the same scale.

    Returns
    -------
    Dataset
        (samples, size²) inputs, drawn as (size, size).

    Raises
    ------
    InputError
        If a photograph (427 × 640 pixels) is smaller than a patch.

    Examples
    --------
    >>> natural_patches(size=8, samples=100, seed=1)
    Dataset('natural', 100 samples × 64 features, shape (8, 8))
    """
    _check_drawn(size, samples, seed)
    images = photographs(size)
    return patches_of(images, size, samples, seed, "natural", "scikit-learn's two photographs")


def natural_patch_covariance(size: int = 8) -> Floats:
    """Return the exact covariance of every patch that `natural_patches` may draw.

    ::

        Σ = ⟨(x − ⟨x⟩)(x − ⟨x⟩)ᵀ⟩ over all photographs and positions,    tr Σ = n

    A correlation measured on N samples carries noise of about 1/√N; one computed from Σ carries none.

    Parameters
    ----------
    size : int, default 8
        Side of a patch, pixels.

    Returns
    -------
    (size², size²) array
        Σ, in the units of `natural_patches`.
    """
    return _covariance(photographs(_checks.count(size, "size")), size)


def image_patches(images: Images, size: int = 8, samples: int = 20_000, seed: int | np.random.Generator = 0) -> Dataset:
    """Return grey patches of the user's images, on the scale of all their pixels.

    ::

        x = (patch − m)/s,    m, s over every patch of the images: mean 0, mean variance tr Σ/n = 1

    Image and position are drawn uniformly. Grey is the mean of the colour channels; alpha is ignored.

    Parameters
    ----------
    images : array, sequence of arrays or paths, or path
        One image (h, w); a stack (k, h, w) or (k, h, w, channels); a sequence of images of any sizes; a PNG or JPEG
        file, a folder of them (sub-folders and other files are ignored); a .npy or .npz file of arrays.
    size : int, default 8
        Side of a patch, pixels; n = size² features.
    samples : int, default 20_000
        Number of patches.
    seed : int or numpy.random.Generator, default 0
        Chooses the patches; the scale does not depend on it.

    Returns
    -------
    Dataset
        (samples, size²) inputs, drawn as (size, size).

    Raises
    ------
    InputError
        If an image is unreadable, not finite or smaller than a patch, or if all of them are flat.

    Examples
    --------
    >>> ramp = np.arange(400.0).reshape(20, 20)
    >>> image_patches(ramp, size=4, samples=10)
    Dataset('images', 10 samples × 16 features, shape (4, 4))
    """
    _check_drawn(size, samples, seed)
    grey = pictures(images, size)
    return patches_of(grey, size, samples, seed, "images", f"{len(grey)} image(s)")


def image_patch_covariance(images: Images, size: int = 8) -> Floats:
    """Return the exact covariance of every patch that `image_patches` may draw from these images.

    Parameters
    ----------
    images : array, sequence of arrays or paths, or path
        As for `image_patches`.
    size : int, default 8
        Side of a patch, pixels.

    Returns
    -------
    (size², size²) array
        Σ, in the units of `image_patches`; tr Σ = n.
    """
    return _covariance(pictures(images, _checks.count(size, "size")), size)


def _check_drawn(size: int, samples: int, seed: int | np.random.Generator) -> None:
    """Check how much is to be drawn, before any picture is read."""
    _checks.generator(seed)
    require_memory(8 * (_checks.count(size, "size") * _checks.count(samples, "samples")), "the patches")


def patches_of(
    images: Sequence[Floats], size: int, samples: int, seed: int | np.random.Generator, name: str, source: str
) -> Dataset:
    """Return patches of grey images, on the scale of all their pixels; what `image_patches` does after reading.

    Parameters
    ----------
    images : sequence of (height, width) arrays
        From `pictures`.
    size, samples, seed
        As in `image_patches`.
    name, source : str
        Of the data, and what to call the images in the description.

    Returns
    -------
    Dataset
        (samples, size²) inputs, drawn as (size, size).
    """
    scale = windows.scale(images, size)
    inputs = windows.draw(images, size, samples, _checks.generator(seed))
    inputs -= scale.shift
    inputs /= scale.spread
    description = f"Grey {size} × {size} patches of {source}, mean 0 and mean variance 1 over every patch."
    return Dataset(inputs, name=name, shape=(size, size), description=description)


def _covariance(images: Sequence[Floats], size: int) -> Floats:
    covariance: Floats = windows.covariance(images, size) / windows.scale(images, size).spread ** 2
    return covariance


def photographs(size: int) -> list[Floats]:
    """Return the two bundled photographs in grey; `size` is the side of a patch, which must fit.

    Parameters
    ----------
    size : int
        Pixels.
    """
    return pictures(_bundled(), size)


@cache
def _bundled() -> tuple[Array, ...]:
    """Read the photographs without importing scikit-learn, which takes longer than the reading."""
    found = find_spec("sklearn")
    folders = found.submodule_search_locations if found else None
    if not folders:
        raise InputError("the photographs ship with scikit-learn, which is not installed: pip install scikit-learn.")
    photographs = tuple(read_picture(Path(folders[0]) / "datasets" / "images" / name) for name in PHOTOGRAPHS)
    for pixels in photographs:
        pixels.setflags(write=False)
    return photographs
