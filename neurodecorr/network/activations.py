"""Activation functions x = φ(h) and their slopes φ'(h), in array-API code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.network import kernels, torch

LEAK = 0.01  # slope of LeakyReLU below zero, as in P0's public code


@short_repr
@dataclass(frozen=True)
class Activation:
    """A unit's response to its drive h.

    Parameters
    ----------
    name : str
        Name in model files.
    value : callable
        φ(h), elementwise.
    slope : callable
        φ'(h), elementwise.
    steepest : float
        Largest |φ'|, the Lipschitz constant.
    """

    name: str
    value: Callable[[AnyArray], AnyArray]
    slope: Callable[[AnyArray], AnyArray]
    steepest: float = 1.0

    def __post_init__(self) -> None:
        _validation.checked_text(self.name, "name")
        _validation.function(self.value, "value")
        _validation.function(self.slope, "slope")
        _validation.positive(self.steepest, "steepest")


def _identity(h: AnyArray) -> AnyArray:
    return h


def _one(h: AnyArray) -> AnyArray:
    return array_namespace(h).ones_like(h)


def _relu(h: AnyArray) -> AnyArray:
    return array_namespace(h).maximum(h, array_namespace(h).zeros_like(h))


def _step(h: AnyArray) -> AnyArray:
    return array_namespace(h).astype(h > 0, h.dtype)


def _leaky_relu(h: AnyArray) -> AnyArray:
    if _is_run(h):
        return _compiled(kernels.leaky_relu, h)
    return torch.leaky_relu_pass(h, LEAK) if torch.is_tensor(h) else array_namespace(h).maximum(h, LEAK * h)


def _leaky_step(h: AnyArray) -> AnyArray:
    if _is_run(h):
        return _compiled(kernels.leaky_slope, h)
    slope = _step(h)  # arithmetic, since choosing number by number is ten times slower in numpy
    slope *= 1 - LEAK
    slope += LEAK
    return slope


def multiply_by_slope(E: AnyArray, activation: Activation, h: AnyArray) -> None:
    """E ← E ∘ φ'(h), in place: fresh memory for the slopes of pictures costs more than the product."""
    if activation.slope is not _leaky_step:
        E *= activation.slope(h)
    elif torch.is_tensor(h):
        torch.leaky_back_pass(h, LEAK, E)
    elif _is_run(h) and _is_run(E) and h.dtype == E.dtype:
        kernels.leaky_back(h.ravel(), LEAK, E.ravel())
    else:
        E *= activation.slope(h)


def _is_run(h: AnyArray) -> bool:
    return isinstance(h, np.ndarray) and h.flags.c_contiguous and h.dtype.kind == "f"


def _compiled(kernel: Callable[[AnyArray, float, AnyArray], None], h: AnyArray) -> AnyArray:
    found = np.empty_like(h)
    kernel(h.ravel(), LEAK, found.ravel())
    return found


def _tanh(h: AnyArray) -> AnyArray:
    return array_namespace(h).tanh(h)


def _tanh_slope(h: AnyArray) -> AnyArray:
    return 1 - _tanh(h) ** 2


def _sigmoid(h: AnyArray) -> AnyArray:
    return 0.5 * (1 + array_namespace(h).tanh(0.5 * h))  # no overflow on either side


def _sigmoid_slope(h: AnyArray) -> AnyArray:
    x = _sigmoid(h)
    return x * (1 - x)


def _softplus(h: AnyArray) -> AnyArray:
    xp = array_namespace(h)
    return _relu(h) + xp.log1p(xp.exp(-xp.abs(h)))


ACTIVATIONS = {
    found.name: found
    for found in (
        Activation("identity", _identity, _one),
        Activation("relu", _relu, _step),
        Activation("leaky_relu", _leaky_relu, _leaky_step),
        Activation("tanh", _tanh, _tanh_slope),
        Activation("sigmoid", _sigmoid, _sigmoid_slope, 0.25),
        Activation("softplus", _softplus, _sigmoid),
    )
}


def activation_named(name: str | Activation) -> Activation:
    """Return the activation of that name; one of the user's own passes through.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    return name if isinstance(name, Activation) else ACTIVATIONS[_validation.choice(name, "activation", ACTIVATIONS)]
