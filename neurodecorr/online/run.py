"""`live`: run a circuit as an animal or a chip would, settling every sample and learning from it at once."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import add_product, blas, one_thread, rows_product
from neurodecorr._numerics.norms import EPS, norms
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import (
    Progress,
    checked_path,
    choice,
    count,
    instance,
    positive,
    progress_function,
    real_array,
)
from neurodecorr.circuit.stability import require_stable
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.io import provenance
from neurodecorr.online import block
from neurodecorr.online import sample as step
from neurodecorr.online.block import (
    ADVICE,
    STALE,
    Block,
    Bounds,
    Limits,
    compute_bounds,
    integrated,
    most_products,
    recalled,
    refined,
)
from neurodecorr.online.recording import OnlineRecorder
from neurodecorr.plasticity import LearningRule, State, initial_state
from neurodecorr.plasticity.guards import STRONGEST, inverse
from neurodecorr.plasticity.samplewise import step_parameters
from neurodecorr.plasticity.steps import EXPLICIT, Averages, StepParameters, centre_rows

# Samples per stretch: moving those to come costs 2nk a sample, the ends of a stretch n²/k or less.
BLOCKS = {512: 128}
LONGEST_BLOCK = 256
# Stability is looked at this often, or once in n samples.
BETWEEN_CHECKS = 1000
# What settling aims at, as a share of the tolerance, and the same with care: the rest is for rounding and the steps.
AIM, CARE = 0.5, 1e-3


class Settling(NamedTuple):
    """Activity, residuals and bounds of settled samples, in the units of the state."""

    xbar: Floats
    residual: Floats
    bound: Floats
    proven: npt.NDArray[np.bool_]
    worst: float
    products: float


@dataclass(frozen=True)
class OnlineCircuit:
    """Circuit between two blocks of samples.

    Parameters
    ----------
    learnt : State
        Weights and running statistics. M is empty, unless a twin is kept.
    outlook : Bounds
        Bounds of R.
    checked : int
        Sample after which stability was last looked at.
    """

    learnt: State
    outlook: Bounds
    checked: int

    @classmethod
    def begin(cls, learnt: State) -> OnlineCircuit:
        """Return the circuit ready for its first stretch.

        Raises
        ------
        StabilityError
            If it does not settle.
        """
        return cls(learnt, compute_bounds(learnt.R, learnt.samples), learnt.samples)

    @property
    def reach(self) -> int:
        """Most samples that `process_block` takes at once."""
        R = self.learnt.R
        return between_checks(len(R)) if step.suited(R) else longest_block(len(R))

    def inspected(self, plan: LearningRule) -> OnlineCircuit:
        """Return the same with bounds that are tight enough, and looked at if that is due.

        Raises
        ------
        StabilityError
            If a mode does not decay, or a direction has become too weak; the sample is named.
        """
        R, seen, outlook, checked = self.learnt.R, self.learnt.samples, self.outlook, self.checked
        if seen - checked >= between_checks(len(R)):
            require_stable(R, f" after sample {seen}", ADVICE)
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
        return OnlineCircuit(self.learnt, outlook, checked)


def longest_block(n: int) -> int:
    """Return how many samples share a block."""
    return next((k for bound, k in BLOCKS.items() if n < bound), LONGEST_BLOCK)


def between_checks(n: int) -> int:
    """Return how many samples pass between two checks of stability."""
    return max(BETWEEN_CHECKS, n)


def process_block(living: OnlineCircuit, X: Floats, plan: LearningRule, tol: float) -> tuple[OnlineCircuit, Settling]:
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
    parameters, share = step_parameters(plan, living.learnt.scale), tol / (1 + tol)
    if step.suited(living.learnt.R):
        for _ in range(2):  # a twin that has drifted is made anew once
            living, found = _process_samples(living, X, parameters, share)
            if len(found.bound):
                return living, found
    return _process_rows(living, X[: longest_block(X.shape[1])], parameters, share)


def _process_samples(
    living: OnlineCircuit, X: Floats, parameters: StepParameters, share: float
) -> tuple[OnlineCircuit, Settling]:
    """Settle and learn one row after the other; none if the first does not settle that way."""
    learnt, outlook, n = living.learnt, living.outlook, X.shape[1]
    X = X[: between_checks(n) - (learnt.samples - living.checked)]
    most = most_products(outlook, AIM * share * outlook.low, X.dtype)
    known = step.Known(outlook.low, STALE * outlook.fresh, share, (n + 16) * EPS, most)
    P, Q = step.pad_to_registers(learnt.R.T), step.pad_to_registers(learnt.M.T)
    mean, counters = learnt.mean.copy(), learnt.counters.copy()
    power, gain = step.pad_to_registers(learnt.power), step.pad_to_registers(learnt.gain)
    certified = step.Certified(np.empty_like(X), np.empty(len(X)), np.empty(len(X)), np.empty(len(X), np.bool_))
    done, code, total, low, worst = step.learn_step_by_step(
        parameters, known, outlook.schedule, X, P, Q, Averages(mean, power, gain, counters), certified
    )
    if code == step.DIVERGED and done == 0:
        raise _broken(parameters, learnt.samples)
    products, drifted = total / max(done, 1), code == step.INVERSE_DRIFTED
    R = np.ascontiguousarray(P[:n, :n].T)
    M = inverse(R) if drifted else np.ascontiguousarray(Q[:n, :n].T)
    resynchronised = learnt.resynchronised + drifted
    state = State(M, R, mean, power[:n], gain[:n], counters, learnt.scale, resynchronised)
    if code == step.NOT_SETTLED or (not M.size and outlook.outgrown(round(products))):
        outlook = compute_bounds(R, state.samples)
    else:
        outlook = outlook.after(low, round(products))
    xbar, residual, bound, proven = certified
    found = Settling(xbar[:done], residual[:done], bound[:done], proven[:done], worst, products)
    return OnlineCircuit(state, outlook, living.checked), found


def _process_rows(
    living: OnlineCircuit, X: Floats, parameters: StepParameters, share: float
) -> tuple[OnlineCircuit, Settling]:
    """Settle and learn all rows together."""
    R, M, outlook = living.learnt.R, living.learnt.M, living.outlook
    mean, drives = living.learnt.mean.copy(), np.empty_like(X)
    centre_rows(parameters, X, mean, float(living.learnt.samples), drives)
    Y, products = recalled(R, M, drives, outlook, share) if M.size else integrated(R, drives, outlook, AIM * share)
    trial = _tried(living, drives, Y.copy(), parameters, share)
    careful = not trial.settling.proven.all() and _curable(trial.settling, outlook, R)
    if careful:
        gaps, _ = block.block_residuals(R, drives, Y, Y[:0], np.empty((0, 3)))
        Y, more = refined(R, M, gaps, Y, outlook, CARE)
        products += more
        trial = _tried(living, drives, Y, parameters, share)
    if not M.size and outlook.outgrown(products):
        outlook = compute_bounds(R, living.learnt.samples)
    learnt, low = _learnt(living.learnt, trial, drives, mean, careful)
    found = OnlineCircuit(learnt, outlook.after(low, products), living.checked)
    return found, trial.settling._replace(products=products)


class BlockTrial(NamedTuple):
    """State of a circuit after a block, before it is accepted."""

    settling: Settling
    block: Block
    averages: Averages
    scale: Floats
    low: float
    size: float


def _tried(living: OnlineCircuit, drives: Floats, Z: Floats, parameters: StepParameters, share: float) -> BlockTrial:
    """Go through a block from R₀⁻¹X and certify it; Z is used up."""
    learnt, k = living.learnt, len(drives)
    averages = Averages(learnt.mean, learnt.power.copy(), learnt.gain.copy(), learnt.counters.copy())
    rows, scale = Block(Z, np.empty_like(Z), np.empty_like(Z), np.empty((k, 3))), np.ones(Z.shape[1])
    broke = block.learn_block(parameters, averages, scale, drives, rows)
    if broke >= 0:
        raise _broken(parameters, learnt.samples + broke)
    gaps, frobenius = block.block_residuals(learnt.R, drives, Z, rows.V, rows.steps)
    residual, bound, proven = np.empty(k), np.empty(k), np.empty(k, np.bool_)
    limits = Limits(frobenius, living.outlook.low, float(np.finfo(Z.dtype).eps), share)
    low, size, worst = block.certify_rows(gaps, drives, rows, limits, residual, bound, proven)
    return BlockTrial(Settling(rows.xbar, residual, bound, proven, worst, 0), rows, averages, scale, low, size)


def _curable(settling: Settling, outlook: Bounds, R: Floats) -> bool:
    """Tell whether some sample missed the tolerance by more than the rounding of x̄ itself explains."""
    missed = ~settling.proven
    size = norms(settling.xbar[missed])
    return bool((settling.residual[missed] > float(np.finfo(R.dtype).eps) * outlook.size * size).any())


def _learnt(learnt: State, trial: BlockTrial, drives: Floats, mean: Floats, renew: bool) -> tuple[State, float]:
    """Return the state after a stretch, and the bound of its σ_min with the rounding of the new weights taken off."""
    dtype, c = learnt.R.dtype, trial.block.steps[:, :1]
    scale = trial.scale.astype(dtype, copy=False)
    pulls = (c * trial.block.V / trial.scale).astype(dtype, copy=False)
    R = learnt.R / scale
    add_product(R, drives, pulls, 1.0)
    rounding = (len(drives) + 8) * float(np.finfo(dtype).eps) * trial.size
    M, resynchronised = learnt.M, learnt.resynchronised
    if M.size:
        M = inverse(R) if renew else _twin(M, trial, scale)
        resynchronised += renew
    _, power, gain, counters = trial.averages
    return State(M, R, mean, power, gain, counters, learnt.scale, resynchronised), trial.low - rounding


def _twin(M: Floats, trial: BlockTrial, scale: Floats) -> Floats:
    """Return the twin after a stretch, without a product of two n × n matrices.

    ::

        M ← diag(w) (M − Zᵀ C' L⁻¹ V M),    L = I + tril(V Zᵀ, −1) C'

    The product of the steps I − c' z vᵀ, applied to all columns of M at once.
    """
    Z, V = trial.block.Z, trial.block.V
    shrink = trial.block.steps[:, 1].astype(M.dtype)
    L = rows_product(V, Z)
    block.lower_part(L, shrink)
    B = rows_product(V, np.ascontiguousarray(M.T))
    blas(M.dtype).trsm(1.0, L.T, B.T, side=1, lower=0, diag=1, overwrite_b=1)
    M = M.copy()
    add_product(M, Z * shrink[:, None], B, -1.0)
    M *= scale[:, None]
    return M


def _broken(parameters: StepParameters, sample: int) -> DivergenceError:
    if parameters.rule == EXPLICIT:
        return DivergenceError(
            f"the explicit rule needs η‖x̄‖² < 1 and ηp < 1, which failed at sample {sample} "
            f"(rate {parameters.rate:g}). Set limit=0.1, lower the rate, or use the local rule."
        )
    return DivergenceError(
        f"activity left the finite numbers at sample {sample} (rate {parameters.rate:g}). "
        "Lower the rate or set a limit."
    )


Blocks = Iterable[npt.ArrayLike]

ENGINES = ("integrate", "twin")
DEFAULT = LearningRule()


@short_repr
@dataclass(frozen=True)
class OnlineResult:
    """Result of a circuit that settled on each sample and learnt from it.

    Parameters
    ----------
    learnt : State
        Weights R, running mean and power. M is empty if nothing kept a twin.
    xbar : (samples, n) array
        Settled activity of each sample; empty if the input came in blocks.
    residual, bound : (samples,) arrays
        ‖x − R x̄‖ and the certified bound of ‖x̄ − x̄*‖, each under the R that the sample met; empty likewise.
    samples : int
        Samples lived through.
    worst : float
        Largest bound, relative to ‖x̄‖.
    unproven : int
        Samples whose bound exceeds the tolerance, because rounding does not allow less.
    products : float
        Matrix–vector products per sample.
    """

    learnt: State
    xbar: Floats
    residual: Floats
    bound: Floats
    samples: int = 0
    worst: float = 0.0
    unproven: int = 0
    products: float = 0.0

    @property
    def lateral(self) -> Floats:
        """Lateral weights R."""
        return self.learnt.R

    @property
    def mean(self) -> Floats:
        """Running mean of the input, in its unit."""
        return self.learnt.mean * self.learnt.mean.dtype.type(self.learnt.scale)

    @property
    def state(self) -> State:
        """What was learnt with the twin M = R⁻¹ beside it, for `plasticity.learn`."""
        R = self.learnt.R
        return self.learnt if self.learnt.M.size else replace(self.learnt, M=inverse(R))


def run_online(
    X: npt.ArrayLike | Blocks,
    plan: LearningRule = DEFAULT,
    tol: float = 1e-6,
    *,
    state: State | None = None,
    engine: str = "integrate",
    record: str | os.PathLike[str] | None = None,
    every: int = 100,
    look_every: int = 10_000,
    progress: Progress | None = None,
) -> OnlineResult:
    """Let a circuit settle on each sample under its current weights, and learn from where it settled.

    ::

        τ dx̄/dt = x − R x̄  to rest,    then  R ← (R + η (R x̄)x̄ᵀ) diag(1/g),    g = 1 + η p

    Sample by sample, as written; computed in stretches. Each stretch settles under the R at its start by matrix
    products, and an exact correction of low rank carries every sample to the R that it meets. The certificate is that
    of the R met: ‖x̄ − x̄*‖ ≤ tol ‖x̄*‖.

    Parameters
    ----------
    X : (samples, n) array, or iterable of such arrays
        Inputs, in order. Blocks are read one at a time and nothing of them is kept, so that a run may be endless;
        a few hundred samples each, or more, are fastest.
    plan : LearningRule
        Rule ("implicit" or "explicit", recurrent), rate, gain, mean; batch = 1.
    tol : float, default 1e-6
        Certified distance to rest, relative to ‖x̄*‖.
    state : State, optional
        Where to begin; R = I by default. It is left as it was.
    engine : {"integrate", "twin"}
        How a stretch settles under the R at its start. "integrate": by Chebyshev-scheduled Euler steps of the circuit
        itself; there is no M anywhere. "twin": by M = R⁻¹, kept up to date beside R; faster, certified by R alike.
    record : path-like, optional
        HDF5 file for traces: xbar, residual, bound at one interval, R, margin, correlation at another.
    every, look_every : int
        Samples between two recordings of the former, and of the latter.
    progress : callable, optional
        Called as `progress(words, done, total)`; `neurodecorr.cli.progress.progress_bar` draws a bar.

    Returns
    -------
    OnlineResult
        What was learnt; x̄, residual and bound of each sample if X is one array.

    Raises
    ------
    InputError
        If a sample is not finite or of the wrong size; it is named.
    ConfigError
        If the plan is for another form, rule or batch, or an option lies outside its range.
    StabilityError, DivergenceError
        If the circuit ceases to settle, or numbers leave the finite range; the sample is named.

    Notes
    -----
    Whatever ends a run early, Ctrl-C included, carries the `OnlineResult` so far as its attribute `partial_result`, and
    leaves the traces up to the last block in the file. Stability is looked at every 1000 samples, or every n.

    Examples
    --------
    >>> import neurodecorr as nd
    >>> X = nd.data.correlated_gaussian(features=8, samples=2000, condition=10.0).inputs
    >>> life = nd.run_online(X, tol=1e-9)
    >>> life.samples, life.unproven, bool(life.worst <= 1e-9)
    (2000, 0, True)

    References
    ----------
    Ahmad (2024), arXiv:2407.10780.
    """
    _require_plan(plan)
    tol, every, look_every = positive(tol, "tol"), count(every, "every"), count(look_every, "look_every")
    choice(engine, "engine", ENGINES)
    tell = progress_function(progress)
    if state is not None:
        instance(state, State, "state", advice="Use initial_state(X, plan).")
    if record is not None:
        checked_path(record, "record")
    whole, blocks, total = _opened(X)
    first = next(blocks, None)
    if first is None:
        raise InputError("X must hold at least one block of samples; the iterable was empty.")
    state = initial_state(_checked(first, 0, None), plan) if state is None else state
    living = OnlineCircuit.begin(_prepared(state, engine))
    n, dtype = len(state.mean), living.learnt.R.dtype
    life = OnlineResult(living.learnt, *_rows(total if whole else 0, n, dtype))
    with contextlib.ExitStack() as stack:
        diary = None
        if record is not None:
            about = provenance(_config(plan, tol, engine, every, look_every), 0)
            diary = stack.enter_context(
                OnlineRecorder(record, n, dtype, every, look_every, living.learnt.samples, about)
            )
            diary.look(living.learnt)
        stack.enter_context(one_thread(n))
        try:
            for longer in _lives(life, living, _chained(first, blocks), plan, tol, diary):
                life = longer
                if tell is not None:
                    tell("samples settled and learnt", life.samples, total or math.inf)
        except BaseException as error:
            error.partial_result = life  # type: ignore[attr-defined]
            raise
        if diary is not None:
            diary.last_look(life.learnt)
    return life


def _lives(
    life: OnlineResult,
    living: OnlineCircuit,
    blocks: Iterator[Any],
    plan: LearningRule,
    tol: float,
    diary: OnlineRecorder | None,
) -> Iterator[OnlineResult]:
    """Yield the life after each stretch."""
    n, keeps = len(living.learnt.mean), life.xbar.size > 0
    scale, dtype = living.learnt.scale, living.learnt.R.dtype
    for rows in blocks:
        checked = _checked(rows, life.samples, n).astype(dtype, copy=False)
        done = 0
        while done < len(checked):
            length = min(living.reach, len(checked) - done)
            if diary is not None:
                length = diary.room(living.learnt.samples, length)
            X = _scaled(checked[done : done + length], scale)
            living, found = process_block(living, X, plan, tol)
            life = _longer(life, living.learnt, found, keeps)
            if diary is not None:
                diary.settled(found.xbar * dtype.type(scale), found.residual * scale, found.bound * scale)
                diary.look(living.learnt)
            done += len(found.bound)
            yield life


def _longer(life: OnlineResult, learnt: State, found: Settling, keeps: bool) -> OnlineResult:
    """Return the life with one more stretch."""
    begin, end, scale = life.samples, life.samples + len(found.bound), learnt.scale
    if keeps:
        np.multiply(found.xbar, life.xbar.dtype.type(scale), out=life.xbar[begin:end])
        np.multiply(found.residual, scale, out=life.residual[begin:end])
        np.multiply(found.bound, scale, out=life.bound[begin:end])
    return OnlineResult(
        learnt,
        life.xbar,
        life.residual,
        life.bound,
        samples=end,
        worst=max(life.worst, found.worst),
        unproven=life.unproven + len(found.proven) - int(np.count_nonzero(found.proven)),
        products=life.products + (found.products - life.products) * (end - begin) / end,
    )


def _require_plan(plan: LearningRule) -> None:
    if not isinstance(plan, LearningRule):
        raise ConfigError(f"plan must be a LearningRule; got {type(plan).__name__}.")
    if not plan.recurrent or plan.rule == "congruent" or plan.batch != 1:
        raise ConfigError(
            "a living circuit learns by LearningRule(form='recurrent', rule='implicit' or 'explicit', batch=1); got "
            f"form={plan.form!r}, rule={plan.rule!r}, batch={plan.batch}. Use plasticity.learn for the others."
        )


def _opened(X: Any) -> tuple[bool, Iterator[Any], int | None]:
    """Return whether X is one array, then checked whole, its blocks, and the number of samples if it is known."""
    if isinstance(X, np.ndarray | list | tuple) or hasattr(X, "__array__"):
        whole = _checked(X, 0, None)
        return True, iter((whole,)), len(whole)
    if not isinstance(X, Iterable):
        raise InputError(f"X must be an array, or an iterable of arrays; got {type(X).__name__}.")
    return False, iter(X), None


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _checked(block: Any, begin: int, n: int | None) -> Floats:
    """Return a block as a finite (samples, n) array; `begin` samples came before."""
    X = real_array(block, "X")
    if X.ndim != 2 or X.shape[1] == 0 or (n is None and len(X) == 0):
        hint = " Use reshape(1, -1) for one sample." if X.ndim == 1 else ""
        raise InputError(f"X must be 2-D, (samples, features); got shape {X.shape}.{hint}")
    if n is not None and X.shape[1] != n:
        raise InputError(f"X must have {n} features, one per unit; got {X.shape[1]} from sample {begin} on.")
    good = np.isfinite(X)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise InputError(
            f"X must be finite, without NaN or inf; found {X[row, column]} at sample {begin + row}, column {column} "
            f"({int(good.size - good.sum())} such in its block). Remove or impute these entries."
        )
    return X


def _scaled(X: Floats, scale: float) -> Floats:
    with np.errstate(over="ignore"):
        scaled = np.ascontiguousarray(X / X.dtype.type(scale))
    if not np.abs(scaled).max() < np.finfo(X.dtype).max ** 0.5 / X.shape[1]:  # so that xᵀx is finite, too
        raise InputError("X must stay within the range of its type at the scale of the first inputs seen; use float64.")
    return scaled


def _prepared(state: State, engine: str) -> State:
    """Return the state with the matrices that the engine needs, and no other."""
    R = np.ascontiguousarray(state.lateral)
    if engine == "integrate":
        return replace(state, R=R, M=np.empty((0, 0), R.dtype))
    return replace(state, R=R, M=np.ascontiguousarray(state.M) if state.M.size else inverse(R))


def _rows(samples: int | None, n: int, dtype: np.dtype[Any]) -> tuple[Floats, Floats, Floats]:
    k = samples or 0
    return np.empty((k, n), dtype), np.empty(k), np.empty(k)


def _config(plan: LearningRule, tol: float, engine: str, every: int, look_every: int) -> dict[str, Any]:
    options = dataclasses.asdict(plan) | {"schedule": str(plan.schedule)}
    return {"plan": options, "tol": tol, "engine": engine, "every": every, "look_every": look_every}
