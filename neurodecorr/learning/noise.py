"""Noise for node perturbation: what is added to the drive of the units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.signal

from neurodecorr import _checks
from neurodecorr.data.arrays import read_arrays
from neurodecorr.errors import InputError
from neurodecorr.learning import kernels

__all__ = ["Bernoulli", "Gaussian", "Noise", "OrnsteinUhlenbeck", "Recorded"]

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


class NoiseSource(Protocol):
    """A noise at work: `arrays` holds its memory from batch to batch."""

    arrays: dict[str, Floats]

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """Return noise of unit variance for one layer, (rows, units); rows follow each other in time."""


class Noise(Protocol):
    """A description of noise, its standard deviation in the unit of h."""

    @property
    def sigma(self) -> float:
        """Standard deviation."""

    def start(self) -> NoiseSource:
        """Return the noise at work."""


@dataclass(frozen=True)
class Gaussian:
    """Independent normal noise, N(0, σ²).

    In float32, σ = 1e-6 (P0's code) leaves 13 to 34 % error in Δℓ; σ = 1e-4 leaves 0.5 to 1 %.
    """

    sigma: float = 1e-4

    def __post_init__(self) -> None:
        _checks.positive(self.sigma, "sigma")

    def start(self) -> NoiseSource:
        """Return the noise at work; it has no memory."""
        return _Independent(_normal)


@dataclass(frozen=True)
class Bernoulli:
    """Independent noise of +σ or −σ."""

    sigma: float = 1e-4

    def __post_init__(self) -> None:
        _checks.positive(self.sigma, "sigma")

    def start(self) -> NoiseSource:
        """Return the noise at work; it has no memory."""
        return _Independent(_sign)


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """Noise that a slow source makes: each sample keeps e^(−1/T) of the one before.

    Parameters
    ----------
    sigma : float
        Standard deviation, in the unit of h.
    memory : float
        Correlation time T, in samples.
    """

    sigma: float = 1e-4
    memory: float = 10.0

    def __post_init__(self) -> None:
        _checks.positive(self.sigma, "sigma")
        _checks.positive(self.memory, "memory")

    def start(self) -> NoiseSource:
        """Return the noise at work, its memory drawn at rest."""
        return _Slow(math.exp(-1 / self.memory))


@dataclass(frozen=True)
class Recorded:
    """Noise that was measured, for instance on a chip: numbers from a .npy file, scaled to unit variance, in turn.

    Parameters
    ----------
    path : str or Path
        A .npy file of real numbers; read from the start again at its end.
    sigma : float
        Standard deviation after scaling, in the unit of h.
    """

    path: str | Path
    sigma: float = 1e-4

    def __post_init__(self) -> None:
        _checks.positive(self.sigma, "sigma")

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
        values = _checks.finite(_checks.real_array(found, "noise"), "noise").ravel().astype(float)
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
    return np.asarray(drawn + drawn - 1, dtype)


class _Slow:
    def __init__(self, keep: float) -> None:
        self._keep, self.arrays = keep, dict[str, Floats]()

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """ξ_t = a ξ_{t−1} + √(1 − a²) ν_t along the rows, going on from the last batch."""
        name, a = f"noise{layer}", self._keep
        before = self.arrays.setdefault(name, rng.standard_normal(shape[1]))
        fresh = math.sqrt(1 - a * a) * rng.standard_normal(shape)
        drawn, _ = scipy.signal.lfilter([1.0], [1.0, -a], fresh, axis=0, zi=a * before[None])
        self.arrays[name] = drawn[-1].copy()
        return np.asarray(drawn, dtype)


class _Tape:
    def __init__(self, values: Floats) -> None:
        self._values = values
        self.arrays: dict[str, Floats] = {"position": np.zeros(1)}

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """Read on where the last draw ended."""
        begin, count = int(self.arrays["position"][0]), shape[0] * shape[1]
        self.arrays["position"][0] = (begin + count) % self._values.size
        return np.take(self._values, range(begin, begin + count), mode="wrap").reshape(shape).astype(dtype)
