"""The weighted layer that a network holds, and what it did for one batch.

Weights act on rows: a dense layer has one row per sample, a convolution one per patch. Everything without weights
(patches, pooling, flattening) lies on the way from one weighted layer to the next, and is passed back along it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.network.activations import Activation
from neurodecorr.network.algebra import add_row, product
from neurodecorr.network.decorrelators import Decorrelator
from neurodecorr.network.routes import Route


@short_repr
@dataclass(frozen=True)
class Signals:
    """Signals of one weighted layer for one batch, row by row.

    Parameters
    ----------
    x, drive, xbar : (rows, n) arrays
        Input, input without its mean, decorrelated input.
    h : (rows, units) array
        Drive of the units, W x̄ + b.
    memos : tuple
        What the routes before the layer have to remember to pass a gradient back.
    training : bool
        Whether mean or variance of this batch may have been used.
    """

    x: AnyArray
    drive: AnyArray
    xbar: AnyArray
    h: AnyArray
    memos: tuple[Any, ...]
    training: bool = False


class WeightedLayer:
    """A weighted layer: x̄ = D(x), h = W x̄ + b, activity φ(h).

    Parameters
    ----------
    W : (units, n) array
        Weights.
    b : (units,) array
        Biases.
    activation : Activation
        φ.
    decorrelator : Decorrelator
        D.
    routes : tuple of Route
        How the activity before it becomes rows.
    shape : tuple of int
        Shape of one sample's activity.
    """

    def __init__(
        self,
        W: AnyArray,
        b: AnyArray,
        activation: Activation,
        decorrelator: Decorrelator,
        routes: tuple[Route, ...],
        shape: tuple[int, ...],
    ) -> None:
        self.W, self.b, self.activation, self.decorrelator = W, b, activation, decorrelator
        self.routes, self.shape = routes, shape

    def respond(self, activity: AnyArray, training: bool) -> Signals:
        """Return what the layer does for the activity before it."""
        x, memos = self.receive(activity)
        drive = self.decorrelator.centre(x, training)
        xbar = self.decorrelator.decorrelate(drive, training)
        return Signals(x, drive, xbar, self.excite(xbar), memos, training)

    def receive(self, activity: AnyArray) -> tuple[AnyArray, tuple[Any, ...]]:
        """Return the rows that this layer reads, and what its routes remember."""
        memos = []
        for route in self.routes:
            activity, memo = route.forth(activity)
            memos.append(memo)
        return array_namespace(activity).reshape(activity, (-1, self.W.shape[1])), tuple(memos)

    def send_back(self, E: AnyArray, memos: tuple[Any, ...]) -> AnyArray:
        """Return the gradient at the activity before, for a gradient at the rows."""
        for route, memo in zip(reversed(self.routes), reversed(memos), strict=True):
            E = route.back(E, memo)
        return E

    def excite(self, xbar: AnyArray) -> AnyArray:
        """Return h = W x̄ + b."""
        h = product(xbar, self.W.T)
        add_row(h, self.b)
        return h

    def fire(self, h: AnyArray) -> AnyArray:
        """Return the activity φ(h), one sample per row, in the shape of the layer."""
        x = self.activation.value(h)
        return array_namespace(x).reshape(x, (-1, *self.shape))

    def slope(self, h: AnyArray) -> AnyArray:
        """Return φ'(h)."""
        return self.activation.slope(h)
