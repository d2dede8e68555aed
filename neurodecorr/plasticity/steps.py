"""Compiled single-sample learning: one pass of the twin rules over a stream.

The four rank-one updates are the rules themselves, and are handed nothing but what their synapses may read:

==================  =======================================================================
`recurrent_step`    R ← (R + c (R x̄) x̄ᵀ) diag(1/g)              explicit and local rule
`feedforward_step`  M ← diag(g) (M − c x̄ (x̄ᵀM))                 explicit and implicit rule
`recurrent_sym`     R ← D (A R A) D,   A = I + β x̄x̄ᵀ            congruent rule
`feedforward_sym`   M ← D⁻¹ (A⁻¹ M A⁻¹) D⁻¹                      congruent rule
==================  =======================================================================
"""

from __future__ import annotations

import math

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._typing import Array

EXPLICIT, LOCAL, CONGRUENT = 0, 1, 2
NO_GAIN, NODE_GAIN, LAYER_GAIN = 0, 1, 2

# Counters: samples seen, sum of the rates used, running x̄ᵀx̄, updates limited, worst relative settling error.
SAMPLES, CLOCK, TRACE, LIMITED, WORST_ERROR = 0, 1, 2, 3, 4
COUNTERS = 5

# One sample may pull at most this many times harder than the limit on the mean allows: with a limit ≤ 0.1, η‖x̄‖² ≤ ½.
OUTLIER = 5.0

# The running trace x̄ᵀx̄ averages over 100 samples; running mean and power at a constant rate over no fewer than 10 (P0).
TRACE_MEMORY = 0.01
FASTEST_MEMORY = 0.1

# An x̄ᵀx̄ beyond this has left the finite numbers, NaN included, for every purpose.
HUGE = 1e300


@jit()
def multiply(A: Array, v: Array, out: Array) -> None:
    """Write A v into `out`."""
    for i in range(A.shape[0]):
        total = A[i, 0] * v[0]
        for j in range(1, A.shape[1]):
            total += A[i, j] * v[j]
        out[i] = total


@jit()
def multiply_transposed(A: Array, v: Array, out: Array) -> None:
    """Write Aᵀ v into `out`, in the order in which A lies in memory."""
    out[:] = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            out[j] += v[i] * A[i, j]


@jit()
def recurrent_step(R: Array, drive: Array, xbar: Array, step: float, gain: Array) -> None:
    """R_ij ← (R_ij + c drive_i x̄_j) / g_j, with c = η (local) or η/(1 − η x̄ᵀx̄) (explicit)."""
    for i in range(R.shape[0]):
        pull = step * drive[i]
        for j in range(R.shape[1]):
            R[i, j] = (R[i, j] + pull * xbar[j]) / gain[j]


@jit()
def feedforward_step(M: Array, back: Array, xbar: Array, step: float, gain: Array) -> None:
    """M_ij ← g_i (M_ij − c x̄_i (x̄ᵀM)_j), with c = η/(1 + η x̄ᵀx̄) (implicit) or η (explicit)."""
    for i in range(M.shape[0]):
        pull = step * xbar[i]
        for j in range(M.shape[1]):
            M[i, j] = gain[i] * (M[i, j] - pull * back[j])


@jit()
def symmetric_step(S: Array, u: Array, v: Array, first: float, second: float, root: Array, grow: bool) -> None:
    """S_ij ← (S_ij + a (u_i v_j + v_i u_j) + b v_i v_j) · or / (r_i r_j), computed once and mirrored.

    Symmetric to the bit: a rounding asymmetry of 1e-16 would be amplified by the gain at every later sample.
    M is multiplied and R divided by the same number. Factors rounded apart, √g and 1/√g, are not each other's inverse:
    under a constant gain their product is off by the same 1e-16 at every sample, and the twins drift apart.
    """
    for i in range(S.shape[0]):
        for j in range(i + 1):
            mixed = first * (u[i] * v[j] + v[i] * u[j]) + second * (v[i] * v[j])
            factor = root[i] * root[j]
            value = (S[i, j] + mixed) * factor if grow else (S[i, j] + mixed) / factor
            S[i, j] = value
            S[j, i] = value


@jit()
def recurrent_sym(R: Array, drive: Array, xbar: Array, beta: float, overlap: float, gain: Array) -> None:
    """R ← D (R + β(x x̄ᵀ + x̄ xᵀ) + β² (x̄ᵀx) x̄x̄ᵀ) D, with x = R x̄ and D = diag(g^-½)."""
    symmetric_step(R, drive, xbar, beta, beta * beta * overlap, np.sqrt(gain), False)


@jit()
def feedforward_sym(M: Array, back: Array, xbar: Array, beta: float, overlap: float, gain: Array) -> None:
    """M ← D⁻¹ (M − γ(m x̄ᵀ + x̄ mᵀ) + γ² (x̄ᵀm) x̄x̄ᵀ) D⁻¹, with m = M x̄, γ = β/(1 + β x̄ᵀx̄)."""
    symmetric_step(M, back, xbar, -beta, beta * beta * overlap, np.sqrt(gain), True)


@jit()
def scheduled(rate: float, clock: float, hold: float, half: float) -> float:
    """η = η₀ exp(−max(0, s − hold)/half), s the sum of the rates used so far (`schedules.Decay`)."""
    return rate * math.exp(-max(0.0, clock - hold) / half)


