"""What lies at a path, as one hash: files by their bytes, folders by the names and the bytes of their files."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from neurodecorr._checks import checked_path
from neurodecorr.errors import InputError

__all__ = ["content_hash", "file_hash"]

_PIECE = 2**20


def content_hash(path: str | os.PathLike[str]) -> str:
    """Return a hash of what lies at `path`; how the path is spelt, and when files were written, plays no part.

    ::

        file:    SHA-256(bytes)
        folder:  SHA-256(names and SHA-256 of all files in it, in order of their names)

    Parameters
    ----------
    path : path-like
        A file, or a folder. In a folder, hidden files and all that is no regular file are left out.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        If there is nothing, it is neither a regular file nor a folder, or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.txt").write_bytes(b"")
    ...     content_hash(Path(folder) / "a.txt")[:16]
    'e3b0c44298fc1c14'
    """
    place = checked_path(path)
    try:
        if not place.is_dir():
            return file_hash(place)
        whole = hashlib.sha256()
        for file in _files(place):
            whole.update(
                f"{file.relative_to(place).as_posix()}\0{file_hash(file)}\n".encode("utf-8", "surrogateescape")
            )
        return whole.hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {place}: {error.strerror or error}.") from error


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a regular file; a pipe or a device is refused, as reading it might never end.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        If it is no regular file.
    OSError
        If it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"{path} must be a regular file or a folder.")
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            whole.update(piece)
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """The regular files below a folder that are not hidden, sorted; also behind links, but no folder inside itself."""
    for place, folders, names in os.walk(folder, followlinks=True):
        above = {os.path.realpath(part) for part in (Path(place), *Path(place).parents)}
        inner = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [
            name
            for name in inner
            if not Path(place, name).is_symlink() or os.path.realpath(Path(place, name)) not in above
        ]
        for name in sorted(names):
            file = Path(place, name)
            if not name.startswith(".") and file.is_file():
                yield file
