"""The layout of a trace file: what its parts are called, and how texts are attached to them.

::

    /                              schema, schema_version, provenance (JSON), the caller's metadata
    /traces/NAME                   (recordings, *shape): units, description
    /traces/NAME_step              (recordings,): when each row was recorded: units, description
    /traces/NAME_axis0, _axis1 …   netCDF dimensions without values, one per axis of the shape

Each variable has its own step axis, attached as an HDF5 dimension scale, so that netCDF tools see labelled axes.
Texts are stored with a fixed length: reading them needs no heap of the file. Booleans are stored as 8-bit integers
with the attribute dtype = "bool", as xarray does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import h5py
import numpy as np

from neurodecorr._checks import number
from neurodecorr.errors import CheckpointError, ConfigError

SCHEMA = "neurodecorr-traces"
SCHEMA_VERSION = 1
TRACES_FILE = "traces.h5"
GROUP = "traces"
STEP = "_step"
TIME = "_time"
AXIS = "_axis"
RESERVED = ("schema", "schema_version", "provenance")
TEXT_BYTES = 64 * 2**20
# Every file page that a write touches is written whole even if the process is killed in the middle of it. What fits
# in one page together with its checksum is therefore either old or new, never torn.
PAGE = 4096
CHECKSUM = 4
# The oldest format with a single writer and many readers: HDF5 1.10 and all that is built on it read these files, too.
LIBVER = ("v110", "v110")
# What metadata may say of the steps.
STEP_SAID = ("step_unit", "step_description")
STEP_ROWS = (PAGE - CHECKSUM) // 8


def write_text(place: h5py.HLObject, name: str, text: str) -> None:
    """Attach `text` to `place` as UTF-8 of fixed length."""
    data = text.encode()
    place.attrs.create(name, np.array(data), dtype=h5py.string_dtype("utf-8", max(len(data), 1)))


def read_text(place: h5py.HLObject, name: str, path: PurePath) -> str:
    """Return the text attached to `place` in the file at `path`; raise if it is missing or no text of fixed length."""
    value = read_attribute(place, name)
    if not isinstance(value, str):
        raise CheckpointError(f"{path}: attribute {name!r} of {place.name} must be a text; got {value!r}.")
    return value


def read_attribute(place: h5py.HLObject, name: str) -> str | int | float | None:
    """Return an attribute that is one text of fixed length or one number; None if it is missing or of another kind."""
    key = name.encode()
    if not h5py.h5a.exists(place.id, key):
        return None
    attribute = h5py.h5a.open(place.id, key)
    kind, size = attribute.get_type(), attribute.get_type().get_size()
    if attribute.get_space().get_simple_extent_type() != h5py.h5s.SCALAR or size > TEXT_BYTES:
        return None
    if kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str():
        data = np.empty((), dtype=f"S{size}")
        attribute.read(data, mtype=kind)
        return bytes(data[()]).decode()
    if kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) and size <= 8:
        value = np.empty((), dtype=kind.dtype)
        attribute.read(value)
        item: int | float = value.item()
        return item
    return None


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return the caller's root attributes if each is a name with a text or a finite number."""
    checked: dict[str, str | int | float] = {}
    for name, value in metadata.items():
        if not isinstance(name, str) or not name.isprintable() or not name or name in RESERVED:
            taken = ", ".join(RESERVED)
            raise ConfigError(f"metadata must have printable names other than {taken}; got {name!r}.")
        if name in STEP_SAID and not isinstance(value, str):
            raise ConfigError(f"metadata[{name!r}] must be text, what steps count; got {value!r}.")
        if isinstance(value, str):
            if "\0" in value:
                raise ConfigError(f"metadata[{name!r}] must not contain the character NUL; got {value!r}.")
            checked[name] = value
        else:
            number(value, f"metadata[{name!r}]")
            checked[name] = value
    return checked


def time_between_steps(metadata: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return dt and its unit, seconds if no `tau_unit` is told, where steps count dt; None where they count others."""
    dt, unit = metadata.get("dt"), metadata.get("tau_unit", "s")
    if metadata.get("step_unit") != "dt" or not isinstance(dt, int | float) or not isinstance(unit, str):
        return None
    return (float(dt), unit) if 0 < dt < math.inf else None


def step_meaning(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Return unit and description of the steps, as the metadata say; samples seen if they do not.

    Step axes of older files all say "samples", whatever was counted; their metadata know better.
    """
    said = (metadata.get(name) for name in STEP_SAID)
    unit, description = (text if isinstance(text, str) else "" for text in said)
    if description:
        return unit or "samples", description
    if clock := time_between_steps(metadata):
        return unit, f"time of the row over dt = {clock[0]:g} {clock[1]}"
    seen = "samples seen" if unit in ("", "samples") else unit
    return unit or "samples", f"{seen} before the row was recorded"
