"""Windows, mirror images and scales: each against a slow loop, and the chances against their probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import ImageDataset, preparation
from neurodecorr.data.augmentation import (
    RECIPES,
    Preparation,
    centre_crop,
    normalised,
    prepare,
    random_crop,
    random_flip,
)
from neurodecorr.errors import ConfigError, InputError


def noise(b=6, channels=3, height=7, width=9, kind=np.uint8, seed=0):
    images = np.random.default_rng(seed).integers(1, 256, (b, channels, height, width))
    return images.astype(kind)


@settings(max_examples=40, deadline=None)
@given(
    b=st.integers(1, 5),
    size=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    padding=st.integers(0, 3),
    seed=st.integers(0, 99),
    kind=st.sampled_from([np.uint8, np.float32]),
)
def test_a_random_crop_is_the_window_of_the_padded_image_at_the_drawn_place(b, size, padding, seed, kind):
    images = noise(b, kind=kind)
    found = random_crop(images, size, np.random.default_rng(seed), padding)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 7 + 2 * padding - size[0] + 1, b)
    columns = rng.integers(0, 9 + 2 * padding - size[1] + 1, b)
    expected = np.zeros((b, 3, *size), dtype=kind)
    for k, c, i, j in np.ndindex(expected.shape):
        row, column = rows[k] + i - padding, columns[k] + j - padding
        if 0 <= row < 7 and 0 <= column < 9:
            expected[k, c, i, j] = images[k, c, row, column]
    assert found.dtype == kind
    assert np.array_equal(found, expected)


def test_all_places_of_a_window_are_equally_likely():
    images = np.arange(4 * 4, dtype=np.float32).reshape(1, 1, 4, 4).repeat(9000, axis=0)
    corners = random_crop(images, 2, np.random.default_rng(0))[:, 0, 0, 0].astype(int)
    counts = np.bincount(corners, minlength=16)[[0, 1, 2, 4, 5, 6, 8, 9, 10]]
    assert counts.sum() == 9000
    # Each count is binomial: mean 1000, deviation 30; five deviations are passed once in 2e5.
    assert np.abs(counts - 1000).max() < 150


def test_half_of_the_images_are_mirrored_and_all_pixels_stay():
    images = noise(4000, 1, 2, 3)
    found = random_flip(images, np.random.default_rng(0))
    mirrored = (found == images[..., ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (found == images).all(axis=(1, 2, 3))).all()
    # Binomial: mean 2000, deviation 32; the few images that are their own mirror image are far below one deviation.
    assert abs(mirrored.sum() - 2000) < 160
    assert not np.shares_memory(found, images)


@pytest.mark.parametrize(("side", "size", "start"), [(64, 56, 4), (5, 2, 1), (4, 4, 0), (5, 4, 0)])
def test_the_centre_crop_leaves_equal_margins_but_for_half_a_pixel(side, size, start):
    images = noise(2, height=side, width=side)
    assert np.array_equal(centre_crop(images, size), images[:, :, start : start + size, start : start + size])


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_normalised_is_pixel_over_white_less_mean_over_std(kind):
    images, mean, std = noise(kind=kind), np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.25, 0.05])
    exact = (images.astype(float) / 255 - mean[:, None, None]) / std[:, None, None]
    found = normalised(images, mean, std)
    assert found.dtype == np.float32
    # Rounded are the factor, the shift, the product and the difference: 4 units of p/(ws) and m/s, here at most 20.
    assert np.abs(found - exact).max() < 4 * 20 * np.finfo(np.float32).eps


def test_prepared_training_images_have_mean_zero_and_variance_one_per_channel():
    images = noise(50, 3, 8, 8)
    images[:, 1] //= 3
    dataset = ImageDataset(images, np.zeros(50, int))
    x = prepare(images, preparation(dataset)).astype(float)
    assert np.abs(x.mean(axis=(0, 2, 3))).max() < 1e-6
    assert np.abs(x.std(axis=(0, 2, 3)) - 1).max() < 1e-6


def test_a_constant_channel_becomes_zero_and_not_infinite():
    dataset = ImageDataset(np.full((3, 1, 4, 4), 77, np.uint8), [0, 0, 0])
    assert np.abs(prepare(dataset.images, preparation(dataset))).max() < 1e-7


def test_without_a_generator_nothing_is_left_to_chance():
    images = noise(4, 3, 64, 64)
    dataset = ImageDataset(images, np.zeros(4, int))
    for recipe, (crop, _, _) in RECIPES.items():
        how = preparation(dataset, recipe)
        expected = normalised(centre_crop(images, crop or 64), how.mean, how.std)
        assert np.array_equal(prepare(images, how), expected)
        assert expected.shape[1:] == how.shape(dataset.shape)


def test_with_a_generator_windows_come_first_then_mirrors_then_the_scale():
    images = noise(8, 3, 32, 32)
    how = preparation(ImageDataset(images, np.zeros(8, int)), "cifar")
    rng = np.random.default_rng(5)
    slow = normalised(random_flip(random_crop(images, 32, rng, padding=4), rng), how.mean, how.std)
    assert np.array_equal(prepare(images, how, np.random.default_rng(5)), slow)
    assert not np.array_equal(prepare(images, how, np.random.default_rng(6)), slow)


def test_augmentation_leaves_its_input_alone():
    images = noise(5, 3, 32, 32)
    before = images.copy()
    prepare(images, preparation(ImageDataset(images, np.zeros(5, int)), "cifar"), np.random.default_rng(0))
    assert np.array_equal(images, before)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: random_crop(noise(), 10, np.random.default_rng(0)), InputError, "10 × 10 pixels must fit"),
        (lambda: centre_crop(noise(), (8, 2)), InputError, "this has 7 × 9"),
        (lambda: centre_crop(noise()[0], 2), InputError, r"shape \(b, channels, height, width\)"),
        (lambda: normalised(noise(), [0.0], [1.0]), InputError, "for each of 3 channels; got 1 and 1"),
        (lambda: normalised(noise(), [0.0] * 3, [1.0, 1.0, 0.0]), ConfigError, "stds and white > 0"),
        (lambda: Preparation((0.0,), (0.0,)), ConfigError, "each channel's std must be > 0"),
        (lambda: Preparation((0.0,), (1.0, 1.0)), ConfigError, "got 1 and 2"),
        (lambda: Preparation((0.0,), (1.0,), crop=0), ConfigError, "crop must be a whole number ≥ 1"),
        (lambda: Preparation((0.0,), (1.0,), padding=-1), ConfigError, "padding must be a whole number ≥ 0"),
        (lambda: preparation(ImageDataset(noise(), [0] * 6), "cifra"), ConfigError, "Did you mean 'cifar'?"),
    ],
)
def test_what_does_not_fit_is_refused(call, kind, message):
    with pytest.raises(kind, match=message.replace("?", r"\?")):
        call()
