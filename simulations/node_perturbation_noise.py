"""
How much node perturbation hears of the gradient
================================================

The noise of node perturbation (§4 of Ahmad N (2024), "Correlations are ruining your gradient descent",
arXiv:2407.10780, whose public code shakes its units by σ = 1e-6 in single precision), and of its variants (Dalm et al.
2023).

First the change of the loss, which is all that a unit is told: in single precision it drowns in rounding if σ is
small, and is no longer linear in the noise if σ is large. Then the estimate made of it: the angle α to
backpropagation, of one batch, over σ and over the number K of noisy passes. An unbiased estimate has
tan α ∝ 1/√K; where the curve stops falling there is bias. Weights at the start, and late in training; medians of four
streams of noise, which are others in the other precision.

Finding: in single precision a change of the loss by σ = 1e-6 drowns in rounding late in training, and between 1e-4 and
1e-3 it is heard best. There node and layer-wise (iterative) noise are unbiased, the latter with the least variance;
credit by activity is biased once the weights have grown, since activity passes noise on to the layers above.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.credit import Adam, Backprop, GaussianNoise, NodePerturbation
from neurodecorr.data import Epochs
from neurodecorr.models import load_model
from neurodecorr.training import Trainer

NAME = "node_perturbation_noise"
MODELS = {"digits": "digits", "mnist": "mnist"}
SIGMAS = np.geomspace(1e-7, 1, 15)
DECADES = SIGMAS[::2]
SIGMA = 1e-4
BATCH = 256
RATE, EPOCHS = 3e-3, 20  # until "late"
PASSES, PASSES_FULL = 256, 4096
SHARE = 4  # of the passes, for the angle over σ
DRAWS = 4  # independent draws of noise
VARIANTS = {
    "node": (NodePerturbation(noise=GaussianNoise(SIGMA)), "#D55E00", "-"),
    "node, antithetic": (NodePerturbation(noise=GaussianNoise(SIGMA), antithetic=True), "#D55E00", "--"),
    "activity": (NodePerturbation("activity", noise=GaussianNoise(SIGMA)), "#0072B2", "-"),
    "iterative": (NodePerturbation("iterative", noise=GaussianNoise(SIGMA)), "#009E73", "-"),
}
STAGES = ("start", "late")
LOOKS = {"float32": ("#222222", "-"), "float64": ("#D55E00", "--")}


def main(full: bool, out: Path, data: Path | None) -> None:
    model = load_model(MODELS[nd.data.layout(data) if data else "digits"])
    passes = PASSES_FULL if full else PASSES
    networks, X, Y = trained(model, data)
    counts = 2 ** np.arange(int(np.log2(passes)) + 1)
    error, zeros = np.empty((2, 2, len(SIGMAS))), np.empty((2, 2, len(SIGMAS)))
    by_sigma, by_count = np.empty((2, 2, len(DECADES))), np.empty((2, len(VARIANTS), len(counts)))
    for s, whole in enumerate(networks):
        for p, precision in enumerate(LOOKS):
            network = in_precision(model, whole, precision)
            for k, sigma in enumerate(SIGMAS):
                error[s, p, k], zeros[s, p, k] = heard(network, whole, X, Y, sigma)
            for k, sigma in enumerate(DECADES):
                rule, true = NodePerturbation(noise=GaussianNoise(sigma), samples=passes // SHARE), exact(whole, X, Y)
                found = [tangent(estimate(rule, network, X, Y, draw), true) for draw in range(DRAWS)]
                by_sigma[s, p, k] = np.median(found)
        for v, (rule, *_) in enumerate(VARIANTS.values()):
            found = [converging(rule, whole, X, Y, counts, draw) for draw in range(DRAWS)]
            by_count[s, v] = np.median(found, axis=0)

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(error, by_sigma, by_count, counts)
    nd.plots.save(figure, out, NAME)
    config = {"model": model.name, "epochs": EPOCHS, "batch": BATCH, "passes": passes}
    arrays = {
        "sigmas": SIGMAS,
        "decades": DECADES,
        "counts": counts,
        "variants": list(VARIANTS),
        "error": error,
        "zeros": zeros,
    }
    arrays |= {"by_sigma": by_sigma, "by_count": by_count}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")
    report(model, error, zeros, by_count, counts)


def trained(model, data):
    """Return the network at the start and late in training, in double precision, and one batch."""
    train, _ = nd.data.labelled(data or "digits")
    prepared = nd.data.preparation(train, model.document.data.recipe)
    first = model.network("bp", "none", 0, dtype="float64")
    late = first.copy()
    epochs = Epochs(train, model.document.training.batch, preparation=prepared)
    Trainer(late, Backprop(), Adam(RATE)).fit(epochs, EPOCHS)
    batch = next(Epochs(train, BATCH, seed=1, preparation=prepared).batches())
    return (first, late), batch.inputs.reshape(BATCH, -1).astype(float), np.eye(10)[batch.targets]


def in_precision(model, whole, precision):
    network = model.network("bp", "none", 0, dtype=precision)
    network.load({name: array.astype(precision) for name, array in whole.arrays().items()})
    return network


def heard(network, whole, X, Y, sigma):
    """Return the error of Δℓ against σ ξ·δ, relative to its size, and the share of samples whose Δℓ is exactly 0."""
    rule = NodePerturbation(noise=GaussianNoise(sigma)).start(network)
    X, Y = network.take(X), network.take(Y)
    clean = network.forward(X)
    loss, _ = network.loss.measure(clean.output, Y)
    deltas = Backprop().start(whole).assign(X.astype(float), Y.astype(float), None).deltas
    missed, size, nothing = 0.0, 0.0, 0.0
    for draw in range(DRAWS):
        noise = rule.draw(clean, np.random.default_rng(draw))
        change, _ = rule.change(clean, loss, noise, Y)
        linear = sigma * sum((n * d).sum(axis=1) for n, d in zip(noise, deltas, strict=True))
        missed, size = missed + np.sum((change - linear) ** 2), size + np.sum(linear**2)
        nothing += np.mean(change == 0) / DRAWS
    return np.sqrt(missed / size), nothing


def exact(network, X, Y):
    return flat(Backprop().start(network).assign(X, Y, None))


def estimate(rule, network, X, Y, draw):
    return flat(rule.start(network).assign(network.take(X), network.take(Y), np.random.default_rng(draw)))


def flat(credit):
    """Return all changes of weights as one array."""
    return np.concatenate([dW.ravel() for dW, _ in credit.gradients]).astype(float)


def tangent(mine, true):
    """Return tan α of the angle between two arrays."""
    along = mine @ true / np.linalg.norm(true)
    return np.sqrt(max(mine @ mine - along**2, 0)) / along if along > 0 else np.inf


def converging(rule, network, X, Y, counts, stream):
    """Return tan α of the mean of K estimates, for each K."""
    true, total, found = exact(network, X, Y), 0.0, []
    for draw in range(1, counts[-1] + 1):
        total = total + estimate(rule, network, X, Y, [stream, draw])
        if draw in counts:
            found.append(tangent(total / draw, true))
    return found


def report(model, error, zeros, by_count, counts):
    print(f"{model.document.title}; one batch of {BATCH}; late: after {EPOCHS} epochs of backpropagation")
    print("error of the change of the loss (share of exact zeros), float32 and float64, start and late")
    for k, sigma in enumerate(DECADES):
        cells = [f"{error[s, p, 2 * k]:8.2%} ({zeros[s, p, 2 * k]:4.0%})" for s in range(2) for p in range(2)]
        print(f"σ = {sigma:5.0e}  {'  '.join(cells)}")
    print(f"cosine to backpropagation, σ = {SIGMA:g}, float64: one pass, {counts[-1]} passes; slope of tan α over K")
    for s, stage in enumerate(STAGES):
        for name, found in zip(VARIANTS, by_count[s], strict=True):
            slope = np.polyfit(np.log(counts[2:]), np.log(found[2:]), 1)[0]
            one, many = np.cos(np.arctan(found[[0, -1]]))
            print(f"{stage:5} {name:17} {one:6.3f} {many:6.3f}  {slope:+.2f}")


def draw(error, by_sigma, by_count, counts):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.6))
    for s, width in enumerate((1.0, 2.2)):
        for p, (precision, (colour, line)) in enumerate(LOOKS.items()):
            label = f"{precision}, {STAGES[s]}"
            left.loglog(SIGMAS, error[s, p], line, color=colour, linewidth=width, label=label)
            middle.semilogx(DECADES, np.degrees(np.arctan(by_sigma[s, p])), line, color=colour, linewidth=width)
        for (name, (_, colour, line)), found in zip(VARIANTS.items(), by_count[s], strict=True):
            right.loglog(counts, found, line, color=colour, linewidth=width, label=name if s else None)
    right.loglog(counts, 1.4 * by_count.max() / np.sqrt(counts), ":", color="#767676", label="1/√K")
    left.set(xlabel="σ of the noise", ylabel="error of Δℓ, relative to σ ξ·δ", title="What a unit is told")
    left.set(ylim=(1e-6, 1e2))
    middle.set(xlabel="σ of the noise", ylabel="α (°)", title=f"Angle to backpropagation, K = {counts[-1] // SHARE}")
    middle.set_ylim(0, 95)
    right.set(xlabel="noisy passes K", ylabel="tan α", title=f"σ = {SIGMA:g}, float64 (thick: late)")
    left.legend(fontsize=8.5)
    right.legend(fontsize=8.5)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Noise, precision, bias and variance of node perturbation.")
    parser.add_argument("--full", action="store_true", help=f"{PASSES_FULL} noisy passes")
    parser.add_argument("--data", type=Path, help="folder of MNIST (default: scikit-learn's digits)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
