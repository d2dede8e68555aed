"""Time courses that need not fit into memory: integrated stretch by stretch, streamed to a file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.memory import require_memory
from neurodecorr._numerics.norms import EPS
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats, Ints
from neurodecorr._validation import (
    ROUNDING,
    checked_names,
    checked_text,
    choice,
    count,
    flag,
    instants,
    mapping,
    numeral,
    positive,
    sample_or_samples,
    steps_within,
    vector,
)
from neurodecorr.circuit.certificate import Tolerance
from neurodecorr.circuit.inputs import (
    BY_RUNGS,
    PROPAGATOR,
    PiecewiseConstant,
    adaptive_driven_frames,
    driven_frames,
    drives_at,
    drives_of,
    switched_frames,
)
from neurodecorr.circuit.krylov_trajectories import arnoldi_frames, expanded_frames, expansion
from neurodecorr.circuit.model import Circuit, LinearCircuit, require_circuit
from neurodecorr.circuit.problem import Problem, drive, start
from neurodecorr.circuit.propagators import exact_cost, exact_frames, implicit_propagator, marched_frames, split
from neurodecorr.circuit.runge_kutta import LEAST_RTOL, adaptive_frames, fixed_frames
from neurodecorr.circuit.stability import following_step, require_stable, require_step, stability
from neurodecorr.circuit.tableaux import TABLEAUX
from neurodecorr.errors import ConfigError, DivergenceError, InputError
from neurodecorr.io import Variable, provenance
from neurodecorr.io.observer import Observable, Observer

Input = npt.ArrayLike | PiecewiseConstant | Callable[[float], npt.ArrayLike]

METHODS = ("auto", "euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "arnoldi")
POLYNOMIAL = ("auto", "chebyshev", "arnoldi")
FRAMES = 101
# A fixed implicit step is this share of the fastest time constant, unless told.
STEP_SHARE = 0.1
# More steps than this, minutes of work, are taken only if asked for by dt.
MOST_OWN_STEPS = 10**8
DEFAULT_RTOL = 1e-6
POLYNOMIAL_RTOL = 1e-7
# Up to this many units exact propagators cost less than a polynomial basis.
SMALL = 48
# … while they write at most this many numbers.
FEW = 2**20
# Multiplications that the handling of one Arnoldi basis costs beside its products.
WORTH_ARNOLDI = 2.5e7
# Products that a basis takes for one piece of the input, roughly.
PIECE_PRODUCTS = 20


@short_repr
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
    x: Input,
    t_end: float,
    method: str = "auto",
    times: npt.ArrayLike | None = None,
    *,
    dt: float | None = None,
    initial: npt.ArrayLike | None = None,
    rtol: float | None = None,
    atol: float = 1e-9,
    allow_unstable: bool = False,
) -> Trajectory:
    """Integrate the dynamics and return the activity at requested times.

    ::

        dz/ds = κ ∘ (u − A z),    s = t/τ

    Exact methods step from one requested time to the next; those of fixed steps end one at each of them. Adaptive
    "rk45" takes the steps that its tolerance asks for, and reads the times in between off its interpolant of order 4.

    Parameters
    ----------
    circuit : Circuit or TwoPopulationCircuit
        The circuit.
    x : (n,) or (samples, n) array, PiecewiseConstant, or function
        Input: constant, constant from switch to switch, or a function t → (n,) or (samples, n) of the time in the unit
        of τ, smooth enough for the order of the method; "rk45" then takes the same steps for all samples.
    t_end : float
        End of the integration, in the unit of τ.
    method : {'auto', 'rk45', 'euler', 'rk4', 'implicit', 'exponential', 'chebyshev', 'arnoldi'}
        "auto": "exponential", "chebyshev" or "arnoldi", whichever takes the least arithmetic for the size, the times
        and the spectrum (`Trajectory.method` tells); "rk45" for a function of time, or if `dt` is given.
        "exponential": the exact flow, one N×N propagator per distinct step. "chebyshev": all times from one polynomial
        basis of few products, exact to `rtol`. "arnoldi": the same from one orthonormal basis per sample, for circuits
        far from normal, where "chebyshev" turns to it by itself, or to "exponential" where that is cheaper. "rk45":
        Dormand–Prince 5(4), each sample with its own steps (fixed if `dt` is given). "euler", "rk4", "implicit": steps
        of one size of forward Euler, classical Runge–Kutta, or Radau IIA of order 3.
    times : (times,) array, optional
        Requested times in [0, t_end], strictly increasing; 101 equally spaced ones by default. One that rounding has
        moved beyond t_end, by 1e-12 of it at most, counts as t_end.
    dt : float, optional
        Largest fixed step, in the unit of τ. By default a tenth of the fastest time constant, and of the limit of an
        explicit method, which is lower for modes that turn many times before they decay. Steps between two requested
        times are equal.
    initial : (n,) or (samples, n) array, optional
        Activity at t = 0; zero by default.
    rtol, atol : float, optional
        Adaptive "rk45" allows an error ‖·‖ ≤ atol + rtol ‖z‖ per step; 1e-6 (1000 ε for float32) and 1e-9.
        "chebyshev" and "arnoldi" allow rtol times the largest distance from the start; 1e-7 (10 ε for float32).
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
    >>> from neurodecorr.circuit.model import Circuit
    >>> integrate(Circuit([[2.0]], tau=10.0), [2.0], 5.0, "exponential", times=[0.0, 5.0]).xbar.round(6)
    array([[0.      ],
           [0.632121]])
    """
    circuit, method = require_circuit(circuit), choice(method, "method", METHODS)
    drives, single = _at_start(x, circuit.size)
    t = _times(times, positive(t_end, "t_end", "unit of tau"))
    dtype = np.result_type(circuit.R, drives)
    Z = circuit.state(start(circuit, initial, len(drives), dtype))
    problem = Problem(circuit, drive(circuit, drives, dtype), Z)
    step = None if dt is None else positive(dt, "dt", "unit of tau") / circuit.tau
    if method == "auto" and (callable(x) or dt is not None):
        method = "rk45"
    tolerances = _tolerances(rtol, atol, method, dtype)
    with one_thread(circuit.state_size), np.errstate(over="ignore", invalid="ignore"):
        _require_decay(circuit, method, step, allow_unstable)
        if callable(x):
            found = _driven(problem, t, x, method, step, tolerances)
        elif isinstance(x, PiecewiseConstant):
            found = _pieces(problem, t, x, method, step, tolerances)
        else:
            found = _frames(problem, t / circuit.tau, method, step, tolerances)
        _require_finite(found[0], t)
    frames, steps, products, method = found
    if single:
        frames, steps, products = frames[:, 0], steps[0], products[0]
    return Trajectory(t, circuit.readout(frames), frames, steps, products, method)


def _at_start(x: Input, features: int) -> tuple[Floats, bool]:
    """Return the input at t = 0, (samples, n), and whether it is a single one."""
    if isinstance(x, PiecewiseConstant):
        return sample_or_samples(x.values[0], "values", features)
    return drives_at(x, 0.0, features, None) if callable(x) else sample_or_samples(x, "x", features)


def _times(times: npt.ArrayLike | None, t_end: float) -> Floats:
    if times is None:
        return np.linspace(0.0, t_end, FRAMES)
    return instants(times, "times", t_end)


def _tolerances(rtol: float | None, atol: float, method: str, dtype: npt.DTypeLike) -> tuple[float, float]:
    eps, atol = float(np.finfo(dtype).eps), positive(atol, "atol", "unit of the activity")
    if method in POLYNOMIAL and rtol is None:
        return max(POLYNOMIAL_RTOL, 10 * eps), atol
    relative = max(DEFAULT_RTOL, 10 * LEAST_RTOL * eps) if rtol is None else positive(rtol, "rtol")
    if relative < LEAST_RTOL * eps:
        raise ConfigError(
            f"rtol must be ≥ {LEAST_RTOL * eps:.2g}, 100 units of rounding of {np.dtype(dtype)}; got {relative:g}. "
            "Use float64, or method 'exponential', which is exact."
        )
    return relative, atol


def _require_decay(circuit: LinearCircuit, method: str, step: float | None, allow_unstable: bool) -> None:
    if flag(allow_unstable, "allow_unstable"):
        return
    require_stable(circuit)
    if step is not None and method in TABLEAUX:
        require_step(circuit, method, step)


# States at the requested times, (times, samples, N), steps and products of each sample, and the method.
Found = tuple[Floats, Ints, Ints, str]


def _frames(problem: Problem, s: Floats, method: str, step: float | None, tolerances: tuple[float, float]) -> Found:
    """Return states at times s (units of τ)."""
    few = problem.U.shape[1] <= SMALL and len(s) * problem.U.size <= FEW
    if method == "exponential" or (method == "auto" and few):
        return *exact_frames(problem, s), "exponential"
    if method in POLYNOMIAL:
        return _polynomial(problem, s, method, tolerances[0])
    if method == "rk45" and step is None:
        frames, run = adaptive_frames(problem, s, tolerances, _endless(problem))
        return frames, run.steps, run.products, method
    if step is None:
        step = _default_step(problem, method, float(s[-1]))
    if method == "implicit":
        return *marched_frames(problem, s, step, implicit_propagator), method
    frames, run = fixed_frames(problem, TABLEAUX[method], *split(s, step), _endless(problem))
    return frames, run.steps, run.products, method


def _polynomial(problem: Problem, s: Floats, method: str, rtol: float) -> Found:
    """Return the states from polynomial bases, or exactly where that is cheaper than the vectors it would take."""
    most = math.inf if method == "arnoldi" else exact_cost(problem, s)
    field = None if method == "arnoldi" else problem.circuit.spectrum.field
    found = None if field is None else expansion(field, s, rtol)
    fits = found is not None and (method == "chebyshev" or found.a.shape[1] <= most)
    frames, used = (expanded_frames(problem, found) if found is not None and fits else None), "chebyshev"
    if frames is None and most * problem.U.shape[1] ** 2 >= WORTH_ARNOLDI:
        frames, used = arnoldi_frames(problem, s, rtol, most), "arnoldi"
    if frames is None:
        return *exact_frames(problem, s), "exponential"
    return frames[0], np.full(len(problem.U), len(s)), np.full(len(problem.U), frames[1]), used


def _driven(
    problem: Problem,
    t: Floats,
    x: Callable[[float], npt.ArrayLike],
    method: str,
    step: float | None,
    tolerances: tuple[float, float],
) -> Found:
    """Return the states under an input that is any function of time."""
    circuit = problem.circuit
    if method not in TABLEAUX:
        raise ConfigError(
            f"x must be constant, or a PiecewiseConstant, for method {method!r}; got a function of time. "
            f"Use one of {', '.join(TABLEAUX)}."
        )

    def u(s: float) -> Floats:
        return drive(circuit, drives_at(x, s * circuit.tau, circuit.size, len(problem.U))[0], problem.dtype)

    if method == "rk45" and step is None:
        return *adaptive_driven_frames(problem, t / circuit.tau, u, tolerances), method
    size = _default_step(problem, method, float(t[-1]) / circuit.tau) if step is None else step
    return *driven_frames(problem, t / circuit.tau, u, TABLEAUX[method], size), method


def _pieces(
    problem: Problem,
    t: Floats,
    x: PiecewiseConstant,
    method: str,
    step: float | None,
    tolerances: tuple[float, float],
) -> Found:
    """Return the states under an input that is constant from switch to switch."""
    circuit = problem.circuit
    begun = max(1, int(np.searchsorted(x.times, t[-1])))
    switches, s = x.times[:begun] / circuit.tau, t / circuit.tau
    U = drives_of(x.values[:begun], circuit, problem.dtype)
    if method == "exponential" or (method == "auto" and _exact_pays(problem, switches, s)):
        return *switched_frames(problem, switches, U, s), "exponential"
    Z, frames = problem.Z, np.empty((len(t), *problem.Z.shape), problem.dtype)
    total, used = np.zeros((2, len(Z)), np.int64), method
    bounds = np.searchsorted(s, switches)
    for k, (begin, first) in enumerate(zip(switches, bounds, strict=True)):
        last, final = (len(s), True) if k + 1 == begun else (int(bounds[k + 1]), False)
        stops = (s[first:last] if final else np.append(s[first:last], switches[k + 1])) - begin
        found, *spent, used = _frames(replace(problem, U=U[k], Z=Z), stops, method, step, tolerances)
        frames[first:last], Z = found[: last - first], np.ascontiguousarray(found[-1])
        total += spent
    return frames, total[0], total[1], used


def _exact_pays(problem: Problem, switches: Floats, s: Floats) -> bool:
    """Tell whether propagators cost less than a basis of `PIECE_PRODUCTS` products for every piece."""
    if problem.U.shape[1] <= SMALL:
        return True
    steps = np.diff(np.union1d(switches, s), prepend=0.0)
    distinct = len(np.unique(np.round(steps / (8 * EPS * max(s[-1], EPS)))))
    exact = PROPAGATOR * problem.U.shape[1] * min(distinct, BY_RUNGS)
    return bool(exact <= PIECE_PRODUCTS * len(switches) * len(problem.U))


def _default_step(problem: Problem, method: str, span: float) -> float:
    """Return the step of a method that is not told one; it passes the check that a step of the user's must pass."""
    spectrum = problem.circuit.spectrum
    if method not in TABLEAUX:
        return STEP_SHARE / abs(spectrum.fastest)
    step = following_step(TABLEAUX[method], spectrum.eigenvalues)
    if spectrum.decays:
        require_step(problem.circuit, method, step)
    if span > MOST_OWN_STEPS * step:
        raise ConfigError(
            f"method {method!r} must follow this circuit in at most {MOST_OWN_STEPS:.0e} steps of its own; it needs "
            f"{span / step:.2g}. Take method 'exponential', or a dt."
        )
    return step


