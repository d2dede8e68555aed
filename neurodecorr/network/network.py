"""`Network`: a stack of layers with its weights and decorrelators, run layer by layer."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _checks
from neurodecorr._missing import unmasked
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.network.algebra import alike, as_numpy
from neurodecorr.network.decorrelation import Decorrelation
from neurodecorr.network.losses import Loss, loss_named
from neurodecorr.network.stack import Stack
from neurodecorr.network.synapses import Signals, Synapses
from neurodecorr.network.system import NetworkCircuit, network_circuit

__all__ = ["Network", "Pass"]

Array = Any  # any array-API array
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Pass:
    """One run of a network on one batch.

    Parameters
    ----------
    signals : tuple of Signals
        Of each weighted layer, from the input on.
    output : (b, k) array
        Activity of the last layer.
    """

    signals: tuple[Signals, ...]
    output: Array


class Network:
    """A stack of layers with its weights.

    ::

        x̄_i = D_i(x_i),   h_{i+1} = W_{i+1} x̄_i + b_{i+1},   x_{i+1} = φ(h_{i+1})

    Parameters
    ----------
    layers : sequence of layer descriptions
        `Dense`, `Conv2d`, `MaxPool2d`, `AvgPool2d`, `Flatten`, from input to output; the last one is linear for
        cross-entropy.
    inputs : int or tuple of int
        Shape of one sample, (features,) or (channels, height, width).
    loss : str or Loss, default "cross_entropy"
        What training makes small.
    decorrelation : Decorrelation, optional
        Of each layer that does not bring its own.
    seed : int, SeedSequence or Generator, default 0
        Of the first weights, uniform in ±1/√n.
    dtype : {"float32", "float64"}
        Type of all numbers.

    Raises
    ------
    ConfigError
        If layers do not chain, a name is unknown, or memory would not hold the weights.

    Examples
    --------
    >>> import numpy as np
    >>> from neurodecorr.network import Dense, Network
    >>> network = Network([Dense(8), Dense(3, "identity")], inputs=4)
    >>> network.forward(np.ones((5, 4))).output.shape
    (5, 3)
    """

    def __init__(
        self,
        layers: Sequence[Any],
        inputs: int | tuple[int, ...],
        *,
        loss: str | Loss = "cross_entropy",
        decorrelation: Decorrelation | None = None,
        seed: Any = 0,
        dtype: str = "float32",
    ) -> None:
        self.loss, self.inputs = loss_named(loss), _shape(inputs)
        name = dtype if isinstance(dtype, str) else np.dtype(_checks.instance(dtype, (type, np.dtype), "dtype")).name
        self.dtype = np.dtype(_checks.choice(name, "dtype", DTYPES))
        plan = Decorrelation() if decorrelation is None else decorrelation
        stack = Stack(
            self.inputs, _checks.instance(plan, Decorrelation, "decorrelation"), _checks.generator(seed), self.dtype
        )
        for index, layer in enumerate(_checks.sequence(layers, "layers")):
            stack.place = f"layer {index} ({type(layer).__name__})"
            _checks.offers(layer, ("build",), stack.place, "a layer, such as Dense(100)")
            layer.build(stack)
        stack.require_end()
        self.layers: list[Synapses] = stack.layers

    def forward(self, X: Array, *, training: bool = False, noise: Sequence[Array | None] | None = None) -> Pass:
        """Run the network layer by layer.

        Parameters
        ----------
        X : (b, *inputs) or (b, features) array
            Inputs.
        training : bool
            Whether a mean or variance of the batch may be used where the plan says so.
        noise : sequence of arrays, optional
            Added to h of each layer (None: nothing).

        Returns
        -------
        Pass
            Signals of each layer, and the output.

        Raises
        ------
        InputError
            If X has another shape, or holds NaN or infinity.
        """
        activity, signals = self._checked(X), []
        if noise is not None:
            noise = self._noise(noise)
        if training is not False and training is not True:
            _checks.flag(training, "training")
        for index, layer in enumerate(self.layers):
            found = layer.respond(activity, training)
            if noise is not None and noise[index] is not None:
                h = found.h
                h += noise[index]
            activity = layer.fire(found.h)
            signals.append(found)
        return Pass(tuple(signals), array_namespace(activity).reshape(activity, (activity.shape[0], -1)))

    def decorrelate(self, signals: Sequence[Signals]) -> None:
        """Let every decorrelator learn from one batch."""
        if len(_checks.several(signals, Signals, "signals")) != len(self.layers):
            raise InputError(f"signals must be one for each of {len(self.layers)} layers; got {len(signals)}.")
        for layer, found in zip(self.layers, signals, strict=True):
            layer.decorrelator.learn(found.x, found.drive, found.xbar)

    def turn_back(self, index: int, E: Array, found: Signals) -> Array:
        """Return the gradient at the activity before layer `index`, for the gradient e at its x̄."""
        layer = self.layers[index]
        return layer.send_back(layer.decorrelator.turn_back(E, found), found.memos)

    def as_circuit(self, tau: float = 1.0, tau_units: float = 1.0) -> NetworkCircuit:
        """Return all layers as one system of ODEs, which rests where `forward` says; see `NetworkCircuit`.

        Parameters
        ----------
        tau, tau_units : float
            Time constants of the decorrelating circuits and of the units.

        Raises
        ------
        ConfigError
            If the network has convolutions or pooling.
        """
        return network_circuit(self.layers, self.inputs, tau, tau_units)

    @property
    def size(self) -> int:
        """Largest side of the matrices that one sample meets: what the number of threads depends on."""
        return max(int(max(*layer.W.shape, math.prod(layer.shape[:-1]))) for layer in self.layers)

    def arrays(self) -> dict[str, Array]:
        """Return everything that learning changes, by name; the arrays themselves, no copies."""
        found = {}
        for index, layer in enumerate(self.layers):
            own = {"W": layer.W, "b": layer.b, **layer.decorrelator.arrays}
            found.update({f"layer{index}.{name}": array for name, array in own.items()})
        return found

    def load(self, arrays: Mapping[str, Any]) -> None:
        """Take over arrays that `arrays` gave, of a network of the same shape; nothing changes unless all fit.

        Raises
        ------
        InputError
            If a name, a shape or a type is not that of this network, or a number is not finite.
        """
        own = self.arrays()
        _checks.mapping(arrays, "arrays")
        for name in sorted(own.keys() ^ arrays.keys()):
            raise InputError(f"arrays of another network: {name!r} is {'missing' if name in own else 'unknown here'}.")
        for name, array in own.items():
            _require_like(arrays[name], array, name)
        for name, array in own.items():
            array[...] = alike(arrays[name], array)

    def copy(self) -> Network:
        """Return a network that shares nothing with this one."""
        return copy.deepcopy(self)

    def to(self, namespace: Any, device: Any = None) -> Network:
        """Return this network in another array library, such as torch, on one of its devices.

        Parameters
        ----------
        namespace : module
            numpy, torch, cupy or another library that follows the array API.
        device : object, optional
            Of that library, such as "cuda"; by default its own default.
        """
        _checks.offers(namespace, ("asarray",), "namespace", "an array library, such as numpy or torch")
        moved = self.copy()
        for layer in moved.layers:
            layer.W, layer.b = (_moved(array, namespace, device) for array in (layer.W, layer.b))
            own = layer.decorrelator.arrays
            own.update({name: _moved(array, namespace, device) for name, array in own.items()})
        return moved

    def take(self, values: Any) -> Array:
        """Return numbers as an array of this network's library, type and device."""
        first = self.layers[0].W
        return alike(_checks.real_array(values, "X") if isinstance(first, np.ndarray) else values, first)

    def _noise(self, noise: Any) -> list[Array | None]:
        found = _checks.sequence(noise, "noise", "a list of arrays, one per layer")
        if len(found) != len(self.layers) or any(
            one is not None and getattr(getattr(one, "dtype", np.dtype(object)), "kind", "f") != "f" for one in found
        ):
            raise InputError(f"noise must be an array or None for each of {len(self.layers)} layers; got {noise!r}.")
        return found

    def _checked(self, X: Array) -> Array:
        X = self.take(X)
        shape = tuple(X.shape)
        if len(shape) < 2 or 0 in shape or shape[1:] not in (self.inputs, (math.prod(self.inputs),)):
            wanted = ", ".join(map(str, self.inputs))
            hint = " Use X[None] for one sample." if shape == self.inputs else ""
            raise InputError(f"X must have the shape (samples, {wanted}); got {shape}.{hint}")
        xp = array_namespace(X)
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(xp.sum(X))
        if total - total != 0:  # NaN or infinity is somewhere, or the sum itself overflows
            _checks.finite(as_numpy(X), "X")
        return xp.reshape(X, (-1, *self.inputs))


def _shape(inputs: Any) -> tuple[int, ...]:
    shape = inputs if isinstance(inputs, tuple | list) else (inputs,)
    if len(shape) not in (1, 3):
        raise ConfigError(f"inputs must be (features,) or (channels, height, width); got {inputs!r}.")
    return tuple(_checks.count(side, "inputs") for side in shape)


def _require_like(value: Any, own: Array, name: str) -> None:
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise InputError(f"{name} must be an array; got {_checks.shown(value)}.")
    found = unmasked(as_numpy(value), name)
    if tuple(found.shape) != tuple(own.shape):
        raise InputError(f"{name} must have the shape {tuple(own.shape)}; got {tuple(found.shape)}.")
    wanted = as_numpy(own).dtype
    if found.dtype != wanted:
        raise InputError(f"{name} must be of type {wanted}; got {found.dtype}.")
    _checks.finite(found, name)


def _moved(array: Array, namespace: Any, device: Any) -> Array:
    values = as_numpy(array).copy()  # libraries may share memory with what they are made from
    xp = array_namespace(namespace.asarray(0.0))
    return xp.asarray(values, device=device) if device is not None else xp.asarray(values)
