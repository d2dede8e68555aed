"""Graphs that a simulator runs without a change, from the canonical one.

Simulators move a leaky unit from step to step by v ← α v + ρ I, α = e^(−dt/τ), with a ρ of their own. A dialect
scales all that ends at a unit so that a step of the simulator is a step of the circuit::

    held    v ← α v + (1 − α)(x + (I − R) v)    weights × (1 − α)/ρ      error O(dt/τ), exact at rest
    exact   v ← P v + Q x,  P = e^(−R dt/τ)     weights (P − α I)/ρ, Q/ρ  exact at every step for a held input
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from neurodecorr import _validation
from neurodecorr._typing import Floats
from neurodecorr._validation import numeral
from neurodecorr.circuit.stability import is_stable
from neurodecorr.errors import ConfigError, StabilityError
from neurodecorr.export.nir.canonical import INPUT, OUTPUT, chained, ends
from neurodecorr.export.nir.graph import of_kind
from neurodecorr.export.nir.state_spaces import StateSpace, state_space_of

DIALECTS = ("canonical", "sinabs", "rockpool")
DISCRETISATIONS = ("held", "exact")


@dataclass(frozen=True)
class Simulator:
    """How a simulator understands the graph.

    Parameters
    ----------
    units : callable
        LI node of units with these time constants in seconds, for a step in seconds.
    share : callable
        ρ for a time constant of τ/dt steps.
    smallest : int
        Fewest units that it can read.
    """

    units: Callable[[Floats, float], nir.NIRNode]
    share: Callable[[Floats], Floats]
    smallest: int = 1


def _sinabs_units(taus: Floats, dt: float) -> nir.NIRNode:
    """Its τ is in steps, and r must be 1."""
    return _units(taus / dt, np.ones(len(taus)))


def _rockpool_units(taus: Floats, dt: float) -> nir.NIRNode:
    """It cuts τ to a whole number and takes its step to be τ/(1 + r): of the unit nothing but the ratio matters."""
    if np.ptp(taus) == 0:
        whole = np.full(len(taus), max(1.0, round(taus[0] * 1e3)))
        return _units(whole, taus / dt - 1)
    microseconds = np.rint(taus * 1e6)
    if microseconds.min() < 100 or microseconds.max() >= 2**24:
        raise ConfigError(
            "rockpool reads time constants from 100 µs to 16 s where they differ between units; got "
            f"{microseconds.min():g} to {microseconds.max():g} µs."
        )
    return _units(microseconds, microseconds / (dt * 1e6) - 1)


def _units(tau: Floats, r: Floats) -> nir.NIRNode:
    return nir.LI(tau=tau.astype(np.float32), r=r.astype(np.float32), v_leak=np.zeros(len(tau), np.float32))


SIMULATORS = {
    "sinabs": Simulator(_sinabs_units, np.ones_like),
    "rockpool": Simulator(_rockpool_units, lambda steps: np.exp(-1 / steps), smallest=2),
}


def graph_in(graph: nir.NIRGraph, dialect: str, dt_s: float | None, discretisation: str) -> nir.NIRGraph:
    """Return a canonical graph in a dialect.

    Simulators differ in what a loop through several nodes with a state does within a step: all states go to one node.

    Raises
    ------
    ConfigError
        If the dialect is unknown, or `dt_s` is missing, or not shorter than every time constant.
    StabilityError
        If the system settles, but not in held steps of `dt_s`.
    """
    _validation.choice(dialect, "dialect", DIALECTS)
    _validation.choice(discretisation, "discretisation", DISCRETISATIONS)
    if dialect == "canonical":
        if dt_s is not None:
            raise ConfigError(f"the canonical dialect is continuous in time; got dt_s={dt_s!r}. Leave it out.")
        return graph
    if dt_s is None:
        raise ConfigError(f"the dialect {dialect!r} needs dt_s, the step of the simulator in seconds, such as 1e-4.")
    dt, simulator = _validation.positive(dt_s, "dt_s", "seconds"), SIMULATORS[dialect]
    space, taus = space_and_taus(graph)
    if dt >= taus.min():
        raise ConfigError(f"dt_s must be < {numeral(taus.min())} s, the shortest time constant; got {dt_s!r}.")
    if len(taus) < simulator.smallest:
        raise ConfigError(f"{dialect} reads at least {simulator.smallest} units; the circuit has {len(taus)}.")
    if discretisation == "held":
        require_stable_step(graph, dt)
    else:
        taus = np.full(len(taus), taus.min())
    W, B, b = (_held if discretisation == "held" else _exact)(space, dt, taus)
    scale = 1 / simulator.share(taus / dt)
    units = simulator.units(taus, dt)
    return _one_node(space, units, scale[:, None] * W, scale[:, None] * B, scale * b, graph.metadata)


def space_and_taus(graph: nir.NIRGraph) -> tuple[StateSpace, Floats]:
    """Return the linear system that a graph is, and the time constant of each of its states in seconds."""
    nodes = [graph.nodes[name] for name in of_kind(graph, "LI", "I")]
    return state_space_of(graph), np.concatenate([getattr(node, "tau", 1 / node.r) for node in nodes])


def require_stable_step(graph: nir.NIRGraph, dt_s: float) -> None:
    """Raise where a graph that settles would not, if the drive of each unit is held during a step of `dt_s`.

    Raises
    ------
    StabilityError
        If a mode grows from step to step; its factor is named.
    """
    space, taus = space_and_taus(graph)
    growth = float(np.abs(np.linalg.eigvals(np.diag(np.exp(-dt_s / taus)) + _held(space, dt_s, taus)[0])).max())
    if growth >= 1 and is_stable(-space.A):
        raise StabilityError(
            f"dt_s must be so short that every mode decays while drives are held during a step; at {numeral(dt_s)} s "
            f"one grows by {growth:.6g} per step. Take a shorter dt_s, or discretisation='exact'."
        )


def _held(space: StateSpace, dt: float, taus: Floats) -> tuple[Floats, Floats, Floats]:
    """Return (1 − α)(I + τ A), (1 − α) τ B and (1 − α) τ a: the whole drive of a unit, held during a step."""
    gain = -np.expm1(-dt / taus)
    rate = gain * taus
    return np.diag(gain) + rate[:, None] * space.A, rate[:, None] * space.B, rate * space.drift


def _exact(space: StateSpace, dt: float, taus: Floats) -> tuple[Floats, Floats, Floats]:
    """Return e^(A dt) − α I and the integrals of e^(A s) B and e^(A s) a over a step."""
    n, step = len(space.A), space.propagator(dt)
    return step[:, :n] - np.diag(np.exp(-dt / taus)), step[:, n:-1], step[:, -1]


def _one_node(
    space: StateSpace, units: nir.NIRNode, W: Floats, B: Floats, b: Floats, metadata: Mapping[str, Any]
) -> nir.NIRGraph:
    """Return input → feed → units → output with units → lateral → units, affine: the only synapses all tools keep."""
    plain = np.array_equal(space.C, np.eye(len(W)))
    name, read = ("xbar", {}) if plain else ("state", {"read": _affine(space.C, space.offset)})
    first, last = ends(B.shape[1], len(space.C))
    nodes = {**first, "feed": _affine(B, b), name: units, "lateral": _affine(W, np.zeros(len(W))), **read, **last}
    # Edges in the order of the nodes: nirtorch runs what it meets first, and the output must come last.
    return chained(nodes, ([INPUT, "feed", name], [name, "lateral", name], [name, *read, OUTPUT]), metadata)


def _affine(weight: Floats, bias: Floats) -> nir.NIRNode:
    return nir.Affine(weight.astype(np.float32), bias.astype(np.float32))
