"""One training run: a model file, options that override it, data, and where the results go."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tqdm

from neurodecorr import data
from neurodecorr.data import Epochs
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.learning import History, Trainer
from neurodecorr.modelfile import Model

__all__ = ["Run", "prepare_run"]

DEFAULTS = {"credit": "bp", "form": "none", "seed": 0, "validation": 0, "watches": (), "watch_every": 100}
# What names a run: options that decide its numbers.
DECIDING = (
    "model", "data", "credit", "form", "epochs", "batch", "rate", "decorrelation_rate", "validation", "seed",
    "watches", "watch_every",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """Everything that a training run needs.

    Parameters
    ----------
    config : dict
        Resolved options, the content of the model file included; it names the run.
    trainer : Trainer
        The network, its rule and its optimiser.
    training, validation, test : Epochs
        Batches; validation is None if nothing is held out.
    """

    config: dict[str, Any]
    trainer: Trainer
    training: Epochs
    validation: Epochs | None
    test: Epochs | None

    def go(
        self, folder: str | Path | None = None, *, every: int = 500, resume: bool = False, quiet: bool = False
    ) -> History:
        """Train until the end; see `Trainer.fit`."""
        shown = not quiet and sys.stderr.isatty()
        with tqdm.tqdm(total=self.config["epochs"] * len(self.training), disable=not shown, unit="batch") as bar:

            def progress(words: str, done: int, total: int) -> None:
                bar.set_description(words, refresh=False)
                bar.update(done - bar.n)

            return self.trainer.fit(
                self.training,
                self.config["epochs"],
                validation=self.validation,
                test=self.test,
                folder=folder,
                every=every,
                resume=resume,
                config=self.config,
                progress=progress,
            )


def prepare_run(model: Model, options: Mapping[str, Any]) -> Run:
    """Return a run of a model with some of its numbers replaced.

    Parameters
    ----------
    model : Model
        From `load_model`.
    options : mapping
        `data` (path), `credit`, `form`, `epochs`, `batch`, `rate`, `decorrelation_rate`, `validation` (samples held
        out), `seed`, `watches`, `watch_every`; None or absent: what the model says.

    Raises
    ------
    ConfigError, InputError
        If an option lies outside its range, or the data do not fit the network.
    """
    given = {**DEFAULTS, **{name: value for name, value in options.items() if value is not None}}
    train, test = _data(model, given.get("data"))
    found = model.document
    batch, credit, form, seed = given.get("batch", found.training.batch), given["credit"], given["form"], given["seed"]
    prepared = _preparation(model, train)
    training = Epochs(train, batch, seed=seed, preparation=prepared)
    validation = None
    if given["validation"]:
        training, validation = training.split(given["validation"], seed=seed)
    network = model.network(credit, form, seed, decorrelation_rate=given.get("decorrelation_rate"))
    optimiser = model.optimiser(credit, form)
    if "rate" in given:
        optimiser = replace(optimiser, rate=given["rate"])  # type: ignore[type-var]
    trainer = Trainer(
        network,
        model.rule(credit),
        optimiser,
        seed=seed,
        watches=given["watches"],
        watch_every=given["watch_every"],
    )
    config = {name: given.get(name) for name in DECIDING}
    config |= {"model": model.name, "epochs": given.get("epochs", found.training.epochs), "batch": batch}
    config |= {"data": train.name, "samples": len(train), "document": found.model_dump(by_alias=True)}
    held_out = replace(Epochs(test, batch, preparation=prepared), shuffle=False, augment=False)
    return Run(config, trainer, training, validation, held_out)


def _data(model: Model, source: str | None) -> tuple[Any, Any]:
    name = model.document.data.name
    if source is None and name != "digits":
        raise ConfigError(
            f"the model {model.name!r} is made for {name}: give the folder of its files with --data (data=…). "
            "Without data, use the model 'digits'."
        )
    train, test = data.labelled(source or "digits")
    shape, wanted = train.shape or (train.features,), model.document.data.shape
    recipe = model.document.data.recipe
    if isinstance(train, data.ImageDataset):
        shape = data.preparation(train, recipe).shape(train.shape)
    if _size(shape) != _size(wanted):
        raise InputError(
            f"the model {model.name!r} must get inputs of shape {wanted}; {train.name!r} has {shape}. "
            "Choose the data it is made for, or another model."
        )
    return train, test


def _preparation(model: Model, train: Any) -> Any:
    recipe = model.document.data.recipe
    return data.preparation(train, recipe) if isinstance(train, data.ImageDataset) else None


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
