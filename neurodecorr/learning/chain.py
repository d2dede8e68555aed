"""The way of an error down a network, from layer to layer: what backpropagation and feedback alignment share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from neurodecorr.network import Network, Pass, Signals
from neurodecorr.network.algebra import times

__all__ = ["errors_below"]

Array = Any  # any array-API array


def errors_below(
    network: Network,
    found: Pass,
    top: Array,
    weigh: Callable[[int, Array], Array],
    turn_back: Callable[[int, Array, Signals], Array],
) -> list[Array]:
    """Return δ of every layer, given that of the last.

    ::

        δ_i = φ'(h_i) ∘ L_i(B_{i+1}ᵀ δ_{i+1})

    Parameters
    ----------
    network, found : Network, Pass
        The network, and what it did for the batch.
    top : (rows, units) array
        δ_L.
    weigh : callable
        (layer, δ) → gradient at the layer's x̄: Wᵀδ, or what stands for it.
    turn_back : callable
        (layer, gradient at x̄, signals) → gradient at the activity before the layer.
    """
    deltas = [top]
    for index in range(len(network.layers) - 1, 0, -1):
        below, h = network.layers[index - 1], found.signals[index - 1].h
        E = turn_back(index, weigh(index, deltas[0]), found.signals[index])
        deltas.insert(0, times(array_namespace(E).reshape(E, h.shape), below.slope(h)))
    return deltas
