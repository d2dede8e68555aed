"""Continuous-time learning: the flow it integrates, what it conserves, and where it meets settled learning."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from neurodecorr.data import correlated_gaussian, gaussian_covariance
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.plasticity import learn_continuously
from neurodecorr.plasticity.continuous import apply_growth, decay, size_bound

pytestmark = pytest.mark.rounding

RULES = ("implicit", "congruent")
N = 4
SIGMA = gaussian_covariance(N, 30, 0)
X = correlated_gaussian(N, 400, 30, 0).inputs
POWER = np.diag(SIGMA).copy()


def stable(seed=0, symmetric=False):
    """Return R with positive definite symmetric part."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((N, N))
    S = np.eye(N) + A @ A.T / N
    return S if symmetric else S + 0.5 * (A - A.T)


def change(R, xbar, p, rule):
    growth, shrinkage = np.outer(R @ xbar, xbar), R * p
    return growth - shrinkage if rule == "implicit" else (growth + growth.T - shrinkage - shrinkage.T) / 2


def reference(R, X, dwell, tau_x, tau_R, rule, power, tau_p, tau_u):
    """Integrate the equations as they are printed, by scipy, presentation by presentation; return R, x̄, p, u."""
    n = len(R)
    state = np.concatenate([np.zeros(n), power, np.zeros(n), R.ravel()])

    def slope(t, z, x):
        xbar, p, u, R = z[:n], z[n : 2 * n], z[2 * n : 3 * n], z[3 * n :].reshape(n, n)
        u = u if tau_u else x
        filtered = (x - u) / tau_u if tau_u else np.zeros(n)
        return np.concatenate(
            [(u - R @ xbar) / tau_x, (u * u - p) / tau_p, filtered, change(R, xbar, p, rule).ravel() / tau_R]
        )

    for x in X:
        state = solve_ivp(slope, (0, dwell), state, args=(x,), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return state[3 * n :].reshape(n, n), state[:n], state[n : 2 * n], state[2 * n : 3 * n]


def adiabatic(R, X, eta, rule, substeps):
    """Learn from states settled exactly, each sample in `substeps` equal shares of η."""
    for x in X:
        for _ in range(substeps):
            xbar = np.linalg.solve(R, x)
            h = eta / substeps
            if rule == "implicit":
                R = (R + h * np.outer(x, xbar)) / (1 + h * POWER)
            else:
                A = np.eye(N) + h / (1 + math.sqrt(1 + h * xbar @ xbar)) * np.outer(xbar, xbar)
                D = np.diag((1 + h * POWER) ** -0.5)
                R = D @ A @ R @ A @ D
    return R


def slopes(errors):
    """Return the orders seen between errors at halved parameters."""
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tau_u", [0.0, 0.7])
def test_it_solves_the_printed_equations_to_second_order(rule, tau_u):
    R = stable(1, symmetric=rule == "congruent")
    exact = reference(R, X[:6], 1.5, 1.0, 8.0, rule, POWER, 9.0, tau_u)
    errors = []
    for dt in (0.1, 0.05, 0.025, 0.0125):
        flow = learn_continuously(
            R, X[:6], 1.5, 1.0, 8.0, rule=rule, power=POWER, tau_power=9.0, tau_input=tau_u, dt=dt, records=1
        )
        found = flow.R, flow.xbar, flow.power, flow.drive
        errors.append([np.abs(a - b).max() for a, b in zip(found, exact, strict=True) if tau_u or b is not exact[3]])
    errors = np.array(errors)
    assert errors[-1].max() < 1e-4
    for part in errors.T[:2]:
        np.testing.assert_allclose(slopes(part)[1:], 2, atol=0.1)
    if tau_u:
        np.testing.assert_allclose(slopes(errors[:, 2])[1:], 2, atol=0.1)
    else:  # a constant input makes the running power exact
        assert errors[:, 2].max() < 1e-11


@pytest.mark.parametrize("rule", RULES)
def test_the_default_step_follows_the_fastest_part(rule):
    R = stable(1, symmetric=rule == "congruent")
    exact = reference(R, X[:6], 1.5, 1.0, 8.0, rule, POWER, math.inf, 0.0)[0]
    flow = learn_continuously(R, X[:6], 1.5, 1.0, 8.0, rule=rule, power=POWER, records=1)
    # Second order: steps of half the fastest time constant, 0.1 here, err by (h s/τ_R)² of the size of R.
    assert np.abs(flow.R - exact).max() < 0.02 * np.abs(exact).max()
    assert 0.01 < flow.shortest <= 0.5 / np.linalg.norm(R, 2)


def test_the_bound_of_the_step_is_above_the_largest_singular_value():
    for seed in range(5):
        R = np.random.default_rng(seed).standard_normal((7, 7))
        assert size_bound(R) >= np.linalg.norm(R, 2)


@pytest.mark.parametrize("c", [1e-3, 1.0, 30.0])
def test_growth_and_decay_are_the_exponentials_they_stand_for(c):
    xbar, work = X[0] / 4, np.empty(N)
    S, D = np.outer(xbar, xbar), np.diag(POWER)
    R = stable(2)
    moved = R.copy()
    apply_growth(moved, xbar, c, False, work)
    decay(moved, POWER, c, False, work)
    np.testing.assert_allclose(moved, R @ expm(c * S) @ expm(-c * D), rtol=1e-11, atol=1e-12)
    R = stable(2, symmetric=True)
    moved = R.copy()
    apply_growth(moved, xbar, c, True, work)
    decay(moved, POWER, c, True, work)
    A, half = expm(c / 2 * S), expm(-c / 2 * D)
    np.testing.assert_allclose(moved, half @ A @ R @ A @ half, rtol=1e-11, atol=1e-12)


def explicit_euler(R, xbar, c, rule="congruent"):
    return R + c * change(R, xbar, POWER, rule)


def test_the_congruent_step_stays_positive_definite_where_explicit_euler_does_not():
    rng = np.random.default_rng(3)
    lost, work = 0, np.empty(N)
    for _ in range(200):
        Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
        R = (Q * np.geomspace(0.01, 1, N)) @ Q.T
        R = (R + R.T) / 2
        xbar = rng.standard_normal(N)
        size = np.linalg.norm(np.outer(xbar, xbar) - np.diag(POWER), 2)
        # R^-½ R' R^-½ = I + ½c (R^½ S R^-½ + its transpose): positive definite if c ‖S‖ √κ(R) < 1.
        assert np.linalg.eigvalsh(explicit_euler(R, xbar, 0.99 / (size * 10)))[0] > 0
        lost += np.linalg.eigvalsh(explicit_euler(R, xbar, 4 / size))[0] < 0
        apply_growth(R, xbar, 4 / size, True, work)
        decay(R, POWER, 4 / size, True, work)
        assert (R == R.T).all() and np.linalg.eigvalsh(R)[0] > 0
    assert lost > 100


@pytest.mark.parametrize("tau_R", [10.0, 30.0, 1e3])
def test_congruent_learning_stays_symmetric_to_the_bit_and_positive_definite_at_any_speed(tau_R):
    flow = learn_continuously(np.eye(N), X, 2.0, 1.0, tau_R, rule="congruent", covariance=SIGMA)
    assert (flow.R == flow.R.T).all()
    assert flow.margin.min() > 0


def test_weights_as_fast_as_activity_become_singular_to_rounding_and_say_when():
    # Definite in exact arithmetic; κ(R) passes 1/ε all the same.
    with pytest.raises(StabilityError, match=r"at time \d+ .*singular.*tau_R"):
        learn_continuously(np.eye(N), X, 2.0, 1.0, 1.0, rule="congruent")


def test_the_local_flow_changes_the_logarithm_of_the_determinant_by_what_liouville_says():
    R = stable(4)
    # d log det R/dt = (x̄ᵀx̄ − Σp)/τ_R; with x̄ settled in one long presentation of x = 0, −Σp/τ_R exactly.
    flow = learn_continuously(R, np.zeros((1, N)), 50.0, 1.0, 40.0, power=POWER, records=1)
    expected = np.linalg.slogdet(R)[1] - POWER.sum() * 50 / 40
    assert np.linalg.slogdet(flow.R)[0] == 1
    assert np.linalg.slogdet(flow.R)[1] == pytest.approx(expected, abs=1e-11)
    np.testing.assert_allclose(flow.R, R * np.exp(-POWER * 50 / 40), rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_a_lasting_input_rests_where_the_activity_has_the_power_of_the_input(rule):
    # One unit: R → |x|/√p, so that x̄² = p.
    flow = learn_continuously([[1.0]], np.full((40, 1), 3.0), 100.0, 1.0, 50.0, rule=rule, power=[4.0], records=4)
    assert flow.R[0, 0] == pytest.approx(1.5, rel=1e-9)
    assert flow.xbar[0] ** 2 == pytest.approx(4, rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_long_presentations_give_settled_learning_at_first_order_in_the_transient(rule):
    eta, few = 0.02, X[:30]
    settled = adiabatic(np.eye(N), few, eta, rule, 200)
    errors = []
    for dwell in (100.0, 200.0, 400.0):
        flow = learn_continuously(np.eye(N), few, dwell, 1.0, dwell / eta, rule=rule, power=POWER, records=1)
        errors.append(np.linalg.norm(flow.R - settled))
    np.testing.assert_allclose(slopes(errors), 1, atol=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_one_step_per_sample_meets_the_settled_flow_at_first_order_in_the_rate(rule):
    errors = []
    for repeats in (1, 2, 4):  # the same learning time, η·samples = 0.8, over ever more presentations
        eta = 0.02 / repeats
        flow = adiabatic(np.eye(N), X[: 40 * repeats], eta, rule, 40)
        step = adiabatic(np.eye(N), X[: 40 * repeats], eta, rule, 1)
        errors.append(np.linalg.norm(flow - step))
    np.testing.assert_allclose(slopes(errors), 1, atol=0.25)  # other samples in each: their ⟨‖x̄‖⁴⟩ differs


@pytest.mark.parametrize("rule", RULES)
def test_separated_time_scales_give_settle_then_learn(rule):
    # dwell/τ_x = 1/√ε, η = dwell/τ_R = √ε with ε = τ_x/τ_R: both errors are first order in √ε, so ε/4 halves them.
    errors = []
    for epsilon in (1e-4, 2.5e-5, 6.25e-6, 1.5625e-6):
        dwell, eta, few = epsilon**-0.5, epsilon**0.5, X[:20]
        flow = learn_continuously(np.eye(N), few, dwell, 1.0, 1 / epsilon, rule=rule, power=POWER, records=1)
        discrete = adiabatic(np.eye(N), few, eta, rule, 1)
        errors.append(np.linalg.norm(flow.R - discrete) / np.linalg.norm(discrete - np.eye(N)))
    assert errors[-1] < 6 * epsilon**0.5
    orders = slopes(errors)  # the term of second order halves with √ε: so does the distance of the order from 1
    assert (np.diff(orders) > 0).all()
    assert orders[-1] == pytest.approx(1, abs=0.1)


def test_slow_learning_decorrelates_the_lagging_activity_not_its_fixed_points():
    # Whitened units, one eigenbasis: a mode of rate a = λ dwell/τ_x keeps the share f(a) = 1 − (1 − e^−a)/a of its
    # power, so learning rests where s/λ² f(a) = 1; solved here for λ, next to λ = √s of settled learning.
    scale = np.sqrt(POWER)
    sigma, stream = SIGMA / np.outer(scale, scale), correlated_gaussian(N, 40_000, 30, 0, draw=1).inputs / scale
    values, basis = np.linalg.eigh(sigma)
    rest = np.sqrt(values)
    for _ in range(500):
        rest = np.sqrt(rest * np.sqrt(values * (1 + np.expm1(-rest) / rest)))
    flow = learn_continuously(np.eye(N), stream, 1.0, 1.0, 4000.0, rule="congruent", power=np.ones(N), records=1)
    found = np.diag(basis.T @ flow.R @ basis)
    # Noise of learning: √(dwell/τ_R) of each eigenvalue, 1.6 %; correlated over a few presentations for weak modes.
    np.testing.assert_allclose(found, rest, rtol=0.08)
    assert (np.abs(found / np.sqrt(values) - 1) > 0.2).all()


def test_lag_is_the_distance_from_the_fixed_point():
    flow = learn_continuously(np.eye(N), X[:1], 3.0, 1.0, 1e12, power=POWER, records=1, dt=0.01)
    assert np.isnan(flow.lag[0])  # no input yet, so no fixed point to be far from
    assert flow.lag[1] == pytest.approx(math.exp(-3), rel=1e-6)


def test_the_records_continue_one_stream_and_do_not_change_it():
    one = learn_continuously(np.eye(N), X, 2.0, 1.0, 200.0, records=1, covariance=SIGMA, tau_input=1.0)
    many = learn_continuously(np.eye(N), X, 2.0, 1.0, 200.0, records=40, covariance=SIGMA, tau_input=1.0)
    assert (one.R == many.R).all() and (one.xbar == many.xbar).all() and one.steps == many.steps
    assert many.times.tolist() == [20.0 * k for k in range(41)]
    assert one.correlation[-1] == many.correlation[-1]


def test_fast_local_learning_loses_stability_and_says_when():
    with pytest.raises(StabilityError, match=r"at time \d+ it is -.*congruent"):
        learn_continuously(np.eye(N), np.tile(X, (5, 1)), 10.0, 1.0, 100.0, power=POWER, records=2000)


def test_activity_that_runs_away_between_records_is_named_with_its_time():
    # Below min Re λ = 0 learning feeds on itself: λ ← λ exp(c x̄ᵀx̄) reaches infinity in finite time.
    with pytest.raises(DivergenceError, match=r"ran away at time \d.*congruent"):
        learn_continuously(np.eye(N), np.tile(X, (20, 1)), 1.0, 1.0, 2.0, records=1)


def test_a_circuit_unstable_at_the_start_is_refused():
    with pytest.raises(StabilityError, match="at time 0 it is -1"):
        learn_continuously(-np.eye(N), X, 1.0)


def test_a_step_too_long_for_the_circuit_is_refused_with_the_limit():
    # The classical method's real stability interval ends at 2.785: 8 · 0.34 lies inside, 8 · 0.36 outside.
    learn_continuously(8 * np.eye(N), X[:1], 0.34, dt=0.34, tau_R=1e9)
    with pytest.raises(StabilityError, match=r"at time 0 .*0\.36 .* 0\.348"):
        learn_continuously(8 * np.eye(N), X[:1], 0.36, dt=0.36, tau_R=1e9)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"R": np.eye(3)[:2]}, InputError, "R must be a square matrix"),
        ({"X": np.ones((5, 3))}, InputError, "X must have 4 features"),
        ({"X": np.full((5, 4), np.nan)}, InputError, "X must be finite"),
        ({"dwell": 0.0}, ConfigError, "dwell must be > 0"),
        ({"tau_x": -1.0}, ConfigError, "tau_x must be > 0"),
        ({"tau_R": "fast"}, ConfigError, "tau_R must be a number"),
        ({"tau_power": 0.0}, ConfigError, "tau_power must be > 0"),
        ({"tau_input": -1.0}, ConfigError, "tau_input must be ≥ 0"),
        ({"dt": 0}, ConfigError, "dt must be > 0"),
        ({"records": 0}, ConfigError, "records must be a whole number ≥ 1"),
        ({"rule": "congruous"}, ConfigError, "Did you mean 'congruent'"),
        ({"power": np.ones(3)}, InputError, r"power must have shape \(4,\)"),
        ({"power": [1, 1, -2, 1]}, InputError, "got -2 in unit 2"),
        ({"xbar": np.ones((1, 4))}, InputError, r"xbar must have shape \(4,\)"),
        ({"covariance": np.eye(3)}, InputError, r"covariance must be \(4, 4\)"),
        ({"R": stable(1), "rule": "congruent"}, InputError, "R must be symmetric for the congruent rule"),
        ({"R": np.zeros((4, 4))}, StabilityError, "at time 0 it is 0"),
    ],
)
def test_bad_input_is_refused_with_what_came(change, error, says):
    with pytest.raises(error, match=says):
        learn_continuously(**({"R": np.eye(N), "X": X[:5], "dwell": 1.0} | change))


