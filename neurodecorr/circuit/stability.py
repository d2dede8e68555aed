"""Stability: whether a circuit settles, how fast, which modes decide it, and how large explicit steps may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse.linalg

from neurodecorr._numerics.blas import one_thread
from neurodecorr._texts import short_repr
from neurodecorr._typing import Complexes, Floats
from neurodecorr._validation import choice, complex_array, positive, sample_or_samples
from neurodecorr.circuit.bounds import least_gap, symmetric_part
from neurodecorr.circuit.certificate import exponents, scaled
from neurodecorr.circuit.model import LinearCircuit, require_circuit
from neurodecorr.circuit.sparse import LARGEST_EXACT, SparseCircuit
from neurodecorr.circuit.spectrum import SERIAL, Spectrum
from neurodecorr.circuit.tableaux import EULER, TABLEAUX, Tableau
from neurodecorr.errors import InputError, StabilityError

# Three zooms by GRID/2 find the best step to 1e-4 of itself.
GRID, ZOOMS = 63, 3
# Roots this near the real axis count as real; a touching pair splits by about √ε.
REAL = 1e-7
NAMED_UNITS = 3
# Sparse matrices up to this size are quicker taken as dense ones; of larger ones Arnoldi finds the slowest mode to 1 %.
FEW_UNITS, MARGIN_VECTORS, MARGIN_TOLERANCE = 100, 40, 1e-2
ADVICE = "Use circuit.two_population(), or learn R at a smaller rate or by the congruent rule."
# Share of the fastest time constant, and of the limit, that a step takes unless told.
FOLLOWING = 0.1


def stability_limit(method: str, eigenvalues: npt.ArrayLike) -> float:
    """Return the largest step at which an explicit method shrinks every mode.

    ::

        |P(−hλ)| < 1 for all λ and all 0 < h < limit;        Euler: h < 2 Re λ/|λ|²

    Parameters
    ----------
    method : {'euler', 'rk4', 'rk45'}
        Explicit method.
    eigenvalues : (N,) array
        Eigenvalues of the dynamics, real or complex, per τ.

    Returns
    -------
    float
        Limit in units of τ; 0 if a mode does not decay by itself.

    Examples
    --------
    >>> stability_limit("euler", [0.5, 4.0])
    0.5
    >>> round(stability_limit("rk4", [1.0]), 4)
    2.7853
    """
    values = np.atleast_1d(complex_array(eigenvalues, "eigenvalues"))
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError(f"eigenvalues must be a finite, non-empty vector; got shape {values.shape}.")
    return float(step_limits(TABLEAUX[choice(method, "method", TABLEAUX)], values).min())


def step_limits(tableau: Tableau, eigenvalues: Complexes) -> Floats:
    """Return the largest stable step for each mode, 0 where Re λ ≤ 0.

    ::

        h/τ < 2 Re λ/|λ|²    (Euler)

    For λ = |λ|w, the least y = h|λ| > 0 with |P(−yw)| = 1: a root of the real polynomial (|P(−yw)|² − 1)/y, found for
    all modes at once as an eigenvalue of its companion matrix.
    """
    limits = np.zeros(len(eigenvalues))
    decaying = eigenvalues.real > 0
    size = np.abs(eigenvalues[decaying])
    # Conjugate modes share their limit, and all real ones the same multiple of 1/|λ|.
    w, place = np.unique(eigenvalues[decaying] / size, return_inverse=True)
    roots = np.linalg.eigvals(_companions(_squares(tableau.polynomial, w)))
    positive = (np.abs(roots.imag) <= REAL * np.abs(roots)) & (roots.real > 0)
    limits[decaying] = np.where(positive, roots.real, np.inf).min(axis=1, initial=np.inf)[place] / size
    return limits


def _squares(polynomial: Floats, w: Complexes) -> Floats:
    """Return the coefficients of (|P(−yw)|² − 1)/y for each direction w, the constant first."""
    along = polynomial * (-w[:, None]) ** np.arange(len(polynomial))
    square = np.zeros((len(w), 2 * len(polynomial) - 1))
    for i, j in np.ndindex(len(polynomial), len(polynomial)):
        square[:, i + j] += (along[:, i] * along[:, j].conj()).real
    return square[:, 1:]


def _companions(coefficients: Floats) -> Floats:
    """Return the companion matrix of each polynomial."""
    degree = coefficients.shape[1] - 1
    matrices = np.zeros((len(coefficients), degree, degree))
    matrices[:, 1:, :-1] = np.eye(degree - 1)
    matrices[:, :, -1] = -coefficients[:, :-1] / coefficients[:, -1:]
    return matrices


def shrinkage(tableau: Tableau, eigenvalues: Complexes, h: npt.ArrayLike) -> Floats:
    """Return max |P(−hλ)| for each step h, the factor by which the slowest mode shrinks in one step."""
    y = -np.asarray(h)[..., None] * eigenvalues
    return np.asarray(np.abs(np.polynomial.polynomial.polyval(y, tableau.polynomial)).max(axis=-1))


def fastest_settling_step(tableau: Tableau, eigenvalues: Complexes) -> float:
    """Return the step, in units of τ, with the least shrinkage factor; Euler on a real spectrum: 2/(λ_min + λ_max)."""
    limit = float(step_limits(tableau, eigenvalues).min())
    best, around = limit / 2, limit / 2
    for _ in range(ZOOMS):
        grid = best + around * np.linspace(-1, 1, GRID + 2)[1:-1]
        best, around = float(grid[np.argmin(shrinkage(tableau, eigenvalues, grid))]), 2 * around / (GRID + 1)
    return min(best, limit * (1 - 1e-9))


def following_step(tableau: Tableau, eigenvalues: Complexes) -> float:
    """Return a step, in units of τ, at which an explicit method follows the modes that decay.

    A tenth of the fastest time constant, and a tenth of the stability limit: an Euler step changes the decay of a mode
    from Re λ to Re λ − h|λ|²/2 to first order, so at a tenth of h = 2 Re λ/|λ|² every mode still decays, at nine tenths
    of its rate. Real modes keep to the first, lightly damped ones need the second.
    """
    fastest = FOLLOWING / float(np.abs(eigenvalues).max())
    decaying = eigenvalues[eigenvalues.real > 0]
    return min(fastest, FOLLOWING * float(step_limits(tableau, decaying).min())) if decaying.size else fastest


def margin(F: Any, inverse: bool = False) -> Any:
    """Return the stability margin of the flow F, for which nothing is validated; `stability` is the public door.

    ::

        margin = min Re λ(F),    or min Re 1/λ(F) = min Re λ(F⁻¹) with `inverse`

    Parameters
    ----------
    F : (n, n) or (k, n, n) array, or (n, n) scipy.sparse array
        Matrix of dz/ds = −F z, or several. Of a large sparse one a positive lower bound is enough, or an estimate.
    inverse : bool, default False
        Whether F⁻¹ is the flow. A mode that F loses altogether decays at once.

    Returns
    -------
    float or (k,) array
        Margin per τ; positive for a stable circuit.
    """
    if scipy.sparse.issparse(F):
        return _sparse_margin(F)
    if F.ndim > 2:
        return np.linalg.eigvals(F).real.min(axis=-1)
    A = F.astype(np.float64, copy=False)
    with one_thread(len(A)) if len(A) > SERIAL else nullcontext():
        values = scipy.linalg.eigvalsh(A) if (A == A.T).all() else scipy.linalg.eigvals(A)
    if inverse:
        values = 1 / np.where(values == 0, np.finfo(float).tiny, values)
    return float(values.real.min())


def _sparse_margin(R: Any) -> float:
    """Return a lower bound or an estimate of min Re λ(R), the cheapest that is positive.

    Discs by rows, then λ_min of the symmetric part, then Arnoldi on R itself; all eigenvalues for few units.
    """
    own = R.diagonal()
    discs = float((2 * own - np.asarray(abs(R).sum(axis=1)).ravel() + np.abs(own) - own).min())
    if discs > 0:
        return discs
    if R.shape[0] <= FEW_UNITS:
        return float(margin(R.toarray()))
    start = np.random.default_rng(0).standard_normal(R.shape[0])
    options = {"k": 1, "v0": start, "ncv": MARGIN_VECTORS, "tol": MARGIN_TOLERANCE, "return_eigenvectors": False}
    with suppress(scipy.sparse.linalg.ArpackNoConvergence):
        found = float(scipy.sparse.linalg.eigsh((R + R.T) * 0.5, which="SA", **options)[0])
        if found > 0:
            return found
    with suppress(scipy.sparse.linalg.ArpackNoConvergence):
        return float(scipy.sparse.linalg.eigs(R, which="SR", **options)[0].real)
    return float("nan")


def is_stable(R: Floats) -> bool:
    """Tell whether min Re λ(R) > 0.

    ::

        (R + Rᵀ)/2 positive definite  ⇒  min Re λ(R) > 0

    One Cholesky factorisation answers for most circuits, at a thirtieth of the price of the eigenvalues; only where it
    fails are those taken.
    """
    S = R.astype(np.float64, copy=False) + R.astype(np.float64, copy=False).T
    if scipy.linalg.lapack.dpotrf(S.T, overwrite_a=True, clean=False)[1] == 0:
        return True
    return bool(margin(R) > 0)


def require_stable(circuit: LinearCircuit | Spectrum | Floats, when: str = "", advice: str = ADVICE) -> None:
    """Raise unless the circuit settles from every start, naming the mode that does not decay.

    ::

        τ dx̄/dt = x − R x̄ settles from every start    ⇔    min Re λ(R) > 0

    Parameters
    ----------
    circuit : LinearCircuit, Spectrum or (n, n) array
        The circuit, what is known of its flow, or its R alone.
    when : str
        Moment for the message, such as " after sample 1000".
    advice : str
        What to do, for the message.

    Raises
    ------
    StabilityError
        If min Re λ ≤ 0.
    """
    if isinstance(circuit, np.ndarray):
        if is_stable(circuit):
            return
        circuit = Spectrum(circuit.astype(np.float64, copy=False))
    spectrum = circuit if isinstance(circuit, Spectrum) else circuit.spectrum
    if spectrum.decays:
        return
    count, size = int((spectrum.eigenvalues.real <= 0).sum()), len(spectrum.flow)
    raise StabilityError(
        f"the circuit must have min Re λ > 0 to settle; got {spectrum.margin:.4g}{when} ({count} such of {size} "
        f"modes). {named_mode(spectrum, spectrum.slowest)} does not decay. {advice}"
    )


def require_step(circuit: LinearCircuit, method: str, h: float) -> None:
    """Raise unless an explicit step of h τ shrinks every mode, naming the limit and the mode that sets it.

    Raises
    ------
    StabilityError
        If h is at or beyond the limit.
    """
    eigenvalues = circuit.spectrum.eigenvalues
    limits = step_limits(TABLEAUX[method], eigenvalues)
    worst = int(np.argmin(limits))
    if h < limits[worst]:
        return
    limit, got, mode = (
        limits[worst] * circuit.tau,
        h * circuit.tau,
        named_mode(circuit.spectrum, complex(eigenvalues[worst]), circuit.unit),
    )
    figures = ".4g" if f"{limit:.4g}" != f"{got:.4g}" else ".17g"
    raise StabilityError(
        f"dt must be < {limit:{figures}} for method {method!r} on this circuit; got {got:{figures}}. {mode} sets it. "
        "Take a smaller dt, or method 'exponential' or 'implicit', which have no limit."
    )


def named_mode(spectrum: Spectrum, eigenvalue: complex, unit: Callable[[int], str] = "unit {}".format) -> str:
    """Return a mode in words: its eigenvalue and the units that carry most of it."""
    weights = spectrum.mode(eigenvalue)
    units = ", ".join(unit(int(i)) for i in np.argsort(-weights, kind="stable")[:NAMED_UNITS])
    number = f"{eigenvalue.real:.4g}" + (f"{eigenvalue.imag:+.4g}j" if eigenvalue.imag else "")
    return f"The mode with λ = {number} per τ, carried most by {units},"


METHODS = ("auto", "dense", "arnoldi", "numerical_range", "gershgorin")
LARGEST_DENSE = 2000
# Arnoldi needs room for a Krylov space smaller than the matrix.
SMALLEST_ARNOLDI = 20
KRYLOV = 60
WORST_MODES = 1e10


@short_repr
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
        >>> from neurodecorr.circuit.model import Circuit
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
        ``"gershgorin"``: margin ≥ min_i (F_ii − ∑_{j≠i} |F_ij|), rows or columns. ``"auto"``: dense up to 2000 units
        and for symmetric R, Arnoldi beyond; for sparse circuits dense up to 400, and the numerical range where Arnoldi
        does not converge.

    Returns
    -------
    Stability
        Margin, modes, condition, limit of the Euler step.

    Examples
    --------
    >>> from neurodecorr.circuit.model import Circuit
    >>> found = stability(Circuit([[2.0, 1.0], [1.0, 2.0]], tau=5.0))
    >>> round(found.margin, 9), round(found.fastest.real, 9), found.stable
    (1.0, 3.0, True)
    >>> round(found.slowest_time, 9), round(found.euler_limit, 9)
    (5.0, 3.333333333)

    References
    ----------
    Gershgorin 1931; Trefethen and Embree, Spectra and Pseudospectra, §17 (numerical range).
    """
    method = choice(method, "method", METHODS)
    if isinstance(circuit, SparseCircuit):
        return _stability_of_sparse(circuit, method)
    circuit = require_circuit(circuit)
    facts = circuit.spectrum.condition, circuit.tau
    if method == "auto":
        # The condition of a symmetric R takes all its eigenvalues, whatever else is asked for.
        method = "dense" if circuit.size <= LARGEST_DENSE or circuit.spectrum.symmetric else "arnoldi"
    if method == "arnoldi" and circuit.state_size >= SMALLEST_ARNOLDI:
        with suppress(scipy.sparse.linalg.ArpackNoConvergence):
            return from_eigenvalues(_extreme_eigenvalues(circuit.flow), "estimate", *facts)
    if method in ("dense", "arnoldi"):
        return from_eigenvalues(circuit.spectrum.eigenvalues, "exact", *facts)
    if method == "numerical_range":
        radius = float(scipy.linalg.norm(circuit.flow, 2))
        return from_bounds(circuit.spectrum.numerical_margin, radius, *facts)
    return from_bounds(*_discs(circuit.flow), *facts)


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
    >>> from neurodecorr.circuit.model import Circuit
    >>> float(predicted_settling_time(Circuit([[2.0]]), [2.0], tol=1e-3).round(4))  # ln(1000)/2
    3.4539
    """
    circuit = require_circuit(circuit)
    drives, single = sample_or_samples(X, "X", circuit.size)
    tol = positive(tol, "tol")
    require_stable(circuit)
    if not circuit.spectrum.sharp_sigma_low > 0:
        raise InputError(
            f"R must have a least singular value that rounding leaves > 0; its condition is "
            f"{circuit.spectrum.condition:.2g}. Observe the time instead, with settle(method='exponential')."
        )
    # Each input in a unit of its own: no square of it underflows or overflows.
    shift = exponents(np.float64, drives)
    drives, allowed = (
        scaled(drives.astype(np.float64), -shift[:, None]),
        scaled(tol, -shift) * circuit.spectrum.sharp_sigma_low,
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
    return np.asarray(np.linalg.norm(columns, axis=0))


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


# Arnoldi needs room for a Krylov space smaller than the matrix; more restarts than this are not waited for.
SPARSE_KRYLOV, RESTARTS, LOOSE = 60, 40, 1e-6


def _stability_of_sparse(circuit: SparseCircuit, method: str) -> Stability:
    """Find what `stability` returns without dense algebra, but for few units; `condition` is an upper bound."""
    if method == "auto":
        method = "dense" if circuit.size <= LARGEST_EXACT else "arnoldi"
    if method == "dense" or (method == "arnoldi" and circuit.size < SMALLEST_ARNOLDI):
        exact = Spectrum(circuit.R.toarray().astype(np.float64))
        return from_eigenvalues(exact.eigenvalues, "exact", exact.condition, circuit.tau)
    with one_thread():
        if method == "arnoldi":
            with suppress(scipy.sparse.linalg.ArpackNoConvergence):
                return from_eigenvalues(
                    _extreme_sparse_eigenvalues(circuit.R), "estimate", _condition(circuit), circuit.tau
                )
        margin = _sparse_discs(circuit.R)
        if method != "gershgorin":
            margin = max(margin, _numerical_margin(circuit))
        return from_bounds(margin, min(_sums(circuit.R)), _condition(circuit), circuit.tau)


def _extreme_sparse_eigenvalues(R: Any) -> npt.NDArray[Any]:
    """Return the eigenvalues of least real part and of largest modulus, from a fixed start."""
    wide = R.astype(np.float64)
    symmetric = abs(wide - wide.T).sum() == 0
    find = scipy.sparse.linalg.eigsh if symmetric else scipy.sparse.linalg.eigs
    start = np.random.default_rng(0).standard_normal(R.shape[0])
    room = {"ncv": min(R.shape[0] - 1, SPARSE_KRYLOV), "maxiter": RESTARTS, "tol": LOOSE}
    ends = ("SA", "LM") if symmetric else ("SR", "LM")
    return np.concatenate([find(wide, 2, which=end, v0=start, return_eigenvectors=False, **room) for end in ends])


def _numerical_margin(circuit: SparseCircuit) -> float:
    """Return a lower bound of λ_min((R + Rᵀ)/2): discs, or what the random vectors of the certificate have proven."""
    discs = least_gap(symmetric_part(circuit.R), 1, signed=True)
    return max(discs, circuit.sigma.low) if circuit.sigma.kind == "probe" else discs


def _sparse_discs(R: Any) -> float:
    """Return Gershgorin's bound of min Re λ, the better of those by rows and by columns."""
    return max(least_gap(R, axis, signed=True) for axis in (0, 1))


def _sums(R: Any) -> tuple[float, float]:
    """Return the largest column sum and the largest row sum of |R|; each bounds |λ|."""
    size = abs(R.astype(np.float64))
    return float(size.sum(axis=0).max()), float(size.sum(axis=1).max())


def _condition(circuit: SparseCircuit) -> float:
    """Return an upper bound of σ_max/σ_min: σ_max² ≤ the largest row sum times the largest column sum."""
    low = circuit.sigma.low
    return math.sqrt(math.prod(_sums(circuit.R))) / low if low > 0 else math.inf
