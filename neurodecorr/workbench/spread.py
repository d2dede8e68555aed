"""The same comparison with several seeds: how far its numbers depend on what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.errors import InputError
from neurodecorr.workbench.comparison import Comparison, Entry

__all__ = ["SPREAD", "interval", "over_seeds"]

Floats = npt.NDArray[np.floating[Any]]


def _lowest(entry: Entry) -> float:
    return float(entry.margins.min()) if len(entry.margins) else entry.margin


def _mismatched(entry: Entry) -> float:
    """Median error at the largest level; infinite where most copies lost stability."""
    return float(np.median(entry.mismatch_error[-1])) if len(entry.mismatch_error) else 0.0


# What is kept of every run: name, and how it is read off an entry.
SPREAD: dict[str, Callable[[Entry], float]] = {
    "correlation": lambda entry: entry.correlation,
    "power": lambda entry: entry.power,
    "distance": lambda entry: entry.distance,
    "settling_time": lambda entry: entry.settling_time,
    "margin": lambda entry: entry.margin,
    "lowest": _lowest,
    "mismatched": _mismatched,
}


def over_seeds(runs: Sequence[Comparison]) -> Comparison:
    """Return the first of several runs, with the numbers of all.

    Parameters
    ----------
    runs : sequence of Comparison
        The same forms on the same kind of data, with other seeds.

    Returns
    -------
    Comparison
        Its `seeds` and `before_over_seeds`, and `over_seeds` of its entries, hold a row per run.

    Raises
    ------
    InputError
        If the runs do not hold the same forms.
    """
    first = runs[0]
    names = [entry.name for entry in first.entries]
    if any([entry.name for entry in run.entries] != names for run in runs):
        raise InputError(f"runs over seeds must hold the same forms, {', '.join(names)}.")
    entries = tuple(
        replace(entry, over_seeds=np.array([[read(run.entries[k]) for read in SPREAD.values()] for run in runs]))
        for k, entry in enumerate(first.entries)
    )
    seeds = np.array([run.config["seed"] for run in runs], dtype=np.int64)
    before = np.array([run.correlation for run in runs])
    wall = sum(run.provenance.get("wall_seconds") or 0.0 for run in runs)
    return replace(
        first,
        config={**first.config, "seeds": len(runs)},
        provenance={**first.provenance, "wall_seconds": wall},
        entries=entries,
        seeds=seeds,
        before_over_seeds=before,
    )


def interval(values: Floats) -> tuple[float, float]:
    """Return mean and standard deviation over seeds (of a sample: N − 1).

    Parameters
    ----------
    values : (seeds,) array
        One number per seed.
    """
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
