"""`Network`: a stack of layers with its weights and decorrelators, run layer by layer."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _validation
from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr._validation import unmasked
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.network import routes
from neurodecorr.network.activations import Activation, activation_named
from neurodecorr.network.algebra import alike, as_numpy
from neurodecorr.network.decorrelators import Decorrelation, decorrelator
from neurodecorr.network.losses import Loss, loss_named
from neurodecorr.network.ode import NetworkCircuit, network_circuit
from neurodecorr.network.torch import torch_device
from neurodecorr.network.weights import FoldedSignals, LayerSignals, Signals, WeightedLayer

# Matrices of the size of M that a form of decorrelation keeps.
_SQUARES = {"none": 0, "feedforward": 1, "recurrent": 2, "batch_norm": 0}


class Stack:
    """Layers built so far, and the route from the last of them.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample.
    plan : Decorrelation
        Of layers that do not bring their own.
    rng : Generator
        Draws the first weights, uniform in ±1/√n.
    dtype : dtype
        Type of all numbers.
    """

    def __init__(self, shape: tuple[int, ...], plan: Decorrelation, rng: np.random.Generator, dtype: Any) -> None:
        self.shape, self.plan, self.rng, self.dtype = shape, plan, rng, dtype
        self.layers: list[WeightedLayer] = []
        self.place = "layer 0"
        self._routes: list[routes.Route] = []
        self._numbers = 0

    def route(self, route: routes.Route) -> None:
        """Go on by a map without weights."""
        self._routes.append(route)
        self.shape = route.shape_behind

    def flatten(self) -> None:
        """Go on with one row of features per sample."""
        if len(self.shape) > 1:
            self.route(routes.FlattenRoute(self.shape))

    def pictures(self, size: int, padding: int = 0) -> tuple[int, ...]:
        """Return the shape (H, W, C) of the pictures here, on which windows of a size must fit.

        Raises
        ------
        ConfigError
            If there are none, or they are smaller than a window.
        """
        if len(self.shape) != 3:
            raise ConfigError(
                f"{self.place} needs pictures, (channels, height, width); what comes before it gives "
                f"{self.shape[0]} features. Put it before the first Dense or Flatten, or set inputs=(C, H, W)."
            )
        if not self.layers and not self._routes:
            self.route(routes.ChannelsLast(self.shape))
        if min(self.shape[:2]) + 2 * padding < size:
            raise ConfigError(
                f"{self.place} needs pictures of at least {size} × {size}; what comes before it gives "
                f"{self.shape[0]} × {self.shape[1]}, with padding {padding}. Use a smaller window, or fewer layers."
            )
        return self.shape

    def weigh(
        self, units: int, activation: str | Activation, plan: Decorrelation | None, shape: tuple[int, ...]
    ) -> None:
        """Add weights on the rows that lie at the end of the way; `shape` is that of the new activity."""
        n, plan = self.shape[-1], plan or self.plan
        self._require_memory(units * n + _SQUARES[plan.form] * n * n)
        W = self.rng.uniform(-1, 1, (units, n)) / np.sqrt(n)
        state = decorrelator(plan, n, math.prod(shape[:-1]), self.dtype)
        self.layers.append(
            WeightedLayer(
                W.astype(self.dtype),
                np.zeros(units, self.dtype),
                activation_named(activation),
                state,
                tuple(self._routes),
                shape,
            )
        )
        self.shape, self._routes = shape, []

    def require_end(self) -> None:
        """Raise unless the last layer has weights.

        Raises
        ------
        ConfigError
            If there are no layers, or the way behind the last one leads nowhere.
        """
        if not self.layers:
            raise ConfigError("layers must hold at least one layer with weights (Dense or Conv2d); got none.")
        if self._routes:
            raise ConfigError(f"the last layer must have weights; {self.place} has none. Put a Dense layer behind it.")

    def _require_memory(self, numbers: int) -> None:
        self._numbers += numbers
        advice = f"That is up to {self.place}. Use fewer units, or no decorrelation where a layer has many inputs."
        try:
            require_memory(self._numbers * self.dtype.itemsize, "weights and lateral matrices", advice)
        except InputError as error:
            raise ConfigError(str(error)) from None


DTYPES = ("float32", "float64")


@short_repr
@dataclass(frozen=True)
class ForwardResult:
    """One run of a network on one batch.

    Parameters
    ----------
    signals : tuple of Signals
        Of each weighted layer, from the input on.
    output : (b, k) array
        Activity of the last layer.
    """

    signals: tuple[LayerSignals, ...]
    output: AnyArray


@short_repr
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
    >>> from neurodecorr.network.layers import Dense
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
        name = (
            dtype if isinstance(dtype, str) else np.dtype(_validation.instance(dtype, (type, np.dtype), "dtype")).name
        )
        self.dtype = np.dtype(_validation.choice(name, "dtype", DTYPES))
        plan = Decorrelation() if decorrelation is None else decorrelation
        stack = Stack(
            self.inputs,
            _validation.instance(plan, Decorrelation, "decorrelation"),
            _validation.generator(seed),
            self.dtype,
        )
        for index, layer in enumerate(_validation.sequence(layers, "layers")):
            stack.place = f"layer {index} ({type(layer).__name__})"
            _validation.offers(layer, ("build",), stack.place, "a layer, such as Dense(100)")
            layer.build(stack)
        stack.require_end()
        self.layers: list[WeightedLayer] = stack.layers

    def forward(
        self, X: AnyArray, *, training: bool = False, noise: Sequence[AnyArray | None] | None = None
    ) -> ForwardResult:
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
        ForwardResult
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
            _validation.flag(training, "training")
        for index, layer in enumerate(self.layers):
            found = layer.respond(activity, training)
            if noise is not None and noise[index] is not None:
                h = found.h
                h += noise[index]
            activity = layer.fire(found.h)
            signals.append(found)
        return ForwardResult(tuple(signals), array_namespace(activity).reshape(activity, (activity.shape[0], -1)))

    def decorrelate(self, signals: Sequence[LayerSignals]) -> None:
        """Let every decorrelator learn from one batch."""
        if len(_validation.several(signals, (Signals, FoldedSignals), "signals")) != len(self.layers):
            raise InputError(f"signals must be one for each of {len(self.layers)} layers; got {len(signals)}.")
        for layer, found in zip(self.layers, signals, strict=True):
            layer.decorrelator.learn(found)

    def prepared(self, samples: int) -> Network:
        """Return a network that gives the same for many samples without learning: W M is made once where it pays.

        It holds W M as it is now; what this network learns later does not reach it.

        Parameters
        ----------
        samples : int
            How many are to come.
        """
        _validation.count(samples, "samples")
        made = copy.copy(self)
        made.layers = [layer.prepared(samples) for layer in self.layers]
        return made

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

    @property
    def convolves(self) -> bool:
        """Whether patches of pictures are made by passes of our own, which take threads as BLAS does."""
        ways = (route for layer in self.layers for route in layer.routes)
        return isinstance(self.layers[0].W, np.ndarray) and any(isinstance(way, routes.Patches) for way in ways)

    def __repr__(self) -> str:
        shapes = " → ".join("×".join(map(str, shape)) for shape in [self.inputs, *(x.shape for x in self.layers)])
        forms = ", ".join(sorted({layer.decorrelator.plan.form for layer in self.layers} - {"none"}))
        shown = shapes if len(shapes) < 120 else f"{len(self.layers)} layers"
        return f"Network({shown}, {forms or 'no decorrelation'}, {self.dtype})"

    def arrays(self) -> dict[str, AnyArray]:
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
        _validation.mapping(arrays, "arrays")
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
        _validation.offers(namespace, ("asarray",), "namespace", "an array library, such as numpy or torch")
        moved = self.copy()
        for layer in moved.layers:
            layer.W, layer.b = (_moved(array, namespace, device) for array in (layer.W, layer.b))
            own = layer.decorrelator.arrays
            own.update({name: _moved(array, namespace, device) for name, array in own.items()})
        return moved

    def take(self, values: Any) -> AnyArray:
        """Return numbers as an array of this network's library, type and device."""
        first = self.layers[0].W
        return alike(_validation.real_array(values, "X") if isinstance(first, np.ndarray) else values, first)

    def _noise(self, noise: Any) -> list[AnyArray | None]:
        found = _validation.sequence(noise, "noise", "a list of arrays, one per layer")
        if len(found) != len(self.layers) or any(
            one is not None and getattr(getattr(one, "dtype", np.dtype(object)), "kind", "f") != "f" for one in found
        ):
            raise InputError(f"noise must be an array or None for each of {len(self.layers)} layers; got {noise!r}.")
        return found

    def _checked(self, X: AnyArray) -> AnyArray:
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
            _validation.finite(as_numpy(X), "X")
        return xp.reshape(X, (-1, *self.inputs))


