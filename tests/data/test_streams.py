"""Streams whose covariance switches: where, to what, and which samples belong to which."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import (
    Dataset,
    contexts,
    correlated_gaussian,
    gaussian_covariance,
    natural_patches,
    switching_gaussian,
)
from neurodecorr.data.gaussian import matrix_root
from neurodecorr.errors import ConfigError, InputError


@settings(deadline=None)
@given(at=st.sets(st.integers(1, 49), max_size=6), distinct=st.one_of(st.none(), st.integers(1, 4)))
def test_the_stream_switches_at_the_given_samples_to_the_given_covariances(at, distinct):
    switches = sorted(at)
    stream = switching_gaussian(3, 50, switches, 10.0, seed=4, distinct=distinct)
    targets = stream.dataset.targets
    assert stream.switches == tuple(switches)
    assert (np.flatnonzero(np.diff(targets)) + 1).tolist() == switches
    assert targets[-1] == len(switches) == len(stream.covariances) - 1
    for k, stretch in enumerate(stream.stretches):
        assert np.all(targets[stretch] == k)
        context = k % (distinct or len(switches) + 1)
        assert np.array_equal(stream.covariances[k], gaussian_covariance(3, 10.0, 4, context))
    assert sum(len(targets[stretch]) for stretch in stream.stretches) == 50


def test_each_stretch_is_white_noise_coloured_by_its_own_covariance():
    """Undo each stretch's colour: what is left is one white draw, whatever the switches are."""
    whole = switching_gaussian(4, 400, (), 10.0, seed=2).dataset.inputs @ np.linalg.inv(matrix_root(4, 10.0, 2, 0)).T
    stream = switching_gaussian(4, 400, (100, 250), 10.0, seed=2)
    parts = [
        stream.dataset.inputs[s] @ np.linalg.inv(matrix_root(4, 10.0, 2, k)).T for k, s in enumerate(stream.stretches)
    ]
    assert np.allclose(np.concatenate(parts), whole, atol=1e-13)
    variance = (whole**2).mean(axis=0)
    assert np.abs(variance - 1).max() < 5 * np.sqrt(2 / 400)


def test_samples_of_a_stretch_have_its_covariance_within_their_standard_error():
    stream = switching_gaussian(5, 40_000, (20_000,), 20.0, seed=1)
    for stretch, sigma in zip(stream.stretches, stream.covariances, strict=True):
        x = stream.dataset.inputs[stretch]
        variance = np.diag(sigma)
        z = (x.T @ x / len(x) - sigma) * np.sqrt(len(x) / (np.outer(variance, variance) + sigma**2))
        assert np.abs(z).max() < 5
    first, second = stream.covariances
    assert np.abs(first - second).max() > 0.1


def test_streams_are_decided_by_seed_and_draw_and_share_no_sample_with_correlated_gaussian():
    def inputs(**changes):
        return switching_gaussian(3, 200, (100,), **changes).dataset.inputs

    assert np.array_equal(inputs(), inputs())
    assert not np.allclose(inputs(), inputs(draw=1))
    assert not np.allclose(inputs(), inputs(seed=1))
    plain = correlated_gaussian(3, 100).inputs
    assert np.abs(np.corrcoef(plain.T, inputs()[:100].T)[:3, 3:]).max() < 5 / np.sqrt(100)


def test_datasets_follow_one_another_whole_and_in_order():
    natural, gaussian = natural_patches(3, 40, 0), correlated_gaussian(9, 60, 10.0)
    stream = contexts([natural, gaussian, natural])
    assert stream.switches == (40, 100)
    assert [
        np.array_equal(stream.dataset.inputs[s], d.inputs)
        for s, d in zip(stream.stretches, (natural, gaussian, natural), strict=True)
    ] == [True] * 3
    assert np.bincount(stream.dataset.targets).tolist() == [40, 60, 40]
    assert (stream.dataset.name, stream.dataset.shape) == ("natural-gaussian-natural", None)
    assert contexts([natural, natural]).dataset.shape == (3, 3)


def test_covariances_are_those_of_the_samples_unless_they_are_known():
    dataset = correlated_gaussian(4, 30, 10.0, exact=True)
    sigma = gaussian_covariance(4, 10.0)
    assert np.allclose(contexts([dataset]).covariances[0], sigma, atol=1e-13)
    assert np.array_equal(contexts([dataset], [2 * sigma]).covariances[0], 2 * sigma)


@pytest.mark.parametrize("switches", [(0,), (50,), (60,), (10, 10), (20, 10), (-1,), (5.0,), (True,)])
def test_switches_outside_the_stream_or_out_of_order_are_refused(switches):
    with pytest.raises(ConfigError, match=r"switch"):
        switching_gaussian(2, 50, switches, 10.0)


@pytest.mark.parametrize(
    "arguments", [{"distinct": 0}, {"draw": -1}, {"samples": 0}, {"features": 0}, {"condition": 0}]
)
def test_switching_gaussian_refuses(arguments):
    with pytest.raises(ConfigError, match=f"{next(iter(arguments))} must"):
        switching_gaussian(**{"features": 3, "samples": 50, "switches": (), **arguments})


TWO, THREE = Dataset(np.eye(2)), Dataset(np.eye(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "at least one dataset"),
        (([TWO, THREE],), r"number of features, 2; datasets\[1\], 'data', has 3"),
        (([TWO, TWO], [np.eye(2)]), "one for each of 2 datasets; got 1"),
        (([TWO], [np.eye(3)]), r"covariances\[0\] must be \(2, 2\)"),
        (([TWO], [np.full((2, 2), np.nan)]), r"covariances\[0\] must be finite"),
    ],
)
def test_contexts_refuse(arguments, message):
    with pytest.raises(InputError, match=message):
        contexts(*arguments)
