"""What an array file holds, a table or pictures: said in words before any work, and asked where it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Array
from neurodecorr.data.dataset import Dataset
from neurodecorr.data.files import array_headers, read_arrays
from neurodecorr.errors import InputError

KINDS = ("images", "table")
_INPUTS = ("inputs", "X")
_TARGETS = ("targets", "y")
# Longest side over shortest of what may be a picture, and its shortest side.
_LONGEST, _SMALL = 2.0, 8
# Bytes, of which most pictures are made, are a table without being asked from so many rows per column on.
_TALL_BYTES = 6.0

_Header = tuple[tuple[int, ...], np.dtype[np.generic]]


def pictures_or_table(path: Path, kind: str | None = None, transpose: bool = False) -> Dataset | None:
    """Return the table in an array file, or None if the file holds pictures.

    Parameters
    ----------
    path : Path
        A .npy or .npz file.
    kind : {"images", "table"}, optional
        What it holds; without it the shapes decide, and shapes that could be either are refused.
    transpose : bool, default False
        Whether the columns of a table are its samples.

    Returns
    -------
    Dataset or None
        The table. Its description says what was taken for samples and for features.

    Raises
    ------
    InputError
        If the file cannot be read, or it cannot be told what it holds.
    """
    headers = array_headers(path)
    inputs = next(
        (name for name in _INPUTS if name in headers), None if len(headers) > 1 else next(iter(headers), None)
    )
    if kind == "images" and transpose:
        raise InputError("--transpose is for tables; pictures have no rows that are samples. Leave one of both out.")
    if kind == "images":
        return None
    if kind is None and not transpose:
        known = {inputs: headers[inputs]} if inputs is not None else headers
        doubt = next((words for name, header in known.items() if (words := _doubt(path, name, header, len(known)))), "")
        if doubt:
            raise InputError(f"{doubt} Say what it is: --as images or --as table (kind=…).")
        if inputs is None or len(headers[inputs][0]) != 2:
            return None
    if inputs is None:
        raise InputError(
            f"{path} must hold one array, or a table called inputs or X; it holds {_listed(headers)}. Which is meant "
            "cannot be told: save it alone."
        )
    return _table(path, inputs, next((name for name in _TARGETS if name in headers), None), headers, transpose)


def rows_are_samples(rows: int, columns: int, transposed: bool) -> str:
    """Say what was taken for samples.

    Parameters
    ----------
    rows, columns : int
        Samples and features, as they are used.
    transposed : bool
        Whether they were exchanged.

    Returns
    -------
    str
        "8 samples of 5,000 features: rows are samples; transpose with --transpose?"
    """
    which = "columns are samples, as --transpose says" if transposed else "rows are samples"
    hint = "" if transposed or rows > 2 * columns else "; transpose with --transpose?"
    return f"{rows:,} samples of {columns:,} features: {which}{hint}"


def _table(path: Path, inputs: str, targets: str | None, headers: Mapping[str, _Header], transpose: bool) -> Dataset:
    shape, _ = headers[inputs]
    if len(shape) < 2:
        raise InputError(f"{path}[{inputs!r}] must be a table, (samples, features); got shape {shape}.")
    if transpose and len(shape) != 2:
        raise InputError(f"{path}[{inputs!r}] must have two dimensions to be transposed; got shape {shape}.")
    require_memory(3 * 8 * prod(shape), f"{path} with {_times(shape)} numbers")
    found = read_arrays(path, [inputs, *([targets] if targets and not transpose else [])])
    rows: Array = found[inputs]
    rows = rows.T if transpose else rows.reshape(len(rows), -1)
    words = rows_are_samples(len(rows), rows.shape[1], transpose)
    flat = "" if len(shape) == 2 else f" ({_times(shape)}, flattened)"
    table = Dataset(rows, found.get(targets or ""), name=path.stem)
    return replace(table, description=f"Table in {path}: {words}{flat}.".replace("?.", "?"))


def _doubt(path: Path, name: str, header: _Header, many: int) -> str:
    """Say why it cannot be told what an array is, or nothing if it can."""
    shape, dtype = header
    label = f"{path}[{name!r}]" if many > 1 or name != "arr_0" else str(path)
    bytes_ = dtype.kind in "ub" and dtype.itemsize <= 2
    if len(shape) == 2 and many > 1:
        if bytes_ and _square(shape):
            return ""
        return (
            f"{label}, {_times(shape)}, is one of several arrays and does not look like a picture. A table must lie "
            "alone in its file, or be called inputs or X."
        )
    if len(shape) == 2 and name not in _INPUTS and _like_a_picture(shape, bytes_):
        return (
            f"{label} could be one picture, {shape[0]} × {shape[1]} pixels, or a table: "
            f"{rows_are_samples(shape[0], shape[1], transposed=False)}"
        )
    sides = shape[1:3]
    if len(shape) in (3, 4) and not (_square(sides) and (bytes_ or _positive(path, name))):
        return (
            f"{label}, {_times(shape)}, does not look like pictures of {_times(sides)} pixels: those have no negative "
            "values, and no side twice as long as the other. Trials × channels × time make a table by "
            "X.transpose(0, 2, 1).reshape(-1, channels)."
        )
    return ""


def _like_a_picture(shape: tuple[int, ...], bytes_: bool) -> bool:
    """Whether a table has no more rows for its columns than a picture has."""
    rows, columns = shape
    tall = _TALL_BYTES if bytes_ else _LONGEST
    return min(shape) >= _SMALL and columns <= _LONGEST * rows and rows < tall * columns


def _positive(path: Path, name: str) -> bool:
    array = read_arrays(path, [name])[name]
    return bool(array.size == 0 or not array.min() < 0)


def _square(sides: tuple[int, ...]) -> bool:
    return 0 < max(sides) <= _LONGEST * min(sides)


def _listed(headers: Mapping[str, _Header]) -> str:
    return ", ".join(f"{name} {_times(shape)}" for name, (shape, _) in headers.items())


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "no dimension"
