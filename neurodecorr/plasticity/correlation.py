"""How correlated, and how strong, an output is: three numbers read off its covariance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import square

__all__ = ["power", "relative_off_diagonal", "rms_correlation"]

Floats = npt.NDArray[np.floating[Any]]


def rms_correlation(covariance: Any) -> float:
    """Return the root mean square of the off-diagonal correlation coefficients.

    ::

        ρ = √⟨(C_ij)² / (C_ii C_jj)⟩,    i ≠ j

    It does not depend on the scale of any unit. Silent units have no correlation and are left out; with fewer than two
    active units the result is 0.

    Parameters
    ----------
    covariance : (n, n) array_like
        Covariance C of the output, in squared units of x̄.

    Returns
    -------
    float
        ρ, between 0 and 1.

    Raises
    ------
    InputError
        If the covariance is not a finite square matrix.

    Examples
    --------
    >>> rms_correlation([[4.0, 1.0], [1.0, 1.0]])
    0.5
    """
    C = square(covariance, "covariance").astype(float)
    variance = np.diag(C)
    active = variance > max(variance.max(), 0.0) * np.finfo(float).eps ** 2
    count = int(active.sum())
    if count < 2:
        return 0.0
    size = np.sqrt(variance[active])
    coefficients = off_diagonal(C[np.ix_(active, active)] / size[:, None] / size)
    return float(np.linalg.norm(coefficients) / math.sqrt(count * (count - 1)))


def relative_off_diagonal(covariance: Any) -> float:
    """Return the size of what is left to decorrelate relative to the powers.

    ::

        ‖C − diag C‖ / ‖diag C‖    (Frobenius)

    Strong units weigh more than in `rms_correlation`. An output without power gives 0.

    Parameters
    ----------
    covariance : (n, n) array_like
        Covariance C of the output.

    Returns
    -------
    float
        The ratio, ≥ 0.

    Raises
    ------
    InputError
        If the covariance is not a finite square matrix.

    Examples
    --------
    >>> round(relative_off_diagonal([[3.0, 5.0], [5.0, 4.0]]), 12)
    1.414213562373
    """
    C = square(covariance, "covariance").astype(float)
    size = float(np.linalg.norm(np.diag(C)))
    return float(np.linalg.norm(off_diagonal(C))) / size if size > 0 else 0.0


def power(covariance: Any) -> float:
    """Return the mean power of the units, tr C / n, in squared units of x̄.

    Parameters
    ----------
    covariance : (n, n) array_like
        Covariance (or second moment) C of the output.

    Returns
    -------
    float
        Mean power.

    Raises
    ------
    InputError
        If the covariance is not a finite square matrix.

    Examples
    --------
    >>> power([[1.0, 0.5], [0.5, 2.0]])
    1.5
    """
    C = square(covariance, "covariance").astype(float)
    return float(np.trace(C) / len(C))


def off_diagonal(C: Floats) -> Floats:
    """Return C with its diagonal set to zero."""
    return np.asarray(C - np.diag(np.diag(C)))
