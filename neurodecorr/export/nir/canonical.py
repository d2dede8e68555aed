"""From a circuit or a network to its canonical graph, in seconds.

::

    leaky:       τ v̇ = −v + o + ∑ (W y + b)      LI(τ, r = 1, v_leak = o)
    integrating: τ v̇ = ∑ (W y + b)               I(r = 1/τ)

with one term per Linear or Affine node that leads to the units; y is the activity of where it begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from itertools import pairwise
from typing import Any

import nir
import numpy as np

from neurodecorr import _validation
from neurodecorr._typing import Floats
from neurodecorr.circuit import Circuit, SparseCircuit, TwoPopulationCircuit, stability
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.network import Network, NetworkCircuit

INPUT, OUTPUT = "input", "output"


def chained(
    nodes: Mapping[str, nir.NIRNode], chains: Sequence[Sequence[str]], metadata: Mapping[str, Any]
) -> nir.NIRGraph:
    """Return the graph of nodes and of chains of edges between them, its names numbered.

    Names sort in the order of the nodes, in which signals pass them: tools read nodes by the alphabet.
    """
    width = max(2, len(str(len(nodes) - 1)))
    names = {name: f"{index:0{width}d}_{name}" for index, name in enumerate(nodes)}
    edges = [(names[pre], names[post]) for chain in chains for pre, post in pairwise(chain)]
    return nir.NIRGraph({names[name]: node for name, node in nodes.items()}, edges, dict(metadata), type_check=False)


def ends(inputs: int, outputs: int) -> tuple[dict[str, nir.NIRNode], dict[str, nir.NIRNode]]:
    """Return the first and the last node of a graph."""
    return {INPUT: nir.Input(np.array([inputs]))}, {OUTPUT: nir.Output(np.array([outputs]))}


@singledispatch
def canonical_graph(subject: Any, tau_s: float | None, require_stable: bool) -> nir.NIRGraph:
    """Return the graph that says what a circuit or a network is, in seconds.

    Parameters
    ----------
    subject : Circuit, TwoPopulationCircuit, Network or NetworkCircuit
        What to export.
    tau_s : float, optional
        Its time constant τ in seconds; by default its own `tau` counts as seconds.
    require_stable : bool
        Whether an unstable circuit is an error.

    Returns
    -------
    nir.NIRGraph
        Its metadata are the equation, conventions, and arrays by which the exact numbers are found again.

    Raises
    ------
    InputError
        If it is none of these.
    ConfigError
        If a layer is not linear.
    StabilityError
        If the circuit does not settle.
    """
    if isinstance(subject, SparseCircuit):
        raise InputError(
            "NIR has no sparse matrices; got a SparseCircuit. Pass Circuit(circuit.R.toarray(), circuit.tau)."
        )
    raise InputError(f"NIR files hold a circuit or a network; got {type(subject).__name__}. Use Circuit(R, tau).")


@canonical_graph.register
def _circuit(subject: Circuit, tau_s: float | None, require_stable: bool) -> nir.NIRGraph:
    tau, (first, last) = _seconds(tau_s, subject.tau), ends(subject.size, subject.size)
    if require_stable:
        _require_stable(subject)
    units = {"xbar": _leaky(subject.size, tau), "lateral": nir.Linear(_complement(subject.R))}
    chains = ([INPUT, "xbar"], ["xbar", "lateral", "xbar"], ["xbar", OUTPUT])
    kept = {"subject": "Circuit", "equation": "tau dxbar/dt = x - R xbar", "tau_s": tau, "R": subject.R}
    return chained(first | units | last, chains, kept)


@canonical_graph.register
def _pair(subject: TwoPopulationCircuit, tau_s: float | None, require_stable: bool) -> nir.NIRGraph:
    R, n = subject.R, subject.size
    tau, (first, last) = _seconds(tau_s, subject.tau), ends(n, n)
    assert subject.tau_error is not None
    tau_error = subject.tau_error if tau_s is None else tau * (subject.tau_error / subject.tau)
    units = {
        "error": _leaky(n, tau_error),
        "back": nir.Linear(np.ascontiguousarray(R.T)),
        "xbar": nir.I(np.full(n, 1 / tau)),
        "lateral": nir.Linear(-R),
    }
    chains = ([INPUT, "error"], ["error", "back", "xbar"], ["xbar", "lateral", "error"], ["xbar", OUTPUT])
    equation = "tau_error de/dt = (x - R xbar) - e,  tau dxbar/dt = R^T e"
    kept = {"subject": "TwoPopulationCircuit", "equation": equation, "tau_s": tau, "tau_error_s": tau_error, "R": R}
    return chained(first | units | last, chains, kept)


@canonical_graph.register
def _network(subject: Network, tau_s: float | None, require_stable: bool) -> nir.NIRGraph:
    return _cascade(subject.as_circuit(), tau_s, require_stable)


@canonical_graph.register
def _cascade(subject: NetworkCircuit, tau_s: float | None, require_stable: bool) -> nir.NIRGraph:
    for index, layer in enumerate(subject.layers):
        if layer.activation.name != "identity":
            raise ConfigError(
                f"NIR has no rate non-linearity: every activation must be 'identity'; layer {index} has "
                f"{layer.activation.name!r}. Write one file per layer with write_nir_layers."
            )
    tau = _seconds(tau_s, subject.tau)
    tau_units = subject.tau_units if tau_s is None else tau * (subject.tau_units / subject.tau)
    nodes, last = ends(subject.layers[0].W.shape[1], len(subject.layers[-1].W))
    chains: list[Sequence[str]] = []
    kept: dict[str, Any] = {
        "subject": "NetworkCircuit",
        "equation": "tau dxbar/dt = A (x - mu) - B xbar,  tau_units dy/dt = -y + W xbar + b; y is the next layer's x",
        "tau_s": tau,
        "tau_units_s": tau_units,
        "layers": len(subject.layers),
    }
    below = INPUT
    for index, layer in enumerate(subject.layers):
        above = f"layer{index}_units"
        own, synapses, found = layer_nodes(subject, index, (below, above), tau, require_stable)
        nodes |= own | {above: _leaky(len(layer.b), tau_units)}
        chains += synapses
        kept |= found
        below = above
    return chained(nodes | last, [*chains, [below, OUTPUT]], kept)


def layer_nodes(
    network: NetworkCircuit, index: int, between: tuple[str, str], tau: float, require_stable: bool
) -> tuple[dict[str, nir.NIRNode], list[Sequence[str]], dict[str, Any]]:
    """Return the nodes of one layer, the chains from the node below them to the one above, and the arrays to keep."""
    layer, name = network.layers[index], f"layer{index}"
    xbar, weights, kept = f"{name}_xbar", f"{name}_weights", {f"{name}_mean": layer.mean}
    feed = {} if layer.feed is None else {f"{name}_feed": nir.Linear(layer.feed)}
    offset = -layer.offset if np.any(layer.mean) else None
    nodes, chains = {**feed, xbar: _leaky(len(layer.mean), tau, offset)}, [[between[0], *feed, xbar]]
    if layer.lateral is not None:
        if require_stable:
            _require_stable(Circuit(layer.lateral), f"layer {index}: ")
        kept[f"{name}_lateral_diagonal"] = np.diag(layer.lateral).copy()
        nodes[f"{name}_lateral"] = nir.Linear(_complement(layer.lateral))
        chains.append([xbar, f"{name}_lateral", xbar])
    nodes[weights] = nir.Affine(layer.W, layer.b)
    return nodes, [*chains, [xbar, weights, between[1]]], kept


def _leaky(n: int, tau: float, offset: Floats | None = None) -> nir.NIRNode:
    v_leak = np.zeros(n) if offset is None else np.asarray(offset, np.float64)
    return nir.LI(tau=np.full(n, tau), r=np.ones(n), v_leak=v_leak)


def _complement(R: Floats) -> Floats:
    """Return I − R in the precision of R; exact but for the diagonal, which is kept beside it."""
    W = -R
    np.fill_diagonal(W, 1 - np.diag(R))
    return W


def _seconds(tau_s: float | None, own: float) -> float:
    return own if tau_s is None else _validation.positive(tau_s, "tau_s", "seconds")


def _require_stable(circuit: LinearCircuit, place: str = "") -> None:
    margin = stability(circuit).margin
    if not margin > 0:
        raise StabilityError(
            f"{place}R must have min Re λ > 0, or no device will settle; it is {margin:.3g}. Use "
            "circuit.two_population(), which settles for every invertible R, or pass require_stable=False."
        )
