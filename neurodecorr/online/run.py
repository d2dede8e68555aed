"""Settle a circuit on each sample under its present weights, then learn from where it settled."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import add_product, one_thread
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
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.io import Variable, provenance
from neurodecorr.io.observer import Observable, Observer
from neurodecorr.measures import rms_correlation
from neurodecorr.online.circuit import OnlineCircuit, Settling
from neurodecorr.online.process import process_block
from neurodecorr.plasticity import LearningRule, State, initial_state
from neurodecorr.plasticity.guards import inverse, symmetrised

EQUATION = "τ dx̄/dt = (x − μ) − R x̄ to rest; R[i, j] acts from unit j on unit i; then R learns from x̄"


class OnlineRecorder:
    """Write the traces of an online run to a file, in bounded memory.

    Parameters
    ----------
    path : path-like
        The file.
    n : int
        Units.
    dtype : dtype
        Type of R and x̄.
    every, weights_every : int
        Samples between two recordings of x̄, and of R.
    begin : int
        Samples seen before.
    provenance : dict
        Where the run came from.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        n: int,
        dtype: np.dtype[Any],
        every: int,
        weights_every: int,
        begin: int,
        provenance: dict[str, Any],
    ) -> None:
        settled = [
            Variable("xbar", (n,), dtype, description="settled activity, in the unit of the input"),
            Variable("residual", description="‖x − R x̄‖, in the unit of the input"),
            Variable("bound", description="certified bound of ‖x̄ − x̄*‖, in the unit of the input"),
        ]
        learnt = [
            Variable("margin", unit="1/τ", description="min Re λ(R)"),
            Variable("correlation", description="rms correlation coefficient of x̄ since the last row"),
            Variable("R", (n, n), dtype, description="lateral weights"),
        ]
        facts: dict[str, str | int | float] = {
            "step_description": "samples learnt from before the row was recorded",
            "every_samples": every,
            "weights_every_samples": weights_every,
            **{name: value for name, value in provenance["config"].items() if isinstance(value, str | float)},
        }
        observed = [
            Observable(settled, lambda _: self._block, every, begin, per_step=True),
            Observable(learnt, self._learnt, weights_every, begin),
        ]
        self._observer = Observer(path, observed, EQUATION, "samples", facts=facts, provenance=provenance)
        self._moment, self._sum, self._count = np.zeros((n, n), dtype), np.zeros(n), 0
        self._block: dict[str, Any] = {"bound": ()}

    def steps_left(self, seen: int, wanted: int) -> int:
        """Return how many of `wanted` samples to take before the next row of R."""
        return self._observer.steps_left(seen, wanted)

    def add(self, xbar: Floats, residual: Floats, bound: Floats) -> None:
        """Gather the covariance of a block of settled samples, which `observe` records."""
        add_product(self._moment, xbar, xbar, 1.0)
        self._sum += xbar.sum(axis=0, dtype=np.float64)
        self._count += len(xbar)
        self._block = {"xbar": xbar, "residual": residual, "bound": bound}

    def observe(self, learnt: State) -> None:
        """Record what is due of the block that was settled, and of what was learnt from it."""
        self._observer.observe(learnt.samples, learnt, len(self._block["bound"]))

    def finish(self, learnt: State) -> None:
        """Record weights, margin and correlation at the end, unless that has just been done."""
        self._observer.finish(learnt.samples, learnt)

    def _learnt(self, learnt: State) -> dict[str, Any]:
        values: dict[str, Any] = {"margin": Spectrum(learnt.R.astype(np.float64)).margin, "R": learnt.R}
        if self._count:
            mean = self._sum / self._count
            covariance = self._moment / self._count - np.outer(mean, mean)
            values["correlation"] = rms_correlation(covariance=covariance, samples=self._count)
        self._moment[:], self._sum[:], self._count = 0, 0, 0
        return values

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._observer.__exit__(*raised)


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
        Weights R, running mean and power. M is empty unless it was kept beside R.
    xbar : (samples, n) array
        Settled activity of each sample; empty if the input came in blocks.
    residual, bound : (samples,) arrays
        ‖x − R x̄‖ and the certified bound of ‖x̄ − x̄*‖, each under the R that the sample met; empty likewise.
    samples : int
        Samples settled and learnt from.
    worst : float
        Largest bound, relative to ‖x̄‖, of all that settled.
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
        """What was learnt, with M = R⁻¹ beside R, for `plasticity.learn`."""
        R = self.learnt.R
        if self.learnt.M.size:
            return self.learnt
        return replace(self.learnt, M=inverse(R, symmetric=np.array_equal(R, R.T)))


