"""Inputs with their targets and their name, and the mini-batches drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats
from neurodecorr.errors import ConfigError, InputError

# A spread below this share of the largest entry is what rounding leaves of a constant.
NO_CONTRAST = 1e-14


@short_repr
@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples, their targets, and their source.

    Parameters
    ----------
    inputs : (samples, features) array
        One sample per row; stored as float64, row after row.
    targets : (samples,) or (samples, outputs) array, optional
        Labels, values, or the index of the context a sample belongs to.
    name : str, default "data"
        A short name for tables and file names.
    shape : tuple of int, optional
        The shape in which one sample is drawn, e.g. (8, 8) for a patch of an image.
    description : str, default ""
        One sentence on where the samples come from and how they were scaled.

    Raises
    ------
    InputError
        If the inputs are not a finite (samples, features) array, or the targets or the shape do not fit them.

    Examples
    --------
    >>> dataset = Dataset([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], targets=[0, 1, 1], name="three points")
    >>> dataset
    Dataset('three points', 3 samples × 2 features)
    >>> train, held_out = dataset.split(held_out=1, seed=0)
    >>> len(train), len(held_out)
    (2, 1)
    """

    inputs: Floats
    targets: Array | None = None
    name: str = "data"
    shape: tuple[int, ...] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        inputs = np.ascontiguousarray(_validation.samples(self.inputs, "inputs"), dtype=np.float64)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", _targets(self.targets, len(inputs)))
        object.__setattr__(self, "shape", _shape(self.shape, inputs.shape[1]))
        _validation.checked_text(self.description, "description")
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"name must be a non-empty string; got {self.name!r}.")

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        drawn_as = "" if self.shape is None else f", shape {self.shape}"
        return f"Dataset({self.name!r}, {len(self)} samples × {self.features} features{drawn_as})"

    @property
    def features(self) -> int:
        """Number of features of a sample, n."""
        return int(self.inputs.shape[1])

    def take(self, indices: npt.ArrayLike | slice) -> Dataset:
        """Return the samples at these indices, in this order.

        Parameters
        ----------
        indices : slice or array of int or bool
            Which samples.

        Returns
        -------
        Dataset
            The chosen samples; a slice shares memory with this dataset.
        """
        chosen = indices if isinstance(indices, slice) else _validation.indices(indices, "indices", len(self))
        return replace(self, inputs=self.inputs[chosen], targets=None if self.targets is None else self.targets[chosen])

    def split(self, held_out: float = 0.2, seed: int | np.random.Generator = 0) -> tuple[Dataset, Dataset]:
        """Return a training set and a held-out set that share no sample.

        Which samples are held out is random; both sets keep the order of the stream.

        Parameters
        ----------
        held_out : float or int, default 0.2
            A fraction in (0, 1) of the samples, or a whole number of them. At least one sample stays on each side.
        seed : int or numpy.random.Generator, default 0
            Chooses the samples.

        Returns
        -------
        tuple of two Dataset
            Training set, held-out set.

        Raises
        ------
        ConfigError
            If either set would be empty.
        """
        away = held_out_samples(len(self), held_out, seed)
        return self.take(~away), self.take(away)

    def scaled(self) -> Dataset:
        """Return the samples after one global shift and one global factor: mean 0, mean variance 1.

        ::

            x ← (x − m)/s,    m = ⟨x⟩ over all entries,    s² = tr Σ/n

        One number for all features keeps their correlations and their relative powers; it puts every source of data
        at the scale for which the learning rates are meant.

        Returns
        -------
        Dataset
            The scaled samples; the shift m and the scale s are named in its description.

        Raises
        ------
        InputError
            If no feature varies.
        """
        peak, shift, spread = self._moments()
        words = f"{self.description} Scaled: (x − {shift * peak:.6g})/{spread * peak:.6g}.".strip()
        return replace(self, inputs=(self.inputs / peak - shift) / spread, description=words)

    @property
    def scale(self) -> tuple[float, float]:
        """Shift m and factor s of `scaled`, which puts other samples on the same scale: (x − m)/s."""
        peak, shift, spread = self._moments()
        return shift * peak, spread * peak

    def _moments(self) -> tuple[float, float, float]:
        peak = float(np.abs(self.inputs).max()) or 1.0  # squares of entries in units of the largest cannot overflow
        unit = self.inputs / peak
        shift, spread = float(unit.mean()), sqrt(float(unit.var(axis=0).mean()))
        if spread < NO_CONTRAST:
            raise InputError(f"inputs must vary; all {len(self)} samples of {self.name!r} are the same.")
        return peak, shift, spread


def held_out_samples(samples: int, held_out: float, seed: int | np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return a mask of the held-out samples, the same for every split of this size and seed.

    Parameters
    ----------
    samples : int
        How many samples there are.
    held_out : float or int
        A fraction in (0, 1) of the samples, or a whole number of them.
    seed : int or numpy.random.Generator
        Chooses the samples.

    Returns
    -------
    (samples,) array of bool
        True where a sample is held out.

    Raises
    ------
    ConfigError
        If either side would be empty.

    Examples
    --------
    >>> int(held_out_samples(10, 0.3, seed=0).sum())
    3
    """
    count = _held_out(held_out, samples)
    # A mask keeps the order of the samples on both sides.
    away = np.zeros(samples, dtype=bool)
    away[_validation.generator(seed).permutation(samples)[:count]] = True
    return away


def batches(inputs: npt.ArrayLike, size: int, rng: int | np.random.Generator | None = None) -> Iterator[Floats]:
    """Yield the samples once, `size` at a time; the last batch may be shorter.

    Parameters
    ----------
    inputs : (samples, features) array
        The samples; float32 stays float32.
    size : int
        Samples per batch b, ≥ 1.
    rng : numpy.random.Generator or int, optional
        Shuffles the samples; without it they come in their own order, as views.

    Returns
    -------
    iterator of (b, features) arrays
        The batches.

    Examples
    --------
    >>> [batch.tolist() for batch in batches([[1.0], [2.0], [3.0]], size=2)]
    [[[1.0], [2.0]], [[3.0]]]
    """
    rows = _validation.samples(inputs, "inputs")
    order = None if rng is None else _validation.generator(rng, "rng").permutation(len(rows))
    return _batches(rows, _validation.count(size, "size"), order)


def _batches(inputs: Floats, size: int, order: Array | None) -> Iterator[Floats]:
    for start in range(0, len(inputs), size):
        chosen = slice(start, start + size)
        yield inputs[chosen] if order is None else inputs[order[chosen]]


def _targets(value: Any, samples: int) -> Array | None:
    if value is None:
        return None
    targets = _validation.numeric(value, "targets", " Encode labels as integers.")
    if targets.ndim not in (1, 2) or len(targets) != samples:
        raise InputError(f"targets must hold one row for each of {samples} samples; got shape {targets.shape}.")
    if targets.dtype.kind == "f":
        _validation.finite(targets, "targets")
    return targets


def _shape(value: Any, features: int) -> tuple[int, ...] | None:
    if value is None:
        return None
    shape = tuple(_validation.count(length, "each length in shape") for length in _validation.sequence(value, "shape"))
    if prod(shape) != features:
        raise InputError(f"shape must have as many entries as a sample has features, {features}; got {shape}.")
    return shape


def _held_out(value: float, samples: int) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    count = int(value) if whole else round(_validation.fraction(value, "held_out") * samples)
    if not 1 <= count < samples:
        raise ConfigError(
            f"held_out must leave at least one of {samples} samples on each side; {value!r} means {count}."
        )
    return count
