import warnings

import numpy as np
import pytest

from neurodecorr.circuit import Circuit, integrate, settle, stability, stability_limit
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.circuit.stability import fastest_settling_step, predicted_settling_time, shrinkage, step_limits
from neurodecorr.circuit.tableaux import EULER, RK4, TABLEAUX
from neurodecorr.errors import ConfigError, IllConditionedWarning, InputError, StabilityError

pytestmark = pytest.mark.rounding


@pytest.mark.parametrize("method", TABLEAUX)
@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, 1.5, -1.5])
def test_step_limit_is_where_the_first_mode_stops_shrinking(method, angle):
    eigenvalues = np.array([2.0, 0.3]) * np.exp(1j * angle)
    limit = stability_limit(method, eigenvalues)
    inside = np.linspace(0, 1, 1002)[1:-1] * limit
    assert (shrinkage(TABLEAUX[method], eigenvalues, inside) < 1).all()
    assert shrinkage(TABLEAUX[method], eigenvalues, limit * (1 + 1e-6)) > 1


def test_euler_limit_has_its_closed_form(rng):
    eigenvalues = rng.uniform(0.1, 3, 50) + 1j * rng.uniform(-3, 3, 50)
    assert np.allclose(step_limits(EULER, eigenvalues), 2 * eigenvalues.real / np.abs(eigenvalues) ** 2, rtol=1e-12)


def test_rk4_limit_on_the_imaginary_axis_is_two_root_two():
    assert stability_limit("rk4", [1e-9 + 1j]) == pytest.approx(2 * np.sqrt(2), rel=1e-6)


def test_no_step_is_stable_for_a_mode_that_does_not_decay():
    assert stability_limit("rk4", [1.0, -0.1]) == 0
    assert stability_limit("euler", [1j]) == 0


def test_fastest_euler_step_on_a_real_spectrum_is_two_over_the_sum():
    for condition in (1.0, 4.0, 1000.0):
        found = fastest_settling_step(EULER, np.array([1.0, 1.0 + 0.3 * (condition - 1), condition], complex))
        assert found == pytest.approx(2 / (1 + condition), rel=2e-4)


def test_fastest_step_beats_its_neighbours(rng, rotating):
    eigenvalues = np.linalg.eigvals(rotating(rng, 10, 1.0))
    best = fastest_settling_step(RK4, eigenvalues)
    limit = step_limits(RK4, eigenvalues).min()
    others = shrinkage(RK4, eigenvalues, np.linspace(0.01, 0.999, 200) * limit)
    assert shrinkage(RK4, eigenvalues, best) <= others.min() + 1e-4


def test_stability_of_a_known_spectrum(rng, symmetric):
    found = stability(Circuit(symmetric(rng, 6, 40.0), tau=3.0))
    assert found.kind == "exact" and found.stable
    assert [found.margin, found.fastest.real, found.condition] == pytest.approx([1, 40, 40], rel=1e-12)
    assert [found.slowest_time, found.fastest_time, found.euler_limit] == pytest.approx([3, 3 / 40, 3 / 20], rel=1e-12)


def test_slowest_mode_is_the_one_of_smallest_real_part_not_modulus():
    R = np.array([[0.1, -2.0, 0], [2.0, 0.1, 0], [0, 0, 0.5]])
    found = stability(Circuit(R))
    assert found.margin == pytest.approx(0.1)
    assert abs(found.slowest) == pytest.approx(np.hypot(0.1, 2))
    assert found.euler_limit == pytest.approx(2 * 0.1 / (0.1**2 + 4))


def test_unstable_circuit_is_reported_not_raised():
    found = stability(Circuit(np.diag([1.0, -0.2])))
    assert found.stable is False
    assert found.margin == pytest.approx(-0.2)
    assert found.euler_limit == 0
    assert found.slowest_time == found.settling_time(1e-3) == np.inf


@pytest.mark.parametrize("method", ["numerical_range", "gershgorin"])
def test_shortcuts_bound_the_margin_and_the_radius(method):
    proven = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 12))
        circuit = Circuit(rng.uniform(0.5, 3, n) * np.eye(n) + rng.uniform(0, 0.6) / n * rng.standard_normal((n, n)))
        bound, exact = stability(circuit, method), stability(circuit)
        assert bound.kind == "bound"
        assert bound.margin <= exact.margin + 1e-12
        assert bound.radius >= exact.radius - 1e-12
        assert bound.euler_limit <= exact.euler_limit + 1e-12
        assert bound.stable in (True, None)
        proven += bound.stable is True
    assert proven > 100


