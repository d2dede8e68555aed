"""The checkpoints of a training run: written whole or not at all, and read with suspicion."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import device

from neurodecorr._numerics.blas import threads
from neurodecorr._typing import AnyArray
from neurodecorr.circuit.stability import is_stable
from neurodecorr.data import Dataset, Epochs, ImageDataset
from neurodecorr.errors import CheckpointError
from neurodecorr.io import Result, load_result, provenance, require_writable
from neurodecorr.network import Network
from neurodecorr.network.algebra import as_numpy

CHECKPOINT = "checkpoint.npz"
RESULT = "result.npz"
# Samples that are read at once.
_ROWS = 1000
# What cannot be negative: mean squares, powers, numbers of steps. So is the v of Adam, beside its m.
_NOT_NEGATIVE = ("s", "steps", "power", "variance")
# How far R M may be from I beside rounding: twins are compared at every step, and part by much less.
_TWINS = 0.05


class Keeper:
    """Writes the checkpoints and the result of a run, and reads them.

    Parameters
    ----------
    folder : path or None
        Where they lie; None: nothing is written.
    run : mapping of str to str or number
        What decides the numbers of the run; a checkpoint of another one is refused.
    config : mapping
        Kept in the files beside it.
    seed : int
        Of the run, for its provenance.
    arrays : str
        The library in which the network computes: in another one a run goes on, but not to the bit.
    """

    def __init__(
        self, folder: Path | None, run: Mapping[str, Any], config: Mapping[str, Any], seed: int, arrays: str = "numpy"
    ) -> None:
        self._folder, self._run, self._config, self._seed = folder, dict(run), dict(config), seed
        self._started = time.perf_counter()
        self._machine: dict[str, Any] = {}
        self._digest: Any = None
        if folder is not None:
            require_writable(folder)
            self._machine = _machine(provenance({}, seed)) | {"arrays": arrays}

    def save(self, arrays: Mapping[str, AnyArray]) -> None:
        """Write the checkpoint."""
        if self._folder is not None:
            meta = {"kind": "checkpoint", "run": self._run, "config": self._config, "machine": self._machine}
            kept = Result(dict(arrays), meta)
            kept.meta["digest"] = _digest(kept.arrays)
            kept.save(self._folder / CHECKPOINT)

    def found(self) -> dict[str, Any] | None:
        """Return the arrays of the checkpoint, or None if there is none.

        Raises
        ------
        CheckpointError
            If it is damaged, is none, or was written by a run with other options.
        """
        path = None if self._folder is None else self._folder / CHECKPOINT
        if path is None or not path.exists():
            return None
        kept = load_result(path)
        if kept.meta.get("kind") != "checkpoint" or not isinstance(kept.meta.get("run"), dict):
            raise CheckpointError(f"{path} must be the checkpoint of a training run; it is another kind of result.")
        others = _differences(kept.meta["run"], Result({}, self._run).meta)
        if others:
            raise CheckpointError(
                f"{path} was written by a run with other options: {others}. Use those options, or another folder."
            )
        if kept.meta.get("machine") != self._machine:
            told = _differences(kept.meta.get("machine") or {}, self._machine)
            warnings.warn(f"the run goes on to rounding, not to the bit, as it began with {told}.", stacklevel=3)
        self._digest = kept.meta.get("digest")
        return kept.arrays

    def require_whole(self, arrays: Mapping[str, AnyArray]) -> None:
        """Raise unless the arrays that were found are, to the bit, those that were written.

        Raises
        ------
        CheckpointError
            If they are not. To be called when it is known that each of them can be used.
        """
        if self._digest != _digest(arrays):
            raise CheckpointError(
                f"{self._folder and self._folder / CHECKPOINT} must hold the arrays that it was written with; its "
                "digest is another. It was changed; use an older one, or begin anew."
            )

    def require_own(self) -> None:
        """Raise unless there is a checkpoint of this run to go on from.

        Raises
        ------
        CheckpointError
            If there is none, or it is damaged or of another run.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told when the run goes on
            if self.found() is None:
                raise CheckpointError(
                    f"{self._folder} must hold {CHECKPOINT} of a run to go on with; there is none. "
                    "Without resuming, it begins from the start."
                )

    def finished(self, epochs: int) -> bool:
        """Whether the result of so many epochs is there already."""
        try:
            if self._folder is None:
                return False
            found = load_result(self._folder / RESULT)
        except CheckpointError:  # not there, or damaged: the checkpoint gives it again
            return False
        return found.meta.get("epochs") == epochs and found.meta.get("run") == Result({}, self._run).meta

    def finish(self, arrays: Mapping[str, AnyArray], epochs: int) -> None:
        """Write the result: weights, history, and where they come from."""
        if self._folder is not None:
            record = provenance(self._config, self._seed, self._started)
            meta = {"kind": "training", "run": self._run, "epochs": epochs, "provenance": record}
            Result(dict(arrays), meta).save(self._folder / RESULT)


def described_network(network: Network) -> dict[str, Any]:
    """Return what a network is before it learns: shapes, activations, decorrelation."""
    layers = {}
    for i, layer in enumerate(network.layers, 1):
        way = " ".join(type(route).__name__ for route in layer.routes)
        shapes = " → ".join("×".join(map(str, shape)) for shape in (layer.W.shape[::-1], layer.shape))
        layers[f"layer {i}"] = f"{way} {shapes}, {layer.activation.name}, {layer.decorrelator.plan}".strip()
    return {"inputs": list(network.inputs), "loss": network.loss.name, "dtype": network.dtype.name, **layers}


