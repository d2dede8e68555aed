"""The first bytes of an HDF5 file, which tell whether its writer closed it.

HDF5 refuses a file whose writer was killed, or opens it in a mode that waits without end at the first damaged byte.
Here such a file is shown to HDF5 as if it had been closed: the same bytes, but for the superblock (version 3, HDF5
file format specification, section II.A).
"""

from __future__ import annotations

import io
import os
import struct
from typing import Any

from neurodecorr._files import open_regular
from neurodecorr.errors import CheckpointError

__all__ = ["ClosedView", "checksum", "left_open"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SIZE = 48
# Offsets in the superblock: version, sizes of addresses and lengths, flags, end of file, checksum.
VERSION, FLAGS, END, SUM = 8, 11, 28, 44
VERSION_3 = b"\x03\x08\x08"
WRITING = 0x05
MASK = 0xFFFFFFFF
# Shifts of lookup3: of one round in the middle, and of the last one.
ROUND = (4, 6, 8, 16, 19, 4)
LAST = (14, 11, 25, 16, 4, 14, 24)


def left_open(head: bytes) -> bool:
    """Tell whether the file that starts with `head` has not been closed by its writer."""
    return head.startswith(SIGNATURE + VERSION_3) and len(head) >= SIZE and bool(head[FLAGS] & WRITING)


class ClosedView(io.RawIOBase):
    """A file whose writer did not close it, shown as if it had.

    Parameters
    ----------
    path : path-like
        A file for which `left_open` holds.

    Raises
    ------
    CheckpointError
        If its superblock is damaged, or it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open_regular(path)  # closed with this object
        head = self._file.read(SIZE)
        if checksum(head[:SUM]) != struct.unpack_from("<I", head, SUM)[0]:
            self._file.close()
            raise CheckpointError(f"{os.fspath(path)} must be an undamaged HDF5 file; its superblock is damaged.")
        self.size = os.fstat(self._file.fileno()).st_size
        closed = bytearray(head[:SUM])
        closed[FLAGS] = 0
        struct.pack_into("<Q", closed, END, self.size)
        self._head = bytes(closed) + struct.pack("<I", checksum(bytes(closed)))

    def readinto(self, buffer: Any, /) -> int:
        """Read as many bytes as there are, the superblock corrected."""
        start = self._file.tell()
        count = self._file.readinto(buffer)
        if start < SIZE:
            part = self._head[start : start + count]
            memoryview(buffer).cast("B")[: len(part)] = part
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to another place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def checksum(data: bytes) -> int:
    """Return the checksum HDF5 gives its metadata: Jenkins' lookup3, 32 bits, initial value 0.

    Parameters
    ----------
    data : bytes
        At least one byte.

    Returns
    -------
    int
        0 … 2³² − 1.
    """
    a = b = c = (0xDEADBEEF + len(data)) & MASK
    blocks = list(struct.iter_unpack("<III", data + bytes(-len(data) % 12)))
    for index, (x, y, z) in enumerate(blocks):
        a, b, c = (a + x) & MASK, (b + y) & MASK, (c + z) & MASK
        if index < len(blocks) - 1:
            a, b, c = _mixed(a, b, c)
    for shift in LAST:
        c = ((c ^ b) - _rotated(b, shift)) & MASK
        a, b, c = b, c, a
    # Seven steps over (c, a, b) in turn end one step after c.
    return b


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for shift in ROUND:
        a = ((a - c) & MASK) ^ _rotated(c, shift)
        c = (c + b) & MASK
        a, b, c = b, c, a
    return a, b, c


def _rotated(value: int, shift: int) -> int:
    return ((value << shift) | (value >> (32 - shift))) & MASK
