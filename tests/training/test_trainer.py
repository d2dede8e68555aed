"""Training: what it measures, what a kill cannot change, and how it says that it cannot go on."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodecorr.credit import (
    SGD,
    Adam,
    Backprop,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    NodePerturbation,
    OrnsteinUhlenbeck,
    RecordedNoise,
    RMSprop,
)
from neurodecorr.data import Dataset, Epochs, labelled
from neurodecorr.errors import CheckpointError, ConfigError, DivergenceError, InputError
from neurodecorr.io import Result, load_result
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
from neurodecorr.training import RecordingOptions, Trainer, evaluate, training_traces
from neurodecorr.training.history import History

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 3, 70)
TABLE = Dataset(RNG.standard_normal((70, 6)) + np.eye(3, 6)[CLASSES] * 2, CLASSES, name="clouds")
TRAINING, TEST = Epochs(TABLE.take(np.arange(50)), 10, seed=1), Epochs(TABLE.take(np.arange(50, 70)), 10)


def trainer(credit=None, optimiser=None, form="none", *, layers=None, rate=1e-2, seed=0, inputs=6, **options):
    plan = Decorrelation(form, rule="implicit", rate=rate, rate_is="absolute")
    layers = layers or [Dense(5, "tanh"), Dense(3, "identity")]
    network = Network(layers, inputs, decorrelation=plan, seed=seed)
    return Trainer(network, credit or Backprop(), optimiser or Adam(1e-2), seed=seed, **options)


def bits(arrays):
    """Return a hash of named arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()


class Stopped(Exception):
    pass


def stop_after(count):
    """Return a listener that raises once so many batches are done."""

    def listen(words, done, total):
        if done == count:
            raise Stopped

    return listen


# What is measured.


def test_the_history_holds_loss_and_accuracy_of_every_epoch():
    history = trainer().fit(TRAINING, 3, test=TEST)
    assert list(history.epochs) == ["training loss", "training accuracy", "test loss", "test accuracy"]
    assert len(history) == 3 and history.epochs["test accuracy"][-1] > 0.5


def test_evaluate_is_the_mean_over_samples_whatever_the_batches():
    network = trainer().network
    found = [evaluate(network, replace(TEST, size=size)) for size in (1, 7, 20)]
    output = network.forward(TEST.dataset.inputs).output.astype(float)
    labels = TEST.dataset.targets
    exact = np.mean(np.log(np.exp(output).sum(axis=1)) - output[np.arange(20), labels])
    hits = np.mean(output.argmax(axis=1) == labels)
    for loss, accuracy in found:  # float32, sums of 20 terms
        assert loss == pytest.approx(exact, rel=1e-5) and accuracy == pytest.approx(hits)


def test_targets_that_are_no_labels_have_a_loss_and_no_accuracy():
    table = Dataset(TABLE.inputs, TABLE.inputs[:, :2])
    network = Network([Dense(2, "identity")], 6, loss="mse")
    history = Trainer(network, Backprop(), Adam(1e-2)).fit(Epochs(table, 10), 5)
    assert np.isnan(history.epochs["training accuracy"]).all()
    assert history.epochs["training loss"][-1] < history.epochs["training loss"][0]
    with pytest.raises(InputError, match="NaN in all 5"):
        history.best("training accuracy")


def test_a_seed_decides_every_bit_and_another_seed_others():
    found = []
    for seed in (0, 0, 1):
        one = trainer(NodePerturbation(), form="recurrent", seed=seed)
        one.fit(TRAINING, 2)
        found.append(bits(one.arrays()))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (np.arange(50), "labels 0 … 2 or rows of 3"),
        (np.zeros((50, 2)), "rows of 3 numbers"),
        (np.linspace(0, 1, 50), "type float64"),
        (None, "training needs targets"),
    ],
    ids=["too many classes", "short rows", "fractions", "none"],
)
def test_targets_that_do_not_fit_are_refused(targets, words):
    with pytest.raises(InputError, match=words):
        trainer().fit(Epochs(Dataset(TABLE.inputs[:50], targets), 10), 1)


def test_inputs_of_another_width_are_refused():
    with pytest.raises(InputError, match="6"):
        trainer().fit(Epochs(Dataset(np.ones((9, 4)), np.zeros(9, int)), 3), 1)


# Resuming.

