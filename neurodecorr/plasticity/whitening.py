"""Feedforward rules to compare with: EASI, the off-diagonal variants, and whitening from a running covariance.

They share the interface of `rivals.Rule`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import choice, flag, fraction, positive
from neurodecorr.errors import ConfigError
from neurodecorr.measures import off_diagonal
from neurodecorr.plasticity.closed_form import whitening_matrix
from neurodecorr.plasticity.plan import GAINS
from neurodecorr.plasticity.rivals import start_at
from neurodecorr.plasticity.twins import power_gain

__all__ = ["Easi", "OffDiagonal", "RunningCovariance", "Whitening"]

Floats = npt.NDArray[np.floating[Any]]


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
