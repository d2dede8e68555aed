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
    with pytest.raises(InputError, match=r"covariance .*\(3,\)"):
        function(covariance=np.ones(3))
    with pytest.raises(InputError, match=r"covariance .*inf at row 1, column 0"):
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


def dependent(factor):
    """Units 0, 1, 2 free, 3 a copy of 1 at another scale, 4 silent, 5 a combination of 0 and 2."""
    maker = np.zeros((6, 3))
    maker[[0, 1, 2], [0, 1, 2]] = 1
    maker[3, 1], maker[5] = factor, [1.0, 0.0, -1.0]
    return maker @ gaussian_covariance(3, 10.0) @ maker.T


@pytest.mark.parametrize("factor", [1.0, -1.0, 1e-6, 1e6])
def test_silent_copied_and_combined_units_are_named(factor):
    found = null_directions(covariance=dependent(factor))
    assert found.silent == (4,)
    assert len(found.dependent) == 2
    assert set(found.involved) == {0, 1, 2, 3, 5}
    assert set(found.dependent) & {1, 3}
    assert set(found.dependent) & {0, 2, 5}
    assert len(found.live) == 3


def test_of_copies_the_first_stays():
    C = np.ones((4, 4))
    assert null_directions(covariance=C).dependent == (1, 2, 3)
    assert null_directions(covariance=C).live.tolist() == [0]


@pytest.mark.parametrize("factor", [1.0, 1e-6, 1e6])
def test_the_basis_spans_the_null_space(factor):
    C, found = dependent(factor), null_directions(covariance=dependent(factor))
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(3), atol=1e-12)
    assert np.abs(C @ found.basis).max() < 1e-12 * np.abs(C).max()
    np.testing.assert_allclose(found.projector @ found.basis, 0, atol=1e-12)


@pytest.mark.parametrize("spread", [1.0, 1e6, 1e10])
def test_a_weak_unit_is_no_null_direction(spread):
    size = np.geomspace(1, spread, 7)
    found = null_directions(covariance=gaussian_covariance(7, 1e6) * np.outer(size, size))
    assert not found
    assert found.basis.shape == (7, 0)
    assert found.live.tolist() == list(range(7))


def test_the_tolerance_is_relative_to_the_largest_eigenvalue_of_the_correlation_matrix():
    near = np.array([[1.0, 1 - 1e-6], [1 - 1e-6, 1.0]])  # eigenvalues 2 − 1e-6 and 1e-6
    assert not null_directions(covariance=near, tol=4e-7)
    assert null_directions(covariance=near, tol=6e-7).dependent == (1,)
    assert null_directions(covariance=np.eye(3)).tol == 1e-12


def test_it_says_how_many_and_which():
    assert str(null_directions(covariance=np.diag([1.0, 0.0, 2.0, 0.0]))) == (
        "2 of 4 units are silent (units 1, 3); they are left out"
    )
    assert "1 of 2 units follows from others (unit 1); it is left out" in str(
        null_directions(covariance=np.ones((2, 2)))
    )
    assert str(null_directions(covariance=np.eye(2))) == "all 2 units carry a signal of their own"
    assert "(units 1, 2, 3, 4, 5, 6, 7, 8 and 3 more)" in str(null_directions(covariance=np.diag([1.0] + [0.0] * 11)))


def test_nothing_but_silence():
    found = null_directions(covariance=np.zeros((3, 3)))
    assert found.silent == (0, 1, 2)
    np.testing.assert_array_equal(found.basis, np.eye(3))


def test_what_is_no_covariance_is_refused_nulls():
    for bad in (np.ones(3), np.full((2, 2), np.nan), "text"):
        with pytest.raises(InputError):
            null_directions(covariance=bad)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_moments_in_pieces_are_those_of_all_samples(offset):
    X = (
        np.random.default_rng(0).standard_normal((3000, 5)) @ np.linalg.cholesky(gaussian_covariance(5, 20.0)).T
        + offset
    )
    found = None
    for rows in np.split(X, [1, 2, 9, 2500]):
        found = measures.moments_of(rows, found)
    exact = X.astype(np.longdouble)
    exact -= exact.mean(axis=0)
    np.testing.assert_allclose(found.mean, X.mean(axis=0), rtol=0, atol=1e-12 + 1e-15 * offset)
    np.testing.assert_allclose(found.covariance(X), exact.T @ exact / 3000, rtol=0, atol=1e-13 * max(1.0, offset))
    assert found.samples == 3000


def test_one_factorisation_finds_what_null_directions_finds():
    C = gaussian_covariance(6, 50.0)
    weak = C * np.outer(d := np.array([1, 1, 1e-6, 1, 1, 1]), d)
    for sigma in (C, weak, np.diag([1.0, 2.0, 0.0]), np.ones((3, 3)), np.ones((2, 2)) + 1e-14 * np.eye(2)):
        before = sigma.copy()
        assert measures.full_rank(sigma) == (not null_directions(covariance=sigma))
        np.testing.assert_array_equal(sigma, before)
