"""Inputs: noise of the stated covariance in space and time."""

import math

import numpy as np
import pytest

from neurodecorr import spiking
from neurodecorr.errors import ConfigError, InputError

SIGMA = np.array([[2.0, 0.8], [0.8, 1.0]])


def test_the_noise_has_the_covariance_that_was_asked_for_at_every_lag():
    X = spiking.ou_stimulus(SIGMA, 400_000, correlation_time_s=0.01, seed=1).values
    for lag in (0, 5, 20):
        found = X[: len(X) - lag].T @ X[lag:] / (len(X) - lag)
        # 400 000 records worth 40 000: sampling error 2/√40 000 = 0.01.
        np.testing.assert_allclose(found, math.exp(-lag * 0.1) * SIGMA, atol=0.04)


def test_the_noise_is_stationary_from_the_first_frame():
    X = np.array([spiking.ou_stimulus(SIGMA, 3, seed=seed).values for seed in range(4000)])
    for frame in range(3):
        np.testing.assert_allclose(np.cov(X[:, frame].T), SIGMA, atol=0.15)


def test_a_seed_decides_the_noise():
    first, second, other = (spiking.ou_stimulus(SIGMA, 50, seed=seed).values for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_stimulus_cannot_be_changed_from_outside():
    values = np.ones((3, 2))
    stimulus = spiking.Stimulus(values, 1e-3)
    values[0] = 5
    assert (stimulus.values == 1).all() and not stimulus.values.flags.writeable


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spiking.Stimulus(np.ones(3), 1e-3), InputError, "values must be a matrix"),
        (lambda: spiking.Stimulus(np.ones((0, 3)), 1e-3), InputError, "not empty"),
        (lambda: spiking.Stimulus([[np.inf]], 1e-3), InputError, "row 0, column 0"),
        (lambda: spiking.Stimulus([[1.0]], 0.0), ConfigError, r"frame_s must be > 0 \(s\)"),
        (
            lambda: spiking.ou_stimulus([[1.0, 0.5], [0.2, 1.0]], 5),
            InputError,
            "differs from its transpose by up to 0.3",
        ),
        (lambda: spiking.ou_stimulus([[1.0, 2.0], [2.0, 1.0]], 5), InputError, "smallest eigenvalue is -1"),
        (lambda: spiking.ou_stimulus(SIGMA, 0), ConfigError, "frames must be a whole number ≥ 1"),
        (lambda: spiking.ou_stimulus(SIGMA, 5, correlation_time_s=0), ConfigError, "correlation_time_s must be > 0"),
    ],
    ids=["vector", "empty", "infinite", "no time", "asymmetric", "indefinite", "no frames", "white"],
)
def test_bad_inputs_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
