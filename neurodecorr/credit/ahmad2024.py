"""Settings of P0's public code where it differs from P0, as listed in docs/ledger.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from neurodecorr import _validation
from neurodecorr.credit.backprop import Backprop
from neurodecorr.credit.base import CreditRule
from neurodecorr.credit.feedback_alignment import FeedbackAlignment
from neurodecorr.credit.node_perturbation import NodePerturbation
from neurodecorr.credit.noise import GaussianNoise
from neurodecorr.credit.optimisers import Adam, Optimiser
from neurodecorr.network import Conv2d, Decorrelation


@dataclass(frozen=True)
class PublicCode:
    """Settings of a training run as in the public code of P0.

    Parameters
    ----------
    layers : tuple
        Descriptions of the layers.
    decorrelation : Decorrelation
        Of layers that do not bring their own.
    credit : CreditRule
        Rule of credit assignment.
    optimiser : Optimiser
        Adam.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, code at github.com/nasiryahm/CorrelationsRuinGD.
    """

    layers: tuple[Any, ...]
    decorrelation: Decorrelation
    credit: CreditRule
    optimiser: Optimiser


def public_code(layers: Sequence[Any], credit: str, rate: float, decorrelation_rate: float | None = None) -> PublicCode:
    """Return the settings with which a step is that of github.com/nasiryahm/CorrelationsRuinGD (commit 00cf470).

    Corrected are only what cannot be meant: node perturbation with decorrelation changes W here (docs/ledger.md, D7),
    and convolutions demean each feature of their patches, not each channel (D19).

    Parameters
    ----------
    layers : sequence
        Descriptions of the layers, such as those of P0 Table 1. In a network without convolutions the last hidden
        layer becomes linear (D8); convolutions are padded by 1 (D14).
    credit : {"bp", "fa", "np"}
        Rule. "fa" draws B √6 times too large, sends errors through Mᵀ and does not train biases of convolutions
        (D9 to D11); "np" has σ = 1e-6 and runs both passes as one batch (D16, D17).
    rate : float
        Learning rate of Adam, whose β₂ is 0.9999 (D13).
    decorrelation_rate : float, optional
        η_M of dense layers; None for no decorrelation. That of convolutions is 1e-5 (D6).

    Returns
    -------
    PublicCode
        Layers, decorrelation, rule and optimiser.

    Raises
    ------
    ConfigError
        If the rule is unknown or a rate is not positive.

    Examples
    --------
    >>> from neurodecorr.network import Dense, Network
    >>> code = public_code([Dense(8), Dense(8), Dense(3, "identity")], "fa", rate=1e-4, decorrelation_rate=1e-6)
    >>> network = Network(code.layers, 4, decorrelation=code.decorrelation)
    >>> [layer.activation.name for layer in network.layers]
    ['leaky_relu', 'identity', 'identity']

    References
    ----------
    Ahmad (2024), arXiv:2407.10780.
    """
    rule = _RULES[_validation.choice(credit, "credit", _RULES)]()
    decorrelates = decorrelation_rate is not None
    plan = Decorrelation.public_code(decorrelation_rate) if decorrelation_rate is not None else Decorrelation()
    patches = Decorrelation.public_code(patches=True) if decorrelates else plan
    return PublicCode(_as_there(layers, patches), plan, rule, Adam(rate, second=0.9999))


def _as_there(layers: Sequence[Any], patches: Decorrelation) -> tuple[Any, ...]:
    """Return convolutions with their padding and rate, or a dense network whose last hidden layer is linear."""
    if any(isinstance(layer, Conv2d) for layer in layers):
        return tuple(
            replace(layer, padding=1, decorrelation=patches) if isinstance(layer, Conv2d) else layer for layer in layers
        )
    hidden = [replace(layer, activation="identity") for layer in layers[-2:-1]]
    return (*layers[:-2], *hidden, *layers[-1:])


_RULES: dict[str, Callable[[], CreditRule]] = {
    "bp": Backprop,
    "fa": lambda: FeedbackAlignment("random", "exact", scale=math.sqrt(6), conv_biases=False),
    "np": lambda: NodePerturbation(noise=GaussianNoise(1e-6), joint_batch=True),
}
