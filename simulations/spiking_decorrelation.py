"""
Decorrelation with spikes
=========================

The recurrent circuit of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, §3.2 and
Appendix D, in signed spikes after Boerlin M, Machens CK, Denève S (2013), "Predictive coding of dynamical variables in
balanced spiking networks", PLoS Computational Biology 9:e1003258; beside inhibitory plasticity of Vogels TP, Sprekeler
H, Zenke F, Clopath C, Gerstner W (2011), "Inhibitory plasticity balances excitation and inhibition in sensory pathways
and memory networks", Science 334:1569–1573.

A spike code settles at x̄ = R⁻¹x for several sizes γ of its spikes. Driven by correlated Ornstein–Uhlenbeck noise, its
synapses learn from R = I at their own spikes; correlations are those of filtered spikes under new noise. The baseline
are leaky integrate-and-fire units whose inhibition learns to hold their rates.

Finding: the error of the code is γ/√12, and its local rule divides mean correlations by four to six within 100 s (seeds
0–2), by nine to twelve within 300 s (seeds 0–9). Without negative weights the same rule only halves them, since the
inverse of a covariance needs both signs. Inhibitory plasticity divides correlations, weaker in its cells from the
start, by two to three; less current alone, for as few spikes, takes off a fifth to a quarter.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr import spiking

NAME = "spiking_decorrelation"
UNITS, CONDITION = 20, 100.0
GAMMAS = (0.2, 0.1, 0.05, 0.02)
STEP_PER_GAMMA = 5e-4  # seconds; a unit spikes λ|x̄|/γ times per second, at most once a step
SETTLE, WATCH = 0.5, 2.0  # seconds
LEARN, LEARN_FULL, TEST, TEST_FULL = 100.0, 300.0, 100.0, 400.0  # seconds
SEEDS, SEEDS_FULL = 3, 10
FRAME, SKIP, LOOK = 1e-3, 1.0, 0.3  # seconds
RULES = {
    "spike code, both signs": spiking.LateralRule(2e-3, halving_s=10.0),
    "spike code, R ≥ 0": spiking.LateralRule(2e-3, halving_s=10.0, one_signed=True),
}
INHIBITION = spiking.InhibitoryRule(1e-11, target_hz=3.0)
NETWORKS = (*RULES, "spike code, ideal R", "LIF, Vogels rule", "LIF, less current")


def main(full: bool, out: Path) -> None:
    seeds = SEEDS_FULL if full else SEEDS
    learn, test = (LEARN_FULL, TEST_FULL) if full else (LEARN, TEST)
    errors = np.array([[settled_error(gamma, seed) for seed in range(seeds)] for gamma in GAMMAS])
    trials = [compared(seed, learn, test) for seed in range(seeds)]
    reductions = {name: [trial[name][0] for trial in trials] for name in NETWORKS}
    costs = {name: np.array([trial[name][1] for trial in trials]) for name in NETWORKS}

    shown, xbar = a_look(0)
    with plt.rc_context(nd.plots.STYLE):
        figure = nd.plots.spike_codes(shown, xbar, np.array(GAMMAS), errors, reductions)
    nd.plots.save(figure, out, NAME)
    numbers = [[(r.before.mean, r.after.mean, r.factor, r.low, r.high) for r in reductions[name]] for name in NETWORKS]
    arrays = {"networks": list(NETWORKS), "gammas": GAMMAS, "errors": errors, "correlations": numbers}
    arrays["spikes_per_unit_second"] = np.array([costs[name] for name in NETWORKS])
    config = {"units": UNITS, "condition": CONDITION, "learn_s": learn, "test_s": test, "seeds": seeds}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")
    report(errors, reductions, costs, learn, test)


def settled_error(gamma, seed):
    """Return the rms error of a spike code with random weights, constant input, against M x."""
    rng = np.random.default_rng(seed)
    R = np.eye(UNITS) + 0.4 * rng.standard_normal((UNITS, UNITS)) / np.sqrt(UNITS)
    xbar = rng.standard_normal(UNITS)
    stimulus = spiking.constant_stimulus(R @ xbar, WATCH)
    run = spiking.run_code(spiking.SpikeCode(R, gamma=gamma), stimulus, dt_s=STEP_PER_GAMMA * gamma, record_s=1e-3)
    return run.error(xbar, SETTLE)


def noise(seed, seconds, which):
    """Return noise with the correlations of a random spectrum; `which` tells learning from testing."""
    sigma = nd.data.gaussian_covariance(UNITS, CONDITION, seed)
    sigma /= np.sqrt(np.outer(sigma.diagonal(), sigma.diagonal()))
    source = np.random.SeedSequence(seed, spawn_key=(which,))
    return spiking.ou_stimulus(sigma, round(seconds / FRAME), frame_s=FRAME, seed=source), sigma


def compared(seed, learn, test):
    """Return for each network how far correlations fell, and spikes per unit and second before and after."""
    (lesson, sigma), (exam, _) = noise(seed, learn, 0), noise(seed, test, 1)
    start = spiking.SpikeCode(np.eye(UNITS))
    codes = {name: spiking.run_code(start, lesson, rule).weights for name, rule in RULES.items()}
    codes["spike code, ideal R"] = np.linalg.inv(nd.plasticity.decorrelating_matrix(sigma))
    before = spiking.run_code(start, exam)
    found = {name: change(before, spiking.run_code(spiking.SpikeCode(R), exam)) for name, R in codes.items()}
    cells = spiking.LIFNetwork(np.zeros((UNITS, UNITS)))
    before = spiking.run_lif(cells, exam)
    inhibited = spiking.run_lif(spiking.LIFNetwork(spiking.run_lif(cells, lesson, INHIBITION).weights), exam)
    found["LIF, Vogels rule"] = change(before, inhibited)
    found["LIF, less current"] = change(before, as_silent(inhibited, exam))
    return found


def change(before, after):
    cost = before.spikes_per_unit_second, after.spikes_per_unit_second
    return spiking.reduction(before.settled(SKIP), after.settled(SKIP)), cost


def as_silent(inhibited, exam):
    """Return uninhibited cells whose current is so low that they spike as rarely."""
    low, high = 0.0, spiking.LIFNetwork(np.zeros((1, 1))).bias_a
    for _ in range(10):
        bias = (low + high) / 2
        run = spiking.run_lif(spiking.LIFNetwork(np.zeros((UNITS, UNITS)), bias_a=bias), exam)
        low, high = (low, bias) if len(run.spikes) > len(inhibited.spikes) else (bias, high)
    return run


def a_look(seed):
    """Return a short run of the ideal code, and what the rate circuit does at the same times."""
    stimulus, sigma = noise(seed, LOOK, 2)
    R = np.linalg.inv(nd.plasticity.decorrelating_matrix(sigma))
    run = spiking.run_code(spiking.SpikeCode(R), stimulus, record_s=2e-4)
    pieces = nd.circuit.PiecewiseConstant(np.arange(len(stimulus.values)) * FRAME, stimulus.values)
    return run, nd.integrate(nd.Circuit(R, 0.01), pieces, LOOK, "exponential", times=run.t_s).xbar


def report(errors, reductions, costs, learn, test):
    seeds = f"seeds 0–{errors.shape[1] - 1}"
    print(f"{UNITS} units, κ(Σ) = {CONDITION:g}, {seeds}; {learn:g} s to learn, {test:g} s to test")
    for gamma, error in zip(GAMMAS, errors, strict=True):
        ratio = error / spiking.code.coding_error_floor(gamma)
        print(f"γ = {gamma:4}: rms error {error.mean():.5f}, over γ/√12 {ratio.min():.3f}–{ratio.max():.3f}")
    print(f"{'':24} mean |correlation| before → after (95 %, seed 0), all seeds; spikes per unit and second")
    for name, found in reductions.items():
        factors = [reduction.factor for reduction in found]
        before, after = costs[name].mean(axis=0)
        print(f"{name:24} {found[0]}; {min(factors):.2f}–{max(factors):.2f}; {before:.1f} → {after:.1f}")
    try:
        run = spiking.run_code(spiking.SpikeCode(np.eye(UNITS)), noise(0, 1.0, 3)[0], engine="brian2")
    except nd.errors.ConfigError as error:
        print(f"Without Brian2, all runs on the compiled engine. {error}")
    else:
        own = spiking.run_code(spiking.SpikeCode(np.eye(UNITS)), noise(0, 1.0, 3)[0])
        same = len(own.spikes) == len(run.spikes) and (own.spikes.step == run.spikes.step).all()
        print(f"One second in {run.engine}: {len(run.spikes)} spikes, {'the same' if same else 'NOT the same'} as here")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Spiking networks that decorrelate.")
    parser.add_argument("--full", action="store_true", help=f"{LEARN_FULL:g} s of learning, {SEEDS_FULL} seeds")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
