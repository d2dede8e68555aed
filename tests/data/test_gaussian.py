"""Gaussian samples whose covariance is prescribed: identities to rounding, statistics within their standard error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import correlated_gaussian, gaussian_covariance
from neurodecorr.data.gaussian import matrix_root
from neurodecorr.errors import ConfigError


@settings(deadline=None)
@given(
    features=st.integers(2, 40), log_condition=st.floats(0, 5), seed=st.integers(0, 2**40), context=st.integers(0, 3)
)
def test_covariance_has_the_prescribed_condition_trace_and_spectrum(features, log_condition, seed, context):
    condition = 10**log_condition
    sigma = gaussian_covariance(features, condition, seed, context)
    eigenvalues = np.linalg.eigvalsh(sigma)
    # Rounding moves an eigenvalue by a few n · eps · λ_max, relative to λ_min by κ more: 40 · 2e-16 · 1e5 ≈ 1e-9.
    tolerance = 4 * features * np.finfo(float).eps * condition
    assert np.array_equal(sigma, sigma.T)
    assert np.trace(sigma) == pytest.approx(features, rel=1e-13)
    assert eigenvalues[-1] / eigenvalues[0] == pytest.approx(condition, rel=tolerance)
    steps = np.diff(np.log(eigenvalues))
    assert np.allclose(steps, np.log(condition) / (features - 1), atol=2 * tolerance)


def test_the_default_covariance_meets_its_condition_to_1e_10():
    eigenvalues = np.linalg.eigvalsh(gaussian_covariance())
    assert eigenvalues[-1] / eigenvalues[0] == pytest.approx(1e3, rel=1e-10)
    assert eigenvalues.sum() == pytest.approx(64, rel=1e-13)


def test_random_bases_give_the_reference_correlation():
    """Log-spaced spectrum, n = 64, κ = 1e3: rms off-diagonal correlation 0.190 before decorrelation."""
    rms = []
    for seed in range(5):
        sigma = gaussian_covariance(seed=seed)
        deviation = np.sqrt(np.diag(sigma))
        correlation = sigma / np.outer(deviation, deviation)
        rms.append(np.sqrt(np.mean(correlation[~np.eye(64, dtype=bool)] ** 2)))
    assert np.allclose(rms, 0.19, atol=0.01)


def test_bases_are_orthogonal_and_uniform():
    """For Haar measure on O(3), ⟨tr Q⟩ = 0 and ⟨(tr Q)²⟩ = 1; QR without fixed signs misses the first."""
    bases = np.array([matrix_root(3, 1.0, 5, context) for context in range(2000)])
    assert np.allclose(bases @ bases.transpose(0, 2, 1), np.eye(3), atol=1e-14)
    traces = np.trace(bases, axis1=1, axis2=2)
    for moment, expected in ((traces, 0), (traces**2, 1)):
        assert abs(moment.mean() - expected) < 5 * moment.std() / np.sqrt(len(moment))


@pytest.mark.parametrize(("features", "samples"), [(1, 2), (5, 6), (64, 65), (64, 2000)])
def test_exact_draws_have_the_prescribed_sample_covariance(features, samples):
    condition = 1e3 if features > 1 else 1.0
    x = correlated_gaussian(features, samples, condition, seed=2, exact=True).inputs
    # Orthonormal columns are exact to a few n · eps; the mean also carries the rounding of z divided by its smallest
    # singular value, about N^½ − n^½.
    assert np.allclose(
        x.T @ x / samples, gaussian_covariance(features, condition, seed=2), atol=1e-15 * features + 1e-14
    )
    assert np.abs(x.mean(axis=0)).max() < 1e-14 * features / (np.sqrt(samples) - np.sqrt(features))


def test_an_exact_draw_is_the_plain_draw_but_for_sampling_noise():
    plain, exact = (correlated_gaussian(8, 20_000, 10.0, seed=2, exact=flag).inputs for flag in (False, True))
    # Both are the same z up to its own sample mean and covariance, which are off by about (n/N)^½ = 0.02.
    assert np.sqrt(np.mean((plain - exact) ** 2)) < 3 * np.sqrt(8 / 20_000)


def test_draws_have_the_prescribed_covariance_within_their_standard_error():
    samples = 50_000
    x = correlated_gaussian(20, samples, 100.0, seed=3).inputs
    sigma = gaussian_covariance(20, 100.0, seed=3)
    variance = np.diag(sigma)
    # Isserlis: Var(x_i x_j) = Σ_ii Σ_jj + Σ_ij².
    z = (x.T @ x / samples - sigma) * np.sqrt(samples / (np.outer(variance, variance) + sigma**2))
    assert np.abs(z).max() < 5
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.3
    assert np.abs(x.mean(axis=0) * np.sqrt(samples / variance)).max() < 5


def test_another_draw_is_independent_data_with_the_same_covariance():
    first, again, other = (correlated_gaussian(4, 10_000, 10.0, seed=1, draw=draw).inputs for draw in (0, 0, 1))
    assert np.array_equal(first, again)
    correlation = np.corrcoef(first.T, other.T)[:4, 4:]
    assert np.abs(correlation).max() < 5 / np.sqrt(10_000)
    whitener = np.linalg.inv(matrix_root(4, 10.0, 1, 0))
    for x in (first, other):
        white = x @ whitener.T
        assert np.allclose(white.T @ white / 10_000, np.eye(4), atol=5 * np.sqrt(2 / 10_000))


def test_seed_and_context_choose_the_basis_and_samples_do_not():
    sigma = gaussian_covariance(6, 50.0, seed=0)
    assert np.array_equal(sigma, gaussian_covariance(6, 50.0, seed=0, context=0))
    for other in (gaussian_covariance(6, 50.0, seed=1), gaussian_covariance(6, 50.0, seed=0, context=1)):
        assert not np.allclose(sigma, other, atol=1e-3)
    for samples in (50, 70):
        x = correlated_gaussian(6, samples, 50.0, seed=0, exact=True).inputs
        assert np.allclose(x.T @ x / samples, sigma, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"condition": 0.5}, "condition must lie between 1 and 1e.14.*got 0.5"),
        ({"condition": -3}, "condition must lie"),
        ({"condition": 1e15}, "condition must lie"),
        ({"condition": float("nan")}, "condition must be a finite number"),
        ({"condition": "high"}, "condition must be a number"),
        ({"features": 0}, "features must be a whole number ≥ 1"),
        ({"features": 1}, "condition must be 1 for a single feature"),
        ({"samples": -1}, "samples must be a whole number ≥ 1; got -1"),
        ({"seed": 1.5}, "seed must be a whole number ≥ 0"),
        ({"seed": -1}, "seed must be a whole number ≥ 0"),
        ({"draw": -1}, "draw must be a whole number ≥ 0"),
        ({"samples": 64, "exact": True}, "exact needs more samples than the 64 features; got 64"),
    ],
)
def test_gaussian_refuses(arguments, message):
    with pytest.raises(ConfigError, match=message):
        correlated_gaussian(**arguments)
