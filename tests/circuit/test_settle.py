import warnings

import numpy as np
import pytest
import scipy.sparse
from scipy.integrate import solve_ivp

from neurodecorr.circuit import Circuit, SparseCircuit, TwoPopulationCircuit, integrate, settle, solve
from neurodecorr.circuit.settle import Forecast, chosen, expected_reduction, forecasts
from neurodecorr.errors import ConfigError, DivergenceError, IllConditionedWarning, InputError, StabilityError

SIMULATED = ("euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "auto")
KINDS = ("symmetric", "rotating", "non_normal")


@pytest.fixture
def build(symmetric, rotating, non_normal):
    return {
        "symmetric": lambda rng, n: symmetric(rng, n, 30.0),
        "rotating": lambda rng, n: rotating(rng, n, 0.8),
        "non_normal": lambda rng, n: non_normal(rng, n, 1.0),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [*SIMULATED, "direct"])
def test_every_method_settles_where_the_direct_solution_is(rng, build, kind, method):
    R = build[kind](rng, 8)
    X = rng.standard_normal((12, 8))
    found = settle(Circuit(R, tau=3.0), X, tol=1e-11, method=method)
    assert found.settled.all()
    assert np.abs(found.xbar - np.linalg.solve(R, X.T).T).max() <= 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_settled_state_is_where_an_independent_integrator_ends(rng, build, kind):
    R, x = build[kind](rng, 8), rng.standard_normal(8)
    peer = solve_ivp(lambda t, z: x - R @ z, (0, 120), np.zeros(8), "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    for method in SIMULATED:
        assert np.abs(settle(Circuit(R), x, tol=1e-10, method=method).xbar - peer).max() <= 1e-8


@pytest.mark.parametrize("method", [*SIMULATED, "direct"])
def test_a_batch_is_its_samples_one_by_one(rng, rotating, method):
    circuit = Circuit(rotating(rng, 6, 0.5))
    X = rng.standard_normal((9, 6)) * np.geomspace(1e-3, 1e3, 9)[:, None]
    batch = settle(circuit, X, tol=1e-8, method=method)
    for k in range(9):
        alone = settle(circuit, X[k], tol=1e-8, method=method)
        assert alone.xbar.shape == (6,) and np.ndim(alone.bound) == np.ndim(alone.outcome) == 0
        assert alone.settled and batch.settled[k]
        # Rounding of differently shaped products may move a stop by one step at most; both are certified.
        assert np.linalg.norm(alone.xbar - batch.xbar[k]) <= 2e-8
        assert abs(alone.steps - batch.steps[k]) <= 1
    if method != "direct":
        assert (np.diff(batch.steps) > 0).sum() >= 6


@pytest.mark.parametrize("method", [*SIMULATED, "direct"])
def test_relative_tolerance_is_a_certified_share_of_the_rest_state(rng, symmetric, method):
    R = symmetric(rng, 6, 30.0)
    X = rng.standard_normal((9, 6)) * np.geomspace(1e-8, 1e8, 9)[:, None]
    found = settle(Circuit(R), X, tol=1e-5, relative=True, method=method)
    rest = np.linalg.solve(R, X.T).T
    assert found.settled.all()
    assert (found.bound <= 1e-5 * np.linalg.norm(rest, axis=1)).all()
    # The reference rounds too: κ ε ‖x̄‖.
    assert (np.linalg.norm(found.xbar - rest, axis=1) <= found.bound + 1e-14 * np.linalg.norm(rest, axis=1)).all()


@pytest.mark.parametrize("method", [*SIMULATED, "direct"])
def test_no_input_is_at_rest_at_once(method):
    for relative in (False, True):
        found = settle(Circuit([[2.0, 1.0], [0.0, 1.0]]), [0.0, 0.0], relative=relative, method=method)
        assert found.settled and found.bound == 0 and found.steps == 0 and found.products == 0
        assert np.array_equal(found.xbar, [0.0, 0.0])


@pytest.mark.parametrize("method", SIMULATED)
def test_a_start_at_rest_needs_one_look(method):
    found = settle(Circuit([[2.0, 0.5], [0.25, 1.0]]), [1.0, -1.75], method=method, initial=[1.0, -2.0])
    assert found.settled and found.steps == 0 and found.time == 0 and found.products == 1
    assert np.array_equal(found.xbar, [1.0, -2.0])


def test_exponential_time_is_the_first_step_that_is_certified(rng, symmetric):
    R = symmetric(rng, 6, 30.0)
    circuit, X, dt = Circuit(R, tau=2.0), rng.standard_normal((10, 6)), 0.05
    found = settle(circuit, X, tol=1e-4, method="exponential", dt=dt)
    assert np.allclose(found.time, found.steps * dt / circuit.tau, rtol=1e-14)
    for k in range(10):
        before, at = circuit.tau * found.time[k] - dt, circuit.tau * found.time[k]
        path = integrate(circuit, X[k], 2 * at, "exponential", [before, at]).xbar
        # σ_min = 1 by construction, so the bound is the residual.
        bounds = np.linalg.norm(X[k] - path @ R.T, axis=1)
        assert bounds[1] <= 1e-4 < bounds[0]
        assert np.abs(path[1] - found.xbar[k]).max() <= 1e-12
        assert found.products[k] <= 2 * (2 * np.log2(found.steps[k]) + 2)


def test_small_euler_steps_take_the_exact_time(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 6, 10.0), tau=5.0), rng.standard_normal((10, 6))
    exact = settle(circuit, X, tol=1e-4, method="exponential", dt=0.005)
    for method, dt, share in (
        ("euler", 0.005, 2e-3),
        ("rk4", 0.05, 5e-3),
        ("rk45", 0.05, 5e-3),
        ("implicit", 0.05, 5e-3),
    ):
        found = settle(circuit, X, tol=1e-4, method=method, dt=dt)
        assert np.allclose(found.time, exact.time, rtol=share)
        assert np.allclose(found.time, found.steps * dt / circuit.tau, rtol=1e-12)


def test_default_euler_step_takes_the_steps_that_theory_predicts():
    # Two modes, κ = 4, shrink by (κ − 1)/(κ + 1) = 0.6 per step; the bound starts at √(1 + 16)/1.
    found = settle(Circuit(np.diag([1.0, 4.0])), [1.0, 4.0], tol=1e-6, method="euler")
    assert abs(found.steps - np.log(1e-6 / np.sqrt(17)) / np.log(0.6)) <= 1


def test_adaptive_steps_stay_below_the_limit_and_reach_it(rng, symmetric):
    found = settle(Circuit(symmetric(rng, 6, 100.0)), rng.standard_normal(6), tol=1e-6, method="rk45")
    mean_step = found.time / found.steps
    assert 0.4 * 3.3066 / 100 <= mean_step <= 0.91 * 3.3066 / 100


@pytest.mark.parametrize("method", [m for m in SIMULATED if m != "auto"])
def test_limits_on_time_and_steps_are_kept_and_named(rng, symmetric, method):
    R = symmetric(rng, 6, 100.0)
    circuit, X = Circuit(R, tau=2.0), rng.standard_normal((4, 6))
    free = settle(circuit, X, tol=1e-8, method=method)
    late = settle(circuit, X, tol=1e-8, method=method, t_max=circuit.tau * free.time.min() / 3)
    assert (late.outcome == "time").all()
    assert (late.time <= free.time.min() / 3 * (1 + 1e-9)).all() and (late.time > free.time.min() / 9).all()
    few = settle(circuit, X, tol=1e-8, method=method, max_steps=5)
    assert (few.outcome == "steps").all() and (few.steps == 5).all()
    for found in (late, few):
        # Not settled, but the bound is as good as any: the true error lies below it.
        assert (found.bound > 1e-8).all()
        assert (np.linalg.norm(found.xbar - np.linalg.solve(R, X.T).T, axis=1) <= found.bound * (1 + 1e-12)).all()
        assert not found.settled.any()


@pytest.mark.parametrize("method", [*SIMULATED, "direct"])
def test_single_precision_says_where_it_ends(rng, symmetric, method):
    R = symmetric(rng, 8, 30.0)
    X = rng.standard_normal((5, 8))
    circuit = Circuit(R.astype(np.float32))
    coarse = settle(circuit, X.astype(np.float32), tol=1e-3, method=method)
    fine = settle(circuit, X.astype(np.float32), tol=1e-12, method=method)
    assert coarse.xbar.dtype == fine.xbar.dtype == np.float32
    assert coarse.settled.all()
    assert (fine.outcome == "precision").all()
    # Rounding of float32 through κ: 30 · 6e-8 · ‖x̄‖ · √n; not a claim of 1e-12, and not far from the truth either.
    assert (fine.bound > 1e-9).all() and (fine.bound < 1e-4).all()


def test_single_precision_input_to_double_weights_settles_in_double(rng, symmetric):
    found = settle(Circuit(symmetric(rng, 4, 5.0)), rng.standard_normal(4).astype(np.float32), tol=1e-12)
    assert found.xbar.dtype == np.float64 and found.settled


def test_auto_simulates_where_a_start_is_given_by_chebyshev_if_that_is_safe(rng, symmetric, rotating, non_normal):
    x, zero = rng.standard_normal(8), np.zeros(8)
    assert settle(Circuit(symmetric(rng, 8, 30.0)), x, initial=zero).method == "chebyshev"
    assert settle(Circuit(rotating(rng, 8, 1.2)), x, initial=zero).method == "exponential"
    assert settle(Circuit(non_normal(rng, 8, 5.0)), x, initial=zero).method == "exponential"
    assert settle(Circuit(non_normal(rng, 8, 5.0)), x).method == "direct"


def test_auto_factors_small_circuits_and_batches_and_marches_single_samples_of_large_ones(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 500, 4.0)), rng.standard_normal((300, 500))
    one = settle(circuit, X[0])
    assert one.method == "chebyshev" and set(one.predicted) == {"direct", "exponential", "chebyshev"}
    assert one.predicted["chebyshev"] == min(one.predicted.values())
    many = settle(circuit, X)
    assert many.method == "direct" and many.predicted["direct"] <= 4
    # Whoever comes back often enough is worth the factors, and then the inverse.
    assert settle(circuit, X[0]).method == "direct"
    fresh = Circuit(circuit.R)
    methods = [settle(fresh, x).method for x in X[:60]]
    assert methods[0] == "chebyshev" and methods[-1] == "direct"
    assert np.linalg.norm(one.xbar - many.xbar[0]) <= one.bound + many.bound[0]


