"""Stream chosen variables to one HDF5 file, in bounded memory, so that a killed run leaves a readable file.

`Recorder` writes rows. `Observer` decides which rows are due, and says in the file what they mean: every trace of the
library (trajectories, learning, online circuits, training) comes from it. `RecordingTimes` are for loops of one's own.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, NoReturn, Protocol, Self

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Int64s
from neurodecorr._validation import MOST, checked_path, choice, count, mapping, not_negative, offers, whole_numbers
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.hdf5 import Column, Stream, Variable, checked_metadata, distinct
from neurodecorr.io.json import canonical_json
from neurodecorr.io.traces import checked_parts, create_tracefile
from neurodecorr.io.trees import Branch

# Rows wait in memory up to this size, so that memory stays bounded however long a run is.
BUFFER_BYTES = 8 * 2**20
# A run that is killed loses about so many seconds of its rows.
FLUSH_SECONDS = 5.0


@short_repr
class Recorder:
    """Writer that streams variables to an HDF5 file during a run.

    The file stands under its final name from the start and is readable at any time, also while it grows and after the
    process was killed: `read_traces` then gives every row up to the last flush. Rows wait in memory until their share
    of `buffer_bytes` is full, `flush_seconds` have passed, or `flush` or `close` is called. An older file at `path` is
    replaced once the new one has been created.

    Every variable has its own step axis, so that R may be recorded every 10 000 samples and the margin every 100.
    Several threads may record, one row after the other.

    Parameters
    ----------
    path : path-like
        The file to write, by custom `traces.h5`.
    variables : iterable of Variable
        What will be recorded. All are declared before the first row.
    provenance : mapping, optional
        Where the run came from, see `provenance`; stored as JSON.
    metadata : mapping of str to str or number, optional
        Attributes of the whole file, such as `{"tau_s": 0.02, "equation": "τ dx̄/dt = x − R x̄"}`.
        Texts "step_unit" and "step_description" tell what steps count, by custom samples; both go to the step axes.
        With the unit "dt", "dt" and "tau_unit" make times of them, see `Traces.to_xarray`.
    parts : Branch, optional
        What stands beside the traces in the same file, complete from the start: such as the circuit that runs, as
        `export.nir.files.nir_parts` gives it.
    compression : int, optional
        Level of gzip, 1 (fast) to 9 (small); without it, rows are stored as they are. Always with a checksum.
    buffer_bytes : int, default 8 MiB
        The most that waiting rows may take, all variables together. A row that exceeds its share is written at once.
    flush_seconds : float, default 5
        The longest time a row waits while recording goes on, in seconds, ≥ 0.

    Raises
    ------
    ConfigError
        If there is no variable, two share a name, or an option lies outside its range.
    CheckpointError
        If the file cannot be created; an older file is then unchanged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from neurodecorr.io.traces import read_traces
    >>> margin = Variable("margin", unit="1/τ", description="min Re λ(R)")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Recorder(Path(folder) / "traces.h5", [margin]) as recorder:
    ...         for step in (0, 100, 200):
    ...             recorder.record(step, {"margin": 1.0 - step / 1000})
    ...     trace = read_traces(folder)["margin"]
    >>> trace.step.tolist(), trace.values.tolist()
    ([0, 100, 200], [1.0, 0.9, 0.8])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        variables: Iterable[Variable],
        *,
        provenance: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str | int | float] | None = None,
        parts: Branch | None = None,
        compression: int | None = None,
        buffer_bytes: int = BUFFER_BYTES,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        declared = distinct(variables)
        attributes = checked_metadata({} if metadata is None else mapping(metadata, "metadata"))
        described = {} if provenance is None else dict(mapping(provenance, "provenance"))
        document = canonical_json(described, "provenance")
        share = count(buffer_bytes, "buffer_bytes") // len(declared)
        self.path, self._lock = checked_path(path), threading.RLock()
        self._flush_seconds = not_negative(flush_seconds, "flush_seconds", "seconds")
        level = None if compression is None else count(compression, "compression", most=9)
        create_tracefile(self.path, declared, document, attributes, level, checked_parts(parts))
        self._closed = True  # until it is open
        with self._failing():
            self._stream = Stream(self.path)
            self._closed = False
            self._columns = {variable.name: Column(self._stream, variable, share) for variable in declared}
        self._flushed = monotonic()

    def record(self, step: int, values: Mapping[str, npt.ArrayLike]) -> None:
        """Record one row of some of the variables.

        Parameters
        ----------
        step : int
            How many samples had been seen, or what else `step_unit` names, ≥ 0; larger than at each variable's last
            recording.
        values : mapping of str to array_like
            Values by name, each of its variable's shape; copied.

        Raises
        ------
        ConfigError
            If a name was not declared (the nearest one is suggested), or `step` is not a whole number ≥ 0.
        InputError
            If a shape or type does not fit, or a step does not increase. Nothing is recorded then.
        CheckpointError
            If the recorder is closed, or the file cannot be written (a full disk).
        """
        with self._lock:
            if self._closed:
                self._check_open()
            # The usual cases first: a trace of a million rows passes here a million times.
            at = step if type(step) is int and 0 <= step <= MOST else count(step, "step", least=0)
            if type(values) is not dict and not isinstance(values, Mapping):
                raise InputError(f"values must be a mapping from names to values; got {type(values).__name__}.")
            accepted = []
            for name, value in values.items():
                column = self._columns.get(name) or self._column(name)
                accepted.append((column, column.accept(at, value)))
            try:
                for column, row in accepted:
                    column.append(at, row)
            except (OSError, RuntimeError) as error:
                self._fail(error)
            if monotonic() - self._flushed >= self._flush_seconds:
                self.flush()

    def record_rows(self, steps: npt.ArrayLike, values: Mapping[str, npt.ArrayLike]) -> None:
        """Record many rows of some of the variables at once, which costs less per row than `record`.

        Parameters
        ----------
        steps : (rows,) array of int
            How many samples had been seen, or what else `step_unit` names, ≥ 0 and increasing; larger than at each
            variable's last recording.
        values : mapping of str to array_like
            Values by name, (rows, *shape).

        Raises
        ------
        ConfigError, InputError, CheckpointError
            As `record` does. Nothing is recorded if a name, shape, type or step does not fit.
        """
        with self._lock:
            self._check_open()
            at = _increasing(steps)
            if not isinstance(values, Mapping):
                raise InputError(f"values must be a mapping from names to values; got {type(values).__name__}.")
            columns = [(self._column(name), value) for name, value in values.items()]
            checked = [(column, column.accept_rows(at, value)) for column, value in columns]
            if len(at) == 0:
                return
            with self._failing():
                for column, rows in checked:
                    column.extend(at, rows)
            if monotonic() - self._flushed >= self._flush_seconds:
                self.flush()

    def flush(self) -> None:
        """Write all waiting rows; from here on they survive the end of the process.

        Raises
        ------
        CheckpointError
            If the recorder is closed, or the file cannot be written (a full disk).
        """
        with self._lock:
            self._check_open()
            with self._failing():
                for column in self._columns.values():
                    column.flush()
            self._flushed = monotonic()

    def close(self) -> None:
        """Write all waiting rows and close the file. Closing twice does nothing.

        Raises
        ------
        CheckpointError
            If the file cannot be written (a full disk); rows flushed before are safe.
        """
        with self._lock:
            if self._closed:
                return
            self.flush()
            self._closed = True
            with self._failing():
                self._stream.close()

    @property
    def buffered_bytes(self) -> int:
        """Memory held for waiting rows, in bytes; at most `buffer_bytes`."""
        return sum(column.buffer_bytes for column in self._columns.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            self.close()
        except CheckpointError:
            if raised[0] is None:
                raise

    def _column(self, name: str) -> Column:
        return self._columns[choice(name, "a recorded name", self._columns)]

    def _check_open(self) -> None:
        if self._closed:
            raise CheckpointError(f"cannot record to {self.path}: the recorder is closed. Make a new one.")

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn an error of HDF5 or the system into a CheckpointError, and stop recording."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            self._fail(error)

    def _fail(self, error: OSError | RuntimeError) -> NoReturn:
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError, RuntimeError):
                self._stream.close()
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        problem = CheckpointError(f"cannot write {self.path}: {reason}. Rows flushed before are safe.")
        problem.errno = getattr(error, "errno", None)
        raise problem from error


