"""Single-sample learning: compiled steps within a block of samples, matrix products between blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from neurodecorr._numerics.blas import add_product, blas, threads
from neurodecorr._numerics.simd import ROWS
from neurodecorr._typing import Floats
from neurodecorr.plasticity import blockwise, steps
from neurodecorr.plasticity.guards import settle_by_inverse
from neurodecorr.plasticity.spec import GAINS, RULES, LearningRule
from neurodecorr.plasticity.state import State

# From this many units on, M stays untouched for a block: products of rank k cost less than k passes over M. They gain
# earlier where products have more than one thread. The congruent rule reads M at every sample in any case.
SMALLEST_DELAYED, SMALLEST_DELAYED_ALONE = 256, 320
# Samples per block, and those of a block that are taken one after the other before the rest is caught up with.
FUSED_BLOCK = 512
DELAYED_BLOCK, LONGEST_DELAYED_BLOCK = {768: 64}, 128
STEPS = 16
# Bytes of the widest register, and rows of a strip whose mirror image stays in cache.
REGISTER, TILE = 64, 64


def step_parameters(plan: LearningRule, scale: float) -> steps.StepParameters:
    """Return the numbers of a learning rule for inputs measured in `scale`."""
    return steps.StepParameters(
        rule=RULES[plan.rule],
        gain=GAINS[plan.gain],
        memory=plan.memory,
        rate=plan.rate,
        hold=plan.timing.hold,
        half=plan.timing.half,
        limit=math.inf if plan.limit is None else plan.limit,
        centred=plan.mean != "none",
        fixed_unit=0.0 if plan.relative else float(scale) ** -2,
    )


def averages_of(state: State) -> steps.Averages:
    """Return what a state has learnt beside its weights, to be changed in place."""
    return steps.Averages(state.mean, state.power, state.gain, state.counters)


def learn_samples(state: State, X: Floats, plan: LearningRule) -> bool:
    """Learn from the rows of X one by one, in place; return whether every step was possible.

    Parameters
    ----------
    state : State
        Changed in place.
    X : (samples, n) array
        Inputs, in units of the state's scale.
    plan : LearningRule
        Form, rule, rate, gain and engine.
    """
    parameters, averages = step_parameters(plan, state.scale), averages_of(state)
    engine = _engine(plan, X.shape[1])
    if engine == "plain":
        return steps.learn_stream(parameters, plan.recurrent, state.M, state.R, averages, X) < 0
    if plan.recurrent:
        settle_by_inverse(state, X[:1] - state.mean if parameters.centred else X[:1])
    learn = _fused if engine == "fused" else _delayed
    return learn(state, X, parameters, averages, plan.recurrent)


def _engine(plan: LearningRule, n: int) -> str:
    """Return how M is kept up to date."""
    if plan.rule == "congruent":
        return "plain" if plan.engine == "plain" else "fused"
    if plan.engine != "auto":
        return plan.engine
    return "delayed" if n >= smallest_delayed() else "fused"


def smallest_delayed() -> int:
    """Return the units from which on M stays untouched for a block by default (explicit and implicit rule)."""
    return SMALLEST_DELAYED if threads() > 1 else SMALLEST_DELAYED_ALONE


def _fused(
    state: State, X: Floats, parameters: steps.StepParameters, averages: steps.Averages, recurrent: bool
) -> bool:
    """One pass over M a sample; R follows at the end of each block."""
    symmetric, n = parameters.rule == steps.CONGRUENT, X.shape[1]
    S, scale, vectors = _workspace(state.M, ROWS)
    for rows in _blocks(X, FUSED_BLOCK):
        drives, pulls = np.empty((2, len(rows) if recurrent else 0, n), X.dtype)
        if blockwise.fused_block(parameters, averages, S, scale, rows, vectors, drives, pulls) >= 0:
            return False
        _collect(state.R, drives, pulls, symmetric)
    state.M[...] = S[:n, :n]
    _fold(state, scale[:n], symmetric, recurrent)
    return True


def _delayed(
    state: State, X: Floats, parameters: steps.StepParameters, averages: steps.Averages, recurrent: bool
) -> bool:
    """M neither read nor written within a block."""
    n = X.shape[1]
    length = next((k for bound, k in DELAYED_BLOCK.items() if n < bound), LONGEST_DELAYED_BLOCK)
    scale, buffers = np.ones_like(state.gain), np.empty((6, min(length, len(X)), n), X.dtype)
    near = _aligned((3, STEPS, _width(n, X.dtype)), X.dtype)
    for rows in _blocks(X, length):
        drives, Y, A, C, P, pulls = buffers[:, : len(rows)]
        steps.centre_rows(parameters, rows, state.mean, state.counters[steps.SAMPLES], drives)
        own = blas(X.dtype)
        own.gemm(1.0, state.M.T, drives.T, c=Y.T, trans_a=True, overwrite_c=True)
        for begin in range(0, len(rows), STEPS):
            few, rest = slice(begin, begin + STEPS), slice(begin + STEPS, len(rows))
            panel = blockwise.Panel(Y[few], A[few], C[few], np.empty((len(Y[few]), len(Y[few])), X.dtype))
            taught = pulls[few] if recurrent else pulls[:0]
            if blockwise.delayed_steps(parameters, averages, panel, scale, drives[few], near, taught) >= 0:
                return False
            if begin + STEPS < len(rows):
                _take_off_rest(panel, Y[rest])
        _take_off_block(state.M, A, C, P)
        if recurrent:
            add_product(state.R, drives, pulls, 1.0)
    _fold(state, scale, False, recurrent)
    return True


def _take_off_rest(panel: blockwise.Panel, Y: Floats) -> None:
    """Y ← Y − Y Cᵀ (I + L)⁻ᵀ A: take the steps of a panel off the rows that are still to come."""
    own = blas(Y.dtype)
    H = own.gemm(1.0, Y.T, panel.C.T, trans_a=True)
    H = own.trsm(1.0, panel.L.T, H, side=1, diag=1, overwrite_b=True)
    own.gemm(-1.0, panel.A.T, H, beta=1.0, c=Y.T, trans_b=True, overwrite_c=True)


def _take_off_block(M: Floats, A: Floats, C: Floats, P: Floats) -> None:
    """M ← M − Aᵀ(I + L)⁻¹ C M at the end of a block, A and C holding one row a sample; P is work space."""
    own = blas(M.dtype)
    own.gemm(1.0, M.T, C.T, c=P.T, overwrite_c=True)
    own.trsm(1.0, own.gemm(1.0, A.T, C.T, trans_a=True), P.T, side=1, diag=1, overwrite_b=True)
    add_product(M, A, P, -1.0)


def _blocks(X: Floats, length: int) -> Iterator[Floats]:
    return (X[begin : begin + length] for begin in range(0, len(X), length))


def _collect(R: Floats, drives: Floats, pulls: Floats, symmetric: bool) -> None:
    """R ← R + drivesᵀpulls, and + pullsᵀdrives if symmetric; of that, only the lower triangle."""
    if not len(drives):
        return
    if symmetric:
        blas(R.dtype).syr2k(1.0, drives.T, pulls.T, beta=1.0, c=R.T, overwrite_c=True)
    else:
        add_product(R, drives, pulls, 1.0)


def _width(n: int, dtype: np.dtype[Any]) -> int:
    """Return n rounded up to whole registers, and past lengths at which neighbouring rows share places in the cache."""
    lanes = REGISTER // dtype.itemsize
    width = -(-n // lanes) * lanes
    return width + 2 * lanes if width * dtype.itemsize % 2048 == 0 else width


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Floats:
    """Return zeros that begin where a register's worth of memory begins."""
    size, spare = math.prod(shape), REGISTER // dtype.itemsize
    memory = np.zeros(size + spare, dtype)
    begin = -memory.ctypes.data % REGISTER // dtype.itemsize
    return memory[begin : begin + size].reshape(shape)


