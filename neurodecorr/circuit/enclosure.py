"""A rectangle around the field of values of a large circuit, from a few Lanczos steps and two Cholesky factorisations.

::

    Re λ ≥ low,    σ_min(F) ≥ low,    low ≤ λ_min((F + Fᵀ)/2)

`low` is proven; the other sides are estimates with some room, and whoever uses them looks at the residual.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg

from neurodecorr.circuit.ellipse import Ellipse, enclosing_ellipse

__all__ = ["Enclosure", "enclosure"]

Floats = npt.NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)
# A Ritz value is good enough once its residual is this share of it.
SHARP = 3e-3
MOST_STEPS = 150
CHECK_EVERY = 5
# If the smallest one is not good by then, a factorisation finds it sooner.
FEW_STEPS = 40
# The largest eigenvalues lie a little beyond the Ritz values; Chebyshev polynomials forgive that much.
ROOM = 1.01
# Shares of the smallest Ritz value that are tried as proven bounds.
SHARES = (0.99, 0.97, 0.94, 0.9, 0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True)
class Enclosure:
    """Rectangle [low, high] ± i·skew around the field of values of F.

    Parameters
    ----------
    low : float
        Proven lower bound, > 0, of λ_min((F + Fᵀ)/2), so of every Re λ and of σ_min.
    high : float
        Estimate of λ_max((F + Fᵀ)/2).
    skew : float
        Estimate of ‖(F − Fᵀ)/2‖; zero for a symmetric F.
    """

    low: float
    high: float
    skew: float

    @property
    def ellipse(self) -> Ellipse:
        """Ellipse through the extremes of the rectangle, with the fastest Chebyshev schedule.

        The field of values touches the sides of the rectangle and avoids its corners, as an ellipse does.
        """
        centre = (self.low + self.high) / 2
        points = [self.low, self.high] if self.skew == 0 else [self.low, self.high, centre + 1j * self.skew]
        return enclosing_ellipse(np.array(points, np.complex128))


def enclosure(F: Floats, symmetric: bool) -> Enclosure | None:
    """Enclose the field of values of F; None where its symmetric part is not safely positive definite."""
    S = F if symmetric else (F + F.T) / 2
    found = _extremes(lambda v: S @ v, len(F), FEW_STEPS)
    smallest = found.smallest if found.sharp else _smallest(S)
    low = _proven(S, smallest)
    if low is None:
        return None
    if symmetric:
        return Enclosure(low, found.largest * ROOM, 0.0)
    K = F - S
    skew = _extremes(lambda v: K.T @ (K @ v), len(F), 0).largest
    return Enclosure(low, found.largest * ROOM, math.sqrt(max(skew, 0)) * ROOM)


def _smallest(S: Floats) -> float:
    """Estimate λ_min(S) by Lanczos steps on S⁻¹, whose largest eigenvalue stands apart; 0 if S has no factor."""
    factor, failed = scipy.linalg.lapack.dpotrf(S.T, lower=1, clean=0)
    if failed:
        return 0.0
    return 1 / _extremes(lambda v: scipy.linalg.lapack.dpotrs(factor, v, lower=1)[0], len(S), 0).largest


def _proven(S: Floats, smallest: float) -> float | None:
    """Return a proven lower bound of λ_min(S), near its estimate: S − sI has a Cholesky factor.

    One that runs to its end in floating point proves λ_min > −γ_{n+1} tr/(1 − γ_{n+1}) (Rump 2006, BIT 46, 433). The
    room is four times that, for the order of LAPACK's sums and its reciprocals, and for the rounding of S and of s.
    """
    if not smallest > 0:
        return None
    size = len(S)
    slack = 4 * EPS * ((size + 10) * float(np.abs(np.diagonal(S)).sum()) + float(np.linalg.norm(S)))
    for share in SHARES:
        shifted = S.T.copy(order="F")
        shifted[np.diag_indices(size)] -= share * smallest
        if scipy.linalg.lapack.dpotrf(shifted, lower=1, overwrite_a=1, clean=0)[1] == 0:
            low = share * smallest - slack
            return low if low > 0 else None
    return None


class _Extremes(NamedTuple):
    """Extreme Ritz values, and whether the smallest is a good one; the largest is."""

    smallest: float
    largest: float
    sharp: bool


def _extremes(product: Callable[[Floats], Floats], size: int, few: int) -> _Extremes:
    """Return the extreme Ritz values of a symmetric operator, by Lanczos steps with full reorthogonalisation.

    After `few` steps the smallest is given up.
    """
    most = min(MOST_STEPS, size)
    V, alpha, beta = np.zeros((most + 1, size)), np.zeros(most), np.zeros(most)
    v = np.random.default_rng(0).standard_normal(size)
    V[0] = v / np.linalg.norm(v)
    values, sharp = np.zeros(1), np.zeros(2, bool)
    for k in range(most):
        w = product(V[k])
        alpha[k] = w @ V[k]
        for _ in range(2):
            w = w - V[: k + 1].T @ (V[: k + 1] @ w)
        beta[k] = np.linalg.norm(w)
        exhausted = beta[k] <= EPS * size * np.abs(alpha[: k + 1]).max()
        if exhausted or k == most - 1 or k % CHECK_EVERY == CHECK_EVERY - 1:
            values, vectors = scipy.linalg.eigh_tridiagonal(alpha[: k + 1], beta[:k])
            sharp = exhausted | (beta[k] * np.abs(vectors[-1, [0, -1]]) <= SHARP * np.abs(values[[0, -1]]))
            if sharp[1] and (sharp[0] or k >= few):
                break
        V[k + 1] = w / beta[k]
    return _Extremes(float(values[0]), float(values[-1]), bool(sharp[0]))
