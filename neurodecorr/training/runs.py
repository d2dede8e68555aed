"""One training run: a model file, options that override it, data, and where the results go."""

from __future__ import annotations

import difflib
import itertools
import math
import signal
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
import pydantic

from neurodecorr import _validation, data
from neurodecorr._texts import printable
from neurodecorr._typing import Floats
from neurodecorr._validation import Progress
from neurodecorr.data import Epochs
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io import Result, load_result
from neurodecorr.io.checkpoints import CHECKPOINT, RESULT, CheckpointWriter
from neurodecorr.io.claims import Claim, claim
from neurodecorr.io.manifest import read_manifest
from neurodecorr.io.provenance import run_id
from neurodecorr.models import Document, Model
from neurodecorr.network import Network
from neurodecorr.network.decorrelators import FORMS
from neurodecorr.network.network import on_device
from neurodecorr.training.checkpoint import described_library, training_fingerprint
from neurodecorr.training.history import History
from neurodecorr.training.traces import RecordingOptions
from neurodecorr.training.trainer import Trainer

KIND = "training run"
_MAKES = (CHECKPOINT, RESULT, "traces/*.h5", "curves.svg", "curves.png")
_GO_ON = "Add --resume to go on with it, --overwrite to begin anew, or choose another folder with --out."

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
class TrainingRun:
    """Network, rules, data and settings of one training run.

    Parameters
    ----------
    config : dict
        Resolved options, the content of the model file included.
    trainer : Trainer
        The network, its rule and its optimiser.
    training, validation, test : Epochs
        Batches; validation is None if nothing is held out.
    sources : tuple of two datasets
        All that may be trained on, and what is tested on.
    """

    config: dict[str, Any]
    trainer: Trainer
    training: Epochs
    validation: Epochs | None
    test: Epochs | None
    sources: tuple[Any, Any]

    def described(self) -> dict[str, Any]:
        """Return what decides the numbers of the run, its data as hashes: no path, no number of epochs."""
        held_out = {"validation data": self.validation, "test data": self.test}
        hashes = {name: training_fingerprint(part.dataset) for name, part in held_out.items() if part is not None}
        return {**self.trainer.described(self.training), **hashes}

    def content(self) -> str:
        """Return a hash of every sample and target, held out or not; where they lie plays no part."""
        return run_id({"data": [training_fingerprint(part) for part in self.sources]})

    def keeper(self, folder: str | Path) -> CheckpointWriter:
        """Return who keeps the checkpoint of this run in a folder."""
        library = described_library(self.trainer.network)
        described = self.trainer.described(self.training)
        return CheckpointWriter(Path(folder), described, self.config, self.trainer.seed, library)

    def go(
        self,
        folder: str | Path | None = None,
        *,
        every: int = 500,
        resume: bool = False,
        recording: RecordingOptions | None = None,
        progress: Progress | None = None,
        begin: Callable[[], None] | None = None,
    ) -> History:
        """Train until the end; see `Trainer.fit`.

        Ctrl-C lets the running batch end and writes a checkpoint; a second one stops at once.
        """
        with _Interrupt() as interrupt:

            def listen(words: str, done: int, total: int) -> None:
                if progress is not None:
                    progress(words, done, total)
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
                progress=listen,
                begin=begin,
            )


def prepare_run(model: Model, options: Mapping[str, Any]) -> TrainingRun:
    """Return a training run of a model with some of its settings replaced.

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
    >>> from neurodecorr.models import load_model
    >>> run = prepare_run(load_model("digits"), {"credit": "fa", "form": "recurrent", "epochs": 1})
    >>> len(run.go())
    1
    """
    given, asked = _resolved(model, options), options.get("batch")
    model = model.varied(recipe=given["recipe"], lateral_feedback=given["lateral_feedback"])
    train, test = _data(model, given["data"])
    prepared = data.preparation(train, model.document.data.recipe) if isinstance(train, data.ImageDataset) else None
    if asked is not None and asked > len(train) - given["validation"]:
        raise ConfigError(
            f"batch must be at most the number of samples to train on, {len(train) - given['validation']}; got {asked}."
        )
    training = Epochs(train, given["batch"], seed=given["seed"], preparation=prepared)
    validation = None
    if given["validation"]:
        training, validation = training.split(given["validation"], seed=given["seed"])
    credit, form, seed = given["credit"], given["form"], given["seed"]
    network = model.network(credit, form, seed, decorrelation_rate=given["decorrelation_rate"])
    _require_classes(model, math.prod(network.layers[-1].shape), train)
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
    return TrainingRun(
        {"model": model.name, **given, "document": document}, trainer, training, validation, held_out, (train, test)
    )


