import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from neurodecorr.circuit import Circuit, TwoPopulationCircuit, integrate, settle
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError

METHODS = ("euler", "rk4", "rk45", "implicit", "exponential")
TIMES = np.array([0.3, 1.0, 1.7, 4.0])


def closed_form(circuit, x, t):
    """x̄(t) = (I − e^(−tR/τ)) R⁻¹x, from one matrix exponential per time."""
    rest = np.linalg.solve(circuit.R, x)
    return np.array([rest - scipy.linalg.expm(-time / circuit.tau * circuit.R) @ rest for time in t])


@pytest.fixture
def circuit(rng):
    return Circuit(np.eye(5) + 0.3 * rng.standard_normal((5, 5)), tau=2.0)


@pytest.fixture
def x(rng):
    return rng.standard_normal(5)


@pytest.mark.parametrize(
    ("method", "order", "dt"), [("euler", 1, 0.01), ("rk4", 4, 0.1), ("rk45", 5, 0.3), ("implicit", 3, 0.1)]
)
def test_observed_order_at_requested_times_is_the_nominal_one(circuit, x, method, order, dt):
    times = np.array([0.3, 0.9, 3.0])
    exact = closed_form(circuit, x, times)
    steps = dt / 2.0 ** np.arange(4)
    errors = [np.abs(integrate(circuit, x, 4.0, method, times, dt=h).xbar - exact).max() for h in steps]
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(observed[-1] - order) <= 0.1


def test_exponential_trajectory_is_exact(circuit, x):
    # Both sides round: N ε κ(R) of the largest activity, about 1e-14; the claim is 1e-13.
    exact = closed_form(circuit, x, TIMES)
    for times in (TIMES, np.linspace(0, 4, 41)):
        exact = closed_form(circuit, x, times)
        found = integrate(circuit, x, 4.0, "exponential", times)
        assert np.abs(found.xbar - exact).max() <= 1e-13 * np.abs(exact).max()


def test_every_integrator_agrees_with_an_independent_one(circuit, x):
    peer = solve_ivp(
        lambda t, z: (x - circuit.R @ z) / circuit.tau, (0, 4), np.zeros(5), "DOP853", TIMES, rtol=1e-12, atol=1e-13
    ).y.T
    for method, dt in (("rk4", 0.005), ("rk45", 0.02), ("rk45", None), ("implicit", 0.001), ("exponential", None)):
        found = integrate(circuit, x, 4.0, method, TIMES, dt=dt, rtol=1e-11, atol=1e-12)
        assert np.abs(found.xbar - peer).max() <= 1e-8


def test_adaptive_error_follows_its_tolerance(circuit, x):
    exact = closed_form(circuit, x, TIMES)
    errors, steps = [], []
    for rtol in (1e-4, 1e-6, 1e-8, 1e-10):
        found = integrate(circuit, x, 4.0, times=TIMES, rtol=rtol, atol=rtol)
        errors.append(np.abs(found.xbar - exact).max() / rtol)
        steps.append(found.steps)
    assert max(errors) <= 3
    assert steps == sorted(steps) and steps[-1] > steps[0]


def test_adaptive_steps_are_each_samples_own(circuit, x):
    # The error of a linear circuit scales with its drive, the tolerance only in part.
    found = integrate(circuit, np.array([x, 1e4 * x, 0 * x]), 4.0, times=[4.0], rtol=1e-10, atol=1e-6)
    assert found.steps[1] > found.steps[0] > found.steps[2]


@pytest.mark.parametrize("method", METHODS)
def test_a_circuit_at_rest_stays_there_to_the_bit(method):
    # R, x and x̄* = (1, −2) are exact in binary, so the residual at rest is exactly zero.
    circuit = Circuit([[2.0, 0.5], [0.25, 1.0]])
    found = integrate(circuit, [1.0, -1.75], 3.0, method, initial=[1.0, -2.0])
    assert np.array_equal(found.xbar, np.tile([1.0, -2.0], (101, 1)))


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_samples_one_by_one(circuit, rng, method):
    X = rng.standard_normal((7, 5))
    batch = integrate(circuit, X, 4.0, method, TIMES)
    assert batch.xbar.shape == (4, 7, 5)
    for k in range(7):
        alone = integrate(circuit, X[k], 4.0, method, TIMES)
        assert alone.xbar.shape == (4, 5)
        # Compiled rows are identical; matrix products of other shapes may sum in another order.
        assert np.abs(batch.xbar[:, k] - alone.xbar).max() <= 1e-14
        assert batch.steps[k] == alone.steps


def test_rows_on_threads_equal_rows_one_by_one(rng):
    R = np.eye(64) + 0.2 / 8 * rng.standard_normal((64, 64))
    X = rng.standard_normal((64, 64))
    for method in ("euler", "rk45"):
        batch = integrate(Circuit(R), X, 2.0, method, [2.0])
        for k in (0, 31, 63):
            assert np.array_equal(batch.xbar[:, k], integrate(Circuit(R), X[k], 2.0, method, [2.0]).xbar)


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_stays_single(circuit, x, method):
    single = Circuit(circuit.R.astype(np.float32), circuit.tau)
    found = integrate(single, x.astype(np.float32), 4.0, method, TIMES, dt=None if method == "exponential" else 0.01)
    assert found.xbar.dtype == np.float32
    # Euler's own error at dt = 0.01 is about dt/τ; the others are at rounding of float32.
    tolerance = 1e-2 if method == "euler" else 1e-5
    assert np.abs(found.xbar - closed_form(circuit, x, TIMES)).max() <= tolerance


