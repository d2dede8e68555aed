"""Mini-batches: every sample once per epoch, and any place reached again to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import Dataset, Epochs, ImageDataset, labelled, preparation
from neurodecorr.data.augmentation import prepare
from neurodecorr.errors import ConfigError, InputError


def pictures(samples=23, side=8, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (samples, 3, side, side), dtype=np.uint8)
    return ImageDataset(images, np.arange(samples) % 5, tuple("abcde"), "pictures")


def shown(batches):
    return [(batch.inputs.tobytes(), batch.targets.tobytes(), batch.indices.tobytes()) for batch in batches]


@settings(max_examples=50, deadline=None)
@given(samples=st.integers(1, 40), size=st.integers(1, 50), epoch=st.integers(0, 5), shuffle=st.booleans())
def test_an_epoch_shows_every_sample_once_with_its_target(samples, size, epoch, shuffle):
    table = Dataset(np.arange(samples, dtype=float)[:, None], targets=np.arange(samples))
    epochs = Epochs(table, size, seed=3, shuffle=shuffle)
    found = list(epochs.batches(epoch))
    assert len(found) == len(epochs)
    assert all(len(batch.inputs) == size for batch in found[:-1])
    indices = np.concatenate([batch.indices for batch in found])
    assert sorted(indices) == list(range(samples))
    assert shuffle or indices.tolist() == list(range(samples))
    for batch in found:
        assert np.array_equal(batch.inputs[:, 0], batch.indices)
        assert np.array_equal(batch.targets, batch.indices)
        assert batch.inputs.dtype == np.float32


@pytest.mark.parametrize("recipe", ["plain", "cifar"])
@pytest.mark.parametrize("stop", range(5))
def test_batches_after_a_stop_are_to_the_bit_those_without_a_stop(recipe, stop):
    dataset = pictures()
    how = preparation(dataset, recipe)
    whole = Epochs(dataset, 5, seed=7, preparation=how)
    expected = shown(b for epoch in range(3) for b in whole.batches(epoch))
    epoch, first = divmod(stop * 3, len(whole))
    resumed = Epochs(pictures(), 5, seed=7, preparation=how)
    rest = [*resumed.batches(epoch, first), *(b for later in range(epoch + 1, 3) for b in resumed.batches(later))]
    assert shown(rest) == expected[stop * 3 :]


def test_epochs_and_seeds_have_orders_and_chances_of_their_own():
    dataset = pictures()
    how = preparation(dataset, "cifar")
    epochs = Epochs(dataset, 23, seed=7, preparation=how)
    orders = {tuple(epochs.order(epoch)) for epoch in range(20)}
    orders |= {tuple(Epochs(dataset, 23, seed=seed).order(0)) for seed in range(8, 28)}
    assert len(orders) == 40
    fixed = Epochs(dataset, 23, seed=7, shuffle=False, preparation=how)
    first, second = (next(iter(fixed.batches(epoch))) for epoch in (0, 1))
    assert np.array_equal(first.indices, second.indices)
    assert not np.array_equal(first.inputs, second.inputs)


def test_the_order_of_an_epoch_does_not_depend_on_how_images_are_prepared_or_batched():
    dataset = pictures()
    plain, other = Epochs(dataset, 4, 9), Epochs(dataset, 7, 9, preparation=preparation(dataset, "cifar"))
    assert np.array_equal(plain.order(2), other.order(2))


def test_validation_does_not_inherit_the_augmentation_unless_told_to():
    dataset = pictures(40)
    how = preparation(dataset, "cifar")
    training, validation = Epochs(dataset, 16, seed=1, preparation=how).split(10, seed=2)
    rows = [{row.tobytes() for row in part.dataset.images} for part in (training, validation)]
    assert (len(training.dataset), len(validation.dataset)) == (30, 10)
    assert not rows[0] & rows[1]
    assert training.augment and training.shuffle
    plain = prepare(validation.dataset.images, how)
    for epoch in (0, 1):
        assert np.array_equal(next(validation.batches(epoch)).inputs, plain)
    inherited = Epochs(dataset, 16, seed=1, preparation=how).split(10, seed=2, inherit=True)[1]
    assert np.array_equal(inherited.dataset.images, validation.dataset.images)
    assert not np.array_equal(next(inherited.batches()).inputs, plain)


def test_tables_are_shown_in_their_type_and_images_as_pixels_over_white():
    table = Dataset(np.array([[1 / 3], [2 / 3]]))
    assert next(Epochs(table, 2, shuffle=False, dtype=np.float64).batches()).inputs.tolist() == [[1 / 3], [2 / 3]]
    assert next(Epochs(table, 2).batches()).targets is None
    train = labelled()[0]
    batch = next(Epochs(train, 10, shuffle=False).batches())
    assert batch.inputs.shape == (10, 1, 8, 8) == (10, *Epochs(train).shape)
    assert np.array_equal(batch.inputs.reshape(10, -1), train.inputs[:10])


def test_the_shape_is_that_of_what_is_shown():
    dataset = pictures(6, side=64)
    for recipe in ("plain", "cifar", "tiny-imagenet"):
        epochs = Epochs(dataset, 4, preparation=preparation(dataset, recipe))
        assert next(epochs.batches()).inputs.shape[1:] == epochs.shape
    assert Epochs(Dataset(np.ones((3, 7)))).shape == (7,)


def test_batches_do_not_touch_the_dataset():
    dataset = pictures()
    before = dataset.images.copy()
    for batch in Epochs(dataset, 5, preparation=preparation(dataset, "cifar")).batches():
        batch.inputs[:] = 0
        batch.targets[:] = 0
    table = Dataset(np.ones((4, 2)), targets=np.ones(4))
    for batch in Epochs(table, 2, shuffle=False, dtype=np.float64).batches():
        batch.inputs[:] = 0
        batch.targets[:] = 0
    assert np.array_equal(dataset.images, before) and dataset.targets.any()
    assert table.inputs.all() and table.targets.all()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Epochs(pictures(), 0), ConfigError, "size must be a whole number ≥ 1"),
        (lambda: Epochs(pictures(), seed=-1), ConfigError, "seed must be a whole number ≥ 0"),
        (lambda: Epochs(pictures(), 5).batches(0, 6), ConfigError, "first must be at most 5"),
        (lambda: Epochs(pictures(), 5).batches(-1), ConfigError, "epoch must be a whole number ≥ 0"),
        (lambda: Epochs(Dataset(np.ones((2, 2))), preparation=preparation(pictures())), ConfigError, "for images"),
        (lambda: Epochs(labelled()[0], preparation=preparation(pictures())), InputError, "for each of 1 channels"),
        (lambda: Epochs(pictures(), preparation=preparation(pictures(), "tiny-imagenet")), InputError, "56 × 56"),
        (lambda: Epochs(Dataset([[1e39], [0.0]])), InputError, "at most 3.4e.38 to be shown as float32; got 1e.39"),
        (lambda: Epochs(Dataset(np.ones((2, 2))), dtype=int), ConfigError, "float32 or float64"),
    ],
)
def test_what_cannot_be_shown_is_refused_at_the_door(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
