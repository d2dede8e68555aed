"""What "auto" takes is what is forecast to cost least, forecasts are near the counts, and it settles where any does."""

import warnings

import numpy as np
import pytest
import scipy.sparse

from neurodecorr.circuit import Circuit, Settler, SparseCircuit, TwoPopulationCircuit, settle
from neurodecorr.circuit.settle import WORTH, cheapest, chosen, expected_reduction, forecasts
from neurodecorr.errors import IllConditionedWarning

CONDITIONS = (1e1, 1e3, 1e5, 1e8, 1e10, 1e11, 1e12)
SIMULATED = ("chebyshev", "exponential")
# A forecast of Chebyshev's products is an upper bound of a reduction that the samples need not have all of; that of
# exact steps looks up to the next power of two.
FACTOR = 3.0


@pytest.fixture(autouse=True)
def no_warnings_of_condition():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        yield


def scaled_rotation(rng, n, condition, angle):
    """Normal, eigenvalues of modulus 1/condition … 1, up to `angle` from the real axis."""
    R = np.zeros((n, n))
    for k, size in enumerate(np.geomspace(1 / condition, 1, n // 2)):
        phi = angle * rng.uniform(-1, 1)
        R[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = size * np.array(
            [[np.cos(phi), -np.sin(phi)], [np.sin(phi), np.cos(phi)]]
        )
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return Q @ R @ Q.T


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2])
def test_auto_settles_wherever_a_method_does_and_within_its_forecast(rng, condition, angle):
    for n, samples in ((4, 1), (12, 40)):
        R = scaled_rotation(rng, n, condition, angle)
        circuit = Circuit((R + R.T) / 2 if angle == 0 else R)
        X = rng.standard_normal((samples, n)) @ circuit.R.T
        for tol in (1e-6, 1e-3):
            found = settle(circuit, X, tol, relative=True)
            factor = expected_reduction(circuit, X, 0 * X, tol, True)
            forecast = forecasts(circuit, samples, factor)
            assert found.method == cheapest(circuit, samples, factor, 1_000_000)
            assert forecast[found.method][0] <= WORTH * min(cost for cost, _ in forecast.values())
            assert found.products.max() <= FACTOR * forecast[found.method][0]
            others = [m for m in ("exponential", "implicit", "direct") if m != found.method]
            others += ["chebyshev"] * (condition < 1e9)
            for method in others:
                # At the very edge of precision it is rounding that decides, not the method.
                settled = settle(circuit, X, tol / 10, relative=True, method=method).settled
                assert (found.settled | ~settled).all(), (n, tol, method)


def test_ill_conditioned_circuits_take_tens_of_products(rng, symmetric):
    for condition in (1e11, 1e12):
        R = symmetric(rng, 6, condition) / condition
        circuit, x = Circuit((R + R.T) / 2), R @ rng.standard_normal(6)
        found = settle(circuit, x, 1e-3, relative=True)
        assert found.settled and found.products <= 100 and found.method == "exponential"
        xbar, bound = Settler(circuit, 1e-3, relative=True)(x)
        assert bound <= 1e-3 * (np.linalg.norm(xbar) - bound)


def test_forecasts_of_both_methods_are_near_their_counts(rng, symmetric):
    for condition in (3.0, 30.0, 1e3, 1e4):
        circuit, X = Circuit(symmetric(rng, 8, condition)), rng.standard_normal((500, 8))
        forecast = forecasts(circuit, 500, expected_reduction(circuit, X, 0 * X, 1e-6, False))
        for method in SIMULATED:
            counted = settle(circuit, X, 1e-6, method=method).products.max()
            assert counted / FACTOR <= forecast[method][0] <= FACTOR * counted


def test_more_samples_share_the_propagators(rng, symmetric):
    circuit = Circuit(symmetric(rng, 40, 1e3))
    one, many = (forecasts(circuit, samples, 1e6) for samples in (1, 1000))
    assert one["chebyshev"] == many["chebyshev"] and one["exponential"][0] > 5 * many["exponential"][0]
    assert chosen(one, np.inf) == "chebyshev" and chosen(many, np.inf) == "exponential"
    # A batch is its samples one by one, as long as that does not cost many times as much.
    assert cheapest(circuit, 1, 1e6, np.inf) == "chebyshev" and cheapest(circuit, 1000, 1e6, np.inf) == "exponential"
    near = Circuit(symmetric(rng, 40, 30.0))
    assert {cheapest(near, samples, 1e6, np.inf) for samples in (1, 10, 1000)} == {"chebyshev"}


def test_a_limit_on_steps_takes_the_method_that_keeps_it():
    forecast = {"chebyshev": (500.0, 500.0), "exponential": (50.0, 900.0)}
    assert [chosen(forecast, most) for most in (1000, 600, 100)] == ["exponential", "chebyshev", "chebyshev"]


def test_growing_circuits_take_exact_steps(non_normal, rng):
    circuit = Circuit(non_normal(rng, 8, 5.0))
    assert np.isinf(forecasts(circuit, 1, 1e6)["chebyshev"][0])
    assert settle(circuit, rng.standard_normal(8)).method == "exponential"


@pytest.mark.parametrize("condition", CONDITIONS)
def test_sparse_and_two_population_circuits_settle_at_any_condition(rng, symmetric, condition):
    R = symmetric(rng, 12, condition) / condition
    x = R @ rng.standard_normal(12)
    sparse = SparseCircuit(scipy.sparse.csr_array(R))
    found = settle(sparse, x, 1e-3, relative=True)
    assert found.settled and found.products <= 1000
    for method in ("bicgstab", "gmres"):
        other = settle(sparse, x, 1e-6, relative=True, method=method, max_steps=2000)
        assert settle(sparse, x, 1e-6, relative=True).settled or not other.settled
    if condition <= 1e6:  # theirs is the square
        assert settle(TwoPopulationCircuit(R), x, 1e-3, relative=True).settled


def test_a_circuit_without_a_bound_of_its_least_singular_value_certifies_nothing():
    circuit = Circuit(np.diag(np.geomspace(1.1e-15, 1.0, 8)))
    assert circuit.spectrum.sigma_low <= 0
    for method in ("auto", "direct", "chebyshev"):
        assert np.isinf(Settler(circuit, 1e-3, method=method)(np.ones(8))[1])
    assert np.isinf(settle(circuit, np.ones(8)).bound)
