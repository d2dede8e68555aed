"""Write rows of declared variables to an HDF5 file in the mode of one writer and many readers."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Array
from neurodecorr._validation import count, number, unmasked
from neurodecorr.errors import CheckpointError, ConfigError, InputError

SCHEMA = "neurodecorr-traces"
SCHEMA_VERSION = 1
TRACES_FILE = "traces.h5"
GROUP = "traces"
STEP = "_step"
TIME = "_time"
AXIS = "_axis"
RESERVED = ("schema", "schema_version", "provenance")
TEXT_BYTES = 64 * 2**20
# Every file page that a write touches is written whole even if the process is killed in the middle of it. What fits
# in one page together with its checksum is therefore either old or new, never torn.
PAGE = 4096
CHECKSUM = 4
# The oldest format with a single writer and many readers: HDF5 1.10 and all that is built on it read these files, too.
LIBVER = ("v110", "v110")
# What metadata may say of the steps.
STEP_SAID = ("step_unit", "step_description")
# Chunks of the step axis fit in one page with their checksum, 8 bytes a step.
STEP_ROWS = (PAGE - CHECKSUM) // 8


def write_text_attribute(place: h5py.HLObject, name: str, text: str) -> None:
    """Attach `text` to `place` as UTF-8 of fixed length."""
    data = text.encode()
    place.attrs.create(name, np.array(data), dtype=h5py.string_dtype("utf-8", max(len(data), 1)))


def read_text(place: h5py.HLObject, name: str, path: PurePath) -> str:
    """Return the text attached to `place` in the file at `path`; raise if it is missing or no text of fixed length."""
    value = read_attribute(place, name)
    if not isinstance(value, str):
        raise CheckpointError(f"{path}: attribute {name!r} of {place.name} must be a text; got {value!r}.")
    return value


def read_attribute(place: h5py.HLObject, name: str) -> str | int | float | None:
    """Return an attribute that is one text of fixed length or one number; None if it is missing or of another kind."""
    key = name.encode()
    if not h5py.h5a.exists(place.id, key):
        return None
    attribute = h5py.h5a.open(place.id, key)
    kind, size = attribute.get_type(), attribute.get_type().get_size()
    if attribute.get_space().get_simple_extent_type() != h5py.h5s.SCALAR or size > TEXT_BYTES:
        return None
    if kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str():
        data = np.empty((), dtype=f"S{size}")
        attribute.read(data, mtype=kind)
        return bytes(data[()]).decode()
    if kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) and size <= 8:
        value = np.empty((), dtype=kind.dtype)
        attribute.read(value)
        item: int | float = value.item()
        return item
    return None


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return the caller's root attributes if each is a name with a text or a finite number."""
    checked: dict[str, str | int | float] = {}
    for name, value in metadata.items():
        if not isinstance(name, str) or not name.isprintable() or not name or name in RESERVED:
            taken = ", ".join(RESERVED)
            raise ConfigError(f"metadata must have printable names other than {taken}; got {name!r}.")
        if name in STEP_SAID and not isinstance(value, str):
            raise ConfigError(f"metadata[{name!r}] must be text, what steps count; got {value!r}.")
        if isinstance(value, str):
            if "\0" in value:
                raise ConfigError(f"metadata[{name!r}] must not contain the character NUL; got {value!r}.")
            checked[name] = value
        else:
            number(value, f"metadata[{name!r}]")
            checked[name] = value
    return checked


