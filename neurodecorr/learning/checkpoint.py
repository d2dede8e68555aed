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

from neurodecorr._threads import threads
from neurodecorr.data import Epochs, ImageDataset
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.network import Network
from neurodecorr.recording import Result, load_result, provenance, require_writable

__all__ = [
    "CHECKPOINT",
    "RESULT",
    "Keeper",
    "described_data",
    "described_library",
    "described_network",
    "described_rule",
    "filled",
    "load_network",
]

Array = Any  # any array-API array
CHECKPOINT = "checkpoint.npz"
RESULT = "result.npz"
# Samples that go into the fingerprint of a dataset; its targets all do.
FINGERPRINTED = 2000


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
        if folder is not None:
            require_writable(folder)
            self._machine = _machine(provenance({}, seed)) | {"arrays": arrays}

    def save(self, arrays: Mapping[str, Array]) -> None:
        """Write the checkpoint."""
        if self._folder is not None:
            meta = {"kind": "checkpoint", "run": self._run, "config": self._config, "machine": self._machine}
            Result(dict(arrays), meta).save(self._folder / CHECKPOINT)

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
        return kept.arrays

    def finished(self, epochs: int) -> bool:
        """Whether the result of so many epochs is there already."""
        if self._folder is None or not (self._folder / RESULT).exists():
            return False
        found = load_result(self._folder / RESULT)
        return found.meta.get("epochs") == epochs and found.meta.get("run") == Result({}, self._run).meta

    def finish(self, arrays: Mapping[str, Array], epochs: int) -> None:
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
    """Return which samples a run learns from, and in which order."""
    found = training.dataset
    inputs = found.images if isinstance(found, ImageDataset) else found.inputs
    stride = -(-len(found) // FINGERPRINTED)
    digest = hashlib.blake2b(digest_size=8)
    for part in (inputs[::stride], found.targets):
        digest.update(np.ascontiguousarray(part).tobytes())
    return {
        "data": f"{len(found)} samples of {found.name!r}, fingerprint {digest.hexdigest()}",
        "batch": training.size,
        "order": f"seed {training.seed}, {'shuffled' if training.shuffle else 'as it is'}",
        "preparation": described_rule(training.preparation) if training.augment else "not augmented",
    }


def filled(own: dict[str, Array], found: Mapping[str, Any], part: str, *, grows: bool = False) -> dict[str, Any]:
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
    return dict(found)


def load_network(network: Network, arrays: Mapping[str, Any]) -> None:
    """Load the weights of a checkpoint.

    Raises
    ------
    CheckpointError
        If they are not those of this network; it is then unchanged.
    """
    try:
        network.load(arrays)
    except InputError as error:
        raise CheckpointError(f"the checkpoint does not fit the network: {error}") from error


def _machine(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the last bits depend on."""
    blas = sorted(f"{library['name']} {library['version']} ({library['kernel']})" for library in record["blas"])
    versions = {name: record["versions"][name] for name in ("neurodecorr", "numpy", "scipy", "numba")}
    return {"BLAS": blas, "threads": threads(), **versions}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return "; ".join(f"{name} {before.get(name)} → {now.get(name)}" for name in names)
