"""Measures of a population: how correlated, how strong, and how near to each other's inverse R and M are.

Each is read off samples, or off a covariance given by name: f(X), or f(covariance=C).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.linalg.blas import dsyr, dsyrk
from scipy.linalg.lapack import dpotrf

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import count, finite, number, square, whole_numbers
from neurodecorr.errors import ConfigError, InputError

__all__ = [
    "covariance",
    "null_directions",
    "power",
    "power_kept",
    "relative_off_diagonal",
    "rms_correlation",
    "twin_error",
]


# Eigenvalues of the correlation matrix, relative to the largest, below which a direction is rounding: in double
# precision sums over up to a million samples are exact to about 1e-13.
LEAST, EPS = 1e-12, 2.0**-52
# Power of a unit, relative to the strongest, below which it is what rounding leaves of a constant less its mean.
SILENT = 1e-22
# Of units that depend on each other alike the last is left out: a preference far above rounding, far below signal.
LATER = 1e-6
# ‖C − Cᵀ‖/‖C‖ of a covariance is rounding, also if R⁻¹ΣR⁻ᵀ amplified it; that of square noise is √2.
ASYMMETRY = 0.1


@short_repr
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
    given = _validation.samples(X, "X")
    return moments_of(given).covariance(given)


# Numbers of a chunk of samples that stay in cache between the passes over them, and the rows that a product needs.
CHUNK, LEAST_ROWS = 2**17, 256
# A deviation of so many roundings of the mean may be rounding.
DOUBTFUL = 64


def row_chunks(rows: int, features: int, least: int = LEAST_ROWS) -> Iterator[slice]:
    """Return slices of rows, few enough numbers each to stay in cache between some passes over them."""
    length = max(least, CHUNK // features)
    return (slice(begin, begin + length) for begin in range(0, rows, length))


@dataclass(frozen=True, eq=False)
class SampleMoments:
    """Mean and scatter of samples, in float64, to which more can be added.

    Parameters
    ----------
    samples : int
        Rows seen.
    mean : (n,) array
        μ, in units of x.
    scatter : (n, n) array
        ∑ (x − μ)(x − μ)ᵀ in the upper triangle, in squared units of x.
    """

    samples: int
    mean: Floats
    scatter: Floats

    def covariance(self, X: Floats) -> Floats:
        """Return ⟨(x − μ)(x − μ)ᵀ⟩, (n, n), with exact zeros for units that stay within four roundings of one value.

        X holds the samples, or the last of them; only units that hardly vary are looked at again.
        """
        sigma = np.asarray(self.scatter / self.samples)
        for begin in range(0, len(sigma), LEAST_ROWS):  # mirrored in strips: no second matrix
            end = begin + LEAST_ROWS
            corner = np.triu(sigma[begin:end, begin:end])
            sigma[begin:end, begin:end] = corner + np.triu(corner, 1).T
            sigma[end:, begin:end] = sigma[begin:end, end:].T
        eps = float(np.finfo(X.dtype).eps)
        for unit in np.flatnonzero(np.diag(sigma) <= (DOUBTFUL * eps * self.mean) ** 2):
            apart = X[:, unit] - self.mean[unit]
            apart -= apart.mean()  # what the rounding of the mean left
            if np.abs(apart).max() <= 4 * eps * np.abs(X[:, unit]).max():
                sigma[unit] = sigma[:, unit] = 0
        return sigma


def moments_of(X: Floats, before: SampleMoments | None = None) -> SampleMoments:
    """Return the moments of the rows of X, and of those of `before` besides, in one pass and in float64.

    ::

        S ← S + ∑ d dᵀ − t tᵀ/N,    μ ← μ + t/N,    d = x − μ,   t = ∑ d

    over a chunk of rows, N all rows so far. Nothing cancels: ‖t‖²/N is at most N_chunk/N of the sum before it.

    Reference: Chan, Golub & LeVeque (1983), The American Statistician 37, 242–247, equation (2.1).
    """
    n = X.shape[1]
    count = 0 if before is None else before.samples
    mean = np.zeros(n) if before is None else before.mean.copy()
    scatter = np.zeros((n, n), order="F") if before is None else before.scatter.copy(order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in row_chunks(len(X), n):
            chunk = X[rows]
            if count == 0:
                mean = chunk.mean(axis=0, dtype=np.float64)
            apart = np.subtract(chunk, mean, dtype=np.float64)
            total = apart.sum(axis=0)
            count += len(chunk)
            dsyrk(1.0, apart.T, beta=1.0, c=scatter, overwrite_c=True)
            dsyr(-1.0 / count, total, a=scatter, overwrite_a=True)
            mean += total / count
    return SampleMoments(count, mean, scatter)


def centred_chunks(
    X: Floats, mean: Floats, dtype: np.dtype[Any], least: int = LEAST_ROWS
) -> Iterator[tuple[slice, Floats]]:
    """Return x − μ in chunks of rows, while they are in cache; a sum that is not finite asks for the place."""
    for rows in row_chunks(len(X), X.shape[1], least):
        drive = np.subtract(X[rows], mean, dtype=dtype)
        if not np.isfinite(drive.sum()):
            finite(X, "X")
        yield rows, drive


def finite_moments(X: Floats, before: SampleMoments | None = None) -> SampleMoments:
    """Return the moments of X, whose sums show a number that is not finite: one pass instead of two."""
    moments = moments_of(X, before)
    if np.isfinite(moments.mean).all() and np.isfinite(moments.scatter.diagonal()).all():
        return moments
    finite(X, "X")
    raise InputError(f"X must have squares within the range of float64; got {np.abs(X).max():.3g}. Scale it.")


def rms_correlation(
    X: Any = None, *, covariance: Any = None, units: Sequence[int] | None = None, samples: int | None = None
) -> float:
    """Return the root mean square of the correlation coefficients between different units.

    ::

        ρ = √⟨(C_ij)² / (C_ii C_jj)⟩,    i ≠ j

    It does not depend on the scale of any unit. Null directions carry no signal and do not count: silent units are left
    out, and so is one unit for each linear dependence, such as all copies of a unit but the first (`null_directions`).
    A sample of N independent rows adds about 1/√N of its own.

    Parameters
    ----------
    X : (samples, n) array_like, optional
        Activity, or else
    covariance : (n, n) array_like, optional
        its covariance C, in squared units of x.
    units : sequence of int, optional
        Units to count, such as `null_directions(covariance=Σ).live` of the input; silent ones are left out all the
        same. By default those that carry a signal in C.
    samples : int, optional
        How many samples C was taken from, as in `null_directions`; known if X is given.

    Returns
    -------
    float
        ρ, between 0 (decorrelated) and 1; NaN where fewer than two units count, as there is no pair then.

    Raises
    ------
    InputError
        If X is not a finite (samples, n) array, or is a covariance; if the covariance is not a finite symmetric matrix;
        if both are given, or none; or if a unit is none of its own.

    Examples
    --------
    >>> rms_correlation([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    0.0
    >>> rms_correlation(covariance=[[4.0, 1.0], [1.0, 1.0]])
    0.5
    """
    return correlation_between(_counting(X, covariance, units, samples))


def correlation_between(C: Floats) -> float:
    """Return the rms correlation coefficient of a covariance that is checked and without silent units."""
    counted, size = len(C), np.sqrt(np.diag(C))
    if counted < 2:
        return math.nan
    coefficients = off_diagonal(C / size[:, None] / size)
    return float(np.linalg.norm(coefficients) / math.sqrt(counted * (counted - 1)))


def relative_off_diagonal(
    X: Any = None, *, covariance: Any = None, units: Sequence[int] | None = None, samples: int | None = None
) -> float:
    """Return the size of what is left to decorrelate relative to the powers.

    ::

        ‖C − diag C‖ / ‖diag C‖    (Frobenius)

    Strong units weigh more than in `rms_correlation`. The same units count.

    Parameters
    ----------
    X, covariance, units, samples
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
    >>> round(relative_off_diagonal(covariance=[[3.0, 5.0], [5.0, 4.0]]), 12)
    1.414213562373
    """
    C = _counting(X, covariance, units, samples)
    if len(C) < 2:
        return math.nan
    return float(np.linalg.norm(off_diagonal(C)) / np.linalg.norm(np.diag(C)))


def power(X: Any = None, *, covariance: Any = None) -> float:
    """Return the mean power of the units, tr C / n, in squared units of x.

    ::

        tr C/n = (1/n) ∑_i C_ii

    Parameters
    ----------
    X : (samples, n) array_like, optional
        Activity, or else
    covariance : (n, n) array_like, optional
        its covariance (or second moment) C.

    Returns
    -------
    float
        Mean power.

    Raises
    ------
    InputError
        As `rms_correlation`.

    Examples
    --------
    >>> power(covariance=[[1.0, 0.5], [0.5, 2.0]])
    1.5
    """
    C = _covariance_of(X, covariance, None)[0].astype(float)
    return float(np.trace(C) / len(C))


def power_kept(X: Any, Xbar: Any) -> float:
    """Return tr cov(x̄)/tr cov(x): 1 if decorrelation left the layer's power as it was.

    Parameters
    ----------
    X, Xbar : (samples, n) array_like
        Activity before and after.
    """
    before, after = np.trace(covariance(X)), np.trace(covariance(Xbar))
    if before <= 0:
        raise InputError(f"X must vary over samples for its power to be kept; got a total variance of {before:.3g}.")
    return float(after / before)


def twin_error(R: Any, M: Any) -> float:
    """Return ‖RM − I‖/√n (Frobenius norm): how far R and M are from being each other's inverse.

    ::

        ‖RM − I‖_F/√n,    0 where R = M⁻¹

    Parameters
    ----------
    R, M : (n, n) array_like
        The two forms.
    """
    R, M = square(R, "R").astype(np.float64), square(M, "M").astype(np.float64)
    if R.shape != M.shape:
        raise InputError(f"R and M must have the same shape; got {R.shape} and {M.shape}.")
    return float(np.linalg.norm(R @ M - np.eye(len(R))) / np.sqrt(len(R)))


def null_directions(
    X: Any = None, *, covariance: Any = None, tol: float | None = None, samples: int | None = None
) -> NullDirections:
    """Find the directions in which the input has no power, and name the units.

    ::

        K v = λ v,    K_ij = Σ_ij / √(Σ_ii Σ_jj),    λ ≤ tol · λ_max

    K does not know the scale of any unit: a weak unit beside strong ones is no null direction. Units are silent below
    1e-22 of the greatest power (single precision: 2e-13), where rounding of a constant lies.

    Parameters
    ----------
    X : (samples, n) array_like, optional
        Activity, or else
    covariance : (n, n) array_like, optional
        its covariance Σ, in squared units of x.
    tol : float, optional
        Between 0 and 1; by default 1e-12, or n times the precision of Σ where that is more.
    samples : int, optional
        How many samples Σ was taken from; known if X is given. N samples span at most N − 1 directions: with N ≤ n only
        silent units and copies of other units (correlation ± 1) are null directions, and `basis` holds no others.

    Returns
    -------
    NullDirections
        With the units and a basis.

    Raises
    ------
    InputError
        As `rms_correlation`.

    Examples
    --------
    >>> C = np.diag([1.0, 1.0, 2.0, 0.0])
    >>> C[0, 1] = C[1, 0] = 1.0
    >>> found = null_directions(covariance=C)
    >>> print(found)
    1 of 4 units is silent (unit 3) and 1 follows from others (unit 1); they are left out
    >>> found.live
    array([0, 2])
    """
    raw, samples = _covariance_of(X, covariance, samples)
    n, precision = len(raw), float(np.finfo(raw.dtype).eps)
    sigma = raw.astype(float, copy=False)
    sigma = (sigma + sigma.T) / 2
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


def full_rank(sigma: Floats) -> bool:
    """Tell whether a float64 covariance has no null direction, as `null_directions` would, by one factorisation."""
    power = np.diag(sigma)
    if len(_heard(sigma)) < len(power):
        return False
    size = np.sqrt(power)
    K = sigma / size[:, None]
    K /= size
    n = len(K)
    K[np.diag_indices(n)] -= max(LEAST, n * EPS) * n  # λ_max ≤ tr K = n
    return bool(dpotrf(K.T, lower=True, overwrite_a=True, clean=False)[1] == 0)


def off_diagonal(C: Floats) -> Floats:
    """Return C with its diagonal set to zero."""
    return np.asarray(C - np.diag(np.diag(C)))


def _counting(X: Any, covariance: Any, units: Sequence[int] | None, samples: int | None) -> Floats:
    """Return the covariance of the units that a measure counts; none of them is silent."""
    given, samples = _covariance_of(X, covariance, samples)
    return counted_covariance(given, _counted(given, units, samples))


def counted_covariance(C: Floats, units: npt.NDArray[np.intp]) -> Floats:
    """Return the covariance of those of the given units that are not silent in C."""
    chosen = np.intersect1d(units, _heard(C))
    return np.asarray(C[np.ix_(chosen, chosen)].astype(float))


def _covariance_of(X: Any, C: Any, samples: int | None) -> tuple[Floats, int | None]:
    """Return the covariance of X, or C if that is what was given, and the number of samples if it is known."""
    if (X is None) == (C is None):
        raise InputError(f"give samples X, or covariance=C; got {'neither' if X is None else 'both'}.")
    if X is None:
        found = square(C, "covariance")
        unit = found / (np.abs(found).max() or 1.0)  # so that no square overflows
        apart = float(np.linalg.norm(unit - unit.T) / (np.linalg.norm(unit) or 1.0))
        if apart > ASYMMETRY:
            raise InputError(
                f"covariance must be symmetric; got ‖C − Cᵀ‖/‖C‖ = {apart:.3g}. If these are samples, give them as X."
            )
        return found, samples
    given = _validation.samples(X, "X")
    if samples is not None:
        raise InputError(f"samples belongs to a covariance; got {samples!r} beside X of {len(given)} rows.")
    if _looks_like_covariance(given):
        raise InputError(
            f"X must hold samples; a symmetric matrix of shape {given.shape} with a positive diagonal is a covariance. "
            "Use covariance=C, or covariance=measures.covariance(X) if these are samples."
        )
    return covariance(given), len(given)


def _looks_like_covariance(X: Floats) -> bool:
    """Tell whether X is symmetric to rounding, with |X_ij| ≤ √(X_ii X_jj): of samples, all but surely not."""
    own = np.diag(X)
    if X.shape[0] != X.shape[1] or len(X) < 2 or own.min() < 0 or own.max() == 0:
        return False
    close = 8 * len(X) * np.finfo(X.dtype).eps
    size = np.sqrt(own)
    return bool((np.abs(X - X.T) <= close * own.max()).all() and (np.abs(X) <= (1 + 1e-6) * np.outer(size, size)).all())


def _counted(C: Floats, units: Sequence[int] | None, samples: int | None) -> npt.NDArray[np.intp]:
    """Return the units of the covariance C that a figure counts: those given, or those that carry a signal."""
    if units is None:
        return null_directions(covariance=C, samples=samples).live
    if samples is not None:
        count(samples, "samples")
    chosen = whole_numbers(units, "units")
    if chosen.ndim != 1:
        raise InputError(f"units must be a sequence of unit numbers; got shape {chosen.shape}.")
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(C)):
        raise InputError(f"units must lie in 0 … {len(C) - 1}; got {chosen.min()} … {chosen.max()}.")
    return chosen.astype(np.intp)


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
