"""Inspect a foreign HDF5 file without following anything in it and without believing a size."""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
from collections.abc import Iterator
from typing import Any

import h5py

from neurodecorr.errors import CheckpointError
from neurodecorr.io.files import open_regular
from neurodecorr.io.hdf5 import CHECKSUM

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SIZE = 48
# Offsets in the superblock: version, sizes of addresses and lengths, flags, end of file, checksum.
VERSION, FLAGS, END, SUM = 8, 11, 28, 44
VERSION_3 = b"\x03\x08\x08"
# Flags of a file that is open for writing, and for writing beside readers; a writer clears both when it closes.
WRITING = 0x05
MASK = 0xFFFFFFFF
# Shifts of lookup3: of one round in the middle, and of the last one.
ROUND = (4, 6, 8, 16, 19, 4)
LAST = (14, 11, 25, 16, 4, 14, 24)


def left_open(head: bytes) -> bool:
    """Return True if the file that starts with `head` was not closed by its writer.

    References
    ----------
    The HDF Group, HDF5 File Format Specification 3.0, II.A (superblock).
    """
    return head.startswith(SIGNATURE + VERSION_3) and len(head) >= SIZE and bool(head[FLAGS] & WRITING)


class ClosedView(io.RawIOBase):
    """View of a file whose writer did not close it, as if it had been closed.

    Parameters
    ----------
    path : path-like
        A file for which `left_open` holds.

    Raises
    ------
    CheckpointError
        If its superblock is damaged, or it cannot be read.

    References
    ----------
    The HDF Group, HDF5 File Format Specification 3.0, II.A (superblock).
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
    """Return the checksum that HDF5 gives its metadata: lookup3, 32 bits, initial value 0.

    Parameters
    ----------
    data : bytes
        At least one byte.

    Returns
    -------
    int
        0 … 2³² − 1.

    References
    ----------
    Jenkins (2006), lookup3.c, public domain.
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


# What h5py raises on damaged input.
DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
# Links in a foreign file may form cycles, and names may be endless: the walk ends at these numbers.
OBJECTS = 10_000
# Deflate cannot shrink by more than 1032 : 1; a chunk that claims more is lying about its size.
DEFLATE_RATIO = 1032
DEPTH = 16
FILTERS = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32)
LINKS = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}


