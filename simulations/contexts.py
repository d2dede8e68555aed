"""
When the world changes
======================

Beyond the stationary inputs of §3.2 in Ahmad N (2024), "Correlations are ruining your gradient descent",
arXiv:2407.10780.

A circuit learns from single samples whose covariance switches between two contexts, A B A B. What is left of the
correlations is computed from the covariance of the present context, C = M Σ Mᵀ; the circuit has recovered from a switch
once their rms is below 0.08.

Finding: at a constant rate η the circuit recovers from every switch, in a time that goes as 1/η, and pays with a floor
of correlation that goes as √η; a decaying rate goes far below that floor in the first context, and has nothing left for
the second.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import LearningRule, initial_state, learn

NAME = "contexts"
FEATURES = 32
STRETCH, STRETCH_FULL = 20_000, 50_000  # samples between switches
CONTEXTS = 2, 4  # covariances, stretches
CONDITION = 1e2
RATES = (2e-4, 4e-4, 8e-4, 1.6e-3)
DRAWN = (2e-4, 1.6e-3)
EVERY = 100  # samples between records
RECOVERED = 0.08  # rms correlation
SEEDS, SEEDS_FULL = 3, 20
PLANS = {
    f"constant η = {rate:g}": LearningRule("recurrent", "congruent", rate, "constant", mean="none") for rate in RATES
}
PLANS["decaying, η₀ = 0.0016"] = LearningRule("recurrent", "congruent", 1.6e-3, "decay", mean="none")
COLOURS = ("#0072B2", "#009E73", "#E69F00", "#D55E00", "#222222")


def main(full: bool, out: Path) -> None:
    stretch, seeds = (STRETCH_FULL, SEEDS_FULL) if full else (STRETCH, SEEDS)
    distinct, stretches = CONTEXTS
    switches = range(stretch, stretches * stretch, stretch)
    left = np.empty((len(PLANS), seeds, stretches, stretch // EVERY))
    for seed in range(seeds):
        world = nd.data.switching_gaussian(FEATURES, stretches * stretch, switches, CONDITION, seed, distinct=distinct)
        for index, plan in enumerate(PLANS.values()):
            left[index, seed] = follow_contexts(world, plan)

    floor = left[..., 3 * left.shape[-1] // 4 :].mean(axis=-1)
    recovery = np.where((left < RECOVERED).any(axis=-1), EVERY * (1 + (left < RECOVERED).argmax(axis=-1)), np.inf)
    with plt.rc_context(nd.plots.STYLE):
        figure = draw(left, floor, recovery, switches)
    nd.plots.save(figure, out, NAME)
    config = {"features": FEATURES, "condition": CONDITION, "stretch": stretch, "seeds": seeds}
    arrays = {"plans": list(PLANS), "correlation": left, "floor": floor, "recovery": recovery}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    print(f"Gaussian inputs, n = {FEATURES}, κ(Σ) = {CONDITION:g}; {distinct} contexts in turn,", end=" ")
    print(f"{stretches} stretches of {stretch} single samples, congruent rule, seeds 0–{seeds - 1}")
    report(floor, recovery)


def report(floor, recovery):
    print(f"{'':22} floor before the first switch, after   samples to recover from a switch: median (range)")
    for name, low, after in zip(PLANS, floor, recovery[:, :, 1:], strict=True):
        times = f"{np.median(after):.0f} ({after.min():.0f}–{after.max():.0f})"
        if np.isinf(after).any():
            times = f"not after {np.isinf(after).sum()} of {after.size} switches"
        print(f"{name:22} {low[:, 0].mean():18.4f} {low[:, 1:].mean():17.4f}   {times}")


def follow_contexts(world, plan):
    """Learn from the whole stream; return the correlation left in the present context, for each stretch."""
    X, state = world.dataset.inputs, initial_state(world.dataset.inputs[:100], plan)
    left = [[] for _ in world.stretches]
    for stretch, sigma, records in zip(world.stretches, world.covariances, left, strict=True):
        for begin in range(stretch.start, stretch.stop, EVERY):
            state = learn(state, X[begin : begin + EVERY], plan)
            records.append(rms_correlation(covariance=state.matrix @ sigma @ state.matrix.T))
    return left


def draw(left, floor, recovery, switches):
    figure, (course, price) = plt.subplots(1, 2, figsize=(10, 4.4), width_ratios=(1.6, 1))
    names = list(PLANS)
    samples = EVERY * (1 + np.arange(left[0, 0].size)) / 1000
    for index in (*map(RATES.index, DRAWN), len(names) - 1):
        for seed, correlation in enumerate(left[index].reshape(left.shape[1], -1)):
            label, wide = (None, 0.5) if seed else (names[index], 1.6)
            course.semilogy(samples, correlation, color=COLOURS[index], linewidth=wide, label=label)
    for switch in switches:
        course.axvline(switch / 1000, color="#767676", linewidth=0.8)
    course.axhline(RECOVERED, color="#222222", linestyle=":", linewidth=1.4)
    course.annotate("recovered", (6, RECOVERED), xytext=(0, -12), textcoords="offset points")
    course.set(xlabel="samples learnt from (thousands)", ylabel="rms correlation in the present context")
    course.set_title("Contexts A B A B")
    for index, rate in enumerate(RATES):
        times, floors = recovery[index, :, 1:].ravel(), floor[index, :, 1:].ravel()
        price.loglog(times, floors, "o", color=COLOURS[index], markersize=4)
        place = (np.median(times), np.median(floors))
        price.annotate(f"η = {rate:g}", place, xytext=(8, 3), textcoords="offset points")
    price.set(xlabel="samples to recover from a switch", ylabel="floor of the correlation", title="The price of speed")
    price.set_xlim(None, 3 * recovery[0, :, 1:].max())
    price.set_yticks([0.02, 0.03, 0.04, 0.05], ["0.02", "0.03", "0.04", "0.05"], minor=False)
    price.minorticks_off()
    price.set_xticks([500, 1000, 2000, 4000], ["500", "1000", "2000", "4000"])
    figure.legend(*course.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Recovery from switches of the input covariance.")
    parser.add_argument("--full", action="store_true", help=f"stretches of {STRETCH_FULL} samples, {SEEDS_FULL} seeds")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
