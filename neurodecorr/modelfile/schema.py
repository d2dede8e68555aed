"""What a model file may say, key by key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from neurodecorr.modelfile.tables import Table

__all__ = ["Document"]


class DenseTable(Table):
    """A dense layer."""

    kind: Literal["dense"]
    units: PositiveInt
    activation: str = "leaky_relu"


class ConvTable(Table):
    """A convolution."""

    kind: Literal["conv"]
    channels: PositiveInt
    kernel: PositiveInt
    stride: PositiveInt = 1
    padding: Annotated[int, Field(ge=0)] = 0
    activation: str = "leaky_relu"


class PoolTable(Table):
    """Maximum pooling."""

    kind: Literal["pool"]
    size: PositiveInt
    stride: PositiveInt | None = None


class DataTable(Table):
    """What the network is made for."""

    name: str
    shape: tuple[PositiveInt, ...]
    recipe: str = "plain"
    validation: PositiveInt | None = None


class TrainingTable(Table):
    """How it is trained, whatever the rule."""

    epochs: PositiveInt
    batch: PositiveInt = 256
    loss: str = "cross_entropy"
    optimiser: Literal["adam", "rmsprop", "sgd"] = "adam"
    options: dict[str, float] = Field(default_factory=dict)


class DecorrelationTable(Table):
    """How inputs of layers are decorrelated, where they are."""

    rule: Literal["explicit", "implicit", "congruent"] = "explicit"
    gain: Literal["node", "layer", "none"] = "layer"
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    memory: Annotated[float, Field(gt=0, le=1)] = 0.1
    mean: Literal["running", "batch", "none"] = "running"


class RatesTable(Table):
    """Learning rates of one rule: alone, and with decorrelation."""

    alone: PositiveFloat
    decorrelated: PositiveFloat
    decorrelation: PositiveFloat


class Document(Table):
    """A model file."""

    schema_version: Annotated[int, Field(ge=1, le=1, alias="schema")]
    title: str
    source: str
    data: DataTable
    layers: tuple[Annotated[DenseTable | ConvTable | PoolTable, Field(discriminator="kind")], ...] = Field(min_length=1)
    training: TrainingTable
    decorrelation: DecorrelationTable = DecorrelationTable()
    rates: dict[Literal["bp", "fa", "dfa", "np"], RatesTable]
    credit: dict[Literal["fa", "dfa", "np"], dict[str, Any]] = Field(default_factory=dict)
