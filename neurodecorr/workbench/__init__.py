"""The workbench: feedforward and recurrent decorrelation compared on one stream."""

from neurodecorr.workbench.comparison import Comparison, Entry
from neurodecorr.workbench.contest import FORMS, compare

__all__ = ["FORMS", "Comparison", "Entry", "compare"]
