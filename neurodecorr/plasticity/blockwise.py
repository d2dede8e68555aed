"""Compiled single-sample learning near the machine's limit: the rules of `kernels`, with fewer passes over the matrix.

Two things save work, and change no number beyond rounding:

- The gain acts on whole rows or columns, so it is kept as one number w per unit beside the matrix, and folded in
  once per block: M = diag(w) S, R = T diag(1/w) (congruent: M = diag(w) S diag(w), R = T/(w wᵀ)). R T-updates are
  sums of outer products that nobody reads before the block ends: one matrix product per block.
- S is either touched once per sample (`fused_block`), or not at all before the block ends (`delayed_steps`; for the
  congruent rule, `delayed_congruent_block`, it is read once per sample, and not written).

Vectors over units are padded with zeros to whole registers, matrices to whole groups of `ROWS` rows besides.
"""

from __future__ import annotations

import math

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.simd import ROWS, dot_rows, pull_rows, push_rows, twist_rows
from neurodecorr._typing import Array
from neurodecorr.plasticity.steps import (
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


@jit()
def survey(X: Array, scale: float, limit: float, scaled: Array, power: Array) -> bool:
    """Write X in units of `scale` and each column's variance; tell whether all of it is smaller than `limit`."""
    mean, outside = np.zeros_like(power), 0
    power[:] = 0
    for t in range(X.shape[0]):
        for j in range(power.size):
            value = X[t, j] / scale
            scaled[t, j] = value
            mean[j] += value
            power[j] += value * value
            outside += not abs(value) < limit
    for j in range(power.size):
        mean[j] /= X.shape[0]
        power[j] = max(power[j] / X.shape[0] - mean[j] * mean[j], 0.0)
    return outside == 0


@jit()
def observe(sample: Array, mean: Array, power: Array, memory: float, centred: bool, x: Array) -> float:
    """Write x = sample − μ, after the running mean μ and power p of each unit's input have moved; return p's mean."""
    total = power[0] * 0
    for j in range(power.size):
        if centred:
            mean[j] += memory * (sample[j] - mean[j])
        x[j] = sample[j] - mean[j]
        power[j] += memory * (x[j] * x[j] - power[j])
        total += power[j]
    return float(total / power.size)


@jit()
def due(counters: Array, schedule: Array, unit: float) -> float:
    """Return the rate η₀ exp(−max(0, s − hold)/half) that is due at clock s, in units of one over the power unit."""
    late = counters[CLOCK] - schedule[1]
    eta = schedule[0] * math.exp(-late / schedule[2]) if late > 0 else schedule[0]
    return eta / unit if unit > 0 else 0.0


@jit()
def rescale(scale: Array, gain: Array, power: Array, mean_power: float, eta: float, mode: int, rule: int) -> None:
    """Let w grow by the homeostatic gain, g = 1 + ηp or 1/(1 − ηp) (explicit); by its root if it acts on both sides."""
    if mode == NO_GAIN:
        return
    for j in range(power.size):
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
def possible(rule: int, eta: float, size: float, power: Array, gain_mode: int) -> bool:
    """Tell whether the step exists: finite activity, and η‖x̄‖² < 1, ηp < 1 for the explicit rule."""
    if not size < HUGE:
        return False
    return rule != EXPLICIT or eta * (size if gain_mode == NO_GAIN else max(size, power.max())) < 1.0


@jit()
def woven_pass(
    outer: int, S: Array, left: Array, right: Array, z: Array, weight: Array, out: Array, push: Array, back: Array
) -> float:
    """Take outer products off S, then out = S z, push = w²∘out, back = Sᵀ push, in one pass; return pushᵀout.

    ::

        S ← S − left rightᵀ (outer = 1), S − left rightᵀ − right leftᵀ (outer = 2)

    Each row is used up while it is at hand.
    """
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
    n = power.size
    x, z, out, push = vectors[0], vectors[1], vectors[2], vectors[3]
    left, right, back = vectors[4], vectors[5], vectors[6]
    left[:] = 0
    right[:] = 0
    for t in range(X.shape[0]):
        mean_power = observe(X[t], mean, power, max(1.0 / (counters[SAMPLES] + 1.0), memory), centred, x)
        unit = fixed_unit if fixed_unit > 0 else mean_power
        eta = due(counters, schedule, unit)
        if rule == CONGRUENT:
            for j in range(n):
                z[j] = scale[j] * x[j]
            size = woven_pass(2, S, left, right, z, scale, out, push, back)
        else:
            size = woven_pass(1, S, left, right, x, scale, out, push, back)
        eta = limited(counters, eta, size, limit) if size < HUGE else math.nan
        if not possible(rule, eta, size, power, gain_mode):
            return t
        if rule == CONGRUENT:
            pair_congruent(eta, size, out, push, back, left, right)
            if t < drives.shape[0]:
                drive_congruent(eta, size, scale, x, push, drives[t], pulls[t])
        else:
            shrink = eta if rule == EXPLICIT else eta / (1.0 + eta * size)
            for j in range(n):
                left[j], right[j] = shrink * out[j], back[j]
            if t < drives.shape[0]:
                grow = eta / (1.0 - eta * size) if rule == EXPLICIT else eta
                for j in range(n):
                    drives[t, j], pulls[t, j] = x[j], grow * push[j]
        rescale(scale, gain, power, mean_power, eta, gain_mode, rule)
        counters[SAMPLES] += 1.0
        counters[CLOCK] += eta * unit
    woven_pass(2 if rule == CONGRUENT else 1, S, left, right, x, scale, out, push, back)
    return -1


@jit()
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


@jit()
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
def delayed_steps(
    rule: int,
    Y: Array,
    A: Array,
    C: Array,
    L: Array,
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
    near: Array,
    pulls: Array,
) -> int:
    """Learn M from a few samples without touching it: compact WY form; return the failing row, or −1.

    ::

        M_t = diag(w) (I − a_t c_tᵀ) … (I − a_1 c_1ᵀ) M₀ = diag(w) (I − Aᵀ (I + L)⁻¹ C) M₀
        a_t = κ x̄/w,    c_t = w∘x̄,    L_tr = c_tᵀ a_r for r < t,    κ = η/(1 + η x̄ᵀx̄) or η
        x̄/w = y − Aᵀ (I + L)⁻¹ C y,    y = M₀ x

    Rows of `Y` are M₀ x, with the steps before these taken off. Written are rows a of `A` and c of `C`, the strict
    lower triangle of `L`, and in `pulls`, if it has rows, what R has to learn; in `near`, a and c padded to registers.
    """
    n = power.size
    a, c, y, h = near[0], near[1], near[2, 0], np.empty(Y.shape[0] + 2 * ROWS, Y.dtype)
    for t in range(Y.shape[0]):
        share = max(1.0 / (counters[SAMPLES] + 1.0), memory)
        total = power[0] * 0
        for j in range(n):
            power[j] += share * (drives[t, j] * drives[t, j] - power[j])
            total += power[j]
            y[j] = Y[t, j]
        mean_power = float(total / n)
        unit = fixed_unit if fixed_unit > 0 else mean_power
        eta = due(counters, schedule, unit)
        take_off(a, c, L, t, y, h)
        size = 0.0
        for j in range(n):
            size += (scale[j] * y[j]) ** 2
        eta = limited(counters, eta, size, limit) if size < HUGE else math.nan
        if not possible(rule, eta, size, power, gain_mode):
            return t
        shrink = eta if rule == EXPLICIT else eta / (1.0 + eta * size)
        grow = eta / (1.0 - eta * size) if rule == EXPLICIT else eta
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
        rescale(scale, gain, power, mean_power, eta, gain_mode, rule)
        counters[SAMPLES] += 1.0
        counters[CLOCK] += eta * unit
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


@jit()
def delayed_congruent_block(
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
    pairs: Array,
    vectors: Array,
    drives: Array,
    pulls: Array,
) -> int:
    """Learn the congruent M from a block of samples, reading S once per sample; return the failing row, or −1.

    The steps ã vᵀ + v ãᵀ of the block so far, rows 2r and 2r + 1 of `pairs`, are taken off the products instead.
    """
    n = power.size
    x, z, out, push = vectors[0], vectors[1], vectors[2], vectors[3]
    back, pending, h = vectors[4], vectors[5], np.empty(2 * X.shape[0] + 2 * ROWS, S.dtype)
    for t in range(X.shape[0]):
        mean_power = observe(X[t], mean, power, max(1.0 / (counters[SAMPLES] + 1.0), memory), centred, x)
        unit = fixed_unit if fixed_unit > 0 else mean_power
        eta = due(counters, schedule, unit)
        for j in range(n):
            z[j] = scale[j] * x[j]
        pending[:] = 0
        back[:] = 0
        take_off_pairs(pairs, 2 * t, z, h, pending)
        size = 0.0
        for i in range(0, S.shape[0], ROWS):
            dot_rows(S, z, z, z, out, i)
            for r in range(i, i + ROWS):
                out[r] += pending[r]
                push[r] = scale[r] * scale[r] * out[r]
                size += push[r] * out[r]
            push_rows(S, push, back, i)
        take_off_pairs(pairs, 2 * t, push, h, back)
        eta = limited(counters, eta, size, limit) if size < HUGE else math.nan
        if not possible(CONGRUENT, eta, size, power, gain_mode):
            return t
        pair_congruent(eta, size, out, push, back, pairs[2 * t], pairs[2 * t + 1])
        if t < drives.shape[0]:
            drive_congruent(eta, size, scale, x, push, drives[t], pulls[t])
        rescale(scale, gain, power, mean_power, eta, gain_mode, CONGRUENT)
        counters[SAMPLES] += 1.0
        counters[CLOCK] += eta * unit
    return -1


@jit()
def take_off_pairs(pairs: Array, count: int, z: Array, h: Array, out: Array) -> None:
    """out ← out − Σ (ã vᵀ + v ãᵀ) z over the first `count` rows ã, v, ã, v …"""
    for r in range(0, count, ROWS):
        dot_rows(pairs, z, z, z, h, r)
    for r in range(0, count, 2):
        h[r], h[r + 1] = -h[r + 1], -h[r]
    h[count : count + ROWS] = 0
    for r in range(0, count, ROWS):
        push_rows(pairs, h, out, r)
