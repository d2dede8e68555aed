"""How the room `report` is called."""

from unittest import mock

from bad_values import Call, Flag, Place, Table, Valid
from calls_comparison import COMPARISON

from neurodecorr import plots, report

EXEMPT = {"report.draw_again": "of a folder, which tests/report makes"}


def publish(**options):
    """Publish without drawing figures, which takes seconds."""
    with mock.patch.dict(plots.FIGURES, clear=True):
        return report.folder.publish(**options)


CALLS = [
    Call(
        "report.page",
        report.page,
        {"comparison": Valid(COMPARISON), "pictures": Table({"spectra": b"<svg/>"}, empty=True)},
    ),
    Call(
        "report.publish",
        publish,
        {
            "comparison": Valid(COMPARISON),
            "folder": Place("report"),
            "overwrite": Flag(True),
            "mine": Valid(None, also={"None": "made here"}),
        },
    ),
]
