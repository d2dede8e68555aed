"""Feedforward rules to compare with: EASI, the off-diagonal variants, and whitening from a running covariance.

They share the interface of `rivals.Rule`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, count, flag, fraction, number, positive
from neurodecorr.errors import ConfigError
from neurodecorr.measures import off_diagonal
from neurodecorr.plasticity.closed_form import whitening_matrix
from neurodecorr.plasticity.rules import power_gain
from neurodecorr.plasticity.spec import GAINS


class Rule(Protocol):
    """Interface of a rule that the benchmark runs; weights are whatever `start` returns."""

    @property
    def name(self) -> str:
        """How tables call the rule."""

    def start(self, features: int, scale: float = 1.0) -> Any:
        """Return the weights before learning, M = scale · I."""

    def step(self, weights: Any, X: Floats) -> Any:
        """Return the weights after the batch X (samples, n)."""

    def matrix(self, weights: Any) -> Floats:
        """Return the effective feedforward form M."""

    def lateral(self, weights: Any) -> Floats | None:
        """Return the matrix R of the circuit τ dx̄/dt = x − R x̄, or None."""


@short_repr
@dataclass(frozen=True)
class Foldiak:
    """Anti-Hebbian lateral inhibition (Földiák 1990, linear form).

    ::

        x̄ = x + Q x̄,    ΔQ_ij = −η ⟨x̄_i x̄_j⟩  (i ≠ j),    that is R = I − Q,  ΔR = η offdiag⟨x̄x̄ᵀ⟩

    Local, but its speed depends on the scale of the activity, and the power falls as it learns. With a gain, columns of
    R are divided by √(⟨x²⟩/⟨x̄²⟩), as for the relative rules.

    Parameters
    ----------
    rate : float
        Learning rate η > 0, in units of 1/x².
    gain : {"none", "node", "layer"}
        Whose power is kept.

    References
    ----------
    Földiák (1990), Biological Cybernetics 64, 165–170; P0, Figure 3.
    """

    rate: float = 1e-2
    gain: str = "none"

    def __post_init__(self) -> None:
        positive(self.rate, "rate")
        choice(self.gain, "gain", GAINS)

    @property
    def name(self) -> str:
        """How tables call the rule."""
        return "Földiák" if self.gain == "none" else f"Földiák, {self.gain} gain"

    def start(self, features: int, scale: float = 1.0) -> Floats:
        """Return R = I / scale."""
        return start_at(features, 1 / positive(scale, "scale"))

    def step(self, weights: Floats, X: Floats) -> Floats:
        """Return R after the batch X (samples, n)."""
        Xbar = np.linalg.solve(weights, X.T).T
        return anti_hebbian_step(weights, Xbar, power_gain(X, Xbar, self.gain, bound=np.inf), self.rate)

    def matrix(self, weights: Floats) -> Floats:
        """Return M = R⁻¹."""
        return np.asarray(np.linalg.inv(weights))

    def lateral(self, weights: Floats) -> Floats:
        """Return R."""
        return weights


@short_repr
@dataclass(frozen=True)
class Vogels:
    """Inhibitory plasticity towards a target rate (Vogels et al. 2011, rate form).

    ::

        Δw_ij = η ⟨x_j (x̄_i − ρ₀)⟩,    i ≠ j

    Inhibitory neurons relay x_j to unit i. If they are driven by the inputs, x̄ = x − w x and M = I − w: learning ends
    when each output is uncorrelated with every other *input*, M = diag(Σ⁻¹)⁻¹ Σ⁻¹, which does not decorrelate the
    outputs. If they are driven by the outputs, R = I + w, which for ρ₀ = 0 is Földiák's rule.

    Parameters
    ----------
    rate : float
        Learning rate η > 0, in units of 1/x².
    target : float
        Target activity ρ₀, in units of x; 0 for inputs without mean.
    inhibition : {"feedforward", "recurrent"}
        What drives the inhibitory neurons.

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath, Gerstner (2011), Science 334, 1569–1573.
    """

    rate: float = 1e-2
    target: float = 0.0
    inhibition: str = "feedforward"

    def __post_init__(self) -> None:
        positive(self.rate, "rate")
        number(self.target, "target")
        choice(self.inhibition, "inhibition", ("feedforward", "recurrent"))

    @property
    def name(self) -> str:
        """How tables call the rule."""
        return f"Vogels, {self.inhibition}"

    @property
    def _recurrent(self) -> bool:
        return self.inhibition == "recurrent"

    def start(self, features: int, scale: float = 1.0) -> Floats:
        """Return M = scale · I (feedforward inhibition) or R = I / scale (recurrent)."""
        scale = positive(scale, "scale")
        return start_at(features, 1 / scale if self._recurrent else scale)

    def step(self, weights: Floats, X: Floats) -> Floats:
        """Return M − Δw or R + Δw after the batch X (samples, n)."""
        if self._recurrent:
            Xbar = np.linalg.solve(weights, X.T).T
            return weights + inhibitory_change(Xbar, Xbar, self.rate, self.target)
        return weights - inhibitory_change(X, X @ weights.T, self.rate, self.target)

    def matrix(self, weights: Floats) -> Floats:
        """Return M."""
        return np.asarray(np.linalg.inv(weights)) if self._recurrent else weights

    def lateral(self, weights: Floats) -> Floats | None:
        """Return R, if the inhibition is recurrent."""
        return weights if self._recurrent else None


@short_repr
@dataclass(frozen=True)
class Oja:
    """Principal subspace by Hebbian learning (Oja 1989).

    ::

        y = W x,    ΔW = η ⟨y xᵀ − y yᵀ W⟩

    It rests where W Wᵀ = I: with as many outputs as inputs, at a rotation, which does not decorrelate.

    Parameters
    ----------
    rate : float
        Learning rate η > 0, in units of 1/x².

    References
    ----------
    Oja (1989), International Journal of Neural Systems 1, 61–68.
    """

    rate: float = 1e-2

    def __post_init__(self) -> None:
        positive(self.rate, "rate")

    @property
    def name(self) -> str:
        """How tables call the rule."""
        return "Oja subspace"

    def start(self, features: int, scale: float = 1.0) -> Floats:
        """Return W = scale · I."""
        return start_at(features, scale)

    def step(self, weights: Floats, X: Floats) -> Floats:
        """Return W after the batch X (samples, n)."""
        return subspace_step(weights, X, X @ weights.T, self.rate)

    def matrix(self, weights: Floats) -> Floats:
        """Return W."""
        return weights

    def lateral(self, weights: Floats) -> None:
        """Return None: no circuit of its own."""


class SimilarityWeights(NamedTuple):
    """Feedforward W and lateral Q weights (n, n), and D (n,), each output's power summed over all samples."""

    W: Floats
    Q: Floats
    D: Floats


