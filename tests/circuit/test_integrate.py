import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from neurodecorr._validation import instants, numeral, steps_within
from neurodecorr.circuit import Circuit, PiecewiseConstant, TwoPopulationCircuit, integrate, settle
from neurodecorr.circuit.integrate import record_trajectory
from neurodecorr.circuit.stability import fastest_settling_step, following_step, require_step, step_limits
from neurodecorr.circuit.tableaux import TABLEAUX
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.io import read_traces

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
        found = integrate(circuit, x, 4.0, "rk45", times=TIMES, rtol=rtol, atol=rtol)
        errors.append(np.abs(found.xbar - exact).max() / rtol)
        steps.append(found.steps)
    assert max(errors) <= 3
    assert steps == sorted(steps) and steps[-1] > steps[0]


def test_times_within_a_step_are_read_off_an_interpolant_of_order_four(circuit, x):
    # Frames cost no product, and the last time alone ends a step.
    times = np.linspace(0, 4, 501)
    few, many = (integrate(circuit, x, 4.0, "rk45", at, rtol=1e-5, atol=1e-8) for at in ([4.0], times))
    assert many.products == few.products and np.array_equal(many.xbar[-1], few.xbar[-1])
    assert np.abs(many.xbar - closed_form(circuit, x, times)).max() <= 1e-4 * np.abs(many.xbar).max()
    # Through one step of h the interpolant errs by O(h⁵): by 2⁵ less where h is halved.
    dense, a, b = (getattr(TABLEAUX["rk45"], name) for name in ("dense", "a", "b"))
    errors = []
    for h in (0.2, 0.1, 0.05):
        K = np.zeros((7, 5))
        for i in range(6):
            K[i] = x - circuit.R @ (h * a[i] @ K[:6])
        K[6] = x - circuit.R @ (h * b @ K[:6])
        theta = np.linspace(0, 1, 9)
        powers = theta[:, None] ** np.arange(1, 5)
        path = h * powers @ dense.T @ K
        assert np.abs(path[-1] - h * b @ K[:6]).max() <= 1e-14  # it ends where the step does
        errors.append(np.abs(path - closed_form(circuit, x, theta * h * circuit.tau)).max())
    order = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (np.abs(order - 5) <= 0.3).all()


def test_auto_takes_the_cheapest_way_and_says_which(rng, symmetric, x, circuit):
    small, large = (
        integrate(circuit, x, 4.0),
        integrate(Circuit(symmetric(rng, 200, 4.0)), rng.standard_normal(200), 4.0),
    )
    assert small.method == "exponential" and large.method == "chebyshev" and large.products < 30
    assert integrate(circuit, lambda t: x, 4.0).method == integrate(circuit, x, 4.0, dt=0.1).method == "rk45"


def test_adaptive_steps_are_each_samples_own(circuit, x):
    # The error of a linear circuit scales with its drive, the tolerance only in part.
    found = integrate(circuit, np.array([x, 1e4 * x, 0 * x]), 4.0, "rk45", times=[4.0], rtol=1e-10, atol=1e-6)
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
    with pytest.raises(StabilityError, match=r"min Re λ .*-0.5 .*unit 1"):
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


FIXED = ("euler", "rk4", "implicit")


