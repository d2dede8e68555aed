"""Learning with a rule, what it does streamed to a file on the way."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import one_pool
from neurodecorr._numerics.jit import jit
from neurodecorr._typing import Array, Floats
from neurodecorr._validation import checked_names, count, instance, mapping, samples
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import ConfigError, DivergenceError, InputError
from neurodecorr.io import Variable, provenance
from neurodecorr.io.observer import Observable, Observer
from neurodecorr.measures import covariance, rms_correlation
from neurodecorr.plasticity.batch import learn_batches
from neurodecorr.plasticity.guards import inspect
from neurodecorr.plasticity.samplewise import engine_for, learn_samples, step_parameters
from neurodecorr.plasticity.spec import LearningRule
from neurodecorr.plasticity.state import State, initial_state
from neurodecorr.plasticity.steps import StepParameters

# Between two inspections weak directions may grow by e^5 at most, and no more updates pass than this.
LONGEST_CHUNK, CHUNK_GROWTH = 1024, 5.0
# Calls of fewer samples look at the weights once a stretch, not each. For so many units the plain loop has least ado.
FEW, LARGEST_PLAIN = 8, 128


def learn(state: State, X: Floats, plan: LearningRule) -> State:
    """Learn from the rows of X in order; the given state is left as it was.

    With `plan.batch` > 1 each batch is one step, or several if its rows ask for a long one; a short last batch of a
    call counts by its rows.

    Parameters
    ----------
    state : State
        Where to begin.
    X : (samples, n) array
        Inputs x, finite.
    plan : LearningRule
        Rule, rate, gain.

    Returns
    -------
    State
        What was learnt.

    Raises
    ------
    DivergenceError
        If numbers leave the finite range, or the explicit rule meets η‖x̄‖² ≥ 1; the sample is named.
    StabilityError
        If the learnt circuit loses stability, min Re λ(R) ≤ 0; the sample and the mode are named.
    InputError, ConfigError
        If the samples do not fit the state, or state and plan are none.
    """
    instance(state, State, "state", advice="Use initial_state(X, rule).")
    return advance(state, samples(X, "X", len(state.mean)), instance(plan, LearningRule, "plan"))


def advance(state: State, X: Floats, plan: LearningRule) -> State:
    """Do what `learn` says, with samples that are checked."""
    return go_on(state.copy(), X, plan)


def go_on(state: State, X: Floats, plan: LearningRule) -> State:
    """Learn from checked samples in the memory of the given state, which is lost if this fails."""
    n, parameters = X.shape[1], step_parameters(plan, state.scale)
    few = len(X) < FEW and plan.batch == 1
    if few and plan.engine == "auto" and n <= LARGEST_PLAIN:  # less ado
        state = _learn_samples(state, _surveyed(X, state.scale)[0], plan, parameters, "plain")
        return state if len(X) < samples_left(plan, state.power, state.samples - len(X)) else inspect(state, plan)
    with one_pool(n):
        begin, engine = 0, engine_for(plan, n)
        while begin < len(X):
            chunk, power = _surveyed(X[begin : begin + max(LONGEST_CHUNK, plan.batch)], state.scale)
            chunk = chunk[: _length(plan, power)]
            if plan.batch == 1:
                state = _learn_samples(state, chunk, plan, parameters, engine)
            else:
                state = learn_batches(state, chunk, plan)
            begin += len(chunk)
            if not few or len(X) >= samples_left(plan, state.power, state.samples - len(X)):
                state = inspect(state, plan)
    return state


def samples_left(plan: LearningRule, power: Floats, samples: int) -> int:
    """Return how many samples after `samples` the weights should be looked at."""
    stretch = _length(plan, power)
    return stretch - samples % stretch


@jit()
def survey(X: Array, scale: float, limit: float, scaled: Array, power: Array) -> bool:
    """Write X in units of `scale` and each column's variance; tell whether all of it is smaller than `limit`."""
    mean, outside = np.zeros_like(power), 0
    power[:] = 0
    for t in range(X.shape[0]):
        for j in range(power.size):
            value = X[t, j] / scale
            scaled[t, j] = value
            mean[j] += value
            power[j] += value * value
            outside += not abs(value) < limit
    for j in range(power.size):
        mean[j] /= X.shape[0]
        power[j] = max(power[j] / X.shape[0] - mean[j] * mean[j], 0.0)
    return outside == 0


