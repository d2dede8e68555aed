"""What no argument should be, and what a call may do about it.

A `Call` names a public callable, how it is called, and for each argument a `Valid`: one value that is right, and which
others would be right too. `faults` puts each bad value in the place of each argument in turn. A call must refuse it
with one of our own errors. What it accepts must have been declared as right, by the kind of `Valid` or, label by label
and with a reason, in `also`.
"""

import contextlib
import datetime
import math
import pathlib
import resource
import signal
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse

from neurodecorr import errors

OWN = (
    errors.InputError,
    errors.ConfigError,
    errors.StabilityError,
    errors.DivergenceError,
    errors.CheckpointError,
)
SECONDS = 20.0  # of processor time for one call: what is not refused at once shows, and a compilation has its time
MEMORY = 2 << 30  # bytes that a walk may take beyond what the process has
NUMBERS = (int, float, np.integer, np.floating)


def everywhere() -> dict[str, Any]:
    """Return what may come in the place of any argument, made anew."""
    return {
        "None": None,
        "text": "text",
        "empty text": "",
        "bytes": b"bytes",
        "nan": math.nan,
        "numpy nan": np.float64(math.nan),
        "inf": math.inf,
        "-inf": -math.inf,
        "-1": -1,
        "0": 0,
        "-0.5": -0.5,
        "2.5": 2.5,
        "10**12": 10**12,
        "10**30": 10**30,
        "-10**30": -(10**30),
        "10**400": 10**400,
        "1e300": 1e300,
        "True": True,
        "numpy True": np.True_,
        "1j": 1j,
        "empty list": [],
        "empty tuple": (),
        "list of None": [None],
        "list of nan": [math.nan],
        "list of objects": [object()],
        "list of texts": ["text"],
        "ragged": [[1.0], [1.0, 2.0]],
        "objects": np.array([object()], dtype=object),
        "0-d": np.array(1.0),
        "0-d nan": np.array(math.nan),
        "0-d None": np.array(None),
        "no rows": np.empty((0, 0)),
        "five axes": np.ones((1, 1, 1, 1, 1)),
        "complex": np.full((3, 3), 1j),
        "texts": np.array(["a", "b"]),
        "dates": np.array(["2026-01-01"], dtype="datetime64[D]"),
        "record": np.zeros(2, dtype=[("a", float)]),
        "empty dict": {},
        "dict": {"text": 1},
        "dict of None": {None: None},
        "set": {1},
        "function": lambda *_: None,
        "object": object(),
        "class": int,
        "module": math,
        "ellipsis": ...,
        "slice": slice(None),
        "generator": (i for i in ()),
        "date": datetime.datetime(2026, 1, 1),
        "path": pathlib.Path("nothing"),
        "NUL path": "a\0b",
        "sparse": scipy.sparse.csr_array(np.eye(3)),
        "frame of texts": _frame({"a": ["x", "y"]}),
        "frame of nan": _frame({"a": [1.0, math.nan]}),
    }


def _frame(columns: Mapping[str, Any]) -> Any:
    pandas = __import__("pandas")  # of the extras for tests
    return pandas.DataFrame(columns)


@dataclass
class Valid:
    """One value that is right for an argument; by default no bad value is.

    Parameters
    ----------
    value : object
        What the argument is while others are bad.
    also : mapping from label to reason
        Bad values that are right for this argument, and why.
    skip : mapping from label to reason
        Bad values that are not tried, and why: functions of the user's that fail by themselves.
    """

    value: Any
    also: Mapping[str, str] = field(default_factory=dict)
    skip: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def near(self) -> dict[str, Any]:
        """Return bad values that are made from the right one."""
        return {}

    def accepts(self, value: Any) -> bool:
        """Whether a bad value is right here."""
        return False


@dataclass
class Free(Valid):
    """Anything is right; a foreign error is not."""

    def accepts(self, value: Any) -> bool:
        return True


