"""Datasets, their splits, their scale, and the batches drawn from them."""

import dataclasses
import doctest
import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecorr.data import Dataset, batches
from neurodecorr.errors import ConfigError, InputError


def numbered(samples, features=2):
    return Dataset(np.arange(samples * features, dtype=float).reshape(samples, features), targets=np.arange(samples))


@given(samples=st.integers(2, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_split_partitions_the_samples_and_keeps_their_order(samples, share, seed):
    dataset, count = numbered(samples), round(share * samples)
    if not 1 <= count < samples:
        with pytest.raises(ConfigError, match="held_out must leave at least one"):
            dataset.split(share, seed)
        return
    train, held_out = dataset.split(share, seed)
    assert len(held_out) == count
    assert sorted([*train.targets, *held_out.targets]) == list(range(samples))
    for part in (train, held_out):
        assert np.all(np.diff(part.targets) > 0)
        assert np.array_equal(part.inputs, dataset.inputs[part.targets])


def test_split_is_decided_by_its_seed_and_reaches_every_sample():
    dataset = numbered(10)
    first, again = dataset.split(3, seed=5)[1], dataset.split(3, seed=5)[1]
    assert np.array_equal(first.targets, again.targets)
    held_out = [frozenset(dataset.split(3, seed=seed)[1].targets.tolist()) for seed in range(50)]
    assert len(set(held_out)) > 25  # of 120 subsets, 50 fair draws hit about 41 different ones
    assert frozenset().union(*held_out) == set(range(10))


@pytest.mark.parametrize("held_out", [0, 10, 11, -1, 0.0, 1.0, 0.01, 1.5, float("nan"), True, "half"])
def test_split_that_empties_a_side_or_is_no_number_is_refused(held_out):
    with pytest.raises(ConfigError, match="held_out"):
        numbered(10).split(held_out)


@given(
    samples=st.integers(2, 30),
    size=st.integers(1, 40),
    shuffle=st.one_of(st.none(), st.integers(0, 9)),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_batches_show_every_sample_once(samples, size, shuffle, kind):
    inputs = np.arange(samples, dtype=kind)[:, None]
    shown = list(batches(inputs, size, shuffle))
    assert all(len(batch) == size for batch in shown[:-1])
    assert 1 <= len(shown[-1]) <= size
    flat = np.concatenate(shown)
    assert flat.dtype == kind
    assert np.array_equal(flat if shuffle is None else np.sort(flat, axis=0), inputs)


def test_batches_in_order_are_views_and_shuffled_ones_follow_their_generator():
    inputs = numbered(100).inputs
    assert all(np.shares_memory(batch, inputs) for batch in batches(inputs, 7))
    first, second = (np.concatenate(list(batches(inputs, 7, np.random.default_rng(3)))) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, inputs)


def test_scaled_inputs_have_mean_0_and_mean_variance_1_and_the_same_correlations():
    rng = np.random.default_rng(0)
    dataset = Dataset(rng.normal(size=(50, 3)) * [1, 5, 0] + [7, -2, 4])
    scaled = dataset.scaled()
    assert abs(scaled.inputs.mean()) < 1e-14
    assert scaled.inputs.var(axis=0).mean() == pytest.approx(1, abs=1e-14)
    # One shift and one factor: an affine map of all entries alike, so the entries lie on one line.
    slope, offset = np.polyfit(dataset.inputs.ravel(), scaled.inputs.ravel(), 1)
    assert np.allclose(slope * dataset.inputs + offset, scaled.inputs, atol=1e-12)
    assert "Scaled: (x − " in scaled.description


@pytest.mark.parametrize("size", [1e-300, 1e-6, 1e6, 1e300])
def test_scaling_neither_overflows_nor_underflows(size):
    inputs = np.random.default_rng(1).normal(size=(20, 2))
    assert np.allclose(Dataset(inputs * size).scaled().inputs, Dataset(inputs).scaled().inputs, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e300, 1e-320])
def test_constant_inputs_have_no_scale(value):
    with pytest.raises(InputError, match="must vary; all 7 samples"):
        Dataset(np.full((7, 3), value)).scaled()


def test_dataset_is_frozen_float64_and_contiguous():
    dataset = Dataset(np.asfortranarray(np.ones((3, 2), dtype=np.float32)), shape=[2, 1])
    assert dataset.inputs.dtype == np.float64
    assert dataset.inputs.flags.c_contiguous
    assert (len(dataset), dataset.features, dataset.shape) == (3, 2, (2, 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"


def test_take_keeps_order_targets_and_names():
    part = dataclasses.replace(numbered(5), name="five", shape=(1, 2)).take([3, 0])
    assert (part.inputs.tolist(), part.targets.tolist()) == ([[6, 7], [0, 1]], [3, 0])
    assert (part.name, part.shape) == ("five", (1, 2))
    assert np.shares_memory(part.inputs, part.take(slice(1)).inputs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": [1.0, 2.0]}, r"inputs must be 2-D.*shape \(2,\)"),
        ({"inputs": np.zeros((0, 3))}, "at least one sample"),
        ({"inputs": [[1.0], [float("nan")]]}, "found nan at row 1, column 0"),
        ({"inputs": [[1.0, float("-inf")]]}, "found -inf at row 0, column 1"),
        ({"inputs": [[1j]]}, "complex"),
        ({"inputs": [["a"]]}, "real numbers"),
        ({"inputs": [[1.0], [2.0, 3.0]]}, "rectangular"),
        ({"targets": [1]}, r"one row for each of 2 samples; got shape \(1,\)"),
        ({"targets": 3}, r"got shape \(\)"),
        ({"targets": np.zeros((2, 1, 1))}, r"got shape \(2, 1, 1\)"),
        ({"targets": ["cat", "dog"]}, "Encode labels as integers"),
        ({"targets": [0.0, float("inf")]}, "targets must be finite.*found inf"),
        ({"shape": (2, 2)}, r"has features, 3; got \(2, 2\)"),
        ({"name": ""}, "name must be a non-empty string"),
        ({"name": None}, "name must be a non-empty string"),
    ],
)
def test_a_dataset_refuses(fields, message):
    with pytest.raises(InputError, match=message):
        Dataset(**{"inputs": np.ones((2, 3)), **fields})


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([1.0], 1), InputError),
        (([[1.0]], 0), ConfigError),
        (([[1.0]], 1.5), ConfigError),
        (([[1.0]], 1, -1), ConfigError),
    ],
)
def test_batches_refuse_before_the_first_one_is_asked_for(arguments, error):
    with pytest.raises(error):
        batches(*arguments)


@pytest.mark.parametrize("module", ["dataset", "gaussian", "patches", "sources"])
def test_every_documented_example_gives_what_it_says(module):
    outcome = doctest.testmod(importlib.import_module(f"neurodecorr.data.{module}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_importing_the_room_loads_neither_scikit_learn_nor_pillow():
    code = "import sys, neurodecorr.data; print(sorted({'sklearn', 'PIL', 'numba', 'matplotlib'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600).stdout
        == "[]\n"
    )
