"""Propagators: one matrix that takes every state a whole step further.

::

    z(s + h) = z(s) + Q r(s),    r = κ ∘ (u − A z),    Q = ∫₀ʰ e^(−Fσ) dσ = F⁻¹(I − e^(−hF)),    F = diag(κ) A

Written on the residual r, the rest state stays exactly where it is, and Q exists for every F.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Ladder", "exponential_propagator", "implicit_propagator"]

Floats = npt.NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)
# With ‖hF‖ ≤ 1/2 the series below ends within rounding: 2⁻¹⁶/17! < 1e-19.
SERIES_NORM = 0.5
SERIES_TERMS = 16
HIGHEST_LEVEL = 60


def exponential_propagator(F: Floats, h: float) -> Floats:
    """Return Q(h) of the exact flow, by a short series and step doubling.

    ::

        Q(h) = h Σ_k (−hF)^k / (k+1)!,        Q(2h) = Q(h) (2I − F Q(h))

    Doubling Q instead of e^(−hF) keeps small steps free of cancellation; its error per doubling is that of one product.

    Parameters
    ----------
    F : (N, N) array
        Matrix of the dynamics.
    h : float
        Step in units of τ.

    Returns
    -------
    (N, N) array
        The propagator of the residual.

    Examples
    --------
    >>> import numpy as np
    >>> float(exponential_propagator(np.array([[2.0]]), 0.5)[0, 0].round(12))  # (1 − e⁻¹)/2
    0.316060279414
    """
    size = float(np.linalg.norm(F, 1)) * h
    doublings = max(0, math.ceil(math.log2(size / SERIES_NORM))) if size > 0 else 0
    Q = _series(F, h / 2**doublings)
    for _ in range(doublings):
        Q = 2 * Q - Q @ (F @ Q)
    return Q


def _series(F: Floats, h: float) -> Floats:
    """Return h Σ_{k<16} y^k/(k+1)!, y = −hF, in blocks of four powers: six products (Paterson and Stockmeyer 1973)."""
    y = -h * F
    y2 = y @ y
    powers = [np.eye(len(F)), y, y2, y2 @ y]
    y4 = y2 @ y2
    total = np.zeros_like(F)
    for block in range(SERIES_TERMS - 4, -1, -4):
        total = total @ y4 + sum(power / math.factorial(block + k + 1) for k, power in enumerate(powers))
    return h * total


def implicit_propagator(F: Floats, h: float) -> Floats:
    """Return Q(h) of one two-stage Radau IIA step: order 3, A- and L-stable.

    ::

        P(−y) = (1 − y/3) / (1 + 2y/3 + y²/6),    Q = F⁻¹(I − P(−hF)) = 2h Re[c (hF − pI)⁻¹],
        p = −2 + i√2,    c = ½ − i√2

    One complex inverse in place of a quadratic in F, which would square its condition.

    Parameters
    ----------
    F : (N, N) array
        Matrix of the dynamics.
    h : float
        Step in units of τ.

    Returns
    -------
    (N, N) array
        The propagator of the residual.

    References
    ----------
    Hairer and Wanner, Solving Ordinary Differential Equations II, §IV.5.
    """
    pole, weight = complex(-2, math.sqrt(2)), complex(0.5, -math.sqrt(2))
    inverse = np.linalg.inv(h * F - pole * np.eye(len(F)))
    return np.ascontiguousarray(2 * h * (weight * inverse).real)


class Ladder:
    """Exact propagators of the steps dt, 2dt, 4dt, … , built as they are asked for.

    ::

        Q(2h) = Q(h) (I + E(h)),    E(h) = I − F Q(h) = e^(−hF)

    This is the Newton–Schulz iteration for F⁻¹: doubling the time of the circuit doubles its correct digits.

    Parameters
    ----------
    F : (N, N) array
        Matrix of the dynamics, all eigenvalues with positive real part.
    dt : float
        Step of the lowest rung, in units of τ.
    dtype : dtype
        Precision in which the rungs are handed out; they are built in float64.
    """

    def __init__(self, F: Floats, dt: float, dtype: npt.DTypeLike) -> None:
        self.F, self.dtype = F, np.dtype(dtype)
        self._top = exponential_propagator(F, dt)
        self._rungs = [self._top.astype(self.dtype)]
        self._left = [math.inf, self._shrink()]

    def __getitem__(self, level: int) -> Floats:
        """Return Q(2^level dt)."""
        while len(self._rungs) <= level:
            self._top = self._top + self._top @ self._E
            self._rungs.append(self._top.astype(self.dtype))
            self._left.append(self._shrink())
        return self._rungs[level]

    def ends_at(self, level: int) -> bool:
        """Tell whether longer steps than this rung, which has been built, would change nothing but rounding.

        ‖E‖ squares from rung to rung once it is below one; where it no longer falls, it is rounding.
        """
        before, now = self._left[level], self._left[level + 1]
        return now <= EPS or (before < 0.1 and now > before / 2) or level >= HIGHEST_LEVEL

    def _shrink(self) -> float:
        self._E = np.eye(len(self.F)) - self.F @ self._top
        return float(np.linalg.norm(self._E))
