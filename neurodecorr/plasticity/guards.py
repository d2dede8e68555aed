"""The keeper of M beside R, and the checks of a learner between chunks: finite, stable, not amplifying silence.

Each step changes R and M by its own rule. In exact arithmetic M stays R⁻¹; rounding lets it drift, so its drift is
measured and beyond a bound M is made anew. Learners, online circuits and layers of a network do it by these functions.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from neurodecorr._typing import AnyArray, Floats
from neurodecorr.circuit.stability import require_stable
from neurodecorr.errors import DegenerateInputWarning, DivergenceError, InputError
from neurodecorr.plasticity import steps
from neurodecorr.plasticity.spec import LearningRule
from neurodecorr.plasticity.state import State

# Inputs by which M and R are compared: a few show a drift of all of M, at the cost of 2n² each.
PROBES = 4
ADVICE = "Use rule='congruent', a lower rate or limit, or the feedforward form."
# Largest singular value of M by default: the square root of rounding, with room.
STRONGEST = {"float32": 3e3, "float64": 1e7}


class InverseDrift(NamedTuple):
    """Drift of M from the inverse of R: where M puts some inputs, and how far that is from where R lets them settle.

    Parameters
    ----------
    xbar : (rows, n) array
        x̄ = M x of each input x.
    change : (rows, n) array
        M (x − R x̄), which one step of iterative refinement adds to x̄.
    error : float
        ‖change‖/‖x̄‖ over all rows: to first order, the relative distance of x̄ from rest.
    """

    xbar: AnyArray
    change: AnyArray
    error: float


def measure_drift(
    R: AnyArray, M: AnyArray, X: AnyArray, product: Callable[[AnyArray, AnyArray], AnyArray] = operator.matmul
) -> InverseDrift:
    """Measure how far M has drifted from R⁻¹, by some inputs.

    ::

        x̄ = M x,    c = M (x − R x̄) ≈ R⁻¹x − x̄,    error = ‖c‖/‖x̄‖

    Parameters
    ----------
    R, M : (n, n) arrays
        Lateral weights, and what should be their inverse; of any array library.
    X : (rows, n) array
        Inputs x.
    product : callable
        (A, B) → A B: networks multiply by the BLAS of their other products, whose threads are awake.
    """
    Xbar = product(X, M.T)
    change = product(X - product(Xbar, R.T), M.T)
    size = _size(Xbar)
    return InverseDrift(Xbar, change, _size(change) / size if size > 0 else 0.0)


def inverse(R: Floats, symmetric: bool = False) -> Floats:
    """Return M = R⁻¹, computed in float64, in the type of R; a symmetric one where the rule keeps M so."""
    M = np.linalg.inv(R.astype(np.float64, copy=False))
    return ((M + M.T) / 2 if symmetric else M).astype(R.dtype, copy=False)


def symmetrised(R: Floats) -> Floats:
    """Return (R + Rᵀ)/2 of weights that rounding alone keeps from being symmetric, as the congruent rule needs them.

    Raises
    ------
    InputError
        If R differs from its transpose by more; the pair of entries is named.
    """
    near = max(1e-9, 64 * float(np.finfo(R.dtype).eps))
    if not np.allclose(R, R.T, rtol=near, atol=1e-3 * near * np.abs(R).max()):
        i, j = np.unravel_index(np.abs(R - R.T).argmax(), R.shape)
        raise InputError(
            f"R must be symmetric for the congruent rule; got {R[i, j]:g} at row {i}, column {j}, and {R[j, i]:g} "
            "across. Use (R + R.T)/2, or rule='implicit'."
        )
    return np.asarray((R + R.T) / 2)


def settle_by_inverse(state: State, drive: Floats) -> Floats:
    """Return X̄ with R x̄ = x for each row: M x, refined once; the state keeps the largest drift met before that."""
    found = measure_drift(state.R, state.M, drive)
    state.counters[steps.WORST_ERROR] = max(state.counters[steps.WORST_ERROR], found.error)
    return np.asarray(found.xbar + found.change)


def _size(A: AnyArray) -> float:
    """Return ‖A‖ (Frobenius)."""
    if isinstance(A, np.ndarray):
        return float(np.linalg.norm(A))
    return math.sqrt(float(array_namespace(A).sum(A * A)))


def inspect(state: State, plan: LearningRule) -> State:
    """Look at the state between chunks: finite, stable, in step with its twin, and not amplifying silence."""
    seen = int(state.counters[steps.SAMPLES])
    if not (np.isfinite(state.M).all() and np.isfinite(state.R).all()):
        raise DivergenceError(f"weights left the finite numbers before sample {seen}; lower the rate.")
    state = _hold_back(state, plan)
    if plan.recurrent:
        state = _resynchronise(state, plan)
        if plan.rule != "congruent":
            require_stable(state.R, f" after sample {seen}", ADVICE)
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
    M = inverse(state.R, symmetric=plan.rule == "congruent")
    return replace(state, M=M, resynchronised=state.resynchronised + 1)


def _twin_error_estimate(state: State) -> float:
    """Return ‖(RM − I)V‖/‖V‖ for a few random columns V: ‖RM − I‖/√n on average (Hutchinson), at the cost of 2n²."""
    n = len(state.M)
    V = np.random.default_rng(n).standard_normal((n, PROBES)).astype(state.M.dtype)
    return float(np.linalg.norm(state.R @ (state.M @ V) - V) / np.linalg.norm(V))
