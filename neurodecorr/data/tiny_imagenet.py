"""Tiny ImageNet: 64 × 64 pictures in one folder per class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Array
from neurodecorr._validation import Progress, progress_function
from neurodecorr.data.files import array_shapes, found_in, read_bytes
from neurodecorr.data.images import ImageDataset
from neurodecorr.data.patches import PICTURE_SUFFIXES, read_picture
from neurodecorr.errors import InputError
from neurodecorr.io.atomic import temporary_beside

# Every picture of the set is 64 × 64 pixels.
_SIDE = 64
_SUFFIXES = PICTURE_SUFFIXES
# Lists of classes and labels are far smaller; a larger text file is not one of them.
_MOST_TEXT = 2**24
_WANTED = (
    "Tiny ImageNet as tiny-imagenet-200.zip (237 MB, Stanford CS231n) unpacks to: wnids.txt, "
    "train/CLASS/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt"
)

Listing = list[tuple[Path, int]]


def tiny_imagenet(
    folder: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None, progress: Progress | None = None
) -> tuple[ImageDataset, ImageDataset]:
    """Return the training set of Tiny ImageNet, and its validation set as the test set.

    The test set of Tiny ImageNet has no labels.

    All pictures take 1.35 GB as bytes. With `cache`, they are decoded once and then mapped from two files: memory holds
    only what is being shown.

    Parameters
    ----------
    folder : str or path
        Where `train` and `val` lie; a folder `tiny-imagenet-200` is looked into.
    cache : str or path, optional
        A folder for `train.npy` and `val.npy`, made if need be. What lies there is believed if it has as many pictures
        as the folder; delete it when pictures change.
    progress : callable, optional
        Called as `progress(words, done, total)` while pictures are decoded; `cli.progress.progress_bar` draws a bar.

    Returns
    -------
    tuple of two ImageDataset
        100 000 and 10 000 images of 3 × 64 × 64 with 200 classes; grey pictures have three equal channels.

    Raises
    ------
    InputError
        If a part is missing, a picture is unreadable or not 64 × 64, or an annotation names no class.

    References
    ----------
    Le & Yang (2015), Tiny ImageNet visual recognition challenge, Stanford CS 231N.
    """
    place, tell = _place(Path(folder)), progress_function(progress)
    missing = [name for name in ("train", "val", "val/val_annotations.txt") if not (place / name).exists()]
    if missing:
        raise InputError(f"{folder} must hold {_WANTED}. Missing: {', '.join(missing)}; in {place} {found_in(place)}.")
    classes = _classes(place)
    listings = {"train": _training(place, classes), "val": _validation(place, classes)}
    names = _names(place, classes)
    train, test = (
        ImageDataset(
            _images([path for path, _ in listing], _cached(cache, part), tell, part),
            np.array([label for _, label in listing], dtype=np.int64),
            names,
            "tiny-imagenet",
            255,
            f"Pictures in {place / part}.",
        )
        for part, listing in listings.items()
    )
    return train, test


def has_tiny_imagenet(folder: Path) -> bool:
    """Return True if a folder has the layout of Tiny ImageNet.

    Parameters
    ----------
    folder : Path
        Any folder.

    Returns
    -------
    bool
        True if it holds `val/val_annotations.txt`, or `train` and `wnids.txt`.
    """
    place = _place(folder)
    return (place / "val" / "val_annotations.txt").is_file() or (
        (place / "train").is_dir() and (place / "wnids.txt").is_file()
    )


def _place(folder: Path) -> Path:
    inner = folder / "tiny-imagenet-200"
    return inner if inner.is_dir() and not (folder / "train").is_dir() else folder


def _lines(path: Path) -> list[str]:
    return read_bytes(path, _MOST_TEXT).decode("utf-8", errors="replace").splitlines()


def _classes(place: Path) -> list[str]:
    """Return the identifiers of the classes, in the order that numbers them."""
    if (place / "wnids.txt").is_file():
        classes = [line.strip() for line in _lines(place / "wnids.txt") if line.strip()]
    else:
        classes = sorted(entry.name for entry in (place / "train").iterdir() if entry.is_dir())
    lacking = [name for name in classes if not _is_plain(name) or not (place / "train" / name).is_dir()]
    if not classes or lacking or len(set(classes)) < len(classes):
        first = f"there is none for {lacking[0]!r}" if lacking else f"got {len(classes)}, some of them twice or none"
        raise InputError(f"{place / 'train'} must hold one folder for each line of wnids.txt; {first}.")
    return classes


def _is_plain(name: str) -> bool:
    """Return True if a name from a text file stays in its folder."""
    return Path(name).name == name and name not in (".", "..")


def _names(place: Path, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the classes in words.txt, or their identifiers."""
    words = {}
    if (place / "words.txt").is_file():
        words = dict(line.split("\t", 1) for line in _lines(place / "words.txt") if "\t" in line)
    return tuple(words.get(name, name) for name in classes)


