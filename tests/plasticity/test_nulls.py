"""Which directions carry no signal, and which units they take part in."""

import numpy as np
import pytest

from neurodecorr.data import gaussian_covariance
from neurodecorr.errors import InputError
from neurodecorr.measures import null_directions


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


def test_what_is_no_covariance_is_refused():
    for bad in (np.ones(3), np.full((2, 2), np.nan), "text"):
        with pytest.raises(InputError):
            null_directions(covariance=bad)
