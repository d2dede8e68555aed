"""Write JSON in one canonical form, and read it without trusting it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from neurodecorr._validation import unmasked
from neurodecorr.errors import CheckpointError, InputError


def plain(value: Any, place: str) -> Any:
    """Return `value` made of dict, list, str, bool, int, float and None only.

    Tuples and numeric arrays become lists, numpy scalars Python numbers, paths texts with forward slashes.

    Parameters
    ----------
    value : object
        What is to be written.
    place : str
        Its name, for messages.

    Returns
    -------
    dict, list, str, bool, int, float or None
        The same content.

    Raises
    ------
    InputError
        If a key is not text or a value has no form in JSON; its place is named.

    Examples
    --------
    >>> plain({"rate": np.float64(1e-3), "shape": (2, 3)}, "configuration")
    {'rate': 0.001, 'shape': [2, 3]}
    """
    try:
        return _plain(value, place)
    except RecursionError:
        raise InputError(f"{place} must not contain itself.") from None


def canonical_json(value: Any, place: str = "value") -> str:
    """Return the one text form of `value`: sorted keys, no spaces, ASCII, shortest exact floats.

    NaN and infinities are spelt NaN, Infinity and -Infinity, which Python reads back exactly.

    Parameters
    ----------
    value : object
        What `plain` accepts.
    place : str
        Its name, for messages.

    Returns
    -------
    str
        Equal for equal content.

    Raises
    ------
    InputError
        As `plain` does.

    Examples
    --------
    >>> canonical_json({"b": 0.1, "a": (1, None)})
    '{"a":[1,null],"b":0.1}'
    """
    return json.dumps(plain(value, place), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def strict_json(value: Any, place: str = "value") -> str:
    """Return indented JSON in which NaN and infinities are texts, so that every reader accepts it.

    Parameters
    ----------
    value : object
        What `plain` accepts.
    place : str
        Its name, for messages.

    Returns
    -------
    str
        Strict JSON, keys in the order given.

    Raises
    ------
    InputError
        As `plain` does.

    Examples
    --------
    >>> strict_json([1.5, float("nan")]).split()
    ['[', '1.5,', '"NaN"', ']']

    References
    ----------
    Bray (2017), RFC 8259, §6.
    """
    return json.dumps(_spelt(plain(value, place)), indent=2, ensure_ascii=False, allow_nan=False)


def read_json(text: bytes, place: str) -> dict[str, Any]:
    """Return the JSON object in `text`.

    Parameters
    ----------
    text : bytes
        UTF-8.
    place : str
        The file and member it came from, for messages.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    CheckpointError
        If the text is not UTF-8, not JSON, nested too deeply, names a key twice, or is not an object.
    """
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{place} must be JSON in UTF-8; {type(error).__name__}: {error}.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{place} must be a JSON object; got {type(value).__name__}.")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of which no key comes twice: readers would take different ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key in found if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} comes twice")
    return found


def _plain(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return _builtin(value)
    if isinstance(value, np.bool_ | np.integer | np.float16 | np.float32 | np.float64):
        return value.item()
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, np.ma.MaskedArray):
        value = unmasked(value, place)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        return value.tolist()
    if isinstance(value, Mapping):
        return {_key(key, place): _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    raise InputError(f"{place} must be text, a number, a list or a mapping of these; got {type(value).__name__}.")


def _builtin(value: bool | int | float | str | None) -> bool | int | float | str | None:
    """Strip subclasses: np.float64 is a float, an IntEnum an int."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None


def _key(key: Any, place: str) -> str:
    if not isinstance(key, str):
        raise InputError(f"the keys of {place} must be text; got {key!r} of type {type(key).__name__}.")
    return str(key)


def _spelt(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelt(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelt(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value
