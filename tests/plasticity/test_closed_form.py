"""The decorrelating matrix in closed form, and whitening."""

import numpy as np
import pytest

from neurodecorr.data import gaussian_covariance
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.plasticity import decorrelating_matrix, whitening_matrix


def covariance(n=9, seed=0):
    scale = np.diag(np.geomspace(0.3, 3.0, n))
    return scale @ gaussian_covariance(n, 50.0, seed=seed) @ scale


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gain", ["node", "layer"])
def test_it_is_the_symmetric_positive_matrix_that_decorrelates_and_keeps_the_power(gain, seed):
    sigma = covariance(seed=seed)
    M = decorrelating_matrix(sigma, gain)
    gamma = np.diag(np.diag(sigma)) if gain == "node" else np.trace(sigma) / 9 * np.eye(9)
    np.testing.assert_array_equal(M, M.T)
    assert np.linalg.eigvalsh(M)[0] > 0
    np.testing.assert_allclose(M @ sigma @ M, gamma, rtol=0, atol=1e-11 * np.trace(sigma))


def test_node_gain_does_not_depend_on_units_of_measurement():
    sigma, d = covariance(), 10.0 ** np.arange(-4, 5)
    for factor in (1e-12, 1.0, 1e12):
        np.testing.assert_allclose(decorrelating_matrix(factor * sigma), decorrelating_matrix(sigma), rtol=1e-9)
    M = decorrelating_matrix(np.diag(d))
    np.testing.assert_allclose(M, np.eye(9), atol=1e-9)  # uncorrelated inputs are left alone, whatever their scales


def test_whitening_whitens():
    sigma = covariance()
    for kind in ("zca", "pca"):
        W = whitening_matrix(sigma, kind)
        np.testing.assert_allclose(W @ sigma @ W.T, np.eye(9), atol=1e-11)
    np.testing.assert_allclose(whitening_matrix(sigma), whitening_matrix(sigma).T, atol=1e-12)


def test_principal_components_come_strongest_first():
    W = whitening_matrix(np.diag([1.0, 100.0]), "pca")
    np.testing.assert_allclose(np.abs(W), [[0.0, 0.1], [1.0, 0.0]], atol=1e-15)


def test_a_singular_covariance_gives_a_bounded_matrix():
    sigma = np.ones((3, 3))
    M = decorrelating_matrix(sigma, "layer", ridge=1e-6)
    assert np.abs(M).max() <= 1e3 * (1 + 1e-9)
    assert np.isfinite(decorrelating_matrix(sigma)).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((2, 3)), r"covariance must be a square matrix, \(n, n\); got shape \(2, 3\)"),
        (np.array([[1.0, 0.5], [0.2, 1.0]]), "must be symmetric; got a matrix that differs from its transpose"),
        (np.zeros((2, 2)), "must have positive trace; got an input without power"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "covariance must be finite.*; found nan at row 0, column 1"),
        (np.eye(2) * 1j, "covariance must hold real numbers; got complex data"),
    ],
)
def test_bad_covariances_are_refused(given, message):
    for function in (decorrelating_matrix, whitening_matrix):
        with pytest.raises(InputError, match=message):
            function(given)


def test_bad_options_are_refused():
    with pytest.raises(ConfigError, match=r"gain must be one of 'node', 'layer'; got 'nod'. Did you mean 'node'\?"):
        decorrelating_matrix(np.eye(2), "nod")
    with pytest.raises(ConfigError, match=r"kind must be one of 'zca', 'pca'; got 'pcs'. Did you mean 'pca'\?"):
        whitening_matrix(np.eye(2), "pcs")
    with pytest.raises(ConfigError, match="ridge must be > 0; got 0"):
        decorrelating_matrix(np.eye(2), ridge=0)
