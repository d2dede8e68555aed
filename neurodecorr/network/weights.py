"""The weighted layer that a network holds, and what it did for one batch.

Weights act on rows: a dense layer has one row per sample, a convolution one per patch. Everything without weights
(patches, pooling, flattening) lies on the way from one weighted layer to the next, and is passed back along it.

Where rows outnumber units, W M is made once for a batch, and x̄ = M (x − μ) only for the rows that M learns from::

    h = (W M) x + (b − W M μ),    ∑ δ x̄ᵀ = (∑ δ xᵀ − (∑ δ) μᵀ) Mᵀ,    Mᵀ (Wᵀ δ) = (W M)ᵀ δ
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from array_api_compat import array_namespace

from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.network.activations import Activation
from neurodecorr.network.algebra import add_row, product, sum_rows
from neurodecorr.network.decorrelators import Decorrelation, Decorrelator, decorrelator
from neurodecorr.network.routes import FlattenRoute, Route

RowMap = Callable[[AnyArray], AnyArray]  # linear, row by row


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

    def head(self, rows: int) -> Signals:
        """Return the signals of the first rows, which are those of whole samples."""
        x, drive, xbar, h = (part[:rows, :] for part in (self.x, self.drive, self.xbar, self.h))
        return Signals(x, drive, xbar, h, self.memos, self.training)

    def mean_input(self) -> AnyArray:
        """Return the mean row of x, (n,)."""
        return sum_rows(self.x) / self.x.shape[0]

    def correlate(self, delta: AnyArray, weight: float) -> AnyArray:
        """Return weight ∑ δ x̄ᵀ, (units, n)."""
        return product(delta.T, self.xbar, weight)

    def spread(self, route: Route, delta: AnyArray, B: AnyArray, turn: RowMap, centre: RowMap) -> AnyArray:
        """Return the gradient before the rows were made, for δ that passes B, a map of rows, and the mean."""
        return route.back(centre(turn(product(delta, B))), None)


@short_repr
@dataclass(frozen=True)
class FoldedSignals:
    """Signals of a layer that ran on W M: x, x − μ and x̄ of all rows are made when they are first read.

    Parameters
    ----------
    route : Route
        How the activity before the layer becomes its rows.
    activity : (b, …) array
        That activity.
    M : (n, n) array or None
        A copy from when the layer ran, since learning changes M in place; None is the identity.
    mean : (n,) array or None
        μ as it was then; None is 0.
    h, memos, training
        As in `Signals`.
    """

    route: Route
    activity: AnyArray
    M: AnyArray | None
    mean: AnyArray | None
    h: AnyArray
    memos: tuple[Any, ...]
    training: bool

    @cached_property
    def x(self) -> AnyArray:
        """Input, (rows, n)."""
        return self.route.rows(self.activity)

    @cached_property
    def drive(self) -> AnyArray:
        """Input without its mean."""
        return self.x if self.mean is None else self.x - self.mean

    @cached_property
    def xbar(self) -> AnyArray:
        """Decorrelated input."""
        return self.drive if self.M is None else product(self.drive, self.M.T)

    def head(self, rows: int) -> FoldedSignals:
        """Return the signals of the first rows, which are those of whole samples."""
        samples = rows * self.activity.shape[0] // self.h.shape[0]
        return replace(self, activity=self.activity[:samples, ...], h=self.h[:rows, :])

    def mean_input(self) -> AnyArray:
        """Return the mean row of x, (n,)."""
        return self.route.mean(self.activity)

    def correlate(self, delta: AnyArray, weight: float) -> AnyArray:
        """Return weight ∑ δ x̄ᵀ = weight (∑ δ xᵀ − (∑ δ) μᵀ) Mᵀ, (units, n)."""
        found = self.route.correlate(delta, self.activity)
        if self.mean is not None:
            found -= sum_rows(delta)[:, None] * self.mean
        found *= weight
        return found if self.M is None else product(found, self.M.T)

    def spread(self, route: Route, delta: AnyArray, B: AnyArray, turn: RowMap, centre: RowMap) -> AnyArray:
        """Return the gradient before the rows were made: what maps rows maps those of B, and centring δ centres δ B."""
        return route.spread(centre(delta), turn(B))


LayerSignals = Signals | FoldedSignals


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
        # The last route makes the rows; where there is none, samples are rows already.
        self._way, self._last = routes[:-1], routes[-1] if routes else FlattenRoute(tuple(W.shape[1:]))

    def respond(self, activity: AnyArray, training: bool) -> LayerSignals:
        """Return what the layer does for the activity before it."""
        activity, memos = self._arrive(activity)
        own = self.decorrelator
        if own.folds and self._fold_pays(int(activity.shape[0]), training):
            M, mean = own.frozen(training, lambda: self._last.mean(activity))
            K, c = self._folded(M, mean)
            h = self._last.multiply(activity, K)
            add_row(h, c)
            return FoldedSignals(self._last, activity, M, mean, h, memos, training)
        x = self._last.rows(activity)
        drive = own.centre(x, training)
        xbar = own.decorrelate(drive, training)
        h = product(xbar, self.W.T)
        add_row(h, self.b)
        return Signals(x, drive, xbar, h, memos, training)

    def back(
        self,
        delta: AnyArray,
        B: AnyArray,
        found: LayerSignals,
        turn: RowMap | None = None,
    ) -> AnyArray:
        """Return the gradient at the activity before the layer, for δ that passes B and then back through D.

        ::

            e = Dᵀ Bᵀ δ

        Parameters
        ----------
        delta : (rows, units) array
            δ of the layer.
        B : (units, n) array
            W, or what stands for it.
        found : LayerSignals
            What the layer did.
        turn : callable, optional
            Linear map of rows in place of Dᵀ, which then has no mean to pass.
        """
        if turn is not None:
            return self._passed(delta, B, found, turn, lambda E: E)
        own = self.decorrelator
        return self._passed(delta, B, found, lambda E: own.turn_back(E, found), lambda E: own.through_mean(E, found))

    def settle_back(self, delta: AnyArray, B: AnyArray, found: LayerSignals) -> AnyArray:
        """Return what `back` does, by the adjoint circuit."""
        own = self.decorrelator
        return self._passed(delta, B, found, lambda E: own.settle_back(E, found), lambda E: own.through_mean(E, found))

    def prepared(self, samples: int) -> WeightedLayer:
        """Return a layer that gives the same without learning, W M made once, if so many samples are to come."""
        own = self.decorrelator
        if not own.folds or not self._fold_pays(samples, False):
            return self
        W, b = self._folded(*own.frozen(False, lambda: None))
        identity = decorrelator(Decorrelation(), W.shape[1], 1, None)
        return WeightedLayer(W, b, self.activation, identity, self.routes, self.shape)

    def fire(self, h: AnyArray) -> AnyArray:
        """Return the activity φ(h), one sample per row, in the shape of the layer."""
        x = self.activation.value(h)
        return array_namespace(x).reshape(x, (-1, *self.shape))

    def slope(self, h: AnyArray) -> AnyArray:
        """Return φ'(h)."""
        return self.activation.slope(h)

    def _folded(self, M: AnyArray | None, mean: AnyArray | None) -> tuple[AnyArray, AnyArray]:
        """Return W M and b − W M μ."""
        K = self.W if M is None else product(self.W, M)
        return K, self.b if mean is None else self.b - K @ mean

    def _fold_pays(self, samples: int, training: bool) -> bool:
        """Return True if W M takes fewer products with M than x̄ of all rows does.

        A row or a unit costs n² each time. While learning: all rows forth and back, against all units forth, back and
        in the gradient, and the rows that M learns from. Else: all rows against all units.
        """
        rows, units = samples * math.prod(self.shape[:-1]), int(self.W.shape[0])
        return 3 * units + self.decorrelator.rows_read(samples) < 2 * rows if training else units < rows

    def _arrive(self, activity: AnyArray) -> tuple[AnyArray, tuple[Any, ...]]:
        """Return the activity before the last route, and what the routes before that remember."""
        memos = []
        for route in self._way:
            activity, memo = route.forth(activity)
            memos.append(memo)
        return activity, tuple(memos)

    def _passed(self, delta: AnyArray, B: AnyArray, found: LayerSignals, turn: RowMap, centre: RowMap) -> AnyArray:
        E = found.spread(self._last, delta, B, turn, centre)
        for route, memo in zip(reversed(self._way), reversed(found.memos), strict=True):
            E = route.back(E, memo)
        return E
