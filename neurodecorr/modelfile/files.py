"""Model files on disk: those that come with the package, and the user's own."""

from __future__ import annotations

import os
from pathlib import Path

from neurodecorr import _checks
from neurodecorr.errors import ConfigError
from neurodecorr.modelfile.model import Model
from neurodecorr.modelfile.schema import Document
from neurodecorr.modelfile.tables import checked, read_tables

__all__ = ["load_model", "model_file", "model_names"]

_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the files lie beside the code; in a checkout in the folder at its top.
_FOLDERS = (_PACKAGE / "_models", _PACKAGE.parent / "models")


def model_names() -> tuple[str, ...]:
    """Return the names of the models that come with the package.

    Examples
    --------
    >>> {"digits", "mnist", "dense_cifar10"} <= set(model_names())
    True
    """
    return tuple(sorted(path.stem for path in _own_files()))


def model_file(name: str) -> Path:
    """Return the path of a model file that comes with the package, to read or to copy.

    Parameters
    ----------
    name : str
        A name from `model_names()`.

    Raises
    ------
    ConfigError
        If there is no such model.
    """
    own = {found.stem: found for found in _own_files()}
    return own[_checks.choice(name, "model", own)]


def load_model(name: str | os.PathLike[str]) -> Model:
    """Read a model file.

    Parameters
    ----------
    name : str or path
        A name from `model_names()`, or the path of a .toml file of your own.

    Returns
    -------
    Model
        What the file describes.

    Raises
    ------
    ConfigError
        If there is no such model, or its file says what no model file may; the key is named, and the nearest right one.

    Examples
    --------
    >>> model = load_model("digits")
    >>> model.document.data.shape, len(model.layers())
    ((1, 8, 8), 3)
    """
    path = _checks.checked_path(name, "model")
    if path.suffix != ".toml":
        own = {found.stem: found for found in _own_files()}
        if path.is_dir() or len(path.parts) > 1:
            raise ConfigError(f"model must be one of {', '.join(own)}, or the path of a .toml file; got {str(name)!r}.")
        path = own[_checks.choice(str(name), "model", own)]
    tables = read_tables(path, "model file", " `neurodecorr models` lists those that are there.")
    model = Model(path.stem, checked(tables, Document, path, "model file"))
    try:
        model.check()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return model


def _own_files() -> list[Path]:
    return next((found for folder in _FOLDERS if (found := sorted(folder.glob("*.toml")))), [])