@dataclass
class Number(Valid):
    """A finite number within bounds; `above` and `below` leave out the bound itself."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    none: bool = False

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.none
        if isinstance(value, bool | np.bool_) or not isinstance(value, NUMBERS):
            return False
        fits = self.low <= value <= self.high and self.above < value < self.below
        return bool(fits and abs(value) < 1.7e308)  # never of a nan


@dataclass
class Whole(Number):
    """A whole number within bounds."""

    def accepts(self, value: Any) -> bool:
        return super().accepts(value) and (value is None or isinstance(value, int | np.integer))


@dataclass
class Seed(Valid):
    """A whole number from 0 on; generators stand in no table of bad values."""

    none: bool = False

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.none
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0


@dataclass
class Flag(Valid):
    """True or False."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool | np.bool_)


@dataclass
class Choice(Valid):
    """One of some texts."""

    none: bool = False

    def near(self) -> dict[str, Any]:
        if not isinstance(self.value, str):
            return {}
        return {
            "misspelt": self.value + "x",
            "upper case": self.value.upper() + " ",
            "in a list": [self.value],
            "as array": np.array(self.value),
        }

    def accepts(self, value: Any) -> bool:
        return value is None and self.none


@dataclass
class Text(Valid):
    """Any text."""

    empty: bool = True

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and (self.empty or value != "")


@dataclass
class Place(Valid):
    """A path: text or path-like. What stands there is another question, answered by our own errors."""

    none: bool = False

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str | pathlib.PurePath) or (value is None and self.none)


@dataclass
class Numbers(Valid):
    """An array of numbers of one shape; `none` if it may be left out, `any_shape` if its shape is free."""

    none: bool = False
    any_shape: bool = False

    def near(self) -> dict[str, Any]:
        value = np.asarray(self.value)
        found = {
            "as objects": value.astype(object),
            "as objects with None": _with(value.astype(object), None),
            "as texts": value.astype(str),
            "as bytes": value.astype(str).astype("S"),
            "as complex": value.astype(complex) + 1j,
            "masked": np.ma.masked_array(value, mask=_with(np.zeros(value.shape, bool), True)),
        }
        if value.dtype.kind == "f":
            found |= {f"{word} inside": _with(value, word) for word in (math.nan, math.inf, -math.inf)}
        if not self.any_shape and value.ndim:
            found |= {"one axis more": value[None, None], "nothing": value[:0], "longer": _longer(value)}
        if value.ndim == 2:
            found |= {"as sparse": scipy.sparse.csr_array(value), "as text frame": _text_frame(value)}
        return found

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.none
        if not self.any_shape or isinstance(value, bool | np.bool_) or np.ma.is_masked(value):
            return False
        if scipy.sparse.issparse(value) or not isinstance(value, (np.ndarray, list, tuple, *NUMBERS)):
            return False
        try:
            array = np.asarray(value)
        except ValueError:
            return False
        return array.size > 0 and array.dtype.kind in "fiu" and bool(np.isfinite(array).all())


@dataclass
class Sparse(Valid):
    """A sparse matrix of numbers, (n, n)."""

    def near(self) -> dict[str, Any]:
        value = scipy.sparse.csr_array(self.value)
        spoilt = value.copy()
        spoilt.data = _with(value.data, math.nan)
        return {
            "dense": value.toarray(),
            "nan inside": spoilt,
            "as complex": value.astype(complex) * 1j,
            "not square": value[:, :-1],
            "empty sparse": scipy.sparse.csr_array((0, 0)),
            "of another format": value.tocoo(),
        }


def _with(value: Any, entry: Any) -> Any:
    """Return a copy whose last entry is another."""
    changed = np.array(value)
    changed[(-1,) * changed.ndim] = entry
    return changed


def _longer(value: Any) -> Any:
    return np.concatenate([value, value[..., :1] if value.ndim == 1 else value[:, :1]], axis=-1)


