"""Labelled images: bytes kept as bytes, exact statistics, splits as those of tables."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import Dataset, ImageDataset, labelled
from neurodecorr.errors import ConfigError, InputError


def noise(samples=20, shape=(3, 4, 5), classes=4, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (samples, *shape), dtype=np.uint8)
    return ImageDataset(images, rng.integers(0, classes, samples), tuple("abcdefghij"[:classes]), "noise")


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(1, 30), channels=st.integers(1, 4), seed=st.integers(0, 99), white=st.sampled_from([16, 255])
)
def test_statistics_are_those_of_all_pixels_of_a_channel(samples, channels, seed, white):
    dataset = noise(samples, (channels, 3, 2), seed=seed)
    dataset = ImageDataset(dataset.images, dataset.targets, dataset.classes, "noise", white)
    mean, std = dataset.statistics()
    pixels = dataset.images.astype(float) / white
    # The slow path sums up to 180 numbers of at most 16 in float64.
    assert np.allclose(mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-13, atol=0)
    assert np.allclose(std, pixels.std(axis=(0, 2, 3)), rtol=1e-12, atol=1e-13)


def test_statistics_do_not_depend_on_the_order_of_the_images_to_the_bit():
    dataset = noise(3000, (2, 3, 3))
    shuffled = dataset.take(np.random.default_rng(1).permutation(3000))
    for one, other in zip(dataset.statistics(), shuffled.statistics(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_constant_channel_has_exactly_no_spread():
    mean, std = ImageDataset(np.full((7, 1, 3, 3), 77, np.uint8), np.zeros(7, int)).statistics()
    assert mean == 77 / 255 and std == 0


@given(samples=st.integers(2, 40), held_out=st.integers(1, 39), seed=st.integers(0, 99))
def test_images_and_tables_are_split_alike(samples, held_out, seed):
    images, table = noise(samples), Dataset(np.arange(samples, dtype=float)[:, None])
    if held_out >= samples:
        with pytest.raises(ConfigError, match="held_out"):
            images.split(held_out, seed)
        return
    for part, rows in zip(images.split(held_out, seed), table.split(held_out, seed), strict=True):
        chosen = rows.inputs[:, 0].astype(int)
        assert np.array_equal(part.images, images.images[chosen])
        assert np.array_equal(part.targets, images.targets[chosen])
        assert part.classes == images.classes


def test_inputs_are_pixels_over_white_in_float32_and_the_table_is_the_same_in_float64():
    dataset = noise()
    assert dataset.inputs.dtype == np.float32
    exact = dataset.images.reshape(20, -1) / 255
    assert np.array_equal(dataset.inputs, exact.astype(np.float32))
    table = dataset.table()
    assert np.array_equal(table.inputs, exact)
    assert table.shape == dataset.shape == (3, 4, 5)
    assert (table.features, len(table)) == (dataset.features, len(dataset)) == (60, 20)
    assert noise(shape=(1, 4, 5)).table().shape == (4, 5)


def test_a_slice_shares_memory_and_a_dataset_costs_one_byte_per_pixel():
    tracemalloc.start()
    dataset = ImageDataset(np.zeros((100, 3, 32, 32), np.uint8), np.zeros(100, int))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * 100 * 3072
    assert np.shares_memory(dataset.take(slice(5, 9)).images, dataset.images)
    assert len(dataset.take(np.arange(100) < 3)) == 3


def test_digits_as_images_are_the_pixels_that_ship_with_scikit_learn():
    from sklearn.datasets import load_digits

    train, test = labelled()
    bunch = load_digits()
    rows = {row.tobytes() for row in bunch.data.astype(np.uint8)}
    both = np.concatenate([train.images, test.images]).reshape(1797, -1)
    assert {row.tobytes() for row in both} == rows
    assert train.inputs.max() == 1
    assert np.array_equal(np.bincount(np.concatenate([train.targets, test.targets])), np.bincount(bunch.target))
    assert np.array_equal(labelled()[0].images, train.images)


@pytest.mark.parametrize(
    ("images", "targets", "classes", "message"),
    [
        (np.zeros((2, 3, 3), np.uint8), [0, 0], (), r"must be a \(samples, channels, height, width\) array of uint8"),
        (np.zeros((2, 1, 3, 3)), [0, 0], (), "of type float64. For other numbers use Dataset"),
        (np.zeros((0, 1, 3, 3), np.uint8), [], (), "at least one pixel"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0], (), r"one whole number for each of 2 images; got shape \(1,\)"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0.0, 1.0], (), "of type float64"),
        (np.zeros((2, 1, 3, 3), np.uint8), [0, 2], ("a", "b"), r"must lie in 0 … 1; got 2 at index 1"),
        (np.zeros((2, 1, 3, 3), np.uint8), [-1, 0], (), r"got -1 at index 0"),
    ],
)
def test_images_and_targets_that_do_not_fit_are_refused(images, targets, classes, message):
    with pytest.raises(InputError, match=message):
        ImageDataset(images, targets, classes)
