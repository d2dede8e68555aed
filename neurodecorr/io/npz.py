"""Write and read results: named arrays, and a JSON document with their provenance, in one .npz file."""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Array
from neurodecorr._validation import checked_path, count, unmasked
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.atomic import write_atomically
from neurodecorr.io.files import distinct_names, most_unpacked, open_regular
from neurodecorr.io.json import canonical_json, plain, read_json
from neurodecorr.io.xarray import axes, dataset

KINDS = "biufcSU"
# Directory of a zip file and header of one array: sizes that a file may declare before it is trusted.
DIRECTORY_BYTES = 4 * 2**20
HEADER_BYTES = 10_000
# The earliest time that a zip file can store; a constant one makes equal content give equal bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)
# What zipfile, numpy's header parser and zlib raise on damaged input, besides OSError.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    SyntaxError,
    tokenize.TokenError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
    Warning,
)


def array_name(name: Any) -> str:
    """Return `name` if a member of the container can have it.

    Parameters
    ----------
    name : object
        Any text without slashes, backslashes, colons and control characters that does not start with a dot.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    InputError
        Otherwise.
    """
    if not isinstance(name, str) or not name or name[0] == "." or len(name.encode(errors="replace")) > 200:
        raise InputError(f"the name of an array must be text of 1 to 200 bytes without a leading dot; got {name!r}.")
    bad = [letter for letter in name if letter in "/\\:" or not letter.isprintable()]
    if bad:
        raise InputError(f"the name of an array must not contain {bad[0]!r}; got {name!r}.")
    return name


def plain_array(value: Any, name: str) -> Array:
    """Return `value` as an array that can be stored without pickle.

    Parameters
    ----------
    value : array_like
        Booleans, integers, real or complex floats, or texts of fixed width; any shape, also () and empty.
    name : str
        Its name, for messages.

    Returns
    -------
    array
        The same values.

    Raises
    ------
    InputError
        If it holds anything else, or is not rectangular.
    """
    value = unmasked(value, f"array {name!r}")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"array {name!r} must be rectangular: {error}") from None
    if array.dtype.kind not in KINDS or array.dtype.itemsize == 0:
        raise InputError(f"array {name!r} must hold numbers, booleans or texts; got data of type {array.dtype}.")
    return array


