"""Pictures taken apart: no pixel is both learnt from and held out."""

import numpy as np
import pytest

from neurodecorr.data import load_split, natural_patches, patches
from neurodecorr.data.regions import split_pictures
from neurodecorr.errors import InputError


def numbered(*shapes):
    """Pictures in which every pixel has a number of its own, from 1 on."""
    starts = np.cumsum([0, *(height * width for height, width in shapes)])
    return [1.0 + start + np.arange(h * w).reshape(h, w) for start, (h, w) in zip(starts, shapes, strict=False)]


def pixels(pieces):
    return set(np.concatenate([piece.ravel() for piece in pieces.images]).tolist())


@pytest.mark.parametrize("size", [1, 2, 5, 8, 16])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("shapes", "whole"),
    [
        (((60, 90),), True),
        (((200, 70),), True),
        (((48, 48),), True),
        (((50, 80), (90, 60)), False),
        (((50, 80), (90, 60), (40, 40)), True),
    ],
)
def test_no_pixel_is_in_both_parts(shapes, whole, size, seed):
    parts = split_pictures(numbered(*shapes), size, seed, whole=whole)
    assert not pixels(parts.training) & pixels(parts.held_out)
    assert parts.training.positions >= parts.held_out.positions > 0
    for pieces in (parts.training, parts.held_out):
        assert pieces.weights.sum() == pytest.approx(1, abs=1e-12)
        assert all(min(piece.shape) >= size for piece in pieces.images)


@pytest.mark.parametrize("size", [3, 8])
def test_strips_are_a_patch_away_from_what_is_learnt(size):
    image = np.tile(np.arange(400.0), (30, 1))
    parts = split_pictures([image], size)
    learnt, away = (np.unique(list(pixels(pieces))) for pieces in (parts.training, parts.held_out))
    assert np.abs(learnt[:, None] - away[None]).min() == size + 1
    assert len(away) == pytest.approx(80, abs=2)


def test_pictures_stay_whole_where_there_are_several():
    images = numbered(*[(20, 20)] * 10)
    parts = split_pictures(images, 4, seed=3)
    assert [len(parts.training.images), len(parts.held_out.images)] == [8, 2]
    assert pixels(parts.training) | pixels(parts.held_out) == set(range(1, 4001))
    assert "by picture: 2 of 10" in parts.words and "by region" in split_pictures(images, 4, whole=False).words


def test_another_seed_holds_out_another_part():
    (image,) = numbered((50, 300))
    held_out = [pixels(split_pictures([image], 4, seed).held_out) for seed in range(5)]
    assert all(not held_out[i] & held_out[j] for i in range(5) for j in range(i))


def test_each_picture_and_each_patch_of_it_counts_alike():
    parts = split_pictures(numbered((40, 400), (40, 100)), 4, whole=False)
    positions = np.array([(h - 3) * (w - 3) for h, w in (piece.shape for piece in parts.training.images)])
    shares = parts.training.weights / positions
    first = [piece.max() <= 16000 for piece in parts.training.images]
    assert parts.training.weights[first].sum() == pytest.approx(0.5)
    assert np.ptp(shares[first]) < 1e-15


def test_a_picture_too_small_to_be_taken_apart_is_refused():
    with pytest.raises(InputError, match="at least 24 pixels long"):
        split_pictures([np.ones((8, 20))], 8)


def test_windows_with_weights_are_those_of_a_weighted_population():
    rng = np.random.default_rng(0)
    images, weights = [rng.random((6, 9)), 3 + rng.random((7, 5))], np.array([0.3, 0.7])
    each = [
        np.array([im[i : i + 3, j : j + 3].ravel() for i in range(im.shape[0] - 2) for j in range(im.shape[1] - 2)])
        for im in images
    ]
    mean = sum(w * x.mean(axis=0) for w, x in zip(weights, each, strict=True))
    expected = sum(w * (x - mean).T @ (x - mean) / len(x) for w, x in zip(weights, each, strict=True))
    assert np.allclose(patches.patch_covariance(images, 3, weights), expected, atol=1e-13)
    assert patches.pixel_scale(images, 3, weights).spread ** 2 == pytest.approx(np.trace(expected) / 9, rel=1e-12)
    drawn = patches.draw(images, 3, 20_000, rng, weights)
    assert (drawn[:, 0] > 2).mean() == pytest.approx(0.7, abs=5 * np.sqrt(0.21 / 20_000))


def test_natural_patches_are_held_out_by_region_with_their_exact_covariance():
    split = load_split("natural", 3000, seed=0, size=4)
    assert split.words.startswith("by region") and len(split.stream) == 3000
    learnt = {row.tobytes() for row in np.round(split.stream.inputs, 9)}
    shared = np.mean([row.tobytes() in learnt for row in np.round(split.held_out.inputs, 9)])
    assert shared < 0.01  # patches of one brightness look alike wherever they come from
    sample = np.cov(split.held_out.inputs.T)
    assert np.linalg.norm(sample - split.covariance) < 0.2 * np.linalg.norm(split.covariance)
    assert natural_patches(4, 10, 0).features == 16


def test_what_is_held_out_is_harder_than_what_was_learnt_from():
    # The closed form of one photograph leaves next to nothing there, and an eighth on the other.
    from neurodecorr import measures, plasticity
    from neurodecorr.data.patches import photographs

    one, other = (patches.patch_covariance([image], 8) for image in photographs(8))
    M = plasticity.decorrelating_matrix(one)
    assert measures.rms_correlation(covariance=M @ one @ M.T) < 1e-12
    assert 0.10 < measures.rms_correlation(covariance=M @ other @ M.T) < 0.15
