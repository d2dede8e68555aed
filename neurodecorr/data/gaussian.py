"""Correlated Gaussian samples whose covariance, condition and even sample covariance are prescribed exactly."""

from __future__ import annotations

import numpy as np

from neurodecorr import _validation
from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Floats
from neurodecorr.data.dataset import Dataset
from neurodecorr.errors import ConfigError

# Rounding leaves the smallest eigenvalue of Σ a relative error of about κ · 2e-16: beyond this it is noise.
_LARGEST_CONDITION = 1e14

# First entries of the spawn keys: a seed's bases, sample sets and switching streams are independent children of it.
BASIS, SAMPLES, STREAM = range(3)


def gaussian_covariance(features: int = 64, condition: float = 1e3, seed: int = 0, context: int = 0) -> Floats:
    """Return a covariance with log-spaced eigenvalues, an exact condition number, and trace n.

    ::

        Σ = Q Λ Qᵀ,    λ_i ∝ κ^(i/(n−1)),  i = 0 … n−1,    tr Σ = n,    Q uniform over all orthogonal bases

    Parameters
    ----------
    features : int, default 64
        Number of features n.
    condition : float, default 1e3
        Condition number κ(Σ), 1 … 1e14.
    seed : int, default 0
        Chooses the basis Q.
    context : int, default 0
        Which of the seed's independent bases.

    Returns
    -------
    (n, n) array
        Σ, symmetric to the bit.

    Raises
    ------
    ConfigError
        If the condition lies outside 1 … 1e14, or is not 1 for a single feature.

    Examples
    --------
    >>> covariance = gaussian_covariance(features=3, condition=100.0)
    >>> round(float(np.linalg.cond(covariance)), 6), round(float(np.trace(covariance)), 12)
    (100.0, 3.0)
    """
    axes = matrix_root(features, condition, seed, context)
    covariance: Floats = axes @ axes.T
    return (covariance + covariance.T) / 2


def correlated_gaussian(
    features: int = 64,
    samples: int = 20_000,
    condition: float = 1e3,
    seed: int = 0,
    *,
    draw: int = 0,
    exact: bool = False,
) -> Dataset:
    """Return Gaussian samples x ~ N(0, Σ), Σ = `gaussian_covariance(features, condition, seed)`.

    ::

        x = Q Λ^½ z,    z ~ N(0, I)

    Parameters
    ----------
    features : int, default 64
        Number of features n.
    samples : int, default 20_000
        Number of samples N.
    condition : float, default 1e3
        Condition number κ(Σ), 1 … 1e14.
    seed : int, default 0
        Chooses Σ and, together with `draw`, the samples.
    draw : int, default 0
        Which of the independent sample sets with this Σ: another draw is held-out data.
    exact : bool, default False
        Centre and whiten z first, so that (1/N) Σ x = 0 and (1/N) Σ x xᵀ = Σ to rounding. Needs N > n.

    Returns
    -------
    Dataset
        (samples, features) inputs.

    Raises
    ------
    ConfigError
        If an argument is out of range, or `exact` is asked of too few samples.

    Examples
    --------
    >>> exact = correlated_gaussian(features=3, samples=10, condition=10.0, exact=True).inputs
    >>> bool(np.allclose(exact.T @ exact / 10, gaussian_covariance(features=3, condition=10.0), atol=1e-14))
    True
    """
    exact = _validation.flag(exact, "exact")
    axes = matrix_root(features, condition, seed, 0)
    z = white(samples, features, seed, (SAMPLES, 0, _validation.count(draw, "draw", least=0)))
    if exact:
        z = _exactly_white(z)
    description = f"Gaussian, {features} features, condition {condition:g}, tr Σ = n, random basis."
    return Dataset(z @ axes.T, name="gaussian", description=description)


def matrix_root(features: int, condition: float, seed: int, context: int) -> Floats:
    """Return Q Λ^½, which turns white samples into samples with covariance Σ.

    Parameters
    ----------
    features : int
        Number of features n.
    condition : float
        Condition number κ(Σ).
    seed, context : int
        Choose the basis Q.

    Returns
    -------
    (n, n) array
        Q Λ^½; its columns are the principal axes of Σ, weakest first.
    """
    features = _validation.count(features, "features")
    require_memory(8 * (features * features), "the covariance")
    result: Floats = _basis(features, seed, context) * np.sqrt(_spectrum(features, condition))
    return result


def white(samples: int, features: int, seed: int, key: tuple[int, ...]) -> Floats:
    """Return z ~ N(0, I), (samples, features), from the child of the seed that this key names.

    Parameters
    ----------
    samples, features : int
        Shape of the draw.
    seed : int
        Entropy.
    key : tuple of int
        Names the child; its first entry says what the samples are for.

    Returns
    -------
    (samples, features) array
        z.
    """
    shape = (_validation.count(samples, "samples"), _validation.count(features, "features"))
    require_memory(8 * (shape[0] * shape[1]), "the samples")
    return _child(seed, key).standard_normal(shape)


def _child(seed: int, key: tuple[int, ...]) -> np.random.Generator:
    entropy = _validation.whole_seed(seed)
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))


def _spectrum(features: int, condition: float) -> Floats:
    """Return log-spaced eigenvalues, ascending, with ratio κ and sum n."""
    condition = _validation.number(condition, "condition")
    if not 1 <= condition <= _LARGEST_CONDITION:
        raise ConfigError(
            f"condition must lie between 1 and {_LARGEST_CONDITION:g}, largest over smallest eigenvalue; "
            f"got {condition!r}."
        )
    if features == 1 and condition != 1:
        raise ConfigError(f"condition must be 1 for a single feature; got {condition!r}.")
    eigenvalues = np.geomspace(1, condition, features)
    result: Floats = eigenvalues * (features / eigenvalues.sum())
    return result


def _basis(features: int, seed: int, context: int) -> Floats:
    """Draw a uniform (Haar) orthogonal matrix: QR with the signs of diag(R) made positive."""
    rng = _child(seed, (BASIS, _validation.count(context, "context", least=0)))
    q, r = np.linalg.qr(rng.standard_normal((features, features)))
    basis: Floats = q * np.sign(np.diagonal(r))
    return basis


def _exactly_white(z: Floats) -> Floats:
    """Centre z and give it the sample covariance I: z = Q R, N^½ Q is white, and close to z where R ≈ N^½ I."""
    samples, features = z.shape
    if samples <= features:
        raise ConfigError(f"exact needs more samples than the {features} features; got {samples} samples.")
    q, r = np.linalg.qr(z - z.mean(axis=0))
    result: Floats = np.sqrt(samples) * q * np.sign(np.diagonal(r))
    return result
