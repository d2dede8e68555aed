"""Circuit between two blocks of samples, and what is known of samples that have settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.norms import norms
from neurodecorr._typing import Floats
from neurodecorr.circuit.stability import require_stable
from neurodecorr.errors import DivergenceError
from neurodecorr.online import sample
from neurodecorr.online.block import Block, Limits, block_residuals, certify_rows, integrated, recalled, refined
from neurodecorr.online.bounds import ADVICE, Bounds, compute_bounds, usable_bounds
from neurodecorr.plasticity import LearningRule, State
from neurodecorr.plasticity.guards import inverse
from neurodecorr.plasticity.steps import EXPLICIT, StepParameters

# Samples per block: moving those to come costs 2nk a sample, the ends of a block n²/k or less.
BLOCKS = {512: 128}
LONGEST_BLOCK = 256
# Stability is checked this often, or once in n samples.
BETWEEN_CHECKS = 1000
# What settling aims at, as a share of the tolerance, and the same with care: the rest is for rounding and the steps.
AIM, CARE = 0.5, 1e-3


class Settling(NamedTuple):
    """Activity, residuals and bounds of settled samples, in the units of the state.

    Parameters
    ----------
    xbar : (k, n) array
        Settled activity x̄.
    residual, bound : (k,) arrays
        ‖x − R x̄‖, and the certified bound of ‖x̄ − x̄*‖.
    proven : (k,) array of bool
        Whether the bound meets the tolerance.
    worst : float
        Largest bound, relative to ‖x̄‖.
    products : float
        Matrix–vector products per sample.
    """

    xbar: Floats
    residual: Floats
    bound: Floats
    proven: npt.NDArray[np.bool_]
    worst: float
    products: float


@dataclass(frozen=True)
class OnlineCircuit:
    """Circuit between two blocks of samples.

    Parameters
    ----------
    learnt : State
        Weights and running statistics. M is empty, unless it is kept beside R.
    bounds : Bounds
        Bounds of R.
    checked : int
        Sample after which stability was last checked.
    """

    learnt: State
    bounds: Bounds
    checked: int

    @classmethod
    def begin(cls, learnt: State) -> OnlineCircuit:
        """Return the circuit ready for its first block.

        Raises
        ------
        StabilityError
            If it does not settle.
        """
        return cls(learnt, compute_bounds(learnt.R, learnt.samples), learnt.samples)

    def reach(self, plan: LearningRule) -> int:
        """Return the most samples that `process_block` takes at once."""
        R = self.learnt.R
        if plan.batch > 1:
            return plan.batch
        return between_checks(len(R)) if sample.suited(R) else longest_block(len(R))

    def inspected(self, plan: LearningRule) -> OnlineCircuit:
        """Return the same with bounds that are tight enough, its stability checked if that is due.

        Raises
        ------
        StabilityError
            If a mode does not decay, or a direction has become too weak; the sample is named.
        """
        R, seen, checked = self.learnt.R, self.learnt.samples, self.checked
        if seen - checked >= between_checks(len(R)):
            require_stable(R, f" after sample {seen}", ADVICE)
            checked = seen
        return OnlineCircuit(self.learnt, usable_bounds(self.bounds, R, plan, seen), checked)


def longest_block(n: int) -> int:
    """Return how many samples share a block."""
    return next((k for bound, k in BLOCKS.items() if n < bound), LONGEST_BLOCK)


def between_checks(n: int) -> int:
    """Return how many samples pass between two checks of stability."""
    return max(BETWEEN_CHECKS, n)


class SettledRows(NamedTuple):
    """Rows that settled under one R, with ‖R‖ (Frobenius), and whether M had to be made anew for it."""

    settling: Settling
    frobenius: float
    renewed: bool


def settle_together(learnt: State, drives: Floats, bounds: Bounds, share: float) -> SettledRows:
    """Settle rows under one R, and certify each.

    ::

        ‖x̄ − x̄*‖ ≤ ‖x − R x̄‖/σ_min(R) ≤ share ‖x̄‖

    Rows that miss the tolerance by more than rounding settle again with care; an M that is to blame is made anew, in
    place.

    Parameters
    ----------
    learnt : State
        R, and M if it is kept beside R.
    drives : (k, n) array
        Inputs x − μ.
    bounds : Bounds
        Bounds of R.
    share : float
        Largest certified distance to rest, relative to ‖x̄‖.
    """
    R, M = learnt.R, learnt.M
    Y, products = recalled(R, M, drives, bounds, share) if M.size else integrated(R, drives, bounds, AIM * share)
    found = _proven_rows(R, drives, Y, bounds, share, products)
    if found.settling.proven.all() or not refinable(found.settling, bounds, R):
        return found
    if M.size:
        M[...] = inverse(R, symmetric=np.array_equal(R, R.T))
    gaps, _ = block_residuals(R, drives, Y, Y[:0], np.empty((0, 3)))
    Y, more = refined(R, M, gaps, Y, bounds, CARE)
    return _proven_rows(R, drives, Y, bounds, share, products + more)._replace(renewed=M.size > 0)


def _proven_rows(R: Floats, X: Floats, Y: Floats, bounds: Bounds, share: float, products: int) -> SettledRows:
    """Certify rows that all settled under one R: a block whose steps are none."""
    k, steps = len(Y), np.array([[0.0, 0.0, 1.0]])
    gaps, frobenius = block_residuals(R, X, Y, Y[:0], steps[:0])
    residual, bound, proven = np.empty(k), np.empty(k), np.empty(k, np.bool_)
    limits = Limits(frobenius, bounds.low, float(np.finfo(Y.dtype).eps), share)
    rows = Block(Y, Y, Y, np.repeat(steps, k, axis=0))
    _, _, worst = certify_rows(gaps, X, rows, limits, residual, bound, proven)
    return SettledRows(Settling(Y, residual, bound, proven, worst, products), frobenius, False)


def refinable(settling: Settling, bounds: Bounds, R: Floats) -> bool:
    """Tell whether some sample missed the tolerance by more than the rounding of x̄ itself explains."""
    missed = ~settling.proven
    size = norms(settling.xbar[missed])
    return bool((settling.residual[missed] > float(np.finfo(R.dtype).eps) * bounds.size * size).any())


def broken(parameters: StepParameters, seen: int) -> DivergenceError:
    """Return the error of a sample for which no step exists."""
    if parameters.rule == EXPLICIT:
        return DivergenceError(
            f"the explicit rule needs η‖x̄‖² < 1 and ηp < 1, which failed at sample {seen} "
            f"(rate {parameters.rate:g}). Set limit=0.1, lower the rate, or use rule='implicit'."
        )
    return DivergenceError(
        f"activity left the finite numbers at sample {seen} (rate {parameters.rate:g}). Lower the rate or set a limit."
    )