@jit()
def homeostatic(gain: Array, power: Array, eta: float, mode: int, explicit: bool) -> None:
    """g = 1 + η p (implicit, local, congruent) or 1/(1 − η p) (explicit); p per node or its layer mean."""
    mean_power = power.mean()
    for j in range(power.size):
        p = power[j] if mode == NODE_GAIN else mean_power
        growth = 0.0 if mode == NO_GAIN else eta * p
        gain[j] = 1.0 / (1.0 - growth) if explicit else 1.0 + growth


@jit()
def settle_by_twin(R: Array, M: Array, x: Array, xbar: Array, residual: Array, error: Array) -> float:
    """Set x̄ = M x, refine it once by its residual, and return the relative error ‖M r‖/‖x̄‖ found before that."""
    multiply(M, x, xbar)
    multiply(R, xbar, residual)
    for i in range(x.size):
        residual[i] = x[i] - residual[i]
    multiply(M, residual, error)
    found, size = 0.0, 0.0
    for i in range(x.size):
        found += error[i] * error[i]
        size += xbar[i] * xbar[i]
        xbar[i] += error[i]
    return math.sqrt(found / size) if size > 0 else 0.0


@jit()
def learn_stream(
    recurrent: bool,
    rule: int,
    M: Array,
    R: Array,
    mean: Array,
    power: Array,
    gain: Array,
    counters: Array,
    X: Array,
    memory: float,
    schedule: Array,
    limit: float,
    gain_mode: int,
    centred: bool,
    fixed_unit: float,
) -> int:
    """Learn from the rows of X one by one, in place; return the row that broke the rule's condition, or −1.

    Parameters
    ----------
    recurrent : bool
        Learn R from its own settled states, M following as its twin; otherwise learn M alone (R is not touched).
    rule : int
        `EXPLICIT`, `LOCAL` (= implicit for M) or `CONGRUENT`.
    M, R : (n, n) arrays
        The two forms.
    mean, power, gain : (n,) arrays
        Running mean and power of each unit's own input; gain of the last step.
    counters : (5,) array
        Samples seen, sum of the rates used, running x̄ᵀx̄, steps limited, worst relative settling error.
    X : (samples, n) array
        The stream.
    memory : float
        Least weight of a sample in the running averages.
    schedule : (3,) array
        Rate, hold, half (see `scheduled`).
    limit : float
        Upper bound of η·tr⟨x̄x̄ᵀ⟩; infinity for none.
    gain_mode : int
        `NO_GAIN`, `NODE_GAIN`, `LAYER_GAIN`.
    centred : bool
        Subtract the running mean.
    fixed_unit : float
        Power in whose inverse the rate is measured; 0 for the running mean power of the inputs.
    """
    n = M.shape[0]
    x = np.empty(n, M.dtype)
    xbar = np.empty(n, M.dtype)
    back = np.empty(n, M.dtype)
    residual = np.empty(n, M.dtype)
    for k in range(X.shape[0]):
        time = counters[SAMPLES]
        eta = scheduled(schedule[0], counters[CLOCK], schedule[1], schedule[2])
        share = max(1.0 / (time + 1.0), memory)
        for j in range(n):
            if centred:
                mean[j] += share * (X[k, j] - mean[j])
            x[j] = X[k, j] - mean[j]
            power[j] += share * (x[j] * x[j] - power[j])
        unit = fixed_unit if fixed_unit > 0 else power.mean()
        eta = eta / unit if unit > 0 else 0.0

        if recurrent:
            error = settle_by_twin(R, M, x, xbar, residual, back)
            counters[WORST_ERROR] = max(counters[WORST_ERROR], error)
        else:
            multiply(M, x, xbar)
        size = 0.0
        for j in range(n):
            size += xbar[j] * xbar[j]
        if not size < HUGE:
            return k
        counters[TRACE] += max(1.0 / (time + 1.0), TRACE_MEMORY) * (size - counters[TRACE])
        strongest = limit / max(counters[TRACE], size / OUTLIER) if size > 0 else math.inf
        if eta > strongest:
            eta = strongest
            counters[LIMITED] += 1
        pull = size if gain_mode == NO_GAIN else max(size, power.max())
        if rule == EXPLICIT and eta * pull >= 1.0:
            return k
        homeostatic(gain, power, eta, gain_mode, rule == EXPLICIT)

        if rule == CONGRUENT:
            beta = eta / (1.0 + math.sqrt(1.0 + eta * size))
            if recurrent:
                recurrent_sym(R, x, xbar, beta, np.sum(xbar * x), gain)
            multiply(M, xbar, back)
            feedforward_sym(M, back, xbar, beta / (1.0 + beta * size), np.sum(xbar * back), gain)
        else:
            shrink = eta if rule == EXPLICIT else eta / (1.0 + eta * size)
            grow = eta / (1.0 - eta * size) if rule == EXPLICIT else eta
            if recurrent:
                recurrent_step(R, x, xbar, grow, gain)
            multiply_transposed(M, xbar, back)
            feedforward_step(M, back, xbar, shrink, gain)
        counters[SAMPLES] = time + 1.0
        counters[CLOCK] += eta * unit
    return -1