def _surveyed(X: Floats, scale: float) -> tuple[Floats, Floats]:
    """Return X in units of `scale`, and the variance of each column."""
    limit = np.finfo(X.dtype).max ** 0.5 / X.shape[1]  # so that xᵀx is finite, too
    scaled, power, units = np.empty_like(X, order="C"), np.empty_like(X[0]), np.array([scale, limit], X.dtype)
    if not survey(np.ascontiguousarray(X), units[0], units[1], scaled, power):
        raise InputError(f"X must stay within {X.dtype} at the scale {scale:.3g} of the first inputs. Use float64.")
    return scaled, power


def _length(plan: LearningRule, power: Floats) -> int:
    """Return the samples before the next inspection: the gain of the strongest unit grows by η p_j a sample."""
    rate = plan.rate if plan.limit is None else min(plan.rate, plan.limit)
    ratio = float(power.max() / power.mean()) if power.any() else 1.0
    rows = min(LONGEST_CHUNK, int(CHUNK_GROWTH / (rate * ratio)))
    return max(1, rows // plan.batch) * plan.batch


def _learn_samples(state: State, X: Floats, plan: LearningRule, parameters: StepParameters, engine: str) -> State:
    if not learn_samples(state, X, plan, parameters, engine):
        raise _broken(state, plan)
    return state


def _broken(state: State, plan: LearningRule) -> DivergenceError:
    where = f"at sample {state.samples}"
    if plan.rule == "explicit":
        return DivergenceError(
            f"the explicit rule needs η‖x̄‖² < 1 and ηp < 1, which failed {where} (rate {plan.rate:g}). "
            "Set limit=0.1, lower the rate, or use rule='implicit'."
        )
    return DivergenceError(
        f"activity left the finite numbers {where} (rate {plan.rate:g}). Lower the rate or set a limit."
    )


EQUATION = "τ dx̄/dt = (x − μ) − R x̄ at rest, or x̄ = M (x − μ); R[i, j] and M[i, j] act from unit j on unit i"


def record_learning(
    X: npt.ArrayLike | Iterable[npt.ArrayLike],
    plan: LearningRule,
    path: str | os.PathLike[str],
    *,
    every: int = 1000,
    what: Iterable[str] | None = None,
    state: State | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
) -> State:
    """Learn from samples in their order, and stream weights, statistics and errors to a file of traces.

    The state is that of `learn`, called with the pieces between two rows. Memory is bounded: blocks are read one at a
    time, and nothing of them is kept. The file is readable at any time, also after the process was killed; see
    `read_traces`.

    Parameters
    ----------
    X : (samples, n) array, or iterable of such arrays
        Inputs. Every block must be a whole number of the plan's batches.
    plan : LearningRule
        Form, rule, rate, gain, batch.
    path : path-like
        The file of traces to write.
    every : int, default 1000
        Samples between two rows, a whole number of batches; the first row is the start, the last one the end.
    what : iterable of str, optional
        Some of `RECORDED`; all by default.
    state : State, optional
        Where to begin; identity by default.
    seed : int
        Of whatever made the samples; kept in the file.
    config : mapping, optional
        Kept in the file, too.

    Returns
    -------
    State
        What was learnt.

    Raises
    ------
    InputError, ConfigError
        If samples or an option cannot be used.
    DivergenceError, StabilityError
        If learning breaks down; rows until then are in the file.
    CheckpointError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from neurodecorr.io import read_traces
    >>> X = np.random.default_rng(0).standard_normal((3000, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     state = record_learning(X, LearningRule(form="recurrent", rule="local"), f"{folder}/traces.h5")
    ...     traces = read_traces(folder)
    >>> traces["R"].step.tolist(), bool((traces["R"].values[-1] == state.R).all())
    ([0, 1000, 2000, 3000], True)
    """
    names, seed = _names(what), count(seed, "seed", least=0)
    instance(plan, LearningRule, "plan")
    config = {} if config is None else mapping(config, "config")
    if state is not None:
        instance(state, State, "state", advice="Use initial_state(X, plan).")
    if count(every, "every") % plan.batch:
        raise ConfigError(f"every must be a whole number of batches of {plan.batch} samples; got {every}.")
    blocks = _blocks(X, None if state is None else len(state.mean))
    first = next(blocks, None)
    if first is None:
        raise InputError("X must hold at least one block of samples; the iterable was empty.")
    state = initial_state(first, plan) if state is None else state
    options = dataclasses.asdict(plan) | {"schedule": str(plan.schedule), "every": every, "what": list(names)}
    about = provenance({"plan": options, **config}, seed)
    facts: dict[str, str | int | float] = {"seed": seed, "rule": plan.rule, "form": plan.form, "rate": plan.rate}
    seen = Observable(_variables(names, state, plan), lambda now: _row(names, now[0], now[1], plan), every)
    with Observer(path, [seen], EQUATION, "samples", facts=facts, provenance=about) as observer:
        step, rows = 0, None
        observer.observe(step, (state, rows))
        for block in itertools.chain([first], blocks):
            while len(block):
                length = observer.steps_left(step, len(block))
                rows, block = block[:length], block[length:]
                state = advance(state, rows, plan)
                step += len(rows)
                observer.observe(step, (state, rows))
        observer.finish(step, (state, rows))
    return state


def _names(what: Iterable[str] | None) -> tuple[str, ...]:
    if what is None:
        return RECORDED
    return tuple(checked_names(what, "what", RECORDED, least=1))


def _blocks(X: Any, n: int | None) -> Iterator[Floats]:
    if isinstance(X, np.ndarray | list | tuple) or hasattr(X, "__array__"):
        yield samples(X, "X", n)
        return
    if not isinstance(X, Iterable) or isinstance(X, str | bytes):
        raise InputError(f"X must be an array, or an iterable of arrays; got {type(X).__name__}.")
    for block in X:
        checked = samples(block, "X", n)
        n = checked.shape[1]
        yield checked


def _variables(names: tuple[str, ...], state: State, plan: LearningRule) -> list[Variable]:
    n, kind = len(state.mean), state.M.dtype if state.M.size else state.R.dtype
    found = []
    for name in names:
        shape, unit, description = _MEANINGS[name]
        own = ("R" if plan.recurrent else "M") if name == "weights" else name
        found.append(Variable(own, (n,) * shape, kind if name == "weights" else "float64", unit, description))
    return found


def _row(names: tuple[str, ...], state: State, rows: Floats | None, plan: LearningRule) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        if name == "weights":
            found["R" if plan.recurrent else "M"] = state.R if plan.recurrent else state.M
        elif name != "correlation":
            found[name] = _VALUES[name](state)
        elif rows is not None and len(rows) > 1:
            found[name] = _correlation(state, rows)
    return found


def _correlation(state: State, rows: Floats) -> float:
    Xbar = (rows.astype(np.float64) - state.mean * state.scale) @ state.matrix.astype(np.float64).T
    return rms_correlation(covariance=covariance(Xbar), samples=len(rows))


# Axes of length n, unit, meaning.
_MEANINGS = {
    "weights": (2, "1", "lateral weights R, or the matrix M"),
    "mean": (1, "", "running mean μ of the inputs, in their unit"),
    "power": (1, "", "running power of the inputs, in their unit squared"),
    "gain": (1, "1", "gain g of the last step"),
    "margin": (0, "1/τ", "min Re λ(R)"),
    "correlation": (0, "1", "rms correlation coefficient of x̄ over the samples since the last row"),
    "residual": (0, "1", "largest error of rest met so far, ‖M (x − R x̄)‖/‖x̄‖"),
    "twin_error": (0, "1", "‖RM − I‖/√n"),
    "limited": (0, "1", "steps that the limiter shortened"),
}
_VALUES: dict[str, Callable[[State], Any]] = {
    "mean": lambda state: state.mean.astype(np.float64) * state.scale,
    "power": lambda state: state.power.astype(np.float64) * state.scale**2,
    "gain": lambda state: state.gain.astype(np.float64),
    "margin": lambda state: margin(state.lateral),
    "residual": lambda state: state.settling_error,
    "twin_error": lambda state: state.twin_error(),
    "limited": lambda state: float(state.limited),
}
RECORDED = tuple(_MEANINGS)
