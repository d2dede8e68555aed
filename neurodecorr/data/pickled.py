"""Dictionaries of numbers, texts and arrays out of pickle files, without unpickling.

Unpickling calls whatever a file names. Here the opcodes are read one by one, those that build plain values are
followed, and everything else is refused. Of all the callables that a file can name, four are known, and none of them
is called: an array's constructor, an array's type, an array from a buffer, and text to bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pickletools import genops
from typing import Any

import numpy as np

from neurodecorr._checks import Array
from neurodecorr.errors import InputError

__all__ = ["read_plain"]

# A file of 50 000 labelled images takes about 400 000; each costs some tens of bytes of memory.
_MOST_OPCODES = 2**21
# Keys, names of files and of globals; what is longer is content.
_LONGEST_TEXT = 10_000
_MOST_DIMENSIONS = 8
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_MARK = object()

_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


@dataclass(frozen=True)
class _Named:
    """A global that the file names; it is compared, never looked up."""

    module: str
    name: str


@dataclass
class _Type:
    """An array's type before its byte order is known."""

    code: str
    order: Any = "|"


@dataclass
class _Built:
    """An array before its content is known, and after."""

    array: Array | None = None


def read_plain(content: bytes, what: str) -> Any:
    """Return the value in a pickle, if it is made of dictionaries, lists, tuples, numbers, texts, bytes and arrays.

    Parameters
    ----------
    content : bytes
        The pickle, protocol 2 to 5. Texts of Python 2 are read as Latin-1.
    what : str
        The file's name, for messages.

    Returns
    -------
    object
        The value; the keys of dictionaries are texts, also where the file has bytes.

    Raises
    ------
    InputError
        If the pickle is damaged, or needs anything else: nothing that it names is imported or called.

    Examples
    --------
    >>> read_plain(bytes.fromhex("80027d7101550161 4b052e"), "the example")
    Traceback (most recent call last):
    neurodecorr.errors.InputError: the example must be a readable pickle of plain data: its end is missing or misplaced.
    >>> read_plain(bytes.fromhex("80027d7101550161 4b05732e"), "the example")
    {'a': 5}
    """
    machine = _Machine(what, room=len(content))
    try:
        # Odd escapes of the opcode STRING are warned about before it can be refused. The warning is left alone: filters
        # belong to the process, not to this thread.
        for count, (opcode, argument, _) in enumerate(genops(content)):
            if count >= _MOST_OPCODES:
                raise InputError(f"{what} must be plain data; it has more than {_MOST_OPCODES:,} pickle opcodes.")
            machine.follow(opcode.name, argument)
        return machine.value()
    except InputError:
        raise
    except DeprecationWarning:  # by whoever makes errors of warnings
        raise _refusal(what, "STRING") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise InputError(f"{what} must be a readable pickle of plain data: {error}. Copy it again.") from error


def _refusal(what: str, opcode: str) -> InputError:
    return InputError(f"{what} must hold plain data; its pickle opcode {opcode} can do more and is refused.")


