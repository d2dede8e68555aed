"""Run every form of the decorrelator over one stream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from tqdm import tqdm

from neurodecorr import measures, plasticity
from neurodecorr._checks import choice, count, positive
from neurodecorr.data import Dataset
from neurodecorr.errors import ConfigError
from neurodecorr.plasticity import Plan
from neurodecorr.recording import provenance
from neurodecorr.workbench.comparison import Comparison, Entry
from neurodecorr.workbench.trial import SETTLED, Bench, run_trial

__all__ = ["FORMS", "compare"]

Floats = npt.NDArray[np.floating[Any]]

OFFLINE = ("M* offline", "offline", "closed form")
ONLINE = (
    ("M explicit", "feedforward", "explicit"),
    ("M implicit", "feedforward", "implicit"),
    ("R explicit", "recurrent", "explicit"),
    ("R local", "recurrent", "local"),
    ("R congruent", "recurrent", "congruent"),
)
FORMS = tuple(name for name, _, _ in (OFFLINE, *ONLINE))
# "local" and "implicit" are one rule in two forms.
RULES = {"explicit": ("explicit",), "local": ("implicit", "local"), "congruent": ("congruent",)}


def compare(
    dataset: Dataset,
    held_out: Dataset | None = None,
    *,
    rules: Sequence[str] = ("explicit", "local", "congruent"),
    rate: float = 1e-3,
    schedule: str = "decay",
    gain: str = "node",
    batch: int = 1,
    limit: float | None = 0.1,
    tol: float = 1e-6,
    mismatch: Sequence[float] = (0.01, 0.05, 0.1),
    draws: int = 20,
    seed: int = 0,
    jobs: int = 1,
    progress: bool = False,
) -> Comparison:
    """Decorrelate one stream by the closed form M*, by feedforward matrices M and by recurrent circuits R.

    Every form sees the same samples in the same order and is judged on the same held-out samples.

    Parameters
    ----------
    dataset : Dataset
        The stream to learn from. It is repeated if it is shorter than the rate needs.
    held_out : Dataset, optional
        Samples to judge on; a fifth of `dataset`, taken out of it, by default.
    rules : sequence of {"explicit", "local", "congruent"}
        Rules to run; "local" includes its feedforward twin, "M implicit".
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
    jobs : int, default 1
        Processes. The numbers do not depend on it.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    Comparison
        One entry per form.

    Raises
    ------
    ConfigError
        If an option lies outside its range.

    Examples
    --------
    >>> import neurodecorr as nd
    >>> comparison = nd.compare(nd.data.correlated_gaussian(features=8, samples=20_000), rules=["local"])
    >>> [entry.name for entry in comparison.entries]
    ['M* offline', 'M implicit', 'R local']
    """
    started = time.perf_counter()
    chosen, seed = _chosen(rules), count(seed, "seed", least=0)
    plan = Plan(rate=rate, schedule=schedule, gain=gain, batch=batch, limit=limit)
    if gain == "none":
        raise ConfigError("gain must be 'node' or 'layer' here: without a gain no form keeps power; got 'none'.")
    levels = np.array([positive(level, "mismatch") for level in mismatch])
    if held_out is None:
        dataset, held_out = dataset.split(0.2, seed=seed)
    bench = _bench(dataset, held_out, gain, positive(tol, "tol"), levels, count(draws, "draws"), seed)
    tasks = (
        delayed(run_trial)(name, form, rule, replace(plan, form=form, rule=rule) if form != "offline" else None, bench)
        for name, form, rule in chosen
    )
    results = Parallel(n_jobs=count(jobs, "jobs"), return_as="generator")(tasks)
    bar = tqdm(results, total=len(chosen), desc="comparing forms", unit="form", disable=not progress)
    entries: tuple[Entry, ...] = tuple(bar)
    config = {
        "data": dataset.name,
        "samples": len(dataset),
        "held_out": len(held_out),
        "features": dataset.features,
        "rules": list(rules),
        "rate": rate,
        "schedule": str(schedule),
        "gain": gain,
        "batch": batch,
        "limit": limit,
        "tol": tol,
        "mismatch": levels.tolist(),
        "draws": draws,
        "seed": seed,
    }
    return Comparison(
        dataset=dataset.name,
        shape=dataset.shape,
        config=config,
        provenance=provenance(config, seed, started),
        correlation=plasticity.rms_correlation(bench.covariance),
        relative=plasticity.relative_off_diagonal(bench.covariance),
        covariance=bench.covariance,
        held_out=len(held_out),
        mismatch_levels=levels,
        entries=entries,
        inputs=held_out.inputs[:SETTLED],
    )


def _chosen(rules: Sequence[str]) -> list[tuple[str, str, str]]:
    if isinstance(rules, str) or not rules:
        raise ConfigError(f"rules must be a non-empty sequence of rule names, such as ['local']; got {rules!r}.")
    wanted = {name for rule in rules for name in RULES[choice(rule, "rule", RULES)]}
    return [OFFLINE, *(form for form in ONLINE if form[2] in wanted)]


def _bench(dataset: Dataset, held_out: Dataset, gain: str, tol: float, levels: Floats, draws: int, seed: int) -> Bench:
    """Gather what every trial shares."""
    if held_out.features != dataset.features:
        raise ConfigError(
            f"held_out must have the {dataset.features} features of the stream; got {held_out.features} features."
        )
    sigma = measures.covariance(dataset.inputs)
    return Bench(
        stream=dataset.inputs,
        held_out=held_out.inputs,
        covariance=measures.covariance(held_out.inputs),
        reference=plasticity.decorrelating_matrix(sigma, gain),
        mean=dataset.inputs.mean(axis=0),
        tol=tol,
        levels=levels,
        draws=draws,
        seed=seed,
    )
