"""What a model file says about the decorrelation of a layer's input."""

from __future__ import annotations

from dataclasses import dataclass

from neurodecorr import _checks
from neurodecorr.circuit.settling import METHODS

__all__ = ["FORMS", "GAINS", "MEANS", "RULES", "Decorrelation"]

FORMS = ("none", "feedforward", "recurrent", "batch_norm")
RULES = ("explicit", "implicit", "congruent")
GAINS = ("node", "layer", "none")
MEANS = ("running", "batch", "none")


@dataclass(frozen=True)
class Decorrelation:
    """Describe how the input of a layer is decorrelated (P0 Algorithm 1).

    Parameters
    ----------
    form : {"none", "feedforward", "recurrent", "batch_norm"}
        x̄ = x; x̄ = M(x − μ); the rest of τ dx̄/dt = x − μ − R x̄; or (x − μ)/σ of each unit over the batch.
    rule : {"explicit", "implicit", "congruent"}
        Law by which M or R is learnt; "implicit" is the local rule of R. See `plasticity.twins`.
    rate : float
        η_M, in units of one over the squared unit of x̄.
    gain : {"node", "layer", "none"}
        Whose power is kept: g = √(⟨x²⟩/⟨x̄²⟩) per batch; for the congruent rule g = 1 + η p of the running power p.
    share : float
        Share of the samples of a batch that an update reads, in (0, 1]; P0's public code reads a tenth.
    memory : float
        Weight of a batch in the running mean μ, in (0, 1]; 0.1 in P0.
    mean : {"running", "batch", "none"}
        What is subtracted while learning; at test it is the running mean.
    settling : str
        How the rest of a recurrent layer is found. "twin": by x̄ = M (x − μ), M = R⁻¹ being kept beside R by rank-k
        updates. Otherwise by a method of `circuit.settle`, in float64.
    tol : float
        Tolerance of settling, relative to ‖x̄‖.
    """

    form: str = "none"
    rule: str = "explicit"
    rate: float = 1e-5
    gain: str = "layer"
    share: float = 1.0
    memory: float = 0.1
    mean: str = "running"
    settling: str = "twin"
    tol: float = 1e-6

    def __post_init__(self) -> None:
        _checks.choice(self.form, "form", FORMS)
        _checks.choice(self.rule, "rule", RULES)
        _checks.choice(self.gain, "gain", GAINS)
        _checks.choice(self.mean, "mean", MEANS)
        _checks.choice(self.settling, "settling", METHODS)
        for name in ("rate", "tol"):
            _checks.positive(getattr(self, name), name)
        for name in ("share", "memory"):
            _checks.positive(_checks.fraction(getattr(self, name), name), name)
