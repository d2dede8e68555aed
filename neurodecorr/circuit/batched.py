"""Settling whole batches by matrix products: Chebyshev-scheduled Euler steps, and implicit steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.circuit.certificate import Goal
from neurodecorr.circuit.chebyshev import count_of_schedule, recurrence, schedule_time
from neurodecorr.circuit.kernels import DIVERGED, RUNNING
from neurodecorr.circuit.problem import Problem, Run, Watch, norms
from neurodecorr.circuit.propagator import implicit_propagator
from neurodecorr.circuit.search import settle_exactly

__all__ = ["settle_by_chebyshev", "settle_implicitly"]

Floats = npt.NDArray[np.floating[Any]]
# The step p_k, given k, the slope κ ∘ (u − A z_k), and the step before: z_{k+1} = z_k + p_k.
Stepper = Callable[[int, Floats, Floats], Floats]

# An implicit step this share of the slowest time constant follows the settling to three digits.
IMPLICIT_SHARE = 0.25
# Non-normal circuits may need more steps than their eigenvalues say, but not many times more.
PATIENCE = 4
LEAST_BUDGET = 50


def settle_by_chebyshev(problem: Problem, method: str) -> Run:
    """Settle by Chebyshev-scheduled Euler steps; samples that grow or overrun their budget settle exactly instead.

    The budget is `PATIENCE` times the steps that the eigenvalues predict from ‖z − z*‖ ≤ ‖u − A z‖/σ_min.
    """
    ellipse = problem.circuit.spectrum.ellipse
    goal = problem.goal(ellipse.factor)
    allowed = count_of_schedule(ellipse, problem.t_max, problem.max_steps)
    budget = LEAST_BUDGET + PATIENCE * ellipse.steps(_reduction(problem, goal))
    run = _iterate(problem, goal, recurrence(ellipse), min(allowed, budget), products_per_step=1)
    run.time[:] = schedule_time(ellipse, run.steps)
    lost = (run.code == DIVERGED) | ((run.code == RUNNING) & (budget < allowed))
    rows = np.flatnonzero(lost)
    return run.patched(rows, settle_exactly(problem.only(rows), "exponential")) if rows.size else run


def settle_implicitly(problem: Problem, method: str) -> Run:
    """Settle by Radau IIA steps, stable at every size; a quarter of the slowest time constant by default."""
    spectrum = problem.circuit.spectrum
    dt = IMPLICIT_SHARE / spectrum.margin if problem.dt is None else problem.dt
    Q = implicit_propagator(problem.circuit.flow, dt).astype(problem.dtype)
    goal = problem.goal(math.exp(-spectrum.margin * dt))
    run = _iterate(problem, goal, lambda k, slope, before: slope @ Q.T, problem.count_of(dt), products_per_step=2)
    run.time[:] = run.steps * dt
    return run


def _iterate(problem: Problem, goal: Goal, stepper: Stepper, limit: int, products_per_step: int) -> Run:
    """March all rows together, each until its own goal; rows that are done leave the batch."""
    A, rates, U, z = problem.A, problem.rates, problem.U, problem.Z.copy()
    watch, step = Watch(problem, goal), np.zeros_like(z)
    Z, codes = np.empty_like(z), np.full(len(z), RUNNING)
    steps, rows = np.zeros(len(z), np.int64), np.arange(len(z))
    for k in range(limit + 1):
        gap = U[rows] - z @ A.T
        code = watch(rows, gap, z)
        going = code == RUNNING if k < limit else np.zeros(len(rows), bool)
        if not going.all():
            done = rows[~going]
            Z[done], codes[done], steps[done] = z[~going], code[~going], k
            rows, z, gap, step = rows[going], z[going], gap[going], step[going]
        if not rows.size:
            break
        step = stepper(k, rates * gap, step)
        z = z + step
    return Run(Z, steps, steps * products_per_step + problem.first_product, np.zeros(len(Z)), codes)


def _reduction(problem: Problem, goal: Goal) -> float:
    """Return the largest ratio of a starting residual to the one that meets the goal; ‖x̄*‖ ≥ ‖u‖/σ_max."""
    start = norms(problem.U - problem.Z @ problem.A.T)
    wanted = goal.absolute + goal.relative * norms(problem.U) / problem.circuit.spectrum.sigma_max
    asked = (wanted > 0) & np.isfinite(start) & np.isfinite(wanted)
    return float((start[asked] / wanted[asked]).max(initial=1.0))
