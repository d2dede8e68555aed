"""Matrices as compiled products read them: panels of rows, on the borders of cache lines."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from neurodecorr._compile import LANES

__all__ = ["aligned", "in_panels", "padded", "read_only"]

Floats = npt.NDArray[np.floating[Any]]
Array = TypeVar("Array", bound=np.ndarray[Any, Any])

LINE = 64  # bytes


def padded(size: int) -> int:
    """Return the length of a vector of `size` entries in whole panels."""
    return -(-size // LANES) * LANES


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Floats:
    """Return zeros that begin with a cache line: from elsewhere, every load of a register meets two of them."""
    room = np.zeros(math.prod(shape) * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + room.size - LINE].view(dtype).reshape(shape)


def in_panels(A: Floats, dtype: npt.DTypeLike) -> Floats:
    """Return a copy of A in panels of 16 rows, (panels, N', 16), each column by column, padded by zeros."""
    size = padded(len(A))
    whole = np.zeros((size, size), dtype)
    whole[: len(A), : len(A)] = A
    panels = aligned((size // LANES, size, LANES), dtype)
    panels[...] = whole.reshape(-1, LANES, size).swapaxes(1, 2)
    return read_only(panels)


def read_only(array: Array) -> Array:
    """Return a view that cannot be written: what is kept may be shared, and kernels meet one type of array."""
    view = array.view()
    view.setflags(write=False)
    return view
