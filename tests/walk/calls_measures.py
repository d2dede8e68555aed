"""How the room `measures` is called."""

import numpy as np
from bad_values import Call, Number, Numbers, Several, Whole

from neurodecorr import measures

X = np.random.default_rng(0).standard_normal((20, 3))
R = np.array([[2.0, 1.0], [0.5, 3.0]])
SIGMA = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 1.5]])
TOL = Number(None, low=0, high=1, none=True)
OTHER = {"longer": "samples of more units"}

EXEMPT: dict[str, str] = {"measures.NullDirections": "a record of what was found"}

CALLS = [
    Call("measures.covariance", measures.covariance, {"X": Numbers(X, also=OTHER)}),
    Call("measures.power_kept", measures.power_kept, {"X": Numbers(X, also=OTHER), "Xbar": Numbers(X, also=OTHER)}),
    *[
        Call(f"measures.{function.__name__}", function, {"X": Numbers(X, also=OTHER)})
        for function in (
            measures.null_directions,
            measures.power,
            measures.relative_off_diagonal,
            measures.rms_correlation,
        )
    ],
    Call(
        "measures.null_directions",
        measures.null_directions,
        {"covariance": Numbers(SIGMA), "tol": TOL, "samples": Whole(None, low=1, none=True)},
    ),
    *[
        Call(
            f"measures.{function.__name__}",
            function,
            {
                "covariance": Numbers(SIGMA),
                "units": Several((0, 1), empty=True, none=True),
                "samples": Whole(None, low=1, none=True),
            },
        )
        for function in (measures.rms_correlation, measures.relative_off_diagonal)
    ],
    Call("measures.power", measures.power, {"covariance": Numbers(SIGMA)}),
    Call("measures.twin_error", measures.twin_error, {"R": Numbers(R), "M": Numbers(np.linalg.inv(R))}),
]
