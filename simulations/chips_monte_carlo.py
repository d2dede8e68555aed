"""
What imperfect chips make of a circuit and of a matrix
======================================================

The circuit that §3.2 and Appendix D of Ahmad N (2024), "Correlations are ruining your gradient descent",
arXiv:2407.10780, propose for neuromorphic hardware, as the analogue loop of Sun Z et al. (2019), "Solving matrix
equations in one step with cross-point resistive arrays", PNAS 116(10):4123–4128.

R in a closed loop and M in front of one are laid out on the same devices, conductance pairs of 0 to 25 µS. Devices are
off by a random share of their conductance, or hold few levels. The error is that of the output, ‖ΔX̄‖/‖X̄‖; lines are
the closed form, points are chips made one by one. Levels are the same on every chip: their spread is that of seeds.

Finding: the closed form meets the median chip within a tenth as long as further orders add less than a tenth, and so
tells without any simulation that at κ(Σ) = 1e3 circuit and matrix need the same devices for an error of 5 %: 8 bits, or
a mismatch of 1 %. Beyond, the errors of R are amplified by R⁻¹ and those of M are not: at 20 % of mismatch, or with 4
bits, hardly a circuit settles, while every matrix still answers. (Seeds 0 to 2.)
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.hardware.analogue import bits_needed, error_budget, mismatch_allowed, simulate_chips
from neurodecorr.hardware.devices import Devices

NAME = "chips_monte_carlo"
FEATURES, CONDITION = 64, 1e3
INPUTS = 128
MISMATCH = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
BITS = (4, 5, 6, 8, 10)
WANTED = 0.05
SEEDS, CHIPS, CHIPS_FULL = 3, 60, 1000
FORMS = {"closed": "circuit R", "open": "matrix M"}
CURVE = np.geomspace(MISMATCH[0], MISMATCH[-1], 40)
CURVE_BITS = np.arange(BITS[0], BITS[-1] + 1)


def main(full: bool, out: Path) -> None:
    chips = CHIPS_FULL if full else CHIPS
    cases = [case(seed) for seed in range(SEEDS)]
    error, unstable = {}, {}
    for form in FORMS:
        # (levels, seeds × chips); a chip has the same levels whenever it is made: one for each seed.
        found = [[chips_of(X, W[form], form, Devices(mismatch=s), chips) for W, X in cases] for s in MISMATCH]
        error[form, "mismatch"] = np.array([np.concatenate([one.error for one in row]) for row in found])
        unstable[form, "mismatch"] = np.isinf(error[form, "mismatch"]).mean(axis=1)
        found = [[chips_of(X, W[form], form, Devices(bits=b), 1) for W, X in cases] for b in BITS]
        error[form, "bits"] = np.array([np.concatenate([one.error for one in row]) for row in found])
        unstable[form, "bits"] = np.isinf(error[form, "bits"]).mean(axis=1)
    curves = {form: closed_forms(cases, form) for form in FORMS}

    panels = [
        nd.plots.hardware.ChipPanel(
            "Mismatch of devices", "mismatch", series(error, unstable, curves, "mismatch", MISMATCH)
        ),
        nd.plots.hardware.ChipPanel("Levels of devices", "bits", series(error, unstable, curves, "bits", BITS)),
    ]
    with plt.rc_context(nd.plots.STYLE):
        figure = nd.plots.chip_errors(panels, wanted=WANTED)
    nd.plots.save(figure, out, NAME)
    arrays = {f"{kind}_{form}": values for (form, kind), values in error.items()}
    arrays |= {f"{name}_{form}": values for form, found in curves.items() for name, values in found.items()}
    arrays |= {"levels": np.array(MISMATCH), "bits": np.array(BITS), "curve": CURVE}
    config = {"features": FEATURES, "condition": CONDITION, "chips": chips, "seeds": SEEDS, "inputs": INPUTS}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    report(error, cases, chips)


def case(seed):
    M = nd.plasticity.decorrelating_matrix(nd.data.gaussian_covariance(FEATURES, CONDITION, seed))
    X = nd.data.correlated_gaussian(FEATURES, INPUTS, CONDITION, seed).inputs
    return {"closed": np.linalg.inv(M), "open": M}, X


def chips_of(X, W, form, devices, chips):
    return simulate_chips(W, X, devices, chips=chips, form=form)


def closed_forms(cases, form):
    """Return the closed form over seeds, first and second order; levels have one order of interest."""
    mismatch = [[error_budget(W[form], X, Devices(mismatch=s), form=form) for s in CURVE] for W, X in cases]
    bits = [[error_budget(W[form], X, Devices(bits=int(b)), form=form).second for b in CURVE_BITS] for W, X in cases]
    first, second = (np.array([[getattr(b, name) for b in row] for row in mismatch]) for name in ("error", "second"))
    return {"first": rms(first), "second": rms(second), "levels": rms(np.array(bits))}


def rms(values):
    return np.sqrt((values**2).mean(axis=0))


def series(error, unstable, curves, kind, levels):
    found = []
    for form, name in FORMS.items():
        low, median, high = np.quantile(error[form, kind], (0.05, 0.5, 0.95), axis=1, method="lower")
        at, curve, first = (
            (CURVE, curves[form]["second"], curves[form]["first"] if form == "closed" else None)
            if kind == "mismatch"
            else (CURVE_BITS, curves[form]["levels"], None)
        )
        level = np.array(levels, float)
        found.append(
            nd.plots.hardware.ChipSeries(name, level, median, low, high, unstable[form, kind], at, curve, first)
        )
    return tuple(found)


def report(error, cases, chips):
    print(f"n = {FEATURES}, κ(Σ) = {CONDITION:g}; {SEEDS} covariances × {chips} chips; error in %: median (5–95 %)")
    for k, level in enumerate(MISMATCH):
        row = [quantiles(error[form, "mismatch"][k]) for form in FORMS]
        lost = np.isinf(error["closed", "mismatch"][k]).mean()
        print(f"mismatch {100 * level:4g} %   R {row[0]:24} M {row[1]:24} {100 * lost:.0f} % of R unstable")
    for k, bits in enumerate(BITS):
        row = [quantiles(error[form, "bits"][k]) for form in FORMS]
        print(f"bits     {bits:4}     R {row[0]:24} M {row[1]:24}")
    for form, name in FORMS.items():
        bits = [bits_needed(W[form], X, WANTED, form=form) for W, X in cases]
        sigma = [100 * mismatch_allowed(W[form], X, WANTED, form=form) for W, X in cases]
        print(f"for {100 * WANTED:g} % {name} needs {max(bits)} bits, or a mismatch of {min(sigma):.2f} %")


def quantiles(values):
    low, median, high = 100 * np.quantile(values, (0.05, 0.5, 0.95), method="lower")
    return f"{median:.3g} ({low:.3g}–{high:.3g})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Errors of chips, simulated and in closed form.")
    parser.add_argument("--full", action="store_true", help=f"{CHIPS_FULL} chips for each covariance")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
