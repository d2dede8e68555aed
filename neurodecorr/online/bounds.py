"""Bounds of an online circuit: σ_min(R), ‖R‖ and the ellipse of its spectrum, and how they are kept up to date."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.norms import EPS
from neurodecorr._typing import Floats
from neurodecorr.circuit.bounds import Ellipse, recurrence
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.circuit.stability import require_stable
from neurodecorr.errors import StabilityError
from neurodecorr.plasticity.guards import STRONGEST
from neurodecorr.plasticity.spec import LearningRule

ADVICE = "Use rule='congruent', a lower rate or limit, or the feedforward form (nd.learn)."
# A bound that fell to this share of its first value is computed anew; till then it costs ln(1/share)/ln(1/ϱ) products.
STALE = 0.5
# Shares of the last computed σ_min that are tried in its place.
SHARES = (1.3, 1.0, 0.8, 0.6, 0.4)
# A schedule is made anew once it needs this many times, or this many, more products than when it was made.
SLOWER, MORE = 1.25, 3
LONGEST = 100_000
# Both ends of the ellipse are moved outwards by this factor: R moves a little while the schedule is in use.
ROOM = 1.03


@dataclass(frozen=True)
class Bounds:
    """Bounds of a circuit: σ_min(R), ‖R‖, and the ellipse of its spectrum.

    Parameters
    ----------
    ellipse : Ellipse
        Around its spectrum, when last computed.
    schedule : (steps, 2) array
        Coefficients of the Chebyshev recurrence on that ellipse.
    size : float
        About σ_max.
    low : float
        Proven lower bound of σ_min, now.
    fresh : float
        The same when last computed.
    products : int
        Products that the schedule needed at first; 0 before it was used.
    """

    ellipse: Ellipse
    schedule: Floats
    size: float
    low: float
    fresh: float
    products: int = 0

    @property
    def stale(self) -> bool:
        """Whether the bound has become loose."""
        return self.low < STALE * self.fresh

    def after(self, low: float, products: int) -> Bounds:
        """Return what is known after a block that left this bound and took this many products."""
        return replace(self, low=low, products=self.products or products)

    def outgrown(self, products: int) -> bool:
        """Whether the spectrum has left the ellipse, to judge by the number of products."""
        return self.products > 0 and products > max(SLOWER * self.products, self.products + MORE)

    def renewed(self, R: Floats, seen: int) -> Bounds:
        """Return the same with a fresh bound: one factorisation where it lies near the last, the spectrum elsewhere."""
        for share in SHARES:
            low = _proven(R, share * self.fresh)
            if low > STALE * share * self.fresh:
                return replace(self, low=low, fresh=low)
        return compute_bounds(R, seen)


def compute_bounds(R: Floats, seen: int) -> Bounds:
    """Compute the bounds of a circuit.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights.
    seen : int
        Samples learnt from, for the message.

    Raises
    ------
    StabilityError
        If the circuit does not settle.
    """
    with one_thread(len(R)):
        spectrum = Spectrum(R.astype(np.float64))
        require_stable(spectrum, f" after sample {seen}", ADVICE)
        if not spectrum.sigma_low > 0:
            raise StabilityError(
                f"the circuit must have a least singular value that rounding leaves > 0; after sample {seen} its "
                f"condition is {spectrum.condition:.2g}. {ADVICE}"
            )
        ellipse = _wider(spectrum.ellipse)
        schedule = recurrence(ellipse, LONGEST)
    return Bounds(ellipse, schedule, spectrum.size_bound, spectrum.sigma_low, spectrum.sigma_low)


def usable_bounds(bounds: Bounds, R: Floats, plan: LearningRule, seen: int) -> Bounds:
    """Return bounds that are tight enough, and leave room between σ_min(R) and rounding.

    Under the congruent rule a positive bound also says that R, symmetric, is positive definite: it was so at first,
    and no eigenvalue has crossed zero since. A lost bound is replaced by one from the spectrum, which says so again.

    Parameters
    ----------
    bounds : Bounds
        What is known of R.
    R : (n, n) array
        Lateral weights.
    plan : LearningRule
        Rule; `strongest` is the largest singular value of R⁻¹ that it allows.
    seen : int
        Samples learnt from, for the message.

    Raises
    ------
    StabilityError
        If the circuit does not settle, or a direction has become too weak.
    """
    if bounds.stale:
        lost = plan.rule == "congruent" and not bounds.low > 0
        bounds = compute_bounds(R, seen) if lost else bounds.renewed(R, seen)
    strongest = plan.strongest or STRONGEST[R.dtype.name]
    if not bounds.low * strongest > 1:
        raise StabilityError(
            f"the circuit must have σ_min(R) > {1 / strongest:.3g}; after sample {seen} its proven bound is "
            f"{bounds.low:.3g}. Some direction of the input carries no independent signal: remove collinear "
            "units, or let the rate decay."
        )
    return bounds


def _wider(ellipse: Ellipse) -> Ellipse:
    """Move both foci outwards by `ROOM`, so that a spectrum that moves a little stays inside."""
    low, high = (ellipse.centre - ellipse.focus) / ROOM, (ellipse.centre + ellipse.focus) * ROOM
    d, c = (high + low) / 2, (high - low) / 2
    return Ellipse(d, c, max(ellipse.factor, c / (d + math.sqrt(low * high))))


def _proven(R: Floats, candidate: float) -> float:
    """Return a proven lower bound of σ_min near the candidate s, or 0: RᵀR − s²I has a Cholesky factor.

    One that runs to its end in floating point proves λ_min > −γ_{n+1} tr/(1 − γ_{n+1}) (Rump 2006, BIT 46, 433), and
    RᵀR is off by at most γ_n ‖R‖²; four times the first and twice the second leave room for the order of the sums.
    """
    A = np.asfortranarray(R, dtype=np.float64)
    size, trace = len(A), float(np.vdot(A, A))
    gram = scipy.linalg.blas.dsyrk(1.0, A, trans=1, lower=1)
    gram[np.diag_indices(size)] -= candidate**2
    if scipy.linalg.lapack.dpotrf(gram, lower=1, overwrite_a=1, clean=0)[1] != 0:
        return 0.0
    square = candidate**2 - EPS * (6 * size + 60) * trace
    return math.sqrt(square) * (1 - 4 * EPS) if square > 0 else 0.0
