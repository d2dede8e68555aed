"""Batches, and the congruent rule sample by sample: rows settle under one R, are certified, and R takes a whole step.

A step keeps what is known of σ_min(R), for rows that settled to x = R x̄ + r only::

    implicit     R' = R (I + ηC) + η⟨r x̄ᵀ⟩
    explicit     R' = R (I − ηC)⁻¹                       σ_min(R') ≥ (σ_min(R) − loss)/max g,
    congruent    R' = (I + ηC)^½ R (I + ηC)^½            loss = η ‖r‖ ‖x̄‖/b (Frobenius), or 0

The factors of R have no eigenvalue below 1. The second and third use R x̄, not x, so r does not enter; the single step
of the congruent rule uses x, and r enters as it does in the first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodecorr._numerics.norms import EPS
from neurodecorr._typing import Floats
from neurodecorr.online.bounds import compute_bounds, usable_bounds
from neurodecorr.online.circuit import OnlineCircuit, Settling, broken, settle_together
from neurodecorr.online.sample import learn_congruently
from neurodecorr.plasticity import LearningRule, State
from neurodecorr.plasticity.batch import LONGEST_STEP, learn_batch
from neurodecorr.plasticity.samplewise import averages_of
from neurodecorr.plasticity.steps import SAMPLES, StepParameters, centre_rows


class CertifiedBatch:
    """Circuit that settles the rows of one batch with a certificate, and follows σ_min from step to step.

    Parameters
    ----------
    circuit : OnlineCircuit
        Circuit before the batch.
    plan : LearningRule
        How it learns.
    share : float
        Largest certified distance to rest, relative to ‖x̄‖.
    """

    def __init__(self, circuit: OnlineCircuit, plan: LearningRule, share: float) -> None:
        self.bounds, self.renewals, self.products, self.worst = circuit.bounds, 0, 0.0, 0.0
        self.first: list[Settling] = []
        self._plan, self._share, self._frobenius, self._gap = plan, share, 0.0, 0.0

    def settle(self, state: State, drive: Floats) -> Floats:
        """Return the activity x̄ of each row of drives; the first that settle are the samples of the batch."""
        self.bounds = usable_bounds(self.bounds, state.R, self._plan, state.samples)
        settling, self._frobenius, renewed = settle_together(state, drive, self.bounds, self._share)
        if not self.first:
            self.first.append(settling)
        self.renewals += renewed
        self.products += settling.products * len(drive)
        self.worst = max(self.worst, settling.worst)
        self._gap = self.bounds.low * float(np.linalg.norm(settling.bound))  # ‖x − R x̄‖, its rounding included
        if not state.M.size and self.bounds.outgrown(round(settling.products)):
            self.bounds = compute_bounds(state.R, state.samples)
        else:
            self.bounds = self.bounds.after(self.bounds.low, round(settling.products))
        return settling.xbar

    def stepped(self, state: State, Xbar: Floats, eta: float) -> None:
        """Take off the bound of σ_min what the step may have taken: the gain, what did not settle, and rounding.

        Of n sums of at most n + b terms each, in the type of R, and of four roundings of R itself.
        """
        rows, n = Xbar.shape
        activity = float(np.linalg.norm(Xbar))
        growth = eta * activity**2 / rows / (1 - LONGEST_STEP)
        rounding = (rows + n + 16) * growth * (2 + growth) + 8 * (1 + growth) ** 2
        lost = eta / rows * self._gap * activity if self._plan.rule == "implicit" else 0.0
        low = (self.bounds.low - lost) / float(state.gain.max()) * (1 - 8 * EPS)
        low -= float(np.finfo(Xbar.dtype).eps) * rounding * self._frobenius
        self.bounds = replace(self.bounds, low=low)

    def inspect(self, state: State) -> State:
        """Return the state, if it settles, with bounds of its spectrum."""
        self.bounds = compute_bounds(state.R, state.samples)
        return state


def process_batch(
    circuit: OnlineCircuit, X: Floats, plan: LearningRule, share: float
) -> tuple[OnlineCircuit, Settling]:
    """Settle the rows of X under one R and learn from them as one batch.

    What is certified is the rest of each sample under the R at the start. A batch of many rows takes several steps; in
    between the rows, or fewer with the same second moment, settle again, certified likewise.

    Raises
    ------
    DivergenceError
        If activity leaves the finite numbers, or the explicit rule has no step; the batch is named.
    StabilityError
        If the circuit no longer settles.
    """
    batch = CertifiedBatch(circuit, plan, share)
    learnt = learn_batch(circuit.learnt.copy(), X, plan, batch)
    learnt = replace(learnt, resynchronised=learnt.resynchronised + batch.renewals)
    found = batch.first[0]._replace(worst=batch.worst, products=batch.products / len(X))
    return OnlineCircuit(learnt, batch.bounds, circuit.checked), found


def process_congruently(
    circuit: OnlineCircuit, X: Floats, parameters: StepParameters, share: float
) -> tuple[OnlineCircuit, Settling]:
    """Settle each row of X under the R that the row before left, and learn from it by the congruent rule.

    ::

        R ← D (A R A + β(r x̄ᵀ + x̄ rᵀ) + β² (x̄ᵀr) x̄x̄ᵀ) D,    A = I + β x̄x̄ᵀ,    2β + β² x̄ᵀx̄ = η

    Two of its gains act on both sides of R, so rows that settled under the R at the start of a block cannot be carried
    to the R that they meet. What did not settle takes η ‖r‖ ‖x̄‖ off λ_min(R) at most.

    Raises
    ------
    DivergenceError
        If activity leaves the finite numbers; the sample is named.
    """
    learnt, bounds = circuit.learnt.copy(), circuit.bounds
    found: list[Settling] = []
    unit, n = float(np.finfo(X.dtype).eps), X.shape[1]
    for t in range(len(X)):
        before = [learnt.mean.copy(), learnt.power.copy(), learnt.counters.copy()]
        drive = np.empty_like(X[t : t + 1])
        centre_rows(parameters, X[t : t + 1], learnt.mean, learnt.counters[SAMPLES], drive)
        settling, frobenius, renewed = settle_together(learnt, drive, bounds, share)
        eta, growth = learn_congruently(parameters, averages_of(learnt), learnt.R, learnt.M, drive[0], settling.xbar[0])
        if not growth > 0:
            if not found:
                raise broken(parameters, learnt.samples)
            mean, power, counters = before
            learnt = replace(learnt, mean=mean, power=power, counters=counters)
            break
        found.append(settling)
        learnt = replace(learnt, resynchronised=learnt.resynchronised + renewed)
        size, x = float(np.linalg.norm(settling.xbar)), float(np.linalg.norm(drive))
        rounding = unit * (8 * frobenius + (n + 16) * eta * x * size * (1 + eta * size**2))
        low = bounds.low * (1 - eta * float(settling.bound[0]) * size) / growth * (1 - 8 * EPS) - rounding
        outgrown = not learnt.M.size and bounds.outgrown(round(settling.products))
        bounds = compute_bounds(learnt.R, learnt.samples) if outgrown else bounds.after(low, round(settling.products))
        if bounds.stale:
            break
    return OnlineCircuit(learnt, bounds, circuit.checked), _joined(found)


def _joined(found: list[Settling]) -> Settling:
    """Return samples that settled one by one as one block."""
    columns = [np.concatenate(one) for one in list(zip(*found, strict=True))[:4]]
    worst, products = (np.array([one[k] for one in found]) for k in (4, 5))
    return Settling(columns[0], columns[1], columns[2], columns[3], float(worst.max()), float(products.mean()))
