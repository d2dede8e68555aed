"""`Settler`: a circuit prepared to settle single samples, one after the other, at the speed of its products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy import empty, ndarray

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.jit import LANES, only
from neurodecorr._numerics.norms import EPS
from neurodecorr._numerics.simd import aligned, in_panels, padded, read_only
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, flag, positive
from neurodecorr.circuit.bounds import recurrence
from neurodecorr.circuit.certificate import CERTIFICATE_MARGIN, bound_of, target, wide_target
from neurodecorr.circuit.chebyshev_kernels import descend_one, descend_rows, solve_one, solve_rows, solve_whole
from neurodecorr.circuit.model import LinearCircuit, require_circuit
from neurodecorr.circuit.settle import cheapest, settle
from neurodecorr.circuit.stability import require_stable

# The budget covers starts this much farther from rest than the tolerance; what takes longer goes to `settle`.
REDUCTION = 1e16
# The share of the predicted steps that is taken without a look at the residual.
UNSEEN = 0.8
# Beyond these the schedule is long, and a sample that needs it is no longer a matter of microseconds.
MOST_STEPS = 100_000
INFINITY = math.inf  # a global is found faster than an attribute
METHODS = ("auto", "chebyshev", "direct")


@short_repr
class Settler:
    """Settle samples one at a time, each certified, with everything but the products done beforehand.

    ::

        direct:     x̄ = M u,    ‖x̄ − x̄*‖ ≤ ‖u − R x̄‖/σ_min(R)
        chebyshev:  z ← z + p,    p ← α_k κ ∘ (u − A z) + ω_k p,    until ‖u − A z‖/σ_min(A) ≤ tol

    Either runs in one compiled call, and all rounding is part of the bound. A sample that it cannot prove, because the
    circuit is far from normal or the tolerance near rounding, goes through `settle`.

    Parameters
    ----------
    circuit : Circuit or TwoPopulationCircuit
        The circuit, which must be stable.
    tol : float, default 1e-6
        Largest ‖x̄ − x̄*‖, in the unit of x̄.
    relative : bool, default False
        Whether `tol` is a share of ‖x̄*‖.
    method : str, default "auto"
        ``"chebyshev"``: run the dynamics, by Euler with Chebyshev-scheduled steps. ``"direct"``: keep M ≈ R⁻¹, which
        takes n³ once; a sample is two products. ``"auto"``: direct if ‖I − R M‖ is small enough for every sample, or
        Chebyshev steps are forecast to take longer than exact ones (`circuit.settle`).

    Raises
    ------
    StabilityError
        If the circuit does not settle.
    ConfigError
        If `tol` ≤ 0, or the method is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from neurodecorr.circuit.model import Circuit
    >>> settler = Settler(Circuit([[2.0, 0.0], [0.0, 4.0]]), tol=1e-9)
    >>> xbar, bound = settler(np.array([2.0, 4.0]))
    >>> xbar.round(6), bound <= 1e-9
    (array([1., 1.]), True)
    """

    def __init__(self, circuit: LinearCircuit, tol: float = 1e-6, relative: bool = False, method: str = "auto") -> None:
        self.circuit, self.tol, self.relative = (
            require_circuit(circuit),
            positive(tol, "tol"),
            flag(relative, "relative"),
        )
        method = choice(method, "method", METHODS)
        require_stable(circuit)
        self._size, self._dtype = circuit.size, circuit.R.dtype
        with one_thread(circuit.state_size):
            direct = None if method == "chebyshev" else self._direct(every=method == "auto" and self._quick())
            self.method = "chebyshev" if direct is None else "direct"
            self._plan = self._iterative() if direct is None else direct
        one, self._rows = (descend_one, descend_rows) if direct is None else (solve_one, solve_rows)
        if direct is not None and self._dtype == np.float64 and self._size % LANES == 0:
            one = solve_whole
        self._settle_one = only(one, self._plan, *np.zeros((2, circuit.size), circuit.R.dtype))

    def __call__(self, x: npt.ArrayLike) -> tuple[Floats, Any]:
        """Settle one sample, or several one after the other.

        Parameters
        ----------
        x : (n,) or (samples, n) array
            Input. Samples of the type of R go straight to the compiled loop.

        Returns
        -------
        xbar : (n,) or (samples, n) array
            Settled activity.
        bound : float or (samples,) array
            Certified upper bound of ‖x̄ − x̄*‖; it exceeds the tolerance only where rounding keeps it from that.
        """
        if type(x) is not ndarray:
            return self._otherwise(x)
        xbar = empty(self._size, self._dtype)
        try:
            bound = self._settle_one(self._plan, x, xbar)
        except TypeError:  # of another type, shape or layout: no question for the fast path
            return self._otherwise(x)
        return (xbar, bound) if bound < INFINITY else self._with_care(x)

    def _otherwise(self, x: npt.ArrayLike) -> tuple[Floats, Any]:
        """Settle a batch sample by sample; what is no plain batch, or not proven, with care."""
        if not (type(x) is np.ndarray and x.ndim == 2 and x.dtype == self._dtype and x.shape[1] == self._size):
            return self._with_care(x)
        X, xbar, bound = np.ascontiguousarray(x), np.empty(x.shape, self._dtype), np.empty(len(x))
        self._rows(self._plan, read_only(X), xbar, bound)
        rows = np.flatnonzero(~(bound < math.inf))
        if rows.size or not len(X):
            xbar[rows], bound[rows] = self._with_care(X[rows])
        return xbar, bound

    def _with_care(self, x: npt.ArrayLike) -> tuple[Floats, Any]:
        found = settle(self.circuit, x, self.tol, relative=self.relative)
        return found.xbar, found.bound

    def _header(self) -> list[float]:
        """Return what both plans begin with; a state with error units is no plain activity and takes the careful way.

        So does one without a bound of σ_min. Else it is n, the tolerance, whether it is relative, the room of its test,
        the distance to rest per proven residual, the rounding of the bound, and the rounding of a residual per ‖z‖ and
        per ‖u‖.
        """
        circuit = self.circuit
        size = circuit.size if self._plain else -1
        share = float(bound_of(1.0, circuit.spectrum.sigma_low, circuit.state_size))
        goal = target(circuit, self.tol, self.relative, np.float64, math.inf)
        rounding = (circuit.size + 16) * EPS
        return [size, self.tol, self.relative, CERTIFICATE_MARGIN, share, rounding, goal.noise, goal.noise_drive]

    @property
    def _plain(self) -> bool:
        """Whether the state is the activity, and its distance to rest has a bound."""
        return self.circuit.size == self.circuit.state_size and self.circuit.spectrum.sigma_low > 0

    def _quick(self) -> bool:
        """Tell whether a sample of size 1 is forecast to settle by Chebyshev steps sooner than by exact ones."""
        spectrum = self.circuit.spectrum
        if not self._plain:
            return True
        factor = (spectrum.size_bound if self.relative else 1.0) / spectrum.sigma_low / self.tol
        return cheapest(self.circuit, 1, factor, MOST_STEPS) == "chebyshev"

    def _direct(self, every: bool) -> Floats | None:
        """Return the plan of two products; None if they would not serve every sample though they have to.

        Whether they would is told beforehand::

            ‖R⁻¹u − fl(M u)‖ ≤ (‖I − R M‖/σ_min + γ_n ‖M‖) ‖u‖,    ‖u‖ ≤ ‖R‖ ‖x̄*‖
        """
        circuit, R = self.circuit, self.circuit.R.astype(np.float64, copy=False)
        if not self._plain:
            return None
        M = circuit.factors.solve(np.eye(circuit.size)).T
        gamma = (circuit.size + 3) * EPS
        defect = np.linalg.norm(np.eye(circuit.size) - R @ M) + gamma * np.linalg.norm(R) * np.linalg.norm(M)
        share = float(defect / circuit.spectrum.sigma_low + gamma * np.linalg.norm(M))
        if every and not share * circuit.frobenius <= self.tol / 2:
            return None
        return _packed(self._header(), [np.zeros(padded(circuit.size)), in_panels(-M), circuit.panels])

    def _iterative(self) -> Floats:
        """Return the plan of Chebyshev steps."""
        circuit, spectrum = self.circuit, self.circuit.spectrum
        if not self._plain:
            return _packed(self._header(), [])
        ellipse = spectrum.ellipse
        goal = wide_target(circuit, self.tol, self.relative, self._dtype, math.inf)
        most = min(ellipse.steps(REDUCTION), MOST_STEPS)
        schedule = recurrence(ellipse, most)
        unseen = UNSEEN / -math.log(ellipse.factor)
        # The padding of the panels is zero and adds nothing to the norm of the read-out.
        goal = goal._replace(readout=padded(circuit.state_size))
        facts = [*goal, most, unseen, 1 / spectrum.sigma_low, len(schedule), *np.zeros(5)]
        return _packed([*self._header(), *facts], [circuit.panels, schedule])


def _packed(facts: list[float], arrays: list[Floats]) -> Floats:
    """Return one array of all, in which the matrices begin on the border of a cache line."""
    parts = [np.array(facts, np.float64), *(array.ravel() for array in arrays)]
    plan = aligned((sum(part.size for part in parts),), np.float64)
    np.concatenate(parts, out=plan)
    return read_only(plan)
