"""Read array files and packed files of unknown origin: no pickle, and no size is believed before it is checked.

A header that claims more bytes than the file holds is refused before any memory is asked for, so a forged or a
truncated file costs nothing.
"""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Array
from neurodecorr.data.dataset import Dataset
from neurodecorr.errors import InputError
from neurodecorr.io.files import distinct_names, most_unpacked, open_regular, read_regular, regular_size
from neurodecorr.io.npz import check_packing, read_header

# Packed files are unpacked piece by piece, so that the limit is met before memory is full.
_PIECE = 2**20
_UNPACK = "If you trust it, unpack it yourself."
# More than the largest known archive of labelled images unpacks to.
_MOST_UNPACKED = 2**31
_MOST_MEMBERS = 10_000
# What unpacking may use besides its result; the strongest setting of xz asks for 65 MiB.
_XZ_MEMORY = 2**27


@contextmanager
def _naming(path: Path, what: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file is unpacked into an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, ValueError) as error:
        raise InputError(f"{path} must be a readable {what}: {error}. Copy or download it again.") from error


@contextmanager
def gzip_or_plain(path: Path) -> Iterator[Callable[[int], bytes]]:
    """Open a file, unpacked if its name ends in .gz, as a function that reads at most so many bytes.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    function of int
        Returns the next bytes, fewer at the end of the file.

    Raises
    ------
    InputError
        If the file cannot be read or unpacked; also while it is being read.
    """
    packed = path.suffix.lower() == ".gz"
    with (
        _naming(path, "gzip file" if packed else "file"),
        open_regular(path, error=InputError) as raw,
        gzip.GzipFile(fileobj=raw) if packed else raw as stream,
    ):
        room = [most_unpacked(os.fstat(raw.fileno()).st_size)] if packed else None
        yield lambda most: _at_most(stream, most, room, path)


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a file, unpacked if its name ends in .gz or .xz.

    Parameters
    ----------
    path : Path
        The file.
    most : int
        How many bytes, unpacked, it may hold.

    Returns
    -------
    bytes
        The content.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, or holds more.
    """
    if path.suffix.lower() == ".xz":
        with _naming(path, "xz file"):
            content = _unpacked_xz(path, most)
    else:
        with gzip_or_plain(path) as read:
            content = read(most + 1)
    if len(content) > most:
        raise InputError(f"{path} must hold at most {most:,} bytes once unpacked; it holds more.")
    return content


def read_members(path: Path, names: Collection[str], most: int) -> dict[str, bytes]:
    """Return those members of a tar archive, packed by gzip or not, that have one of these file names.

    Parameters
    ----------
    path : Path
        The archive. Folders inside it are ignored, and so are links and devices.
    names : collection of str
        File names without folders.
    most : int
        How many bytes one of them may hold.

    Returns
    -------
    dict of str to bytes
        Contents by file name; what the archive lacks is left out.

    Raises
    ------
    InputError
        If the archive is damaged, or claims members of absurd size or number.
    """
    contents: dict[str, bytes] = {}
    unpacked = 0
    most_here = min(_MOST_UNPACKED, most_unpacked(regular_size(path, error=InputError)))
    with (
        _naming(path, "tar archive"),
        open_regular(path, error=InputError) as raw,
        tarfile.open(fileobj=raw, mode="r:gz" if _is_gzip(path) else "r:") as archive,
    ):
        for count, member in enumerate(archive):
            unpacked += member.size
            if count >= _MOST_MEMBERS or not 0 <= member.size <= unpacked <= most_here:
                raise InputError(
                    f"{path} must hold at most {_MOST_MEMBERS:,} files and {most_here:,} bytes once unpacked; "
                    f"it claims more at {member.name!r}."
                )
            place = PurePosixPath(member.name.replace("\\", "/"))
            name = place.name
            if ".." in place.parts or place.is_absolute():
                raise InputError(f"{path} must hold plain names; got {member.name!r}. It is hostile or damaged.")
            if not member.isreg() or name not in names:
                continue
            if name in contents:
                raise InputError(f"{path} must hold {name} once; it comes again as {member.name!r}.")
            if member.size > most:
                raise InputError(
                    f"{path}: {name} must hold at most {most:,} bytes; the archive claims {member.size:,}."
                )
            stream = archive.extractfile(member)
            contents[name] = b"" if stream is None else _at_most(stream, member.size)
            if len(contents[name]) < member.size:
                raise InputError(
                    f"{path}: {name} is truncated; {member.size - len(contents[name]):,} bytes are missing."
                )
    return contents


def found_in(folder: Path) -> str:
    """Describe the content of a folder for an error message.

    Parameters
    ----------
    folder : Path
        Any path.

    Returns
    -------
    str
        A clause such as "found a.txt and 2 more".
    """
    if not folder.exists():
        return "there is no such folder"
    if not folder.is_dir():
        return "it is a file, not a folder"
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return "the folder is empty"
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"found {', '.join(names[:6])}{more}"


def _at_most(
    stream: IO[bytes] | gzip.GzipFile, most: int, allowed: list[int] | None = None, path: Path | None = None
) -> bytes:
    # In pieces: one large read asks for all its memory before it knows how much there is.
    pieces, room = [], most
    while room > 0 and (piece := stream.read(min(room, _PIECE))):
        pieces.append(piece)
        room -= len(piece)
        if allowed is not None:  # what is left of what the file may unpack to
            allowed[0] -= len(piece)
            if allowed[0] < 0:
                raise InputError(f"{path} must unpack to at most 64 MiB and a hundred times its size. {_UNPACK}")
    return b"".join(pieces)


def _unpacked_xz(path: Path, most: int) -> bytes:
    packed, pieces = read_regular(path, most + 2**16, error=InputError), list[bytes]()
    allowed = most_unpacked(len(packed))
    room = min(most, allowed) + 1
    while packed and room > 0:  # a file may hold several streams
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        pieces.append(decoder.decompress(packed, max_length=room))
        room -= len(pieces[-1])
        if room > 0 and not decoder.eof:
            raise InputError(f"{path} is truncated: its xz stream has no end. Copy or download it again.")
        packed = decoder.unused_data.lstrip(b"\0")
    if room <= 0 and allowed < most:
        raise InputError(f"{path} must unpack to at most 64 MiB and a hundred times its size. {_UNPACK}")
    return b"".join(pieces)


def _is_gzip(path: Path) -> bool:
    with open_regular(path, error=InputError) as stream:
        return stream.read(2) == b"\x1f\x8b"


# As float64 this is 4 GiB, more than the patches of any image set need and less than most machines have.
MOST_ENTRIES = 2**29


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the headers of a .npy or .npz file declare, without reading the arrays.

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
    """Return the shapes and types that the headers of a .npy or .npz file declare; else as `array_shapes`."""
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
    """Yield the arrays of a file by name; whatever goes wrong while they are read becomes an InputError."""
    size = regular_size(path, what=".npy or .npz file", error=InputError)
    try:
        if not zipfile.is_zipfile(path):
            yield {"arr_0": _Member(size, partial(open_regular, path, error=InputError))}
            return
        with open_regular(path, error=InputError) as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            names = _plain_names([info.filename for info in infos], path)
            check_packing(sum(info.file_size for info in infos), size, str(path), InputError)
            yield {
                name: _Member(info.file_size, partial(archive.open, info))
                for name, info in zip(names, infos, strict=True)
                if info.filename.endswith(".npy")
            }
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise InputError(f"{path} must be a readable .npy or .npz file: {error}. Write it again.") from error


def _plain_names(names: list[str], path: Path) -> list[str]:
    """Return the names without .npy, unless one leads out or comes twice."""
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in name:
            raise InputError(f"{path} must hold plain names; got {name!r}. It is hostile or damaged.")
    return distinct_names([name.removesuffix(".npy") for name in names], str(path), InputError)


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
    """Return shape and type that the header claims, and where the data start."""
    try:
        with member.open() as stream:
            return read_header(stream)
    except Exception as error:  # the header is Python source: forged bytes make its parser raise many kinds
        if isinstance(error, zipfile.BadZipFile | NotImplementedError | RuntimeError):
            raise
        raise InputError(f"{what} must start with a readable array header: {error}.") from error


KINDS = ("images", "table")
_INPUTS = ("inputs", "X")
_TARGETS = ("targets", "y")
# Longest side over shortest of what may be a picture, and its shortest side.
_LONGEST, _SMALL = 2.0, 8
# Bytes, of which most pictures are made, are a table without being asked from so many rows per column on.
_TALL_BYTES = 6.0

_Header = tuple[tuple[int, ...], np.dtype[np.generic]]


def pictures_or_table(path: Path, kind: str | None = None, transpose: bool = False) -> Dataset | None:
    """Return the table in an array file, or None if the file holds pictures.

    Parameters
    ----------
    path : Path
        A .npy or .npz file.
    kind : {"images", "table"}, optional
        What it holds; without it the shapes decide, and shapes that could be either are refused.
    transpose : bool, default False
        Whether the columns of a table are its samples.

    Returns
    -------
    Dataset or None
        The table. Its description says what was taken for samples and for features.

    Raises
    ------
    InputError
        If the file cannot be read, or it cannot be told what it holds.
    """
    headers = array_headers(path)
    inputs = next(
        (name for name in _INPUTS if name in headers), None if len(headers) > 1 else next(iter(headers), None)
    )
    if kind == "images" and transpose:
        raise InputError("--transpose is for tables; pictures have no rows that are samples. Leave one of both out.")
    if kind == "images":
        return None
    if kind is None and not transpose:
        known = {inputs: headers[inputs]} if inputs is not None else headers
        doubt = next((words for name, header in known.items() if (words := _doubt(path, name, header, len(known)))), "")
        if doubt:
            raise InputError(f"{doubt} Say what it is: --as images or --as table (kind=…).")
        if inputs is None or len(headers[inputs][0]) != 2:
            return None
    if inputs is None:
        raise InputError(
            f"{path} must hold one array, or a table called inputs or X; it holds {_listed(headers)}. Which is meant "
            "cannot be told: save it alone."
        )
    return _table(path, inputs, next((name for name in _TARGETS if name in headers), None), headers, transpose)


def rows_are_samples(rows: int, columns: int, transposed: bool) -> str:
    """Return a sentence on how the array was read: rows as samples.

    Parameters
    ----------
    rows, columns : int
        Samples and features, as they are used.
    transposed : bool
        Whether they were exchanged.

    Returns
    -------
    str
        "8 samples of 5,000 features: rows are samples; transpose with --transpose?"
    """
    which = "columns are samples, as --transpose says" if transposed else "rows are samples"
    hint = "" if transposed or rows > 2 * columns else "; transpose with --transpose?"
    return f"{rows:,} samples of {columns:,} features: {which}{hint}"


def _table(path: Path, inputs: str, targets: str | None, headers: Mapping[str, _Header], transpose: bool) -> Dataset:
    shape, _ = headers[inputs]
    if len(shape) < 2:
        raise InputError(f"{path}[{inputs!r}] must be a table, (samples, features); got shape {shape}.")
    if transpose and len(shape) != 2:
        raise InputError(f"{path}[{inputs!r}] must have two dimensions to be transposed; got shape {shape}.")
    require_memory(3 * 8 * prod(shape), f"{path} with {_times(shape)} numbers")
    found = read_arrays(path, [inputs, *([targets] if targets and not transpose else [])])
    rows: Array = found[inputs]
    rows = rows.T if transpose else rows.reshape(len(rows), -1)
    words = rows_are_samples(len(rows), rows.shape[1], transpose)
    flat = "" if len(shape) == 2 else f" ({_times(shape)}, flattened)"
    table = Dataset(rows, found.get(targets or ""), name=path.stem)
    return replace(table, description=f"Table in {path}: {words}{flat}.".replace("?.", "?"))


def _doubt(path: Path, name: str, header: _Header, many: int) -> str:
    """Return the reason why images and table cannot be told apart, or an empty text."""
    shape, dtype = header
    label = f"{path}[{name!r}]" if many > 1 or name != "arr_0" else str(path)
    bytes_ = dtype.kind in "ub" and dtype.itemsize <= 2
    if len(shape) == 2 and many > 1:
        if bytes_ and _square(shape):
            return ""
        return (
            f"{label}, {_times(shape)}, is one of several arrays and does not look like a picture. A table must lie "
            "alone in its file, or be called inputs or X."
        )
    if len(shape) == 2 and name not in _INPUTS and _like_a_picture(shape, bytes_):
        return (
            f"{label} could be one picture, {shape[0]} × {shape[1]} pixels, or a table: "
            f"{rows_are_samples(shape[0], shape[1], transposed=False)}"
        )
    sides = shape[1:3]
    if len(shape) in (3, 4) and not (_square(sides) and (bytes_ or _positive(path, name))):
        return (
            f"{label}, {_times(shape)}, does not look like pictures of {_times(sides)} pixels: those have no negative "
            "values, and no side twice as long as the other. Trials × channels × time make a table by "
            "X.transpose(0, 2, 1).reshape(-1, channels)."
        )
    return ""


def _like_a_picture(shape: tuple[int, ...], bytes_: bool) -> bool:
    """Return True if a table has no more rows per column than a picture."""
    rows, columns = shape
    tall = _TALL_BYTES if bytes_ else _LONGEST
    return min(shape) >= _SMALL and columns <= _LONGEST * rows and rows < tall * columns


def _positive(path: Path, name: str) -> bool:
    array = read_arrays(path, [name])[name]
    return bool(array.size == 0 or not array.min() < 0)


def _square(sides: tuple[int, ...]) -> bool:
    return 0 < max(sides) <= _LONGEST * min(sides)


def _listed(headers: Mapping[str, _Header]) -> str:
    return ", ".join(f"{name} {_times(shape)}" for name, (shape, _) in headers.items())


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "no dimension"
