"""Compiled integration of  dz/ds = κ ∘ (u − A z)  by explicit Runge–Kutta steps, one row per sample.

Slopes are computed from the residual, k_1 = κ ∘ (u − A z), k_i = k_1 − h κ ∘ A ∑_j a_ij k_j, which is the same method
for a constant drive and leaves the rest state exactly where it is. Rows share nothing; where they are many they run in
parallel. Few and short ones are done before threads are awake.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurodecorr._numerics.jit import jit, prange
from neurodecorr._numerics.norms import norm
from neurodecorr._typing import Array
from neurodecorr.circuit.certificate import Tolerance, reached, rounding_level

RUNNING, MET, STALLED, DIVERGED = 0, 1, 2, 3

# PI control after Hairer and Wanner, Solving ODEs II, §IV.2: h ← h · safety · error^(−a) · last_error^b.
SAFETY = 0.9
A_POWER = 0.17
B_POWER = 0.04
LARGEST_GROWTH = 5.0
LARGEST_CUT = 0.1
LEAST_ERROR = 1e-4
TINY = 1e-300
# Below this share of the largest step the error estimate is rounding: such a step is taken as it is.
LEAST_STEP = 1e-10


class Flow(NamedTuple):
    """Matrix A and rates κ of the dynamics.

    ::

        dz/ds = κ ∘ (u − A z),    s = t/τ
    """

    A: Array
    rates: Array


class Scheme(NamedTuple):
    """Coefficients of a tableau.

    ::

        k_j = κ ∘ (u − A (z + h ∑_l a_jl k_l)),    z ← z + h ∑_j b_j k_j
    """

    a: Array
    b: Array
    error: Array
    dense: Array


class Frames(NamedTuple):
    """Step h and number of steps up to each frame."""

    h: Array
    counts: Array


class StepTrial(NamedTuple):
    """Room of a step that may be rejected: its slopes; state, residual and error as rows of `new`."""

    K: Array
    new: Array


class Control(NamedTuple):
    """Error ‖·‖ ≤ atol + rtol ‖z‖ allowed per step, first and largest step, number of steps allowed, and times."""

    rtol: float
    atol: float
    first: float
    largest: float
    most: int
    times: Array


settled_enough = jit()(reached)
residual_rounding = jit()(rounding_level)


@jit()
def copy(source: Array, out: Array) -> None:
    """Write `source` into `out`.

    ::

        out ← source
    """
    for p in range(source.size):
        out[p] = source[p]


@jit()
def save_frame(z: Array, code: int, frame: Array) -> None:
    """Write a state into a frame; where its norm has overflowed there is none.

    ::

        frame ← z
    """
    for p in range(z.size):
        frame[p] = np.nan if code == DIVERGED else z[p]


@jit()
def leftover(A: Array, u: Array, z: Array, gap: Array) -> None:
    """Write gap ← u − A z."""
    for i in range(z.size):
        total = u[i]
        for j in range(z.size):
            total -= A[i, j] * z[j]
        gap[i] = total


@jit()
def judge(gap: Array, u: Array, z: Array, goal: Tolerance, memory: Array) -> int:
    """Return the code of a state; `memory` holds the least residual so far and the steps since it last halved."""
    size = norm(gap)
    if not np.isfinite(size):
        return DIVERGED
    noise = residual_rounding(norm(z), norm(u), goal)
    if settled_enough(size, noise, norm(z[: goal.readout]), goal):
        return MET
    memory[1] += 1.0
    if size <= 0.5 * memory[0]:
        memory[0] = size
        memory[1] = 0.0
    return STALLED if size <= noise and memory[1] > goal.patience else RUNNING


@jit()
def combine(weights: Array, h: float, K: Array, count: int, out: Array) -> None:
    """Write h ∑_j weights_j k_j over the first `count` slopes into `out`."""
    for p in range(out.size):
        total = 0.0
        for j in range(count):
            total += weights[j] * K[j, p]
        out[p] = h * total


@jit()
def slopes(flow: Flow, a: Array, h: float, gap: Array, K: Array, work: Array) -> None:
    """Write the slopes k_1 … k_s at a state with residual `gap` into the rows of `K`.

    ::

        k_j = κ ∘ (u − A (z + h ∑_l a_jl k_l))
    """
    for p in range(gap.size):
        K[0, p] = flow.rates[p] * gap[p]
    for i in range(1, a.shape[0]):
        combine(a[i], h, K, i, work)
        for p in range(gap.size):
            total = flow.A[p, 0] * work[0]
            for q in range(1, gap.size):
                total += flow.A[p, q] * work[q]
            K[i, p] = K[0, p] - flow.rates[p] * total


@jit()
def runge_kutta_row(
    flow: Flow, u: Array, z: Array, scheme: Scheme, course: Frames, goal: Tolerance, frames: Array
) -> tuple[int, int]:
    """March one row through its frames; return the steps taken and the code.

    ::

        k_j = κ ∘ (u − A (z + h ∑_l a_jl k_l)),    z ← z + h ∑_j b_j k_j
    """
    gap, work = np.empty_like(z), np.empty_like(z)
    K = np.empty((scheme.b.size, z.size), z.dtype)
    memory = np.zeros(2)
    memory[0] = np.inf
    leftover(flow.A, u, z, gap)
    code = judge(gap, u, z, goal, memory)
    steps = 0
    for frame in range(course.counts.size):
        for _ in range(course.counts[frame]):
            if code != RUNNING:
                break
            slopes(flow, scheme.a, course.h[frame], gap, K, work)
            combine(scheme.b, course.h[frame], K, scheme.b.size, work)
            for p in range(z.size):
                z[p] += work[p]
            steps += 1
            leftover(flow.A, u, z, gap)
            code = judge(gap, u, z, goal, memory)
        save_frame(z, code, frames[frame])
    return steps, code


@jit()
def estimate(error: Array, h: float, K: Array, work: Array) -> float:
    """Return the norm of the error estimate h ∑_j error_j k_j, which is left in `work`."""
    combine(error, h, K, error.size, work)
    return norm(work)


@jit()
def factor(error: float, last: float) -> float:
    """Return the factor of the next step, by proportional–integral control.

    Reference: Gustafsson (1991), ACM Transactions on Mathematical Software 17, 533–554.
    """
    change: float = SAFETY * last**B_POWER / max(error, 1e-10) ** A_POWER
    return min(LARGEST_GROWTH, max(LARGEST_CUT, change))


@jit()
def attempt(
    flow: Flow, u: Array, z: Array, gap: Array, scheme: Scheme, step: float, control: Control, trial: StepTrial
) -> float:
    """Try one step: write state and residual into `trial`; return the error over its tolerance.

    ::

        z_new ← z + h ∑_j b_j k_j,    error = h ∑_j e_j k_j
    """
    K, new = trial.K, trial.new
    work = new[2]
    slopes(flow, scheme.a, step, gap, K, work)
    combine(scheme.b, step, K, scheme.b.size, work)
    for p in range(z.size):
        new[0, p] = z[p] + work[p]
    leftover(flow.A, u, new[0], new[1])
    for p in range(z.size):
        K[scheme.b.size, p] = flow.rates[p] * new[1, p]
    allowed = control.atol + control.rtol * max(norm(z), norm(new[0]))
    return estimate(scheme.error, step, K, work) / (allowed + TINY)


@jit()
def save_between(z: Array, K: Array, dense: Array, step: float, theta: float, frame: Array) -> None:
    """Write the state a share θ of the way through a step into a frame, by the interpolant of order 4.

    ::

        z(t + θh) = z + h ∑_i k_i ∑_j d_ij θ^(j+1)

    Reference: Shampine (1986), Mathematics of Computation 46, 135–150.
    """
    for p in range(z.size):
        frame[p] = z[p]
    for i in range(dense.shape[0]):
        weight = 0.0
        for j in range(dense.shape[1] - 1, -1, -1):
            weight = theta * (dense[i, j] + weight)
        scaled = z.dtype.type(step * weight)
        for p in range(z.size):
            frame[p] += scaled * K[i, p]


@jit()
def adapt_row(
    flow: Flow, u: Array, z: Array, scheme: Scheme, control: Control, goal: Tolerance, frames: Array
) -> tuple[int, int, int, float]:
    """Integrate one row with its own steps; return the steps taken and rejected, the code and the time.

    Times within a step are read off its interpolant; the last one ends a step.
    """
    gap, times, new = np.empty_like(z), control.times, np.empty((3, z.size), z.dtype)
    trial = StepTrial(np.empty((scheme.error.size, z.size), z.dtype), new)
    memory = np.zeros(2)
    memory[0] = np.inf
    leftover(flow.A, u, z, gap)
    code = judge(gap, u, z, goal, memory)
    t, h, last, taken, rejected, frame, final = 0.0, control.first, LEAST_ERROR, 0, 0, 0, times[-1]
    while frame < times.size and times[frame] <= t:
        save_frame(z, code, frames[frame])
        frame += 1
    while code == RUNNING and t < final and taken < control.most:
        ends = t + h * (1 + 1e-12) >= final
        step = final - t if ends else h
        error = attempt(flow, u, z, gap, scheme, step, control, trial)
        if not np.isfinite(norm(new[1])):
            code = DIVERGED
        elif error <= 1.0 or step <= LEAST_STEP * control.largest:
            now = final if ends else t + step
            while frame < times.size and times[frame] < now:
                save_between(z, trial.K, scheme.dense, step, (times[frame] - t) / step, frames[frame])
                frame += 1
            t = now
            copy(new[0], z)
            copy(new[1], gap)
            code = judge(gap, u, z, goal, memory)
            taken += 1
            h = min(control.largest, step * factor(error, last))
            last = max(error, LEAST_ERROR)
        else:
            rejected += 1
            h = step * (min(1.0, factor(error, 1.0)) if np.isfinite(error) else LARGEST_CUT)
    while frame < times.size:
        save_frame(z, code, frames[frame])
        frame += 1
    return taken, rejected, code, t


@jit()
def march(
    flow: Flow, U: Array, Z: Array, scheme: Scheme, course: Frames, goal: Tolerance, frames: Array, ends: Array
) -> None:
    """Take `course.counts[f]` steps of size `course.h[f]` up to each frame f, unless the goal is met before.

    ::

        k_j = κ ∘ (u − A (z + h ∑_l a_jl k_l)),    z ← z + h ∑_j b_j k_j

    Z moves along; each row of `ends` receives the steps taken and the code.
    """
    for row in range(U.shape[0]):
        ends[row, 0], ends[row, 1] = runge_kutta_row(flow, U[row], Z[row], scheme, course, goal, frames[:, row])


@jit(parallel=True)
def march_on_threads(
    flow: Flow, U: Array, Z: Array, scheme: Scheme, course: Frames, goal: Tolerance, frames: Array, ends: Array
) -> None:
    """Do as `march` does, rows in parallel."""
    for row in prange(U.shape[0]):
        ends[row, 0], ends[row, 1] = runge_kutta_row(flow, U[row], Z[row], scheme, course, goal, frames[:, row])


@jit()
def adapt(
    flow: Flow, U: Array, Z: Array, scheme: Scheme, control: Control, goal: Tolerance, frames: Array, ends: Array
) -> None:
    """Integrate each row to each of the times with error control, unless the goal is met before.

    Z moves along; each row of `ends` receives the steps taken and rejected, the code, and the time.

    Reference: Dormand & Prince (1980), Journal of Computational and Applied Mathematics 6, 19–26.
    """
    for row in range(U.shape[0]):
        found = adapt_row(flow, U[row], Z[row], scheme, control, goal, frames[:, row])
        ends[row, 0], ends[row, 1], ends[row, 2], ends[row, 3] = found


@jit(parallel=True)
def adapt_on_threads(
    flow: Flow, U: Array, Z: Array, scheme: Scheme, control: Control, goal: Tolerance, frames: Array, ends: Array
) -> None:
    """Do as `adapt` does, rows in parallel."""
    for row in prange(U.shape[0]):
        found = adapt_row(flow, U[row], Z[row], scheme, control, goal, frames[:, row])
        ends[row, 0], ends[row, 1], ends[row, 2], ends[row, 3] = found
