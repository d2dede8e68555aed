"""Checkpoints that were changed: whatever is in them, they are refused and nothing is changed by them."""

import numpy as np
import pytest

from neurodecorr.credit import SGD, Adam, Backprop, NodePerturbation, RMSprop
from neurodecorr.data import Dataset, Epochs
from neurodecorr.errors import CheckpointError
from neurodecorr.io import Result, load_result
from neurodecorr.network import Decorrelation, Dense, Network
from neurodecorr.training import RecordingOptions, Trainer, training_traces
from neurodecorr.training.checkpoint import training_fingerprint

RNG = np.random.default_rng(3)
X = RNG.standard_normal((60, 6)) @ RNG.standard_normal((6, 6))
TRAINING = Epochs(Dataset(X, RNG.integers(0, 3, 60)), 10, seed=1)


def trainer(form="recurrent", credit=None, optimiser=None, rule="explicit"):
    network = Network(
        [Dense(5, "tanh"), Dense(3, "identity")],
        (6,),
        decorrelation=Decorrelation(form, rule=rule, rate=1e-2, rate_is="absolute"),
    )
    return Trainer(network, credit or Backprop(), optimiser or Adam(1e-2), watches=("condition",), watch_every=3)


def changed(folder, change, digest=False, **options):
    """Change the checkpoint of a run of one epoch; return the error of going on, after which nothing has changed."""
    trainer(**options).fit(TRAINING, 1, folder=folder)
    path = folder / "checkpoint.npz"
    found = load_result(path)
    arrays = dict(found.arrays)
    change(arrays)
    meta = dict(found.meta)
    if digest:
        from neurodecorr.io.checkpoints import _digest

        meta["digest"] = _digest(arrays)
    Result(arrays, meta).save(path)
    before = path.read_bytes()
    one = trainer(**options)
    fresh = {name: array.copy() for name, array in one.arrays().items()}
    with pytest.raises(CheckpointError) as caught:
        one.fit(TRAINING, 2, folder=folder, resume=True)
    assert path.read_bytes() == before
    assert all(np.array_equal(array, fresh[name], equal_nan=True) for name, array in one.arrays().items())
    return str(caught.value)


def flipped(*names):
    def change(arrays):
        for name in names:
            arrays[name] = -arrays[name]

    return change


def put(name, value, index=None):
    def change(arrays):
        array = np.array(arrays[name])
        if index is None:
            array = np.asarray(value)
        else:
            array[index] = value
        arrays[name] = array

    return change


@pytest.mark.parametrize("rule", ["explicit", "implicit", "congruent"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (flipped("network.layer0.M"), "M of layer0 must be the inverse of R"),
        (flipped("network.layer0.R"), "R of layer0 must have min Re λ > 0"),
        (flipped("network.layer1.R", "network.layer1.M"), "R of layer1 must have min Re λ > 0"),
        (put("network.layer0.M", 1.5, (0, 1)), "R M leaves I by"),
        (put("network.layer0.R", -3.0, (2, 2)), "layer0"),
    ],
)
def test_matrices_that_no_circuit_has_are_refused(tmp_path, rule, change, words):
    assert words in changed(tmp_path, change, digest=True, rule=rule)


def one_row_flipped(arrays):
    arrays["network.layer1.M"] = arrays["network.layer1.M"] * np.array([1, -1, 1, 1, 1], np.float32)[:, None]


@pytest.mark.parametrize("change", [flipped("network.layer0.M"), one_row_flipped], ids=["whole", "row"])
def test_a_matrix_alone_must_be_the_inverse_of_a_circuit(tmp_path, change):
    assert "must have det M > 0 and tr M > 0" in changed(tmp_path, change, digest=True, form="feedforward")


