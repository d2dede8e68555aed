"""Inputs by name or by path: what the command line's --data accepts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from neurodecorr import _checks
from neurodecorr.data.arrays import array_shapes, read_arrays
from neurodecorr.data.dataset import Dataset
from neurodecorr.data.gaussian import correlated_gaussian
from neurodecorr.data.handwritten import digits
from neurodecorr.data.images import ImageDataset
from neurodecorr.data.labelled import Labelled, labelled, layout
from neurodecorr.data.patches import image_patches, natural_patches
from neurodecorr.data.pictures import ARRAY_SUFFIXES
from neurodecorr.errors import InputError

__all__ = ["SOURCES", "load_inputs"]

SOURCES = ("natural", "gaussian", "digits")
_INPUTS = ("inputs", "X")
_TARGETS = ("targets", "y")


def load_inputs(
    source: str | os.PathLike[str] = "natural", samples: int = 20_000, seed: int = 0, size: int = 8
) -> Dataset:
    """Return inputs by name or by path, all on one scale: mean about 0, mean variance about 1.

    In a .npy or .npz file the number of dimensions decides: two are a table (samples, features), three or four are
    images (k, h, w) or (k, h, w, channels). A .npz file with several members is a table if one of them is called
    `inputs` or `X` (with `targets` or `y` beside it, if present); otherwise all must be images. One grey image, or a
    table whose rows must keep their order, goes through `image_patches` or `Dataset` in Python.

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

    Returns
    -------
    Dataset
        Its description says where the samples come from, how many there were, and how they were scaled.

    Raises
    ------
    ConfigError
        If the source is neither a known name nor the path of anything.
    InputError
        If the path does not exist, or what lies there cannot be used.

    Examples
    --------
    >>> load_inputs("digits", samples=500)
    Dataset('digits', 500 samples × 64 features, shape (8, 8))
    """
    name = os.fspath(source)
    _checks.count(samples, "samples")
    _checks.count(size, "size")
    if name == "natural":
        return natural_patches(size, samples, seed)
    if name == "gaussian":
        return correlated_gaussian(size * size, samples, seed=seed)
    if name == "digits":
        return _rows(digits(), samples, seed)
    return _from_path(_existing(name), samples, seed, size)


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            raise InputError(f"data must be a name or the path of something; there is no file or folder {name!r}.")
        _checks.choice(name, "data (where it is no path)", SOURCES)
    return path


def _from_path(path: Path, samples: int, seed: int, size: int) -> Dataset:
    if layout(path) is not None:
        return _rows(labelled(path)[0], samples, seed)
    if path.suffix.lower() in ARRAY_SUFFIXES and not path.is_dir():
        table = _table(path)
        if table is not None:
            return _rows(table, samples, seed)
    patches = image_patches(path, size, samples, seed)
    return replace(patches, name=path.stem, description=f"{path}: {patches.description}")


def _table(path: Path) -> Dataset | None:
    """The table in an array file, or None if the file holds images."""
    shapes = array_shapes(path)
    inputs = next((name for name in _INPUTS if name in shapes), None if len(shapes) > 1 else next(iter(shapes), None))
    targets = next((name for name in _TARGETS if name in shapes), None)
    if inputs is None or len(shapes[inputs]) != 2:
        return None
    arrays = read_arrays(path, [inputs, *([targets] if targets else [])])
    return Dataset(arrays[inputs], arrays.get(targets or ""), name=path.stem, description=f"Table in {path}.")


def _rows(dataset: Labelled, samples: int, seed: int) -> Dataset:
    order = _checks.generator(seed).permutation(len(dataset))[:samples]
    words = f"{dataset.description} {len(order)} of its {len(dataset)} samples in random order."
    chosen = replace(dataset.take(order), description=words)
    return (chosen.table() if isinstance(chosen, ImageDataset) else chosen).scaled()
