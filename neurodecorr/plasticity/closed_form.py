"""Decorrelation in closed form: where the online rules come to rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import choice, positive, square
from neurodecorr.errors import InputError

__all__ = ["decorrelating_matrix", "whitening_matrix"]

Floats = npt.NDArray[np.floating[Any]]

GAINS = ("node", "layer", "none")


def decorrelating_matrix(covariance: Any, gain: str = "node", ridge: float = 1e-12) -> Floats:
    """Return the symmetric M* at which every rule with this gain rests.

    ::

        M* = Σ^-½ (Σ^½ Γ Σ^½)^½ Σ^-½,     M* Σ M* = Γ

    with Γ = diag(Σ) for node gain (each unit keeps its own power) and Γ = tr(Σ)/n · I for layer gain, where
    M* = γ^½ Σ^-½. It is the offline reference of every online rule.

    Parameters
    ----------
    covariance : (n, n) array_like
        Input covariance Σ, in squared units of x.
    gain : {"node", "layer"}
        What power the output keeps.
    ridge : float, default 1e-12
        Eigenvalues below ridge · tr(Σ)/n are raised to it, so that a singular Σ gives a bounded M*.

    Returns
    -------
    (n, n) array
        M*, symmetric positive definite.

    Raises
    ------
    InputError
        If the covariance is not symmetric, or zero.

    Examples
    --------
    >>> sigma = np.array([[2.0, 1.0], [1.0, 1.0]])
    >>> M = decorrelating_matrix(sigma)
    >>> np.round(M @ sigma @ M, 12)
    array([[2., 0.],
           [0., 1.]])
    """
    sigma = _covariance(covariance)
    choice(gain, "gain", ("node", "layer"))
    root, inverse_root = _roots(sigma, positive(ridge, "ridge"))
    if gain == "layer":
        return np.asarray(np.sqrt(np.trace(sigma) / len(sigma)) * inverse_root)
    inner = root @ (np.diag(sigma)[:, None] * root)
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    middle = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    M = inverse_root @ middle @ inverse_root
    return np.asarray((M + M.T) / 2)


def whitening_matrix(covariance: Any, kind: str = "zca", ridge: float = 1e-12) -> Floats:
    """Return a whitening matrix: ZCA, Σ^-½, or PCA, Λ^-½ Uᵀ.

    Parameters
    ----------
    covariance : (n, n) array_like
        Input covariance Σ.
    kind : {"zca", "pca"}
        Symmetric (closest to the input) or along the eigenvectors, strongest first.
    ridge : float, default 1e-12
        Eigenvalues below ridge · tr(Σ)/n are raised to it.

    Returns
    -------
    (n, n) array
        W with W Σ Wᵀ = I.
    """
    sigma = _covariance(covariance)
    choice(kind, "kind", ("zca", "pca"))
    if kind == "zca":
        return _roots(sigma, positive(ridge, "ridge"))[1]
    values, vectors = np.linalg.eigh(sigma)
    values = np.maximum(values, ridge * np.trace(sigma) / len(sigma))
    return np.asarray((vectors / np.sqrt(values)).T[::-1])


def _covariance(value: Any) -> Floats:
    sigma = square(value, "covariance")
    if not np.allclose(sigma, sigma.T, rtol=1e-6, atol=1e-9 * np.abs(sigma).max()):
        raise InputError("covariance must be symmetric; got a matrix that differs from its transpose.")
    if np.trace(sigma) <= 0:
        raise InputError("covariance must have positive trace; got an input without power.")
    return np.asarray((sigma + sigma.T) / 2)


def _roots(sigma: Floats, ridge: float) -> tuple[Floats, Floats]:
    values, vectors = np.linalg.eigh(sigma)
    values = np.maximum(values, ridge * np.trace(sigma) / len(sigma))
    root, inverse_root = (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T
    return (root + root.T) / 2, (inverse_root + inverse_root.T) / 2
