"""
Chips that heal themselves by learning
======================================

The local rule of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, Appendix D, with a
homeostatic term, runs on the chip: on pairs of devices that move by pulses, through the currents that they conduct. The
same chips, programmed once with the trained R, are what it is compared with. Devices as aihwkit describes them: Rasch
MJ et al. (2021), "A flexible and fast PyTorch toolkit for simulating training and inference on analog crossbar arrays",
AICAS.

Inputs: correlated Gaussians, κ(Σ) = 1e3. Uneven devices: steps off by 30 % from device to device and from pulse to
pulse, soft bounds. Integer chips have no mismatch; they start from R = I. Seed 0 throughout; chip k is child k of it.

Finding: mismatch and drift are healed down to what the stream of samples itself can tell, and chips that had no settled
state get one, provided that a synapse measures what its pulses did. Without that measurement the floor is set by the
size of a pulse, whatever the rate, and uneven devices do no better than R programmed once. What stays is what learning
cannot see: coarse levels, and errors of the measurement of a unit's own drive.
"""

import argparse
from pathlib import Path

import numpy as np

import neurodecorr as nd
from neurodecorr.hardware.devices import Devices, Drift
from neurodecorr.hardware.in_situ import (
    InSituRule,
    IntegerLearningRule,
    PulsedSynapse,
    compare_in_situ,
    initial_integer_state,
    learn_integers,
)
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import decorrelating_matrix
from neurodecorr.plots.hardware import ReprogrammingPanel

NAME = "healing_in_situ"
FEATURES, CONDITION, SEED = 32, 1e3, 0
CHIPS, CHIPS_FULL = 6, 100
SAMPLES, SAMPLES_FULL = 6_000, 12_000
MISMATCH = (0.02, 0.05, 0.1, 0.2)
TIMES = (1e1, 1e3, 1e5, 1e7)
DRIFT = Drift(nu=0.05, nu_sd=0.02)
BITS, INTEGER_BITS = (4, 5, 6, 8, 10), (6, 8, 10, 12, 14, 16)
SENSE = (0.01, 0.03, 0.1)
INTEGER_FEATURES, INTEGER_SAMPLES, BATCH = 16, 20_000, 256
UNEVEN = {"noise": 0.3, "spread": 0.3, "slope": 1.0, "asymmetry_spread": 0.1}
SYNAPSES = {
    "in situ, verified": PulsedSynapse(**UNEVEN),
    "in situ, verified, devices that only grow": PulsedSynapse(one_way=True, **UNEVEN),
    "in situ, no memory, even devices": PulsedSynapse(programming="stochastic"),
    "in situ, no memory, uneven devices": PulsedSynapse(programming="stochastic", **UNEVEN),
}
ONCE, VERIFIED = "programmed once", "in situ, verified"