def run_online(
    X: npt.ArrayLike | Blocks,
    plan: LearningRule = DEFAULT,
    tol: float = 1e-6,
    *,
    state: State | None = None,
    engine: str = "integrate",
    record: str | os.PathLike[str] | None = None,
    every: int = 100,
    weights_every: int = 10_000,
    progress: Progress | None = None,
) -> OnlineResult:
    """Let a circuit settle on each sample under its current weights, and learn from where it settled.

    ::

        τ dx̄/dt = x − R x̄  to rest,    then  R ← (R + η (R x̄)x̄ᵀ) diag(1/g),    g = 1 + η p

    Sample by sample, as written, or by another recurrent rule (`LearningRule`); computed in blocks. Each block settles
    under the R at its start by matrix products, and an exact correction of low rank carries every sample to the R that
    it meets. The certificate is that of the R met: ‖x̄ − x̄*‖ ≤ tol ‖x̄*‖.

    The congruent rule keeps R symmetric positive definite, and the bound of σ_min that is carried along proves it. Its
    gains act on both sides of R, so that its samples settle one by one. The samples of a batch all settle under the R
    at its start.

    Parameters
    ----------
    X : (samples, n) array, or iterable of such arrays
        Inputs, in order. Blocks are read one at a time and nothing of them is kept, so that a run may be endless;
        a few hundred samples each, or more, are fastest. Batches go on from one block to the next; the last one of a
        run may be short, and counts by its rows.
    plan : LearningRule
        Recurrent form; any rule, rate, gain, mean and batch.
    tol : float, default 1e-6
        Certified distance to rest, relative to ‖x̄*‖.
    state : State, optional
        Where to begin; R = I by default. It is left as it was. The congruent rule needs a symmetric R.
    engine : {"integrate", "twin"}
        How samples settle under one R. "integrate": by Chebyshev-scheduled Euler steps of the circuit itself; there is
        no M anywhere. "twin": by M = R⁻¹, kept up to date beside R; faster, certified by R alike.
    record : path-like, optional
        HDF5 file for traces: xbar, residual, bound at one interval, R, margin, correlation at another.
    every, weights_every : int
        Samples between two recordings of the former, and of the latter; the latter a whole number of batches.
    progress : callable, optional
        Called as `progress(words, done, total)`; `neurodecorr.cli.progress.progress_bar` draws a bar.

    Returns
    -------
    OnlineResult
        What was learnt; x̄, residual and bound of each sample if X is one array.

    Raises
    ------
    InputError
        If a sample is not finite or of the wrong size; it is named. If the congruent rule begins at an R that is not
        symmetric.
    ConfigError
        If the rule is for the feedforward form, which does not settle, or an option lies outside its range.
    StabilityError, DivergenceError
        If the circuit ceases to settle, or numbers leave the finite range; the sample is named.

    Notes
    -----
    Whatever ends a run early, Ctrl-C included, carries the `OnlineResult` so far as its attribute `partial_result`, and
    leaves the traces up to the last block in the file. Stability is checked every 1000 samples, or every n; under the
    congruent rule it is proven in between. Batches go on exactly where a run ended if that was a whole number of them.

    Examples
    --------
    >>> import neurodecorr as nd
    >>> X = nd.data.correlated_gaussian(features=8, samples=2000, condition=10.0).inputs
    >>> result = nd.run_online(X, tol=1e-9)
    >>> result.samples, result.unproven, bool(result.worst <= 1e-9)
    (2000, 0, True)

    References
    ----------
    Ahmad (2024), arXiv:2407.10780.
    """
    _require_plan(plan)
    tol, every, weights_every = positive(tol, "tol"), count(every, "every"), count(weights_every, "weights_every")
    choice(engine, "engine", ENGINES)
    report = progress_function(progress)
    if state is not None:
        instance(state, State, "state", advice="Use initial_state(X, plan).")
    if record is not None:
        checked_path(record, "record")
        if weights_every % plan.batch:
            raise ConfigError(
                f"weights_every must be a whole number of batches of {plan.batch} samples; got {weights_every}."
            )
    whole, blocks, total = _opened(X)
    first = next(blocks, None)
    if first is None:
        raise InputError("X must hold at least one block of samples; the iterable was empty.")
    state = initial_state(_checked(first, 0, None), plan) if state is None else state
    circuit = OnlineCircuit.begin(_prepared(state, engine, plan))
    n, dtype = len(state.mean), circuit.learnt.R.dtype
    result = OnlineResult(circuit.learnt, *_rows(total if whole else 0, n, dtype))
    with contextlib.ExitStack() as stack:
        recorder = None
        if record is not None:
            about = provenance(_config(plan, tol, engine, every, weights_every), 0)
            recorder = stack.enter_context(
                OnlineRecorder(record, n, dtype, every, weights_every, circuit.learnt.samples, about)
            )
            recorder.observe(circuit.learnt)
        stack.enter_context(one_thread(n))
        batches = _whole_batches(itertools.chain([first], blocks), n, dtype, plan.batch)
        try:
            for longer in _results(result, circuit, batches, plan, tol, recorder):
                result = longer
                if report is not None:
                    report("samples settled and learnt", result.samples, total or math.inf)
        except BaseException as error:
            error.partial_result = result  # type: ignore[attr-defined]
            raise
        if recorder is not None:
            recorder.finish(result.learnt)
    return result


