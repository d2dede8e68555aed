import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from neurodecorr.circuit import Circuit, PiecewiseConstant, TwoPopulationCircuit, inputs, integrate
from neurodecorr.circuit.inputs import events, plan
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError

TIMES = np.array([0.0, 0.3, 0.9, 3.0])


@pytest.fixture
def circuit(rng):
    return Circuit(np.eye(5) + 0.3 * rng.standard_normal((5, 5)), tau=2.0)


@pytest.fixture
def wave(rng):
    a, b = rng.standard_normal((2, 5))
    return lambda t: a * np.sin(3 * t) + b * np.exp(-t)


def independent(circuit, x, times):
    """The same circuit in another integrator's hands, to 1e-12."""
    slope = lambda t, z: (x(t) - circuit.R @ z) / circuit.tau  # noqa: E731
    return solve_ivp(slope, (0, times[-1]), np.zeros(5), "DOP853", times, rtol=1e-12, atol=1e-13).y.T


@pytest.mark.parametrize(("method", "order", "dt"), [("euler", 1, 0.01), ("rk4", 4, 0.1), ("rk45", 5, 0.2)])
def test_order_is_kept_under_a_changing_input(circuit, wave, method, order, dt):
    exact = independent(circuit, wave, TIMES)
    steps = dt / 2.0 ** np.arange(4)
    errors = [np.abs(integrate(circuit, wave, 3.0, method, TIMES, dt=h).xbar - exact).max() for h in steps]
    assert abs(np.log2(errors[-2] / errors[-1]) - order) <= 0.15


def test_adaptive_steps_follow_their_tolerance_under_a_changing_input(circuit, wave):
    exact = independent(circuit, wave, TIMES)
    for rtol in (1e-4, 1e-7, 1e-10):
        found = integrate(circuit, wave, 3.0, "auto", TIMES, rtol=rtol, atol=rtol)
        assert np.abs(found.xbar - exact).max() <= 3 * rtol
    assert found.products > 7 * found.steps > 0


def test_a_constant_function_is_a_constant_input(circuit, rng):
    X = rng.standard_normal((3, 5))
    for method, dt in (("euler", 0.01), ("rk4", 0.1), ("rk45", 0.1)):
        function, constant = (integrate(circuit, x, 3.0, method, TIMES, dt=dt) for x in (lambda t: X, X))
        assert np.abs(function.xbar - constant.xbar).max() <= 1e-14
        assert np.array_equal(function.products, constant.products)


def test_a_batch_of_functions_is_its_samples(circuit, wave):
    batch = integrate(circuit, lambda t: np.array([wave(t), 2 * wave(t)]), 3.0, "rk4", TIMES)
    assert batch.xbar.shape == (4, 2, 5)
    assert np.allclose(batch.xbar[:, 1], 2 * integrate(circuit, wave, 3.0, "rk4", TIMES).xbar, rtol=1e-13)


@pytest.mark.parametrize("method", ["exponential", "auto", "chebyshev", "rk45", "rk4", "implicit"])
def test_pieces_are_integrated_from_switch_to_switch(circuit, rng, method):
    values, switches = rng.standard_normal((3, 2, 5)), np.array([0.0, 0.5, 1.3])
    found = integrate(
        circuit, PiecewiseConstant(switches, values), 3.0, method, TIMES, dt=0.01 if method == "rk4" else None
    )
    exact = []

    def on(z, x, time):
        rest = np.linalg.solve(circuit.R, x.T)
        return rest + scipy.linalg.expm(-time / circuit.tau * circuit.R) @ (z - rest)

    for t in TIMES:
        z_t, at = np.zeros((5, 2)), 0.0
        for k, end in enumerate([0.5, 1.3, np.inf]):
            z_t, at = on(z_t, values[k], max(min(t, end) - at, 0.0)), max(min(t, end), at)
        exact.append(z_t.T)
    tolerance = {"exponential": 1e-13, "implicit": 1e-3}.get(method, 1e-5 if method == "rk45" else 1e-7)
    assert np.abs(found.xbar - exact).max() <= tolerance * np.abs(exact).max()


def test_pieces_of_one_length_share_one_propagator(circuit, rng, monkeypatch):
    from neurodecorr.circuit import inputs

    made, exact = [], inputs.exponential_propagator

    def exponential_propagator(F, h):
        made.append(h)
        return exact(F, h)

    monkeypatch.setattr(inputs, "exponential_propagator", exponential_propagator)
    x = PiecewiseConstant(0.1 * np.arange(30), rng.standard_normal((30, 5)))
    integrate(circuit, x, 3.0, "exponential", [3.0])
    # Differences of the switching times round, so that a few steps fall on the next grain.
    assert len(made) <= 4


def test_switches_after_the_last_time_change_nothing(circuit, rng):
    x, y = rng.standard_normal((2, 5))
    found = integrate(circuit, PiecewiseConstant([0.0, 5.0], [x, y]), 5.0, "exponential", [1.0, 4.0])
    assert np.allclose(found.xbar, integrate(circuit, x, 5.0, "exponential", [1.0, 4.0]).xbar, rtol=1e-13)
    at_switch = integrate(circuit, PiecewiseConstant([0.0, 1.0], [x, y]), 5.0, "exponential", [1.0, 4.0])
    assert np.allclose(at_switch.xbar[0], found.xbar[0], rtol=1e-13)


