"""The workbench: forms of decorrelation compared on one stream, and a circuit that settles and learns on it."""

from neurodecorr.workbench.comparison import Comparison, Entry
from neurodecorr.workbench.contest import FORMS, compare
from neurodecorr.workbench.life import Life, live
from neurodecorr.workbench.table import Block, Column, blocks, failures, headline, spelt, table_text

__all__ = [
    "FORMS",
    "Block",
    "Column",
    "Comparison",
    "Entry",
    "Life",
    "blocks",
    "compare",
    "failures",
    "headline",
    "live",
    "spelt",
    "table_text",
]
