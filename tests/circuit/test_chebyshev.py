import numpy as np
import pytest
import scipy.sparse

from neurodecorr.circuit import Circuit, SparseCircuit, settle
from neurodecorr.circuit.bounds import Ellipse, enclosing_ellipse
from neurodecorr.circuit.chebyshev import chebyshev_schedule, count_of_schedule, schedule_time
from neurodecorr.errors import ConfigError


@pytest.mark.parametrize("condition", [4.0, 100.0, 1000.0])
def test_products_are_the_fewest_that_a_real_spectrum_allows(rng, symmetric, condition):
    # ε against the certified bound at the start, ‖x‖/σ_min: at most ½√κ ln(2/ε), rounded up.
    circuit, X = Circuit(symmetric(rng, 64, condition)), rng.standard_normal((50, 64))
    found = settle(circuit, X, tol=1e-6, method="chebyshev")
    epsilon = 1e-6 / np.linalg.norm(X, axis=1)
    assert found.settled.all()
    assert (found.products <= np.ceil(np.sqrt(condition) / 2 * np.log(2 / epsilon))).all()


@pytest.mark.parametrize("condition", [4.0, 100.0, 1000.0])
def test_products_to_one_millionth_of_the_rest_state_are_within_15_percent_of_the_least(rng, symmetric, condition):
    circuit, X = Circuit(symmetric(rng, 64, condition)), rng.standard_normal((50, 64))
    found = settle(circuit, X, tol=1e-6, relative=True, method="chebyshev")
    assert found.settled.all()
    assert found.products.max() <= 1.15 * np.sqrt(condition) / 2 * np.log(2e6)


@pytest.mark.parametrize("condition", [4.0, 100.0, 1000.0])
def test_recurrence_is_euler_with_scheduled_steps(rng, symmetric, condition):
    R, x = symmetric(rng, 12, condition), rng.standard_normal(12)
    found = settle(Circuit(R), x, tol=1e-8, method="chebyshev")
    xbar = np.zeros(12)
    schedule = chebyshev_schedule(int(found.steps), 1.0, condition)
    for dt in schedule:
        xbar = xbar + dt * (x - R @ xbar)
    assert np.abs(xbar - found.xbar).max() <= 1e-11
    assert found.time == pytest.approx(schedule.sum(), rel=1e-9)


def test_ordered_schedule_survives_rounding_where_the_sorted_one_does_not(rng, symmetric):
    R, rest = symmetric(rng, 12, 1000.0), rng.standard_normal(12)
    schedule = chebyshev_schedule(230, 1.0, 1000.0)
    errors = []
    for order in (schedule, np.sort(schedule)):
        xbar = np.zeros(12)
        for dt in order:
            xbar = xbar + dt * (R @ rest - R @ xbar)
        errors.append(np.linalg.norm(xbar - rest) / np.linalg.norm(rest))
    assert errors[0] <= 1e-6
    assert errors[1] > 1


def test_schedule_time_has_its_closed_form():
    for low, high in ((1.0, 1.0), (0.5, 2.0), (0.01, 10.0)):
        ellipse = enclosing_ellipse(np.array([low, high], complex))
        for m in (1, 2, 7, 50):
            assert schedule_time(ellipse, m) == pytest.approx(chebyshev_schedule(m, low, high).sum(), rel=1e-10)


def test_count_of_a_schedule_is_the_largest_that_fits():
    ellipse = enclosing_ellipse(np.array([0.01, 10.0], complex))
    for t_max in (0.05, 0.3, 5.0, 200.0):
        m = count_of_schedule(ellipse, t_max, 10_000)
        assert schedule_time(ellipse, m) <= t_max * (1 + 1e-9) < schedule_time(ellipse, m + 1)
    assert count_of_schedule(ellipse, np.inf, 77) == 77


def test_ellipse_of_a_real_spectrum_is_its_interval():
    found = enclosing_ellipse(np.array([1.0, 3.0, 9.0], complex))
    assert (found.centre, found.focus) == (5.0, 4.0)
    assert found.factor == pytest.approx((np.sqrt(9) - 1) / (np.sqrt(9) + 1), rel=1e-12)