def closed_by_writer(path: str | os.PathLike[str]) -> bool:
    """Return True if a file was closed by its writer; False after a kill, or while it is still written.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    bool
        True also for what is no HDF5 file.

    Raises
    ------
    CheckpointError
        If it is missing, unreadable, or no regular file.

    References
    ----------
    The HDF Group, HDF5 File Format Specification 3.0, II.A (superblock).
    """
    place = os.fspath(path)
    with open_regular(place) as start:
        return not left_open(start.read(SIZE))


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike[str], complete: bool) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Parameters
    ----------
    path : path-like
        The file.
    complete : bool
        What `closed_by_writer` says.

    Yields
    ------
    h5py.File
        The open file.

    Raises
    ------
    CheckpointError
        If the superblock of a file that was not closed is damaged.
    OSError
        If it is truncated, damaged, or no HDF5 file.
    """
    if complete:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    else:
        with ClosedView(path) as view, h5py.File(view, "r") as file:
            yield file


def refuse_references(group: h5py.h5g.GroupID, place: str, depth: int = 0, seen: int = 0) -> int:
    """Walk all groups below `group`, raise at every link out of them, and return the number of objects.

    Parameters
    ----------
    group : h5py.h5g.GroupID
        Where to start.
    place : str
        Its name, for messages.
    depth, seen : int
        How deep the walk is, and how many objects it has seen.

    Returns
    -------
    int
        Objects seen.

    Raises
    ------
    CheckpointError
        At a soft, external or user-defined link, a dataset stored outside the file or made of others, groups nested
        more than 16 deep (a group inside itself), or more than 10 000 objects.
    """
    if depth > DEPTH:
        raise CheckpointError(f"{place} must not nest groups more than {DEPTH} deep.")
    if seen + group.get_num_objs() > OBJECTS:
        raise CheckpointError(f"{place} must not hold more than {OBJECTS} objects with what comes before it.")
    for key in list(group):
        seen += 1
        child = f"{place}/{key.decode(errors='replace')}"
        kind = group.links.get_info(key).type
        if kind != h5py.h5l.TYPE_HARD:
            raise CheckpointError(f"{child} is {LINKS.get(kind, 'a user-defined link')}; links are never followed.")
        target = h5py.h5o.open(group, key)
        if isinstance(target, h5py.h5g.GroupID):
            seen = refuse_references(target, child, depth + 1, seen)
        elif isinstance(target, h5py.h5d.DatasetID):
            _refuse_outside(target, child)
    return seen


def checked_bytes(dataset: h5py.h5d.DatasetID, place: str, file_bytes: int) -> int:
    """Return the size of a dataset's values in bytes, if the file can hold them.

    Parameters
    ----------
    dataset : h5py.h5d.DatasetID
        Integers or floats in chunks.
    place : str
        Its name, for messages.
    file_bytes : int
        Size of the file.

    Returns
    -------
    int
        Declared size, or that of one chunk if it is larger: what reading takes at least.

    Raises
    ------
    CheckpointError
        If it holds objects, references or texts, is stored in another way than the recorder does, or declares more
        than is stored.
    """
    kind = dataset.get_type()
    if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or kind.get_size() > 8:
        raise CheckpointError(f"{place} must hold integers or floats of at most 8 bytes; objects are never read.")
    if dataset.get_create_plist().get_layout() != h5py.h5d.CHUNKED:
        raise CheckpointError(f"{place} must be stored in chunks.")
    return chunked_bytes(dataset, place, file_bytes)


def chunked_bytes(dataset: h5py.h5d.DatasetID, place: str, file_bytes: int) -> int:
    """Return the size of the values of a dataset in chunks, whatever their type; else as `checked_bytes`.

    References
    ----------
    Deutsch (1996), RFC 1951 (deflate).
    """
    kind, properties = dataset.get_type(), dataset.get_create_plist()
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    if filters != [known for known in FILTERS if known in filters]:
        raise CheckpointError(
            f"{place} must be packed with shuffle, gzip and fletcher32 only, each once; got {filters}."
        )
    shape, chunk = dataset.get_space().get_simple_extent_dims(), properties.get_chunk()
    chunk_bytes: int = math.prod(chunk) * int(kind.get_size())
    found = len(_checked_chunks(dataset, chunk_bytes, filters, file_bytes, place))
    expected = math.prod(-(-length // part) for length, part in zip(shape, chunk, strict=True))
    if found < expected:
        raise CheckpointError(
            f"{place} declares {expected} chunks of {chunk_bytes} bytes; {found} are stored. It is damaged or hostile."
        )
    declared: int = math.prod(shape) * int(kind.get_size())
    return max(declared, chunk_bytes)


def _refuse_outside(dataset: h5py.h5d.DatasetID, place: str) -> None:
    properties = dataset.get_create_plist()
    if properties.get_external_count() > 0:
        raise CheckpointError(f"{place} keeps its values in another file; such files are never opened.")
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise CheckpointError(f"{place} is made of datasets elsewhere; such datasets are never opened.")


def _checked_chunks(
    dataset: h5py.h5d.DatasetID, chunk_bytes: int, filters: list[int], file_bytes: int, place: str
) -> list[h5py.h5d.StoreInfo]:
    """Return the chunks that are stored, each held against the size it must unpack to."""
    chunks: list[h5py.h5d.StoreInfo] = []
    dataset.chunk_iter(chunks.append)
    for chunk in chunks:
        applied = [name for index, name in enumerate(filters) if not chunk.filter_mask >> index & 1]
        plain_bytes = chunk_bytes + (CHECKSUM if h5py.h5z.FILTER_FLETCHER32 in applied else 0)
        if h5py.h5z.FILTER_DEFLATE in applied:
            fits = plain_bytes / DEFLATE_RATIO <= chunk.size <= plain_bytes + plain_bytes // 8 + 1024
        else:
            fits = chunk.size == plain_bytes
        if not fits or chunk.byte_offset is None or chunk.byte_offset + chunk.size > file_bytes:
            raise CheckpointError(
                f"{place} stores {chunk.size} bytes at {chunk.byte_offset} for a chunk of {chunk_bytes}, in a file of "
                f"{file_bytes}. It is damaged or hostile."
            )
    return chunks