@short_repr
@dataclass(frozen=True)
class SimilarityMatching:
    """Hebbian and anti-Hebbian network derived from similarity matching (Pehlevan et al. 2015).

    ::

        y = W x − Q y,    D_i ← D_i + y_i²,
        ΔW_ij = y_i (x_j − W_ij y_i)/D_i,    ΔQ_ij = y_i (y_j − Q_ij y_i)/D_i  (i ≠ j)

    Both weights are running regressions on the own output, so a batch gives exactly what its samples would at frozen
    activity. With as many outputs as inputs it rests at a rotation of the input, which does not decorrelate.

    Parameters
    ----------
    history : float
        Initial D: summed power, in units of x², that the start counts for.

    References
    ----------
    Pehlevan, Hu, Chklovskii (2015), Neural Computation 27, 1461–1495.
    """

    history: float = 100.0

    def __post_init__(self) -> None:
        positive(self.history, "history")

    @property
    def name(self) -> str:
        """How tables call the rule."""
        return "similarity matching"

    def start(self, features: int, scale: float = 1.0) -> SimilarityWeights:
        """Return W = scale · I, Q = 0."""
        W = start_at(features, scale)
        return SimilarityWeights(W, np.zeros(W.shape), np.full(len(W), float(self.history)))

    def step(self, weights: SimilarityWeights, X: Floats) -> SimilarityWeights:
        """Return the weights after the batch X (samples, n)."""
        Y = X @ self.matrix(weights).T
        D = weights.D + (Y * Y).sum(axis=0)
        return SimilarityWeights(
            regression_step(weights.W, X, Y, D), off_diagonal(regression_step(weights.Q, Y, Y, D)), D
        )

    def matrix(self, weights: SimilarityWeights) -> Floats:
        """Return M = (I + Q)⁻¹ W."""
        return np.asarray(np.linalg.solve(self.lateral(weights), weights.W))

    def lateral(self, weights: SimilarityWeights) -> Floats:
        """Return I + Q."""
        return np.asarray(weights.Q + np.eye(len(weights.Q)))


