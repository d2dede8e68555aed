"""Why a run left the finite numbers: what went first, in which layer, and which rate to lower."""

from __future__ import annotations

import copy

import numpy as np
from array_api_compat import array_namespace

from neurodecorr.credit.base import Credit
from neurodecorr.errors import DivergenceError
from neurodecorr.network import Network
from neurodecorr.network.algebra import as_numpy


def require_finite(network: Network, credit: Credit, place: str) -> None:
    """Raise unless loss and gradients of a batch are finite, before they change anything.

    A δ that is not finite shows in the gradient of b, its sum over the batch.

    Raises
    ------
    DivergenceError
        With the first array, from the input on, that is not finite.
    """
    parts = [credit.loss, *(b for _, b in credit.gradients)]
    if all(np.isfinite(float(array_namespace(part).sum(part))) for part in parts):
        return
    raise DivergenceError(f"training left the finite numbers at {place}: {cause(network, credit)}")


def cause(network: Network, credit: Credit) -> str:
    """Return in words what is not finite, and what to do."""
    for number, (layer, found) in enumerate(zip(network.layers, credit.forward.signals, strict=True), 1):
        lateral = layer.decorrelator.arrays
        arrays = {"W": layer.W, "b": layer.b, **lateral, "input x": found.x, "decorrelated input x̄": found.xbar}
        for name, values in (arrays | {"drive h": found.h}).items():
            if not np.isfinite(as_numpy(values)).all():
                decorrelation = name in lateral or "x̄" in name
                rate = "rate of decorrelation" if decorrelation else "learning rate"
                return f"{name} of layer {number}. Lower the {rate}."
    for number in range(len(network.layers), 0, -1):
        if not np.isfinite(as_numpy(credit.gradients[number - 1][1])).all():
            return f"the gradient of layer {number}. Lower the learning rate."
    return "the loss. Lower the learning rate."


def finite_state(network: Network, place: str) -> None:
    """Raise unless all that the network has learnt is finite, so that no checkpoint keeps what cannot be used.

    Raises
    ------
    DivergenceError
        With the array and the layer.
    """
    for name, array in network.arrays().items():
        if not np.isfinite(as_numpy(array)).all():
            layer, _, own = name.partition(".")
            rate = "learning rate" if own in ("W", "b") else "rate of decorrelation"
            number = int(layer.removeprefix("layer")) + 1
            raise DivergenceError(
                f"training left the finite numbers at {place}: {own} of layer {number}. Lower the {rate}."
            )


def learnt_decorrelation(network: Network, credit: Credit, place: str) -> None:
    """Let the decorrelators learn from a batch.

    Raises
    ------
    DivergenceError
        If a step has no meaning, with its layer.
    """
    signals = credit.forward.signals
    try:
        network.decorrelate(signals)
    except DivergenceError as error:
        raise DivergenceError(f"at {place}, input of layer {_culprit(network, credit)}: {error}") from error


def _culprit(network: Network, credit: Credit) -> int:
    """Return the layer whose decorrelator refuses again."""
    for number, (layer, found) in enumerate(zip(network.layers, credit.forward.signals, strict=True), 1):
        try:
            copy.deepcopy(layer.decorrelator).learn(found.x, found.drive, found.xbar)
        except DivergenceError:
            return number
    return len(network.layers)