def test_ellipse_of_a_disc_is_a_circle():
    disc = 2 + np.exp(2j * np.pi * np.arange(64) / 64)
    found = enclosing_ellipse(disc)
    assert found.factor == pytest.approx(0.5, abs=2e-3)


def test_no_other_ellipse_with_real_foci_is_faster(rng):
    from neurodecorr.circuit.bounds import _factor

    for _ in range(10):
        values = rng.uniform(0.2, 3, 12) + 1j * rng.uniform(-0.8, 0.8, 12)
        values = np.concatenate([values, values.conj()])
        found = enclosing_ellipse(values)
        others = [_factor(values, d, c) for d in np.linspace(0.2, 8, 80) for c in np.linspace(0, 0.999, 40) * d]
        assert found.factor <= min(others) + 1e-3


def test_complex_spectrum_takes_about_the_steps_that_its_ellipse_predicts(rng, rotating):
    circuit, X = Circuit(rotating(rng, 32, 0.6)), rng.standard_normal((20, 32))
    ellipse = circuit.spectrum.ellipse
    found = settle(circuit, X, tol=1e-8, method="chebyshev")
    predicted = np.log(1e-8) / np.log(ellipse.factor)
    assert found.settled.all()
    assert (found.products <= 1.4 * predicted + 5).all()


def test_non_normal_circuits_that_overrun_their_budget_settle_exactly_and_the_detour_is_counted(rng):
    # One eigenvalue, met by one step if R were normal; this chain of 60 units needs 60.
    R, X = np.eye(60) - 1.5 * np.eye(60, k=1), rng.standard_normal((3, 60))
    found = settle(Circuit(R), X, 1e-3, relative=True, method="chebyshev")
    exact = settle(Circuit(R), X, 1e-3, relative=True, method="exponential")
    assert found.settled.all()
    assert (found.products > 50 + exact.products).all()
    assert np.array_equal(found.time, exact.time)


def test_steps_of_a_single_rate_reach_rest_at_once():
    found = settle(Circuit(2.0 * np.eye(3)), [1.0, 2.0, 3.0], method="chebyshev")
    assert found.settled and found.steps == 1 and found.time == 0.5


def test_bad_schedules_are_named():
    with pytest.raises(ConfigError, match="low must be ≤ high"):
        chebyshev_schedule(3, 2.0, 1.0)
    with pytest.raises(ConfigError, match="steps must be a whole number"):
        chebyshev_schedule(0, 1.0, 2.0)
    with pytest.raises(ConfigError, match="low must be > 0"):
        chebyshev_schedule(3, -1.0, 2.0)


def test_steps_predicted_by_an_ellipse():
    assert Ellipse(5.0, 4.0, 0.5).steps(2**9) == 10


def test_the_march_of_dense_and_sparse_circuits_is_the_recurrence_in_plain_numpy(rng, symmetric):
    R, x = symmetric(rng, 12, 30.0), rng.standard_normal(12)
    for circuit in (Circuit(R), SparseCircuit(scipy.sparse.csr_array(R))):
        ellipse = circuit.ellipse if isinstance(circuit, SparseCircuit) else circuit.spectrum.ellipse
        d, c = ellipse.centre, ellipse.focus
        for steps in (1, 2, 7, 20):
            found = settle(circuit, x, 1e-13, method="chebyshev", max_steps=steps)
            z, p, rho = np.zeros(12), np.zeros(12), 0.0
            for k in range(int(found.steps)):
                alpha = 1 / d if k == 0 else 1 / (d - c / 2 * rho)
                omega = 0.0 if k == 0 else c * alpha / 2 * rho
                rho = c / d if k == 0 else c * alpha / 2
                p = alpha * (x - R @ z) + omega * p
                z = z + p
            assert found.steps == steps and np.abs(found.xbar - z).max() <= 1e-13
