"""Files under a temporary name: held by their writer while it lives, removed by the next one when it was killed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCKS", "hold", "temporary_beside"]

# Whether the system has locks that end with the process that holds them.
LOCKS = fcntl is not None

# .STEM.twelve hexadecimal digits.tmp.SUFFIX, and the lock of that file.
_LEFT = re.compile(r"\.(?P<stem>.+)\.(?P<own>[0-9a-f]{12})\.tmp(\..*)?", re.DOTALL)
_LOCK = "lock"


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Give a new empty file beside `target`, with its suffix and the permissions of a new file.

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
    """Hold an open file or folder as long as its handle lives; False if another process does, None where nobody can."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True
