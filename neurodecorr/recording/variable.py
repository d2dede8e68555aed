"""A variable to record: its name, the shape and type of one row, its unit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import count
from neurodecorr.errors import ConfigError
from neurodecorr.recording.layout import AXIS, CHECKSUM, PAGE, STEP

__all__ = ["Variable"]

# float16 is left out: netCDF has no such type, and its C library crashes on it.
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
NAME_BYTES = 200
LARGEST_CHUNK = 2**20


@dataclass(frozen=True)
class Variable:
    """A variable to record, declared before the first row.

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
        raise ConfigError("variables must be at least one Variable, each with a name, a shape and a type.")
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
    """Return the names that a variable takes up in the file: values, step axis, further axes."""
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
