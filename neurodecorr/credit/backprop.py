"""Backpropagation: the exact gradient, against which the local rules are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.credit.base import Credit, output_error, weight_gradients
from neurodecorr.network import Network
from neurodecorr.network.activations import multiply_by_slope
from neurodecorr.network.network import ForwardResult
from neurodecorr.network.weights import LayerSignals


def errors_below(
    network: Network,
    found: ForwardResult,
    top: AnyArray,
    back: Callable[[int, AnyArray, LayerSignals], AnyArray],
) -> list[AnyArray]:
    """Return δ of every layer from that of the last layer.

    ::

        δ_i = φ'(h_i) ∘ L_i(B_{i+1}ᵀ δ_{i+1})

    Parameters
    ----------
    network, found : Network, ForwardResult
        The network, and what it did for the batch.
    top : (rows, units) array
        δ_L.
    back : callable
        (layer, δ, signals) → gradient at the activity before the layer.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Algorithm 1.
    """
    deltas = [top]
    for index in range(len(network.layers) - 1, 0, -1):
        below, h = network.layers[index - 1], found.signals[index - 1].h
        E = back(index, deltas[0], found.signals[index])
        delta = array_namespace(E).reshape(E, h.shape)
        multiply_by_slope(delta, below.activation, h)  # nobody else holds E
        deltas.insert(0, delta)
    return deltas


@short_repr
@dataclass(frozen=True)
class Backprop:
    """Assign credit by the exact gradient.

    ::

        δ_L = φ'(h_L) ∘ ∂ℓ/∂x_L,    δ_i = φ'(h_i) ∘ M_iᵀ W_{i+1}ᵀ δ_{i+1},    ∂ℓ/∂W_i = δ_i x̄_{i−1}ᵀ

    Not local: each synapse would have to know the forward weights above it, and the lateral ones.

    References
    ----------
    Rumelhart, Hinton & Williams (1986), Nature 323, 533–536; with M: Ahmad (2024), arXiv:2407.10780, Algorithm 1.
    """

    def start(self, network: Network, seed: Any = 0) -> BackpropAssigner:
        """Return the rule at work on a network; it draws nothing."""
        _validation.instance(network, Network, "network", advice="Use Network(layers, inputs).")
        _validation.generator(seed)
        return BackpropAssigner(network)


class BackpropAssigner:
    """Backpropagation bound to one network.

    ::

        δ_i = φ'(h_i) ∘ M_iᵀ W_{i+1}ᵀ δ_{i+1}
    """

    def __init__(self, network: Network) -> None:
        self.network, self.arrays = network, dict[str, AnyArray]()

    def assign(self, X: AnyArray, Y: AnyArray, rng: np.random.Generator) -> Credit:
        """Return loss and exact gradients of one batch."""
        network = self.network
        found = network.forward(X, training=True)
        loss, top = output_error(network, found, Y)
        deltas = errors_below(network, found, top, self._back)
        return Credit(weight_gradients(deltas, found), loss, found, deltas)

    def follow(self) -> None:
        """Feedback has no weights of its own."""

    def _back(self, index: int, delta: AnyArray, found: LayerSignals) -> AnyArray:
        layer = self.network.layers[index]
        return layer.back(delta, layer.W, found)