def main(full: bool, out: Path) -> None:
    chips, samples = (CHIPS_FULL, SAMPLES_FULL) if full else (CHIPS, SAMPLES)
    sigma = nd.data.gaussian_covariance(FEATURES, CONDITION, SEED)
    X = nd.data.correlated_gaussian(FEATURES, samples, CONDITION, SEED).inputs
    R = np.linalg.inv(decorrelating_matrix(sigma, "layer"))

    def healed(devices, synapse=None, plan=None, time_s=0.0):
        return compare_in_situ(R, X, sigma, devices, synapse, plan, chips, SEED, time_s=time_s)

    by_mismatch = {name: [healed(Devices(mismatch=m), s) for m in MISMATCH] for name, s in SYNAPSES.items()}
    by_time = [healed(Devices(drift=DRIFT), SYNAPSES[VERIFIED], time_s=t) for t in TIMES]
    by_bits = [healed(Devices(mismatch=0.1, bits=b)) for b in BITS]
    by_sense = [healed(Devices(mismatch=0.1), plan=InSituRule(sense_mismatch=s)) for s in SENSE]
    integers, floating = in_integers()

    panels = [
        panel("Mismatch", "mismatch of a device", MISMATCH, by_mismatch),
        panel("Drift, ν = 0.05 ± 0.02", "seconds from programming to learning", TIMES, {VERIFIED: by_time}),
        panel("Levels, mismatch 10 %", "bits of a device", BITS, {"in situ, one level a pulse": by_bits}, log=False),
        ReprogrammingPanel(
            "Whole numbers, no mismatch",
            "bits of a weight",
            INTEGER_BITS,
            {name: np.asarray(values)[:, None] for name, values in integers.items()},
            log=False,
            level=("floating point", floating),
        ),
    ]
    nd.plots.save(nd.plots.reprogramming(panels), out, NAME)
    arrays = {
        "mismatch": MISMATCH,
        "times_s": TIMES,
        "bits": BITS,
        "sense": SENSE,
        "integer_bits": INTEGER_BITS,
        "synapses": list(SYNAPSES),
        "once": [run.exported for run in by_mismatch[VERIFIED]],
        "learnt": [[run.learnt for run in runs] for runs in by_mismatch.values()],
        "margin": [[run.learnt_margin for run in runs] for runs in by_mismatch.values()],
        "drift_once": [run.exported for run in by_time],
        "drift_learnt": [run.learnt for run in by_time],
        "bits_once": [run.exported for run in by_bits],
        "bits_learnt": [run.learnt for run in by_bits],
        "sense_learnt": [run.learnt for run in by_sense],
        "integers": list(integers.values()),
        "floating": floating,
    }
    config = {"features": FEATURES, "condition": CONDITION, "chips": chips, "samples": samples}
    nd.io.Result({k: np.asarray(v) for k, v in arrays.items()}, nd.io.provenance(config, SEED)).save(
        out / f"{NAME}.npz"
    )

    print(f"n = {FEATURES}, κ(Σ) = {CONDITION:g}, {samples} samples, {chips} chips; median residual correlation")
    print(f"{'':52} {'once':>7} {'in situ':>8} {'ratio':>7}   unstable once, after")
    for name, runs in by_mismatch.items():
        report(f"{name}, mismatch", MISMATCH, runs)
    report("drift, seconds", TIMES, by_time)
    report("levels, bits", BITS, by_bits)
    report("drive measured off by", SENSE, by_sense)
    print(f"whole numbers, n = {INTEGER_FEATURES}, {INTEGER_SAMPLES} samples; floating point {floating:.4f}")
    for name, values in integers.items():
        print(f"{name:36} " + "  ".join(f"{b}: {v:.4f}" for b, v in zip(INTEGER_BITS, values, strict=True)))


def panel(title, xlabel, x, runs, log=True):
    """Return what to draw: the chips programmed once, and each way of learning."""
    once = [run.exported for run in next(iter(runs.values()))]
    curves = {ONCE: once, **{name: [run.learnt for run in found] for name, found in runs.items()}}
    return ReprogrammingPanel(title, xlabel, x, curves, log)


def report(name, levels, runs):
    for level, run in zip(levels, runs, strict=True):
        once, after = np.median(run.exported), np.median(run.learnt)
        print(f"{f'{name} {level:g}':52} {once:7.4f} {after:8.4f} {run.ratio:7.3f}   {run.unstable}")


def in_integers():
    """Learn in whole numbers from R = I, rounding at random and to the nearest; and in floating point."""
    sigma = nd.data.gaussian_covariance(INTEGER_FEATURES, CONDITION, SEED)
    X = nd.data.correlated_gaussian(INTEGER_FEATURES, INTEGER_SAMPLES, CONDITION, SEED).inputs
    eye, found = np.eye(INTEGER_FEATURES), {}
    for word, stochastic in (("at random", True), ("to the nearest", False)):
        for batch in (1, BATCH):
            plans = [IntegerLearningRule(bits=b, batch=batch, stochastic=stochastic) for b in INTEGER_BITS]
            learnt = [learn_integers(initial_integer_state(eye, X, plan), X, plan).weights(plan) for plan in plans]
            found[f"rounded {word}, batch {batch}"] = [residual(W, sigma) for W in learnt]
    W = eye.copy()
    for x, shift in zip(X, IntegerLearningRule().shifts(len(X)), strict=True):
        W += 2.0**-shift * (np.outer(x, np.linalg.solve(W, x)) - W)
    return found, residual(W, sigma)


def residual(W, sigma):
    """Return the residual correlation of a circuit; infinite if it does not settle."""
    if np.linalg.eigvals(W).real.min() <= 0:
        return np.inf
    M = np.linalg.inv(W)
    return rms_correlation(covariance=M @ sigma @ M.T)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Residual correlation of chips that learn, and of chips that do not.")
    parser.add_argument("--full", action="store_true", help=f"{CHIPS_FULL} chips, {SAMPLES_FULL} samples")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
