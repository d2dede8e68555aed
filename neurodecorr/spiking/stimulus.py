"""Inputs of a spiking network, constant from frame to frame."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Float64s
from neurodecorr._validation import count, finite, generator, numeral, positive, real_array, square
from neurodecorr.errors import ConfigError, InputError


@short_repr
@dataclass(frozen=True, eq=False)
class Stimulus:
    """Input to n units, constant for one frame at a time.

    Parameters
    ----------
    values : (frames, n) array
        Input x of each unit in each frame.
    frame_s : float
        Duration of a frame, in seconds.

    Raises
    ------
    InputError
        If `values` is not a finite matrix.
    ConfigError
        If `frame_s` ≤ 0.
    """

    values: Float64s
    frame_s: float

    def __post_init__(self) -> None:
        values = np.array(finite(real_array(self.values, "values"), "values"), dtype=np.float64, order="C")
        if values.ndim != 2 or 0 in values.shape:
            raise InputError(f"values must be a matrix, (frames, units), that is not empty; got shape {values.shape}.")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "frame_s", positive(self.frame_s, "frame_s", "s"))

    @property
    def units(self) -> int:
        """Number of units n."""
        return int(self.values.shape[1])

    @property
    def duration_s(self) -> float:
        """Duration of all frames, in seconds."""
        return len(self.values) * self.frame_s

    def steps_per_frame(self, dt_s: float) -> int:
        """Return how many steps of `dt_s` a frame takes; a whole number, or the step is refused."""
        ratio = self.frame_s / positive(dt_s, "dt_s", "s")
        steps = round(ratio) if math.isfinite(ratio) else 0
        if steps < 1 or abs(steps * dt_s - self.frame_s) > 1e-9 * self.frame_s:
            raise ConfigError(
                f"dt_s must divide the frame of {numeral(self.frame_s)} s into whole steps; got {numeral(dt_s)} s, "
                f"{self.frame_s / dt_s:g} steps. Use frame_s/{max(steps, 1)} = {self.frame_s / max(steps, 1):g} s."
            )
        return steps

    def __repr__(self) -> str:
        return f"Stimulus(units={self.units}, duration_s={self.duration_s:g}, frame_s={self.frame_s:g})"


def constant_stimulus(x: npt.ArrayLike, duration_s: float) -> Stimulus:
    """Return a stimulus of one frame with the constant input x.

    Parameters
    ----------
    x : (n,) array
        Input.
    duration_s : float
        Duration, in seconds.

    Returns
    -------
    Stimulus
        The input for that long.

    Examples
    --------
    >>> constant_stimulus([1.0, -0.5], 0.2)
    Stimulus(units=2, duration_s=0.2, frame_s=0.2)
    """
    return Stimulus(real_array(x, "x").astype(np.float64)[None], duration_s)


def ou_stimulus(
    covariance: npt.ArrayLike, frames: int, *, correlation_time_s: float = 0.1, frame_s: float = 1e-3, seed: Any = 0
) -> Stimulus:
    """Return correlated Ornstein–Uhlenbeck noise, sampled exactly.

    ::

        x_{k+1} = a x_k + √(1 − a²) L ξ_k,    a = e^(−Δ/τ_x),    L Lᵀ = Σ,    ξ_k ~ N(0, I),    x_0 ~ N(0, Σ)

    Stationary from the first frame on: ⟨x_k x_{k+m}ᵀ⟩ = aᵐ Σ.

    Parameters
    ----------
    covariance : (n, n) array
        Covariance Σ of the inputs, positive definite.
    frames : int
        How many frames.
    correlation_time_s : float, default 0.1
        Time constant τ_x of the noise, in seconds.
    frame_s : float, default 1e-3
        Duration Δ of a frame, in seconds.
    seed : int, SeedSequence or Generator, default 0
        Source of randomness.

    Returns
    -------
    Stimulus
        The noise.

    Raises
    ------
    InputError
        If Σ is not symmetric and positive definite.
    ConfigError
        If a time or a count is out of range.

    Examples
    --------
    >>> ou_stimulus([[1.0, 0.5], [0.5, 1.0]], 1000)
    Stimulus(units=2, duration_s=1, frame_s=0.001)

    References
    ----------
    Uhlenbeck & Ornstein (1930), Physical Review 36, 823–841; exact sampling: Gillespie (1996), Physical Review E 54,
    2084–2091.
    """
    L = _factor(square(covariance, "covariance").astype(np.float64))
    elapsed = positive(frame_s, "frame_s", "s") / positive(correlation_time_s, "correlation_time_s", "s")
    a = math.exp(-elapsed)
    require_memory(8 * (float(count(frames, "frames")) * len(L)), "the inputs of all frames")
    X = generator(seed).standard_normal((frames, len(L)))
    X[1:] *= math.sqrt(-math.expm1(-2 * elapsed))
    for before, now in itertools.pairwise(X):
        now += a * before
    return Stimulus(X @ L.T, frame_s)


def _factor(covariance: Float64s) -> Float64s:
    if not np.allclose(covariance, covariance.T, rtol=1e-10, atol=1e-12 * np.abs(covariance).max()):
        gap = np.abs(covariance - covariance.T).max()
        raise InputError(f"covariance must be symmetric; it differs from its transpose by up to {gap:.3g}.")
    try:
        return np.asarray(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(covariance)[0]
        raise InputError(
            f"covariance must be positive definite; its smallest eigenvalue is {least:.3g}. Add εI to it."
        ) from None


@dataclass(frozen=True)
class Timing:
    """Number and length of time steps, and the steps after which activity is recorded.

    Parameters
    ----------
    dt_s : float
        Time step, in seconds.
    steps : int
        Number of steps.
    hold : int
        Steps per frame of the stimulus.
    every : int
        Steps per record; the first record is taken at the end of step 0.
    """

    dt_s: float
    steps: int
    hold: int
    every: int

    @property
    def records(self) -> int:
        """Number of records."""
        return (self.steps - 1) // self.every + 1

    @property
    def t_s(self) -> Float64s:
        """Times of the records, in seconds: the ends of their steps."""
        return np.asarray((np.arange(self.records) * self.every + 1) * self.dt_s)

    @property
    def duration_s(self) -> float:
        """Simulated time, in seconds."""
        return self.steps * self.dt_s


def timing(stimulus: Any, units: int, dt_s: float, record_s: float) -> Timing:
    """Return the time steps of a run, or raise an error that names the setting that does not fit."""
    if not isinstance(stimulus, Stimulus):
        raise InputError(
            f"stimulus must be a Stimulus; got {type(stimulus).__name__}. "
            "Use constant_stimulus(x, duration_s), ou_stimulus(Σ, frames) or Stimulus(values, frame_s)."
        )
    if stimulus.units != units:
        raise InputError(f"stimulus must have {units} units, as the network has; got {stimulus.units}.")
    dt_s = positive(dt_s, "dt_s", "s")
    hold = stimulus.steps_per_frame(dt_s)
    steps = hold * len(stimulus.values)
    if positive(record_s, "record_s", "s") > stimulus.duration_s * (1 + 1e-9):
        return Timing(dt_s, steps, hold, steps)  # the first record is the only one
    every = round(record_s / dt_s)
    if every < 1 or abs(every * dt_s - record_s) > 1e-9 * record_s:
        raise ConfigError(f"record_s must be a whole number of steps of {numeral(dt_s)} s; got {numeral(record_s)} s.")
    return Timing(dt_s, steps, hold, every)
