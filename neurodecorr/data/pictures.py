"""Grey images out of whatever a user has: arrays, sequences of arrays, picture files, folders of them, .npy and .npz.

Grey is the mean of the colour channels; an alpha channel is ignored. Unsigned 8- and 16-bit pixels are put on one
scale, 0 … 1, so that both may lie in one folder; other pixels keep their values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import _checks
from neurodecorr._checks import Array, Floats
from neurodecorr._files import open_regular
from neurodecorr._missing import unmasked
from neurodecorr.data.arrays import MOST_ENTRIES, read_arrays
from neurodecorr.errors import InputError

__all__ = ["ARRAY_SUFFIXES", "PICTURE_SUFFIXES", "Images", "pictures", "read_picture"]

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
    """Every image as an (h, w) or (h, w, channels) array, with the words that name it in a message."""
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
    """One (h, w) or (h, w, channels) array as a finite grey float64 image."""
    image = _checks.real_array(pixels, label)
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
    grey: Floats = _checks.finite(image, label).astype(np.float64) / _full_scale(np.asarray(pixels).dtype)
    return grey


def _full_scale(kind: np.dtype[Any]) -> int:
    """White, for unsigned 8- and 16-bit pixels; 1 for all others."""
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
