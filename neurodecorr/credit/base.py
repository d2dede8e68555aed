"""Interfaces of a credit rule, and the gradients that follow from its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace

from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.network import Network
from neurodecorr.network.algebra import sum_rows
from neurodecorr.network.network import ForwardResult

Gradient = tuple[AnyArray, AnyArray]  # of W and b


@short_repr
@dataclass(frozen=True)
class Credit:
    """Gradients, losses and signals that a rule computes from one batch.

    ::

        ∂ℓ/∂W_i ≈ ⟨δ_i x̄_{i−1}ᵀ⟩,    ∂ℓ/∂b_i ≈ ⟨δ_i⟩

    Parameters
    ----------
    gradients : list of (dW, db)
        What an optimiser descends, per layer: means over the batch.
    loss : (b,) array
        ℓ of each sample, of the pass without noise where there is one.
    forward : ForwardResult
        The pass from which decorrelation learns.
    deltas : list of arrays
        δ of each layer, row by row, where the rule has them; empty otherwise.
    """

    gradients: list[Gradient]
    loss: AnyArray
    forward: ForwardResult
    deltas: list[AnyArray]


class Assigner(Protocol):
    """Credit rule bound to one network; `arrays` holds its own memory, for checkpoints."""

    arrays: dict[str, AnyArray]

    def assign(self, X: AnyArray, Y: AnyArray, rng: np.random.Generator) -> Credit:
        """Return the credit for one batch of inputs and targets."""

    def follow(self) -> None:
        """Update feedback weights that learn, after the optimiser has changed the forward weights."""


class CreditRule(Protocol):
    """Description of a credit rule; `start` binds it to a network."""

    def start(self, network: Network, seed: Any) -> Assigner:
        """Return the rule at work on a network, its random numbers drawn from `seed`."""


def output_error(network: Network, found: ForwardResult, Y: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return ℓ of each sample and δ_L = φ'(h_L) ∘ ∂ℓ/∂x_L, row by row."""
    loss, error = network.loss.measure(found.output, Y)
    h = found.signals[-1].h
    return loss, array_namespace(error).reshape(error, h.shape) * network.layers[-1].slope(h)


def weight_gradients(deltas: Sequence[AnyArray], found: ForwardResult) -> list[Gradient]:
    """Return the gradients of all layers.

    ::

        ∂ℓ/∂W_i = ⟨δ_i x̄_{i−1}ᵀ⟩,    ∂ℓ/∂b_i = ⟨δ_i⟩
    """
    samples = found.output.shape[0]
    return [
        (signals.correlate(delta, 1 / samples), sum_rows(delta) / samples)
        for delta, signals in zip(deltas, found.signals, strict=True)
    ]