def _endless(problem: Problem) -> Tolerance:
    """Return the goal that is never met."""
    return Tolerance(-1.0, 0.0, 0.0, 0.0, problem.circuit.size, math.inf, 0.0)


def _require_finite(frames: Floats, t: Floats) -> None:
    # One pass tells that all is well; where it does not, squares may have overflowed and not the activity.
    if math.isfinite(float(np.vdot(frames, frames))):
        return
    bad = ~np.isfinite(frames).all(axis=(1, 2))
    if bad.any():
        raise DivergenceError(
            f"the activity must stay within {frames.dtype}; it left it by t = {numeral(t[int(np.argmax(bad))])}. "
            "Integrate for less time, or use a stable circuit."
        )


ROWS = 256  # rows of a stretch
KEPT = ("xbar", "residual")
EQUATION = "τ dx̄/dt = x − R x̄; R[i, j] acts from unit j on unit i"


def record_trajectory(
    circuit: Circuit,
    x: Input,
    t_end: float,
    path: str | os.PathLike[str],
    *,
    dt: float | None = None,
    what: tuple[str, ...] = KEPT,
    method: str = "auto",
    step: float | None = None,
    initial: npt.ArrayLike | None = None,
    seed: int = 0,
    tau_unit: str = "s",
    config: Mapping[str, Any] | None = None,
) -> Floats:
    """Integrate a circuit and stream its activity to a file of traces, in bounded memory.

    ::

        τ dx̄/dt = x(t) − R x̄,    rows at t = 0, dt, 2 dt, … ≤ t_end

    The file is readable at any time, also after the process was killed; see `Recorder` and `read_traces`. Step k of a
    row stands for the time k dt.

    Parameters
    ----------
    circuit : Circuit
        The circuit.
    x : (n,) array, PiecewiseConstant, or function
        Input, as for `integrate`; a single sample.
    t_end : float
        End, in the unit of τ.
    path : path-like
        The file of traces to write.
    dt : float, optional
        Time between rows, in the unit of τ; a tenth of the fastest time constant by default.
    what : tuple of {"xbar", "residual"}
        Activity, and the norm of x − R x̄, in the unit of x.
    method, step : str and float, optional
        Method of `integrate`, and its largest fixed step.
    initial : (n,) array, optional
        Activity at t = 0; zero by default.
    seed : int
        Of whatever made R and x; kept in the file.
    tau_unit : str
        Unit of τ and all times; kept in the file.
    config : mapping, optional
        Kept in the file, too.

    Returns
    -------
    (n,) array
        Activity at the last row.

    Raises
    ------
    StabilityError
        If the circuit does not settle.
    InputError, ConfigError
        If an input or an option cannot be used.
    CheckpointError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from neurodecorr.circuit.model import Circuit
    >>> from neurodecorr.io import read_traces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     last = record_trajectory(Circuit([[2.0]], tau=0.02), [2.0], 1.0, f"{folder}/traces.h5", dt=0.01)
    ...     traces = read_traces(folder)
    >>> len(traces["xbar"]), traces.metadata["dt"], last.round(6).tolist()
    (101, 0.01, [1.0])
    """
    if not isinstance(circuit, Circuit):
        raise InputError(f"circuit must be a Circuit, whose activity is its whole state; got {type(circuit).__name__}.")
    t_end = positive(t_end, "t_end", "unit of tau")
    own = stability(circuit).fastest_time / 10 if dt is None else positive(dt, "dt", "unit of tau")
    kept, tau_unit, seed = _names(what), checked_text(tau_unit, "tau_unit"), count(seed, "seed", least=0)
    config = {} if config is None else mapping(config, "config")
    step = None if step is None else positive(step, "step", "unit of tau")
    rows = count(steps_within(t_end, own), "t_end / dt")
    require_memory(8 * (rows * (circuit.size + 1)), "the traces")
    choice(method, "method", METHODS)
    options = {"t_end": t_end, "dt": own, "method": method, "step": step, "what": list(kept), "n": circuit.size}
    about = provenance({**options, "tau": circuit.tau, "tau_unit": tau_unit, **config}, seed)
    facts: dict[str, str | int | float] = {"dt": own, "integrator": method, "seed": seed}
    facts["min_re_lambda"] = stability(circuit).margin
    state = np.zeros(circuit.size) if initial is None else vector(initial, "initial", circuit.size)
    seen = Observable(_variables(kept, circuit, tau_unit), lambda row: _rows(kept, circuit, x, *row), per_step=True)
    with Observer(
        path, [seen], EQUATION, "dt", tau=circuit.tau, tau_unit=tau_unit, facts=facts, provenance=about
    ) as observer:
        first = 0
        while first < rows:
            last = min(first + ROWS, rows)
            times = np.arange(last - first + 1) * own
            begin = first * own
            course = integrate(circuit, _later(x, begin), float(times[-1]), method, times, dt=step, initial=state).xbar
            new = min(first, 1)  # a stretch begins with the last row of the one before
            steps = np.arange(first + new, last + 1)
            observer.observe(last, (steps * own, course[new:]), len(steps))
            state, first = course[-1], last
    return np.asarray(state)


