"""The rows of one variable that wait in memory, and the two datasets they go to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import Array
from neurodecorr._missing import unmasked
from neurodecorr.errors import InputError
from neurodecorr.recording.layout import CHECKSUM, GROUP, PAGE, STEP, STEP_ROWS
from neurodecorr.recording.stream import Stream
from neurodecorr.recording.variable import Variable

STEP_BYTES = 8
# An entry of the chunk index takes less than 32 bytes; the index grows by blocks of less than 64 KiB.
ENTRY = 32
BLOCK = 64 * 2**10
# Bytes written at once, as measured: narrow rows while they lie in the processor's cache, wide ones in fewer calls.
NARROW, WIDE = 2**20, 4 * 2**20


class Column:
    """Waiting rows of one variable.

    Parameters
    ----------
    stream : Stream
        The open file.
    variable : Variable
        What is recorded.
    share : int
        The most its waiting rows may take, in bytes; more than 4 MiB is not used. If one row exceeds it, rows are
        written as they come.
    """

    def __init__(self, stream: Stream, variable: Variable, share: int) -> None:
        self._stream = stream
        self._variable = variable
        self._dtype: np.dtype[Any] = np.dtype(variable.dtype)
        self._shape = variable.shape
        self._steps = stream.file[f"{GROUP}/{variable.name}{STEP}"]
        self._values = stream.file[f"{GROUP}/{variable.name}"]
        self._capacity = min(share, NARROW if variable.row_bytes < PAGE else WIDE) // (variable.row_bytes + STEP_BYTES)
        self._chunks = ((variable.chunk, variable.shape, self._dtype.itemsize), ((STEP_ROWS,), (), STEP_BYTES))
        self._step_buffer: npt.NDArray[np.int64] = np.empty(self._capacity, np.int64)
        self._value_buffer: Array = np.empty((self._capacity, *variable.shape), self._dtype)
        self._waiting = 0
        self._written = 0
        self._last = -1

    @property
    def buffer_bytes(self) -> int:
        """Memory held for waiting rows, in bytes."""
        return self._step_buffer.nbytes + self._value_buffer.nbytes

    def accept(self, step: int, value: npt.ArrayLike) -> Array:
        """Return `value` as an array of the variable's shape and type, or raise; nothing is changed."""
        if (
            type(value) is np.ndarray
            and value.dtype == self._dtype
            and value.shape == self._shape
            and step > self._last
        ):
            return value
        name = self._variable.name
        value = unmasked(value, repr(name))
        try:
            row = np.asarray(value)
        except ValueError as error:
            raise InputError(f"{name!r} must be rectangular: {error} (step {step}).") from None
        if row.shape != self._variable.shape:
            raise InputError(f"{name!r} must have shape {self._variable.shape}; got {row.shape} at step {step}.")
        if not _fits(row, self._dtype):
            raise InputError(
                f"{name!r} must hold {self._dtype}, as declared; got {row.dtype} at step {step}, which does not fit. "
                "Convert it, or declare another type."
            )
        if step <= self._last:
            raise InputError(f"the steps of {name!r} must increase; got {step} after {self._last}.")
        return row.astype(self._dtype, copy=False)

    def accept_rows(self, steps: npt.NDArray[np.int64], values: npt.ArrayLike) -> Array:
        """Return `values` as one row per step, or raise; nothing is changed."""
        name = self._variable.name
        values = unmasked(values, repr(name))
        try:
            rows = np.asarray(values)
        except ValueError as error:
            raise InputError(f"{name!r} must be rectangular: {error}.") from None
        if rows.shape != (len(steps), *self._shape):
            raise InputError(f"{name!r} must have shape {(len(steps), *self._shape)}; got {rows.shape}.")
        if len(steps) and not _fits(rows, self._dtype):
            raise InputError(
                f"{name!r} must hold {self._dtype}, as declared; got {rows.dtype}, which does not fit. Convert it, or "
                "declare another type."
            )
        if len(steps) and steps[0] <= self._last:
            raise InputError(f"the steps of {name!r} must increase; got {steps[0]} after {self._last}.")
        return rows

    def extend(self, steps: npt.NDArray[np.int64], rows: Array) -> None:
        """Add accepted rows: to those that wait if there is room, else written at once, without another copy."""
        if len(steps) < self._capacity - self._waiting:
            self._step_buffer[self._waiting : self._waiting + len(steps)] = steps
            self._value_buffer[self._waiting : self._waiting + len(steps)] = rows
            self._waiting += len(steps)
        else:
            self.flush()
            piece = max(1, self._capacity)
            for first in range(0, len(steps), piece):
                part = rows[first : first + piece].astype(self._dtype, order="C", copy=False)
                self._write(steps[first : first + piece], part)
        self._last = int(steps[-1])

    def append(self, step: int, row: Array) -> None:
        """Add an accepted row; write all waiting rows when there is no room for another."""
        self._last = step
        if self._capacity == 0:
            self._write(np.array([step]), row[None])
            return
        self._step_buffer[self._waiting] = step
        self._value_buffer[self._waiting] = row
        self._waiting += 1
        if self._waiting == self._capacity:
            self.flush()

    def flush(self) -> None:
        """Write all waiting rows."""
        if self._waiting:
            self._write(self._step_buffer[: self._waiting], self._value_buffer[: self._waiting])

    def _write(self, steps: Array, values: Array) -> None:
        first, last = self._written, self._written + len(steps)
        self._stream.make_room(sum(_room(len(steps), *chunk) for chunk in self._chunks))
        # Booleans are stored as 8-bit integers of the same bytes.
        stored = values.view(np.int8) if self._dtype == np.bool_ else values
        for dataset, rows in ((self._values, stored), (self._steps, steps)):
            dataset.resize(last, axis=0)
            dataset[first:last] = rows
            dataset.flush()
        # Together, so that an interrupted write is repeated in place, never appended twice.
        self._written, self._waiting = last, 0


def _room(rows: int, chunk: tuple[int, ...], shape: tuple[int, ...], itemsize: int) -> int:
    """Bound the bytes that `rows` more rows add to the file: whole pages for each chunk touched, and its index."""
    across = math.prod(-(-length // part) for length, part in zip(shape, chunk[1:], strict=True))
    chunks = (rows // chunk[0] + 2) * across
    pages = -(-(math.prod(chunk) * itemsize + CHECKSUM) // PAGE)
    return chunks * (pages * PAGE + ENTRY) + BLOCK


def _fits(row: Array, dtype: np.dtype[Any]) -> bool:
    """Tell whether the row can be stored without a change of kind and without overflow; floats may be rounded."""
    if row.dtype == dtype:
        return True
    if row.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return bool(limits.min <= int(row.min()) and int(row.max()) <= limits.max)
    if row.dtype.kind == "f" and dtype.kind == "f":
        return not bool(np.any(np.isfinite(row) & (np.abs(row) > np.finfo(dtype).max)))
    return np.can_cast(row.dtype, dtype, casting="same_kind")
