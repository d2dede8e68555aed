"""Backpropagation: the exact gradient, against which the local rules are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecorr import _checks
from neurodecorr.learning.chain import errors_below
from neurodecorr.learning.credit import Credit, output_error, weight_gradients
from neurodecorr.learning.replay import ReplayedNetwork
from neurodecorr.network import Network
from neurodecorr.network.algebra import product

__all__ = ["Backprop"]

Array = Any  # any array-API array


@dataclass(frozen=True)
class Backprop:
    """Assign credit by the exact gradient.

    ::

        δ_L = φ'(h_L) ∘ ∂ℓ/∂x_L,    δ_i = φ'(h_i) ∘ M_iᵀ W_{i+1}ᵀ δ_{i+1},    ∂ℓ/∂W_i = δ_i x̄_{i−1}ᵀ

    Not local: each synapse would have to know the forward weights above it, and the lateral ones.
    """

    def start(self, network: Network, seed: Any = 0) -> BackpropAssigner:
        """Return the rule at work on a network; it draws nothing."""
        _checks.instance(network, (Network, ReplayedNetwork), "network", "a Network", "Use Network(layers, inputs).")
        _checks.generator(seed)
        return BackpropAssigner(network)


class BackpropAssigner:
    """Backpropagation at work."""

    def __init__(self, network: Network) -> None:
        self.network, self.arrays = network, dict[str, Array]()

    def assign(self, X: Array, Y: Array, rng: np.random.Generator) -> Credit:
        """Return loss and exact gradients of one batch."""
        network = self.network
        found = network.forward(X, training=True)
        loss, top = output_error(network, found, Y)
        deltas = errors_below(network, found, top, self._through_weights, network.turn_back)
        return Credit(weight_gradients(deltas, found), loss, found, deltas)

    def follow(self) -> None:
        """Feedback has no weights of its own."""

    def _through_weights(self, index: int, delta: Array) -> Array:
        return product(delta, self.network.layers[index].W)
