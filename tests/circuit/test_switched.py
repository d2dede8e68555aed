"""Exact walks under an input that switches: every way to take a step against matrix exponentials."""

import numpy as np
import pytest
import scipy.linalg

from neurodecorr.circuit import Circuit, PiecewiseConstant, TwoPopulationCircuit, inputs, integrate
from neurodecorr.circuit.inputs import events, plan


def by_hand(A, rates, switches, U, times):
    """Return states (times, samples, N) from z = 0: rest state and one exponential per stretch, as one would write."""
    F, frames = rates[:, None] * A, []
    for t in times:
        z = np.zeros(U.shape[1:])
        for k, begin in enumerate(switches):
            end = min(t, switches[k + 1] if k + 1 < len(switches) else np.inf)
            if end > begin:
                rest = np.linalg.solve(A, U[k].T).T
                z = rest + (z - rest) @ scipy.linalg.expm(-(end - begin) * F).T
        frames.append(z)
    return np.array(frames)


@pytest.fixture
def circuit(rng):
    return Circuit(np.eye(6) + 0.4 * rng.standard_normal((6, 6)) / np.sqrt(6), tau=2.0)


@pytest.mark.parametrize("spacing", ["equal", "random", "mixed"])
@pytest.mark.parametrize("compiled", [True, False])
def test_walks_are_exact_for_repeated_and_for_single_durations(circuit, rng, monkeypatch, spacing, compiled):
    if not compiled:
        monkeypatch.setattr(inputs, "COMPILED", 0)
    switches = {
        "equal": 0.75 * np.arange(12),
        "random": np.append(0, np.sort(rng.uniform(0, 9, 11))),
        "mixed": np.append(0.25 * np.arange(8), [2.1, 4.0, 4.00001, 8.9]),
    }[spacing]
    times = np.sort(np.append(rng.uniform(0, 9, 5), [0.0, 2.25, 9.0]))
    values = rng.standard_normal((12, 3, 6))
    found = integrate(circuit, PiecewiseConstant(switches, values), 9.0, "exponential", times)
    exact = by_hand(circuit.R, np.ones(6), switches / 2, values, times / 2)
    # A grain of the times, 8 ε of the last, and the rounding of some ten products.
    assert np.abs(found.xbar - exact).max() <= 3e-14 * np.abs(exact).max()


def test_two_populations_walk_with_their_own_rates(rng):
    pair = TwoPopulationCircuit(rng.standard_normal((3, 3)), 1.0, 0.3)
    switches, values = np.array([0.0, 0.4, 1.7]), rng.standard_normal((3, 3))
    found = integrate(pair, PiecewiseConstant(switches, values), 3.0, "auto", [1.0, 3.0])
    U = np.concatenate([np.zeros((3, 1, 3)), values[:, None]], axis=2)
    exact = by_hand(pair.matrix, pair.rates, switches, U, [1.0, 3.0])[:, 0]
    assert np.abs(found.state - exact).max() <= 1e-13 * np.abs(exact).max()


def test_each_repeated_duration_has_one_propagator_and_single_ones_share_rungs(rng):
    F = np.eye(40) + 0.1 * rng.standard_normal((40, 40))
    equal, single = np.full(100, 0.3), rng.uniform(0.1, 5, 100)
    assert len(plan(F, equal, 30.0).Q) == 1
    assert len(plan(F, 0.3 + 1e-16 * np.arange(100), 30.0).Q) == 1
    shared = plan(F, single, 300.0)
    assert len(shared.Q) <= 10 and (shared.rest > 0).all()
    assert len(plan(F, np.append(equal, single), 330.0).Q) <= 11
    # A propagator of few units costs less than a walk by rungs.
    assert len(plan(F[:2, :2], single, 300.0).Q) == 100


def test_steps_add_up_to_every_requested_time(rng):
    switches, s = np.array([0.0, 1.0, 2.5, 7.0]), np.array([0.0, 1.0, 1.5, 4.0])
    course = events(switches, s)
    ends = np.cumsum(course.steps)
    assert np.array_equal(ends[course.frame >= 0], s)
    assert course.piece.tolist() == [0, 0, 1, 1, 2]
    assert course.frame.tolist() == [0, 1, 2, -1, 3]


def test_rest_stays_to_the_bit_through_all_pieces():
    circuit = Circuit([[2.0, 0.5], [0.25, 1.0]])
    x = PiecewiseConstant([0.0, 0.3, 1.0], [[1.0, -1.75]] * 3)
    found = integrate(circuit, x, 3.0, "exponential", initial=[1.0, -2.0])
    assert np.array_equal(found.xbar, np.tile([1.0, -2.0], (101, 1)))


@pytest.mark.parametrize("method", ["auto", "chebyshev", "arnoldi"])
def test_large_circuits_share_one_expansion_and_agree_with_propagators(rng, symmetric, method):
    circuit, values = Circuit(symmetric(rng, 80, 4.0)), rng.standard_normal((6, 2, 80))
    x, times = PiecewiseConstant(0.5 * np.arange(6), values), [0.0, 0.2, 1.0, 3.0]
    exact = integrate(circuit, x, 3.0, "exponential", times)
    found = integrate(circuit, x, 3.0, method, times)
    assert np.abs(found.xbar - exact.xbar).max() <= 1e-6 * np.abs(exact.xbar).max()


def test_thousands_of_trajectories_are_their_samples(rng, symmetric):
    for size, samples in ((16, 3000), (64, 300)):
        circuit, X = Circuit(symmetric(rng, size, 4.0)), rng.standard_normal((samples, size))
        found = integrate(circuit, X, 5.0, "auto", np.linspace(0, 5, 40))
        exact = by_hand(circuit.R, np.ones(size), [0.0], X[None, ::97], found.t)
        assert np.abs(found.xbar[:, ::97] - exact).max() <= 3e-7 * np.abs(exact).max()
