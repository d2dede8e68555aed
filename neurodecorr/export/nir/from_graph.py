"""From a graph back to the circuit or network that it describes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.circuit import Circuit, TwoPopulationCircuit
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.export.nir.canonical import canonical_graph
from neurodecorr.export.nir.dialects import graph_in
from neurodecorr.export.nir.graph import PARAMETERS, of_kind, sizes_of
from neurodecorr.network import NetworkCircuit
from neurodecorr.network.activations import ACTIVATIONS
from neurodecorr.network.ode import LayerCircuit

# Dialects are in single precision, and the exponential of a matrix may differ in the last digits between machines.
CLOSE = 1e-5
LAYERS = 1000


def subject_of(graph: nir.NIRGraph, place: str) -> Circuit | TwoPopulationCircuit | NetworkCircuit:
    """Return the circuit or network of a graph read from the file `place`.

    Raises
    ------
    CheckpointError
        If the graph is none of those that `write_nir` writes.
    """
    subject, dialect = graph.metadata.get("subject", "Circuit"), graph.metadata.get("dialect", "canonical")
    try:
        if dialect != "canonical":
            return _from_dialect(graph, str(dialect), place)
        if subject == "NetworkCircuit":
            return _network(graph, place)
        return _pair(graph, place) if of_kind(graph, "I") else _circuit(graph, place)
    except InputError as error:
        raise CheckpointError(f"{place}: {error}") from None


def _circuit(graph: nir.NIRGraph, place: str) -> Circuit:
    """Read Input → LI → Output with LI → Linear → LI."""
    units, synapses = of_kind(graph, "LI"), of_kind(graph, "Linear")
    if len(graph.nodes) != 4 or len(units) != 1 or len(synapses) != 1:
        raise _strange(place)
    (unit,), (lateral,) = units, synapses
    source, sink = of_kind(graph, "Input"), of_kind(graph, "Output")
    _require_edges(graph, place, (*source, unit), (unit, lateral), (lateral, unit), (unit, *sink))
    node = graph.nodes[unit]
    _require_plain(node, unit, place)
    if np.any(node.v_leak):
        raise CheckpointError(f"{place}: 'v_leak' of {unit!r} must be 0 in a Circuit. Use state_space.")
    R = _restored(graph.nodes[lateral].weight, graph.metadata.get("R_diagonal"))
    return Circuit(R, _one(node.tau, f"{place}: 'tau' of {unit!r}"))


def _pair(graph: nir.NIRGraph, place: str) -> TwoPopulationCircuit:
    """Read Input → LI → Linear → I → Output with I → Linear → LI."""
    (unit, *more), errors, synapses = of_kind(graph, "I"), of_kind(graph, "LI"), of_kind(graph, "Linear")
    if more or len(graph.nodes) != 6 or len(errors) != 1 or len(synapses) != 2:
        raise _strange(place)
    (error,), (source,), (sink,) = errors, of_kind(graph, "Input"), of_kind(graph, "Output")
    back, lateral = synapses if (error, synapses[0]) in graph.edges else synapses[::-1]
    _require_edges(
        graph, place, (source, error), (error, back), (back, unit), (unit, lateral), (lateral, error), (unit, sink)
    )
    node = graph.nodes[error]
    _require_plain(node, error, place)
    R = -graph.nodes[lateral].weight
    if np.any(node.v_leak) or R.shape != graph.nodes[back].weight.T.shape:
        raise _strange(place)
    if not np.array_equal(R, graph.nodes[back].weight.T):
        raise CheckpointError(f"{place}: {back!r} must be the transpose of −{lateral!r}. Use state_space.")
    rate = _one(graph.nodes[unit].r, f"{place}: 'r' of {unit!r}")
    if rate <= 0:
        raise CheckpointError(f"{place}: 'r' of {unit!r} must be > 0; got {rate}.")
    kept = graph.metadata.get("tau_s")
    tau = kept if isinstance(kept, float) and kept > 0 and 1 / kept == rate else 1 / rate
    return TwoPopulationCircuit(R, tau, _one(node.tau, f"{place}: 'tau' of {error!r}"))


def _network(graph: nir.NIRGraph, place: str) -> NetworkCircuit:
    count = graph.metadata.get("layers")
    if not isinstance(count, int) or not 1 <= count <= LAYERS:
        raise CheckpointError(f"{place}: 'layers' in the metadata must be a number from 1 to {LAYERS}; got {count!r}.")
    names = {full.partition("_")[2]: full for full in graph.nodes}
    layers, below, used = [], names.get("input", ""), 2
    for index in range(count):
        part = {key: names.get(f"layer{index}_{key}") for key in ("feed", "xbar", "lateral", "weights", "units")}
        layers.append(_layer(graph, part, below, index, place))
        used += sum(name is not None for name in part.values())
        below = str(part["units"])
    _require_edge(graph, place, below, names.get("output", ""))
    if used != len(graph.nodes):
        raise _strange(place)
    taus = [_one(graph.nodes[names[f"layer{i}_xbar"]].tau, place) for i in range(count)]
    units = [_one(graph.nodes[names[f"layer{i}_units"]].tau, place) for i in range(count)]
    if len(set(taus)) > 1 or len(set(units)) > 1:
        raise CheckpointError(f"{place}: all layers must share their time constants. Use state_space.")
    return NetworkCircuit(tuple(layers), taus[0], units[0])


def _layer(graph: nir.NIRGraph, part: dict[str, str | None], below: str, index: int, place: str) -> LayerCircuit:
    xbar, weights, units, feed, lateral = (part[key] for key in ("xbar", "weights", "units", "feed", "lateral"))
    if xbar is None or weights is None or units is None or not isinstance(graph.nodes[weights], nir.Affine):
        raise _strange(place)
    for name in (xbar, units):
        if not isinstance(graph.nodes[name], nir.LI):
            raise _strange(place)
        _require_plain(graph.nodes[name], name, place)
    if np.any(graph.nodes[units].v_leak):
        raise _strange(place)
    path = [below, *([feed] if feed else []), xbar, weights, units]
    loop = [xbar, lateral, xbar] if lateral else []
    for chain in (path, loop):
        for pre, post in pairwise(chain):
            _require_edge(graph, place, pre, post)
    for name in filter(None, (feed, lateral)):
        if not isinstance(graph.nodes[name], nir.Linear):
            raise _strange(place)
    A = None if feed is None else graph.nodes[feed].weight
    diagonal = graph.metadata.get(f"layer{index}_lateral_diagonal")
    B = None if lateral is None else _restored(graph.nodes[lateral].weight, diagonal)
    mean = _mean(A, graph.nodes[xbar].v_leak, graph.metadata.get(f"layer{index}_mean"), place)
    node = graph.nodes[weights]
    return LayerCircuit(A, B, mean, node.weight, node.bias, ACTIVATIONS["identity"])


def _mean(feed: Floats | None, offset: Floats, kept: Any, place: str) -> Floats:
    """Return μ, which −A μ must give the constant drive."""
    if not isinstance(kept, np.ndarray) or kept.shape != offset.shape or not np.isfinite(kept).all():
        raise CheckpointError(f"{place}: the mean of each layer must stand in the metadata.")
    drive = -kept if feed is None else -(feed @ kept)
    scale = np.abs(drive).max(initial=0.0) + np.abs(offset).max(initial=0.0)
    if np.abs(drive - offset).max(initial=0.0) > 1e-9 * scale:
        raise CheckpointError(f"{place}: 'v_leak' must be −A μ of the mean in the metadata. The file was changed.")
    return kept


def _from_dialect(graph: nir.NIRGraph, dialect: str, place: str) -> Circuit | TwoPopulationCircuit:
    """Take R from the metadata, if it gives the graph that stands there."""
    said = graph.metadata
    R, tau, tau_error = said.get("R"), said.get("tau_s"), said.get("tau_error_s")
    if not isinstance(R, np.ndarray) or said.get("subject") not in ("Circuit", "TwoPopulationCircuit"):
        raise CheckpointError(f"{place} is in the dialect {dialect!r}, without its R. Read the canonical file instead.")
    found: Circuit | TwoPopulationCircuit = Circuit(R, tau)
    if said.get("subject") == "TwoPopulationCircuit":
        found = TwoPopulationCircuit(R, tau, tau_error)
    own = graph_in(canonical_graph(found, None, False), dialect, said.get("dt_s"), str(said.get("discretisation")))
    same = set(own.edges) == set(graph.edges) and own.nodes.keys() == graph.nodes.keys()
    if not same or not all(_alike(own.nodes[name], node) for name, node in graph.nodes.items()):
        raise CheckpointError(f"{place}: the graph must be that of the R in its metadata. The file was changed.")
    return found


def _alike(own: nir.NIRNode, found: nir.NIRNode) -> bool:
    def near(a: Any, b: Any) -> bool:
        return a.shape == b.shape and bool(np.allclose(a, b, rtol=CLOSE, atol=CLOSE * np.abs(a).max(initial=0.0)))

    kind = type(own)
    return (
        kind is type(found)
        and all(
            near(np.asarray(getattr(own, name)), np.asarray(getattr(found, name)))
            for name in PARAMETERS[kind.__name__]
            if name != "shape"
        )
        and sizes_of(own) == sizes_of(found)
    )


def _restored(W: Floats, diagonal: Any) -> Floats:
    """Return R of the weights I − R: to the bit if the diagonal that was kept is theirs."""
    if W.shape[0] != W.shape[1]:
        raise InputError(f"the lateral weights must be square; got {W.shape}.")
    R = -W
    own = np.diag(W)
    kept = isinstance(diagonal, np.ndarray) and diagonal.shape == own.shape and diagonal.dtype == own.dtype
    exact = kept and np.array_equal(1 - diagonal, own)
    np.fill_diagonal(R, diagonal if exact else 1 - own)
    return R


def _require_plain(node: nir.NIRNode, name: str, place: str) -> None:
    if np.any(np.asarray(node.r) != 1):
        raise CheckpointError(f"{place}: 'r' of {name!r} must be 1. Use state_space, which takes any.")


def _one(values: Any, name: str) -> float:
    if np.any(values != values[0]):
        raise CheckpointError(f"{name} must be the same for all units. Use state_space, which takes any.")
    return float(values[0])


def _require_edges(graph: nir.NIRGraph, place: str, *edges: tuple[str, ...]) -> None:
    if sorted(graph.edges) != sorted(edges):
        raise _strange(place)


def _require_edge(graph: nir.NIRGraph, place: str, pre: str, post: str) -> None:
    if (pre, post) not in graph.edges:
        raise _strange(place)


def _strange(place: str) -> CheckpointError:
    return CheckpointError(
        f"{place} must hold a graph that write_nir makes: LI with a recurrent Linear, a pair of populations, or a "
        "network of linear layers. Use state_space for other linear graphs."
    )
