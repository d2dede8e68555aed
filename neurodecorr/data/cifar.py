"""CIFAR-10 and CIFAR-100, in the files of their authors: records of bytes, or pickled batches.

A record is one label, two for CIFAR-100, then the red, green and blue plane of a 32 × 32 image.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from pickletools import opcodes
from typing import Any, NamedTuple

import numpy as np

from neurodecorr._typing import Array
from neurodecorr.data.files import found_in, read_bytes, read_members
from neurodecorr.data.images import ImageDataset
from neurodecorr.errors import InputError

# A file of 50 000 labelled images takes about 400 000; each costs some tens of bytes of memory.
_MOST_OPCODES = 2**21
# Keys, names of files and of globals; what is longer is content.
_LONGEST_TEXT = 10_000
_MOST_DIMENSIONS = 8
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")

_NAMES = {ord(opcode.code): opcode.name for opcode in opcodes}
# Those that build plain values, and the five below.
_ALLOWED = {
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "APPEND", "APPENDS"),
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    *("SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
}
_DAMAGE = (
    *(ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError),
    *(EOFError, struct.error, pickle.UnpicklingError),
)


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
    unpickler = _PlainUnpickler(content, what)
    try:
        value = unpickler.load()
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{what} must be a readable pickle of plain data: {error}. Copy it again.") from error
    if unpickler.stack or unpickler.metastack:
        raise InputError(f"{what} must be a readable pickle of plain data: its end is missing or misplaced.")
    # Arrays come out of their wrappers only two levels deep, where a data set has them.
    return {key: _unwrapped(item) for key, item in value.items()} if isinstance(value, dict) else _unwrapped(value)


class _PlainUnpickler(pickle._Unpickler):
    """The unpickler in Python, whose opcodes are looked up here, counted, and refused unless they are allowed."""

    stack: list[Any]
    metastack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    dispatch: Any  # type: ignore[misc]  # one for each file, as it counts

    def __init__(self, content: bytes, what: str) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.what = what
        self.room = len(content)  # bytes that arrays may still take: a file may point to one text a million times
        self.count = 0
        self.methods, self.dispatch = self.dispatch | _OWN, self

    def __getitem__(self, code: int) -> Any:
        self.count += 1
        if self.count > _MOST_OPCODES:
            raise InputError(f"{self.what} must be plain data; it has more than {_MOST_OPCODES:,} pickle opcodes.")
        name = _NAMES.get(code)
        if name not in _ALLOWED:
            raise InputError(
                f"{self.what} must hold plain data; its pickle opcode {name or code} can do more and is refused."
            )
        return self.methods[code]

    def find_class(self, module: str, name: str) -> Any:
        return _Named(_text(module), _text(name))

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_pairs([key, value])

    def set_items(self) -> None:
        self.set_pairs(self.pop_mark())

    def set_pairs(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise ValueError(f"keys and values go to a {type(target).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_text(key)] = value

    def read_bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        module, name = (function.module, function.name) if isinstance(function, _Named) else ("", "an object")
        if module in _MULTIARRAY and name == "_reconstruct":
            self.append(_Built())
        elif (module, name) == ("numpy", "dtype"):
            self.append(_Type(_text(arguments[0])))
        elif module in _NUMERIC and name == "_frombuffer":
            buffer, kind, shape, order = arguments
            self.append(_Built(_array(self.raw(buffer), kind, shape, order)))
        elif (module, name) == ("_codecs", "encode") and _text(arguments[1]) == "latin1":
            self.append(self.raw(arguments[0]))
        else:
            called = f"{module}.{name}".strip(".")
            raise InputError(f"{self.what} must hold plain data; it asks for a call of {called}, which is refused.")

    def raw(self, content: Any) -> bytes | bytearray:
        """Return the bytes behind a text of Python 2, or bytes as they are."""
        if not isinstance(content, str):
            if not isinstance(content, bytes | bytearray):
                raise ValueError(f"a {type(content).__name__} where bytes should be")
            return content
        self.room -= len(content)
        if self.room < 0:
            raise InputError(f"{self.what} must hold each array once; its arrays take more bytes than the file.")
        return content.encode("latin-1")

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Type):
            target.order = _text(state[1])
        elif isinstance(target, _Built) and target.array is None:
            _, shape, kind, fortran, content = state
            target.array = _array(self.raw(content), kind, shape, "F" if fortran else "C")
        else:
            raise InputError(f"{self.what} must hold plain data; it sets the state of an object, which is refused.")


_OWN = {
    pickle.SETITEM[0]: _PlainUnpickler.set_item,
    pickle.SETITEMS[0]: _PlainUnpickler.set_items,
    pickle.BYTEARRAY8[0]: _PlainUnpickler.read_bytearray,
    pickle.REDUCE[0]: _PlainUnpickler.reduce,
    pickle.BUILD[0]: _PlainUnpickler.build,
}


def _text(value: Any) -> str:
    if not isinstance(value, str | bytes):
        raise ValueError(f"a {type(value).__name__} where a text should be")
    if len(value) > _LONGEST_TEXT:
        raise ValueError(f"a text of {len(value):,} letters where a name should be")
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _array(raw: bytes | bytearray, kind: Any, shape: Any, order: Any) -> Array:
    """Return an array over the bytes that are there; no other memory is taken."""
    if not isinstance(kind, _Type) or len(kind.code) > 2 or kind.code[:1] not in "biuf":
        raise ValueError(f"an array must hold plain numbers; got {kind!r:.80}")
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"the shape of an array must be a short tuple; got {shape!r:.80}")
    if not all(type(length) is int and 0 <= length <= len(raw) for length in shape):
        raise ValueError(f"the lengths of an array must be whole numbers that {len(raw)} bytes can fill; got {shape}")
    if kind.order not in ("|", "<", ">", "="):
        raise ValueError(f"a byte order must be one of | < > =; got {kind.order!r}")
    dtype = np.dtype(kind.code).newbyteorder(kind.order)
    if prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} of type {dtype} must have as many bytes; got {len(raw):,}")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


def _unwrapped(value: Any) -> Any:
    return value.array if isinstance(value, _Built) else value


_SHAPE = (3, 32, 32)
# 3 · 32 · 32, the length of a record without its labels.
_PIXELS = 3072
# A file of the largest edition holds 50 000 records, as a pickle with names a little more.
_MOST_BYTES = 2**28
_PACKED = ("", ".xz", ".gz")
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class _Edition:
    """Describe the files of CIFAR-10, of CIFAR-100, or of CIFAR-100 with its coarse labels."""

    name: str
    parts: tuple[tuple[str, ...], tuple[str, ...]]
    places: tuple[str, ...]
    archives: tuple[str, ...]
    label_bytes: int
    label: int
    key: str
    classes: int
    names: str
    wanted: str

    @property
    def stems(self) -> tuple[str, ...]:
        return self.parts[0] + self.parts[1]


_TEN = _Edition(
    name="cifar10",
    parts=(tuple(f"data_batch_{k}" for k in range(1, 6)), ("test_batch",)),
    places=("", "cifar-10-batches-bin", "cifar-10-batches-py"),
    archives=("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"),
    label_bytes=1,
    label=0,
    key="labels",
    classes=10,
    names="",
    wanted=(
        "CIFAR-10 as its authors publish it: cifar-10-binary.tar.gz (170 MB) or cifar-10-python.tar.gz (170 MB), or "
        "what they unpack to: data_batch_1.bin … data_batch_5.bin and test_batch.bin (30.7 MB each; .xz and .gz are "
        "read, too), or data_batch_1 … data_batch_5 and test_batch"
    ),
)
_HUNDRED = _Edition(
    name="cifar100",
    parts=(("train",), ("test",)),
    places=("", "cifar-100-binary", "cifar-100-python"),
    archives=("cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"),
    label_bytes=2,
    label=1,
    key="fine_labels",
    classes=100,
    names="fine_label_names",
    wanted=(
        "CIFAR-100 as its authors publish it: cifar-100-binary.tar.gz (169 MB) or cifar-100-python.tar.gz (169 MB), "
        "or what they unpack to: train.bin (153.7 MB) and test.bin (30.7 MB; .xz and .gz are read, too), or train, "
        "test and meta"
    ),
)
_TWENTY = _Edition(
    name="cifar100-coarse",
    parts=_HUNDRED.parts,
    places=_HUNDRED.places,
    archives=_HUNDRED.archives,
    label_bytes=2,
    label=0,
    key="coarse_labels",
    classes=20,
    names="coarse_label_names",
    wanted=_HUNDRED.wanted,
)


class _File(NamedTuple):
    """One file of the edition, on disk or in an archive."""

    words: str
    pickled: bool
    read: Callable[[], bytes]


def cifar10(folder: str | os.PathLike[str]) -> tuple[ImageDataset, ImageDataset]:
    """Return the training and the test set of CIFAR-10.

    Files packed by xz take about 10 s to unpack each time; `xz -d` does it once.

    Parameters
    ----------
    folder : str or path
        Where the files lie, or one of the archives. Read are the binary files (`data_batch_1.bin` …, also `.bin.xz`
        and `.bin.gz`), the pickled batches (`data_batch_1` …), and both archives as downloaded. Nothing is unpickled.

    Returns
    -------
    tuple of two ImageDataset
        50 000 and 10 000 images of 3 × 32 × 32 with ten classes.

    Raises
    ------
    InputError
        If a file is missing, damaged, hostile, or of another length than its siblings.

    References
    ----------
    Krizhevsky (2009), Learning multiple layers of features from tiny images, University of Toronto.
    """
    return _read(Path(folder), _TEN)


def cifar100(folder: str | os.PathLike[str], coarse: bool = False) -> tuple[ImageDataset, ImageDataset]:
    """Return the training and the test set of CIFAR-100.

    Parameters
    ----------
    folder : str or path
        Where the files lie, or one of the archives. Read are the binary files (`train.bin`, `test.bin`, also `.xz` and
        `.gz`), the pickled batches (`train`, `test`), and both archives as downloaded. Nothing is unpickled.
    coarse : bool, default False
        Whether the targets are the 20 superclasses instead of the 100 classes.

    Returns
    -------
    tuple of two ImageDataset
        50 000 and 10 000 images of 3 × 32 × 32.

    Raises
    ------
    InputError
        If a file is missing, damaged or hostile.

    References
    ----------
    Krizhevsky (2009), Learning multiple layers of features from tiny images, University of Toronto.
    """
    return _read(Path(folder), _TWENTY if coarse else _HUNDRED)


def has_cifar10(path: Path) -> bool:
    """Return True if a folder holds files of CIFAR-10, or a path is one of its archives.

    Parameters
    ----------
    path : Path
        Any path.

    Returns
    -------
    bool
        True if so.
    """
    return _has(path, _TEN)


def has_cifar100(path: Path) -> bool:
    """Return True if a folder holds files of CIFAR-100, or a path is one of its archives.

    Parameters
    ----------
    path : Path
        Any path.

    Returns
    -------
    bool
        True if so.
    """
    return _has(path, _HUNDRED)


def _has(path: Path, edition: _Edition) -> bool:
    if path.is_file():
        return path.name in edition.archives
    if any((path / name).is_file() for name in edition.archives):
        return True
    return any(_in_folder(path / name, edition, pickled) for name in edition.places for pickled in (False, True))


def _read(folder: Path, edition: _Edition) -> tuple[ImageDataset, ImageDataset]:
    place, files = _complete(folder, edition)
    classes = _class_names(files, edition)
    parts = [[_records(files[stem], edition) for stem in stems] for stems in edition.parts]
    for stems, contents in zip(edition.parts, parts, strict=True):
        counts = [len(labels) for _, labels in contents]
        if len(set(counts)) > 1:
            odd = counts.index(min(counts))
            raise InputError(
                f"{files[stems[odd]].words} must hold as many images as its siblings, {max(counts):,}; it holds "
                f"{counts[odd]:,}. It may be truncated; copy or download it again."
            )
    train, test = (
        ImageDataset(
            np.concatenate([images for images, _ in contents]),
            np.concatenate([labels for _, labels in contents]),
            classes,
            edition.name,
            255,
            f"{part} images in {place}.",
        )
        for part, contents in zip(("Training", "Test"), parts, strict=True)
    )
    return train, test


def _complete(folder: Path, edition: _Edition) -> tuple[Path, dict[str, _File]]:
    """Return the first place that holds every file, or raise with what the fullest place lacks."""
    best: tuple[Path, dict[str, _File]] = (folder, {})
    for place, files in _shelves(folder, edition):
        if all(stem in files for stem in edition.stems):
            return place, files
        best = max(best, (place, files), key=lambda shelf: len(shelf[1]))
    place, files = best
    missing = ", ".join(stem for stem in edition.stems if stem not in files)
    found = f"found {', '.join(sorted(files)) or 'none of its files'}" if place.is_file() else found_in(place)
    raise InputError(f"{folder} must hold {edition.wanted}. Missing: {missing}; in {place} {found}.")


def _shelves(folder: Path, edition: _Edition) -> Iterator[tuple[Path, dict[str, _File]]]:
    """Yield every place in a folder where files of the edition may lie, with those that do; or the archive itself."""
    if folder.is_file():
        yield folder, _in_archive(folder, edition)
        return
    for place in (folder / name for name in edition.places):
        for pickled in (False, True):
            if files := _in_folder(place, edition, pickled):
                yield place, files
    for archive in (folder / name for name in edition.archives):
        if archive.is_file():
            yield archive, _in_archive(archive, edition)


def _in_folder(place: Path, edition: _Edition, pickled: bool) -> dict[str, _File]:
    files = {}
    for stem in edition.stems:
        names = (stem,) if pickled else tuple(f"{stem}.bin{suffix}" for suffix in _PACKED)
        path = next((place / name for name in names if (place / name).is_file()), None)
        if path is not None:
            files[stem] = _File(str(path), pickled, partial(read_bytes, path, _MOST_BYTES))
    names_path = place / ("meta" if pickled else f"{edition.names}.txt")
    if files and edition.names and names_path.is_file():
        files[""] = _File(str(names_path), pickled, partial(read_bytes, names_path, 2**20))
    return files


def _in_archive(archive: Path, edition: _Edition) -> dict[str, _File]:
    binary = {f"{stem}.bin": stem for stem in edition.stems} | {f"{edition.names}.txt": ""}
    pickles = {stem: stem for stem in edition.stems} | {"meta": ""}
    contents = read_members(archive, {*binary, *pickles}, _MOST_BYTES)
    names = binary if any(name in contents for name in list(binary)[:-1]) else pickles
    return {
        stem: _File(f"{archive}: {name}", names is pickles, partial(bytes, contents[name]))
        for name, stem in names.items()
        if name in contents
    }


def _class_names(files: dict[str, _File], edition: _Edition) -> tuple[str, ...]:
    if not edition.names:
        return _CIFAR10_CLASSES
    if "" not in files:
        return tuple(str(k) for k in range(edition.classes))
    file = files[""]
    if file.pickled:
        found = _entry(read_plain(file.read(), file.words), edition.names, file.words)
    else:
        found = file.read().decode("utf-8", errors="replace").split()
    names = tuple(name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in _items(found, file))
    if len(names) != edition.classes:
        raise InputError(f"{file.words} must hold {edition.classes} names of classes; it holds {len(names)}.")
    return names


def _records(file: _File, edition: _Edition) -> tuple[Array, Array]:
    """Return images and labels of one file, both checked."""
    images, labels = _pickled(file, edition) if file.pickled else _binary(file, edition)
    if len(labels) and (labels.min() < 0 or labels.max() >= edition.classes):
        where = int(np.argmax((labels < 0) | (labels >= edition.classes)))
        raise InputError(
            f"{file.words} must hold labels 0 … {edition.classes - 1}; got {labels[where]} in record {where}."
        )
    return images, labels


def _binary(file: _File, edition: _Edition) -> tuple[Array, Array]:
    content, length = file.read(), edition.label_bytes + _PIXELS
    if not content or len(content) % length:
        raise InputError(
            f"{file.words} must hold whole records of {length} bytes each; it holds {len(content):,} bytes, "
            f"{len(content) % length:,} too many. It may be truncated; copy or download it again."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, length)
    return records[:, edition.label_bytes :].reshape(-1, *_SHAPE), records[:, edition.label].astype(np.int64)


def _pickled(file: _File, edition: _Edition) -> tuple[Array, Array]:
    batch = read_plain(file.read(), file.words)
    data, labels = _entry(batch, "data", file.words), _items(_entry(batch, edition.key, file.words), file)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _PIXELS:
        came = f"shape {data.shape} of type {data.dtype}" if isinstance(data, np.ndarray) else type(data).__name__
        raise InputError(f"{file.words}: 'data' must be an (images, {_PIXELS}) array of uint8; got {came}.")
    if not all(type(label) is int for label in labels) or not 0 < len(labels) == len(data):
        raise InputError(
            f"{file.words}: {edition.key!r} must hold one whole number for each of {len(data):,} images; got "
            f"{len(labels):,} entries."
        )
    # A label may be any whole number in the file; what does not fit into 64 bits is no class either.
    bounded = [label if -1 <= label < 1000 else -1 for label in labels]
    return data.reshape(-1, *_SHAPE), np.array(bounded, dtype=np.int64)


def _entry(batch: Any, key: str, words: str) -> Any:
    if not isinstance(batch, dict) or key not in batch:
        keys = ", ".join(sorted(batch)[:8]) if isinstance(batch, dict) else f"a {type(batch).__name__}"
        raise InputError(f"{words} must hold a dictionary with the key {key!r}; got {keys or 'an empty one'}.")
    return batch[key]


def _items(value: Any, file: _File) -> Sequence[Any]:
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(items, list | tuple):
        raise InputError(f"{file.words} must hold a list where it holds a {type(value).__name__}.")
    return items
