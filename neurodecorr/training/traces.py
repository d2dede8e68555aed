"""Stream weights and activities of a network in training to disk, in bounded memory.

One file per stretch between two checkpoints, named by the batches learnt before it. A run that goes on from a
checkpoint begins its stretch anew, so that no row is lost and none is there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.circuit.stability import margin
from neurodecorr.data import Epochs
from neurodecorr.data.epochs import Batch
from neurodecorr.errors import CheckpointError, ConfigError
from neurodecorr.io import Variable, read_traces
from neurodecorr.io.observer import Observable, Observer
from neurodecorr.io.traces import Trace
from neurodecorr.network import Network
from neurodecorr.network.algebra import as_numpy, product
from neurodecorr.network.weights import LayerSignals, WeightedLayer

KINDS = ("weights", "activities", "residuals", "margins", "errors")
COMMON = ("weights", "activities")
FOLDER = "traces"
EQUATION = "τ dx̄/dt = A (x − μ) − B x̄, y = φ(W x̄ + b); recurrent: A = I, B = R; feedforward: A = M, B = I"
# Unit and meaning of each array, by the last part of its name.
MEANINGS = {
    "W": ("1", "feedforward weights, from column to row"),
    "b": ("", "biases, in the unit of h = W x̄ + b"),
    "R": ("1", "lateral weights, from column to row"),
    "M": ("1", "decorrelating matrix, from column to row"),
    "mean": ("", "μ, running mean of the layer's input, subtracted from it"),
    "variance": ("", "σ², running variance of the layer's input, of batch normalisation"),
    "xbar": ("", "decorrelated inputs of the layer for the probe, in the unit of its input"),
    "residual": ("1", "‖A (x − μ) − B x̄‖/‖x̄‖ over the probe: how far from rest"),
    "margin": ("1/τ", "min Re λ(B)"),
    "loss": ("", "loss of each input of the probe"),
    "error": ("", "derivative of the loss by the output, for each input of the probe"),
}


@short_repr
@dataclass(frozen=True)
class RecordingOptions:
    """Describe which arrays are kept while a network learns.

    Parameters
    ----------
    what : sequence of {"weights", "activities", "residuals", "margins", "errors"}
        W, b, μ and M or R of each layer; x̄ of each layer for some inputs that stay the same; how far from rest it is;
        min Re λ of each layer's circuit; loss and its derivative by the output for these inputs. The first two by
        default.
    every : int
        Batches between two rows.
    probe : int
        How many inputs: the first ones of the training set, not augmented.

    Raises
    ------
    ConfigError
        If a name is unknown, or a number is not ≥ 1.
    """

    what: tuple[str, ...] = COMMON
    every: int = 100
    probe: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", tuple(_validation.checked_names(self.what, "what", KINDS, least=1)))
        _validation.count(self.every, "every")
        _validation.count(self.probe, "probe")


class Stretches:
    """Trace files of a run, one for each time that it was started; the last one is being written.

    Parameters
    ----------
    recording : RecordingOptions or None
        What to keep; None: nothing, but files of the future of a checkpoint are removed all the same.
    folder : path or None
        Where the run writes.
    network : Network
        Whose arrays are kept.
    training : Epochs
        Where the probe comes from.
    arrays : callable
        (network, batch) → inputs and targets, in the library of the network.
    about : mapping
        Provenance of the run.
    """

    def __init__(
        self,
        recording: RecordingOptions | None,
        folder: Path | None,
        network: Network,
        training: Epochs,
        arrays: Callable[[Network, Batch], tuple[AnyArray, AnyArray]],
        about: Mapping[str, Any],
    ) -> None:
        if recording is not None and folder is None:
            raise ConfigError("recording writes files: give the folder for them; got folder=None.")
        self._recording, self._network = recording, network
        self._folder = None if folder is None else folder / FOLDER
        self._first = 0
        self._observer: Observer | None = None
        self._probe = None if recording is None else arrays(network, _probe(training, recording.probe))
        self._about = dict(about)

    def begin(self, batches: int) -> None:
        """Begin the stretch after so many batches; what an earlier run wrote from there on is removed."""
        self.close()
        self._first = batches
        for path in _files(self._folder):
            if int(path.stem) >= batches:
                path.unlink()

    def record(self, batches: int) -> None:
        """Keep a row, if it is time."""
        if self._recording is not None and batches % self._recording.every == 0:
            if self._observer is None:
                self._observer = self._opened(self._recording)
            self._observer.observe(batches, None)

    def close(self) -> None:
        """Write what waits, and end the stretch."""
        if self._observer is not None:
            self._observer.close()
            self._observer = None

    def _opened(self, recording: RecordingOptions) -> Observer:
        """Return an observer of a new file, whose variables are the arrays as they are now."""
        assert self._folder is not None
        variables = [_variable(name, value) for name, value in self._values().items()]
        plan = self._network.layers[0].decorrelator.plan
        facts: dict[str, str | int | float] = {
            "step_description": "batches learnt from before the row was recorded",
            "every_batches": recording.every,
            "probe": recording.probe,
            "decorrelation_rate": plan.rate,
            "decorrelation_rate_is": plan.rate_is,
        }
        kept = Observable(variables, lambda _: self._values(), recording.every)
        path = self._folder / f"{self._first:012d}.h5"
        return Observer(path, [kept], EQUATION, "batches", facts=facts, provenance=self._about)

    def _values(self) -> dict[str, Any]:
        return {name: as_numpy(array) for name, array in self._arrays().items()}

    def _arrays(self) -> dict[str, AnyArray]:
        assert self._recording is not None and self._probe is not None
        what, network = self._recording.what, self._network
        found: dict[str, AnyArray] = {}
        if "weights" in what:
            found |= {name: array for name, array in network.arrays().items() if _kept(name, network)}
        if "margins" in what:
            found |= {f"layer{i}.margin": _margin(layer) for i, layer in enumerate(network.layers)}
        if {"activities", "residuals", "errors"} & set(what):
            found |= self._responses()
        return found

    def _responses(self) -> dict[str, AnyArray]:
        """Return what the probe shows."""
        assert self._recording is not None and self._probe is not None
        what, found = self._recording.what, dict[str, AnyArray]()
        passed = self._network.forward(self._probe[0])
        for i, (layer, one) in enumerate(zip(self._network.layers, passed.signals, strict=True)):
            if "activities" in what:
                found[f"layer{i}.xbar"] = one.xbar
            if "residuals" in what:
                found[f"layer{i}.residual"] = _residual(layer, one)
        if "errors" in what:
            found["loss"], found["error"] = self._network.loss.measure(passed.output, self._probe[1])
        return found


def training_traces(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, Trace]:
    """Return the arrays that a training run recorded, joined over its trace files.

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
    files = _files(_validation.checked_path(folder, "folder") / FOLDER)
    if not files:
        raise CheckpointError(f"{folder} must hold the folder {FOLDER!r} of a run that recorded arrays; it has none.")
    wanted = None if names is None else tuple(_validation.checked_names(names, "names"))
    parts: dict[str, list[Trace]] = {}
    for path in files:
        found = read_traces(path, wanted)
        for name in found:
            parts.setdefault(name, []).append(found[name])
    return {name: _joined(traces) for name, traces in parts.items()}


