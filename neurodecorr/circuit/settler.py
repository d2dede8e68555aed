"""`Settler`: a circuit prepared to settle single samples, one after the other, at the speed of its products."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import positive
from neurodecorr._compile import only
from neurodecorr._threads import one_thread
from neurodecorr.circuit.certificate import EPS, bound_of, target
from neurodecorr.circuit.chebyshev import recurrence
from neurodecorr.circuit.descent import descend_one
from neurodecorr.circuit.model import LinearCircuit, require_circuit
from neurodecorr.circuit.settling import settle
from neurodecorr.circuit.steps import require_stable

__all__ = ["Settler"]

Floats = npt.NDArray[np.floating[Any]]

# The budget covers starts this much farther from rest than the tolerance; what takes longer goes to `settle`.
REDUCTION = 1e16
# The share of the predicted steps that is taken without a look at the residual.
UNSEEN = 0.8
# Beyond these the schedule is long, and a sample that needs it is no longer a matter of microseconds.
MOST_STEPS = 100_000


class Settler:
    """Settle samples one at a time, each certified, with everything but the products done beforehand.

    ::

        z ← z + p,    p ← α_k κ ∘ (u − A z) + ω_k p,    until ‖u − A z‖/σ_min(A) ≤ tol

    The whole recurrence runs in one compiled call. A sample that it cannot prove, because the circuit is far from
    normal or the tolerance near rounding, goes through `settle`.

    Parameters
    ----------
    circuit : Circuit or TwoPopulationCircuit
        The circuit, which must be stable.
    tol : float, default 1e-6
        Largest ‖x̄ − x̄*‖, in the unit of x̄.
    relative : bool, default False
        Whether `tol` is a share of ‖x̄*‖.

    Raises
    ------
    StabilityError
        If the circuit does not settle.
    ConfigError
        If `tol` ≤ 0.

    Examples
    --------
    >>> import numpy as np
    >>> from neurodecorr.circuit import Circuit, Settler
    >>> settler = Settler(Circuit([[2.0, 0.0], [0.0, 4.0]]), tol=1e-9)
    >>> xbar, bound = settler(np.array([2.0, 4.0]))
    >>> xbar.round(6), bound <= 1e-9
    (array([1., 1.]), True)
    """

    def __init__(self, circuit: LinearCircuit, tol: float = 1e-6, relative: bool = False) -> None:
        self.circuit, self.tol, self.relative = require_circuit(circuit), positive(tol, "tol"), relative
        require_stable(circuit)
        with one_thread(circuit.state_size):
            spectrum = circuit.spectrum
            goal = target(circuit, self.tol, relative, circuit.R.dtype, math.inf)
            most = min(spectrum.ellipse.steps(REDUCTION), MOST_STEPS)
            schedule = recurrence(spectrum.ellipse, most)
        # The padding of the panels is zero and adds nothing to the norm of the read-out.
        self._panels = circuit.panels
        goal = goal._replace(readout=circuit.panels.shape[1])
        unseen = UNSEEN / -math.log(spectrum.ellipse.factor)
        # A state with error units is no plain vector of activity: it takes the careful way.
        size = circuit.size if circuit.size == circuit.state_size else -1
        self._plan = np.array([*goal, most, size, unseen, 1 / spectrum.sigma_low, *schedule.ravel()])
        self._settle_one = only(descend_one, self._panels, self._plan, *np.zeros((2, circuit.size), circuit.R.dtype))
        self._size, self._dtype = circuit.size, circuit.R.dtype
        self._scale = float(bound_of(1.0, spectrum.sigma_low, circuit.state_size)) * (1 + EPS)

    def __call__(self, x: npt.ArrayLike) -> tuple[Floats, Any]:
        """Settle one sample.

        Parameters
        ----------
        x : (n,) or (samples, n) array
            Input. One sample of the type of R goes straight to the compiled loop; a batch goes through `settle`.

        Returns
        -------
        xbar : (n,) or (samples, n) array
            Settled activity.
        bound : float or (samples,) array
            Certified upper bound of ‖x̄ − x̄*‖; it exceeds the tolerance only where rounding keeps it from that.
        """
        xbar = np.empty(self._size, self._dtype)
        try:
            proven = self._settle_one(self._panels, self._plan, cast(Floats, x), xbar)
        except TypeError:  # of another type, shape or layout: no question for the fast path
            return self._with_care(x)
        return (xbar, proven * self._scale) if proven < math.inf else self._with_care(x)

    def _with_care(self, x: npt.ArrayLike) -> tuple[Floats, Any]:
        found = settle(self.circuit, x, self.tol, relative=self.relative)
        return found.xbar, found.bound
