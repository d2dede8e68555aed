"""How the room `plots` is called."""

import functools

import numpy as np
from bad_values import Call, Choice, Numbers, Place, Several, Table, Text, Valid

from neurodecorr import comparison as workbench
from neurodecorr import data, plots
from neurodecorr.plots.hardware import ReprogrammingPanel
from neurodecorr.plots.training import envelopes
from neurodecorr.training.history import History

HISTORY = History({"training loss": [1.0, 0.5], "training accuracy": [0.5, 0.7]})
PANEL = ReprogrammingPanel("title", "x", [1.0, 2.0], {"now": np.ones((2, 3))})
RECORDS = "what a figure is drawn of: a record"
OF_COMPARISONS = (
    *("correlations", "cost", "eigenvalues", "lateral_fields", "learning", "mismatch"),
    *("receptive_fields", "settling", "spectra"),
)

EXEMPT = {
    **{f"plots.{name}": RECORDS for name in ()},
    "plots.chip_errors": "of records, which tests/plots/test_hardware.py makes",
    "plots.spike_codes": "of a run, which tests/plots/test_spikes.py makes",
}


@functools.cache
def comparison():
    return workbench.compare(data.correlated_gaussian(3, 600), rules=("implicit",), draws=2)


@functools.cache
def figure():
    return plots.training(HISTORY)


CALLS = [
    *[Call(f"plots.{name}", getattr(plots, name), {"comparison": Valid(comparison())}) for name in OF_COMPARISONS],
    Call(
        "plots.envelopes",
        envelopes,
        {
            "curves": Table({"bp none": [[0.5, 0.6], [0.4, 0.7]]}),
            "what": Text("test accuracy"),
            "title": Text("title"),
        },
    ),
    Call(
        "plots.reference_readers",
        plots.reference_readers,
        {
            "times": Numbers(np.arange(5.0)),
            "course": Numbers(np.ones((5, 3))),
            "readers": Table({"one": np.ones((5, 3))}),
        },
    ),
    Call("plots.reprogramming", plots.reprogramming, {"panels": Several((PANEL,))}),
    Call("plots.render", plots.files.render, {"figure": Valid(figure()), "kind": Choice("svg")}),
    Call("plots.rendered", plots.files.rendered, {"figure": Valid(figure()), "kinds": Several(("svg",))}),
    Call(
        "plots.save",
        plots.save,
        {"figure": Valid(figure()), "folder": Place("figures"), "name": Text("one", empty=False)},
    ),
    Call("plots.training", plots.training, {"history": Valid(HISTORY), "title": Text("title")}),
]
