import numpy as np
import pytest
import scipy.linalg

from neurodecorr.circuit import Circuit, TwoPopulationCircuit, integrate
from neurodecorr.circuit.bounds import Enclosure
from neurodecorr.circuit.krylov_trajectories import expand


def closed_form(circuit, X, t):
    """Return x̄(t) = (I − e^(−tR/τ)) R⁻¹x per time and sample, one matrix exponential per time."""
    rest = np.linalg.solve(circuit.R, X.T)
    return np.array([(rest - scipy.linalg.expm(-time / circuit.tau * circuit.R) @ rest).T for time in t])


def worst(found, exact):
    """Largest error of a frame over the largest activity, per sample."""
    return (np.linalg.norm(found - exact, axis=2).max(axis=0) / np.linalg.norm(exact, axis=2).max(axis=0)).max()


@pytest.mark.parametrize("condition", [4.0, 100.0, 1000.0])
@pytest.mark.parametrize("rtol", [1e-4, 1e-7, 1e-10])
def test_all_frames_of_one_basis_are_exact_to_the_tolerance(rng, symmetric, condition, rtol):
    circuit, X = Circuit(symmetric(rng, 60, condition), tau=3.0), rng.standard_normal((4, 60))
    times = np.linspace(0, 12, 23)
    found = integrate(circuit, X, 12.0, "chebyshev", times, rtol=rtol)
    assert worst(found.xbar, closed_form(circuit, X, times)) <= rtol
    assert (found.steps == 23).all()


def test_frames_are_free_and_the_default_tolerance_takes_few_products(rng, symmetric):
    circuit, x = Circuit(symmetric(rng, 60, 4.0)), rng.standard_normal(60)
    few, many = (integrate(circuit, x, 8.0, "auto", np.linspace(0, 8, k)) for k in (9, 201))
    assert few.products == many.products <= 20
    assert worst(many.xbar[:, None], closed_form(circuit, x[None], many.t)) <= 1e-7


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_mildly_non_normal_circuits_keep_the_tolerance_with_few_products(rng, symmetric, share):
    R = symmetric(rng, 60, 4.0) + share * rng.standard_normal((60, 60)) / np.sqrt(60)
    circuit, X, times = Circuit(R), rng.standard_normal((3, 60)), np.linspace(0.1, 8, 11)
    found = integrate(circuit, X, 8.0, "chebyshev", times)
    assert worst(found.xbar, closed_form(circuit, X, times)) <= 1e-7
    assert (found.products <= 40).all()


@pytest.mark.parametrize("kind", ["rotating", "non_normal"])
def test_circuits_far_from_real_keep_the_tolerance_by_whatever_way_is_taken(rng, request, kind):
    R = request.getfixturevalue(kind)(rng, 52, 1.2)
    circuit, X, times = Circuit(R), rng.standard_normal((3, 52)), np.linspace(0, 4, 9)
    found = integrate(circuit, X, 4.0, "auto", times)
    assert worst(found.xbar, closed_form(circuit, X, times)) <= 1e-7


def test_starting_activity_and_zero_input_enter_the_basis(rng, symmetric):
    circuit, x = Circuit(symmetric(rng, 60, 4.0)), rng.standard_normal(60)
    rest = np.linalg.solve(circuit.R, x)
    found = integrate(circuit, x, 2.0, "chebyshev", [0.0, 2.0], initial=rest + 1.0)
    assert np.allclose(found.xbar[0], rest + 1.0, rtol=1e-12)
    assert np.allclose(found.xbar[1] - rest, scipy.linalg.expm(-2 * circuit.R) @ np.ones(60), atol=1e-6)
    assert not integrate(circuit, 0 * x, 2.0, "chebyshev").xbar.any()


def test_single_precision_frames_are_good_to_its_rounding(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 60, 4.0).astype(np.float32)), rng.standard_normal((3, 60)).astype(np.float32)
    times = np.linspace(0, 8, 9)
    found = integrate(circuit, X, 8.0, "chebyshev", times)
    wide = Circuit(circuit.R.astype(float))
    assert found.xbar.dtype == np.float32
    assert worst(found.xbar, closed_form(wide, X.astype(float), times)) <= 2e-5


def test_two_population_and_unstable_circuits_have_no_real_basis_and_go_exactly(rng):
    R, x = rng.standard_normal((30, 30)), rng.standard_normal(30)
    pair, plain = TwoPopulationCircuit(R), Circuit(R)
    for circuit in (pair, plain):
        exact, found = (
            integrate(circuit, x, 2.0, method, [0.5, 2.0], allow_unstable=True) for method in ("exponential", "auto")
        )
        assert np.abs(exact.state - found.state).max() <= 1e-12 * np.abs(exact.state).max()


def test_expansion_refuses_a_field_that_rounding_would_swamp():
    assert expand(Enclosure(0.1, 100.0, 60.0), np.array([50.0]), 1e-7) is None
    assert expand(Enclosure(1.0, 4.0, 0.2), np.array([5.0]), 1e-7) is not None
    assert expand(Enclosure(1.0, 1e9, 0.0), np.array([1e3]), 1e-7) is None


def test_frames_by_doubling_are_those_by_marching(rng, rotating, non_normal):
    for R in (rotating(rng, 8, 0.8), non_normal(rng, 8, 1.0)):
        circuit, X = Circuit(R, tau=2.0), rng.standard_normal((5, 8))
        for times in (np.linspace(0, 6, 38), np.linspace(0, 6, 38)[1:], np.linspace(0, 6, 3)):
            found = integrate(circuit, X, 6.0, "exponential", times, initial=np.ones(8))
            rest = np.linalg.solve(R, X.T)
            exact = [(rest + scipy.linalg.expm(-t / 2 * R) @ (1 - rest)).T for t in times]
            assert np.abs(found.xbar - exact).max() <= 1e-13 * np.abs(exact).max()
