"""Open files that are not trusted: regular files of a stated size, and nothing that could block or never end."""

from __future__ import annotations

import io
import os
import stat
import unicodedata

from neurodecorr._typing import PathLike
from neurodecorr.errors import CheckpointError

# Neither a pipe without a writer nor a terminal may hold the process up; Windows has none of these flags but the last.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


# What packing may save: a file that unpacks to more than 64 MiB and a hundred times its size is taken for a bomb. Data
# that are packed so well hold next to nothing; numpy.savez and others write them unpacked.
_ALWAYS, _RATIO = 2**26, 100


def most_unpacked(packed: int) -> int:
    """Return the largest number of bytes that a packed file may unpack to: 64 MiB + 100 × its size.

    Parameters
    ----------
    packed : int
        Its size in bytes.

    Returns
    -------
    int
        Bytes.
    """
    return _ALWAYS + _RATIO * packed


def distinct_names(names: list[str], place: str, error: type[Exception] = CheckpointError) -> list[str]:
    """Return the names in an archive; they must differ without regard to case and to forms of accents."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            raise error(f"{place} must name each member once; {seen[folded]!r} and {name!r} are the same.")
        seen[folded] = name
    return names


def open_regular(
    path: PathLike,
    most: int | None = None,
    *,
    what: str = "",
    error: type[Exception] = CheckpointError,
    follow: bool = True,
) -> io.BufferedReader:
    """Open a regular file for reading; refuse pipes, devices, sockets and folders, also behind a link.

    It never blocks. Every reader of the library opens its files here, or asks `regular_size` before a library that
    opens files by name.

    Parameters
    ----------
    path : path-like
        The file; a link is followed unless `follow` is False.
    most : int, optional
        How many bytes it may hold; None: any number.
    what : str, optional
        What to call it in messages: "model file".
    error : type of Exception, default CheckpointError
        What to raise.
    follow : bool, default True
        Whether links are followed.

    Returns
    -------
    io.BufferedReader
        The open file.

    Raises
    ------
    error
        If there is no such file, it may not be read, is not regular, or holds more than `most` bytes.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "note.txt").write_text("tau")
    ...     with open_regular(Path(folder) / "note.txt", 100) as file:
    ...         file.read()
    b'tau'
    """
    place = os.fspath(path)
    try:
        # Looked at before it is opened, since opening some devices does something; and after, as it may have changed.
        _require_regular(os.stat(place, follow_symlinks=follow), place, what, most, error)  # noqa: PTH116 - bytes, too
        handle = os.open(place, _FLAGS | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
        try:
            _require_regular(os.fstat(handle), place, what, most, error)
            return io.BufferedReader(io.FileIO(handle, "rb"))
        except BaseException:
            os.close(handle)
            raise
    except (OSError, ValueError) as problem:
        if isinstance(problem, error):
            raise
        raise _problem(f"cannot read {_called(what, place)}: {_reason(problem)}.", problem, error) from problem


def read_regular(
    path: PathLike,
    most: int,
    *,
    what: str = "",
    error: type[Exception] = CheckpointError,
    follow: bool = True,
) -> bytes:
    """Return the content of a regular file of at most `most` bytes; parameters and errors are those of `open_regular`.

    Returns
    -------
    bytes
        All of it.
    """
    place = os.fspath(path)
    with open_regular(path, most, what=what, error=error, follow=follow) as file:
        pieces, room = [], most + 1
        try:
            while room > 0 and (piece := file.read(min(room, 2**20))):
                pieces.append(piece)
                room -= len(piece)
        except OSError as problem:
            raise _problem(f"cannot read {_called(what, place)}: {_reason(problem)}.", problem, error) from problem
    if room <= 0:  # it grew, or its size is not known before it is read
        raise _too_large(place, what, f"more than {most:,}", most, error)
    return b"".join(pieces)


def read_regular_text(path: PathLike, most: int, *, what: str = "", error: type[Exception] = CheckpointError) -> str:
    """Return the text of a regular file in UTF-8, with or without a byte-order mark; else as `read_regular`.

    Returns
    -------
    str
        Its text; line ends as they are.
    """
    content = read_regular(path, most, what=what, error=error)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{_called(what, os.fspath(path))} must be text in UTF-8; {problem}.") from None


def regular_size(path: PathLike, *, what: str = "", error: type[Exception] = CheckpointError) -> int:
    """Return the size in bytes of a regular file that can be read; parameters and errors are those of `open_regular`.

    For libraries that open files by name only.
    """
    with open_regular(path, what=what, error=error) as file:
        return os.fstat(file.fileno()).st_size


def _require_regular(status: os.stat_result, place: str, what: str, most: int | None, error: type[Exception]) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise error(f"cannot read {_called(what, place)}: it is not a regular file but {_KINDS.get(kind, 'a link')}.")
    if most is not None and status.st_size > most:
        raise _too_large(place, what, f"{status.st_size:,}", most, error)


def _too_large(place: str, what: str, size: str, most: int, error: type[Exception]) -> Exception:
    return error(f"{_called(what, place)} must hold at most {most:,} bytes; it holds {size}.")


def _called(what: str, place: str) -> str:
    return f"the {what} {place}" if what else place


def _reason(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)


def _problem(words: str, cause: Exception, error: type[Exception]) -> Exception:
    found = error(words)
    if isinstance(found, OSError) and isinstance(cause, OSError):
        found.errno = cause.errno
    return found
