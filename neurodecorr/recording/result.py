"""A result: named arrays, and a JSON document that says where they came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr._checks import Array, checked_path, count
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.recording.atomic import write_atomically
from neurodecorr.recording.documents import canonical_json, plain, read_json
from neurodecorr.recording.labelled import axes, dataset
from neurodecorr.recording.npz import array_name, plain_array, read_npz, write_npz

__all__ = ["Result", "load_result"]

RESULT_FILE = "result.npz"
DOCUMENT = "meta.json"
SCHEMA = "neurodecorr-result"
VERSION = 1
MAX_BYTES = 4 * 2**30


@dataclass(frozen=True, eq=False)
class Result:
    """Named arrays and their provenance, in one file.

    The file is an ordinary .npz: `numpy.load` opens it, too. Arrays come back to the bit; equal content gives equal
    files.

    Parameters
    ----------
    arrays : mapping of str to array_like
        Booleans, integers, real or complex floats, or texts; any shape, also () and empty.
    meta : mapping of str to object, optional
        What fits in JSON; tuples and arrays in it become lists. Put `provenance(…)` here.

    Raises
    ------
    InputError
        If an array or a name cannot be stored, or `meta` holds something JSON has no form for.

    Examples
    --------
    >>> import tempfile
    >>> result = Result({"M": np.eye(2)}, {"rate": 1e-3})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = result.save(Path(folder) / "result.npz")
    ...     again = load_result(folder)
    >>> again.arrays["M"].tolist(), again.meta
    ([[1.0, 0.0], [0.0, 1.0]], {'rate': 0.001})
    """

    arrays: dict[str, Array]
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.arrays, Mapping) or not isinstance(self.meta, Mapping):
            raise InputError("arrays and meta must be mappings from names to values.")
        arrays = {array_name(name): plain_array(value, name) for name, value in self.arrays.items()}
        if DOCUMENT in arrays:
            raise InputError(f"the name {DOCUMENT!r} is taken by meta; give the array another one.")
        object.__setattr__(self, "arrays", arrays)
        object.__setattr__(self, "meta", plain(self.meta, "meta"))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result, atomically: an older file at `path` is replaced whole or not at all.

        Parameters
        ----------
        path : path-like
            The file to write, by custom `result.npz`.

        Returns
        -------
        Path
            The path written.

        Raises
        ------
        CheckpointError
            If the path is a folder or cannot be written.
        """
        names = sorted(self.arrays)
        text = canonical_json({"schema": SCHEMA, "version": VERSION, "arrays": names, "meta": self.meta}, "meta")
        document = np.frombuffer(text.encode(), dtype=np.uint8)
        with write_atomically(path, "wb") as file:
            write_npz(file, {DOCUMENT: document, **self.arrays})
        return Path(path)

    def to_xarray(self) -> Any:
        """Return the arrays as an xarray.Dataset, each with axes of its own.

        Returns
        -------
        xarray.Dataset
            One variable per array; `meta` as attributes, in JSON what is neither text nor number.

        Raises
        ------
        ConfigError
            If xarray is not installed.
        """
        return dataset({name: (axes(name, a.ndim), a, {}) for name, a in self.arrays.items()}, {}, self.meta)


def load_result(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Result:
    """Read a result, trusting nothing: no pickle, no size believed before it is checked.

    Parameters
    ----------
    path : path-like
        A file written by `Result.save`, or a folder that holds `result.npz`.
    max_bytes : int, default 4 GiB
        The most the arrays may take together.

    Returns
    -------
    Result
        Arrays, to the bit, and meta.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, hostile, or not a result of this version.
    """
    place = checked_path(path)
    file = place / RESULT_FILE if place.is_dir() else place
    arrays = read_npz(file, count(max_bytes, "max_bytes"))
    if DOCUMENT not in arrays:
        raise CheckpointError(f"{file} must hold the member {DOCUMENT!r}; it holds {sorted(arrays)}. It is no result.")
    document = arrays.pop(DOCUMENT)
    if document.dtype != np.uint8 or document.ndim != 1:
        raise CheckpointError(f"{file}: {DOCUMENT!r} must be bytes in a row; got {document.dtype} {document.shape}.")
    text = read_json(document.tobytes(), f"{file}: {DOCUMENT}")
    return Result(arrays, _checked_meta(text, sorted(arrays), file))


def _checked_meta(document: dict[str, Any], names: list[str], file: Path) -> dict[str, Any]:
    """Return meta, if the document is of this version and lists the arrays that are there."""
    found = (document.get("schema"), document.get("version"))
    if found != (SCHEMA, VERSION):
        raise CheckpointError(
            f"{file} must have schema {SCHEMA!r}, version {VERSION}; got {found[0]!r}, version {found[1]!r}. "
            "A newer neurodecorr may have written it."
        )
    if document.get("arrays") != names:
        raise CheckpointError(f"{file} must hold the arrays {document.get('arrays')}; it holds {names}. It is damaged.")
    meta = document.get("meta")
    if not isinstance(meta, dict):
        raise CheckpointError(f"{file}: meta must be a JSON object; got {type(meta).__name__}.")
    return meta
