"""Learning to decorrelate: one function from state to state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._threads import one_thread
from neurodecorr.errors import DivergenceError, InputError
from neurodecorr.plasticity import codes, kernels, twins
from neurodecorr.plasticity.guards import inspect
from neurodecorr.plasticity.plan import GAINS, Plan
from neurodecorr.plasticity.schedules import rate_at
from neurodecorr.plasticity.state import State

__all__ = ["learn"]

Floats = npt.NDArray[np.floating[Any]]

# Between two inspections weak directions may grow by e^5 at most, and no more updates pass than this.
LONGEST_CHUNK, CHUNK_GROWTH = 1000, 5.0
LOWER = "Lower the rate or set a limit."


def learn(state: State, X: Floats, plan: Plan) -> State:
    """Learn from the rows of X in order; the given state is left as it was.

    Parameters
    ----------
    state : State
        Where to begin.
    X : (samples, n) array
        Inputs x, finite.
    plan : Plan
        Rule, rate, gain.

    Returns
    -------
    State
        What was learnt.

    Raises
    ------
    DivergenceError
        If numbers leave the finite range, or the explicit rule meets η‖x̄‖² ≥ 1; the sample is named.
    StabilityError
        If the learnt circuit loses stability, min Re λ(R) ≤ 0; the sample and the mode are named.
    """
    state = state.copy()
    scaled = np.ascontiguousarray(X / X.dtype.type(state.scale))
    if not np.isfinite(scaled).all():
        raise InputError("X must stay within the range of its type at the scale of the first inputs seen; use float64.")
    chunk = _chunk(plan, scaled)
    step = _learn_samples if plan.batch == 1 else _learn_batches
    with one_thread(scaled.shape[1]):
        for begin in range(0, len(scaled), chunk):
            step(state, scaled[begin : begin + chunk], plan)
            state = inspect(state, plan)
    return state


def _chunk(plan: Plan, X: Floats) -> int:
    """Return the samples between inspections: the gain of the strongest unit grows by η p_j a step."""
    rate = plan.rate if plan.limit is None else min(plan.rate, plan.limit)
    spread = X.var(axis=0)
    ratio = float(spread.max() / spread.mean()) if spread.any() else 1.0
    return max(1, min(LONGEST_CHUNK, int(CHUNK_GROWTH / (rate * ratio)))) * plan.batch


def _learn_samples(state: State, X: Floats, plan: Plan) -> None:
    timing = plan.timing
    row = kernels.learn_stream(
        plan.recurrent,
        plan.rules[plan.rule],
        state.M,
        state.R,
        state.mean,
        state.power,
        state.gain,
        state.counters,
        X,
        np.array([plan.rate, timing.hold, timing.half]),
        math.inf if plan.limit is None else plan.limit,
        GAINS[plan.gain],
        plan.mean != "none",
        0.0 if plan.normalise else state.scale**-2,
    )
    if row >= 0:
        raise _broken(state, plan)


def _broken(state: State, plan: Plan) -> DivergenceError:
    where = f"at sample {state.samples}"
    if plan.rule == "explicit":
        return DivergenceError(
            f"the explicit rule needs η‖x̄‖² < 1 and ηp < 1, which failed {where} (rate {plan.rate:g}). "
            "Set limit=0.1, lower the rate, or use the local (implicit) rule."
        )
    return DivergenceError(
        f"activity left the finite numbers {where} (rate {plan.rate:g}). Lower the rate or set a limit."
    )


_BATCH_STEPS = {
    ("recurrent", "explicit"): (twins.explicit_recurrent, twins.explicit_feedforward),
    ("recurrent", "local"): (twins.local_recurrent, twins.implicit_feedforward),
    ("recurrent", "congruent"): (twins.congruent_recurrent, twins.congruent_feedforward),
    ("feedforward", "explicit"): (None, twins.explicit_feedforward),
    ("feedforward", "implicit"): (None, twins.implicit_feedforward),
    ("feedforward", "congruent"): (None, twins.congruent_feedforward),
}


def _learn_batches(state: State, X: Floats, plan: Plan) -> None:
    recurrent_step, feedforward_step = _BATCH_STEPS[plan.form, plan.rule]
    counters = state.counters
    for begin in range(0, len(X), plan.batch):
        drive = _centred(state, X[begin : begin + plan.batch], plan)
        Xbar = drive @ state.M.T
        if recurrent_step is not None:
            error = (drive - Xbar @ state.R.T) @ state.M.T
            size = float(np.linalg.norm(Xbar))
            if size > 0:
                counters[codes.WORST_ERROR] = max(counters[codes.WORST_ERROR], np.linalg.norm(error) / size)
            Xbar = Xbar + error
        eta = _limited_rate(state, Xbar, plan)
        gain = twins.power_gain(drive, Xbar, plan.gain)
        columns, rows = _gain_factors(gain, plan.rule)
        if recurrent_step is not None:
            state.R[...] = recurrent_step(state.R, drive, Xbar, eta) * columns
        state.M[...] = feedforward_step(state.M, drive, Xbar, eta) * rows
        state.gain[...] = gain
        counters[codes.SAMPLES] += 1


def _gain_factors(gain: Floats, rule: str) -> tuple[Floats, Floats]:
    """Return what multiplies R and M: 1/g on columns and g on rows, or D and D⁻¹ on both sides (congruent)."""
    if rule == "congruent":
        root = np.sqrt(gain)
        return 1 / np.outer(root, root), np.outer(root, root)
    return 1 / gain[None, :], gain[:, None]


def _centred(state: State, X: Floats, plan: Plan) -> Floats:
    memory = max(1 / (state.counters[codes.SAMPLES] + 1), min(plan.rate, 1.0))
    batch_mean = X.mean(axis=0)
    if plan.mean != "none":
        state.mean[...] += memory * (batch_mean - state.mean)
    drive = X - (batch_mean if plan.mean == "batch" else state.mean)
    state.power[...] += memory * ((drive * drive).mean(axis=0) - state.power)
    return np.asarray(drive)


def _limited_rate(state: State, Xbar: Floats, plan: Plan) -> float:
    counters = state.counters
    unit = float(state.power.mean()) if plan.normalise else state.scale**-2
    eta = rate_at(plan.timing, plan.rate, counters[codes.CLOCK]) / unit if unit > 0 else 0.0
    trace = float((Xbar * Xbar).sum()) / len(Xbar)
    if not math.isfinite(trace):
        raise DivergenceError(
            f"activity left the finite numbers at batch {state.samples} (rate {plan.rate:g}). {LOWER}"
        )
    if plan.limit is not None and eta * trace > plan.limit:
        eta = plan.limit / trace
        counters[codes.LIMITED] += 1
    if plan.rule == "explicit" and eta * trace >= 1 and eta * np.linalg.norm(Xbar, 2) ** 2 >= len(Xbar):
        raise DivergenceError(
            f"the explicit rule needs η λ_max(C) < 1, which failed at batch {state.samples} (rate {plan.rate:g}). "
            "Set limit=0.1, lower the rate, or use the local (implicit) rule."
        )
    counters[codes.CLOCK] += eta * unit
    return eta
