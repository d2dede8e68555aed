"""Confidence intervals of correlations cover what they promise to."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from neurodecorr import measures, spiking
from neurodecorr.errors import ConfigError, InputError

SIGMA = np.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]])
PAIRS = np.triu_indices(3, 1)


def noise(seed, records=4000, correlation_time=10, sigma=SIGMA):
    """Return noise whose records are correlated over `correlation_time` of them."""
    return spiking.ou_stimulus(sigma, records, correlation_time_s=correlation_time * 1e-3, seed=seed).values


def test_the_mean_is_that_of_the_coefficients_of_numpy():
    X = noise(0)
    expected = np.abs(np.corrcoef(X[:3969].T)[PAIRS]).mean()  # 63 blocks of 63 records
    found = spiking.mean_correlation(X)
    assert found.blocks == 63
    assert found.mean == pytest.approx(expected, abs=1e-12)
    assert found.low < found.mean < found.high


def test_two_units_have_the_rms_correlation_of_the_measures():
    X = noise(1)[:, :2]
    assert spiking.mean_correlation(X, 1).mean == pytest.approx(measures.rms_correlation(X), abs=1e-12)


def test_intervals_of_95_per_cent_cover_the_average_recording_about_as_often():
    found = [spiking.mean_correlation(noise(seed), 100, resamples=300) for seed in range(200)]
    truth = np.mean([correlation.mean for correlation in found])
    assert truth == pytest.approx(np.abs(SIGMA[PAIRS]).mean(), abs=0.01)
    covered = np.mean([correlation.low <= truth <= correlation.high for correlation in found])
    # 40 blocks: percentile intervals are a little short. Three standard errors of 200 trials are 0.05.
    assert 0.86 < covered < 0.995


def test_blocks_shorter_than_the_correlation_time_would_promise_too_much():
    short, long = (spiking.mean_correlation(noise(3, 40_000), block, resamples=300) for block in (2, 200))
    assert long.high - long.low > 2 * (short.high - short.low)


def test_the_floor_is_what_independent_units_show():
    independent = [spiking.mean_correlation(noise(seed, 20_000, sigma=np.eye(8)), 200) for seed in range(10)]
    shown, floor = np.mean([c.mean for c in independent]), np.mean([c.floor for c in independent])
    assert floor == pytest.approx(shown, rel=0.1)
    # N records correlated over τ are worth N/τ: coefficients of squares e^(−2k/τ) sum to τ.
    assert shown == pytest.approx(math.sqrt(2 / math.pi) / math.sqrt(20_000 / 10), rel=0.1)


@pytest.mark.parametrize(("records", "correlation_time"), [(2000, 1), (4000, 10), (10_000, 20), (4000, 20)])
def test_the_floor_at_the_default_block_is_what_many_independent_recordings_show(records, correlation_time):
    """Over 150 recordings of 15 pairs the mean |ρ| is known to 0.6/√2250 = 1.3 %."""
    found = [
        spiking.mean_correlation(noise(seed, records, correlation_time, np.eye(6)), resamples=2) for seed in range(150)
    ]
    shown, floor = np.mean([c.mean for c in found]), np.mean([c.floor for c in found])
    # A block of 63 records spans three correlation times of 20: e^−3 of the last one is missed.
    assert floor == pytest.approx(shown, rel=0.08 if (records, correlation_time) == (4000, 20) else 0.05)


def test_the_floor_of_trains_of_independent_spikes(records=4000):
    shown, floor = [], []
    for seed in range(150):
        spikes = np.random.default_rng(seed).random((records, 6)) < 0.02
        traces = lfilter([1], [1, -math.exp(-1 / 10)], spikes.astype(float), axis=0)
        found = spiking.mean_correlation(traces, resamples=2)
        shown.append(found.mean)
        floor.append(found.floor)
    assert np.mean(floor) == pytest.approx(np.mean(shown), rel=0.05)


def test_a_reduction_is_the_ratio_and_its_interval_covers_it():
    before = noise(4, 20_000)
    after = before @ np.linalg.inv(np.linalg.cholesky(SIGMA)).T + 0.5 * before
    found = spiking.reduction(before, after, 200)
    assert found.factor == found.before.mean / found.after.mean
    assert found.low < found.factor < found.high
    assert found.before == spiking.mean_correlation(before, 200)
    assert str(found).endswith("times less")


def test_the_same_recording_twice_is_no_reduction():
    found = spiking.reduction(noise(5), noise(5))
    assert (found.low, found.factor, found.high) == (1.0, 1.0, 1.0)


def test_the_scale_of_a_unit_and_its_mean_do_not_count():
    X = noise(6)
    first, second = spiking.mean_correlation(X), spiking.mean_correlation(1e3 + X * [1.0, 10.0, 0.1])
    np.testing.assert_allclose((second.mean, second.low), (first.mean, first.low), rtol=1e-6)


def test_silent_units_are_left_out():
    X = np.column_stack([noise(7), np.zeros(4000)])
    assert spiking.mean_correlation(X).mean == spiking.mean_correlation(X[:, :3]).mean


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spiking.mean_correlation(np.ones((100, 3)), 1), InputError, "at least two units"),
        (
            lambda: spiking.mean_correlation(noise(0, 100), 10),
            ConfigError,
            "at least 20 blocks of 10 records; it holds 100",
        ),
        (lambda: spiking.mean_correlation(noise(0), level=1.0), ConfigError, "strictly between 0 and 1"),
        (lambda: spiking.mean_correlation(noise(0), block=0), ConfigError, "block must be a whole number ≥ 1"),
        (lambda: spiking.mean_correlation(noise(0, 30_000), 1), ConfigError, "30000 blocks of 1 records"),
        (lambda: spiking.mean_correlation(np.full((100, 2), np.nan)), InputError, "finite"),
        (lambda: spiking.reduction(noise(0), noise(0, 900)), InputError, "got 4000 and 900"),
    ],
    ids=["constant", "short", "level", "block", "many", "nan", "lengths"],
)
def test_bad_recordings_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
