"""What a model file says about the decorrelation of a layer's input."""

from __future__ import annotations

from dataclasses import dataclass, replace

from neurodecorr import _checks
from neurodecorr.circuit.settling import METHODS
from neurodecorr.errors import ConfigError

__all__ = ["FORMS", "GAINS", "MEANS", "ORDERS", "RULES", "Decorrelation"]

FORMS = ("none", "feedforward", "recurrent", "batch_norm")
RULES = ("explicit", "implicit", "congruent")
GAINS = ("node", "layer", "none", "norms")
ORDERS = ("CM", "MC")
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
    gain : {"node", "layer", "none", "norms"}
        Whose power is kept: g = √(⟨x²⟩/⟨x̄²⟩) per batch; for the congruent rule g = 1 + η p of the running power p.
        "norms" is what P0's public code does, one number for the layer: g = ⟨‖x‖/√(‖x̄‖² + 1e-8)⟩, μ left in x.
    share : float
        Share of the samples of a batch that an update reads, in (0, 1]: the first ⌊share · b⌋ + 1, or all b. P0's
        public code reads a tenth.
    memory : float
        Weight of a batch in the running mean μ, in (0, 1]; 0.1 in P0.
    mean : {"running", "batch", "none"}
        What is subtracted while learning; at test it is the running mean.
    settling : str
        How the rest of a recurrent layer is found. "twin": by x̄ = M (x − μ), M = R⁻¹ being kept beside R by rank-k
        updates. Otherwise by a method of `circuit.settle`, in float64.
    tol : float
        Tolerance of settling, relative to ‖x̄‖.
    order : {"CM", "MC"}
        M ← g (I − ηC) M, as P0 prints it, or M ← g M (I − ηC), as the dense layers of its public code have it.
    mean_passes : bool
        Whether a gradient passes through the mean of a batch, too; otherwise μ counts as constant.
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
    order: str = "CM"
    mean_passes: bool = False

    def __post_init__(self) -> None:
        _checks.choice(self.form, "form", FORMS)
        _checks.choice(self.rule, "rule", RULES)
        _checks.choice(self.gain, "gain", GAINS)
        _checks.choice(self.mean, "mean", MEANS)
        _checks.choice(self.settling, "settling", METHODS)
        _checks.choice(self.order, "order", ORDERS)
        for name in ("rate", "tol"):
            _checks.positive(getattr(self, name), name)
        for name in ("share", "memory"):
            _checks.positive(_checks.fraction(getattr(self, name), name), name)
        _checks.flag(self.mean_passes, "mean_passes")
        if self.order == "MC" and (self.form == "recurrent" or self.rule != "explicit"):
            raise ConfigError(
                "order='MC' is the explicit rule of M in the order of P0's public code; got "
                f"form={self.form!r}, rule={self.rule!r}. Use form='feedforward' and rule='explicit', or order='CM'."
            )
        if self.gain == "norms" and self.rule == "congruent":
            raise ConfigError("gain must be 'node', 'layer' or 'none' for the congruent rule; got 'norms'.")

    @classmethod
    def public_code(cls, rate: float = 1e-5, *, patches: bool = False) -> Decorrelation:
        """Return what P0's public code does to the input of a layer (docs/ledger.md, D1 to D6, D12, D18).

        Parameters
        ----------
        rate : float
            η_M of a dense layer.
        patches : bool
            Whether the layer is a convolution: these keep the printed order, at a rate of 1e-5 whatever is asked for.

        Examples
        --------
        >>> Decorrelation.public_code(1e-6).order, Decorrelation.public_code(1e-6, patches=True).rate
        ('MC', 1e-05)
        """
        order, rate = ("CM", 1e-5) if _checks.flag(patches, "patches") else ("MC", _checks.positive(rate, "rate"))
        law = cls("feedforward", "explicit", rate, "norms", share=0.1, memory=0.1, mean="batch")
        return replace(law, order=order, mean_passes=True)
