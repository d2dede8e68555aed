"""How the room `estimators` is called."""

import numpy as np
from bad_values import Call, Choice, Free, Number, Numbers, Valid, Whole

from neurodecorr.estimators import FeedforwardDecorrelator, RecurrentDecorrelator

X = np.random.default_rng(0).standard_normal((20, 3))
TEXTS = dict.fromkeys(("as objects", "as texts", "as bytes"), "scikit-learn turns it into numbers")
FORMS = (RecurrentDecorrelator, FeedforwardDecorrelator)
FITTED = {form: form(epochs=1).fit(X) for form in FORMS}
OTHER = TEXTS | {"longer": "a fit takes any number of features"}
OPTIONS = {
    "rate": Number(1e-3, above=0),
    "gain": Choice("node"),
    "schedule": Choice("decay"),
    "mean": Choice("running"),
    "batch": Whole(1, low=1, also={"10**12": "one batch of all rows"}),
    "limit": Number(0.1, above=0, none=True),
    "rate_is": Choice("relative"),
    "epochs": Whole(1, low=1, high=1000, none=True),
    "solver": Choice("online"),
    "covariance": Valid(None, also={"None": "the covariance of the samples"}),
}
CIRCUIT = {"tau": Number(1.0, above=0), "settling": Choice("direct"), "tol": Number(1e-6, above=0)}

EXEMPT: dict[str, str] = {}


def fitting(form):
    return lambda **options: form(**options).fit(X)


def again(form, method):
    return lambda X: getattr(form(epochs=1).fit(globals()["X"]), method)(X)


CALLS = [
    Call(
        "estimators.RecurrentDecorrelator",
        fitting(RecurrentDecorrelator),
        {**OPTIONS, **CIRCUIT, "rule": Choice("implicit")},
    ),
    Call(
        "estimators.FeedforwardDecorrelator", fitting(FeedforwardDecorrelator), {**OPTIONS, "rule": Choice("implicit")}
    ),
    *[
        call
        for form in FORMS
        for name in (f"estimators.{form.__name__}",)
        for call in (
            Call(f"{name}.fit", form(epochs=1).fit, {"X": Numbers(X, also=OTHER), "y": Free(None)}),
            Call(f"{name}.partial_fit", again(form, "partial_fit"), {"X": Numbers(X, also=TEXTS)}),
            Call(f"{name}.transform", FITTED[form].transform, {"X": Numbers(X, also=TEXTS)}),
            Call(f"{name}.inverse_transform", FITTED[form].inverse_transform, {"X": Numbers(X, also=TEXTS)}),
            Call(f"{name}.fit_transform", form(epochs=1).fit_transform, {"X": Numbers(X, also=OTHER)}),
        )
    ],
]
