"""How correlated, and how strong, an output is: three numbers read off its covariance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import square
from neurodecorr.plasticity.nulls import counted

__all__ = ["power", "relative_off_diagonal", "rms_correlation"]

Floats = npt.NDArray[np.floating[Any]]


def rms_correlation(covariance: Any, units: Sequence[int] | None = None, samples: int | None = None) -> float:
    """Return the root mean square of the off-diagonal correlation coefficients.

    ::

        ρ = √⟨(C_ij)² / (C_ii C_jj)⟩,    i ≠ j

    It does not depend on the scale of any unit. Null directions carry no signal and do not count: silent units are left
    out, and so is one unit for each linear dependence, such as all copies of a unit but the first (`null_directions`).

    Parameters
    ----------
    covariance : (n, n) array_like
        Covariance C of the output, in squared units of x̄.
    units : sequence of int, optional
        Units to count, such as `null_directions(Σ).live` of the input; silent ones are left out all the same. By
        default those that carry a signal in C.
    samples : int, optional
        How many samples C was taken from: as in `null_directions`.

    Returns
    -------
    float
        ρ, between 0 and 1; NaN where fewer than two units count, as there is no pair then.

    Raises
    ------
    InputError
        If the covariance is not a finite square matrix, or a unit is none of its own.

    Examples
    --------
    >>> rms_correlation([[4.0, 1.0], [1.0, 1.0]])
    0.5
    >>> rms_correlation(np.ones((3, 3)))
    nan
    """
    C = _counted(covariance, units, samples)
    count, size = len(C), np.sqrt(np.diag(C))
    if count < 2:
        return math.nan
    coefficients = off_diagonal(C / size[:, None] / size)
    return float(np.linalg.norm(coefficients) / math.sqrt(count * (count - 1)))


def relative_off_diagonal(covariance: Any, units: Sequence[int] | None = None, samples: int | None = None) -> float:
    """Return the size of what is left to decorrelate relative to the powers.

    ::

        ‖C − diag C‖ / ‖diag C‖    (Frobenius)

    Strong units weigh more than in `rms_correlation`. The same units count.

    Parameters
    ----------
    covariance : (n, n) array_like
        Covariance C of the output.
    units, samples
        As in `rms_correlation`.

    Returns
    -------
    float
        The ratio, ≥ 0; NaN where fewer than two units count.

    Raises
    ------
    InputError
        As `rms_correlation`.

    Examples
    --------
    >>> round(relative_off_diagonal([[3.0, 5.0], [5.0, 4.0]]), 12)
    1.414213562373
    """
    C = _counted(covariance, units, samples)
    if len(C) < 2:
        return math.nan
    return float(np.linalg.norm(off_diagonal(C)) / np.linalg.norm(np.diag(C)))


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


def _counted(covariance: Any, units: Sequence[int] | None, samples: int | None) -> Floats:
    """Return the covariance of the units that a figure counts; none of them is silent."""
    given = square(covariance, "covariance")
    chosen = counted(given, units, samples)
    return np.asarray(given[np.ix_(chosen, chosen)].astype(float))
