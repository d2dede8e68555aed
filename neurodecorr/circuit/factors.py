"""Factorisation of a circuit's matrix: Cholesky where it is positive definite, LU otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

__all__ = ["Factors"]

Floats = npt.NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)


class Factors:
    """Factors of A, kept for repeated solves.

    Parameters
    ----------
    A : (N, N) array
        Invertible matrix, float64.
    symmetric : bool
        Whether A equals its transpose; Cholesky is tried first then.
    """

    def __init__(self, A: Floats, symmetric: bool) -> None:
        self._factors: Any = _cholesky(A) if symmetric else None
        self.definite = self._factors is not None
        if self._factors is None:
            self._factors = scipy.linalg.lu_factor(A, check_finite=False)
        self.backward = self._backward(A)

    def solve(self, U: Floats) -> Floats:
        """Return A⁻¹u for each row u of U."""
        solver = scipy.linalg.cho_solve if self.definite else scipy.linalg.lu_solve
        return np.ascontiguousarray(solver(self._factors, U.T, check_finite=False).T)

    def _backward(self, A: Floats) -> float:
        """Return β with ‖u − A z‖ ≤ β ‖z‖ for every solution z, before it is computed.

        Solutions are exact for a matrix A + ΔA, |ΔA| ≤ γ_{3N+1} |L||Lᵀ| and ‖L‖_F² ≤ tr A/(1 − γ), or γ_{3N} |L||U|
        with |l_ij| ≤ 1 (Higham 2002, Accuracy and Stability, §9.3 and §10.1). ε is twice the unit roundoff, and N more
        are for the reciprocals in LAPACK's triangular solves.
        """
        size = len(A)
        if self.definite:
            weight = float(np.trace(A))
        else:
            weight = math.sqrt(size * (size + 1) / 2) * float(np.linalg.norm(self._factors[0]))
        return 2 * EPS * (size + 16) * weight


def _cholesky(A: Floats) -> Any:
    """Return the Cholesky factor of a symmetric A, or None if it is not positive definite."""
    try:
        return scipy.linalg.cho_factor(A.T, lower=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        return None
