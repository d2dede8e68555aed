"""`integrate`: the activity of a circuit at requested times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import choice, finite, positive, real_array, sample_or_samples
from neurodecorr._threads import one_thread
from neurodecorr.circuit.certificate import Goal
from neurodecorr.circuit.explicit import LEAST_RTOL, adaptive_frames, fixed_frames
from neurodecorr.circuit.model import LinearCircuit, require_circuit
from neurodecorr.circuit.problem import Problem, drive, start
from neurodecorr.circuit.propagator import exponential_propagator, implicit_propagator
from neurodecorr.circuit.steps import require_stable, require_step
from neurodecorr.circuit.tableaux import TABLEAUX
from neurodecorr.errors import ConfigError, DivergenceError, InputError

__all__ = ["Trajectory", "integrate"]

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Propagator = Callable[[Floats, float], Floats]

METHODS = ("euler", "rk4", "rk45", "implicit", "exponential")
FRAMES = 101
# A fixed step is this share of the fastest time constant, unless told.
STEP_SHARE = 0.1
DEFAULT_RTOL = 1e-6


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Activity at requested times.

    Parameters
    ----------
    t : (times,) array
        Times, in the unit of τ.
    xbar : (times, n) or (times, samples, n) array
        Activity of the units.
    state : (times, N) or (times, samples, N) array
        Whole state; beyond the first n entries the error units of a two-population circuit.
    steps : int or (samples,) array
        Accepted steps.
    products : int or (samples,) array
        Matrix–vector products, those of rejected steps included.
    method : str
        Method used.
    """

    t: Floats
    xbar: Floats
    state: Floats
    steps: Any
    products: Any
    method: str


def integrate(
    circuit: LinearCircuit,
    x: npt.ArrayLike,
    t_end: float,
    method: str = "rk45",
    times: npt.ArrayLike | None = None,
    *,
    dt: float | None = None,
    initial: npt.ArrayLike | None = None,
    rtol: float | None = None,
    atol: float = 1e-9,
    allow_unstable: bool = False,
) -> Trajectory:
    """Integrate the dynamics for a constant input and return the activity at requested times.

    ::

        dz/ds = κ ∘ (u − A z),    s = t/τ

    Every requested time is the end of a step, so the order of a method holds at each of them.

    Parameters
    ----------
    circuit : Circuit or TwoPopulationCircuit
        The circuit.
    x : (n,) or (samples, n) array
        Input, constant in time.
    t_end : float
        End of the integration, in the unit of τ.
    method : {'rk45', 'euler', 'rk4', 'implicit', 'exponential'}
        Dormand–Prince 5(4), each sample with its own steps (fixed if `dt` is given), forward Euler, classical
        Runge–Kutta, Radau IIA of order 3, or the exact flow. The last two form one N×N propagator per distinct step:
        cheapest at equally spaced times.
    times : (times,) array, optional
        Requested times in [0, t_end], strictly increasing; 101 equally spaced ones by default.
    dt : float, optional
        Largest fixed step, in the unit of τ; a tenth of the fastest time constant by default. Steps between two
        requested times are equal.
    initial : (n,) or (samples, n) array, optional
        Activity at t = 0; zero by default.
    rtol, atol : float, optional
        Adaptive "rk45" allows an error ‖·‖ ≤ atol + rtol ‖z‖ per step; 1e-6 (1000 ε for float32) and 1e-9.
    allow_unstable : bool, default False
        Whether to integrate circuits and steps that diverge, to show how they do.

    Returns
    -------
    Trajectory
        Times, activity, whole state, steps and products.

    Raises
    ------
    StabilityError
        If the circuit is unstable or `dt` beyond the limit of the method, unless `allow_unstable`.
    DivergenceError
        If the activity leaves the range of its floating-point type.
    InputError, ConfigError
        If an input or an option cannot be used.

    Examples
    --------
    >>> from neurodecorr.circuit import Circuit, integrate
    >>> integrate(Circuit([[2.0]], tau=10.0), [2.0], 5.0, "exponential", times=[0.0, 5.0]).xbar.round(6)
    array([[0.      ],
           [0.632121]])
    """
    circuit, method = require_circuit(circuit), choice(method, "method", METHODS)
    drives, single = sample_or_samples(x, "x", circuit.size)
    t = _times(times, positive(t_end, "t_end", "unit of tau"))
    dtype = np.result_type(circuit.R, drives)
    Z = circuit.state(start(circuit, initial, len(drives), dtype))
    problem = Problem(circuit, drive(circuit, drives, dtype), Z)
    step = None if dt is None else positive(dt, "dt", "unit of tau") / circuit.tau
    tolerances = _tolerances(rtol, atol, dtype)
    with one_thread(circuit.state_size), np.errstate(over="ignore", invalid="ignore"):
        _require_decay(circuit, method, step, allow_unstable)
        frames, steps, products = _frames(problem, t / circuit.tau, method, step, tolerances)
    _require_finite(frames, t)
    if single:
        frames, steps, products = frames[:, 0], steps[0], products[0]
    return Trajectory(t, circuit.readout(frames), frames, steps, products, method)