RULES = {
    "bp": Backprop(),
    "fa": FeedbackAlignment(),
    "fa adjoint": FeedbackAlignment("random", "adjoint"),
    "fa random lateral": FeedbackAlignment("random", "random"),
    "kolen-pollack": FeedbackAlignment("kolen_pollack"),
    "mirror": FeedbackAlignment("mirror"),
    "brSF": FeedbackAlignment("brSF"),
    "dfa": DirectFeedbackAlignment(),
    "np": NodePerturbation(),
    "np slow noise": NodePerturbation(noise=OrnsteinUhlenbeck(1e-2, 7.0)),
    "np without clean pass": NodePerturbation(clean_pass=False),
}
OPTIMISERS = {"sgd": SGD(1e-2), "momentum": SGD(1e-2, 0.9), "rmsprop": RMSprop(1e-3), "adam": Adam(1e-2)}
VARIANTS = [
    *[(name, rule, Adam(1e-2), "recurrent", {}) for name, rule in RULES.items()],
    *[(name, Backprop(), optimiser, "feedforward", {}) for name, optimiser in OPTIMISERS.items()],
    *[(form, FeedbackAlignment(), Adam(1e-2), form, {}) for form in ("none", "batch_norm")],
    ("watches", Backprop(), Adam(1e-2), "none", {"watches": ("angle", "condition"), "watch_every": 3}),
]


@pytest.mark.parametrize(
    ("credit", "optimiser", "form", "options"), [v[1:] for v in VARIANTS], ids=[v[0] for v in VARIANTS]
)
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path, credit, optimiser, form, options):
    whole = trainer(credit, optimiser, form, **options)
    whole.fit(TRAINING, 4, test=TEST)
    for stop in (3, 5, 12):  # within an epoch, at its end, and once more
        with pytest.raises(Stopped):
            trainer(credit, optimiser, form, **options).fit(
                TRAINING, 4, test=TEST, folder=tmp_path, every=4, resume=True, progress=stop_after(stop)
            )
    again = trainer(credit, optimiser, form, **options)
    again.fit(TRAINING, 4, test=TEST, folder=tmp_path, every=4, resume=True)
    assert bits(again.arrays()) == bits(whole.arrays())


def test_measured_noise_goes_on_where_it_was(tmp_path):
    np.save(tmp_path / "noise.npy", RNG.standard_normal(1009))
    rule = NodePerturbation(noise=RecordedNoise(tmp_path / "noise.npy", 1e-2))
    whole = trainer(rule)
    whole.fit(TRAINING, 2)
    with pytest.raises(Stopped):
        trainer(rule).fit(TRAINING, 2, folder=tmp_path, progress=stop_after(4))
    again = trainer(rule)
    again.fit(TRAINING, 2, folder=tmp_path, resume=True)
    assert bits(again.arrays()) == bits(whole.arrays())


def test_convolutions_go_on_with_the_same_bits(tmp_path):
    images, _ = labelled("digits")
    training = Epochs(images.take(np.arange(60)), 20)
    layers = [Conv2d(4, 3), MaxPool2d(2), Dense(10, "identity")]
    whole = trainer(form="recurrent", layers=layers, inputs=(1, 8, 8))
    whole.fit(training, 3)
    with pytest.raises(Stopped):
        trainer(form="recurrent", layers=layers, inputs=(1, 8, 8)).fit(
            training, 3, folder=tmp_path, progress=stop_after(4)
        )
    again = trainer(form="recurrent", layers=layers, inputs=(1, 8, 8))
    again.fit(training, 3, folder=tmp_path, resume=True)
    assert bits(again.arrays()) == bits(whole.arrays())


