"""Where a block of samples settles under one R: by integrating the circuit, or by a twin M that is kept beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._blas import rows_product
from neurodecorr.circuit import Circuit, settle
from neurodecorr.workbench.outlook import Outlook
from neurodecorr.workbench.stretch import advance, residuals

__all__ = ["integrated", "most_products", "recalled", "refined"]

Floats = npt.NDArray[np.floating[Any]]

# Products beyond those that the ellipse predicts: some, as non-normal circuits begin slowly, and then many times more.
FREE, PATIENCE = 20, 3
# In a goal below so many roundings of R z the plain residual does not see what it lacks: a double one must step in, at
# a gap of so many roundings.
BLIND, HANDOVER = 6.0, 30.0


def integrated(R: Floats, X: Floats, outlook: Outlook, share: float) -> tuple[Floats, int]:
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
    outlook : Outlook
        Schedule and bounds.
    share : float
        Largest certified distance to rest, relative to ‖z‖.
    """
    rounding = float(np.finfo(R.dtype).eps) * outlook.size
    goal, nothing = share * outlook.low, np.zeros(len(X))
    if goal > BLIND * rounding or R.dtype == np.float64:
        return _marched(R, X, outlook, max(goal, rounding), nothing)
    Z, products = _marched(R, X, outlook, HANDOVER * rounding, nothing)
    gaps, _ = residuals(R, X, Z, Z[:0], np.empty((0, 3)))
    squares = np.einsum("ij,ij->i", Z, Z, dtype=np.float64)  # float32 squares do not underflow in float64
    change, more = _marched(R, gaps.astype(R.dtype), outlook, goal, squares)
    return Z + change, products + more + 1


def most_products(outlook: Outlook, goal: float, dtype: npt.DTypeLike) -> int:
    """Return the products after which a circuit that should come to rest at `goal` counts as restless."""
    goal = max(goal, float(np.finfo(dtype).eps) * outlook.size)
    return FREE + PATIENCE * outlook.ellipse.steps(outlook.size / goal)


def _marched(R: Floats, X: Floats, outlook: Outlook, goal: float, squares: Floats) -> tuple[Floats, int]:
    """March until ‖x − R z‖ ≤ goal ‖z‖ for each row, or goal times the root of `squares` if that is larger."""
    schedule, last = outlook.schedule, 0.0
    most = most_products(outlook, goal, R.dtype)
    Z = X * R.dtype.type(schedule[0, 0])
    step, P = Z.copy(), np.empty_like(Z)
    for k in range(1, most):
        alpha, omega = schedule[min(k, len(schedule) - 1)]
        gap = advance(X, rows_product(Z, R, P), step, Z, alpha, omega, squares)
        # The step just taken is not in the gap yet; it will do what the one before did.
        if gap <= goal or (last > 0 and gap * (gap / last) <= goal):
            return Z, k
        if not gap < math.inf:
            break
        last = gap
    tol = max(goal / outlook.low, 10 * float(np.finfo(R.dtype).eps))
    return np.asarray(settle(Circuit(R), X, tol, relative=True).xbar, R.dtype), most


def recalled(R: Floats, M: Floats, X: Floats, outlook: Outlook, share: float) -> tuple[Floats, int]:
    """Return X Mᵀ; refined once where its own rounding, in single precision, exceeds the tolerance."""
    Y = rows_product(X, M)
    if share * outlook.low > BLIND * float(np.finfo(R.dtype).eps) * outlook.size or R.dtype == np.float64:
        return Y, 1
    gaps, _ = residuals(R, X, Y, Y[:0], np.empty((0, 3)))
    return Y + rows_product(gaps.astype(R.dtype), M), 3


def refined(R: Floats, M: Floats, gaps: Floats, Y: Floats, outlook: Outlook, share: float) -> tuple[Floats, int]:
    """Return Y + R⁻¹ gaps, the gaps being X − Y Rᵀ in double precision: one step of iterative refinement."""
    rows = gaps.astype(R.dtype)
    if M.size:
        return Y + rows_product(rows, M), 1
    change, products = integrated(R, rows, outlook, share)
    return Y + change, products
