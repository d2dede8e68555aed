"""
Learning while the activity still moves
=======================================

Beyond Appendix D of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, which settles
every sample before it learns.

An analogue circuit does not wait: τ_x dx̄/dt = x(t) − R x̄ and τ_R dR/dt = (R x̄)x̄ᵀ − R diag(p) run together, while each
sample is presented for a dwell time T. Next to it, settle-then-learn at the same rate η = T/τ_R on the same stream. The
correlation is that of the fixed points, R⁻¹ΣR⁻ᵀ. Inputs have power 1 in every unit. For them the rest of slow learning
is known: a mode of rate a = λT/τ_x keeps the share f(a) = 1 − (1 − e⁻ᵃ)/a of its power, and learning makes the power of
the lagging activity 1, not that of the fixed points.

Finding: with slow weights, τ_R = 10⁴ τ_x, the lag decides: at T = 30 τ_x the correlation ends within 5 % of that of
settle-then-learn (0.060 to 0.058), but at T = 3 τ_x it stays at 0.15 and at T = 0.3 τ_x at 0.30, near what the lag
predicts, where settle-then-learn goes down to 0.018 and 0.006; and weights as fast as τ_R = 30 τ_x cost the local rule
its stability in every run, the congruent rule in none.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.plasticity import Plan, learn, learn_continuously, rms_correlation, start

NAME = "two_time_scales"
FEATURES, CONDITION = 8, 30.0
DWELLS = (0.3, 3.0, 30.0)  # T/τ_x of the first sweep, over τ_R/τ_x
SEPARATIONS = (30, 100, 300, 1000, 3000, 10_000)
SEPARATIONS_FULL = (*SEPARATIONS, 30_000)
LAGS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # T/τ_x of the second sweep, at one rate
RATE = 1 / 300  # η = T/τ_R of the second sweep
FASTEST = 0.1  # largest η of the first sweep
DURATION = 15  # learning time in units of τ_R
RULES = ("local", "congruent")
SEEDS, SEEDS_FULL = 3, 5
RECORDS = 60
COLOURS = ("#D55E00", "#E69F00", "#0072B2")
MARKS = {"local": "s", "congruent": "o"}


def main(full: bool, out: Path) -> None:
    separations, seeds = (SEPARATIONS_FULL, SEEDS_FULL) if full else (SEPARATIONS, SEEDS)
    first = np.full((len(RULES), len(DWELLS), len(separations), seeds, 4), np.nan)
    second = np.full((len(RULES), len(LAGS), seeds, 4), np.nan)
    for seed in range(seeds):
        world = unit_power(seed)
        for r, rule in enumerate(RULES):
            for d, dwell in enumerate(DWELLS):
                for s, separation in enumerate(separations):
                    if dwell <= FASTEST * separation:
                        first[r, d, s, seed] = compare(*world, seed, rule, dwell, separation)
            for d, dwell in enumerate(LAGS):
                second[r, d, seed] = compare(*world, seed, rule, dwell, dwell / RATE)
    theory = np.mean([[predicted(unit_power(seed)[0], T) for T in LAGS] for seed in range(seeds)], axis=0)

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(separations, first, second, theory)
    nd.plots.save(figure, out, NAME)
    config = {"features": FEATURES, "condition": CONDITION, "duration": DURATION, "seeds": seeds}
    arrays = {"separations": separations, "dwells": DWELLS, "first": first}
    arrays |= {"lags": LAGS, "second": second, "predicted": theory}
    nd.Result(arrays, nd.recording.provenance(config, 0)).save(out / f"{NAME}.npz")
    report(separations, first, second, theory)


def unit_power(seed):
    """Return a covariance with ones on its diagonal, and the scales that make it so."""
    sigma = nd.data.gaussian_covariance(FEATURES, CONDITION, seed)
    scale = np.sqrt(np.diag(sigma))
    return sigma / np.outer(scale, scale), scale


def compare(sigma, scale, seed, rule, dwell, separation):
    """Learn both ways; return correlations of the flow and of settled learning, their distance in R, and the margin."""
    count = round(DURATION * separation / dwell)
    X = nd.data.correlated_gaussian(FEATURES, count, CONDITION, seed).inputs / scale
    settled, correlation = settle_then_learn(X, sigma, rule, dwell / separation)
    try:
        flow = learn_continuously(
            np.eye(FEATURES),
            X,
            dwell,
            1.0,
            separation,
            rule=rule,
            power=np.ones(FEATURES),
            covariance=sigma,
            records=RECORDS,
        )
    except (nd.errors.StabilityError, nd.errors.DivergenceError):
        return np.nan, correlation, np.nan, np.nan
    apart = np.linalg.norm(flow.R - settled) / np.linalg.norm(settled)
    return flow.correlation[-RECORDS // 3 :].mean(), correlation, apart, flow.margin.min()


def settle_then_learn(X, sigma, rule, rate):
    """Learn from settled states; return R, and the correlation over the last third of the stream."""
    plan = Plan("recurrent", rule, rate, "constant", mean="none", limit=None)
    state, left = start(X, plan), []
    try:
        for part in np.array_split(X, RECORDS):
            state = learn(state, part, plan)
            left.append(rms_correlation(state.matrix @ sigma @ state.matrix.T))
    except (nd.errors.StabilityError, nd.errors.DivergenceError):
        return np.full((FEATURES, FEATURES), np.nan), np.nan
    return state.lateral, np.mean(left[-RECORDS // 3 :])


def predicted(sigma, dwell):
    """Return the correlation of the fixed points at the rest of slow learning: (s/λ²) f(λT/τ_x) = 1 for each mode."""
    values, basis = np.linalg.eigh(sigma)
    low, high = np.full(len(values), 1e-12), np.sqrt(values)
    for _ in range(200):
        middle = (low + high) / 2
        strong = values / middle**2 * (1 + np.expm1(-middle * dwell) / (middle * dwell)) > 1
        low, high = np.where(strong, middle, low), np.where(strong, high, middle)
    return rms_correlation((basis * (values / middle**2)) @ basis.T)


def report(separations, first, second, theory):
    print(f"Gaussian inputs of power 1, n = {FEATURES}; {DURATION} τ_R of learning from R = I, {first.shape[3]} seeds")
    print("final rms correlation of the fixed points (settle-then-learn at η = T/τ_R), least min Re λ(R), runs lost:")
    for r, rule in enumerate(RULES):
        for d, dwell in enumerate(DWELLS):
            for s, separation in enumerate(separations):
                if dwell > FASTEST * separation:
                    continue
                print(f"{rule:9} T/τ_x {dwell:5g}  τ_R/τ_x {separation:6}  {words(first[r, d, s])}")
    print(f"at η = T/τ_R = {RATE:.4f}; predicted for slow learning:")
    for r, rule in enumerate(RULES):
        for dwell, values, line in zip(LAGS, second[r], theory, strict=True):
            print(f"{rule:9} T/τ_x {dwell:5g}  {words(values)}  predicted {line:.4f}")


def words(runs):
    """Return medians over the runs not lost, NaN where settled learning was lost too; and how many were lost."""
    lost = int(np.isnan(runs[:, 0]).sum())
    if lost == len(runs):
        return f"all {lost} lost"
    kept = [column[~np.isnan(column)] for column in runs[~np.isnan(runs[:, 0])].T]
    flow, settled, apart, margin = (np.median(column) if column.size else np.nan for column in kept)
    return f"{flow:.4f} ({settled:.4f})  ‖R − R_settled‖/‖R_settled‖ {apart:.4f}  margin {margin:.4f}  lost {lost}"


def draw(separations, first, second, theory):
    figure, (speed, lag, edge) = plt.subplots(1, 3, figsize=(13, 4.4))
    for d, dwell in enumerate(DWELLS):
        for r, rule in enumerate(RULES):
            look = {"marker": MARKS[rule], "color": COLOURS[d], "linestyle": "-" if r else "--", "markersize": 4}
            label = f"{rule}, T = {dwell:g} τ_x"
            curve(speed, separations, first[r, d, :, :, 0], label=label, **look)
            curve(edge, separations, first[r, d, :, :, 3], **look)
        settled = np.nanmedian(np.where(np.isnan(first[1, d, :, :, 1]), np.inf, first[1, d, :, :, 1]), axis=-1)
        speed.plot(separations, settled, ":", color=COLOURS[d], linewidth=1.2)
    speed.set(xscale="log", yscale="log", xlabel="τ_R / τ_x", ylabel="rms correlation of the fixed points")
    speed.set_title("Speed of the weights (dotted: settled)")
    edge.set(
        xscale="log",
        yscale="log",
        xlabel="τ_R / τ_x",
        ylabel="least min Re λ(R)",
        title="Margin of stability (absent: lost)",
    )
    for r, rule in enumerate(RULES):
        look = {"marker": MARKS[rule], "linestyle": "-" if r else "--", "markersize": 4}
        curve(lag, LAGS, second[r, :, :, 0], color="#222222", label=f"correlation, {rule}", **look)
        curve(lag, LAGS, second[r, :, :, 2], color="#009E73", label=f"R from settled R, {rule}", **look)
    lag.plot(LAGS, theory, ":", color="#222222", linewidth=1.2, label="correlation, predicted")
    lag.plot(LAGS, np.median(second[1, :, :, 1], axis=-1), color="#767676", linewidth=1, label="correlation, settled")
    lag.set(xscale="log", yscale="log", xlabel="T / τ_x", ylabel="correlation; relative distance in R")
    lag.set_title(f"Lag, at η = T/τ_R = 1/{1 / RATE:.0f}")
    lag.legend(fontsize=8)
    figure.legend(*speed.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def curve(panel, along, runs, label=None, **look):
    """Draw median and range over the seeds, where no run was lost."""
    kept = ~np.isnan(runs).any(axis=-1)
    x, values = np.asarray(along)[kept], runs[kept]
    middle = np.median(values, axis=-1)
    spread = np.abs(np.array([values.min(axis=-1), values.max(axis=-1)]) - middle)
    panel.errorbar(x, middle, spread, linewidth=1.4, capsize=2, label=label, **look)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Learning in continuous time against settle-then-learn.")
    parser.add_argument("--full", action="store_true", help=f"τ_R up to {SEPARATIONS_FULL[-1]} τ_x, {SEEDS_FULL} seeds")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
