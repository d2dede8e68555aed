"""Settle a block of samples under one R, by integrating the circuit or by M, and carry each to the R that it meets."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import add_product, blas, rows_product
from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.norms import EPS, root
from neurodecorr._typing import Array, Floats
from neurodecorr.circuit import Circuit, settle
from neurodecorr.circuit.chebyshev_kernels import coefficients, next_step
from neurodecorr.online.bounds import Bounds
from neurodecorr.plasticity.steps import (
    SAMPLES,
    Averages,
    StepParameters,
    lengths,
    rescale,
    step_size,
    tick,
    update_power,
    weight_of,
)

# Rows of R that are turned into double precision at a time, so that they stay in the cache.
PANEL = 256
# Rows of a block that move each other one by one; those after them are moved by products.
FEW = 32


class Block(NamedTuple):
    """Activity and steps of a block of k samples: z, x̄ and v, (k, n) each; per sample c, c' and the largest growth."""

    Z: Array
    xbar: Array
    V: Array
    steps: Array


@jit()
def step_rows_by_schedule(X: Array, P: Array, step: Array, Z: Array, schedule: Array, k: int, squares: Array) -> float:
    """Take one Chebyshev-scheduled Euler step per row, P = Z Rᵀ given; return the largest ‖x − R z‖/‖z‖ before it.

    The root of a row's entry in `squares` takes the place of ‖z‖ where it is larger.
    """
    alpha, omega = coefficients(schedule, k)
    a, o = X.dtype.type(alpha), X.dtype.type(omega)
    worst = 0.0
    for t in range(X.shape[0]):
        gap, size = X[t, 0] * 0, X[t, 0] * 0
        for j in range(X.shape[1]):
            r, z = X[t, j] - P[t, j], Z[t, j]
            gap += r * r
            size += z * z
            p = next_step(a, r, o, step[t, j])
            step[t, j] = p
            Z[t, j] = z + p
        if not gap < math.inf:
            return math.inf
        if gap > 0.0:
            base = max(np.float64(size), squares[t])
            worst = max(worst, math.sqrt(gap / base)) if base > 0.0 else math.inf
    return worst


@jit()
def settle_and_learn_rows(
    parameters: StepParameters, averages: Averages, scale: Array, X: Array, changes: Array, block: Block
) -> int:
    """Settle and learn a few rows of a block one after the other; return the row that broke the rule, or −1.

    ::

        z = y + d,    x̄ = w∘z,    v = w∘x̄,    d_i ← d_i − c' z (vᵀ z_i) for the rows i to come,    w ← g∘w

    The changes d are kept apart from y and added once: else every step of a block would round z anew.

    Parameters
    ----------
    parameters : StepParameters
        Rule, rate, gains.
    averages : Averages
        As in a state; the mean has moved already.
    scale : (n,) array
        Gains w.
    X : (k, n) array
        Drives x.
    changes : (k, n) array
        What the rows before these did to them; then, what these did to each other.
    block : Block
        Z in: y = R₀⁻¹x. Out: z, x̄, v, and in `steps` c, c' and the largest growth of a gain.
    """
    k, n = X.shape
    Z, xbar, V = block.Z, block.xbar, block.V
    _, power, gain, counters = averages
    for t in range(k):
        mean_power = update_power(weight_of(parameters, counters[SAMPLES]), X[t], power, n)
        size = 0.0
        for j in range(n):
            Z[t, j] += changes[t, j]
            xbar[t, j] = scale[j] * Z[t, j]
            V[t, j] = scale[j] * xbar[t, j]
            size += np.float64(xbar[t, j]) * xbar[t, j]
        eta, unit, exists = step_size(parameters, counters, power, size, mean_power)
        if not exists:
            return t
        grow, shrink = lengths(parameters.rule, eta, size)
        move_rest(Z, changes, V[t], t, X.dtype.type(shrink))
        # The growth of w is that of its rounded product, up to an ε.
        growth = rescale(parameters, gain, power, scale, eta, mean_power) * (1.0 + EPS)
        block.steps[t, 0], block.steps[t, 1], block.steps[t, 2] = grow, shrink, growth
        tick(counters, eta, unit)
    return -1


def learn_block(parameters: StepParameters, averages: Averages, scale: Floats, X: Floats, block: Block) -> int:
    """Settle and learn a whole block: a few rows one by one, and those after them by products.

    ::

        D ← D − H Z_b,    (I + C' tril(V_b Z_bᵀ, −1)) Hᵀ = C' V_b (Y + D)ᵀ

    Reference: Schreiber & Van Loan (1989), SIAM Journal on Scientific and Statistical Computing 10, 53–57 (compact WY).
    """
    Z, xbar, V, steps = block
    changes = np.zeros_like(Z)
    for begin in range(0, len(Z), FEW):
        few, rest = slice(begin, begin + FEW), slice(begin + FEW, len(Z))
        part = Block(Z[few], xbar[few], V[few], steps[few])
        broke = settle_and_learn_rows(parameters, averages, scale, X[few], changes[few], part)
        if broke >= 0:
            return begin + broke
        if rest.start < rest.stop:
            move_rows(Z[rest], changes[rest], Z[few], V[few], steps[few, 1].astype(Z.dtype))
    return -1