def start_at(features: int, scale: float) -> Floats:
    """Return scale · I, both checked."""
    n = count(features, "features")
    require_memory(8 * (n * n), "the weights")
    return np.eye(n) * positive(scale, "scale")


def anti_hebbian_step(R: Floats, Xbar: Floats, gain: Floats, rate: float) -> Floats:
    """Return (R + η offdiag⟨x̄x̄ᵀ⟩) diag(1/g)."""
    return np.asarray((R + rate * off_diagonal(Xbar.T @ Xbar / len(Xbar))) / gain)


def inhibitory_change(relayed: Floats, Xbar: Floats, rate: float, target: float) -> Floats:
    """Return Δw_ij = η⟨(x̄_i − ρ₀) x_j⟩ for i ≠ j, x_j being what the inhibitory neurons relay."""
    return off_diagonal((rate / len(Xbar)) * ((Xbar - target).T @ relayed))


def subspace_step(W: Floats, X: Floats, Y: Floats, rate: float) -> Floats:
    """Return W + η⟨y xᵀ − y yᵀW⟩."""
    return np.asarray(W + (rate / len(X)) * (Y.T @ X - Y.T @ (Y @ W)))


def regression_step(W: Floats, inputs: Floats, Y: Floats, D: Floats) -> Floats:
    """Return W_ij + ∑ y_i (x_j − W_ij y_i)/D_i, the sum over samples; D already counts them."""
    return np.asarray(W + (Y.T @ inputs - (Y * Y).sum(axis=0)[:, None] * W) / D[:, None])


@short_repr
@dataclass(frozen=True)
class Easi:
    """Equivariant adaptive whitening (Cardoso and Laheld 1996, second-order part).

    ::

        M ← M − η (⟨x̄x̄ᵀ⟩ − I) M

    It rests at C = I, wherever a rotation leaves it; its speed does not depend on the mixing of the input.

    Parameters
    ----------
    rate : float
        Learning rate η > 0.

    References
    ----------
    Cardoso, Laheld (1996), IEEE Transactions on Signal Processing 44, 3017–3030.
    """

    rate: float = 1e-2

    def __post_init__(self) -> None:
        positive(self.rate, "rate")

    @property
    def name(self) -> str:
        """How tables call the rule."""
        return "EASI whitening"

    def start(self, features: int, scale: float = 1.0) -> Floats:
        """Return M = scale · I."""
        return start_at(features, scale)

    def step(self, weights: Floats, X: Floats) -> Floats:
        """Return M after the batch X (samples, n)."""
        return equivariant_step(weights, X @ weights.T, self.rate)

    def matrix(self, weights: Floats) -> Floats:
        """Return M."""
        return weights

    def lateral(self, weights: Floats) -> None:
        """Return None: no circuit of its own."""


@short_repr
@dataclass(frozen=True)
class OffDiagonal:
    """Decorrelation by the off-diagonal part of C alone, mixed with whitening (COPI; decorrelated backpropagation).

    ::

        E = (1 − κ) offdiag(C) + κ diag(⟨x̄²⟩ − 1)
        M ← M − η E M   (relative)        M ← M − η E   (absolute)

    The relative form is COPI's. The absolute form is the feedforward reading of the anti-Hebbian rule: the step reads
    two activities only, and its speed depends on the scale of M.

    Parameters
    ----------
    rate : float
        Learning rate η > 0.
    kappa : float, default 0
        Mixture κ between decorrelation (0) and whitening (1).
    relative : bool, default True
        Multiply the change by M.
    gain : {"none", "node", "layer"}
        Whose power is kept, by the power ratio of the batch before the update.

    References
    ----------
    Ahmad, Schrader, van Gerven (2023), Constrained parameter inference as a principle for learning, TMLR.
    """

    rate: float = 1e-2
    kappa: float = 0.0
    relative: bool = True
    gain: str = "none"

    def __post_init__(self) -> None:
        positive(self.rate, "rate")
        fraction(self.kappa, "kappa")
        choice(self.gain, "gain", GAINS)
        flag(self.relative, "relative")

    @property
    def name(self) -> str:
        """How tables call the rule."""
        form = "COPI" if self.relative else "off-diagonal, absolute"
        mixture = f", κ = {self.kappa:g}" if self.kappa else ""
        return form + mixture + ("" if self.gain == "none" else f", {self.gain} gain")

    def start(self, features: int, scale: float = 1.0) -> Floats:
        """Return M = scale · I."""
        return start_at(features, scale)

    def step(self, weights: Floats, X: Floats) -> Floats:
        """Return M after the batch X (samples, n)."""
        Xbar = X @ weights.T
        take = relative_step if self.relative else absolute_step
        gain = power_gain(X, Xbar, self.gain, bound=np.inf)
        return np.asarray(gain[:, None] * take(weights, Xbar, self.rate, self.kappa))

    def matrix(self, weights: Floats) -> Floats:
        """Return M."""
        return weights

    def lateral(self, weights: Floats) -> None:
        """Return None: no circuit of its own."""


