"""Figures of a comparison: pure functions that return a matplotlib Figure, and one that saves it."""

from collections.abc import Callable

from matplotlib.figure import Figure

from neurodecorr.comparison import Comparison
from neurodecorr.plots.comparison import cost, eigenvalues, learning, mismatch, settling
from neurodecorr.plots.files import save
from neurodecorr.plots.hardware import chip_errors, reference_readers, reprogramming
from neurodecorr.plots.matrices import correlations, lateral_fields, receptive_fields, spectra
from neurodecorr.plots.spikes import spike_codes
from neurodecorr.plots.style import STYLE
from neurodecorr.plots.training import training

__all__ = [
    "FIGURES",
    "STYLE",
    "chip_errors",
    "correlations",
    "cost",
    "eigenvalues",
    "lateral_fields",
    "learning",
    "mismatch",
    "receptive_fields",
    "reference_readers",
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
