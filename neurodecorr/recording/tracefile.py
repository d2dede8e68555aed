"""Creating a trace file: every variable, its step axis and its further axes, and no row yet."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from neurodecorr.errors import ConfigError
from neurodecorr.recording.atomic import write_bytes
from neurodecorr.recording.layout import (
    AXIS,
    GROUP,
    LIBVER,
    PAGE,
    RESERVED,
    SCHEMA,
    SCHEMA_VERSION,
    STEP,
    STEP_ROWS,
    step_meaning,
    write_text,
)
from neurodecorr.recording.stream import MARGIN
from neurodecorr.recording.tree import Branch, write_branch
from neurodecorr.recording.variable import Variable

__all__ = ["checked_parts", "create_tracefile"]


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
        write_text(file, "schema", SCHEMA)
        file.attrs["schema_version"] = np.int64(SCHEMA_VERSION)
        write_text(file, "provenance", provenance)
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
    """Return `parts` if none of them takes the place of the traces or of what is said of them."""
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
        write_text(steps, part, text)
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
    write_text(values, "units", variable.unit)
    write_text(values, "description", variable.description)
    if variable.dtype == np.bool_:
        write_text(values, "dtype", "bool")


def _create_axis(group: h5py.Group, name: str, length: int) -> h5py.Dataset:
    """Make what netCDF-4 calls a dimension without a variable; the text is its convention, and takes no space."""
    axis = group.create_dataset(name, (length,), ">f4")
    axis.make_scale(f"This is a netCDF dimension but not a netCDF variable.{length:10d}")
    return axis


def _write_attribute(file: h5py.File, name: str, value: str | int | float) -> None:
    if isinstance(value, str):
        write_text(file, name, value)
    else:
        file.attrs[name] = value