def move_rows(Y: Floats, changes: Floats, Z: Floats, V: Floats, shrink: Floats) -> None:
    """Move rows that are still to come by the steps I − c' z vᵀ of these, in their order."""
    L = np.tril(rows_product(V, Z), -1) * shrink[:, None]
    H = rows_product(Y + changes, V) * shrink
    # Row by row, H ← H (I + L)⁻ᵀ; the solver sees the transposes.
    blas(Z.dtype).trsm(1.0, L.T, H.T, side=0, lower=0, trans_a=1, diag=1, overwrite_b=1)
    add_product(changes, np.ascontiguousarray(H.T), Z, -1.0)


@jit()
def move_rest(Z: Array, changes: Array, v: Array, t: int, shrink: float) -> None:
    """d_i ← d_i − c' z_t (vᵀ(y_i + d_i)) for all rows i > t."""
    for i in range(t + 1, Z.shape[0]):
        dot = v[0] * 0
        for j in range(v.size):
            dot += v[j] * (Z[i, j] + changes[i, j])
        dot *= shrink
        for j in range(v.size):
            changes[i, j] -= dot * Z[t, j]


class Limits(NamedTuple):
    """Numbers of a certificate: ‖R‖ (Frobenius), a bound of σ_min(R), rounding of a product, the share asked."""

    frobenius: float
    low: float
    unit: float
    share: float


@jit()
def certify_rows(
    gaps: Array, X: Array, block: Block, limits: Limits, residual: Array, bound: Array, proven: Array
) -> tuple[float, float, float]:
    """Turn residuals into certified bounds of ‖x̄ − x̄*‖, proven if they are at most `share` ‖x̄‖.

    Returns the bound of σ_min that the block leaves, a bound of ‖T‖ (Frobenius), and the largest bound over ‖x̄‖.

    ::

        ‖x̄ − x̄*‖ ≤ (‖x − T z‖ + γ (‖x‖ + ‖T‖ ‖z‖))/σ + u ‖x̄‖,    σ ← (σ − c (‖r‖ + 3u ‖T‖ ‖x̄‖) ‖x̄‖)/max g

    γ bounds the rounding of sums of n + k terms in double precision, u that of one product in the type of the run.
    """
    k, n = X.shape
    Z, xbar, V, steps = block.Z, block.xbar, block.V, block.steps
    low, unit, share = limits.low, limits.unit, limits.share
    rounding = (n + k + 12) * EPS
    size, worst = limits.frobenius * (1.0 + rounding), 0.0
    # What underflow takes from n products in double precision, and from n entries in the type of the run.
    lost, least = 2.0 * (n + k + 4) * math.sqrt(n) * 5e-324, math.sqrt(n) * (5e-324 if unit < 1e-10 else 1.5e-45)
    for t in range(k):
        r, x, z, v, a = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(n):
            r += gaps[t, j] * gaps[t, j]
            x += np.float64(X[t, j]) * X[t, j]
            z += np.float64(Z[t, j]) * Z[t, j]
            v += np.float64(V[t, j]) * V[t, j]
            a += np.float64(xbar[t, j]) * xbar[t, j]
        r, x, z, v, a = root(r, gaps[t]), root(x, X[t]), root(z, Z[t]), root(v, V[t]), root(a, xbar[t])
        residual[t] = r
        gap = (r + rounding * (x + size * z)) * (1.0 + rounding) + lost * (z > 0)
        bound[t] = (gap / low + unit * a + least * (a > 0)) * (1.0 + rounding) if low > 0 else math.inf
        proven[t] = bound[t] <= share * a * (1.0 - rounding)
        worst = max(worst, bound[t] / a if a > 0 else bound[t])
        c = steps[t, 0] * (1.0 + rounding)
        low = (low - c * (gap + 3.0 * unit * size * a) * a * (1.0 + 3.0 * unit)) / steps[t, 2] * (1.0 - 8.0 * EPS)
        size += c * x * v * (1.0 + rounding)
    return low, size, worst


@jit()
def lower_part(W: Array, weights: Array) -> None:
    """W_ts ← W_ts c_s below the diagonal, 0 elsewhere."""
    for t in range(W.shape[0]):
        for s in range(W.shape[1]):
            W[t, s] = W[t, s] * weights[s] if s < t else W[t, s] * 0


