"""Patches of images: scikit-learn's two photographs, or the user's own.

All patches of one set of images share one shift and one factor, fixed by all their pixels and not by the draw: another
seed gives other patches on the same scale. They come from the same pictures, so many overlap with those of the first
seed: what was never seen is held out by `load_split`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Array, Floats
from neurodecorr._validation import unmasked
from neurodecorr.data.dataset import NO_CONTRAST, Dataset
from neurodecorr.data.files import MOST_ENTRIES, read_arrays
from neurodecorr.errors import InputError
from neurodecorr.io.files import open_regular

Images = str | os.PathLike[str] | npt.ArrayLike | Sequence[Any]

MOST_BYTES = 2**30
ARRAY_SUFFIXES = (".npy", ".npz")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")

# Channels of an image → how many of them are colour; what is left is alpha.
_COLOURS = {1: 1, 2: 1, 3: 3, 4: 3}


def pictures(images: Images, size: int) -> list[Floats]:
    """Return grey images, each at least `size` pixels high and wide.

    Parameters
    ----------
    images : array, sequence, or path
        - an array: one image (h, w), a stack (k, h, w), or a stack with channels (k, h, w, 1 … 4);
        - a sequence whose members are (h, w) or (h, w, channels) arrays, of any sizes, or paths of picture files;
        - the path of a PNG or JPEG file, of a folder of them (other files and sub-folders are ignored), or of a .npy
          or .npz file whose arrays have one of the shapes above.
    size : int
        Side of the windows to be cut, pixels.

    Returns
    -------
    list of (height, width) arrays
        In units of the largest pixel: max |pixel| = 1.

    Raises
    ------
    InputError
        If there is no image, an image is not finite, too small or unreadable, or they are too many to hold.
    """
    grey: list[Floats] = []
    room = MOST_ENTRIES
    for label, pixels in _labelled(images):
        grey.append(_grey(pixels, label, size))
        room -= grey[-1].size
        if room < 0:
            raise InputError(f"images must hold at most {MOST_ENTRIES:,} pixels in all; {label} exceeds this.")
    if not grey:
        raise InputError("images must hold at least one image; got none.")
    peak = max(float(np.abs(image).max()) for image in grey) or 1.0
    return [image / peak for image in grey]


def _labelled(images: Any) -> Iterator[tuple[str, Any]]:
    """Yield every image, (h, w) or (h, w, channels), with the words that name it in a message."""
    if isinstance(images, str | os.PathLike):
        yield from _from_path(Path(images))
    elif hasattr(images, "ndim"):
        yield from _from_array(np.asarray(unmasked(images, "images")), "images")
    elif isinstance(images, Iterable):
        for k, image in enumerate(images):
            yield f"images[{k}]", read_picture(Path(image)) if isinstance(image, str | os.PathLike) else image
    else:
        raise InputError(f"images must be an array, a sequence of arrays, or a path; got {type(images).__name__}.")


def _from_path(path: Path) -> Iterator[tuple[str, Any]]:
    suffix = path.suffix.lower()
    if path.is_dir():
        for file in _picture_files(path):
            yield str(file), read_picture(file)
    elif suffix in ARRAY_SUFFIXES:
        for name, array in read_arrays(path).items():
            yield from _from_array(array, f"{path}[{name!r}]")
    elif suffix in PICTURE_SUFFIXES:
        yield str(path), read_picture(path)
    else:
        known = ", ".join(PICTURE_SUFFIXES + ARRAY_SUFFIXES)
        raise InputError(f"images must be a folder of pictures or a file of type {known}; got {str(path)!r}.")


def _picture_files(folder: Path) -> list[Path]:
    found = [file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES]
    files = sorted(file for file in found if file.is_file() and not file.name.startswith("."))
    if not files:
        raise InputError(f"{folder} must hold at least one picture ({', '.join(PICTURE_SUFFIXES)}); found none.")
    return files


def _from_array(array: Array, label: str) -> Iterator[tuple[str, Any]]:
    if array.ndim not in (2, 3, 4):
        raise InputError(f"{label} must be (h, w), (k, h, w) or (k, h, w, channels); got shape {array.shape}.")
    if array.ndim == 2:
        yield label, array
    else:
        yield from ((f"{label}[{k}]", image) for k, image in enumerate(array))


def _grey(pixels: Any, label: str, size: int) -> Floats:
    """Return an (h, w) or (h, w, channels) array as a finite grey float64 image."""
    image = _validation.real_array(pixels, label)
    if image.ndim == 3 and image.shape[2] in _COLOURS:
        image = image[:, :, : _COLOURS[image.shape[2]]].mean(axis=2, dtype=np.float64)
    if image.ndim != 2:
        raise InputError(f"{label} must be one image, (h, w) or (h, w, 1 … 4 channels); got shape {image.shape}.")
    if min(image.shape) < size:
        colour = image.shape[1] in _COLOURS and "A single colour image is (1, h, w, channels)."
        raise InputError(
            f"{label} must be at least {size} × {size} pixels, the size of a patch; got {image.shape[0]} × "
            f"{image.shape[1]}. {colour or 'Leave it out or use smaller patches.'}"
        )
    grey: Floats = _validation.finite(image, label).astype(np.float64) / _full_scale(np.asarray(pixels).dtype)
    return grey


def _full_scale(kind: np.dtype[Any]) -> int:
    """Return the value of white for unsigned 8- and 16-bit pixels, 1 for all others."""
    return int(2 ** (8 * kind.itemsize) - 1) if kind.kind == "u" and kind.itemsize <= 2 else 1


def read_picture(path: Path) -> Array:
    """Decode a PNG or JPEG file; Pillow's guard against decompression bombs stays on, and its warning refuses.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    (height, width) or (height, width, 3) array
        Grey pixels as uint8 or uint16, or colours as uint8.

    Raises
    ------
    InputError
        If it is no picture, or a damaged one.
    """
    from PIL import Image, ImageOps

    try:
        with (
            open_regular(path, MOST_BYTES, what="picture", error=InputError) as file,
            Image.open(file, formats=("PNG", "JPEG")) as picture,
        ):
            # Told by its size, not by the warning: filters of warnings belong to the process, not to this thread.
            pixels, most = math.prod(picture.size), Image.MAX_IMAGE_PIXELS
            if most is not None and pixels > most:
                raise InputError(f"{path} must hold at most {most:,} pixels, as Pillow allows; it claims {pixels:,}.")
            upright = ImageOps.exif_transpose(picture)
            if upright.mode[0] == "I":  # 16-bit grey, whichever mode this version of Pillow gives it
                return np.asarray(upright).astype(np.uint16)
            return np.asarray(upright if upright.mode == "L" else upright.convert("RGB"))
    except InputError:
        raise
    except Exception as error:  # decoders raise many kinds on corrupt bytes
        raise InputError(f"{path} must be a readable PNG or JPEG picture: {error}.") from error


@dataclass(frozen=True)
class Scale:
    """Two numbers that give all windows mean 0 and mean variance 1.

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
    """Draw windows with replacement: image uniform or by its weight, position uniform.

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


def pixel_scale(images: Sequence[Floats], size: int, weights: Floats | None = None) -> Scale:
    """Return the shift and the spread of the population of all windows.

    ::

        m = ⟨X⟩,    s² = tr Σ/n

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
    # Over positions within the window: its mean is tr Σ/n.
    variance = float((square - mean**2).mean())
    peak = max(float(np.abs(image).max()) for image in images)
    if variance <= (NO_CONTRAST * peak) ** 2:
        raise InputError(f"images must have contrast; every {size} × {size} window holds the same values.")
    return Scale(shift + float(mean.mean()), sqrt(variance))