class RunningCovariance(NamedTuple):
    """Second moment of the inputs (n, n), the samples it counts, and the matrix before the first of them."""

    moment: Floats
    samples: float
    first: Floats


@short_repr
@dataclass(frozen=True)
class Whitening:
    """Whiten by the eigenvectors of the covariance of all samples seen.

    ::

        ZCA: M = Σ^-½        PCA: M = Λ^-½ Uᵀ

    Parameters
    ----------
    kind : {"zca", "pca"}
        Closest to the input, or along the eigenvectors.
    memory : float or None
        Weight of a new sample in the running covariance, 0 … 1; None weighs all samples alike.
    """

    kind: str = "zca"
    memory: float | None = None

    def __post_init__(self) -> None:
        choice(self.kind, "kind", ("zca", "pca"))
        if self.memory is not None and not 0 < fraction(self.memory, "memory") < 1:
            raise ConfigError(f"memory must lie between 0 and 1, both excluded; got {self.memory!r}.")

    @property
    def name(self) -> str:
        """How tables call the rule."""
        return f"{self.kind.upper()} whitening"

    def start(self, features: int, scale: float = 1.0) -> RunningCovariance:
        """Return an empty covariance, and M = scale · I until the first sample."""
        first = start_at(features, scale)
        return RunningCovariance(np.zeros(first.shape), 0.0, first)

    def step(self, weights: RunningCovariance, X: Floats) -> RunningCovariance:
        """Return the second moment after the batch X (samples, n)."""
        samples = weights.samples + len(X)
        share = len(X) / samples
        if self.memory is not None:
            share = max(share, 1 - (1 - self.memory) ** len(X))
        moment = weights.moment + share * (X.T @ X / len(X) - weights.moment)
        return RunningCovariance(moment, samples, weights.first)

    def matrix(self, weights: RunningCovariance) -> Floats:
        """Return Σ^-½ or Λ^-½ Uᵀ."""
        return whitening_matrix(weights.moment, self.kind) if weights.samples else weights.first

    def lateral(self, weights: RunningCovariance) -> None:
        """Return None: no circuit of its own."""


def equivariant_step(M: Floats, Xbar: Floats, rate: float) -> Floats:
    """Return M − η(⟨x̄x̄ᵀ⟩ − I) M, without forming C."""
    return np.asarray((1 + rate) * M - (rate / len(Xbar)) * (Xbar.T @ (Xbar @ M)))


def relative_step(M: Floats, Xbar: Floats, rate: float, kappa: float) -> Floats:
    """Return M − η E M, E = (1 − κ) offdiag(C) + κ diag(⟨x̄²⟩ − 1)."""
    return np.asarray(M - rate * (_excess(Xbar, kappa) @ M))


def absolute_step(M: Floats, Xbar: Floats, rate: float, kappa: float) -> Floats:
    """Return M − η E: each synapse reads the activities of its two units only."""
    return np.asarray(M - rate * _excess(Xbar, kappa))


def _excess(Xbar: Floats, kappa: float) -> Floats:
    C = Xbar.T @ Xbar / len(Xbar)
    return np.asarray((1 - kappa) * off_diagonal(C) + kappa * np.diag(np.diag(C) - 1))
