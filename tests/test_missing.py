"""Masked and missing entries: refused with their place wherever arrays come in, never filled silently."""

import functools

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr._validation import unmasked
from neurodecorr.credit import Adam, Backprop
from neurodecorr.data import Epochs, ImageDataset, image_patches
from neurodecorr.errors import InputError
from neurodecorr.network import Dense, Network
from neurodecorr.plasticity import LearningRule, initial_state, learn
from neurodecorr.training import Trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 4))
MASKED = np.ma.array(X, mask=np.zeros(X.shape, bool))
MASKED[3, 2] = MASKED[7, 0] = np.ma.masked
SQUARE = np.ma.array(np.eye(4), mask=np.zeros((4, 4), bool))
SQUARE[1, 3] = np.ma.masked
LABELS = np.ma.array(np.arange(20) % 3, mask=np.arange(20) == 5)
PIXELS = np.ma.array(np.zeros((20, 1, 8, 8), np.uint8), mask=np.zeros((20, 1, 8, 8), bool))
PIXELS[4, 0, 1, 2] = np.ma.masked
network = Network([Dense(3, "identity")], (4,))
circuit = nd.Circuit(np.eye(4))


@functools.cache
def fitted():
    return nd.FeedforwardDecorrelator(epochs=1).fit(X)


def recorded(value, tmp_path):
    with nd.io.Recorder(tmp_path / "t.h5", [nd.io.Variable("v", shape=(20, 4))]) as recorder:
        recorder.record(0, {"v": value})


def trained(targets):
    training = Epochs(nd.Dataset(X, np.arange(20) % 3), 5)
    object.__setattr__(training.dataset, "targets", targets)
    Trainer(network.copy(), Backprop(), Adam()).fit(training, 1)


ENTRIES = {
    "fit": lambda tmp: nd.FeedforwardDecorrelator(epochs=1).fit(MASKED),
    "fit recurrent": lambda tmp: nd.RecurrentDecorrelator(epochs=1).fit(MASKED),
    "partial_fit": lambda tmp: nd.RecurrentDecorrelator().partial_fit(MASKED),
    "transform": lambda tmp: fitted().transform(MASKED),
    "inverse_transform": lambda tmp: fitted().inverse_transform(MASKED),
    "settle": lambda tmp: nd.settle(circuit, MASKED),
    "settle one": lambda tmp: nd.settle(circuit, MASKED[3]),
    "settle rows": lambda tmp: nd.settle(circuit, list(MASKED)),
    "integrate": lambda tmp: nd.integrate(circuit, MASKED, 1.0),
    "Circuit": lambda tmp: nd.Circuit(SQUARE),
    "Dataset": lambda tmp: nd.Dataset(MASKED),
    "targets": lambda tmp: nd.Dataset(X, LABELS),
    "ImageDataset": lambda tmp: ImageDataset(PIXELS, np.zeros(20, int)),
    "labels": lambda tmp: ImageDataset(np.zeros((20, 1, 8, 8), np.uint8), LABELS),
    "image_patches": lambda tmp: image_patches(PIXELS[:, 0], size=4),
    "learn": lambda tmp: learn(initial_state(X, LearningRule()), MASKED, LearningRule()),
    "decorrelating_matrix": lambda tmp: nd.plasticity.decorrelating_matrix(SQUARE),
    "forward": lambda tmp: network.forward(MASKED),
    "load": lambda tmp: network.copy().load(
        {**network.arrays(), "layer0.b": np.ma.array(network.arrays()["layer0.b"], mask=[0, 1, 0])}
    ),
    "training": lambda tmp: trained(LABELS),
    "map_to_conductances": lambda tmp: nd.hardware.map_to_conductances(SQUARE),
    "Result": lambda tmp: nd.io.Result({"a": MASKED}),
    "meta": lambda tmp: nd.io.Result({}, {"a": MASKED}),
    "Recorder": lambda tmp: recorded(MASKED, tmp),
    "Branch": lambda tmp: nd.io.trees.Branch({"a": MASKED}),
    "write_nir": lambda tmp: nd.export.write_nir(nd.Circuit(SQUARE), tmp / "a.nir"),
    "compare": lambda tmp: nd.compare(nd.Dataset(MASKED)),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_masked_entries_are_refused_with_their_place(name, tmp_path):
    with pytest.raises(InputError, match=r"masked at .*\d"):
        ENTRIES[name](tmp_path)


def test_the_first_masked_place_is_named_in_rows_and_columns():
    with pytest.raises(InputError, match=r"X .*row 3, column 2 \(2"):
        nd.FeedforwardDecorrelator(epochs=1).fit(MASKED)
    with pytest.raises(InputError, match=r"a\[1\] .*index 0"):
        unmasked([np.zeros(2), np.ma.array([1.0, 2.0], mask=[1, 0])], "a")
    with pytest.raises(InputError, match="its only entry"):
        unmasked(np.ma.masked, "a")


def test_a_masked_array_in_which_nothing_is_masked_is_an_array():
    open_ = np.ma.array(X, mask=np.zeros(X.shape, bool))
    for one in (open_, np.ma.array(X)):
        assert np.array_equal(fitted().transform(one), fitted().transform(X))
        assert type(nd.Dataset(one).inputs) is np.ndarray
        found = nd.settle(circuit, one)
        assert np.array_equal(found.xbar, nd.settle(circuit, X).xbar) and type(found.xbar) is np.ndarray


def test_missing_values_of_pandas_are_refused_with_their_place():
    pandas = pytest.importorskip("pandas", reason="pandas is absent")
    table = pandas.DataFrame(X).astype("Float64")
    table.iloc[2, 1] = pandas.NA
    with pytest.raises(InputError, match="row 2, column 1"):
        nd.settle(circuit, table)
    with pytest.raises(InputError, match="row 2, column 1"):
        fitted().transform(table)
    with pytest.raises(InputError, match="row 2, column 1"):
        nd.Dataset(table)
    labels = pandas.array([0, 1, None] * 6 + [0, 1], dtype="Int64")
    with pytest.raises(InputError):
        nd.Dataset(X, labels)
    whole = pandas.DataFrame(X).astype("Float64")
    assert np.array_equal(nd.settle(circuit, whole.to_numpy(dtype=float)).xbar, nd.settle(circuit, X).xbar)
