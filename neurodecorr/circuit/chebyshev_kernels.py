"""The Chebyshev march, compiled: one recurrence for single rows, batches, sparse rows and circuits that learn.

::

    p ← α_k κ ∘ (u − A z) + ω_k p,    z ← z + p

Only the product differs: panels of a dense A, one BLAS product for a batch, or a pass over the synapses.

Indices are read as unsigned: a signed one may count from the end, and the test for that costs half the speed or more.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from neurodecorr._numerics.jit import LANES, jit, panel_residual, prange
from neurodecorr._numerics.norms import norm, norms, root
from neurodecorr._numerics.sparse import Rows
from neurodecorr._typing import Array
from neurodecorr.circuit.certificate import CERTIFICATE_MARGIN, Tolerance
from neurodecorr.circuit.kernels import DIVERGED, MET, RUNNING, STALLED, copy, residual_rounding, settled_enough

# Of single samples, others are left to `settle`, which scales them. Weights go from 2⁻²⁵⁶ to 2²⁵⁶.
LEAST_DRIVE = 2.0**-200


@jit()
def sizes(gap: Array, z: Array, readout: int) -> tuple[float, float, float]:
    """Return ‖gap‖, ‖z‖ and the norm of the read-out, summed in float64."""
    state = norm(z)
    return norm(gap), state, state if readout == z.size else norm(z[:readout])


@jit()
def remainder(panels: Array, u: Array, z: Array, gap: Array) -> None:
    """Write gap ← u − A z, panel by panel."""
    for p in range(panels.shape[0]):
        panel_residual(panels, u, z, gap, p)


@jit()
def coefficients(schedule: Array, k: int) -> tuple[float, float]:
    """Return (α_k, ω_k) of a schedule (`bounds.recurrence`); beyond its end they no longer change.

    ::

        p ← α_k (u − A z) + ω_k p,    z ← z + p
    """
    row = min(k, schedule.shape[0] - 1)
    return schedule[row, 0], schedule[row, 1]


@jit()
def next_step(alpha: Any, gap: Any, omega: Any, step: Any) -> Any:
    """Return p_k = α_k r_k + ω_k p_{k−1} of one unit, whose rate α may contain.

    ::

        p ← α_k (u − A z) + ω_k p,    z ← z + p
    """
    return alpha * gap + omega * step


@jit()
def march_row(schedule: Array, k: int, rates: Array, gap: Array, step: Array, z: Array) -> None:
    """Take step k of a schedule, given u − A z.

    ::

        p ← α_k (u − A z) + ω_k p,    z ← z + p
    """
    alpha, omega = coefficients(schedule, k)
    a, w = z.dtype.type(alpha), z.dtype.type(omega)
    for i in range(z.size):
        step[i] = next_step(a * rates[i], gap[i], w, step[i])
        z[i] += step[i]


@jit()
def march_rows(schedule: Array, k: int, rates: Array, gap: Array, step: Array, Z: Array) -> None:
    """Take step k of a schedule in every row of a batch.

    ::

        p ← α_k (u − A z) + ω_k p,    z ← z + p
    """
    for row in range(Z.shape[0]):
        march_row(schedule, k, rates, gap[row], step[row], Z[row])


@jit()
def descend_row(
    panels: Array, schedule: Array, work: Array, goal: Tolerance, first: int, most: int
) -> tuple[int, int, float, float]:
    """Take Euler steps by the three-term recurrence; return the steps, the code, the residual and its rounding.

    ::

        p ← α_k (u − A z) + ω_k p,    z ← z + p

    The rows of `work`, padded by zeros to whole
    panels, are the drive, the rates, the state, the last step, and room for the residual. Before step `first` only the
    start is judged.
    """
    u, rates, z, step, gap = work[0], work[1], work[2], work[3], work[4]
    drive, best, since, steps = norm(u), np.inf, 0.0, 0
    if norm(z) == 0:
        copy(u, gap)
    else:
        remainder(panels, u, z, gap)
    while True:
        if steps > 0:
            while steps < first and steps < most:
                march_row(schedule, steps, rates, gap, step, z)
                steps += 1
                remainder(panels, u, z, gap)
        size, state, readout = sizes(gap, z, goal.readout)
        noise = residual_rounding(state, drive, goal)
        if not np.isfinite(size):
            return steps, DIVERGED, size, noise
        if settled_enough(size, noise, readout, goal):
            return steps, MET, size, noise
        since += 1.0
        if size <= 0.5 * best:
            best, since = size, 0.0
        if size <= noise and since > goal.patience:
            return steps, STALLED, size, noise
        if steps >= most:
            return steps, RUNNING, size, noise
        march_row(schedule, steps, rates, gap, step, z)
        steps += 1
        remainder(panels, u, z, gap)


@jit()
def descend(
    panels: Array, rates: Array, schedule: Array, U: Array, Z: Array, goal: Tolerance, most: int, ends: Array
) -> None:
    """Settle each row by scheduled Euler steps; Z moves along.

    ::

        p ← α_k (u − A z) + ω_k p,    z ← z + p

    Each row of `ends` receives the steps taken, the code, the residual and the bound of its rounding.
    """
    size = U.shape[1]
    work = np.zeros((5, panels.shape[1]), Z.dtype)
    copy(rates, work[1])
    for row in range(U.shape[0]):
        copy(U[row], work[0])
        copy(Z[row], work[2])
        for i in range(work.shape[1]):
            work[3, i] = 0
        found = descend_row(panels, schedule, work, goal, 0, most)
        ends[row, 0], ends[row, 1], ends[row, 2], ends[row, 3] = found
        copy(work[2, :size], Z[row])


@jit()
def deliver(state: Array, z: Array) -> float:
    """Round a state into z, and return how far that moves it, which is left in `state`; infinite if z has no room."""
    total = 0.0
    for i in range(z.size):
        z[i] = state[i]
        state[i] -= np.float64(z[i])
        total += state[i] ** 2
    return root(total, state)


@jit()
def fits(size: float) -> bool:
    """Tell whether a drive of this norm is zero, or lies where nothing of it can overflow or underflow on the way."""
    return size == 0.0 or LEAST_DRIVE <= size <= 1 / LEAST_DRIVE


@jit()
def solve_one(plan: Array, u: Array, z: Array, tol: float) -> float:
    """Write M u into z; return the bound of ‖z − z*‖ by its residual, infinite if that is not near enough.

    ::

        z ← M u,    M ≈ A⁻¹,    ‖z − z*‖ ≤ (‖u − A z‖ + rounding)/σ_min(A)

    `plan` is one array, because each argument costs as much as a product of ten units: n, the distance to rest per
    proven residual, the rounding of the bound, and the rounding of a residual per ‖z‖ and per ‖u‖; from index 8 on as
    many zeros as a panel is long, and the panels of −M and of A. A negative tolerance is one relative to ‖z*‖.
    """
    if u.size != int(plan[0]):
        return float(np.inf)
    lanes = (u.size + LANES - 1) // LANES * LANES
    work = np.zeros((4, lanes))
    size = norm(u)
    if not fits(size):
        return float(np.inf)
    second = 8 + lanes + lanes * lanes
    copy(u, work[0])
    remainder(plan[8 + lanes : second].reshape(-1, lanes, LANES), work[1], work[0], work[2])
    remainder(plan[second:].reshape(-1, lanes, LANES), work[0], work[2], work[3])
    bound = float(plan[1] * (norm(work[3]) + plan[3] * norm(work[2]) + plan[4] * size))
    bound = (bound + deliver(work[2], z)) * (1 + plan[2])
    allowed = tol if tol > 0 else -tol * (norm(z) - bound)
    return bound if bound <= allowed * CERTIFICATE_MARGIN else float(np.inf)


@jit()
def judge_rows(U: Array, gap: Array, Z: Array, goal: Tolerance, rows: Array, memory: Array, code: Array) -> None:
    """Turn A z into u − A z, row by row, and write the code of each state.

    ::

        P ← u − P,    P = A z

    Row k is sample `rows[k]`, of which `memory`, (samples, 4), holds the least residual so far, the steps since it last
    halved, the residual with its rounding, and ‖u‖.
    """
    for k in range(rows.size):
        own = memory[rows[k]]
        for i in range(U.shape[1]):
            gap[k, i] = U[k, i] - gap[k, i]
        size, state, readout = sizes(gap[k], Z[k], goal.readout)
        noise = residual_rounding(state, own[3], goal)
        own[2] = size + noise
        own[1] += 1.0
        if size <= 0.5 * own[0]:
            own[0], own[1] = size, 0.0
        if not np.isfinite(size):
            code[k] = DIVERGED
        elif settled_enough(size, noise, readout, goal):
            code[k] = MET
        else:
            code[k] = STALLED if size <= noise and own[1] > goal.patience else RUNNING


def fresh_memory(drives: Array) -> Array:
    """Return the memory of `judge_rows` at the start, (samples, 4)."""
    memory = np.zeros((len(drives), 4))
    memory[:, :3], memory[:, 1], memory[:, 3] = np.inf, 0.0, norms(drives)
    return memory


class Goals(NamedTuple):
    """Stopping rule of a sample: residual ≤ `absolute` + `relative` ‖z‖, or > `largest` ‖u‖, or after `most` steps."""

    absolute: float
    relative: float
    largest: float
    most: int


@jit()
def march_sparse_rows(
    A: Rows, u: Array, z: Array, p: Array, pace: tuple[float, float], out: Array, first: int, last: int
) -> float:
    """p ← α (u − A z) + ω p,  out ← z + p in rows `first` … `last` − 1; return their share of ‖u − A z‖²."""
    square, (alpha, omega) = 0.0, pace
    for i in range(first, last):
        total = u[i]
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            total -= A.data[s] * z[np.uint32(A.indices[s])]
        p[i] = next_step(alpha, total, omega, p[i])
        out[i] = z[i] + p[i]
        square += total * total
    return square


@jit(parallel=True)
def march_sparse_on_threads(
    A: Rows, u: Array, z: Array, p: Array, pace: tuple[float, float], out: Array, cuts: Array
) -> float:
    """Take the step in all rows, those between two cuts by one thread; return ‖u − A z‖².

    ::

        p ← α_k (u − A z) + ω_k p,    z ← z + p
    """
    squares = np.empty(cuts.size - 1)
    for part in prange(cuts.size - 1):
        squares[part] = march_sparse_rows(A, u, z, p, pace, out, cuts[part], cuts[part + 1])
    return float(np.sum(squares))


@jit()
def march_sparse(A: Rows, u: Array, z: Array, schedule: Array, goal: Goals, cuts: Array) -> tuple[int, int]:
    """Take Chebyshev-scheduled Euler steps until the goal; z moves along. Return the steps taken and the code.

    ::

        p ← α_k (u − A z) + ω_k p,    z ← z + p

    Two states in turn; on threads where the rows are cut.
    """
    p, other = np.zeros_like(z), np.empty_like(z)
    limit = goal.largest * math.sqrt(np.sum(u * u))
    for step in range(goal.most + 1):
        old, new = (z, other) if step % 2 == 0 else (other, z)
        pace = coefficients(schedule, step)
        if cuts.size > 2:
            gap = math.sqrt(march_sparse_on_threads(A, u, old, p, pace, new, cuts))
        else:
            gap = math.sqrt(march_sparse_rows(A, u, old, p, pace, new, 0, u.size))
        size = math.sqrt(np.sum(old * old)) if goal.relative > 0 else 0.0
        met = gap <= goal.absolute + goal.relative * size
        lost = not gap <= limit
        if met or lost or step == goal.most:
            z[:] = old
            return step, MET if met else (DIVERGED if lost else RUNNING)
    return goal.most, RUNNING
