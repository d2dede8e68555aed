"""Files as they are downloaded: plain, gzip, xz, or inside a tar archive. Nothing is extracted to disk.

Each read is told how many bytes make sense, so that a forged length or a decompression bomb costs no memory.
"""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from neurodecorr._files import most_unpacked, open_regular, read_regular, regular_size
from neurodecorr.errors import InputError

__all__ = ["found_in", "gzip_or_plain", "read_bytes", "read_members"]

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
    """Return what lies in a folder, in words for a message.

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
