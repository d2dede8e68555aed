"""The three numbers read off a covariance."""

import numpy as np
import pytest

from neurodecorr.data import gaussian_covariance
from neurodecorr.errors import InputError
from neurodecorr.plasticity import power, relative_off_diagonal, rms_correlation


def brute_force(C):
    total, count = 0.0, 0
    for i in range(len(C)):
        for j in range(len(C)):
            if i != j:
                total, count = total + C[i, j] ** 2 / (C[i, i] * C[j, j]), count + 1
    return np.sqrt(total / count)


def test_rms_correlation_is_the_mean_over_all_pairs():
    C = gaussian_covariance(10, 1e3)
    assert rms_correlation(C) == pytest.approx(brute_force(C), rel=1e-13)
    np.testing.assert_allclose(rms_correlation(np.ones((4, 4))), 1.0)
    assert rms_correlation(np.eye(4)) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_rms_correlation_does_not_depend_on_the_scale_of_any_unit(seed):
    C, d = gaussian_covariance(5, 100.0, seed), 10.0 ** np.random.default_rng(seed).uniform(-6, 6, 5)
    assert rms_correlation(C * np.outer(d, d)) == pytest.approx(rms_correlation(C), rel=1e-9)


def test_silent_units_are_left_out():
    C = np.zeros((4, 4))
    C[:3, :3] = gaussian_covariance(3, 10.0)
    assert rms_correlation(C) == pytest.approx(rms_correlation(C[:3, :3]))
    C[3, 3] = 1e-34  # the rounding that is left of a constant unit
    assert rms_correlation(C) == pytest.approx(rms_correlation(C[:3, :3]))
    assert rms_correlation([[1.0, 0.0], [0.0, 0.0]]) == 0.0
    assert rms_correlation(np.zeros((3, 3))) == 0.0
    assert rms_correlation([[2.0]]) == 0.0


def test_relative_off_diagonal_is_a_ratio_of_norms():
    C = gaussian_covariance(6, 50.0)
    D = np.diag(np.diag(C))
    assert relative_off_diagonal(C) == pytest.approx(np.linalg.norm(C - D) / np.linalg.norm(D), rel=1e-14)
    assert relative_off_diagonal(7.0 * C) == pytest.approx(relative_off_diagonal(C))
    assert relative_off_diagonal(np.zeros((2, 2))) == 0.0


def test_power_is_the_mean_of_the_diagonal():
    assert power(gaussian_covariance(6, 50.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("function", [rms_correlation, relative_off_diagonal, power])
def test_what_is_no_covariance_is_refused(function):
    with pytest.raises(InputError, match=r"covariance must be a square matrix, \(n, n\); got shape \(3,\)"):
        function(np.ones(3))
    with pytest.raises(InputError, match=r"covariance must be finite.*; found inf at row 1, column 0"):
        function([[1.0, 0.0], [np.inf, 1.0]])
