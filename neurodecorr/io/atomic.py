"""Write files that appear whole or not at all: a temporary name, fsync, then one rename."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from neurodecorr._typing import PathLike
from neurodecorr._validation import checked_path, checked_text, choice, instance
from neurodecorr.errors import CheckpointError
from neurodecorr.io.json import strict_json

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


# Whether the system has locks that end with the process that holds them.
LOCKS = fcntl is not None

# .STEM.twelve hexadecimal digits.tmp.SUFFIX, and the lock of that file.
_LEFT = re.compile(r"\.(?P<stem>.+)\.(?P<own>[0-9a-f]{12})\.tmp(\..*)?", re.DOTALL)
_LOCK = "lock"


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Yield a new empty file beside `target`, with its suffix and the permissions of a new file.

    What writers that were killed have left in the folder is removed before. A writer holds a lock on a second file as
    long as it lives (on the first one it would be in the way of HDF5), so that nobody takes its file for abandoned.

    Parameters
    ----------
    target : Path
        The file that will be replaced; its folder is there.

    Yields
    ------
    Path
        The file. If it is still there at the end, it is removed.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    _remove_left(target.parent)
    stem = target.stem.encode()[:100].decode(errors="ignore")
    while True:
        name = f".{stem}.{secrets.token_hex(6)}"
        lock = target.with_name(f"{name}.{_LOCK}")
        handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        # In the moment before it was held, another process may have taken it for abandoned: then once more.
        if hold(handle) is not False and lock.exists():
            break
        os.close(handle)
    temporary = target.with_name(f"{name}.tmp{target.suffix[:50]}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
    finally:
        os.close(handle)
        for path in (temporary, lock):
            with contextlib.suppress(OSError):
                path.unlink()


def _remove_left(folder: Path) -> None:
    """Remove temporary files whose writers are dead; what cannot be removed stays."""
    if not LOCKS:
        return
    with contextlib.suppress(OSError):
        names = [entry.name for entry in os.scandir(folder) if entry.name[0] == "." and entry.is_file()]
        for name in names:
            if name.endswith(f".{_LOCK}") and _LEFT.fullmatch(f"{name[: -len(_LOCK)]}tmp"):
                _remove_if_dead(folder / name, [])
        for name in names:
            if found := _LEFT.fullmatch(name):
                lock = folder / f".{found['stem']}.{found['own']}.{_LOCK}"
                _remove_if_dead(lock, [folder / name])


def _remove_if_dead(lock: Path, files: list[Path]) -> None:
    """Remove files whose lock nobody holds, or is gone; the lock is the last to be removed."""
    with contextlib.suppress(OSError):
        try:
            handle = os.open(lock, os.O_RDWR)
        except FileNotFoundError:  # of a writer that was killed in its last step, or of an older version
            for file in files:
                file.unlink()
            return
        try:
            if hold(handle):
                for file in files:
                    file.unlink()
                if not any(lock.with_suffix("").name + ".tmp" in one.name for one in lock.parent.iterdir()):
                    lock.unlink()
        finally:
            os.close(handle)


def hold(handle: int) -> bool | None:
    """Lock an open file or folder while its handle is open; return False if another process has the lock.

    Return None where the system has no such locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Raise if `folder` cannot be made or written to, before any work is done.

    It is tried: missing folders are made, a file of a few bytes is written, and all of it is removed again.

    Parameters
    ----------
    folder : path-like
        The folder to be; nothing is left behind.

    Raises
    ------
    CheckpointError
        If a part of the path is a file, or a folder or a file cannot be made there.
    """
    place = checked_path(folder, "folder").absolute()
    missing: list[Path] = []
    try:
        while not os.path.lexists(place):
            missing.append(place)
            place = place.parent
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero byte
        raise CheckpointError(f"cannot write to {folder}: {_reason(error)}. Choose another folder.") from error
    if not place.is_dir():
        raise CheckpointError(f"cannot write to {folder}: {place} is a file, not a folder. Choose another folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise CheckpointError(f"cannot write to {folder}: no permission to write in {place}. Choose another folder.")
    made: list[Path] = []
    try:
        for part in reversed(missing):
            part.mkdir(exist_ok=True)
            made.append(part)
        trial = (missing[0] if missing else place) / f".{secrets.token_hex(6)}.tmp"
        trial.write_bytes(b"free")
        trial.unlink()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot write to {folder}: {_reason(error)}. Choose another folder.") from error
    finally:
        for part in reversed(made):
            with contextlib.suppress(OSError):  # another process may have begun to write there
                part.rmdir()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` if the block ends without an error.

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

    References
    ----------
    IEEE Std 1003.1-2017 (POSIX), rename().
    """
    target = Path(os.path.realpath(checked_path(path)))
    with contextlib.ExitStack() as stack:
        with _told(path):
            if target.is_dir():
                raise CheckpointError(f"cannot write {target}: it is a folder. Give the path of a file.")
            _make_folder(target.parent)
            temporary = stack.enter_context(temporary_beside(target))
        with _told(path, temporary):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            # The permissions of the file that is about to be replaced go over to the new one.
            with contextlib.suppress(OSError):
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)  # noqa: PTH105 - the call that is atomic, by its name
    # The rename is done by now; some file systems (and Windows) cannot synchronise a folder, which loses nothing else.
    with contextlib.suppress(OSError):
        handle = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def write_atomically(path: PathLike, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that replaces `path` when the block ends, and is removed if the block raises.

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

    References
    ----------
    IEEE Std 1003.1-2017 (POSIX), rename().
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
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
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

    References
    ----------
    Bray (2017), RFC 8259, §6 (JSON has no NaN and no infinity).
    """
    return write_text(path, strict_json(value, checked_path(path).name) + "\n")


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


def _make_folder(folder: Path) -> None:
    """Make `folder`, or say which of its parents is a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        obstacle = next((parent for parent in (folder, *folder.parents) if parent.is_file()), folder)
        raise CheckpointError(f"cannot make the folder {folder}: {obstacle} is a file, not a folder.") from None
