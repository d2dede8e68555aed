"""What a model file says of each layer; `build` puts it on top of a stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr.network import routes
from neurodecorr.network.activations import Activation, activation_named
from neurodecorr.network.decorrelators import Decorrelation

if TYPE_CHECKING:
    from neurodecorr.network.network import Stack


@short_repr
@dataclass(frozen=True)
class Dense:
    """Describe a layer in which every unit hears every input.

    ::

        h = W x̄ + b,    x = φ(h)

    Parameters
    ----------
    units : int
        Number of units.
    activation : str or Activation, default "leaky_relu"
        φ.
    decorrelation : Decorrelation, optional
        Of this layer's input; by default that of the network.
    """

    units: int
    activation: str | Activation = "leaky_relu"
    decorrelation: Decorrelation | None = None

    def __post_init__(self) -> None:
        _validation.count(self.units, "units")
        activation_named(self.activation)
        if self.decorrelation is not None:
            _validation.instance(self.decorrelation, Decorrelation, "decorrelation")

    def build(self, stack: Stack) -> None:
        """Put the layer on top of a stack."""
        stack.flatten()
        stack.weigh(self.units, self.activation, self.decorrelation, (self.units,))


@short_repr
@dataclass(frozen=True)
class Conv2d:
    """Describe a convolution: units that hear one patch each, with the same weights at every place.

    ::

        h = W x̄ + b at every place,    x̄ its decorrelated patch

    The patches are decorrelated, by one M for all places (P0 Appendix F); their features lie in the order (row,
    column, channel), and so do the weights of a unit.

    Parameters
    ----------
    channels : int
        Number of units per place.
    kernel : int
        Side of a patch.
    stride, padding : int
        Step from one patch to the next, and zeros added at each border.
    activation : str or Activation, default "leaky_relu"
        φ.
    decorrelation : Decorrelation, optional
        Of the patches; by default that of the network.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner (1998), Proceedings of the IEEE 86, 2278–2324.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    activation: str | Activation = "leaky_relu"
    decorrelation: Decorrelation | None = None

    def __post_init__(self) -> None:
        for name in ("channels", "kernel", "stride"):
            _validation.count(getattr(self, name), name)
        _validation.count(self.padding, "padding", least=0)
        activation_named(self.activation)
        if self.decorrelation is not None:
            _validation.instance(self.decorrelation, Decorrelation, "decorrelation")

    def build(self, stack: Stack) -> None:
        """Put the layer on top of a stack."""
        shape = stack.pictures(self.kernel, self.padding)
        patches = routes.Patches(shape, self.kernel, self.stride, self.padding)
        stack.route(patches)
        stack.weigh(self.channels, self.activation, self.decorrelation, (*patches.steps, self.channels))


@short_repr
@dataclass(frozen=True)
class MaxPool2d:
    """Describe pooling by the largest number of each window and channel.

    ::

        y ← max over the window of x

    Parameters
    ----------
    size : int
        Side of a window.
    stride : int, optional
        Step from one window to the next; the side by default.
    """

    size: int
    stride: int | None = None

    def __post_init__(self) -> None:
        _validation.count(self.size, "size")
        _validation.count(self.size if self.stride is None else self.stride, "stride")

    def build(self, stack: Stack) -> None:
        """Put the pooling on the way."""
        stack.route(routes.MaxWindows(stack.pictures(self.size), self.size, self.stride or self.size))


@short_repr
@dataclass(frozen=True)
class AvgPool2d(MaxPool2d):
    """Describe pooling by the mean of each window and channel.

    ::

        y = (1/k²) ∑ over the window of x

    Parameters
    ----------
    size : int
        Side of a window.
    stride : int, optional
        Step from one window to the next; the side by default.
    """

    def build(self, stack: Stack) -> None:
        """Put the pooling on the way."""
        stack.route(routes.AverageWindows(stack.pictures(self.size), self.size, self.stride or self.size))


@short_repr
@dataclass(frozen=True)
class Flatten:
    """Describe that pictures become rows of features; `Dense` does so by itself."""

    def build(self, stack: Stack) -> None:
        """Put the flattening on the way."""
        stack.flatten()
