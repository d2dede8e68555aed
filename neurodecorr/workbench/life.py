"""`live`: run a circuit as an animal or a chip would, settling every sample and learning from it at once."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from neurodecorr._checks import checked_path, choice, count, flag, instance, positive, real_array
from neurodecorr._threads import one_thread
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.plasticity import Plan, State, start
from neurodecorr.recording import provenance
from neurodecorr.workbench.diary import Diary
from neurodecorr.workbench.living import Living, Settling, lived

__all__ = ["ENGINES", "Life", "live"]

Floats = npt.NDArray[np.floating[Any]]
Blocks = Iterable[npt.ArrayLike]

ENGINES = ("integrate", "twin")
DEFAULT = Plan()


@dataclass(frozen=True)
class Life:
    """What a circuit lived through.

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
        return self.learnt if self.learnt.M.size else replace(self.learnt, M=_inverse(R))


def live(
    X: npt.ArrayLike | Blocks,
    plan: Plan = DEFAULT,
    tol: float = 1e-6,
    *,
    state: State | None = None,
    engine: str = "integrate",
    record: str | os.PathLike[str] | None = None,
    every: int = 100,
    look_every: int = 10_000,
    progress: bool = False,
) -> Life:
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
    plan : Plan
        Rule ("local" or "explicit", recurrent), rate, gain, mean; batch = 1.
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
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    Life
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
    Whatever ends a run early, Ctrl-C included, carries the `Life` so far as its attribute `life`, and leaves the
    traces up to the last stretch in the file. Stability is looked at every 1000 samples, or every n.

    Examples
    --------
    >>> import neurodecorr as nd
    >>> X = nd.data.correlated_gaussian(features=8, samples=2000, condition=10.0).inputs
    >>> life = nd.live(X, tol=1e-9)
    >>> life.samples, life.unproven, bool(life.worst <= 1e-9)
    (2000, 0, True)
    """
    _require_plan(plan)
    tol, every, look_every = positive(tol, "tol"), count(every, "every"), count(look_every, "look_every")
    choice(engine, "engine", ENGINES)
    flag(progress, "progress")
    if state is not None:
        instance(state, State, "state", advice="Use start(X, plan).")
    if record is not None:
        checked_path(record, "record")
    whole, blocks, total = _opened(X)
    first = next(blocks, None)
    if first is None:
        raise InputError("X must hold at least one block of samples; the iterable was empty.")
    state = start(_checked(first, 0, None), plan) if state is None else state
    living = Living.begin(_prepared(state, engine))
    n, dtype = len(state.mean), living.learnt.R.dtype
    life = Life(living.learnt, *_rows(total if whole else 0, n, dtype))
    with contextlib.ExitStack() as stack:
        diary = None
        if record is not None:
            about = provenance(_config(plan, tol, engine, every, look_every), 0)
            diary = stack.enter_context(Diary(record, n, dtype, every, look_every, living.learnt.samples, about))
            diary.look(living.learnt)
        bar = stack.enter_context(tqdm(total=total, desc="living", unit="sample", disable=not progress))
        stack.enter_context(one_thread(n))
        try:
            for longer in _lives(life, living, _chained(first, blocks), plan, tol, diary):
                life = longer
                bar.update(life.samples - bar.n)
        except BaseException as error:
            error.life = life  # type: ignore[attr-defined]
            raise
        if diary is not None:
            diary.last_look(life.learnt)
    return life


def _lives(
    life: Life, living: Living, blocks: Iterator[Any], plan: Plan, tol: float, diary: Diary | None
) -> Iterator[Life]:
    """Yield the life after each stretch."""
    n, keeps = len(living.learnt.mean), life.xbar.size > 0
    scale, dtype = living.learnt.scale, living.learnt.R.dtype
    for block in blocks:
        checked = _checked(block, life.samples, n).astype(dtype, copy=False)
        done = 0
        while done < len(checked):
            length = min(living.reach, len(checked) - done)
            if diary is not None:
                length = diary.room(living.learnt.samples, length)
            X = _scaled(checked[done : done + length], scale)
            living, found = lived(living, X, plan, tol)
            life = _longer(life, living.learnt, found, keeps)
            if diary is not None:
                diary.settled(found.xbar * dtype.type(scale), found.residual * scale, found.bound * scale)
                diary.look(living.learnt)
            done += len(found.bound)
            yield life


def _longer(life: Life, learnt: State, found: Settling, keeps: bool) -> Life:
    """Return the life with one more stretch."""
    begin, end, scale = life.samples, life.samples + len(found.bound), learnt.scale
    if keeps:
        np.multiply(found.xbar, life.xbar.dtype.type(scale), out=life.xbar[begin:end])
        np.multiply(found.residual, scale, out=life.residual[begin:end])
        np.multiply(found.bound, scale, out=life.bound[begin:end])
    return Life(
        learnt,
        life.xbar,
        life.residual,
        life.bound,
        samples=end,
        worst=max(life.worst, found.worst),
        unproven=life.unproven + len(found.proven) - int(np.count_nonzero(found.proven)),
        products=life.products + (found.products - life.products) * (end - begin) / end,
    )


def _require_plan(plan: Plan) -> None:
    if not isinstance(plan, Plan):
        raise ConfigError(f"plan must be a Plan; got {type(plan).__name__}.")
    if not plan.recurrent or plan.rule == "congruent" or plan.batch != 1:
        raise ConfigError(
            "a living circuit learns by Plan(form='recurrent', rule='local' or 'explicit', batch=1); got "
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
    return replace(state, R=R, M=np.ascontiguousarray(state.M) if state.M.size else _inverse(R))


def _inverse(R: Floats) -> Floats:
    return np.asarray(np.linalg.inv(R.astype(np.float64)), R.dtype)


def _rows(samples: int | None, n: int, dtype: np.dtype[Any]) -> tuple[Floats, Floats, Floats]:
    k = samples or 0
    return np.empty((k, n), dtype), np.empty(k), np.empty(k)


def _config(plan: Plan, tol: float, engine: str, every: int, look_every: int) -> dict[str, Any]:
    options = dataclasses.asdict(plan) | {"schedule": str(plan.schedule)}
    return {"plan": options, "tol": tol, "engine": engine, "every": every, "look_every": look_every}
