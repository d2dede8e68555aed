"""One training run: a model file, options that override it, data, and where the results go."""

from __future__ import annotations

import difflib
import math
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import tqdm

from neurodecorr import _checks, data
from neurodecorr.data import Epochs
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.learning import History, Recording, Trainer
from neurodecorr.learning.checkpoint import CHECKPOINT, RESULT
from neurodecorr.modelfile import Model
from neurodecorr.network.decorrelation import FORMS
from neurodecorr.network.devices import on_device

__all__ = ["OPTIONS", "Run", "prepare_run", "unfinished"]

# Options of a run, with what they are unless given; None: what the model file says.
OPTIONS: dict[str, Any] = {
    "data": None,
    "credit": "bp",
    "form": "none",
    "epochs": None,
    "batch": None,
    "rate": None,
    "decorrelation_rate": None,
    "validation": 0,
    "seed": 0,
    "recipe": None,
    "lateral_feedback": None,
    "device": None,
    "watches": (),
    "watch_every": 100,
}


@dataclass(frozen=True)
class Run:
    """Everything that a training run needs.

    Parameters
    ----------
    config : dict
        Resolved options, the content of the model file included.
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
        self,
        folder: str | Path | None = None,
        *,
        every: int = 500,
        resume: bool = False,
        recording: Recording | None = None,
        quiet: bool = False,
    ) -> History:
        """Train until the end; see `Trainer.fit`.

        Ctrl-C lets the running batch end and writes a checkpoint; a second one stops at once. Progress goes to
        standard error, if that is a terminal.
        """
        shown = not quiet and sys.stderr.isatty()
        total = self.config["epochs"] * len(self.training)
        with _Interrupt() as interrupt, tqdm.tqdm(total=total, disable=not shown, unit="batch") as bar:

            def progress(words: str, done: int, total: int) -> None:
                bar.set_description(words, refresh=False)
                bar.update(done - bar.n)
                interrupt.answer()

            return self.trainer.fit(
                self.training,
                self.config["epochs"],
                validation=self.validation,
                test=self.test,
                folder=folder,
                every=every,
                resume=resume,
                recording=recording,
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
        `data` (path), `credit`, `form` (of decorrelation), `epochs`, `batch`, `rate`, `decorrelation_rate`,
        `validation` (samples held out), `seed`, `recipe` (augmentation), `lateral_feedback` (of feedback alignment),
        `device` (of PyTorch; None: numpy), `watches`, `watch_every`; None or absent: what the model says.

    Raises
    ------
    ConfigError, InputError
        If an option is unknown or lies outside its range, or the data do not fit the network.

    Examples
    --------
    >>> from neurodecorr.modelfile import load_model
    >>> run = prepare_run(load_model("digits"), {"credit": "fa", "form": "recurrent", "epochs": 1})
    >>> len(run.go(quiet=True))
    1
    """
    given = _resolved(model, options)
    model = model.varied(recipe=given["recipe"], lateral_feedback=given["lateral_feedback"])
    train, test = _data(model, given["data"])
    prepared = data.preparation(train, model.document.data.recipe) if isinstance(train, data.ImageDataset) else None
    training = Epochs(train, given["batch"], seed=given["seed"], preparation=prepared)
    validation = None
    if given["validation"]:
        training, validation = training.split(given["validation"], seed=given["seed"])
    credit, form, seed = given["credit"], given["form"], given["seed"]
    network = model.network(credit, form, seed, decorrelation_rate=given["decorrelation_rate"])
    trainer = Trainer(
        network if given["device"] is None else on_device(network, given["device"]),
        model.rule(credit),
        model.optimiser(credit, form, given["rate"]),
        seed=seed,
        watches=given["watches"],
        watch_every=given["watch_every"],
    )
    held_out = Epochs(test, given["batch"], preparation=prepared, shuffle=False, augment=False)
    document = model.document.model_dump(by_alias=True)
    return Run({"model": model.name, **given, "document": document}, trainer, training, validation, held_out)


def unfinished(folder: str | Path) -> bool:
    """Whether a folder holds the checkpoint of a run that has not written its result."""
    kept, result = (Path(folder) / name for name in (CHECKPOINT, RESULT))
    return kept.exists() and not (result.exists() and result.stat().st_mtime_ns >= kept.stat().st_mtime_ns)


def _resolved(model: Model, options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        _checks.choice(name, "an option of a run", OPTIONS)
    given = OPTIONS | {name: value for name, value in options.items() if value is not None}
    own = model.document.training
    given |= {name: getattr(own, name) for name in ("epochs", "batch") if given[name] is None}
    for name, least in (("epochs", 1), ("batch", 1), ("validation", 0), ("seed", 0), ("watch_every", 1)):
        _checks.count(given[name], name, least)
    for name in ("rate", "decorrelation_rate"):
        if given[name] is not None:
            _checks.positive(given[name], name)
    _checks.choice(given["form"], "decorrelation", FORMS)
    model.rates(given["credit"])
    return given


def _data(model: Model, source: str | None) -> tuple[Any, Any]:
    name = model.document.data.name
    if source is None and name != "digits":
        raise ConfigError(
            f"the model {model.name!r} is made for {name}: give the folder of its files with --data (data=…). "
            "Without data, use the model 'digits'."
        )
    if source not in (None, "digits") and not Path(source).exists():
        hint = " Did you mean 'digits'?" if difflib.get_close_matches(source, ["digits"]) else ""
        raise InputError(
            f"data must be 'digits' or the path of something; there is no file or folder {source!r}.{hint} The model "
            f"{model.name!r} is made for {name}."
        )
    train, test = data.labelled(source or "digits")
    shape, wanted = train.shape or (train.features,), model.document.data.shape
    if isinstance(train, data.ImageDataset):
        shape = data.preparation(train, model.document.data.recipe).shape(train.shape)
    pictures = len(shape) == len(wanted) == 3
    if shape != wanted if pictures else math.prod(shape) != math.prod(wanted):
        raise InputError(
            f"the model {model.name!r} must get inputs of shape {wanted}; {train.name!r} has {shape}. "
            "Choose the data it is made for, or another model."
        )
    return train, test


class _Interrupt:
    """Ctrl-C, answered where the state of a run is whole: between two batches."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def answer(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self._asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
