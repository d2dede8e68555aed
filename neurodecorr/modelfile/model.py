"""`Model`: a network as its file describes it, and the objects it can be made into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neurodecorr import _checks
from neurodecorr.errors import ConfigError
from neurodecorr.learning import (
    SGD,
    Adam,
    Backprop,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    Gaussian,
    NodePerturbation,
    RMSprop,
)
from neurodecorr.learning.credit import CreditRule
from neurodecorr.learning.optimisers import Optimiser
from neurodecorr.modelfile.schema import Document
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network

__all__ = ["CREDITS", "Model"]

CREDITS = ("bp", "fa", "dfa", "np")
FORMS = ("none", "feedforward", "recurrent", "batch_norm")
_OPTIMISERS: dict[str, Callable[..., Optimiser]] = {"adam": Adam, "rmsprop": RMSprop, "sgd": SGD}


@dataclass(frozen=True)
class Model:
    """A network as its file describes it.

    Parameters
    ----------
    name : str
        Name of the file without its suffix.
    document : Document
        What the file says.
    """

    name: str
    document: Document

    def layers(self) -> list[Any]:
        """Return the descriptions of the layers, from input to output."""
        return [_LAYERS[layer.kind](layer) for layer in self.document.layers]

    def decorrelation(self, credit: str, form: str, rate: float | None = None) -> Decorrelation:
        """Return how the network is decorrelated under a rule of credit assignment.

        Parameters
        ----------
        credit : {"bp", "fa", "dfa", "np"}
            Rule, which decides the rate.
        form : {"none", "feedforward", "recurrent", "batch_norm"}
            Form.
        rate : float, optional
            Rate of M or R; by default that of the file.
        """
        _checks.choice(form, "decorrelation", FORMS)
        rate = self._rates(credit).decorrelation if rate is None else rate
        return Decorrelation(form, rate=rate, **self.document.decorrelation.model_dump())

    def network(
        self,
        credit: str = "bp",
        form: str = "none",
        seed: Any = 0,
        *,
        decorrelation_rate: float | None = None,
        dtype: str = "float32",
    ) -> Network:
        """Return the network with its first weights drawn; see `decorrelation` for the first two."""
        return Network(
            self.layers(),
            self.document.data.shape,
            loss=self.document.training.loss,
            decorrelation=self.decorrelation(credit, form, decorrelation_rate),
            seed=seed,
            dtype=dtype,
        )

    def rule(self, credit: str) -> CreditRule:
        """Return the rule of credit assignment with the options of the file."""
        options = dict(self.document.credit.get(credit, {}))  # type: ignore[call-overload]
        return _RULES[_checks.choice(credit, "credit", CREDITS)](options)

    def optimiser(self, credit: str, form: str) -> Optimiser:
        """Return the optimiser at the rate that the file gives for this rule, alone or with decorrelation."""
        rates, training = self._rates(credit), self.document.training
        rate = rates.decorrelated if form in ("feedforward", "recurrent") else rates.alone
        return _OPTIMISERS[training.optimiser](rate, **training.options)

    def _rates(self, credit: str) -> Any:
        known = self.document.rates
        if _checks.choice(credit, "credit", CREDITS) not in known:
            raise ConfigError(
                f"the model {self.name!r} gives no rates for credit={credit!r}; it has those of {', '.join(known)}."
            )
        return known[credit]  # type: ignore[index]


def _perturbation(options: dict[str, Any]) -> CreditRule:
    return NodePerturbation(noise=Gaussian(options.pop("sigma", 1e-4)), **options)


_LAYERS: dict[str, Callable[[Any], Any]] = {
    "dense": lambda t: Dense(t.units, t.activation),
    "conv": lambda t: Conv2d(t.channels, t.kernel, stride=t.stride, padding=t.padding, activation=t.activation),
    "pool": lambda t: MaxPool2d(t.size, t.stride),
}
_RULES: dict[str, Callable[[dict[str, Any]], CreditRule]] = {
    "bp": lambda options: Backprop(**options),
    "fa": lambda options: FeedbackAlignment(**options),
    "dfa": lambda options: DirectFeedbackAlignment(**options),
    "np": _perturbation,
}
