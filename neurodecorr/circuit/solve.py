"""Rest states without dynamics: one factorisation, or Krylov solvers, all of them certified."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse.linalg

from neurodecorr._numerics.blas import rows_product
from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.norms import norm, norms
from neurodecorr._numerics.sparse import row_cuts, sparse_product
from neurodecorr._typing import Array, Floats, Ints
from neurodecorr.circuit.bounds import rows_of
from neurodecorr.circuit.certificate import bound_of, residual, rounding_level
from neurodecorr.circuit.kernels import MET
from neurodecorr.circuit.problem import Problem, SolverResult

GMRES_VECTORS = 30
# A residual whose square is larger has left all hope, and soon the range of floats.
LOST = 1e300


@jit()
def bicgstab(A: Any, u: Array, z: Array, work: Array, cuts: Array, goal: float, most: int) -> int:
    """Bring ‖u − A z‖² below `goal` by BiCGStab from z; return the products spent, negative if it does not get there.

    ::

        z ← z + α p + ω s

    Needs no bounds of the spectrum, which moves while A learns.

    Parameters
    ----------
    A : tuple with the fields of `Rows`
        Matrix in compressed sparse rows.
    u, z : (n,) arrays
        Right-hand side; start, which moves along.
    work : (6, n) array
        Room for vectors.
    cuts : (parts + 1,) array
        Where rows are cut for threads.
    goal, most : float, int
        Largest square of the residual, and the products allowed.

    References
    ----------
    van der Vorst 1992, SIAM J. Sci. Stat. Comput. 13, 631.
    """
    r, shadow, p, v, s, t = work[0], work[1], work[2], work[3], work[4], work[5]
    sparse_product(A, z, v, cuts)
    for i in range(u.size):
        r[i] = u[i] - v[i]
    products, square = 1, np.sum(r * r)
    fresh, rho = True, 1.0
    alpha = omega = 1.0
    while not square <= goal:
        if products >= most or not square < LOST:
            return -products
        if fresh:
            shadow[:] = r
            p[:] = r
            rho = square
            fresh = False
        else:
            new = np.sum(shadow * r)
            beta = new / rho * (alpha / omega)
            for i in range(u.size):
                p[i] = r[i] + beta * (p[i] - omega * v[i])
            rho = new
        sparse_product(A, p, v, cuts)
        alpha = rho / np.sum(shadow * v)
        for i in range(u.size):
            s[i] = r[i] - alpha * v[i]
        sparse_product(A, s, t, cuts)
        length = np.sum(t * t)
        omega = np.sum(t * s) / length if length > 0 else 0.0
        for i in range(u.size):
            z[i] += alpha * p[i] + omega * s[i]
            r[i] = s[i] - omega * t[i]
        products += 2
        square = np.sum(r * r)
        # A shadow residual that has become orthogonal carries no more information: begin anew from here.
        fresh = abs(np.sum(shadow * r)) <= 1e-10 * math.sqrt(square * np.sum(shadow * shadow)) or omega == 0.0
    return products


def krylov(solver: str, R: Any, u: Floats, z: Floats, aim: float, most: int) -> tuple[Floats, int]:
    """Solve R z = u from z to a residual `aim`, by "bicgstab" or "gmres"; return the solution and the products spent.

    ::

        z = R⁻¹u

    In a unit in which u is near 1: inner products of residuals must not fall below ε².
    """
    shift = math.frexp(norm(u) or norm(z))[1]
    u, z, aim = np.ldexp(u, -shift), np.ldexp(z, -shift), math.ldexp(aim, -shift)
    if solver == "bicgstab":
        spent = abs(bicgstab(rows_of(R), u, z, np.empty((6, z.size)), row_cuts(R.indptr), aim * aim, most))
        return np.asarray(np.ldexp(z, shift)), spent
    spent = 0

    def product(v: Floats) -> Floats:
        nonlocal spent
        spent += 1
        return np.asarray(R @ v.ravel())

    counted = scipy.sparse.linalg.LinearOperator(R.shape, product, dtype=np.float64)
    cycles = max(most // GMRES_VECTORS, 1)
    options = {"x0": z, "rtol": 0.0, "atol": aim, "restart": GMRES_VECTORS, "maxiter": cycles}
    return np.asarray(np.ldexp(scipy.sparse.linalg.gmres(counted, u, **options)[0], shift)), spent


def settle_directly(problem: Problem) -> SolverResult:
    """Solve A z = u by factorisation, and take the residual of what came out; where it is too large, refine once.

    ::

        proven = ‖u − A z‖ + rounding

    The backward error of a factorisation bounds the residual of what LAPACK should have returned. Only the residual
    itself tells of what it did return. The refinement takes it in extended precision. For many samples all singular
    values cost less than that, and a sharper σ_min may do.
    """
    circuit, spectrum = problem.circuit, problem.circuit.spectrum
    Z = circuit.factors.solve(problem.U)
    goal = problem.goal(0.5)
    proven = norms(problem.U - rows_product(Z, circuit.wide)) + rounding_level(norms(Z), norms(problem.U), goal)
    rounded = problem.rounded(Z)[1]
    rows = np.flatnonzero(~problem.certifies(Z, bound_of(proven, spectrum.sigma_low, circuit.state_size) + rounded))
    if 2 * rows.size > circuit.state_size:
        bound = bound_of(proven, spectrum.sharp_sigma_low, circuit.state_size) + rounded
        rows = np.flatnonzero(~problem.certifies(Z, bound))
    if rows.size:
        Z[rows] += circuit.factors.solve(residual(circuit.matrix, problem.U[rows], Z[rows])[0])
        proven[rows] = np.inf
    met = np.full(len(Z), MET)
    return replace(_still(Z, np.zeros_like(met), met), proven=proven)


def _still(Z: Floats, products: Ints, code: Ints) -> SolverResult:
    return SolverResult(Z, np.zeros_like(products), products, np.full(len(Z), np.nan), code)
