"""TOML files that are not trusted: read whole, checked key by key, with the nearest right name for a wrong one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from neurodecorr._files import read_regular_text
from neurodecorr.errors import ConfigError

__all__ = ["Table", "checked", "read_tables"]

MOST_BYTES = 1_000_000
SHOWN = 60  # characters of a wrong value

Document = TypeVar("Document", bound=BaseModel)


class Table(BaseModel):
    """A table of a file: no unknown keys, and numbers that are written as numbers, whole where they must be.

    `true` is no number, "100" is none, and neither is inf. Lists become tuples.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def read_tables(path: Path, kind: str, hint: str = "") -> dict[str, Any]:
    """Return the tables of a TOML file.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        What it is, for messages: "model file".
    hint : str
        What to do if it cannot be read.

    Raises
    ------
    ConfigError
        If it cannot be read, is no TOML, or is larger than any such file.
    """
    try:
        text = read_regular_text(path, MOST_BYTES, what=kind, error=ConfigError)
    except ConfigError as error:
        raise ConfigError(f"{error}{hint}") from None
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"the {kind} {path} must be TOML in UTF-8: {error}.") from None


def checked(tables: Mapping[str, Any], document: type[Document], path: Path, kind: str) -> Document:
    """Return the tables as the document that they must be.

    Raises
    ------
    ConfigError
        With the place of the first wrong key or value, and the nearest right one.
    """
    try:
        return document.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_words(error, document, kind)}") from None


def _words(error: ValidationError, document: type[BaseModel], kind: str) -> str:
    # A misspelt key is also a missing one: the first is told, as it shows both.
    found = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return f"{place} is no key of a {kind}.{_near(str(found['loc'][-1]), _keys(document))}"
    if found["type"] == "missing":
        return f"the key {place} is missing."
    expected = str(found.get("ctx", {}).get("expected", ""))
    known = [word.strip(" '") for word in expected.replace(" or ", ",").split(",") if word.strip()]
    shown = repr(found["input"])
    cut = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    return f"{place}: {found['msg']}; got {cut}.{_near(str(found['input']), known)}"


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def _keys(table: Any) -> Iterator[str]:
    """Yield every key of a table and of the tables in it."""
    if isinstance(table, type) and issubclass(table, BaseModel):
        for name, field in table.model_fields.items():
            yield field.alias or name
            yield from _keys(field.annotation)
    for inner in get_args(table):
        yield from _keys(inner)
