"""What each figure shows: a title, what to look at, the equation behind it, and a text for those who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass

from neurodecorr.comparison import Comparison
from neurodecorr.comparison.summary import format_number

PAPER = "Correlations are ruining your gradient descent"


@dataclass(frozen=True)
class Caption:
    """The words around one figure; `shows` is the text for those who cannot see it."""

    title: str
    look: str
    equation: str
    source: str
    shows: str


CAPTIONS = {
    "correlations": Caption(
        "Correlations before and after",
        "Every panel shares one colour scale. A decorrelated output leaves nothing but the diagonal; the rms value "
        "above each panel leaves the diagonal out.",
        "ρᵢⱼ = Cᵢⱼ / √(Cᵢᵢ Cⱼⱼ),   C = ⟨x̄ x̄ᵀ⟩",
        f"{PAPER}, §3.2",
        "Heat maps of the correlation coefficients between all pairs of units, for the input and for each form's "
        "output.",
    ),
    "cost": Caption(
        "What is left, and what it takes",
        "All forms are judged alike; correlations in a shaded region may be scatter of the held-out samples, and a "
        "line through a marker spans all seeds. A matrix answers in one product, so its settling time is zero; "
        "the line from a circuit's marker ends at its slowest sample.",
        "τ dx̄/dt = x − R x̄,   at rest x̄ = R⁻¹x = M x",
        f"{PAPER}, §3.2",
        "Three dot plots over the list of forms: rms correlation left, settling time in τ, multiply-adds per sample.",
    ),
    "spectra": Caption(
        "Eigenvalues of the covariance",
        "Decorrelation flattens the spectrum. With one gain per unit, each unit keeps its own power, so the "
        "output's spectrum is as flat as the units' powers are equal; with one gain per layer it is flat but for "
        "noise.",
        "C vₖ = λₖ vₖ,   at rest C = diag(⟨x²⟩) (gain per unit) or γ I (gain per layer)",
        f"{PAPER}, §3.2 and Algorithm 1",
        "Eigenvalues against rank on logarithmic axes, for the input and each output; at the right the outputs "
        "magnified.",
    ),
    "receptive_fields": Caption(
        "Receptive fields: rows of M",
        "Each small picture is what one output unit reads from the input. Look for a centre with a surround of "
        "opposite sign: it subtracts what the neighbours predict. Inputs that are no images are drawn as whole "
        "matrices.",
        "x̄ᵢ = Σⱼ Mᵢⱼ (xⱼ − μⱼ)",
        f"{PAPER}, §3.2",
        "For each form, a grid of receptive fields, or the matrix M as a heat map.",
    ),
    "lateral_fields": Caption(
        "Lateral fields: columns of R",
        "Each small picture is what one unit sends to all others. Positive weights inhibit: each unit is held down "
        "by what the others already say.",
        "ΔRᵢⱼ = η (R x̄)ᵢ x̄ⱼ  (local rule: total lateral drive × presynaptic activity)",
        f"{PAPER}, §3.2 and Appendix D",
        "For each circuit, a grid of lateral fields, or the matrix R as a heat map.",
    ),
    "learning": Caption(
        "Correlation and stability while learning",
        "Broad lines are matrices, thin lines the circuits that are their twins: where they coincide, the two rules"
        " are one. In the shaded region a circuit would not settle. A cross marks where learning was stopped.",
        "M ← (I + η x̄x̄ᵀ)⁻¹ M   ⇔   R ← R + η (R x̄)x̄ᵀ;   stable iff min Re λ(R) > 0",
        f"after {PAPER}, Appendix D",
        "Two panels over the samples learnt from, logarithmic: rms correlation, and the smallest real part of R's "
        "eigenvalues with the stability line at zero.",
    ),
    "eigenvalues": Caption(
        "Eigenvalues of R",
        "The slowest mode is the point nearest to the stability line Re λ = 0: it decays with time constant τ/Re λ."
        " Points off the real axis oscillate while they settle. Beyond the first tick the real axis is logarithmic.",
        "x̄(t) − x̄* = e^{−R t/τ} (x̄(0) − x̄*)",
        f"{PAPER}, §3.2",
        "For each circuit, the eigenvalues of R in the complex plane with the unstable half-plane shaded.",
    ),
    "settling": Caption(
        "Trajectories to the fixed point",
        "The dashed bound needs only what the circuit can measure, its own residual. It never lies below the true "
        "distance; a sample counts as settled where the bound meets the dotted tolerance.",
        "‖x̄ − x̄*‖ ≤ ‖x − R x̄‖ / σ_{min}(R)",
        "exact for a linear circuit",
        "For each circuit, distance to the fixed point of some held-out samples against time in τ, on a logarithmic"
        " axis, with the certified bound and the tolerance.",
    ),
    "mismatch": Caption(
        "Synaptic mismatch",
        "Every synapse is off by a random factor, the same for all forms. Markers are medians, bars reach from the "
        "best to the worst draw. A mismatched matrix is only inaccurate; a mismatched circuit can lose stability.",
        "Wᵢⱼ ← Wᵢⱼ (1 + σ ξᵢⱼ),   ξᵢⱼ ~ N(0, 1),   W = M or R",
        "model of device mismatch",
        "Left, relative output error against mismatch in per cent, median and range over draws; right, the share of"
        " mismatched circuits that still settle.",
    ),
}


def alternative(name: str, comparison: Comparison) -> str:
    """Return the text that stands for a figure, with its main numbers."""
    shows = CAPTIONS[name].shows
    if name in ("correlations", "cost", "learning"):
        rms = ", ".join(f"{entry.name} {format_number(entry.correlation)}" for entry in comparison.entries)
        return f"{shows} Rms correlation: input {format_number(comparison.correlation)}, {rms}."
    if name in ("eigenvalues", "settling"):
        circuits = [entry for entry in comparison.entries if entry.settles]
        facts = ", ".join(
            f"{entry.name} min Re λ {format_number(entry.margin)}, "
            f"median settling time {format_number(entry.settling_time)} τ"
            for entry in circuits
        )
        return f"{shows} {facts}."
    return f"{shows} The numbers are in the tables."
