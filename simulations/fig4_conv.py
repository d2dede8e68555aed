"""
Local learning with and without decorrelation, convolutional networks
=====================================================================

Figure 4, its convolutional networks, of Ahmad N (2024), "Correlations are ruining your gradient descent",
arXiv:2407.10780, with their layers and rates (Appendix F, Tables 1 and 2).

Every rule for which the model has rates trains one convolutional network, as it is and with the patches that every
convolution reads, and the inputs of every dense layer, decorrelated; all positions share one M. Feedback alignment
sends nothing back through M. By default the images are scikit-learn's digits; give the folder of CIFAR-10, CIFAR-100
or Tiny ImageNet for more, and `--full` for the figure of the paper.

Finding: decorrelated patches bring every rule further in the same epochs, node perturbation by far the most, and bring
feedback alignment level with plain backpropagation, not above it (digits, 10 epochs).
"""

import argparse
from pathlib import Path

import neurodecorr as nd
from neurodecorr.experiments.learning_curves import train_curves
from neurodecorr.models import load_model
from neurodecorr.plots.training import envelopes

NAME = "fig4_conv"
MODELS = {
    "digits": "conv_digits",
    "cifar10": "conv_cifar10",
    "cifar100": "conv_cifar100",
    "tiny-imagenet": "conv_tiny_imagenet",
}
RULES = ("bp", "fa", "dfa", "np")  # those of them for which the model has rates
EPOCHS, SEEDS, SEEDS_FULL = 10, 3, 5


def main(full: bool, out: Path, data: Path | None, keep: Path | None, **variant: str | None) -> None:
    model = load_model(MODELS[nd.data.layout(data) if data else "digits"])
    seeds, epochs = (SEEDS_FULL, model.document.training.epochs) if full else (SEEDS, EPOCHS)
    rules = tuple(rule for rule in RULES if rule in model.document.rates)
    curves = train_curves(model, rules, data=data, epochs=epochs, seeds=seeds, folder=keep, **variant)

    title = f"{model.document.data.name}, {seeds} seeds: mean, lowest to highest"
    nd.plots.save(envelopes(curves.values(), title=title), out, NAME)
    arrays = {"curves": list(curves.histories), "rates": rates(model, rules)}
    arrays |= {what: list(curves.values(what).values()) for what in ("test accuracy", "test loss", "training loss")}
    config = {"model": model.name, "epochs": epochs, "seeds": seeds, **variant}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    print(f"{model.document.title}; {epochs} epochs, {seeds} seeds")
    print("\n".join(curves.report()))


def rates(model, rules):
    """Return rates of W alone, of W with decorrelation, and of M, one row per rule."""
    known = model.document.rates
    return [(known[rule].alone, known[rule].decorrelated, known[rule].decorrelation) for rule in rules]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Local learning with and without decorrelation, convolutional networks."
    )
    parser.add_argument("--full", action="store_true", help=f"{SEEDS_FULL} seeds, and all epochs of the model")
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10, CIFAR-100 or Tiny ImageNet (default: digits)")
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