def _workspace(M: Floats, rows: int) -> tuple[Floats, Floats, Floats]:
    """Return M, ones and seven vectors, padded with zeros; M square, or to a multiple of `rows`."""
    n, width = len(M), _width(M.shape[1], M.dtype)
    S = _aligned((-(-n // rows) * rows if rows else width, width), M.dtype)
    S[:n, :n] = M
    scale = _aligned((width,), M.dtype)
    scale[:n] = 1
    return S, scale, _aligned((7, width), M.dtype)


def _fold(state: State, scale: Floats, symmetric: bool, recurrent: bool) -> None:
    """Put the gains kept beside the matrices into them."""
    if symmetric:
        _mirror(state.M, scale, np.multiply)
        if recurrent:
            _mirror(state.R, scale, np.divide)
        return
    state.M[...] *= scale[:, None]
    if recurrent:
        state.R[...] /= scale


def _mirror(S: Floats, scale: Floats, operation: np.ufunc) -> None:
    """S_ij ← S_ij w_i w_j or S_ij/(w_i w_j) in the lower triangle, and the same number above it."""
    for begin in range(0, len(S), TILE):
        end = min(begin + TILE, len(S))
        strip = operation(S[begin:end, :end], scale[begin:end, None] * scale[:end])
        S[begin:end, :end] = strip
        S[:begin, begin:end] = strip[:, :begin].T
        corner = np.tril(strip[:, begin:])
        S[begin:end, begin:end] = corner + np.tril(corner, -1).T
