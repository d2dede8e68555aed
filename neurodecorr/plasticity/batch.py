"""Mini-batch learning: settle a batch, then steps of the twin rules that weigh as much as its rows one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.errors import DivergenceError
from neurodecorr.plasticity import rules, steps
from neurodecorr.plasticity.guards import inspect, settle_by_inverse
from neurodecorr.plasticity.spec import LearningRule, clock_after, rate_at, rows_until
from neurodecorr.plasticity.state import State
from neurodecorr.plasticity.steps import OUTLIER, TRACE_MEMORY

_BATCH_STEPS = {
    ("recurrent", "explicit"): (rules.explicit_recurrent, rules.explicit_feedforward),
    ("recurrent", "implicit"): (rules.local_recurrent, rules.implicit_feedforward),
    ("recurrent", "congruent"): (rules.congruent_recurrent, rules.congruent_feedforward),
    ("feedforward", "explicit"): (None, rules.explicit_feedforward),
    ("feedforward", "implicit"): (None, rules.implicit_feedforward),
    ("feedforward", "congruent"): (None, rules.congruent_feedforward),
}
# Largest η λ of one step, λ the greatest eigenvalue of C or the greatest power: a batch of many rows takes several.
# Near rest the explicit rule multiplies an error of the power by 1 − 2ηp/(1 − ηp), which leaves (−1, 1) at ηp = ½.
LONGEST_STEP = 0.25
# Least part of it that a stiff congruent step is cut to.
LEAST_STEP = 1e-3
# Sum of the η λ between two inspections, and the clock after which a batch has nothing more to teach: e^−100 is left.
GROWTH, MOST_CLOCK = 5.0, 50.0


def learn_batches(state: State, X: Floats, plan: LearningRule) -> State:
    """Learn from the rows of X in batches of `plan.batch`, in place; see `plasticity.learn`."""
    circuit = InverseCircuit(plan)
    for begin in range(0, len(X), plan.batch):
        state = learn_batch(state, X[begin : begin + plan.batch], plan, circuit)
    return state


class BatchCircuit(Protocol):
    """What `learn_batch` asks of the circuit that learns."""

    def settle(self, state: State, drive: Floats) -> Floats:
        """Return the activity x̄ of each row of drives under the present weights."""
        ...

    def stepped(self, state: State, Xbar: Floats, eta: float) -> None:
        """Note that the weights have made a step of η by the activity that `settle` returned last."""
        ...

    def inspect(self, state: State) -> State:
        """Return the state after a check: it was scaled, or a long batch has taken many steps."""
        ...


@dataclass(frozen=True)
class InverseCircuit:
    """Circuit that settles by M, x̄ = M x, refined once where R is learnt."""

    plan: LearningRule

    def settle(self, state: State, drive: Floats) -> Floats:
        """Return the activity x̄ of each row of drives."""
        return settle_by_inverse(state, drive) if self.plan.recurrent else np.asarray(drive @ state.M.T)

    def stepped(self, state: State, Xbar: Floats, eta: float) -> None:
        """Do nothing: M has followed."""

    def inspect(self, state: State) -> State:
        """Return the state after `guards.inspect`."""
        return inspect(state, self.plan)


def learn_batch(state: State, X: Floats, plan: LearningRule, circuit: BatchCircuit) -> State:
    """Go on by the time of the rows of X, η each, in as many steps as keep each small.

    Parameters
    ----------
    state : State
        Changed in place; of R and M those that are not empty learn.
    X : (rows, n) array
        One batch, in units of the state's scale.
    plan : LearningRule
        Form, rule, rate, gain.
    circuit : BatchCircuit
        How rows settle. The first time these are the rows of X; later there may be fewer, with the same second moment.

    Raises
    ------
    DivergenceError
        If activity leaves the finite numbers, or the explicit rule has no step; the batch is named.
    """
    drive = _centred(state, X, plan)
    rows = left = float(len(X))
    share = max(rows / (state.counters[steps.SAMPLES] + rows), 1 - (1 - TRACE_MEMORY) ** rows)
    grown, shortened, begun = 0.0, False, state.counters[steps.CLOCK]
    Xbar = circuit.settle(state, drive)
    if state.counters[steps.SAMPLES] == 0 and _scale(state, drive, Xbar, plan):
        state = circuit.inspect(state)
        Xbar = circuit.settle(state, drive)
    while True:
        pace = _paced(state, Xbar, plan, left, share)
        _step(state, drive, Xbar, pace.eta, plan)
        circuit.stepped(state, Xbar, pace.eta)
        state.counters[steps.CLOCK] += pace.clock
        left, shortened, grown = left - pace.rows, shortened or pace.limited, grown + pace.growth
        if left <= 0 or state.counters[steps.CLOCK] - begun > MOST_CLOCK:
            break
        if len(drive) > drive.shape[1]:
            drive = _condensed(drive)
        if grown > GROWTH:
            state, grown = circuit.inspect(state), 0.0
        Xbar = circuit.settle(state, drive)
    state.counters[steps.LIMITED] += shortened
    state.counters[steps.SAMPLES] += rows
    return state


def _scale(state: State, drive: Floats, Xbar: Floats, plan: LearningRule) -> bool:
    """Give a state that begins at another scale than M = I the power of its input, and return whether that was needed.

    A gain of 1 + ηp would take its time.
    """
    gain = rules.power_gain(drive, Xbar, plan.gain, bound=np.inf)
    columns, rows = _gain_factors(gain, plan.rule)
    state.M[...] *= rows if state.M.size else 1
    state.R[...] *= columns if state.R.size else 1
    return bool((gain != 1).any())


def _step(state: State, drive: Floats, Xbar: Floats, eta: float, plan: LearningRule) -> None:
    recurrent_step, feedforward_step = _BATCH_STEPS[plan.form, plan.rule]
    gain = rules.homeostatic_gain(state.power, eta, plan.gain, plan.rule == "explicit")
    columns, rows = _gain_factors(gain, plan.rule)
    if recurrent_step is not None:
        state.R[...] = recurrent_step(state.R, drive, Xbar, eta) * columns
    if state.M.size:
        state.M[...] = feedforward_step(state.M, drive, Xbar, eta) * rows
    state.gain[...] = gain


def _condensed(drive: Floats) -> Floats:
    """Return n rows with the same second moment ⟨x xᵀ⟩: all that the rules read of a batch."""
    upper = np.linalg.qr(drive, mode="r")
    return np.asarray(upper * np.sqrt(len(upper) / len(drive)).astype(drive.dtype))


def _gain_factors(gain: Floats, rule: str) -> tuple[Floats, Floats]:
    """Return what multiplies R and M: 1/g on columns and g on rows, or D and D⁻¹ on both sides (congruent)."""
    if rule == "congruent":
        root = np.sqrt(gain)
        return 1 / np.outer(root, root), np.outer(root, root)
    return 1 / gain[None, :], gain[:, None]


def _centred(state: State, X: Floats, plan: LearningRule) -> Floats:
    """Return the rows less their mean; mean and power go on by as many samples as there are rows."""
    rows, clock = len(X), state.counters[steps.CLOCK]
    share = max(rows / (state.counters[steps.SAMPLES] + rows), 1 - (1 - plan.memory) ** rows)
    batch_mean = X.mean(axis=0)
    if plan.mean != "none":
        state.mean[...] += share * (batch_mean - state.mean)
    drive = X - (batch_mean if plan.mean == "batch" else state.mean)
    # C forgets as exp(−2s), and p with it: an outlier that only one of them remembered would change the power kept
    share = max(share, -math.expm1(2 * (clock - clock_after(plan.timing, plan.rate, clock, rows))))
    state.power[...] += share * ((drive * drive).mean(axis=0) - state.power)
    return np.asarray(drive)


class Pace(NamedTuple):
    """One step: η, the rows and the clock it stands for, the growth it allows, and whether the limit shortened it."""

    eta: float
    rows: float
    clock: float
    growth: float
    limited: bool


def _paced(state: State, Xbar: Floats, plan: LearningRule, left: float, share: float) -> Pace:
    """Return the step to take while `left` rows are left. Its noise grows as η tr(C), which the limit bounds."""
    counters, timing = state.counters, plan.timing
    unit = float(state.power.mean()) if plan.relative else state.scale**-2
    trace = float((Xbar * Xbar).sum()) / len(Xbar)
    if not math.isfinite(trace):
        raise DivergenceError(
            f"activity left the finite numbers at batch {state.samples // plan.batch} (rate {plan.rate:g}). "
            "Lower the rate or set a limit."
        )
    if unit == 0:
        return Pace(0.0, left, 0.0, 0.0, False)
    counters[steps.TRACE] += share * (trace - counters[steps.TRACE])
    heard = max(counters[steps.TRACE], trace / OUTLIER)
    limit = math.inf if plan.limit is None or heard == 0 else plan.limit * unit / heard  # clock of one row
    rate, clock = rate_at(timing, plan.rate, counters[steps.CLOCK]), counters[steps.CLOCK]
    strongest = max(trace, float(state.power.max()))  # ≥ λ_max(C), which is worth finding for a long step only
    if min(rate, limit) * left * strongest > LONGEST_STEP * unit:
        strongest = _strongest(state, Xbar, plan)
    if plan.rule == "explicit" and min(rate, limit) * strongest >= unit:
        raise DivergenceError(
            f"the explicit rule needs η λ_max(C) < 1, which failed at batch {state.samples // plan.batch} "
            f"(rate {plan.rate:g}). Set limit=0.1, lower the rate, or use rule='implicit'."
        )
    due = min(clock_after(timing, plan.rate, clock, left) - clock, limit * left)
    rows, longest = left, LONGEST_STEP * unit / strongest if strongest > 0 else math.inf
    if due > longest and plan.rule == "congruent":
        longest /= _stiffness(state.R if plan.recurrent else state.M)
    if due > longest:
        due = longest
        rows = min(left, max(rows_until(timing, plan.rate, clock, clock + due), due / limit))
    return Pace(due / unit, rows, due, due / unit * strongest, rate > limit)


def _stiffness(weights: Floats) -> float:
    """Return how much faster than as exp(−2s) the congruent rule moves some entry of C: (1 + cosh ln κ)/2.

    κ(R) = κ(M): either will do.
    """
    values = np.linalg.eigvalsh(weights)
    condition = float(values[-1] / values[0]) if values[0] > 0 else math.inf
    return min((2 + condition + 1 / condition) / 4, 1 / LEAST_STEP)


def _strongest(state: State, Xbar: Floats, plan: LearningRule) -> float:
    """Return the largest eigenvalue of C, or the largest power that sets a gain."""
    rows = Xbar if len(Xbar) < Xbar.shape[1] else Xbar.T
    # The eigenvalues of this product are had for a third of the time of the singular values of x̄.
    largest = float(np.linalg.eigvalsh(rows @ rows.T)[-1]) / len(Xbar)
    return largest if plan.gain == "none" else max(largest, float(state.power.max()))