def test_nothing_given_is_changed_and_the_result_is_frozen():
    R, strengths, start = np.eye(N), POWER.copy(), np.ones(N)
    flow = learn_continuously(R, X[:20], 1.0, power=strengths, xbar=start, tau_power=5.0)
    assert (np.eye(N) == R).all() and (strengths == POWER).all() and (start == 1).all()
    with pytest.raises(FrozenInstanceError):
        flow.R = R


@pytest.mark.parametrize("dwell", [0.02, 0.1, 0.5, 1.0, 3.0, 10.0, 50.0])
def test_the_default_step_finds_the_rest_of_a_lagging_unit_at_any_dwell_time(dwell):
    """Of the power s/λ² of its fixed points a unit keeps f(a) = 1 − (1 − e⁻ᵃ)/a, a = λ dwell."""
    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        kept = 1 + math.expm1(-middle * dwell) / (middle * dwell)
        low, high = (middle, high) if kept / middle**2 > 0.3 else (low, middle)
    drive = np.random.default_rng(3).standard_normal((int(3000 / max(1.0, dwell)), 1))
    options = {"tau_x": 1.0, "tau_R": 300 * max(dwell, 0.5), "power": [0.3], "records": 1}
    default = learn_continuously([[middle]], drive, dwell, **options).R[0, 0]
    fine = learn_continuously([[middle]], drive, dwell, dt=min(dwell / 4, 0.02), **options).R[0, 0]
    assert default == pytest.approx(fine, rel=1e-3)  # the same samples: no scatter
    assert 0.6 < default / middle < 1.6  # so few samples scatter R itself


def test_an_input_that_dwells_for_half_the_time_constant_is_learnt_from_without_bias():
    drive = np.random.default_rng(3).standard_normal((60_000, 1))
    flow = learn_continuously([[1.0]], drive, 0.5, 1.0, 2000.0, power=[0.3], records=60)
    fine = learn_continuously([[1.0]], drive, 0.5, 1.0, 2000.0, power=[0.3], records=60, dt=0.01)
    assert flow.R[0, 0] == pytest.approx(fine.R[0, 0], rel=1e-3)
    assert flow.margin[20:].mean() == pytest.approx(0.739, rel=0.02)  # for one unit the margin is R; theory 0.739
