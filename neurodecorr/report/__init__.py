"""The report of a comparison: one self-contained page, and the folder of files it comes with."""

from neurodecorr.report import folder as folder
from neurodecorr.report.page import page

__all__ = ["page"]
