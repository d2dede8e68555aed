"""Compiled kernels over compressed sparse rows: one pass over the synapses each.

Indices are read as unsigned: a signed one may count from the end, and the test for that costs half the speed or more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from neurodecorr._numerics.jit import LANES, jit, panel_residual, prange
from neurodecorr._numerics.norms import norm, root
from neurodecorr._numerics.sparse import Rows
from neurodecorr._typing import Array
from neurodecorr.circuit.certificate import Goal
from neurodecorr.circuit.kernels import DIVERGED, MET, RUNNING, STALLED, TINY, copy, residual_rounding, settled_enough

# Of single samples, others are left to `settle`, which scales them. Weights go from 2⁻²⁵⁶ to 2²⁵⁶.
LEAST_DRIVE = 2.0**-200


@jit()
def sizes(gap: Array, z: Array, readout: int) -> tuple[float, float, float]:
    """Return ‖gap‖, ‖z‖ and the norm of the read-out, summed in float64."""
    state = norm(z)
    return norm(gap), state, state if readout == z.size else norm(z[:readout])


@jit()
def remainder(panels: Array, u: Array, z: Array, gap: Array) -> None:
    """Write u − A z into `gap`, panel by panel."""
    for p in range(panels.shape[0]):
        panel_residual(panels, u, z, gap, p)


@jit()
def follow(schedule: Array, k: int, rates: Array, gap: Array, step: Array, z: Array) -> None:
    """Take step k of a schedule."""
    row = min(k, schedule.shape[0] - 1)
    alpha, omega = z.dtype.type(schedule[row, 0]), z.dtype.type(schedule[row, 1])
    for i in range(z.size):
        step[i] = alpha * rates[i] * gap[i] + omega * step[i]
        z[i] += step[i]


@jit()
def descend_row(
    panels: Array, schedule: Array, work: Array, goal: Goal, first: int, most: int
) -> tuple[int, int, float, float]:
    """Take Euler steps by the three-term recurrence; return the steps, the code, the residual and its rounding.

    `schedule` holds (α_k, ω_k); beyond its end they no longer change. The rows of `work`, padded by zeros to whole
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
                follow(schedule, steps, rates, gap, step, z)
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
        follow(schedule, steps, rates, gap, step, z)
        steps += 1
        remainder(panels, u, z, gap)


