"""Explicit steps through the compiled kernels: Euler, RK4 and Dormand–Prince, fixed or with their own step control."""

from __future__ import annotations

import math

import numpy as np

from neurodecorr._typing import Floats, Ints
from neurodecorr.circuit.certificate import Tolerance
from neurodecorr.circuit.kernels import Control, Flow, Frames, Scheme, adapt, adapt_on_threads, march, march_on_threads
from neurodecorr.circuit.problem import Problem, SolverResult
from neurodecorr.circuit.stability import fastest_settling_step, require_step, shrinkage, step_limits
from neurodecorr.circuit.tableaux import DORMAND_PRINCE, TABLEAUX, Tableau

# On the way to rest a step may err by this share of the distance to reach, and by no less than its rounding.
ERROR_SHARE = 0.1
LEAST_RTOL = 100.0
SHARE_OF_LIMIT = 0.9
FIRST_STEP = 0.1
# Multiplications per step of the whole batch from which on threads pay.
WORTH_THREADS = 2**18


def settle_explicitly(problem: Problem, method: str) -> SolverResult:
    """Settle by steps of one size: the given one, or the one whose slowest mode shrinks fastest.

    ::

        k_j = κ ∘ (u − A (z + h ∑_l a_jl k_l)),    z ← z + h ∑_j b_j k_j
    """
    tableau, eigenvalues = TABLEAUX[method], problem.circuit.spectrum.eigenvalues
    dt = fastest_settling_step(tableau, eigenvalues) if problem.dt is None else problem.dt
    require_step(problem.circuit, method, dt)
    goal = problem.goal(float(shrinkage(tableau, eigenvalues, dt)))
    _, run = fixed_frames(problem, tableau, np.array([dt]), np.array([problem.count_of(dt)]), goal)
    run.products[:] += problem.first_product
    run.time[:] = run.steps * dt
    return run


def settle_adaptively(problem: Problem, method: str) -> SolverResult:
    """Settle by steps under error control, each sample at its own pace, never beyond the limit of stability.

    Reference: Dormand & Prince (1980), Journal of Computational and Applied Mathematics 6, 19–26.
    """
    spectrum = problem.circuit.spectrum
    goal = problem.goal(math.exp(-spectrum.margin * largest_step(problem)))
    # Steps far less exact than the goal are stable too, but on non-normal circuits their errors grow before they decay.
    wanted, rounding = ERROR_SHARE * problem.tol, LEAST_RTOL * float(np.finfo(problem.dtype).eps)
    tolerances = (max(wanted, rounding), 0.0) if problem.relative else (rounding, wanted)
    _, run = adaptive_frames(problem, np.array([problem.t_max]), tolerances, goal)
    run.products[:] += problem.first_product
    return run


def fixed_frames(
    problem: Problem, tableau: Tableau, h: Floats, counts: Ints, goal: Tolerance
) -> tuple[Floats, SolverResult]:
    """Take `counts[f]` steps of `h[f]` τ to each frame f, or stop at the goal; return the frames and the run."""
    Z, frames = problem.Z.copy(), np.empty((len(h), *problem.U.shape), problem.dtype)
    ends = np.zeros((len(Z), 2), np.int64)
    kernel = march_on_threads if _is_large(problem) else march
    kernel(Flow(problem.A, problem.rates), problem.U, Z, _scheme(tableau), Frames(h, counts), goal, frames, ends)
    steps, code = ends.T.copy()
    return frames, SolverResult(Z, steps, steps * tableau.stages, np.zeros(len(Z)), code)


def adaptive_frames(
    problem: Problem, s: Floats, tolerances: tuple[float, float], goal: Tolerance
) -> tuple[Floats, SolverResult]:
    """Integrate to each time s (units of τ) with error control, or stop at the goal; return the frames and the run."""
    tableau, largest = DORMAND_PRINCE, largest_step(problem)
    control = Control(*tolerances, FIRST_STEP * largest, largest, problem.max_steps, s)
    Z, frames = problem.Z.copy(), np.empty((len(s), *problem.U.shape), problem.dtype)
    ends = np.zeros((len(Z), 4))
    kernel = adapt_on_threads if _is_large(problem) else adapt
    kernel(Flow(problem.A, problem.rates), problem.U, Z, _scheme(tableau), control, goal, frames, ends)
    steps, rejected, code = ends[:, :3].T.astype(np.int64)
    return frames, SolverResult(Z, steps, (steps + rejected) * tableau.stages, ends[:, 3], code)


def largest_step(problem: Problem) -> float:
    """Return the largest step that error control may take: below the limit of every mode that decays."""
    eigenvalues = problem.circuit.spectrum.eigenvalues
    decaying = eigenvalues[eigenvalues.real > 0]
    limits = step_limits(DORMAND_PRINCE, decaying) if decaying.size else 1 / np.abs(eigenvalues)
    return SHARE_OF_LIMIT * float(limits.min())


def _is_large(problem: Problem) -> bool:
    return len(problem.U) > 1 and problem.U.size * problem.U.shape[1] >= WORTH_THREADS


def _scheme(tableau: Tableau) -> Scheme:
    return Scheme(tableau.a, tableau.b, tableau.error, tableau.dense)
