"""From a system to a graph: the canonical one, and those that a simulator runs without a change.

Simulators move a leaky unit from step to step by v ← α v + ρ I, α = e^(−dt/τ), with a ρ of their own. A dialect
scales all that ends at a unit so that a step of the simulator is a step of the circuit::

    held    v ← α v + (1 − α)(x + (I − R) v)    weights × (1 − α)/ρ      error O(dt/τ), exact at rest
    exact   v ← P v + Q x,  P = e^(−R dt/τ)     weights (P − α I)/ρ, Q/ρ  exact at every step for a held input
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.linalg

from neurodecorr import _validation
from neurodecorr._typing import Floats
from neurodecorr._validation import numeral
from neurodecorr.circuit.stability import is_stable
from neurodecorr.errors import ConfigError, StabilityError
from neurodecorr.export.nir.export_graph import INPUT, OUTPUT, Population, Projection, System
from neurodecorr.export.nir.graph import Graph, Node
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

    units: Callable[[Floats, float], Node]
    share: Callable[[Floats], Floats]
    smallest: int = 1


def _sinabs_units(taus: Floats, dt: float) -> Node:
    """Its τ is in steps, and r must be 1."""
    return _leaky(taus / dt, np.ones(len(taus)))


def _rockpool_units(taus: Floats, dt: float) -> Node:
    """It cuts τ to a whole number and takes its step to be τ/(1 + r): of the unit nothing but the ratio matters."""
    if np.ptp(taus) == 0:
        whole = np.full(len(taus), max(1.0, round(taus[0] * 1e3)))
        return _leaky(whole, taus / dt - 1)
    microseconds = np.rint(taus * 1e6)
    if microseconds.min() < 100 or microseconds.max() >= 2**24:
        raise ConfigError("rockpool reads time constants from 100 µs to 16 s where they differ between units.")
    return _leaky(microseconds, microseconds / (dt * 1e6) - 1)


def _leaky(tau: Floats, r: Floats) -> Node:
    parameters = {"tau": tau.astype(np.float32), "r": r.astype(np.float32)}
    return Node("LI", {**parameters, "v_leak": np.zeros(len(tau), np.float32)})


SIMULATORS = {
    "sinabs": Simulator(_sinabs_units, np.ones_like),
    "rockpool": Simulator(_rockpool_units, lambda steps: np.exp(-1 / steps), smallest=2),
}


def graph_in(system: System, dialect: str, dt_s: float | None, discretisation: str) -> Graph:
    """Return the graph of a system in a dialect.

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
        return canonical(system)
    if dt_s is None:
        raise ConfigError(f"the dialect {dialect!r} needs dt_s, the step of the simulator in seconds, such as 1e-4.")
    dt, simulator = _validation.positive(dt_s, "dt_s", "seconds"), SIMULATORS[dialect]
    space, taus = space_and_taus(system)
    if dt >= taus.min():
        raise ConfigError(f"dt_s must be < {numeral(taus.min())} s, the shortest time constant; got {dt_s!r}.")
    if len(taus) < simulator.smallest:
        raise ConfigError(f"{dialect} reads at least {simulator.smallest} units; the circuit has {len(taus)}.")
    if discretisation == "held":
        require_stable_step(system, dt)
    else:
        taus = np.full(len(taus), taus.min())
    W, B, b = (_held if discretisation == "held" else _exact)(space, dt, taus)
    scale = 1 / simulator.share(taus / dt)
    return _one_node(space, simulator.units(taus, dt), scale[:, None] * W, scale[:, None] * B, scale * b)


def space_and_taus(system: System) -> tuple[StateSpace, Floats]:
    """Return the linear system that a system is, and the time constant of each of its states in seconds."""
    space = state_space_of(canonical(system))
    own = {unit.name: unit.tau_s for unit in system.populations}
    return space, np.concatenate([np.full(size, own[name.partition("_")[2]]) for name, size in space.states])


def require_stable_step(system: System, dt_s: float) -> None:
    """Raise where a system that settles would not, if the drive of each unit is held during a step of `dt_s`.

    Raises
    ------
    StabilityError
        If a mode grows from step to step; its factor is named.
    """
    space, taus = space_and_taus(system)
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
    n, m = space.B.shape
    whole = np.zeros((n + m + 1, n + m + 1))
    whole[:n] = np.concatenate([space.A, space.B, space.drift[:, None]], axis=1) * dt
    step = scipy.linalg.expm(whole)[:n]
    return step[:, :n] - np.diag(np.exp(-dt / taus)), step[:, n : n + m], step[:, -1]