def test_a_finished_run_returns_at_once_and_goes_on_if_there_are_to_be_more_epochs(tmp_path):
    first = trainer().fit(TRAINING, 2, folder=tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    told = []
    again = trainer().fit(TRAINING, 2, folder=tmp_path, resume=True, progress=lambda *words: told.append(words))
    assert again == first and told == []
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    longer, whole = trainer(), trainer()
    longer.fit(TRAINING, 4, folder=tmp_path, resume=True)
    whole.fit(TRAINING, 4)
    assert bits(longer.arrays()) == bits(whole.arrays())
    with pytest.raises(ConfigError, match=r"4 epochs and 0 batches; got 3"):
        trainer().fit(TRAINING, 3, folder=tmp_path, resume=True)


def test_a_result_that_was_not_written_any_more_is_written_on_resuming(tmp_path):
    trainer().fit(TRAINING, 2, folder=tmp_path)
    before = load_result(tmp_path)
    (tmp_path / "result.npz").unlink()
    trainer().fit(TRAINING, 2, folder=tmp_path, resume=True)
    assert bits(load_result(tmp_path).arrays) == bits(before.arrays)


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from test_trainer import TEST, TRAINING, FeedbackAlignment, RecordingOptions, trainer
one = trainer(FeedbackAlignment("kolen_pollack"), form="recurrent", watches=("angle",), watch_every=7)
print("ready", flush=True)
one.fit(TRAINING, 20, test=TEST, folder=sys.argv[1], every=3, resume=True, recording=RecordingOptions(every=2),
        progress=lambda *words: time.sleep(0.002))
"""


def survived(folder, kills, rng):
    """Kill a run at random points, resuming each time; return how often it was killed, and let it end."""
    code = KILLED.format(tests=str(Path(__file__).parent))
    count = 0
    while True:
        with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            if count < kills:
                time.sleep(rng.uniform(0, 0.1))
                process.send_signal(signal.SIGKILL)
            code_found = process.wait()
        if code_found == 0:
            return count
        assert code_found == -signal.SIGKILL
        count += 1


def check_kills(tmp_path, kills):
    whole = trainer(FeedbackAlignment("kolen_pollack"), form="recurrent", watches=("angle",), watch_every=7)
    whole.fit(TRAINING, 20, test=TEST, folder=tmp_path / "whole", recording=RecordingOptions(every=2))
    done = 0
    for attempt in range(kills):
        folder = tmp_path / f"killed{attempt}"
        done += survived(folder, min(8, kills - done), random.Random(attempt))
        assert bits(load_result(folder).arrays) == bits(load_result(tmp_path / "whole").arrays)
        recorded, right = (training_traces(place) for place in (folder, tmp_path / "whole"))
        assert recorded.keys() == right.keys()
        for name in right:
            assert np.array_equal(recorded[name].step, np.arange(0, 100, 2))
            assert np.array_equal(recorded[name].values, right[name].values)
        if done >= kills:
            return


def test_three_kills_at_random_points_change_neither_a_bit_of_the_result_nor_a_row_of_the_traces(tmp_path):
    check_kills(tmp_path, 3)


@pytest.mark.slow
def test_fifty_kills_at_random_points_change_neither_a_bit_of_the_result_nor_a_row_of_the_traces(tmp_path):
    check_kills(tmp_path, 50)


# Checkpoints that cannot be used.


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"optimiser": Adam(3e-2)}, r"optimiser Adam\(rate=0.01.*→ Adam\(rate=0.03"),
        ({"credit": FeedbackAlignment()}, r"credit Backprop\(\) → FeedbackAlignment"),
        ({"seed": 3}, "seed 0 → 3"),
        ({"layers": [Dense(4, "tanh"), Dense(3, "identity")]}, r"layer 1 6×5 → 5, tanh.*→ 6×4 → 4"),
        ({"form": "recurrent"}, "form='none'.*→.*form='recurrent'"),
        ({"watches": ("angle",)}, "watches none → angle every 100"),
    ],
    ids=["optimiser", "credit", "seed", "layers", "decorrelation", "watches"],
)
def test_the_checkpoint_of_other_options_is_refused_and_they_are_named(tmp_path, other, words):
    trainer().fit(TRAINING, 1, folder=tmp_path)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    with pytest.raises(CheckpointError, match=words):
        trainer(**other).fit(TRAINING, 2, folder=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


def test_the_checkpoint_of_other_data_is_refused(tmp_path):
    trainer().fit(TRAINING, 1, folder=tmp_path)
    others = Dataset(TABLE.inputs[:50] + 1e-3, CLASSES[:50], name="clouds")
    for training, words in (
        (Epochs(others, 10, seed=1), "fingerprint"),
        (replace(TRAINING, size=25), "batch 10 → 25"),
        (replace(TRAINING, seed=2), "order seed 1, shuffled → seed 2"),
    ):
        with pytest.raises(CheckpointError, match=words):
            trainer().fit(training, 2, folder=tmp_path, resume=True)


@pytest.mark.parametrize("keep", [0, 10, 200, 0.5, -1], ids=str)
def test_a_cut_checkpoint_is_refused_and_left_as_it_is(tmp_path, keep):
    trainer().fit(TRAINING, 1, folder=tmp_path)
    path = tmp_path / "checkpoint.npz"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    before = path.read_bytes()
    one = trainer()
    fresh = bits(one.arrays())
    with pytest.raises(CheckpointError, match="checkpoint"):
        one.fit(TRAINING, 2, folder=tmp_path, resume=True)
    assert path.read_bytes() == before and bits(one.arrays()) == fresh


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("network.layer0.W"), "layer0.W"),
        (lambda a: a.update({"network.layer0.W": np.ones((5, 7), np.float32)}), "shape"),
        (lambda a: a.update({"network.layer0.W": np.full((5, 6), np.nan, np.float32)}), "finite"),
        (lambda a: a.pop("optimiser.m0"), "another optimiser.*'m0' is missing"),
        (lambda a: a.update({"optimiser.zz": np.ones(2)}), "'zz' is unknown"),
        (lambda a: a.update({"optimiser.m0": np.ones(2)}), "'m0' must have the shape"),
        (lambda a: a.pop("place"), "where the run stands"),
        (lambda a: a.update({"place": np.array([-1, 0])}), "where the run stands"),
        (lambda a: a.pop("watched_batches"), "a history must hold"),
        (lambda a: a.update({"epochs.training loss": np.array("x")}), "a history must hold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_with_wrong_arrays_is_refused_and_nothing_changes(tmp_path, change, words):
    trainer().fit(TRAINING, 1, folder=tmp_path)
    path = tmp_path / "checkpoint.npz"
    found = load_result(path)
    arrays = dict(found.arrays)
    change(arrays)
    Result(arrays, found.meta).save(path)
    one = trainer()
    before = bits(one.arrays())
    with pytest.raises(CheckpointError, match=words):
        one.fit(TRAINING, 2, folder=tmp_path, resume=True)
    assert bits(one.arrays()) == before


def test_another_kind_of_result_is_no_checkpoint(tmp_path):
    Result({"R": np.eye(2)}, {"kind": "comparison"}).save(tmp_path / "checkpoint.npz")
    with pytest.raises(CheckpointError, match="another kind of result"):
        trainer().fit(TRAINING, 1, folder=tmp_path, resume=True)


def test_a_checkpoint_from_another_machine_is_used_with_a_warning(tmp_path):
    trainer().fit(TRAINING, 1, folder=tmp_path)
    path = tmp_path / "checkpoint.npz"
    found = load_result(path)
    found.meta["machine"]["threads"] = 99
    Result(found.arrays, found.meta).save(path)
    with pytest.warns(UserWarning, match="to rounding, not to the bit.*threads 99 →"):
        assert len(trainer().fit(TRAINING, 2, folder=tmp_path, resume=True)) == 2


def test_resuming_needs_a_folder_and_an_empty_one_is_a_new_run(tmp_path):
    with pytest.raises(ConfigError, match="folder=None"):
        trainer().fit(TRAINING, 1, resume=True)
    assert len(trainer().fit(TRAINING, 1, folder=tmp_path / "new", resume=True)) == 1


def test_a_folder_that_cannot_be_written_is_refused_before_any_batch(tmp_path):
    (tmp_path / "file").write_text("in the way")
    told = []
    with pytest.raises(CheckpointError, match="is a file, not a folder"):
        trainer().fit(TRAINING, 1, folder=tmp_path / "file" / "out", progress=lambda *words: told.append(words))
    assert told == []


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(Stopped):
        trainer().fit(TRAINING, 2, folder=tmp_path, progress=stop_after(3))
    before = (tmp_path / "checkpoint.npz").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        trainer().fit(TRAINING, 2, folder=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    monkeypatch.undo()
    again, whole = trainer(), trainer()
    again.fit(TRAINING, 2, folder=tmp_path, resume=True)
    whole.fit(TRAINING, 2)
    assert bits(again.arrays()) == bits(whole.arrays())


# Divergence.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimiser": SGD(1e30)}, r"epoch \d, batch \d: .* of layer \d\. Lower the learning rate"),
        ({"credit": NodePerturbation(), "optimiser": SGD(1e30)}, r"epoch \d, batch \d.*Lower the learning rate"),
    ],
    ids=["backpropagation", "node perturbation"],
)
def test_divergence_names_the_cause_the_layer_and_what_to_lower(options, words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DivergenceError, match=words):
            trainer(layers=[Dense(5, "relu"), Dense(3, "identity")], **options).fit(TRAINING, 3)


def test_the_layer_whose_decorrelation_has_no_meaning_is_named():
    layers = [
        Dense(5, "identity"),
        Dense(3, "identity", Decorrelation("feedforward", rule="explicit", rate=50.0, mean="none", rate_is="absolute")),
    ]
    with pytest.raises(DivergenceError, match=r"at epoch 1, batch 1, input of layer 2: "):
        trainer(layers=layers).fit(TRAINING, 1)


def test_divergence_leaves_the_last_checkpoint_finite(tmp_path):
    class Explosive:
        """Descends well, and once multiplies all weights by infinity."""

        rate = 1.0

        def start(self, parameters):
            state = SGD(1e-2).start(parameters)
            state.arrays["steps"] = np.zeros(1)
            step = state.step

            def exploding(gradients):
                step(gradients)
                if state.arrays["steps"][0] == 8:
                    parameters[2][...] = np.inf

            state.step = exploding
            return state

    with pytest.raises(DivergenceError, match=r"at epoch 2, batch 3: W of layer 2"):
        trainer(optimiser=Explosive()).fit(TRAINING, 3, folder=tmp_path, every=4)
    kept = load_result(tmp_path / "checkpoint.npz").arrays
    assert kept["place"].tolist() == [1, 0]
    assert all(np.isfinite(kept[name]).all() for name in kept)


# Arrays on the way.


def test_recorded_weights_are_those_before_each_batch_and_activities_those_of_the_probe(tmp_path):
    kept = []
    one = trainer(form="recurrent")
    before = one.network.copy()

    def listen(words, done, total):
        kept.append(one.network.copy())

    one.fit(TRAINING, 2, folder=tmp_path, every=3, recording=RecordingOptions(every=4, probe=6), progress=listen)
    traces = training_traces(tmp_path)
    assert set(traces) == {f"layer{i}.{name}" for i in (0, 1) for name in ("W", "b", "R", "mean", "xbar")}
    states = [before, *kept]
    for row, step in enumerate((0, 4, 8)):
        assert np.array_equal(traces["layer1.R"].values[row], states[step].layers[1].decorrelator.arrays["R"])
        xbar = states[step].forward(TRAINING.dataset.inputs[:6]).signals[1].xbar
        assert np.array_equal(traces["layer1.xbar"].values[row], xbar)
    assert traces["layer0.W"].step.tolist() == [0, 4, 8]
    meant = (traces["layer0.W"].step_unit, traces["layer0.W"].step_description)
    assert meant == ("batches", "batches learnt from before the row was recorded")


def test_recording_changes_no_bit_of_training(tmp_path):
    plain, recorded = trainer(NodePerturbation(), form="feedforward"), trainer(NodePerturbation(), form="feedforward")
    plain.fit(TRAINING, 2)
    recorded.fit(TRAINING, 2, folder=tmp_path, recording=RecordingOptions(every=1))
    assert bits(plain.arrays()) == bits(recorded.arrays())
    assert "layer0.M" in training_traces(tmp_path)


def test_chosen_names_only_are_read_and_a_new_run_removes_old_rows(tmp_path):
    trainer().fit(TRAINING, 3, folder=tmp_path, recording=RecordingOptions(("weights",), every=1))
    traces = training_traces(tmp_path, ["layer0.b"])
    assert list(traces) == ["layer0.b"] and traces["layer0.b"].values.shape == (15, 5)
    trainer().fit(TRAINING, 1, folder=tmp_path, recording=RecordingOptions(("weights",), every=2))
    assert training_traces(tmp_path)["layer0.b"].step.tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: RecordingOptions(every=0), "every must be a whole number ≥ 1"),
        (lambda: trainer().fit(TRAINING, 1, recording=RecordingOptions()), "give the folder"),
        (lambda: trainer().fit(TRAINING, 0), "epochs must be a whole number ≥ 1"),
        (lambda: trainer().fit(TRAINING, 1, every=0), "every must be a whole number ≥ 1"),
        (lambda: trainer(watches=("angel",)), "Did you mean 'angle'"),
        (lambda: trainer(watch_every=0), "watch_every"),
        (lambda: History({"a": [1.0]}).best("b"), "name must be one of 'a'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_options_are_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def test_traces_of_a_folder_without_any_are_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="recorded arrays"):
        training_traces(tmp_path)
