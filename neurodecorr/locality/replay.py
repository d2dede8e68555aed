"""A network that runs from a tape: its passes, losses and noise are recorded once, and can be altered.

Of a rule of credit assignment the tape separates what a synapse is handed (activities, errors, losses, noise) from
what the rule itself computes. Altering one number on the tape changes nothing else there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.network import Network
from neurodecorr.network.losses import Loss
from neurodecorr.network.network import ForwardResult
from neurodecorr.network.weights import Signals, WeightedLayer

Record = dict[str, Floats]
FIELDS = ("x", "drive", "xbar", "h")


class Tape:
    """Records in the order in which they were made; once wound back, they are handed out in that order.

    Each is a dictionary of arrays, named by what they are and the layer: "xbar1", "noise0", "loss".
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._position: int | None = None
        self._shapes: list[Any] = []

    def wind_back(self) -> None:
        """Replay from the beginning."""
        self._position = 0

    def play(self, make: Callable[[], Any], apart: Callable[[Any], Record], whole: Callable[[Any, Record], Any]) -> Any:
        """Return what `make` makes, and record it; or what was recorded in its place.

        Parameters
        ----------
        make : callable
            Makes the value.
        apart, whole : callable
            Value → arrays by name, and (value, arrays) → value with these arrays.
        """
        if self._position is None:
            found = make()
            self._shapes.append(found)
            self.records.append({name: np.array(array) for name, array in apart(found).items()})
            return found
        found, record = self._shapes[self._position], self.records[self._position]
        self._position += 1
        return whole(found, {name: np.array(array) for name, array in record.items()})


class _ReplayedLayer(WeightedLayer):
    """A layer that responds from the tape; its weights, and how it passes errors back, are its own."""

    def __init__(self, layer: WeightedLayer, index: int, tape: Tape) -> None:
        super().__init__(layer.W, layer.b, layer.activation, layer.decorrelator, layer.routes, layer.shape)
        self._layer, self._index, self._tape = layer, index, tape

    def respond(self, activity: Floats, training: bool) -> Signals:
        """Return what the layer did when the tape was made."""
        found: Signals = self._tape.play(
            lambda: self._layer.respond(activity, training),
            lambda made: _apart(made, self._index),
            lambda made, record: _whole(made, record, self._index),
        )
        return found


class ReplayedNetwork(Network):
    """A network whose passes, losses and noise lie on a tape; weights and lateral matrices are its own.

    Parameters
    ----------
    network : Network
        Copied.
    tape : Tape
        Where they lie.
    """

    def __init__(self, network: Network, tape: Tape) -> None:
        self._network, self._tape = network.copy(), tape
        self.layers = [_ReplayedLayer(layer, i, tape) for i, layer in enumerate(self._network.layers)]
        self.inputs, self.dtype, self.loss = network.inputs, network.dtype, Loss(network.loss.name, self._measure)

    def forward(
        self, X: Floats, *, training: bool = False, noise: Sequence[Floats | None] | None = None
    ) -> ForwardResult:
        """Return the pass of the tape."""
        found: ForwardResult = self._tape.play(
            lambda: self._network.forward(X, training=training, noise=noise),
            lambda made: {k: a for i, s in enumerate(made.signals) for k, a in _apart(s, i).items()},
            lambda made, record: replace(
                made, signals=tuple(_whole(signals, record, i) for i, signals in enumerate(made.signals))
            ),
        )
        return found

    def weights(self) -> dict[str, Floats]:
        """Return weights and lateral matrices by name: "W1", "M2"."""
        own = [{"W": layer.W, "b": layer.b, **layer.decorrelator.arrays} for layer in self.layers]
        return {f"{name}{i}": array for i, arrays in enumerate(own) for name, array in arrays.items()}

    def noisy(self, source: Any) -> Any:
        """Return a source of noise that draws from the tape."""
        return _ReplayedNoise(source, self._tape)

    def _measure(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        found: tuple[Floats, Floats] = self._tape.play(
            lambda: self._network.loss.measure(x, y),
            lambda made: {"loss": made[0], "error": made[1]},
            lambda made, record: (record["loss"], record["error"]),
        )
        return found


class _ReplayedNoise:
    def __init__(self, source: Any, tape: Tape) -> None:
        self._source, self._tape, self.arrays = source, tape, source.arrays

    def draw(self, layer: int, shape: tuple[int, int], rng: np.random.Generator, dtype: Any) -> Floats:
        """Return the noise of the tape."""
        drawn: Floats = self._tape.play(
            lambda: self._source.draw(layer, shape, rng, dtype),
            lambda made: {f"noise{layer}": made},
            lambda made, record: record[f"noise{layer}"],
        )
        return drawn


def _apart(signals: Signals, index: int) -> Record:
    return {f"{field}{index}": getattr(signals, field) for field in FIELDS}


def _whole(signals: Signals, record: Record, index: int) -> Signals:
    fields: dict[str, Any] = {field: record[f"{field}{index}"] for field in FIELDS}
    return replace(signals, **fields)
