"""Mini-batch learning: settle a batch, then one rank-b step of the twin rules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.errors import DivergenceError
from neurodecorr.plasticity import codes, twins
from neurodecorr.plasticity.codes import OUTLIER
from neurodecorr.plasticity.plan import Plan
from neurodecorr.plasticity.schedules import rate_at
from neurodecorr.plasticity.state import State

__all__ = ["learn_batches"]

Floats = npt.NDArray[np.floating[Any]]

_BATCH_STEPS = {
    ("recurrent", "explicit"): (twins.explicit_recurrent, twins.explicit_feedforward),
    ("recurrent", "local"): (twins.local_recurrent, twins.implicit_feedforward),
    ("recurrent", "congruent"): (twins.congruent_recurrent, twins.congruent_feedforward),
    ("feedforward", "explicit"): (None, twins.explicit_feedforward),
    ("feedforward", "implicit"): (None, twins.implicit_feedforward),
    ("feedforward", "congruent"): (None, twins.congruent_feedforward),
}


def learn_batches(state: State, X: Floats, plan: Plan) -> None:
    """Learn from the rows of X in batches of `plan.batch`, in place; see `learning.learn`."""
    recurrent_step, feedforward_step = _BATCH_STEPS[plan.form, plan.rule]
    for begin in range(0, len(X), plan.batch):
        drive = _centred(state, X[begin : begin + plan.batch], plan)
        Xbar = drive @ state.M.T if recurrent_step is None else _settled(state, drive)
        eta = _limited_rate(state, Xbar, plan)
        if plan.rule == "congruent":
            gain = twins.homeostatic_gain(state.power, eta, plan.gain)
        else:
            gain = twins.power_gain(drive, Xbar, plan.gain)
        columns, rows = _gain_factors(gain, plan.rule)
        if recurrent_step is not None:
            state.R[...] = recurrent_step(state.R, drive, Xbar, eta) * columns
        state.M[...] = feedforward_step(state.M, drive, Xbar, eta) * rows
        state.gain[...] = gain
        state.counters[codes.SAMPLES] += 1


def _settled(state: State, drive: Floats) -> Floats:
    """Return X̄ with R x̄ = x for each row: M x, refined once by its residual; note the error found before that."""
    Xbar = drive @ state.M.T
    error = (drive - Xbar @ state.R.T) @ state.M.T
    size = float(np.linalg.norm(Xbar))
    if size > 0:
        found = float(np.linalg.norm(error)) / size
        state.counters[codes.WORST_ERROR] = max(state.counters[codes.WORST_ERROR], found)
    return np.asarray(Xbar + error)


def _gain_factors(gain: Floats, rule: str) -> tuple[Floats, Floats]:
    """Return what multiplies R and M: 1/g on columns and g on rows, or D and D⁻¹ on both sides (congruent)."""
    if rule == "congruent":
        root = np.sqrt(gain)
        return 1 / np.outer(root, root), np.outer(root, root)
    return 1 / gain[None, :], gain[:, None]


def _centred(state: State, X: Floats, plan: Plan) -> Floats:
    memory = max(1 / (state.counters[codes.SAMPLES] + 1), plan.memory)
    batch_mean = X.mean(axis=0)
    if plan.mean != "none":
        state.mean[...] += memory * (batch_mean - state.mean)
    drive = X - (batch_mean if plan.mean == "batch" else state.mean)
    state.power[...] += memory * ((drive * drive).mean(axis=0) - state.power)
    return np.asarray(drive)


def _limited_rate(state: State, Xbar: Floats, plan: Plan) -> float:
    """Return η for this batch. Its noise grows as η tr(C)/b, which the limit bounds."""
    counters = state.counters
    unit = float(state.power.mean()) if plan.normalise else state.scale**-2
    eta = rate_at(plan.timing, plan.rate, counters[codes.CLOCK]) / unit if unit > 0 else 0.0
    square = float((Xbar * Xbar).sum())  # b tr(C)
    if not math.isfinite(square):
        raise DivergenceError(
            f"activity left the finite numbers at batch {state.samples} (rate {plan.rate:g}). "
            "Lower the rate or set a limit."
        )
    largest = float(np.linalg.norm(Xbar, 2)) ** 2 / len(Xbar) if plan.rule == "explicit" else 0.0
    strongest = _strongest_rate(plan, square, largest, len(Xbar))
    if eta > strongest:
        eta = strongest
        counters[codes.LIMITED] += 1
    if eta * largest >= 1:
        raise DivergenceError(
            f"the explicit rule needs η λ_max(C) < 1, which failed at batch {state.samples} (rate {plan.rate:g}). "
            "Set limit=0.1, lower the rate, or use the local (implicit) rule."
        )
    counters[codes.CLOCK] += eta * unit
    return eta


def _strongest_rate(plan: Plan, square: float, largest: float, b: int) -> float:
    """Return the rate at which η tr(C)/b meets the limit, or η λ_max(C) the outlier bound of the explicit rule."""
    if plan.limit is None or square == 0:
        return math.inf
    bound = plan.limit * b * b / square
    return min(bound, OUTLIER * plan.limit / largest) if largest > 0 else bound