def _results(
    result: OnlineResult,
    circuit: OnlineCircuit,
    blocks: Iterator[Floats],
    plan: LearningRule,
    tol: float,
    recorder: OnlineRecorder | None,
) -> Iterator[OnlineResult]:
    """Yield the result after each block that was processed."""
    keeps, scale, dtype = result.xbar.size > 0, circuit.learnt.scale, circuit.learnt.R.dtype
    for rows in blocks:
        done = 0
        while done < len(rows):
            length = min(circuit.reach(plan), len(rows) - done)
            if recorder is not None:
                length = recorder.steps_left(circuit.learnt.samples, length)
            circuit, found = process_block(circuit, _scaled(rows[done : done + length], scale), plan, tol)
            result = _longer(result, circuit.learnt, found, keeps)
            if recorder is not None:
                recorder.add(found.xbar * dtype.type(scale), found.residual * scale, found.bound * scale)
                recorder.observe(circuit.learnt)
            done += len(found.bound)
            yield result


def _longer(result: OnlineResult, learnt: State, found: Settling, keeps: bool) -> OnlineResult:
    """Return the result with the samples of one more block."""
    begin, end, scale = result.samples, result.samples + len(found.bound), learnt.scale
    if keeps:
        np.multiply(found.xbar, result.xbar.dtype.type(scale), out=result.xbar[begin:end])
        np.multiply(found.residual, scale, out=result.residual[begin:end])
        np.multiply(found.bound, scale, out=result.bound[begin:end])
    return OnlineResult(
        learnt,
        result.xbar,
        result.residual,
        result.bound,
        samples=end,
        worst=max(result.worst, found.worst),
        unproven=result.unproven + len(found.proven) - int(np.count_nonzero(found.proven)),
        products=result.products + (found.products - result.products) * (end - begin) / end,
    )


def _require_plan(plan: LearningRule) -> None:
    if not isinstance(plan, LearningRule):
        raise ConfigError(f"plan must be a LearningRule; got {type(plan).__name__}.")
    if not plan.recurrent:
        raise ConfigError(
            f"a circuit that settles on each sample has form='recurrent'; got form={plan.form!r}, which computes "
            "M x at once. Use nd.learn for it."
        )


def _opened(X: Any) -> tuple[bool, Iterator[Any], int | None]:
    """Return whether X is one array, then checked whole, its blocks, and the number of samples if it is known."""
    if isinstance(X, np.ndarray | list | tuple) or hasattr(X, "__array__"):
        whole = _checked(X, 0, None)
        return True, iter((whole,)), len(whole)
    if not isinstance(X, Iterable):
        raise InputError(f"X must be an array, or an iterable of arrays; got {type(X).__name__}.")
    return False, iter(X), None


def _whole_batches(blocks: Iterator[Any], n: int, dtype: np.dtype[Any], batch: int) -> Iterator[Floats]:
    """Yield checked blocks of whole batches: what is left over waits for the next block, or is the last batch."""
    waiting: list[Floats] = []
    read = done = 0
    for block in blocks:
        rows = _checked(block, read, n).astype(dtype, copy=False)
        read += len(rows)
        waiting.append(rows)
        if read - done >= batch:
            rows = np.concatenate(waiting) if len(waiting) > 1 else rows
            whole = len(rows) // batch * batch
            yield rows[:whole]
            waiting, done = [rows[whole:]], done + whole
    if read > done:
        yield np.concatenate(waiting)


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
    """Return X in units of `scale`."""
    with np.errstate(over="ignore"):
        scaled = np.ascontiguousarray(X / X.dtype.type(scale))
    if not np.abs(scaled).max() < np.finfo(X.dtype).max ** 0.5 / X.shape[1]:  # so that xᵀx is finite, too
        raise InputError(f"X must stay within {X.dtype} at the scale {scale:.3g} of the first inputs. Use float64.")
    return scaled


def _prepared(state: State, engine: str, plan: LearningRule) -> State:
    """Return the state with the matrices that the engine needs, and no other; symmetric ones for the congruent rule."""
    symmetric = plan.rule == "congruent"
    R = np.ascontiguousarray(symmetrised(state.lateral) if symmetric else state.lateral)
    if engine == "integrate":
        return replace(state, R=R, M=np.empty((0, 0), R.dtype))
    M = (state.M + state.M.T) / 2 if symmetric else state.M
    return replace(state, R=R, M=np.ascontiguousarray(M) if M.size else inverse(R, symmetric))


def _rows(samples: int | None, n: int, dtype: np.dtype[Any]) -> tuple[Floats, Floats, Floats]:
    k = samples or 0
    return np.empty((k, n), dtype), np.empty(k), np.empty(k)


def _config(plan: LearningRule, tol: float, engine: str, every: int, weights_every: int) -> dict[str, Any]:
    options = dataclasses.asdict(plan) | {"schedule": str(plan.schedule)}
    return {"plan": options, "tol": tol, "engine": engine, "every": every, "weights_every": weights_every}
