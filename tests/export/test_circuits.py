"""What a run left, as circuits: to the bit, with inputs that were not learnt from."""

import dataclasses

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.export.circuits import best_circuit, chosen_circuit, find_circuits
from neurodecorr.io import Result, load_result
from neurodecorr.models import load_model
from neurodecorr.training import RecordingOptions
from neurodecorr.training.runs import prepare_run, trained_network


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    data = nd.data.correlated_gaussian(features=6, samples=3000, condition=30.0)
    found = nd.compare(data, rules=["implicit", "congruent"], draws=1, mismatch=[0.01])
    found.to_result().save(folder / "result.npz")
    return found, folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    run = prepare_run(load_model("digits"), {"form": "recurrent", "epochs": 1, "batch": 500})
    run.go(folder)
    return run, folder


def test_a_comparison_gives_every_form_to_the_bit_with_its_mean_and_held_out_samples(compared):
    comparison, folder = compared
    found = find_circuits(folder)
    assert list(found) == [entry.name for entry in comparison.entries]
    for entry in comparison.entries:
        one = found[entry.name]
        for kept, wanted in ((one.R, entry.lateral), (one.M, entry.matrix), (one.mean, entry.mean)):
            assert kept.tobytes() == wanted.tobytes()
        assert one.samples.tobytes() == comparison.inputs.tobytes() and len(one.samples) == 256
        assert one.learnt_as_circuit == (entry.form == "recurrent")


def test_the_best_circuit_was_learnt_as_one_settles_and_decorrelates_best(compared):
    comparison, folder = compared
    best = best_circuit(find_circuits(folder))
    recurrent = [entry for entry in comparison.entries if entry.settles]
    assert best.name == min(recurrent, key=lambda entry: entry.correlation).name


def test_an_unstable_circuit_is_not_the_best(compared):
    found = find_circuits(compared[1])
    name = best_circuit(found).name
    found[name] = dataclasses.replace(found[name], R=-found[name].R)
    assert best_circuit(found).name not in (name, "M* offline", "M implicit")


@pytest.mark.parametrize("name", ["R implicit", "r_implicit", "R-IMPLICIT"])
def test_names_are_found_however_they_are_spelt(compared, name):
    assert chosen_circuit(find_circuits(compared[1]), name).name == "R implicit"


def test_a_misspelt_name_gets_the_nearest_one(compared):
    with pytest.raises(ConfigError, match="Did you mean 'R congruent'"):
        chosen_circuit(find_circuits(compared[1]), "R congruant")


def test_a_comparison_of_an_older_version_gets_inputs_of_the_same_covariance(compared, tmp_path):
    comparison, _ = compared
    older = dataclasses.replace(
        comparison, inputs=None, entries=tuple(dataclasses.replace(e, mean=None) for e in comparison.entries)
    )
    older.to_result().save(tmp_path / "result.npz")
    one = find_circuits(tmp_path)["R implicit"]
    assert not one.mean.any() and "Gaussian" in one.meta["samples"]
    # 256 samples know a variance to √(2/256) = 9 %; four standard errors.
    np.testing.assert_allclose(one.samples.var(axis=0), np.diag(comparison.covariance), rtol=0.36)


def test_a_network_gives_the_circuit_of_each_layer_with_the_inputs_it_sees(trained):
    run, folder = trained
    found, network = find_circuits(folder), run.trainer.network
    assert list(found) == ["layer0", "layer1", "layer2"]
    X = np.concatenate([batch.inputs for batch in run.test.batches()])[:256]
    signals = network.forward(X.reshape(len(X), -1)).signals
    for one, layer, seen in zip(found.values(), network.layers, signals, strict=True):
        assert np.array_equal(one.R, layer.decorrelator.arrays["R"])
        assert np.array_equal(one.mean, layer.decorrelator.arrays["mean"])
        # Another number of rows in one product rounds float32 differently; layers of 100 inputs.
        assert len(one.samples) == 256
        np.testing.assert_allclose(one.samples, seen.x, rtol=0, atol=1e-4)


