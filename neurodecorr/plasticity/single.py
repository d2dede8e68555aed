"""Single-sample learning: compiled steps within a block of samples, matrix products between blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg.blas

from neurodecorr.plasticity import codes, kernels, weave
from neurodecorr.plasticity.plan import GAINS, Plan
from neurodecorr.plasticity.state import State

__all__ = ["learn_samples"]

Floats = npt.NDArray[np.floating[Any]]

# From this many units on, M stays untouched for a block: two products of rank k cost less than k passes over M.
SMALLEST_DELAYED = 256
# Samples per block. A fused block only shares its end; a delayed one of k samples costs 8nk a sample besides.
FUSED_BLOCK = 256
DELAYED_BLOCK = {512: 32, 2048: 64}
LONGEST_DELAYED_BLOCK = 128


@dataclass(frozen=True)
class Pace:
    """What the compiled steps ask of a plan, in the units of a state."""

    memory: float
    schedule: Floats
    limit: float
    gain: int
    centred: bool
    fixed_unit: float

    @classmethod
    def of(cls, plan: Plan, scale: float) -> Pace:
        """Return the numbers of `plan` for inputs measured in `scale`."""
        return cls(
            memory=plan.memory,
            schedule=np.array([plan.rate, plan.timing.hold, plan.timing.half]),
            limit=math.inf if plan.limit is None else plan.limit,
            gain=GAINS[plan.gain],
            centred=plan.mean != "none",
            fixed_unit=0.0 if plan.normalise else scale**-2,
        )


def learn_samples(state: State, X: Floats, plan: Plan) -> bool:
    """Learn from the rows of X one by one, in place; return whether every step was possible.

    Parameters
    ----------
    state : State
        Changed in place.
    X : (samples, n) array
        Inputs, in units of the state's scale.
    plan : Plan
        Form, rule, rate, gain and engine.
    """
    n, rule, pace = X.shape[1], plan.rules[plan.rule], Pace.of(plan, state.scale)
    engine = _engine(plan, n)
    if engine == "plain":
        return _plain(state, X, plan, rule, pace)
    length = FUSED_BLOCK if engine == "fused" else _delayed_length(n)
    step = _fused if engine == "fused" else _delayed
    for begin in range(0, len(X), length):
        if plan.recurrent:
            _note_settling_error(state, X[begin], pace)
        if not step(state, X[begin : begin + length], plan, rule, pace):
            return False
    return True


def _engine(plan: Plan, n: int) -> str:
    """Return how M is kept up to date. The congruent rule scales both sides, so each sample needs the newest M."""
    if plan.engine == "auto":
        return "delayed" if n >= SMALLEST_DELAYED and plan.rule != "congruent" else "fused"
    return "fused" if plan.rule == "congruent" and plan.engine == "delayed" else plan.engine


def _delayed_length(n: int) -> int:
    return next((k for bound, k in DELAYED_BLOCK.items() if n < bound), LONGEST_DELAYED_BLOCK)


def _plain(state: State, X: Floats, plan: Plan, rule: int, pace: Pace) -> bool:
    """Every sample settled and refined, every weight changed by its rule: the definition, three passes or more."""
    row = kernels.learn_stream(
        plan.recurrent,
        rule,
        state.M,
        state.R,
        state.mean,
        state.power,
        state.gain,
        state.counters,
        X,
        pace.memory,
        pace.schedule,
        pace.limit,
        pace.gain,
        pace.centred,
        pace.fixed_unit,
    )
    return row < 0


def _fused(state: State, X: Floats, plan: Plan, rule: int, pace: Pace) -> bool:
    """One pass over M a sample; R follows at the end of the block."""
    scale = np.ones_like(state.gain)
    drives, pulls = np.zeros_like(X), np.zeros_like(X)
    row = weave.fused_block(
        rule,
        state.M,
        scale,
        state.mean,
        state.power,
        state.gain,
        state.counters,
        X,
        pace.memory,
        pace.schedule,
        pace.limit,
        pace.gain,
        pace.centred,
        pace.fixed_unit,
        drives,
        pulls,
    )
    symmetric = rule == codes.CONGRUENT
    if plan.recurrent:
        _add_product(state.R, drives, pulls, 1.0)
        if symmetric:
            _add_product(state.R, pulls, drives, 1.0)
    _fold(state, scale, symmetric, plan.recurrent)
    return bool(row < 0)


def _delayed(state: State, X: Floats, plan: Plan, rule: int, pace: Pace) -> bool:
    """M untouched within the block: M ← diag(w)(M − Aᵀ(B M)) at its end, A and B holding one row a sample."""
    drives = np.empty_like(X)
    weave.centre_block(X, state.mean, state.counters[codes.SAMPLES], pace.memory, pace.centred, drives)
    scale, pulls = np.ones_like(state.gain), np.zeros_like(X)
    A, B = np.zeros_like(X), np.zeros_like(X)
    row = weave.delayed_block(
        rule,
        drives @ state.M.T,
        A,
        B,
        scale,
        state.power,
        state.gain,
        state.counters,
        drives,
        pace.memory,
        pace.schedule,
        pace.limit,
        pace.gain,
        pace.fixed_unit,
        pulls,
    )
    if plan.recurrent:
        _add_product(state.R, drives, pulls, 1.0)
    _add_product(state.M, A, B @ state.M, -1.0)
    _fold(state, scale, False, plan.recurrent)
    return bool(row < 0)


def _add_product(S: Floats, rows: Floats, columns: Floats, sign: float) -> None:
    """S ← S ± rowsᵀ columns, in place: BLAS sees the transpose, which lies in memory as it wants it."""
    gemm = scipy.linalg.blas.dgemm if S.dtype == np.float64 else scipy.linalg.blas.sgemm
    gemm(sign, columns.T, rows.T, beta=1.0, c=S.T, trans_b=True, overwrite_c=True)


def _fold(state: State, scale: Floats, symmetric: bool, recurrent: bool) -> None:
    """Put the gains kept beside the matrices into them, and remove what rounding did to a symmetry."""
    if symmetric:
        factor = np.outer(scale, scale)
        state.M[...] = (state.M + state.M.T) * (factor / 2)
        if recurrent:
            state.R[...] = (state.R + state.R.T) / (factor * 2)
        return
    state.M[...] *= scale[:, None]
    if recurrent:
        state.R[...] /= scale


def _note_settling_error(state: State, sample: Floats, pace: Pace) -> None:
    """Settle one sample by the twin and keep the worst relative error ‖M(x − R x̄)‖/‖x̄‖."""
    x = sample - state.mean if pace.centred else sample
    xbar = state.M @ x
    size = float(np.linalg.norm(xbar))
    if size > 0:
        error = float(np.linalg.norm(state.M @ (x - state.R @ xbar))) / size
        state.counters[codes.WORST_ERROR] = max(state.counters[codes.WORST_ERROR], error)
