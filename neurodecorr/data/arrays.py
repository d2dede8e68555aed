"""Arrays from .npy and .npz files of unknown origin: nothing is unpickled, no header is believed unchecked.

A header that claims more bytes than the file holds is refused before any memory is asked for, so a forged or a
truncated file costs nothing.
"""

from __future__ import annotations

import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr._checks import Array
from neurodecorr._files import most_unpacked, open_regular, regular_size
from neurodecorr.errors import InputError

__all__ = ["MOST_ENTRIES", "array_headers", "array_shapes", "read_arrays"]

# As float64 this is 4 GiB, more than the patches of any image set need and less than most machines have.
MOST_ENTRIES = 2**29

# numpy itself refuses to parse more than 10 000 bytes.
_LONGEST_HEADER = 2**14


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the headers of a .npy or .npz file claim, and read nothing else.

    Parameters
    ----------
    path : Path
        The file. A .npy file holds one array, called "arr_0" as `numpy.savez` would.

    Returns
    -------
    dict of str to tuple of int
        Shapes by name, in the order of the file; members that are no arrays are left out.

    Raises
    ------
    InputError
        If the file or a header cannot be read.
    """
    return {name: shape for name, (shape, _) in array_headers(path).items()}


def array_headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]]:
    """Return the shapes and types that the headers of a .npy or .npz file claim; else as `array_shapes`."""
    with _opened(path) as members:
        return {name: _header(member, f"{path}[{name!r}]")[:2] for name, member in members.items()}


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Read arrays of real numbers from a .npy or .npz file.

    Parameters
    ----------
    path : Path
        The file. A .npy file holds one array, called "arr_0" as `numpy.savez` would.
    names : iterable of str, optional
        Which arrays; by default all.

    Returns
    -------
    dict of str to array
        The arrays by name.

    Raises
    ------
    InputError
        If the file cannot be read, one of these arrays holds anything but numbers, or its header claims more than the
        file holds or, in all, more than 2²⁹ entries.
    """
    arrays: dict[str, Array] = {}
    room = MOST_ENTRIES
    with _opened(path) as members:
        for name in members if names is None else names:
            room -= _entries(members[name], f"{path}[{name!r}]", room)
            with members[name].open() as stream:
                arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays


@dataclass(frozen=True)
class _Member:
    """One array of a file: its length in bytes, and how to open it."""

    length: int
    open: Callable[[], Any]


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, _Member]]:
    """The arrays of a file by name; whatever goes wrong while they are read becomes an InputError naming the file."""
    size = regular_size(path, what=".npy or .npz file", error=InputError)
    try:
        if not zipfile.is_zipfile(path):
            yield {"arr_0": _Member(size, partial(open_regular, path, error=InputError))}
            return
        with open_regular(path, error=InputError) as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _require_plain([info.filename for info in infos], path)
            if (total := sum(info.file_size for info in infos)) > most_unpacked(size):
                raise InputError(
                    f"{path} must unpack to at most {most_unpacked(size):,} bytes, 64 MiB and a hundred times its "
                    f"{size:,}; it claims {total:,}. If you trust it, write it unpacked, with numpy.savez."
                )
            yield {
                info.filename.removesuffix(".npy"): _Member(info.file_size, partial(archive.open, info))
                for info in infos
                if info.filename.endswith(".npy")
            }
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise InputError(f"{path} must be a readable .npy or .npz file: {error}. Write it again.") from error


def _require_plain(names: list[str], path: Path) -> None:
    """Raise unless each array has one name of its own, also where case does not count, that leads nowhere else."""
    seen: dict[str, str] = {}
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in name:
            raise InputError(f"{path} must hold plain names; got {name!r}. It is hostile or damaged.")
        folded = unicodedata.normalize("NFC", name.removesuffix(".npy")).casefold()
        if folded in seen:
            raise InputError(f"{path} must name each array once; {seen[folded]!r} and {name!r} are the same.")
        seen[folded] = name


def _entries(member: _Member, what: str, room: int) -> int:
    """Return how many entries the header claims, if they are numbers, the file can hold them, and there is room."""
    shape, dtype, start = _header(member, what)
    if dtype.kind not in "fiub":
        hint = " Objects need unpickling, which can run code." if dtype.hasobject else ""
        raise InputError(f"{what} must hold real numbers; got data of type {dtype}.{hint} Save a plain numeric array.")
    entries = prod(shape)
    if min(shape, default=0) < 0 or max((entries, *shape)) > room:
        raise InputError(f"{what} must hold at most {room:,} entries; its header claims shape {shape}.")
    missing = entries * dtype.itemsize - (member.length - start)
    if missing > 0:
        raise InputError(f"{what} is truncated: its header claims shape {shape}, but {missing:,} bytes are missing.")
    return entries


def _header(member: _Member, what: str) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Shape and type that the header claims, and where the data start."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with member.open() as stream:
        head = BytesIO(stream.read(_LONGEST_HEADER))  # a forged header length must not decide how much is read
    try:
        version = np.lib.format.read_magic(head)
        if version not in readers:
            raise ValueError(f"format version {version} is for structured arrays")
        shape, _, dtype = readers[version](head)
    except Exception as error:  # the header is Python source: forged bytes make its parser raise many kinds
        raise InputError(f"{what} must start with a readable array header: {error}.") from error
    return shape, dtype, head.tell()
