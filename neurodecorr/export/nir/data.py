"""NIRData: activity on a grid of times, (samples, time, neurons), beside the nodes it was measured at.

::

    /                              __type__ = "NIRGraphData"
    /nodes/NODE                    __type__ = "NIRNodeData"
    /nodes/NODE/observables/NAME   __type__ = "TimeGriddedData", dt in seconds;  data (samples, time, neurons)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._validation import unmasked
from neurodecorr.circuit.integrate import Trajectory
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.export.nir.graph import Graph
from neurodecorr.io.trees import Branch, read_tree, write_tree

# Relative to the step: how far times may be from a grid.
GRID = 1e-6


@short_repr
@dataclass(frozen=True, eq=False)
class TimeGridded:
    """Activity on a grid of times.

    Parameters
    ----------
    data : (samples, time, neurons) array
        Numbers, or booleans for events; entry k is the activity at time k · dt_s.
    dt_s : float
        Step in seconds.

    Raises
    ------
    InputError
        If the data have another number of axes, or hold no numbers.
    """

    data: npt.NDArray[Any]
    dt_s: float

    def __post_init__(self) -> None:
        given = unmasked(self.data, "activity")
        try:
            data = np.asarray(given)
        except ValueError as error:
            raise InputError(f"activity must be a rectangular array: {error}") from None
        if data.ndim != 3 or data.dtype.kind not in "biuf":
            raise InputError(
                f"activity must be numbers of shape (samples, time, neurons); got {data.dtype} {data.shape}. Traces of "
                "weights belong in the trace file, see Recorder."
            )
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "dt_s", _validation.positive(self.dt_s, "dt_s", "seconds"))

    def __repr__(self) -> str:
        return f"TimeGridded({self.data.shape}, dt_s={self.dt_s:g})"


Observed = Mapping[str, Mapping[str, TimeGridded]]


def time_gridded(trajectory: Trajectory, second: float = 1.0) -> TimeGridded:
    """Return a trajectory as activity on a grid of times.

    Parameters
    ----------
    trajectory : Trajectory
        From `integrate`, at equal steps from time 0 on.
    second : float, default 1.0
        How many seconds one unit of its time is.

    Returns
    -------
    TimeGridded
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
        raise InputError("the times of the trajectory must be 0, h, 2h, …; pass times=np.linspace(0, t_end, frames).")
    xbar = np.asarray(trajectory.xbar)
    data = xbar[None] if xbar.ndim == 2 else np.moveaxis(xbar, 1, 0)
    return TimeGridded(np.ascontiguousarray(data), float(step) * _validation.positive(second, "second"))


def write_nir_data(path: str | os.PathLike[str], observed: Observed) -> Path:
    """Write activity to a NIRData file, atomically.

    Parameters
    ----------
    path : path-like
        The file to write.
    observed : mapping of node to mapping of name to TimeGridded
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
    ...     _ = write_nir_data(path, {"01_xbar": {"v": TimeGridded(np.ones((1, 3, 2)), dt_s=1e-3)}})
    ...     found = read_nir_data(path)["01_xbar"]["v"]
    >>> found.data.shape, found.dt_s
    ((1, 3, 2), 0.001)
    """
    return write_tree(path, data_branch(observed))


def read_nir_data(path: str | os.PathLike[str], *, max_bytes: int = 2**30) -> dict[str, dict[str, TimeGridded]]:
    """Read the activity in a NIRData file, trusting nothing in it.

    Parameters
    ----------
    path : path-like
        A file written by `write_nir_data`, by `add_nir`, or by `nir.write_data`.
    max_bytes : int, default 1 GiB
        The most it may take.

    Returns
    -------
    dict of node to dict of name to TimeGridded
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


def data_branch(observed: Observed, graph: Graph | None = None) -> Branch:
    """Return activity as the tree that NIRData files hold, held against the graph if there is one."""
    if not isinstance(observed, Mapping) or not observed:
        raise InputError("activity must be a mapping from nodes to mappings from names to TimeGridded.")
    nodes = {name: _node(name, found, graph) for name, found in observed.items()}
    return Branch({"nodes": Branch(nodes)}, {"__type__": "NIRGraphData"})


def _node(name: str, found: Mapping[str, TimeGridded], graph: Graph | None) -> Branch:
    if not isinstance(found, Mapping) or not all(isinstance(one, TimeGridded) for one in found.values()):
        raise InputError(f"the activity of node {name!r} must be a mapping from names to TimeGridded.")
    if graph is not None:
        node = graph.nodes[_validation.choice(name, "a node with activity", graph.nodes)]
        for key, one in found.items():
            if one.data.shape[2] != node.sizes[1]:
                raise InputError(
                    f"{key!r} of node {name!r} must have {node.sizes[1]} neurons; got {one.data.shape[2]}."
                )
    parts = {
        key: Branch({"data": one.data}, {"__type__": "TimeGriddedData", "dt": one.dt_s}) for key, one in found.items()
    }
    return Branch({"observables": Branch(parts)}, {"__type__": "NIRNodeData"})


def _observables(node: Any, place: str) -> dict[str, TimeGridded]:
    kind = node.attributes.get("__type__") if isinstance(node, Branch) else None
    group = node.parts.get("observables") if isinstance(node, Branch) else None
    if kind != "NIRNodeData" or not isinstance(group, Branch):
        raise CheckpointError(f"{place} must be NIRNodeData with observables; got {kind!r}. Nested data are not read.")
    return {name: _gridded(part, f"{place}: {name!r}") for name, part in group.parts.items()}


def _gridded(part: Any, place: str) -> TimeGridded:
    kind = part.attributes.get("__type__") if isinstance(part, Branch) else None
    data = part.parts.get("data") if isinstance(part, Branch) else None
    if kind != "TimeGriddedData" or not isinstance(data, np.ndarray):
        raise CheckpointError(f"{place} must be TimeGriddedData; got {kind!r}. Use to_time_gridded of nir for events.")
    try:
        return TimeGridded(data, part.attributes.get("dt"))
    except ValueError as error:
        raise CheckpointError(f"{place}: {error}") from None
