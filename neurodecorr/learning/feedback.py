"""Feedback weights: what carries an error from x̄-side to x̄-side when the forward weights may not.

Each pathway answers for the matrix B (units, n) that stands where backpropagation has W, and may change after each
batch.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace, device

from neurodecorr import _checks
from neurodecorr.network import Network
from neurodecorr.network.algebra import add_product, product

__all__ = ["PATHWAYS", "Pathway", "pathway", "random_like"]

Array = Any  # any array-API array

# Decay that Kolen–Pollack and the weight mirror apply per batch (Akrout et al. 2019, §3).
DECAY = 1e-3
# Rate of the mirror: B forgets its start and becomes the running mean of what noise shows of W.
MIRROR_RATE = 1e-2


class Pathway(Protocol):
    """Feedback weights of every layer but the first, `arrays` of them by name."""

    arrays: dict[str, Array]

    def begin(self, rng: np.random.Generator) -> None:
        """Do what has to be done before a batch."""

    def matrix(self, index: int) -> Array:
        """Return B of a layer."""

    def follow(self) -> None:
        """Change after the forward weights have changed."""


def random_like(W: Array, rng: np.random.Generator) -> Array:
    """Return weights drawn as W was, uniform in ±1/√n, in its type and on its device.

    The public code of P0 draws them √6 times as large as W.
    """
    xp = array_namespace(W)
    drawn = rng.uniform(-1, 1, tuple(W.shape)) / np.sqrt(W.shape[1])
    return xp.asarray(drawn, dtype=W.dtype, device=device(W))


class FixedRandom:
    """B is drawn once (Lillicrap et al. 2016)."""

    def __init__(self, network: Network, rng: np.random.Generator) -> None:
        self.network = network
        self.arrays = {f"B{i}": random_like(layer.W, rng) for i, layer in enumerate(network.layers) if i > 0}

    def begin(self, rng: np.random.Generator) -> None:
        """Nothing changes."""

    def matrix(self, index: int) -> Array:
        """Return the matrix drawn at the start."""
        return self.arrays[f"B{index}"]

    def follow(self) -> None:
        """Nothing changes."""


class Transport(FixedRandom):
    """B = W, carried over: what backpropagation does."""

    def __init__(self, network: Network, rng: np.random.Generator) -> None:
        self.network, self.arrays = network, {}

    def matrix(self, index: int) -> Array:
        """Return W."""
        return self.network.layers[index].W


class UniformSign(Transport):
    """uSF: B = s sign(W), s the root mean square of the first weights (Liao, Leibo and Poggio 2016)."""

    def matrix(self, index: int) -> Array:
        """Return the signs of W."""
        W = self.network.layers[index].W
        return array_namespace(W).sign(W) / (3 * W.shape[1]) ** 0.5


class FixedMagnitude(FixedRandom):
    """frSF: B = |B₀| ∘ sign(W), |B₀| drawn once (Liao, Leibo and Poggio 2016)."""

    def matrix(self, index: int) -> Array:
        """Return magnitudes of the start with the signs of W."""
        W, B = self.network.layers[index].W, self.arrays[f"B{index}"]
        xp = array_namespace(W)
        return xp.abs(B) * xp.sign(W)


class BatchMagnitude(FixedMagnitude):
    """brSF: as frSF, drawn anew for each batch (Liao, Leibo and Poggio 2016)."""

    def begin(self, rng: np.random.Generator) -> None:
        """Draw magnitudes."""
        for name, B in self.arrays.items():
            self.arrays[name] = random_like(B, rng)


class KolenPollack(FixedRandom):
    """B changes as W does, and both decay, so that B − W fades by the decay per batch (Akrout et al. 2019)."""

    def __init__(self, network: Network, rng: np.random.Generator) -> None:
        super().__init__(network, rng)
        self._remember()

    def _remember(self) -> None:
        for i, layer in enumerate(self.network.layers[1:], 1):
            self.arrays[f"W{i}_before"] = array_namespace(layer.W).asarray(layer.W, copy=True)

    def follow(self) -> None:
        """B ← (1 − λ)(B + ΔW), W ← (1 − λ) W."""
        for i, layer in enumerate(self.network.layers[1:], 1):
            B = self.arrays[f"B{i}"]
            B += layer.W - self.arrays[f"W{i}_before"]
            B *= 1 - DECAY
            layer.W *= 1 - DECAY
        self._remember()


class WeightMirror(FixedRandom):
    """B follows what noise at the layer's input shows of W: ⟨h ξᵀ⟩ = W ⟨ξξᵀ⟩ (Akrout et al. 2019)."""

    SAMPLES = 64  # of noise per batch

    def begin(self, rng: np.random.Generator) -> None:
        """B ← (1 − η) B + η ⟨h ξᵀ⟩, h = W ξ, ξ ~ N(0, 1)."""
        for i, layer in enumerate(self.network.layers[1:], 1):
            xp = array_namespace(layer.W)
            drawn = rng.standard_normal((self.SAMPLES, layer.W.shape[1]))
            noise = xp.asarray(drawn, dtype=layer.W.dtype, device=device(layer.W))
            response = product(noise, layer.W.T)
            add_product(self.arrays[f"B{i}"], response.T, noise, MIRROR_RATE / self.SAMPLES, 1 - MIRROR_RATE)


PATHWAYS: dict[str, Any] = {
    "random": FixedRandom,
    "transport": Transport,
    "uSF": UniformSign,
    "frSF": FixedMagnitude,
    "brSF": BatchMagnitude,
    "kolen_pollack": KolenPollack,
    "mirror": WeightMirror,
}


def pathway(name: str, network: Network, rng: np.random.Generator) -> Pathway:
    """Return the feedback weights of that name for a network.

    Raises
    ------
    ConfigError
        If there are none of that name.
    """
    found: Pathway = PATHWAYS[_checks.choice(name, "weights", PATHWAYS)](network, rng)
    return found