def _shape(inputs: Any) -> tuple[int, ...]:
    shape = inputs if isinstance(inputs, tuple | list) else (inputs,)
    if len(shape) not in (1, 3):
        raise ConfigError(f"inputs must be (features,) or (channels, height, width); got {inputs!r}.")
    return tuple(_validation.count(side, "inputs") for side in shape)


def _require_like(value: Any, own: AnyArray, name: str) -> None:
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise InputError(f"{name} must be an array; got {_validation.shown(value)}.")
    found = unmasked(as_numpy(value), name)
    if tuple(found.shape) != tuple(own.shape):
        raise InputError(f"{name} must have the shape {tuple(own.shape)}; got {tuple(found.shape)}.")
    wanted = as_numpy(own).dtype
    if found.dtype != wanted:
        raise InputError(f"{name} must be of type {wanted}; got {found.dtype}.")
    _validation.finite(found, name)


def _moved(array: AnyArray, namespace: Any, device: Any) -> AnyArray:
    values = as_numpy(array).copy()  # libraries may share memory with what they are made from
    xp = array_namespace(namespace.asarray(0.0))
    return xp.asarray(values, device=device) if device is not None else xp.asarray(values)


def on_device(network: Network, device: str) -> Network:
    """Return a network whose arrays are PyTorch tensors on one of its devices.

    The code that runs is the same; see `Network.to` for other array libraries.

    Parameters
    ----------
    network : Network
        Left as it is.
    device : str
        As PyTorch names it: "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    ConfigError
        If PyTorch is not installed, knows no such device, or cannot reach it.
    """
    return network.to(*torch_device(device))
