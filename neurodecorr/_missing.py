"""Entries that are masked or missing: refused with their place, as numpy goes on with whatever lies below a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.errors import InputError

__all__ = ["place_of", "require_given", "unmasked"]

Array = npt.NDArray[Any]


def unmasked(value: Any, name: str) -> Any:
    """Return `value` if nothing in it is masked: numpy would drop the mask and go on with what lies below it.

    Masked arrays are also looked for in lists and tuples of arrays.

    Raises
    ------
    InputError
        With the place of the first masked entry.
    """
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        if mask.any():
            raise InputError(
                f"{name} must hold a number everywhere; it is masked at {place_of(mask)} "
                f"({int(mask.sum())} such in all). Remove or impute these entries, or fill them."
            )
        return np.asarray(value)
    if isinstance(value, list | tuple) and any(isinstance(one, np.ma.MaskedArray | list | tuple) for one in value):
        for index, one in enumerate(value):
            unmasked(one, f"{name}[{index}]")
    return value


def require_given(array: Array, name: str) -> None:
    """Raise at the first entry that stands for a missing value: None, or NA of pandas."""
    missing = np.array([one is None or type(one).__name__ in ("NAType", "NaTType") for one in array.flat], dtype=bool)
    if missing.any():
        missing = missing.reshape(array.shape)
        raise InputError(
            f"{name} must hold a number everywhere; one is missing at {place_of(missing)} "
            f"({int(missing.sum())} such in all). Remove or impute these entries."
        )


def place_of(bad: npt.NDArray[np.bool_]) -> str:
    """Say where the first True is."""
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    words = {1: ("index",), 2: ("row", "column")}.get(bad.ndim, tuple(f"axis {k} index" for k in range(bad.ndim)))
    return ", ".join(f"{word} {index}" for word, index in zip(words, place, strict=True)) or "its only entry"
