"""The estimators as users call them: `fit`, `transform`, `partial_fit` of one sample, beside scikit-learn's PCA.

Run it with nothing else on the machine::

    OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python tests/benchmarks/estimators.py [--quick] [--online]

`--online` adds the fit that learns, of 20 000 samples, which takes minutes.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable

import numpy as np
from bench import interleaved, machine, peak_memory, table
from sklearn.decomposition import PCA

import neurodecorr as nd
from neurodecorr.plasticity import initial_state

ROWS = 20_000
SIZES = (64, 256, 1000)


def inputs(n: int, rows: int = ROWS) -> np.ndarray:
    """Return samples of correlated units, condition about 9."""
    X = np.random.default_rng(0).standard_normal((rows, n))
    return X + 0.5 * np.roll(X, 1, axis=1)


def offline(n: int, rows: int) -> None:
    """Compare the closed form, and what it does to samples, with PCA."""
    X = inputs(n, rows)
    pca, R, M = (
        PCA(whiten=True),
        nd.RecurrentDecorrelator(solver="offline"),
        nd.FeedforwardDecorrelator(solver="offline"),
    )
    fits = {"PCA(whiten)": lambda: pca.fit(X), "R, offline": lambda: R.fit(X), "M, offline": lambda: M.fit(X)}
    table(f"fit, n = {n}, {rows} samples", interleaved(fits), "PCA(whiten)")
    transforms = {name: lambda own=own: own.transform(X) for name, own in (("PCA(whiten)", pca), ("R", R), ("M", M))}
    table(f"transform, n = {n}, {rows} samples", interleaved(transforms), "PCA(whiten)")


def one_by_one(n: int) -> None:
    """Compare a sample in a call of its own with its price in bulk, which the table takes as the limit."""
    X, rows = inputs(n), 4096
    bulk, single, rule = (
        nd.RecurrentDecorrelator().partial_fit(X),
        nd.RecurrentDecorrelator().partial_fit(X),
        nd.LearningRule(),
    )
    state, places = initial_state(X, rule), itertools.cycle(range(len(X)))
    start = time.perf_counter()
    bulk.partial_fit(X[:rows])
    price = (time.perf_counter() - start) / rows

    def stream() -> None:
        k = next(places)
        single.partial_fit(X[k : k + 1])

    stream()
    found = interleaved({"partial_fit": stream, "learn": lambda: nd.learn(state, X[:1], rule)}, 15)
    table(f"one sample, n = {n}; in bulk {1e6 * price:.3g} µs", found, "partial_fit")
    print(f"partial_fit over bulk: {found['partial_fit'].median / price:.2f}")


def memory(n: int, rows: int, dtype: str) -> None:
    """Print what fit and transform hold on top of the data."""
    X = inputs(n, rows).astype(dtype)
    learner = nd.RecurrentDecorrelator(epochs=1)
    calls: dict[str, Callable[[], object]] = {"fit": lambda: learner.fit(X), "transform": lambda: learner.transform(X)}
    for name, call in calls.items():
        peak = peak_memory(call)
        print(
            f"{name}, {rows} × {n}, {dtype}: {peak.traced / 2**20:.0f} MiB traced, {peak.resident / 2**20:.0f} resident"
        )


def online(n: int) -> None:
    """Print how long the learning fit takes, and how far it comes."""
    X = inputs(n)
    begin = time.perf_counter()
    learner = nd.RecurrentDecorrelator().fit(X)
    print(
        f"online fit, n = {n}: {time.perf_counter() - begin:.3g} s, {learner.n_samples_seen_ // len(X)} passes, "
        f"rms correlation {nd.measures.rms_correlation(learner.transform(X[:4000])):.2g}"
    )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--online", action="store_true", help="the fit that learns, too")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    machine()
    for n in SIZES[: 2 if asked.quick else 3]:
        offline(n, 5000 if asked.quick else ROWS)
        one_by_one(n)
    memory(64, 100_000 if asked.quick else 1_000_000, "float64")
    if not asked.quick:
        memory(3072, 2000, "float64")
    for n in SIZES[1:] if asked.online else ():
        online(n)


if __name__ == "__main__":
    main()
