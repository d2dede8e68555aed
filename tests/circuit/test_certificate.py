from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

from neurodecorr.circuit import Circuit, SparseCircuit, certificate, settle
from neurodecorr.circuit.certificate import certified, residual
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.errors import InputError


def random_weights(rng, n):
    """Gaussian, triangular with off-diagonals up to 10³ times the diagonal, or with rows on very different scales."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.standard_normal((n, n))
    if kind == 1:
        return np.diag(rng.uniform(0.5, 2, n)) + np.triu(10 ** rng.uniform(0, 3) * rng.standard_normal((n, n)), 1)
    return 10 ** rng.uniform(-2, 2, (n, 1)) * rng.standard_normal((n, n))


def random_state(rng, R, x):
    """A state near rest: at rest to rounding, or off by 10⁻¹⁷ to 1 of itself."""
    rest = np.linalg.solve(R, x)
    return rest + 10 ** rng.uniform(-17, 0) * np.linalg.norm(rest) * rng.standard_normal(len(x))


def test_bound_holds_in_ten_thousand_of_ten_thousand_circuits_in_exact_arithmetic(exact_error):
    held = sharp = 0
    for seed in range(10_000):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 4))
        R, x = random_weights(rng, n), 10 ** rng.uniform(-6, 8) * rng.standard_normal(n)
        xbar = random_state(rng, R, x)
        facts = Spectrum(R)
        bound = certified(R, x[None], xbar[None], facts.sigma_low).bound[0]
        error = exact_error(R, x, xbar)
        held += error <= bound
        sharp += bound <= 2 * facts.condition * error
    assert held == 10_000
    # ‖x − R x̄‖/σ_min ≤ κ ‖x̄ − x̄*‖: more than that would be slack.
    assert sharp == 10_000


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="needs a long double of 80 bits")
def test_bound_holds_for_larger_circuits_in_extended_precision():
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(4, 33))
        R, x = random_weights(rng, n), 10 ** rng.uniform(-6, 8) * rng.standard_normal(n)
        xbar = random_state(rng, R, x)
        facts = Spectrum(R)
        if facts.condition > 1e8:
            continue
        inverse, wide = np.linalg.inv(R), R.astype(np.longdouble)
        rest = (inverse @ x).astype(np.longdouble)
        for _ in range(5):
            rest += inverse @ (x - wide @ rest)
        error = float(np.linalg.norm((xbar - rest).astype(np.float64)))
        slack = n * facts.condition * float(np.finfo(np.longdouble).eps) * np.linalg.norm(xbar)
        assert error <= certified(R, x[None], xbar[None], facts.sigma_low).bound[0] + slack


def test_rounding_of_the_residual_stays_within_its_bound_where_everything_cancels():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 9))
        A, z = random_weights(rng, n), 10 ** rng.uniform(-8, 8) * rng.standard_normal(n)
        u = A @ z
        computed, rounding = residual(A, u[None], z[None])
        exact = [Fraction(u[i]) - sum(Fraction(A[i, j]) * Fraction(z[j]) for j in range(n)) for i in range(n)]
        off = sum((Fraction(c) - e) ** 2 for c, e in zip(computed[0], exact, strict=True))
        assert float(off) ** 0.5 <= rounding[0]
        # The point of splitting: far below the rounding of a plain product.
        assert rounding[0] <= 1e-5 * (n + 2) * np.finfo(float).eps * np.linalg.norm(A) * np.linalg.norm(
            z
        ) + 1e-15 * max(np.linalg.norm(computed), 1e-300)


def test_states_of_1e8_are_certified_to_1e_minus_6(rng, symmetric, exact_error):
    # Rounding of x̄ alone, κ ε ‖x̄‖ = 10 · 2e-16 · 2e8, leaves room for 1e-6; a plain residual would not prove it.
    R = symmetric(rng, 4, 10.0)
    x = R @ (1e8 + rng.standard_normal(4))
    found = settle(Circuit(R), x, tol=1e-6)
    assert found.settled
    assert exact_error(R, x, found.xbar) <= found.bound <= 1e-6


def test_tolerance_below_rounding_is_not_claimed(rng, symmetric, exact_error):
    R = symmetric(rng, 3, 10.0)
    x = R @ (1e8 + rng.standard_normal(3))
    for method in ("auto", "euler", "rk4", "rk45", "exponential", "implicit", "direct"):
        found = settle(Circuit(R), x, tol=1e-9, method=method)
        assert found.outcome == "precision"
        assert exact_error(R, x, found.xbar) <= found.bound
        assert 1e-9 < found.bound < 1e-5


@pytest.mark.parametrize("method", ["euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "direct"])
def test_settle_never_stops_early(method, exact_error):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 4))
        R = np.diag(rng.uniform(0.3, 2, n)) + np.triu(rng.uniform(0, 20) * rng.standard_normal((n, n)), 1)
        x = 10 ** rng.uniform(-3, 5) * rng.standard_normal(n)
        tol = 10 ** rng.uniform(-9, -1) * np.linalg.norm(np.linalg.solve(R, x))
        found = settle(Circuit(R), x, tol, method=method)
        error = exact_error(R, x, found.xbar)
        assert error <= found.bound
        assert found.settled
        assert error <= tol


@pytest.mark.slow
def test_settle_never_stops_early_in_ten_thousand_circuits(exact_error):
    methods, settled = ("auto", "euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "direct"), 0
    for seed in range(10_000):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 5))
        R = np.diag(rng.uniform(0.3, 2, n)) + np.triu(10 ** rng.uniform(-2, 2) * rng.standard_normal((n, n)), 1)
        x = 10 ** rng.uniform(-3, 8) * rng.standard_normal(n)
        tol = 10 ** rng.uniform(-13, -1) * np.linalg.norm(np.linalg.solve(R, x))
        found = settle(Circuit(R), x, tol, method=methods[seed % len(methods)])
        error = exact_error(R, x, found.xbar)
        assert error <= found.bound
        assert found.outcome in ("settled", "precision")
        assert found.outcome == "precision" or error <= tol
        settled += found.settled
    assert settled > 9_000


def test_certificate_of_a_foreign_solution_is_that_of_the_weights(rng, symmetric):
    R = symmetric(rng, 5, 30.0)
    X = rng.standard_normal((3, 5))
    rest = np.linalg.solve(R, X.T).T
    off = rest + 1e-3 * rng.standard_normal(rest.shape)
    for circuit in (Circuit(R), Circuit(R).two_population(0.1), SparseCircuit(scipy.sparse.csr_array(R))):
        found = certificate(circuit, X, off)
        assert np.allclose(found.residual, np.linalg.norm(X - off @ R.T, axis=1), rtol=1e-9)
        # σ_min = 1 by construction.
        assert np.allclose(found.bound, found.residual, rtol=1e-9)
    with pytest.raises(InputError, match="one row per row of X"):
        certificate(Circuit(R), X, off[:2])


def test_bound_of_single_precision_states_is_computed_in_double(rng, symmetric):
    R = symmetric(rng, 6, 20.0).astype(np.float32)
    x = rng.standard_normal(6).astype(np.float32)
    found = settle(Circuit(R), x, tol=1e-3)
    rest = np.linalg.solve(R.astype(float), x.astype(float))
    assert found.xbar.dtype == np.float32
    assert found.bound.dtype == np.float64
    assert np.linalg.norm(found.xbar - rest) <= found.bound <= 1e-3