def unfinished(folder: str | Path) -> bool:
    """Return True if a folder holds the checkpoint of a run and no result that is as far."""
    place = Path(folder)
    if not (place / CHECKPOINT).exists():
        return False
    try:
        result, kept = load_result(place / RESULT), load_result(place / CHECKPOINT)
    except CheckpointError:
        return True
    stands = kept.arrays.get("place", np.zeros(2))
    return result.meta.get("run") != kept.meta.get("run") or [result.meta.get("epochs"), 0] != stands.tolist()


def claim_run(
    run: TrainingRun,
    folder: str | Path,
    *,
    recording: RecordingOptions | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Claim:
    """Claim a folder for a training run, before it begins; nothing that another run made is replaced unasked.

    Epochs are no part of what a run is: it may go on to more.

    Parameters
    ----------
    run : TrainingRun
        From `prepare_run`.
    folder : path
        Where it is to write.
    recording : RecordingOptions, optional
        What it is to record.
    resume : bool
        Go on from the checkpoint that is there.
    overwrite : bool
        Begin anew, and replace what is there.

    Returns
    -------
    Claim
        "done" if the result of so many epochs is there already; nothing is to be done then.

    Raises
    ------
    ConfigError
        If both `resume` and `overwrite` are asked for.
    CheckpointError
        If there is nothing to go on from; if another run, or this one with other epochs, is there.
    """
    if resume and overwrite:
        raise ConfigError("resume goes on with what is there, overwrite replaces it: give one of the two.")
    place, described = Path(folder), run.described()
    recorded = "nothing" if recording is None else f"{', '.join(recording.what)} every {recording.every} batches"
    if resume:
        run.keeper(place).require_own()
    elif not overwrite and not _known(place) and unfinished(place):
        raise CheckpointError(f"{place} holds an unfinished run. {_GO_ON}")
    held = claim(place, KIND, {**described, "recorded": recorded}, makes=_MAKES, overwrite=overwrite or resume)
    if resume:  # what is there goes on: its files stay
        gone = tuple(replace(old, files={}, complete=True) for old in held.replaced if old.kind == KIND)
        held = replace(held, made=replace(held.made, files={}), replaced=gone, makes=())
    epochs = _finished(place, run) if held.state != "new" or resume else None
    if epochs == run.config["epochs"]:
        return replace(held, state="done")
    if overwrite or resume or held.state == "new":
        return replace(held, state="unfinished" if resume else "new")
    if epochs is not None:
        raise CheckpointError(
            f"{place} holds this run, {_epochs(epochs)}; now {run.config['epochs']} are asked for. {_GO_ON}"
        )
    if (place / CHECKPOINT).exists():
        raise CheckpointError(f"{place} holds an unfinished run. {_GO_ON}")
    return held


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count != 1 else ''}"


def _known(folder: Path) -> bool:
    """Return True if a manifest lists a training run."""
    return any(made.kind == KIND for made in read_manifest(folder))


def _finished(folder: Path, run: TrainingRun) -> int | None:
    """Return the epochs of the result of this run that is there; None if there is none that is whole."""
    try:
        found = load_result(folder / RESULT)
        History.from_arrays(found.arrays)
    except CheckpointError:
        return None
    own = Result({}, run.trainer.described(run.training)).meta
    epochs = found.meta.get("epochs")
    return epochs if found.meta.get("run") == own and isinstance(epochs, int) else None


