"""A network in a bundle: its layers' circuits, feedforward weights, and what goes from one layer to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import Array, samples
from neurodecorr.circuit import Circuit
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.hardware.bundle.tables import matrix_text
from neurodecorr.hardware.nir import read_nir, write_nir
from neurodecorr.hardware.spice import write_spice_network
from neurodecorr.network import Network, NetworkCircuit
from neurodecorr.network.activations import Activation, activation_named
from neurodecorr.recording import Result, load_result, write_text

__all__ = [
    "NETWORK",
    "NETWORK_NIR",
    "NETWORK_SPICE",
    "Layer",
    "Stack",
    "circuits_of",
    "read_stack",
    "stack_of",
    "write_stack",
]

Floats = npt.NDArray[np.floating[Any]]

NETWORK, NETWORK_NIR, NETWORK_SPICE = "network.npz", "network.nir", "network.cir"
ROUNDING = 1e-9  # of y, relative to its largest: digits of a circuit of condition 1e6


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    ::

        R x̄ = x − μ,    y = φ(W x̄ + b)

    Parameters
    ----------
    R : (n, n) array
        Lateral weights; of a feedforward decorrelator the inverse of M; the identity without one.
    mean : (n,) array
        μ.
    W, b : (units, n) and (units,) arrays
        Weights and biases.
    activation : Activation
        φ.
    """

    R: Floats
    mean: Floats
    W: Floats
    b: Floats
    activation: Activation

    def __repr__(self) -> str:
        units, n = self.W.shape
        return f"Layer({n} → {units}, {self.activation.name})"


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers, golden inputs, and the response of every layer.

    Parameters
    ----------
    layers : tuple of Layer
        From the input on.
    x : (k, n) array
        Raw inputs of the first layer.
    activity : tuple of (k, units) arrays
        y of each layer.
    """

    layers: tuple[Layer, ...]
    x: Floats
    activity: tuple[Floats, ...]

    def __repr__(self) -> str:
        return f"Stack({', '.join(map(repr, self.layers))}, samples={len(self.x)})"

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
    def from_arrays(cls, arrays: Mapping[str, Array], circuits: Sequence[tuple[Floats, Floats]], place: str) -> Stack:
        """Return what `arrays` gave, with R and μ of each layer, after holding every y against the equation.

        Raises
        ------
        CheckpointError
            If something is missing, of another shape, or not the response of the network.
        """
        try:
            kinds = [activation_named(str(name)) for name in arrays["activations"]]
            parts = [[arrays[f"layer{i}.{name}"] for name in ("W", "b", "activity")] for i in range(len(kinds))]
            layers = tuple(
                Layer(R, mean, W, b, kind) for (R, mean), (W, b, _), kind in zip(circuits, parts, kinds, strict=True)
            )
            found = cls(layers, arrays["x"], tuple(y for _, _, y in parts))
            expected = tuple(_responses(layers, found.x))
            for i, (y, wanted) in enumerate(zip(found.activity, expected, strict=True)):
                if y.shape != wanted.shape or not np.abs(y - wanted).max() <= ROUNDING * max(1.0, np.abs(wanted).max()):
                    raise CheckpointError(f"{place}: layer{i}.activity must be the response of the network; it is not.")
        except (KeyError, ValueError, ConfigError, np.linalg.LinAlgError) as error:
            raise CheckpointError(f"{place} must hold a network that fits its circuits: {error}") from None
        return found


def stack_of(network: Network, X: npt.ArrayLike) -> Stack:
    """Return the layers of a network, in float64, with the responses to X.

    Parameters
    ----------
    network : Network
        Of dense layers.
    X : (k, features) array_like
        Raw inputs.

    Raises
    ------
    ConfigError
        If a layer is no dense one.
    InputError
        If X is not a finite (k, features) array, or a matrix M is singular.
    """
    layers = tuple(_layer(one.feed, one.lateral, one.mean, one.W, one.b, one.activation) for one in _dense(network))
    x = samples(np.atleast_2d(np.asarray(X, np.float64)), "x", layers[0].W.shape[1])
    return Stack(layers, x, tuple(_responses(layers, x)))


def write_stack(folder: Path, network: Network, stack: Stack, tau_s: float, simulator: str) -> None:
    """Write what belongs to the whole network: weights, a netlist, and a NIR graph where φ is the identity.

    Time constants of the units are those of the circuits, τ' = τ.
    """
    Result(stack.arrays(), {"equation": "R x̄ = x − μ, y = φ(W x̄ + b)", "tau_s": tau_s}).save(folder / NETWORK)
    for file, text in stack.tables().items():
        write_text(folder / file, text)
    system = network.as_circuit(tau_s, tau_s)
    write_spice_network(system, stack.x[0], folder / NETWORK_SPICE, simulator)
    if stack.linear:
        write_nir(system, folder / NETWORK_NIR)


def read_stack(folder: Path, circuits: Sequence[tuple[Floats, Floats]], place: str) -> Stack:
    """Read a network and hold its files against each other.

    Raises
    ------
    CheckpointError
        With the file that does not agree.
    """
    stack = Stack.from_arrays(load_result(folder / NETWORK).arrays, circuits, f"{place}: {NETWORK}")
    for name, text in stack.tables().items():
        if (folder / name).read_bytes() != text.encode():
            raise CheckpointError(f"{place}: {name} must hold the numbers of {NETWORK}; they differ.")
    announced = [float(line.rpartition("=")[2]) for line in _announcements(folder / NETWORK_SPICE)]
    outputs = stack.activity[-1][0]
    gap = np.abs(np.array(announced) - outputs) if len(announced) == len(outputs) else np.array([np.inf])
    if not gap.max() <= ROUNDING * max(1.0, float(np.abs(outputs).max())):
        raise CheckpointError(f"{place}: {NETWORK_SPICE} must announce the output of {NETWORK}; it does not.")
    if stack.linear:
        _require_nir(read_nir(folder / NETWORK_NIR), stack, f"{place}: {NETWORK_NIR}")
    return stack


def _announcements(netlist: Path) -> list[str]:
    return [line for line in netlist.read_text(encoding="utf-8").splitlines() if line.startswith("* output ")]


def _require_nir(found: Any, stack: Stack, place: str) -> None:
    parts = found.layers if isinstance(found, NetworkCircuit) else ()
    same = len(parts) == len(stack.layers) and all(
        np.array_equal(part.W, own.W) and np.array_equal(part.b, own.b) and np.array_equal(part.mean, own.mean)
        for part, own in zip(parts, stack.layers, strict=True)
    )
    if not same:
        raise CheckpointError(f"{place} must hold the weights of {NETWORK} to the bit; it does not.")


def circuits_of(stack: Stack, tau_s: float) -> dict[str, tuple[Circuit, Floats]]:
    """Return the circuit of each layer and its stimuli, by name."""
    return {
        name: (Circuit(layer.R, tau_s), drive)
        for name, layer, drive in zip(_names(stack), stack.layers, stack.drives, strict=True)
    }


def _dense(network: Network) -> Any:
    try:
        return network.as_circuit().layers
    except ConfigError as error:
        raise ConfigError(
            f"a network must be dense to be exported whole; {error} Or export its circuits by name."
        ) from None


def _layer(feed: Any, lateral: Any, mean: Floats, W: Floats, b: Floats, activation: Activation) -> Layer:
    try:
        R = np.linalg.inv(feed) if feed is not None else lateral
    except np.linalg.LinAlgError:
        raise InputError("M of each feedforward layer must be invertible to be a circuit; one is singular.") from None
    return Layer(np.eye(len(mean)) if R is None else np.asarray(R, np.float64), mean, W, b, activation)


def _responses(layers: Sequence[Layer], x: Floats) -> Iterator[Floats]:
    for layer in layers:
        xbar = np.linalg.solve(layer.R, (x - layer.mean).T).T
        x = np.asarray(layer.activation.value(xbar @ layer.W.T + layer.b))
        yield x


def _names(stack: Stack) -> list[str]:
    return [f"layer{i}" for i in range(len(stack.layers))]
