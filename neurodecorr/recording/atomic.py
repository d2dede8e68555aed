"""Files that appear whole or not at all: a temporary name, fsync, then one rename."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from neurodecorr._checks import checked_path, checked_text, choice, instance
from neurodecorr._temporary import temporary_beside
from neurodecorr.errors import CheckpointError
from neurodecorr.recording.documents import spelt_json

__all__ = ["atomic_path", "write_atomically", "write_bytes", "write_json", "write_text"]

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` when the block ends well.

    For writers that open files by name. The temporary file lies in the same folder and keeps the suffix. If the block
    raises, the temporary file is removed and an older file at `path` is untouched. Missing folders are made.

    Parameters
    ----------
    path : path-like
        The file to write. A symbolic link is followed: its target is replaced.

    Yields
    ------
    Path
        The temporary path.

    Raises
    ------
    CheckpointError
        If `path` is a folder, or cannot be written: no permission, a parent that is a file, a full disk.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "figure.svg") as temporary:
    ...         _ = temporary.write_text("<svg/>")
    ...     [file.name for file in Path(folder).iterdir()]
    ['figure.svg']
    """
    target = Path(os.path.realpath(checked_path(path)))
    with contextlib.ExitStack() as stack:
        with _told(path):
            _require_place(target)
            temporary = stack.enter_context(temporary_beside(target))
        with _told(path, temporary):
            yield temporary
            _synchronise(temporary)
            _keep_mode(temporary, target)
            os.replace(temporary, target)  # noqa: PTH105 - the call that is atomic, by its name
    _synchronise_folder(target.parent)


@contextlib.contextmanager
def write_atomically(path: PathLike, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that replaces `path` when the block ends well, and leaves no trace when it raises.

    Parameters
    ----------
    path : path-like
        The file to write.
    mode : {"w", "wb"}, default "w"
        Text (UTF-8, newlines as given) or binary.

    Yields
    ------
    file
        The open temporary file.

    Raises
    ------
    CheckpointError
        As `atomic_path` does.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with write_atomically(Path(folder) / "note.txt") as file:
    ...         _ = file.write("x̄ = R⁻¹x")
    ...     (Path(folder) / "note.txt").read_text(encoding="utf-8")
    'x̄ = R⁻¹x'
    """
    options: dict[str, Any] = {"encoding": "utf-8", "newline": ""}
    if choice(mode, "mode", ("w", "wb")) == "wb":
        options = {}
    with atomic_path(path) as temporary, temporary.open(mode, **options) as file:
        yield file


def write_text(path: PathLike, text: str) -> Path:
    """Write `text` as UTF-8, atomically, and return the path.

    Parameters
    ----------
    path : path-like
        The file to write.
    text : str
        Its content: SVG, HTML, TOML, a table.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    CheckpointError
        As `atomic_path` does.
    """
    checked_text(text, "text")
    with write_atomically(path, "w") as file:
        file.write(text)
    return Path(path)


def write_bytes(path: PathLike, data: bytes) -> Path:
    """Write `data`, atomically, and return the path.

    Parameters
    ----------
    path : path-like
        The file to write.
    data : bytes
        Its content.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    CheckpointError
        As `atomic_path` does.
    """
    instance(data, (bytes, bytearray, memoryview), "data", "bytes")
    with write_atomically(path, "wb") as file:
        file.write(data)
    return Path(path)


def write_json(path: PathLike, value: Any) -> Path:
    """Write `value` as indented JSON that any reader accepts, atomically, and return the path.

    JSON has no NaN: not-finite numbers are written as the texts "NaN", "Infinity" and "-Infinity".

    Parameters
    ----------
    path : path-like
        The file to write.
    value : mapping, sequence, text, number or None
        The content; numpy scalars and arrays are allowed.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    InputError
        If `value` holds something JSON has no form for; its place is named.
    CheckpointError
        As `atomic_path` does.
    """
    return write_text(path, spelt_json(value, checked_path(path).name) + "\n")


@contextlib.contextmanager
def _told(path: PathLike, temporary: Path | None = None) -> Iterator[None]:
    """Turn an error of the system about this file into a CheckpointError; let errors about other files pass."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        about = error.filename
        if temporary is not None and about is not None and os.fsdecode(about) != str(temporary):
            raise
        reason = error.strerror or str(error)
        problem = CheckpointError(f"cannot write {os.fspath(path)}: {reason}. An older file there is unchanged.")
        problem.errno = error.errno
        raise problem from error


def _require_place(target: Path) -> None:
    """Raise if `target` is a folder or its folder cannot be made."""
    if target.is_dir():
        raise CheckpointError(f"cannot write {target}: it is a folder. Give the path of a file.")
    _make_folder(target.parent)


def _make_folder(folder: Path) -> None:
    """Make `folder`, or say which of its parents is a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        obstacle = next((parent for parent in (folder, *folder.parents) if parent.is_file()), folder)
        raise CheckpointError(f"cannot make the folder {folder}: {obstacle} is a file, not a folder.") from None


def _synchronise(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _keep_mode(temporary: Path, target: Path) -> None:
    """Carry the permissions of the file that is about to be replaced over to the new one."""
    with contextlib.suppress(OSError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))


def _synchronise_folder(folder: Path) -> None:
    # The rename is done by now; some file systems (and Windows) cannot synchronise a folder, which loses nothing else.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
