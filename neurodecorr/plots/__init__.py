"""Figures of a comparison: pure functions that return a matplotlib Figure, and one that saves it."""

from collections.abc import Callable

from matplotlib.figure import Figure

from neurodecorr.plots.chips import ChipPanel, ChipSeries, chip_errors, hardware_budget
from neurodecorr.plots.dynamics import eigenvalues, settling
from neurodecorr.plots.fields import lateral_fields, receptive_fields
from neurodecorr.plots.files import render, rendered, save
from neurodecorr.plots.golden import golden_readers
from neurodecorr.plots.healing import HealingPanel, healing
from neurodecorr.plots.learning import learning
from neurodecorr.plots.matrices import correlations, spectra
from neurodecorr.plots.price import cost, mismatch
from neurodecorr.plots.spikes import spike_codes
from neurodecorr.plots.style import STYLE
from neurodecorr.plots.training import envelopes, training
from neurodecorr.workbench import Comparison

__all__ = [
    "FIGURES",
    "STYLE",
    "ChipPanel",
    "ChipSeries",
    "HealingPanel",
    "chip_errors",
    "correlations",
    "cost",
    "eigenvalues",
    "envelopes",
    "golden_readers",
    "hardware_budget",
    "healing",
    "lateral_fields",
    "learning",
    "mismatch",
    "receptive_fields",
    "render",
    "rendered",
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
