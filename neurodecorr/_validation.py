"""Checks of arguments, called once by every public function: return the value in its proper type, or raise."""

from __future__ import annotations

import difflib
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Array, Floats
from neurodecorr.errors import ConfigError, InputError


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


# Two times that differ by less than this share of the longest are one: `np.arange`, `np.linspace` and sums of steps
# leave some ulps, 4500 of them at most.
ROUNDING = 1e-12

FEW = 8192  # numbers that are no work for several threads of a BLAS
BLOCK = 65536  # numbers looked at in one go, so that a look at a long stream takes no memory that grows with it
MOST = 2**63 - 1  # what an index can hold
SHOWN = 80  # characters of a value that a message shows
# Learning rules of R and of M; "local" is another name of the implicit rule.
RULES = ("explicit", "implicit", "congruent")
# What a rate is measured in: one over the mean input power, or one over the unit of x².
RATES = ("relative", "absolute")


def real_array(value: Any, name: str) -> Floats:
    """Return `value` as a real floating array; float32 stays float32, all else becomes float64.

    Raises
    ------
    InputError
        If `value` is sparse, complex, masked somewhere, or holds anything but numbers, or whole numbers that float64
        does not hold.
    """
    array = _array(value, name)
    if array.dtype.kind == "c":
        raise InputError(f"{name} must hold real numbers; got complex data of type {array.dtype}. Pass {name}.real.")
    if array.dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        return array
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size:
        for extreme in (array.max(), array.min()):
            if abs(int(extreme)) > 2**53:
                raise InputError(
                    f"{name} must hold whole numbers of at most 2^53 in size, which float64 holds exactly; got "
                    f"{int(extreme)}. Subtract an offset, or pass {name}.astype(float) if rounding does not matter."
                )
    return array.astype(np.float64)


def complex_array(value: Any, name: str) -> npt.NDArray[np.complexfloating[Any, Any]]:
    """Return `value` as a finite complex array; real numbers become complex ones."""
    array = _array(value, name).astype(np.complex128)
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite, without NaN or inf.")
    return array


def _array(value: Any, name: str, advice: str = "") -> Array:
    value = unmasked(value, name)
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise InputError(f"{name} must be a dense array; got a sparse {type(value).__name__}. Use {name}.toarray().")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} must be a rectangular array of real numbers: {error}") from None
    if array.dtype.kind == "O":
        require_given(array, name)
    if array.dtype.kind not in "fiubc":
        raise InputError(f"{name} must hold real numbers; got data of type {array.dtype}.{advice}")
    return array


def indices(value: Any, name: str, size: int) -> npt.NDArray[Any]:
    """Return `value`, whole numbers that choose among `size` items or `size` booleans, as the former."""
    if isinstance(value, list | tuple) and not value:
        return np.empty(0, np.intp)
    array = _array(value, name)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise InputError(f"{name} must be a vector of whole numbers; got shape {array.shape} of type {array.dtype}.")
    if array.dtype.kind == "b":
        array = np.flatnonzero(shaped(array, name, size))
    if array.size and not -size <= int(array.min()) <= int(array.max()) < size:
        raise InputError(f"{name} must lie in 0 … {size - 1}; got {array.min()} … {array.max()}.")
    return array


def numeric(value: Any, name: str, advice: str = "") -> Array:
    """Return `value` as an array of real numbers in their own type."""
    array = _array(value, name, advice)
    if array.dtype.kind == "c":
        raise InputError(f"{name} must hold real numbers; got complex data of type {array.dtype}.")
    return array


def whole_numbers(value: Any, name: str) -> npt.NDArray[np.integer[Any]]:
    """Return `value` as an array of whole numbers, of any shape; what is empty may be of any type."""
    array = _array(value, name)
    if array.dtype.kind not in "iu" and array.size:
        raise InputError(f"{name} must hold whole numbers; got data of type {array.dtype}.")
    return array if array.size else array.astype(np.int64)


