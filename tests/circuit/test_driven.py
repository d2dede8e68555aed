import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from neurodecorr.circuit import Circuit, PiecewiseConstant, integrate
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