@pytest.mark.parametrize("method", [*SIMULATED, "direct"])
def test_unstable_circuits_raise_before_anything_is_computed(method):
    with pytest.raises(StabilityError, match=r"-1 \(1 such of 2.*unit 1"):
        settle(Circuit(np.diag([1.0, -1.0])), [1.0, 1.0], method=method)


def test_overflow_is_named_not_returned():
    circuit = Circuit(np.diag([0.1, 1.0]).astype(np.float32))
    for method in ("auto", "euler", "rk45", "exponential", "implicit", "direct"):
        with pytest.raises(DivergenceError, match="within float32; sample 1 left it"):
            settle(circuit, np.array([[1.0, 1.0], [3e38, 1.0]], np.float32), relative=True, tol=1e-2, method=method)


@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e30])
def test_scales_far_from_one_settle_in_single_precision(rng, symmetric, scale):
    R = symmetric(rng, 4, 10.0).astype(np.float32)
    X = (scale * rng.standard_normal((3, 4))).astype(np.float32)
    for method in ("auto", "euler", "rk45", "exponential", "direct"):
        assert settle(Circuit(R), X, tol=1e-3, relative=True, method=method).settled.all()


@pytest.mark.parametrize(
    ("X", "options", "error", "words"),
    [
        ([[1.0, np.nan]], {}, InputError, "found nan at row 0, column 1"),
        ([[1.0, 2.0], [np.inf, 0.0]], {}, InputError, "found inf at row 1, column 0"),
        ([1.0, 2.0, 3.0], {}, InputError, "2 features, one per unit; got 3"),
        (np.zeros((2, 2, 2)), {}, InputError, r"shape \(2, 2, 2\)"),
        (np.zeros((0, 2)), {}, InputError, "at least one sample"),
        ([1j, 1.0], {}, InputError, "complex"),
        ([1.0, 1.0], {"tol": 0.0}, ConfigError, "tol must be > 0"),
        ([1.0, 1.0], {"tol": np.nan}, ConfigError, "finite"),
        ([1.0, 1.0], {"method": "chebishev"}, ConfigError, "Did you mean 'chebyshev'"),
        ([1.0, 1.0], {"method": "euler", "dt": 0.0}, ConfigError, "dt must be > 0"),
        ([1.0, 1.0], {"method": "euler", "dt": "small"}, ConfigError, "dt must be a number"),
        ([1.0, 1.0], {"dt": 0.1}, ConfigError, "dt has no meaning for method 'auto'"),
        ([1.0, 1.0], {"method": "direct", "t_max": 1.0}, ConfigError, "t_max has no meaning"),
        ([1.0, 1.0], {"t_max": -1.0}, ConfigError, "t_max must be > 0"),
        ([1.0, 1.0], {"max_steps": 0}, ConfigError, "max_steps must be a whole number ≥ 1"),
        ([1.0, 1.0], {"max_steps": 2.5}, ConfigError, "max_steps must be a whole number"),
        ([1.0, 1.0], {"initial": [1.0]}, InputError, "initial must have 2 features"),
    ],
)
def test_bad_inputs_and_options_are_named(X, options, error, words):
    with pytest.raises(error, match=words):
        settle(Circuit(np.diag([1.0, 2.0])), X, **options)


