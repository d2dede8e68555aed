"""`Trainer`: train a network in batches, with monitors and guards, resumable to the bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _validation
from neurodecorr._numerics.blas import one_pool, own_threads
from neurodecorr._texts import short_repr
from neurodecorr._typing import AnyArray
from neurodecorr._validation import unmasked
from neurodecorr.credit.base import CreditRule
from neurodecorr.credit.optimisers import Optimiser
from neurodecorr.data import Epochs
from neurodecorr.data.epochs import Batch
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io import provenance
from neurodecorr.io.checkpoints import CheckpointWriter
from neurodecorr.network import Network
from neurodecorr.network.algebra import alike, as_numpy
from neurodecorr.training import checkpoint, monitors
from neurodecorr.training.history import History
from neurodecorr.training.traces import RecordingOptions, Stretches


def targets(values: Any, outputs: int) -> Any:
    """Return labels as rows that are 1 at the label and 0 elsewhere; return rows of numbers unchanged.

    ::

        Y_sk = 1 if k is the label of sample s, else 0

    Raises
    ------
    InputError
        If there are more classes than outputs, or rows of another length.
    """
    values = require_targets(values, outputs)
    return values if values.ndim == 2 else np.eye(outputs)[values]


def require_targets(values: Any, outputs: int) -> Any:
    """Return targets if they are labels 0 … outputs − 1, or rows of so many numbers; raise as `targets` does."""
    values = np.asarray(unmasked(values, "targets"))
    if values.ndim == 2 and values.shape[1] == outputs:
        return values
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values >= outputs).any() or (values < 0).any():
        raise InputError(
            f"targets must be labels 0 … {outputs - 1} or rows of {outputs} numbers, as the network has {outputs} "
            f"outputs; got shape {values.shape} of type {values.dtype}, largest {values.max()}."
        )
    return values


Progress = Callable[[str, int, int], None]
# What the random numbers of a run are for.
_FEEDBACK, _CREDIT = 0, 1


@short_repr
class Trainer:
    """Train a network batch by batch.

    ::

        x̄_i = M_i (x_i − μ_i),    h_i = W_i x̄_i + b_i,    δ from the credit rule
        W_i ← W_i − step(⟨δ_i x̄_iᵀ⟩),    M_i (or R_i) ← its own decorrelation rule

    Every number drawn is a function of seed, epoch and batch; what is learnt is in arrays. A run that was killed goes
    on from its last checkpoint and ends with the same bits, on the same machine, array library and number of threads.

    Parameters
    ----------
    network : Network
        Changed in place.
    credit : CreditRule
        `Backprop()`, `FeedbackAlignment()`, `DirectFeedbackAlignment()`, `NodePerturbation()`.
    optimiser : Optimiser
        `SGD()`, `RMSprop()`, `Adam()`.
    seed : int
        Of feedback weights and noise.
    watches : sequence of str
        What to measure on the way: names in `monitors.MONITORS`.
    watch_every : int
        Batches between two measurements.

    Examples
    --------
    >>> from neurodecorr.data import Epochs, labelled
    >>> from neurodecorr.credit import Adam, Backprop
    >>> from neurodecorr.network import Dense, Network
    >>> train, test = labelled("digits")
    >>> network = Network([Dense(64, "tanh"), Dense(10, "identity")], (64,))
    >>> history = Trainer(network, Backprop(), Adam(3e-3)).fit(Epochs(train, 100), epochs=5, test=Epochs(test))
    >>> history.epochs["test accuracy"][-1] > 0.85
    True

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Algorithm 1.
    """

    def __init__(
        self,
        network: Network,
        credit: CreditRule,
        optimiser: Optimiser,
        *,
        seed: int = 0,
        watches: Sequence[str] = (),
        watch_every: int = 100,
    ) -> None:
        self.network, self.seed = _network(network), _validation.whole_seed(seed)
        _validation.offers(credit, ("start",), "credit", "a rule of credit, such as Backprop()")
        _validation.offers(optimiser, ("start",), "optimiser", "an optimiser, such as Adam(1e-3)")
        self.watches = tuple(_validation.checked_names(watches, "watches", monitors.MONITORS))
        self.watch_every = _validation.count(watch_every, "watch_every")
        self.credit = credit.start(network, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_FEEDBACK,))))
        self.optimiser = optimiser.start([array for layer in network.layers for array in (layer.W, layer.b)])
        self.history, self.place = History(), (0, 0)
        rules = {"credit": credit, "optimiser": optimiser}
        self._rules = {name: checkpoint.described_rule(rule) for name, rule in rules.items()}
        self._sums = np.zeros(3)  # loss, hits and samples of the running epoch

    def fit(
        self,
        training: Epochs,
        epochs: int,
        *,
        validation: Epochs | None = None,
        test: Epochs | None = None,
        folder: str | Path | None = None,
        every: int = 500,
        resume: bool = False,
        recording: RecordingOptions | None = None,
        config: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        begin: Callable[[], None] | None = None,
    ) -> History:
        """Learn until `epochs` epochs are done.

        Parameters
        ----------
        training, validation, test : Epochs
            Batches to learn from, and those on which loss and accuracy are measured after each epoch.
        epochs : int
            Epochs in all, those before a resume included. A finished run goes on if there are to be more.
        folder : path, optional
            Where checkpoints, traces and the result go; what an earlier run left there is replaced, unless `resume`.
        every : int
            Batches between two checkpoints; one is also written after each epoch.
        resume : bool
            Go on from the checkpoint in `folder`, if there is one.
        recording : RecordingOptions, optional
            Which arrays to keep on the way; read them with `training_traces`.
        config : mapping, optional
            Description of the run, kept in its files.
        progress : callable, optional
            Told (words, batches done, batches in all) after each batch. What it raises ends the run, with a checkpoint.
        begin : callable, optional
            Called once, when everything is checked, just before the first batch and the first file.

        Returns
        -------
        History
            Losses, accuracies and what was watched.

        Raises
        ------
        ConfigError
            If an option lies outside its range, or the checkpoint has more epochs than asked for.
        InputError
            If targets or inputs do not fit the network.
        DivergenceError
            If numbers leave the finite range; the cause is named, and the last checkpoint stays.
        CheckpointError
            If the checkpoint is damaged or belongs to another run, or the folder cannot be written.
        """
        _validation.count(epochs, "epochs", most=10**9)
        _validation.count(every, "every")
        place = None if folder is None else _validation.checked_path(folder, "folder")
        _epochs(training, "training")
        for name, held in (("validation", validation), ("test", test)):
            if held is not None:
                _epochs(held, name)
        for name, called in (("progress", progress), ("begin", begin)):
            if called is not None:
                _validation.function(called, name)
        _validation.instance(
            recording,
            (RecordingOptions, type(None)),
            "recording",
            "a RecordingOptions",
            "Use RecordingOptions(what, every).",
        )
        config = {} if config is None else _validation.mapping(config, "config")
        if _validation.flag(resume, "resume") and place is None:
            raise ConfigError("resume=True needs the folder that holds the checkpoint; got folder=None.")
        if training.dataset.targets is None:
            raise InputError(f"training needs targets; the dataset {training.dataset.name!r} has none.")
        outputs = self.network.layers[-1].W.shape[0]
        for one in (training, validation, test):
            if one is not None and one.dataset.targets is not None:
                require_targets(one.dataset.targets, outputs)
        with self._threads(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            library = checkpoint.described_library(self.network)
            keeper = CheckpointWriter(place, self.described(training), config, self.seed, library)
            about = {} if recording is None else provenance(config, self.seed)
            stretches = Stretches(recording, place, self.network, training, _arrays, about)
            if resume:
                self._restore(keeper, epochs, len(training))
            goal = {"kind": "training", "epochs": epochs}
            if resume and self.place == (epochs, 0) and keeper.finished(goal):
                return self.history
            if begin is not None:
                begin()
            stretches.begin(self._done(training))
            try:
                run = _Run(self, training, {"validation": validation, "test": test}, keeper, stretches, every, progress)
                run.go(epochs)
            finally:
                stretches.close()
            keeper.finish(self._result(), goal)
        return self.history

    def _threads(self) -> AbstractContextManager[None]:
        """Give the threads to blocks of patches, where there are some, or else to BLAS: both at once would wait."""
        return own_threads() if self.network.convolves else one_pool(self.network.size)

    def learn(self, batch: Batch, index: int, batches: int) -> None:
        """Learn from one batch, the one of that index in the running epoch, after so many batches in all."""
        where = f"epoch {self.place[0] + 1}, batch {index + 1}"
        X, Y = _arrays(self.network, batch)
        # A generator per batch: a resumed run draws what the uninterrupted one draws, without a stored state.
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(_CREDIT, self.place[0], index)))
        credit = self.credit.assign(X, Y, rng)
        # Before any weight changes, so that the last checkpoint is still of use.
        monitors.require_finite(self.network, credit, where)
        if self.watches and batches % self.watch_every == 0:
            self.history.add_watched(batches, monitors.measure(self.watches, self.network, credit, X, Y))
        # W first, then M: the decorrelator learns from the signals of this forward pass, which W no longer changes.
        self.optimiser.step([array for pair in credit.gradients for array in pair])
        self.credit.follow()
        monitors.learnt_decorrelation(self.network, credit, where)
        self._sums += _scores(credit.loss, credit.forward.output, Y, _are_labels(batch))
        self.place = (self.place[0], index + 1)

    def end_epoch(self, held_out: Mapping[str, Epochs | None]) -> None:
        """Measure, and begin the next epoch."""
        loss, hits, samples = self._sums
        values = {"training loss": float(loss / samples), "training accuracy": float(hits / samples)}
        for name, batches in held_out.items():
            if batches is not None:
                values[f"{name} loss"], values[f"{name} accuracy"] = evaluate(self.network, batches)
        self.history.add_epoch(values)
        self.place, self._sums = (self.place[0] + 1, 0), np.zeros(3)

    @property
    def words(self) -> str:
        """Loss and accuracy of the running epoch, in words."""
        loss, hits, samples = self._sums
        found = "" if np.isnan(hits) else f", accuracy {hits / samples:.1%}"
        return f"epoch {self.place[0] + 1}: loss {loss / samples:.3f}{found}"

    def arrays(self) -> dict[str, Any]:
        """Return all that a checkpoint keeps, as numpy arrays by name."""
        parts = {"network": self.network.arrays(), "credit": self.credit.arrays, "optimiser": self.optimiser.arrays}
        kept = {f"{part}.{name}": as_numpy(array) for part, found in parts.items() for name, array in found.items()}
        return kept | self.history.to_arrays() | {"place": np.array(self.place), "sums": self._sums}

    def load(self, arrays: Mapping[str, Any]) -> None:
        """Take over what `arrays` returned; nothing changes unless all of it fits.

        Raises
        ------
        CheckpointError
            If it is of another network, rule or optimiser, or holds what cannot have been learnt.
        """
        for name, one in _validation.mapping(arrays, "arrays").items():
            _validation.instance(one, np.ndarray, f"arrays[{name!r}]", "an array")
        self._load(arrays)

    def _load(
        self, arrays: Mapping[str, Any], batches: int | None = None, keeper: CheckpointWriter | None = None
    ) -> None:
        history, place, sums = History.from_arrays(arrays), *_place(arrays, batches)
        if len(history) != place[0]:
            raise CheckpointError(f"the checkpoint must tell of {place[0]} epochs; its history has {len(history)}.")
        parts = {"rule of credit": "credit", "optimiser": "optimiser", "network": "network"}
        targets = {"rule of credit": self.credit.arrays, "optimiser": self.optimiser.arrays}
        targets["network"] = self.network.arrays()
        # Slow noise draws its memory with the first batch, so a rule may have more arrays than at its start.
        fitting = {
            name: checkpoint.filled(targets[name], _part(arrays, part), name, grows=part == "credit")
            for name, part in parts.items()
        }
        checkpoint.require_circuits(fitting["network"])
        if keeper is not None:
            keeper.require_whole(arrays)
        # All parts fit: only now is anything overwritten, in place, since networks and optimisers share the arrays.
        for name, found in fitting.items():
            target = targets[name]
            target.update({key: value.copy() for key, value in found.items() if key not in target})
            for key, value in found.items():
                target[key][...] = alike(value, target[key])
        self.history, self.place, self._sums = history, place, sums

    def _restore(self, keeper: CheckpointWriter, epochs: int, batches: int) -> None:
        arrays = keeper.found()
        if arrays is None:
            return
        self._load(arrays, batches, keeper)
        if self.place > (epochs, 0):
            done = f"{self.place[0]} epochs and {self.place[1]} batches"
            raise ConfigError(f"epochs must be at least what the checkpoint has learnt, {done}; got {epochs}.")

    def described(self, training: Epochs) -> dict[str, Any]:
        """Return what decides the numbers of a run: rules, seed, watches, network, data."""
        watches = f"{', '.join(self.watches)} every {self.watch_every} batches" if self.watches else "none"
        described = checkpoint.described_network(self.network) | checkpoint.described_data(training)
        return {**self._rules, "seed": self.seed, "watches": watches, **described}

    def _done(self, training: Epochs) -> int:
        return self.place[0] * len(training) + self.place[1]

    def _result(self) -> dict[str, Any]:
        return {name: a for name, a in self.arrays().items() if name.partition(".")[0] in RESULT_PARTS}


def _network(value: Any) -> Network:
    found: Network = _validation.instance(value, Network, "network", advice="Use Network(layers, inputs).")
    return found


def _epochs(value: Any, name: str) -> None:
    _validation.instance(value, Epochs, name, "an Epochs", "Use Epochs(dataset, size).")


RESULT_PARTS = ("network", "epochs", "watched", "watched_batches")


class _Run:
    """Batches one after the other, with what has to happen between them."""

    def __init__(
        self,
        trainer: Trainer,
        training: Epochs,
        held_out: Mapping[str, Epochs | None],
        keeper: CheckpointWriter,
        stretches: Stretches,
        every: int,
        progress: Progress | None,
    ) -> None:
        self._trainer, self._training, self._held_out = trainer, training, held_out
        self._keeper, self._stretches, self._every, self._progress = keeper, stretches, every, progress

    def go(self, epochs: int) -> None:
        """Learn until so many epochs are done."""
        trainer, length = self._trainer, len(self._training)
        while trainer.place[0] < epochs:
            epoch, first = trainer.place
            for index, batch in enumerate(self._training.batches(epoch, first), first):
                done = epoch * length + index
                self._stretches.record(done)
                trainer.learn(batch, index, done)
                if (done + 1) % self._every == 0:
                    self._save(done + 1)
                self._tell(done + 1, epochs * length)
            trainer.end_epoch(self._held_out)
            self._save((epoch + 1) * length)

    def _save(self, done: int) -> None:
        """Close the stretch first: a checkpoint promises that all rows before it are on disk."""
        epoch, batch = self._trainer.place
        where = f"epoch {epoch + 1}, batch {batch}" if batch else f"epoch {epoch}"
        monitors.finite_state(self._trainer.network, where)
        self._stretches.close()
        self._keeper.save(self._trainer.arrays())
        self._stretches.begin(done)

    def _tell(self, done: int, total: int) -> None:
        if self._progress is None:
            return
        try:
            self._progress(self._trainer.words, done, total)
        except BaseException:  # Ctrl-C included: the run can go on from here
            self._save(done)
            raise


def evaluate(network: Network, batches: Epochs) -> tuple[float, float]:
    """Return mean loss and accuracy of a network on a dataset; accuracy is NaN for real targets.

    ::

        ℒ = ∑_s ℓ_s/N,    accuracy = share of samples with argmax(y_s) = label_s

    Parameters
    ----------
    network : Network
        Not changed.
    batches : Epochs
        The samples with their targets.
    """
    _network(network)
    _epochs(batches, "batches")
    if batches.dataset.targets is None:
        raise InputError(f"batches need targets; the dataset {batches.dataset.name!r} has none.")
    network = network.prepared(len(batches.dataset.inputs))
    # Sums, not means of means: the last batch may be shorter.
    sums = np.zeros(3)
    for batch in batches.batches():
        X, Y = _arrays(network, batch)
        output = network.forward(X).output
        sums += _scores(network.loss.measure(output, Y)[0], output, Y, _are_labels(batch))
    return float(sums[0] / sums[2]), float(sums[1] / sums[2])


def _arrays(network: Network, batch: Batch) -> tuple[AnyArray, AnyArray]:
    """Return inputs and targets of a batch in the library, the type and the place of the network."""
    Y = targets(batch.targets, network.layers[-1].W.shape[0])
    return network.take(batch.inputs.reshape(len(batch.inputs), -1)), network.take(Y)


def _are_labels(batch: Batch) -> bool:
    return np.ndim(batch.targets) == 1  # type: ignore[arg-type]


def _scores(loss: AnyArray, output: AnyArray, Y: AnyArray, labels: bool) -> Any:
    """Return summed loss, hits (NaN where targets are no labels) and samples of a batch."""
    xp = array_namespace(loss)
    hits = float(xp.sum(xp.astype(xp.argmax(output, axis=1) == xp.argmax(Y, axis=1), loss.dtype)))
    return np.array([float(xp.sum(loss)), hits if labels else np.nan, float(loss.shape[0])])


def _part(arrays: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {name.removeprefix(f"{part}."): a for name, a in arrays.items() if name.startswith(f"{part}.")}


def _place(arrays: Mapping[str, Any], batches: int | None) -> tuple[tuple[int, int], Any]:
    """Return where a run stands, with so many batches in an epoch, and the sums of its running epoch."""
    place, sums = arrays.get("place"), arrays.get("sums")
    whole = place is not None and place.shape == (2,) and place.dtype.kind == "i" and (place >= 0).all()
    if not whole or sums is None or sums.shape != (3,) or sums.dtype.kind != "f":
        raise CheckpointError(
            "the checkpoint must say where the run stands: 2 whole numbers 'place', 3 numbers 'sums'."
        )
    found = (int(place[0]), int(place[1]))  # type: ignore[index]
    loss, hits, samples = (float(value) for value in sums)
    counted = samples >= found[1] and float(samples).is_integer() and (np.isnan(hits) or 0 <= hits <= samples)
    if not np.isfinite(loss) or not counted or (batches is not None and found[1] > batches):
        raise CheckpointError(
            f"the checkpoint must say where the run stands: it claims {found[1]} batches of {batches or 'an epoch'}, "
            f"with a loss of {loss:g}, {hits:g} hits and {samples:g} samples in all."
        )
    return found, np.array(sums, float)
