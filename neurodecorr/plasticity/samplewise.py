"""Single-sample learning: compiled steps within a block of samples, matrix products between blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecorr._numerics.blas import add_product, blas, threads
from neurodecorr._numerics.simd import ROWS
from neurodecorr._typing import Floats
from neurodecorr.plasticity import blockwise
from neurodecorr.plasticity import steps as codes
from neurodecorr.plasticity import steps as kernels
from neurodecorr.plasticity.guards import settle_by_inverse
from neurodecorr.plasticity.spec import GAINS, RULES, LearningRule
from neurodecorr.plasticity.state import State

# From this many units on, M stays untouched for a block: products of rank k cost less than k passes over M. The
# congruent rule still reads M once a sample, and gains only once M no longer fits in cache; the others gain earlier
# where products have more than one thread.
SMALLEST_DELAYED, SMALLEST_DELAYED_ALONE, SMALLEST_DELAYED_CONGRUENT = 256, 320, 1536
# Samples per block, and those of a block that are taken one after the other before the rest is caught up with.
FUSED_BLOCK = 512
DELAYED_BLOCK, LONGEST_DELAYED_BLOCK = {768: 64}, 128
CONGRUENT_BLOCK = 32
STEPS = 16
# Bytes of the widest register, and rows of a strip whose mirror image stays in cache.
REGISTER, TILE = 64, 64


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
    def of(cls, plan: LearningRule, scale: float) -> Pace:
        """Return the numbers of `plan` for inputs measured in `scale`."""
        return cls(
            memory=plan.memory,
            schedule=np.array([plan.rate, plan.timing.hold, plan.timing.half]),
            limit=math.inf if plan.limit is None else plan.limit,
            gain=GAINS[plan.gain],
            centred=plan.mean != "none",
            fixed_unit=0.0 if plan.relative else scale**-2,
        )


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
    rule, pace, engine = RULES[plan.rule], Pace.of(plan, state.scale), _engine(plan, X.shape[1])
    if engine == "plain":
        return _plain(state, X, plan, rule, pace)
    if plan.recurrent:
        settle_by_inverse(state, X[:1] - state.mean if pace.centred else X[:1])
    if engine == "fused":
        return _fused(state, X, plan, rule, pace)
    return (
        _delayed_congruent(state, X, plan, pace) if plan.rule == "congruent" else _delayed(state, X, plan, rule, pace)
    )


def _engine(plan: LearningRule, n: int) -> str:
    """Return how M is kept up to date."""
    if plan.engine != "auto":
        return plan.engine
    return "delayed" if n >= smallest_delayed(plan.rule) else "fused"


def smallest_delayed(rule: str) -> int:
    """Return the units from which on M stays untouched for a block by default."""
    if rule == "congruent":
        return SMALLEST_DELAYED_CONGRUENT
    return SMALLEST_DELAYED if threads() > 1 else SMALLEST_DELAYED_ALONE


def _plain(state: State, X: Floats, plan: LearningRule, rule: int, pace: Pace) -> bool:
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


def _fused(state: State, X: Floats, plan: LearningRule, rule: int, pace: Pace) -> bool:
    """One pass over M a sample; R follows at the end of each block."""
    symmetric, n = rule == codes.CONGRUENT, X.shape[1]
    S, scale, vectors = _workspace(state.M, ROWS)
    for rows in _blocks(X, FUSED_BLOCK):
        drives, pulls = np.empty((2, len(rows) if plan.recurrent else 0, n), X.dtype)
        row = blockwise.fused_block(
            rule,
            S,
            scale,
            state.mean,
            state.power,
            state.gain,
            state.counters,
            rows,
            pace.memory,
            pace.schedule,
            pace.limit,
            pace.gain,
            pace.centred,
            pace.fixed_unit,
            vectors,
            drives,
            pulls,
        )
        if row >= 0:
            return False
        _collect(state.R, drives, pulls, symmetric)
    state.M[...] = S[:n, :n]
    _fold(state, scale[:n], symmetric, plan.recurrent)
    return True


def _delayed_congruent(state: State, X: Floats, plan: LearningRule, pace: Pace) -> bool:
    """M read once a sample, and written once a block."""
    n = X.shape[1]
    S, scale, vectors = _workspace(state.M, 0)
    pairs, swept = _aligned((2 * CONGRUENT_BLOCK, S.shape[1]), X.dtype), -(-n // ROWS) * ROWS
    for rows in _blocks(X, CONGRUENT_BLOCK):
        drives, pulls = np.empty((2, len(rows) if plan.recurrent else 0, n), X.dtype)
        row = blockwise.delayed_congruent_block(
            S[:swept],
            scale,
            state.mean,
            state.power,
            state.gain,
            state.counters,
            rows,
            pace.memory,
            pace.schedule,
            pace.limit,
            pace.gain,
            pace.centred,
            pace.fixed_unit,
            pairs,
            vectors,
            drives,
            pulls,
        )
        if row >= 0:
            return False
        steps = pairs[: 2 * len(rows)]
        partners = steps.reshape(-1, 2, S.shape[1])[:, ::-1].reshape(steps.shape)
        add_product(S, steps, partners, -1.0)
        _collect(state.R, drives, pulls, symmetric=True)
    state.M[...] = S[:n, :n]
    _fold(state, scale[:n], True, plan.recurrent)
    return True


def _delayed(state: State, X: Floats, plan: LearningRule, rule: int, pace: Pace) -> bool:
    """M neither read nor written within a block."""
    n = X.shape[1]
    length = next((k for bound, k in DELAYED_BLOCK.items() if n < bound), LONGEST_DELAYED_BLOCK)
    scale, buffers = np.ones_like(state.gain), np.empty((6, min(length, len(X)), n), X.dtype)
    near = _aligned((3, STEPS, _width(n, X.dtype)), X.dtype)
    for rows in _blocks(X, length):
        if not _delayed_block(state, rows, plan, rule, pace, scale, buffers[:, : len(rows)], near):
            return False
    _fold(state, scale, False, plan.recurrent)
    return True


def _delayed_block(
    state: State, X: Floats, plan: LearningRule, rule: int, pace: Pace, scale: Floats, buffers: Floats, near: Floats
) -> bool:
    """S ← S − Aᵀ(I + L)⁻¹ C S at the end of the block, A and C holding one row a sample."""
    drives, Y, A, C, P, pulls = buffers
    blockwise.centre_block(X, state.mean, state.counters[codes.SAMPLES], pace.memory, pace.centred, drives)
    own = blas(X.dtype)
    own.gemm(1.0, state.M.T, drives.T, c=Y.T, trans_a=True, overwrite_c=True)
    for begin in range(0, len(X), STEPS):
        steps, rest = slice(begin, begin + STEPS), slice(begin + STEPS, len(X))
        L = np.empty((len(Y[steps]), len(Y[steps])), X.dtype)
        row = blockwise.delayed_steps(
            rule,
            Y[steps],
            A[steps],
            C[steps],
            L,
            scale,
            state.power,
            state.gain,
            state.counters,
            drives[steps],
            pace.memory,
            pace.schedule,
            pace.limit,
            pace.gain,
            pace.fixed_unit,
            near,
            pulls[steps] if plan.recurrent else pulls[:0],
        )
        if row >= 0:
            return False
        if begin + STEPS < len(X):
            H = own.gemm(1.0, Y[rest].T, C[steps].T, trans_a=True)
            H = own.trsm(1.0, L.T, H, side=1, diag=1, overwrite_b=True)
            own.gemm(-1.0, A[steps].T, H, beta=1.0, c=Y[rest].T, trans_b=True, overwrite_c=True)
    own.gemm(1.0, state.M.T, C.T, c=P.T, overwrite_c=True)
    own.trsm(1.0, own.gemm(1.0, A.T, C.T, trans_a=True), P.T, side=1, diag=1, overwrite_b=True)
    add_product(state.M, A, P, -1.0)
    if plan.recurrent:
        add_product(state.R, drives, pulls, 1.0)
    return True


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
