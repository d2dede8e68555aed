"""The decorrelating matrix in closed form, and whitening."""

import numpy as np
import pytest

from neurodecorr import measures
from neurodecorr.data import gaussian_covariance, load_inputs
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.measures import covariance as covariance_of
from neurodecorr.measures import null_directions
from neurodecorr.plasticity import decorrelating_circuit, decorrelating_matrix, whitening_matrix


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


def singular(spread=1.0):
    """Samples of four independent units, then: one constant, a copy, a weak copy, a combination."""
    rng = np.random.default_rng(3)
    free = rng.standard_normal((400, 4)) @ rng.standard_normal((4, 4)) * [1.0, spread, 1.0, 1.0]
    return np.column_stack([free, np.full(400, 7.3), free[:, 0], -1e-3 * free[:, 1], free[:, 2] + 2 * free[:, 3]])


def test_two_identical_units_share_one_direction():
    np.testing.assert_allclose(decorrelating_matrix(np.ones((2, 2))), np.full((2, 2), 0.125**0.5), rtol=1e-12)
    np.testing.assert_allclose(whitening_matrix(np.ones((2, 2))), np.full((2, 2), 0.125**0.5), rtol=1e-12)


@pytest.mark.parametrize("spread", [1.0, 1e3])
@pytest.mark.parametrize("gain", ["node", "layer"])
def test_it_is_zero_on_null_directions_and_decorrelates_the_others(gain, spread):
    sigma = covariance_of(singular(spread))
    M, null = decorrelating_matrix(sigma, gain), null_directions(covariance=sigma)
    size = np.sqrt(np.diag(sigma).max())
    gamma = np.diag(np.diag(sigma)) if gain == "node" else np.trace(sigma) / 8 * np.eye(8)
    np.testing.assert_array_equal(M, M.T)
    assert np.abs(M @ null.basis).max() < 1e-10 * np.linalg.norm(M, 2)
    np.testing.assert_allclose(M @ sigma @ M, null.projector @ gamma @ null.projector, rtol=0, atol=1e-10 * size**2)
    values = np.linalg.eigvalsh(M)
    assert (values > 1e-9 * values[-1]).sum() == 4
    assert (M[4] == 0).all()
    assert (M[:, 4] == 0).all()


@pytest.mark.parametrize("kind", ["zca", "pca"])
def test_whitening_leaves_null_directions_out(kind):
    sigma = covariance_of(singular())
    W, null = whitening_matrix(sigma, kind), null_directions(covariance=sigma)
    expected = null.projector if kind == "zca" else np.diag([1.0] * 4 + [0.0] * 4)
    np.testing.assert_allclose(W @ sigma @ W.T, expected, atol=1e-9)


@pytest.mark.parametrize("gain", ["node", "layer"])
def test_the_circuit_of_the_closed_form_is_stable_and_rests_at_M_x(gain):
    X = singular()
    X -= X.mean(axis=0)
    sigma = covariance_of(X)
    R, M = decorrelating_circuit(sigma, gain), decorrelating_matrix(sigma, gain)
    np.testing.assert_array_equal(R, R.T)
    assert np.linalg.eigvalsh(R)[0] > 0
    np.testing.assert_allclose(np.linalg.solve(R, X.T).T, X @ M.T, atol=1e-9 * np.abs(X).max())
    np.testing.assert_allclose(R @ M, null_directions(covariance=sigma).projector, atol=1e-9)
    regular = covariance()
    np.testing.assert_allclose(
        decorrelating_circuit(regular, gain) @ decorrelating_matrix(regular, gain), np.eye(9), atol=1e-12
    )


@pytest.mark.parametrize("spread", [1e3, 1e6, 1e9])
def test_weak_units_beside_strong_ones_are_decorrelated_to_rounding_of_their_own_power(spread):
    correlation = gaussian_covariance(12, 1e3, seed=2)
    size = np.random.default_rng(0).permutation(np.geomspace(1, spread, 12))
    sigma = correlation * np.outer(size, size)
    assert not null_directions(covariance=sigma)
    for gain in ("node", "layer"):
        C = decorrelating_matrix(sigma, gain) @ sigma @ decorrelating_matrix(sigma, gain)
        power = np.diag(sigma) if gain == "node" else np.full(12, np.trace(sigma) / 12)
        np.testing.assert_allclose(C / np.sqrt(np.outer(power, power)), np.eye(12), atol=1e-8)


def test_a_dead_channel_leaves_the_closed_form_as_good_as_without_it():
    X = np.random.default_rng(1).standard_normal((500, 8)) @ np.random.default_rng(2).standard_normal((8, 8))
    X[:, 3] = 0.1
    rest = np.delete(X, 3, axis=1)
    M, smaller = decorrelating_matrix(covariance_of(X)), decorrelating_matrix(covariance_of(rest))
    np.testing.assert_allclose(np.delete(np.delete(M, 3, 0), 3, 1), smaller, atol=1e-12)
    assert measures.rms_correlation(X @ M.T) < 1e-12


def test_silent_pixels_of_digits_are_left_out():
    X = load_inputs("digits").inputs
    sigma = covariance_of(X)
    M, R = decorrelating_matrix(sigma), decorrelating_circuit(sigma)
    assert null_directions(covariance=sigma).silent == (0, 32, 39)
    assert measures.rms_correlation(X @ M.T) < 1e-10
    assert np.linalg.eigvalsh(R)[0] > 0.01


def test_single_precision_knows_its_own_null_directions():
    sigma = covariance_of(singular()).astype(np.float32)
    M = decorrelating_matrix(sigma)
    assert M.dtype == np.float32
    assert len(null_directions(covariance=sigma).dependent) == 3
    assert np.abs(M).max() < 1e2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((2, 3)), r"covariance must be a square matrix, \(n, n\); got shape \(2, 3\)"),
        (np.array([[1.0, 0.5], [0.2, 1.0]]), "must be symmetric; got one that is off by"),
        (np.zeros((2, 2)), "must have positive trace, the power of the input; got 0"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "covariance must be finite.*; found nan at row 0, column 1"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "must be positive semidefinite; .* eigenvalue -1"),
        (np.eye(2) * 1j, "covariance must hold real numbers; got complex data"),
    ],
)
def test_bad_covariances_are_refused(given, message):
    for function in (decorrelating_matrix, decorrelating_circuit, whitening_matrix):
        with pytest.raises(InputError, match=message):
            function(given)


def test_bad_options_are_refused():
    with pytest.raises(ConfigError, match=r"gain .*'nod'.* 'node'\?"):
        decorrelating_matrix(np.eye(2), "nod")
    with pytest.raises(ConfigError, match=r"kind .*'pcs'.* 'pca'\?"):
        whitening_matrix(np.eye(2), "pcs")
    for tol in (0, 1, -1e-3, np.nan, "small"):
        with pytest.raises(ConfigError, match="tol must"):
            decorrelating_matrix(np.eye(2), tol=tol)
