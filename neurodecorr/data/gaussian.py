"""Streams whose covariance changes from one stretch of samples to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import unmasked
from neurodecorr.data.dataset import Dataset
from neurodecorr.errors import ConfigError, InputError

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

    References
    ----------
    Mezzadri (2007), Notices of the AMS 54, 592–604 (uniform orthogonal matrices).
    """
    axes = matrix_root(features, condition, seed, context)
    covariance: Floats = axes @ axes.T
    # The product is symmetric but for rounding; eigenvalue routines and exact tests want it to the bit.
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

    ::

        x = Q Λ^½ z,    ⟨z zᵀ⟩ = I   ⇒   ⟨x xᵀ⟩ = Q Λ Qᵀ = Σ

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


@short_repr
@dataclass(frozen=True, eq=False)
class Contexts:
    """Stream of samples with the samples at which its statistics switch, and the statistics themselves.

    Parameters
    ----------
    dataset : Dataset
        The stream; `targets` holds for each sample the index of its stretch.
    switches : tuple of int
        Index of the first sample of each stretch but the first, ascending.
    covariances : tuple of (n, n) arrays
        Σ of each stretch, so `covariances[targets[t]]` is that of sample t.
    """

    dataset: Dataset
    switches: tuple[int, ...]
    covariances: tuple[Floats, ...]

    @property
    def stretches(self) -> tuple[slice, ...]:
        """The samples of each stretch, as slices of the stream."""
        return tuple(slice(*ends) for ends in pairwise((0, *self.switches, len(self.dataset))))


def contexts(datasets: Sequence[Dataset], covariances: Sequence[npt.ArrayLike] | None = None) -> Contexts:
    """Join datasets to one stream, each whole and in its own order.

    Parameters
    ----------
    datasets : sequence of Dataset
        The stretches, all with the same number of features. Their lengths decide where the stream switches.
    covariances : sequence of (n, n) arrays, optional
        Σ of each stretch where it is known; otherwise that of its samples, (1/N) Σ (x − ⟨x⟩)(x − ⟨x⟩)ᵀ.

    Returns
    -------
    Contexts
        The stream.

    Raises
    ------
    InputError
        If there is no dataset, their features differ, or the covariances do not fit them.

    Examples
    --------
    >>> left, right = Dataset([[1.0], [3.0]], name="left"), Dataset([[0.0], [0.0], [6.0]], name="right")
    >>> stream = contexts([left, right])
    >>> stream.switches, stream.dataset.targets.tolist(), [float(sigma[0, 0]) for sigma in stream.covariances]
    ((2,), [0, 0, 1, 1, 1], [1.0, 8.0])
    """
    parts = _validation.several(datasets, Dataset, "datasets")
    _check_features(parts)
    known = (
        [np.cov(part.inputs.T, bias=True) for part in parts]
        if covariances is None
        else _validation.sequence(covariances, "covariances")
    )
    if len(known) != len(parts):
        raise InputError(f"covariances must be one for each of {len(parts)} datasets; got {len(known)}.")
    features = parts[0].features
    lengths = [len(part) for part in parts]
    dataset = Dataset(
        np.concatenate([part.inputs for part in parts]),
        targets=np.repeat(np.arange(len(parts)), lengths),
        name="-".join(part.name for part in parts),
        shape=parts[0].shape if len({part.shape for part in parts}) == 1 else None,
        description="Stretches: " + "; ".join(f"{len(part)} samples of {part.name}" for part in parts) + ".",
    )
    switches = tuple(int(end) for end in np.cumsum(lengths)[:-1])
    return Contexts(dataset, switches, tuple(_covariance(sigma, features, k) for k, sigma in enumerate(known)))


def switching_gaussian(
    features: int = 64,
    samples: int = 20_000,
    switches: Iterable[int] = (10_000,),
    condition: float = 1e3,
    seed: int = 0,
    *,
    draw: int = 0,
    distinct: int | None = None,
) -> Contexts:
    """Return Gaussian samples whose covariance changes at given samples.

    ::

        x_t ~ N(0, ∑_k),    k = (number of switches ≤ t) mod distinct,    ∑_k = gaussian_covariance(…, context=k)

    All ∑_k have the same spectrum; only their bases differ.

    Parameters
    ----------
    features : int, default 64
        Number of features n.
    samples : int, default 20_000
        Length of the stream.
    switches : iterable of int, default (10_000,)
        Index of the first sample of each new stretch, strictly ascending, 0 < index < samples.
    condition : float, default 1e3
        Condition number of every ∑_k.
    seed : int, default 0
        Chooses the covariances and, together with `draw`, the samples.
    draw : int, default 0
        Which of the independent streams with these covariances.
    distinct : int, optional
        Number of different covariances, shown in turn: 2 gives A B A B …; by default every stretch is new.

    Returns
    -------
    Contexts
        The stream; `dataset.targets` is the index of the stretch.

    Raises
    ------
    ConfigError
        If the switches do not ascend inside the stream, or another argument is out of range.

    Examples
    --------
    >>> stream = switching_gaussian(features=2, samples=9, switches=(3, 6), distinct=2)
    >>> stream.dataset.targets.tolist()
    [0, 0, 0, 1, 1, 1, 2, 2, 2]
    >>> bool((stream.covariances[0] == stream.covariances[2]).all())
    True
    """
    at = _switches(switches, _validation.count(samples, "samples"))
    cycle = len(at) + 1 if distinct is None else _validation.count(distinct, "distinct")
    z = white(samples, features, seed, (STREAM, _validation.count(draw, "draw", least=0)))
    laws = [k % cycle for k in range(len(at) + 1)]
    x = np.empty_like(z)
    for k, (start, stop) in zip(laws, pairwise((0, *at, samples)), strict=True):
        x[start:stop] = z[start:stop] @ matrix_root(features, condition, seed, k).T
    stretch = np.searchsorted(at, np.arange(samples), side="right")
    description = f"Gaussian, {features} features, condition {condition:g}, {len(set(laws))} covariances in turn."
    dataset = Dataset(x, stretch, name="switching gaussian", description=description)
    return Contexts(dataset, at, tuple(gaussian_covariance(features, condition, seed, k) for k in laws))


def _check_features(parts: Sequence[Dataset]) -> None:
    if not parts:
        raise InputError("datasets must hold at least one dataset; got none.")
    for k, part in enumerate(parts):
        if part.features != parts[0].features:
            raise InputError(
                f"datasets must share their number of features, {parts[0].features}; "
                f"datasets[{k}], {part.name!r}, has {part.features}."
            )


def _covariance(value: npt.ArrayLike, features: int, k: int) -> Floats:
    covariance = _validation.square(
        np.atleast_2d(np.asarray(unmasked(value, f"covariances[{k}]"))), f"covariances[{k}]"
    )
    if len(covariance) != features:
        raise InputError(f"covariances[{k}] must be ({features}, {features}); got shape {covariance.shape}.")
    return covariance


def _switches(switches: Iterable[int], samples: int) -> tuple[int, ...]:
    at = tuple(_validation.count(switch, "each switch") for switch in _validation.sequence(switches, "switches"))
    for before, after in pairwise((0, *at, samples)):
        if after <= before:
            raise ConfigError(f"switches must ascend strictly between 0 and samples = {samples}; got {at}.")
    return at
