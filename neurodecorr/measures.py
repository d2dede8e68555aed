"""Numbers that say how decorrelated a population is, read off its activity."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import plasticity
from neurodecorr._checks import samples, square
from neurodecorr.errors import InputError

__all__ = ["covariance", "power_kept", "relative_off_diagonal", "rms_correlation", "twin_error"]

Floats = npt.NDArray[np.floating[Any]]


def covariance(X: Any) -> Floats:
    """Return the covariance of the columns of X, in float64.

    A unit that stays within four roundings of one value has no variance: its row and column are exactly zero.

    Parameters
    ----------
    X : (samples, n) array_like
        Activity.

    Returns
    -------
    (n, n) array
        ⟨(x − ⟨x⟩)(x − ⟨x⟩)ᵀ⟩, in squared units of x.
    """
    given = samples(X, "X")
    centred = given.astype(np.float64)
    centred -= centred.mean(axis=0)
    centred -= centred.mean(axis=0)  # what the rounding of the first mean left
    constant = np.abs(centred).max(axis=0) <= 4 * np.finfo(given.dtype).eps * np.abs(given).max(axis=0)
    centred[:, constant] = 0
    return np.asarray(centred.T @ centred / len(centred))


def rms_correlation(X: Any) -> float:
    """Return the root mean square of the correlation coefficients between different units.

    Null directions do not count: silent units are left out, and one unit for each linear dependence, such as all copies
    of a unit but the first. With no more samples than units, dependences other than copies cannot be told. A sample of
    N independent rows adds about 1/√N of its own.

    Parameters
    ----------
    X : (samples, n) array_like
        Activity.

    Returns
    -------
    float
        Between 0 (decorrelated) and 1; NaN where fewer than two units count.

    Examples
    --------
    >>> rms_correlation([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    0.0
    """
    C = covariance(X)
    return plasticity.rms_correlation(C, samples=len(X))


def relative_off_diagonal(X: Any) -> float:
    """Return ‖offdiag C‖/‖diag C‖ (Frobenius norms) of the covariance C of the columns of X.

    The same units count as in `rms_correlation`; NaN where these are fewer than two.

    Parameters
    ----------
    X : (samples, n) array_like
        Activity.
    """
    C = covariance(X)
    return plasticity.relative_off_diagonal(C, samples=len(X))


def power_kept(X: Any, Xbar: Any) -> float:
    """Return tr cov(x̄)/tr cov(x): 1 if decorrelation left the layer's power as it was.

    Parameters
    ----------
    X, Xbar : (samples, n) array_like
        Activity before and after.
    """
    before, after = np.trace(covariance(X)), np.trace(covariance(Xbar))
    if before <= 0:
        raise InputError("X must vary over samples for its power to be kept; its variance is zero in every unit.")
    return float(after / before)


def twin_error(R: Any, M: Any) -> float:
    """Return ‖RM − I‖/√n (Frobenius norm): how far R and M are from being each other's inverse.

    Parameters
    ----------
    R, M : (n, n) array_like
        The two forms.
    """
    R, M = square(R, "R").astype(np.float64), square(M, "M").astype(np.float64)
    if R.shape != M.shape:
        raise InputError(f"R and M must have the same shape; got {R.shape} and {M.shape}.")
    return float(np.linalg.norm(R @ M - np.eye(len(R))) / np.sqrt(len(R)))
