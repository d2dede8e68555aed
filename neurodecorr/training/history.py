"""Losses, accuracies and monitored numbers of a training run, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr.errors import CheckpointError, InputError


@short_repr
@dataclass
class History:
    """Numbers of a training run, one list for each quantity.

    Parameters
    ----------
    epochs : dict of str to list of float
        Per epoch: "training loss", "training accuracy" (over the epoch, while it learns), and the same of
        "validation" and "test" at its end, where they are given. Losses in nats (cross-entropy).
    watched : dict of str to list of arrays
        What each watch measured.
    batches : list of int
        Batches learnt from, when it was measured.
    """

    epochs: dict[str, list[float]] = field(default_factory=dict)
    watched: dict[str, list[Floats]] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(next(iter(self.epochs.values()), []))

    def add_epoch(self, values: Mapping[str, float]) -> None:
        """Append the numbers of one epoch."""
        numbers = {
            name: value if isinstance(value, float) else _validation.number(value, name)  # accuracies may be NaN
            for name, value in _validation.mapping(values, "values").items()
        }
        for name, value in numbers.items():
            self.epochs.setdefault(name, []).append(value)

    def add_watched(self, batch: int, values: Mapping[str, Floats]) -> None:
        """Append what was measured after `batch` batches."""
        self.batches.append(batch)
        for name, value in values.items():
            self.watched.setdefault(name, []).append(np.asarray(value, float))

    def best(self, name: str = "validation accuracy") -> tuple[int, float]:
        """Return the epoch, from 1, in which an accuracy was highest (a loss lowest), and its value.

        Raises
        ------
        ConfigError
            If nothing of that name was measured.
        InputError
            If no epoch has a number for it: accuracies of targets that are no labels are NaN.
        """
        values = np.asarray(self.epochs[_validation.choice(name, "name", self.epochs)])
        if np.isnan(values).all():
            raise InputError(f"{name!r} must be a number in some epoch; it is NaN in all {len(values)}.")
        found = int(np.nanargmin(values) if name.endswith("loss") else np.nanargmax(values))
        return found + 1, float(values[found])

    def to_arrays(self) -> dict[str, Any]:
        """Return everything as arrays, by name."""
        arrays: dict[str, Any] = {f"epochs.{name}": np.asarray(values) for name, values in self.epochs.items()}
        arrays |= {f"watched.{name}": np.asarray(values) for name, values in self.watched.items()}
        return arrays | {"watched_batches": np.asarray(self.batches, np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> History:
        """Return the history that `to_arrays` turned into arrays; other arrays are left alone."""
        arrays = {
            name: np.asarray(one) if isinstance(one, list) else one
            for name, one in _validation.mapping(arrays, "arrays").items()
            if name == "watched_batches" or name.startswith(("epochs.", "watched."))
        }
        for name, one in arrays.items():
            _validation.instance(one, np.ndarray, f"arrays[{name!r}]", "an array")
        batches = arrays.get("watched_batches")
        kept = [a for n, a in arrays.items() if n.startswith(("epochs.", "watched."))]
        if batches is None or batches.ndim != 1 or any(a.ndim == 0 or a.dtype.kind != "f" for a in kept):
            raise CheckpointError(
                "a history must hold rows of numbers under 'epochs.…' and 'watched.…', and 'watched_batches'; "
                f"got {', '.join(sorted(arrays)) or 'nothing'}."
            )
        _require_sound(arrays, batches)
        epochs = {n.removeprefix("epochs."): a.tolist() for n, a in arrays.items() if n.startswith("epochs.")}
        watched = {n.removeprefix("watched."): list(a) for n, a in arrays.items() if n.startswith("watched.")}
        return cls(epochs, watched, [int(b) for b in batches])


def _require_sound(arrays: Mapping[str, Any], batches: Any) -> None:
    """Raise unless all rows are as long as they must be and hold numbers; accuracies of no labels are all NaN."""
    rows = {name: a for name, a in arrays.items() if name.startswith(("epochs.", "watched."))}
    epochs = {name: a for name, a in rows.items() if name.startswith("epochs.")}
    for name, a in epochs.items():
        lost = np.isnan(a)
        if lost.any() and not (lost.all() and name.endswith("accuracy")):
            raise CheckpointError(f"a history must hold numbers; {name!r} holds nan at index {int(np.argmax(lost))}.")
    if any(a.ndim != 1 for a in epochs.values()) or len({len(a) for a in epochs.values()}) > 1:
        shapes = ", ".join(f"{name!r} {a.shape}" for name, a in epochs.items())
        raise CheckpointError(f"a history must hold one number per epoch, of all epochs; got {shapes}.")
    if batches.dtype.kind not in "iu" or (batches < 0).any() or (np.diff(batches) < 0).any():
        raise CheckpointError(
            "a history must hold increasing whole numbers ≥ 0 in 'watched_batches'; got "
            f"{_validation.shown(batches)} of type {batches.dtype}."
        )
    for name, a in rows.items():
        if name not in epochs and len(a) != len(batches):
            raise CheckpointError(f"a history must hold a row of {name!r} for each of {len(batches)} measurements.")
