"""Decorrelation in closed form: where the online rules come to rest."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.linalg.lapack import dgejsv

from neurodecorr._typing import Floats
from neurodecorr._validation import choice, square
from neurodecorr.errors import InputError
from neurodecorr.measures import NullDirections, null_directions

GAINS = ("node", "layer", "none")

# Ratio of the largest to the smallest row beyond which singular vectors need Jacobi's method: the usual one finds them
# to rounding of the largest only.
SPREAD = 1e6
# An eigenvalue of the correlation matrix below −INDEFINITE · λ_max is no rounding: the matrix is no covariance.
INDEFINITE = 1e-6


def decorrelating_matrix(covariance: Any, gain: str = "node", tol: float | None = None) -> Floats:
    """Return the symmetric M* at which every rule with this gain rests.

    ::

        M* = Σ^-½ (Σ^½ Γ Σ^½)^½ Σ^-½,     M* Σ M* = Γ

    with Γ = diag(Σ) for node gain (each unit keeps its own power) and Γ = tr(Σ)/n · I for layer gain, where
    M* = γ^½ Σ^-½. It is the offline reference of every online rule.

    Null directions of Σ carry no signal (`null_directions` finds and names them). Σ^-½ is zero there, and so is M*:
    M* Σ M* = P Γ P with P the projector on the other directions. A silent unit has a row and a column of zeros.

    Parameters
    ----------
    covariance : (n, n) array_like
        Input covariance Σ, in squared units of x.
    gain : {"node", "layer"}
        What power the output keeps.
    tol : float, optional
        Tolerance of `null_directions`.

    Returns
    -------
    (n, n) array
        M*, symmetric positive definite; semidefinite if there are null directions.

    Raises
    ------
    InputError
        If the covariance is not symmetric, not positive semidefinite, or zero.

    Examples
    --------
    >>> sigma = np.array([[2.0, 1.0], [1.0, 1.0]])
    >>> M = decorrelating_matrix(sigma)
    >>> bool(np.allclose(M @ sigma @ M, np.diag([2.0, 1.0]), atol=1e-12))
    True
    >>> np.round(decorrelating_matrix(np.ones((2, 2))), 3)
    array([[0.354, 0.354],
           [0.354, 0.354]])
    """
    parts = _parts(_covariance(covariance), choice(gain, "gain", ("node", "layer")), tol)
    return _matrix(parts, covariance)


def decorrelating_circuit(covariance: Any, gain: str = "node", tol: float | None = None) -> Floats:
    """Return R*, the lateral matrix whose circuit rests at x̄ = M* x.

    ::

        R* = M*⁺ + N Nᵀ

    M*⁺ is the pseudo-inverse of `decorrelating_matrix`, and N an orthonormal basis of the null directions, where a unit
    rate lets what noise there is decay with τ. Without null directions R* = M*⁻¹. R* is symmetric positive definite, so
    its circuit is stable, and R* M* = I − N Nᵀ.

    Parameters
    ----------
    covariance, gain, tol
        As in `decorrelating_matrix`.

    Returns
    -------
    (n, n) array
        R*.

    Raises
    ------
    InputError
        As `decorrelating_matrix`.

    Examples
    --------
    >>> R = decorrelating_circuit(np.ones((2, 2)))
    >>> np.round(R, 3)
    array([[1.207, 0.207],
           [0.207, 1.207]])
    """
    parts = _parts(_covariance(covariance), choice(gain, "gain", ("node", "layer")), tol)
    half = np.zeros((parts.null.features, len(parts.values)))
    half[parts.heard] = parts.vectors / parts.target[:, None] * np.sqrt(parts.values)
    R = half @ half.T + parts.null.basis @ parts.null.basis.T
    return np.asarray(((R + R.T) / 2).astype(_precision(covariance)))


def whitening_matrix(covariance: Any, kind: str = "zca", tol: float | None = None) -> Floats:
    """Return a whitening matrix: ZCA, Σ^-½, or PCA, Λ^-½ Uᵀ.

    Parameters
    ----------
    covariance : (n, n) array_like
        Input covariance Σ.
    kind : {"zca", "pca"}
        Symmetric (closest to the input) or along the eigenvectors, strongest first.
    tol : float, optional
        Tolerance of `null_directions`.

    Returns
    -------
    (n, n) array
        W with W Σ Wᵀ = I. With k null directions ZCA gives W Σ W = P, their complement's projector; the last k rows of
        PCA are zero.

    Raises
    ------
    InputError
        As `decorrelating_matrix`.
    """
    choice(kind, "kind", ("zca", "pca"))
    parts = _parts(_covariance(covariance), "unit", tol)
    if kind == "zca":
        return _matrix(parts, covariance)
    W = np.zeros((parts.null.features, parts.null.features))
    rows = parts.projected / parts.values
    W[: len(parts.values)] = rows.T
    return np.asarray(W.astype(_precision(covariance)))


class _Parts(NamedTuple):
    """G = Γ^½ F = Y S Wᵀ on the h units that are heard, Σ = F Fᵀ with F of full column rank r.

    M* = P Γ^½ Y S⁻¹ Yᵀ Γ^½ P: the root of G Gᵀ is Y S Yᵀ. Neither product cancels, so each unit is decorrelated to
    rounding of its own power.
    """

    heard: npt.NDArray[np.intp]
    target: Floats  # (h,) Γ^½
    vectors: Floats  # (h, r) Y
    values: Floats  # (r,) S, falling
    projected: Floats  # (n, r) P Γ^½ Y
    null: NullDirections


def _parts(given: Floats, gain: str, tol: float | None) -> _Parts:
    n, null = len(given), null_directions(covariance=given, tol=tol)
    sigma = (given.astype(float) + given.T.astype(float)) / 2
    heard = np.setdiff1d(np.arange(n), null.silent)
    size = np.sqrt(np.diag(sigma)[heard])
    eigenvalues, vectors = np.linalg.eigh(sigma[np.ix_(heard, heard)] / size[:, None] / size)
    if eigenvalues[0] < -max(INDEFINITE, null.tol) * eigenvalues[-1]:
        raise InputError(
            f"covariance must be positive semidefinite; its correlation matrix has the eigenvalue {eigenvalues[0]:.3g}."
        )
    rank = len(heard) - len(null.dependent)
    F = size[:, None] * (vectors[:, -rank:] * np.sqrt(eigenvalues[-rank:]))
    layer = np.full(len(heard), np.sqrt(np.trace(sigma) / n))
    target = {"node": size, "layer": layer, "unit": np.ones(len(heard))}[gain]
    Y, S = _singular(target[:, None] * F)
    projected = np.zeros((n, rank))
    projected[heard] = target[:, None] * Y
    if null.dependent:
        projected -= null.basis @ (null.basis.T @ projected)
    return _Parts(heard, target, Y, S, projected, null)


def _matrix(parts: _Parts, given: Any) -> Floats:
    half = parts.projected / np.sqrt(parts.values)
    M = half @ half.T
    return np.asarray(((M + M.T) / 2).astype(_precision(given)))


def _singular(G: Floats) -> tuple[Floats, Floats]:
    """Return Y (h, r) and S (r,), falling, of G = Y S Wᵀ, whose rows may differ by many powers of ten."""
    sizes = np.linalg.norm(G, axis=1)
    order = np.argsort(-sizes, kind="stable")  # falling rows keep Householder's steps accurate row by row
    info, Y = -1, np.empty_like(G)
    if sizes.max() > SPREAD * sizes.min():
        # Demmel and Veselić's method, for columns of any scale. It takes no matrix that is wider than high.
        square = np.zeros((len(G), len(G)), order="F")
        square[: G.shape[1]] = G[order].T
        S, _, V, work, _, info = dgejsv(square, joba=2, jobu=3, jobv=0, jobr=0, jobt=0, jobp=1)
        Y[order], S = V[:, : G.shape[1]], S[: G.shape[1]] * (work[0] / work[1])
    if info != 0:
        Y[order], S, _ = scipy.linalg.svd(G[order], full_matrices=False)
    return Y, np.asarray(S)


def _covariance(value: Any) -> Floats:
    sigma = square(value, "covariance")
    if not np.allclose(sigma, sigma.T, rtol=1e-6, atol=1e-9 * np.abs(sigma).max()):
        raise InputError("covariance must be symmetric; got a matrix that differs from its transpose.")
    if np.trace(sigma) <= 0:
        raise InputError("covariance must have positive trace; got an input without power.")
    return sigma


def _precision(value: Any) -> np.dtype[Any]:
    return square(value, "covariance").dtype
