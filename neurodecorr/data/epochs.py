"""Mini-batches with their targets, epoch after epoch: each a function of its place alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats
from neurodecorr.data.augmentation import Preparation, prepare
from neurodecorr.data.dataset import Dataset, held_out_samples
from neurodecorr.data.images import ImageDataset
from neurodecorr.errors import ConfigError, InputError

# What the random numbers are for: the order of an epoch, or the chances within one batch.
_ORDER, _CHANCE = 0, 1


class Batch(NamedTuple):
    """One mini-batch.

    Parameters
    ----------
    inputs : (b, features) or (b, channels, height, width) array
        Rows of a table, or prepared images.
    targets : (b,) or (b, outputs) array or None
        What they should be mapped to.
    indices : (b,) array of int
        Which samples of the dataset these are.
    """

    inputs: Floats
    targets: Array | None
    indices: npt.NDArray[np.int64]


@short_repr
@dataclass(frozen=True, eq=False, repr=False)
class Epochs:
    """Order in which a dataset is shown in mini-batches, epoch after epoch.

    Batch k of epoch e depends on (seed, e, k) and nothing else. It holds no state: to continue after a stop, ask for
    the batches from (e, k) on, and every bit is as if there had been no stop.

    Parameters
    ----------
    dataset : Dataset or ImageDataset
        The samples.
    size : int, default 256
        Samples per batch; the last batch of an epoch may be shorter.
    seed : int, default 0
        Decides the order of each epoch and all chance in the preparation of images.
    shuffle : bool, default True
        Whether each epoch has an order of its own; otherwise the order of the dataset.
    preparation : Preparation, optional
        How images become inputs; by default pixel/white. Only for an ImageDataset.
    augment : bool, default True
        Whether windows and mirrored images are drawn by chance; otherwise the window in the centre, as for a test set.
    dtype : type, default numpy.float32
        Type of the inputs of a table, float32 or float64; images are float32.

    Raises
    ------
    ConfigError
        If an option lies outside its range.
    InputError
        If the preparation does not fit the images, or a table exceeds what its type can hold.

    Examples
    --------
    >>> table = Dataset([[0.0], [1.0], [2.0], [3.0], [4.0]], targets=[0, 1, 0, 1, 0])
    >>> epochs = Epochs(table, size=2, seed=1)
    >>> len(epochs), [batch.indices.tolist() for batch in epochs.batches(epoch=0)]
    (3, [[3, 4], [1, 2], [0]])
    >>> [batch.indices.tolist() for batch in epochs.batches(epoch=0, first=1)]
    [[1, 2], [0]]
    """

    dataset: Dataset | ImageDataset
    size: int = 256
    seed: int = 0
    shuffle: bool = True
    preparation: Preparation | None = None
    augment: bool = True
    dtype: type[np.float32] | type[np.float64] = np.float32

    def __post_init__(self) -> None:
        _validation.count(self.size, "size")
        _validation.whole_seed(self.seed)
        _validation.instance(self.dataset, (Dataset, ImageDataset), "dataset")
        for name in ("shuffle", "augment"):
            _validation.flag(getattr(self, name), name)
        if not isinstance(self.dtype, type) or self.dtype not in (np.float32, np.float64):
            raise ConfigError(f"dtype must be float32 or float64; got {self.dtype!r}.")
        if isinstance(self.dataset, Dataset) and self.dtype is np.float32:
            _fits_single(self.dataset.inputs)
        if self.preparation is None:
            return
        _validation.instance(self.preparation, Preparation, "preparation", advice="Use preparation(images, recipe).")
        if not isinstance(self.dataset, ImageDataset):
            raise ConfigError(
                f"preparation must be None for a table; it is for images, and this is {type(self.dataset).__name__}. "
                "Use an ImageDataset."
            )
        # The first image stands for all: it goes through now, so that what does not fit does not wait for a batch.
        prepare(self.dataset.images[:1], self.preparation)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.dataset) // self.size)

    def __repr__(self) -> str:
        return f"Epochs({self.dataset!r}, {len(self)} batches of {self.size}, seed {self.seed})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input: (features,), or (channels, height, width) of a prepared image."""
        if not isinstance(self.dataset, ImageDataset):
            return (self.dataset.features,)
        return self.dataset.shape if self.preparation is None else self.preparation.shape(self.dataset.shape)

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the order in which an epoch shows the samples.

        Parameters
        ----------
        epoch : int
            Which epoch, from 0.

        Returns
        -------
        (samples,) array of int
            Indices into the dataset, each once.
        """
        _validation.count(epoch, "epoch", least=0, most=2**32 - 1)
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return self._chance(_ORDER, epoch).permutation(len(self.dataset))

    def batches(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from the one with index `first` on.

        Parameters
        ----------
        epoch : int, default 0
            Which epoch, from 0.
        first : int, default 0
            Index of the first batch, 0 … the number of batches.

        Returns
        -------
        iterator of Batch
            New arrays each time.

        Raises
        ------
        ConfigError
            If there is no such place.
        """
        _validation.count(epoch, "epoch", least=0, most=2**32 - 1)
        if _validation.count(first, "first", least=0) > len(self):
            raise ConfigError(f"first must be at most {len(self)}, the batches of an epoch; got {first}.")
        return self._batches(epoch, first)

    def split(self, held_out: float = 0.2, seed: int = 0, inherit: bool = False) -> tuple[Epochs, Epochs]:
        """Return the batches of a training set and of a validation set that share no sample.

        Validation sees whole images, or their centre, in the order of the dataset: no chance is in its numbers. The
        public code of the paper lets validation inherit the augmentation of training; `inherit=True` does so, too.

        Parameters
        ----------
        held_out : float or int, default 0.2
            A fraction in (0, 1) of the samples, or a whole number of them.
        seed : int, default 0
            Chooses the samples.
        inherit : bool, default False
            Whether validation is augmented as training is.

        Returns
        -------
        tuple of two Epochs
            For training, for validation.

        Raises
        ------
        ConfigError
            If either set would be empty.
        """
        inherit = _validation.flag(inherit, "inherit")
        away = held_out_samples(len(self.dataset), held_out, seed)
        training = replace(self, dataset=self.dataset.take(~away))
        validation = replace(self, dataset=self.dataset.take(away), shuffle=False, augment=self.augment and inherit)
        return training, validation

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        order = self.order(epoch)
        for k in range(first, len(self)):
            chosen = order[k * self.size : (k + 1) * self.size]
            targets = None if self.dataset.targets is None else self.dataset.targets[chosen]
            yield Batch(self._inputs(chosen, epoch, k), targets, chosen)

    def _inputs(self, chosen: npt.NDArray[np.int64], epoch: int, k: int) -> Floats:
        if not isinstance(self.dataset, ImageDataset):
            return self.dataset.inputs[chosen].astype(self.dtype, copy=False)
        images = self.dataset.images[chosen]
        if self.preparation is None:
            return np.divide(images, np.float32(self.dataset.white), dtype=np.float32)
        return prepare(images, self.preparation, self._chance(_CHANCE, epoch, k) if self.augment else None)

    def _chance(self, *place: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=place))


def _fits_single(inputs: Floats) -> None:
    largest, most = float(np.abs(inputs).max()), float(np.finfo(np.float32).max)
    if largest > most:
        raise InputError(f"inputs must be at most {most:.3g} to be shown as float32; got {largest:.3g}. Use float64.")
