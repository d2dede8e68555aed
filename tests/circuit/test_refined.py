import numpy as np
import pytest

from neurodecorr.circuit import Circuit, settle
from neurodecorr.circuit.bounds import coercivity, enclosure


@pytest.mark.parametrize("scale", [1e-100, 1e100])
@pytest.mark.parametrize("samples", [1, 5])
def test_scales_that_float32_cannot_hold_are_served(rng, symmetric, scale, samples):
    circuit, X = Circuit(symmetric(rng, 100, 10.0)), rng.standard_normal((samples, 100))
    found = settle(circuit, X * scale, relative=True)
    rest = np.linalg.solve(circuit.R, X.T).T
    assert found.settled.all()
    assert (np.linalg.norm(found.xbar / scale - rest, axis=1) <= 1e-6 * np.linalg.norm(rest, axis=1)).all()


@pytest.mark.parametrize("samples", [2, 30])
def test_samples_of_different_size_leave_the_batch_when_they_are_done(rng, symmetric, samples):
    circuit = Circuit(symmetric(rng, 100, 30.0))
    X = rng.standard_normal((samples, 100)) * np.geomspace(1e-3, 1e3, samples)[:, None]
    found = settle(circuit, X, 1e-7, method="chebyshev")
    assert found.settled.all() and (found.bound <= 1e-7).all()
    assert found.steps[0] < found.steps[-1] - 20
    assert (found.products >= found.steps).all()


def test_starts_near_rest_and_rotating_circuits_and_rates_are_served(rng, rotating):
    R = rotating(rng, 100, 0.3) + 2 * np.eye(100)
    X = rng.standard_normal((6, 100))
    rest = np.linalg.solve(R, X.T).T
    for rows in (slice(0, 1), slice(None)):
        near = settle(Circuit(R), X[rows], 1e-9, initial=rest[rows] + 1e-6, method="chebyshev")
        far = settle(Circuit(R), X[rows], 1e-9, method="chebyshev")
        assert near.settled.all() and far.settled.all() and (near.products < far.products).all()
        assert np.abs(far.xbar - rest[rows]).max() <= 1e-9
        same = settle(Circuit(R), X[rows], 1e-6, initial=rest[rows], method="chebyshev")
        assert (same.steps == 0).all() and (same.products == 1).all()
    both = Circuit(np.eye(60) + 0.1 * rng.standard_normal((60, 60)) / 8).two_population(0.5)
    found = settle(both, X[:, :60], 1e-9, method="chebyshev")
    assert found.settled.all() and np.abs(X[:, :60] - found.xbar @ both.R.T).max() <= 1e-8


def test_tolerances_below_rounding_end_with_their_name(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 100, 30.0)), rng.standard_normal((8, 100))
    for rows in (slice(0, 1), slice(None)):
        found = settle(circuit, X[rows], 1e-18, method="chebyshev")
        assert (found.outcome == "precision").all() and (found.bound < 1e-11).all()


@pytest.mark.parametrize("method", ["chebyshev", "direct"])
@pytest.mark.parametrize("n", [20, 150])
def test_single_precision_proves_one_in_a_million_at_every_condition(rng, symmetric, method, n):
    # Float32 alone would end at κ · 2⁻²⁴; the end of a float64 state rounds by 2⁻²⁴ of its norm whatever κ.
    R, X = symmetric(rng, n, 1000.0).astype(np.float32), rng.standard_normal((7, n)).astype(np.float32)
    found = settle(Circuit(R), X, 1e-6, relative=True, method=method)
    rest = np.linalg.solve(R.astype(float), X.T.astype(float)).T
    assert found.xbar.dtype == np.float32 and found.settled.all()
    assert (np.linalg.norm(found.xbar - rest, axis=1) <= found.bound).all()
    assert (found.bound <= 1e-6 * np.linalg.norm(rest, axis=1)).all()
    gap = np.linalg.norm(X - found.xbar.astype(float) @ R.astype(float).T, axis=1)
    assert (gap <= found.residual).all()


def test_steep_spectra_are_enclosed_too(rng, symmetric):
    # Lanczos steps on S alone miss λ_min of 400 units at κ = 1000 by far more; solves with its factor do not.
    F = symmetric(rng, 400, 1000.0)
    values, found = np.linalg.eigvalsh(F), enclosure(F, True, coercivity(F, True, np.linalg.norm(F)))
    assert 0.5 * values[0] <= found.low <= values[0]
    assert 0.9 * values[-1] <= found.high <= 1.03 * values[-1]
