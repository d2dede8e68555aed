"""Settling the rows of a batch in a layer's circuit, with a certificate for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodecorr.circuit import Circuit, settle
from neurodecorr.errors import DivergenceError
from neurodecorr.network.algebra import alike, as_numpy
from neurodecorr.network.decorrelation import Decorrelation

__all__ = ["settle_rows"]

Array = Any  # any array-API array


def settle_rows(R: Array, U: Array, plan: Decorrelation) -> Array:
    """Return where τ dx̄/dt = u − R x̄ settles for each row u of U.

    The circuit runs in numpy and float64, whatever U is: a certificate to `plan.tol` has no room for single precision.

    Raises
    ------
    DivergenceError
        If a row does not settle to the tolerance.
    StabilityError
        If the circuit is not stable.
    """
    drives = as_numpy(U).astype(float)
    if not np.isfinite(drives).all():
        raise DivergenceError("a recurrent layer was driven by NaN or infinity. Lower the rates.")
    found = settle(Circuit(as_numpy(R).astype(float)), drives, plan.tol, relative=True, method=plan.settling)
    failed = np.flatnonzero(~found.settled)
    if failed.size:
        row = int(failed[0])
        raise DivergenceError(
            f"a recurrent layer must settle to {plan.tol:g} of x̄; {failed.size} of {len(drives)} rows did not by "
            f"{found.method!r} (row {row}: {found.outcome[row]}, bound {found.bound[row]:.2g}). "
            "Lower the rate of decorrelation, raise tol, or set settling='direct'."
        )
    return alike(found.xbar, U)
