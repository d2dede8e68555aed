"""
How many synapses a topographic circuit needs
=============================================

Sparse versions of the two forms of §3.2 and Appendix D of Ahmad N (2024), "Correlations are ruining your gradient
descent", arXiv:2407.10780.

Each pixel of natural-image patches is one unit of a grid and hears the units nearer than L in both directions. R learns
by the local rule masked to these synapses, once with a mask that is cut off and once with one that tapers off, and once
held to diagonal dominance; M learns by the relative rule on the same synapses. All learn from the same single samples
and are judged on held-out patches; M* is the dense optimum of the training samples.

Finding: on natural images a sparse M needs fewer synapses than a sparse R. At 16 × 16 pixels (`--full`; range over 5
seeds) 21 synapses per unit leave an rms correlation of 0.061–0.069 with M and 0.153–0.158 with R, of 0.90 in the
inputs; R draws level at 156 synapses, 0.033–0.034, where both are at the dense R (0.032–0.033), and M* is at 0.014. A
sparse R must taper off with distance: cut off, it loses stability in all seeds; held to diagonal dominance, it leaves
0.74 or more. At 12 × 12 pixels R draws level between 72 and 121 synapses.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.circuit.sparse import grid_taper
from neurodecorr.errors import StabilityError
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import SparseLearningRule, initial_sparse_state, learn_sparse

NAME = "topographic"
SIZE, SIZE_FULL = 12, 16
REACHES = (2, 3, 4, 6, 9)
SAMPLES, SAMPLES_FULL = 8_000, 40_000
HELD_OUT = 40_000
SEEDS, SEEDS_FULL = 3, 5
RATE, HALF, TOL = 1e-2, 1000, 1e-3
DOMINANCE = 0.95
FORMS = {
    "R, tapered": ("recurrent", True, None),
    "R, cut off": ("recurrent", False, None),
    "R, dominant": ("recurrent", False, DOMINANCE),
    "M, same synapses": ("feedforward", True, None),
}
COLOURS = ("#D55E00", "#767676", "#E69F00", "#0072B2")
MARKERS = ("o", "x", "^", "s")


def main(full: bool, out: Path) -> None:
    size, samples, seeds = (SIZE_FULL, SAMPLES_FULL, SEEDS_FULL) if full else (SIZE, SAMPLES, SEEDS)
    correlation = np.full((len(FORMS), len(REACHES), seeds), np.nan)
    margin = np.full(correlation.shape, np.nan)
    lost = np.full(correlation.shape, np.nan)
    start, dense, optimum = np.empty(seeds), np.empty(seeds), np.empty(seeds)
    tapers = [grid_taper((size, size), reach) for reach in REACHES]
    synapses = np.array([taper.nnz / size**2 for taper in tapers])
    for seed in range(seeds):
        X = nd.data.natural_patches(size, samples, seed).inputs
        sigma = np.cov(nd.data.natural_patches(size, HELD_OUT, 1000 + seed).inputs.T)
        start[seed] = rms_correlation(covariance=sigma)
        optimum[seed] = left(nd.plasticity.decorrelating_matrix(np.cov(X.T)), sigma)
        everyone = grid_taper((size, size), 1000 * size)
        dense[seed] = left(np.linalg.inv(learnt(cut(everyone), X, "recurrent", None).weights.toarray()), sigma)
        for f, (form, tapered, dominance) in enumerate(FORMS.values()):
            for r, taper in enumerate(tapers):
                try:
                    state = learnt(taper if tapered else cut(taper), X, form, dominance)
                except StabilityError as error:
                    lost[f, r, seed] = int(str(error).split("at sample ")[1].split(":")[0])
                    continue
                W, margin[f, r, seed] = state.weights.toarray(), state.margin
                correlation[f, r, seed] = left(W if form == "feedforward" else np.linalg.inv(W), sigma)
                if form == "recurrent":
                    rest = nd.settle(nd.SparseCircuit(state.weights), X[:10], tol=1e-6)
                    assert rest.settled.all()

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(synapses, correlation, start, dense, optimum, size)
    nd.plots.save(figure, out, NAME)
    config = {"size": size, "samples": samples, "seeds": seeds, "reaches": REACHES, "rate": RATE, "half": HALF}
    arrays = {"synapses": synapses, "correlation": correlation, "margin": margin, "lost": lost}
    arrays |= {"forms": np.array(list(FORMS)), "start": start, "dense": dense, "optimum": optimum}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    print(
        f"natural patches, {size} × {size}; {samples} single samples; rms correlation on {HELD_OUT} held-out patches:"
    )
    print("mean over", seeds, "seeds (range)")
    print(f"inputs: {spread(start)}   dense R: {spread(dense)}   dense M*: {spread(optimum)}")
    print("synapses per unit   " + "".join(f"{name:24}" for name in FORMS))
    for r, count in enumerate(synapses):
        cells = [cell(correlation[f, r], lost[f, r]) for f in range(len(FORMS))]
        print(f"{count:<20.1f}" + "".join(f"{text:24}" for text in cells))
    kept = margin[0]
    print(f"margin min Re λ of the tapered R: {kept.min():.3f}–{kept.max():.3f}; all rests certified to 1e-6")


def learnt(mask, X, form, dominance):
    plan = SparseLearningRule(form, rate=RATE, half=HALF, tol=TOL, dominance=dominance)
    return learn_sparse(initial_sparse_state(mask), X, plan)


def cut(taper):
    """The same synapses, all of full reach."""
    mask = taper.copy()
    mask.data[:] = 1.0
    return mask


def left(M, sigma):
    return rms_correlation(covariance=M @ sigma @ M.T)


def spread(values):
    return f"{values.mean():.3f} ({values.min():.3f}–{values.max():.3f})"


def cell(values, lost):
    gone = np.isfinite(lost).sum()
    return f"unstable, {gone} of {lost.size}" if gone else spread(values)


def draw(synapses, correlation, start, dense, optimum, size):
    figure, axes = plt.subplots(figsize=(6.4, 4.8))
    shown = zip(FORMS, correlation, COLOURS, MARKERS, strict=True)
    for name, values, colour, marker in shown:
        if np.isfinite(values).any():
            low, high = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
            middle = np.nanmean(values, axis=1)
            axes.errorbar(synapses, middle, [middle - low, high - middle], color=colour, marker=marker, label=name)
    for name, values, line in (("inputs", start, "-"), ("dense R", dense, "--"), ("dense M*", optimum, ":")):
        axes.axhline(values.mean(), color="#222222", linestyle=line, linewidth=1, label=name)
    axes.set(xscale="log", yscale="log", xlabel="synapses per unit", ylabel="rms correlation left (held-out)")
    axes.set_title(f"Natural patches, {size} × {size} units; R cut off is unstable")
    ticks = [round(float(s)) for s in synapses]
    axes.set_xticks(synapses, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Correlation left against synapses per unit, for sparse R and M.")
    parser.add_argument("--full", action="store_true", help=f"{SIZE_FULL} × {SIZE_FULL} pixels, {SEEDS_FULL} seeds")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
