"""Learning curves of networks: one run, or envelopes over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from neurodecorr._validation import checked_text, choice, instance, mapping, shaped
from neurodecorr.errors import ConfigError
from neurodecorr.plots.style import canvas, legend_above, styled

if TYPE_CHECKING:
    from neurodecorr.training.history import History

# Okabe–Ito: one colour per rule of credit assignment; decorrelated curves are solid, others dashed.
COLOURS = {"bp": "#222222", "fa": "#0072B2", "dfa": "#009E73", "np": "#D55E00"}
OTHER = "#CC79A7"
SETS = {"training": ":", "validation": "--", "test": "-"}


@styled
def training(history: History, title: str = "") -> Figure:
    """Draw loss and accuracy of one run against its epochs.

    Parameters
    ----------
    history : History
        What `Trainer.fit` returned.
    title : str
        Above the left panel.

    Returns
    -------
    Figure
        Loss on the left, accuracy on the right where there are labels.
    """
    from neurodecorr.training.history import History  # most figures need none of what trains

    instance(history, History, "history", advice="Use what Trainer.fit returned.")
    choice("training accuracy", "an epoch's number", history.epochs)
    checked_text(title, "title")
    names = ("loss", "accuracy") if not np.isnan(history.epochs["training accuracy"]).all() else ("loss",)
    figure, axes = canvas(1, len(names), 3.6)
    handles = {}
    for panel, name in zip(axes[0], names, strict=True):
        for kind, line in SETS.items():
            values = history.epochs.get(f"{kind} {name}")
            if values:
                scale = 100 if name == "accuracy" else 1
                epochs = np.arange(1, len(values) + 1)
                handles[kind] = panel.plot(epochs, scale * np.asarray(values), line, color=COLOURS["bp"], marker=".")[0]
        panel.set(xlabel="epoch", ylabel="accuracy (%)" if name == "accuracy" else "loss (nats per sample)")
        panel.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_title(title)
    legend_above(figure, list(handles.values()), list(handles), len(handles))
    return figure


def curve_colour(name: str) -> tuple[str, str]:
    """Return colour and line of a curve named "rule form".

    References
    ----------
    Okabe & Ito (2008), Color Universal Design.
    """
    rule, _, form = name.partition(" ")
    return COLOURS.get(rule, OTHER), "--" if form in ("", "none") else {"recurrent": "-.", "batch_norm": ":"}.get(
        form, "-"
    )


@styled
def envelopes(curves: Mapping[str, Sequence[Sequence[float]]], what: str = "test accuracy", title: str = "") -> Figure:
    """Draw the mean over seeds of each curve, and the range of its seeds as a band.

    Parameters
    ----------
    curves : mapping of str to (seeds, epochs) values
        By name, "bp none" or "fa feedforward", say; accuracies in [0, 1].
    what : str
        What the values are.
    title : str
        Above the panel.

    Returns
    -------
    Figure
        One panel; envelopes from the lowest to the highest seed.
    """
    what, title = checked_text(what, "what"), checked_text(title, "title")
    tables = {name: shaped(runs, f"curves[{name!r}]", None, None) for name, runs in mapping(curves, "curves").items()}
    if not tables:
        raise ConfigError("curves must hold at least one curve; got none.")
    figure, axes = canvas(1, 1, 4.6, width=7.0)
    panel, handles = axes[0, 0], []
    scale = 100 if what.endswith("accuracy") else 1
    for name, runs in tables.items():
        values = scale * np.asarray(runs, float)
        epochs = np.arange(1, values.shape[1] + 1)
        colour, line = curve_colour(name)
        handles.append(panel.plot(epochs, values.mean(axis=0), line, color=colour, marker=".")[0])
        panel.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    panel.set(xlabel="epoch", ylabel=f"{what} (%)" if scale == 100 else what, title=title)
    panel.xaxis.get_major_locator().set_params(integer=True)
    labels = [
        name.replace(" none", "").replace(" feedforward", " + M").replace(" recurrent", " + R") for name in curves
    ]
    legend_above(figure, handles, [label.upper().replace("BATCH_NORM", "batch norm") for label in labels], 3)
    return figure