@pytest.mark.parametrize("sparse", [False, True])
def test_solve_finds_the_rest_state_by_algebra_and_certifies_it(rng, rotating, sparse):
    R, X = rotating(rng, 30, 0.3), rng.standard_normal((5, 30))
    found = solve(SparseCircuit(scipy.sparse.csr_array(R)) if sparse else Circuit(R), X, 1e-9)
    assert found.settled.all() and (found.bound <= 1e-9).all() and (found.steps == 0).all()
    assert (np.linalg.norm(found.xbar - np.linalg.solve(R, X.T).T, axis=1) <= found.bound + 1e-13).all()
    assert np.isnan(found.time).all()


def test_solve_asks_for_no_stability(rng):
    R = -np.eye(4) + 0.1 * rng.standard_normal((4, 4))
    with pytest.raises(StabilityError):
        settle(Circuit(R), np.ones(4))
    assert np.allclose(solve(Circuit(R), np.ones(4)).xbar, np.linalg.solve(R, np.ones(4)), atol=1e-12)
    assert np.allclose(solve(Circuit(R).two_population(), np.ones(4)).xbar, np.linalg.solve(R, np.ones(4)), atol=1e-12)


CONDITIONS = (1e1, 1e3, 1e5, 1e8, 1e10, 1e11, 1e12)
DYNAMICS = ("chebyshev", "exponential")
# A forecast of Chebyshev's products is an upper bound of a reduction that the samples need not have all of; that of
# exact steps looks up to the next power of two.
FACTOR = 3.0


