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

Input that changes steadily instead of jumping is the same samples through a low-pass filter of time constant τ_u, at
power 1: nearly an Ornstein–Uhlenbeck process. Two filters in a row leave λτ_u/(τ_x + λτ_u) of the power of a mode.

Finding: with slow weights, τ_R = 10⁴ τ_x, the lag decides: at T = 30 τ_x the correlation ends within 5 % of that of
settle-then-learn (0.060 to 0.058), but at T = 3 τ_x it stays at 0.15 and at T = 0.3 τ_x at 0.30, near what the lag
predicts, where settle-then-learn goes down to 0.018 and 0.006; and weights as fast as τ_R = 30 τ_x cost the local rule
its stability in every run, the congruent rule in none. The correlation time of the input does what the dwell time did:
at τ_R = 10⁴ τ_x and τ_u = 3, 10, 30 τ_x the congruent rule ends at 0.084, 0.046, 0.064 (medians of 3 seeds; ranges
0.081–0.102, 0.043–0.054, 0.061–0.065; settle-then-learn on the same input 0.018, 0.034, 0.056; slow learning alone
0.085, 0.023, 0.005). Lag falls with τ_u, and the noise of learning, which sees only τ_R/(2τ_u) independent inputs,
grows: best near τ_u = 10 τ_x. Settle-then-learn is 15 % below at τ_u = 30 τ_x, nearly fivefold at 3 τ_x.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import LearningRule, initial_state, learn, learn_continuously

NAME = "two_time_scales"
FEATURES, CONDITION = 8, 30.0
DWELLS = (0.3, 3.0, 30.0)  # T/τ_x of the first sweep, over τ_R/τ_x
SEPARATIONS = (30, 100, 300, 1000, 3000, 10_000)
SEPARATIONS_FULL = (*SEPARATIONS, 30_000)
LAGS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # T/τ_x of the second sweep, at one rate
RATE = 1 / 300  # η = T/τ_R of the second sweep
FASTEST = 0.1  # largest η of the first sweep, and largest 2τ_u/τ_R of the third
CORRELATED = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # τ_u/τ_x of the third sweep, over three τ_R/τ_x
CORRELATED_SEPARATIONS = (100, 1000, 10_000)
HOLD = 0.25  # T/τ_u: the filter turns samples held that long into nearly an Ornstein–Uhlenbeck process
SLOWEST, SLOWEST_FULL = 4000, 10_000  # largest τ_R/τ_u of the third sweep
DURATION = 15  # learning time in units of τ_R
RULES = ("implicit", "congruent")
SEEDS, SEEDS_FULL = 3, 5
RECORDS = 60
COLOURS = ("#D55E00", "#E69F00", "#0072B2")
MARKS = {"implicit": "s", "congruent": "o"}


def main(full: bool, out: Path) -> None:
    separations, seeds = (SEPARATIONS_FULL, SEEDS_FULL) if full else (SEPARATIONS, SEEDS)
    slowest = SLOWEST_FULL if full else SLOWEST
    first = np.full((len(RULES), len(DWELLS), len(separations), seeds, 4), np.nan)
    second = np.full((len(RULES), len(LAGS), seeds, 4), np.nan)
    third = np.full((len(RULES), len(CORRELATED_SEPARATIONS), len(CORRELATED), seeds, 4), np.nan)
    for seed in range(seeds):
        world = unit_power(seed)
        for r, rule in enumerate(RULES):
            for d, dwell in enumerate(DWELLS):
                for s, separation in enumerate(separations):
                    if dwell <= FASTEST * separation:
                        first[r, d, s, seed] = compare(*world, seed, rule, dwell, separation)
            for d, dwell in enumerate(LAGS):
                second[r, d, seed] = compare(*world, seed, rule, dwell, dwell / RATE)
            for s, separation in enumerate(CORRELATED_SEPARATIONS):
                for d, tau_u in enumerate(CORRELATED):
                    if 2 * tau_u / FASTEST <= separation <= slowest * tau_u:
                        third[r, s, d, seed] = compare(*world, seed, rule, HOLD * tau_u, separation, tau_u)
    worlds = [unit_power(seed)[0] for seed in range(seeds)]
    theory = np.mean([[predicted(sigma, T) for T in LAGS] for sigma in worlds], axis=0)
    coloured = np.mean([[predicted(sigma, HOLD * tau, tau) for tau in CORRELATED] for sigma in worlds], axis=0)

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(separations, first, second, third, theory, coloured)
    nd.plots.save(figure, out, NAME)
    config = {"features": FEATURES, "condition": CONDITION, "duration": DURATION, "seeds": seeds}
    arrays = {"separations": separations, "dwells": DWELLS, "first": first}
    arrays |= {"lags": LAGS, "second": second, "predicted": theory}
    arrays |= {"correlated": CORRELATED, "correlated_separations": CORRELATED_SEPARATIONS, "third": third}
    arrays |= {"predicted_correlated": coloured}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")
    report(separations, first, second, theory)
    report_correlated(third, coloured)


def unit_power(seed):
    """Return a covariance with ones on its diagonal, and the scales that make it so."""
    sigma = nd.data.gaussian_covariance(FEATURES, CONDITION, seed)
    scale = np.sqrt(np.diag(sigma))
    return sigma / np.outer(scale, scale), scale


