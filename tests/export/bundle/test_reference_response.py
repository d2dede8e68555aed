"""Golden stimulus and response."""

import numpy as np
import pytest
import scipy.linalg

from neurodecorr.circuit import Circuit
from neurodecorr.errors import StabilityError
from neurodecorr.export.bundle import reference_response

TAU = 0.02


def circuit(n=6, seed=0):
    rng = np.random.default_rng(seed)
    return Circuit(np.eye(n) + 0.4 * rng.standard_normal((n, n)) / np.sqrt(n), TAU), rng.standard_normal((3, n))


def test_the_time_course_is_the_closed_form():
    own, X = circuit()
    golden = reference_response(own, X)
    rest = np.linalg.solve(own.R, X[0])
    for t, xbar in zip(golden.times[::40], golden.course[::40], strict=True):
        # x̄(t) = x̄* − e^(−Rt/τ) x̄*; both sides carry some hundred roundings of size ε.
        np.testing.assert_allclose(xbar, rest - scipy.linalg.expm(-own.R * t / TAU) @ rest, rtol=0, atol=1e-12)


def test_the_certified_bound_holds_and_is_at_rounding():
    own, X = circuit()
    golden = reference_response(own, X)
    true = np.linalg.norm(golden.response - np.linalg.solve(own.R, X.T).T, axis=1)
    assert (true <= golden.bound + 1e-14).all()
    assert golden.bound.max() < 1e-12


def test_times_are_whole_numbers_of_dt_which_resolves_the_fastest_mode():
    own, X = circuit()
    golden = reference_response(own, X)
    fastest = TAU / np.abs(np.linalg.eigvals(own.R)).max()
    assert golden.dt_s <= fastest / 20
    whole = golden.times / golden.dt_s
    np.testing.assert_allclose(whole, np.rint(whole), rtol=1e-12)


def test_at_the_end_the_slowest_mode_has_decayed_to_one_in_ten_thousand():
    golden = reference_response(Circuit(np.diag([0.1, 1.0]), TAU), [1.0, 1.0])
    np.testing.assert_allclose(golden.course[-1], [10 * (1 - 1e-4), 1.0], rtol=1e-9)


def test_tau_in_seconds_scales_time_and_nothing_else():
    own, X = circuit()
    slow, fast = reference_response(own, X, tau_s=2.0), reference_response(own, X, tau_s=0.002)
    np.testing.assert_allclose(slow.times, 1000 * fast.times, rtol=1e-12)
    np.testing.assert_allclose(slow.course, fast.course, rtol=0, atol=1e-12)


def test_a_circuit_that_does_not_settle_has_no_golden_response():
    with pytest.raises(StabilityError, match="settle"):
        reference_response(Circuit([[1.0, 3.0], [3.0, 1.0]], TAU), [1.0, 1.0])
