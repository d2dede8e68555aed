import numpy as np
import pytest
import scipy.linalg

from neurodecorr.circuit.propagators import Ladder, exponential_propagator, implicit_propagator


def integral_of_exponential(F, h):
    """∫₀ʰ e^(−Fσ) dσ as a block of one larger exponential."""
    n = len(F)
    block = np.zeros((2 * n, 2 * n))
    block[:n, :n], block[:n, n:] = -h * F, h * np.eye(n)
    return scipy.linalg.expm(block)[:n, n:]


@pytest.mark.parametrize("h", [1e-6, 1e-2, 0.3, 2.0, 30.0])
@pytest.mark.parametrize("kind", ["symmetric", "rotating", "non_normal"])
def test_exponential_propagator_is_the_integral_of_the_exponential(request, rng, kind, h):
    F = {
        "symmetric": lambda: request.getfixturevalue("symmetric")(rng, 8, 50.0),
        "rotating": lambda: request.getfixturevalue("rotating")(rng, 8, 1.2),
        "non_normal": lambda: request.getfixturevalue("non_normal")(rng, 8, 1.0),
    }[kind]()
    Q, reference = exponential_propagator(F, h), integral_of_exponential(F, h)
    assert np.abs(Q - reference).max() <= 1e-13 * np.abs(reference).max()


def test_exponential_propagator_of_a_vanishing_flow_is_the_step():
    assert np.array_equal(exponential_propagator(np.zeros((2, 2)), 0.5), 0.5 * np.eye(2))


def test_exponential_propagator_exists_for_unstable_and_singular_flows(rng):
    F = rng.standard_normal((6, 6))
    F[:, 0] = 0
    reference = integral_of_exponential(F, 1.5)
    assert np.abs(exponential_propagator(F, 1.5) - reference).max() <= 1e-13 * np.abs(reference).max()


@pytest.mark.parametrize("y", [1e-4, 0.5, 3.0, 1e6])
def test_implicit_propagator_is_the_stability_function_of_radau(y):
    # P(−y) = (1 − y/3)/(1 + 2y/3 + y²/6) and Q = (1 − P)/λ with h = 1, λ = y.
    P = (1 - y / 3) / (1 + 2 * y / 3 + y**2 / 6)
    assert implicit_propagator(np.array([[y]]), 1.0)[0, 0] * y == pytest.approx(1 - P, rel=1e-13)


def test_implicit_steps_are_stable_on_the_imaginary_axis_and_damp_infinity():
    for y in (0.1, 1.0, 10.0, 1e3):
        F = np.array([[0.0, -y], [y, 0.0]])
        E = np.eye(2) - F @ implicit_propagator(F, 1.0)
        assert np.linalg.norm(E, 2) <= 1 + 1e-12
    assert abs(1 - 1e9 * implicit_propagator(np.array([[1e9]]), 1.0)[0, 0]) <= 1e-8


def test_ladder_doubles_time(rng, rotating):
    F = rotating(rng, 8)
    ladder = Ladder(F, 0.05, np.float64)
    for level in range(8):
        reference = integral_of_exponential(F, 0.05 * 2**level)
        assert np.abs(ladder[level] - reference).max() <= 1e-13 * np.abs(reference).max()


def test_ladder_ends_where_the_inverse_is_reached(rng, symmetric):
    F = symmetric(rng, 8, 1e3)
    ladder, level = Ladder(F, 1e-2, np.float64), 0
    while ladder[level] is not None and not ladder.ends_at(level):
        level += 1
    assert np.abs(ladder[level] @ F - np.eye(8)).max() <= 1e-11
    # e^(−λ_min h) is rounding at h = 36; the next power of two reaches it, and one rung more shows that it is.
    assert 1e-2 * 2**level <= 4 * 36
