"""Single-sample learning near the machine's limit: the rules of `steps`, with fewer passes over the matrix.

Two things save work, and change no number beyond rounding:

- The gain acts on whole rows or columns, so it is kept as one number w per unit beside the matrix, and folded in
  once per block: M = diag(w) S, R = T diag(1/w) (congruent: M = diag(w) S diag(w), R = T/(w wᵀ)). R T-updates are
  sums of outer products that nobody reads before the block ends: one matrix product per block.
- S is either touched once per sample (`fused_block`), or not at all before the block ends (`delayed_steps`); a
  `SampleStream` keeps such a block open from one call to the next.

Vectors over units are padded with zeros to whole registers, matrices to whole groups of `ROWS` rows besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from neurodecorr._numerics.blas import add_product, blas, threads
from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.simd import ROWS, dot_rows, pull_rows, push_rows, twist_rows
from neurodecorr._typing import Array, Floats
from neurodecorr.plasticity import steps
from neurodecorr.plasticity.guards import settle_by_inverse
from neurodecorr.plasticity.spec import GAINS, RULES, LearningRule
from neurodecorr.plasticity.state import State
from neurodecorr.plasticity.steps import (
    CONGRUENT,
    SAMPLES,
    Averages,
    StepParameters,
    centre_rows,
    lengths,
    multiply,
    observe,
    rescale,
    step_size,
    tick,
    update_power,
    weight_of,
)

# From this many units on, M stays untouched for a block: products of rank k cost less than k passes over M. They gain
# earlier where products have more than one thread. The congruent rule reads M at every sample in any case.
SMALLEST_DELAYED, SMALLEST_DELAYED_ALONE = 256, 320
# Samples per block, and those of a block that are taken one after the other before the rest is caught up with.
FUSED_BLOCK = 512
DELAYED_BLOCK, LONGEST_DELAYED_BLOCK = {768: 64}, 128
STEPS = 16
# Bytes of the widest register, and rows of a strip whose mirror image stays in cache.
REGISTER, TILE = 64, 64


@jit(inline=True)
def woven_pass(
    outer: int, S: Array, pair: tuple[Array, Array], z: Array, weight: Array, out: Array, push: Array, back: Array
) -> float:
    """Take outer products off S, then out = S z, push = w²∘out, back = Sᵀ push, in one pass; return pushᵀout.

    ::

        S ← S − left rightᵀ (outer = 1), S − left rightᵀ − right leftᵀ (outer = 2)

    Each row is used up while it is at hand.
    """
    left, right = pair
    size = 0.0
    back[:] = 0
    for i in range(0, S.shape[0], ROWS):
        if outer == 1:
            pull_rows(S, left, right, z, out, i)
        else:
            twist_rows(S, left, right, z, out, i)
        for r in range(i, i + ROWS):
            push[r] = weight[r] * weight[r] * out[r]
            size += push[r] * out[r]
        push_rows(S, push, back, i)
    return size


@jit()
def fused_block(
    parameters: StepParameters,
    averages: Averages,
    S: Array,
    scale: Array,
    X: Array,
    vectors: Array,
    drives: Array,
    pulls: Array,
) -> int:
    """Learn M from a block of samples in one pass over it per sample; return the row that broke a condition, or −1.

    ::

        M = diag(w) S (explicit, implicit),    M = diag(w) S diag(w) (congruent)

    The gains stay in `scale` w, one number per unit, so that M and its twin R share them to the bit. What R has to
    learn from sample t is left in row t of `drives` and `pulls`, if there is one: R diag(w) grows by driveᵀpull (and
    its transpose, for the congruent rule, whose R is scaled on both sides).
    """
    mean, power, gain, counters = averages
    n, rule = power.size, parameters.rule
    x, z, out, push = vectors[0], vectors[1], vectors[2], vectors[3]
    left, right, back = vectors[4], vectors[5], vectors[6]
    left[:] = 0
    right[:] = 0
    pair = (left, right)
    for t in range(X.shape[0]):
        mean_power = observe(parameters, mean, power, counters, X[t], x)
        if rule == CONGRUENT:
            for j in range(n):
                z[j] = scale[j] * x[j]
            size = woven_pass(2, S, pair, z, scale, out, push, back)
        else:
            size = woven_pass(1, S, pair, x, scale, out, push, back)
        eta, unit, exists = step_size(parameters, counters, power, size, mean_power)
        if not exists:
            return t
        if rule == CONGRUENT:
            pair_congruent(eta, size, out, push, back, left, right)
            if t < drives.shape[0]:
                drive_congruent(eta, size, scale, x, push, drives[t], pulls[t])
        else:
            grow, shrink = lengths(rule, eta, size)
            for j in range(n):
                left[j], right[j] = shrink * out[j], back[j]
            if t < drives.shape[0]:
                for j in range(n):
                    drives[t, j], pulls[t, j] = x[j], grow * push[j]
        rescale(parameters, gain, power, scale, eta, mean_power)
        tick(counters, eta, unit)
    woven_pass(2 if rule == CONGRUENT else 1, S, pair, x, scale, out, push, back)
    return -1


@jit(inline=True)
def pair_congruent(eta: float, size: float, out: Array, push: Array, back: Array, left: Array, right: Array) -> None:
    """Write the rank-two step of the congruent M in the scaled frame, S = W⁻¹ M W⁻¹, W = diag(w).

    ::

        S ← S − ã vᵀ − v ãᵀ,    ã = x̄/w,   v = γ m/w − ½ γ² (x̄ᵀm) ã,    m = M x̄
    """
    beta = eta / (1.0 + math.sqrt(1.0 + eta * size))
    gamma = beta / (1.0 + beta * size)
    inner = 0.0
    for j in range(out.size):
        inner += push[j] * back[j]
    for j in range(out.size):
        left[j] = out[j]
        right[j] = gamma * back[j] - 0.5 * gamma * gamma * inner * out[j]


@jit(inline=True)
def drive_congruent(eta: float, size: float, scale: Array, x: Array, push: Array, drive: Array, pull: Array) -> None:
    """Write the rank-two step of the congruent R in the scaled frame.

    ::

        W R W ← W R W + u b̃ᵀ + b̃ uᵀ,    b̃ = w∘x̄,   u = β w∘x + ½ β² (x̄ᵀx) b̃
    """
    beta = eta / (1.0 + math.sqrt(1.0 + eta * size))
    overlap = 0.0
    for j in range(drive.size):
        overlap += push[j] * x[j] / scale[j]
    for j in range(drive.size):
        pull[j] = push[j]
        drive[j] = beta * scale[j] * x[j] + 0.5 * beta * beta * overlap * push[j]


class Panel(NamedTuple):
    """A few samples whose steps are delayed: rows M₀x, a and c, and the triangle L that joins them.

    `Y`, `A` and `C` are (k, n) arrays, `L` is (k, k).
    """

    Y: Array
    A: Array
    C: Array
    L: Array


@jit()
def delayed_steps(
    parameters: StepParameters,
    averages: Averages,
    panel: Panel,
    scale: Array,
    drives: Array,
    near: Array,
    pulls: Array,
    begin: int,
) -> int:
    """Learn M from a few samples without touching it: compact WY form; return the failing row, or −1.

    ::

        M_t = diag(w) (I − a_t c_tᵀ) … (I − a_1 c_1ᵀ) M₀ = diag(w) (I − Aᵀ (I + L)⁻¹ C) M₀
        a_t = κ x̄/w,    c_t = w∘x̄,    L_tr = c_tᵀ a_r for r < t,    κ = η/(1 + η x̄ᵀx̄) or η
        x̄/w = y − Aᵀ (I + L)⁻¹ C y,    y = M₀ x

    Rows of Y are M₀ x, with the steps before these taken off. Written are rows a of A and c of C, the strict
    lower triangle of L, and in `pulls`, if it has rows, what R has to learn; in `near`, a and c padded to registers.
    The rows before `begin` were learnt from before.

    Reference: Schreiber & Van Loan (1989), SIAM Journal on Scientific and Statistical Computing 10, 53–57 (compact WY).
    """
    _, power, gain, counters = averages
    n, rule = power.size, parameters.rule
    Y, A, C, L = panel.Y, panel.A, panel.C, panel.L
    a, c, y, h = near[0], near[1], near[2, 0], np.empty(Y.shape[0] + 2 * ROWS, Y.dtype)
    for t in range(begin, drives.shape[0]):
        share = weight_of(parameters, counters[SAMPLES])
        mean_power = update_power(share, drives[t], power, n)
        for j in range(n):
            y[j] = Y[t, j]
        take_off(a, c, L, t, y, h)
        size = 0.0
        for j in range(n):
            size += (scale[j] * y[j]) ** 2
        eta, unit, exists = step_size(parameters, counters, power, size, mean_power)
        if not exists:
            return t
        grow, shrink = lengths(rule, eta, size)
        for j in range(n):
            a[t, j] = shrink * y[j]
            c[t, j] = scale[j] * scale[j] * y[j]
            A[t, j], C[t, j] = a[t, j], c[t, j]
            if pulls.shape[0] > 0:
                pulls[t, j] = grow * c[t, j]
        for r in range(0, t, ROWS):
            dot_rows(a, y, y, c[t], h, r)
        for r in range(t):
            L[t, r] = h[r]
        rescale(parameters, gain, power, scale, eta, mean_power)
        tick(counters, eta, unit)
    return -1


@jit()
def take_off(a: Array, c: Array, L: Array, count: int, y: Array, h: Array) -> None:
    """y ← y − Aᵀ (I + L)⁻¹ C y, with the first `count` rows of A and C."""
    for r in range(0, count, ROWS):
        dot_rows(c, y, y, y, h, r)
    for r in range(count):
        for q in range(r):
            h[r] -= L[r, q] * h[q]
    for r in range(count):
        h[r] = -h[r]
    h[count : count + ROWS] = 0
    for r in range(0, count, ROWS):
        push_rows(a, h, y, r)


def step_parameters(plan: LearningRule, scale: float) -> StepParameters:
    """Return the numbers of a learning rule for inputs measured in `scale`."""
    return StepParameters(
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


def averages_of(state: State) -> Averages:
    """Return what a state has learnt beside its weights, to be changed in place."""
    return Averages(state.mean, state.power, state.gain, state.counters)


def learn_samples(state: State, X: Floats, plan: LearningRule, parameters: StepParameters, engine: str) -> bool:
    """Learn from the rows of X one by one, in place; return whether every step was possible.

    Parameters
    ----------
    state : State
        Changed in place.
    X : (samples, n) array
        Inputs, in units of the state's scale.
    plan : LearningRule
        Form, rule, rate, gain.
    parameters : StepParameters
        The numbers of the plan, in units of the state's scale.
    engine : str
        How M is kept up to date: see `engine_for`.
    """
    averages = averages_of(state)
    if engine == "plain":
        return steps.learn_stream(parameters, plan.recurrent, state.M, state.R, averages, X) < 0
    if plan.recurrent:
        settle_by_inverse(state, X[:1] - state.mean if parameters.centred else X[:1])
    learn = _fused if engine == "fused" else _delayed
    return learn(state, X, parameters, averages, plan.recurrent)


def engine_for(plan: LearningRule, n: int) -> str:
    """Return how M is kept up to date: "plain", "fused" or "delayed"."""
    if plan.rule == "congruent":
        return "plain" if plan.engine == "plain" else "fused"
    if plan.engine != "auto":
        return plan.engine
    return "delayed" if n >= smallest_delayed() else "fused"


def smallest_delayed() -> int:
    """Return the units from which on M stays untouched for a block by default (explicit and implicit rule)."""
    return SMALLEST_DELAYED if threads() > 1 else SMALLEST_DELAYED_ALONE


def _fused(state: State, X: Floats, parameters: StepParameters, averages: Averages, recurrent: bool) -> bool:
    """One pass over M a sample; R follows at the end of each block."""
    symmetric, n = parameters.rule == CONGRUENT, X.shape[1]
    S, scale, vectors = _workspace(state.M, ROWS)
    for rows in _blocks(X, FUSED_BLOCK):
        drives, pulls = np.empty((2, len(rows) if recurrent else 0, n), X.dtype)
        if fused_block(parameters, averages, S, scale, rows, vectors, drives, pulls) >= 0:
            return False
        _collect(state.R, drives, pulls, symmetric)
    state.M[...] = S[:n, :n]
    _fold(state, scale[:n], symmetric, recurrent)
    return True


def _delayed(state: State, X: Floats, parameters: StepParameters, averages: Averages, recurrent: bool) -> bool:
    """M neither read nor written within a block."""
    n = X.shape[1]
    length = next((k for bound, k in DELAYED_BLOCK.items() if n < bound), LONGEST_DELAYED_BLOCK)
    scale, buffers = np.ones_like(state.gain), np.empty((6, min(length, len(X)), n), X.dtype)
    near = _aligned((3, STEPS, _width(n, X.dtype)), X.dtype)
    for rows in _blocks(X, length):
        drives, Y, A, C, P, pulls = buffers[:, : len(rows)]
        centre_rows(parameters, rows, state.mean, state.counters[SAMPLES], drives)
        own = blas(X.dtype)
        own.gemm(1.0, state.M.T, drives.T, c=Y.T, trans_a=True, overwrite_c=True)
        for begin in range(0, len(rows), STEPS):
            few, rest = slice(begin, begin + STEPS), slice(begin + STEPS, len(rows))
            panel = Panel(Y[few], A[few], C[few], np.empty((len(Y[few]), len(Y[few])), X.dtype))
            taught = pulls[few] if recurrent else pulls[:0]
            if delayed_steps(parameters, averages, panel, scale, drives[few], near, taught, 0) >= 0:
                return False
            if begin + STEPS < len(rows):
                _take_off_rest(panel, Y[rest])
        _take_off_block(state.M, A, C, P)
        if recurrent:
            add_product(state.R, drives, pulls, 1.0)
    _fold(state, scale, False, recurrent)
    return True


def _take_off_rest(panel: Panel, Y: Floats) -> None:
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


# Rows that a stream keeps beside the weights: more make a sample dearer, fewer the matrices be written more often.
OPEN = 32


class _Open(NamedTuple):
    """A block of samples that is not yet folded into the weights; (OPEN, n) arrays but for L, near and scale."""

    panel: Panel
    drives: Array
    pulls: Array
    near: Array
    scale: Array


@jit()
def open_step(
    parameters: StepParameters, averages: Averages, M: Array, block: _Open, recurrent: bool, sample: Array, t: int
) -> bool:
    """Learn from one more sample, row t of an open block, without touching M; tell whether the step exists."""
    drives, pulls = block.drives, block.pulls
    centre_rows(parameters, sample, averages.mean, averages.counters[SAMPLES], drives[t : t + 1])
    multiply(M, drives[t], block.panel.Y[t])
    taught = pulls[: t + 1] if recurrent else pulls[:0]
    return delayed_steps(parameters, averages, block.panel, block.scale, drives[: t + 1], block.near, taught, t) < 0


class SampleStream:
    """Samples that come one by one: each step is taken at once, and folded into R and M when these are read.

    Not for the congruent rule, which reads all of M at every sample. Not safe for several threads.

    Parameters
    ----------
    state : State
        Where to begin; it is left as it is.
    plan : LearningRule
        Rule of single samples.
    left : int
        Samples until somebody should look at the weights: `learn` takes no more of them.
    """

    def __init__(self, state: State, plan: LearningRule, left: int) -> None:
        n, dtype = len(state.M), state.M.dtype
        self.plan, self.left, self.dtype = plan, left, dtype
        self._state, self._shared = state, True
        self._averages = Averages(*(part.copy() for part in averages_of(state)))
        self._parameters = step_parameters(plan, state.scale)
        Y, A, C, drives, pulls = np.empty((5, OPEN, n), dtype)
        near, scale = _aligned((3, OPEN, _width(n, dtype)), dtype), np.ones(n, dtype)
        self._block = _Open(Panel(Y, A, C, np.empty((OPEN, OPEN), dtype)), drives, pulls, near, scale)
        self._rows, self._unread = 0, False

    def learn(self, X: Floats) -> bool:
        """Learn from a few rows, or change nothing and return False: a look at the weights is due, or a step fails."""
        if len(X) >= self.left:
            return False
        if self._rows + len(X) > OPEN:
            self._fold()
        block, averages, begin = self._block, self._averages, self._rows
        before, scale = [part.copy() for part in averages], block.scale.copy()
        rows = X / X.dtype.type(self._state.scale)
        for t in range(len(rows)):
            if not open_step(
                self._parameters, averages, self._state.M, block, self.plan.recurrent, rows[t : t + 1], begin + t
            ):
                for part, old in zip((*averages, block.scale), (*before, scale), strict=True):
                    part[...] = old
                return False
        self._rows, self.left, self._unread = begin + len(rows), self.left - len(rows), True
        return True

    def respond(self, X: Floats) -> Floats:
        """Return x̄ = M (x − μ) for each row, with the open block where it is.

        ::

            x̄ = diag(w) (y − Aᵀ (I + L)⁻¹ C y),    y = M₀ (x − μ)
        """
        state, panel, rows = self._state, self._block.panel, self._rows
        Y = (X - self._averages.mean * X.dtype.type(state.scale)) @ state.M.T
        if rows:
            H = panel.C[:rows] @ Y.T
            H = scipy.linalg.solve_triangular(
                panel.L[:rows, :rows], H, lower=True, unit_diagonal=True, check_finite=False
            )
            Y -= H.T @ panel.A[:rows]
        return np.asarray(Y * self._block.scale)

    def state(self) -> State:
        """Return what was learnt so far; it stays as it is when learning goes on."""
        if self._unread:
            self._fold()
            mean, power, gain, counters = (part.copy() for part in self._averages)
            self._state = replace(self._state, mean=mean, power=power, gain=gain, counters=counters)
            self._unread, self._shared = False, True
        return self._state

    def _fold(self) -> None:
        """Put the open block into R and M."""
        if not self._rows:
            return
        if self._shared:
            self._state, self._shared = self._state.copy(), False
        block, rows, recurrent = self._block, self._rows, self.plan.recurrent
        A, C, drives, pulls = (part[:rows] for part in (block.panel.A, block.panel.C, block.drives, block.pulls))
        _take_off_block(self._state.M, A, C, block.panel.Y[:rows])
        if recurrent:
            add_product(self._state.R, drives, pulls, 1.0)
        _fold(self._state, block.scale, False, recurrent)
        block.scale[:] = 1
        self._rows = 0
