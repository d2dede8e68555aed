"""A network under construction."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from neurodecorr.errors import ConfigError
from neurodecorr.network import routes
from neurodecorr.network.activations import Activation, activation_named
from neurodecorr.network.decorrelation import Decorrelation
from neurodecorr.network.decorrelators import decorrelator
from neurodecorr.network.synapses import Synapses

__all__ = ["Stack"]

# Matrices of the size of M that a form of decorrelation keeps.
_SQUARES = {"none": 0, "feedforward": 1, "recurrent": 2, "batch_norm": 0}


class Stack:
    """The layers so far, and the way from the last of them.

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
        self.layers: list[Synapses] = []
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
            self.route(routes.Flatten(self.shape))

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
            Synapses(
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
        size = self._numbers * self.dtype.itemsize
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if size > there:
            raise ConfigError(
                f"weights and lateral matrices must fit in memory, {there / 2**30:.0f} GiB; up to {self.place} they "
                f"take {size / 2**30:.0f} GiB. Use fewer units, or no decorrelation where a layer has many inputs."
            )