def _names(what: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(checked_names(what, "what", KEPT, least=1))


def _variables(kept: tuple[str, ...], circuit: Circuit, tau_unit: str) -> list[Variable]:
    known = {
        "xbar": Variable("xbar", (circuit.size,), description=f"activity at step · dt {tau_unit}, in the unit of x"),
        "residual": Variable("residual", description="‖x − R x̄‖, in the unit of x; 0 at rest"),
    }
    return [known[name] for name in kept]


def _rows(kept: tuple[str, ...], circuit: Circuit, x: Input, times: Floats, course: Floats) -> dict[str, Any]:
    found: dict[str, Any] = {"xbar": course} if "xbar" in kept else {}
    if "residual" in kept:
        drives = np.array([_at(x, t) for t in times]) if callable(x) or isinstance(x, PiecewiseConstant) else _at(x, 0)
        found["residual"] = np.linalg.norm(drives - course @ circuit.R.T, axis=1)
    return found


def _at(x: Input, t: float) -> Floats:
    """Return the input at a time."""
    if isinstance(x, PiecewiseConstant):
        # A row that rounding has put just before a switch is at the switch.
        return np.asarray(x.values[np.searchsorted(x.times, t * (1 + ROUNDING), side="right") - 1])
    return np.asarray(x(t) if callable(x) else x)


def _later(x: Input, begin: float) -> Input:
    """Return the input as it is seen from a later start."""
    if isinstance(x, PiecewiseConstant):
        now = int(np.searchsorted(x.times, begin, side="right")) - 1
        times = np.concatenate([[0.0], x.times[now + 1 :] - begin])
        return PiecewiseConstant(times, x.values[now:])
    return (lambda t: x(begin + t)) if callable(x) else x
