"""The workbench: forms of decorrelation compared on one stream, and a circuit that settles and learns on it."""

from neurodecorr.workbench.comparison import Comparison, Entry
from neurodecorr.workbench.contest import FORMS, compare, compare_seeds
from neurodecorr.workbench.life import Life, live
from neurodecorr.workbench.table import Block, Column, blocks, failures, headline, judged, spelt, table_text

__all__ = [
    "FORMS",
    "Block",
    "Column",
    "Comparison",
    "Entry",
    "Life",
    "blocks",
    "compare",
    "compare_seeds",
    "failures",
    "headline",
    "judged",
    "live",
    "spelt",
    "table_text",
]
