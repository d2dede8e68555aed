"""Model files on disk: those that come with the package, and the user's own."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._validation import rule_name
from neurodecorr.credit import (
    SGD,
    Adam,
    Backprop,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    GaussianNoise,
    NodePerturbation,
    RMSprop,
)
from neurodecorr.credit.base import CreditRule
from neurodecorr.credit.optimisers import Optimiser
from neurodecorr.data.augmentation import RECIPES
from neurodecorr.errors import ConfigError
from neurodecorr.io.files import read_regular_text
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
from neurodecorr.network.decorrelators import FORMS
from neurodecorr.network.losses import loss_named

MOST_BYTES = 1_000_000
SHOWN = 60  # characters of a wrong value

AnyDocument = TypeVar("AnyDocument", bound=BaseModel)


class Table(BaseModel):
    """Table of a model file: no unknown keys; numbers are written as numbers, and whole where they must be.

    `true` is no number, "100" is none, and neither is inf. Lists become tuples.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def read_tables(path: Path, kind: str, hint: str = "") -> dict[str, Any]:
    """Return the tables of a TOML file.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        What it is, for messages: "model file".
    hint : str
        What to do if it cannot be read.

    Raises
    ------
    ConfigError
        If it cannot be read, is no TOML, or is larger than any such file.

    References
    ----------
    TOML v1.0.0, toml.io.
    """
    try:
        text = read_regular_text(path, MOST_BYTES, what=kind, error=ConfigError)
    except ConfigError as error:
        raise ConfigError(f"{error}{hint}") from None
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"the {kind} {path} must be TOML in UTF-8: {error}.") from None


def checked(tables: Mapping[str, Any], document: type[AnyDocument], path: Path, kind: str) -> AnyDocument:
    """Return the tables as a validated document.

    Raises
    ------
    ConfigError
        With the place of the first wrong key or value, and the nearest right one.
    """
    try:
        return document.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_words(error, document, kind)}") from None


def _words(error: ValidationError, document: type[BaseModel], kind: str) -> str:
    # A misspelt key is also a missing one: the first is told, as it shows both.
    found = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return f"{place} is no key of a {kind}.{_near(str(found['loc'][-1]), _keys(document))}"
    if found["type"] == "missing":
        return f"the key {place} is missing."
    if found["type"] == "value_error":
        return f"{place}: {found['ctx']['error']}"
    expected = str(found.get("ctx", {}).get("expected", ""))
    known = [word.strip(" '") for word in expected.replace(" or ", ",").split(",") if word.strip()]
    shown = repr(found["input"])
    cut = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    return f"{place}: {found['msg']}; got {cut}.{_near(str(found['input']), known)}"


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def _keys(table: Any) -> Iterator[str]:
    """Yield every key of a table and of the tables in it."""
    if isinstance(table, type) and issubclass(table, BaseModel):
        for name, field in table.model_fields.items():
            yield field.alias or name
            yield from _keys(field.annotation)
    for inner in get_args(table):
        yield from _keys(inner)


class DenseTable(Table):
    """Description of a dense layer.

    ::

        h = W x̄ + b,    W (outputs, inputs)
    """

    kind: Literal["dense"]
    units: PositiveInt
    activation: str = "leaky_relu"


class ConvTable(Table):
    """Description of a convolution; the same W acts on the patch at every place.

    ::

        h_p = W x̄_p + b,    x̄_p = M (x_p − μ) the patch at place p

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Table 1.
    """

    kind: Literal["conv"]
    channels: PositiveInt
    kernel: PositiveInt
    stride: PositiveInt = 1
    padding: Annotated[int, Field(ge=0)] = 0
    activation: str = "leaky_relu"


class PoolTable(Table):
    """Description of maximum pooling.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Table 1.
    """

    kind: Literal["pool"]
    size: PositiveInt
    stride: PositiveInt | None = None


class DataTable(Table):
    """Data set for which the network is made."""

    name: str
    shape: tuple[PositiveInt, ...]
    recipe: str = "plain"
    validation: PositiveInt | None = None


class TrainingTable(Table):
    """Training settings that all credit rules share."""

    epochs: PositiveInt
    batch: PositiveInt = 256
    loss: str = "cross_entropy"
    optimiser: Literal["adam", "rmsprop", "sgd"] = "adam"
    options: dict[str, float] = Field(default_factory=dict)


class DecorrelationTable(Table):
    """Settings of decorrelation at the inputs of layers.

    ::

        feedforward:  x̄ = M (x − μ),    recurrent:  τ dx̄/dt = (x − μ) − R x̄

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, §3.2.
    """

    rule: Annotated[str, AfterValidator(rule_name)] = "implicit"
    gain: Literal["node", "layer", "none"] = "layer"
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    memory: Annotated[float, Field(gt=0, le=1)] = 0.1
    mean: Literal["running", "batch", "none"] = "running"
    rate_is: Literal["relative", "absolute"] = "relative"


