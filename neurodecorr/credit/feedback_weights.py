"""Feedback weights: the matrices B that stand where backpropagation has W.

Each pathway answers for the matrix B (units, n) that stands where backpropagation has W, and may change after each
batch.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace, device

from neurodecorr import _validation
from neurodecorr._typing import AnyArray
from neurodecorr.network import Network
from neurodecorr.network.algebra import add_matrix_product, product

# Decay that Kolen–Pollack and the weight mirror apply per batch (Akrout et al. 2019, §3).
DECAY = 1e-3
# Rate of the mirror: B forgets its start and becomes the running mean of what noise shows of W.
MIRROR_RATE = 1e-2


class Pathway(Protocol):
    """Feedback weights of every layer but the first, `arrays` of them by name.

    ::

        δ_i = φ'(h_i) ∘ L_i B_{i+1}ᵀ δ_{i+1}
    """

    arrays: dict[str, AnyArray]

    def begin(self, rng: np.random.Generator) -> None:
        """Do what has to be done before a batch."""

    def matrix(self, index: int) -> AnyArray:
        """Return B of a layer."""

    def follow(self) -> None:
        """Change after the forward weights have changed."""


def random_like(W: AnyArray, rng: np.random.Generator, scale: float = 1.0) -> AnyArray:
    """Return weights drawn as W was, uniform in ±scale/√n, in its type and on its device.

    ::

        B_ij ~ U(−s/√n, s/√n),    n the number of columns of W
    """
    xp = array_namespace(W)
    drawn = rng.uniform(-scale, scale, tuple(W.shape)) / np.sqrt(W.shape[1])
    return xp.asarray(drawn, dtype=W.dtype, device=device(W))


class _Still:
    """Feedback that draws nothing, keeps nothing and never changes by itself."""

    def __init__(self, network: Network, rng: np.random.Generator, scale: float = 1.0) -> None:
        self.network, self.scale, self.arrays = network, scale, dict[str, AnyArray]()

    def begin(self, rng: np.random.Generator) -> None:
        """Nothing changes."""

    def follow(self) -> None:
        """Nothing changes."""


class Transport(_Still):
    """Copy the forward weights, as backpropagation does.

    ::

        B ← W

    References
    ----------
    Lillicrap, Cownden, Tweed & Akerman (2016), Nature Communications 7, 13276 (weight transport).
    """

    def matrix(self, index: int) -> AnyArray:
        """Return W."""
        return self.network.layers[index].W


class UniformSign(_Still):
    """Feedback with the signs of W and one magnitude (uSF).

    ::

        B ← s sign(W),    s the root mean square of the first weights

    References
    ----------
    Liao, Leibo & Poggio (2016), arXiv:1510.05067.
    """

    def matrix(self, index: int) -> AnyArray:
        """Return the signs of W."""
        W = self.network.layers[index].W
        # The variance of U(−a, a) is a²/3, with a = scale/√n as in `random_like`.
        return array_namespace(W).sign(W) * (self.scale / (3 * W.shape[1]) ** 0.5)


class FixedRandom(_Still):
    """Draw the feedback weights once and keep them.

    References
    ----------
    Lillicrap, Cownden, Tweed & Akerman (2016), Nature Communications 7, 13276.
    """

    def __init__(self, network: Network, rng: np.random.Generator, scale: float = 1.0) -> None:
        super().__init__(network, rng, scale)
        for i, layer in enumerate(network.layers[1:], 1):
            self.arrays[f"B{i}"] = random_like(layer.W, rng, scale)

    def matrix(self, index: int) -> AnyArray:
        """Return the matrix drawn at the start."""
        return self.arrays[f"B{index}"]


class FixedMagnitude(FixedRandom):
    """Feedback with the signs of W and magnitudes that are drawn once (frSF).

    ::

        B ← |B₀| ∘ sign(W)

    References
    ----------
    Liao, Leibo & Poggio (2016), arXiv:1510.05067.
    """

    def matrix(self, index: int) -> AnyArray:
        """Return magnitudes of the start with the signs of W."""
        W, B = self.network.layers[index].W, self.arrays[f"B{index}"]
        xp = array_namespace(W)
        return xp.abs(B) * xp.sign(W)


class BatchMagnitude(FixedMagnitude):
    """Feedback with the signs of W and magnitudes that are drawn anew for each batch (brSF).

    ::

        B ← |B₀| ∘ sign(W),    B₀ drawn for each batch

    References
    ----------
    Liao, Leibo & Poggio (2016), arXiv:1510.05067.
    """

    def begin(self, rng: np.random.Generator) -> None:
        """Draw magnitudes."""
        for name, B in self.arrays.items():
            self.arrays[name] = random_like(B, rng, self.scale)


class KolenPollack(FixedRandom):
    """Change the feedback weights as the forward weights change, and let both decay.

    ::

        B ← (1 − λ)(B + ΔW),    W ← (1 − λ) W,    so B − W ← (1 − λ)(B − W)

    References
    ----------
    Kolen & Pollack (1994), IEEE International Conference on Neural Networks, 1375–1380; Akrout, Wilson, Humphreys,
    Lillicrap & Tweed (2019), arXiv:1904.05391.
    """

    def __init__(self, network: Network, rng: np.random.Generator, scale: float = 1.0) -> None:
        super().__init__(network, rng, scale)
        self._remember()

    def _remember(self) -> None:
        for i, layer in enumerate(self.network.layers[1:], 1):
            self.arrays[f"W{i}_before"] = array_namespace(layer.W).asarray(layer.W, copy=True)

    def follow(self) -> None:
        """B ← (1 − λ)(B + ΔW), W ← (1 − λ) W."""
        for i, layer in enumerate(self.network.layers[1:], 1):
            kolen_pollack_step(self.arrays[f"B{i}"], layer.W - self.arrays[f"W{i}_before"])
            layer.W *= 1 - DECAY
        self._remember()


class WeightMirror(FixedRandom):
    """Learn the feedback weights from noise at the input of each layer.

    ::

        B ← (1 − η) B + η ⟨h ξᵀ⟩,    h = W ξ,    ⟨h ξᵀ⟩ = W ⟨ξξᵀ⟩ = W

    References
    ----------
    Akrout, Wilson, Humphreys, Lillicrap & Tweed (2019), arXiv:1904.05391.
    """

    SAMPLES = 64  # of noise per batch

    def begin(self, rng: np.random.Generator) -> None:
        """B ← (1 − η) B + η ⟨h ξᵀ⟩, h = W ξ, ξ ~ N(0, 1)."""
        for i, layer in enumerate(self.network.layers[1:], 1):
            xp = array_namespace(layer.W)
            drawn = rng.standard_normal((self.SAMPLES, layer.W.shape[1]))
            noise = xp.asarray(drawn, dtype=layer.W.dtype, device=device(layer.W))
            mirror_step(self.arrays[f"B{i}"], product(noise, layer.W.T), noise)


def kolen_pollack_step(B: AnyArray, change: AnyArray) -> None:
    """Change B in place as its reciprocal synapse changes, and let it decay.

    ::

        B ← (1 − λ)(B + ΔW)

    ΔW is the change of the reciprocal synapse, which reads the same two signals.

    References
    ----------
    Akrout, Wilson, Humphreys, Lillicrap & Tweed (2019), arXiv:1904.05391.
    """
    B += change
    B *= 1 - DECAY


def mirror_step(B: AnyArray, response: AnyArray, noise: AnyArray) -> None:
    """Move B in place towards the mean product of postsynaptic response and presynaptic noise.

    ::

        B ← (1 − η) B + η ⟨h ξᵀ⟩

    References
    ----------
    Akrout, Wilson, Humphreys, Lillicrap & Tweed (2019), arXiv:1904.05391.
    """
    add_matrix_product(B, response.T, noise, MIRROR_RATE / noise.shape[0], 1 - MIRROR_RATE)


PATHWAYS: dict[str, Any] = {
    "random": FixedRandom,
    "transport": Transport,
    "uSF": UniformSign,
    "frSF": FixedMagnitude,
    "brSF": BatchMagnitude,
    "kolen_pollack": KolenPollack,
    "mirror": WeightMirror,
}


def pathway(name: str, network: Network, rng: np.random.Generator, scale: float = 1.0) -> Pathway:
    """Return the feedback weights called `name`, `scale` times as large as the first weights.

    Raises
    ------
    ConfigError
        If there are none of that name.
    """
    found: Pathway = PATHWAYS[_validation.choice(name, "weights", PATHWAYS)](network, rng, scale)
    return found