@dataclass(frozen=True, eq=False)
class Observable:
    """Variables that are recorded at the same steps.

    ::

        recorded at  begin, begin + every, begin + 2 every, …

    Parameters
    ----------
    variables : sequence of Variable
        What is recorded.
    values : callable
        (subject) → values by name; a variable that is missing gets no row this time.
    every : int, default 1
        Steps between two rows.
    begin : int, default 0
        The step of the first row.
    per_step : bool, default False
        Whether `values` gives one row for each step of a block, (steps, *shape), rather than one for its end.
    """

    variables: Sequence[Variable]
    values: Callable[[Any], Mapping[str, npt.ArrayLike]]
    every: int = 1
    begin: int = 0
    per_step: bool = False

    def steps_left(self, step: int) -> int:
        """Return how many steps after `step` the next row is due, at least 1."""
        return self.every - (step - self.begin) % self.every


class Observer:
    """Recorder of several observables of one step-by-step process, in one trace file.

    Parameters
    ----------
    path : path-like
        The file to write.
    observables : sequence of Observable
        What is recorded, and when.
    equation : str
        The equation that is followed.
    step_unit : str
        What steps count: "samples", "batches", "dt".
    tau : float, default 1
        Time constant, in `tau_unit`.
    tau_unit : str, default "τ"
        Unit of all times.
    facts : mapping, optional
        What else the file says of the whole, such as seeds and rates; see `Recorder`.
    provenance : mapping, optional
        Where the run came from.

    Examples
    --------
    >>> import tempfile
    >>> from neurodecorr.io.traces import read_traces
    >>> halved = Observable([Variable("x")], lambda x: {"x": x}, every=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Observer(f"{folder}/traces.h5", [halved], "x ← x/2", "halvings") as observer:
    ...         for step in range(4):
    ...             observer.observe(step, 0.5**step)
    ...         observer.finish(3, 0.5**3)
    ...     read_traces(folder)["x"].values.tolist()
    [1.0, 0.25, 0.125]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        observables: Sequence[Observable],
        equation: str,
        step_unit: str,
        *,
        tau: float = 1.0,
        tau_unit: str = "τ",
        facts: Mapping[str, str | int | float] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        said = {"equation": equation, "tau": tau, "tau_unit": tau_unit, "step_unit": step_unit, **(facts or {})}
        variables = [variable for one in observables for variable in one.variables]
        self._observables, self._last = observables, -1
        self._recorder = Recorder(path, variables, provenance=provenance, metadata=said)

    def steps_left(self, step: int, most: int) -> int:
        """Return how many steps, at most `most`, can be taken after `step` until a row of their end is due."""
        return min([most, *(one.steps_left(step) for one in self._observables if not one.per_step)])

    def observe(self, step: int, subject: Any, steps: int = 0) -> None:
        """Record what is due.

        Parameters
        ----------
        step : int
            Steps taken so far.
        subject : object
            What the observables are asked about.
        steps : int, default 0
            How many steps, up to and with `step`, a block had; observables per step are asked where it had some.
        """
        for one in self._observables:
            if one.per_step:
                first = one.steps_left(step - steps) - 1  # of the steps of the block, counted from 0
                if first < steps:
                    rows = {name: np.asarray(found)[first :: one.every] for name, found in one.values(subject).items()}
                    self._recorder.record_rows(np.arange(step - steps + 1 + first, step + 1, one.every), rows)
            elif one.steps_left(step) == one.every:
                self._recorder.record(step, one.values(subject))
                self._last = step

    def finish(self, step: int, subject: Any) -> None:
        """Record the end of a run, unless a row has just been recorded."""
        if step > self._last:
            for one in self._observables:
                if not one.per_step:
                    self._recorder.record(step, one.values(subject))
            self._last = step

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._recorder.__exit__(*raised)


def _increasing(steps: npt.ArrayLike) -> npt.NDArray[np.int64]:
    at = whole_numbers(steps, "steps").astype(np.int64)
    if at.ndim != 1:
        raise InputError(f"steps must be whole numbers in a row; got {at.dtype} of shape {at.shape}.")
    bad = np.flatnonzero(np.diff(at, prepend=-1) <= 0)
    if len(bad):
        before = f" after {at[bad[0] - 1]}" if bad[0] else ""
        raise InputError(f"steps must be ≥ 0 and increase; got {at[bad[0]]}{before} at index {bad[0]}.")
    return at


class RecordingTimes(Protocol):
    """Steps at which something is recorded, counted in samples seen; 0 is before the first."""

    def due(self, step: int) -> bool:
        """Return True if the state after `step` samples is to be recorded.

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