def goes_on(run: TrainingRun, folder: str | Path) -> bool:
    """Return True if a folder holds a whole checkpoint of this run, which is then loaded."""
    keeper = run.keeper(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told when it goes on
        try:
            arrays = keeper.found()
            if arrays is None:
                return False
            keeper.require_whole(arrays)
            run.trainer.load(arrays)
        except CheckpointError:
            return False
    return True


def finished_history(folder: str | Path) -> History:
    """Return the history of the run whose result is in a folder."""
    return History.from_arrays(load_result(Path(folder) / RESULT).arrays)


def written(folder: str | Path) -> list[Path]:
    """Return the files of a training run that are in its folder."""
    return sorted({path for one in _MAKES for path in Path(folder).glob(one) if path.is_file()})


def _resolved(model: Model, options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        _validation.choice(name, "an option of a run", OPTIONS)
    given = OPTIONS | {name: value for name, value in options.items() if value is not None}
    own = model.document.training
    given |= {name: getattr(own, name) for name in ("epochs", "batch") if given[name] is None}
    for name, least in (("epochs", 1), ("batch", 1), ("validation", 0), ("seed", 0), ("watch_every", 1)):
        _validation.count(given[name], name, least)
    for name in ("rate", "decorrelation_rate"):
        if given[name] is not None:
            _validation.positive(given[name], name)
    _validation.choice(given["form"], "decorrelation", FORMS)
    model.rates(given["credit"])
    return given


def _data(model: Model, source: str | None) -> tuple[Any, Any]:
    name = model.document.data.name
    if source is None and name != "digits":
        raise ConfigError(
            f"the model {model.name!r} is made for {name}: give the folder of its files with --data (data=…). "
            "Without data, use the model 'digits'."
        )
    source = str(Path(source).expanduser()) if source is not None and source.startswith("~") else source
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


def _require_classes(model: Model, outputs: int, train: data.Dataset | data.ImageDataset) -> None:
    """Raise unless there is an output for each class, and a class for each output: others only learn to be off."""
    if isinstance(train, data.ImageDataset):
        classes = len(train.classes)
    elif train.targets is None or train.targets.dtype.kind not in "iu" or train.targets.ndim != 1:
        return
    else:
        classes = int(train.targets.max()) + 1
    if classes != outputs:
        raise InputError(
            f"the model {model.name!r} must get data with as many classes as it has outputs, {outputs}; {train.name!r} "
            f"has {classes}. Choose the data it is made for, or another model."
        )


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


ROWS = 256


def trained_network(result: Result) -> Network:
    """Return the network that a training run ended with.

    Parameters
    ----------
    result : Result
        What `neurodecorr train` wrote.

    Returns
    -------
    Network
        Made from the model file kept in the result, with the learnt weights.

    Raises
    ------
    CheckpointError
        If the result is of another kind, does not hold its model, or does not fit it.
    """
    model, config = _model(result)
    try:
        network = model.network(
            config["credit"], config["form"], decorrelation_rate=config["decorrelation_rate"], dtype=_dtype(result)
        )
        network.load(_weights(result))
    except (InputError, ConfigError, KeyError) as error:
        raise CheckpointError(f"the result does not fit the model that it names: {error}") from error
    return network


def layer_inputs(result: Result) -> dict[str, Floats]:
    """Return inputs of each layer for the first samples of the test set.

    Parameters
    ----------
    result : Result
        What `neurodecorr train` wrote.

    Returns
    -------
    dict of str to (k, n) array
        By "layer0", "layer1", …; k ≤ 256 rows, of a convolution evenly spaced patches. Empty if the data are not where
        they were, or the run was not started from a model file.
    """
    try:
        model, config = _model(result)
        run = prepare_run(model, {name: config[name] for name in OPTIONS if name in config and name != "device"})
        network = run.trainer.network
        network.load(_weights(result))
    except (InputError, ConfigError, CheckpointError, OSError, KeyError):
        return {}
    if run.test is None:
        return {}
    batches = itertools.islice(run.test.batches(), -(-ROWS // run.test.size))
    X = np.concatenate([batch.inputs.reshape(len(batch.inputs), -1) for batch in batches])[:ROWS]
    signals = network.forward(X).signals
    return {f"layer{i}": np.asarray(one.x, np.float64)[:: max(1, len(one.x) // ROWS)] for i, one in enumerate(signals)}


def _model(result: Result) -> tuple[Model, Mapping[str, Any]]:
    config = result.meta.get("provenance", {}).get("config", {})
    if result.meta.get("kind") != "training" or "document" not in config:
        raise CheckpointError(
            "this result must be that of `neurodecorr train`, which keeps its model; got kind "
            f"{printable(repr(result.meta.get('kind')))}."
        )
    try:
        return Model(str(config.get("model", "model")), Document.model_validate(config["document"])), config
    except pydantic.ValidationError as error:
        raise CheckpointError(f"the model kept in the result is not one of this version: {error}") from error


def _weights(result: Result) -> dict[str, Any]:
    return {k.removeprefix("network."): a for k, a in result.arrays.items() if k.startswith("network.")}


def _dtype(result: Result) -> str:
    return next(array.dtype.name for name, array in result.arrays.items() if name == "network.layer0.W")
