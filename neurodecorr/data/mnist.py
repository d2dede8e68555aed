"""MNIST and its relatives, in the idx format: a header that says how large the array is, then its bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neurodecorr.data.files import MOST_ENTRIES, found_in, gzip_or_plain
from neurodecorr.data.images import ImageDataset
from neurodecorr.errors import InputError

# Code of unsigned bytes in the third byte of an idx header.
_UNSIGNED_BYTE = 8
# Where the files lie in a folder as it is unpacked, or as other libraries store it.
_PLACES = ("", "raw", "MNIST/raw", "mnist", "MNIST")
_STEMS = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
_WANTED = (
    "the four files of the MNIST database, packed or not: train-images-idx3-ubyte.gz (9.9 MB), "
    "train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz (1.6 MB) and t10k-labels-idx1-ubyte.gz; unpacked they end "
    "in -ubyte"
)


def mnist(folder: str | os.PathLike[str]) -> tuple[ImageDataset, ImageDataset]:
    """Return the training and the test set of MNIST, or of a set in the same files, such as Fashion-MNIST.

    Parameters
    ----------
    folder : str or path
        Where the four files lie, as `.gz` or unpacked; `train-images.idx3-ubyte` is read as well as
        `train-images-idx3-ubyte`, and a folder `MNIST/raw` or `raw` is looked into.

    Returns
    -------
    tuple of two ImageDataset
        60 000 and 10 000 images of 1 × 28 × 28 with ten classes.

    Raises
    ------
    InputError
        If a file is missing or damaged, or images and labels do not fit together.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner (1998), Proceedings of the IEEE 86, 2278–2324; Xiao, Rasul & Vollgraf (2017),
    arXiv:1708.07747 (Fashion-MNIST).
    """
    place = _place(Path(folder))
    files = {part: _file(place, stem) for part, stem in _STEMS.items()}
    missing = [_STEMS[part] for part, file in files.items() if file is None]
    if missing:
        raise InputError(f"{folder} must hold {_WANTED}. Missing: {', '.join(missing)}; in {place} {found_in(place)}.")
    there = {part: file for part, file in files.items() if file is not None}
    train, test = (_pair(there[part, "images"], there[part, "labels"], part) for part in ("train", "test"))
    if train.shape != test.shape:
        raise InputError(f"{place}: training and test images must have one shape; got {train.shape} and {test.shape}.")
    return train, test


def has_mnist(folder: Path) -> bool:
    """Return True if a folder holds at least one of the four files.

    Parameters
    ----------
    folder : Path
        Any folder.

    Returns
    -------
    bool
        True if so.
    """
    place = _place(folder)
    return any(_file(place, stem) for stem in _STEMS.values())


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Return the array of unsigned bytes in an idx file.

    ::

        0, 0, 8, d | length 1 … length d (4 bytes each, largest first) | entries, last index fastest

    Parameters
    ----------
    path : str or path
        The file; unpacked if its name ends in .gz.

    Returns
    -------
    array of uint8
        With the d dimensions that the header says.

    Raises
    ------
    InputError
        If the header is none of an idx file of unsigned bytes, or the file does not hold what the header claims.
    """
    path = Path(path)
    with gzip_or_plain(path) as read:
        shape = _shape(path, read(4), read)
        entries = prod(shape)
        content = read(entries + 1)
    if len(content) != entries:
        came = "more" if len(content) > entries else f"{len(content):,}"
        raise InputError(
            f"{path} must hold {entries:,} bytes after its header, which claims shape {shape}; it holds {came}. "
            "Copy or download it again."
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _shape(path: Path, magic: bytes, read: Callable[[int], bytes]) -> tuple[int, ...]:
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != _UNSIGNED_BYTE or not 1 <= magic[3] <= 4:
        packed = " It is a gzip file: give it a name that ends in .gz." if magic[:2] == b"\x1f\x8b" else ""
        raise InputError(
            f"{path} must start with the bytes 0, 0, 8 and the number of dimensions, 1 … 4, of an idx file; got "
            f"{list(magic)}.{packed}"
        )
    lengths = read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise InputError(f"{path} is truncated within its header. Copy or download it again.")
    shape = tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
    if not 0 < prod(shape) <= MOST_ENTRIES:
        raise InputError(f"{path} must hold 1 to {MOST_ENTRIES:,} entries; its header claims shape {shape}.")
    return shape


def _place(folder: Path) -> Path:
    """Return the first of the known places that holds one of the files, or the folder itself."""
    places = [folder / place for place in _PLACES]
    return next((place for place in places if any(_file(place, stem) for stem in _STEMS.values())), folder)


def _file(folder: Path, stem: str) -> Path | None:
    names = (stem, stem.replace("-idx", ".idx"))
    candidates = (folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _pair(images_path: Path, labels_path: Path, part: str) -> ImageDataset:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3:
        raise InputError(f"{images_path} must hold images, 3 dimensions; its header claims {images.ndim}.")
    if labels.shape != images.shape[:1]:
        raise InputError(
            f"{labels_path} must hold one label for each of the {len(images):,} images of {images_path.name}; its "
            f"header claims shape {labels.shape}."
        )
    if labels.max() > 9:
        where = int(np.argmax(labels > 9))
        raise InputError(f"{labels_path} must hold labels 0 … 9; got {labels[where]} at index {where}.")
    digits = tuple(str(digit) for digit in range(10))
    words = f"{'Training' if part == 'train' else 'Test'} images in {images_path}."
    return ImageDataset(images[:, None], labels.astype(np.int64), digits, "mnist", 255, words)
