"""From a graph back to the circuit or network that it describes, which must make the same graph again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.circuit import Circuit, TwoPopulationCircuit
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.export.nir.canonical import INPUT, OUTPUT, canonical_graph
from neurodecorr.export.nir.dialects import graph_in
from neurodecorr.export.nir.graph import PARAMETERS, of_kind
from neurodecorr.network import NetworkCircuit
from neurodecorr.network.activations import ACTIVATIONS
from neurodecorr.network.ode import LayerCircuit

# Relative to the largest number of a node. Dialects are in single precision, and the exponential of a matrix may differ
# in the last digits between machines; of canonical graphs 1 − (1 − r) and sums are rounded.
CLOSE, EXACT = 1e-5, 1e-9
LAYERS = 1000

Subject = Circuit | TwoPopulationCircuit | NetworkCircuit


def subject_of(graph: nir.NIRGraph, place: str) -> Subject:
    """Return the circuit or network of a graph read from the file `place`.

    Its numbers come from the nodes, or from the metadata of a dialect; the graph that `write_nir` makes of them must be
    the one that was read.

    Raises
    ------
    CheckpointError
        If the graph is none of those that `write_nir` writes.
    """
    said, dialect = graph.metadata, str(graph.metadata.get("dialect", "canonical"))
    try:
        if dialect != "canonical":
            found, names = _kept(said, dialect), {name.partition("_")[2]: name for name in graph.nodes}
        elif said.get("subject") == "NetworkCircuit":
            found, names = _network(graph)
        else:
            found, names = _pair(graph) if of_kind(graph, "I") else _circuit(graph)
        canonical = canonical_graph(found, None, False)
        own = graph_in(canonical, dialect, said.get("dt_s"), str(said.get("discretisation", "held")))
        _require_same(own, graph, names, EXACT if dialect == "canonical" else CLOSE)
    except (InputError, ConfigError, CheckpointError) as error:
        raise CheckpointError(f"{place}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CheckpointError(
            f"{place} must hold a graph that write_nir makes: LI with a recurrent Linear, a pair of populations, or a "
            "network of linear layers. Use state_space for other linear graphs."
        ) from None
    return found


def _circuit(graph: nir.NIRGraph) -> tuple[Subject, dict[str, str]]:
    """Read Input → LI → Output with LI → Linear → LI, and say which node is which."""
    (unit,), (lateral,) = of_kind(graph, "LI"), of_kind(graph, "Linear")
    R = _restored(graph.nodes[lateral].weight, graph.metadata.get("R_diagonal"))
    return Circuit(R, float(graph.nodes[unit].tau[0])), {**_ends(graph), "xbar": unit, "lateral": lateral}


def _pair(graph: nir.NIRGraph) -> tuple[Subject, dict[str, str]]:
    """Read Input → LI → Linear → I → Output with I → Linear → LI."""
    (unit,), (error,), (one, other) = of_kind(graph, "I"), of_kind(graph, "LI"), of_kind(graph, "Linear")
    back, lateral = (one, other) if (error, one) in graph.edges else (other, one)
    rate, kept = float(graph.nodes[unit].r[0]), graph.metadata.get("tau_s")
    if rate <= 0:
        raise InputError(f"'r' of {unit!r} must be > 0; got {rate}.")
    tau = kept if isinstance(kept, float) and kept > 0 and 1 / kept == rate else 1 / rate
    found = TwoPopulationCircuit(-graph.nodes[lateral].weight, tau, float(graph.nodes[error].tau[0]))
    return found, {**_ends(graph), "error": error, "back": back, "xbar": unit, "lateral": lateral}


def _network(graph: nir.NIRGraph) -> tuple[Subject, dict[str, str]]:
    count, layers = graph.metadata["layers"], []
    if not isinstance(count, int) or not 1 <= count <= LAYERS:
        raise InputError(f"'layers' in the metadata must be a number from 1 to {LAYERS}; got {count!r}.")
    names = {full.partition("_")[2]: full for full in graph.nodes}
    nodes = {short: graph.nodes[full] for short, full in names.items()}
    for name in (f"layer{index}" for index in range(count)):
        feed, lateral, weights = nodes.get(f"{name}_feed"), nodes.get(f"{name}_lateral"), nodes[f"{name}_weights"]
        mean = graph.metadata[f"{name}_mean"]
        if mean.shape != nodes[f"{name}_xbar"].tau.shape or not np.isfinite(mean).all():
            raise InputError("the mean of each layer must stand in the metadata.")
        B = None if lateral is None else _restored(lateral.weight, graph.metadata.get(f"{name}_lateral_diagonal"))
        A = None if feed is None else feed.weight
        layers.append(LayerCircuit(A, B, mean, weights.weight, weights.bias, ACTIVATIONS["identity"]))
    taus = (float(nodes[f"layer0_{part}"].tau[0]) for part in ("xbar", "units"))
    return NetworkCircuit(tuple(layers), *taus), names


def _kept(said: Mapping[str, Any], dialect: str) -> Subject:
    """Return the circuit whose R stands in the metadata of a dialect."""
    R: Any = said.get("R")
    if not isinstance(R, np.ndarray) or said.get("subject") not in ("Circuit", "TwoPopulationCircuit"):
        raise InputError(f"it is in the dialect {dialect!r}, without its R. Read the canonical file instead.")
    if said["subject"] == "Circuit":
        return Circuit(R, said["tau_s"])
    return TwoPopulationCircuit(R, said["tau_s"], said["tau_error_s"])


def _ends(graph: nir.NIRGraph) -> dict[str, str]:
    (source,), (sink,) = of_kind(graph, "Input"), of_kind(graph, "Output")
    return {INPUT: source, OUTPUT: sink}


def _restored(W: Floats, diagonal: Any) -> Floats:
    """Return R of the weights I − R: to the bit if the diagonal that was kept is theirs."""
    if W.shape[0] != W.shape[1]:
        raise InputError(f"the lateral weights must be square; got {W.shape}.")
    R, own = -W, np.diag(W)
    kept = isinstance(diagonal, np.ndarray) and diagonal.shape == own.shape and diagonal.dtype == own.dtype
    exact = kept and np.array_equal(1 - diagonal, own)
    np.fill_diagonal(R, diagonal if exact else 1 - own)
    return R


def _require_same(own: nir.NIRGraph, graph: nir.NIRGraph, names: Mapping[str, str], close: float) -> None:
    """Raise unless a graph is the one made anew, whose nodes have these names in it."""
    called = {full: names[full.partition("_")[2]] for full in own.nodes}
    edges = sorted((called[pre], called[post]) for pre, post in own.edges)
    if set(called.values()) != set(graph.nodes) or edges != sorted(graph.edges):
        raise ValueError
    for full, node in own.nodes.items():
        name, kind = called[full], type(node)
        found = graph.nodes[name]
        if type(found) is not kind:
            raise ValueError
        for key in PARAMETERS[kind.__name__]:
            wanted, got = (np.asarray(getattr(one, key, one.input_type["input"])) for one in (node, found))
            scale = close * np.abs(wanted).max(initial=0.0)
            if wanted.shape != got.shape or not np.allclose(wanted, got, rtol=close, atol=scale):
                raise InputError(
                    f"{key!r} of {name!r} must be what write_nir makes of the circuit; it is not. Use state_space, "
                    "which takes any, or write the file anew."
                )