def test_the_trained_network_comes_back_to_the_bit(trained):
    run, folder = trained
    again = trained_network(load_result(folder)).arrays()
    assert all(np.array_equal(again[name], array) for name, array in run.trainer.network.arrays().items())


def test_a_network_without_its_data_gets_inputs_that_settle_at_white_activity(trained, tmp_path):
    result = load_result(trained[1])
    result.meta["provenance"]["config"]["data"] = "/no/such/place"
    result.save(tmp_path / "result.npz")
    one = find_circuits(tmp_path)["layer1"]
    assert "keeps no inputs" in one.meta["samples"]
    xbar = np.linalg.solve(one.R, one.drive.T)
    assert abs(xbar.var() - 1) < 4 * np.sqrt(2 / xbar.size)


def test_a_living_circuit_gives_its_last_weights(tmp_path):
    X = nd.data.correlated_gaussian(features=5, samples=2000, condition=10.0).inputs
    life = nd.run_online(X, record=tmp_path / "traces.h5", every=10, weights_every=500)
    (one,) = find_circuits(tmp_path).values()
    assert one.R.tobytes() == life.lateral.tobytes() and one.meta["samples_learnt"] == 2000
    np.testing.assert_allclose(np.linalg.solve(one.R, one.drive.T).T[-1], life.xbar[-1], rtol=0, atol=1e-9)
    told = nd.io.read_traces(tmp_path).metadata
    assert (told["tau"], told["every_samples"], told["tol"], told["engine"]) == (1.0, 10, 1e-6, "integrate")


def test_estimators_are_found_by_the_names_of_their_attributes(tmp_path):
    X = nd.data.correlated_gaussian(features=5, samples=2000, condition=10.0).inputs
    own = nd.RecurrentDecorrelator(rate=1e-2).fit(X)
    arrays = {"left.R_": own.R_, "left.mean_": own.mean_, "left.X": X[:9], "right.M_": own.M_}
    Result(arrays, {"tau_s": 0.02}).save(tmp_path / "result.npz")
    found = find_circuits(tmp_path)
    assert set(found) == {"left", "right"} and found["left"].tau == 0.02
    assert found["left"].R.tobytes() == own.R_.tobytes() and np.array_equal(found["left"].samples, X[:9])
    assert not found["right"].learnt_as_circuit
    np.testing.assert_allclose(found["right"].R @ own.M_, np.eye(5), atol=1e-12)


def test_recorded_networks_say_units_rest_and_errors(tmp_path):
    run = prepare_run(load_model("digits"), {"form": "recurrent", "epochs": 1, "batch": 500})
    kinds = ("weights", "activities", "residuals", "margins", "errors")
    run.go(tmp_path, recording=RecordingOptions(kinds, every=1, probe=4))
    traces = nd.io.read_traces(sorted((tmp_path / "traces").glob("*.h5"))[0])
    assert traces["layer0.margin"].unit == "1/τ" and traces.metadata["tau"] == 1.0
    assert traces.provenance["seed"] == 0 and traces.provenance["config"]["model"] == "digits"
    # The twin of R in single precision, 100 units: ‖RM − I‖ stays below 1e-3.
    assert traces["layer2.residual"].values.max() < 1e-3
    assert traces["loss"].values.shape[1:] == (4,) and traces["error"].values.shape[1:] == (4, 10)
    first = np.linalg.eigvals(traces["layer1.R"].values[-1].astype(float)).real.min()
    np.testing.assert_allclose(traces["layer1.margin"].values[-1], first, rtol=1e-12)


