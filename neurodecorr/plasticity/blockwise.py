"""Compiled single-sample learning near the machine's limit: the rules of `steps`, with fewer passes over the matrix.

Two things save work, and change no number beyond rounding:

- The gain acts on whole rows or columns, so it is kept as one number w per unit beside the matrix, and folded in
  once per block: M = diag(w) S, R = T diag(1/w) (congruent: M = diag(w) S diag(w), R = T/(w wᵀ)). R T-updates are
  sums of outer products that nobody reads before the block ends: one matrix product per block.
- S is either touched once per sample (`fused_block`), or not at all before the block ends (`delayed_steps`).

Vectors over units are padded with zeros to whole registers, matrices to whole groups of `ROWS` rows besides.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.simd import ROWS, dot_rows, pull_rows, push_rows, twist_rows
from neurodecorr._typing import Array
from neurodecorr.plasticity.steps import (
    CONGRUENT,
    SAMPLES,
    Averages,
    StepParameters,
    lengths,
    observe,
    rescale,
    step_size,
    tick,
    update_power,
    weight_of,
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


Pair = tuple[Array, Array]


@jit(inline=True)
def woven_pass(
    outer: int, S: Array, pair: Pair, z: Array, weight: Array, out: Array, push: Array, back: Array
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
) -> int:
    """Learn M from a few samples without touching it: compact WY form; return the failing row, or −1.

    ::

        M_t = diag(w) (I − a_t c_tᵀ) … (I − a_1 c_1ᵀ) M₀ = diag(w) (I − Aᵀ (I + L)⁻¹ C) M₀
        a_t = κ x̄/w,    c_t = w∘x̄,    L_tr = c_tᵀ a_r for r < t,    κ = η/(1 + η x̄ᵀx̄) or η
        x̄/w = y − Aᵀ (I + L)⁻¹ C y,    y = M₀ x

    Rows of Y are M₀ x, with the steps before these taken off. Written are rows a of A and c of C, the strict
    lower triangle of L, and in `pulls`, if it has rows, what R has to learn; in `near`, a and c padded to registers.

    Reference: Schreiber & Van Loan (1989), SIAM Journal on Scientific and Statistical Computing 10, 53–57 (compact WY).
    """
    _, power, gain, counters = averages
    n, rule = power.size, parameters.rule
    Y, A, C, L = panel.Y, panel.A, panel.C, panel.L
    a, c, y, h = near[0], near[1], near[2, 0], np.empty(Y.shape[0] + 2 * ROWS, Y.dtype)
    for t in range(Y.shape[0]):
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
