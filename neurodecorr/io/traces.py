"""Create trace files, and read them back without trusting them."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Array
from neurodecorr._validation import checked_names, checked_path, choice, count
from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.io.atomic import write_bytes
from neurodecorr.io.hdf5 import (
    AXIS,
    GROUP,
    LIBVER,
    MARGIN,
    PAGE,
    RESERVED,
    SCHEMA,
    SCHEMA_VERSION,
    STEP,
    STEP_ROWS,
    TIME,
    TRACES_FILE,
    Variable,
    read_attribute,
    read_text,
    step_meaning,
    time_between_steps,
    write_text_attribute,
)
from neurodecorr.io.hdf5_files import DAMAGE, checked_bytes, closed_by_writer, open_hdf5, refuse_references
from neurodecorr.io.json import read_json
from neurodecorr.io.trees import Branch, write_branch
from neurodecorr.io.xarray import Axis, axes, dataset


def create_tracefile(
    path: str | os.PathLike[str],
    variables: Sequence[Variable],
    provenance: str,
    metadata: Mapping[str, str | int | float],
    compression: int | None,
    parts: Branch | None = None,
) -> None:
    """Create a trace file without rows, atomically.

    Parameters
    ----------
    path : path-like
        The file to write.
    variables : sequence of Variable
        What it will hold.
    provenance : str
        JSON.
    metadata : mapping
        Attributes of the whole file.
    compression : int, optional
        gzip level.
    parts : Branch, optional
        What stands beside the traces.

    Raises
    ------
    CheckpointError
        If the file cannot be written; an older one is then unchanged.
    """
    # Made in memory, since HDF5 may crash the process when the disk is full. Paged, so that no small object of the file
    # straddles a page, and each write of one is done or not done.
    options: dict[str, Any] = {"libver": LIBVER, "fs_strategy": "page", "fs_page_size": PAGE}
    image = io.BytesIO()
    with h5py.File(image, "w", **options) as file:
        write_text_attribute(file, "schema", SCHEMA)
        file.attrs["schema_version"] = np.int64(SCHEMA_VERSION)
        write_text_attribute(file, "provenance", provenance)
        for name, value in metadata.items():
            _write_attribute(file, name, value)
        if parts is not None:
            write_branch(file, parts)
        group = file.create_group(GROUP)
        for variable in variables:
            _create_variable(group, variable, compression, step_meaning(metadata))
    # The zeros show that there is room to open the file; HDF5 cuts them off.
    write_bytes(path, image.getvalue() + bytes(MARGIN))


def checked_parts(parts: Branch | None) -> Branch | None:
    """Return `parts` if none of them has a reserved name."""
    if parts is None:
        return None
    if not isinstance(parts, Branch):
        raise ConfigError(f"parts must be a Branch of arrays and texts; got {type(parts).__name__}.")
    for name in (*parts.parts, *parts.attributes):
        if name == GROUP or name in RESERVED:
            raise ConfigError(f"parts must have names other than {', '.join((GROUP, *RESERVED))}; got {name!r}.")
    return parts


def _create_variable(group: h5py.Group, variable: Variable, compression: int | None, meaning: tuple[str, str]) -> None:
    packed = {"compression": "gzip", "compression_opts": compression, "shuffle": True} if compression else {}
    stored = np.dtype(np.int8) if variable.dtype == np.bool_ else variable.dtype
    steps = group.create_dataset(
        variable.name + STEP, (0,), np.int64, maxshape=(None,), chunks=(STEP_ROWS,), fletcher32=True, fillvalue=-1
    )
    steps.make_scale(variable.name + STEP)
    for part, text in zip(("units", "description"), meaning, strict=True):
        write_text_attribute(steps, part, text)
    values = group.create_dataset(
        variable.name,
        (0, *variable.shape),
        stored,
        maxshape=(None, *variable.shape),
        chunks=variable.chunk,
        fletcher32=True,
        **packed,
    )
    values.dims[0].attach_scale(steps)
    for axis, length in enumerate(variable.shape):
        values.dims[axis + 1].attach_scale(_create_axis(group, f"{variable.name}{AXIS}{axis}", length))
    write_text_attribute(values, "units", variable.unit)
    write_text_attribute(values, "description", variable.description)
    if variable.dtype == np.bool_:
        write_text_attribute(values, "dtype", "bool")


def _create_axis(group: h5py.Group, name: str, length: int) -> h5py.Dataset:
    """Make what netCDF-4 calls a dimension without a variable; the text is its convention, and takes no space."""
    axis = group.create_dataset(name, (length,), ">f4")
    axis.make_scale(f"This is a netCDF dimension but not a netCDF variable.{length:10d}")
    return axis


def _write_attribute(file: h5py.File, name: str, value: str | int | float) -> None:
    if isinstance(value, str):
        write_text_attribute(file, name, value)
    else:
        file.attrs[name] = value


# Default limit of what a reader takes into memory: a damaged or hostile file must not take all of it.
MAX_BYTES = 4 * 2**30
# Seconds before a file that is still being written is read again: a page may be seen half old, half new.
WAITS = (0.02, 0.1)


@short_repr
@dataclass(frozen=True, eq=False)
class Trace:
    """Recordings of one variable.

    Parameters
    ----------
    step : (t,) array of int64
        When each row was recorded, increasing: samples seen before it, or what `step_unit` says.
    values : (t, *shape) array
        The recorded values, to the bit.
    unit : str
        Their unit; empty if they have none.
    description : str
        What they are.
    step_unit, step_description : str
        What steps count: "samples", "batches", "dt".
    """

    step: npt.NDArray[np.int64]
    values: Array
    unit: str = ""
    description: str = ""
    step_unit: str = "samples"
    step_description: str = "samples seen before the row was recorded"

    def __len__(self) -> int:
        return len(self.step)


@short_repr
@dataclass(frozen=True, eq=False)
class Traces:
    """All traces of a file, by name.

    Parameters
    ----------
    traces : mapping of str to Trace
        The traces.
    provenance : dict
        Where the run came from.
    metadata : dict
        The texts and numbers attached to the file.
    complete : bool
        Whether the recorder closed the file; False after a kill, or while it is still recording.
    """

    traces: Mapping[str, Trace]
    provenance: dict[str, Any]
    metadata: dict[str, str | int | float]
    complete: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables, sorted."""
        return tuple(sorted(self.traces))

    def __getitem__(self, name: str) -> Trace:
        return self.traces[choice(name, "a trace", self.names)]

    def keys(self) -> tuple[str, ...]:
        """Return the names, so that `dict(traces)` works.

        Returns
        -------
        tuple of str
            The same as `names`.
        """
        return self.names

    def to_xarray(self) -> Any:
        """Return the traces as an xarray.Dataset, each with its own step axis.

        Where steps count dt, as in a file of `record_trajectory`, NAME_time beside the step axis holds step · dt.

        Returns
        -------
        xarray.Dataset
            Variables with `units` and `description`; the file's metadata and, as JSON, its provenance as attributes.

        Raises
        ------
        ConfigError
            If xarray is not installed.
        """
        variables = {
            name: (
                (name + STEP, *axes(name, trace.values.ndim - 1)),
                trace.values,
                {"units": trace.unit, "description": trace.description},
            )
            for name, trace in self.traces.items()
        }
        said = {**self.metadata, "provenance": self.provenance, "complete": int(self.complete)}
        return dataset(variables, self._steps() | self._times(), said)

    def _steps(self) -> dict[str, Axis]:
        return {
            name + STEP: (
                (name + STEP,),
                trace.step,
                {"units": trace.step_unit, "description": trace.step_description},
            )
            for name, trace in self.traces.items()
        }

    def _times(self) -> dict[str, Axis]:
        """Return step · dt of each trace whose name leaves room for it; nothing if steps count anything but dt."""
        clock = time_between_steps(self.metadata)
        if clock is None:
            return {}
        dt, unit = clock
        return {
            name + TIME: ((name + STEP,), trace.step * dt, {"units": unit, "description": "step · dt"})
            for name, trace in self.traces.items()
            if name + TIME not in self.traces
        }

    def __contains__(self, name: object) -> bool:
        return name in self.traces

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.traces)


