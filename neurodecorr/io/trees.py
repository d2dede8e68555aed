"""Write and read trees of arrays and texts in HDF5 files, such as the graphs of other tools.

The nir package opens every file anew to write it. A graph that stands beside traces needs a writer into an open file,
and files of others need a reader that checks links, types and sizes first.
"""

from __future__ import annotations

import io
import math
import numbers
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Array
from neurodecorr._validation import checked_names, checked_path, count, instance, unmasked
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.atomic import atomic_path, write_bytes
from neurodecorr.io.hdf5 import MARGIN, RESERVED, TEXT_BYTES, allocate, read_attribute
from neurodecorr.io.hdf5_files import DAMAGE, chunked_bytes, closed_by_writer, open_hdf5, refuse_references
from neurodecorr.io.npz import check_total

# Texts of any length are read one by one, since many may point at the same long one.
TEXTS = 100_000


class SizeBudget:
    """Number of bytes and objects that may still be read.

    Parameters
    ----------
    place : str
        Name of the file, for messages.
    file_bytes : int
        Its size.
    limit : int
        The most all its values may take.
    """

    def __init__(self, place: str, file_bytes: int, limit: int) -> None:
        self._place, self.file_bytes, self._limit, self._taken = place, file_bytes, limit, 0

    def take(self, size: int) -> None:
        """Count `size` bytes.

        Raises
        ------
        CheckpointError
            If that is more than the limit, with what was taken before.
        """
        self._taken += size
        check_total(self._taken, self._limit, self._place)


def read_leaf(dataset: h5py.Dataset, place: str, budget: SizeBudget) -> Array | str:
    """Return the values of a dataset, a text for a scalar one of texts.

    Raises
    ------
    CheckpointError
        If it holds anything but numbers, booleans and texts, or declares more than is stored.
    """
    kind = dataset.id.get_type()
    if dataset.id.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        raise CheckpointError(f"{place} must hold values; it is empty.")
    declared = _declared_bytes(dataset.id, place, budget.file_bytes)
    if kind.get_class() == h5py.h5t.STRING:
        return _read_texts(dataset, kind, declared, place, budget)
    boolean = kind.get_class() == h5py.h5t.ENUM and dataset.dtype == np.bool_
    number = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or boolean
    if not number or kind.get_size() > 8:
        raise CheckpointError(f"{place} must hold numbers of at most 8 bytes or texts; objects are never read.")
    budget.take(declared)
    values: Array = np.asarray(dataset[()])
    return values


def read_text_attribute(group: h5py.Group, name: str) -> str | int | float | None:
    """Return an attribute that is one text or one number; None if it is of another kind."""
    attribute = h5py.h5a.open(group.id, name.encode())
    kind = attribute.get_type()
    scalar = attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR
    if scalar and kind.get_class() == h5py.h5t.STRING and kind.is_variable_str():
        value = group.attrs[name]
        return value if isinstance(value, str) and len(value) <= TEXT_BYTES else None
    return read_attribute(group, name)


def _declared_bytes(dataset: h5py.h5d.DatasetID, place: str, file_bytes: int) -> int:
    """Return the size of a dataset's values, if the file can hold them."""
    properties = dataset.get_create_plist()
    shape: tuple[int, ...] = dataset.get_space().get_simple_extent_dims()
    declared: int = math.prod(shape) * int(dataset.get_type().get_size())
    layout = properties.get_layout()
    if layout == h5py.h5d.CHUNKED:
        return chunked_bytes(dataset, place, file_bytes)
    if declared and layout == h5py.h5d.CONTIGUOUS:
        start = dataset.get_offset()
        if start is None or start + declared > file_bytes:
            raise CheckpointError(
                f"{place} declares {declared} bytes at {start}, in a file of {file_bytes}. It is damaged or hostile."
            )
    elif declared > file_bytes:
        raise CheckpointError(f"{place} declares {declared} bytes in a file of {file_bytes}. It is hostile.")
    return declared