class RatesTable(Table):
    """Learning rates η of one credit rule: alone, and with decorrelation.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Table 2.
    """

    alone: PositiveFloat
    decorrelated: PositiveFloat
    decorrelation: PositiveFloat


class Document(Table):
    """Whole content of a model file."""

    schema_version: Annotated[int, Field(ge=1, le=1, alias="schema")]
    title: str
    source: str
    data: DataTable
    layers: tuple[Annotated[DenseTable | ConvTable | PoolTable, Field(discriminator="kind")], ...] = Field(min_length=1)
    training: TrainingTable
    decorrelation: DecorrelationTable = DecorrelationTable()
    rates: dict[Literal["bp", "fa", "dfa", "np"], RatesTable]
    credit: dict[Literal["fa", "dfa", "np"], dict[str, Any]] = Field(default_factory=dict)


CREDITS = ("bp", "fa", "dfa", "np")
LEARNING_FORMS = ("feedforward", "recurrent")  # the forms with a rate of their own


@short_repr
@dataclass(frozen=True)
class Model:
    """Network as described in a model file.

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
            _validation.choice(recipe, "recipe", RECIPES)
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
            Rate of M or R, relative or absolute as the file says; by default that of the file.

        Raises
        ------
        ConfigError
            If a name is unknown, or the file gives no rates for the rule.
        """
        _validation.choice(form, "decorrelation", FORMS)
        _validation.choice(credit, "credit", CREDITS)
        rate = self.rates(credit).decorrelation if rate is None else _validation.positive(rate, "rate")
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
        _validation.choice(credit, "credit", CREDITS)
        options = self.document.credit.get(credit, {})  # type: ignore[call-overload]
        return _RULES[_validation.choice(credit, "credit", CREDITS)](dict(options), f"credit.{credit}")

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
        _validation.choice(form, "decorrelation", FORMS)
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
        if _validation.choice(credit, "credit", CREDITS) not in known:
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
        _validation.choice(self.document.data.recipe, "data.recipe", RECIPES)
        for credit in self.document.rates:
            self.rule(credit)
            for form in FORMS:
                self.decorrelation(credit, form)
                self.optimiser(credit, form)


def _made(kind: Callable[..., Any], options: Mapping[str, Any], place: str) -> Any:
    """Return a description made with options, of which each must be one of its own."""
    for name in options:
        _validation.choice(name, f"a key of {place}", [field.name for field in fields(kind)])  # type: ignore[arg-type]
    return kind(**options)


def _perturbation(options: dict[str, Any], place: str) -> CreditRule:
    sigma = options.pop("sigma", GaussianNoise().sigma)
    if "noise" in options:
        raise ConfigError(f"{place}.noise must not be given; sigma sets the size of GaussianNoise noise.")
    made: CreditRule = _made(NodePerturbation, options | {"noise": GaussianNoise(sigma)}, f"{place} (or sigma)")
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


_PACKAGE = Path(__file__).resolve().parent
# In a wheel the files lie beside the code; in a checkout in the folder at its top.
_FOLDERS = (_PACKAGE / "_models", _PACKAGE.parent / "models")


def model_names() -> tuple[str, ...]:
    """Return the names of the models that come with the package.

    Examples
    --------
    >>> {"digits", "mnist", "dense_cifar10"} <= set(model_names())
    True
    """
    return tuple(sorted(path.stem for path in _own_files()))


def model_file(name: str) -> Path:
    """Return the path of a model file that comes with the package, to read or to copy.

    Parameters
    ----------
    name : str
        A name from `model_names()`.

    Raises
    ------
    ConfigError
        If there is no such model.
    """
    own = {found.stem: found for found in _own_files()}
    return own[_validation.choice(name, "model", own)]


def load_model(name: str | os.PathLike[str]) -> Model:
    """Read a model file.

    Parameters
    ----------
    name : str or path
        A name from `model_names()`, or the path of a .toml file of your own.

    Returns
    -------
    Model
        What the file describes.

    Raises
    ------
    ConfigError
        If there is no such model, or its file says what no model file may; the key is named, and the nearest right one.

    Examples
    --------
    >>> model = load_model("digits")
    >>> model.document.data.shape, len(model.layers())
    ((1, 8, 8), 3)
    """
    path = _validation.checked_path(name, "model")
    if path.suffix != ".toml":
        own = {found.stem: found for found in _own_files()}
        if path.is_dir() or len(path.parts) > 1:
            raise ConfigError(f"model must be one of {', '.join(own)}, or the path of a .toml file; got {str(name)!r}.")
        path = own[_validation.choice(str(name), "model", own)]
    tables = read_tables(path, "model file", " `neurodecorr models` lists those that are there.")
    model = Model(path.stem, checked(tables, Document, path, "model file"))
    try:
        model.check()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return model


def _own_files() -> list[Path]:
    return next((found for folder in _FOLDERS if (found := sorted(folder.glob("*.toml")))), [])


__all__ = ["Model", "load_model", "model_names"]
