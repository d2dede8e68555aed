"""Weights and activities of a network on their way, streamed to disk in bounded memory.

One file per stretch between two checkpoints, named by the batches learnt before it. A run that goes on from a
checkpoint begins its stretch anew, so that no row is lost and none is there twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr import _checks
from neurodecorr.data import Epochs
from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.network import Network
from neurodecorr.network.algebra import as_numpy
from neurodecorr.recording import Recorder, Trace, Variable, read_traces

__all__ = ["KINDS", "Recording", "Stretches", "training_traces"]

Array = Any  # any array-API array
KINDS = ("weights", "activities")
FOLDER = "traces"


@dataclass(frozen=True)
class Recording:
    """Describe which arrays are kept while a network learns.

    Parameters
    ----------
    what : sequence of {"weights", "activities"}
        W, b and M or R of each layer; x̄ of each layer for some inputs that stay the same.
    every : int
        Batches between two rows.
    probe : int
        How many inputs: the first ones of the training set, not augmented.

    Raises
    ------
    ConfigError
        If a name is unknown, or a number is not ≥ 1.
    """

    what: tuple[str, ...] = KINDS
    every: int = 100
    probe: int = 32

    def __post_init__(self) -> None:
        if isinstance(self.what, str) or not self.what:
            raise ConfigError(f"what must be a sequence with some of {', '.join(KINDS)}; got {self.what!r}.")
        object.__setattr__(self, "what", tuple(_checks.choice(name, "what", KINDS) for name in self.what))
        _checks.count(self.every, "every")
        _checks.count(self.probe, "probe")


class Stretches:
    """The trace files of a run, of which the last one is being written.

    Parameters
    ----------
    recording : Recording or None
        What to keep; None: nothing, but files of the future of a checkpoint are removed all the same.
    folder : path or None
        Where the run writes.
    network : Network
        Whose arrays are kept.
    training : Epochs
        Where the probe comes from.
    """

    def __init__(self, recording: Recording | None, folder: Path | None, network: Network, training: Epochs) -> None:
        if recording is not None and folder is None:
            raise ConfigError("recording writes files: give the folder for them; got folder=None.")
        self._recording, self._network = recording, network
        self._folder = None if folder is None else folder / FOLDER
        self._first = 0
        self._recorder: Recorder | None = None
        self._probe = None if recording is None else _probe(training, recording.probe)

    def begin(self, batches: int) -> None:
        """Begin the stretch after so many batches; what an earlier run wrote from there on is removed."""
        self.close()
        self._first = batches
        for path in _files(self._folder):
            if int(path.stem) >= batches:
                path.unlink()

    def record(self, batches: int) -> None:
        """Keep a row, if it is time."""
        if self._recording is None or batches % self._recording.every:
            return
        values = {name: as_numpy(array) for name, array in self._arrays().items()}
        self._opened(values).record(batches, values)

    def close(self) -> None:
        """Write what waits, and end the stretch."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def _opened(self, values: dict[str, Any]) -> Recorder:
        if self._recorder is None:
            assert self._folder is not None
            variables = [Variable(name, value.shape, value.dtype) for name, value in values.items()]
            self._recorder = Recorder(self._folder / f"{self._first:012d}.h5", variables)
        return self._recorder

    def _arrays(self) -> dict[str, Array]:
        assert self._recording is not None
        found: dict[str, Array] = {}
        if "weights" in self._recording.what:
            found |= {name: array for name, array in self._network.arrays().items() if _kept(name, self._network)}
        if "activities" in self._recording.what:
            signals = self._network.forward(self._probe).signals
            found |= {f"layer{i}.xbar": one.xbar for i, one in enumerate(signals)}
        return found


def training_traces(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, Trace]:
    """Return the arrays that a training run recorded, its stretches joined.

    Parameters
    ----------
    folder : path
        Where the run wrote, or writes.
    names : iterable of str, optional
        Such as "layer0.W"; all by default.

    Returns
    -------
    dict of str to Trace
        Steps are batches learnt from before the row was taken.

    Raises
    ------
    CheckpointError
        If there are no traces, or a file is damaged.
    """
    files = _files(Path(folder) / FOLDER)
    if not files:
        raise CheckpointError(f"{folder} must hold the folder {FOLDER!r} of a run that recorded arrays; it has none.")
    wanted = None if names is None else tuple(names)
    parts: dict[str, list[Trace]] = {}
    for path in files:
        found = read_traces(path, wanted)
        for name in found:
            parts.setdefault(name, []).append(found[name])
    return {name: _joined(traces) for name, traces in parts.items()}


def _probe(training: Epochs, samples: int) -> Array:
    inputs = next(replace(training, size=samples, shuffle=False, augment=False).batches()).inputs
    return inputs.reshape(len(inputs), -1)


def _joined(parts: list[Trace]) -> Trace:
    step, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("step", "values"))
    return replace(parts[0], step=step, values=values)


def _files(folder: Path | None) -> list[Path]:
    return [] if folder is None else sorted(path for path in folder.glob("*.h5") if path.stem.isdecimal())


def _kept(name: str, network: Network) -> bool:
    """Whether an array is W, b, or the M or R that learns; beside R, M follows from it."""
    layer, _, own = name.partition(".")
    return own in ("W", "b", "R") or (own == "M" and f"{layer}.R" not in network.arrays())
