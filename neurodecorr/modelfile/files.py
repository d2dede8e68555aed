"""Model files on disk: those that come with the package, and the user's own."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from neurodecorr import _checks
from neurodecorr.errors import ConfigError
from neurodecorr.modelfile.model import Model
from neurodecorr.modelfile.schema import Document

__all__ = ["load_model", "model_names"]

MOST_BYTES = 1_000_000
_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the files lie beside the code; in a checkout in the folder at its top.
_FOLDERS = (_PACKAGE / "_models", _PACKAGE.parent / "models")


def model_names() -> tuple[str, ...]:
    """Return the names of the models that come with the package."""
    return tuple(sorted(path.stem for path in _own_files()))


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
    ((64,), 3)
    """
    path = Path(name)
    if path.suffix != ".toml":
        own = {found.stem: found for found in _own_files()}
        path = own[_checks.choice(str(name), "model", own)]
    return Model(path.stem, _document(_tables(path), path))


def _own_files() -> list[Path]:
    return next((found for folder in _FOLDERS if (found := sorted(folder.glob("*.toml")))), [])


def _tables(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"a model file must be below {MOST_BYTES} bytes; {path} has {path.stat().st_size}.")
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"the model file {path} cannot be read: {error.strerror}. See `neurodecorr models`.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the model file {path} is no TOML: {error}.") from None


def _document(tables: Mapping[str, Any], path: Path) -> Document:
    try:
        return Document.model_validate(tables)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        hint = _near(str(found["loc"][-1])) if found["type"] == "extra_forbidden" else ""
        words = "is no key of a model file" if hint or found["type"] == "extra_forbidden" else found["msg"]
        raise ConfigError(f"{path}: {place}: {words}; got {found['input']!r}.{hint}") from None


def _near(key: str) -> str:
    near = difflib.get_close_matches(key, sorted(set(_keys(Document))), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def _keys(table: Any) -> Iterator[str]:
    """Yield every key of a table and of the tables in it."""
    if isinstance(table, type) and issubclass(table, BaseModel):
        for name, field in table.model_fields.items():
            yield field.alias or name
            yield from _keys(field.annotation)
    for inner in get_args(table):
        yield from _keys(inner)
