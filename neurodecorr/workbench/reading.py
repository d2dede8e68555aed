"""Fields of a comparison that come from a file: each is what it must be, or its name is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neurodecorr.errors import CheckpointError

__all__ = ["FieldReader"]

_KINDS = {"numbers": "biuf", "whole numbers": "iu", "complex numbers": "biufc"}


class FieldReader:
    """Read fields out of a mapping, and raise with the field's name where one is missing or wrong.

    Parameters
    ----------
    values : mapping
        Fields by name.
    place : str
        What they belong to, for messages: "entry 'R local'".
    """

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self._values, self._place = values, place

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._there(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a text", value)
        return value

    def truth(self, name: str) -> bool:
        """Return true or false."""
        value = self._there(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def count(self, name: str, least: int = 0) -> int:
        """Return a whole number that is at least `least`."""
        value = self._there(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self._wrong(name, f"a whole number ≥ {least}", value)
        return value

    def number(self, name: str, *, infinite: bool = False) -> float:
        """Return a number that is finite, or at least no NaN."""
        value = self._there(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        if math.isnan(value) or (math.isinf(value) and not infinite):
            raise self._wrong(name, "a number that is not NaN" if infinite else "a finite number", value)
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a mapping."""
        value = self._there(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "a mapping", value)
        return value

    def shape(self, name: str, entries: int) -> tuple[int, ...] | None:
        """Return None, or a shape with so many entries."""
        value = self._there(name)
        if value is None:
            return None
        sides = value if isinstance(value, list) else []
        whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
        if not sides or not whole or math.prod(sides) != entries:
            raise self._wrong(name, f"a shape with {entries} entries, or none", value)
        return tuple(sides)

    def array(
        self, name: str, shape: tuple[int | None, ...], kind: str = "numbers", *, infinite: bool = False
    ) -> np.ndarray[Any, Any]:
        """Return an array of numbers of this shape (None: any length), finite or at least without NaN."""
        value = np.asarray(self._there(name))
        fits = value.ndim == len(shape) and all(w in (None, g) for w, g in zip(shape, value.shape, strict=True))
        if value.dtype.kind not in _KINDS[kind] or not fits:
            sides = " × ".join("any" if side is None else str(side) for side in shape)
            raise self._wrong(name, f"an array of {kind}, {sides}", f"{value.dtype} of shape {value.shape}")
        if np.isnan(value).any() or not (infinite or np.isfinite(value).all()):
            where = tuple(int(i) for i in np.argwhere(np.isnan(value) if infinite else ~np.isfinite(value))[0])
            raise self._wrong(name, "finite" if not infinite else "without NaN", f"{value[where]} at {where}")
        return value

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(name) is not None

    def _there(self, name: str) -> Any:
        if name not in self._values:
            raise CheckpointError(f"{self._place} must have the field {name!r}; there is none. Run it again.")
        return self._values[name]

    def _wrong(self, name: str, wanted: str, value: Any) -> CheckpointError:
        found = repr(value)
        found = found if len(found) <= 60 else f"{found[:59]}…"
        return CheckpointError(
            f"{self._place}: {name} must be {wanted}; got {found}. The file is damaged: run it again."
        )
