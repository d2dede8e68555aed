"""Folders to write to: whether they can be, before any work is done for them."""

from __future__ import annotations

import os
from pathlib import Path

from neurodecorr.errors import CheckpointError

__all__ = ["require_writable"]


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Raise if `folder` cannot be made or written to, before any work is done for it.

    Parameters
    ----------
    folder : path-like
        The folder to be; nothing is made.

    Raises
    ------
    CheckpointError
        If a part of the path is a file, or the first existing part is not writable.
    """
    place = Path(folder).absolute()
    ground = next(part for part in (place, *place.parents) if part.exists() or part.is_symlink())
    if not ground.is_dir():
        raise CheckpointError(f"cannot write to {folder}: {ground} is a file, not a folder. Choose another folder.")
    if not os.access(ground, os.W_OK | os.X_OK):
        raise CheckpointError(f"cannot write to {folder}: no permission to write in {ground}. Choose another folder.")
