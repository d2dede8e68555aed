"""The workbench: feedforward and recurrent decorrelation compared on one stream."""

from neurodecorr.workbench.comparison import Comparison, Entry
from neurodecorr.workbench.contest import FORMS, compare
from neurodecorr.workbench.table import Block, Column, blocks, failures, headline, spelt, table_text

__all__ = [
    "FORMS",
    "Block",
    "Column",
    "Comparison",
    "Entry",
    "blocks",
    "compare",
    "failures",
    "headline",
    "spelt",
    "table_text",
]
