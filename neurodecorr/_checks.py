"""Validation at the public door: shape, finiteness, range, and did-you-mean.

Each function returns the checked value in the form that the code behind the door expects, or raises with what must
hold, what came, and where.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.errors import ConfigError, InputError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]

# Two times that differ by less than this share of the longest are one: `np.arange`, `np.linspace` and sums of steps
# leave some ulps, 4500 of them at most.
ROUNDING = 1e-12


def real_array(value: Any, name: str) -> Floats:
    """Return `value` as a real floating array; float32 stays float32, all else becomes float64.

    Raises
    ------
    InputError
        If `value` is sparse, complex, or holds anything but numbers.
    """
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise InputError(f"{name} must be a dense array; got a sparse {type(value).__name__}. Use {name}.toarray().")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} must be a rectangular array of real numbers: {error}") from None
    if array.dtype.kind == "c":
        raise InputError(f"{name} must hold real numbers; got complex data of type {array.dtype}. Pass {name}.real.")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold real numbers; got data of type {array.dtype}.")
    if array.dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        return array
    return array.astype(np.float64)


def finite(array: Floats, name: str) -> Floats:
    """Return `array` if all its entries are finite; otherwise name the first one that is not, and its place."""
    good = np.isfinite(array)
    if good.all():
        return array
    place = tuple(int(i) for i in np.argwhere(~good)[0])
    words = {1: ("index",), 2: ("row", "column")}.get(array.ndim, tuple(f"axis {k} index" for k in range(array.ndim)))
    where = ", ".join(f"{word} {index}" for word, index in zip(words, place, strict=True))
    count = int(array.size - good.sum())
    raise InputError(
        f"{name} must be finite, without NaN or inf; found {array[place]} at {where or 'its only entry'} "
        f"({count} such in all). Remove or impute these entries."
    )


def samples(value: Any, name: str, features: int | None = None) -> Floats:
    """Return `value` as a finite (samples, features) array."""
    array = real_array(value, name)
    if array.ndim != 2:
        hint = " Use reshape(1, -1) for one sample." if array.ndim == 1 else ""
        raise InputError(f"{name} must be 2-D, (samples, features); got shape {array.shape}.{hint}")
    if 0 in array.shape:
        raise InputError(f"{name} must hold at least one sample and one feature; got shape {array.shape}.")
    if features is not None and array.shape[1] != features:
        raise InputError(f"{name} must have {features} features, one per unit; got {array.shape[1]}.")
    return finite(array, name)


def sample_or_samples(value: Any, name: str, features: int) -> tuple[Floats, bool]:
    """Return `value` as (samples, features), and whether it came as one sample, (features,)."""
    array = real_array(value, name)
    single = array.ndim == 1
    return samples(array[None, :] if single else array, name, features), single


def square(value: Any, name: str) -> Floats:
    """Return `value` as a finite, square, non-empty matrix."""
    array = real_array(value, name)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise InputError(f"{name} must be a square matrix, (n, n); got shape {array.shape}.")
    return finite(array, name)


def instants(
    value: Any,
    name: str,
    end: float | None = None,
    until: str = "t_end",
    *,
    strictly: bool = True,
    from_zero: bool = False,
) -> Floats:
    """Return `value` as times ≥ 0 in order, at most `end`; what rounding has moved beyond a limit is moved back to it.

    Parameters
    ----------
    value : (times,) array
        Times; those in float32 are known to some ulps of float32.
    name : str
        How the message calls them.
    end : float, optional
        Latest time allowed.
    until : str
        How the message calls `end`.
    strictly : bool
        Whether a time may not come twice.
    from_zero : bool
        Whether the first time must be 0.
    """
    order = ("starts at 0 and " if from_zero else "") + ("increases strictly" if strictly else "is ascending")
    given = finite(real_array(value, name), name)
    if given.ndim != 1 or not given.size:
        raise InputError(f"{name} must be a non-empty vector that {order}; got shape {given.shape}.")
    t = given.astype(np.float64)
    last = float(np.abs(t).max()) if end is None else end
    grain = max(ROUNDING, 4 * float(np.finfo(given.dtype).eps)) * last
    inside = np.clip(t, 0.0, max(last, 0.0))
    steps = np.diff(np.where(np.abs(inside - t) <= grain, inside, t))
    wrong = steps <= 0 if strictly else steps < 0
    if wrong.any():
        at = int(np.argmax(wrong)) + 1
        how = "increase strictly" if strictly and not from_zero else f"be a vector that {order}"
        raise InputError(f"{name} must {how}; got {digits(t[at])} after {digits(t[at - 1])} at index {at}.")
    if (np.abs(inside - t) > grain).any():
        room = f"be ≥ 0, a vector that {order}" if end is None else f"lie in [0, {until}] = [0, {digits(end)}]"
        raise InputError(f"{name} must {room}; got {digits(t[0])} to {digits(t[-1])}.")
    if from_zero:
        if inside[0] > grain:
            raise InputError(f"{name} must be a vector that {order}; got {digits(t[0])} first.")
        inside[0] = 0.0
    return inside


def digits(value: float) -> str:
    """Return a number in as many digits as tell it from its neighbours, and no more than are needed."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def steps_within(span: float, step: float) -> float:
    """Return how many whole steps fit into a span; one that rounding has made a little too long still does."""
    return math.floor(span / step * (1 + ROUNDING)) if math.isfinite(span / step) else math.inf


def number(value: Any, name: str, unit: str = "") -> float:
    """Return `value` as a finite float."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be a number{_in(unit)}; got {value!r} of type {type(value).__name__}.")
    result = float(value)
    if not math.isfinite(result):
        raise ConfigError(f"{name} must be a finite number{_in(unit)}; got {value!r}.")
    return result


def positive(value: Any, name: str, unit: str = "") -> float:
    """Return `value` as a finite float > 0."""
    result = number(value, name, unit)
    if result <= 0:
        raise ConfigError(f"{name} must be > 0{_in(unit)}; got {value!r}.")
    return result


def fraction(value: Any, name: str) -> float:
    """Return `value` as a float in [0, 1]."""
    result = number(value, name)
    if not 0 <= result <= 1:
        raise ConfigError(f"{name} must lie in [0, 1]; got {value!r}.")
    return result


def count(value: Any, name: str, least: int = 1) -> int:
    """Return `value` as an integer ≥ `least`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} must be a whole number ≥ {least}; got {value!r} of type {type(value).__name__}.")
    if value < least:
        raise ConfigError(f"{name} must be a whole number ≥ {least}; got {value!r}.")
    return int(value)


def choice(value: Any, name: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; otherwise raise with the nearest option."""
    known = list(options)
    if isinstance(value, str) and value in known:
        return value
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{name} must be one of {', '.join(map(repr, known))}; got {value!r}.{hint}")


def generator(seed: Any, name: str = "seed") -> np.random.Generator:
    """Return a `numpy.random.Generator` from an integer ≥ 0, a SeedSequence or a Generator."""
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, np.random.SeedSequence):
        return np.random.default_rng(seed)
    return np.random.default_rng(count(seed, name, least=0))


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""
