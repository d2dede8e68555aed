"""
One matrix product, or a circuit at rest
========================================

Figure 3, left, of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780.

A circuit learns its lateral weights R implicitly on natural images, a matrix M learns from the same images in the same
order. Then both are given held-out images: the circuit runs until it rests, the matrix takes one product.

Finding: the circuit τ dx̄/dt = x − R x̄ comes to rest at x̄ = M x, for every image, as close as it is asked to.
(The paper prints dx̄/dt = x̄ − R x, a misprint: that grows without bound, away from R x.)
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd

NAME = "fig3_two_forms"
PATCH = 8  # pixels
RATE = 1e-3
SAMPLES = 20_000
HELD_OUT, HELD_OUT_FULL = 300, 10_000
SEED = 0
TOL = 1e-9  # of ‖x̄*‖, certified
DRAWN = 6  # units, and images
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def main(full: bool, out: Path) -> None:
    patches = nd.data.natural_patches(PATCH, SAMPLES, SEED).inputs
    recurrent = nd.RecurrentDecorrelator(rate=RATE, rule="implicit").fit(patches)
    feedforward = nd.FeedforwardDecorrelator(rate=RATE, rule="implicit").fit(patches)
    circuit, M = recurrent.circuit_, feedforward.M_

    held_out = nd.data.natural_patches(PATCH, HELD_OUT_FULL if full else HELD_OUT, SEED + 1).inputs
    drive, product = held_out - recurrent.mean_, feedforward.transform(held_out)
    rest = nd.settle(circuit, drive, tol=TOL, relative=True, method="exponential")
    apart = np.linalg.norm(rest.xbar - product, axis=1) / np.linalg.norm(product, axis=1)
    solved = np.abs(nd.settle(circuit, drive, method="direct").xbar - product).max() / np.abs(product).max()

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(circuit, drive, product, t_end=np.median(rest.time))
    nd.plots.save(figure, out, NAME)
    config = {"patch": PATCH, "rate": RATE, "samples": SAMPLES, "held_out": len(held_out), "tol": TOL}
    arrays = {"R": circuit.R, "M": M, "apart": apart, "solved": solved, "time": rest.time}
    nd.io.Result(arrays, nd.io.provenance(config, SEED)).save(out / f"{NAME}.npz")

    print(f"natural {PATCH}×{PATCH} patches: {SAMPLES} learnt from, {len(held_out)} held out, seed {SEED}")
    print(f"learnt twins: ‖RM − I‖/√n = {nd.measures.twin_error(circuit.R, M):.1e}")
    print(f"circuit solved for its rest: max|x̄ − M x|/max|M x| = {solved:.1e}")
    print(f"circuit run until it rests: max ‖x̄ − M x‖/‖M x‖ = {apart.max():.1e}, asked {TOL:.1e}")
    print(f"settled: {rest.settled.sum()} of {len(held_out)}, median {np.median(rest.time):.0f} τ,", end=" ")
    print(f"worst {rest.time.max():.0f} τ, slowest mode {nd.stability(circuit).slowest_time:.1f} τ")


def draw(circuit, drive, product, t_end):
    shown = np.argsort(product.std(axis=1))[-DRAWN:]  # the images of strongest contrast
    times = np.geomspace(0.01, t_end, 400)
    path = nd.integrate(circuit, drive[shown], t_end, method="rk45", times=times, rtol=1e-9).xbar
    distance = np.linalg.norm(path - product[shown], axis=2) / np.linalg.norm(product[shown], axis=1)
    slowest = nd.stability(circuit).slowest_time
    guide = 3 * distance[-1].max() * np.exp((t_end - times) / slowest)

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    goal = product[shown[-1]]
    for unit, colour in zip(np.argsort(goal)[:: -(len(goal) // DRAWN)][:DRAWN], COLOURS, strict=True):
        left.plot(times, path[:, -1, unit], color=colour)
        left.axhline(goal[unit], color=colour, linestyle=":", linewidth=1.4)
    left.set(xscale="log", xlabel="time (τ)", ylabel="activity x̄ᵢ (s.d. of the input)", xlim=(0.01, t_end))
    left.set_title("Six units (lines) go to M x (dots)")
    right.semilogy(times, distance, color="#D55E00", linewidth=1.2, label=["circuit", *[None] * (DRAWN - 1)])
    right.semilogy(times, guide, color="#222222", linestyle="--", label=f"slope of the slowest mode, {slowest:.1f} τ")
    right.set(xlabel="time (τ)", ylabel="distance to M x, ‖x̄ − M x‖/‖M x‖", ylim=(distance.min(), 3))
    right.set_title("Six images, all units")
    right.legend()
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="M as one product and R as the fixed point of a circuit.")
    parser.add_argument("--full", action="store_true", help=f"settle {HELD_OUT_FULL} held-out images")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
