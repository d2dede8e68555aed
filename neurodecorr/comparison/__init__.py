"""Forms of decorrelation compared on one stream."""

from neurodecorr.comparison import summary as summary
from neurodecorr.comparison.compare import compare
from neurodecorr.comparison.comparison import Comparison
from neurodecorr.comparison.summary import findings

__all__ = ["Comparison", "compare", "findings"]
