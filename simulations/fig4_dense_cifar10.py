"""
Local learning with and without decorrelation, dense networks
=============================================================

Figure 4, left, of Ahmad N (2024), "Correlations are ruining your gradient descent", arXiv:2407.10780, with its network
and rates (Appendix F, Tables 1 and 2).

Backpropagation, feedback alignment, direct feedback alignment and node perturbation train one dense network, as it is
and with the inputs of every layer decorrelated. Nothing travels back through the decorrelating matrices of feedback
alignment, unlike in the paper: that would be weight transport. By default the images are scikit-learn's digits; give
the folder of MNIST or CIFAR-10 for more, and `--full` with CIFAR-10 for the figure of the paper.

Finding: decorrelation brings every rule further in the same epochs, node perturbation by far the most, and feedback
alignment with it ends level with plain backpropagation (digits, 10 epochs). On CIFAR-10, cropped and mirrored, with a
rate of M of 1e-4 instead of the 1e-6 of the paper's table, it ends above it (six epochs; docs/networks.md).
"""

import argparse
from pathlib import Path

import neurodecorr as nd
from neurodecorr.experiments.learning_curves import train_curves
from neurodecorr.models import load_model
from neurodecorr.plots.training import envelopes

NAME = "fig4_dense_cifar10"
MODELS = {"digits": "digits", "mnist": "mnist", "cifar10": "dense_cifar10"}
RULES = ("bp", "fa", "dfa", "np")
RATE, RATE_M = 3e-3, 1e-3  # one pair for all rules on digits; elsewhere the rates of the model
EPOCHS, SEEDS, SEEDS_FULL = 10, 3, 5


def main(full: bool, out: Path, data: Path | None, keep: Path | None, **variant: str | None) -> None:
    model = load_model(MODELS[nd.data.layout(data) if data else "digits"])
    seeds, epochs = (SEEDS_FULL, model.document.training.epochs) if full else (SEEDS, EPOCHS)
    common = (None, None) if data else (RATE, RATE_M)
    options = {"rate": common[0], "decorrelation_rate": common[1], "data": data, "folder": keep, **variant}
    curves = train_curves(model, RULES, epochs=epochs, seeds=seeds, **options)

    title = f"{model.document.data.name}, {seeds} seeds: mean, lowest to highest"
    nd.plots.save(envelopes(curves.values(), title=title), out, NAME)
    arrays = {"curves": list(curves.histories), "rates": rates(model, common)}
    arrays |= {what: list(curves.values(what).values()) for what in ("test accuracy", "test loss", "training loss")}
    config = {"model": model.name, "epochs": epochs, "seeds": seeds, **variant}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    print(f"{model.document.title}; {epochs} epochs, {seeds} seeds")
    print("\n".join(curves.report()))


def rates(model, common):
    """Return rates of W alone, of W with decorrelation, and of M, one row per rule."""
    known = model.document.rates
    if common[0] is not None:
        return [(common[0], *common) for _ in RULES]
    return [(known[rule].alone, known[rule].decorrelated, known[rule].decorrelation) for rule in RULES]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Local learning with and without decorrelation, dense networks.")
    parser.add_argument("--full", action="store_true", help=f"{SEEDS_FULL} seeds, and all epochs of the model")
    parser.add_argument("--data", type=Path, help="folder of MNIST or CIFAR-10 (default: scikit-learn's digits)")
    parser.add_argument(
        "--recipe", choices=nd.data.augmentation.RECIPES, help="crops and flips in training (default: the model's)"
    )
    parser.add_argument(
        "--lateral-feedback",
        choices=nd.credit.feedback_alignment.LATERAL,
        help="how fa turns errors through M (default: none)",
    )
    parser.add_argument("--keep", type=Path, help="folder for checkpoints: the same command goes on after a stop")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