def read_traces(
    path: str | os.PathLike[str],
    names: Iterable[str] | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    last: int | None = None,
) -> Traces:
    """Read the traces of a file, also after its writer was killed or while it still records.

    Nothing in the file is followed, and no size is believed before it is checked.

    Parameters
    ----------
    path : path-like
        A file written by `Recorder`, or a folder that holds `traces.h5`.
    names : iterable of str, optional
        Which variables; all of them by default.
    max_bytes : int, default 4 GiB
        The most these variables may take together.
    last : int, optional
        Only so many rows of each variable, the last ones; nothing else is read.

    Returns
    -------
    Traces
        Every row up to the last flush.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, no trace file of this version, larger than `max_bytes`, or holds
        links, values outside itself, or anything but numbers where numbers belong.
    ConfigError
        If a name is not in the file; the nearest one is suggested.
    """
    limit = count(max_bytes, "max_bytes")
    place = checked_path(path)
    file_path = place / TRACES_FILE if place.is_dir() else place
    wanted = None if names is None else checked_names(names, "names")
    rows = None if last is None else count(last, "last")
    for wait in (*WAITS, None):
        complete = closed_by_writer(file_path)
        try:
            return _read(file_path, complete, wanted, limit, rows)
        except CheckpointError:
            # The writer may be at work: a page that is being written can be seen half old, half new.
            if complete or wait is None:
                raise
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _read(path: Path, complete: bool, wanted: list[str] | None, limit: int, last: int | None) -> Traces:
    try:
        with open_hdf5(path, complete) as file:
            refuse_references(h5py.h5g.open(file.id, b"/"), str(path))
            provenance = _checked_provenance(file, path)
            group = _group(file, path)
            chosen = _choose(group, wanted)
            _check_total(group, chosen, path, limit, last)
            metadata = _metadata(file)
            unit, meaning = step_meaning(metadata)
            rows = {name: _read_trace(group, name, complete, path, last) for name in chosen}
            traces = {name: replace(row, step_unit=unit, step_description=meaning) for name, row in rows.items()}
            return Traces(traces, provenance, metadata, complete)
    except (CheckpointError, ConfigError):
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} must be an undamaged trace file; {type(error).__name__}: {reason}.") from error