def _probe(training: Epochs, samples: int) -> Batch:
    return next(replace(training, size=samples, shuffle=False, augment=False).batches())


def _variable(name: str, value: Any) -> Variable:
    unit, meaning = MEANINGS.get(name.rpartition(".")[2], ("", ""))
    return Variable(name, value.shape, value.dtype, unit, meaning)


def _margin(layer: WeightedLayer) -> Any:
    """Return min Re λ(B) of a layer's circuit, per τ."""
    lateral = layer.decorrelator.as_ode()[1]
    return np.array(1.0 if lateral is None else margin(as_numpy(lateral)))


def _residual(layer: WeightedLayer, found: LayerSignals) -> Any:
    """Return ‖A (x − μ) − B x̄‖/‖x̄‖ over all rows."""
    feed, lateral = (None if part is None else as_numpy(part).astype(float) for part in layer.decorrelator.as_ode())
    drive, xbar = (as_numpy(part).astype(float) for part in (found.drive, found.xbar))
    pull = (drive if feed is None else product(drive, feed.T)) - (xbar if lateral is None else product(xbar, lateral.T))
    size = np.linalg.norm(xbar)
    return np.array(np.linalg.norm(pull) / size if size > 0 else 0.0)


def _joined(parts: list[Trace]) -> Trace:
    step, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("step", "values"))
    return replace(parts[0], step=step, values=values)


def _files(folder: Path | None) -> list[Path]:
    return [] if folder is None else sorted(path for path in folder.glob("*.h5") if path.stem.isdecimal())


def _kept(name: str, network: Network) -> bool:
    """Return True if an array is W, b, μ, or the M or R that gives x̄; beside R, M follows from it."""
    layer, _, own = name.partition(".")
    plan = network.layers[int(layer.removeprefix("layer"))].decorrelator.plan
    centred = plan.mean != "none" or plan.form == "batch_norm"
    own_arrays = ("W", "b", "R", "variance", *(("mean",) if centred else ()))
    return own in own_arrays or (own == "M" and f"{layer}.R" not in network.arrays())
