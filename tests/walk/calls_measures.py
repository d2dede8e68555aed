"""How the room `measures` is called."""

import numpy as np
from bad_values import Call, Numbers

from neurodecorr import measures

X = np.random.default_rng(0).standard_normal((20, 3))
R = np.array([[2.0, 1.0], [0.5, 3.0]])
OTHER = {"longer": "samples of more units"}

EXEMPT: dict[str, str] = {}

CALLS = [
    Call("measures.covariance", measures.covariance, {"X": Numbers(X, also=OTHER)}),
    Call("measures.power_kept", measures.power_kept, {"X": Numbers(X, also=OTHER), "Xbar": Numbers(X, also=OTHER)}),
    Call("measures.relative_off_diagonal", measures.relative_off_diagonal, {"X": Numbers(X, also=OTHER)}),
    Call("measures.rms_correlation", measures.rms_correlation, {"X": Numbers(X, also=OTHER)}),
    Call("measures.twin_error", measures.twin_error, {"R": Numbers(R), "M": Numbers(np.linalg.inv(R))}),
]