def lightly_damped(rng, n, damping):
    """Modes that turn 1/`damping` radians while they decay by e, seen through a matrix that is not normal."""
    blocks = [rate * np.array([[damping, -1], [1, damping]]) for rate in rng.uniform(0.5, 2, n // 2)]
    V = np.eye(n) + 0.3 * rng.standard_normal((n, n))
    return V @ scipy.linalg.block_diag(*blocks) @ np.linalg.inv(V), np.linalg.cond(V)


def path(R, x, times):
    rest = np.linalg.solve(R, x)
    return np.array([rest - scipy.linalg.expm(-t * R) @ rest for t in times])


@pytest.mark.parametrize("damping", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_every_method_with_its_own_step_follows_circuits_that_hardly_decay(seed, damping):
    rng = np.random.default_rng(seed)
    R, spread = lightly_damped(rng, 4, damping)
    x, times = rng.standard_normal(4), np.linspace(0, 4 / damping, 9)
    exact = path(R, x, times)
    # A mode loses at most a tenth of its decay: e^(−0.9 y) − e^(−y) ≤ 0.04, and its turn is off by less.
    allowed = 0.06 * spread * np.linalg.norm(np.linalg.solve(R, x))
    for method in (*FIXED, "rk45", "exponential", "auto"):
        found = integrate(Circuit(R), x, times[-1], method, times).xbar
        assert np.linalg.norm(found - exact, axis=1).max() <= allowed, method


@pytest.mark.parametrize("seed", range(10))
def test_own_steps_pass_the_check_of_steps_that_are_given(seed):
    rng = np.random.default_rng(seed)
    R, _ = lightly_damped(rng, 6, 10.0 ** rng.uniform(-6, 0))
    for circuit in (Circuit(R), TwoPopulationCircuit(R, 1.0, 10.0 ** rng.uniform(-3, 3))):
        values = circuit.spectrum.eigenvalues
        for name, tableau in TABLEAUX.items():
            for choose in (following_step, fastest_settling_step):
                require_step(circuit, name, choose(tableau, values))
                assert 0 < choose(tableau, values) < step_limits(tableau, values).min()


def test_a_lightly_damped_circuit_comes_to_rest_by_euler_steps_of_its_own():
    R, x = np.array([[0.01, -1.0], [1.0, 0.01]]), np.array([1.0, 0.0])
    rest = np.linalg.solve(R, x)
    for drive in (x, PiecewiseConstant([0.0, 1.0], [x, x]), lambda t: x):
        # Nine tenths of its decay: e^(−0.9 · 0.01 · 200) of the way is left, and by 1000 nothing that matters.
        t_end = 200.0 if callable(drive) else 1000.0
        found = integrate(Circuit(R), drive, t_end, "euler", [t_end]).xbar[-1]
        assert np.linalg.norm(found - rest) <= np.exp(-0.009 * t_end) * np.linalg.norm(rest) * 1.05


def test_recorded_courses_take_the_same_steps(tmp_path):
    R = np.array([[0.05, -1.0], [1.0, 0.05]])
    last = record_trajectory(Circuit(R), [1.0, 0.0], 40.0, tmp_path / "traces.h5", dt=1.0, method="euler")
    whole = integrate(Circuit(R), [1.0, 0.0], 40.0, "euler", np.arange(41.0)).xbar
    np.testing.assert_allclose(last, whole[-1], rtol=0, atol=1e-12)
    assert len(read_traces(tmp_path)["xbar"]) == 41


def test_a_course_of_more_steps_than_can_be_counted_is_refused():
    for method in FIXED:
        with pytest.raises(ConfigError, match=r"at most 1e\+10 steps"):
            integrate(Circuit([[1.0]]), [1.0], 1.0, method, dt=1e-25)
    for x in ([1.0, 1.0], lambda t: np.ones(2)):
        with pytest.raises(ConfigError, match="steps of its own"):
            integrate(Circuit([[1e-9, -1.0], [1.0, 1e-9]]), x, 2.0, "euler")


def test_an_unstable_circuit_may_still_be_watched_by_own_steps():
    found = integrate(Circuit(np.diag([1.0, -0.5])), [1.0, 1.0], 4.0, "euler", [4.0], allow_unstable=True)
    assert found.xbar[0, 1] > 10
    with pytest.raises(StabilityError):
        integrate(Circuit(np.diag([1.0, -0.5])), [1.0, 1.0], 4.0, "euler")


def test_settling_steps_of_lightly_damped_circuits_settle():
    R = np.array([[0.1, -1.0], [1.0, 0.1]])
    for method in ("euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "auto"):
        assert settle(Circuit(R), [1.0, 2.0], method=method).settled, method


R = np.array([[1.1, 0.3, 0.0], [-0.2, 0.7, 0.1], [0.4, 0.0, 1.5]])
CIRCUIT = Circuit(R, tau=0.02)
DT, T = 2e-4, 0.2  # 1000 rows: four stretches


def steps(t):
    return np.array([np.sin(30 * t), 1.0, np.cos(50 * t)])


INPUTS = {
    "constant": [1.0, -0.5, 0.25],
    "switched": PiecewiseConstant([0.0, 0.0501, 0.12], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 1.0]]),
    "function": steps,
}


@pytest.mark.parametrize("kind", INPUTS)
def test_the_streamed_course_is_that_of_one_integration(tmp_path, kind):
    x = INPUTS[kind]
    last = record_trajectory(CIRCUIT, x, T, tmp_path / "traces.h5", dt=DT, method="rk4", step=DT / 2)
    traces = read_traces(tmp_path)
    times = np.arange(1001) * DT
    whole = integrate(CIRCUIT, x, T + DT / 10, "rk4", times, dt=DT / 2).xbar
    # The same steps from the same states, but times that differ by roundings.
    np.testing.assert_allclose(traces["xbar"].values, whole, rtol=0, atol=1e-9)
    assert traces["xbar"].step.tolist() == list(range(1001)) and np.array_equal(last, traces["xbar"].values[-1])


def test_residuals_are_those_of_the_equation(tmp_path):
    record_trajectory(CIRCUIT, INPUTS["constant"], T, tmp_path / "traces.h5", dt=DT)
    traces = read_traces(tmp_path)
    expected = np.linalg.norm(np.array(INPUTS["constant"]) - traces["xbar"].values @ R.T, axis=1)
    np.testing.assert_allclose(traces["residual"].values, expected, rtol=0, atol=1e-12)


def test_the_file_says_dt_units_and_tau(tmp_path):
    record_trajectory(CIRCUIT, [1.0, 0.0, 0.0], T, tmp_path / "traces.h5", dt=DT)
    traces = read_traces(tmp_path)
    assert (traces.metadata["dt"], traces.metadata["tau"], traces.metadata["tau_unit"]) == (DT, 0.02, "s")
    assert (traces["xbar"].step_unit, traces["xbar"].step_description) == ("dt", f"time of the row over dt = {DT:g} s")
    assert "R[i, j]" in traces.metadata["equation"] and traces.metadata["min_re_lambda"] > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"circuit": Circuit([[1.0, 3.0], [3.0, 1.0]]), "x": [1.0, 1.0]}, StabilityError, "settle"),
        ({"circuit": TwoPopulationCircuit(R)}, InputError, "must be a Circuit"),
        ({"dt": 1.0}, ConfigError, "t_end"),
        ({"method": "rk44"}, ConfigError, "Did you mean 'rk4"),
    ],
    ids=["unstable", "two populations", "no row", "method"],
)
def test_what_cannot_be_recorded_is_refused(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        record_trajectory(
            **{"circuit": CIRCUIT, "x": [1.0, 0.0, 0.0], "t_end": T, "path": tmp_path / "traces.h5", **change}
        )


ROUNDING_CIRCUIT = Circuit([[2.0, 0.5], [0.0, 1.0]], tau=0.3)


@pytest.mark.parametrize("times", [np.arange(0, 0.4, 0.1), np.arange(4) * 0.1, np.cumsum([0.1, 0.1, 0.1])])
@pytest.mark.parametrize("method", ["euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "arnoldi", "auto"])
def test_a_grid_that_ends_some_ulps_late_ends_at_t_end(times, method):
    assert times[-1] > 0.3
    found = integrate(ROUNDING_CIRCUIT, [1.0, 1.0], 0.3, method, times)
    meant = integrate(ROUNDING_CIRCUIT, [1.0, 1.0], 0.3, method, np.append(times[:-1], 0.3))
    assert found.t[-1] == 0.3 and np.array_equal(found.xbar, meant.xbar)


def test_switches_and_functions_take_such_grids_too():
    times = np.arange(0, 0.4, 0.1)
    for x in (PiecewiseConstant(np.arange(0, 0.4, 0.1), np.eye(4)[:, :2]), lambda t: np.array([1.0, t])):
        assert integrate(ROUNDING_CIRCUIT, x, 0.3, times=times).t[-1] == 0.3


def test_times_in_float32_are_known_to_float32():
    assert integrate(ROUNDING_CIRCUIT, [1.0, 1.0], 0.3, times=np.float32([0.1, 0.3])).t[-1] == 0.3


def test_times_that_are_late_by_more_are_refused_with_all_their_digits():
    for late in (0.3 * (1 + 1e-11), 0.31, 2.0):
        with pytest.raises(InputError, match="t_end") as caught:
            integrate(ROUNDING_CIRCUIT, [1.0, 1.0], 0.3, times=[0.1, late])
        assert numeral(late) in str(caught.value)
    with pytest.raises(InputError, match="times"):
        integrate(ROUNDING_CIRCUIT, [1.0, 1.0], 0.3, times=[-1e-3, 0.1])


def test_rounding_below_zero_is_zero_and_a_time_stays_what_it_is_elsewhere():
    assert instants([-1e-17, 0.5, 1.0], "times").tolist() == [0.0, 0.5, 1.0]
    assert instants([1e-17, 0.5], "times", 1.0).tolist() == [1e-17, 0.5]
    assert PiecewiseConstant([1e-17, 1.0], np.eye(2)).times[0] == 0.0
    with pytest.raises(InputError):
        instants([0.3, 0.30000000000000004], "times", 0.3)


def test_digits_tell_a_number_from_its_neighbours():
    for value in (0.3, np.nextafter(0.3, 1), 1e300, 1.0, 123456789.123, 5e-324):
        assert float(numeral(value)) == value
    assert numeral(1.0) == "1" and numeral(0.1 + 0.2) == "0.30000000000000004"


@pytest.mark.parametrize(("t_end", "dt"), [(0.3, 0.1), (0.6, 0.2), (0.7, 0.1), (29.0, 0.29), (1.1, 0.1)])
def test_whole_numbers_of_steps_are_counted_whole(t_end, dt, tmp_path):
    rows = round(t_end / dt)
    assert steps_within(t_end, dt) == rows
    record_trajectory(ROUNDING_CIRCUIT, [1.0, 1.0], t_end, tmp_path / "traces.h5", dt=dt)
    assert len(read_traces(tmp_path)["xbar"]) == rows + 1
    slow = Circuit(ROUNDING_CIRCUIT.R, tau=10 * t_end)
    assert settle(slow, [1.0, 1.0], 1e-9, method="euler", dt=dt, t_max=t_end).steps == rows


def test_a_row_at_a_switch_shows_the_input_after_it(tmp_path):
    # 100 · 0.29 = 28.999999999999996 in floating point: the row is meant to be at the switch.
    x = PiecewiseConstant([0.0, 29.0], [[1.0, 1.0], [-1.0, 2.0]])
    record_trajectory(ROUNDING_CIRCUIT, x, 100 * 0.29, tmp_path / "traces.h5", dt=0.29)
    rest = np.linalg.solve(ROUNDING_CIRCUIT.R, [1.0, 1.0])
    jump = np.linalg.norm(np.array([-1.0, 2.0]) - ROUNDING_CIRCUIT.R @ rest)
    assert abs(read_traces(tmp_path)["residual"].values[-1] - jump) <= 1e-6
