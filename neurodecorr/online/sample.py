"""Settle and learn sample by sample: for small circuits, whose matrices stay in the cache, in one compiled loop.

Weights and gains are kept apart as in `block`, R = T diag(1/w), M = diag(w) S, but T and S are those of the very
sample: each outer product is added while the next sample passes over the matrix anyway. Both are kept transposed and
padded with zeros to whole registers, P = Tᵀ and Q = Sᵀ, so that products are sums of rows.

::

    by M:         z = S x,                                r = x − T z,    z ← z + S r if that is not enough
    integrate:    z ← z + p/w,    p ← α r + ω p,          r = x − T z,    until it is enough

Each ends with the residual of the circuit that the sample met, which is what its certificate needs. The congruent rule
puts its gains, which act on both sides, into the weights at once: w = 1, and R is its own transpose.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.norms import EPS, LEAST_SQUARE, root
from neurodecorr._numerics.simd import COLUMNS, ROWS, dot_rows, grow_columns, sum_columns
from neurodecorr._typing import Array, Floats
from neurodecorr.circuit.chebyshev_kernels import coefficients, next_step
from neurodecorr.plasticity.steps import (
    CONGRUENT,
    LIMITED,
    SAMPLES,
    TRACE,
    Averages,
    StepParameters,
    centre,
    feedforward_sym,
    homeostatic,
    lengths,
    multiply_transposed,
    recurrent_sym,
    rescale,
    step_size,
    tick,
    update_power,
    weight_of,
)

# Why a loop ended before its last sample: a bound to renew, no rest, an M that has drifted, a broken condition.
DONE, BOUND_EXPIRED, NOT_SETTLED, INVERSE_DRIFTED, DIVERGED = range(5)
# What underflow may take from a residual of that many units: (n + 4) √n · 5e-324, and room.
LOST = 1e-318
# Largest circuit that is stepped through: beyond, products of matrices are faster than passes over them.
LARGEST = 160
# Gains are folded into the weights this often, or once one has grown so much.
FOLD, GROWN = 128, 1e3
# Refinements by M in a row after which it counts as drifted.
REFINEMENTS = 3


class Known(NamedTuple):
    """Bounds and tolerance that the loop over samples needs.

    Parameters
    ----------
    low : float
        Proven lower bound of σ_min(R).
    stale : float
        Bound below which to stop.
    share : float
        Largest bound of ‖x̄ − x̄*‖ that is proven, relative to ‖x̄‖.
    rounding : float
        Bound on the rounding of a product, relative to ‖T‖ ‖z‖.
    most : int
        Steps after which a circuit counts as not settled.
    """

    low: float
    stale: float
    share: float
    rounding: float
    most: int


def suited(R: Floats) -> bool:
    """Tell whether a circuit is small, and so precise that its own residual certifies it."""
    return R.dtype == np.float64 and len(R) <= LARGEST


def pad_to_registers(array: Floats) -> Floats:
    """Return a copy with every axis filled up with zeros to whole registers."""
    whole = np.zeros([-(-size // COLUMNS) * COLUMNS for size in array.shape])
    whole[tuple(slice(size) for size in array.shape)] = array
    return whole


@jit()
def small_norm(scale: Array, z: Array) -> float:
    """Return ‖diag(w) z‖ where squares of it underflow.

    ::

        ‖diag(w) z‖ = √(∑ (w_j z_j)²)
    """
    largest, total = 0.0, 0.0
    for j in range(z.size):
        largest = max(largest, abs(scale[j] * z[j]))
    if largest == 0.0:
        return 0.0
    for j in range(z.size):
        total += (scale[j] * z[j] / largest) ** 2
    return float(largest * math.sqrt(total))


@jit()
def residual_sizes(x: Array, out: Array, z: Array, scale: Array, r: Array) -> tuple[float, float, float]:
    """Write r = x − T z, T z given; return ‖r‖, ‖x̄‖ and ‖z‖."""
    gap, a, size = 0.0, 0.0, 0.0
    for j in range(x.size):
        r[j] = x[j] - out[j]
        xbar = scale[j] * z[j]
        gap += r[j] * r[j]
        a += xbar * xbar
        size += z[j] * z[j]
    return root(gap, r), math.sqrt(a) if a >= LEAST_SQUARE else small_norm(scale, z), root(size, z)


@jit()
def whole_gap(gap: float, x: float, z: float, size: float, rounding: float) -> float:
    """Return a bound of ‖x − T z‖ from its computed value: γ(‖x‖ + ‖T‖ ‖z‖) is what rounding may hide."""
    return (gap + rounding * (x + size * z)) * (1.0 + rounding) + LOST * (z > 0)


@jit()
def enough(known: Known, low: float, size: float, gap: float, x: float, z: float, a: float) -> bool:
    """Tell whether the certificate holds, or rounding hides what is left."""
    whole = whole_gap(gap, x, z, size, known.rounding)
    if low > 0 and (whole / low + EPS * a) * (1.0 + known.rounding) <= known.share * a * (1.0 - known.rounding):
        return True
    return gap <= known.rounding * (x + size * z)


@jit()
def multiply_padded(S: Array, z: Array, out: Array) -> None:
    """Write out ← Sᵀ z."""
    for c in range(0, z.size, COLUMNS):
        sum_columns(S, z, z, z, out, c)


@jit()
def add_outer_product(S: Array, left: Array, right: Array, z: Array, out: Array) -> None:
    """S ← S + left rightᵀ, and `out` ← Sᵀ z."""
    for c in range(0, z.size, COLUMNS):
        grow_columns(S, left, right, z, out, c)


@jit()
def settle_by_steps(
    known: Known, schedule: Array, P: Array, frame: Array, low: float, size: float, x: float
) -> tuple[int, float, float, float]:
    """Settle by Chebyshev-scheduled Euler steps; return the products (0: not settled), ‖r‖, ‖x̄‖ and ‖z‖."""
    drive, z, out, r, p, scale, inverse = frame[0], frame[1], frame[2], frame[3], frame[4], frame[5], frame[6]
    for j in range(z.size):
        p[j] = schedule[0, 0] * drive[j]
        z[j] = inverse[j] * p[j]
    add_outer_product(P, frame[7], frame[8], z, out)
    for k in range(1, known.most):
        gap, a, length = residual_sizes(drive, out, z, scale, r)
        if not (gap < math.inf and a < math.inf):
            return 0, gap, a, length
        if enough(known, low, size, gap, x, length, a):
            return k, gap, a, length
        alpha, omega = coefficients(schedule, k)
        for j in range(z.size):
            p[j] = next_step(alpha, r[j], omega, p[j])
            z[j] += inverse[j] * p[j]
        multiply_padded(P, z, out)
    return 0, math.inf, 0.0, 0.0


@jit()
def settle_by_kept_inverse(
    known: Known, P: Array, Q: Array, frame: Array, low: float, size: float, x: float
) -> tuple[int, float, float, float]:
    """Settle by z = S x, refined while that is needed; return the products with S (0: drifted), ‖r‖, ‖x̄‖ and ‖z‖."""
    drive, z, out, r, p, scale = frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]
    add_outer_product(Q, frame[9], frame[10], drive, z)
    add_outer_product(P, frame[7], frame[8], z, out)
    for k in range(1, REFINEMENTS + 2):
        gap, a, length = residual_sizes(drive, out, z, scale, r)
        if not gap < math.inf or enough(known, low, size, gap, x, length, a):
            return k, gap, a, length
        multiply_padded(Q, r, p)
        for j in range(z.size):
            z[j] += p[j]
        multiply_padded(P, z, out)
    return 0, math.inf, 0.0, 0.0


@jit()
def fold(P: Array, Q: Array, scale: Array, inverse: Array) -> float:
    """Take the gains into the weights: R = T diag(1/w), M = diag(w) S; return ‖R‖ (Frobenius).

    ::

        T ← T diag(1/w),    S ← diag(w) S,    w ← 1
    """
    squares = 0.0
    for i in range(P.shape[0]):
        for j in range(P.shape[0]):
            P[i, j] /= scale[i]
            squares += P[i, j] * P[i, j]
    for i in range(Q.shape[0]):
        for j in range(Q.shape[0]):
            Q[i, j] *= scale[j]
    scale[:] = 1.0
    inverse[:] = 1.0
    return math.sqrt(squares)


@jit()
def add_pending(P: Array, Q: Array, frame: Array) -> None:
    """Add the outer products that no sample came to add.

    ::

        T ← T + c x vᵀ,    S ← S − c' z (Sᵀv)ᵀ
    """
    add_outer_product(P, frame[7], frame[8], frame[1], frame[2])
    if Q.shape[0] > 0:
        add_outer_product(Q, frame[9], frame[10], frame[1], frame[2])
    frame[7:] = 0.0


@jit()
def length_of(x: Array) -> float:
    """Return ‖x‖, where squares underflow, too.

    ::

        ‖x‖ = √(∑ x_j²)
    """
    square = 0.0
    for j in range(x.size):
        square += x[j] * x[j]
    return root(square, x)


@jit()
def pending(Q: Array, frame: Array, c: float, shrink: float) -> float:
    """Note the outer products T ← T + c x vᵀ and S ← S − c' z (Sᵀv)ᵀ for the next pass; return ‖v‖."""
    x, z, out, scale, square = frame[0], frame[1], frame[2], frame[5], 0.0
    v, pull = frame[7], frame[8]
    for j in range(z.size):
        v[j] = scale[j] * (scale[j] * z[j])
        pull[j] = c * x[j]
        square += v[j] * v[j]
    if Q.shape[0] > 0:
        for i in range(0, z.size, ROWS):
            dot_rows(Q, v, v, v, out, i)
        for j in range(z.size):
            frame[9, j], frame[10, j] = -shrink * out[j], z[j]
    return math.sqrt(square)


