"""A network in a bundle: its layers' circuits, feedforward weights, and what goes from one layer to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Array, Floats
from neurodecorr._validation import finite, real_array, samples
from neurodecorr.circuit import Circuit
from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.export.bundle.contents import Part
from neurodecorr.export.nir.files import nir_parts
from neurodecorr.export.spice.netlist import netlist
from neurodecorr.io import Result, load_result
from neurodecorr.io.cells import matrix_text
from neurodecorr.network import Network, NetworkCircuit
from neurodecorr.network.activations import Activation, activation_named
from neurodecorr.network.ode import LayerCircuit

NETWORK, NETWORK_NIR, NETWORK_SPICE = "network.npz", "network.nir", "network.cir"
ROUNDING = 1e-9  # of y, relative to its largest: digits of a circuit of condition 1e6


@dataclass(frozen=True, eq=False)
class NetworkContents:
    """Layers, golden inputs, and the response of every layer.

    Parameters
    ----------
    system : NetworkCircuit
        All layers as one circuit, in seconds; the units have the time constant of the circuits, τ' = τ.
    x : (k, n) array
        Raw inputs of the first layer.
    activity : tuple of (k, units) arrays
        y of each layer.
    """

    system: NetworkCircuit
    x: Floats
    activity: tuple[Floats, ...]

    def __repr__(self) -> str:
        layers = (f"{one.W.shape[1]} → {len(one.W)} {one.activation.name}" for one in self.layers)
        return f"NetworkContents({', '.join(layers)}, samples={len(self.x)})"

    @property
    def layers(self) -> tuple[LayerCircuit, ...]:
        """Layers from the input on."""
        return self.system.layers

    @property
    def linear(self) -> bool:
        """Whether every φ is the identity."""
        return all(layer.activation.name == "identity" for layer in self.layers)

    @property
    def drives(self) -> tuple[Floats, ...]:
        """Centred input x − μ of each layer."""
        below = (self.x, *self.activity[:-1])
        return tuple(x - layer.mean for x, layer in zip(below, self.layers, strict=True))

    def arrays(self) -> dict[str, Array]:
        """Return everything but R and the means, which the circuits' own files hold."""
        found: dict[str, Array] = {"x": self.x, "activations": np.array([one.activation.name for one in self.layers])}
        for name, layer, y in zip(_names(self), self.layers, self.activity, strict=True):
            found |= {f"{name}.W": layer.W, f"{name}.b": layer.b, f"{name}.activity": y}
            found |= {} if layer.feed is None else {f"{name}.feed": layer.feed}
        return found

    def tables(self) -> dict[str, str]:
        """Return W and b of each layer as CSV, by relative name."""
        found = {}
        for name, layer in zip(_names(self), self.layers, strict=True):
            h, u = [f"h{i}" for i in range(len(layer.W))], [f"u{j}" for j in range(layer.W.shape[1])]
            law = f"y = phi(W xbar + b), phi: {layer.activation.name}. Rows are postsynaptic, columns presynaptic."
            found[f"{name}/W.csv"] = matrix_text(("Feedforward weights W, dimensionless.", law), layer.W, u, h, "post")
            found[f"{name}/b.csv"] = matrix_text(
                ("Biases b, in the unit of xbar.", law), layer.b[:, None], ["b"], h, "post"
            )
        return found

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Array], circuits: Sequence[tuple[Floats, Floats]], tau_s: float, place: str
    ) -> NetworkContents:
        """Return what `arrays` gave, with R, μ and τ of its layers, after holding every y against the equation.

        Raises
        ------
        CheckpointError
            If something is missing, of another shape, or not the response of the network.
        """
        wide = {name: array if array.dtype.kind == "U" else _wide(array, name) for name, array in arrays.items()}
        try:
            kinds = [activation_named(str(name)) for name in wide["activations"]]
            parts = [[wide[f"layer{i}.{name}"] for name in ("W", "b", "activity")] for i in range(len(kinds))]
            layers = []
            for i, ((R, mean), (W, b, _), kind) in enumerate(zip(circuits, parts, kinds, strict=True)):
                layers.append(_layer(wide.get(f"layer{i}.feed"), R, mean, W, b, kind))
                if layers[-1].feed is not None and not _inverse_of(R, layers[-1].feed):
                    raise CheckpointError(f"{place}: layer{i}.feed must be the inverse of R; it is not.")
            system = NetworkCircuit(tuple(layers), tau_s, tau_s)
            found = cls(system, wide["x"], tuple(y for _, _, y in parts))
            for i, (y, (_, wanted)) in enumerate(zip(found.activity, system.rests(found.x), strict=True)):
                if y.shape != wanted.shape or not np.abs(y - wanted).max() <= ROUNDING * max(1.0, np.abs(wanted).max()):
                    raise CheckpointError(f"{place}: layer{i}.activity must be the response of the network; it is not.")
        except (KeyError, ValueError, ConfigError, np.linalg.LinAlgError) as error:
            raise CheckpointError(f"{place} must hold a network that fits its circuits: {error}") from None
        return found


