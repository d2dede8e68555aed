"""How the room `workbench` is called."""

import numpy as np
from bad_values import Call, Choice, Number, Numbers, Place, Seed, Several, Valid, Whole, refusals_only

from neurodecorr import comparison, data, online, plasticity
from neurodecorr.comparison import summary

X = np.random.default_rng(0).standard_normal((40, 3))
PLAN = plasticity.LearningRule()
DATASET = data.correlated_gaussian(3, 600)
COMPARISON = comparison.compare(DATASET, rules=("implicit",), draws=2)
PROGRESS = Valid(
    None, also={"None": "nobody listens", "function": "any function"}, skip={"class": "int fails by itself"}
)
RECORDS = "a record of results, filled by the library"
ONE = ("blocks", "failures", "headline", "judged")

EXEMPT = {
    **{f"comparison.{name}": RECORDS for name in ("Comparison",)},
    "online.OnlineResult": RECORDS,
}

COMPARED = {
    "dataset": Valid(DATASET, also={"frame of nan": "refused when it is read"}),
    "held_out": Valid(None, also={"None": "split off"}),
    "rules": Several(("implicit",)),
    "rate": Number(1e-2, above=0),
    "schedule": Choice("decay"),
    "gain": Choice("node"),
    "batch": Whole(1, low=1, high=100),
    "limit": Number(0.1, above=0, none=True),
    "tol": Number(1e-6, above=0),
    "mismatch": Several((0.1,), empty=True, also={"with a number": "another level"}),
    "draws": Whole(2, low=1, high=1000),
    "seed": Seed(0),
    "seeds": Whole(1, low=1, high=100),
    "jobs": Whole(1, low=1, high=64),
    "progress": PROGRESS,
}

CALLS = [
    Call("comparison.compare", comparison.compare, {name: refusals_only(one) for name, one in COMPARED.items()}),
    Call("comparison.findings", comparison.findings, {"comparison": Valid(COMPARISON)}),
    *[Call(f"comparison.{name}", getattr(summary, name), {"comparison": Valid(COMPARISON)}) for name in ONE],
    Call(
        "comparison.format_number",
        comparison.summary.format_number,
        {
            "value": Number(
                0.5,
                also=dict.fromkeys(("nan", "numpy nan", "inf", "-inf"), "a number, or none that is finite"),
            ),
            "digits": Whole(3, low=1, high=17),
        },
    ),
    Call(
        "online.run_online",
        online.run_online,
        {
            "X": Numbers(X, also={"longer": "of more units"}),
            "plan": Valid(PLAN),
            "tol": Number(1e-6, above=0),
            "state": Valid(None, also={"None": "the identity"}),
            "engine": Choice("integrate"),
            "record": Place(None, none=True),
            "every": Whole(100, low=1),
            "weights_every": Whole(100, low=1),
            "progress": PROGRESS,
        },
    ),
]
