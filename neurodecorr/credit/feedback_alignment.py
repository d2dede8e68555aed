"""Feedback alignment: errors go down through feedback weights instead of the forward ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.credit.backprop import errors_below
from neurodecorr.credit.base import Credit, Gradient, output_error, weight_gradients
from neurodecorr.credit.feedback_weights import PATHWAYS, pathway
from neurodecorr.network import Network
from neurodecorr.network.algebra import product
from neurodecorr.network.network import ForwardResult
from neurodecorr.network.weights import LayerSignals

LATERAL = ("none", "exact", "adjoint", "random")


@short_repr
@dataclass(frozen=True)
class FeedbackAlignment:
    """Assign credit through feedback weights B and lateral feedback L.

    ::

        δ_i = φ'(h_i) ∘ L_i B_{i+1}ᵀ δ_{i+1}

    With B = Wᵀ and exact lateral feedback this is backpropagation. P0 and its code keep L_i = M_iᵀ: weight transport
    of the lateral matrix, which is not local.

    Parameters
    ----------
    weights : str
        "random": B drawn once (Lillicrap et al. 2016). "uSF", "frSF", "brSF": signs of W, magnitudes uniform, fixed
        or drawn per batch (Liao et al. 2016). "kolen_pollack", "mirror": B learns W (Akrout et al. 2019).
        "transport": B = W.
    lateral_feedback : {"none", "exact", "adjoint", "random"}
        L_i = I; M_iᵀ; the rest of the adjoint circuit τ dδ̄/dt = e − R_iᵀδ̄; or a fixed random matrix.
    scale : float
        How much larger B is drawn than W was; √6 in P0's public code.
    conv_biases : bool
        Whether the biases of convolutions learn; in P0's public code they do not.
    """

    weights: str = "random"
    lateral_feedback: str = "none"
    scale: float = 1.0
    conv_biases: bool = True

    def __post_init__(self) -> None:
        _validation.choice(self.weights, "weights", PATHWAYS)
        _validation.choice(self.lateral_feedback, "lateral_feedback", LATERAL)
        _validation.positive(self.scale, "scale")
        _validation.flag(self.conv_biases, "conv_biases")

    def start(self, network: Network, seed: Any = 0) -> FeedbackAssigner:
        """Return the rule at work on a network, its feedback weights drawn from `seed`."""
        _validation.instance(network, Network, "network", advice="Use Network(layers, inputs).")
        return FeedbackAssigner(self, network, _validation.generator(seed))


class FeedbackAssigner:
    """Feedback alignment bound to one network.

    ::

        δ_i = φ'(h_i) ∘ L_i B_{i+1}ᵀ δ_{i+1}

    References
    ----------
    Lillicrap, Cownden, Tweed & Akerman (2016), Nature Communications 7, 13276.
    """

    def __init__(self, rule: FeedbackAlignment, network: Network, rng: np.random.Generator) -> None:
        self.rule, self.network = rule, network
        self.path = pathway(rule.weights, network, rng, rule.scale)
        self._lateral = _LATERAL[rule.lateral_feedback]
        self.arrays = self.path.arrays
        if rule.lateral_feedback == "random":
            for i, layer in enumerate(network.layers[1:], 1):
                self.arrays[f"L{i}"] = _random_square(layer.W, rng)

    def assign(self, X: AnyArray, Y: AnyArray, rng: np.random.Generator) -> Credit:
        """Return loss and pseudo-gradients of one batch."""
        # Feedback weights that change before a batch (weight mirror, brSF) do so before its errors travel.
        self.path.begin(rng)
        found = self.network.forward(X, training=True)
        loss, top = output_error(self.network, found, Y)
        deltas = errors_below(self.network, found, top, self._back)
        return Credit(self._gradients(deltas, found), loss, found, deltas)

    def follow(self) -> None:
        """Let feedback weights learn."""
        self.path.follow()

    def _gradients(self, deltas: list[AnyArray], found: ForwardResult) -> list[Gradient]:
        gradients = weight_gradients(deltas, found)
        if self.rule.conv_biases:
            return gradients
        shapes = [layer.shape for layer in self.network.layers]
        return [(W, b if len(shape) == 1 else 0 * b) for (W, b), shape in zip(gradients, shapes, strict=True)]

    def _back(self, index: int, delta: AnyArray, found: LayerSignals) -> AnyArray:
        return self._lateral(self, index, delta, found)


def _not_at_all(rule: FeedbackAssigner, index: int, delta: AnyArray, found: LayerSignals) -> AnyArray:
    return rule.network.layers[index].back(delta, rule.path.matrix(index), found, lambda E: E)


def _exactly(rule: FeedbackAssigner, index: int, delta: AnyArray, found: LayerSignals) -> AnyArray:
    return rule.network.layers[index].back(delta, rule.path.matrix(index), found)


def _by_adjoint_circuit(rule: FeedbackAssigner, index: int, delta: AnyArray, found: LayerSignals) -> AnyArray:
    return rule.network.layers[index].settle_back(delta, rule.path.matrix(index), found)


def _at_random(rule: FeedbackAssigner, index: int, delta: AnyArray, found: LayerSignals) -> AnyArray:
    L = rule.arrays[f"L{index}"]
    return rule.network.layers[index].back(delta, rule.path.matrix(index), found, lambda E: product(E, L))


_LATERAL: dict[str, Callable[[FeedbackAssigner, int, AnyArray, LayerSignals], AnyArray]] = {
    "none": _not_at_all,
    "exact": _exactly,
    "adjoint": _by_adjoint_circuit,
    "random": _at_random,
}


def _random_square(W: AnyArray, rng: np.random.Generator) -> AnyArray:
    n = W.shape[1]
    drawn = rng.standard_normal((n, n)) / math.sqrt(n)
    return array_namespace(W).asarray(drawn, dtype=W.dtype, device=device(W))


@short_repr
@dataclass(frozen=True)
class DirectFeedbackAlignment:
    """Assign credit by sending the error of the output straight to every layer.

    ::

        δ_i = φ'(h_i) ∘ B_iᵀ δ_L

    No lateral matrix and no forward weight is on the way.

    References
    ----------
    Nøkland (2016), arXiv:1609.01596.
    """

    def start(self, network: Network, seed: Any = 0) -> DirectAssigner:
        """Return the rule at work on a network, its feedback weights drawn from `seed`."""
        _validation.instance(network, Network, "network", advice="Use Network(layers, inputs).")
        return DirectAssigner(network, _validation.generator(seed))


class DirectAssigner:
    """Direct feedback alignment bound to one network.

    ::

        δ_i = φ'(h_i) ∘ B_iᵀ δ_L
    """

    def __init__(self, network: Network, rng: np.random.Generator) -> None:
        self.network = network
        last = network.layers[-1].W
        xp, outputs = array_namespace(last), last.shape[0]
        self.arrays: dict[str, AnyArray] = {}
        for i, layer in enumerate(network.layers[:-1]):
            drawn = rng.uniform(-1, 1, (outputs, math.prod(layer.shape))) / math.sqrt(outputs)
            self.arrays[f"B{i}"] = xp.asarray(drawn, dtype=last.dtype, device=device(last))

    def assign(self, X: AnyArray, Y: AnyArray, rng: np.random.Generator) -> Credit:
        """Return loss and pseudo-gradients of one batch."""
        network, found = self.network, self.network.forward(X, training=True)
        loss, top = output_error(network, found, Y)
        deltas = []
        for i, layer in enumerate(network.layers[:-1]):
            h = found.signals[i].h
            E = product(top, self.arrays[f"B{i}"])
            deltas.append(array_namespace(E).reshape(E, h.shape) * layer.slope(h))
        deltas.append(top)
        return Credit(weight_gradients(deltas, found), loss, found, deltas)

    def follow(self) -> None:
        """Feedback weights stay as they are."""
