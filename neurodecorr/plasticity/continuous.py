"""Continuous-time learning: activity and weights evolve together, and nothing waits for anything to settle."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.jit import jit
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats
from neurodecorr._validation import count, finite, number, positive, real_array, rule_name, samples, square
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity.guards import symmetrised

# Of the time constant of the fastest part: where the classical method errs by 3e-4 of what passes in a step.
SHARE = 0.5
# Of τ_x. Where a step must be shorter still, x̄ or R is on its way to infinity in finite time.
SHORTEST = 1e-6
HUGE = 1e300


@jit()
def size_bound(R: Array) -> float:
    """Return √(‖R‖₁ ‖R‖_∞) ≥ σ_max(R)."""
    rows, columns = 0.0, np.zeros(R.shape[1])
    for i in range(R.shape[0]):
        total = 0.0
        for j in range(R.shape[1]):
            size = abs(R[i, j])
            total += size
            columns[j] += size
        rows = max(rows, total)
    return math.sqrt(rows * float(columns.max()))


@jit()
def squared(xbar: Array) -> float:
    """Return x̄ᵀx̄."""
    total = 0.0
    for j in range(xbar.size):
        total += xbar[j] * xbar[j]
    return total


@jit()
def slope(R: Array, u: Array, xbar: Array, tau: float, out: Array) -> None:
    """Write out ← (u − R x̄)/τ."""
    for i in range(u.size):
        total = 0.0
        for j in range(u.size):
            total += R[i, j] * xbar[j]
        out[i] = (u[i] - total) / tau


@jit()
def relax(R: Array, drive: Array, xbar: Array, h: float, tau: float, work: Array) -> None:
    """Move x̄ by h along τ dx̄/dt = u − R x̄; rows of `drive` are u at the begin, middle and end of the step."""
    start, stage, total = work[0], work[1], work[2]
    start[:] = xbar
    slope(R, drive[0], xbar, tau, stage)
    total[:] = stage
    for i in range(xbar.size):
        xbar[i] = start[i] + 0.5 * h * stage[i]
    slope(R, drive[1], xbar, tau, stage)
    for i in range(xbar.size):
        total[i] += 2.0 * stage[i]
        xbar[i] = start[i] + 0.5 * h * stage[i]
    slope(R, drive[1], xbar, tau, stage)
    for i in range(xbar.size):
        total[i] += 2.0 * stage[i]
        xbar[i] = start[i] + h * stage[i]
    slope(R, drive[2], xbar, tau, stage)
    for i in range(xbar.size):
        xbar[i] = start[i] + h / 6.0 * (total[i] + stage[i])


@jit()
def apply_growth(R: Array, xbar: Array, c: float, congruent: bool, pull: Array) -> None:
    """R ← R exp(c x̄x̄ᵀ), or exp(½c x̄x̄ᵀ) R exp(½c x̄x̄ᵀ) computed once and mirrored."""
    n, size, overlap = xbar.size, squared(xbar), 0.0
    for i in range(n):
        total = 0.0
        for j in range(n):
            total += R[i, j] * xbar[j]
        pull[i] = total
        overlap += xbar[i] * total
    if size == 0.0:
        return
    if congruent:
        beta = math.expm1(0.5 * c * size) / size
        for i in range(n):
            for j in range(i + 1):
                mixed = pull[i] * xbar[j] + xbar[i] * pull[j]
                value = R[i, j] + beta * (mixed + beta * overlap * (xbar[i] * xbar[j]))
                R[i, j] = value
                R[j, i] = value
    else:
        beta = math.expm1(c * size) / size
        for i in range(n):
            part = beta * pull[i]
            for j in range(n):
                R[i, j] += part * xbar[j]


@jit()
def decay(R: Array, power: Array, c: float, congruent: bool, keep: Array) -> None:
    """R ← R diag(exp(−c p)), or D R D with D = diag(exp(−½c p)); a product of two numbers commutes to the bit."""
    share = 0.5 * c if congruent else c
    for j in range(power.size):
        keep[j] = math.exp(-share * power[j])
    for i in range(power.size):
        left = keep[i] if congruent else 1.0
        for j in range(power.size):
            R[i, j] *= left * keep[j]


class LearningFlow(NamedTuple):
    """A circuit that learns while it settles, changed in place.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights.
    xbar, power : (n,) arrays
        Activity, and power of each unit's own input.
    drive : (3, n) array
        Input u at the begin, middle and end of a step; its first row is the present one.
    """

    R: Array
    xbar: Array
    power: Array
    drive: Array


@jit()
def drift(flow: LearningFlow, x: Array, h: float, times: Array, share: float, work: Array) -> None:
    """Move activity, power and input by h, under the weights R."""
    power, drive = flow.power, flow.drive
    middle, end = 1.0, 1.0
    if times[3] > 0.0:
        middle, end = -math.expm1(-0.5 * h / times[3]), -math.expm1(-h / times[3])
    for j in range(x.size):
        if times[3] == 0.0:
            drive[0, j] = x[j]
        drive[1, j] = drive[0, j] + middle * (x[j] - drive[0, j])
        drive[2, j] = drive[0, j] + end * (x[j] - drive[0, j])
        power[j] += share * (drive[1, j] * drive[1, j] - power[j])
    relax(flow.R, drive, flow.xbar, h, times[0], work)
    drive[0] = drive[2]


@jit()
def advance_stream(flow: LearningFlow, x: Array, h: float, times: Array, congruent: bool, work: Array) -> float:
    """Move everything by one step h; `times` are τ_x, τ_R, τ_p (infinite: p is given), τ_u (0: no filter).

    Returns the growth that R met, h⟨x̄ᵀx̄⟩/τ_R.
    """
    R, xbar, power = flow.R, flow.xbar, flow.power
    c = h / times[1]
    share = -math.expm1(-0.5 * h / times[2])
    grown: float = squared(xbar)
    decay(R, power, c / 6.0, congruent, work[3])
    apply_growth(R, xbar, c / 6.0, congruent, work[3])
    drift(flow, x, 0.5 * h, times, share, work)
    grown += 4.0 * squared(xbar)
    decay(R, power, c / 3.0, congruent, work[3])
    apply_growth(R, xbar, 2.0 * c / 3.0, congruent, work[3])
    decay(R, power, c / 3.0, congruent, work[3])
    drift(flow, x, 0.5 * h, times, share, work)
    grown += squared(xbar)
    apply_growth(R, xbar, c / 6.0, congruent, work[3])
    decay(R, power, c / 6.0, congruent, work[3])
    return float(c / 6.0 * grown)


@jit()
def longest_step(xbar: Array, power: Array, bound: float, times: Array) -> float:
    """Return `SHARE` of the time constant of the fastest part: τ_x/σ_max, τ_R/x̄ᵀx̄, τ_R/max p, τ_p or τ_u."""
    fastest: float = max(bound / times[0], max(squared(xbar), power.max()) / times[1], 1.0 / times[2])
    if times[3] > 0.0:
        fastest = max(fastest, 1.0 / times[3])
    return SHARE / fastest


@jit()
def flow_stream(
    flow: LearningFlow, X: Array, dwell: float, times: Array, dt: float, congruent: bool, counters: Array
) -> float:
    """Present the rows of X one by one, in place; return −1, or the time since the begin at which numbers ran away.

    Parameters
    ----------
    flow : LearningFlow
        Weights, activity, power and input.
    X : (samples, n) array
        Samples, each presented for `dwell`.
    dwell : float
        Time of one presentation.
    times : (4,) array
        τ_x, τ_R, τ_p, τ_u.
    dt : float
        Longest step; 0 to choose it from the fastest time constant, anew at every step.
    congruent : bool
        Which rule.
    counters : (2,) array
        Steps taken, shortest step.
    """
    R, xbar, power = flow.R, flow.xbar, flow.power
    work = np.empty((4, R.shape[0]))
    pieces = max(1, math.ceil(dwell / dt - 1e-9)) if dt > 0.0 else 1
    for k in range(X.shape[0]):
        elapsed, fresh, bound = 0.0, 0.0, 1.0
        while dwell - elapsed > 1e-12 * dwell:
            h = dwell / pieces
            if dt == 0.0:
                if bound > 2.0 * fresh:
                    fresh = size_bound(R)
                    bound = fresh
                longest = longest_step(xbar, power, bound, times)
                if not longest > SHORTEST * times[0]:
                    return k * dwell + elapsed
                h = (dwell - elapsed) / math.ceil((dwell - elapsed) / longest)
            grown = advance_stream(flow, X[k], h, times, congruent, work)
            if not squared(xbar) < HUGE:
                return k * dwell + elapsed
            bound *= math.exp(grown)  # of growth by exp(c x̄x̄ᵀ)
            counters[0] += 1.0
            counters[1] = min(counters[1], h)
            elapsed += h
    return -1.0


FLOW_RULES = ("implicit", "congruent")


@short_repr
@dataclass(frozen=True)
class ContinuousResult:
    """A circuit that learnt in continuous time, and its course; entry 0 of every trace is the start.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights at the end.
    xbar, drive, power : (n,) arrays
        Activity x̄, input u and power p of each unit's own input at the end.
    times : (k,) array
        Times of the records, in the unit of `tau_x`; each is the end of a presentation.
    margin : (k,) array
        min Re λ(R).
    correlation : (k,) array
        rms off-diagonal correlation of R⁻¹ΣR⁻ᵀ, that is, at the fixed points; NaN without a covariance.
    lag : (k,) array
        Relative distance of the activity from its fixed point, ‖x̄ − R⁻¹u‖/‖R⁻¹u‖; NaN where u = 0.
    steps : int
        Steps of the integrator.
    shortest : float
        The shortest of them.
    """

    R: Floats
    xbar: Floats
    drive: Floats
    power: Floats
    times: Floats
    margin: Floats
    correlation: Floats
    lag: Floats
    steps: int
    shortest: float


# Time constants, or steps, that one call may run for: at best some hours.
MOST_TIMES = 1e11


class _Setting(NamedTuple):
    """The checked arguments that stay the same along the stream."""

    dwell: float
    times: Floats  # τ_x, τ_R, τ_p, τ_u
    dt: float
    rule: str
    covariance: Floats | None


def learn_continuously(
    R: npt.ArrayLike,
    X: npt.ArrayLike,
    dwell: float,
    tau_x: float = 1.0,
    tau_R: float = 1e4,
    *,
    rule: str = "implicit",
    power: npt.ArrayLike | None = None,
    tau_power: float | None = None,
    tau_input: float = 0.0,
    xbar: npt.ArrayLike | None = None,
    dt: float | None = None,
    covariance: npt.ArrayLike | None = None,
    records: int = 50,
) -> ContinuousResult:
    """Learn from a stream of samples while the activity is still moving, as an analogue circuit does.

    ::

        τ_x dx̄/dt = u − R x̄
        τ_R dR/dt = (R x̄)x̄ᵀ − R diag(p)                                         implicit
        τ_R dR/dt = ½[(R x̄)x̄ᵀ + x̄(R x̄)ᵀ] − ½[R diag(p) + diag(p) R]             congruent
        τ_p dp/dt = u∘u − p,    τ_u du/dt = x(t) − u

    x(t) is piecewise constant: row k of X from k to k + 1 times `dwell`. Activity tends to a rest of learning where its
    own time average, lag included, obeys ⟨x̄x̄ᵀ⟩ = diag(p); only where dwell ≫ τ_x is that the rest state of `learn`.

    Second order in the step, with ⟨x̄x̄ᵀ⟩ of a step by Simpson's rule: the default step finds the rest of learning to 1 %
    at any ratio of `dwell` to `tau_x`. The weights are multiplied by invertible factors only: det R keeps its sign
    under the implicit rule, and R stays symmetric to the bit and positive definite under the congruent rule, for steps
    of any length (while κ(R) < 1/ε: beyond, rounding decides).

    Parameters
    ----------
    R : (n, n) array_like
        Lateral weights at the start, stable; symmetric and positive definite for the congruent rule.
    X : (samples, n) array_like
        Samples, presented in order. Computed in float64.
    dwell : float
        Time for which each sample is presented, > 0, in the unit of `tau_x`.
    tau_x : float, default 1.0
        Time constant of the activity.
    tau_R : float, default 1e4
        Time constant of the weights, in the unit of `tau_x` times that of the squared input. One presentation learns
        as much as one sample at the rate η = dwell/τ_R.
    rule : {"implicit", "congruent"}, default "implicit"
        What the weights do.
    power : (n,) array_like, optional
        Power p of each unit's own input, ≥ 0: held if `tau_power` is not given. Default: the running power, beginning
        at the mean square of the first ⌈tau_power/dwell⌉ samples.
    tau_power : float, optional
        Time constant τ_p of the running power. Default: 1000 presentations, where p is not given.
    tau_input : float, default 0.0
        Time constant τ_u of a low-pass filter of the input, from u = 0 on; 0 for none.
    xbar : (n,) array_like, optional
        Activity at the start. Default: 0.
    dt : float, optional
        Longest step; presentations are divided evenly. Default: half the time constant of the fastest part, found anew
        at every step.
    covariance : (n, n) array_like, optional
        Covariance Σ of the inputs, for the recorded correlation.
    records : int, default 50
        Records after the start, evenly spread over the presentations. Stability is looked at as often.

    Returns
    -------
    ContinuousResult
        Weights, activity, traces.

    Raises
    ------
    InputError
        If an array has a wrong shape or entries that are not finite.
    ConfigError
        If a parameter lies outside its range.
    StabilityError
        If R is not stable at the start or at a record, or `dt` is too long for it; the time is named.
    DivergenceError
        If activity or weights run away between two records; the time is named.

    Examples
    --------
    >>> flow = learn_continuously([[1.0]], [[1.0], [-1.0]], dwell=1e4, tau_R=1e3, power=[1.0], records=1)
    >>> flow.R.round(3), flow.margin.round(3)  # x̄ = x/R rests where its power is p
    (array([[1.]]), array([1., 1.]))
    """
    weights = square(R, "R").astype(float)
    n = len(weights)
    inputs = np.ascontiguousarray(samples(X, "X", n), dtype=float)
    setting = _setting(dwell, tau_x, tau_R, rule, tau_power, tau_input, dt, covariance, power is not None, n)
    if len(inputs) * setting.dwell > MOST_TIMES * (setting.dt or setting.times[0]):
        raise ConfigError(f"X must be presented in at most {MOST_TIMES:.0e} steps; lower dwell, or present less.")
    strengths = _powers(power, inputs, setting)
    activity = np.zeros(n) if xbar is None else _vector(xbar, "xbar", n).copy()
    if rule == "congruent":
        weights = symmetrised(weights)
    drive = np.zeros((3, n))
    looks = np.unique(np.linspace(0, len(inputs), count(records, "records", most=10**7) + 1).round().astype(int))
    rows = [_look(weights, activity, drive[0], 0.0, setting)]
    counters = np.array([0.0, math.inf])
    for begin, end in itertools.pairwise(looks):
        start = begin * setting.dwell
        _flow(weights, activity, strengths, drive, inputs[begin:end], start, setting, counters)
        rows.append(_look(weights, activity, drive[0], float(end * setting.dwell), setting))
    times, margin, correlation, lag = np.array(rows).T
    u, steps, shortest = drive[0].copy(), int(counters[0]), float(counters[1])
    return ContinuousResult(weights, activity, u, strengths, times, margin, correlation, lag, steps, shortest)


def _setting(
    dwell: Any,
    tau_x: Any,
    tau_R: Any,
    rule: Any,
    tau_power: Any,
    tau_input: Any,
    dt: Any,
    covariance: Any,
    given: bool,
    n: int,
) -> _Setting:
    rule = rule_name(rule, FLOW_RULES)
    dwell, tau_input = positive(dwell, "dwell"), number(tau_input, "tau_input")
    if tau_input < 0:
        raise ConfigError(f"tau_input must be ≥ 0, 0 for no filter; got {tau_input!r}.")
    tau_p = math.inf if given else 1000 * dwell
    if tau_power is not None:
        tau_p = positive(tau_power, "tau_power")
    times = np.array([positive(tau_x, "tau_x"), positive(tau_R, "tau_R"), tau_p, tau_input])
    sigma = None if covariance is None else square(covariance, "covariance").astype(float)
    if sigma is not None and len(sigma) != n:
        raise InputError(f"covariance must be ({n}, {n}), one row per unit; got {sigma.shape}.")
    return _Setting(dwell, times, 0.0 if dt is None else positive(dt, "dt"), rule, sigma)


def _powers(power: Any, X: Floats, setting: _Setting) -> Floats:
    if power is None:
        first = X[: max(1, math.ceil(min(setting.times[2] / setting.dwell, len(X))))]
        return np.asarray(np.mean(first * first, axis=0))
    strengths = _vector(power, "power", X.shape[1]).copy()
    if (strengths < 0).any():
        unit = int(strengths.argmin())
        raise InputError(f"power must be ≥ 0 in every unit; got {strengths[unit]:g} in unit {unit}.")
    return strengths


def _vector(value: Any, name: str, n: int) -> Floats:
    vector = finite(real_array(value, name), name).astype(float)
    if vector.shape != (n,):
        raise InputError(f"{name} must have shape ({n},), one entry per unit; got {vector.shape}.")
    return vector


def _flow(
    R: Floats, xbar: Floats, power: Floats, drive: Floats, X: Floats, start: float, setting: _Setting, counters: Floats
) -> None:
    congruent = setting.rule == "congruent"
    broken = flow_stream(
        LearningFlow(R, xbar, power, drive), X, setting.dwell, setting.times, setting.dt, congruent, counters
    )
    if broken >= 0 or not np.isfinite(R).all():
        at = start + (broken if broken >= 0 else len(X) * setting.dwell)
        raise DivergenceError(
            f"activity and weights must stay finite; they ran away at time {at:g} (τ_R = {setting.times[1]:g}, "
            f"τ_x = {setting.times[0]:g}). Use rule='congruent', a larger tau_R, or more records to see it come."
        )


def _look(R: Floats, xbar: Floats, u: Floats, time: float, setting: _Setting) -> tuple[float, float, float, float]:
    """Return time, margin, correlation and lag; raise if R is not stable, or the step too long for it."""
    spectrum = Spectrum((R + R.T) / 2 if setting.rule == "congruent" else R)
    values, margin = spectrum.eigenvalues, spectrum.margin
    if setting.rule == "congruent" and time > 0 and margin <= 0:
        raise StabilityError(
            f"R must stay positive definite; at time {time:g} R is singular to rounding, with eigenvalues from "
            f"{margin:.3g} to {values[-1].real:.3g}. Use a larger tau_R: weights must be slower than activity."
        )
    if margin <= 0:
        raise StabilityError(
            f"the circuit must have min Re λ(R) > 0 to settle; at time {time:g} it is {margin:.3g}. "
            "Use rule='congruent', a larger tau_R, or begin with a stable R."
        )
    if setting.dt > 0:
        _require_stable_step(values, time, setting)
    rest = np.linalg.solve(R, u)
    size = float(np.linalg.norm(rest))
    lag = float(np.linalg.norm(xbar - rest)) / size if size > 0 else math.nan
    return time, margin, _correlation(R, setting.covariance), lag


def _require_stable_step(values: npt.NDArray[Any], time: float, setting: _Setting) -> None:
    step = setting.dwell / max(1, math.ceil(setting.dwell / setting.dt - 1e-9))
    z = -values * (step / setting.times[0])
    growth = np.abs(1 + z * (1 + z / 2 * (1 + z / 3 * (1 + z / 4)))).max()
    if growth > 1:
        limit = 2.785 * setting.times[0] / np.abs(values).max()
        raise StabilityError(
            f"the step must keep every mode from growing; at time {time:g} steps of {step:g} multiply one by "
            f"{growth:.3g}. Use dt below about {limit:.3g}, with room for R to grow, or leave dt out."
        )


def _correlation(R: Floats, sigma: Floats | None) -> float:
    if sigma is None:
        return math.nan
    half = np.linalg.solve(R, sigma)
    return rms_correlation(covariance=np.linalg.solve(R, half.T))
