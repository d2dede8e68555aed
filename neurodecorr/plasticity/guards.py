"""Looks at a learner between chunks: finite, stable, in step with its twin, and not amplifying silence."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.circuit.stability import require_stable
from neurodecorr.errors import DegenerateInputWarning, DivergenceError
from neurodecorr.plasticity.spec import LearningRule
from neurodecorr.plasticity.state import State

# Random columns by which the twins are compared.
PROBES = 4
ADVICE = "Use rule='congruent', a lower rate or limit, or the feedforward form."
# Largest singular value of M by default: the square root of rounding, with room.
STRONGEST = {"float32": 3e3, "float64": 1e7}


def inspect(state: State, plan: LearningRule) -> State:
    """Look at the state between chunks: finite, stable, in step with its twin, and not amplifying silence."""
    if not (np.isfinite(state.M).all() and np.isfinite(state.R).all()):
        raise DivergenceError(f"weights left the finite numbers before sample {state.samples}; lower the rate.")
    state = _hold_back(state, plan)
    if plan.recurrent:
        state = _resynchronise(state, plan)
        if plan.rule != "congruent":
            require_stable(state.R, f" after sample {state.samples}", ADVICE)
    return state


def _hold_back(state: State, plan: LearningRule) -> State:
    """Bound the singular values of M: a direction amplified beyond `strongest` carries rounding noise, not signal."""
    bound = plan.strongest or STRONGEST[state.M.dtype.name]
    if np.linalg.norm(state.M) <= bound:
        return state
    left, values, right = np.linalg.svd(state.M.astype(float))
    weak = int((values > bound).sum())
    if weak == 0:
        return state
    units = np.argsort(-np.abs(right[0]))[:3]
    warnings.warn(
        f"{weak} direction(s) of the input carry no independent signal (collinear or identical units; strongest in "
        f"units {', '.join(map(str, sorted(units)))}); their gain is held at {bound:g}. Remove those units, or go on.",
        DegenerateInputWarning,
        stacklevel=4,
    )
    M, R = _rebuilt(left, np.minimum(values, bound), right, plan)
    dtype = state.M.dtype
    R = R.astype(dtype) if plan.recurrent else state.R
    return replace(state, M=M.astype(dtype), R=R, resynchronised=state.resynchronised + 1)


def _rebuilt(left: Floats, values: Floats, right: Floats, plan: LearningRule) -> tuple[Floats, Floats]:
    M, R = (left * values) @ right, (right.T / values) @ left.T
    if plan.rule == "congruent":
        M, R = (M + M.T) / 2, (R + R.T) / 2
    return M, R


def _resynchronise(state: State, plan: LearningRule) -> State:
    """Compute M = R⁻¹ anew once ‖RM − I‖/√n exceeds 8 √eps: beyond that one refinement no longer cures it."""
    if _twin_error_estimate(state) <= 8 * math.sqrt(np.finfo(state.M.dtype).eps):
        return state
    M = np.linalg.inv(state.R.astype(float))
    if plan.rule == "congruent":
        M = (M + M.T) / 2
    return replace(state, M=M.astype(state.M.dtype), resynchronised=state.resynchronised + 1)


def _twin_error_estimate(state: State) -> float:
    """Return ‖(RM − I)V‖/‖V‖ for a few random columns V: ‖RM − I‖/√n on average (Hutchinson), at the cost of 2n²."""
    n = len(state.M)
    V = np.random.default_rng(n).standard_normal((n, PROBES)).astype(state.M.dtype)
    return float(np.linalg.norm(state.R @ (state.M @ V) - V) / np.linalg.norm(V))