def test_missing_and_foreign_folders_are_errors_with_advice(compared, tmp_path):
    folder = compared[1]
    with pytest.raises(InputError, match="Did you mean"):
        find_circuits(folder.parent / (folder.name[:-1] + "x"))
    with pytest.raises(CheckpointError, match=r"result\.npz.* nothing"):
        find_circuits(tmp_path)
    with pytest.raises(CheckpointError, match="Runs lie in its folders"):
        find_circuits(folder.parent)
    Result({"a": np.eye(2)}).save(tmp_path / "result.npz")
    with pytest.raises(CheckpointError, match="must hold weights that decorrelate"):
        find_circuits(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"R": np.zeros((2, 3))}, InputError, "square"),
        ({"M": np.zeros((2, 2))}, InputError, "singular"),
        ({"R": np.eye(2) + 0j}, InputError, r"result[.]npz: R must hold real numbers"),
        ({"left.R": [[np.nan]]}, InputError, r"result[.]npz: left R must be finite"),
        ({"R": np.eye(2), "mean": [0.0, np.nan]}, InputError, r"result[.]npz: mean must be finite.*index 1"),
        ({"R": np.eye(2), "X": [[0.0, np.inf]]}, InputError, r"result[.]npz: X must be finite.*row 0, column 1"),
        ({"R": np.eye(2), "mean": np.zeros(3)}, CheckpointError, r"mean \(n,\)"),
        ({"R": np.eye(2), "X": np.zeros((4, 3))}, CheckpointError, r"samples \(k, n\)"),
    ],
    ids=["not square", "singular", "complex", "nan", "mean nan", "samples inf", "mean", "samples"],
)
def test_weights_that_make_no_circuit_are_errors(tmp_path, arrays, error, message):
    Result(arrays).save(tmp_path / "result.npz")
    with pytest.raises(error, match=message):
        find_circuits(tmp_path)


@pytest.mark.parametrize(
    "change",
    [lambda R, M: (-R, M), lambda R, M: (R, -M), lambda R, M: (R.T, M), lambda R, M: (R, M * 1.001),
     lambda R, M: (R * np.array([1, 1, -1]), M)],
    ids=["R flipped", "M flipped", "R transposed", "M stretched", "a column of R flipped"],
)  # fmt: skip
def test_matrices_that_do_not_undo_each_other_are_no_circuit(tmp_path, change):
    R = np.array([[2.0, 0.5, 0.0], [0.25, 1.5, -0.5], [0.0, 1.0, 3.0]])
    Result({"R": R, "M": np.linalg.inv(R)}).save(tmp_path / "result.npz")
    find_circuits(tmp_path)
    one, other = change(R, np.linalg.inv(R))
    Result({"R": one, "M": other}).save(tmp_path / "result.npz")
    with pytest.raises(CheckpointError, match="must undo each other"):
        find_circuits(tmp_path)


def test_single_precision_and_null_directions_are_no_contradiction(tmp_path):
    R = np.array([[2.0, 0.5], [0.25, 1.5]], np.float32)
    Result({"R": R, "M": np.linalg.inv(R) * np.float32(1 + 1e-4)}).save(tmp_path / "result.npz")
    assert find_circuits(tmp_path)["R"].R.shape == (2, 2)
    Result({"R": np.diag([2.0, 1.0]), "M": np.diag([0.5, 0.0])}).save(tmp_path / "result.npz")
    assert find_circuits(tmp_path)["R"].M[0, 0] == 0.5
    Result({"R": np.diag([-2.0, 1.0]), "M": np.diag([0.5, 0.0])}).save(tmp_path / "result.npz")
    with pytest.raises(CheckpointError, match="must undo each other"):
        find_circuits(tmp_path)


def test_a_comparison_with_silent_units_is_a_run_for_hardware(tmp_path):
    X = np.random.default_rng(0).standard_normal((2000, 4)) @ (np.eye(4) + 0.3)
    X[:, 2] = 3.0
    found = nd.compare(nd.Dataset(X), rules=["implicit"], draws=1, mismatch=[0.01])
    found.to_result().save(tmp_path / "result.npz")
    assert set(find_circuits(tmp_path)) == {entry.name for entry in found.entries}
