"""Learning to decorrelate: one function from state to state."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import instance, samples
from neurodecorr._threads import one_pool
from neurodecorr.errors import DivergenceError, InputError
from neurodecorr.plasticity import weave
from neurodecorr.plasticity.batch import learn_batches
from neurodecorr.plasticity.guards import inspect
from neurodecorr.plasticity.plan import Plan
from neurodecorr.plasticity.single import learn_samples
from neurodecorr.plasticity.state import State

__all__ = ["learn"]

Floats = npt.NDArray[np.floating[Any]]

# Between two inspections weak directions may grow by e^5 at most, and no more updates pass than this.
LONGEST_CHUNK, CHUNK_GROWTH = 1024, 5.0


def learn(state: State, X: Floats, plan: Plan) -> State:
    """Learn from the rows of X in order; the given state is left as it was.

    With `plan.batch` > 1 each batch is one step, or several if its rows ask for a long one; a short last batch of a
    call counts by its rows.

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
    InputError, ConfigError
        If the samples do not fit the state, or state and plan are none.
    """
    instance(state, State, "state", advice="Use start(X, plan).")
    return advance(state, samples(X, "X", len(state.mean)), instance(plan, Plan, "plan"))


def advance(state: State, X: Floats, plan: Plan) -> State:
    """Do what `learn` says, with samples that are checked."""
    state, begin = state.copy(), 0
    step = _learn_samples if plan.batch == 1 else learn_batches
    with one_pool(X.shape[1]):
        while begin < len(X):
            chunk, power = _surveyed(X[begin : begin + max(LONGEST_CHUNK, plan.batch)], state.scale)
            chunk = chunk[: _length(plan, power)]
            state = inspect(step(state, chunk, plan), plan)
            begin += len(chunk)
    return state


def _surveyed(X: Floats, scale: float) -> tuple[Floats, Floats]:
    """Return X in units of `scale`, and the variance of each column."""
    limit = np.finfo(X.dtype).max ** 0.5 / X.shape[1]  # so that xᵀx is finite, too
    scaled, power, units = np.empty_like(X, order="C"), np.empty_like(X[0]), np.array([scale, limit], X.dtype)
    if not weave.survey(np.ascontiguousarray(X), units[0], units[1], scaled, power):
        raise InputError("X must stay within the range of its type at the scale of the first inputs seen; use float64.")
    return scaled, power


def _length(plan: Plan, power: Floats) -> int:
    """Return the samples before the next inspection: the gain of the strongest unit grows by η p_j a sample."""
    rate = plan.rate if plan.limit is None else min(plan.rate, plan.limit)
    ratio = float(power.max() / power.mean()) if power.any() else 1.0
    rows = min(LONGEST_CHUNK, int(CHUNK_GROWTH / (rate * ratio)))
    return max(1, rows // plan.batch) * plan.batch


def _learn_samples(state: State, X: Floats, plan: Plan) -> State:
    if not learn_samples(state, X, plan):
        raise _broken(state, plan)
    return state


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
