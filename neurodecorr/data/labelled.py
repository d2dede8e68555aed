"""Training and test set by name or by path: what lies there decides how it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr import _checks
from neurodecorr._checks import Array
from neurodecorr.data.arrays import array_shapes, read_arrays
from neurodecorr.data.cifar import cifar10, cifar100, has_cifar10, has_cifar100
from neurodecorr.data.dataset import Dataset
from neurodecorr.data.handwritten import digits
from neurodecorr.data.idx import has_mnist, mnist
from neurodecorr.data.images import ImageDataset
from neurodecorr.data.packed import found_in
from neurodecorr.data.tiny_imagenet import has_tiny_imagenet, tiny_imagenet
from neurodecorr.errors import InputError

__all__ = ["LAYOUTS", "Labelled", "labelled", "layout", "read_labelled"]

Labelled = Dataset | ImageDataset
Pair = tuple[Labelled, Labelled]

# Layout → whether a folder or file has it, and how it is read.
_READERS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], Pair]]] = {
    "mnist": (has_mnist, mnist),
    "cifar10": (has_cifar10, cifar10),
    "cifar100": (has_cifar100, cifar100),
    "tiny-imagenet": (has_tiny_imagenet, tiny_imagenet),
}
LAYOUTS = (*_READERS, "npz")
_MEMBERS = ("x_train", "y_train", "x_test", "y_test")
_HELD_OUT_DIGITS = 297


def labelled(source: str | os.PathLike[str] = "digits") -> Pair:
    """Return a training set and a test set with targets, by name or by path.

    Parameters
    ----------
    source : str or path, default "digits"
        - "digits": scikit-learn's digits, 1500 and 297 of them, always the same;
        - a folder with the files of MNIST, CIFAR-10, CIFAR-100 or Tiny ImageNet, or an archive of CIFAR;
        - a .npz file with `x_train`, `y_train`, `x_test`, `y_test`.

    Returns
    -------
    tuple of two Dataset or ImageDataset
        Images of bytes come as ImageDataset, all else as Dataset.

    Raises
    ------
    ConfigError
        If the source is neither "digits" nor the path of anything.
    InputError
        If what lies there is none of these, or cannot be used.

    Examples
    --------
    >>> train, test = labelled()
    >>> train
    ImageDataset('digits', 1500 images of 1 × 8 × 8, 10 classes)
    >>> len(test)
    297
    """
    path = _checks.checked_path(source, "source")
    if os.fspath(source) == "digits":
        return _digits()
    if not path.exists():
        if len(path.parts) == 1 and not path.suffix:
            _checks.choice(os.fspath(source), "data (where it is no path)", ("digits",))
        raise InputError(f"data must be 'digits' or the path of something; there is no file or folder {str(source)!r}.")
    found = layout(path)
    if found is None:
        came = found_in(path) if path.is_dir() else f"{path.name} is none of them"
        raise InputError(
            f"{path} must hold MNIST, CIFAR-10, CIFAR-100 or Tiny ImageNet in the files of their authors, or be a .npz "
            f"file with {', '.join(_MEMBERS)}; {came}."
        )
    return read_labelled(path) if found == "npz" else _READERS[found][1](path)


def layout(path: str | os.PathLike[str]) -> str | None:
    """Return in which layout labelled data lie at a path, judged by the names of files.

    Parameters
    ----------
    path : str or path
        A folder or a file.

    Returns
    -------
    str or None
        One of LAYOUTS, or None.

    Raises
    ------
    InputError
        If a .npz file cannot be read.
    """
    place = _checks.checked_path(path)
    if place.is_file() and place.suffix.lower() == ".npz":
        return "npz" if "x_train" in array_shapes(place) else None
    return next((name for name, (has, _) in _READERS.items() if has(place)), None)


def read_labelled(path: str | os.PathLike[str]) -> Pair:
    """Return the training and the test set in a .npz file.

    Inputs of uint8 in three or four dimensions are images: (samples, height, width), (samples, height, width, channels)
    or (samples, channels, height, width), where an axis of 1 … 4 entries is that of the channels, the last axis first.
    All other inputs are tables; what has more than two dimensions is flattened.

    Parameters
    ----------
    path : str or path
        The file, with `x_train`, `y_train`, `x_test`, `y_test`; other members are ignored. Nothing is unpickled.

    Returns
    -------
    tuple of two Dataset or ImageDataset
        With the targets as they are; (samples, 1) labels of images become (samples,).

    Raises
    ------
    InputError
        If a member is missing or damaged, or the members do not fit together.
    """
    path = Path(path)
    shapes = array_shapes(path)
    missing = [name for name in _MEMBERS if name not in shapes]
    if missing:
        found = ", ".join(shapes) or "no array"
        raise InputError(f"{path} must hold {', '.join(_MEMBERS)}. Missing: {', '.join(missing)}; found {found}.")
    arrays = read_arrays(path, _MEMBERS)
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        raise InputError(
            f"{path}: x_train and x_test must hold samples of one shape; got {arrays['x_train'].shape[1:]} and "
            f"{arrays['x_test'].shape[1:]}."
        )
    try:
        return _pair(path, arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _pair(path: Path, arrays: Mapping[str, Array]) -> Pair:
    if arrays["x_train"].dtype == np.uint8 and arrays["x_train"].ndim in (3, 4):
        labels = {part: _labels(arrays[f"y_{part}"], f"y_{part}") for part in ("train", "test")}
        classes = tuple(str(k) for k in range(1 + max(int(values.max()) for values in labels.values())))
        train, test = (
            ImageDataset(_channels_first(arrays[f"x_{part}"]), labels[part], classes, path.stem, 255, f"{path}.")
            for part in ("train", "test")
        )
        return train, test
    return _table(path, arrays, "train"), _table(path, arrays, "test")


def _labels(values: Array, name: str) -> Array:
    labels = values.reshape(-1) if values.ndim == 2 and values.shape[1] == 1 else values
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.size == 0 or labels.min() < 0:
        raise InputError(
            f"{name} must hold one class, a whole number ≥ 0, for each image; got shape {values.shape} of type "
            f"{values.dtype}."
        )
    if labels.max() >= len(labels) + 100_000:
        raise InputError(f"{name} must number its classes from 0 on; got {labels.max()}.")
    return labels


def _channels_first(images: Array) -> Array:
    if images.ndim == 3:
        return images[:, None]
    if images.shape[3] <= 4:
        return images.transpose(0, 3, 1, 2)
    if images.shape[1] <= 4:
        return images
    raise InputError(f"images must have an axis of 1 to 4 channels, the last or the second; got {images.shape}.")


def _table(path: Path, arrays: Mapping[str, Array], part: str) -> Dataset:
    inputs: Any = arrays[f"x_{part}"]
    if inputs.ndim < 2:
        raise InputError(f"x_{part} must hold one sample per row; got shape {inputs.shape}.")
    shape = None if inputs.ndim == 2 else inputs.shape[1:]
    return Dataset(inputs.reshape(len(inputs), -1), arrays[f"y_{part}"], path.stem, shape, f"x_{part} in {path}.")


def _digits() -> Pair:
    table = digits()
    images = np.rint(16 * table.inputs).astype(np.uint8).reshape(-1, 1, 8, 8)
    names = tuple(str(digit) for digit in range(10))
    words = "scikit-learn's handwritten digits, pixel values 0 … 16."
    targets = np.asarray(table.targets, dtype=np.int64)
    return ImageDataset(images, targets, names, "digits", 16, words).split(_HELD_OUT_DIGITS, seed=0)
