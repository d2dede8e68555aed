"""Moments of every window of a set of images, against the windows themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import patches as windows
from neurodecorr.errors import InputError


def every_window(image, size):
    height, width = image.shape
    return np.array(
        [image[p : p + size, q : q + size].ravel() for p in range(height - size + 1) for q in range(width - size + 1)]
    )


def brute_force(images, size):
    """Mean and covariance of the population, one window after another: each image has the same weight."""
    each = [every_window(image, size) for image in images]
    mean = np.mean([x.mean(axis=0) for x in each], axis=0)
    return mean, np.mean([(x - mean).T @ (x - mean) / len(x) for x in each], axis=0)


shapes = st.lists(st.tuples(st.integers(5, 9), st.integers(5, 12)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(shapes=shapes, size=st.integers(1, 5), seed=st.integers(0, 99), offset=st.sampled_from([0.0, 1.0, 1e3]))
def test_covariance_and_scale_are_those_of_all_windows(shapes, size, seed, offset):
    rng = np.random.default_rng(seed)
    images = [offset + rng.random(shape) for shape in shapes]
    if max(height * width for height, width in shapes) == size * size:
        return  # one window per image
    mean, covariance = brute_force(images, size)
    # Both sides round like sums of a few hundred terms of size 1; the offset costs its own digits in the inputs.
    assert np.allclose(windows.patch_covariance(images, size), covariance, atol=1e-13 * max(1, offset))
    scale = windows.pixel_scale(images, size)
    assert scale.shift == pytest.approx(mean.mean(), rel=1e-13)
    assert scale.spread**2 == pytest.approx(np.trace(covariance) / size**2, rel=1e-12 * max(1, offset))


def test_covariance_is_symmetric_to_the_bit():
    covariance = windows.patch_covariance([np.random.default_rng(0).random((20, 31))], 6)
    assert np.array_equal(covariance, covariance.T)


def test_draw_takes_real_windows_from_every_position_and_image_with_equal_chance():
    small, large = np.arange(12.0).reshape(3, 4), 100 + np.arange(30.0).reshape(5, 6)
    patches = windows.draw([small, large], 3, 40_000, np.random.default_rng(0))
    known = [tuple(window) for image in (small, large) for window in every_window(image, 3)]
    chance = np.r_[np.full(2, 1 / 2 / 2), np.full(12, 1 / 2 / 12)]
    found = dict.fromkeys(known, 0)
    for patch in patches:
        found[tuple(patch)] += 1  # a KeyError here is a patch that no image holds
    z = (np.array(list(found.values())) - 40_000 * chance) / np.sqrt(40_000 * chance * (1 - chance))
    assert np.abs(z).max() < 5


def test_draw_is_a_random_sequence_not_one_image_after_the_other():
    patches = windows.draw([np.zeros((4, 4)), np.ones((4, 4))], 2, 1000, np.random.default_rng(0))
    switches = np.count_nonzero(np.diff(patches[:, 0]))
    assert abs(switches - 499.5) < 5 * np.sqrt(999) / 2


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_flat_images_have_no_scale(value):
    with pytest.raises(InputError, match="images must have contrast"):
        windows.pixel_scale([np.full((9, 9), value), np.full((5, 7), value)], 3)
