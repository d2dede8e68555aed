"""The feedforward twin that a recurrent layer keeps beside R: M = R⁻¹, so that a batch settles by one product."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from neurodecorr.errors import DivergenceError
from neurodecorr.network import steps
from neurodecorr.network.algebra import alike, as_numpy, product
from neurodecorr.network.decorrelation import Decorrelation
from neurodecorr.plasticity import twins

__all__ = ["Twin"]

Array = Any  # any array-API array
PROBES = 4  # rows of a batch by which M and R are compared
ROUNDING = 64  # units of rounding that M x̄ may always be off


class Twin:
    """M beside R, each changed by its own rule; computed anew from R where the two drift apart.

    Parameters
    ----------
    arrays : dict
        Of the layer; holds R, and M from now on.
    plan : Decorrelation
        Rule, rate, and tolerance of x̄.
    """

    def __init__(self, arrays: dict[str, Array], plan: Decorrelation) -> None:
        self.arrays, self.plan = arrays, plan
        arrays["M"] = array_namespace(arrays["R"]).asarray(arrays["R"], copy=True)

    def forth(self, drive: Array) -> Array:
        """Return x̄ = M (x − μ)."""
        return product(drive, self.arrays["M"].T)

    def back(self, E: Array) -> Array:
        """Return Mᵀe."""
        return product(E, self.arrays["M"])

    def step(self, drive: Array, Xbar: Array, gain: Any) -> None:
        """Change M as R has just changed, and see that it still is its inverse."""
        steps.shrink(self.arrays["M"], Xbar, self.plan.rule, self.plan.rate, gain)
        self._keep_up(drive)

    def congruent(self, drive: Array, Xbar: Array, root: Array) -> None:
        """Change M as R has just changed, by the congruent rule."""
        M = self.arrays["M"]
        M[...] = twins.congruent_feedforward(M, drive, Xbar, self.plan.rate) * (root[:, None] * root[None, :])
        self._keep_up(drive)

    def error(self, drive: Array) -> float:
        """Return ‖M (x − R M x)‖/‖M x‖ for a few drives x: how far, to first order, x̄ is from rest."""
        M, R, xp = self.arrays["M"], self.arrays["R"], array_namespace(drive)
        few = drive[:PROBES, :]
        Xbar = product(few, M.T)
        missed = product(few - product(Xbar, R.T), M.T)
        size = float(xp.sum(Xbar * Xbar))
        return math.sqrt(float(xp.sum(missed * missed)) / size) if size > 0 else 0.0

    def _keep_up(self, drive: Array) -> None:
        rounding = float(array_namespace(drive).finfo(drive.dtype).eps)
        allowed = max(self.plan.tol, ROUNDING * rounding)
        if self.error(drive) <= allowed:
            return
        M, R = self.arrays["M"], self.arrays["R"]
        whole = as_numpy(R).astype(float)
        with suppress(np.linalg.LinAlgError):
            M[...] = alike(np.linalg.inv(whole), M)
        error = self.error(drive)
        if not error <= max(allowed, math.sqrt(rounding)):
            raise DivergenceError(
                f"a recurrent layer must settle to {allowed:.2g} of x̄; in {drive.dtype} its R leaves {error:.2g}. "
                "Lower the rate of decorrelation, or use float64."
            )
