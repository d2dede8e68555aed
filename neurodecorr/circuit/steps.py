"""Steps in time: whether a circuit settles at all, how large an explicit step may be, and which one settles fastest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import choice, complex_array
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.circuit.tableaux import TABLEAUX, Tableau
from neurodecorr.errors import InputError, StabilityError

__all__ = [
    "fastest_settling_step",
    "following_step",
    "named_mode",
    "require_stable",
    "require_step",
    "shrinkage",
    "stability_limit",
    "step_limits",
]

Floats = npt.NDArray[np.floating[Any]]
Complexes = npt.NDArray[np.complexfloating[Any, Any]]

# Three zooms by GRID/2 find the best step to 1e-4 of itself.
GRID, ZOOMS = 63, 3
# Roots this near the real axis count as real; a touching pair splits by about √ε.
REAL = 1e-7
NAMED_UNITS = 3
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
    >>> from neurodecorr.circuit import stability_limit
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


def require_stable(circuit: LinearCircuit) -> None:
    """Raise unless the circuit settles from every start, naming the mode that does not decay.

    Raises
    ------
    StabilityError
        If min Re λ ≤ 0.
    """
    spectrum = circuit.spectrum
    if spectrum.decays:
        return
    count = int((spectrum.eigenvalues.real <= 0).sum())
    raise StabilityError(
        f"the circuit must have min Re λ > 0 to settle; got {spectrum.margin:.4g} ({count} such of "
        f"{circuit.state_size} modes). {named_mode(circuit, spectrum.slowest)} does not decay. "
        "Use circuit.two_population(), or learn R at a smaller rate or by the congruent rule."
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
    limit, got, mode = limits[worst] * circuit.tau, h * circuit.tau, named_mode(circuit, complex(eigenvalues[worst]))
    figures = ".4g" if f"{limit:.4g}" != f"{got:.4g}" else ".17g"
    raise StabilityError(
        f"dt must be < {limit:{figures}} for method {method!r} on this circuit; got {got:{figures}}. {mode} sets it. "
        "Take a smaller dt, or method 'exponential' or 'implicit', which have no limit."
    )


def named_mode(circuit: LinearCircuit, eigenvalue: complex) -> str:
    """Return a mode in words: its eigenvalue and the units that carry most of it."""
    weights = circuit.spectrum.mode(eigenvalue)
    units = ", ".join(circuit.unit(int(i)) for i in np.argsort(-weights, kind="stable")[:NAMED_UNITS])
    number = f"{eigenvalue.real:.4g}" + (f"{eigenvalue.imag:+.4g}j" if eigenvalue.imag else "")
    return f"The mode with λ = {number} per τ, carried most by {units},"
