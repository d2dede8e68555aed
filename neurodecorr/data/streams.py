"""Streams whose covariance changes from one stretch of samples to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import unmasked
from neurodecorr.data.dataset import Dataset
from neurodecorr.data.gaussian import STREAM, gaussian_covariance, matrix_root, white
from neurodecorr.errors import ConfigError, InputError


@short_repr
@dataclass(frozen=True, eq=False)
class Contexts:
    """Hold a stream of samples, where its statistics switch, and what they are.

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
    """Show one dataset after another, each whole and in its own order.

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
    """Return Gaussian samples whose covariance is replaced at given samples.

    ::

        x_t ~ N(0, Σ_k),    k = (number of switches ≤ t) mod distinct,    Σ_k = gaussian_covariance(…, context=k)

    All Σ_k have the same spectrum; only their bases differ.

    Parameters
    ----------
    features : int, default 64
        Number of features n.
    samples : int, default 20_000
        Length of the stream.
    switches : iterable of int, default (10_000,)
        Index of the first sample of each new stretch, strictly ascending, 0 < index < samples.
    condition : float, default 1e3
        Condition number of every Σ_k.
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