def test_functions_that_diverge_or_drive_unstable_circuits_are_named(wave):
    with pytest.raises(StabilityError, match="min Re λ > 0 to settle; got -1"):
        integrate(Circuit(-np.eye(5)), wave, 1.0)
    for dt in (0.1, None):
        with pytest.raises(DivergenceError, match="by t = 2000"):
            integrate(Circuit(-np.eye(5)), wave, 2000.0, "rk45", [2000.0], allow_unstable=True, dt=dt)


@pytest.mark.parametrize(
    ("x", "options", "error", "words"),
    [
        (lambda t: np.zeros(5), {"method": "exponential"}, ConfigError, "constant, or a PiecewiseConstant"),
        (lambda t: np.zeros(5), {"method": "chebyshev"}, ConfigError, "Use one of euler, rk4, rk45"),
        (lambda t: np.zeros(4), {}, InputError, r"x\(0\) must have 5 features"),
        (lambda t: np.full(5, np.nan if t else 0.0), {}, InputError, r"x\(0\.\d+\) must be finite"),
        (lambda t: np.zeros((1 + (t > 0), 5)), {}, InputError, "as many samples at all times"),
        (PiecewiseConstant([0.0], np.zeros((1, 4))), {}, InputError, "5 features"),
    ],
)
def test_bad_inputs_are_named(circuit, x, options, error, words):
    with pytest.raises(error, match=words):
        integrate(circuit, x, 1.0, **options)


@pytest.mark.parametrize(
    ("times", "values", "words"),
    [
        ([0.5], [[1.0]], "starts at 0"),
        ([0.0, 0.0], [[1.0], [2.0]], "increases strictly"),
        ([], np.zeros((0, 1)), "vector"),
        ([0.0, 1.0], [[1.0]], "2 pieces"),
        ([0.0], [1.0], "pieces, n"),
        ([0.0], [[np.nan]], "finite"),
    ],
)
def test_bad_pieces_are_named(times, values, words):
    with pytest.raises(InputError, match=words):
        PiecewiseConstant(times, values)


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
def switched_circuit(rng):
    return Circuit(np.eye(6) + 0.4 * rng.standard_normal((6, 6)) / np.sqrt(6), tau=2.0)


@pytest.mark.parametrize("spacing", ["equal", "random", "mixed"])
@pytest.mark.parametrize("compiled", [True, False])
def test_walks_are_exact_for_repeated_and_for_single_durations(switched_circuit, rng, monkeypatch, spacing, compiled):
    if not compiled:
        monkeypatch.setattr(inputs, "COMPILED", 0)
    switches = {
        "equal": 0.75 * np.arange(12),
        "random": np.append(0, np.sort(rng.uniform(0, 9, 11))),
        "mixed": np.append(0.25 * np.arange(8), [2.1, 4.0, 4.00001, 8.9]),
    }[spacing]
    times = np.sort(np.append(rng.uniform(0, 9, 5), [0.0, 2.25, 9.0]))
    values = rng.standard_normal((12, 3, 6))
    found = integrate(switched_circuit, PiecewiseConstant(switches, values), 9.0, "exponential", times)
    exact = by_hand(switched_circuit.R, np.ones(6), switches / 2, values, times / 2)
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
    switched_circuit = Circuit([[2.0, 0.5], [0.25, 1.0]])
    x = PiecewiseConstant([0.0, 0.3, 1.0], [[1.0, -1.75]] * 3)
    found = integrate(switched_circuit, x, 3.0, "exponential", initial=[1.0, -2.0])
    assert np.array_equal(found.xbar, np.tile([1.0, -2.0], (101, 1)))


@pytest.mark.parametrize("method", ["auto", "chebyshev", "arnoldi"])
def test_large_circuits_share_one_expansion_and_agree_with_propagators(rng, symmetric, method):
    switched_circuit, values = Circuit(symmetric(rng, 80, 4.0)), rng.standard_normal((6, 2, 80))
    x, times = PiecewiseConstant(0.5 * np.arange(6), values), [0.0, 0.2, 1.0, 3.0]
    exact = integrate(switched_circuit, x, 3.0, "exponential", times)
    found = integrate(switched_circuit, x, 3.0, method, times)
    assert np.abs(found.xbar - exact.xbar).max() <= 1e-6 * np.abs(exact.xbar).max()


def test_thousands_of_trajectories_are_their_samples(rng, symmetric):
    for size, samples in ((16, 3000), (64, 300)):
        switched_circuit, X = Circuit(symmetric(rng, size, 4.0)), rng.standard_normal((samples, size))
        found = integrate(switched_circuit, X, 5.0, "auto", np.linspace(0, 5, 40))
        exact = by_hand(switched_circuit.R, np.ones(size), [0.0], X[None, ::97], found.t)
        assert np.abs(found.xbar[:, ::97] - exact).max() <= 3e-7 * np.abs(exact).max()
