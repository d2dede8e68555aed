"""Noise for node perturbation, which is added to the drive of the units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr.credit import kernels
from neurodecorr.data.files import read_arrays
from neurodecorr.errors import InputError

# Samples for which a unit reads a recording in turn. Two units whose places lie close would share their noise for good.
STRETCH = 64


class NoiseSource(Protocol):
    """Noise that is drawn for one network; `arrays` holds its memory from batch to batch."""

    arrays: dict[str, Floats]

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """Return noise of unit variance for one layer, (samples, values); samples follow each other in time.

        A value is one unit at one place: the values of one sample are independent of each other, or what a unit is
        credited for would be in part what another did.
        """


class Noise(Protocol):
    """Description of noise, its standard deviation in the unit of h."""

    @property
    def sigma(self) -> float:
        """Standard deviation."""

    def start(self) -> NoiseSource:
        """Return the noise at work."""


@short_repr
@dataclass(frozen=True)
class GaussianNoise:
    """Independent normal noise, N(0, σ²).

    ::

        ξ ~ N(0, σ²),    h ← h + ξ

    In float32, σ = 1e-6 (P0's code) leaves 13 to 34 % error in Δℓ; σ = 1e-4 leaves 0.5 to 1 %.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, §4.
    """

    sigma: float = 1e-4

    def __post_init__(self) -> None:
        _validation.positive(self.sigma, "sigma")

    def start(self) -> NoiseSource:
        """Return the noise at work; it has no memory."""
        return _Independent(_normal)


@short_repr
@dataclass(frozen=True)
class BernoulliNoise:
    """Independent noise of +σ or −σ, each with probability ½.

    ::

        ξ = ±σ,    h ← h + ξ

    References
    ----------
    Spall (1992), IEEE Transactions on Automatic Control 37, 332–341.
    """

    sigma: float = 1e-4

    def __post_init__(self) -> None:
        _validation.positive(self.sigma, "sigma")

    def start(self) -> NoiseSource:
        """Return the noise at work; it has no memory."""
        return _Independent(_sign)


@short_repr
@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """Noise with memory, one source for each unit: each sample keeps e^(−1/T) of the one before.

    ::

        ξ_t ← a ξ_{t−1} + √(1 − a²) ν_t,    a = e^(−1/T),    ν_t ~ N(0, σ²)

    Units of a convolution are its channels at each place: its places have sources of their own, since the patches of an
    image are no times.

    Parameters
    ----------
    sigma : float
        Standard deviation, in the unit of h.
    memory : float
        Correlation time T, in samples.

    References
    ----------
    Uhlenbeck & Ornstein (1930), Physical Review 36, 823–841.
    """

    sigma: float = 1e-4
    memory: float = 10.0

    def __post_init__(self) -> None:
        _validation.positive(self.sigma, "sigma")
        _validation.positive(self.memory, "memory")

    def start(self) -> NoiseSource:
        """Return the noise at work, its memory drawn at rest."""
        return _Slow(math.exp(-1 / self.memory))


@short_repr
@dataclass(frozen=True)
class RecordedNoise:
    """Measured noise, for instance of a chip: numbers from a .npy file, scaled to unit variance.

    ::

        ξ ← ±σ (v − ⟨v⟩)/√⟨(v − ⟨v⟩)²⟩,    v the recorded numbers

    Each unit (each channel at each place of a convolution) reads a number per sample, in turn, from a place of its own
    and with a sign of its own. Both are drawn anew for every batch, and after every 64 samples. So the noise of two
    units of a sample is independent whatever the recording is, and that of one unit is as slow as the recording is.

    Parameters
    ----------
    path : str or Path
        A .npy file of real numbers; after the last comes the first.
    sigma : float
        Standard deviation after scaling, in the unit of h.
    """

    path: str | Path
    sigma: float = 1e-4

    def __post_init__(self) -> None:
        _validation.checked_path(self.path)
        _validation.positive(self.sigma, "sigma")

    def start(self) -> NoiseSource:
        """Return the noise at work.

        Raises
        ------
        InputError
            If the file is missing, is no .npy file, or holds no varying, finite numbers.
        """
        try:
            found = read_arrays(Path(self.path), ["arr_0"])["arr_0"]
        except (InputError, KeyError) as error:
            raise InputError(f"noise must be a .npy file of numbers; reading {self.path} failed: {error}") from None
        values = _validation.finite(_validation.real_array(found, "noise"), "noise").ravel().astype(float)
        if values.size < 2 or values.std() == 0:
            raise InputError(f"noise must vary; {self.path} holds {values.size} numbers without variance.")
        return _Tape((values - values.mean()) / values.std())


class _Independent:
    def __init__(self, law: Any) -> None:
        self._law, self.arrays = law, dict[str, Floats]()

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """Draw each number by itself."""
        drawn: Floats = self._law(shape, rng, dtype)
        return drawn


def _normal(shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
    """Draw by the generator itself, or from its bits in single precision: what then takes the time of a product."""
    if np.dtype(dtype) != np.float32:
        return rng.standard_normal(shape, dtype)
    out = np.empty(shape, np.float32)
    kernels.normals(rng.integers(0, 2**64, (out.size + 1) // 2, np.uint64), out.reshape(-1))
    return out


def _sign(shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
    drawn = rng.integers(0, 2, shape, dtype=np.int8).astype(dtype)
    return np.asarray(drawn + drawn - 1, dtype)  # 0, 1 → −1, +1


class _Slow:
    def __init__(self, keep: float) -> None:
        self._keep, self.arrays = keep, dict[str, Floats]()

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """ξ_t = a ξ_{t−1} + √(1 − a²) ν_t along the samples, going on from the last batch."""
        name, a = f"noise{layer}", self._keep
        before = self.arrays.get(name)
        # Checkpoints of versions in which the places of a convolution shared a source hold fewer numbers.
        if before is None or before.shape != shape[1:]:
            before = rng.standard_normal(shape[1])
        # √(1 − a²) keeps the variance at 1, so that σ means the same for every memory.
        fresh = math.sqrt(1 - a * a) * rng.standard_normal(shape)
        import scipy.signal  # half a second, and nothing else needs it

        drawn, _ = scipy.signal.lfilter([1.0], [1.0, -a], fresh, axis=0, zi=a * before[None])
        self.arrays[name] = drawn[-1].copy()
        return np.asarray(drawn, dtype)


class _Tape:
    def __init__(self, values: Floats) -> None:
        self._values, self.arrays = values, dict[str, Floats]()

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """Read on along the samples, each value from where its stretch begins."""
        stretch, along = np.divmod(np.arange(shape[0]), STRETCH)
        several = (int(stretch[-1]) + 1, shape[1])
        begin, sign = rng.integers(0, self._values.size, several), _sign(several, rng, dtype)
        places = (begin[stretch] + along[:, None]) % self._values.size
        return np.asarray(sign[stretch] * self._values[places], dtype)