@pytest.mark.parametrize(
    "change",
    [
        put("optimiser.m0", np.full((5, 6), "x")),
        put("optimiser.m0", np.nan, (0, 0)),
        put("optimiser.v0", -1.0, (0, 0)),
        put("optimiser.steps", -1.0, 0),
        put("optimiser.steps", np.nan, 0),
        put("optimiser.steps", "6"),
        put("network.layer0.W", np.full((5, 6), "1")),
        put("network.layer0.W", np.zeros((6, 5), np.float32)),
        put("network.layer0.b", np.inf, 0),
        put("network.layer0.mean", np.nan, 0),
        put("place", np.array([1, 7])),
        put("place", np.array([2, 0])),
        put("place", np.array([1.0, 0.0])),
        put("place", np.array(["1", "0"])),
        put("place", np.array([True, False])),
        put("sums", np.array([np.nan, 0.0, 0.0])),
        put("sums", np.array([0.0, 5.0, 2.0])),
        put("sums", np.array([0.0, 0.0, -10.0])),
        put("sums", np.array(["0", "0", "0"])),
        put("epochs.training loss", np.array([np.nan])),
        put("epochs.training loss", np.array(["0.5"])),
        put("epochs.training loss", np.zeros(2)),
        put("epochs.training loss", np.zeros((1, 1))),
        put("watched_batches", np.array([0, -3])),
        put("watched_batches", np.array([0.0, 3.0])),
        put("watched_batches", np.array([0, 3, 6])),
        put("watched.condition", np.array([["a", "b"], ["c", "d"]])),
    ],
)
def test_numbers_that_no_run_has_are_refused(tmp_path, change):
    changed(tmp_path, change, digest=True)


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"optimiser": RMSprop(1e-3)}, put("optimiser.s0", -1.0, (0, 0))),
        ({"optimiser": SGD(1e-2, 0.9)}, put("optimiser.v0", np.nan, (0, 0))),
        ({"form": "batch_norm"}, put("network.layer0.variance", -1.0, 0)),
        ({"rule": "congruent"}, put("network.layer0.power", -1.0, 0)),
        ({"credit": NodePerturbation(clean_pass=False)}, put("credit.baseline", np.nan, 0)),
        ({"credit": NodePerturbation(clean_pass=False)}, put("credit.baseline", np.array(["x"]))),
    ],
)
def test_memories_of_each_part_are_looked_at(tmp_path, options, change):
    changed(tmp_path, change, **options)


def test_a_weight_that_could_have_been_learnt_is_found_by_the_digest(tmp_path):
    assert "digest is another" in changed(tmp_path, put("network.layer0.W", 0.125, (1, 1)))


def test_a_damaged_result_does_not_stop_a_run_whose_checkpoint_is_whole(tmp_path):
    trainer().fit(TRAINING, 2, folder=tmp_path)
    whole = (tmp_path / "result.npz").read_bytes()
    arrays = load_result(tmp_path).arrays
    for damage in (whole[:100], b"", b"text"):
        (tmp_path / "result.npz").write_bytes(damage)
        history = trainer().fit(TRAINING, 2, folder=tmp_path, resume=True)
        again = load_result(tmp_path).arrays
        assert len(history) == 2 and all(np.array_equal(again[name], arrays[name]) for name in arrays)


def test_the_fingerprint_sees_every_sample_and_every_target_and_no_name():
    inputs, targets = RNG.standard_normal((5003, 2)), np.zeros(5003, int)
    own = training_fingerprint(Dataset(inputs, targets, "a"))
    assert training_fingerprint(Dataset(inputs, targets, "b")) == own
    for row in (1, 2, 4999, 5001):
        other = inputs.copy()
        other[row, 1] += 1e-9
        labels = targets.copy()
        labels[row] = 1
        assert own != training_fingerprint(Dataset(other, targets)) and own != training_fingerprint(
            Dataset(inputs, labels)
        )


@pytest.mark.parametrize("mean", ["running", "batch", "none"])
@pytest.mark.parametrize("form", ["none", "feedforward", "recurrent", "batch_norm"])
def test_recorded_weights_suffice_to_compute_every_x_bar_again(tmp_path, form, mean):
    shifted = Dataset(X + 3.0, TRAINING.dataset.targets)
    plan = Decorrelation(form, rate=1e-2, mean=mean, rule="explicit", rate_is="absolute")
    network = Network([Dense(5, "tanh"), Dense(3, "identity")], (6,), decorrelation=plan, dtype="float64")
    training = Epochs(shifted, 10, seed=1)
    recording = RecordingOptions(("weights", "activities"), every=4, probe=7)
    Trainer(network, Backprop(), Adam(1e-2)).fit(training, 2, folder=tmp_path, recording=recording)
    traces = {name: trace.values for name, trace in training_traces(tmp_path).items()}
    assert ("layer0.mean" in traces) == (form != "none" and (mean != "none" or form == "batch_norm"))
    for row in range(len(traces["layer0.W"])):
        x = shifted.inputs[:7].astype(np.float32).astype(float)  # batches come in single precision
        for layer in ("layer0", "layer1"):
            part = {name.partition(".")[2]: values[row] for name, values in traces.items() if name.startswith(layer)}
            drive = x - part.get("mean", 0.0)
            xbar = drive @ part.get("M", np.eye(len(drive.T))).T / np.sqrt(part.get("variance", 1 - 1e-5) + 1e-5)
            xbar = np.linalg.solve(part["R"], drive.T).T if "R" in part else xbar
            np.testing.assert_allclose(xbar, part["xbar"], rtol=1e-8, atol=1e-10)
            x = np.tanh(xbar @ part["W"].T + part["b"])