class _Machine:
    """The stack and the memory of a pickle, for the opcodes that build plain values."""

    def __init__(self, what: str, room: int) -> None:
        self.what = what
        self.room = room  # bytes that arrays may still take: a file may point to one text a million times
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.done = False

    def value(self) -> Any:
        if not self.done or len(self.stack) != 1:
            raise InputError(f"{self.what} must be a readable pickle of plain data: its end is missing or misplaced.")
        return _plain(self.pop())

    def follow(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise _refusal(self.what, name)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def above_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def remember(self, place: int | None) -> None:
        self.memory[len(self.memory) if place is None else place] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError(f"items for a list go to a {type(target).__name__}")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise ValueError(f"keys and values go to a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_text(key)] = value

    def name(self, module: Any, name: Any) -> None:
        self.stack.append(_Named(_text(module), _text(name)))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        module, name = (function.module, function.name) if isinstance(function, _Named) else ("", "an object")
        if module in _MULTIARRAY and name == "_reconstruct":
            self.stack.append(_Built())
        elif (module, name) == ("numpy", "dtype"):
            self.stack.append(_Type(_text(arguments[0])))
        elif module in _NUMERIC and name == "_frombuffer":
            buffer, kind, shape, order = arguments
            self.stack.append(_Built(_array(self.raw(buffer), kind, shape, order)))
        elif (module, name) == ("_codecs", "encode") and _text(arguments[1]) == "latin1":
            self.stack.append(self.raw(arguments[0]))
        else:
            called = f"{module}.{name}".strip(".")
            raise InputError(f"{self.what} must hold plain data; it asks for a call of {called}, which is refused.")

    def raw(self, content: Any) -> bytes | bytearray:
        """The bytes behind a text of Python 2, or bytes as they are."""
        if not isinstance(content, str):
            if not isinstance(content, bytes | bytearray):
                raise ValueError(f"a {type(content).__name__} where bytes should be")
            return content
        self.room -= len(content)
        if self.room < 0:
            raise InputError(f"{self.what} must hold each array once; its arrays take more bytes than the file.")
        return content.encode("latin-1")

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, _Type):
            target.order = _text(state[1])
        elif isinstance(target, _Built) and target.array is None:
            _, shape, kind, fortran, content = state
            target.array = _array(self.raw(content), kind, shape, "F" if fortran else "C")
        else:
            raise InputError(f"{self.what} must hold plain data; it sets the state of an object, which is refused.")


_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, version: None,
    "FRAME": lambda machine, length: None,
    "STOP": lambda machine, _: setattr(machine, "done", True),
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "POP": lambda machine, _: machine.stack.pop(),
    "TUPLE1": lambda machine, _: machine.stack.append((machine.pop(),)),
    "TUPLE2": lambda machine, _: machine.stack.append((machine.pop(), machine.pop())[::-1]),
    "TUPLE3": lambda machine, _: machine.stack.append((machine.pop(), machine.pop(), machine.pop())[::-1]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.above_mark())),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.above_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.above_mark()),
    "BINPUT": lambda machine, place: machine.remember(place),
    "LONG_BINPUT": lambda machine, place: machine.remember(place),
    "MEMOIZE": lambda machine, _: machine.remember(None),
    "BINGET": lambda machine, place: machine.stack.append(machine.memory[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memory[place]),
    "GLOBAL": lambda machine, words: machine.name(*words.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*(machine.pop(), machine.pop())[::-1]),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
}


def _text(value: Any) -> str:
    if not isinstance(value, str | bytes):
        raise ValueError(f"a {type(value).__name__} where a text should be")
    if len(value) > _LONGEST_TEXT:
        raise ValueError(f"a text of {len(value):,} letters where a name should be")
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _array(raw: bytes | bytearray, kind: Any, shape: Any, order: Any) -> Array:
    """An array over the bytes that are there; no byte is asked for that is not."""
    if not isinstance(kind, _Type) or len(kind.code) > 2 or kind.code[:1] not in "biuf":
        raise ValueError("an array must hold plain numbers")
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError("the shape of an array must be a short tuple")
    if not all(type(length) is int and 0 <= length <= len(raw) for length in shape):
        raise ValueError("the lengths of an array must be whole numbers that its bytes can fill")
    if kind.order not in ("|", "<", ">", "="):
        raise ValueError(f"a byte order must be one of | < > =; got {kind.order!r}")
    dtype = np.dtype(kind.code).newbyteorder(kind.order)
    if prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} of type {dtype} must have as many bytes; got {len(raw):,}")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


def _plain(value: Any) -> Any:
    """The value, with arrays out of their wrappers; only two levels deep, where a data set has them."""
    if isinstance(value, dict):
        return {key: _unwrapped(item) for key, item in value.items()}
    return _unwrapped(value)


def _unwrapped(value: Any) -> Any:
    return value.array if isinstance(value, _Built) else value
