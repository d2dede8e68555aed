"""Losses ℓ(x, y) of the output x, per sample, and their gradients ∂ℓ/∂x, in array-API code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.errors import InputError


@short_repr
@dataclass(frozen=True)
class Loss:
    """Function that measures the output of a network.

    Parameters
    ----------
    name : str
        Name in model files.
    measure : callable
        (x, y) → (ℓ, ∂ℓ/∂x): outputs (b, k) and targets (b, k) → (b,) and (b, k).
    """

    name: str
    measure: Callable[[AnyArray, AnyArray], tuple[AnyArray, AnyArray]]

    def __post_init__(self) -> None:
        _validation.checked_text(self.name, "name")
        _validation.function(self.measure, "measure")


def cross_entropy(x: AnyArray, y: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return softmax cross-entropy per sample and its gradient.

    ::

        ℓ = log ∑_k exp x_k − ∑_k y_k x_k,    ∂ℓ/∂x = softmax(x) − y

    No φ' belongs here: Algorithm 1 of P0, line 7, prints one.

    Parameters
    ----------
    x, y : (b, k) arrays
        Outputs of linear units, and targets whose rows sum to 1.

    Returns
    -------
    loss : (b,) array
        ℓ in nats.
    gradient : (b, k) array
        ∂ℓ/∂x.

    References
    ----------
    Bishop (2006), Pattern Recognition and Machine Learning, §4.3.4.
    """
    _require_numbers(x, y)
    if isinstance(y, np.ndarray) and not (np.abs(y.sum(axis=1) - 1) <= 1e-3).all():
        raise InputError(
            "the rows of y must sum to 1, as probabilities of the classes do; got "
            f"{y.sum(axis=1)[int(np.abs(y.sum(axis=1) - 1).argmax())]:.6g}."
        )
    return _cross_entropy(x, y)


def _cross_entropy(x: AnyArray, y: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Do what `cross_entropy` says; numbers that are not finite pass, and are found by whoever trains."""
    _require_targets(x, y)
    xp = array_namespace(x)
    shifted = x - xp.max(x, axis=1, keepdims=True)
    grown = xp.exp(shifted)
    total = xp.sum(grown, axis=1, keepdims=True)
    return xp.log(total[:, 0]) - xp.sum(y * shifted, axis=1), grown / total - y


def mse(x: AnyArray, y: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return half the squared error per sample and its gradient.

    ::

        ℓ = ½ ∑_k (x_k − y_k)²,    ∂ℓ/∂x = x − y

    Parameters
    ----------
    x, y : (b, k) arrays
        Outputs and targets.

    Returns
    -------
    loss : (b,) array
        ℓ, in the squared unit of x.
    gradient : (b, k) array
        ∂ℓ/∂x.
    """
    _require_numbers(x, y)
    return _mse(x, y)


def _mse(x: AnyArray, y: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Do what `mse` says; numbers that are not finite pass, and are found by whoever trains."""
    _require_targets(x, y)
    xp, error = array_namespace(x), x - y
    return 0.5 * xp.sum(error * error, axis=1), error


def _require_numbers(x: AnyArray, y: AnyArray) -> None:
    """Check arrays of numpy; those of another library must be of one shape."""
    for name, one in (("x", x), ("y", y)):
        if isinstance(one, np.ndarray) or (not hasattr(one, "__array_namespace__") and not hasattr(one, "device")):
            _validation.instance(one, np.ndarray, name, "an array")
            _validation.samples(one, name)
    _require_targets(x, y)


def _require_targets(x: AnyArray, y: AnyArray) -> None:
    if tuple(y.shape) != tuple(x.shape):
        hint = " Turn class numbers into rows with a single 1." if len(y.shape) == 1 else ""
        raise InputError(
            f"targets must have one row per sample and one column per output, {tuple(x.shape)}; "
            f"got {tuple(y.shape)}.{hint}"
        )


LOSSES = {"cross_entropy": Loss("cross_entropy", _cross_entropy), "mse": Loss("mse", _mse)}


def loss_named(name: str | Loss) -> Loss:
    """Return the loss of that name; one of the user's own passes through.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    return name if isinstance(name, Loss) else LOSSES[_validation.choice(name, "loss", LOSSES)]
