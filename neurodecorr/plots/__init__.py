"""Figures of a comparison: pure functions that return a matplotlib Figure, and one that saves it."""

from collections.abc import Callable

from matplotlib.figure import Figure

from neurodecorr.comparison import Comparison
from neurodecorr.plots.cost import cost, mismatch
from neurodecorr.plots.dynamics import eigenvalues, settling
from neurodecorr.plots.files import render, rendered, save
from neurodecorr.plots.learning import learning
from neurodecorr.plots.matrices import correlations, spectra
from neurodecorr.plots.monte_carlo import ChipPanel, ChipSeries, chip_errors, hardware_budget
from neurodecorr.plots.receptive_fields import lateral_fields, receptive_fields
from neurodecorr.plots.reference_response import reference_readers
from neurodecorr.plots.reprogramming import ReprogrammingPanel, reprogramming
from neurodecorr.plots.spikes import spike_codes
from neurodecorr.plots.style import STYLE
from neurodecorr.plots.training import envelopes, training

__all__ = [
    "FIGURES",
    "STYLE",
    "ChipPanel",
    "ChipSeries",
    "ReprogrammingPanel",
    "chip_errors",
    "correlations",
    "cost",
    "eigenvalues",
    "envelopes",
    "hardware_budget",
    "lateral_fields",
    "learning",
    "mismatch",
    "receptive_fields",
    "reference_readers",
    "render",
    "rendered",
    "reprogramming",
    "save",
    "settling",
    "spectra",
    "spike_codes",
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
