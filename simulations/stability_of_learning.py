"""
The matrix works, the circuit does not
======================================

About the claim of exact equivalence in §3.2 and Appendix D of Ahmad N (2024), "Correlations are ruining your gradient
descent", arXiv:2407.10780.

M and R = M⁻¹ give the same x̄ wherever the circuit τ dx̄/dt = x − R x̄ settles, that is while min Re λ(R) > 0. Single
samples are learnt from at a high rate, in three sizes of layer.

Finding: at a constant rate M goes on decorrelating while it rotates away from symmetry, and its circuit loses
stability; the local rule for R then stops with an error. The step limiter only puts that off. A decaying rate ends the
rotation, and the congruent rule rules it out: R stays symmetric positive definite at every rate, for more noise.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.plasticity import LearningRule
from neurodecorr.plasticity.benchmark import RelativeRule, run_rule
from neurodecorr.plots.style import shade_unstable

NAME = "stability_of_learning"
FEATURES, CONDITION = (5, 10, 20), 1e3
RATE, LIMIT = 1e-2, 0.1
SAMPLES, SAMPLES_FULL = 250_000, 1_000_000
SEEDS, SEEDS_FULL = 3, 20
LOOKS = 50
MATRIX = LearningRule("feedforward", "implicit", RATE, "constant", mean="none", limit=None)
LOCAL = replace(MATRIX, form="recurrent", rule="implicit")
CONGRUENT = replace(LOCAL, rule="congruent")
PLANS = {
    "M implicit": (MATRIX, "#0072B2", "-"),
    "M implicit, limiter": (replace(MATRIX, limit=LIMIT), "#56B4E9", "-"),
    "R implicit": (LOCAL, "#D55E00", "-"),
    "R implicit, limiter": (replace(LOCAL, limit=LIMIT), "#E69F00", "-"),
    "R implicit, decaying rate": (replace(LOCAL, schedule="decay", limit=LIMIT), "#CC79A7", "--"),
    "R congruent": (CONGRUENT, "#009E73", "-."),
    "R congruent, limiter": (replace(CONGRUENT, limit=LIMIT), "#222222", ":"),
}


def main(full: bool, out: Path) -> None:
    samples, seeds = (SAMPLES_FULL, SEEDS_FULL) if full else (SAMPLES, SEEDS)
    looks = nd.io.observer.spans(nd.io.observer.LogSpaced(LOOKS, samples), samples)
    courses = {(name, n): [] for name in PLANS for n in FEATURES}
    for n in FEATURES:
        for seed in range(seeds):
            X = nd.data.correlated_gaussian(n, samples, CONDITION, seed).inputs
            sigma = nd.data.gaussian_covariance(n, CONDITION, seed)
            for name, (plan, *_) in PLANS.items():
                blocks = (X[begin:end] for begin, end in looks)
                courses[name, n].append(run_rule(RelativeRule(plan), blocks, sigma))

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(courses)
    nd.plots.save(figure, out, NAME)
    margin = {name: [[c.margin.min() for c in courses[name, n]] for n in FEATURES] for name in PLANS}
    config = {"features": FEATURES, "condition": CONDITION, "rate": RATE, "limit": LIMIT, "samples": samples}
    arrays = {name.replace(" ", "_").replace(",", ""): values for name, values in margin.items()}
    nd.io.Result(arrays, nd.io.provenance({**config, "seeds": seeds}, 0)).save(out / f"{NAME}.npz")

    report(courses, samples, seeds)


def report(courses, samples, seeds):
    print(
        f"Gaussian inputs, κ(Σ) = {CONDITION:g}; {samples} single samples, η = {RATE:g}, seeds 0–{seeds - 1};", end=" "
    )
    print(f"limiter η·tr C ≤ {LIMIT}")
    print(f"{'':24} n  min Re λ(R), worst (median)  unstable or stopped, at sample  rms correlation at the end")
    for (name, n), found in courses.items():
        worst = [course.margin.min() for course in found]
        lost = [first_loss(course) for course in found if course.stopped or course.margin.min() <= 0]
        share = f"{len(lost)} of {seeds}" + (f", {np.median(lost):.0f}" if lost else "")
        ends = np.median([course.correlation[-1] for course in found])
        print(f"{name:24}{n:3} {min(worst):12.3f} ({np.median(worst):.3f}) {share:>25} {ends:21.3f}")
    print("R implicit says:", courses["R implicit", FEATURES[-1]][0].stopped)


def first_loss(course):
    """Return the first record of instability; the rule for R stops itself between its last record and the next."""
    return course.samples[np.argmax(course.margin <= 0)] if course.margin.min() <= 0 else course.samples[-1]


def draw(courses):
    figure, axes = plt.subplots(2, len(FEATURES), figsize=(10, 6), sharex=True, sharey="row")
    for n, (above, below) in zip(FEATURES, axes.T, strict=True):
        for name, (_, colour, line) in PLANS.items():
            for seed, course in enumerate(courses[name, n]):
                style = {"color": colour, "linewidth": 0.7 if seed else 1.8}
                above.plot(course.samples, course.margin, line, label=None if seed else name, **style)
                below.plot(course.samples, course.correlation, line, **style)
                if course.stopped:
                    above.plot(course.samples[-1], course.margin[-1], "X", color=colour, mec="black", zorder=5)
        above.set(title=f"{n} units")
        above.set_yscale("symlog", linthresh=0.1)
        above.set_ylim(-3, 2)
        shade_unstable(above, "y")
        below.set(xscale="log", yscale="log", xlabel="samples learnt from", xlim=(10, None))
    axes[0, 0].set_ylabel("min Re λ(R) (1/τ), R = M⁻¹")
    axes[1, 0].set_ylabel("rms correlation coefficient")
    axes[0, 0].text(0.03, 0.04, "unstable", transform=axes[0, 0].transAxes)
    axes[0, 1].text(0.03, 0.04, "cross: the rule for R stops", transform=axes[0, 1].transAxes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Stability of the circuit while it learns.")
    parser.add_argument("--full", action="store_true", help=f"{SAMPLES_FULL} samples, {SEEDS_FULL} seeds")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
