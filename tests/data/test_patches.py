"""Patches of natural images: their scale, their statistics, and what decides them."""

import time

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from neurodecorr.data import image_patches, natural_patches
from neurodecorr.data.patches import image_patch_covariance, natural_patch_covariance
from neurodecorr.errors import ConfigError, InputError


@pytest.fixture(scope="module")
def covariance():
    return natural_patch_covariance(8)


def z_scores(draws, expected):
    """Distance of the sample mean from its expectation in standard errors, by the central limit theorem."""
    return (draws.mean(axis=0) - expected) / draws.std(axis=0) * np.sqrt(len(draws))


def rms_correlation(covariance):
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    return np.sqrt(np.mean(correlation[~np.eye(len(covariance), dtype=bool)] ** 2))


def every_patch(image, size):
    return np.lib.stride_tricks.sliding_window_view(image, (size, size)).reshape(-1, size * size)


@pytest.fixture(scope="module")
def greys():
    return [image.mean(axis=2) for image in load_sample_images().images]


@pytest.fixture(scope="module")
def population(greys):
    """Shift, spread, and mean of each pixel over every 8 × 8 patch, in grey levels, straight from the definition."""
    means = np.mean([every_patch(grey, 8).mean(axis=0) for grey in greys], axis=0)
    powers = np.mean([(every_patch(grey, 8) ** 2).mean(axis=0) for grey in greys], axis=0)
    return means.mean(), np.sqrt((powers - means**2).mean()), means


@pytest.mark.parametrize(("seed", "samples"), [(0, 200), (1, 200), (1, 7)])
def test_scale_is_fixed_by_the_photographs_and_not_by_the_draw(greys, population, seed, samples):
    shift, spread, _ = population
    patches = natural_patches(8, samples, seed).inputs * spread + shift
    known = {row.tobytes() for grey in greys for row in np.round(3 * every_patch(grey, 8)).astype(np.int16)}
    # Grey levels are thirds: back in their unit, patches must be exactly those of a photograph.
    assert np.abs(3 * patches - np.round(3 * patches)).max() < 1e-9
    assert all(row.tobytes() in known for row in np.round(3 * patches).astype(np.int16))


@pytest.mark.parametrize("size", [1, 3, 8, 12])
def test_population_has_mean_variance_one(size):
    assert np.trace(natural_patch_covariance(size)) == pytest.approx(size**2, rel=1e-12)


def test_population_is_the_published_one(covariance):
    assert rms_correlation(covariance) == pytest.approx(0.93, abs=0.005)
    assert np.linalg.cond(covariance) == pytest.approx(1.03e4, rel=0.01)


def test_draws_have_the_mean_and_covariance_of_the_population(covariance, population):
    shift, spread, means = population
    x = natural_patches(samples=20_000, seed=1).inputs - (means - shift) / spread
    assert np.abs(z_scores(x, 0)).max() < 5
    assert np.abs(z_scores(x[:, :, None] * x[:, None, ::7], covariance[:, ::7])).max() < 5


def test_same_seed_same_patches_and_other_seed_other_patches():
    first, again, other = (natural_patches(samples=100, seed=seed).inputs for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    rng = np.random.default_rng(0)
    assert np.array_equal(natural_patches(samples=100, seed=rng).inputs, first)


def test_twenty_thousand_patches_take_less_than_a_second():
    natural_patches(samples=10)  # decode the photographs once
    start = time.process_time()
    natural_patches(samples=20_000)
    assert time.process_time() - start < 1


def test_the_photographs_as_a_users_images_give_the_natural_patches(covariance):
    photographs = load_sample_images().images
    assert np.array_equal(image_patches(photographs, 8, 100, 7).inputs, natural_patches(8, 100, 7).inputs)
    assert np.array_equal(image_patch_covariance(photographs, 8), covariance)


def test_patches_do_not_depend_on_the_unit_of_the_pixels():
    image = np.random.default_rng(0).integers(0, 256, (30, 40))
    expected = image_patches(image, 5, 50, 1).inputs
    for scaled in (image * 1e300, image * 1e-300, image - 1000.0, image.astype(np.float32), image.astype(np.uint8)):
        # The offset of −1000 costs the ratio 1000/255 in digits.
        assert np.allclose(image_patches(scaled, 5, 50, 1).inputs, expected, atol=1e-12)


def test_a_user_covariance_has_trace_n_and_matches_its_draws():
    images = [np.random.default_rng(k).random((12, 9 + k)).cumsum(axis=1) for k in range(2)]
    sigma = image_patch_covariance(images, 4)
    assert np.trace(sigma) == pytest.approx(16, rel=1e-12)
    x = image_patches(images, 4, 20_000, 0).inputs
    x -= x.mean(axis=0)
    assert np.abs(z_scores(x[:, :, None] * x[:, None, :], sigma)).max() < 5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 0}, ConfigError, "size must be a whole number ≥ 1; got 0"),
        ({"size": 8.0}, ConfigError, "size must be a whole number"),
        ({"samples": 0}, ConfigError, "samples must be a whole number ≥ 1"),
        ({"seed": -1}, ConfigError, "seed must be a whole number ≥ 0"),
        ({"size": 428}, InputError, "at least 428 × 428 pixels.*got 427 × 640"),
    ],
)
def test_natural_patches_refuse(arguments, error, message):
    with pytest.raises(error, match=message):
        natural_patches(**arguments)
