"""Compiled single-sample learning near the machine's limit: the rules of `kernels`, with fewer passes over the matrix.

Two things save work, and change no number beyond rounding:

- The gain acts on whole rows or columns, so it is kept as one number w per unit beside the matrix, and folded in
  once per block: M = diag(w) S, R = T diag(1/w) (congruent: M = diag(w) S diag(w), R = T/(w wᵀ)). R T-updates are
  sums of outer products that nobody reads before the block ends: one matrix product per block.
- S is either touched once per sample (`fused_block`), or not at all before the block ends (`delayed_block`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurodecorr._compile import jit
from neurodecorr.plasticity.codes import (
    CLOCK,
    CONGRUENT,
    EXPLICIT,
    HUGE,
    LIMITED,
    NO_GAIN,
    NODE_GAIN,
    OUTLIER,
    SAMPLES,
    TRACE,
    TRACE_MEMORY,
)

Array = np.ndarray[Any, np.dtype[Any]]


@jit()
def observe(sample: Array, mean: Array, power: Array, memory: float, centred: bool, x: Array) -> None:
    """Write x = sample − μ, after the running mean μ and the power p of each unit's own input have moved."""
    for j in range(x.size):
        if centred:
            mean[j] += memory * (sample[j] - mean[j])
        x[j] = sample[j] - mean[j]
        power[j] += memory * (x[j] * x[j] - power[j])


@jit()
def due(counters: Array, schedule: Array, unit: float) -> float:
    """Return the rate η₀ exp(−max(0, s − hold)/half) that is due at clock s, in units of one over the power unit."""
    eta = schedule[0] * math.exp(-max(0.0, counters[CLOCK] - schedule[1]) / schedule[2])
    return eta / unit if unit > 0 else 0.0


@jit()
def rescale(scale: Array, gain: Array, power: Array, eta: float, mode: int, rule: int) -> None:
    """Let w grow by the homeostatic gain, g = 1 + ηp or 1/(1 − ηp) (explicit); by its root if it acts on both sides."""
    if mode == NO_GAIN:
        return
    mean_power = power.mean()
    for j in range(scale.size):
        growth = eta * (power[j] if mode == NODE_GAIN else mean_power)
        gain[j] = 1.0 / (1.0 - growth) if rule == EXPLICIT else 1.0 + growth
        scale[j] *= math.sqrt(gain[j]) if rule == CONGRUENT else gain[j]


@jit()
def limited(counters: Array, eta: float, size: float, limit: float) -> float:
    """Return η, shortened to the limit on η tr⟨x̄x̄ᵀ⟩ and counted if it was; the running trace moves on."""
    counters[TRACE] += max(1.0 / (counters[SAMPLES] + 1.0), TRACE_MEMORY) * (size - counters[TRACE])
    strongest = limit / max(counters[TRACE], size / OUTLIER) if size > 0 else math.inf
    if eta <= strongest:
        return eta
    counters[LIMITED] += 1
    return strongest


@jit()
def woven_pass(S: Array, left: Array, right: Array, z: Array, weight: Array, out: Array, back: Array) -> None:
    """S ← S − left rightᵀ, out = S z, back = Sᵀ(w²∘out), in one pass: each row is used up while it is at hand."""
    back[:] = 0
    for i in range(S.shape[0]):
        pull = left[i]
        dot = S[i, 0] * 0
        for j in range(S.shape[1]):
            value = S[i, j] - pull * right[j]
            S[i, j] = value
            dot += value * z[j]
        out[i] = dot
        push = weight[i] * weight[i] * dot
        for j in range(S.shape[1]):
            back[j] += push * S[i, j]


