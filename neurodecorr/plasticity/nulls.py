"""Null directions: silent units, and units that follow from others, which nothing can decorrelate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from neurodecorr._checks import count, number, square, whole_numbers
from neurodecorr.errors import ConfigError, InputError

__all__ = ["NullDirections", "null_directions"]

Floats = npt.NDArray[np.floating[Any]]

# Eigenvalues of the correlation matrix, relative to the largest, below which a direction is rounding: in double
# precision sums over up to a million samples are exact to about 1e-13.
LEAST = 1e-12
# Power of a unit, relative to the strongest, below which it is what rounding leaves of a constant less its mean.
SILENT = 1e-22
# Of units that depend on each other alike the last is left out: a preference far above rounding, far below signal.
LATER = 1e-6


@dataclass(frozen=True)
class NullDirections:
    """Directions of the input that carry no signal.

    Parameters
    ----------
    features : int
        Units n.
    silent : tuple of int
        Units without power.
    dependent : tuple of int
        Units left out because they repeat or combine others, one per direction; of copies the first stays.
    involved : tuple of int
        All units that take part in such a dependence.
    basis : (n, k) array
        Orthonormal basis of the null space of Σ, one column per direction.
    tol : float
        Tolerance used.
    """

    features: int
    silent: tuple[int, ...]
    dependent: tuple[int, ...]
    involved: tuple[int, ...]
    basis: Floats
    tol: float

    @property
    def live(self) -> npt.NDArray[np.intp]:
        """Units that count: neither silent nor left out as dependent."""
        return np.setdiff1d(np.arange(self.features), [*self.silent, *self.dependent])

    @property
    def projector(self) -> Floats:
        """I − N Nᵀ, which takes off the null directions."""
        return np.asarray(np.eye(self.features) - self.basis @ self.basis.T)

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.silent or self.dependent)

    def __str__(self) -> str:
        """Return a sentence: how many, and which units."""
        kinds = (("silent", "silent", self.silent), ("follows from others", "follow from others", self.dependent))
        parts: list[str] = []
        for one, many, units in kinds:
            if units:
                of = "" if parts else f" of {self.features} units"
                verb = ("is " if len(units) == 1 else "are ") if one == "silent" else ""
                parts.append(f"{len(units)}{of} {verb}{one if len(units) == 1 else many} ({_named(units)})")
        if not parts:
            return f"all {self.features} units carry a signal of their own"
        several = len(self.silent) + len(self.dependent) > 1
        return f"{' and '.join(parts)}; {'they are' if several else 'it is'} left out"


def null_directions(covariance: Any, tol: float | None = None, samples: int | None = None) -> NullDirections:
    """Find the directions in which the input has no power, and name the units.

    ::

        K v = λ v,    K_ij = Σ_ij / √(Σ_ii Σ_jj),    λ ≤ tol · λ_max

    K does not know the scale of any unit: a weak unit beside strong ones is no null direction. Units are silent below
    1e-22 of the greatest power (single precision: 2e-13), where rounding of a constant lies.

    Parameters
    ----------
    covariance : (n, n) array_like
        Covariance Σ, in squared units of x.
    tol : float, optional
        Between 0 and 1; by default 1e-12, or n times the precision of Σ where that is more.
    samples : int, optional
        How many samples Σ was taken from. N samples span at most N − 1 directions: with N ≤ n only silent units and
        copies of other units (correlation ± 1) are null directions, and `basis` holds no others.

    Returns
    -------
    NullDirections
        With the units and a basis.

    Raises
    ------
    InputError
        If the covariance is not a finite square matrix.

    Examples
    --------
    >>> C = np.diag([1.0, 1.0, 2.0, 0.0])
    >>> C[0, 1] = C[1, 0] = 1.0
    >>> found = null_directions(C)
    >>> print(found)
    1 of 4 units is silent (unit 3) and 1 follows from others (unit 1); they are left out
    >>> found.live
    array([0, 2])
    """
    raw = square(covariance, "covariance")
    n, precision = len(raw), float(np.finfo(raw.dtype).eps)
    sigma = (raw.astype(float) + raw.T.astype(float)) / 2
    tol = max(LEAST, n * precision) if tol is None else _tolerance(tol)
    few = samples is not None and count(samples, "samples") <= n
    heard = _heard(raw)
    silent = np.setdiff1d(np.arange(n), heard)
    size = np.sqrt(np.diag(sigma)[heard])
    K = sigma[np.ix_(heard, heard)] / size[:, None] / size
    null = _copies(K, tol) if few else _null_space(K, tol)
    basis = np.zeros((n, len(silent) + null.shape[1]))
    basis[silent, np.arange(len(silent))] = 1
    left_out: npt.NDArray[np.intp] = np.empty(0, dtype=np.intp)
    involved = left_out
    if null.shape[1]:
        basis[heard, len(silent) :] = _orthonormal(null / size[:, None])
        left_out = heard[_most_dependent(null)]
        involved = heard[np.abs(null).max(axis=1) > 1e-6]
    return NullDirections(n, _units(silent), _units(np.sort(left_out)), _units(involved), basis, tol)


def counted(C: Floats, units: Sequence[int] | None, samples: int | None) -> npt.NDArray[np.intp]:
    """Return the units of the covariance C that a figure counts: those given, or those that carry a signal."""
    if units is None:
        return null_directions(C, samples=samples).live
    if samples is not None:
        count(samples, "samples")
    chosen = whole_numbers(units, "units")
    if chosen.ndim != 1:
        raise InputError(f"units must be a sequence of unit numbers; got shape {chosen.shape}.")
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(C)):
        raise InputError(f"units must lie in 0 … {len(C) - 1}; got {chosen.min()} … {chosen.max()}.")
    return np.intersect1d(chosen, _heard(C)).astype(np.intp)


def _heard(sigma: Floats) -> npt.NDArray[np.intp]:
    """Return the units that are not silent."""
    power, precision = np.diag(sigma).astype(float), float(np.finfo(sigma.dtype).eps)
    least = SILENT if precision < 1e-10 else (4 * precision) ** 2
    return np.flatnonzero(power > max(power.max(), 0.0) * least)


def _tolerance(tol: float) -> float:
    if not 0 < number(tol, "tol") < 1:
        raise ConfigError(f"tol must lie between 0 and 1, both excluded; got {tol!r}.")
    return float(tol)


def _null_space(K: Floats, tol: float) -> Floats:
    """Return the eigenvectors of K, (n, k), whose eigenvalues are within tol · λ_max of zero."""
    n = len(K)
    if n < 2:
        return np.empty((n, 0))
    try:  # λ_max ≤ tr K = n: if K − tol n I has a Cholesky factor, no eigenvalue lies below tol λ_max
        np.linalg.cholesky(K - tol * n * np.eye(n))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(K)
        return np.asarray(vectors[:, np.abs(values) <= tol * values[-1]])
    return np.empty((n, 0))


def _copies(K: Floats, tol: float) -> Floats:
    """Return an orthonormal basis of the differences between units with correlation ± 1."""
    n, columns = len(K), []
    first = np.argmax(np.abs(K) >= 1 - tol, axis=1) if n else np.empty(0, dtype=np.intp)
    for unit in np.flatnonzero(first < np.arange(n)):
        column = np.zeros(n)
        column[unit], column[first[unit]] = 1.0, -np.sign(K[unit, first[unit]])
        columns.append(column)
    return np.linalg.qr(np.array(columns).T)[0] if columns else np.empty((n, 0))


def _orthonormal(V: Floats) -> Floats:
    """Return an orthonormal basis of the columns of V, whose rows may differ by many powers of ten.

    Householder's method is accurate row by row if rows come in falling order and columns are pivoted.
    """
    order = np.argsort(-np.abs(V).max(axis=1), kind="stable")
    basis = np.empty_like(V)
    basis[order] = scipy.linalg.qr(V[order], mode="economic", pivoting=True)[0]
    return basis


def _most_dependent(null: Floats) -> npt.NDArray[np.intp]:
    """Return k units, without which the others are independent: the pivots of the k null vectors (n, k)."""
    later = 1 + LATER * np.arange(len(null))
    pivots = scipy.linalg.qr((null * later[:, None]).T, mode="r", pivoting=True)[1]
    return np.asarray(pivots[: null.shape[1]])


def _units(found: npt.NDArray[np.intp]) -> tuple[int, ...]:
    return tuple(int(unit) for unit in found)


def _named(units: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, units[:8]))
    more = f" and {len(units) - 8} more" if len(units) > 8 else ""
    return f"unit{'s' if len(units) > 1 else ''} {shown}{more}"
