"""When to record: every k samples, or at log-spaced times."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Int64s
from neurodecorr._validation import count, offers


class Schedule(Protocol):
    """What a learner asks of a schedule. Time is counted in samples seen; 0 is before the first."""

    def due(self, step: int) -> bool:
        """Tell whether the state after `step` samples is to be recorded.

        Parameters
        ----------
        step : int
            Samples seen, ≥ 0.

        Returns
        -------
        bool
            True at recording times.
        """
        ...

    def record_times(self, total: int) -> Int64s:
        """Return the times to record in a run of `total` samples: sorted, unique, with 0 and `total`.

        Parameters
        ----------
        total : int
            Length of the run in samples, ≥ 0.

        Returns
        -------
        (t,) array of int64
            Samples seen at each recording.
        """
        ...


@dataclass(frozen=True)
class EverySamples:
    """Record every k samples.

    ::

        t = 0, k, 2k, …

    Parameters
    ----------
    samples : int
        The interval k, ≥ 1.

    Raises
    ------
    ConfigError
        If the interval is not a whole number ≥ 1.

    Examples
    --------
    >>> EverySamples(100).record_times(250).tolist()
    [0, 100, 200, 250]
    >>> EverySamples(100).due(200), EverySamples(100).due(250)
    (True, False)
    """

    samples: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", count(self.samples, "samples"))

    def due(self, step: int) -> bool:
        """Tell whether the state after `step` samples is to be recorded.

        Parameters
        ----------
        step : int
            Samples seen, ≥ 0.

        Returns
        -------
        bool
            True at recording times.
        """
        return count(step, "step", least=0) % self.samples == 0

    def record_times(self, total: int) -> Int64s:
        """Return the times to record in a run of `total` samples: sorted, unique, with 0 and `total`.

        Parameters
        ----------
        total : int
            Length of the run in samples, ≥ 0.

        Returns
        -------
        (t,) array of int64
            Samples seen at each recording.
        """
        require_memory(8 * (count(total, "total", least=0) / self.samples), "the recording times")
        return _with_end(np.arange(0, total + 1, self.samples, dtype=np.int64), total)


@dataclass(frozen=True)
class LogSpaced:
    """Record at times spaced evenly in the logarithm, and at 0.

    ::

        t_i = max(i + 1, ⌊h^(i/(p − 1)) + ½⌋),   i = 0 … p − 1

    for p points up to the horizon h. Early times that round to the same sample move to the next free one, so the p
    times are distinct; if h < p every sample is a recording time. After the horizon only the end of a run is recorded.

    Parameters
    ----------
    points : int
        How many times p after 0, ≥ 1.
    horizon : int
        The last of them h, in samples, ≥ 1.

    Raises
    ------
    ConfigError
        If either is not a whole number ≥ 1.

    Examples
    --------
    >>> LogSpaced(points=6, horizon=1000).record_times(1000).tolist()
    [0, 1, 4, 16, 63, 251, 1000]
    >>> LogSpaced(points=6, horizon=1000).record_times(100).tolist()
    [0, 1, 4, 16, 63, 100]
    """

    points: int
    horizon: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", count(self.points, "points"))
        object.__setattr__(self, "horizon", count(self.horizon, "horizon"))

    def due(self, step: int) -> bool:
        """Tell whether the state after `step` samples is to be recorded.

        Parameters
        ----------
        step : int
            Samples seen, ≥ 0.

        Returns
        -------
        bool
            True at recording times.
        """
        times = _log_times(self.points, self.horizon)
        at = int(np.searchsorted(times, count(step, "step", least=0)))
        return at < len(times) and int(times[at]) == step

    def record_times(self, total: int) -> Int64s:
        """Return the times to record in a run of `total` samples: sorted, unique, with 0 and `total`.

        Parameters
        ----------
        total : int
            Length of the run in samples, ≥ 0.

        Returns
        -------
        (t,) array of int64
            Samples seen at each recording.
        """
        times = _log_times(self.points, self.horizon)
        return _with_end(times[times <= count(total, "total", least=0)], total)


def spans(schedule: Schedule, total: int, start: int = 0) -> list[tuple[int, int]]:
    """Return the stretches of samples to learn between two recordings.

    ::

        (t₀, t₁), (t₁, t₂), …,   the recording times t of a run of `total` samples, from `start` on

    Parameters
    ----------
    schedule : Schedule
        When to record.
    total : int
        Length of the run in samples.
    start : int, default 0
        Samples already seen, for a run that resumes.

    Returns
    -------
    list of (int, int)
        First sample of a stretch and the one after its last: learn `X[first:last]`, then record at `last`.

    Raises
    ------
    ConfigError
        If `total` or `start` is not a whole number ≥ 0.

    Examples
    --------
    >>> spans(EverySamples(100), 250)
    [(0, 100), (100, 200), (200, 250)]
    >>> spans(EverySamples(100), 250, start=150)
    [(150, 200), (200, 250)]
    """
    offers(schedule, ("due", "record_times"), "schedule", "a schedule, such as EverySamples(100)")
    times: list[Any] = schedule.record_times(total).tolist()
    begin = count(start, "start", least=0)
    return list(itertools.pairwise([begin, *(time for time in times if time > begin)]))


@functools.lru_cache(maxsize=32)
def _log_times(points: int, horizon: int) -> Int64s:
    # Distinct without a search: h^(i/(p−1)) is convex and meets the line i + 1 from below at most once after i = 0;
    # beyond that its steps are ≥ 1, and ⌊· + ½⌋ keeps steps ≥ 1 apart (rint would merge 1.5 and 2.5).
    p = min(points, horizon)
    i = np.arange(p)
    times = np.maximum(i + 1, np.floor(float(horizon) ** (i / max(p - 1, 1)) + 0.5).astype(np.int64))
    times[-1] = horizon
    times = np.concatenate(([0], times))
    times.setflags(write=False)
    return times


def _with_end(times: Int64s, total: int) -> Int64s:
    """Append the end of the run, unless it is there."""
    return times.copy() if times[-1] == total else np.append(times, np.int64(total))