@jit()
def woven_symmetric_pass(S: Array, left: Array, right: Array, z: Array, weight: Array, out: Array, back: Array) -> None:
    """S ← S − left rightᵀ − right leftᵀ, then as `woven_pass`; S is symmetric, so back = S(w²∘out)."""
    back[:] = 0
    for i in range(S.shape[0]):
        pull, hold = left[i], right[i]
        dot = S[i, 0] * 0
        for j in range(S.shape[1]):
            value = S[i, j] - (pull * right[j] + hold * left[j])
            S[i, j] = value
            dot += value * z[j]
        out[i] = dot
        push = weight[i] * weight[i] * dot
        for j in range(S.shape[1]):
            back[j] += push * S[i, j]


@jit()
def fused_block(
    rule: int,
    S: Array,
    scale: Array,
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
    drives: Array,
    pulls: Array,
) -> int:
    """Learn M from a block of samples in one pass over it per sample; return the row that broke a condition, or −1.

    ::

        M = diag(w) S (explicit, implicit),    M = diag(w) S diag(w) (congruent)

    The gains stay in `scale` w, one number per unit, so that M and its twin R share them to the bit. What R has to
    learn from sample t is left in row t of `drives` and `pulls`: R diag(w) grows by driveᵀpull (and its transpose, for
    the congruent rule, whose R is scaled on both sides).
    """
    n = S.shape[0]
    x, z, out = np.empty(n, S.dtype), np.empty(n, S.dtype), np.empty(n, S.dtype)
    left, right, back = np.zeros(n, S.dtype), np.zeros(n, S.dtype), np.empty(n, S.dtype)
    failed = -1
    for t in range(X.shape[0]):
        observe(X[t], mean, power, max(1.0 / (counters[SAMPLES] + 1.0), memory), centred, x)
        unit = fixed_unit if fixed_unit > 0 else power.mean()
        eta = due(counters, schedule, unit)
        if rule == CONGRUENT:
            for j in range(n):
                z[j] = scale[j] * x[j]
            woven_symmetric_pass(S, left, right, z, scale, out, back)
        else:
            woven_pass(S, left, right, x, scale, out, back)
        size = 0.0
        for j in range(n):
            size += (scale[j] * out[j]) ** 2
        eta = limited(counters, eta, size, limit) if size < HUGE else math.nan
        if not possible(rule, eta, size, power, gain_mode):
            left[:] = 0
            right[:] = 0
            failed = t
            break
        if rule == CONGRUENT:
            pair_congruent(eta, size, scale, x, out, back, left, right, drives[t], pulls[t])
        else:
            shrink = eta if rule == EXPLICIT else eta / (1.0 + eta * size)
            grow = eta / (1.0 - eta * size) if rule == EXPLICIT else eta
            for j in range(n):
                left[j], right[j] = shrink * out[j], back[j]
                drives[t, j], pulls[t, j] = x[j], grow * scale[j] * scale[j] * out[j]
        rescale(scale, gain, power, eta, gain_mode, rule)
        counters[SAMPLES] += 1.0
        counters[CLOCK] += eta * unit
    for i in range(n):
        for j in range(n):
            S[i, j] -= left[i] * right[j]
            if rule == CONGRUENT:
                S[i, j] -= right[i] * left[j]
    return failed


@jit()
def possible(rule: int, eta: float, size: float, power: Array, gain_mode: int) -> bool:
    """Tell whether the step exists: finite activity, and η‖x̄‖² < 1, ηp < 1 for the explicit rule."""
    if not size < HUGE:
        return False
    pull = size if gain_mode == NO_GAIN else max(size, power.max())
    return not (rule == EXPLICIT and eta * pull >= 1.0)


