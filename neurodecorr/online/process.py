"""Settle and learn the next samples of a circuit: one by one, in blocks, or as a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from neurodecorr._numerics.blas import add_product, blas, rows_product
from neurodecorr._numerics.norms import EPS
from neurodecorr._typing import Floats
from neurodecorr.online import sample
from neurodecorr.online.block import (
    Block,
    Limits,
    block_residuals,
    certify_rows,
    integrated,
    learn_block,
    lower_part,
    most_products,
    recalled,
    refined,
)
from neurodecorr.online.bounds import STALE, compute_bounds, usable_bounds
from neurodecorr.online.circuit import (
    AIM,
    CARE,
    OnlineCircuit,
    Settling,
    between_checks,
    broken,
    longest_block,
    refinable,
    settle_together,
)
from neurodecorr.online.sample import learn_congruently
from neurodecorr.plasticity import LearningRule, State
from neurodecorr.plasticity.batch import LONGEST_STEP, learn_batch
from neurodecorr.plasticity.guards import inverse
from neurodecorr.plasticity.samplewise import averages_of, step_parameters
from neurodecorr.plasticity.steps import CONGRUENT, SAMPLES, Averages, StepParameters, centre_rows


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


def process_block(circuit: OnlineCircuit, X: Floats, plan: LearningRule, tol: float) -> tuple[OnlineCircuit, Settling]:
    """Settle and learn the first rows of X, in the units of the state; what was given is left as it was.

    How many they were is the length of what returns: at least one, at most `reach`; a batch is taken whole.

    Raises
    ------
    DivergenceError
        If numbers leave the finite range, or the explicit rule meets η‖x̄‖² ≥ 1; the sample is named.
    StabilityError
        If the circuit no longer settles; the sample is named.
    """
    circuit, share = circuit.inspected(plan), tol / (1 + tol)
    if plan.batch > 1:
        return process_batch(circuit, X[: plan.batch], plan, share)
    parameters = step_parameters(plan, circuit.learnt.scale)
    if sample.suited(circuit.learnt.R):
        for _ in range(2):  # an M that has drifted is made anew once
            circuit, found = _process_samples(circuit, X, parameters, share)
            if len(found.bound):
                return circuit, found
    process = process_congruently if parameters.rule == CONGRUENT else _process_rows
    return process(circuit, X[: longest_block(X.shape[1])], parameters, share)


def _process_samples(
    circuit: OnlineCircuit, X: Floats, parameters: StepParameters, share: float
) -> tuple[OnlineCircuit, Settling]:
    """Settle and learn one row after the other; none if the first does not settle that way."""
    learnt, bounds, n = circuit.learnt, circuit.bounds, X.shape[1]
    X = X[: between_checks(n) - (learnt.samples - circuit.checked)]
    most = most_products(bounds, AIM * share * bounds.low, X.dtype)
    known = sample.Known(bounds.low, STALE * bounds.fresh, share, (n + 16) * EPS, most)
    P, Q = sample.pad_to_registers(learnt.R.T), sample.pad_to_registers(learnt.M.T)
    mean, counters = learnt.mean.copy(), learnt.counters.copy()
    power, gain = sample.pad_to_registers(learnt.power), sample.pad_to_registers(learnt.gain)
    certified = sample.Certified(np.empty_like(X), np.empty(len(X)), np.empty(len(X)), np.empty(len(X), np.bool_))
    done, code, total, low, worst = sample.learn_step_by_step(
        parameters, known, bounds.schedule, X, P, Q, Averages(mean, power, gain, counters), certified
    )
    if code == sample.DIVERGED and done == 0:
        raise broken(parameters, learnt.samples)
    products, drifted = total / max(done, 1), code == sample.INVERSE_DRIFTED
    R = np.ascontiguousarray(P[:n, :n].T)
    M = inverse(R, parameters.rule == CONGRUENT) if drifted else np.ascontiguousarray(Q[:n, :n].T)
    resynchronised = learnt.resynchronised + drifted
    state = State(M, R, mean, power[:n], gain[:n], counters, learnt.scale, resynchronised)
    if code == sample.NOT_SETTLED or (not M.size and bounds.outgrown(round(products))):
        bounds = compute_bounds(R, state.samples)
    else:
        bounds = bounds.after(low, round(products))
    xbar, residual, bound, proven = certified
    found = Settling(xbar[:done], residual[:done], bound[:done], proven[:done], worst, products)
    return OnlineCircuit(state, bounds, circuit.checked), found


def _process_rows(
    circuit: OnlineCircuit, X: Floats, parameters: StepParameters, share: float
) -> tuple[OnlineCircuit, Settling]:
    """Settle and learn all rows together."""
    R, M, bounds = circuit.learnt.R, circuit.learnt.M, circuit.bounds
    mean, drives = circuit.learnt.mean.copy(), np.empty_like(X)
    centre_rows(parameters, X, mean, float(circuit.learnt.samples), drives)
    Y, products = recalled(R, M, drives, bounds, share) if M.size else integrated(R, drives, bounds, AIM * share)
    trial = _tried(circuit, drives, Y.copy(), parameters, share)
    careful = not trial.settling.proven.all() and refinable(trial.settling, bounds, R)
    if careful:
        gaps, _ = block_residuals(R, drives, Y, Y[:0], np.empty((0, 3)))
        Y, more = refined(R, M, gaps, Y, bounds, CARE)
        products += more
        trial = _tried(circuit, drives, Y, parameters, share)
    if not M.size and bounds.outgrown(products):
        bounds = compute_bounds(R, circuit.learnt.samples)
    learnt, low = _learnt(circuit.learnt, trial, drives, mean, careful)
    found = OnlineCircuit(learnt, bounds.after(low, products), circuit.checked)
    return found, trial.settling._replace(products=products)


class BlockTrial(NamedTuple):
    """State of a circuit after a block, before it is accepted."""

    settling: Settling
    block: Block
    averages: Averages
    scale: Floats
    low: float
    size: float


def _tried(circuit: OnlineCircuit, drives: Floats, Z: Floats, parameters: StepParameters, share: float) -> BlockTrial:
    """Go through a block from R₀⁻¹X and certify it; Z is used up."""
    learnt, k = circuit.learnt, len(drives)
    averages = Averages(learnt.mean, learnt.power.copy(), learnt.gain.copy(), learnt.counters.copy())
    rows, scale = Block(Z, np.empty_like(Z), np.empty_like(Z), np.empty((k, 3))), np.ones(Z.shape[1])
    broke = learn_block(parameters, averages, scale, drives, rows)
    if broke >= 0:
        raise broken(parameters, learnt.samples + broke)
    gaps, frobenius = block_residuals(learnt.R, drives, Z, rows.V, rows.steps)
    residual, bound, proven = np.empty(k), np.empty(k), np.empty(k, np.bool_)
    limits = Limits(frobenius, circuit.bounds.low, float(np.finfo(Z.dtype).eps), share)
    low, size, worst = certify_rows(gaps, drives, rows, limits, residual, bound, proven)
    return BlockTrial(Settling(rows.xbar, residual, bound, proven, worst, 0), rows, averages, scale, low, size)


def _learnt(learnt: State, trial: BlockTrial, drives: Floats, mean: Floats, renew: bool) -> tuple[State, float]:
    """Return the state after a block, and the bound of its σ_min with the rounding of the new weights taken off."""
    dtype, c = learnt.R.dtype, trial.block.steps[:, :1]
    scale = trial.scale.astype(dtype, copy=False)
    pulls = (c * trial.block.V / trial.scale).astype(dtype, copy=False)
    R = learnt.R / scale
    add_product(R, drives, pulls, 1.0)
    rounding = (len(drives) + 8) * float(np.finfo(dtype).eps) * trial.size
    M, resynchronised = learnt.M, learnt.resynchronised
    if M.size:
        M = inverse(R) if renew else _kept_inverse(M, trial, scale)
        resynchronised += renew
    _, power, gain, counters = trial.averages
    return State(M, R, mean, power, gain, counters, learnt.scale, resynchronised), trial.low - rounding


def _kept_inverse(M: Floats, trial: BlockTrial, scale: Floats) -> Floats:
    """Return M after a block, without a product of two n × n matrices.

    ::

        M ← diag(w) (M − Zᵀ C' L⁻¹ V M),    L = I + tril(V Zᵀ, −1) C'

    The product of the steps I − c' z vᵀ, applied to all columns of M at once.
    """
    Z, V = trial.block.Z, trial.block.V
    shrink = trial.block.steps[:, 1].astype(M.dtype)
    L = rows_product(V, Z)
    lower_part(L, shrink)
    B = rows_product(V, np.ascontiguousarray(M.T))
    blas(M.dtype).trsm(1.0, L.T, B.T, side=1, lower=0, diag=1, overwrite_b=1)
    M = M.copy()
    add_product(M, Z * shrink[:, None], B, -1.0)
    M *= scale[:, None]
    return M
