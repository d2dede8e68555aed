"""Factorisation of a circuit's matrix: Cholesky where it is positive definite, LU otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

__all__ = ["Factors"]

Floats = npt.NDArray[np.floating[Any]]


class Factors:
    """Factors of A, kept for repeated solves.

    Parameters
    ----------
    A : (N, N) array
        Invertible matrix, float64.
    definite : bool
        Whether A is symmetric positive definite.
    """

    def __init__(self, A: Floats, definite: bool) -> None:
        self.definite = definite
        self.factors = scipy.linalg.cho_factor(A) if definite else scipy.linalg.lu_factor(A)

    def solve(self, U: Floats) -> Floats:
        """Return A⁻¹u for each row u of U."""
        solver = scipy.linalg.cho_solve if self.definite else scipy.linalg.lu_solve
        return np.ascontiguousarray(solver(self.factors, U.T).T)
