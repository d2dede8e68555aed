"""Compiled flow of activity and weights together, by a palindromic splitting (Strang, second order).

One step h is: decay h/6, growth h/6 | activity, power and input h/2 | decay h/3, growth 2h/3, decay h/3 | activity,
power and input h/2 | growth h/6, decay h/6. So growth takes ⟨x̄x̄ᵀ⟩ of a step by Simpson's rule: from its two ends alone
it would come out too large by a share of about h/3τ_x wherever x̄ is still under way. Decay goes beside it, so that
where both balance R is at rest. Each part is solved with the others held; growth and decay exactly, so the weights are
only ever multiplied by invertible factors:

========  ==================================  ===================================================
part      local                               congruent
========  ==================================  ===================================================
growth    R ← R exp(c x̄x̄ᵀ)                    R ← A R A,  A = exp(½c x̄x̄ᵀ) = I + β x̄x̄ᵀ
decay     R ← R diag(exp(−c p))               R ← D R D,  D = diag(exp(−½c p))
========  ==================================  ===================================================

with c the part of h/τ_R. The activity moves by the classical Runge–Kutta method.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._compile import jit

__all__ = ["decay", "flow_stream", "grow", "size_bound"]

Array = npt.NDArray[Any]

# Of the time constant of the fastest part: where the classical method errs by 3e-4 of what passes in a step.
SHARE = 0.5
# Of τ_x. Where a step must be shorter still, x̄ or R is on its way to infinity in finite time.
SHORTEST = 1e-6
HUGE = 1e300


@jit()
def size_bound(R: Array) -> float:
    """Return √(‖R‖₁ ‖R‖_∞) ≥ σ_max(R)."""
    rows, columns = 0.0, np.zeros(R.shape[1])
    for i in range(R.shape[0]):
        total = 0.0
        for j in range(R.shape[1]):
            size = abs(R[i, j])
            total += size
            columns[j] += size
        rows = max(rows, total)
    return math.sqrt(rows * float(columns.max()))


@jit()
def squared(xbar: Array) -> float:
    """Return x̄ᵀx̄."""
    total = 0.0
    for j in range(xbar.size):
        total += xbar[j] * xbar[j]
    return total


@jit()
def slope(R: Array, u: Array, xbar: Array, tau: float, out: Array) -> None:
    """Write (u − R x̄)/τ into `out`."""
    for i in range(u.size):
        total = 0.0
        for j in range(u.size):
            total += R[i, j] * xbar[j]
        out[i] = (u[i] - total) / tau


@jit()
def relax(R: Array, drive: Array, xbar: Array, h: float, tau: float, work: Array) -> None:
    """Move x̄ by h along τ dx̄/dt = u − R x̄; rows of `drive` are u at the begin, middle and end of the step."""
    start, stage, total = work[0], work[1], work[2]
    start[:] = xbar
    slope(R, drive[0], xbar, tau, stage)
    total[:] = stage
    for i in range(xbar.size):
        xbar[i] = start[i] + 0.5 * h * stage[i]
    slope(R, drive[1], xbar, tau, stage)
    for i in range(xbar.size):
        total[i] += 2.0 * stage[i]
        xbar[i] = start[i] + 0.5 * h * stage[i]
    slope(R, drive[1], xbar, tau, stage)
    for i in range(xbar.size):
        total[i] += 2.0 * stage[i]
        xbar[i] = start[i] + h * stage[i]
    slope(R, drive[2], xbar, tau, stage)
    for i in range(xbar.size):
        xbar[i] = start[i] + h / 6.0 * (total[i] + stage[i])


@jit()
def grow(R: Array, xbar: Array, c: float, congruent: bool, pull: Array) -> None:
    """R ← R exp(c x̄x̄ᵀ), or exp(½c x̄x̄ᵀ) R exp(½c x̄x̄ᵀ) computed once and mirrored."""
    n, size, overlap = xbar.size, squared(xbar), 0.0
    for i in range(n):
        total = 0.0
        for j in range(n):
            total += R[i, j] * xbar[j]
        pull[i] = total
        overlap += xbar[i] * total
    if size == 0.0:
        return
    if congruent:
        beta = math.expm1(0.5 * c * size) / size
        for i in range(n):
            for j in range(i + 1):
                mixed = pull[i] * xbar[j] + xbar[i] * pull[j]
                value = R[i, j] + beta * (mixed + beta * overlap * (xbar[i] * xbar[j]))
                R[i, j] = value
                R[j, i] = value
    else:
        beta = math.expm1(c * size) / size
        for i in range(n):
            part = beta * pull[i]
            for j in range(n):
                R[i, j] += part * xbar[j]


@jit()
def decay(R: Array, power: Array, c: float, congruent: bool, keep: Array) -> None:
    """R ← R diag(exp(−c p)), or D R D with D = diag(exp(−½c p)); a product of two numbers commutes to the bit."""
    share = 0.5 * c if congruent else c
    for j in range(power.size):
        keep[j] = math.exp(-share * power[j])
    for i in range(power.size):
        left = keep[i] if congruent else 1.0
        for j in range(power.size):
            R[i, j] *= left * keep[j]


@jit()
def drift(
    R: Array, xbar: Array, power: Array, drive: Array, x: Array, h: float, times: Array, share: float, work: Array
) -> None:
    """Move activity, power and input by h, under the weights R."""
    middle, end = 1.0, 1.0
    if times[3] > 0.0:
        middle, end = -math.expm1(-0.5 * h / times[3]), -math.expm1(-h / times[3])
    for j in range(x.size):
        if times[3] == 0.0:
            drive[0, j] = x[j]
        drive[1, j] = drive[0, j] + middle * (x[j] - drive[0, j])
        drive[2, j] = drive[0, j] + end * (x[j] - drive[0, j])
        power[j] += share * (drive[1, j] * drive[1, j] - power[j])
    relax(R, drive, xbar, h, times[0], work)
    drive[0] = drive[2]


@jit()
def advance(
    R: Array, xbar: Array, power: Array, drive: Array, x: Array, h: float, times: Array, congruent: bool, work: Array
) -> float:
    """Move everything by one step h; `times` are τ_x, τ_R, τ_p (infinite: p is given), τ_u (0: no filter).

    Returns the growth that R met, h⟨x̄ᵀx̄⟩/τ_R.
    """
    c = h / times[1]
    share = -math.expm1(-0.5 * h / times[2])
    grown: float = squared(xbar)
    decay(R, power, c / 6.0, congruent, work[3])
    grow(R, xbar, c / 6.0, congruent, work[3])
    drift(R, xbar, power, drive, x, 0.5 * h, times, share, work)
    grown += 4.0 * squared(xbar)
    decay(R, power, c / 3.0, congruent, work[3])
    grow(R, xbar, 2.0 * c / 3.0, congruent, work[3])
    decay(R, power, c / 3.0, congruent, work[3])
    drift(R, xbar, power, drive, x, 0.5 * h, times, share, work)
    grown += squared(xbar)
    grow(R, xbar, c / 6.0, congruent, work[3])
    decay(R, power, c / 6.0, congruent, work[3])
    return float(c / 6.0 * grown)


@jit()
def longest_step(xbar: Array, power: Array, bound: float, times: Array) -> float:
    """Return `SHARE` of the time constant of the fastest part: τ_x/σ_max, τ_R/x̄ᵀx̄, τ_R/max p, τ_p or τ_u."""
    fastest: float = max(bound / times[0], max(squared(xbar), power.max()) / times[1], 1.0 / times[2])
    if times[3] > 0.0:
        fastest = max(fastest, 1.0 / times[3])
    return SHARE / fastest


@jit()
def flow_stream(
    R: Array,
    xbar: Array,
    power: Array,
    drive: Array,
    X: Array,
    dwell: float,
    times: Array,
    dt: float,
    congruent: bool,
    counters: Array,
) -> float:
    """Present the rows of X one by one, in place; return −1, or the time since the begin at which numbers ran away.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights.
    xbar, power : (n,) arrays
        Activity, and power of each unit's own input.
    drive : (3, n) array
        Its first row is the present input u.
    X : (samples, n) array
        Samples, each presented for `dwell`.
    dwell : float
        Time of one presentation.
    times : (4,) array
        τ_x, τ_R, τ_p, τ_u.
    dt : float
        Longest step; 0 to choose it from the fastest time constant, anew at every step.
    congruent : bool
        Which rule.
    counters : (2,) array
        Steps taken, shortest step.
    """
    work = np.empty((4, R.shape[0]))
    pieces = max(1, math.ceil(dwell / dt - 1e-9)) if dt > 0.0 else 1
    for k in range(X.shape[0]):
        elapsed, fresh, bound = 0.0, 0.0, 1.0
        while dwell - elapsed > 1e-12 * dwell:
            h = dwell / pieces
            if dt == 0.0:
                if bound > 2.0 * fresh:
                    fresh = size_bound(R)
                    bound = fresh
                longest = longest_step(xbar, power, bound, times)
                if not longest > SHORTEST * times[0]:
                    return k * dwell + elapsed
                h = (dwell - elapsed) / math.ceil((dwell - elapsed) / longest)
            grown = advance(R, xbar, power, drive, X[k], h, times, congruent, work)
            if not squared(xbar) < HUGE:
                return k * dwell + elapsed
            bound *= math.exp(grown)  # of growth by exp(c x̄x̄ᵀ)
            counters[0] += 1.0
            counters[1] = min(counters[1], h)
            elapsed += h
    return -1.0