def _times(times: npt.ArrayLike | None, t_end: float) -> Floats:
    if times is None:
        return np.linspace(0.0, t_end, FRAMES)
    t = finite(real_array(times, "times"), "times").astype(np.float64)
    if t.ndim != 1 or not t.size:
        raise InputError(f"times must be a non-empty vector; got shape {t.shape}.")
    if (np.diff(t) <= 0).any():
        place = int(np.argmax(np.diff(t) <= 0)) + 1
        raise InputError(f"times must increase strictly; got {t[place]:g} after {t[place - 1]:g} at index {place}.")
    if t[0] < 0 or t[-1] > t_end:
        raise InputError(f"times must lie in [0, t_end] = [0, {t_end:g}]; got {t[0]:g} to {t[-1]:g}.")
    return t


def _tolerances(rtol: float | None, atol: float, dtype: npt.DTypeLike) -> tuple[float, float]:
    eps = float(np.finfo(dtype).eps)
    relative = max(DEFAULT_RTOL, 10 * LEAST_RTOL * eps) if rtol is None else positive(rtol, "rtol")
    if relative < LEAST_RTOL * eps:
        raise ConfigError(
            f"rtol must be ≥ {LEAST_RTOL * eps:.2g}, 100 units of rounding of {np.dtype(dtype)}; got {relative:g}. "
            "Use float64, or method 'exponential', which is exact."
        )
    return relative, positive(atol, "atol", "unit of the activity")


def _require_decay(circuit: LinearCircuit, method: str, step: float | None, allow_unstable: bool) -> None:
    if allow_unstable:
        return
    require_stable(circuit)
    if step is not None and method in TABLEAUX:
        require_step(circuit, method, step)


def _frames(
    problem: Problem, s: Floats, method: str, step: float | None, tolerances: tuple[float, float]
) -> tuple[Floats, Ints, Ints]:
    """Return states at times s (units of τ), steps and products."""
    if method == "exponential":
        return _affine(problem, s, math.inf, exponential_propagator)
    if method == "rk45" and step is None:
        frames, run = adaptive_frames(problem, s, tolerances, _endless(problem))
        return frames, run.steps, run.products
    if step is None:
        step = STEP_SHARE / abs(problem.circuit.spectrum.fastest)
    if method == "implicit":
        return _affine(problem, s, step, implicit_propagator)
    frames, run = fixed_frames(problem, TABLEAUX[method], *_split(s, step), _endless(problem))
    return frames, run.steps, run.products


def _split(s: Floats, step: float) -> tuple[Floats, Ints]:
    """Return size and number of equal steps, at most `step`, up to each time from the one before."""
    gaps = np.diff(s, prepend=0.0)
    counts = np.maximum(np.ceil(gaps / step * (1 - 1e-12)), gaps > 0).astype(np.int64)
    return gaps / np.maximum(counts, 1), counts


def _affine(problem: Problem, s: Floats, step: float, propagator: Propagator) -> tuple[Floats, Ints, Ints]:
    """March by one propagator per distinct step; steps that differ by the rounding of the times share one."""
    h, counts = _split(s, step)
    grain = 8 * np.finfo(np.float64).eps * s[-1]
    known: dict[int, Floats] = {}
    frames, z = np.empty((len(s), *problem.U.shape), problem.dtype), problem.Z
    for frame, (size, count) in enumerate(zip(h, counts, strict=True)):
        if count:
            key = round(size / grain)
            if key not in known:
                known[key] = propagator(problem.circuit.flow, size).astype(problem.dtype)
            for _ in range(count):
                z = z + (problem.rates * (problem.U - z @ problem.A.T)) @ known[key].T
        frames[frame] = z
    steps = np.full(len(z), counts.sum())
    return frames, steps, 2 * steps


def _endless(problem: Problem) -> Goal:
    """Return the goal that is never met."""
    return Goal(-1.0, 0.0, 0.0, 0.0, problem.circuit.size, math.inf)


def _require_finite(frames: Floats, t: Floats) -> None:
    bad = ~np.isfinite(frames).all(axis=(1, 2))
    if bad.any():
        raise DivergenceError(
            f"the activity must stay within {frames.dtype}; it left it by t = {t[int(np.argmax(bad))]:g}. "
            "Integrate for less time, or use a stable circuit."
        )
