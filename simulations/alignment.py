"""
Angles between local rules and backpropagation
==============================================

Angles of the kind that feedback alignment is understood by (Lillicrap et al. 2016; Liao, Leibo and Poggio 2016;
Akrout et al. 2019; Nøkland 2016), for the rules and the decorrelated networks of §4 of Ahmad N (2024), "Correlations
are ruining your gradient descent", arXiv:2407.10780.

While a network learns by each rule, the change of the weights of its hidden layers is compared with that of
backpropagation from the same batch. With decorrelation, feedback alignment runs without lateral feedback, with the
exact Mᵀ (weight transport, as in the paper), and with a fixed random matrix in its place.

Finding: rules that know the signs of the weights, or learn the weights, stay nearest to backpropagation, and random
feedback turns towards it from 90°. Decorrelation widens every angle late in training, where the exact Mᵀ does not mend
it, and the networks learn no worse: the angle alone does not tell how well a rule learns.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.credit import Adam, DirectFeedbackAlignment, FeedbackAlignment
from neurodecorr.data import Epochs
from neurodecorr.models import load_model
from neurodecorr.training import Trainer

NAME = "alignment"
MODELS = {"digits": "digits", "mnist": "mnist"}
RATES = {"digits": (3e-3, 1e-3), "mnist": (1e-3, 1e-4)}  # of W and of M, for all rules
LOCAL = {
    "FA": (FeedbackAlignment(), "#0072B2", "-"),
    "DFA": (DirectFeedbackAlignment(), "#009E73", "-"),
    "uSF": (FeedbackAlignment("uSF"), "#E69F00", "-"),
    "frSF": (FeedbackAlignment("frSF"), "#CC79A7", "-"),
    "Kolen–Pollack": (FeedbackAlignment("kolen_pollack"), "#D55E00", "-"),
    "weight mirror": (FeedbackAlignment("mirror"), "#222222", "-"),
}
LATERAL = {
    "FA, Mᵀ": (FeedbackAlignment(lateral_feedback="exact"), "#0072B2", ":"),
    "FA, random lateral": (FeedbackAlignment(lateral_feedback="random"), "#0072B2", "--"),
}
RULES = {"none": LOCAL, "feedforward": LOCAL | LATERAL}
TITLES = {"none": "Without decorrelation", "feedforward": "With decorrelation"}
EPOCHS, SEEDS, SEEDS_FULL = 10, 2, 5
RECORDS = 30


def main(full: bool, out: Path, data: Path | None) -> None:
    model = load_model(MODELS[nd.data.layout(data) if data else "digits"])
    seeds, epochs = (SEEDS_FULL, model.document.training.epochs) if full else (SEEDS, EPOCHS)
    train, test = nd.data.labelled(data or "digits")
    angles, accuracy, batches = {}, {}, None
    for form, rules in RULES.items():
        for name, (rule, *_) in rules.items():
            runs = [learn(model, rule, form, train, test, epochs, seed) for seed in range(seeds)]
            angles[form, name] = np.array([run.watched["angle"] for run in runs])[:, :, :-1].mean(axis=2)
            accuracy[form, name] = np.array([run.epochs["test accuracy"] for run in runs])
            batches = runs[0].batches

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(batches, angles)
    nd.plots.save(figure, out, NAME)
    config = {"model": model.name, "epochs": epochs, "seeds": seeds}
    arrays = {"curves": [f"{name} {form}" for form, name in angles], "batches": batches}
    arrays |= {"angles": list(angles.values()), "accuracy": list(accuracy.values())}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    print(
        f"{model.document.title}; {epochs} epochs, {seeds} seeds; angle to backpropagation, mean of the hidden layers"
    )
    print(f"{'':34} start   end   test accuracy after 1 epoch, {epochs} epochs")
    for (form, name), found in angles.items():
        first, last = 100 * accuracy[form, name][:, 0].mean(), 100 * accuracy[form, name][:, -1].mean()
        turned = f"{found[:, 0].mean():6.1f}° {found[:, -5:].mean():5.1f}°"
        print(f"{name:20} {TITLES[form].split()[0].lower():8} M {turned} {first:12.1f} % {last:6.1f} %")


def learn(model, rule, form, train, test, epochs, seed):
    """Return the history of one run, the angle measured on the way."""
    prepared = nd.data.preparation(train, model.document.data.recipe)
    batches = Epochs(train, model.document.training.batch, seed=seed, preparation=prepared)
    every = max(1, epochs * len(batches) // RECORDS)
    rate, rate_M = RATES[model.name]
    network = model.network("fa", form, seed, decorrelation_rate=rate_M)
    trainer = Trainer(network, rule, Adam(rate), seed=seed, watches=("angle",), watch_every=every)
    return trainer.fit(batches, epochs, test=Epochs(test, 256, shuffle=False, augment=False, preparation=prepared))


def draw(batches, angles):
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.8), sharey=True)
    for (form, rules), panel in zip(RULES.items(), panels, strict=True):
        for name, (_, colour, line) in rules.items():
            found = angles[form, name]
            panel.plot(batches, found.mean(axis=0), line, color=colour, label=name)
            panel.fill_between(batches, found.min(axis=0), found.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        panel.axhline(90, color="#767676", linewidth=1)
        panel.set(xlabel="batches learnt", title=TITLES[form], ylim=(0, 100), yticks=range(0, 100, 15))
    panels[0].set(ylabel="angle to backpropagation (°)")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Angles between local rules and backpropagation while they learn.")
    parser.add_argument("--full", action="store_true", help=f"{SEEDS_FULL} seeds, and all epochs of the model")
    parser.add_argument("--data", type=Path, help="folder of MNIST (default: scikit-learn's digits)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