def compare(sigma, scale, seed, rule, dwell, separation, tau_u=0.0):
    """Learn both ways; return correlations of the flow and of settled learning, their distance in R, and the margin."""
    count = round(DURATION * separation / dwell)
    X = nd.data.correlated_gaussian(FEATURES, count, CONDITION, seed).inputs / scale
    seen = X
    if tau_u > 0:
        X, seen = X / np.sqrt(kept(dwell / tau_u)), low_pass(X, dwell / tau_u)
    settled, correlation = settle_then_learn(seen, sigma, rule, dwell / separation)
    try:
        flow = learn_continuously(
            np.eye(FEATURES),
            X,
            dwell,
            1.0,
            separation,
            rule=rule,
            power=np.ones(FEATURES),
            tau_input=tau_u,
            covariance=sigma,
            records=RECORDS,
        )
    except (nd.errors.StabilityError, nd.errors.DivergenceError):
        return np.nan, correlation, np.nan, np.nan
    apart = np.linalg.norm(flow.R - settled) / np.linalg.norm(settled)
    return flow.correlation[-RECORDS // 3 :].mean(), correlation, apart, flow.margin.min()


def low_pass(X, share):
    """Return the filtered samples at the end of each, T/τ_u = share, at the power of X: y ← e^(−share) y + x.

    Terms are added to terms: 1, 2, 4, … samples back.
    """
    y, back, keep = X * np.sqrt(-np.expm1(-2 * share)), 1, np.exp(-share)
    while keep > 1e-12 and back < len(y):
        y[back:] += keep * y[:-back]
        back, keep = 2 * back, keep**2
    return y


def settle_then_learn(X, sigma, rule, rate):
    """Learn from settled states; return R, and the correlation over the last third of the stream."""
    plan = LearningRule("recurrent", rule, rate, "constant", mean="none", limit=None)
    state, left = initial_state(X, plan), []
    try:
        for part in np.array_split(X, RECORDS):
            state = learn(state, part, plan)
            left.append(rms_correlation(covariance=state.matrix @ sigma @ state.matrix.T))
    except (nd.errors.StabilityError, nd.errors.DivergenceError):
        return np.full((FEATURES, FEATURES), np.nan), np.nan
    return state.lateral, np.mean(left[-RECORDS // 3 :])


def kept(a):
    """Return f(a) = 1 − (1 − e⁻ᵃ)/a, the power that a low-pass filter leaves of independent samples."""
    return 1 + np.expm1(-a) / a


def kept_of_correlated(rate, dwell, tau_u):
    """Return the power that a mode leaves of samples which a first filter has passed already.

    Two filters in a row, rates α = 1/τ_u and λ, leave (λ² f(αT) − α² f(λT))/(λ² − α²) of the samples, the first f(αT).
    """
    alpha = 1 / tau_u
    first = kept(alpha * dwell)
    return (rate**2 * first - alpha**2 * kept(rate * dwell)) / ((rate**2 - alpha**2) * first)


def predicted(sigma, dwell, tau_u=0.0):
    """Return the correlation of the fixed points at the rest of slow learning, (s/λ²) f = 1 for each mode."""
    values, basis = np.linalg.eigh(sigma)
    low, high = np.full(len(values), 1e-9), np.sqrt(values)
    for _ in range(200):
        middle = (low + high) / 2
        share = kept_of_correlated(middle, dwell, tau_u) if tau_u > 0 else kept(middle * dwell)
        strong = values / middle**2 * share > 1
        low, high = np.where(strong, middle, low), np.where(strong, high, middle)
    return rms_correlation(covariance=(basis * (values / middle**2)) @ basis.T)


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


def report_correlated(third, coloured):
    print("input of correlation time τ_u, settle-then-learn on the same; predicted for slow learning:")
    for r, rule in enumerate(RULES):
        for s, separation in enumerate(CORRELATED_SEPARATIONS):
            for tau_u, runs, line in zip(CORRELATED, third[r, s], coloured, strict=True):
                if not np.isnan(runs).all():
                    print(f"{rule:9} τ_u/τ_x {tau_u:4g}  τ_R/τ_x {separation:6}  {words(runs)}  predicted {line:.4f}")


def words(runs):
    """Return medians over the runs not lost, NaN where settled learning was lost too; and how many were lost."""
    lost = int(np.isnan(runs[:, 0]).sum())
    if lost == len(runs):
        return f"all {lost} lost"
    kept = [column[~np.isnan(column)] for column in runs[~np.isnan(runs[:, 0])].T]
    flow, settled, apart, margin = (np.median(column) if column.size else np.nan for column in kept)
    return f"{flow:.4f} ({settled:.4f})  ‖R − R_settled‖/‖R_settled‖ {apart:.4f}  margin {margin:.4f}  lost {lost}"


def draw(separations, first, second, third, theory, coloured):
    figure, ((speed, edge), (lag, colour)) = plt.subplots(2, 2, figsize=(11, 9))
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
    draw_correlated(colour, third, coloured)
    figure.legend(*speed.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def draw_correlated(panel, third, coloured):
    for s, separation in enumerate(CORRELATED_SEPARATIONS):
        for r, rule in enumerate(RULES):
            look = {"marker": MARKS[rule], "color": COLOURS[s], "linestyle": "-" if r else "--", "markersize": 4}
            curve(panel, CORRELATED, third[r, s, :, :, 0], label=f"{rule}, τ_R = {separation} τ_x", **look)
        settled = np.median(third[1, s, :, :, 1], axis=-1)
        panel.plot(CORRELATED, settled, ":", color=COLOURS[s], linewidth=1.2)
    panel.plot(CORRELATED, coloured, color="#222222", linewidth=1, label="predicted for slow weights")
    panel.set(xscale="log", yscale="log", xlabel="τ_u / τ_x", ylabel="rms correlation of the fixed points")
    panel.set_ylim(3e-4, 1.5)  # room for the legend below the curves
    panel.set_title("Input of correlation time τ_u (dotted: settled)")
    panel.legend(fontsize=8, loc="lower left")


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
