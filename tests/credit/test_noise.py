"""Normal noise in single precision: the law of Box and Muller from the bits of a generator, and nothing else."""

import numpy as np
import pytest
import scipy.stats

from neurodecorr.credit import GaussianNoise, kernels

EPS = np.finfo(np.float32).eps


def drawn(shape, seed=0):
    return GaussianNoise().start().draw(0, shape, np.random.default_rng(seed), np.float32)


@pytest.mark.parametrize("count", [1, 7, 256, 257, 1000])
def test_each_number_is_that_of_box_and_muller_in_double_precision(count):
    bits = np.random.default_rng(count).integers(0, 2**64, count, np.uint64)
    found = np.empty(2 * count, np.float32)
    kernels.normals(bits, found)
    low = (bits & np.uint64(2**32 - 1)).astype(np.int64)
    radius = np.sqrt(-2 * np.log(((bits >> np.uint64(32)).astype(float) + 0.5) * 2.0**-32))
    angle = np.pi / 2 * ((low & 3) + 0.5 - ((low >> 2) + 0.5) * 2.0**-30)
    # The radius is at most 6.8; u near 1 is rounded by ε/2, which moves the radius by at most √ε.
    for part, exact in ((found[:count], np.cos(angle)), (found[count:], np.sin(angle))):
        assert (np.abs(part - radius * exact) <= 8 * EPS + EPS / np.maximum(radius, np.sqrt(EPS))).all()


def test_extreme_bits_give_finite_numbers():
    bits = np.array([0, 2**64 - 1, 2**32 - 1, 2**64 - 2**32, 2**63, 2**31], np.uint64)
    found = np.empty(12, np.float32)
    kernels.normals(bits, found)
    assert np.isfinite(found).all()
    assert np.abs(found).max() == pytest.approx(np.sqrt(2 * 33 * np.log(2)), rel=1e-6)


def test_numbers_are_normal_and_independent():
    X = drawn((1000, 1001)).astype(float).ravel()
    n = X.size
    assert scipy.stats.kstest(X, "norm").pvalue > 1e-4
    # Standard errors of the moments of n normal numbers: 1, √2, √15 and √96 over √n; five of them each.
    for power, moment, error in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(X**power) - moment) < 5 * np.sqrt(error / n)
    assert np.mean(np.abs(X) > 4) * n == pytest.approx(2 * scipy.stats.norm.sf(4) * n, abs=5 * np.sqrt(64))
    first, second = X[: n // 2], X[n - n // 2 :]
    for a, b in ((X[:-1], X[1:]), (first, second), (first**2 - 1, second**2 - 1), (first**2 - 1, second)):
        assert abs(np.mean(a * b)) < 5 * np.std(a) * np.std(b) / np.sqrt(len(a))


def test_noise_depends_on_the_state_of_the_generator_alone():
    rng = np.random.default_rng(5)
    rng.standard_normal(3, np.float32)  # leaves half a word in the generator
    state = rng.bit_generator.state
    first = GaussianNoise().start().draw(0, (13, 7), rng, np.float32)
    after = rng.bit_generator.state
    rng.bit_generator.state = state
    np.testing.assert_array_equal(first, GaussianNoise().start().draw(0, (13, 7), rng, np.float32))
    assert rng.bit_generator.state == after
    assert (first != GaussianNoise().start().draw(0, (13, 7), rng, np.float32)).all()


def test_double_precision_is_numpys():
    found = GaussianNoise().start().draw(0, (5, 3), np.random.default_rng(2), np.float64)
    np.testing.assert_array_equal(found, np.random.default_rng(2).standard_normal((5, 3)))
