"""`stability`: whether a circuit settles, how fast, and which modes decide it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse.linalg

from neurodecorr._checks import choice, positive, sample_or_samples
from neurodecorr._norms import norms
from neurodecorr._threads import one_thread
from neurodecorr.circuit.certificate import exponents, scaled
from neurodecorr.circuit.model import LinearCircuit, require_circuit
from neurodecorr.circuit.sparse import SparseCircuit
from neurodecorr.circuit.steps import require_stable, step_limits
from neurodecorr.circuit.tableaux import EULER
from neurodecorr.errors import InputError

__all__ = ["Stability", "from_bounds", "from_eigenvalues", "predicted_settling_time", "stability", "stability_of"]

Floats = npt.NDArray[np.floating[Any]]

METHODS = ("auto", "dense", "arnoldi", "numerical_range", "gershgorin")
LARGEST_DENSE = 2000
# Arnoldi needs room for a Krylov space smaller than the matrix.
SMALLEST_ARNOLDI = 20
KRYLOV = 60
WORST_MODES = 1e10


@dataclass(frozen=True)
class Stability:
    """Whether and how fast a circuit settles.

    Parameters
    ----------
    margin : float
        min Re λ, per τ; positive for a stable circuit.
    slowest, fastest : complex
        Eigenvalues of smallest real part and of largest modulus, per τ; NaN where a shortcut did not find them.
    radius : float
        Largest |λ|, per τ.
    condition : float
        Condition σ_max/σ_min of the matrix A.
    stable : bool or None
        Whether the circuit settles from every start; None if the shortcut cannot tell.
    kind : str
        What the numbers are: ``"exact"`` to rounding, ``"estimate"`` (Arnoldi), or ``"bound"``: the margin is a lower
        bound, the radius an upper one.
    euler_limit : float
        Largest stable Euler step, in the unit of τ; of the same kind, 0 if no step is stable.
    tau : float
        Time constant τ.
    """

    margin: float
    slowest: complex
    fastest: complex
    radius: float
    condition: float
    stable: bool | None
    kind: str
    euler_limit: float
    tau: float

    @property
    def slowest_time(self) -> float:
        """Slowest time constant τ/min Re λ, in the unit of τ; infinite for an unstable circuit."""
        return self.tau / self.margin if self.margin > 0 else math.inf

    @property
    def fastest_time(self) -> float:
        """Fastest time constant τ/max |λ|, in the unit of τ."""
        return self.tau / self.radius

    def settling_time(self, tol: float, distance: float = 1.0) -> float:
        """Return the time, in units of τ, in which the slowest mode shrinks a distance to a tolerance.

        ::

            s = ln(distance/tol) / min Re λ

        Parameters
        ----------
        tol, distance : float
            Distances to rest at the end and at the start, in one unit.

        Returns
        -------
        float
            Time in units of τ; infinite for an unstable circuit.

        Examples
        --------
        >>> from neurodecorr.circuit import Circuit, stability
        >>> round(stability(Circuit([[0.5]])).settling_time(tol=1e-3), 3)
        13.816
        """
        ratio = positive(distance, "distance") / positive(tol, "tol")
        return max(0.0, math.log(ratio)) / self.margin if self.margin > 0 else math.inf


def stability(circuit: LinearCircuit | SparseCircuit, method: str = "auto") -> Stability:
    """Find the stability margin of a circuit and the modes that set its pace.

    ::

        margin = min Re λ(F),    F = diag(κ) A  (= R for a `Circuit`)

    Parameters
    ----------
    circuit : Circuit, TwoPopulationCircuit or SparseCircuit
        The circuit.
    method : str, default "auto"
        ``"dense"``: all eigenvalues. ``"arnoldi"``: the extreme ones by Krylov iteration, for large n; all of them
        where it does not converge, as `kind` then says.
        ``"numerical_range"``: margin ≥ λ_min((F + Fᵀ)/2); positive, it also proves that ‖z − z*‖ never grows.
        ``"gershgorin"``: margin ≥ min_i (F_ii − Σ_{j≠i} |F_ij|), rows or columns. ``"auto"``: dense up to 2000 units,
        Arnoldi beyond; for sparse circuits dense up to 400, and the numerical range where Arnoldi does not converge.

    Returns
    -------
    Stability
        Margin, modes, condition, limit of the Euler step.

    Examples
    --------
    >>> from neurodecorr.circuit import Circuit, stability
    >>> found = stability(Circuit([[2.0, 1.0], [1.0, 2.0]], tau=5.0))
    >>> round(found.margin, 9), round(found.fastest.real, 9), found.stable
    (1.0, 3.0, True)
    >>> round(found.slowest_time, 9), round(found.euler_limit, 9)
    (5.0, 3.333333333)

    References
    ----------
    Gershgorin 1931; Trefethen and Embree, Spectra and Pseudospectra, §17 (numerical range).
    """
    return stability_of(circuit, choice(method, "method", METHODS))


@singledispatch
def stability_of(circuit: Any, method: str) -> Stability:
    """Do what `stability` says; a kind of circuit that needs other algebra registers it here."""
    circuit = require_circuit(circuit)
    if method == "auto":
        method = "dense" if circuit.size <= LARGEST_DENSE else "arnoldi"
    if method == "arnoldi" and circuit.state_size >= SMALLEST_ARNOLDI:
        with suppress(scipy.sparse.linalg.ArpackNoConvergence):
            return from_eigenvalues(_extreme_eigenvalues(circuit.flow), "estimate", *_facts(circuit))
    if method in ("dense", "arnoldi"):
        return from_eigenvalues(circuit.spectrum.eigenvalues, "exact", *_facts(circuit))
    if method == "numerical_range":
        radius = float(scipy.linalg.norm(circuit.flow, 2))
        return from_bounds(circuit.spectrum.numerical_margin, radius, *_facts(circuit))
    return from_bounds(*_discs(circuit.flow), *_facts(circuit))


def _facts(circuit: LinearCircuit) -> tuple[float, float]:
    return circuit.spectrum.condition, circuit.tau


def predicted_settling_time(circuit: LinearCircuit, X: npt.ArrayLike, tol: float = 1e-6) -> Any:
    """Predict from the modes when each input's certified distance from rest has shrunk to a tolerance.

    ::

        ‖A V e^(−Λs) V⁻¹ z*‖ / σ_min(A) = tol,    F = V Λ V⁻¹

    Independent of every integrator: compare with `Settled.time`. A normal circuit has one solution; of several, one is
    returned.

    Parameters
    ----------
    circuit : Circuit or TwoPopulationCircuit
        Stable circuit with independent modes, at rest at zero before the input comes.
    X : (samples, n) or (n,) array
        Inputs.
    tol : float, default 1e-6
        Largest ‖x̄ − x̄*‖.

    Returns
    -------
    float or (samples,) array
        Time in units of τ.

    Raises
    ------
    StabilityError
        If the circuit is unstable.
    InputError
        If the modes are too nearly dependent to tell them apart (condition of V > 1e10).

    Examples
    --------
    >>> from neurodecorr.circuit import Circuit, predicted_settling_time
    >>> float(predicted_settling_time(Circuit([[2.0]]), [2.0], tol=1e-3).round(4))  # ln(1000)/2
    3.4539
    """
    circuit = require_circuit(circuit)
    drives, single = sample_or_samples(X, "X", circuit.size)
    tol = positive(tol, "tol")
    require_stable(circuit)
    if not circuit.spectrum.sigma_low > 0:
        raise InputError(
            f"R must have a least singular value that rounding leaves > 0; its condition is "
            f"{circuit.spectrum.condition:.2g}. Observe the time instead, with settle(method='exponential')."
        )
    # Each input in a unit of its own: no square of it underflows or overflows.
    shift = exponents(np.float64, drives)
    drives, allowed = (
        scaled(drives.astype(np.float64), -shift[:, None]),
        scaled(tol, -shift) * circuit.spectrum.sigma_low,
    )
    with one_thread(circuit.state_size), np.errstate(over="ignore", invalid="ignore"):
        eigenvalues, V = _modes(circuit)
        weights = np.linalg.solve(V, circuit.factors.solve(circuit.drive(drives).astype(np.float64)).T)
        modes = circuit.matrix @ V
        time = _crossing(lambda s: _sizes(modes @ (weights * np.exp(-eigenvalues[:, None] * s))), allowed)
    return time[0] if single else time


def _modes(circuit: LinearCircuit) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    eigenvalues, V = scipy.linalg.eigh(circuit.flow) if circuit.spectrum.symmetric else scipy.linalg.eig(circuit.flow)
    condition = np.linalg.cond(V)
    if condition > WORST_MODES:
        raise InputError(
            f"R must have independent modes to predict from them; their condition is {condition:.2g}, above "
            f"{WORST_MODES:.0e}. Observe the time instead, with settle(method='exponential')."
        )
    return eigenvalues, V


def _sizes(columns: npt.NDArray[Any]) -> Floats:
    return np.asarray(np.hypot(norms(columns.real.T), norms(columns.imag.T)))


def _crossing(residual: Any, allowed: Floats) -> Floats:
    """Return the least times at which decaying residuals, one per sample, have come down to `allowed`, by bisection."""
    zero = np.zeros(1)
    low = np.zeros(len(residual(zero)))
    high = np.where(residual(zero) <= allowed, 0.0, 1.0)
    while (late := residual(high) > allowed).any():
        low[late], high[late] = high[late], 2 * high[late]
    for _ in range(60):
        middle = (low + high) / 2
        late = residual(middle) > allowed
        low, high = np.where(late, middle, low), np.where(late, high, middle)
    return high


def from_eigenvalues(eigenvalues: npt.NDArray[Any], kind: str, condition: float, tau: float) -> Stability:
    """Return the facts that eigenvalues tell; among them must be the slowest and the fastest."""
    slowest = complex(eigenvalues[np.argmin(eigenvalues.real)])
    fastest = complex(eigenvalues[np.argmax(np.abs(eigenvalues))])
    limit = float(step_limits(EULER, eigenvalues).min()) * tau
    return Stability(slowest.real, slowest, fastest, abs(fastest), condition, slowest.real > 0, kind, limit, tau)


def from_bounds(margin: float, radius: float, condition: float, tau: float) -> Stability:
    """Every λ has Re λ ≥ margin and |λ| ≤ radius, so Euler's 2 Re λ/|λ|² ≥ 2 margin/radius²."""
    unknown = complex(math.nan, math.nan)
    stable = True if margin > 0 else None
    limit = 2 * max(margin, 0.0) / radius**2 * tau
    return Stability(margin, unknown, unknown, radius, condition, stable, "bound", limit, tau)


def _extreme_eigenvalues(F: Floats) -> npt.NDArray[Any]:
    """Return the eigenvalues of least real part and of largest modulus, by Arnoldi from a fixed start."""
    options = {"k": 2, "v0": np.random.default_rng(0).standard_normal(len(F)), "ncv": min(len(F) - 1, KRYLOV)}
    ends = [scipy.sparse.linalg.eigs(F, which=end, return_eigenvectors=False, **options) for end in ("SR", "LM")]
    return np.concatenate(ends)


def _discs(F: Floats) -> tuple[float, float]:
    """Return bounds on min Re λ and max |λ| from Gershgorin's discs, the better of those by rows and by columns."""
    diagonal = np.diag(F)
    around = [np.abs(F).sum(axis=axis) - np.abs(diagonal) for axis in (0, 1)]
    margin = max(float((diagonal - radius).min()) for radius in around)
    return margin, min(float((np.abs(diagonal) + radius).max()) for radius in around)
