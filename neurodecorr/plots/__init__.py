"""Figures of a comparison: pure functions that return a matplotlib Figure, and one that saves it."""

from collections.abc import Callable

from matplotlib.figure import Figure

from neurodecorr.plots.dynamics import eigenvalues, settling
from neurodecorr.plots.fields import lateral_fields, receptive_fields
from neurodecorr.plots.files import render, rendered, save
from neurodecorr.plots.learning import learning
from neurodecorr.plots.matrices import correlations, spectra
from neurodecorr.plots.price import cost, mismatch
from neurodecorr.plots.style import STYLE
from neurodecorr.plots.training import envelopes, training
from neurodecorr.workbench import Comparison

__all__ = [
    "FIGURES",
    "STYLE",
    "correlations",
    "cost",
    "eigenvalues",
    "envelopes",
    "lateral_fields",
    "learning",
    "mismatch",
    "receptive_fields",
    "render",
    "rendered",
    "save",
    "settling",
    "spectra",
    "training",
]

# Every figure of a comparison, in the order in which they tell the story.
FIGURES: dict[str, Callable[[Comparison], Figure]] = {
    "correlations": correlations,
    "cost": cost,
    "spectra": spectra,
    "receptive_fields": receptive_fields,
    "lateral_fields": lateral_fields,
    "learning": learning,
    "eigenvalues": eigenvalues,
    "settling": settling,
    "mismatch": mismatch,
}
