"""Load inputs by name or by path, as --data of the command line does, and hold a part of them out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr import _validation
from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats
from neurodecorr.data import patches as windows
from neurodecorr.data.cifar import cifar10, cifar100, has_cifar10, has_cifar100
from neurodecorr.data.dataset import Dataset
from neurodecorr.data.files import KINDS, array_shapes, found_in, pictures_or_table, read_arrays
from neurodecorr.data.gaussian import correlated_gaussian, gaussian_covariance
from neurodecorr.data.images import ImageDataset
from neurodecorr.data.mnist import has_mnist, mnist
from neurodecorr.data.patches import ARRAY_SUFFIXES, natural_patches, patches_of, photographs, pictures
from neurodecorr.data.regions import Pieces, split_pictures
from neurodecorr.data.tiny_imagenet import has_tiny_imagenet, tiny_imagenet
from neurodecorr.errors import InputError


def digits() -> Dataset:
    """Return scikit-learn's 1797 handwritten digits, 8 × 8 pixels from 0 to 1.

    ::

        x = pixel/16

    Three pixels are 0 in every sample: a degenerate case on purpose, in which Σ is singular and a correlation with a
    constant unit has no meaning. Works offline.

    Returns
    -------
    Dataset
        (1797, 64) inputs, targets 0 … 9, drawn as (8, 8).

    Examples
    --------
    >>> dataset = digits()
    >>> dataset
    Dataset('digits', 1797 samples × 64 features, shape (8, 8))
    >>> int((dataset.inputs.std(axis=0) == 0).sum())
    3

    References
    ----------
    Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI repository; Pedregosa et al. (2011),
    Journal of Machine Learning Research 12, 2825–2830.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    description = "scikit-learn's handwritten digits, pixel values divided by 16."
    return Dataset(bunch.data / 16, bunch.target.astype(np.int64), "digits", (8, 8), description)


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
# Leaves 1500 of the 1797 digits to learn from.
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
    path = _validation.checked_path(source, "source")
    if os.fspath(source) == "digits":
        return _digits()
    if not path.exists():
        if len(path.parts) == 1 and not path.suffix:
            _validation.choice(os.fspath(source), "data (where it is no path)", ("digits",))
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
    """Return the layout of labelled data at a path, judged by the names of files.

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
    place = _validation.checked_path(path)
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


SOURCES = ("natural", "gaussian", "digits")
# Fresh samples that are drawn where the covariance is known without them, and rows of a test set at most.
HELD_OUT, MOST_ROWS = 1024, 10_000
CONDITION = 1e3


@short_repr
@dataclass(frozen=True)
class Split:
    """Stream to learn from, held-out samples that share nothing with it, and the way they were split.

    Parameters
    ----------
    stream, held_out : Dataset
        On one scale, that of the stream.
    words : str
        How they were told apart: "by region: …".
    covariance : (n, n) array or None
        Exact covariance of the population of held-out samples; None where there are only samples.
    population : str
        What that population is: "all 84,000 places of the held-out part"; empty without one.
    """

    stream: Dataset
    held_out: Dataset
    words: str
    covariance: Floats | None = None
    population: str = ""


def load_inputs(
    source: str | os.PathLike[str] = "natural",
    samples: int = 20_000,
    seed: int = 0,
    size: int = 8,
    *,
    kind: str | None = None,
    transpose: bool = False,
) -> Dataset:
    """Return inputs by name or by path, all on one scale: mean about 0, mean variance about 1.

    In a .npy or .npz file the shape decides: two dimensions are a table (samples, features), three or four are images
    (k, h, w) or (k, h, w, channels). A .npz file with several members is a table if one of them is called `inputs` or
    `X` (with `targets` or `y` beside it, if present); otherwise all must be images. Where a shape may be either, `kind`
    must say which.

    Parameters
    ----------
    source : str or path, default "natural"
        - "natural": patches of scikit-learn's photographs; "gaussian": size² features, condition 1e3; "digits";
        - a PNG or JPEG file or a folder of them: patches;
        - a .npy or .npz file: a table or images, see above;
        - what `labelled` reads (MNIST, CIFAR, Tiny ImageNet, a .npz file with `x_train`): its training samples.
        A name wins over a folder of the same name; write "./digits" for the folder.
    samples : int, default 20_000
        How many samples. Tables and digits give at most as many as they have, without replacement, in random order.
    seed : int, default 0
        Chooses the samples.
    size : int, default 8
        Side of a patch, pixels.
    kind : {"images", "table"}, optional
        What an array file holds.
    transpose : bool, default False
        Whether the columns of a table are its samples.

    Returns
    -------
    Dataset
        Its description says where the samples come from, how many there were, and how they were scaled.

    Raises
    ------
    ConfigError
        If the source is neither a known name nor the path of anything.
    InputError
        If the path does not exist, or what lies there cannot be used, does not fit in memory, or might be either a
        table or images.

    Examples
    --------
    >>> load_inputs("digits", samples=500)
    Dataset('digits', 500 samples × 64 features, shape (8, 8))
    """
    name = _checked(source, samples, seed, size, kind, transpose)
    if name == "natural":
        return natural_patches(size, samples, seed)
    if name == "gaussian":
        return correlated_gaussian(size * size, samples, CONDITION, seed)
    found = _found(name, size, kind, transpose)
    if isinstance(found, Dataset | ImageDataset):
        return _rows(found, samples, seed)
    patches = patches_of(found, size, samples, seed, "images", f"{len(found)} image(s)")
    return replace(patches, name=Path(name).stem, description=f"{name}: {patches.description}")


def load_split(
    source: str | os.PathLike[str] = "natural",
    samples: int = 20_000,
    seed: int = 0,
    size: int = 8,
    *,
    kind: str | None = None,
    transpose: bool = False,
) -> Split:
    """Return a stream of inputs and held-out samples that share nothing with it.

    ::

        Σ = ⟨(x − ⟨x⟩)(x − ⟨x⟩)ᵀ⟩ of the held-out samples, or exact where it is known

    Pictures are split by picture where there are several, else by region; the two bundled photographs by region, so
    that both take part (`regions.split_pictures`). No pixel is in both parts, and the covariance is that of every patch
    of the held-out part. Gaussian samples are fresh draws, and the covariance is Σ itself. Labelled sets come with the
    test set of their authors. Of other tables a fifth of the rows is held out, drawn at random.

    Parameters
    ----------
    source, samples, seed, size, kind, transpose
        As in `load_inputs`; the seed also chooses what is held out.

    Returns
    -------
    Split
        Both parts, on the scale of the stream.

    Raises
    ------
    ConfigError, InputError
        As `load_inputs`; also if there is too little to hold something out.

    Examples
    --------
    >>> split = load_split("natural", samples=1000)
    >>> split.words
    'by region: every fifth of 20 strips of each picture held out, with a band of 8 pixels between'
    """
    name = _checked(source, samples, seed, size, kind, transpose)
    if name == "gaussian":
        return _gaussian(size * size, samples, seed)
    if name == "natural":
        return _pictures(
            photographs(size), size, samples, seed, "natural", "scikit-learn's two photographs", whole=False
        )
    if name != "digits" and Path(name).exists() and layout(name) is not None:
        return _authors(name, samples, seed)
    found = _found(name, size, kind, transpose)
    if not isinstance(found, Dataset | ImageDataset):
        return _pictures(found, size, samples, seed, Path(name).stem, f"{name}, {len(found)} image(s)")
    return rows_split(_rows(found, samples, seed), seed)


def _authors(name: str, samples: int, seed: int) -> Split:
    """Hold out the test set of a labelled set, on the scale of the training set."""
    train, test = labelled(name)
    stream, shown = _unscaled(train, samples, seed), _unscaled(test, MOST_ROWS, seed)
    scaled, (shift, spread) = stream.scaled(), stream.scale
    held_out = replace(shown, inputs=(shown.inputs - shift) / spread, description=test.description)
    return Split(scaled, held_out, "by set: the test set of its authors")


def rows_split(dataset: Dataset, seed: int = 0) -> Split:
    """Hold out a fifth of the rows of a table, drawn at random.

    Parameters
    ----------
    dataset : Dataset
        The table.
    seed : int
        Chooses the rows.

    Returns
    -------
    Split
        Both parts; the words tell how many held-out rows are copies of rows that are learnt from.
    """
    _validation.instance(dataset, Dataset, "dataset")
    stream, held_out = dataset.split(0.2, seed)
    known = {row.tobytes() for row in stream.inputs}
    copies = sum(row.tobytes() in known for row in held_out.inputs)
    words = "by row: a fifth of the rows, drawn at random"
    return Split(stream, held_out, f"{words}; {copies:,} of them are copies of rows learnt from" if copies else words)


def _checked(
    source: str | os.PathLike[str], samples: int, seed: int, size: int, kind: str | None, transpose: bool
) -> str:
    _validation.checked_path(source, "source")
    name = os.fspath(source)
    _validation.whole_seed(seed)
    _validation.flag(transpose, "transpose")
    _validation.count(samples, "samples")
    _validation.count(size, "size")
    if kind is not None:
        _validation.choice(kind, "kind (--as)", KINDS)
    if name in SOURCES and (kind is not None or transpose):
        raise InputError(f"--as and --transpose say how to read an array file; {name!r} is none. Leave them out.")
    features = size * size
    if name != "digits" and not Path(name).suffix:
        require_memory(8 * (2 * samples * features + 6 * features**2), f"{samples:,} samples of {features:,} features")
    return name


def _found(name: str, size: int, kind: str | None, transpose: bool) -> Labelled | list[Floats]:
    """Return a table, labelled images, or pictures."""
    if name == "digits":
        return digits()
    path = _existing(name)
    array_file = path.suffix.lower() in ARRAY_SUFFIXES and not path.is_dir()
    if not array_file and (kind == "table" or transpose):
        raise InputError(f"--as table and --transpose are for .npy and .npz files; {name!r} is none. Leave them out.")
    if layout(path) is not None:
        return labelled(path)[0]
    if array_file:
        table = pictures_or_table(path, kind, transpose)
        if table is not None:
            return table
    return pictures(path, size)


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            raise InputError(f"data must be a name or the path of something; there is no file or folder {name!r}.")
        _validation.choice(name, "data (where it is no path)", SOURCES)
    return path


def _pictures(
    images: Sequence[Floats], size: int, samples: int, seed: int, name: str, source: str, whole: bool = True
) -> Split:
    parts = split_pictures(images, size, seed, whole=whole)
    scale = windows.pixel_scale(parts.training.images, size, parts.training.weights)
    rng = np.random.default_rng(_validation.count(seed, "seed", least=0))

    def drawn(pieces: Pieces, count: int, part: str) -> Dataset:
        inputs = (windows.draw(pieces.images, size, count, rng, pieces.weights) - scale.shift) / scale.spread
        words = f"Grey {size} × {size} patches of {source}, {part}, on the scale of the part that is learnt from."
        return Dataset(inputs, name=name, shape=(size, size), description=words)

    stream, held_out = drawn(parts.training, samples, "one part"), drawn(parts.held_out, HELD_OUT, "held out")
    away = parts.held_out
    covariance: Floats = windows.patch_covariance(away.images, size, away.weights) / scale.spread**2
    return Split(stream, held_out, parts.words, covariance, f"all {away.positions:,} patches of the held-out part")


def _gaussian(features: int, samples: int, seed: int) -> Split:
    stream = correlated_gaussian(features, samples, CONDITION, seed)
    held_out = correlated_gaussian(features, HELD_OUT, CONDITION, seed, draw=1)
    covariance = gaussian_covariance(features, CONDITION, seed)
    return Split(stream, held_out, "fresh draws of the same distribution", covariance, "the distribution itself")


def _unscaled(dataset: Labelled, samples: int, seed: int) -> Dataset:
    order = _validation.generator(seed).permutation(len(dataset))[:samples]
    require_memory(3 * 8 * len(order) * dataset.features, f"{len(order):,} samples of {dataset.features:,} features")
    words = f"{dataset.description} {len(order)} of its {len(dataset)} samples in random order."
    chosen = replace(dataset.take(order), description=words)
    return chosen.table() if isinstance(chosen, ImageDataset) else chosen


def _rows(dataset: Labelled, samples: int, seed: int) -> Dataset:
    return _unscaled(dataset, samples, seed).scaled()
