"""What is exported: populations of rate units, and the projections between them.

::

    leaky:       τ v̇ = −v + o + ∑ (W y + b)
    integrating: τ v̇ = o + ∑ (W y + b)

with one term per projection that ends at the population; y is the activity of where it begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np

from neurodecorr import _validation
from neurodecorr._typing import Floats
from neurodecorr.circuit import Circuit, SparseCircuit, TwoPopulationCircuit, stability
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.network import Network, NetworkCircuit

INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True, eq=False)
class Population:
    """Units that share a time constant.

    Parameters
    ----------
    name : str
        Its name.
    size : int
        Number of units.
    tau_s : float
        Time constant τ in seconds.
    offset : (size,) array, optional
        Constant drive o.
    leaky : bool, default True
        Whether the activity decays, or is kept.
    """

    name: str
    size: int
    tau_s: float
    offset: Floats | None = None
    leaky: bool = True

    def __repr__(self) -> str:
        return f"Population({self.name!r}, size={self.size}, tau_s={self.tau_s:g})"


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population (or the input) to another (or the output).

    Parameters
    ----------
    name : str
        Its name.
    pre, post : str
        Where it begins and ends.
    weight : (post, pre) array, optional
        W; each unit to its own partner, with weight 1, if it is left out.
    bias : (post,) array, optional
        b.
    """

    name: str
    pre: str
    post: str
    weight: Floats | None = None
    bias: Floats | None = None

    def __repr__(self) -> str:
        size = "" if self.weight is None else f", {self.weight.shape}"
        return f"Projection({self.name!r}, {self.pre!r} → {self.post!r}{size})"


@dataclass(frozen=True, eq=False)
class System:
    """Populations in the order in which signals pass them, their projections, and what is said of them.

    Parameters
    ----------
    inputs : int
        Number of inputs.
    outputs : int
        Number of outputs.
    populations : tuple of Population
        All have state.
    projections : tuple of Projection
        All together.
    metadata : mapping
        Equation, conventions; arrays by which the exact numbers are found again.
    """

    inputs: int
    outputs: int
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = ", ".join(one.name for one in self.populations)
        return f"System(inputs={self.inputs}, outputs={self.outputs}, populations: {names})"


@singledispatch
def system_of(subject: Any, tau_s: float | None, require_stable: bool) -> System:
    """Return what a circuit or network is made of.

    Parameters
    ----------
    subject : Circuit, TwoPopulationCircuit, Network or NetworkCircuit
        What to export.
    tau_s : float, optional
        Its time constant τ in seconds; by default its own `tau` counts as seconds.
    require_stable : bool
        Whether an unstable circuit is an error.

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


@system_of.register
def _circuit(subject: Circuit, tau_s: float | None, require_stable: bool) -> System:
    R, tau = subject.R, _seconds(tau_s, subject.tau)
    if require_stable:
        _require_stable(subject)
    units = Population("xbar", subject.size, tau)
    feed = Projection("feed", INPUT, "xbar")
    lateral = Projection("lateral", "xbar", "xbar", _complement(R))
    read = Projection("read", "xbar", OUTPUT)
    kept = {"subject": "Circuit", "equation": "tau dxbar/dt = x - R xbar", "tau_s": tau, "R": R}
    return System(subject.size, subject.size, (units,), (feed, lateral, read), kept)


@system_of.register
def _pair(subject: TwoPopulationCircuit, tau_s: float | None, require_stable: bool) -> System:
    R, n = subject.R, subject.size
    tau = _seconds(tau_s, subject.tau)
    assert subject.tau_error is not None
    tau_error = subject.tau_error if tau_s is None else tau * (subject.tau_error / subject.tau)
    populations = (Population("error", n, tau_error), Population("xbar", n, tau, leaky=False))
    projections = (
        Projection("feed", INPUT, "error"),
        Projection("back", "error", "xbar", np.ascontiguousarray(R.T)),
        Projection("lateral", "xbar", "error", -R),
        Projection("read", "xbar", OUTPUT),
    )
    equation = "tau_error de/dt = (x - R xbar) - e,  tau dxbar/dt = R^T e"
    kept = {"subject": "TwoPopulationCircuit", "equation": equation, "tau_s": tau, "tau_error_s": tau_error, "R": R}
    return System(n, n, populations, projections, kept)


@system_of.register
def _network(subject: Network, tau_s: float | None, require_stable: bool) -> System:
    return _cascade(subject.as_circuit(), tau_s, require_stable)


@system_of.register
def _cascade(subject: NetworkCircuit, tau_s: float | None, require_stable: bool) -> System:
    _require_linear(subject)
    tau = _seconds(tau_s, subject.tau)
    tau_units = subject.tau_units if tau_s is None else tau * (subject.tau_units / subject.tau)
    populations: list[Population] = []
    projections: list[Projection] = []
    kept: dict[str, Any] = {
        "subject": "NetworkCircuit",
        "equation": "tau dxbar/dt = A (x - mu) - B xbar,  tau_units dy/dt = -y + W xbar + b; y is the next layer's x",
        "tau_s": tau,
        "tau_units_s": tau_units,
        "layers": len(subject.layers),
    }
    below = INPUT
    for index in range(len(subject.layers)):
        first, synapses, found = layer_parts(subject, index, below, tau, require_stable)
        below = f"layer{index}_units"
        populations += [first, Population(below, len(subject.layers[index].b), tau_units)]
        projections += synapses
        kept.update(found)
    projections.append(Projection("read", below, OUTPUT))
    sizes = subject.layers[0].W.shape[1], subject.layers[-1].W.shape[0]
    return System(*sizes, tuple(populations), tuple(projections), kept)


def layer_parts(
    network: NetworkCircuit, index: int, below: str, tau: float, require_stable: bool
) -> tuple[Population, list[Projection], dict[str, Any]]:
    """Return the decorrelating population of one layer, its projections up to the units, and the arrays to keep."""
    layer, name = network.layers[index], f"layer{index}"
    kept = {f"{name}_mean": layer.mean}
    offset = -layer.offset if np.any(layer.mean) else None
    population = Population(f"{name}_xbar", layer.W.shape[1], tau, offset)
    projections = [Projection(f"{name}_feed", below, population.name, layer.feed)]
    if layer.lateral is not None:
        if require_stable:
            _require_stable(Circuit(layer.lateral), f"layer {index}: ")
        kept[f"{name}_lateral_diagonal"] = np.diag(layer.lateral).copy()
        lateral = _complement(layer.lateral)
        projections.append(Projection(f"{name}_lateral", population.name, population.name, lateral))
    projections.append(Projection(f"{name}_weights", population.name, f"{name}_units", layer.W, layer.b))
    return population, projections, kept


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


def _require_linear(network: NetworkCircuit) -> None:
    for index, layer in enumerate(network.layers):
        if layer.activation.name != "identity":
            raise ConfigError(
                f"NIR has no rate non-linearity: every activation must be 'identity'; layer {index} has "
                f"{layer.activation.name!r}. Write one file per layer with write_nir_layers."
            )
