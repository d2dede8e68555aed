"""Figures of a comparison: pure functions that return a matplotlib Figure, and one that saves it."""

from collections.abc import Callable

from matplotlib.figure import Figure

from neurodecorr.comparison import Comparison
from neurodecorr.plots.cost import cost, mismatch
from neurodecorr.plots.dynamics import eigenvalues, settling
from neurodecorr.plots.files import save
from neurodecorr.plots.learning import learning
from neurodecorr.plots.matrices import correlations, spectra
from neurodecorr.plots.monte_carlo import chip_errors
from neurodecorr.plots.receptive_fields import lateral_fields, receptive_fields
from neurodecorr.plots.reference_response import reference_readers
from neurodecorr.plots.reprogramming import reprogramming
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