def stack_of(network: Network, X: npt.ArrayLike, tau_s: float) -> NetworkContents:
    """Return the layers of a network, in float64, with the responses to X.

    Parameters
    ----------
    network : Network
        Of dense layers.
    X : (k, features) array_like
        Raw inputs.
    tau_s : float
        Time constant of circuits and units, in seconds.

    Raises
    ------
    ConfigError
        If a layer is no dense one.
    InputError
        If X is not a finite (k, features) array, or a matrix M is singular.
    """
    try:
        own = network.as_circuit(tau_s, tau_s).layers
    except ConfigError as error:
        raise ConfigError(
            f"a network must be dense to be exported whole; {error} Or export its circuits by name."
        ) from None
    layers = tuple(_layer(one.feed, one.R, one.mean, one.W, one.b, one.activation) for one in own)
    system = NetworkCircuit(layers, tau_s, tau_s)
    x = samples(np.atleast_2d(np.asarray(X, np.float64)), "x", layers[0].W.shape[1])
    return NetworkContents(system, x, tuple(y for _, y in system.rests(x)))


def stack_facts(stack: NetworkContents, simulator: str) -> dict[str, float]:
    """Return what depends on eigenvalues, whose last digits differ from machine to machine."""
    return {"t_end_s": netlist(stack.system, stack.x[0], simulator=simulator).run.stop_s}


def stack_parts(
    stack: NetworkContents, rest: Sequence[Floats], simulator: str, facts: Mapping[str, Any]
) -> dict[str, Part]:
    """Return what belongs to the whole network, by name: weights, a netlist, and a NIR graph where φ is the identity.

    Parameters
    ----------
    stack : NetworkContents
        The network.
    rest : sequence of (n,) arrays
        x̄ of each layer under the first input.
    simulator : {"ngspice", "gnucap"}
        Dialect of the netlist.
    facts : mapping
        From `stack_facts`, or what a manifest says in their place.
    """
    deck = netlist(stack.system, stack.x[0], simulator=simulator, t_end_s=facts["t_end_s"])
    values = [*(value for xbar in rest for value in xbar), *stack.activity[-1][0]]
    expected = tuple(replace(one, expected=float(value)) for one, value in zip(deck.probes, values, strict=True))
    parts: dict[str, Part] = {
        NETWORK: Result(stack.arrays(), {"equation": "R x̄ = x − μ, y = φ(W x̄ + b)", "tau_s": stack.system.tau}),
        **stack.tables(),
        NETWORK_SPICE: replace(deck, probes=expected).text(),
    }
    return parts | ({NETWORK_NIR: nir_parts(stack.system)} if stack.linear else {})


def read_stack(folder: Path, circuits: Sequence[tuple[Floats, Floats]], tau_s: float, place: str) -> NetworkContents:
    """Read the weights of a network and hold them against its circuits.

    Raises
    ------
    CheckpointError
        If something is missing, or not the response of the network.
    """
    return NetworkContents.from_arrays(load_result(folder / NETWORK).arrays, circuits, tau_s, f"{place}: {NETWORK}")


def circuits_of(stack: NetworkContents) -> dict[str, tuple[Circuit, Floats]]:
    """Return the circuit of each layer and its stimuli, by name."""
    return {
        name: (Circuit(layer.R, stack.system.tau), drive)
        for name, layer, drive in zip(_names(stack), stack.layers, stack.drives, strict=True)
    }


def _layer(feed: Floats | None, R: Floats, mean: Floats, W: Floats, b: Floats, activation: Activation) -> LayerCircuit:
    """Return a layer whose R stands where it acts: not beside M, and not where it is the identity."""
    trivial = feed is not None or np.array_equal(R, np.eye(len(R)))
    return LayerCircuit(feed, None if trivial else R, mean, W, b, activation)


def _inverse_of(R: Floats, M: Floats) -> bool:
    """Return whether R M = I as well as rounding allows."""
    if R.shape != M.shape:
        return False
    allowed = 16 * len(R) * np.finfo(float).eps * np.linalg.norm(R) * np.linalg.norm(M)
    return bool(np.abs(R @ M - np.eye(len(R))).max() <= allowed)


def _wide(array: Array, name: str) -> Floats:
    return np.asarray(finite(real_array(array, name), name), np.float64)


def _names(stack: NetworkContents) -> list[str]:
    return [f"layer{i}" for i in range(len(stack.layers))]