def block_residuals(R: Floats, X: Floats, Z: Floats, V: Floats, steps: Floats) -> tuple[Floats, float]:
    """Return x − T_t z per row in double precision, and ‖R‖ (Frobenius).

    ::

        x_t − R z_t − ∑_{s<t} c_s (v_sᵀ z_t) x_s
    """
    X, Z, V = X.astype(np.float64), Z.astype(np.float64, copy=False), V.astype(np.float64, copy=False)
    gaps, squares = X.copy(), 0.0
    rows = len(R) if R.dtype == np.float64 else PANEL
    for begin in range(0, len(R), rows):
        panel = R[begin : begin + rows].astype(np.float64, copy=False)
        squares += float(np.vdot(panel, panel))
        gaps[:, begin : begin + rows] -= rows_product(Z, panel)
    if steps.size:
        weights = rows_product(Z, V)
        lower_part(weights, steps[:, 0])
        add_product(gaps, np.ascontiguousarray(weights.T), X, -1.0)
    return gaps, math.sqrt(squares)


# Products beyond those that the ellipse predicts: some, as non-normal circuits begin slowly, and then many times more.
FREE, PATIENCE = 20, 3
# In a goal below so many roundings of R z the plain residual does not see what it lacks: a double one must step in, at
# a gap of so many roundings.
BLIND, HANDOVER = 6.0, 30.0


def integrated(R: Floats, X: Floats, bounds: Bounds, share: float) -> tuple[Floats, int]:
    """Settle all rows together by Chebyshev-scheduled Euler steps; return R⁻¹X and the products that took.

    ::

        z ← z + p,    p ← α_k (x − R z) + ω_k p,    until ‖x − R z‖ ≤ share · σ_min ‖z‖ for each row

    Where single precision cannot see that far, it settles on the way, and then once more on what double precision finds
    is left. A block that does not come to rest in time, the spectrum having left the ellipse, settles with care.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights.
    X : (k, n) array
        Inputs.
    bounds : Bounds
        Schedule and bounds.
    share : float
        Largest certified distance to rest, relative to ‖z‖.
    """
    rounding = float(np.finfo(R.dtype).eps) * bounds.size
    goal, nothing = share * bounds.low, np.zeros(len(X))
    if goal > BLIND * rounding or R.dtype == np.float64:
        return _marched(R, X, bounds, max(goal, rounding), nothing)
    Z, products = _marched(R, X, bounds, HANDOVER * rounding, nothing)
    gaps, _ = block_residuals(R, X, Z, Z[:0], np.empty((0, 3)))
    squares = np.einsum("ij,ij->i", Z, Z, dtype=np.float64)  # float32 squares do not underflow in float64
    change, more = _marched(R, gaps.astype(R.dtype), bounds, goal, squares)
    return Z + change, products + more + 1


def most_products(bounds: Bounds, goal: float, dtype: npt.DTypeLike) -> int:
    """Return the products after which a circuit that should come to rest at `goal` counts as not settled."""
    goal = max(goal, float(np.finfo(dtype).eps) * bounds.size)
    return FREE + PATIENCE * bounds.ellipse.steps(bounds.size / goal)


def _marched(R: Floats, X: Floats, bounds: Bounds, goal: float, squares: Floats) -> tuple[Floats, int]:
    """March until ‖x − R z‖ ≤ goal ‖z‖ for each row, or goal times the root of `squares` if that is larger."""
    schedule, last = bounds.schedule, 0.0
    most = most_products(bounds, goal, R.dtype)
    Z = X * R.dtype.type(schedule[0, 0])
    step, P = Z.copy(), np.empty_like(Z)
    for k in range(1, most):
        gap = step_rows_by_schedule(X, rows_product(Z, R, P), step, Z, schedule, k, squares)
        # The step just taken is not in the gap yet; it will do what the one before did.
        if gap <= goal or (last > 0 and gap * (gap / last) <= goal):
            return Z, k
        if not gap < math.inf:
            break
        last = gap
    tol = max(goal / bounds.low, 10 * float(np.finfo(R.dtype).eps))
    return np.asarray(settle(Circuit(R), X, tol, relative=True).xbar, R.dtype), most


def recalled(R: Floats, M: Floats, X: Floats, bounds: Bounds, share: float) -> tuple[Floats, int]:
    """Return X Mᵀ; refined once where its own rounding, in single precision, exceeds the tolerance."""
    Y = rows_product(X, M)
    if share * bounds.low > BLIND * float(np.finfo(R.dtype).eps) * bounds.size or R.dtype == np.float64:
        return Y, 1
    gaps, _ = block_residuals(R, X, Y, Y[:0], np.empty((0, 3)))
    return Y + rows_product(gaps.astype(R.dtype), M), 3


def refined(R: Floats, M: Floats, gaps: Floats, Y: Floats, bounds: Bounds, share: float) -> tuple[Floats, int]:
    """Return Y + R⁻¹ gaps, the gaps being X − Y Rᵀ in double precision: one step of iterative refinement.

    Reference: Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd edition, §12.
    """
    rows = gaps.astype(R.dtype)
    if M.size:
        return Y + rows_product(rows, M), 1
    change, products = integrated(R, rows, bounds, share)
    return Y + change, products