def _text_frame(value: Any) -> Any:
    return _frame({f"c{k}": [str(entry) + "x" for entry in value[:, k]] for k in range(value.shape[1])})


@dataclass
class Several(Valid):
    """A sequence of things of one kind; `empty` if it may hold none, `none` if it may be left out."""

    empty: bool = False
    none: bool = False

    def near(self) -> dict[str, Any]:
        value = list(self.value)
        return {
            "one of them": value[0],
            "with None": [*value, None],
            "with an object": [*value, object()],
            "with a number": [*value, 2.5],
            "with a text": [*value, "tetx"],
            "with a list": [*value, []],
        }

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.none
        return self.empty and hasattr(value, "__iter__") and not isinstance(value, str | bytes) and _length(value) == 0


def _length(value: Any) -> int:
    try:
        return len(value)
    except TypeError:
        return 0


@dataclass
class Table(Valid):
    """A mapping from names to values; `json` if the values may be all that JSON has a form for."""

    none: bool = False
    empty: bool = False
    json: bool = False

    def near(self) -> dict[str, Any]:
        value = dict(self.value)
        first = next(iter(value), "name")
        return {
            "pairs": list(value.items()),
            "with a number as key": value | {1: 1},
            "with a value of None": value | {first: None},
            "with a value of object": value | {first: object()},
            "with another key": value | {"nothing": 1.0},
        }

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, dict):
            return value is None and self.none
        return (self.json and _plain(value)) or (self.empty and not value)


def _plain(value: Any) -> bool:
    """Whether JSON has a form for a value."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(_plain(one) for one in value)
    return value is None or isinstance(value, str | float | int)


@dataclass
class Call:
    """How a public callable is called.

    Parameters
    ----------
    name : str
        Room and name, and the name of a method: "circuit.Settled.sample".
    function : callable
        Takes the arguments by name; makes anything that a call would use up.
    arguments : mapping from name to Valid
        All arguments.
    """

    name: str
    function: Any
    arguments: Mapping[str, Valid]


def refusals_only(valid: Valid) -> Valid:
    """Return the same without the bad values that are right after all: for calls that take a second each."""
    table = everywhere() | valid.near()
    right = {label: "right, and slow" for label, bad in table.items() if label in valid.also or valid.accepts(bad)}
    return replace(valid, also={}, skip={**valid.skip, **right})


class _TooLongError(BaseException):
    """No error of ours, and none that code may catch."""


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Bound the memory of the process while a walk runs."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(function: Any, arguments: Mapping[str, Any], seconds: float = SECONDS) -> tuple[str, str]:
    """Call, and return "own", "accepted" or "foreign", and the words of the error."""

    def ring(*_: Any) -> None:
        raise _TooLongError

    earlier = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**arguments)
    except OWN as error:
        return "own", f"{type(error).__name__}: {error}"
    except _TooLongError:
        return "foreign", f"takes more than {seconds:g} s of processor time"
    except Exception as error:
        return "foreign", f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)
    return "accepted", ""


def faults(call: Call) -> list[str]:
    """Return what is wrong with a call: one line for each argument and bad value."""
    right = {name: valid.value for name, valid in call.arguments.items()}
    how, words = refused(call.function, right, seconds=100.0)  # the first call may compile
    if how != "accepted":
        return [f"the valid call fails: {words}"]
    found = []
    for name, valid in call.arguments.items():
        table = everywhere() | valid.near()
        unknown = {*valid.also, *valid.skip} - set(table)
        table = {label: bad for label, bad in table.items() if label not in valid.skip}
        found += [f"{name}: no bad value is called {label!r}" for label in sorted(unknown)]
        for label, bad in table.items():
            declared = label in valid.also or valid.accepts(bad)
            how, words = refused(call.function, right | {name: bad})
            if how == "foreign" or (how == "accepted" and not declared):
                found.append(f"{name} = {label}: {words or 'accepted'}")
    return found
