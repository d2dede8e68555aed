"""An HDF5 file open for a stream that neither a kill nor a full disk can spoil."""

from __future__ import annotations

import errno
import os
import shutil

import h5py

from neurodecorr.recording.layout import LIBVER

__all__ = ["Stream", "allocate"]

# Chunks are written once; HDF5's own cache, up to 8 MiB for each of many datasets, would not keep memory bounded.
CACHE_BYTES = 64 * 2**10
GROWTH = 4 * 2**20
# Room for what HDF5 itself writes when a file is closed.
MARGIN = 256 * 2**10


class Stream:
    """The open file, and the room on the disk that is set aside for it.

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
    """Make the disk hold `end` bytes of the file, or raise."""
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
