"""Arrays with named axes, for xarray, which is an extra."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from neurodecorr._typing import Array
from neurodecorr.errors import ConfigError
from neurodecorr.io.hdf5 import AXIS

# Axes, values along them, attributes.
Axis = tuple[tuple[str, ...], Array, Mapping[str, str]]


def axes(name: str, count: int) -> tuple[str, ...]:
    """Return the names of the axes of one variable, as in the trace file."""
    return tuple(f"{name}{AXIS}{axis}" for axis in range(count))


def dataset(
    variables: Mapping[str, Axis],
    coordinates: Mapping[str, Axis],
    said: Mapping[str, Any],
) -> Any:
    """Return the traces as an xarray.Dataset.

    Parameters
    ----------
    variables : mapping of str to (dims, values, attrs)
        The variables.
    coordinates : mapping of str to (dims, values, attrs)
        Values along axes.
    said : mapping
        Attributes of the whole; what is neither text nor number becomes JSON, so that netCDF can hold it.

    Returns
    -------
    xarray.Dataset
        Named axes, units, attributes.

    Raises
    ------
    ConfigError
        If xarray is not installed.

    References
    ----------
    Hoyer & Hamman (2017), Journal of Open Research Software 5(1), 10.
    """
    try:
        xarray = importlib.import_module("xarray")
    except ImportError:
        raise ConfigError("to_xarray needs xarray; pip install 'neurodecorr[xarray]'.") from None
    plain = {name: value if isinstance(value, str | int | float) else json.dumps(value) for name, value in said.items()}
    return xarray.Dataset(
        {name: (dims, values, dict(attributes)) for name, (dims, values, attributes) in variables.items()},
        {name: (dims, values, dict(attributes)) for name, (dims, values, attributes) in coordinates.items()},
        plain,
    )
