"""Forms of decorrelation compared on one stream."""

from neurodecorr.comparison.compare import FORMS, compare
from neurodecorr.comparison.comparison import Comparison, Entry
from neurodecorr.comparison.findings import findings
from neurodecorr.comparison.summary import Block, Column, blocks, failures, format_number, headline, judged

__all__ = [
    "FORMS",
    "Block",
    "Column",
    "Comparison",
    "Entry",
    "blocks",
    "compare",
    "failures",
    "findings",
    "format_number",
    "headline",
    "judged",
]