def described_library(network: Network) -> str:
    """Return the library in which a network computes, and outside numpy its version and the device."""
    W = network.layers[0].W
    name = type(W).__module__.partition(".")[0]
    version = getattr(sys.modules[name], "__version__", "of unknown version")
    return name if isinstance(W, np.ndarray) else f"{name} {version} on {device(W)}"


def described_rule(rule: Any) -> str:
    """Return a description with its options; of what is no dataclass, the name of its type."""
    return repr(rule) if dataclasses.is_dataclass(rule) else type(rule).__name__


def described_data(training: Epochs) -> dict[str, Any]:
    """Return which samples a run learns from, and in which order; where they lie on disk plays no part."""
    return {
        "data": fingerprint(training.dataset),
        "batch": training.size,
        "order": f"seed {training.seed}, {'shuffled' if training.shuffle else 'as it is'}",
        "preparation": described_rule(training.preparation) if training.augment else "not augmented",
    }


def fingerprint(dataset: Dataset | ImageDataset) -> str:
    """Return the number of samples, and a hash of every input and every target."""
    inputs = dataset.images if isinstance(dataset, ImageDataset) else dataset.inputs
    digest = hashlib.blake2b(digest_size=16)
    for part in (inputs, *([] if dataset.targets is None else [dataset.targets])):
        digest.update(f"{part.dtype.str} {part.shape} ".encode())
        for first in range(0, len(part), _ROWS):  # images may lie in a file that memory does not hold
            digest.update(np.ascontiguousarray(part[first : first + _ROWS]).data)
    return f"{len(dataset)} samples, fingerprint {digest.hexdigest()}"


def filled(own: dict[str, AnyArray], found: Mapping[str, Any], part: str, *, grows: bool = False) -> dict[str, Any]:
    """Return `found` as arrays that can stand in the place of `own`.

    Parameters
    ----------
    own, found : mapping of str to array
        What is there, and what a checkpoint holds.
    part : str
        Whose arrays they are, for messages.
    grows : bool
        Whether further arrays may be there, such as those that come with the first batch.

    Raises
    ------
    CheckpointError
        If one is missing, unknown, or of another shape or type.
    """
    for name in sorted((own.keys() - found.keys()) | (set() if grows else found.keys() - own.keys())):
        word = "missing" if name in own else "unknown here"
        raise CheckpointError(f"the checkpoint is of another {part}: its array {name!r} is {word}.")
    for name, like in own.items():
        if tuple(like.shape) != found[name].shape:
            shapes = f"{tuple(like.shape)}; got {found[name].shape}"
            raise CheckpointError(f"the checkpoint is of another {part}: {name!r} must have the shape {shapes}.")
        if (wanted := as_numpy(like).dtype) != found[name].dtype:
            raise CheckpointError(
                f"the checkpoint is of another {part}: {name!r} must be of type {wanted}; got {found[name].dtype}."
            )
    for name, values in found.items():
        _require_usable(name, values, own)
    return dict(found)


def require_circuits(arrays: Mapping[str, Any]) -> None:
    """Raise unless the decorrelating matrices of a network can have been learnt.

    ::

        min Re λ(R) > 0,    R M = I where a layer keeps both,    det M > 0 and tr M > 0 where it has M alone

    The last two hold for every M = R⁻¹ of a circuit that settles.

    Raises
    ------
    CheckpointError
        With the layer.
    """
    for name, found in arrays.items():
        layer, _, own = name.partition(".")
        if own not in ("R", "M") or found.ndim != 2 or found.shape[0] != found.shape[1]:
            continue  # a shape that is none is told with the one that it must have
        matrix, words = found.astype(float), f"the checkpoint: {own} of {layer}"
        if own == "R" and not is_stable(matrix):
            raise CheckpointError(f"{words} must have min Re λ > 0, as of a circuit that settles; it has not.")
        lateral = arrays.get(f"{layer}.R")
        if own == "M" and lateral is None and not (np.linalg.slogdet(matrix)[0] > 0 and np.trace(matrix) > 0):
            raise CheckpointError(f"{words} must have det M > 0 and tr M > 0, as the inverse of a circuit has.")
        if own == "M" and lateral is not None and lateral.shape == found.shape:
            R = lateral.astype(float)
            rounding = 64 * float(np.finfo(found.dtype).eps) * float(np.linalg.norm(R) * np.linalg.norm(matrix))
            gap = float(np.abs(R @ matrix - np.eye(len(R))).max())
            if not gap <= _TWINS + rounding:
                raise CheckpointError(f"{words} must be the inverse of R; R M leaves I by {gap:.2g}.")


def _require_usable(name: str, values: Any, own: Mapping[str, AnyArray]) -> None:
    """Raise unless an array holds numbers: finite, if not unknown at the start as well, and ≥ 0 where they must be."""
    unknown = name in own and bool(np.isnan(as_numpy(own[name])).all())
    if values.dtype.kind not in "biuf" or not (np.isfinite(values) | (unknown & np.isnan(values))).all():
        raise CheckpointError(f"the checkpoint: {name!r} must hold finite numbers; it holds others ({values.dtype}).")
    kind = name.rpartition(".")[2].rstrip("0123456789")
    if (kind in _NOT_NEGATIVE or (kind == "v" and "m0" in own)) and (values < 0).any():
        raise CheckpointError(f"the checkpoint: {name!r} must hold numbers ≥ 0; the least is {values.min()}.")


def _digest(arrays: Mapping[str, Any]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()


def _machine(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the last bits depend on."""
    blas = sorted(f"{library['name']} {library['version']} ({library['kernel']})" for library in record["blas"])
    versions = {name: record["versions"][name] for name in ("neurodecorr", "numpy", "scipy", "numba")}
    return {"BLAS": blas, "threads": threads(), **versions}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return "; ".join(f"{name} {before.get(name)} → {now.get(name)}" for name in names)
