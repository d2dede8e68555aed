"""Settling whole batches by matrix products: Chebyshev-scheduled Euler steps, and implicit steps."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import SMALL, rows_product
from neurodecorr._numerics.norms import norms
from neurodecorr._numerics.simd import read_only
from neurodecorr._typing import Floats
from neurodecorr._validation import ROUNDING, count, positive
from neurodecorr.circuit.bounds import Ellipse, recurrence
from neurodecorr.circuit.certificate import Tolerance
from neurodecorr.circuit.chebyshev_kernels import descend, fresh_memory, judge_rows, march_rows
from neurodecorr.circuit.kernels import DIVERGED, RUNNING
from neurodecorr.circuit.problem import Problem, SolverResult
from neurodecorr.circuit.propagators import implicit_propagator, settle_exactly
from neurodecorr.errors import ConfigError

MOST_STEPS = 1_000_000  # of a schedule, which takes their square


def chebyshev_schedule(steps: int, low: float, high: float) -> Floats:
    """Return the Euler steps that settle a spectrum [low, high] best, in an order that rounding survives.

    ::

        dt_j = 1/(d + c cos θ_j),    d = (high + low)/2,    c = (high − low)/2

    The order is Leja's: each step is the one farthest, in the product of distances, from those before.

    Parameters
    ----------
    steps : int
        Number m of steps.
    low, high : float
        Smallest and largest eigenvalue, 0 < low ≤ high, per τ.

    Returns
    -------
    (m,) array
        Steps in units of τ.

    Examples
    --------
    >>> chebyshev_schedule(2, 1.0, 3.0).round(6)
    array([0.369398, 0.773459])

    References
    ----------
    Golub and Varga 1961, Numer. Math. 3, 147.
    """
    m, low, high = count(steps, "steps", most=MOST_STEPS), positive(low, "low"), positive(high, "high")
    if low > high:
        raise ConfigError(f"low must be ≤ high; got low = {low}, high = {high}.")
    nodes = np.cos((2 * np.arange(1, m + 1) - 1) * math.pi / (2 * m))
    return 1 / ((high + low) / 2 + (high - low) / 2 * nodes[_leja_order(nodes)])


def schedule_time(ellipse: Ellipse, steps: npt.ArrayLike) -> Floats:
    """Return the time ∑ dt_j of a schedule of m steps, in units of τ.

    ::

        ∑_j 1/(d + c cos θ_j) = T_m'(d/c) / (c T_m(d/c)) = m tanh(m arccosh(d/c)) / √(d² − c²)
    """
    m = np.asarray(steps, np.float64)
    d, c = ellipse.centre, ellipse.focus
    if c == 0:
        return m / d
    return np.asarray(m * np.tanh(m * np.arccosh(d / c)) / math.sqrt((d - c) * (d + c)))


def count_of_schedule(ellipse: Ellipse, t_max: float, most: int) -> int:
    """Return the largest m, at most `most`, whose schedule takes no longer than `t_max`; the time grows with m."""
    if schedule_time(ellipse, most) <= t_max:
        return most
    return bisect_right(range(most), t_max * (1 + ROUNDING), key=lambda m: float(schedule_time(ellipse, m))) - 1


def _leja_order(nodes: Floats) -> list[int]:
    """Order the nodes by Leja: greedily maximise ∑ log |x − x_chosen|."""
    order = [int(np.argmax(np.abs(nodes)))]
    spread = np.zeros(len(nodes))
    for _ in range(len(nodes) - 1):
        with np.errstate(divide="ignore"):
            spread += np.log(np.abs(nodes - nodes[order[-1]]))
        order.append(int(np.argmax(spread)))
    return order


# Move z_k to z_{k+1}, given k, u − A z_k, and room for the step, which it keeps from call to call.
Stepper = Callable[[int, Floats, Floats, Floats], None]

# An implicit step this share of the slowest time constant follows the settling to three digits.
IMPLICIT_SHARE = 0.25
# Non-normal circuits may need more steps than their eigenvalues say, but not many times more.
PATIENCE = 4
LEAST_BUDGET = 50
# Up to this many units, or samples, a compiled loop over samples is faster than products of the whole batch.
FUSED_SIZE = 48
FUSED_SAMPLES = 3
# Beyond, to copy the matrix into panels takes longer than its few products.
LARGEST_FUSED = 512


def settle_by_chebyshev(problem: Problem, method: str) -> SolverResult:
    """Settle by Chebyshev-scheduled Euler steps; samples that grow or overrun their budget settle exactly instead.

    The budget is `PATIENCE` times the steps that the eigenvalues predict from ‖z − z*‖ ≤ ‖u − A z‖/σ_min.

    Reference: Golub & Varga (1961), Numerische Mathematik 3, 147–156.
    """
    ellipse = problem.circuit.spectrum.ellipse
    goal = problem.goal(ellipse.factor)
    allowed = count_of_schedule(ellipse, problem.t_max, problem.max_steps)
    budget = LEAST_BUDGET + PATIENCE * ellipse.steps(_reduction(problem, goal))
    limit = min(allowed, budget)
    schedule = recurrence(ellipse, limit)
    size = problem.U.shape[1]
    fused = size <= FUSED_SIZE or (len(problem.U) <= FUSED_SAMPLES and size <= LARGEST_FUSED)
    if fused:
        run = _fused(problem, goal, schedule, limit)
    else:
        run = _iterate(problem, goal, _mover(schedule, problem.rates), limit, products_per_step=1)
    run.time[:] = schedule_time(ellipse, run.steps)
    lost = (run.code == DIVERGED) | ((run.code == RUNNING) & (budget < allowed))
    rows = np.flatnonzero(lost)
    return run.patched(rows, settle_exactly(problem.only(rows), "exponential")) if rows.size else run


def _fused(problem: Problem, goal: Tolerance, schedule: Floats, limit: int) -> SolverResult:
    """March each row by itself, compiled: no work between its products."""
    Z, ends = problem.Z.copy(), np.empty((len(problem.Z), 4))
    descend(problem.circuit.panels, problem.rates, schedule, problem.U, Z, goal, limit, ends)
    steps, code = ends[:, :2].T.astype(np.int64)
    return SolverResult(Z, steps, steps + problem.first_product, np.zeros(len(Z)), code, ends[:, 2] + ends[:, 3])


def _mover(schedule: Floats, rates: Floats) -> Stepper:
    def move(k: int, gap: Floats, step: Floats, z: Floats) -> None:
        march_rows(schedule, k, rates, gap, step, z)

    return move


def settle_implicitly(problem: Problem, method: str) -> SolverResult:
    """Settle by Radau IIA steps, stable at every size; a quarter of the slowest time constant by default.

    Reference: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, §IV.5 (Radau IIA).
    """
    spectrum = problem.circuit.spectrum
    dt = IMPLICIT_SHARE / spectrum.margin if problem.dt is None else problem.dt
    Q = implicit_propagator(problem.circuit.flow, dt).astype(problem.dtype)
    goal = problem.goal(math.exp(-spectrum.margin * dt))

    def move(k: int, gap: Floats, step: Floats, z: Floats) -> None:
        z += np.matmul(problem.rates * gap, Q.T, out=step)

    run = _iterate(problem, goal, move, problem.count_of(dt), products_per_step=2)
    run.time[:] = run.steps * dt
    return run


def _iterate(problem: Problem, goal: Tolerance, stepper: Stepper, limit: int, products_per_step: int) -> SolverResult:
    """March all rows together, each until its own goal; rows that are done leave the batch."""
    A, u, z = problem.A, problem.U, problem.Z.copy()
    wide = len(A) > SMALL and len(z) > 1  # a product for several threads, which are those of scipy's BLAS
    memory, step, gap = fresh_memory(u), np.zeros_like(z), np.empty_like(z)
    Z, codes = np.empty_like(z), np.full(len(z), RUNNING)
    steps, rows = np.zeros(len(z), np.int64), np.arange(len(z))
    for k in range(limit + 1):
        code = np.empty(len(rows), np.int64)
        product = rows_product(z, A, out=gap) if wide else np.matmul(z, A.T, out=gap)
        judge_rows(u, product, z, goal, rows, memory, code)
        going = code == RUNNING if k < limit else np.zeros(len(rows), bool)
        if not going.all():
            done = rows[~going]
            Z[done], codes[done], steps[done] = z[~going], code[~going], k
            rows, u, z, gap, step = rows[going], read_only(u[going]), z[going], gap[going], step[going]
        if not rows.size:
            break
        stepper(k, gap, step, z)
    products = steps * products_per_step + problem.first_product
    return SolverResult(Z, steps, products, np.zeros(len(Z)), codes, memory[:, 2])


def _reduction(problem: Problem, goal: Tolerance) -> float:
    """Return the largest ratio of a starting residual to the one that meets the goal; ‖x̄*‖ ≥ ‖u‖/σ_max."""
    start = norms(problem.U - problem.Z @ problem.A.T if problem.first_product else problem.U)
    wanted = goal.absolute + goal.relative * norms(problem.U) / problem.circuit.spectrum.size_bound
    asked = (wanted > 0) & np.isfinite(start) & np.isfinite(wanted)
    return float((start[asked] / wanted[asked]).max(initial=1.0))
