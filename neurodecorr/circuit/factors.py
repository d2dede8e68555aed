"""Factorisation of a circuit's matrix: Cholesky where it is positive definite, LU otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

__all__ = ["Factors"]

Floats = npt.NDArray[np.floating[Any]]


class Factors:
    """Factors of A, kept for repeated solves, by several threads at once if need be.

    Parameters
    ----------
    A : (N, N) array
        Invertible matrix, float64.
    symmetric : bool
        Whether A equals its transpose; Cholesky is tried first then.
    """

    def __init__(self, A: Floats, symmetric: bool) -> None:
        self._factor: Floats
        self._pivots: Any = None
        found = _cholesky(A) if symmetric else None
        self.definite = found is not None
        if found is None:
            self._factor, self._pivots = scipy.linalg.lu_factor(A, check_finite=False)
            self._pivots.setflags(write=False)
        else:
            self._factor = found[0]
        self._factor.setflags(write=False)

    def solve(self, U: Floats) -> Floats:
        """Return A⁻¹u for each row u of U."""
        if self.definite:
            Z = scipy.linalg.cho_solve((self._factor, True), U.T, check_finite=False)
        else:
            # LAPACK counts from 1: scipy raises the pivots that it is given, in place and without the lock, and lowers
            # them afterwards. Threads that share them read rows that do not exist.
            Z = scipy.linalg.lu_solve((self._factor, self._pivots.copy()), U.T, check_finite=False)
        return np.ascontiguousarray(Z.T)


def _cholesky(A: Floats) -> Any:
    """Return the Cholesky factor of a symmetric A, or None if it is not positive definite."""
    try:
        return scipy.linalg.cho_factor(A.T, lower=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        return None