def _read_texts(
    dataset: h5py.Dataset, kind: h5py.h5t.TypeStringID, declared: int, place: str, budget: SizeBudget
) -> Array | str:
    if not kind.is_variable_str():
        budget.take(4 * declared)
        found: Any = np.asarray(dataset.astype(f"S{kind.get_size()}")[()])
        return bytes(found[()]).decode() if found.ndim == 0 else np.char.decode(found, "utf-8")
    if dataset.size > TEXTS:
        raise CheckpointError(f"{place} must hold at most {TEXTS} texts; it declares {dataset.size}.")
    if dataset.shape == ():
        return _one(dataset[()], place, budget)
    texts = [_one(dataset[index], place, budget) for index in np.ndindex(dataset.shape)]
    longest = max(map(len, texts), default=1)
    budget.take(4 * longest * len(texts))
    return np.array(texts, dtype=f"U{max(longest, 1)}").reshape(dataset.shape)


def _one(value: Any, place: str, budget: SizeBudget) -> str:
    if not isinstance(value, bytes):
        raise CheckpointError(f"{place} must hold texts; got {type(value).__name__}.")
    budget.take(len(value))
    return value.decode()


# Limits on files of unknown origin, checked before memory is taken.
MAX_BYTES = 2**30
NAME_BYTES = 200
Attribute = str | int | float


@short_repr
@dataclass(frozen=True, eq=False)
class Branch:
    """Group of an HDF5 file: attributes and named parts, each an array, a text or another group.

    Parameters
    ----------
    parts : mapping of str to array, str or Branch
        Booleans, integers, floats or texts. A name is printable text without slashes, and not "." or "..".
    attributes : mapping of str to str or number, optional
        What is said of the group itself.

    Raises
    ------
    InputError
        If a name or a part cannot be stored.
    """

    parts: Mapping[str, Any]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for whole in (self.parts, self.attributes):
            if not isinstance(whole, Mapping):
                raise InputError(f"parts and attributes must be mappings from names; got {type(whole).__name__}.")
        for name, part in self.parts.items():
            _check_name(name)
            if not isinstance(part, Branch):
                _check_leaf(name, part)
        for name, value in self.attributes.items():
            _check_name(name)
            if not isinstance(value, str | numbers.Real | np.bool_):
                raise InputError(f"the attribute {name!r} must be a text or a number; got {type(value).__name__}.")


def write_tree(path: str | os.PathLike[str], branch: Branch) -> Path:
    """Write a tree to a file of its own, atomically; equal trees give equal files.

    Parameters
    ----------
    path : path-like
        The file to write.
    branch : Branch
        Its root.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    CheckpointError
        If the file cannot be written; an older one is then unchanged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_tree(Path(folder) / "tree.h5", Branch({"node": Branch({"tau": np.ones(2), "type": "LI"})}))
    ...     node = read_tree(path).parts["node"]
    >>> node.parts["tau"].tolist(), node.parts["type"]
    ([1.0, 1.0], 'LI')
    """
    # Made in memory, since HDF5 may crash the process when the disk is full.
    return write_bytes(path, _image(instance(branch, Branch, "branch")))


def graft(path: str | os.PathLike[str], branch: Branch) -> Path:
    """Add the parts of a tree to the root of an existing file, atomically.

    The file is copied, the copy is extended and takes the place of the file: whatever interrupts it, one of the two
    stands there whole.

    Parameters
    ----------
    path : path-like
        A closed HDF5 file, such as a finished trace file.
    branch : Branch
        Parts and attributes that the file does not have yet.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, still being recorded, holds links, has such a part already, or cannot be
        written.
    """
    place = checked_path(path)
    instance(branch, Branch, "branch")
    if not closed_by_writer(place):
        raise CheckpointError(f"{place} must be closed before something is added to it. Close its recorder first.")
    with atomic_path(place) as temporary:
        shutil.copyfile(place, temporary)
        try:
            _extend(temporary, branch, place)
        except CheckpointError:
            raise
        except DAMAGE as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{place} must be an undamaged HDF5 file; {type(error).__name__}: {reason}."
            ) from error
    return place


def write_branch(group: h5py.Group, branch: Branch) -> None:
    """Write the parts and attributes of `branch` into an open group."""
    for name, value in branch.attributes.items():
        group.attrs[name] = value  # texts of any length, which nir compares with str
    for name, part in branch.parts.items():
        if isinstance(part, Branch):
            write_branch(group.create_group(name), part)
        elif isinstance(part, str):
            group.create_dataset(name, data=part, dtype=h5py.string_dtype())
        elif part.dtype.kind == "U":
            group.create_dataset(name, data=part.astype(object), dtype=h5py.string_dtype())
        else:
            group.create_dataset(name, data=part)