@pytest.fixture(autouse=True)
def no_warnings_of_condition():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        yield


def scaled_rotation(rng, n, condition, angle):
    """Normal, eigenvalues of modulus 1/condition … 1, up to `angle` from the real axis."""
    R = np.zeros((n, n))
    for k, size in enumerate(np.geomspace(1 / condition, 1, n // 2)):
        phi = angle * rng.uniform(-1, 1)
        R[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = size * np.array(
            [[np.cos(phi), -np.sin(phi)], [np.sin(phi), np.cos(phi)]]
        )
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return Q @ R @ Q.T


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2])
def test_auto_settles_wherever_a_method_does_and_within_its_forecast(rng, condition, angle):
    for n, samples in ((4, 1), (12, 40)):
        R = scaled_rotation(rng, n, condition, angle)
        circuit = Circuit((R + R.T) / 2 if angle == 0 else R)
        X = rng.standard_normal((samples, n)) @ circuit.R.T
        for tol in (1e-6, 1e-3):
            found, run = settle(circuit, X, tol, relative=True), settle(circuit, X, tol, relative=True, t_max=1e300)
            forecast = forecasts(circuit, samples, expected_reduction(circuit, X, 0 * X, tol, True), dynamics=True)
            assert run.method == chosen(forecast, 1_000_000)
            assert run.products.max() <= FACTOR * forecast[run.method].products
            others = ["exponential", "implicit", "direct"] + ["chebyshev"] * (
                condition < 1e4
            )  # a million products beyond
            for method in others:
                # At the very edge of precision it is rounding that decides, not the method.
                settled = settle(circuit, X, tol / 10, relative=True, method=method).settled
                assert (found.settled | ~settled).all() and (run.settled | ~settled).all(), (n, tol, method)


def test_ill_conditioned_circuits_take_tens_of_products(rng, symmetric):
    for condition in (1e11, 1e12):
        R = symmetric(rng, 6, condition) / condition
        circuit, x = Circuit((R + R.T) / 2), R @ rng.standard_normal(6)
        found = settle(circuit, x, 1e-3, relative=True, t_max=1e300)
        assert found.settled and found.products <= 100 and found.method == "exponential"
        for _ in range(3):
            rest = settle(circuit, x, 1e-3, relative=True)
            assert rest.bound <= 1e-3 * (np.linalg.norm(rest.xbar) - rest.bound)


def test_forecasts_of_both_methods_are_near_their_counts(rng, symmetric):
    for condition in (3.0, 30.0, 1e3, 1e4):
        circuit, X = Circuit(symmetric(rng, 8, condition)), rng.standard_normal((500, 8))
        forecast = forecasts(circuit, 500, expected_reduction(circuit, X, 0 * X, 1e-6, False), dynamics=True)
        for method in DYNAMICS:
            counted = settle(circuit, X, 1e-6, method=method).products.max()
            assert counted / FACTOR <= forecast[method].products <= FACTOR * counted


def test_more_samples_share_propagators_and_factors(rng, symmetric):
    R = symmetric(rng, 40, 1e3)
    R[0, 1] += 1e-3  # not symmetric: its factors are not those of the proof
    one, many = (forecasts(Circuit(R), samples, 1e6, dynamics=True) for samples in (1, 1000))
    assert one["exponential"].products > 5 * many["exponential"].products
    assert chosen(one, np.inf) == "chebyshev" and chosen(many, np.inf) == "exponential"
    one, many = (forecasts(Circuit(R), samples, 1e6)["direct"].products for samples in (1, 1000))
    assert one > 2.5 and 2 <= many < 2.1
    kept = Circuit(R)
    settle(kept, np.ones(40), method="direct")
    assert forecasts(kept, 1, 1e6)["direct"].products == 2


def test_a_limit_on_steps_takes_the_method_that_keeps_it():
    forecast = {"chebyshev": Forecast(500.0, 500.0), "exponential": Forecast(50.0, 900.0)}
    assert [chosen(forecast, most) for most in (1000, 600, 100)] == ["exponential", "chebyshev", "chebyshev"]


def test_growing_circuits_take_exact_steps(non_normal, rng):
    circuit = Circuit(non_normal(rng, 8, 5.0))
    assert np.isinf(forecasts(circuit, 1, 1e6, dynamics=True)["chebyshev"].products)
    assert settle(circuit, rng.standard_normal(8), t_max=1e3).method == "exponential"


def random_circuit(seed):
    """One of 200 stable circuits: 4 to 120 units, condition to 1e12, a skew part of up to 3‖R‖."""
    rng = np.random.default_rng(seed)
    n, condition = int(rng.integers(4, 121)), 10 ** rng.uniform(0, 12)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    R = (Q * np.geomspace(1 / condition, 1, n)) @ Q.T
    K = rng.standard_normal((n, n))
    K = (K - K.T) * rng.choice([0.0, 0.1, 1.0, 3.0]) / max(np.linalg.norm(K - K.T, 2), 1e-300)
    return Circuit((R + R.T) / 2 + K), rng.standard_normal((256, n)) @ R.T


def price(circuit, X, method, seen):
    """Products per sample that a method takes to a relative 1e-6, its analysis and factors included; ∞ if it fails."""
    predicted = forecasts(circuit, seen, expected_reduction(circuit, X, 0 * X, 1e-6, True))
    if method == "direct":
        return predicted["direct"].products
    found = settle(circuit, X, 1e-6, relative=True, method=method, max_steps=20_000)
    return float(found.products.max()) if found.settled.all() else np.inf


@pytest.mark.parametrize("samples", [1, 256])
def test_auto_is_within_twice_the_best_method_for_nearly_all_circuits(samples):
    good = []
    for seed in range(0, 200, 10):
        circuit, X = random_circuit(seed)
        X = X[:samples]
        try:
            found = settle(circuit, X, 1e-6, relative=True)
        except StabilityError:  # rounding may take the least eigenvalue across zero
            continue
        prices = {method: price(Circuit(circuit.R), X, method, samples) for method in ("direct", *DYNAMICS)}
        good.append(prices[found.method] <= 2 * min(prices.values()))
    assert len(good) >= 15 and np.mean(good) >= 0.95, good


@pytest.mark.parametrize("condition", CONDITIONS)
def test_sparse_and_two_population_circuits_settle_at_any_condition(rng, symmetric, condition):
    R = symmetric(rng, 12, condition) / condition
    x = R @ rng.standard_normal(12)
    sparse = SparseCircuit(scipy.sparse.csr_array(R))
    found = settle(sparse, x, 1e-3, relative=True)
    assert found.settled and found.products <= 1000
    for method in ("bicgstab", "gmres"):
        other = settle(sparse, x, 1e-6, relative=True, method=method, max_steps=2000)
        assert settle(sparse, x, 1e-6, relative=True).settled or not other.settled
    if condition <= 1e6:  # theirs is the square
        assert settle(TwoPopulationCircuit(R), x, 1e-3, relative=True).settled


def test_a_circuit_without_a_bound_of_its_least_singular_value_certifies_nothing():
    circuit = Circuit(np.diag(np.geomspace(1.1e-15, 1.0, 8)))
    assert circuit.spectrum.sigma_low <= 0
    for method in ("auto", "direct", "chebyshev"):
        assert np.isinf(settle(circuit, np.ones(8), 1e-3, method=method).bound)
