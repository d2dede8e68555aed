"""
A circuit simulator confirms that the circuit learns by itself
==============================================================

Appendix D of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, proposes that a
circuit decorrelates by lateral weights that it learns from local signals. Here the whole of it is electronics:
activities and weights are voltages on capacitors, each synapse has a multiplier for its current and another that
charges its weight, C_R dr/dt = (measured drive of its unit) · v_j − G₀ p_j r. Nothing settles first, nobody computes R.

The netlist goes to ngspice, a program that knows nothing of this library, and the same equations through our own
splitting integrator, `learn_continuously`. Samples are presented for 5 τ each; the correlation is that of the fixed
points, R⁻¹ΣR⁻ᵀ. Where ngspice is not installed, only our own curves are drawn, and the program says so.

Finding: after 40 samples no weight in ngspice differs from ours by more than 2e-6, after 200 none by more than 3e-6
(n = 8, local and congruent rule, seed 0, ngspice 39), and on both ways the rms correlation falls from 0.25 to 0.09.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.export import LearningCircuit, run_spice, write_spice
from neurodecorr.export.spice.runner import simulator_version
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import learn_continuously

NAME = "learning_in_spice"
UNITS, UNITS_FULL = 8, 16
SAMPLES, SAMPLES_FULL = 200, 400
FIRST = 40  # samples after which the two are compared first
CONDITION, SEED = 10.0, 0
TAU, DWELL, TAU_R = 0.02, 0.1, 20.0  # seconds
FINE = TAU / 400  # step of our own integrator, seconds
RULES = ("implicit", "congruent")
SHOWN = 6  # weights in the figure
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#222222")


def main(full: bool, out: Path) -> None:
    n, count = (UNITS_FULL, SAMPLES_FULL) if full else (UNITS, SAMPLES)
    sigma, X = inputs(n, count)
    version = installed()
    times = DWELL * np.arange(count + 1)
    own = {rule: our_weights(X, rule) for rule in RULES}
    spice = {rule: their_weights(X, rule, out / f"{NAME}_{rule}.cir", times) for rule in RULES if version}
    correlation = {rule: course(own[rule], sigma) for rule in RULES}
    theirs = {rule: course(weights, sigma) for rule, weights in spice.items()}
    apart = {rule: np.abs(weights - own[rule]).max(axis=(1, 2)) for rule, weights in spice.items()}

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(times, own["implicit"], spice.get("implicit"), correlation, theirs, apart)
    nd.plots.save(figure, out, NAME)
    config = {"units": n, "samples": count, "condition": CONDITION, "tau": TAU, "dwell": DWELL, "tau_R": TAU_R}
    arrays = {"times": times, "rules": RULES, "weights": np.array([own[rule] for rule in RULES])}
    arrays |= {"correlation": np.array([correlation[rule] for rule in RULES])}
    arrays |= {"apart": np.array([apart[rule] for rule in apart]), "spice": np.array([spice[rule] for rule in spice])}
    nd.io.Result(arrays, nd.io.provenance(config | {"simulator": version}, SEED)).save(out / f"{NAME}.npz")
    report(n, count, version, own, correlation, theirs, apart)


def installed():
    """Return what runs the netlists, or nothing, and say how to get it."""
    try:
        return simulator_version("ngspice")
    except nd.errors.ConfigError as missing:
        print(f"only our own integrator runs: {missing}")
        return ""


def inputs(n, count):
    """Return a covariance of power 1 in every unit, and samples of it."""
    sigma = nd.data.gaussian_covariance(n, CONDITION, SEED)
    scale = np.sqrt(np.diag(sigma))
    X = nd.data.correlated_gaussian(n, count, CONDITION, SEED).inputs / scale
    return sigma / np.outer(scale, scale), X


def our_weights(X, rule):
    """Return R after each sample, (samples + 1, n, n)."""
    n = X.shape[1]
    R, xbar, weights = np.eye(n), np.zeros(n), [np.eye(n)]
    for x in X:
        flow = learn_continuously(
            R, x[None], DWELL, TAU, TAU_R, rule=rule, power=np.ones(n), xbar=xbar, dt=FINE, records=1
        )
        R, xbar = flow.R, flow.xbar
        weights.append(R)
    return np.array(weights)


def their_weights(X, rule, netlist, times):
    """Write the netlist, let ngspice run it, and return R after each sample."""
    n = X.shape[1]
    write_spice(LearningCircuit(np.eye(n), DWELL, TAU, TAU_R, rule, np.ones(n)), X, netlist)
    found = run_spice(netlist)
    weights = found.weights()
    at = [np.interp(times, found.t, weights[:, i, j]) for i in range(n) for j in range(n)]
    return np.array(at).T.reshape(len(times), n, n)


def course(weights, sigma):
    return np.array([rms_correlation(covariance=np.linalg.solve(R, np.linalg.solve(R, sigma).T)) for R in weights])


def report(n, count, version, own, correlation, theirs, apart):
    print(f"n = {n}, {count} samples of {DWELL / TAU:g} τ each, τ_R = {TAU_R / DWELL:g} samples, κ(Σ) = {CONDITION:g}")
    for rule in RULES:
        moved = np.abs(own[rule][-1] - np.eye(n)).max()
        print(f"{rule:9} rms correlation {correlation[rule][0]:.3f} → {correlation[rule][-1]:.3f}", end="")
        print(f", weights moved by up to {moved:.2f}")
        if rule in apart:
            print(f"{rule:9} {version}: rms correlation ends at {theirs[rule][-1]:.3f}; largest distance of any weight")
            print(
                f"{rule:9} apart after {FIRST} samples: {apart[rule][FIRST]:.1e}, at any time: {apart[rule].max():.1e}"
            )


def draw(times, own, spice, correlation, theirs, apart):
    figure, (weights, decorrelated, error) = plt.subplots(1, 3, figsize=(13, 4.4))
    n = own.shape[1]
    order = np.argsort(-np.abs(own[-1] - np.eye(n)).ravel())[: 3 * SHOWN : 3]
    few = slice(None, None, max(1, len(times) // 20))
    for colour, (i, j) in zip(COLOURS, np.transpose(np.unravel_index(order, (n, n))), strict=True):
        weights.plot(times, own[:, i, j], color=colour, label=f"r{i}_{j}")
        if spice is not None:
            weights.plot(times[few], spice[few, i, j], "o", color=colour, markersize=4, markerfacecolor="white")
    weights.set(xlabel="time (s)", ylabel="weight (V)", title="Weights, local rule")
    for rule, colour, line in zip(RULES[::-1], COLOURS[1::-1], ("-", "--"), strict=True):
        decorrelated.plot(times, correlation[rule], line, color=colour, label=f"{rule}, our integrator")
        if rule in theirs:
            decorrelated.plot(
                times[few], theirs[rule][few], "o", color=colour, markersize=4, markerfacecolor="white",
                label=f"{rule}, ngspice",
            )  # fmt: skip
            error.semilogy(times[1:], apart[rule][1:], line, color=colour, label=rule)
    decorrelated.set(xlabel="time (s)", ylabel="rms correlation of the fixed points", title="Decorrelation")
    decorrelated.set_ylim(0, None)
    decorrelated.legend(fontsize=8.5)
    weights.legend(fontsize=8.5, ncols=2, title="line: ours; circle: ngspice" if theirs else None, title_fontsize=8.5)
    error.set(xlabel="time (s)", ylabel="largest distance of any weight (V)", title="ngspice against ours")
    if theirs:
        error.set_ylim(1e-8, 1e-4)
        error.legend(fontsize=8.5)
    else:
        error.text(0.5, 0.5, "ngspice is not installed", transform=error.transAxes, ha="center")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Learning by a netlist in ngspice against our own integrator.")
    parser.add_argument("--full", action="store_true", help=f"{UNITS_FULL} units, {SAMPLES_FULL} samples")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures, numbers and netlists")
    main(**vars(parser.parse_args()))
