"""Krylov solvers for the rest state of a sparse circuit: no dynamics, no bounds of the spectrum needed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse.linalg

from neurodecorr._norms import norm

__all__ = ["Counted", "krylov"]

Floats = npt.NDArray[np.floating[Any]]

GMRES_VECTORS = 30


class Counted(scipy.sparse.linalg.LinearOperator):  # type: ignore[misc]
    """R as an operator that counts its products."""

    def __init__(self, R: Any) -> None:
        super().__init__(np.float64, R.shape)
        self.R, self.products = R, 0

    def _matvec(self, v: Floats) -> Floats:
        self.products += 1
        return np.asarray(self.R @ v.ravel())


def krylov(solver: str, R: Counted, u: Floats, z: Floats, aim: float, most: int) -> Floats:
    """Return the solution of R z = u, from z, to a residual `aim`, by "bicgstab" or "gmres" in `most` products.

    In a unit in which u is near 1: scipy's solvers give up where inner products of residuals fall below ε².
    """
    shift = math.frexp(norm(u) or norm(z))[1]
    u, z, aim = np.ldexp(u, -shift), np.ldexp(z, -shift), math.ldexp(aim, -shift)
    options = {"x0": z, "rtol": 0.0, "atol": aim}
    if solver == "bicgstab":
        solved = scipy.sparse.linalg.bicgstab(R, u, maxiter=max(most // 2, 1), **options)[0]
    else:
        cycles = max(most // GMRES_VECTORS, 1)
        solved = scipy.sparse.linalg.gmres(R, u, restart=GMRES_VECTORS, maxiter=cycles, **options)[0]
    return np.asarray(np.ldexp(solved, shift))
