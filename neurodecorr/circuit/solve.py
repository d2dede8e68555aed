"""Rest states without dynamics: one factorisation, or the feedforward twin. Certified like all others."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse.linalg

from neurodecorr._numerics.norms import norm, norms
from neurodecorr._typing import Floats, Ints
from neurodecorr.circuit.certificate import bound_of, certified, residual, rounding_level
from neurodecorr.circuit.kernels import MET, MISMATCH
from neurodecorr.circuit.problem import Problem, Run

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


def settle_directly(problem: Problem) -> Run:
    """Solve A z = u by factorisation, and take the residual of what came out; where it is too large, refine once.

    ::

        proven = ‖u − A z‖ + rounding

    The backward error of a factorisation bounds the residual of what LAPACK should have returned. Only the residual
    itself tells of what it did return. The refinement takes it in extended precision.
    """
    circuit = problem.circuit
    Z = circuit.factors.solve(problem.U)
    goal = problem.goal(0.5)
    proven = norms(problem.U - Z @ circuit.wide.T) + rounding_level(norms(Z), norms(problem.U), goal)
    bound = bound_of(proven, circuit.spectrum.sigma_low, circuit.state_size) + problem.rounded(Z)[1]
    rows = np.flatnonzero(~problem.certifies(Z, bound))
    if rows.size:
        Z[rows] += circuit.factors.solve(residual(circuit.matrix, problem.U[rows], Z[rows])[0])
        proven[rows] = np.inf
    met = np.full(len(Z), MET)
    return replace(_still(Z, np.zeros_like(met), met), proven=proven)


def settle_by_twin(problem: Problem, M: Floats) -> Run:
    """Take x̄ = M x, and where that is not near enough x̄ ← x̄ + M (x − R x̄), once.

    The correction squares the mismatch: x̄ − x̄* shrinks by I − MR. What is still too far shows that M is no twin of R.
    """
    circuit = problem.circuit
    X, M = problem.U[:, -circuit.size :], M.astype(problem.dtype)
    xbar = X @ M.T
    rows = np.flatnonzero(~_near(problem, circuit.state(xbar)))
    gap = residual(circuit.R, X[rows], xbar[rows])[0]
    xbar[rows] += (gap.astype(problem.dtype)) @ M.T
    products = np.ones(len(X), np.int64)
    products[rows] += 2
    code = np.where(_explained(problem, circuit.state(xbar)), MET, MISMATCH)
    return _still(circuit.state(xbar), products, code)


def _near(problem: Problem, Z: Floats) -> npt.NDArray[np.bool_]:
    """Tell which states are certified."""
    low = problem.circuit.spectrum.sigma_low
    return problem.certifies(Z, certified(problem.circuit.matrix, problem.U, Z, low).bound)


def _explained(problem: Problem, Z: Floats) -> npt.NDArray[np.bool_]:
    """Tell which states are certified, or as near as rounding lets them be."""
    goal = problem.goal(0.5)
    size = norms(residual(problem.circuit.matrix, problem.U, Z)[0])
    noise = rounding_level(norms(Z), norms(problem.U), goal)
    return np.asarray((size <= noise) | _near(problem, Z))


def _still(Z: Floats, products: Ints, code: Ints) -> Run:
    return Run(Z, np.zeros_like(products), products, np.full(len(Z), np.nan), code)
