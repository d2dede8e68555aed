"""Memory for large arrays that come and go with every batch: handed out again once nobody holds them.

A system takes and gives back pages of large arrays one by one, which can cost ten times what is done with them.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from neurodecorr._typing import Array

LARGE = 1 << 20  # bytes from which on memory is kept
PATIENCE = 512  # requests after which memory that nobody used goes back to the system


class _Room(threading.local):
    """Memory of one thread: its blocks, and at which request each was last handed out."""

    def __init__(self) -> None:
        self._blocks: list[Array] = []
        self._used: list[int] = []
        self._requests = 0
        self._idle = 0
        self._idle = self._holders(self._keep(np.empty(1, np.uint8)))
        self._blocks.clear()
        self._used.clear()

    def take(self, size: int) -> Array:
        """Return a block of at least so many bytes, the smallest free one if that is no more than twice as large."""
        self._requests += 1
        self._forget()
        free = [i for i in range(len(self._blocks)) if self._holders(i) <= self._idle]
        fitting = [i for i in free if size <= self._blocks[i].size <= 2 * size]
        best = min(fitting, key=lambda i: self._blocks[i].size) if fitting else self._keep(np.empty(size, np.uint8))
        self._used[best] = self._requests
        return self._blocks[best]

    def _keep(self, block: Array) -> int:
        self._blocks.append(block)
        self._used.append(self._requests)
        return len(self._blocks) - 1

    def _holders(self, index: int) -> int:
        """Return the references to a block; every view of it, however it was made, is one."""
        return sys.getrefcount(self._blocks[index])

    def _forget(self) -> None:
        old = [i for i, used in enumerate(self._used) if self._requests - used > PATIENCE]
        for i in reversed(old):  # who still holds one keeps it
            del self._blocks[i], self._used[i]


_ROOM = _Room()


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """Return an array of unset numbers; as `numpy.empty`, but large ones in memory that was used before.

    Parameters
    ----------
    shape : sequence of int
        Its sides.
    dtype : dtype
        Type of its numbers.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < LARGE:
        return np.empty(shape, kind)
    found: Array = _ROOM.take(size)[:size].view(kind).reshape(shape)
    return found