def test_shortcut_that_cannot_tell_says_so(rng, non_normal):
    circuit = Circuit(non_normal(rng, 6, slope=5.0))
    assert stability(circuit).stable is True
    assert stability(circuit, "numerical_range").stable is None


def test_arnoldi_finds_the_ends_of_the_spectrum(rng):
    n = 300
    circuit = Circuit(np.diag(np.linspace(0.5, 3, n)) + 0.3 / np.sqrt(n) * rng.standard_normal((n, n)))
    found, exact = stability(circuit, "arnoldi"), stability(circuit, "dense")
    assert found.kind == "estimate"
    assert found.margin == pytest.approx(exact.margin, rel=1e-8)
    assert found.radius == pytest.approx(exact.radius, rel=1e-8)


def test_named_mode_is_an_eigenvector(rng):
    R = rng.standard_normal((8, 8))
    values, vectors = np.linalg.eig(R)
    spectrum = Circuit(R).spectrum
    for value, vector in zip(values, vectors.T, strict=True):
        assert np.allclose(spectrum.mode(value), np.abs(vector) / np.linalg.norm(vector), atol=1e-6)


@pytest.mark.parametrize("kind", ["symmetric", "rotating", "two_population"])
def test_predicted_settling_time_is_the_observed_one(request, rng, kind):
    if kind == "two_population":
        circuit = Circuit(rng.standard_normal((6, 6)) + np.eye(6)).two_population(0.05)
    else:
        circuit = Circuit(request.getfixturevalue(kind)(rng, 6, 20.0 if kind == "symmetric" else 0.5), tau=4.0)
    X = rng.standard_normal((20, 6))
    dt = 0.01 / circuit.spectrum.margin
    observed = settle(circuit, X, 1e-6, method="exponential", dt=dt * circuit.tau).time
    predicted = predicted_settling_time(circuit, X, 1e-6)
    # The observed time is the first multiple of dt past the predicted one.
    assert (observed - predicted >= -1e-6 * predicted).all()
    assert (observed - predicted <= dt + 1e-6 * predicted).all()
    # The slowest mode alone gives the time to within the share that it has of the input.
    assert predicted_settling_time(circuit, X[0], 1e-6) == pytest.approx(predicted[0], rel=1e-9)


def test_slowest_mode_predicts_how_long_one_digit_takes(rng, symmetric):
    circuit = Circuit(symmetric(rng, 6, 20.0))
    x = rng.standard_normal(6)
    coarse, fine = (predicted_settling_time(circuit, x, tol) for tol in (1e-6, 1e-7))
    assert fine - coarse == pytest.approx(stability(circuit).settling_time(1e-7, 1e-6), rel=1e-3)


def test_prediction_needs_a_stable_circuit_with_independent_modes():
    with pytest.raises(StabilityError, match="min Re λ > 0"):
        predicted_settling_time(Circuit(np.diag([1.0, -1.0])), [1.0, 1.0])
    with pytest.raises(InputError, match="independent modes"):
        predicted_settling_time(Circuit([[1.0, 1.0], [0.0, 1.0]]), [1.0, 1.0])


def test_bad_options_are_named():
    with pytest.raises(ConfigError, match="Did you mean 'gershgorin'"):
        stability(Circuit([[1.0]]), "gerschgorin")
    with pytest.raises(ConfigError, match="method must be one of"):
        stability_limit("implicit", [1.0])
    with pytest.raises(InputError, match="eigenvalues must be finite"):
        stability_limit("euler", [np.inf])
    with pytest.raises(ConfigError, match="tol must be > 0"):
        stability(Circuit([[1.0]])).settling_time(0.0)


@pytest.mark.parametrize("n", [1, 2, 12, 24])
def test_far_from_normal_unstable_circuits_raise_stability_errors_only(n):
    # 24 units: solves of the shifted matrix grow to 1e185, whose squares overflow.
    R = -0.6 * np.eye(n) + 2.5 * np.eye(n, k=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        circuit = Circuit(R)
        assert not stability(circuit).stable
        for call in (settle, lambda c, x: integrate(c, x, 1.0), predicted_settling_time):
            with pytest.raises(StabilityError, match="carried most by unit"):
                call(circuit, np.ones(n))


def test_the_mode_of_a_jordan_block_is_its_first_unit():
    for n in (24, 100):
        weights = Spectrum(2.5 * np.eye(n, k=1) - 0.6 * np.eye(n)).mode(-0.6)
        assert np.isfinite(weights).all() and np.argmax(weights) == 0 and abs(np.linalg.norm(weights) - 1) < 1e-9
