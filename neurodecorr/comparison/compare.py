"""Run every form of the decorrelator over one stream, once or with several seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from neurodecorr import measures, plasticity
from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Floats
from neurodecorr._validation import (
    RULES,
    Progress,
    checked_names,
    count,
    instance,
    positive,
    progress_function,
    rule_name,
    sequence,
    shown,
)
from neurodecorr.comparison.comparison import Comparison, Entry, over_seeds
from neurodecorr.comparison.trial import SETTLED, TrialInputs, run_trial
from neurodecorr.data import Dataset
from neurodecorr.data.sources import Split, rows_split
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.io import provenance
from neurodecorr.plasticity import LearningRule

NAME = "comparing forms"


def run_all(trials: Sequence[Callable[..., Entry]], jobs: int, progress: Progress | None) -> Iterator[Entry]:
    """Run trials and yield their entries in order.

    In this process each trial tells how far it is (`tell`, a share of 1); other processes tell when one is done.

    Parameters
    ----------
    trials : sequence of callables
        Each takes `tell` and returns an entry.
    jobs : int
        Processes.
    progress : callable or None
        Called as `progress(words, done, total)`.
    """
    if jobs == 1:
        runs: Any = (trial(tell=_teller(index, len(trials), progress)) for index, trial in enumerate(trials))
    else:
        # A generator keeps the order of the trials and yields each as soon as those before it are done.
        runs = Parallel(n_jobs=jobs, return_as="generator")(delayed(trial)() for trial in trials)
    for index, entry in enumerate(runs):
        if progress is not None:
            progress(NAME, index + 1, len(trials))
        yield entry


def _teller(index: int, total: int, progress: Progress | None) -> Callable[[float], None] | None:
    return None if progress is None else lambda share: progress(NAME, index + share, total)


# Held-out samples below which correlations of independent units scatter by more than 0.2.
LEAST_HELD_OUT = 25
# Square matrices that a trial holds at its fullest, beside the samples.
_MATRICES = 12


def require_judgeable(split: Split) -> None:
    """Raise if the held-out samples of a split are too few to judge a comparison.

    Parameters
    ----------
    split : Split
        Stream and held-out samples.

    Raises
    ------
    InputError
        If fewer than two units vary, there are too few samples for so many units, or too few held-out samples.
    """
    stream, held_out, name = split.stream, split.held_out, repr(split.stream.name)
    rows = stream.inputs
    active = int((rows.max(axis=0) > rows.min(axis=0)).sum())
    if active < 2:
        raise InputError(
            f"{name} must have at least two units that vary, as correlation is between two; got {active} of "
            f"{stream.features}. For images use patches of size 2 or more."
        )
    if len(stream) <= active:
        raise InputError(
            f"{name} must have more samples than units to learn from; got {len(stream):,} samples of {active:,} units: "
            "rows are samples. Give more samples or fewer units, or take columns for samples with --transpose."
        )
    # Standard deviation of the correlation coefficient of two independent units over N samples.
    chance = 1 / math.sqrt(len(held_out))
    if split.covariance is None and len(held_out) < LEAST_HELD_OUT:
        raise InputError(
            f"{name} must leave at least {LEAST_HELD_OUT} held-out samples to be judged on; got {len(held_out)}, among "
            f"which independent units show correlations of about {chance:.2g} by chance. Give more samples."
        )
    shown = np.diag(split.covariance) if split.covariance is not None else held_out.inputs.var(axis=0)
    if int((shown > 0).sum()) < 2:
        raise InputError(
            f"the held-out part of {name} must vary in at least two units; got {int((shown > 0).sum())}. Use another "
            "seed or other data."
        )


def require_room(split: Split, forms: int, jobs: int) -> None:
    """Raise if the matrices of the trials do not fit in memory.

    Parameters
    ----------
    split : Split
        Stream and held-out samples; they are there already.
    forms, jobs : int
        Trials, and how many of them at a time.
    """
    n = split.stream.features
    needed = 8 * n * n * (4 * forms + _MATRICES * min(jobs, forms))
    require_memory(needed, f"a comparison of {forms} forms with {n:,} units", "Use fewer units.")


# Multiply-adds of learning below which a comparison is short on any machine: nothing is measured.
LITTLE = 3e9
# Rows that are learnt to load the kernels and to be timed, and four times as many that are timed, too.
ROWS = 32
# Decompositions of the size of R that settling, certificates and paths of a circuit take, in eigenvalue problems.
SETTLING = 6
# Updates between two inspections of a learner.
INSPECTED = 1000


def forecast(bench: TrialInputs, plans: Sequence[LearningRule | None], jobs: int) -> float:
    """Return about how many seconds the trials will take; 0 for a comparison that is short on any machine.

    One decomposition, one solution and a few steps of every rule are timed. What a circuit takes beside learning
    follows from them.

    Parameters
    ----------
    bench : TrialInputs
        What the trials share.
    plans : sequence of LearningRule or None
        How each form learns; None for the closed form.
    jobs : int
        Processes.

    Returns
    -------
    float
        Seconds.
    """
    n = len(bench.covariance)
    learners = [plan for plan in plans if plan is not None]
    visits = [max(len(bench.stream), plan.visits(n)) for plan in learners]
    if sum(visits) * n * n + len(learners) * bench.looks * 25 * n**3 < LITTLE:
        return 0.0
    with one_thread(n):
        # Not symmetric, as learnt R are not: symmetric matrices need far less work.
        eigenvalues = _seconds(lambda: np.linalg.eigvals(bench.circuit + np.triu(bench.circuit, 1)))
        solution = _seconds(lambda: np.linalg.solve(bench.circuit, bench.held_out[:SETTLED].T))
        total = eigenvalues
        for plan, count in zip(learners, visits, strict=True):
            row, call = _costs(bench, plan)
            total += count * row + bench.looks * (eigenvalues + call) + count / plan.batch / INSPECTED * call
            if plan.recurrent:
                total += SETTLING * eigenvalues + len(bench.levels) * bench.draws * solution
    return total / max(1, min(jobs, len(plans)))


def spelt_time(seconds: float) -> str:
    """Format a forecast in words, rounded up: "40 seconds", "3 minutes".

    Parameters
    ----------
    seconds : float
        How long.
    """
    for unit, name, most in ((1.0, "seconds", 90.0), (60.0, "minutes", 5400.0)):
        if seconds < most:
            count = int(np.ceil(seconds / unit))
            return f"{10 * -(-count // 10) if name == 'seconds' else count} {name}"
    return f"{seconds / 3600:.1f} hours"


def _costs(bench: TrialInputs, plan: LearningRule) -> tuple[float, float]:
    """Return the seconds that a row takes, and those that a call takes beside its rows."""
    few, many = (bench.stream[: max(1, rows // plan.batch) * plan.batch] for rows in (ROWS, 4 * ROWS))
    state = plasticity.learn(plasticity.initial_state(bench.stream, plan), few, plan)  # loads, or compiles, the kernels
    short = _seconds(lambda: plasticity.learn(state, few, plan))
    if len(many) == len(few):
        return short / len(few), 0.0
    # Two lengths separate the time of a row from that of a call; noise of the clock must not make either negative.
    row = max(0.0, _seconds(lambda: plasticity.learn(state, many, plan)) - short) / (len(many) - len(few))
    return row, max(0.0, short - row * len(few))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


OFFLINE = ("M* offline", "offline", "closed form")
ONLINE = (
    ("M explicit", "feedforward", "explicit"),
    ("M implicit", "feedforward", "implicit"),
    ("R explicit", "recurrent", "explicit"),
    ("R implicit", "recurrent", "implicit"),
    ("R congruent", "recurrent", "congruent"),
)
FORMS = tuple(name for name, _, _ in (OFFLINE, *ONLINE))
# Forecasts that are not worth a line, in seconds.
SHORT = 30.0


@dataclass(frozen=True)
class _Settings:
    """Validated settings that all runs of a comparison share."""

    chosen: list[tuple[str, str, str]]
    rules: list[str]
    plan: LearningRule
    tol: float
    levels: Floats
    draws: int
    jobs: int
    progress: Progress | None


def compare(
    dataset: Dataset | npt.ArrayLike | Callable[[int], Split],
    held_out: Dataset | npt.ArrayLike | None = None,
    *,
    rules: Sequence[str] = RULES,
    rate: float = 1e-3,
    schedule: str = "decay",
    gain: str = "node",
    batch: int = 1,
    limit: float | None = 0.1,
    tol: float = 1e-6,
    mismatch: Sequence[float] = (0.01, 0.05, 0.1),
    draws: int = 20,
    seed: int = 0,
    seeds: int = 1,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Comparison:
    """Decorrelate one stream by the closed form M*, by feedforward matrices M and by recurrent circuits R.

    ::

        M* Σ M*ᵀ = diag(Σ);    x̄ = M x;    τ dx̄/dt = x − R x̄

    Every form sees the same samples in the same order and is judged on the same held-out samples.

    Parameters
    ----------
    dataset : Dataset, array, data frame or callable
        The stream to learn from, (samples, features), or a function that returns the `data.Split` of a seed. A stream
        is repeated if it is shorter than the rate needs.
    held_out : Dataset, array or data frame, optional
        Samples to judge on; a fifth of `dataset`, taken out of it, by default.
    rules : sequence of {"explicit", "implicit", "congruent"}
        Rules to run, each for R and for M; "local" is another name of "implicit".
    rate, schedule, gain, batch, limit
        As in `RecurrentDecorrelator`.
    tol : float, default 1e-6
        Certified relative distance to the fixed point at which a sample counts as settled.
    mismatch : sequence of float
        Standard deviations of the relative mismatch of synapses.
    draws : int, default 20
        Mismatched copies per level.
    seed : int, default 0
        Seed of the mismatch, and of the split.
    seeds : int, default 1
        How many runs, with seeds `seed`, `seed` + 1, …: another split (or another order of the stream, if `held_out`
        is given) and other mismatch each. The comparison is that of the first, with the spread over all.
    jobs : int, default 1
        Processes. The numbers do not depend on it.
    progress : callable, optional
        Called as `progress(words, done, total)`; a forecast of what will take long comes with a total of 0.
        `neurodecorr.cli.progress.progress_bar` draws a bar.

    Returns
    -------
    Comparison
        One entry per form.

    Raises
    ------
    ConfigError
        If an option lies outside its range.
    InputError
        If the samples are too few to be judged on, fewer than two units vary, or memory does not suffice.

    Examples
    --------
    >>> import neurodecorr as nd
    >>> comparison = nd.compare(nd.data.correlated_gaussian(features=8, samples=20_000), rules=["local"])
    >>> [entry.name for entry in comparison.entries]
    ['M* offline', 'M implicit', 'R implicit']

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, §3.2.
    """
    tell, seed = progress_function(progress), count(seed, "seed", least=0)
    split = _splits(dataset, held_out, seed)
    settings = _Settings(
        chosen=_chosen(rules),
        rules=list(rules),
        plan=LearningRule(rate=rate, schedule=schedule, gain=gain, batch=batch, limit=limit),
        tol=positive(tol, "tol"),
        levels=np.array([positive(level, "mismatch") for level in sequence(mismatch, "mismatch")], dtype=float),
        draws=count(draws, "draws", most=10**6),
        jobs=count(jobs, "jobs", most=10**4),
        progress=tell,
    )
    if gain == "none":
        raise ConfigError("gain must be 'node' or 'layer' here: without a gain no form keeps power; got 'none'.")
    runs = count(seeds, "seeds", most=10**4)
    found = [_compare_one(split(seed + k), seed + k, settings, runs - k) for k in range(runs)]
    return found[0] if runs == 1 else over_seeds(found)


def _splits(dataset: Any, held_out: Any, seed: int) -> Callable[[int], Split]:
    """Return the function that splits by a seed: the one given, or one that orders or splits a stream."""
    if callable(dataset):
        if held_out is not None:
            raise ConfigError(
                "held_out must be None where dataset is a function, whose splits hold their own; got "
                f"{shown(held_out)}."
            )
        return lambda chosen: instance(dataset(chosen), Split, "what dataset returns")
    stream = _dataset(dataset, "dataset")
    kept_back = None if held_out is None else _dataset(held_out, "held_out")

    def split(chosen: int) -> Split:
        if kept_back is None:
            return rows_split(stream, chosen)
        order = slice(None) if chosen == seed else np.random.default_rng(chosen).permutation(len(stream))
        return Split(stream.take(order), kept_back, "as given")

    return split


def _compare_one(split: Split, seed: int, settings: _Settings, runs: int) -> Comparison:
    """Return the comparison on one split; `runs` says how many like it are to come, this one included."""
    started, stream, held_out = time.perf_counter(), split.stream, split.held_out
    require_judgeable(split)
    settings.plan.require_samples(len(stream))
    require_room(split, len(settings.chosen), settings.jobs)
    bench = _bench(split, settings, seed)
    plans = [
        replace(settings.plan, form=form, rule=rule) if form != "offline" else None for _, form, rule in settings.chosen
    ]
    _tell_forecast(bench, plans, settings, runs)
    trials = [partial(run_trial, *names, one, bench) for names, one in zip(settings.chosen, plans, strict=True)]
    entries: tuple[Entry, ...] = tuple(run_all(trials, settings.jobs, settings.progress))
    config = _config(split, bench, settings, seed)
    return Comparison(
        dataset=stream.name,
        shape=stream.shape,
        config=config,
        provenance=provenance(config, seed, started),
        correlation=bench.correlation(bench.covariance),
        relative=measures.relative_off_diagonal(covariance=bench.covariance, units=bench.null.live.tolist()),
        covariance=bench.covariance,
        held_out=len(held_out),
        exact=split.covariance is not None,
        mismatch_levels=settings.levels,
        entries=entries,
        inputs=held_out.inputs[:SETTLED],
    )


def _config(split: Split, bench: TrialInputs, settings: _Settings, seed: int) -> dict[str, Any]:
    """Return what decides the numbers, in plain values."""
    stream, held_out, plan = split.stream, split.held_out, settings.plan
    return {
        "data": stream.name,
        "samples": len(stream),
        "held_out": len(held_out),
        "features": stream.features,
        "split": split.words,
        "judged_on": split.population or f"{len(held_out):,} held-out samples",
        "silent": list(bench.null.silent),
        "dependent": list(bench.null.dependent),
        "rules": settings.rules,
        "rate": plan.rate,
        "schedule": str(plan.schedule),
        "gain": plan.gain,
        "batch": plan.batch,
        "limit": plan.limit,
        "tol": settings.tol,
        "mismatch": settings.levels.tolist(),
        "draws": settings.draws,
        "seed": seed,
    }


def _tell_forecast(bench: TrialInputs, plans: list[LearningRule | None], settings: _Settings, runs: int) -> None:
    """Report the expected time to `progress`, if it is longer than `SHORT`."""
    if settings.progress is None:
        return
    seconds = runs * forecast(bench, plans, settings.jobs)
    if seconds > SHORT:
        many = f", {runs} seeds" if runs > 1 else ""
        settings.progress(
            f"about {spelt_time(seconds)}: {len(plans)} forms, {len(bench.covariance)} units, "
            f"{len(bench.stream):,} samples{many}",
            0,
            0,
        )


def _dataset(value: Any, name: str) -> Dataset:
    """Take an array or a data frame for a table."""
    return value if isinstance(value, Dataset) else Dataset(value, name="data" if name == "dataset" else name)


def _chosen(rules: Sequence[str]) -> list[tuple[str, str, str]]:
    wanted = {rule_name(rule) for rule in checked_names(rules, "rules, such as ['implicit'],", least=1)}
    return [OFFLINE, *(form for form in ONLINE if form[2] in wanted)]


def _bench(split: Split, settings: _Settings, seed: int) -> TrialInputs:
    """Gather what every trial shares."""
    stream, held_out = split.stream, split.held_out
    if held_out.features != stream.features:
        raise ConfigError(
            f"held_out must have the {stream.features} features of the stream; got {held_out.features} features."
        )
    sigma = measures.covariance(stream.inputs)
    covariance = measures.covariance(held_out.inputs) if split.covariance is None else split.covariance
    null = measures.null_directions(covariance=sigma)
    reference = plasticity.decorrelating_matrix(sigma, str(settings.plan.gain))
    circuit = np.linalg.inv(reference + null.basis @ null.basis.T)  # R* = M*⁺ + N Nᵀ
    return TrialInputs(
        stream=stream.inputs,
        held_out=held_out.inputs,
        covariance=covariance,
        reference=reference,
        circuit=(circuit + circuit.T) / 2,
        null=null,
        mean=stream.inputs.mean(axis=0),
        tol=settings.tol,
        levels=settings.levels,
        draws=settings.draws,
        seed=seed,
    )
