"""A circuit that settles and learns, stretch after stretch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._blas import add_product, blas, rows_product
from neurodecorr._norms import norms
from neurodecorr.errors import DivergenceError, StabilityError
from neurodecorr.plasticity import Plan, State
from neurodecorr.plasticity.codes import EXPLICIT
from neurodecorr.plasticity.plan import GAINS
from neurodecorr.workbench import step, stretch
from neurodecorr.workbench.outlook import STALE, Outlook, look, require_stable
from neurodecorr.workbench.rest import integrated, most_products, recalled, refined
from neurodecorr.workbench.stretch import Course

__all__ = ["Living", "Settling", "lived", "longest_stretch"]

Floats = npt.NDArray[np.floating[Any]]

# Samples per stretch: moving those to come costs 2nk a sample, the ends of a stretch n²/k or less.
STRETCHES = {512: 128}
LONGEST_STRETCH = 256
# Stability is looked at this often, or once in n samples.
BETWEEN_CHECKS = 1000
# What settling aims at, as a share of the tolerance, and the same with care: the rest is for rounding and the steps.
AIM, CARE = 0.5, 1e-3
# Largest 1/σ_min: a direction that weak carries rounding noise, not signal.
STRONGEST = {"float32": 3e3, "float64": 1e7}


class Settling(NamedTuple):
    """How samples settled, in the units of the state."""

    xbar: Floats
    residual: Floats
    bound: Floats
    proven: npt.NDArray[np.bool_]
    worst: float
    products: float


@dataclass(frozen=True)
class Living:
    """A circuit between two stretches.

    Parameters
    ----------
    learnt : State
        Weights and running statistics. M is empty, unless a twin is kept.
    outlook : Outlook
        Bounds of R.
    checked : int
        Sample after which stability was last looked at.
    """

    learnt: State
    outlook: Outlook
    checked: int

    @classmethod
    def begin(cls, learnt: State) -> Living:
        """Return the circuit ready for its first stretch.

        Raises
        ------
        StabilityError
            If it does not settle.
        """
        return cls(learnt, look(learnt.R, learnt.samples), learnt.samples)

    @property
    def reach(self) -> int:
        """Most samples that `lived` takes at once."""
        R = self.learnt.R
        return between_checks(len(R)) if step.suited(R) else longest_stretch(len(R))

    def inspected(self, plan: Plan) -> Living:
        """Return the same with bounds that are tight enough, and looked at if that is due.

        Raises
        ------
        StabilityError
            If a mode does not decay, or a direction has become too weak; the sample is named.
        """
        R, seen, outlook, checked = self.learnt.R, self.learnt.samples, self.outlook, self.checked
        if seen - checked >= between_checks(len(R)):
            require_stable(R, seen)
            checked = seen
        if outlook.stale:
            outlook = outlook.renewed(R, seen)
        strongest = plan.strongest or STRONGEST[R.dtype.name]
        if not outlook.low * strongest > 1:
            raise StabilityError(
                f"the circuit must have σ_min(R) > {1 / strongest:.3g}; after sample {seen} its proven bound is "
                f"{outlook.low:.3g}. Some direction of the input carries no independent signal: remove collinear "
                "units, or let the rate decay."
            )
        return Living(self.learnt, outlook, checked)


def longest_stretch(n: int) -> int:
    """Return how many samples share a stretch."""
    return next((k for bound, k in STRETCHES.items() if n < bound), LONGEST_STRETCH)


def between_checks(n: int) -> int:
    """Return how many samples pass between two looks at stability."""
    return max(BETWEEN_CHECKS, n)


def course_of(plan: Plan, scale: float) -> Course:
    """Return what the compiled steps ask of a plan, in the units of a state."""
    return Course(
        rule=plan.rules[plan.rule],
        memory=plan.memory,
        rate=plan.rate,
        hold=plan.timing.hold,
        half=plan.timing.half,
        limit=math.inf if plan.limit is None else plan.limit,
        gain=GAINS[plan.gain],
        centred=plan.mean != "none",
        fixed_unit=0.0 if plan.normalise else scale**-2,
    )


def lived(living: Living, X: Floats, plan: Plan, tol: float) -> tuple[Living, Settling]:
    """Settle and learn the first rows of X, in the units of the state; what was given is left as it was.

    How many they were is the length of what returns: at least one, at most `reach`.

    Raises
    ------
    DivergenceError
        If numbers leave the finite range, or the explicit rule meets η‖x̄‖² ≥ 1; the sample is named.
    StabilityError
        If the circuit no longer settles; the sample is named.
    """
    living = living.inspected(plan)
    course, share = course_of(plan, living.learnt.scale), tol / (1 + tol)
    if step.suited(living.learnt.R):
        for _ in range(2):  # a twin that has drifted is made anew once
            living, found = _stepped(living, X, course, share)
            if len(found.bound):
                return living, found
    return _stretched(living, X[: longest_stretch(X.shape[1])], course, share)


def _stepped(living: Living, X: Floats, course: Course, share: float) -> tuple[Living, Settling]:
    """Settle and learn one row after the other; none if the first does not settle that way."""
    learnt, outlook, n = living.learnt, living.outlook, X.shape[1]
    X = X[: between_checks(n) - (learnt.samples - living.checked)]
    most = most_products(outlook, AIM * share * outlook.low, X.dtype)
    known = step.Known(outlook.low, STALE * outlook.fresh, share, (n + 16) * stretch.EPS, most)
    P, Q = step.padded(learnt.R.T), step.padded(learnt.M.T)
    mean, counters = learnt.mean.copy(), learnt.counters.copy()
    power, gain = step.padded(learnt.power), step.padded(learnt.gain)
    xbar, residual, bound, proven = np.empty_like(X), np.empty(len(X)), np.empty(len(X)), np.empty(len(X), np.bool_)
    done, code, total, low, worst = step.live_step_by_step(
        course, known, outlook.schedule, X, P, Q, mean, power, gain, counters, xbar, residual, bound, proven
    )
    if code == step.BROKE and done == 0:
        raise _broken(course, learnt.samples)
    products, drifted = total / max(done, 1), code == step.WEARY
    R = np.ascontiguousarray(P[:n, :n].T)
    M = np.linalg.inv(R) if drifted else np.ascontiguousarray(Q[:n, :n].T)
    resynchronised = learnt.resynchronised + drifted
    state = State(M, R, mean, power[:n], gain[:n], counters, learnt.scale, resynchronised)
    if code == step.RESTLESS or (not M.size and outlook.outgrown(round(products))):
        outlook = look(R, state.samples)
    else:
        outlook = outlook.after(low, round(products))
    found = Settling(xbar[:done], residual[:done], bound[:done], proven[:done], worst, products)
    return Living(state, outlook, living.checked), found


def _stretched(living: Living, X: Floats, course: Course, share: float) -> tuple[Living, Settling]:
    """Settle and learn all rows together."""
    R, M, outlook = living.learnt.R, living.learnt.M, living.outlook
    mean, drives = living.learnt.mean.copy(), np.empty_like(X)
    stretch.centre(X, mean, float(living.learnt.samples), course, drives)
    Y, products = recalled(R, M, drives, outlook, share) if M.size else integrated(R, drives, outlook, AIM * share)
    trial = _tried(living, drives, Y.copy(), course, share)
    careful = not trial.settling.proven.all() and _curable(trial.settling, outlook, R)
    if careful:
        gaps, _ = stretch.residuals(R, drives, Y, Y[:0], np.empty((0, 3)))
        Y, more = refined(R, M, gaps, Y, outlook, CARE)
        products += more
        trial = _tried(living, drives, Y, course, share)
    if not M.size and outlook.outgrown(products):
        outlook = look(R, living.learnt.samples)
    learnt, low = _learnt(living.learnt, trial, drives, mean, careful)
    found = Living(learnt, outlook.after(low, products), living.checked)
    return found, trial.settling._replace(products=products)


class Trial(NamedTuple):
    """What a stretch would leave behind."""

    settling: Settling
    Z: Floats
    V: Floats
    steps: Floats
    scale: Floats
    power: Floats
    gain: Floats
    counters: Floats
    low: float
    size: float


def _tried(living: Living, drives: Floats, Z: Floats, course: Course, share: float) -> Trial:
    """Go through a stretch from R₀⁻¹X and certify it; Z is used up."""
    learnt, k = living.learnt, len(drives)
    power, gain, counters = learnt.power.copy(), learnt.gain.copy(), learnt.counters.copy()
    xbar, V, steps, scale = np.empty_like(Z), np.empty_like(Z), np.empty((k, 3)), np.ones(Z.shape[1])
    broke = stretch.go_through(course, drives, Z, scale, power, gain, counters, xbar, V, steps)
    if broke >= 0:
        raise _broken(course, learnt.samples + broke)
    gaps, frobenius = stretch.residuals(learnt.R, drives, Z, V, steps)
    residual, bound, proven = np.empty(k), np.empty(k), np.empty(k, np.bool_)
    unit, low = float(np.finfo(Z.dtype).eps), living.outlook.low
    low, size, worst = stretch.judge(
        gaps, drives, Z, V, xbar, steps, frobenius, low, unit, share, residual, bound, proven
    )
    settling = Settling(xbar, residual, bound, proven, worst, 0)
    return Trial(settling, Z, V, steps, scale, power, gain, counters, low, size)


def _curable(settling: Settling, outlook: Outlook, R: Floats) -> bool:
    """Tell whether some sample missed the tolerance by more than the rounding of x̄ itself explains."""
    missed = ~settling.proven
    size = norms(settling.xbar[missed])
    return bool((settling.residual[missed] > float(np.finfo(R.dtype).eps) * outlook.size * size).any())


def _learnt(learnt: State, trial: Trial, drives: Floats, mean: Floats, renew: bool) -> tuple[State, float]:
    """Return the state after a stretch, and the bound of its σ_min with the rounding of the new weights taken off."""
    dtype, c = learnt.R.dtype, trial.steps[:, :1]
    scale = trial.scale.astype(dtype, copy=False)
    pulls = (c * trial.V / trial.scale).astype(dtype, copy=False)
    R = learnt.R / scale
    add_product(R, drives, pulls, 1.0)
    rounding = (len(drives) + 8) * float(np.finfo(dtype).eps) * trial.size
    M, resynchronised = learnt.M, learnt.resynchronised
    if M.size:
        M = np.linalg.inv(R.astype(np.float64)).astype(dtype) if renew else _twin(M, trial, scale)
        resynchronised += renew
    power, gain, counters = trial.power, trial.gain, trial.counters
    return State(M, R, mean, power, gain, counters, learnt.scale, resynchronised), trial.low - rounding


def _twin(M: Floats, trial: Trial, scale: Floats) -> Floats:
    """Return the twin after a stretch, without a product of two n × n matrices.

    ::

        M ← diag(w) (M − Zᵀ C' L⁻¹ V M),    L = I + tril(V Zᵀ, −1) C'

    The product of the steps I − c' z vᵀ, applied to all columns of M at once.
    """
    shrink = trial.steps[:, 1].astype(M.dtype)
    L = rows_product(trial.V, trial.Z)
    stretch.lower_part(L, shrink)
    B = rows_product(trial.V, np.ascontiguousarray(M.T))
    blas(M.dtype).trsm(1.0, L.T, B.T, side=1, lower=0, diag=1, overwrite_b=1)
    M = M.copy()
    add_product(M, trial.Z * shrink[:, None], B, -1.0)
    M *= scale[:, None]
    return M


def _broken(course: Course, sample: int) -> DivergenceError:
    if course.rule == EXPLICIT:
        return DivergenceError(
            f"the explicit rule needs η‖x̄‖² < 1 and ηp < 1, which failed at sample {sample} (rate {course.rate:g}). "
            "Set limit=0.1, lower the rate, or use the local rule."
        )
    return DivergenceError(
        f"activity left the finite numbers at sample {sample} (rate {course.rate:g}). Lower the rate or set a limit."
    )