def time_between_steps(metadata: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return dt and its unit where steps count dt, seconds if no `tau_unit` is given; None elsewhere."""
    dt, unit = metadata.get("dt"), metadata.get("tau_unit", "s")
    if metadata.get("step_unit") != "dt" or not isinstance(dt, int | float) or not isinstance(unit, str):
        return None
    return (float(dt), unit) if 0 < dt < math.inf else None


def step_meaning(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Return unit and description of the steps from the metadata, by default samples seen.

    Step axes of older files all say "samples", whatever was counted; their metadata know better.
    """
    said = (metadata.get(name) for name in STEP_SAID)
    unit, description = (text if isinstance(text, str) else "" for text in said)
    if description:
        return unit or "samples", description
    if clock := time_between_steps(metadata):
        return unit, f"time of the row over dt = {clock[0]:g} {clock[1]}"
    seen = "samples seen" if unit in ("", "samples") else unit
    return unit or "samples", f"{seen} before the row was recorded"


# Chunks are written once; HDF5's own cache, up to 8 MiB for each of many datasets, would not keep memory bounded.
CACHE_BYTES = 64 * 2**10
# Disk space is reserved in pieces of this size; what is left over is given back when the file is closed.
GROWTH = 4 * 2**20
# Room for what HDF5 itself writes when a file is closed.
MARGIN = 256 * 2**10


class Stream:
    """Open trace file that reserves room on the disk before it writes.

    The file is in HDF5's mode of a single writer and many readers: an index is written before what refers to it, so
    what is on disk can be read at every moment. No dataset and no attribute can be added.

    HDF5 may crash the process when a write fails. Room is therefore taken from the disk before HDF5 needs it, where a
    full disk is an ordinary error; the surplus is given back on closing.

    Parameters
    ----------
    path : path-like
        A file made by `create_tracefile`.

    Raises
    ------
    OSError
        If the file cannot be opened, or the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.realpath(path)
        self._end = 0
        self._handle = os.open(self._path, os.O_RDWR)
        try:
            self.file = _open(self._path)
        except BaseException:
            os.close(self._handle)
            raise

    def make_room(self, size: int) -> None:
        """Set room for `size` more bytes aside.

        Raises
        ------
        OSError
            If the disk is full, or a limit on the size of the file is met.
        """
        end = int(self.file.id.get_filesize()) + size + MARGIN
        if end <= self._end:
            return
        try:
            allocate(self._handle, self._path, end + GROWTH)
            self._end = end + GROWTH
        except OSError:
            allocate(self._handle, self._path, end)
            self._end = end

    def close(self) -> None:
        """Close the file, give the surplus back and wait until all is on the disk."""
        try:
            self.file.close()
            os.fsync(self._handle)
        finally:
            os.close(self._handle)


def _open(path: str) -> h5py.File:
    file = h5py.File(path, "r+", libver=LIBVER, rdcc_nbytes=CACHE_BYTES, locking="best-effort")
    try:
        file.swmr_mode = True
    except BaseException:
        file.close()
        raise
    return file


def allocate(handle: int, path: str, end: int) -> None:
    """Reserve `end` bytes of the disk for the file, or raise."""
    wanted = end - os.fstat(handle).st_size
    if wanted <= 0:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, end - wanted, wanted)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    if shutil.disk_usage(os.path.dirname(path)).free < wanted:  # noqa: PTH120 - a text
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# float16 is left out: netCDF has no such type, and its C library crashes on it.
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
NAME_BYTES = 200
LARGEST_CHUNK = 2**20


@short_repr
@dataclass(frozen=True)
class Variable:
    """Description of a variable to record, made before the first row.

    Parameters
    ----------
    name : str
        Any printable text without slashes: "R", "x̄", "off-diagonal correlation".
    shape : tuple of int, default ()
        Shape of one row: () for a number, (n,) for an activity, (n, n) for a matrix.
    dtype : dtype_like, default float64
        Type of the values, kept in the file: bool, a signed or unsigned integer, float32 or float64.
    unit : str, optional
        Unit of the values; empty if they have none.
    description : str, optional
        One line that says what it is.

    Raises
    ------
    ConfigError
        If the name is not usable, a length is not ≥ 1, or the type cannot be recorded.

    Examples
    --------
    >>> Variable("R", shape=(64, 64), dtype="float32", description="lateral weights").row_bytes
    16384
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: npt.DTypeLike = "float64"
    unit: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "shape", _lengths(self.shape, self.name))
        object.__setattr__(self, "dtype", _recordable(self.dtype, self.name))
        for text in (self.unit, self.description):
            if not isinstance(text, str) or "\0" in text:
                raise ConfigError(f"unit and description of {self.name!r} must be text without NUL; got {text!r}.")

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of a chunk of the file.

        As many rows as fit into one page with their checksum, so that rewriting a chunk in part cannot tear it; else
        one row, written once; else a part of a row of at most 1 MiB.
        """
        rows = (PAGE - CHECKSUM) // self.row_bytes
        if rows >= 1:
            return (rows, *self.shape)
        chunk = list(self.shape)
        for axis, length in enumerate(chunk):
            rest = self.row_bytes // math.prod(self.shape[: axis + 1])
            chunk[axis] = min(length, max(1, LARGEST_CHUNK // rest))
            if chunk[axis] > 1:
                break
        return (1, *chunk)


def distinct(variables: Iterable[Variable]) -> tuple[Variable, ...]:
    """Return the variables if there is at least one and no two share a name in the file."""
    if not isinstance(variables, Iterable) or isinstance(variables, str | bytes | np.ndarray):
        raise ConfigError(f"variables must be a sequence of Variable; got {type(variables).__name__}.")
    declared = tuple(variables)
    if not declared or not all(isinstance(variable, Variable) for variable in declared):
        raise ConfigError(
            "variables must be at least one Variable, each with a name, a shape and a type; got "
            f"{', '.join(type(variable).__name__ for variable in declared) or 'none'}."
        )
    taken: dict[str, str] = {}
    for variable in declared:
        for part in parts(variable):
            if part in taken:
                raise ConfigError(
                    f"variables must have distinct names in the file; {variable.name!r} and {taken[part]!r} both need "
                    f"{part!r}. Rename one."
                )
            taken[part] = variable.name
    return declared


def parts(variable: Variable) -> list[str]:
    """Return the names that a variable uses in the file: values, step axis, further axes."""
    axes = [f"{variable.name}{AXIS}{axis}" for axis in range(len(variable.shape))]
    return [variable.name, variable.name + STEP, *axes]


def _check_name(name: Any) -> None:
    usable = isinstance(name, str) and name.isprintable() and name.strip() == name and name not in ("", ".", "..")
    if not usable or "/" in name or len(name.encode(errors="replace")) > NAME_BYTES:
        raise ConfigError(
            f"the name of a variable must be printable text of 1 to {NAME_BYTES} bytes without slashes and outer "
            f"spaces; got {name!r}."
        )


def _lengths(shape: Any, name: str) -> tuple[int, ...]:
    if not isinstance(shape, tuple | list):
        raise ConfigError(f"the shape of {name!r} must be a tuple of whole numbers, () for one number; got {shape!r}.")
    return tuple(count(length, f"each length in the shape of {name!r}") for length in shape)


def _recordable(dtype: Any, name: str) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype) if dtype is None or isinstance(dtype, str | type | np.dtype) else None
    except TypeError:
        found = None
    if found is None or found.name not in DTYPES:
        hint = " Record the real and the imaginary part as two variables." if found and found.kind == "c" else ""
        raise ConfigError(f"the type of {name!r} must be one of {', '.join(DTYPES)}; got {dtype!r}.{hint}")
    native: np.dtype[Any] = found.newbyteorder("=")
    return native


STEP_BYTES = 8
# An entry of the chunk index takes less than 32 bytes; the index grows by blocks of less than 64 KiB.
ENTRY = 32
BLOCK = 64 * 2**10
# Bytes written at once, as measured: narrow rows while they lie in the processor's cache, wide ones in fewer calls.
NARROW, WIDE = 2**20, 4 * 2**20


class Column:
    """Rows of one variable that wait in memory to be written.

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
    """Return True if the row can be stored without change of kind and overflow; floats may be rounded."""
    if row.dtype == dtype:
        return True
    if row.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return bool(limits.min <= int(row.min()) and int(row.max()) <= limits.max)
    if row.dtype.kind == "f" and dtype.kind == "f":
        return not bool(np.any(np.isfinite(row) & (np.abs(row) > np.finfo(dtype).max)))
    return np.can_cast(row.dtype, dtype, casting="same_kind")
