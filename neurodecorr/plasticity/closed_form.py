"""Decorrelation in closed form: where the online rules come to rest."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.linalg.lapack import dgejsv

from neurodecorr._typing import Floats
from neurodecorr._validation import choice, shown, square, vector
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.measures import NullDirections, SampleMoments, null_directions
from neurodecorr.plasticity import steps
from neurodecorr.plasticity.spec import LearningRule
from neurodecorr.plasticity.state import State

GAINS = ("node", "layer", "none")

# Ratio of the largest to the smallest row beyond which singular vectors need Jacobi's method: the usual one finds them
# to rounding of the largest only.
SPREAD = 1e6
# An eigenvalue of the correlation matrix below −INDEFINITE · λ_max is no rounding: the matrix is no covariance.
INDEFINITE = 1e-6
# Condition of Γ^½ Σ Γ^½ up to which one eigendecomposition serves: κ roundings are 2e-11.
POOREST = 1e5


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
    sigma, gain = _covariance(covariance), choice(gain, "gain", ("node", "layer"))
    pair = _by_one_decomposition(sigma, gain) if tol is None else None
    return _matrix(_parts(sigma, gain, tol), covariance) if pair is None else pair.M.astype(sigma.dtype, copy=False)


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
    sigma, gain = _covariance(covariance), choice(gain, "gain", ("node", "layer"))
    pair = _by_one_decomposition(sigma, gain) if tol is None else None
    return _circuit(_parts(sigma, gain, tol), covariance) if pair is None else pair.R.astype(sigma.dtype, copy=False)


class _Pair(NamedTuple):
    """The two forms of one layer, inverses of each other: M and R, (n, n), dimensionless."""

    M: Floats
    R: Floats


def closed_form_state(sigma: Floats, mean: Floats, samples: int, plan: LearningRule, dtype: npt.DTypeLike) -> State:
    """Return what a rule would have learnt from endless samples of this covariance.

    ::

        M = Γ^½ (Γ^½ Σ Γ^½)^-½ Γ^½,     R = Γ^-½ (Γ^½ Σ Γ^½)^½ Γ^-½

    Learning can go on from there: its rate has fallen as far as that of a learner after as many samples, half/t.

    Parameters
    ----------
    sigma : (n, n) array
        Covariance Σ, symmetric, in squared units of x.
    mean : (n,) array
        Mean μ, in units of x.
    samples : int
        Samples that Σ was taken from.
    plan : LearningRule
        Form, gain (a power is kept: node or layer), schedule.
    dtype : dtype
        Of the weights.

    Raises
    ------
    InputError
        If some direction has no power: M is not unique there, and R has no inverse.
    """
    power, timing = np.diag(sigma).astype(np.float64), plan.timing
    if not power.max() > 0:
        raise InputError(f"inputs must vary; their power is zero in every unit over {samples} sample(s).")
    M, R = _pair_of_full_rank(sigma, plan.gain)
    scale = 2.0 ** round(math.log2(float(np.sqrt(power.max() + (mean * mean).max()))))
    counters = np.zeros(steps.COUNTERS)
    counters[steps.SAMPLES], counters[steps.TRACE] = samples, power.sum() / scale**2
    if math.isfinite(timing.hold):
        counters[steps.CLOCK] = timing.hold + timing.half * max(0.0, math.log(plan.rate * samples / timing.half))
    R = R if plan.recurrent else R[:0, :0]
    M, R, own, strength = (np.asarray(part, dtype) for part in (M, R, mean / scale, power / scale**2))
    return State(M, R, own, strength, np.ones(len(power), dtype), counters, scale)


def state_from_moments(sigma: Floats, moments: SampleMoments, plan: LearningRule, dtype: np.dtype[Any]) -> State:
    """Solve for M* and R*; without a mean to subtract, of the second moment ⟨x xᵀ⟩."""
    if plan.mean != "none":
        return closed_form_state(sigma, moments.mean, moments.samples, plan, dtype)
    second = sigma + np.outer(moments.mean, moments.mean)
    return closed_form_state(second, np.zeros_like(moments.mean), moments.samples, plan, dtype)


def state_from_estimator(estimator: Any, X: Floats, plan: LearningRule) -> State:
    """Solve for M* and R* of the covariance that an estimator of scikit-learn finds in X."""
    found = estimator.fit(X)
    sigma = square(found.covariance_, "the estimator's covariance_").astype(np.float64)
    mean = vector(found.location_, "the estimator's location_", X.shape[1])
    if plan.mean == "none" and mean.any():
        raise ConfigError(
            f"mean='none' needs an estimator of ⟨x xᵀ⟩, with assume_centered=True; got {shown(estimator)}."
        )
    return closed_form_state(sigma, mean, len(X), plan, X.dtype)


def _pair_of_full_rank(sigma: Floats, gain: str) -> _Pair:
    pair = _by_one_decomposition(sigma, gain)
    if pair is not None:
        return pair
    parts = _parts(sigma, gain, None)
    if not parts.null:
        return _Pair(_matrix(parts, sigma), _circuit(parts, sigma))
    rank = len(parts.values)
    some = sorted({*parts.null.silent, *parts.null.involved})
    raise InputError(
        f"the covariance must have full rank, {len(sigma)}; it has {rank}: no signal of their own in units "
        f"{', '.join(map(str, some[:3]))}{' …' if len(some) > 3 else ''}. Remove such units, bring more samples than "
        "units, or shrink the covariance, as by covariance=sklearn.covariance.LedoitWolf()."
    )


def _by_one_decomposition(sigma: Floats, gain: str) -> _Pair | None:
    """Return M* and R* from the eigenvectors of Γ^½ Σ Γ^½; None where rounding would spoil weak directions.

    The error of M* Σ M* relative to Γ is κ(Γ^½ Σ Γ^½) roundings.
    """
    wide = sigma.astype(np.float64, copy=False)
    power = np.diag(wide)
    # The condition is at least the ratio of the diagonal, the fourth power of the spread (node gain).
    if not power.min() * POOREST**0.5 > power.max():
        return None
    root = np.sqrt(power if gain == "node" else np.full(len(power), power.mean()))
    values, vectors = scipy.linalg.eigh(root[:, None] * wide * root, overwrite_a=True, check_finite=False, driver="evd")
    if not values[0] * POOREST > values[-1] or not values[0] * _most(sigma) > values[-1]:
        return None
    quarter = values**0.25
    half, twin = root[:, None] * vectors / quarter, vectors / root[:, None] * quarter
    return _Pair(half @ half.T, twin @ twin.T)


def _most(sigma: Floats) -> float:
    """Return the condition up to which `null_directions` finds none: λ_min/λ_max ≤ n tol where it finds one."""
    return 1 / (len(sigma) ** 2 * float(np.finfo(sigma.dtype).eps))


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
    """Factor the covariance of the units that are heard, F Fᵀ = Σ, and what the gain asks of it."""
    n, null = len(given), null_directions(covariance=given, tol=tol)
    sigma = given.astype(float)
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


def _circuit(parts: _Parts, given: Any) -> Floats:
    half = np.zeros((parts.null.features, len(parts.values)))
    half[parts.heard] = parts.vectors / parts.target[:, None] * np.sqrt(parts.values)
    R = half @ half.T + parts.null.basis @ parts.null.basis.T
    return np.asarray(((R + R.T) / 2).astype(_precision(given)))


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
        raise InputError(f"covariance must be symmetric; got one that is off by {np.abs(sigma - sigma.T).max():.3g}.")
    if np.trace(sigma) <= 0:
        raise InputError(f"covariance must have positive trace, the power of the input; got {np.trace(sigma):.3g}.")
    return np.asarray((sigma + sigma.T) / 2)


def _precision(value: Any) -> np.dtype[Any]:
    return square(value, "covariance").dtype