@short_repr
@dataclass(frozen=True)
class EverySamples:
    """Recording times at every k-th sample.

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
        """Return True if the state after `step` samples is to be recorded."""
        return count(step, "step", least=0) % self.samples == 0

    def record_times(self, total: int) -> Int64s:
        """Return the times to record in a run of `total` samples: sorted, unique, with 0 and `total`."""
        require_memory(8 * (count(total, "total", least=0) / self.samples), "the recording times")
        return _with_end(np.arange(0, total + 1, self.samples, dtype=np.int64), total)


@short_repr
@dataclass(frozen=True)
class LogSpaced:
    """Recording times that are evenly spaced in the logarithm, and 0.

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
        """Return True if the state after `step` samples is to be recorded."""
        times = _log_times(self.points, self.horizon)
        at = int(np.searchsorted(times, count(step, "step", least=0)))
        return at < len(times) and int(times[at]) == step

    def record_times(self, total: int) -> Int64s:
        """Return the times to record in a run of `total` samples: sorted, unique, with 0 and `total`."""
        times = _log_times(self.points, self.horizon)
        return _with_end(times[times <= count(total, "total", least=0)], total)


def spans(times: RecordingTimes, total: int, start: int = 0) -> list[tuple[int, int]]:
    """Return the ranges of samples between two recordings.

    ::

        (t₀, t₁), (t₁, t₂), …,   the recording times t of a run of `total` samples, from `start` on

    Parameters
    ----------
    times : RecordingTimes
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
    offers(times, ("due", "record_times"), "times", "recording times, such as EverySamples(100)")
    begin = count(start, "start", least=0)
    later: list[Any] = [time for time in times.record_times(total).tolist() if time > begin]
    return list(itertools.pairwise([begin, *later]))


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