def _one_node(space: StateSpace, units: Node, W: Floats, B: Floats, b: Floats) -> Graph:
    """Return input → feed → units → output with units → lateral → units, affine: the only synapses all tools keep."""
    plain = np.array_equal(space.C, np.eye(len(W)))
    name = "xbar" if plain else "state"
    nodes = [(INPUT, Node("Input", {"shape": np.array([B.shape[1]])})), ("feed", _affine(B, b))]
    nodes += [(name, units), ("lateral", _affine(W, np.zeros(len(W))))]
    nodes += [] if plain else [("read", _affine(space.C, space.offset))]
    nodes.append((OUTPUT, Node("Output", {"shape": np.array([len(space.C)])})))
    names = _numbered([key for key, _ in nodes])
    chain = [INPUT, "feed", name, *([] if plain else ["read"]), OUTPUT]
    # Edges in the order of the nodes: nirtorch runs what it meets first, and the output must come last.
    edges = [*pairwise(chain[:3]), (name, "lateral"), ("lateral", name), *pairwise(chain[2:])]
    return Graph({names[key]: node for key, node in nodes}, tuple((names[pre], names[post]) for pre, post in edges))


def _affine(weight: Floats, bias: Floats) -> Node:
    return Node("Affine", {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)})


def _units(unit: Population) -> Node:
    n = unit.size
    offset = np.zeros(n) if unit.offset is None else np.asarray(unit.offset, np.float64)
    if unit.leaky:
        return Node("LI", {"tau": np.full(n, unit.tau_s), "r": np.ones(n), "v_leak": offset})
    return Node("I", {"r": np.full(n, 1 / unit.tau_s)})


def _synapses(projection: Projection, size: int) -> Node | None:
    if projection.weight is None and projection.bias is None:
        return None
    if projection.bias is None:
        return Node("Linear", {"weight": projection.weight})  # type: ignore[dict-item]
    weight = np.eye(size) if projection.weight is None else projection.weight
    return Node("Affine", {"weight": weight, "bias": projection.bias})


def _numbered(names: list[str]) -> dict[str, str]:
    """Return names that sort in their order: tools read nodes by the alphabet."""
    width = max(2, len(str(len(names) - 1)))
    return {name: f"{index:0{width}d}_{name}" for index, name in enumerate(names)}


def canonical(system: System) -> Graph:
    """Return the graph that says what the system is, in seconds, its nodes in the order in which signals pass them."""
    rank = {INPUT: -1, **{unit.name: index for index, unit in enumerate(system.populations)}}
    rank[OUTPUT] = len(system.populations)
    sizes = {INPUT: system.inputs, OUTPUT: system.outputs, **{unit.name: unit.size for unit in system.populations}}
    forth: dict[str, list[Projection]] = {name: [] for name in rank}
    back: dict[str, list[Projection]] = {name: [] for name in rank}
    for projection in system.projections:
        ahead = rank[projection.pre] < rank[projection.post]
        (forth[projection.post] if ahead else back[projection.pre]).append(projection)
    order: list[tuple[str, Node]] = [(INPUT, Node("Input", {"shape": np.array([system.inputs])}))]
    made = {projection.name: _synapses(projection, sizes[projection.pre]) for projection in system.projections}

    def place(projections: list[Projection]) -> None:
        order.extend((one.name, node) for one in projections if (node := made[one.name]) is not None)

    for unit in system.populations:
        place(forth[unit.name])
        order.append((unit.name, _units(unit)))
        place(back[unit.name])
    place(forth[OUTPUT])
    order.append((OUTPUT, Node("Output", {"shape": np.array([system.outputs])})))
    names = _numbered([name for name, _ in order])
    edges: list[tuple[str, str]] = []
    for one in system.projections:
        stops = [one.pre, *([one.name] if made[one.name] is not None else []), one.post]
        edges += [(names[pre], names[post]) for pre, post in pairwise(stops)]
    return Graph({names[name]: node for name, node in order}, tuple(edges))