@jit()
def step_congruently(
    parameters: StepParameters,
    averages: Averages,
    R: Array,
    M: Array,
    x: Array,
    xbar: Array,
    eta: float,
    mean_power: float,
) -> float:
    """Take one step of the congruent rule; return the largest gain g.

    ::

        R ← D (A R A) D,    M ← D⁻¹ (A⁻¹ M A⁻¹) D⁻¹,    A = I + β x̄x̄ᵀ,    D = diag(g^-½)

    M of size 0 is left alone. Vectors and matrices may be padded with zeros.
    """
    gain, square = averages.gain, 0.0
    homeostatic(gain, averages.power, mean_power, eta, parameters.gain, False)
    for j in range(xbar.size):
        square += np.float64(xbar[j]) * xbar[j]
    beta = eta / (1.0 + math.sqrt(1.0 + eta * square))
    recurrent_sym(R, x, xbar, beta, np.sum(xbar * x), gain)
    if M.shape[0] > 0:
        back = np.empty_like(xbar)
        multiply_transposed(M, xbar, back)  # M is its own transpose
        feedforward_sym(M, back, xbar, beta / (1.0 + beta * square), np.sum(xbar * back), gain)
    return float(gain.max())


@jit()
def learn_congruently(
    parameters: StepParameters, averages: Averages, R: Array, M: Array, x: Array, xbar: Array
) -> tuple[float, float]:
    """Learn from one settled sample by the congruent rule; return η and the largest gain, 0 if no step exists.

    Parameters
    ----------
    parameters : StepParameters
        Rate, limit, gain.
    averages : Averages
        As in a state; the mean has moved already.
    R, M : (n, n) arrays
        Symmetric; M may be empty.
    x, xbar : (n,) arrays
        Drive and settled activity.
    """
    power, counters, square = averages.power, averages.counters, 0.0
    for j in range(xbar.size):
        square += np.float64(xbar[j]) * xbar[j]
    mean_power = update_power(weight_of(parameters, counters[SAMPLES]), x, power, x.size)
    eta, unit, exists = step_size(parameters, counters, power, square, mean_power)
    if not exists:
        return 0.0, 0.0
    growth = step_congruently(parameters, averages, R, M, x, xbar, eta, mean_power)
    tick(counters, eta, unit)
    return eta, growth