def finite(array: Floats, name: str) -> Floats:
    """Return `array` if all its entries are finite; otherwise name the first one that is not, and its place."""
    array = unmasked(array, name)
    # A sum of squares is finite only where every term is, and takes half the time; a longer one would wake threads.
    if array.size <= FEW and array.flags.c_contiguous and np.isfinite(np.vdot(array, array)):
        return array
    rows = np.atleast_1d(array)
    step = max(1, BLOCK * len(rows) // max(1, array.size))
    if all(np.isfinite(rows[at : at + step]).all() for at in range(0, len(rows), step)):
        return array
    good = np.isfinite(array)
    place = tuple(np.argwhere(~good)[0])
    count = int(array.size - good.sum())
    raise InputError(
        f"{name} must be finite, without NaN or inf; found {array[place]} at {place_of(~good)} "
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
        raise InputError(f"{name} must {how}; got {numeral(t[at])} after {numeral(t[at - 1])} at index {at}.")
    if (np.abs(inside - t) > grain).any():
        room = f"be ≥ 0, a vector that {order}" if end is None else f"lie in [0, {until}] = [0, {numeral(end)}]"
        raise InputError(f"{name} must {room}; got {numeral(t[0])} to {numeral(t[-1])}.")
    if from_zero:
        if inside[0] > grain:
            raise InputError(f"{name} must be a vector that {order}; got {numeral(t[0])} first.")
        inside[0] = 0.0
    return inside


def numeral(value: float) -> str:
    """Return a number in as many digits as tell it from its neighbours, and no more than are needed."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def steps_within(span: float, step: float) -> float:
    """Return how many whole steps fit into a span; one that rounding has made a little too long still does."""
    return math.floor(span / step * (1 + ROUNDING)) if math.isfinite(span / step) else math.inf


def shaped(value: Any, name: str, *shape: int | None) -> Floats:
    """Return `value` as a finite array of this shape; None stands for any length ≥ 1."""
    array = real_array(value, name)
    fitting = array.ndim == len(shape) and all(
        have == want if want is not None else have > 0 for have, want in zip(array.shape, shape, strict=True)
    )
    if not fitting:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise InputError(f"{name} must have the shape ({wanted}); got {array.shape}.")
    return finite(array, name)


def entries(value: Any, name: str) -> Floats:
    """Return `value` as finite float64 numbers of any shape, at least one of them, none of them True or False."""
    array = real_array(value, name)
    if not array.size or np.asarray(value).dtype.kind == "b":
        raise InputError(f"{name} must hold at least one number; got {shown(value)}.")
    return finite(array, name).astype(np.float64, copy=False)


def vector(value: Any, name: str, size: int | None = None) -> Floats:
    """Return `value` as a finite float64 vector, of this size if one is given."""
    return shaped(value, name, size).astype(np.float64, copy=False)


def number(value: Any, name: str, unit: str = "") -> float:
    """Return `value` as a finite float."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be a number{_in(unit)}; got {shown(value)} of type {type(value).__name__}.")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ConfigError(f"{name} must be a finite number{_in(unit)}; got {shown(value)}.")
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


def not_negative(value: Any, name: str, unit: str = "") -> float:
    """Return `value` as a finite float ≥ 0."""
    result = number(value, name, unit)
    if result < 0:
        raise ConfigError(f"{name} must be ≥ 0{_in(unit)}; got {value!r}.")
    return result


def count(value: Any, name: str, least: int = 1, most: float = MOST) -> int:
    """Return `value` as an integer from `least` to `most`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise ConfigError(
            f"{name} must be a whole number ≥ {least}; got {shown(value)} of type {type(value).__name__}."
        )
    whole = int(value)
    if whole < least:
        raise ConfigError(f"{name} must be a whole number ≥ {least}; got {shown(value)}.")
    if whole > most:
        raise ConfigError(f"{name} must be a whole number ≤ {most:.4g}; got {shown(value)}.")
    return whole


def flag(value: Any, name: str) -> bool:
    """Return `value` if it is True or False."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ConfigError(f"{name} must be True or False; got {shown(value)} of type {type(value).__name__}.")


def checked_text(value: Any, name: str) -> str:
    """Return `value` if it is a string."""
    return str(instance(value, str, name, "a text"))


def instance(value: Any, kind: type | tuple[type, ...], name: str, words: str = "", advice: str = "") -> Any:
    """Return `value` if it is an instance of `kind`; `words` say what that is, `advice` what to do instead."""
    if isinstance(value, kind):
        return value
    kinds = kind if isinstance(kind, tuple) else (kind,)
    what = words or " or ".join(f"a {one.__name__}" for one in kinds)
    raise ConfigError(f"{name} must be {what}; got {shown(value)} of type {type(value).__name__}. {advice}".rstrip())


def function(value: Any, name: str) -> Callable[..., Any]:
    """Return `value` if it can be called."""
    if callable(value):
        return value  # type: ignore[no-any-return]
    raise ConfigError(f"{name} must be a function; got {shown(value)} of type {type(value).__name__}.")


# Called now and then: what is being done, how much of it is done, and how much there is in all.
Progress = Callable[[str, float, float], None]


def progress_function(value: Any) -> Progress | None:
    """Return `value` if it is a function that is told of progress, or None."""
    return value if value is None else function(value, "progress")


def offers(value: Any, methods: Iterable[str], name: str, words: str) -> Any:
    """Return `value` if it has these methods, as a kind that users may write themselves has them."""
    if not isinstance(value, type) and all(callable(getattr(value, method, None)) for method in methods):
        return value
    raise ConfigError(f"{name} must be {words}; got {shown(value)} of type {type(value).__name__}.")


def checked_path(value: Any, name: str = "path") -> Path:
    """Return a path from a string or anything path-like that names one."""
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(found, str):
        raise ConfigError(f"{name} must be a path, a str or Path; got {shown(value)} of type {type(value).__name__}.")
    if not found or "\0" in found:
        raise ConfigError(f"{name} must be a path without NUL characters; got {found!r}.")
    return Path(found)


def sequence(value: Any, name: str, words: str = "a sequence") -> list[Any]:
    """Return the items of `value`, which is neither a text nor a mapping nor a set."""
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if listed or (isinstance(value, np.ndarray) and value.ndim):
        return list(value)
    raise ConfigError(f"{name} must be {words}; got {shown(value)} of type {type(value).__name__}.")


def several(value: Any, kind: type | tuple[type, ...], name: str, words: str = "", least: int = 0) -> list[Any]:
    """Return the items of a sequence of instances of `kind`, at least so many."""
    items = sequence(value, name)
    if len(items) < least:
        raise ConfigError(f"{name} must have at least {least} item{'s' if least > 1 else ''}; got {len(items)}.")
    return [instance(item, kind, f"{name}[{index}]", words) for index, item in enumerate(items)]


def checked_names(value: Any, name: str, options: Iterable[str] | None = None, least: int = 0) -> list[str]:
    """Return a sequence of texts, each one of `options` if these are given."""
    found = [str(item) for item in several(value, str, name, "a text", least)]
    return found if options is None else [choice(item, f"{name}[{k}]", options) for k, item in enumerate(found)]


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Return `value` if it is a mapping whose keys are texts."""
    instance(value, Mapping, name, "a mapping from names")
    for key in value:
        instance(key, str, f"each key of {name}", "a text")
    return value  # type: ignore[no-any-return]


def shown(value: Any) -> str:
    """Return a value as messages show it: in one line, and short."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"  # its digits may be more than Python writes
    words = " ".join(repr(value).split())
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"


def choice(value: Any, name: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; otherwise raise with the nearest option."""
    known = list(options)
    if isinstance(value, str) and value in known:
        return value
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.5) if isinstance(value, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{name} must be one of {', '.join(map(repr, known))}; got {shown(value)}.{hint}")


def rule_name(value: Any, options: Iterable[str] = RULES, name: str = "rule") -> str:
    """Return the name of a learning rule, one of `options`; "local" is another name of "implicit".

    For a typo the nearest name is suggested, but never "explicit": it diverges at rates at which the others settle.
    """
    known = list(options)
    given = "implicit" if isinstance(value, str) and value == "local" else value
    if isinstance(given, str) and given in known:
        return given
    names = [*known, "local"] if "implicit" in known else known
    near = difflib.get_close_matches(value, names, n=1, cutoff=0.5) if isinstance(value, str) else []
    hint = f" Did you mean {near[0]!r}?" if near and near[0] != "explicit" else ""
    raise ConfigError(f"{name} must be one of {', '.join(map(repr, known))}; got {shown(value)}.{hint}")


def generator(seed: Any, name: str = "seed") -> np.random.Generator:
    """Return a `numpy.random.Generator` from an integer ≥ 0, a SeedSequence or a Generator."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(seed if isinstance(seed, np.random.SeedSequence) else whole_seed(seed, name))


def whole_seed(value: Any, name: str = "seed") -> int:
    """Return `value` as an integer ≥ 0, however large."""
    return count(value, name, least=0, most=math.inf)


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""