def write_npz(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write `arrays` to an open binary file; equal content gives equal bytes.

    Parameters
    ----------
    file : binary file
        Where to write.
    arrays : mapping of str to array
        Names that `array_name` and arrays that `plain_array` accepts.

    References
    ----------
    Kern (2007), NEP 1: A simple file format for NumPy arrays.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as container:
        for name, array in arrays.items():
            # A fixed date, so that the bytes depend on nothing but the content.
            with container.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(path: str | os.PathLike[str], max_bytes: int) -> dict[str, Array]:
    """Return the arrays of the container at `path`.

    What all members declare is held against `max_bytes` and the size of the file, each array's shape against its
    member, before memory is taken for it. Nothing is ever unpickled.

    Parameters
    ----------
    path : path-like
        The file.
    max_bytes : int
        The most all members may hold together, decompressed.

    Returns
    -------
    dict of str to array
        The arrays, writable.

    Raises
    ------
    CheckpointError
        If the file is missing, not a container, truncated, damaged, or hostile.

    References
    ----------
    Kern (2007), NEP 1: A simple file format for NumPy arrays.
    """
    place = os.fspath(path)
    with open_zip(place, ".npz file", max_bytes) as (container, infos):
        names = distinct_names([_member_name(info.filename, place) for info in infos], place)
        return {name: _read_array(container, info, place) for name, info in zip(names, infos, strict=True)}


@contextlib.contextmanager
def open_zip(place: str, kind: str, max_bytes: int) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open a zip file for reading and list its members; refuse more declared bytes than allowed.

    Parameters
    ----------
    place : str
        The file.
    kind : str
        What to call it.
    max_bytes : int
        The most all members may hold together, decompressed.

    Yields
    ------
    ZipFile, list of ZipInfo
        The container and its members, folders left out.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, encrypted, too large, or packed in another way than by deflate; also while it is
        read.

    References
    ----------
    PKWARE, .ZIP File Format Specification (APPNOTE) 6.3.
    """
    try:
        with _Metered(place) as file, zipfile.ZipFile(file) as container:
            file.largest = None
            infos = [info for info in container.infolist() if not (info.is_dir() and info.file_size == 0)]
            for info in infos:  # lzma may ask for any amount of memory
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 0x1:
                    raise CheckpointError(
                        f"{place}: member {info.filename!r} must be stored or deflated, and not encrypted."
                    )
            total = sum(info.file_size for info in infos)
            check_total(total, max_bytes, place)
            check_packing(total, file.size, place)
            yield container, infos
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"cannot read {place}: {error.strerror or error}.") from error
    except DAMAGE as error:
        raise CheckpointError(
            f"{place} must be an undamaged {kind}; {type(error).__name__}: {error}. "
            f"It may be truncated, or no {kind} at all."
        ) from None


class _Metered(io.FileIO):
    """A regular file whose single reads are bounded, so that a forged directory cannot claim memory."""

    largest: int | None = DIRECTORY_BYTES

    def __init__(self, path: str) -> None:
        with open_regular(path) as file:
            super().__init__(os.dup(file.fileno()), "rb")
        self.size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = max(self.size - self.tell(), 0) if size is None or size < 0 else size
        if self.largest is not None and wanted > self.largest:
            raise ValueError(f"a directory of at most {self.largest} bytes was expected; it asks for {wanted}")
        return super().read(wanted) or b""


def check_total(total: int, limit: int, place: str) -> None:
    """Raise if the size that is stored, or declared, is above the limit."""
    if total > limit:
        raise CheckpointError(
            f"{place} must hold at most {limit} bytes; it declares {total} or more. If you trust it, pass a larger "
            "max_bytes."
        )


def check_packing(total: int, file_bytes: int, place: str, error: type[Exception] = CheckpointError) -> None:
    """Raise if all members unpack to more than a file of this size may, as a zip bomb does."""
    most = most_unpacked(file_bytes)
    if total > most:
        raise error(
            f"{place} must unpack to at most {most:,} bytes, 64 MiB and a hundred times its {file_bytes:,}; it "
            f"declares {total:,}. If you trust it, write it again unpacked."
        )


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Return shape, type and length of the header of a .npy file; raise what numpy raises.

    References
    ----------
    Kern (2007), NEP 1: A simple file format for NumPy arrays.
    """
    head = io.BytesIO(stream.read(HEADER_BYTES + 16))  # a forged header length must not decide how much is read
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(head)
    if version not in readers:
        raise ValueError(f"format 1.0 or 2.0 was expected; got {version[0]}.{version[1]}, for structured arrays")
    shape, _, dtype = readers[version](head, max_header_size=HEADER_BYTES)
    return shape, dtype, head.tell()


def _member_name(filename: str, place: str) -> str:
    stem = filename.removesuffix(".npy")
    try:
        # Without the suffix the stem is the whole name, and an empty name is refused.
        return array_name(stem if stem != filename else "")
    except InputError:
        raise CheckpointError(f"{place} must hold plain names ending in .npy; got {filename!r}.") from None


def _read_array(container: zipfile.ZipFile, info: zipfile.ZipInfo, place: str) -> Array:
    where = f"{place}: member {info.filename!r}"
    with container.open(info) as member:
        shape, dtype, start = read_header(member)
    if dtype.hasobject or dtype.kind not in KINDS or dtype.itemsize == 0:
        raise CheckpointError(
            f"{where} must hold numbers, booleans or texts; its header says {dtype}. Never unpickled."
        )
    declared, stored = math.prod(shape) * dtype.itemsize, info.file_size - start
    if min(shape, default=0) < 0 or declared != stored:
        raise CheckpointError(
            f"{where} must hold what its header says: shape {shape} of {dtype} is {declared} bytes; {stored} are there."
        )
    with container.open(info) as member:
        array: Array = np.lib.format.read_array(member, allow_pickle=False)
        member.read(1)  # an empty array reads nothing, and the checksum is compared at the end
    return array


RESULT_FILE = "result.npz"
DOCUMENT = "meta.json"
SCHEMA = "neurodecorr-result"
VERSION = 1
# Default limit of what a reader unpacks: a damaged or hostile file must not take all memory.
MAX_BYTES = 4 * 2**30


@short_repr
@dataclass(frozen=True, eq=False)
class Result:
    """Named arrays and their provenance, stored in one file.

    The file is an ordinary .npz: `numpy.load` opens it, too. Arrays come back to the bit; equal content gives equal
    files.

    Parameters
    ----------
    arrays : mapping of str to array_like
        Booleans, integers, real or complex floats, or texts; any shape, also () and empty.
    meta : mapping of str to object, optional
        What fits in JSON; tuples and arrays in it become lists. Put `provenance(…)` here.

    Raises
    ------
    InputError
        If an array or a name cannot be stored, or `meta` holds something JSON has no form for.

    Examples
    --------
    >>> import tempfile
    >>> result = Result({"M": np.eye(2)}, {"rate": 1e-3})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = result.save(Path(folder) / "result.npz")
    ...     again = load_result(folder)
    >>> again.arrays["M"].tolist(), again.meta
    ([[1.0, 0.0], [0.0, 1.0]], {'rate': 0.001})
    """

    arrays: dict[str, Array]
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.arrays, Mapping) or not isinstance(self.meta, Mapping):
            raise InputError(
                "arrays and meta must be mappings from names to values; got "
                f"{type(self.arrays).__name__} and {type(self.meta).__name__}."
            )
        arrays = {array_name(name): plain_array(value, name) for name, value in self.arrays.items()}
        if DOCUMENT in arrays:
            raise InputError(f"the name {DOCUMENT!r} is taken by meta; give the array another one.")
        object.__setattr__(self, "arrays", arrays)
        object.__setattr__(self, "meta", plain(self.meta, "meta"))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result, atomically: an older file at `path` is replaced whole or not at all.

        Parameters
        ----------
        path : path-like
            The file to write, by custom `result.npz`.

        Returns
        -------
        Path
            The path written.

        Raises
        ------
        CheckpointError
            If the path is a folder or cannot be written.
        """
        names = sorted(self.arrays)
        text = canonical_json({"schema": SCHEMA, "version": VERSION, "arrays": names, "meta": self.meta}, "meta")
        document = np.frombuffer(text.encode(), dtype=np.uint8)
        with write_atomically(path, "wb") as file:
            write_npz(file, {DOCUMENT: document, **self.arrays})
        return Path(path)

    def to_xarray(self) -> Any:
        """Return the arrays as an xarray.Dataset, each with axes of its own.

        Returns
        -------
        xarray.Dataset
            One variable per array; `meta` as attributes, in JSON what is neither text nor number.

        Raises
        ------
        ConfigError
            If xarray is not installed.
        """
        return dataset({name: (axes(name, a.ndim), a, {}) for name, a in self.arrays.items()}, {}, self.meta)


def load_result(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Result:
    """Read a result from an untrusted file: no pickle, and sizes are checked before memory is taken.

    Parameters
    ----------
    path : path-like
        A file written by `Result.save`, or a folder that holds `result.npz`.
    max_bytes : int, default 4 GiB
        The most the arrays may take together.

    Returns
    -------
    Result
        Arrays, to the bit, and meta.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, hostile, or not a result of this version.
    """
    place = checked_path(path)
    file = place / RESULT_FILE if place.is_dir() else place
    arrays = read_npz(file, count(max_bytes, "max_bytes"))
    if DOCUMENT not in arrays:
        raise CheckpointError(f"{file} must hold the member {DOCUMENT!r}; it holds {sorted(arrays)}. It is no result.")
    document = arrays.pop(DOCUMENT)
    if document.dtype != np.uint8 or document.ndim != 1:
        raise CheckpointError(f"{file}: {DOCUMENT!r} must be bytes in a row; got {document.dtype} {document.shape}.")
    text = read_json(document.tobytes(), f"{file}: {DOCUMENT}")
    return Result(arrays, _checked_meta(text, sorted(arrays), file))


def _checked_meta(document: dict[str, Any], names: list[str], file: Path) -> dict[str, Any]:
    """Return meta, if the document is of this version and lists the arrays that are there."""
    found = (document.get("schema"), document.get("version"))
    if found != (SCHEMA, VERSION):
        raise CheckpointError(
            f"{file} must have schema {SCHEMA!r}, version {VERSION}; got {found[0]!r}, version {found[1]!r}. "
            "A newer neurodecorr may have written it."
        )
    if document.get("arrays") != names:
        raise CheckpointError(f"{file} must hold the arrays {document.get('arrays')}; it holds {names}. It is damaged.")
    meta = document.get("meta")
    if not isinstance(meta, dict):
        raise CheckpointError(f"{file}: meta must be a JSON object; got {type(meta).__name__}.")
    return meta