def _training(place: Path, classes: Sequence[str]) -> Listing:
    listing: Listing = []
    for label, name in enumerate(classes):
        folder = place / "train" / name / "images"
        folder = folder if folder.is_dir() else folder.parent
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
        if not files:
            raise InputError(f"{folder} must hold the pictures of its class, *.JPEG; {found_in(folder)}.")
        listing += [(path, label) for path in files]
    return listing


def _validation(place: Path, classes: Sequence[str]) -> Listing:
    """Return the files that val_annotations.txt lists, with their classes; the boxes of the objects are not used."""
    numbers, path = {name: label for label, name in enumerate(classes)}, place / "val" / "val_annotations.txt"
    listing: Listing = []
    for row, line in enumerate(_lines(path)):
        words = line.split("\t")
        if not line.strip():
            continue
        if len(words) < 2 or words[1] not in numbers or not _is_plain(words[0]):
            raise InputError(
                f"{path} must name a picture and a class of wnids.txt in each line, separated by a tab; line {row + 1} "
                f"is {line[:80]!r}."
            )
        listing.append((place / "val" / "images" / words[0], numbers[words[1]]))
    if not listing:
        raise InputError(f"{path} must list at least one picture; it is empty.")
    return listing


def _cached(cache: str | os.PathLike[str] | None, part: str) -> Path | None:
    return None if cache is None else Path(cache) / f"{part}.npy"


def _images(paths: Sequence[Path], cache: Path | None, progress: Progress | None, part: str) -> npt.NDArray[np.uint8]:
    if cache is None:
        images = np.empty((len(paths), 3, _SIDE, _SIDE), dtype=np.uint8)
        _decode(paths, images, progress, part)
        return images
    if not cache.is_file():
        _write(paths, cache, progress, part)
    shape = array_shapes(cache).get("arr_0")
    if shape != (len(paths), 3, _SIDE, _SIDE):
        raise InputError(
            f"{cache} must hold the {len(paths):,} pictures of {part}; its header claims shape {shape}. Delete it to "
            "have it made anew."
        )
    try:
        mapped: npt.NDArray[np.uint8] = np.load(cache, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{cache} must be a readable .npy file: {error}. Delete it to have it made anew.") from error
    return mapped


def _write(paths: Sequence[Path], cache: Path, progress: Progress | None, part: str) -> None:
    """Decode into a file under a temporary name, which gets its own when it is complete."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    with temporary_beside(cache) as temporary:
        shape = (len(paths), 3, _SIDE, _SIDE)
        images = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _decode(paths, images, progress, part)
        images.flush()
        os.replace(temporary, cache)  # noqa: PTH105 - the call that is atomic, by its name


def _decode(paths: Iterable[Path], images: Array, progress: Progress | None, part: str) -> None:
    for index, (image, path) in enumerate(zip(images, paths, strict=True)):
        if progress is not None:
            progress(f"pictures of {part}", index, len(images))
        pixels = read_picture(path)
        if pixels.dtype != np.uint8 or pixels.shape[:2] != (_SIDE, _SIDE):
            raise InputError(
                f"{path} must be a picture of {_SIDE} × {_SIDE} pixels of 8 bits; got {pixels.shape[0]} × "
                f"{pixels.shape[1]} of type {pixels.dtype}."
            )
        image[:] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