class Certified(NamedTuple):
    """Settled activity (k, n), and residual, bound and verdict (k,) of each sample."""

    xbar: Array
    residual: Array
    bound: Array
    proven: Array


@jit()
def learn_step_by_step(
    parameters: StepParameters,
    known: Known,
    schedule: Array,
    X: Array,
    P: Array,
    Q: Array,
    averages: Averages,
    found: Certified,
) -> tuple[int, int, int, float, float]:
    """Settle, certify and learn the rows of X one by one, in place.

    Parameters
    ----------
    parameters : StepParameters
        Rule, rate, gains.
    known : Known
        Bounds, tolerance.
    schedule : (steps, 2) array
        Coefficients of the Chebyshev recurrence.
    X : (k, n) array
        Samples.
    P, Q : (N, N) arrays
        Rᵀ and Mᵀ, padded; Q of size 0 to integrate.
    averages : Averages
        Running mean (n,), powers and gains (N,), padded; counters.
    found : Certified
        Receives the settled activity, and what is certified of it.

    Returns
    -------
    tuple
        Samples done, why it ended, products, bound of σ_min, largest bound over ‖x̄‖.
    """
    k, n = X.shape
    mean, power, gain, counters = averages
    frame = np.zeros((12, P.shape[0]))
    z, scale, inverse, low, products, worst = frame[1], frame[5], frame[6], known.low, 0, 0.0
    size = fold(P, Q[:0], np.ones_like(scale), inverse) * (1.0 + known.rounding)
    weights, grown, since, done, code = size, 1.0, 0, k, DONE
    scale[:] = 1.0
    inverse[:] = 1.0
    for t in range(k):
        share = weight_of(parameters, counters[SAMPLES])
        frame[11, :n] = mean
        centre(parameters, share, X[t], mean, frame[0])
        x = length_of(frame[0])
        if Q.shape[0] > 0:
            count, gap, a, length = settle_by_kept_inverse(known, P, Q, frame, low, size, x)
        else:
            count, gap, a, length = settle_by_steps(known, schedule, P, frame, low, size, x)
        frame[7:11] = 0.0
        if count == 0:
            mean[:] = frame[11, :n]
            done, code = t, INVERSE_DRIFTED if Q.shape[0] > 0 else NOT_SETTLED
            break
        before, trace, shortened, square = frame[3], counters[TRACE], counters[LIMITED], a * a
        before[:] = power
        mean_power = update_power(share, frame[0], power, n)
        eta, unit, exists = step_size(parameters, counters, power, square, mean_power)
        if not exists:
            mean[:] = frame[11, :n]
            power[:] = before
            counters[TRACE], counters[LIMITED] = trace, shortened
            done, code = t, DIVERGED
            break
        c, shrink = lengths(parameters.rule, eta, square)
        for j in range(n):
            found.xbar[t, j] = scale[j] * z[j]
        whole = whole_gap(gap, x, length, size, known.rounding)
        bound = (whole / low + EPS * a) * (1.0 + known.rounding) if low > 0 else math.inf
        found.residual[t], found.bound[t] = gap, bound
        found.proven[t] = bound <= known.share * a * (1.0 - known.rounding)
        worst = max(worst, bound / a if a > 0 else bound)
        if parameters.rule == CONGRUENT:
            # Every weight is summed of four numbers, multiplied and divided; 8ε of the norm covers that.
            v, noise = a, 8.0 * EPS
            growth = step_congruently(parameters, averages, P, Q, frame[0], z, eta, mean_power) * (1.0 + EPS)
        else:
            # The outer product is rounded into T, and both into the next; 2ε of the norm covers that.
            v, noise = pending(Q, frame, c, shrink), 2.0 * EPS
            # The growth of w is that of its rounded product, up to an ε.
            growth = rescale(parameters, gain, power, scale, eta, mean_power) * (1.0 + EPS)
            for j in range(scale.size):
                inverse[j] = 1.0 / scale[j]
        size += c * x * v * (1.0 + known.rounding)
        weights += c * x * a * (1.0 + known.rounding)
        lost = c * (1.0 + known.rounding) * (whole + 3.0 * EPS * weights * a) * a + noise * weights
        low = (low - lost) / growth * (1.0 - 8.0 * EPS)
        tick(counters, eta, unit)
        products += count
        grown, since = grown * growth, since + 1
        if since == FOLD or grown > GROWN:
            add_pending(P, Q, frame)
            size = fold(P, Q, scale, inverse) * (1.0 + known.rounding)
            low -= 2.0 * EPS * size
            weights, grown, since = size, 1.0, 0
        if low < known.stale:
            done, code = t + 1, BOUND_EXPIRED
            break
    add_pending(P, Q, frame)
    low -= 2.0 * EPS * fold(P, Q, scale, inverse) * (1.0 + known.rounding)
    return done, code, products, low, worst
