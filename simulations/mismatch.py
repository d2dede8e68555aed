"""
What imprecise synapses do to the two forms
===========================================

The price of the recurrent form that §3.2 and Appendix D of Ahmad N (2024), "Correlations are ruining your gradient
descent", arXiv:2407.10780, propose for neuromorphic hardware.

The exact M* and its circuit R = M*⁻¹ decorrelate Gaussian inputs of condition κ(Σ). Then every synapse of either form
is off by a random share of its weight, W_ij ← W_ij(1 + σξ_ij). The error is that of the output, ‖ΔX̄‖/‖X̄‖; the rest of
a circuit is counted even where the circuit, being unstable, no longer goes there.

Finding: for well-conditioned inputs the two forms are equally robust. As the condition grows the circuit slows down,
amplifies its mismatch more than the matrix does, and at κ(Σ) = 1e4 hardly a circuit survives 10 % of mismatch.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd

NAME = "mismatch"
FEATURES = 64
CONDITIONS = (1e1, 1e2, 1e3, 1e4)
LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2)
TABULATED = 0.1
SEEDS, DRAWS, DRAWS_FULL = 3, 20, 300
INPUTS = 128
TOL = 1e-3  # of ‖x̄*‖
COLOURS = ("#56B4E9", "#009E73", "#E69F00", "#D55E00")


def main(full: bool, out: Path) -> None:
    draws = DRAWS_FULL if full else DRAWS
    shape = (len(CONDITIONS), len(LEVELS), SEEDS, draws)
    error_M, error_R, stable = np.empty(shape), np.empty(shape), np.empty(shape, bool)
    time, slowest = np.empty((len(CONDITIONS), SEEDS, INPUTS)), np.empty((len(CONDITIONS), SEEDS))
    for c, condition in enumerate(CONDITIONS):
        for seed in range(SEEDS):
            M = nd.plasticity.decorrelating_matrix(nd.data.gaussian_covariance(FEATURES, condition, seed))
            R = np.linalg.inv(M)
            X = nd.data.correlated_gaussian(FEATURES, INPUTS, condition, seed).inputs
            circuit = nd.Circuit(R)
            time[c, seed] = nd.settle(circuit, X, TOL, relative=True, method="exponential").time
            slowest[c, seed] = nd.stability(circuit).settling_time(TOL)
            for k, level in enumerate(LEVELS):
                for draw in range(draws):
                    M_built, R_built = (built(W, level, seed, draw) for W in (M, R))
                    error_M[c, k, seed, draw] = error(X @ M_built.T, X @ M.T)
                    error_R[c, k, seed, draw] = error(np.linalg.solve(R_built, X.T).T, X @ M.T)
                    stable[c, k, seed, draw] = np.linalg.eigvals(R_built).real.min() > 0

    with plt.rc_context(nd.plots.STYLE):
        figure = draw_prices(error_M, error_R, stable, time, slowest)
    nd.plots.save(figure, out, NAME)
    config = {"features": FEATURES, "conditions": CONDITIONS, "levels": LEVELS, "draws": draws, "seeds": SEEDS}
    arrays = {"error_M": error_M, "error_R": error_R, "stable": stable, "time": time}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    report(error_M, error_R, stable, time, slowest)


def report(error_M, error_R, stable, time, slowest):
    at = LEVELS.index(TABULATED)
    print(f"n = {FEATURES}, mismatch {100 * TABULATED:g} %; {SEEDS} covariances × {stable.shape[-1]} draws", end=" ")
    print("each; median (quartiles)")
    print(
        f"κ(Σ)    error of M           error of R            R stable      R settles to {TOL:g}: median, slowest mode"
    )
    for c, condition in enumerate(CONDITIONS):
        errors = "  ".join(quartiles(value[c, at]) for value in (error_M, error_R))
        share = f"{stable[c, at].sum()} of {stable[c, at].size}"
        print(f"{condition:<7.0e} {errors}  {share:12} {np.median(time[c]):8.0f} τ {slowest[c].mean():8.0f} τ")


def built(W, level, seed, draw):
    return nd.circuit.model.mismatched(W, level, np.random.default_rng([seed, draw]))


def error(output, ideal):
    return np.linalg.norm(output - ideal) / np.linalg.norm(ideal)


def quartiles(values):
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.2f} ({low:.2f}–{high:.2f})".ljust(19)


def draw_prices(error_M, error_R, stable, time, slowest):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 4.2), width_ratios=(1.3, 1, 0.9))
    percent = 100 * np.array(LEVELS)
    for c, (condition, colour) in enumerate(zip(CONDITIONS, COLOURS, strict=True)):
        label = f"κ(Σ) = 10{'¹²³⁴'[c]}"
        for errors, line, marker in ((error_M[c], "--", "s"), (error_R[c], "-", "o")):
            low, centre, high = np.quantile(errors, (0.25, 0.5, 0.75), axis=(1, 2))
            left.loglog(percent, centre, line, color=colour, marker=marker, label=label if line == "-" else None)
            left.fill_between(percent, low, high, color=colour, alpha=0.2, linewidth=0)
        middle.semilogx(percent, 100 * stable[c].mean(axis=(1, 2)), color=colour, marker="o")
        right.loglog(np.full(SEEDS, condition), np.median(time[c], axis=1), "o", color=colour)
    right.loglog(CONDITIONS, slowest.mean(axis=1), color="#222222", linestyle=":", label="slowest mode")
    left.set(xlabel="synaptic mismatch σ (%)", ylabel="relative output error")
    left.set_title("Error of R (solid) and M (dashed)")
    middle.set(xlabel="synaptic mismatch σ (%)", ylabel="circuits that settle (%)", title="Stability of R")
    right.set(xlabel="condition κ(Σ)", ylabel=f"settling time to {TOL:g} (τ)", title="Time that R takes")
    right.set_yticks([10, 30, 100, 300], ["10", "30", "100", "300"])
    right.legend(loc="upper left")
    right.minorticks_off()
    for panel in (left, middle):
        panel.set_xticks(percent, [f"{level:g}" for level in percent])
        panel.minorticks_off()
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(CONDITIONS))
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Output error and stability under synaptic mismatch.")
    parser.add_argument("--full", action="store_true", help=f"{DRAWS_FULL} draws for each covariance")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
