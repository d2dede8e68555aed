"""The three numbers read off a covariance."""

import numpy as np
import pytest

from neurodecorr import measures
from neurodecorr.data import gaussian_covariance
from neurodecorr.errors import InputError
from neurodecorr.measures import null_directions, power, relative_off_diagonal, rms_correlation


def brute_force(C):
    total, count = 0.0, 0
    for i in range(len(C)):
        for j in range(len(C)):
            if i != j:
                total, count = total + C[i, j] ** 2 / (C[i, i] * C[j, j]), count + 1
    return np.sqrt(total / count)


def test_rms_correlation_is_the_mean_over_all_pairs():
    C = gaussian_covariance(10, 1e3)
    assert rms_correlation(covariance=C) == pytest.approx(brute_force(C), rel=1e-13)
    np.testing.assert_allclose(rms_correlation(covariance=np.ones((4, 4)) + 1e-9 * np.eye(4)), 1.0)
    assert rms_correlation(covariance=np.eye(4)) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_rms_correlation_does_not_depend_on_the_scale_of_any_unit(seed):
    C, d = gaussian_covariance(5, 100.0, seed), 10.0 ** np.random.default_rng(seed).uniform(-6, 6, 5)
    assert rms_correlation(covariance=C * np.outer(d, d)) == pytest.approx(rms_correlation(covariance=C), rel=1e-9)


def test_silent_units_are_left_out():
    C = np.zeros((4, 4))
    C[:3, :3] = gaussian_covariance(3, 10.0)
    assert rms_correlation(covariance=C) == pytest.approx(rms_correlation(covariance=C[:3, :3]))
    C[3, 3] = 1e-34  # the rounding that is left of a constant unit
    assert rms_correlation(covariance=C) == pytest.approx(rms_correlation(covariance=C[:3, :3]))


@pytest.mark.parametrize("function", [rms_correlation, relative_off_diagonal])
@pytest.mark.parametrize("C", [[[1.0, 0.0], [0.0, 0.0]], np.zeros((3, 3)), [[2.0]], np.ones((4, 4))])
def test_fewer_than_two_units_have_no_correlation(function, C):
    assert np.isnan(function(covariance=C))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("function", [rms_correlation, relative_off_diagonal])
def test_copies_and_combinations_do_not_count(function, seed):
    C = gaussian_covariance(5, 30.0, seed)
    copies = np.vstack([np.eye(5), 1e3 * np.eye(5)[0], -np.eye(5)[2], np.zeros(5)])
    assert function(covariance=copies @ C @ copies.T) == pytest.approx(function(covariance=C), rel=1e-9)
    combined = np.vstack([np.eye(5), 3 * np.eye(5)[1] - 2 * np.eye(5)[4]])
    kept = null_directions(covariance=combined @ C @ combined.T).live
    assert len(kept) == 5
    chosen = combined[kept] @ C @ combined[kept].T
    assert function(covariance=combined @ C @ combined.T) == pytest.approx(function(covariance=chosen), rel=1e-12)


def test_the_units_that_count_may_be_given():
    C = gaussian_covariance(6, 50.0)
    assert rms_correlation(covariance=C, units=[4, 1, 3]) == pytest.approx(brute_force(C[np.ix_([1, 3, 4], [1, 3, 4])]))
    for bad in ([6], [-1], [0.5], [[1]], [True]):
        with pytest.raises(InputError, match="units must"):
            rms_correlation(covariance=C, units=bad)


def test_samples_of_constant_identical_and_dependent_units():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 3)) + [1e6, 0.0, -3.0]
    all_kinds = np.column_stack([X, np.full(300, 0.1), X[:, 0], 5 - X[:, 1]])
    for measure in (measures.rms_correlation, measures.relative_off_diagonal):
        assert measure(all_kinds) == pytest.approx(measure(X), rel=1e-6)
    constant = np.column_stack([X, np.where(np.arange(300) % 2, 0.3, 0.1 * 3)])  # two numbers, one rounding apart
    assert (measures.covariance(constant)[3] == 0).all()
    assert np.isnan(measures.rms_correlation(all_kinds[:, 3:4]))


def test_few_samples_make_no_unit_dependent():
    X = np.random.default_rng(0).standard_normal((20, 50))
    X[:, 7] = X[:, 3]
    full = brute_force(np.delete(np.delete(measures.covariance(X), 7, 0), 7, 1))
    assert measures.rms_correlation(X) == pytest.approx(full)
    assert null_directions(covariance=measures.covariance(X), samples=20).dependent == (7,)
    assert len(null_directions(covariance=measures.covariance(X)).dependent) == 31


def test_relative_off_diagonal_is_a_ratio_of_norms():
    C = gaussian_covariance(6, 50.0)
    D = np.diag(np.diag(C))
    assert relative_off_diagonal(covariance=C) == pytest.approx(np.linalg.norm(C - D) / np.linalg.norm(D), rel=1e-14)
    assert relative_off_diagonal(covariance=7.0 * C) == pytest.approx(relative_off_diagonal(covariance=C))


def test_power_is_the_mean_of_the_diagonal():
    assert power(covariance=gaussian_covariance(6, 50.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("function", [rms_correlation, relative_off_diagonal, power])
def test_what_is_no_covariance_is_refused(function):
    with pytest.raises(InputError, match=r"covariance must be a square matrix, \(n, n\); got shape \(3,\)"):
        function(covariance=np.ones(3))
    with pytest.raises(InputError, match=r"covariance must be finite.*; found inf at row 1, column 0"):
        function(covariance=[[1.0, 0.0], [np.inf, 1.0]])


@pytest.mark.parametrize("measure", [rms_correlation, relative_off_diagonal, null_directions, power])
def test_a_covariance_taken_for_samples_is_refused_and_samples_taken_for_a_covariance(measure):
    C, X = gaussian_covariance(6, 50.0), np.random.default_rng(0).standard_normal((6, 6))
    with pytest.raises(InputError, match="Use covariance=C"):
        measure(C)
    with pytest.raises(InputError, match="covariance must be symmetric"):
        measure(covariance=X)
    with pytest.raises(InputError, match="got neither"):
        measure()
    with pytest.raises(InputError, match="got both"):
        measure(X, covariance=C)


@pytest.mark.parametrize("measure", [rms_correlation, relative_off_diagonal, power])
def test_a_measure_of_samples_is_that_of_their_covariance(measure):
    X = np.random.default_rng(1).standard_normal((40, 5)) @ np.linalg.cholesky(gaussian_covariance(5, 20.0)).T
    assert measure(X) == pytest.approx(measure(covariance=np.cov(X.T, bias=True)), rel=1e-12)
