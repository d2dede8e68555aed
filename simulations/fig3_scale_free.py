"""
Learning that does not ask how strong the activity is
=====================================================

Figure 3, middle, of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, with the rule
of Földiák P (1990), "Forming sparse representations by local anti-Hebbian learning", Biological Cybernetics 64:165–170.

Four rules learn from one stream of correlated Gaussian inputs, from M₀ = s·I with s over two decades. What is left of
the correlations is computed from the population covariance Σ, C = M Σ Mᵀ.

Finding: the relative rule M ← g∘(I + ηC)⁻¹M ends at one correlation from every scale; anti-Hebbian rules without a gain
learn too slowly where activity is weak, and where it is strong Földiák's circuit loses its stability.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.plasticity import LearningRule
from neurodecorr.plasticity.baselines import Foldiak, OffDiagonal
from neurodecorr.plasticity.benchmark import RelativeRule, run_rule

NAME = "fig3_scale_free"
FEATURES, CONDITION = 64, 1e3
RATE, BATCH, UPDATES = 1e-2, 256, 500
SCALES, SCALES_FULL = (0.1, 0.3, 1.0, 3.0, 10.0), tuple(np.geomspace(0.1, 10, 13))
SEEDS, SEEDS_FULL = 2, 10
EVERY = 20  # updates between records
# The printed step, M ← g∘(I − ηC)M, needs η λ_max(C) < 1, which s = 10 breaks at once; the implicit step needs nothing.
# `LearningRule` counts the rate by the sample, the other rules by the batch.
RELATIVE = LearningRule(
    "feedforward", "implicit", RATE / BATCH, "constant", gain="node", mean="none", batch=BATCH, limit=None
)
RULES = {
    "relative rule, node gain": (RelativeRule(RELATIVE), "#0072B2", "o"),
    "M ← M − η offdiag(C)": (OffDiagonal(RATE, relative=False), "#E69F00", "s"),
    "Földiák, R ← R + η offdiag(C)": (Foldiak(RATE), "#D55E00", "^"),
    "Földiák, node gain": (Foldiak(RATE, gain="node"), "#CC79A7", "v"),
}


def main(full: bool, out: Path) -> None:
    scales, seeds = (SCALES_FULL, SEEDS_FULL) if full else (SCALES, SEEDS)
    courses = {}
    for seed in range(seeds):
        stream = nd.data.correlated_gaussian(FEATURES, UPDATES * BATCH, CONDITION, seed).inputs
        sigma = nd.data.gaussian_covariance(FEATURES, CONDITION, seed)
        batches = stream.reshape(UPDATES, BATCH, FEATURES)
        for name, (rule, *_) in RULES.items():
            for scale in scales:
                courses[name, scale, seed] = run_rule(rule, batches, sigma, scale, EVERY)

    ends = [[[courses[name, s, k] for k in range(seeds)] for s in scales] for name in RULES]
    left = np.array([[[course.correlation[-1] for course in row] for row in table] for table in ends])
    stable = np.array([[[course.margin[-1] > 0 for course in row] for row in table] for table in ends])
    with plt.rc_context(nd.plots.STYLE):
        figure = draw(courses, scales, left, stable)
    nd.plots.save(figure, out, NAME)
    config = {"features": FEATURES, "condition": CONDITION, "rate": RATE, "batch": BATCH, "updates": UPDATES}
    arrays = {"rules": list(RULES), "scales": scales, "correlation": left, "stable": stable}
    nd.io.Result(arrays, nd.io.provenance({**config, "seeds": seeds}, 0)).save(out / f"{NAME}.npz")
    report(scales, left, stable, start=courses["Földiák, node gain", scales[0], 0].correlation[0])


def report(scales, left, stable, start):
    print(f"Gaussian inputs, n = {FEATURES}, κ(Σ) = {CONDITION:g}; {UPDATES} batches of {BATCH}, η = {RATE:g}")
    print(f"rms correlation {start:.3f} at the start; at the end, mean ± half range of {left.shape[-1]} seeds")
    print(f"{'(!: circuit unstable)':30}" + "".join(f"{f's = {scale:.3g}':>16}" for scale in scales))
    for name, values, settles in zip(RULES, left, stable, strict=True):
        cells = zip(values.mean(axis=1), np.ptp(values, axis=1) / 2, settles.all(axis=1), strict=True)
        print(f"{name:30}" + "".join(f"{m:8.4f} ±{d:.4f}{' ' if ok else '!'}" for m, d, ok in cells))


def draw(courses, scales, left, stable):
    figure, (ours, theirs, after) = plt.subplots(1, 3, figsize=(10, 4.2), width_ratios=(1, 1, 1.5), sharey=True)
    for panel, name in ((ours, "relative rule, node gain"), (theirs, "Földiák, R ← R + η offdiag(C)")):
        for scale, shade in zip(scales, np.linspace(0.3, 1, len(scales)), strict=True):
            course = courses[name, scale, 0]
            line = "-" if (course.margin > 0).all() else ":"
            panel.semilogy(course.samples / BATCH, course.correlation, line, color=RULES[name][1], alpha=shade)
        panel.set(xlabel=f"updates, {BATCH} samples each", title=name.split(",")[0].capitalize())
    ours.set_ylabel("rms correlation coefficient")
    theirs.text(0.03, 0.03, "pale to full: s = 0.1 to 10\ndotted: unstable circuit", transform=theirs.transAxes)
    for (name, (_, colour, marker)), values, settles in zip(RULES.items(), left, stable, strict=True):
        middle, ok = values.mean(axis=1), settles.all(axis=1)
        after.fill_between(scales, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.2, linewidth=0)
        after.loglog(scales, middle, color=colour, marker=marker, label=name, markersize=7)
        after.loglog(np.array(scales)[~ok], middle[~ok], marker, color="white", markeredgecolor=colour, markersize=7)
    after.set(xlabel="initial scale s, M₀ = s·I", title="After learning (open: unstable circuit)")
    figure.legend(*after.get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1.2)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Correlation after learning against the initial scale.")
    parser.add_argument("--full", action="store_true", help=f"{len(SCALES_FULL)} scales, {SEEDS_FULL} seeds")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
