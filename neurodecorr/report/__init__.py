"""The report of a comparison: one self-contained page, and the folder of files it comes with."""

from neurodecorr.report.folder import draw_again, publish
from neurodecorr.report.page import page

__all__ = ["draw_again", "page", "publish"]