def _checked_provenance(file: h5py.File, path: Path) -> dict[str, Any]:
    found = (read_attribute(file, "schema"), read_attribute(file, "schema_version"))
    if found != (SCHEMA, SCHEMA_VERSION):
        raise CheckpointError(
            f"{path} must have schema {SCHEMA!r}, version {SCHEMA_VERSION}; got {found[0]!r}, version {found[1]!r}. "
            "It is no trace file, or a newer neurodecorr wrote it."
        )
    return read_json(read_text(file, "provenance", path).encode(), f"{path}: provenance")


def _metadata(file: h5py.File) -> dict[str, str | int | float]:
    """Return the attributes that are texts of fixed length or numbers; others belong to other tools."""
    read = {name: read_attribute(file, name) for name in file.attrs if name not in RESERVED}
    return {name: value for name, value in read.items() if value is not None}


def _group(file: h5py.File, path: Path) -> h5py.Group:
    group = file.get(GROUP)
    if not isinstance(group, h5py.Group):
        raise CheckpointError(f"{path} must hold the group {GROUP!r}. It is no trace file.")
    return group


def _choose(group: h5py.Group, wanted: list[str] | None) -> list[str]:
    """Return the names of the variables: what has a step axis beside it."""
    present = set(group)
    known = sorted(name for name in present if name + STEP in present)
    return known if wanted is None else [choice(name, "a trace", known) for name in wanted]


def _check_total(group: h5py.Group, names: list[str], path: Path, limit: int, last: int | None) -> None:
    file_bytes = path.stat().st_size
    total = 0
    for part in (part for name in names for part in (name, name + STEP)):
        place = f"{path}: {part!r}"
        if not isinstance(group[part], h5py.Dataset):
            raise CheckpointError(f"{place} must be a dataset.")
        taken = checked_bytes(group[part].id, place, file_bytes)
        rows = max(1, len(group[part])) if group[part].ndim else 1
        total += taken if last is None else taken // rows * min(last, rows)
    if total > limit:
        raise CheckpointError(
            f"{path} must hold at most {limit} bytes of traces; it holds {total}. "
            "Ask for fewer names, or pass a larger max_bytes."
        )


def _read_trace(group: h5py.Group, name: str, complete: bool, path: Path, last: int | None) -> Trace:
    values, steps = group[name], group[name + STEP]
    if steps.ndim != 1 or steps.dtype != np.int64:
        raise CheckpointError(f"{path}: {name + STEP!r} must be a row of int64; got {steps.dtype} {steps.shape}.")
    rows = min(len(values), len(steps))
    if complete and len(values) != len(steps):
        raise CheckpointError(f"{path}: {name!r} must have one row per step; got {len(values)} for {len(steps)}.")
    first = 0 if last is None else max(0, rows - last)
    step = steps[first:rows]
    if rows and (step[0] < 0 or np.any(np.diff(step) <= 0)):
        raise CheckpointError(f"{path}: {name + STEP!r} must increase from 0 or more. It is damaged.")
    kept: Array = values[first:rows]
    boolean = kept.dtype == np.int8 and read_attribute(values, "dtype") == "bool"
    unit, description = (read_text(values, part, path) for part in ("units", "description"))
    return Trace(step, kept != 0 if boolean else kept, unit, description)
