"""
Decorrelation that keeps the activity alive
===========================================

Figure 3, right, of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, with the rule
of Földiák P (1990), "Forming sparse representations by local anti-Hebbian learning", Biological Cybernetics 64:165–170.

Rules with and without a gain learn from one stream of correlated Gaussian inputs; the relative rule is the printed one,
M ← g∘(I − ηC)M, with the ratio of powers of Algorithm 1, and with the homeostatic gain that the library learns with.
The power of the output is that of the population, tr(M Σ Mᵀ)/n; the inputs have power 1.

Finding: without a gain the relative rule fades as 1/t towards the trivial solution, silence (0.019 after 2000 updates);
with the ratio of powers it keeps the power of the input throughout, 0.95–1.01, and correlations fall no slower. The
homeostatic gain keeps the power where it ends, 1.00, not on the way: strong directions shrink before weak ones have
grown, and power dips to 0.59 after 1/(2η) updates. Single samples pass that dip before their first record.
Anti-Hebbian rules lose power too, but Földiák's stops at about a half: its units keep their unit leak, R_ii = 1.
"""

import argparse
from itertools import chain, repeat
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.plasticity import LearningRule, rules
from neurodecorr.plasticity.baselines import Foldiak, OffDiagonal
from neurodecorr.plasticity.benchmark import RelativeRule, run_rule

NAME = "fig3_power"
FEATURES, CONDITION = 64, 1e3
RATE, RATE_SINGLE, BATCH = 1e-2, 1e-3, 256
BATCHES, ROUNDS, ROUNDS_FULL = 500, 4, 20  # the same batches, several times
SEEDS, SEEDS_FULL = 2, 5
EVERY = 25  # updates between records
# `LearningRule` counts the rate by the sample, the other rules by the batch.
BATCHWISE = LearningRule("feedforward", "explicit", RATE / BATCH, "constant", "node", "none", BATCH, limit=None)
HOMEOSTATIC = LearningRule("feedforward", "implicit", RATE_SINGLE, "constant", "node", "none")


class Printed:
    """The rule as printed, M ← g∘(I − ηC)M; g the ratio of powers before the update (Algorithm 1), or 1."""

    def __init__(self, gain):
        self.name, self.gain = f"relative rule, {gain} gain", gain

    def start(self, features, scale=1.0):
        return scale * np.eye(features)

    def step(self, weights, X):
        Xbar = X @ weights.T
        gain = rules.power_gain(X, Xbar, self.gain)
        return gain[:, None] * rules.explicit_feedforward(weights, X, Xbar, RATE)

    def matrix(self, weights):
        return weights

    def lateral(self, weights):
        return None


RULES = {
    "relative rule, no gain": (Printed("none"), "#56B4E9", "--"),
    "off-diagonal rule, no gain": (OffDiagonal(RATE, relative=False), "#E69F00", "--"),
    "Földiák, no gain": (Foldiak(RATE), "#D55E00", "--"),
    "Földiák, node gain": (Foldiak(RATE, gain="node"), "#CC79A7", "-"),
    "relative rule, node gain": (Printed("node"), "#0072B2", "-"),
    "relative rule, homeostatic": (RelativeRule(BATCHWISE), "#000000", "-"),
    "single samples, homeostatic": (RelativeRule(HOMEOSTATIC), "#009E73", "-"),
}


def main(full: bool, out: Path) -> None:
    seeds, rounds = (SEEDS_FULL, ROUNDS_FULL) if full else (SEEDS, ROUNDS)
    courses = {name: [] for name in RULES}
    for seed in range(seeds):
        stream = nd.data.correlated_gaussian(FEATURES, BATCHES * BATCH, CONDITION, seed)
        batches = stream.inputs.reshape(BATCHES, BATCH, FEATURES)
        sigma = nd.data.gaussian_covariance(FEATURES, CONDITION, seed)
        for name, (rule, *_) in RULES.items():
            again = chain.from_iterable(repeat(batches, rounds))
            courses[name].append(run_rule(rule, again, sigma, every=EVERY))

    power = np.array([[course.power for course in courses[name]] for name in RULES])
    correlation = np.array([[course.correlation for course in courses[name]] for name in RULES])
    updates = courses["Földiák, no gain"][0].samples / BATCH
    with plt.rc_context(nd.plots.STYLE):
        figure = draw(updates, power, correlation)
    nd.plots.save(figure, out, NAME)
    config = {"features": FEATURES, "condition": CONDITION, "rate": RATE, "batch": BATCH, "rounds": rounds}
    arrays = {"rules": list(RULES), "updates": updates, "power": power, "correlation": correlation}
    nd.io.Result(arrays, nd.io.provenance({**config, "seeds": seeds}, 0)).save(out / f"{NAME}.npz")

    report(updates[-1], power, correlation)


def report(updates, power, correlation):
    print(f"Gaussian inputs, n = {FEATURES}, κ(Σ) = {CONDITION:g}; {updates:.0f} updates, batches of {BATCH};", end=" ")
    print(f"η = {RATE:g}, {RATE_SINGLE:g} for single samples; {power.shape[1]} seeds, ± half range")
    print(f"{'':30} power at the end   lowest–highest   rms correlation, {correlation[0, 0, 0]:.3f} at the start")
    for name, p, c in zip(RULES, power, correlation, strict=True):
        end, spread = p[:, -1].mean(), np.ptp(p[:, -1]) / 2
        print(f"{name:30} {end:7.4f} ± {spread:.4f} {p.min():9.3f}–{p.max():.3f} {c[:, -1].mean():12.4f}")


def draw(updates, power, correlation):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6))
    for (name, (_, colour, line)), p, c in zip(RULES.items(), power, correlation, strict=True):
        left.plot(updates, p[0], line, color=colour, label=name)
        left.plot(updates, p[1:].T, line, color=colour, linewidth=0.7)
        right.plot(updates, c[0], line, color=colour)
        right.plot(updates, c[1:].T, line, color=colour, linewidth=0.7)
    left.set(yscale="log", ylabel="output power, as a share of the input’s", title="Power", ylim=(None, 2))
    right.set(yscale="log", ylabel="rms correlation coefficient", title="Decorrelation")
    for panel in (left, right):
        panel.set(xlabel=f"updates, {BATCH} samples each")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Power of the activity while decorrelation is learnt.")
    parser.add_argument("--full", action="store_true", help=f"{BATCHES * ROUNDS_FULL} updates, {SEEDS_FULL} seeds")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
