"""Compiled settling by Chebyshev-scheduled Euler steps: single rows from panel to panel, batches between products."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._compile import jit, panel_residual
from neurodecorr.circuit.certificate import Goal
from neurodecorr.circuit.kernels import (
    DIVERGED,
    MET,
    RUNNING,
    STALLED,
    copy,
    norm,
    residual_rounding,
    settled_enough,
)

__all__ = ["advance", "descend", "descend_one", "residuals"]

Array = npt.NDArray[Any]


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


@jit()
def descend_one(panels: Array, plan: Array, u: Array, z: Array) -> float:
    """Settle one sample from zero into z; return the proven residual, infinite if the goal is not proven.

    `plan` is one array, because each argument costs as much as a product of ten units: the goal, the most steps, n, the
    steps taken unseen per unit of ln(‖u‖/residual wanted), 1/σ_min, and from index 10 on the schedule. All rates are 1.
    """
    if u.size != int(plan[7]):
        return float(np.inf)
    goal = Goal(plan[0], plan[1], plan[2], plan[3], int(plan[4]), plan[5])
    work = np.zeros((5, panels.shape[1]), u.dtype)
    copy(u, work[0])
    for i in range(work.shape[1]):
        work[1, i] = 1
    drive = norm(u)
    wanted = goal.absolute + goal.relative * drive * plan[9]
    first = int(plan[8] * np.log(drive / wanted)) if drive > wanted > 0 else 0
    schedule = plan[10:].reshape(-1, 2)
    _, code, size, noise = descend_row(panels, schedule, work, goal, first, int(plan[6]))
    copy(work[2, : u.size], z)
    return float(size + noise if code == MET and noise <= size else np.inf)


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
