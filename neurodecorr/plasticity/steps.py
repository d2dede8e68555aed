"""One sample's step: what every loop does before and after it changes the weights, and the changes themselves.

::

    observe      μ ← μ + s (x − μ),   x ← x − μ,   p ← p + s (x² − p),      s = max(1/(t + 1), memory)
    step_size    η = η₀ exp(−max(0, clock − hold)/half)/unit,   at most limit/tr⟨x̄x̄ᵀ⟩
    rescale      w ← g∘w,   g = 1 + η p   or   1/(1 − η p) (explicit)
    tick         t ← t + 1,   clock ← clock + η · unit

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
from typing import NamedTuple

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


class StepParameters(NamedTuple):
    """Numbers of a learning rule that each step needs, in the units of a state.

    Parameters
    ----------
    rule : int
        `EXPLICIT`, `LOCAL` (= implicit for M) or `CONGRUENT`.
    gain : int
        `NO_GAIN`, `NODE_GAIN` or `LAYER_GAIN`.
    memory : float
        Least weight of a sample in the running averages.
    rate, hold, half : float
        η₀, and the clock from which on it falls: η = η₀ exp(−max(0, clock − hold)/half).
    limit : float
        Upper bound of η·tr⟨x̄x̄ᵀ⟩; infinity for none.
    centred : bool
        Subtract the running mean.
    fixed_unit : float
        Power in whose inverse the rate is measured; 0 for the running mean power of the inputs.
    """

    rule: int
    gain: int
    memory: float
    rate: float
    hold: float
    half: float
    limit: float
    centred: bool
    fixed_unit: float


class Averages(NamedTuple):
    """Running averages and counters that are learnt beside the weights, changed in place.

    Parameters
    ----------
    mean, power : (n,) arrays
        Running mean and power of each unit's own input.
    gain : (n,) array
        Gain of the last step.
    counters : (5,) array
        Samples seen, sum of the rates used, running x̄ᵀx̄, steps limited, worst relative settling error.
    """

    mean: Array
    power: Array
    gain: Array
    counters: Array


@jit(inline=True)
def weight_of(parameters: StepParameters, seen: float) -> float:
    """Return the weight s = max(1/(t + 1), memory) of a sample in the running averages."""
    return max(1.0 / (seen + 1.0), parameters.memory)


@jit(inline=True)
def centre(parameters: StepParameters, share: float, sample: Array, mean: Array, x: Array) -> None:
    """Write x = sample − μ, after the running mean μ has moved.

    ::

        μ ← μ + s (x − μ),    x ← x − μ
    """
    for j in range(sample.size):
        if parameters.centred:
            mean[j] += share * (sample[j] - mean[j])
        x[j] = sample[j] - mean[j]


@jit()
def centre_rows(parameters: StepParameters, X: Array, mean: Array, seen: float, drives: Array) -> None:
    """Write x − μ for each row, after the running mean has moved; `seen` samples came before.

    ::

        μ ← μ + s (x − μ),    x ← x − μ
    """
    for t in range(X.shape[0]):
        centre(parameters, weight_of(parameters, seen + t), X[t], mean, drives[t])


@jit(inline=True)
def update_power(share: float, x: Array, power: Array, n: int) -> float:
    """p ← p + s (x² − p) for the first n units; return the mean of p."""
    total = power[0] * 0
    for j in range(n):
        power[j] += share * (x[j] * x[j] - power[j])
        total += power[j]
    return float(total / n)


@jit(inline=True)
def observe(parameters: StepParameters, mean: Array, power: Array, counters: Array, sample: Array, x: Array) -> float:
    """Write x = sample − μ, after mean and power of each unit's input have moved; return the mean power.

    ::

        μ ← μ + s (x − μ),    x ← x − μ,    p ← p + s (x² − p)
    """
    share = weight_of(parameters, counters[SAMPLES])
    centre(parameters, share, sample, mean, x)
    return update_power(share, x, power, sample.size)


@jit(inline=True)
def scheduled(parameters: StepParameters, clock: float) -> float:
    """η = η₀ exp(−max(0, clock − hold)/half), the clock being the sum of the rates used so far (`spec.Decay`)."""
    late = clock - parameters.hold
    return parameters.rate * math.exp(-late / parameters.half) if late > 0 else parameters.rate


@jit(inline=True)
def limited(counters: Array, eta: float, size: float, limit: float) -> float:
    """Return η, shortened to the limit on η tr⟨x̄x̄ᵀ⟩ and counted if it was; the running trace moves on."""
    counters[TRACE] += max(1.0 / (counters[SAMPLES] + 1.0), TRACE_MEMORY) * (size - counters[TRACE])
    strongest = limit / max(counters[TRACE], size / OUTLIER) if size > 0 else math.inf
    if eta <= strongest:
        return eta
    counters[LIMITED] += 1
    return strongest


@jit(inline=True)
def step_size(
    parameters: StepParameters, counters: Array, power: Array, size: float, mean_power: float
) -> tuple[float, float, bool]:
    """Return η for an output of ‖x̄‖² = `size`, its unit, and whether the step exists.

    The rate is due by the schedule and shortened by the limit. A step exists for finite activity, and, for the explicit
    rule, if η‖x̄‖² < 1 and ηp < 1.
    """
    unit = parameters.fixed_unit if parameters.fixed_unit > 0 else mean_power
    if not size < HUGE:
        return 0.0, unit, False
    eta = scheduled(parameters, counters[CLOCK]) / unit if unit > 0 else 0.0
    eta = limited(counters, eta, size, parameters.limit)
    if parameters.rule != EXPLICIT:
        return eta, unit, True
    pull = size if parameters.gain == NO_GAIN else max(size, power.max())
    return eta, unit, eta * pull < 1.0


@jit(inline=True)
def lengths(rule: int, eta: float, size: float) -> tuple[float, float]:
    """Return how far R and M step: η and η/(1 + η‖x̄‖²), or η/(1 − η‖x̄‖²) and η (explicit)."""
    return (eta / (1.0 - eta * size), eta) if rule == EXPLICIT else (eta, eta / (1.0 + eta * size))


@jit(inline=True)
def homeostatic(gain: Array, power: Array, mean_power: float, eta: float, mode: int, explicit: bool) -> None:
    """Write g = 1 + η p (implicit, local, congruent) or 1/(1 − η p) (explicit); p per node or its layer mean."""
    for j in range(power.size):
        p = power[j] if mode == NODE_GAIN else mean_power
        growth = 0.0 if mode == NO_GAIN else eta * p
        gain[j] = 1.0 / (1.0 - growth) if explicit else 1.0 + growth


@jit(inline=True)
def rescale(
    parameters: StepParameters, gain: Array, power: Array, scale: Array, eta: float, mean_power: float
) -> float:
    """w ← g∘w, or √g∘w where the gain acts on both sides (congruent); return the largest growth of a w."""
    most = 1.0
    if parameters.gain == NO_GAIN:
        return most
    explicit = parameters.rule == EXPLICIT
    homeostatic(gain, power, mean_power, eta, parameters.gain, explicit)
    for j in range(gain.size):
        growth = math.sqrt(gain[j]) if parameters.rule == CONGRUENT else gain[j]
        scale[j] *= growth
        most = max(most, growth)
    return most


@jit(inline=True)
def tick(counters: Array, eta: float, unit: float) -> None:
    """Count a sample, and its rate: t ← t + 1, clock ← clock + η · unit."""
    counters[SAMPLES] += 1.0
    counters[CLOCK] += eta * unit


@jit()
def multiply(A: Array, v: Array, out: Array) -> None:
    """Write out ← A v."""
    for i in range(A.shape[0]):
        total = A[i, 0] * v[0]
        for j in range(1, A.shape[1]):
            total += A[i, j] * v[j]
        out[i] = total


@jit()
def multiply_transposed(A: Array, v: Array, out: Array) -> None:
    """Write out ← Aᵀ v, in the order in which A lies in memory."""
    out[:] = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            out[j] += v[i] * A[i, j]


@jit()
def recurrent_step(R: Array, drive: Array, xbar: Array, step: float, gain: Array) -> None:
    """R_ij ← (R_ij + c drive_i x̄_j) / g_j, with c = η (local) or η/(1 − η x̄ᵀx̄) (explicit).

    Reference: Sherman & Morrison (1950), Annals of Mathematical Statistics 21, 124–127.
    """
    for i in range(R.shape[0]):
        pull = step * drive[i]
        for j in range(R.shape[1]):
            R[i, j] = (R[i, j] + pull * xbar[j]) / gain[j]


@jit()
def feedforward_step(M: Array, back: Array, xbar: Array, step: float, gain: Array) -> None:
    """M_ij ← g_i (M_ij − c x̄_i (x̄ᵀM)_j), with c = η/(1 + η x̄ᵀx̄) (implicit) or η (explicit).

    Reference: Sherman & Morrison (1950), Annals of Mathematical Statistics 21, 124–127.
    """
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
def settle_and_refine(R: Array, M: Array, x: Array, xbar: Array, residual: Array, error: Array) -> float:
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
def learn_stream(parameters: StepParameters, recurrent: bool, M: Array, R: Array, averages: Averages, X: Array) -> int:
    """Learn from the rows of X one by one, in place; return the row that broke the rule's condition, or −1.

    The definition of every other loop: each sample settled and refined, every weight changed by its rule.

    Parameters
    ----------
    parameters : StepParameters
        Rule, rate, limit, gain.
    recurrent : bool
        Learn R from its own settled states, M following as its twin; otherwise learn M alone (R is not touched).
    M, R : (n, n) arrays
        The two forms.
    averages : Averages
        Running mean and power, gain of the last step, counters.
    X : (samples, n) array
        The stream.
    """
    n, rule = M.shape[0], parameters.rule
    mean, power, gain, counters = averages
    x, xbar = np.empty(n, M.dtype), np.empty(n, M.dtype)
    back, residual = np.empty(n, M.dtype), np.empty(n, M.dtype)
    for k in range(X.shape[0]):
        mean_power = observe(parameters, mean, power, counters, X[k], x)
        if recurrent:
            error = settle_and_refine(R, M, x, xbar, residual, back)
            counters[WORST_ERROR] = max(counters[WORST_ERROR], error)
        else:
            multiply(M, x, xbar)
        size = 0.0
        for j in range(n):
            size += xbar[j] * xbar[j]
        eta, unit, exists = step_size(parameters, counters, power, size, mean_power)
        if not exists:
            return k
        homeostatic(gain, power, mean_power, eta, parameters.gain, rule == EXPLICIT)
        if rule == CONGRUENT:
            beta = eta / (1.0 + math.sqrt(1.0 + eta * size))
            if recurrent:
                recurrent_sym(R, x, xbar, beta, np.sum(xbar * x), gain)
            multiply(M, xbar, back)
            feedforward_sym(M, back, xbar, beta / (1.0 + beta * size), np.sum(xbar * back), gain)
        else:
            grow, shrink = lengths(rule, eta, size)
            if recurrent:
                recurrent_step(R, x, xbar, grow, gain)
            multiply_transposed(M, xbar, back)
            feedforward_step(M, back, xbar, shrink, gain)
        tick(counters, eta, unit)
    return -1
