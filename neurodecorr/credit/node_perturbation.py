"""Node perturbation: add noise to the units, and credit each by its own noise times the change of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.credit.base import Credit, Gradient, weight_gradients
from neurodecorr.credit.noise import GaussianNoise, Noise
from neurodecorr.errors import ConfigError
from neurodecorr.network import Network
from neurodecorr.network.network import ForwardResult
from neurodecorr.network.weights import LayerSignals

VARIANTS = ("node", "activity", "iterative")
# Weight of a batch in the mean loss that stands for ℓ where there is no clean pass.
BASELINE_MEMORY = 0.1


@short_repr
@dataclass(frozen=True)
class NodePerturbation:
    """Assign credit by noise: local noise × presynaptic activity × one global number per sample.

    ::

        δ_i = (ℓ̃ − ℓ)/σ² ξ_i                          node
        δ_i = N (ℓ̃ − ℓ)/‖Δh‖² Δh_i                    activity (N units in all, Δh the change of every drive)
        δ_i = N_i (ℓ̃_i − ℓ)/‖ξ_i‖² ξ_i                iterative (noise in one layer at a time)

    The mean of the first and of the last is the gradient at h_i, to first order in σ. That of the second is biased: Δh
    also holds the noise that lower layers pass on, and the gradient comes out weighed by the covariance of Δh
    (P0 §4; Dalm et al. 2023 for the last two).

    Parameters
    ----------
    variant : {"node", "activity", "iterative"}
        What a unit is credited for.
    noise : GaussianNoise, Bernoulli, OrnsteinUhlenbeck or Recorded
        What shakes the units.
    samples : int
        Noisy passes per batch, averaged; the error falls as one over their root.
    antithetic : bool
        Whether each noise is also tried with the opposite sign, (ℓ₊ − ℓ₋)/2 standing for ℓ̃ − ℓ.
    clean_pass : bool
        Whether there is a pass without noise. Without one, the mean loss of recent batches stands for ℓ, which costs
        variance; and since it remembers the noise of those batches, slow noise is then biased unless `antithetic`.
    joint_batch : bool
        Whether both passes run as one batch of twice the size, as in P0's public code: its mean is over both halves,
        and decorrelation learns from both.
    """

    variant: str = "node"
    noise: Noise = field(default_factory=GaussianNoise)
    samples: int = 1
    antithetic: bool = False
    clean_pass: bool = True
    joint_batch: bool = False

    def __post_init__(self) -> None:
        _validation.choice(self.variant, "variant", VARIANTS)
        _validation.count(self.samples, "samples")
        _validation.offers(self.noise, ("start",), "noise", "noise, such as GaussianNoise(1e-4)")
        for name in ("antithetic", "clean_pass", "joint_batch"):
            _validation.flag(getattr(self, name), name)
        if self.variant != "node" and not self.clean_pass:
            raise ConfigError(f"variant={self.variant!r} compares with a clean pass; set clean_pass=True.")
        if self.joint_batch and (self.variant != "node" or self.samples > 1 or self.antithetic or not self.clean_pass):
            raise ConfigError(
                "joint_batch=True is one clean and one noisy pass; it needs variant='node', samples=1, "
                f"antithetic=False and clean_pass=True; got {self.variant!r}, {self.samples}, {self.antithetic} and "
                f"{self.clean_pass}."
            )

    def start(self, network: Network, seed: Any = 0) -> PerturbationAssigner:
        """Return the rule at work on a network; it draws from the generator of each batch."""
        _validation.instance(network, Network, "network", advice="Use Network(layers, inputs).")
        _validation.generator(seed)
        return PerturbationAssigner(self, network)


class PerturbationAssigner:
    """Node perturbation bound to one network.

    ::

        ∂ℓ/∂W_i ≈ ⟨δ_i x̄_{i−1}ᵀ⟩,    δ_i = (ℓ̃ − ℓ)/σ² ξ_i
    """

    def __init__(self, rule: NodePerturbation, network: Network) -> None:
        self.rule, self.network, self.source = rule, network, rule.noise.start()
        self.arrays = self.source.arrays
        self.arrays["baseline"] = np.full(1, np.nan)  # mean loss of recent batches
        self._estimate = _ESTIMATES[rule.variant]

    def assign(self, X: AnyArray, Y: AnyArray, rng: np.random.Generator) -> Credit:
        """Return loss and estimated gradients of one batch."""
        if self.rule.joint_batch:
            return self._together(X, Y, rng)
        return self._beside_clean(X, Y, rng) if self.rule.clean_pass else self._noise_only(X, Y, rng)

    def follow(self) -> None:
        """Noise needs no weights."""

    def draw(self, clean: ForwardResult, rng: np.random.Generator) -> list[AnyArray]:
        """Return noise of unit variance for every layer."""
        return self._draw(clean.output, rng)

    def change(
        self, clean: ForwardResult, loss: AnyArray, noise: Sequence[AnyArray | None], Y: AnyArray
    ) -> tuple[AnyArray, ForwardResult]:
        """Return what noise, times σ, does to the loss of each sample, and the noisy pass."""
        sigma = self.rule.noise.sigma
        noisy = perturbed(self.network, clean, _scaled(noise, sigma))
        above, _ = self.network.loss.measure(noisy.output, Y)
        if not self.rule.antithetic:
            return above - loss, noisy
        mirrored = perturbed(self.network, clean, _scaled(noise, -sigma))
        below, _ = self.network.loss.measure(mirrored.output, Y)
        return 0.5 * (above - below), noisy

    def _draw(self, like: AnyArray, rng: np.random.Generator) -> list[AnyArray]:
        xp, drawn = array_namespace(like), []
        for index, layer in enumerate(self.network.layers):
            # All patches of an image are values of one sample; h holds one row for each patch.
            shape = (int(like.shape[0]), math.prod(layer.shape))
            noise = self.source.draw(index, shape, rng, self.network.dtype).reshape(-1, layer.shape[-1])
            drawn.append(xp.asarray(noise, device=device(like)))
        return drawn

    def _beside_clean(self, X: AnyArray, Y: AnyArray, rng: np.random.Generator) -> Credit:
        clean = self.network.forward(X, training=True)
        loss, _ = self.network.loss.measure(clean.output, Y)
        found = [self._estimate(self, clean, loss, Y, rng) for _ in range(self.rule.samples)]
        deltas = [sum(parts) / len(parts) for parts in zip(*found, strict=True)]
        return Credit(weight_gradients(deltas, clean), loss, clean, deltas)

    def _together(self, X: AnyArray, Y: AnyArray, rng: np.random.Generator) -> Credit:
        """Run both passes as one batch: clean rows first, then noisy ones."""
        network, sigma, xp, samples = self.network, self.rule.noise.sigma, array_namespace(X), X.shape[0]
        noise = self._draw(X, rng)
        both = network.forward(xp.concat([X, X]), training=True, noise=[xp.concat([0 * n, sigma * n]) for n in noise])
        loss, _ = network.loss.measure(both.output, xp.concat([Y, Y]))
        change = loss[samples:] - loss[:samples]
        deltas = [_rows(change / sigma, n) * n for n in noise]
        halves = tuple(s.head(n.shape[0]) for s, n in zip(both.signals, noise, strict=True))
        clean = both.output[:samples, :]
        gradients = weight_gradients(deltas, ForwardResult(halves, clean))
        return Credit(gradients, loss[:samples], ForwardResult(both.signals, clean), deltas)

    def _noise_only(self, X: AnyArray, Y: AnyArray, rng: np.random.Generator) -> Credit:
        """Take the noisy activity for presynaptic, and the recent mean loss (or the opposite noise) for ℓ."""
        totals: list[Gradient] = []
        for _ in range(self.rule.samples):
            noise = self._draw(X, rng)
            noisy, loss, change = self._noisy(X, Y, noise)
            deltas = [_rows(change / self.rule.noise.sigma, n) * n for n in noise]
            found = weight_gradients(deltas, noisy)
            totals = [(a + c, b + d) for (a, b), (c, d) in zip(totals, found, strict=True)] if totals else found
        gradients = [(W / self.rule.samples, b / self.rule.samples) for W, b in totals]
        return Credit(gradients, loss, noisy, deltas)

    def _noisy(self, X: AnyArray, Y: AnyArray, noise: list[AnyArray]) -> tuple[ForwardResult, AnyArray, AnyArray]:
        sigma, network = self.rule.noise.sigma, self.network
        noisy = network.forward(X, training=True, noise=_scaled(noise, sigma))
        loss, _ = network.loss.measure(noisy.output, Y)
        if self.rule.antithetic:
            mirrored = network.forward(X, training=True, noise=_scaled(noise, -sigma))
            return noisy, loss, 0.5 * (loss - network.loss.measure(mirrored.output, Y)[0])
        recent, now = self.arrays["baseline"], float(array_namespace(loss).mean(loss))
        change = loss - (now if np.isnan(recent[0]) else float(recent[0]))
        recent[0] = now if np.isnan(recent[0]) else recent[0] + BASELINE_MEMORY * (now - recent[0])
        return noisy, loss, change


def perturbed(network: Network, clean: ForwardResult, noise: Sequence[AnyArray | None]) -> ForwardResult:
    """Run a network again with noise added to each h; the first product, which noise does not reach, is kept.

    ::

        h_i ← W_i x̄_{i−1} + b_i + ξ_i
    """
    # Noise enters after the first product, so W x̄ of the first layer is the same in every noisy pass.
    first = network.layers[0]
    signals: list[LayerSignals] = [replace(clean.signals[0], h=_shaken(clean.signals[0].h, noise[0]))]
    activity = first.fire(signals[0].h)
    for layer, added in zip(network.layers[1:], noise[1:], strict=True):
        found = layer.respond(activity, training=True)
        signals.append(replace(found, h=_shaken(found.h, added)))
        activity = layer.fire(signals[-1].h)
    return ForwardResult(tuple(signals), array_namespace(activity).reshape(activity, clean.output.shape))


def _shaken(h: AnyArray, noise: AnyArray | None) -> AnyArray:
    return h if noise is None else h + noise


def _scaled(noise: Sequence[AnyArray | None], sigma: float) -> list[AnyArray | None]:
    return [None if n is None else sigma * n for n in noise]


def _rows(change: AnyArray, like: AnyArray) -> AnyArray:
    """Return one number per row, given one per sample: all patches of an image share its loss."""
    xp = array_namespace(change)
    rows = int(like.shape[0]) // int(change.shape[0])
    return (change if rows == 1 else xp.repeat(change, rows))[:, None]


def _by_node(
    rule: PerturbationAssigner, clean: ForwardResult, loss: AnyArray, Y: AnyArray, rng: np.random.Generator
) -> list[AnyArray]:
    noise = rule.draw(clean, rng)
    change, _ = rule.change(clean, loss, noise, Y)
    return [_rows(change / rule.rule.noise.sigma, n) * n for n in noise]


def _by_activity(
    rule: PerturbationAssigner, clean: ForwardResult, loss: AnyArray, Y: AnyArray, rng: np.random.Generator
) -> list[AnyArray]:
    noise = rule.draw(clean, rng)
    change, noisy = rule.change(clean, loss, noise, Y)
    moved = [after.h - before.h for after, before in zip(noisy.signals, clean.signals, strict=True)]
    # One squared norm over all layers: every unit is credited on the same scale.
    squares = sum(_per_sample(m, change) for m in moved)
    units = sum(int(m.shape[0]) * int(m.shape[1]) for m in moved) / int(change.shape[0])
    return [_rows(units * change / squares, m) * m for m in moved]


def _by_layer(
    rule: PerturbationAssigner, clean: ForwardResult, loss: AnyArray, Y: AnyArray, rng: np.random.Generator
) -> list[AnyArray]:
    drawn, deltas = rule.draw(clean, rng), []
    for index, noise in enumerate(drawn):
        alone: list[AnyArray | None] = [None] * len(drawn)
        alone[index] = noise
        change, _ = rule.change(clean, loss, alone, Y)
        units = noise.shape[0] * noise.shape[1] / change.shape[0]
        deltas.append(_rows(units * change / (rule.rule.noise.sigma * _per_sample(noise, change)), noise) * noise)
    return deltas


def _per_sample(rows: AnyArray, like: AnyArray) -> AnyArray:
    """Return the sum of squares over all rows and units of each sample."""
    xp = array_namespace(rows)
    flat = xp.reshape(rows, (like.shape[0], -1))
    return xp.sum(flat * flat, axis=1)


_Estimate = Callable[[PerturbationAssigner, ForwardResult, AnyArray, AnyArray, np.random.Generator], list[AnyArray]]
_ESTIMATES: dict[str, _Estimate] = {"node": _by_node, "activity": _by_activity, "iterative": _by_layer}
