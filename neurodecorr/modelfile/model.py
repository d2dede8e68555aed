"""`Model`: a network as its file describes it, and the objects it can be made into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from neurodecorr import _checks
from neurodecorr.data.augmentation import RECIPES
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
from neurodecorr.modelfile.schema import Document, RatesTable
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
from neurodecorr.network.decorrelation import FORMS
from neurodecorr.network.losses import loss_named

__all__ = ["CREDITS", "LEARNING_FORMS", "Model"]

CREDITS = ("bp", "fa", "dfa", "np")
LEARNING_FORMS = ("feedforward", "recurrent")  # the forms with a rate of their own


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

    def varied(self, *, recipe: str | None = None, lateral_feedback: str | None = None) -> Model:
        """Return this model with another preparation of its images, or another way back through M or R.

        Parameters
        ----------
        recipe : {"plain", "cifar", "tiny-imagenet"}, optional
            Augmentation in training; None: that of the file.
        lateral_feedback : {"exact", "adjoint", "none", "random"}, optional
            What feedback alignment sends errors through where backpropagation has Mᵀ; None: what the file says.

        Raises
        ------
        ConfigError
            If a name is unknown.
        """
        document = self.document
        if recipe is not None:
            _checks.choice(recipe, "recipe", RECIPES)
            document = document.model_copy(update={"data": document.data.model_copy(update={"recipe": recipe})})
        if lateral_feedback is not None:
            FeedbackAlignment(lateral_feedback=lateral_feedback)
            own = {**document.credit.get("fa", {}), "lateral_feedback": lateral_feedback}
            document = document.model_copy(update={"credit": {**document.credit, "fa": own}})
        return Model(self.name, document)

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

        Raises
        ------
        ConfigError
            If a name is unknown, or the file gives no rates for the rule.
        """
        _checks.choice(form, "decorrelation", FORMS)
        _checks.choice(credit, "credit", CREDITS)
        rate = self.rates(credit).decorrelation if rate is None else _checks.positive(rate, "rate")
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
        """Return the network with its first weights drawn; see `decorrelation` for the first two.

        Raises
        ------
        ConfigError
            If layers do not chain, or memory would not hold the weights; nothing is taken before that is known.
        """
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
        _checks.choice(credit, "credit", CREDITS)
        options = self.document.credit.get(credit, {})  # type: ignore[call-overload]
        return _RULES[_checks.choice(credit, "credit", CREDITS)](dict(options), f"credit.{credit}")

    def optimiser(self, credit: str, form: str, rate: float | None = None) -> Optimiser:
        """Return the optimiser at the rate that the file gives for this rule, alone or with decorrelation.

        Parameters
        ----------
        credit, form : str
            As for `decorrelation`.
        rate : float, optional
            Instead of that of the file.
        """
        rates, training = self.rates(credit), self.document.training
        _checks.choice(form, "decorrelation", FORMS)
        own = rates.decorrelated if form in LEARNING_FORMS else rates.alone
        options = {"rate": own if rate is None else rate, **training.options}
        made: Optimiser = _made(_OPTIMISERS[training.optimiser], options, "training.options")
        return made

    def rates(self, credit: str) -> RatesTable:
        """Return the learning rates that the file gives for a rule.

        Raises
        ------
        ConfigError
            If it gives none.
        """
        known = self.document.rates
        if _checks.choice(credit, "credit", CREDITS) not in known:
            raise ConfigError(
                f"the model {self.name!r} gives no rates for credit={credit!r}; it has those of {', '.join(known)}."
            )
        return known[credit]  # type: ignore[index]

    def check(self) -> None:
        """Raise unless everything but the network itself can be made; no weights are drawn.

        Raises
        ------
        ConfigError
            With the key, and the nearest right name.
        """
        self.layers()
        loss_named(self.document.training.loss)
        _checks.choice(self.document.data.recipe, "data.recipe", RECIPES)
        for credit in self.document.rates:
            self.rule(credit)
            for form in FORMS:
                self.decorrelation(credit, form)
                self.optimiser(credit, form)


def _made(kind: Callable[..., Any], options: Mapping[str, Any], place: str) -> Any:
    """Return a description made with options, of which each must be one of its own."""
    for name in options:
        _checks.choice(name, f"a key of {place}", [field.name for field in fields(kind)])  # type: ignore[arg-type]
    return kind(**options)


def _perturbation(options: dict[str, Any], place: str) -> CreditRule:
    sigma = options.pop("sigma", Gaussian().sigma)
    if "noise" in options:
        raise ConfigError(f"{place}.noise must not be given; sigma sets the size of Gaussian noise.")
    made: CreditRule = _made(NodePerturbation, options | {"noise": Gaussian(sigma)}, f"{place} (or sigma)")
    return made


_OPTIMISERS: dict[str, Callable[..., Optimiser]] = {"adam": Adam, "rmsprop": RMSprop, "sgd": SGD}
_LAYERS: dict[str, Callable[[Any], Any]] = {
    "dense": lambda t: Dense(t.units, t.activation),
    "conv": lambda t: Conv2d(t.channels, t.kernel, stride=t.stride, padding=t.padding, activation=t.activation),
    "pool": lambda t: MaxPool2d(t.size, t.stride),
}
_RULES: dict[str, Callable[[dict[str, Any], str], CreditRule]] = {
    "bp": lambda options, place: _made(Backprop, options, place),
    "fa": lambda options, place: _made(FeedbackAlignment, options, place),
    "dfa": lambda options, place: _made(DirectFeedbackAlignment, options, place),
    "np": _perturbation,
}