@jit()
def descend(
    panels: Array, rates: Array, schedule: Array, U: Array, Z: Array, goal: Goal, most: int, ends: Array
) -> None:
    """Settle each row by scheduled Euler steps; Z moves along.

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


class Pace(NamedTuple):
    """What refined steps go by: shrinkage per step, steps between residuals in float64, and the most steps."""

    factor: float
    stretch: int
    most: int


@jit()
def pursue(
    narrow: Array, schedule: Array, work: Array, thin: Array, goal: Goal, pace: Pace, k: int, scale: float
) -> int:
    """Take refined steps from step k until the next is due to meet the goal or the stretch ends; return their end."""
    z, rates, light, step = work[2], thin[0], thin[1], thin[2]
    end = min(k + pace.stretch, pace.most)
    while True:
        row = min(k, schedule.shape[0] - 1)
        alpha, omega = np.float32(schedule[row, 0]), np.float32(schedule[row, 1])
        for i in range(z.size):
            step[i] = alpha * rates[i] * light[i] + omega * step[i]
            z[i] += scale * step[i]
        k += 1
        if k >= end:
            return k
        remainder(narrow, light, step, light)
        if pace.factor * scale * norm(light) <= goal.absolute + goal.relative * norm(z[: goal.readout]):
            end = k + 1


@jit()
def refine_row(
    wide: Array, narrow: Array, schedule: Array, work: Array, thin: Array, goal: Goal, pace: Pace
) -> tuple[int, int, float, float, int]:
    """Take refined steps; return the steps, the code, the residual and its rounding, and the products.

    The rows of `work` are the drive, room for the residual, and the state; those of `thin` the rates, and room for the
    residual and the last step. All are padded by zeros to whole panels.
    """
    u, gap, z = work[0], work[1], work[2]
    drive, best, since, last, steps, products = norm(u), np.inf, 0, 0.0, 0, 0
    if norm(z) == 0:
        copy(u, gap)
    else:
        remainder(wide, u, z, gap)
        products += 1
    while True:
        size, state, readout = sizes(gap, z, goal.readout)
        noise = residual_rounding(state, drive, goal)
        if not np.isfinite(size):
            return steps, DIVERGED, size, noise, products
        if settled_enough(size, noise, readout, goal):
            return steps, MET, size, noise, products
        if size <= 0.5 * best:
            best, since = size, steps
        if size <= noise and steps - since > goal.patience:
            return steps, STALLED, size, noise, products
        if steps >= pace.most:
            return steps, RUNNING, size, noise, products
        scale = max(size, TINY)
        for i in range(z.size):
            thin[1, i] = gap[i] / scale
            thin[2, i] *= last / scale
        end = pursue(narrow, schedule, work, thin, goal, pace, steps, scale)
        products += end - steps
        last, steps = scale, end
        remainder(wide, u, z, gap)


@jit()
def descend_refined(
    wide: Array, narrow: Array, rates: Array, schedule: Array, U: Array, Z: Array, goal: Goal, pace: Pace, ends: Array
) -> None:
    """Settle each row by refined steps; Z moves along.

    Each row of `ends` receives the steps taken, the code, the residual, the bound of its rounding, and the products.
    """
    size = U.shape[1]
    work, thin = np.zeros((3, wide.shape[1])), np.zeros((3, wide.shape[1]), np.float32)
    copy(rates, thin[0])
    for row in range(U.shape[0]):
        copy(U[row], work[0])
        copy(Z[row], work[2])
        for i in range(wide.shape[1]):
            thin[2, i] = 0
        found = refine_row(wide, narrow, schedule, work, thin, goal, pace)
        ends[row, 0], ends[row, 1], ends[row, 2], ends[row, 3], ends[row, 4] = found
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
def near_enough(bound: float, z: Array, plan: Array) -> float:
    """Return a bound that meets the tolerance, and infinity for all others; NaN is none."""
    allowed = plan[1] if plan[2] == 0 else plan[1] * (norm(z) - bound)
    return bound if bound <= allowed * plan[3] else float(np.inf)


@jit()
def proven(plan: Array, gap: float, state: float, drive: float) -> float:
    """Return the distance to rest that a residual proves, its rounding included; drives that fit do not underflow."""
    return float(plan[4] * (gap + plan[6] * state + plan[7] * drive))


@jit()
def solve(plan: Array, u: Array, z: Array, work: Array) -> float:
    """Write M u into z; return the bound of ‖z − z*‖ by its residual, infinite if that is not near enough.

    `plan` is one array, because each argument costs as much as a product of ten units: n, the tolerance, whether it is
    relative, what its test leaves to rounding, the distance to rest per proven residual, the rounding of the bound, and
    the rounding of a residual per ‖z‖ and per ‖u‖; from index 8 on as many zeros as a panel is long, and the panels of
    −M and of A. The rows of `work` are whole panels of zeros.
    """
    if u.size != int(plan[0]):
        return float(np.inf)
    lanes = work.shape[1]
    size = norm(u)
    if not fits(size):
        return float(np.inf)
    second = 8 + lanes + lanes * lanes
    copy(u, work[0])
    remainder(plan[8 + lanes : second].reshape(-1, lanes, LANES), work[1], work[0], work[2])
    remainder(plan[second:].reshape(-1, lanes, LANES), work[0], work[2], work[3])
    bound = proven(plan, norm(work[3]), norm(work[2]), size)
    return near_enough((bound + deliver(work[2], z)) * (1 + plan[5]), z, plan)


@jit()
def solve_whole(plan: Array, u: Array, z: Array) -> float:
    """Do as `solve` does for float64 and whole panels, with room for the residual only."""
    size = u.size
    if size != int(plan[0]):
        return float(np.inf)
    drive = norm(u)
    if not fits(drive):
        return float(np.inf)
    second, gap = 8 + size + size * size, np.empty(size)
    remainder(plan[8 + size : second].reshape(-1, size, LANES), plan[8 : 8 + size], u, z)
    remainder(plan[second:].reshape(-1, size, LANES), u, z, gap)
    return near_enough(proven(plan, norm(gap), norm(z), drive) * (1 + plan[5]), z, plan)


@jit()
def descend_single(plan: Array, u: Array, z: Array) -> float:
    """Settle one sample from zero into z; return the bound of ‖z − z*‖, infinite if that is not near enough.

    `plan` begins as that of `solve`, with the distance to rest per proven residual. From index 8 on: the goal, the
    most steps, the steps taken unseen per unit of ln(‖u‖/residual wanted), 1/σ_max, shrinkage per step, steps between
    residuals in float64, the length of the schedule; from index 24 on the panels of A, in float32 after them if steps
    are refined, and the schedule. All rates are 1.
    """
    if u.size != int(plan[0]):
        return float(np.inf)
    lanes = (u.size + LANES - 1) // LANES * LANES
    goal = Goal(plan[8], plan[9], plan[10], plan[11], int(plan[12]), plan[13], plan[14])
    most, stretch, rows = int(plan[15]), int(plan[19]), int(plan[20])
    panels = plan[24 : 24 + lanes * lanes].reshape(-1, lanes, LANES)
    schedule = plan[plan.size - 2 * rows :].reshape(rows, 2)
    work = np.zeros((5, lanes))
    copy(u, work[0])
    drive = norm(u)
    if not fits(drive):
        return float(np.inf)
    if stretch > 0:
        thin = np.zeros((3, lanes), np.float32)
        for i in range(lanes):
            thin[0, i] = 1
        narrow = plan[24 + lanes * lanes : plan.size - 2 * rows].view(np.float32).reshape(-1, lanes, LANES)
        pace = Pace(plan[18], stretch, most)
        _, code, size, noise, _ = refine_row(panels, narrow, schedule, work, thin, goal, pace)
    else:
        for i in range(lanes):
            work[1, i] = 1
        wanted = goal.absolute + goal.relative * drive * plan[17]
        first = int(plan[16] * np.log(drive / wanted)) if drive > wanted > 0 else 0
        _, code, size, noise = descend_row(panels, schedule, work, goal, first, most)
    if code != MET:
        return float(np.inf)
    moved = deliver(work[2], z)
    return near_enough((plan[4] * (size + noise) + moved) * (1 + plan[5]), z, plan)


@jit()
def solve_one(plan: Array, u: Array, z: Array) -> float:
    """Do as `solve` does; a door of its own, which `only` may close."""
    return solve(plan, u, z, np.zeros((4, (u.size + LANES - 1) // LANES * LANES)))


@jit()
def descend_one(plan: Array, u: Array, z: Array) -> float:
    """Do as `descend_single` does; a door of its own, which `only` may close."""
    return descend_single(plan, u, z)


@jit()
def solve_rows(plan: Array, U: Array, Z: Array, bounds: Array) -> None:
    """Do as `solve` does, sample by sample."""
    work = np.zeros((4, (U.shape[1] + LANES - 1) // LANES * LANES))
    for row in range(U.shape[0]):
        bounds[row] = solve(plan, U[row], Z[row], work)


@jit()
def descend_rows(plan: Array, U: Array, Z: Array, bounds: Array) -> None:
    """Do as `descend_single` does, sample by sample."""
    for row in range(U.shape[0]):
        bounds[row] = descend_single(plan, U[row], Z[row])


@jit()
def residuals(U: Array, gap: Array, Z: Array, readout: int, found: Array) -> None:
    """Turn A z into u − A z, row by row, and write the norms of it, of the state and of the read-out."""
    for row in range(U.shape[0]):
        for i in range(U.shape[1]):
            gap[row, i] = U[row, i] - gap[row, i]
        found[0, row], found[1, row], found[2, row] = sizes(gap[row], Z[row], readout)


@jit()
def advance(gap: Array, rates: Array, alpha: float, omega: float, step: Array, Z: Array) -> None:
    """Take the step α κ ∘ gap + ω step in every row."""
    a, w = Z.dtype.type(alpha), Z.dtype.type(omega)
    for row in range(Z.shape[0]):
        for i in range(Z.shape[1]):
            step[row, i] = a * rates[i] * gap[row, i] + w * step[row, i]
            Z[row, i] += step[row, i]


@jit()
def stride(light: Array, rates: Array, scale: Array, alpha: float, omega: float, step: Array, Z: Array) -> None:
    """Take a refined step in every row."""
    a, w = np.float32(alpha), np.float32(omega)
    for row in range(Z.shape[0]):
        for i in range(Z.shape[1]):
            step[row, i] = a * rates[i] * light[row, i] + w * step[row, i]
            Z[row, i] += scale[row] * step[row, i]


@jit()
def lessen(product: Array, light: Array, Z: Array, readout: int, found: Array) -> None:
    """Take A p off the residual in every row, and write its norm and that of the read-out."""
    for row in range(Z.shape[0]):
        for i in range(Z.shape[1]):
            light[row, i] -= product[row, i]
        found[0, row], found[1, row] = norm(light[row]), norm(Z[row, :readout])


class Goals(NamedTuple):
    """When a sample stops: residual ≤ `absolute` + `relative` ‖z‖, or > `largest` ‖u‖, or after `most` steps."""

    absolute: float
    relative: float
    largest: float
    most: int


@jit()
def chebyshev_rows(
    A: Rows, u: Array, z: Array, p: Array, alpha: float, omega: float, out: Array, first: int, last: int
) -> float:
    """p ← α (u − A z) + ω p,  out ← z + p in rows `first` … `last` − 1; return their share of ‖u − A z‖²."""
    square = 0.0
    for i in range(first, last):
        total = u[i]
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            total -= A.data[s] * z[np.uint32(A.indices[s])]
        p[i] = alpha * total + omega * p[i]
        out[i] = z[i] + p[i]
        square += total * total
    return square


@jit(parallel=True)
def chebyshev_on_threads(
    A: Rows, u: Array, z: Array, p: Array, alpha: float, omega: float, out: Array, cuts: Array
) -> float:
    """Take the step in all rows, those between two cuts by one thread; return ‖u − A z‖²."""
    squares = np.empty(cuts.size - 1)
    for part in prange(cuts.size - 1):
        squares[part] = chebyshev_rows(A, u, z, p, alpha, omega, out, cuts[part], cuts[part + 1])
    return float(np.sum(squares))


@jit()
def march_sparse(A: Rows, u: Array, z: Array, centre: float, focus: float, goal: Goals, cuts: Array) -> tuple[int, int]:
    """Take Chebyshev-scheduled Euler steps until the goal; z moves along. Return the steps taken and the code.

    The three-term recurrence of `chebyshev.recurrence`, two states in turn; on threads where the rows are cut.
    """
    p, other = np.zeros_like(z), np.empty_like(z)
    limit = goal.largest * math.sqrt(np.sum(u * u))
    rho, alpha, omega = focus / centre, 1.0 / centre, 0.0
    for step in range(goal.most + 1):
        old, new = (z, other) if step % 2 == 0 else (other, z)
        if cuts.size > 2:
            gap = math.sqrt(chebyshev_on_threads(A, u, old, p, alpha, omega, new, cuts))
        else:
            gap = math.sqrt(chebyshev_rows(A, u, old, p, alpha, omega, new, 0, u.size))
        size = math.sqrt(np.sum(old * old)) if goal.relative > 0 else 0.0
        met = gap <= goal.absolute + goal.relative * size
        lost = not gap <= limit
        if met or lost or step == goal.most:
            z[:] = old
            return step, MET if met else (DIVERGED if lost else RUNNING)
        alpha = 1.0 / (centre - focus * rho / 2)
        omega = focus * alpha / 2 * rho
        rho = focus * alpha / 2
    return goal.most, RUNNING


@jit()
def sparse_residual(A: Rows, u: Array, z: Array, gap: Array, noise: Array) -> None:
    """Write u − A z and a bound on its rounding, γ (|u| + |A||z|), in float64."""
    unit = 2.0**-53
    for i in range(u.size):
        total = np.float64(u[i])
        size = abs(total)
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            term = np.float64(A.data[s]) * np.float64(z[np.uint32(A.indices[s])])
            total -= term
            size += abs(term)
        gap[i] = total
        # n products and n subtractions, in any order: γ_{n+1}; 1.01 covers its denominator and the sum of sizes.
        noise[i] = 1.01 * (A.indptr[i + 1] - A.indptr[i] + 2) * unit * size
