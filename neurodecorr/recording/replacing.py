"""A folder in the place of another: at every moment one of them is there, whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from neurodecorr._temporary import LOCKS, hold

__all__ = ["filling_folder", "put_in_place", "recover", "whole_folder"]

AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def filling_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`, which nobody takes for abandoned, and remove it at the end.

    Folders that writers of `target` left when they were killed are removed before.

    Parameters
    ----------
    target : Path
        The folder that it will replace.

    Yields
    ------
    Path
        The empty folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    begin = f".{_stem(target)}."
    for other in [one for one in target.parent.iterdir() if one.name.startswith(begin) and one.suffix == ".tmp"]:
        _remove_abandoned(other)
    folder, handle = _own_folder(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def put_in_place(folder: Path, target: Path) -> None:
    """Put a folder in the place of `target`; what was there before has the other's name afterwards, or is removed.

    Where the system can exchange two names at once, `target` is whole at every moment, whoever is killed when.
    Elsewhere the older folder stands under another name for a moment, where `whole_folder` and `recover` find it.

    Parameters
    ----------
    folder, target : Path
        Beside each other.
    """
    if not target.exists():
        folder.rename(target)
    elif not _exchange(folder, target):
        _replace_in_two_steps(folder, target)


def whole_folder(target: Path) -> Path:
    """Return the folder to read: `target`, or where the older one stands if a replacement was killed half-way."""
    if os.path.lexists(target) or not target.name:
        return target
    older = _older(target)
    return older if older.is_dir() and not older.is_symlink() else target


def recover(target: Path) -> None:
    """Give the older folder its name back if a replacement was killed half-way."""
    if whole_folder(target) != target:
        _older(target).rename(target)


def _replace_in_two_steps(folder: Path, target: Path) -> None:
    older = _older(target)
    shutil.rmtree(older, ignore_errors=True)  # of a replacement that was killed after its last step
    target.rename(older)
    try:
        folder.rename(target)
    except BaseException:
        older.rename(target)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once, and return whether the system can."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no such function, or no such library
        return False
    paths = (ctypes.c_char_p(os.fsencode(path.absolute())) for path in (one, other))
    first, second = paths
    return bool(rename(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0)


def _own_folder(target: Path) -> tuple[Path, int]:
    """Return a new folder beside `target` and the handle that holds it, which no other writer may remove now."""
    while True:
        folder = target.with_name(f".{_stem(target)}.{secrets.token_hex(6)}.tmp")
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(folder if LOCKS else os.devnull, os.O_RDONLY)
            # In the moment before it was held, another writer may have taken it for abandoned: then once more.
            if hold(handle) is not False and folder.exists():
                return folder, handle
            os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder that nobody alive fills."""
    if not LOCKS:
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            if hold(handle):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def _older(target: Path) -> Path:
    return target.with_name(f".{_stem(target)}.old")


def _stem(target: Path) -> str:
    return target.name.encode()[:100].decode(errors="ignore")
