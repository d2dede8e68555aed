"""Optimisers: change of the weights from a gradient. In numpy each is one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr.credit import kernels
from neurodecorr.errors import ConfigError
from neurodecorr.network import torch


class OptimiserState(Protocol):
    """Optimiser bound to parameters; `arrays` holds its memory."""

    arrays: dict[str, AnyArray]

    def step(self, gradients: Sequence[AnyArray]) -> None:
        """Change each parameter in place, by its gradient."""


class Optimiser(Protocol):
    """Description of an optimiser; `start` binds it to parameters."""

    @property
    def rate(self) -> float:
        """η."""

    def start(self, parameters: Sequence[AnyArray]) -> OptimiserState:
        """Return the optimiser at work, its memory empty."""


@short_repr
@dataclass(frozen=True)
class SGD:
    """Descend along the gradient, with momentum if asked for.

    ::

        v ← m v + g,    w ← w − η v

    Parameters
    ----------
    rate : float
        η > 0.
    momentum : float
        m in [0, 1).

    References
    ----------
    Polyak (1964), USSR Computational Mathematics and Mathematical Physics 4(5), 1–17 (momentum).
    """

    rate: float = 0.1
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _validation.positive(self.rate, "rate")
        _share(self.momentum, "momentum")

    def start(self, parameters: Sequence[AnyArray]) -> OptimiserState:
        """Return the optimiser at work."""
        names = ("v",) if self.momentum else ()
        return _State(_parameters(parameters), names, self._one)

    def _one(self, w: AnyArray, g: AnyArray, memory: Sequence[AnyArray], step: int) -> None:
        if not memory:
            w -= self.rate * g
            return
        (v,) = memory
        v *= self.momentum
        v += g
        w -= self.rate * v


@short_repr
@dataclass(frozen=True)
class RMSprop:
    """Divide the gradient by the root of its recent mean square.

    ::

        s ← ρ s + (1 − ρ) g²,    w ← w − η g/(√s + ε)

    Parameters
    ----------
    rate, decay, epsilon : float
        η > 0, ρ in [0, 1), ε > 0.

    References
    ----------
    Tieleman & Hinton (2012), Neural Networks for Machine Learning, Coursera, lecture 6.5.
    """

    rate: float = 1e-3
    decay: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _validation.positive(self.rate, "rate")
        _validation.positive(self.epsilon, "epsilon")
        _share(self.decay, "decay")

    def start(self, parameters: Sequence[AnyArray]) -> OptimiserState:
        """Return the optimiser at work."""
        return _State(_parameters(parameters), ("s",), self._one)

    def _one(self, w: AnyArray, g: AnyArray, memory: Sequence[AnyArray], step: int) -> None:
        (s,) = memory
        s *= self.decay
        s += (1 - self.decay) * g * g
        w -= self.rate * g / (array_namespace(s).sqrt(s) + self.epsilon)


@short_repr
@dataclass(frozen=True)
class Adam:
    """Descend by running means of the gradient and of its square.

    ::

        m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   w ← w − η m̂/(√v̂ + ε)
        m̂ = m/(1 − β₁ᵗ),   v̂ = v/(1 − β₂ᵗ)

    Parameters
    ----------
    rate, first, second, epsilon : float
        η > 0, β₁ and β₂ in [0, 1), ε > 0; P0 uses 0.9, 0.999 and 1e-8.

    References
    ----------
    Kingma & Ba (2015), ICLR, arXiv:1412.6980, Algorithm 1.
    """

    rate: float = 1e-3
    first: float = 0.9
    second: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _validation.positive(self.rate, "rate")
        _validation.positive(self.epsilon, "epsilon")
        _share(self.first, "first")
        _share(self.second, "second")

    def start(self, parameters: Sequence[AnyArray]) -> OptimiserState:
        """Return the optimiser at work."""
        return _State(_parameters(parameters), ("m", "v"), self._one)

    def _one(self, w: AnyArray, g: AnyArray, memory: Sequence[AnyArray], step: int) -> None:
        m, v = memory
        rate = self.rate / (1 - self.first**step)
        unbias = 1 / (1 - self.second**step)
        if isinstance(w, np.ndarray):
            made = kernels.AdamStep(rate, float(self.first), float(self.second), unbias, float(self.epsilon))
            kernels.adam(w.ravel(), np.ravel(g), m.ravel(), v.ravel(), made)
            return
        if torch.is_tensor(w):
            betas = (float(self.first), float(self.second))
            torch.adam_pass(w, g, memory, step, {"lr": self.rate, "betas": betas, "eps": self.epsilon})
            return
        m *= self.first
        m += (1 - self.first) * g
        v *= self.second
        v += (1 - self.second) * g * g
        w -= rate * m / (array_namespace(v).sqrt(unbias * v) + self.epsilon)


class _State:
    """Memory beside each parameter, and the number of steps."""

    def __init__(self, parameters: Sequence[AnyArray], names: Sequence[str], one: Any) -> None:
        self._parameters, self._names, self._one = list(parameters), names, one
        self.arrays: dict[str, AnyArray] = {"steps": np.zeros(1)}
        for i, w in enumerate(self._parameters):
            for name in names:
                self.arrays[f"{name}{i}"] = array_namespace(w).zeros_like(w)

    def step(self, gradients: Sequence[AnyArray]) -> None:
        """Change each parameter in place."""
        self.arrays["steps"] += 1
        for i, (w, g) in enumerate(zip(self._parameters, gradients, strict=True)):
            self._one(w, g, [self.arrays[f"{name}{i}"] for name in self._names], int(self.arrays["steps"][0]))


def _parameters(value: Any) -> list[AnyArray]:
    """Return parameters: arrays of floating-point numbers of any library, changed in place."""
    if isinstance(value, np.ndarray):
        raise ConfigError(f"parameters must be a list of arrays; got one array, of shape {value.shape}.")
    found = _validation.sequence(value, "parameters", "a list of arrays")
    for k, one in enumerate(found):
        _validation.instance(getattr(one, "shape", None), tuple, f"parameters[{k}].shape", "the shape of an array")
        if isinstance(one, np.ndarray) and one.dtype.kind != "f":
            raise ConfigError(f"parameters[{k}] must hold floating-point numbers; got {one.dtype}.")
    return found


def _share(value: float, name: str) -> None:
    if _validation.fraction(value, name) == 1:
        raise ConfigError(f"{name} must be < 1; got {value!r}.")