def patch_covariance(images: Sequence[Floats], size: int, weights: Floats | None = None) -> Floats:
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
    shift = pixel_scale(images, size, weights).shift
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

    References
    ----------
    Pedregosa et al. (2011), Journal of Machine Learning Research 12, 2825–2830 (scikit-learn).
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
    return _covariance(photographs(_validation.count(size, "size")), size)


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

    ::

        Σ = ⟨(x − ⟨x⟩)(x − ⟨x⟩)ᵀ⟩ over all images and positions,    tr Σ = n

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
    return _covariance(pictures(images, _validation.count(size, "size")), size)


def _check_drawn(size: int, samples: int, seed: int | np.random.Generator) -> None:
    """Check how much is to be drawn, before any picture is read."""
    _validation.generator(seed)
    require_memory(8 * (_validation.count(size, "size") * _validation.count(samples, "samples")), "the patches")


def patches_of(
    images: Sequence[Floats], size: int, samples: int, seed: int | np.random.Generator, name: str, source: str
) -> Dataset:
    """Return patches of grey images, on the scale of all their pixels, as `image_patches` does.

    ::

        x = (patch − m)/s,    m, s over every patch: mean 0, mean variance tr Σ/n = 1

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
    scale = pixel_scale(images, size)
    inputs = draw(images, size, samples, _validation.generator(seed))
    inputs -= scale.shift
    inputs /= scale.spread
    description = f"Grey {size} × {size} patches of {source}, mean 0 and mean variance 1 over every patch."
    return Dataset(inputs, name=name, shape=(size, size), description=description)


def _covariance(images: Sequence[Floats], size: int) -> Floats:
    covariance: Floats = patch_covariance(images, size) / pixel_scale(images, size).spread ** 2
    return covariance


def photographs(size: int) -> list[Floats]:
    """Return the two bundled photographs in grey; `size` is the side of a patch, which must fit.

    Parameters
    ----------
    size : int
        Pixels.

    References
    ----------
    Pedregosa et al. (2011), Journal of Machine Learning Research 12, 2825–2830 (scikit-learn).
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