@jit()
def pair_congruent(
    eta: float,
    size: float,
    scale: Array,
    x: Array,
    out: Array,
    back: Array,
    left: Array,
    right: Array,
    drive: Array,
    pull: Array,
) -> None:
    """Write the rank-two steps of the congruent pair in the scaled frame, S = W⁻¹ M W⁻¹ and W R W, W = diag(w).

    ::

        S ← S − ã vᵀ − v ãᵀ,    ã = x̄/w,   v = γ m/w − ½ γ² (x̄ᵀm) ã,    m = M x̄
        W R W ← W R W + u b̃ᵀ + b̃ uᵀ,    b̃ = w∘x̄,   u = β w∘x + ½ β² (x̄ᵀx) b̃
    """
    beta = eta / (1.0 + math.sqrt(1.0 + eta * size))
    gamma = beta / (1.0 + beta * size)
    inner, overlap = 0.0, 0.0
    for j in range(x.size):
        activity = scale[j] * out[j]
        inner += scale[j] * activity * back[j]
        overlap += activity * x[j]
    for j in range(x.size):
        left[j] = out[j]
        right[j] = gamma * back[j] - 0.5 * gamma * gamma * inner * out[j]
        pull[j] = scale[j] * scale[j] * out[j]
        drive[j] = beta * scale[j] * x[j] + 0.5 * beta * beta * overlap * pull[j]


@jit()
def delayed_block(
    rule: int,
    Y: Array,
    A: Array,
    B: Array,
    scale: Array,
    power: Array,
    gain: Array,
    counters: Array,
    drives: Array,
    memory: float,
    schedule: Array,
    limit: float,
    gain_mode: int,
    fixed_unit: float,
    pulls: Array,
) -> int:
    """Learn M from a block of samples without touching it: compact WY form; return the failing row, or −1.

    ::

        M_t = diag(w) (I − A Bᵀ) M₀,    x̄ = w∘(y − A Bᵀy),  y = M₀ x
        new columns  a = c x̄/w,  b = (I − B Aᵀ)(w∘x̄),  c = η/(1 + ηx̄ᵀx̄) or η

    Rows of `Y` are M₀ x; they are overwritten by x̄/w. Columns a and b are rows of `A` and `B`.
    """
    n = Y.shape[1]
    h = np.empty(Y.shape[0], Y.dtype)
    for t in range(Y.shape[0]):
        share = max(1.0 / (counters[SAMPLES] + 1.0), memory)
        for j in range(n):
            power[j] += share * (drives[t, j] * drives[t, j] - power[j])
        unit = fixed_unit if fixed_unit > 0 else power.mean()
        eta = due(counters, schedule, unit)
        remove(A, B, t, Y[t], h)
        size = 0.0
        for j in range(n):
            size += (scale[j] * Y[t, j]) ** 2
        eta = limited(counters, eta, size, limit) if size < HUGE else math.nan
        if not possible(rule, eta, size, power, gain_mode):
            return t
        shrink = eta if rule == EXPLICIT else eta / (1.0 + eta * size)
        grow = eta / (1.0 - eta * size) if rule == EXPLICIT else eta
        for j in range(n):
            A[t, j] = shrink * Y[t, j]
            B[t, j] = scale[j] * scale[j] * Y[t, j]
            pulls[t, j] = grow * B[t, j]
        rescale(scale, gain, power, eta, gain_mode, rule)
        remove(B, A, t, B[t], h)
        counters[SAMPLES] += 1.0
        counters[CLOCK] += eta * unit
    return -1


@jit()
def centre_block(X: Array, mean: Array, seen: float, memory: float, centred: bool, drives: Array) -> None:
    """Write x − μ for each row, after the running mean has moved."""
    for t in range(X.shape[0]):
        share = max(1.0 / (seen + t + 1.0), memory)
        for j in range(X.shape[1]):
            if centred:
                mean[j] += share * (X[t, j] - mean[j])
            drives[t, j] = X[t, j] - mean[j]


@jit()
def remove(A: Array, B: Array, count: int, y: Array, h: Array) -> None:
    """y ← y − A Bᵀ y, with the first `count` columns, which are rows here."""
    for r in range(count):
        dot = y[0] * 0
        for j in range(y.size):
            dot += B[r, j] * y[j]
        h[r] = dot
    for r in range(count):
        for j in range(y.size):
            y[j] -= h[r] * A[r, j]
