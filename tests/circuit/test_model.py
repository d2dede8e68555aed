import numpy as np
import pytest

from neurodecorr.circuit import Circuit, TwoPopulationCircuit, settle
from neurodecorr.errors import ConfigError, IllConditionedWarning, InputError, StabilityError


def test_a_circuit_owns_its_weights(rng):
    R = np.eye(3) + 0.1 * rng.standard_normal((3, 3))
    before = R.copy()
    circuit = Circuit(R)
    R[:] = 7
    assert np.array_equal(circuit.R, before)
    with pytest.raises(ValueError, match="read-only"):
        circuit.R[0, 0] = 1.0
    with pytest.raises(AttributeError):
        circuit.tau = 2.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_of_the_weights_is_kept(dtype):
    R = np.array([[2, 1], [0, 3]], dtype)
    for circuit in (Circuit(R), Circuit(R).adjoint(), Circuit(R).two_population(0.5)):
        assert circuit.R.dtype == circuit.matrix.dtype == circuit.rates.dtype == dtype


def test_adjoint_circuit_settles_at_the_transposed_inverse_times_the_error(rng, non_normal):
    R = non_normal(rng, 6, slope=0.5)
    E = rng.standard_normal((10, 6))
    found = settle(Circuit(R).adjoint(), E, tol=1e-11)
    assert found.settled.all()
    # Certified to 1e-11, compared with a solve that is accurate to κ ε ≪ 1e-11.
    assert np.abs(found.xbar - np.linalg.solve(R.T, E.T).T).max() <= 2e-11


@pytest.mark.parametrize("tau_error", [0.02, 1.0, 7.0])
def test_two_population_spectrum_in_closed_form_is_that_of_its_matrix(rng, tau_error):
    circuit = TwoPopulationCircuit(rng.standard_normal((7, 7)), 1.0, tau_error)
    closed, dense = circuit.spectrum.eigenvalues, np.linalg.eigvals(circuit.flow)
    # Every closed-form eigenvalue has a numerical one next to it, within √ε of a possible double root.
    distance = np.abs(closed[:, None] - dense[None, :])
    assert max(distance.min(axis=0).max(), distance.min(axis=1).max()) <= 1e-7 * np.abs(dense).max()
    sigma = np.linalg.svd(circuit.matrix, compute_uv=False)
    assert circuit.spectrum.sigma_max == pytest.approx(sigma[0], rel=1e-13)
    assert circuit.spectrum.sigma_min == pytest.approx(sigma[-1], rel=1e-10)
    assert circuit.spectrum.sigma_low <= circuit.spectrum.sigma_min


def test_two_population_circuit_is_stable_for_every_invertible_matrix():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        R = rng.standard_normal((int(rng.integers(1, 9)),) * 2)
        circuit = TwoPopulationCircuit(R, 1.0, float(rng.uniform(0.05, 5)))
        assert circuit.spectrum.margin > 0
        assert np.linalg.eigvals(circuit.flow).real.min() > 0


def test_two_population_circuit_settles_where_the_plain_one_is_unstable(rng):
    R = np.diag([-1.0, 2.0, -0.5, 1.0]) + 0.2 * rng.standard_normal((4, 4))
    x = rng.standard_normal(4)
    with pytest.raises(StabilityError, match="unit 0"):
        settle(Circuit(R), x)
    for method in ("auto", "euler", "rk45", "exponential"):
        found = settle(Circuit(R).two_population(0.5), x, tol=1e-9, method=method)
        assert found.settled
        assert np.linalg.norm(found.xbar - np.linalg.solve(R, x)) <= 1e-9


@pytest.mark.parametrize(
    ("R", "tau", "error", "words"),
    [
        ([[1.0, 2.0]], 1.0, InputError, r"square matrix, \(n, n\); got shape \(1, 2\)"),
        (np.zeros((0, 0)), 1.0, InputError, "square"),
        ([1.0], 1.0, InputError, "square"),
        ([[1.0, np.nan], [0.0, 1.0]], 1.0, InputError, "found nan at row 0, column 1"),
        ([[1.0, 0.0], [np.inf, 1.0]], 1.0, InputError, "found inf at row 1, column 0"),
        ([[1j]], 1.0, InputError, "complex"),
        ([["a"]], 1.0, InputError, "real numbers"),
        ([[1.0, 2.0], [2.0, 4.0]], 1.0, InputError, "R must be invertible"),
        (np.zeros((3, 3)), 1.0, InputError, "R must be invertible"),
        (np.diag([1.0, 9e-16]), 1.0, InputError, "condition 1.11e.15"),
        ([[1.0]], 0.0, ConfigError, "tau must be > 0"),
        ([[1.0]], -1.0, ConfigError, "tau must be > 0"),
        ([[1.0]], np.nan, ConfigError, "finite"),
        ([[1.0]], "fast", ConfigError, "number"),
    ],
)
@pytest.mark.parametrize("kind", [Circuit, TwoPopulationCircuit])
def test_bad_weights_and_time_constants_are_named(kind, R, tau, error, words):
    with pytest.raises(error, match=words):
        kind(R, tau)


def test_bad_time_constant_of_the_error_units_is_named():
    with pytest.raises(ConfigError, match="tau_error must be > 0"):
        Circuit([[1.0]]).two_population(0.0)


def test_nearly_singular_weights_warn_and_name_the_condition():
    with pytest.warns(IllConditionedWarning, match=r"condition 2e\+12"):
        Circuit(np.diag([1.0, 5e-13]))


def test_a_bare_matrix_is_told_to_become_a_circuit():
    with pytest.raises(InputError, match=r"Use Circuit\(R, tau\)"):
        settle(np.eye(2), [1.0, 1.0])
