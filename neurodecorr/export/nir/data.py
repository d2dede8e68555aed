"""NIRData: activity on a grid of times, (samples, time, neurons), beside the nodes it was measured at.

::

    /                              __type__ = "NIRGraphData"
    /nodes/NODE                    __type__ = "NIRNodeData"
    /nodes/NODE/observables/NAME   __type__ = "TimeGriddedData", dt in seconds;  data (samples, time, neurons)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurodecorr import _validation
from neurodecorr._typing import Array
from neurodecorr.circuit.integrate import Trajectory
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.export.nir.graph import sizes_of
from neurodecorr.io.trees import Branch, read_tree, write_tree

# Relative to the step: how far times may be from a grid.
GRID = 1e-6


Observed = Mapping[str, Mapping[str, nir.TimeGriddedData]]


def time_gridded(trajectory: Trajectory, second: float = 1.0) -> nir.TimeGriddedData:
    """Return a trajectory as activity on a grid of times.

    Parameters
    ----------
    trajectory : Trajectory
        From `integrate`, at equal steps from time 0 on.
    second : float, default 1.0
        How many seconds one unit of its time is.

    Returns
    -------
    nir.TimeGriddedData
        Its x̄, (samples, time, neurons).

    Raises
    ------
    InputError
        If the times are not 0, h, 2h, ….
    """
    _validation.instance(trajectory, Trajectory, "trajectory", "a Trajectory, as from integrate")
    t = np.asarray(trajectory.t, np.float64)
    step = (t[-1] - t[0]) / max(len(t) - 1, 1)
    if t.ndim != 1 or len(t) < 2 or step <= 0 or np.abs(t - step * np.arange(len(t))).max() > GRID * step:
        raise InputError(
            f"the times of the trajectory must be 0, h, 2h, …; got {t.size} from {t.flat[0] if t.size else None!s} to "
            f"{t.flat[-1] if t.size else None!s}. Pass times=np.linspace(0, t_end, frames)."
        )
    xbar = np.asarray(trajectory.xbar)
    data = xbar[None] if xbar.ndim == 2 else np.moveaxis(xbar, 1, 0)
    return nir.TimeGriddedData(np.ascontiguousarray(data), float(step) * _validation.positive(second, "second"))


def write_nir_data(path: str | os.PathLike[str], observed: Observed) -> Path:
    """Write activity to a NIRData file, atomically.

    Parameters
    ----------
    path : path-like
        The file to write.
    observed : mapping of node to mapping of name to nir.TimeGriddedData
        Such as `{"01_xbar": {"v": time_gridded(trajectory)}}`.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    InputError
        If a name cannot be used: nodes lie flat, a name is no path.
    CheckpointError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "activity.nir"
    ...     _ = write_nir_data(path, {"01_xbar": {"v": nir.TimeGriddedData(np.ones((1, 3, 2)), dt=1e-3)}})
    ...     found = read_nir_data(path)["01_xbar"]["v"]
    >>> found.data.shape, found.dt
    ((1, 3, 2), 0.001)
    """
    return write_tree(path, data_branch(observed))


def read_nir_data(path: str | os.PathLike[str], *, max_bytes: int = 2**30) -> dict[str, dict[str, nir.TimeGriddedData]]:
    """Read the activity in a NIRData file, trusting nothing in it.

    Parameters
    ----------
    path : path-like
        A file written by `write_nir_data`, by `add_nir`, or by `nir.write_data`.
    max_bytes : int, default 1 GiB
        The most it may take.

    Returns
    -------
    dict of node to dict of name to nir.TimeGriddedData
        To the bit.

    Raises
    ------
    CheckpointError
        If the file cannot be read safely, holds no activity on a grid of times, or nests graphs.
    """
    tree, place = read_tree(path, ("nodes",), max_bytes=max_bytes), os.fspath(path)
    nodes = tree.parts.get("nodes")
    if tree.attributes.get("__type__") != "NIRGraphData" or not isinstance(nodes, Branch):
        raise CheckpointError(f"{place} must hold NIRGraphData under 'nodes'. It holds no activity.")
    return {name: _observables(node, f"{place}: node {name!r}") for name, node in nodes.parts.items()}


def data_branch(observed: Observed, graph: nir.NIRGraph | None = None) -> Branch:
    """Return activity as the tree that NIRData files hold, held against the graph if there is one."""
    if not isinstance(observed, Mapping) or not observed:
        raise InputError(
            "activity must be a mapping from nodes to mappings from names to nir.TimeGriddedData; got "
            f"{type(observed).__name__}."
        )
    nodes = {name: _node(name, found, graph) for name, found in observed.items()}
    return Branch({"nodes": Branch(nodes)}, {"__type__": "NIRGraphData"})


def _node(name: str, found: Mapping[str, nir.TimeGriddedData], graph: nir.NIRGraph | None) -> Branch:
    if not isinstance(found, Mapping) or not all(isinstance(one, nir.TimeGriddedData) for one in found.values()):
        raise InputError(f"the activity of node {name!r} must be a mapping from names to nir.TimeGriddedData.")
    width = (
        None if graph is None else sizes_of(graph.nodes[_validation.choice(name, "a node with activity", graph.nodes)])
    )
    parts = {}
    for key, one in found.items():
        data = _activity(one.data)
        if width is not None and data.shape[2] != width[1]:
            raise InputError(f"{key!r} of node {name!r} must have {width[1]} neurons; got {data.shape[2]}.")
        dt = _validation.positive(one.dt, "dt", "seconds")
        parts[key] = Branch({"data": data}, {"__type__": "TimeGriddedData", "dt": dt})
    return Branch({"observables": Branch(parts)}, {"__type__": "NIRNodeData"})


def _activity(given: Any) -> Array:
    """Return activity if it is an array of numbers, or of booleans for events, over samples, times and neurons."""
    data: Array = np.asarray(_validation.unmasked(given, "activity"))
    if data.ndim != 3 or data.dtype.kind not in "biuf":
        raise InputError(
            f"activity must be numbers of shape (samples, time, neurons); got {data.dtype} {data.shape}. Traces of "
            "weights belong in the trace file, see Recorder."
        )
    return data


def _observables(node: Any, place: str) -> dict[str, nir.TimeGriddedData]:
    kind = node.attributes.get("__type__") if isinstance(node, Branch) else None
    group = node.parts.get("observables") if isinstance(node, Branch) else None
    if kind != "NIRNodeData" or not isinstance(group, Branch):
        raise CheckpointError(f"{place} must be NIRNodeData with observables; got {kind!r}. Nested data are not read.")
    return {name: _gridded(part, f"{place}: {name!r}") for name, part in group.parts.items()}


def _gridded(part: Any, place: str) -> nir.TimeGriddedData:
    kind = part.attributes.get("__type__") if isinstance(part, Branch) else None
    data = part.parts.get("data") if isinstance(part, Branch) else None
    if kind != "TimeGriddedData" or not isinstance(data, np.ndarray):
        raise CheckpointError(f"{place} must be TimeGriddedData; got {kind!r}. Use to_time_gridded of nir for events.")
    try:
        return nir.TimeGriddedData(_activity(data), _validation.positive(part.attributes.get("dt"), "dt", "seconds"))
    except (InputError, ConfigError) as error:
        raise CheckpointError(f"{place}: {error}") from None