def read_tree(
    path: str | os.PathLike[str], names: Iterable[str] | None = None, *, max_bytes: int = MAX_BYTES
) -> Branch:
    """Read a tree from an untrusted file.

    Nothing in the file is followed, and no size is believed before it is held against the file.

    Parameters
    ----------
    path : path-like
        An HDF5 file.
    names : iterable of str, optional
        Which parts of the root; those that are missing are left out. All of them by default.
    max_bytes : int, default 1 GiB
        The most all arrays and texts may take together.

    Returns
    -------
    Branch
        Arrays to the bit, texts as `str` or arrays of them.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, larger than `max_bytes`, or holds links, values outside itself, or
        anything but numbers and texts.
    """
    limit = count(max_bytes, "max_bytes")
    wanted = None if names is None else checked_names(names, "names")
    place = checked_path(path)
    complete = closed_by_writer(place)
    try:
        with open_hdf5(place, complete) as file:
            refuse_references(h5py.h5g.open(file.id, b"/"), str(place))
            budget = SizeBudget(str(place), place.stat().st_size, limit)
            chosen = list(file) if wanted is None else [name for name in wanted if name in file]
            return _read_branch(file, str(place), budget, chosen)
    except CheckpointError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{place} must be an undamaged HDF5 file; {type(error).__name__}: {reason}.") from error


def _read_branch(group: h5py.Group, place: str, budget: SizeBudget, names: Iterable[str]) -> Branch:
    parts: dict[str, Any] = {}
    for name in names:
        item = group[name]
        here = f"{place}/{name}"
        if isinstance(item, h5py.Group):
            parts[name] = _read_branch(item, here, budget, list(item))
        elif isinstance(item, h5py.Dataset):
            parts[name] = read_leaf(item, here, budget)
        else:
            raise CheckpointError(f"{here} must be a group or a dataset; got {type(item).__name__}.")
    found = {name: read_text_attribute(group, name) for name in group.attrs}
    return Branch(parts, {name: value for name, value in found.items() if value is not None})


def _image(branch: Branch) -> bytes:
    """Return the file that holds a tree and nothing else."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        write_branch(file, branch)
    return image.getvalue()


def _extend(temporary: Path, branch: Branch, place: Path) -> None:
    with h5py.File(temporary, "r") as file:
        refuse_references(h5py.h5g.open(file.id, b"/"), str(place))
        taken = [name for name in branch.parts if name in file]
        taken += [name for name in branch.attributes if name in file.attrs or name in RESERVED]
    if taken:
        raise CheckpointError(f"{place} has {taken[0]!r} already. Write to another file.")
    # HDF5 may crash the process when a write fails: the room is taken before, where a full disk is an ordinary error.
    handle = os.open(temporary, os.O_RDWR)
    try:
        allocate(handle, str(temporary), os.fstat(handle).st_size + 2 * len(_image(branch)) + MARGIN)
    finally:
        os.close(handle)
    with h5py.File(temporary, "r+") as file:
        write_branch(file, branch)


def _check_name(name: Any) -> None:
    usable = isinstance(name, str) and name.isprintable() and name not in ("", ".", "..")
    if not usable or "/" in name or len(name.encode(errors="replace")) > NAME_BYTES:
        raise InputError(
            f"the name of a part must be printable text of 1 to {NAME_BYTES} bytes without slashes; got {name!r}."
        )


def _check_leaf(name: str, part: Any) -> None:
    part = unmasked(part, name)
    if isinstance(part, str):
        if "\0" in part or len(part.encode()) > TEXT_BYTES:
            raise InputError(f"the text {name!r} must have no NUL and at most {TEXT_BYTES} bytes.")
    elif not isinstance(part, np.ndarray) or part.dtype.kind not in "biufU" or part.dtype.itemsize == 0:
        kind = part.dtype if isinstance(part, np.ndarray) else type(part).__name__
        raise InputError(f"{name!r} must be an array of numbers or texts, a text or a Branch; got {kind}.")
    elif part.dtype.kind in "f" and part.dtype.itemsize > 8:
        raise InputError(f"{name!r} must hold floats of at most 8 bytes; got {part.dtype}.")
