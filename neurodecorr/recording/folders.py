"""Folders to write to: whether they can be, before any work is done for them."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from neurodecorr._checks import checked_path
from neurodecorr.errors import CheckpointError

__all__ = ["require_writable"]


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Raise if `folder` cannot be made or written to, before any work is done for it.

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
