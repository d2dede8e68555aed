"""
How long R stays the inverse of M
=================================

Appendix D of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, which calls
R ← (R + η(R x̄)x̄ᵀ)∘g⁻¹ an approximation of the inverse of M ← g∘(I − ηx̄x̄ᵀ)M.

Two readings of the appendix learn from a stream of single samples, next to the exact pairs of this library: R is fed
with the feedforward x̄ = M x, or with its own fixed point x̄ = R⁻¹x. The distance is max|RM − I|.

Finding: fed with the feedforward x̄, R has lost all relation to M within 10⁵ samples. Fed with its own fixed point it
stays near M, but only near: it is the exact inverse of another matrix, which learns by M ← g∘(I + ηx̄x̄ᵀ)⁻¹M.
Learnt as exact pairs, R and M stay inverse to rounding.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.plasticity import LearningRule, initial_state, learn

NAME = "drift_of_the_inverse"
FEATURES, CONDITION = 20, 1e2
RATE = 1e-3
SAMPLES, SAMPLES_FULL = 100_000, 1_000_000
SEEDS, SEEDS_FULL = 2, 5
LOOKS = 60
LOCAL = LearningRule("recurrent", "implicit", RATE, "constant", mean="none", limit=None)
PAIRS = {
    "explicit pair": (replace(LOCAL, rule="explicit"), "#E69F00", "-"),
    "implicit pair": (LOCAL, "#D55E00", "--"),
    "congruent pair": (replace(LOCAL, rule="congruent"), "#009E73", "-."),
}
READINGS = {"Appendix D, fed with M x": "#0072B2", "Appendix D, fed with R⁻¹x": "#56B4E9"}


def main(full: bool, out: Path) -> None:
    samples, seeds = (SAMPLES_FULL, SEEDS_FULL) if full else (SAMPLES, SEEDS)
    looks = nd.io.observer.spans(nd.io.observer.LogSpaced(LOOKS, samples), samples)
    when, drift, mended = [end for _, end in looks], {}, {}
    for seed in range(seeds):
        X = nd.data.correlated_gaussian(FEATURES, samples, CONDITION, seed).inputs
        power = np.diag(nd.data.gaussian_covariance(FEATURES, CONDITION, seed))
        for name, own in zip(READINGS, (False, True), strict=True):
            drift.setdefault(name, []).append(read_appendix_d(X, power, looks, own))
        for dtype in ("float64", "float32"):
            for name, (plan, *_) in PAIRS.items():
                distances, mends = learn_pair(X.astype(dtype), plan, looks)
                drift.setdefault(f"{name}, {dtype}", []).append(distances)
                mended[f"{name}, {dtype}"] = mended.get(f"{name}, {dtype}", 0) + mends

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(when, drift)
    nd.plots.save(figure, out, NAME)
    config = {"features": FEATURES, "condition": CONDITION, "rate": RATE, "samples": samples, "seeds": seeds}
    arrays = {"samples": when, "names": list(drift), "drift": np.array(list(drift.values()))}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    print(f"Gaussian inputs, n = {FEATURES}, κ(Σ) = {CONDITION:g}; {samples} single samples, η = {RATE:g}, node gain")
    print(f"max|RM − I| at the end, range of seeds 0–{seeds - 1}; how often M was computed anew from R:")
    for name, values in drift.items():
        ends = [course[-1] for course in values]
        print(f"{name:26} {min(ends):.1e} – {max(ends):.1e} {mended.get(name, 0):4}")


def read_appendix_d(X, power, looks, own):
    """Learn M by the printed rule and R by its printed approximation; return max|RM − I| at each look."""
    M, R, distances = np.eye(FEATURES), np.eye(FEATURES), []
    gain = 1 / (1 - RATE * power)
    for begin, end in looks:
        for x in X[begin:end]:
            xbar = M @ x
            fed = np.linalg.solve(R, x) if own else xbar
            R = (R + RATE * np.outer(R @ fed, fed)) / gain
            M = gain[:, None] * (M - RATE * np.outer(xbar, xbar @ M))
        distances.append(apart(R, M))
    return distances


def learn_pair(X, plan, looks):
    """Learn R and its twin M; return max|RM − I| at each look, and how often M was computed anew."""
    state, distances = initial_state(X, plan), []
    for begin, end in looks:
        state = learn(state, X[begin:end], plan)
        distances.append(apart(state.R.astype(float), state.M.astype(float)))
    return distances, state.resynchronised


def apart(R, M):
    return np.abs(R @ M - np.eye(FEATURES)).max()


def draw(when, drift):
    figure, panel = plt.subplots(figsize=(10, 5))
    for name, values in drift.items():
        pair, _, dtype = name.partition(", float")
        _, colour, line = PAIRS[pair] if dtype else (None, READINGS[name], "-")
        panel.loglog(when, values[0], line, color=colour, linewidth=1.1 if dtype == "32" else 2, label=name)
    panel.set(xlabel="samples learnt from", ylabel="distance from inverse, max |RM − I|", xlim=(1, when[-1]))
    figure.legend(loc="outside right center")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Distance of R from the inverse of M while both learn.")
    parser.add_argument("--full", action="store_true", help=f"{SAMPLES_FULL} samples")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