def test_starting_activity_decays_from_its_own_distance(circuit, x):
    rest = np.linalg.solve(circuit.R, x)
    found = integrate(circuit, x, 2.0, "exponential", [0.0, 2.0], initial=rest + 1.0)
    assert np.allclose(found.xbar[0], rest + 1.0, rtol=1e-14)
    assert np.allclose(found.xbar[1] - rest, scipy.linalg.expm(-circuit.R) @ np.ones(5), atol=1e-13)


def test_two_population_trajectory_shows_both_populations(rng):
    R = rng.standard_normal((3, 3))
    circuit, x = TwoPopulationCircuit(R, tau=1.0, tau_error=0.3), rng.standard_normal(3)

    def slope(t, z):
        return np.concatenate([R.T @ z[3:], (x - R @ z[:3] - z[3:]) / 0.3])

    peer = solve_ivp(slope, (0, 5), np.zeros(6), "DOP853", [1.0, 5.0], rtol=1e-12, atol=1e-13).y.T
    for method, dt in (("exponential", None), ("rk4", 0.005), ("implicit", 0.002)):
        found = integrate(circuit, x, 5.0, method, [1.0, 5.0], dt=dt)
        assert np.abs(found.state - peer).max() <= 1e-8
        assert np.array_equal(found.xbar, found.state[:, :3])


def test_times_are_in_the_unit_of_tau(x):
    R = np.diag([1.0, 2.0, 3.0, 4.0, 5.0])
    slow = integrate(Circuit(R, tau=20.0), x, 40.0, times=[10.0, 40.0])
    fast = integrate(Circuit(R, tau=1.0), x, 2.0, times=[0.5, 2.0])
    assert np.allclose(slow.xbar, fast.xbar, rtol=1e-12)


def test_implicit_steps_far_beyond_the_explicit_limit_settle():
    circuit = Circuit(np.diag([1.0, 1e6]))
    found = integrate(circuit, [1.0, 1e6], 40.0, "implicit", [40.0], dt=1.0)
    assert np.abs(found.xbar - 1).max() <= 1e-9


def test_unstable_circuits_raise_before_integrating_and_diverge_on_request():
    circuit = Circuit([[1.0, 0.0], [0.0, -0.5]])
    with pytest.raises(
        StabilityError, match=r"min Re λ > 0 to settle; got -0.5 .*λ = -0.5 per τ, carried most by unit 1"
    ):
        integrate(circuit, [1.0, 1.0], 10.0)
    for method in METHODS:
        found = integrate(circuit, [1.0, 1.0], 10.0, method, [10.0], allow_unstable=True, dt=0.01)
        assert found.xbar[0, 1] == pytest.approx(2 * (np.exp(5.0) - 1), rel=5e-2)
        with pytest.raises(DivergenceError, match="by t = 4000"):
            integrate(circuit, [1.0, 1.0], 4000.0, method, [1.0, 4000.0], allow_unstable=True)


@pytest.mark.parametrize(("method", "limit"), [("euler", 2), ("rk4", 2.785), ("rk45", 3.307)])
def test_steps_beyond_the_limit_raise_and_name_limit_and_mode(method, limit):
    circuit = Circuit(np.diag([1.0, 10.0]), tau=10.0)
    with pytest.raises(
        StabilityError, match=rf"dt must be < {limit}.*got 3.4\. .*λ = 10 per τ, carried most by unit 1"
    ):
        integrate(circuit, [1.0, 1.0], 10.0, method, dt=3.4)
    with pytest.raises(StabilityError, match="dt must be"):
        settle(circuit, [1.0, 1.0], method=method, dt=3.4)
    assert settle(circuit, [1.0, 1.0], method=method, dt=0.99 * limit).settled
    grown = integrate(circuit, [1.0, 1.0], 400.0, method, [400.0], dt=3.4, allow_unstable=True)
    assert abs(grown.xbar[0, 1]) > 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"t_end": 0.0}, ConfigError, "t_end must be > 0"),
        ({"t_end": "late"}, ConfigError, "t_end must be a number"),
        ({"t_end": 1.0, "times": [0.0, 2.0]}, InputError, r"times must lie in \[0, t_end\] = \[0, 1\]; got 0 to 2"),
        ({"t_end": 1.0, "times": [0.5, 0.5]}, InputError, "increase strictly; got 0.5 after 0.5 at index 1"),
        ({"t_end": 1.0, "times": [[0.5]]}, InputError, "vector"),
        ({"t_end": 1.0, "times": []}, InputError, "vector"),
        ({"t_end": 1.0, "times": [np.nan]}, InputError, "finite"),
        ({"t_end": 1.0, "method": "rk5"}, ConfigError, "Did you mean 'rk45'"),
        ({"t_end": 1.0, "dt": 0.0}, ConfigError, "dt must be > 0"),
        ({"t_end": 1.0, "dt": -1.0}, ConfigError, "dt must be > 0"),
        ({"t_end": 1.0, "rtol": 1e-15}, ConfigError, "rtol must be ≥ 2.2e-14"),
        ({"t_end": 1.0, "atol": 0.0}, ConfigError, "atol must be > 0"),
        ({"t_end": 1.0, "initial": np.zeros((2, 2))}, InputError, r"one per sample \(1\); got 2"),
    ],
)
def test_bad_options_are_named(options, error, words):
    with pytest.raises(error, match=words):
        integrate(Circuit(np.eye(2)), [1.0, 1.0], **options)
