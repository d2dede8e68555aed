"""The datasets of a foreign HDF5 file: numbers and texts, each held against the file before memory is taken for it."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from neurodecorr._checks import Array
from neurodecorr.errors import CheckpointError
from neurodecorr.recording.inspection import chunked_bytes
from neurodecorr.recording.layout import TEXT_BYTES, read_attribute
from neurodecorr.recording.npz import check_total

__all__ = ["Budget", "read_leaf", "read_text_attribute"]

# Texts of any length are read one by one, since many may point at the same long one.
TEXTS = 100_000


class Budget:
    """What may still be read.

    Parameters
    ----------
    place : str
        Name of the file, for messages.
    file_bytes : int
        Its size.
    limit : int
        The most all its values may take.
    """

    def __init__(self, place: str, file_bytes: int, limit: int) -> None:
        self._place, self.file_bytes, self._limit, self._taken = place, file_bytes, limit, 0

    def take(self, size: int) -> None:
        """Count `size` bytes.

        Raises
        ------
        CheckpointError
            If that is more than the limit, with what was taken before.
        """
        self._taken += size
        check_total(self._taken, self._limit, self._place)


def read_leaf(dataset: h5py.Dataset, place: str, budget: Budget) -> Array | str:
    """Return the values of a dataset, a text for a scalar one of texts.

    Raises
    ------
    CheckpointError
        If it holds anything but numbers, booleans and texts, or declares more than is stored.
    """
    kind = dataset.id.get_type()
    if dataset.id.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        raise CheckpointError(f"{place} must hold values; it is empty.")
    declared = _declared_bytes(dataset.id, place, budget.file_bytes)
    if kind.get_class() == h5py.h5t.STRING:
        return _read_texts(dataset, kind, declared, place, budget)
    boolean = kind.get_class() == h5py.h5t.ENUM and dataset.dtype == np.bool_
    number = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or boolean
    if not number or kind.get_size() > 8:
        raise CheckpointError(f"{place} must hold numbers of at most 8 bytes or texts; objects are never read.")
    budget.take(declared)
    values: Array = np.asarray(dataset[()])
    return values


def read_text_attribute(group: h5py.Group, name: str) -> str | int | float | None:
    """Return an attribute that is one text or one number; None if it is of another kind."""
    attribute = h5py.h5a.open(group.id, name.encode())
    kind = attribute.get_type()
    scalar = attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR
    if scalar and kind.get_class() == h5py.h5t.STRING and kind.is_variable_str():
        value = group.attrs[name]
        return value if isinstance(value, str) and len(value) <= TEXT_BYTES else None
    return read_attribute(group, name)


def _declared_bytes(dataset: h5py.h5d.DatasetID, place: str, file_bytes: int) -> int:
    """Return the size of a dataset's values, if the file can hold them."""
    properties = dataset.get_create_plist()
    shape: tuple[int, ...] = dataset.get_space().get_simple_extent_dims()
    declared: int = math.prod(shape) * int(dataset.get_type().get_size())
    layout = properties.get_layout()
    if layout == h5py.h5d.CHUNKED:
        return chunked_bytes(dataset, place, file_bytes)
    if declared and layout == h5py.h5d.CONTIGUOUS:
        start = dataset.get_offset()
        if start is None or start + declared > file_bytes:
            raise CheckpointError(
                f"{place} declares {declared} bytes at {start}, in a file of {file_bytes}. It is damaged or hostile."
            )
    elif declared > file_bytes:
        raise CheckpointError(f"{place} declares {declared} bytes in a file of {file_bytes}. It is hostile.")
    return declared


def _read_texts(
    dataset: h5py.Dataset, kind: h5py.h5t.TypeStringID, declared: int, place: str, budget: Budget
) -> Array | str:
    if not kind.is_variable_str():
        budget.take(4 * declared)
        found: Any = np.asarray(dataset.astype(f"S{kind.get_size()}")[()])
        return bytes(found[()]).decode() if found.ndim == 0 else np.char.decode(found, "utf-8")
    if dataset.size > TEXTS:
        raise CheckpointError(f"{place} must hold at most {TEXTS} texts; it declares {dataset.size}.")
    if dataset.shape == ():
        return _one(dataset[()], place, budget)
    texts = [_one(dataset[index], place, budget) for index in np.ndindex(dataset.shape)]
    longest = max(map(len, texts), default=1)
    budget.take(4 * longest * len(texts))
    return np.array(texts, dtype=f"U{max(longest, 1)}").reshape(dataset.shape)


def _one(value: Any, place: str, budget: Budget) -> str:
    if not isinstance(value, bytes):
        raise CheckpointError(f"{place} must hold texts; got {type(value).__name__}.")
    budget.take(len(value))
    return value.decode()
