"""Description of network, data and rules in a checkpoint, and the tests of its arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import device

from neurodecorr._typing import AnyArray
from neurodecorr.circuit.stability import is_stable
from neurodecorr.data import Dataset, Epochs, ImageDataset
from neurodecorr.errors import CheckpointError
from neurodecorr.network import Network
from neurodecorr.network.algebra import as_numpy

# Samples that are read at once.
_ROWS = 1000
# What cannot be negative: mean squares, powers, numbers of steps. So is the v of Adam, beside its m.
_NOT_NEGATIVE = ("s", "steps", "power", "variance")
# How far R M may be from I beside rounding: twins are compared at every step, and part by much less.
_TWINS = 0.05


def described_network(network: Network) -> dict[str, Any]:
    """Describe a network before it learns: shapes, activations, decorrelation."""
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
    """Return the options of a rule as text, or the name of its type if it is no dataclass."""
    return repr(rule) if dataclasses.is_dataclass(rule) else type(rule).__name__


def described_data(training: Epochs) -> dict[str, Any]:
    """Describe the training samples and their order; the path on disk plays no part."""
    return {
        "data": training_fingerprint(training.dataset),
        "batch": training.size,
        "order": f"seed {training.seed}, {'shuffled' if training.shuffle else 'as it is'}",
        "preparation": described_rule(training.preparation) if training.augment else "not augmented",
    }


def training_fingerprint(dataset: Dataset | ImageDataset) -> str:
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
