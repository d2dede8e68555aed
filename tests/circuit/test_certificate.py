from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

from neurodecorr._numerics.norms import norm, norms
from neurodecorr.circuit import Circuit, SparseCircuit, TwoPopulationCircuit, certificate, settle, stability
from neurodecorr.circuit.certificate import certified, exponents, residual
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.errors import ConfigError, InputError


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
        bound = certified(R, x[None], xbar[None], facts.sharp_sigma_low).bound[0]
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


N = 3
POWERS = (-1074, -1070, -1060, -1030, -1000, -700, -540, -520, -511, -400, -301, 0, 301, 505, 512, 700, 1000, 1015)
SINGLE = (-149, -145, -130, -110, -70, -41, 0, 41, 63, 100, 120)
MATRICES = {
    "symmetric": np.array([[1.5, 0.25, 0.0], [0.25, 2.0, -0.5], [0.0, -0.5, 0.75]]),
    "turning": np.array([[1.0, 0.75, 0.0], [-0.75, 1.0, 0.5], [0.0, -0.5, 1.25]]),
    "far from normal": np.array([[1.0, 3.0, -2.0], [0.0, 1.5, 4.0], [0.0, 0.0, 2.0]]),
}
DRIVE = np.array([0.75, -1.25, 0.5])
METHODS = ("auto", "euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "direct")


def inverse(R):
    """The inverse in rational arithmetic, by Gauss–Jordan elimination."""
    rows = [[Fraction(v) for v in R[i].tolist()] + [Fraction(i == j) for j in range(N)] for i in range(N)]
    for k in range(N):
        pivot = next(i for i in range(k, N) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        rows = [
            row if i == k else [v - row[k] * top for v, top in zip(row, rows[k], strict=True)]
            for i, row in enumerate(rows)
        ]
    return [row[N:] for row in rows]


class Exact:
    """Rest states of one circuit."""

    def __init__(self, R):
        self.M = inverse(R)

    def misses(self, X, xbar, bound):
        """Rows whose true error exceeds the bound."""
        wrong = []
        for row, (x, z, b) in enumerate(zip(np.atleast_2d(X), np.atleast_2d(xbar), np.atleast_1d(bound), strict=True)):
            if np.isfinite(b):
                drive = [Fraction(float(v)) for v in x]
                rest = [sum(m * v for m, v in zip(line, drive, strict=True)) for line in self.M]
                square = sum((Fraction(float(v)) - r) ** 2 for v, r in zip(z, rest, strict=True))
                if square > Fraction(float(b)) ** 2:
                    wrong.append(row)
        return wrong


def drives(power, dtype):
    """One row at 2^power beside one of ordinary size, and one that is zero."""
    return np.stack([np.ldexp(DRIVE, power), DRIVE, np.zeros(N)]).astype(dtype)


@pytest.mark.parametrize("kind", [Circuit, TwoPopulationCircuit])
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_method_certifies_less_than_the_true_error_at_any_scale(kind, name, dtype):
    circuit, exact = kind(MATRICES[name].astype(dtype)), Exact(MATRICES[name])
    for power in POWERS if dtype == np.float64 else SINGLE:
        X = drives(power, dtype)
        for method in METHODS:
            for tol, relative in ((1e-6 if dtype == np.float64 else 1e-4, False), (1e-4, True)):
                rest = settle(circuit, X, tol, relative=relative, method=method)
                assert exact.misses(X, rest.xbar, rest.bound) == [], (power, method, relative)
                # Two populations square the condition, which is too much for float32 here.
                able = dtype == np.float64 or kind is Circuit
                assert rest.settled[1:].all() or not able, (power, method, relative)
                # Where results keep their digits, all settle relative to their own size.
                if able and relative and (power > -1000 if dtype == np.float64 else power > -110):
                    assert rest.settled[0], (power, method)
                if relative and power == (POWERS if dtype == np.float64 else SINGLE)[0]:
                    # The least number that there is: half of it is rounding.
                    assert rest.bound[0] > 0 and rest.outcome[0] == "precision"


@pytest.mark.parametrize("name", MATRICES)
def test_sparse_circuits_and_prepared_ones_hold_too(name):
    R, exact = MATRICES[name], Exact(MATRICES[name])
    sparse, prepared = SparseCircuit(scipy.sparse.csr_array(R)), Circuit(R)
    for _ in range(3):  # enough for it to keep its inverse
        settle(prepared, np.zeros(N))
    definite = np.linalg.eigvalsh(R + R.T)[0] > 0
    for power in POWERS:
        X = drives(power, np.float64)
        for method in ("auto", "bicgstab", "gmres") + (("chebyshev",) if definite else ()):
            for tol, relative in ((1e-4, True), (max(2.0 ** max(power - 20, -1074), 5e-324), False)):
                rest = settle(sparse, X[:1], tol, relative=relative, method=method)
                assert exact.misses(X[:1], rest.xbar, rest.bound) == [], (power, method, relative)
                assert rest.settled.all() or power < -1000, (power, method, relative)
        for drive in (X, X[0], X[1]):
            for tol, relative in ((1e-6, False), (1e-4, True)):
                rest = settle(prepared, drive, tol, relative=relative)
                assert exact.misses(drive, rest.xbar, rest.bound) == [], (power, relative)


@pytest.mark.parametrize("name", MATRICES)
def test_read_outs_of_any_size_are_certified_at_any_scale(name):
    R, exact = MATRICES[name], Exact(MATRICES[name])
    rest = np.linalg.solve(R, DRIVE)
    for power in POWERS:
        for other in (power, -1074, -540, 0, 900):
            X, xbar = np.ldexp(DRIVE, power), np.ldexp(rest * 1.01, other)
            assert exact.misses(X, xbar, certificate(Circuit(R), X, xbar).bound) == [], (power, other)


def test_a_start_far_from_the_drive_is_certified_on_its_whole_way():
    R = MATRICES["symmetric"]
    exact = Exact(R)
    for drive_power, start_power in ((-1000, 0), (-1074, -600), (0, 1000), (-600, 300), (0, 520)):
        X, begin = np.ldexp(DRIVE, drive_power), np.ldexp(np.ones(N), start_power)
        for method in ("auto", "euler", "rk45", "exponential", "chebyshev", "implicit"):
            for options in ({"tol": 1e-300}, {"tol": 1e-4, "relative": True}, {"tol": 1e-200, "t_max": 300.0}):
                rest = settle(Circuit(R), X, initial=begin, method=method, **options)
                assert exact.misses(X, rest.xbar, rest.bound) == [], (drive_power, start_power, method)
    decays = settle(Circuit(R), np.zeros(N), 1e-9, relative=True, initial=np.ones(N), method="euler")
    assert exact.misses(np.zeros(N), decays.xbar, decays.bound) == []


def test_scaling_by_powers_of_two_changes_nothing_but_the_scale():
    X = np.random.default_rng(0).standard_normal((4, N))
    for method in ("euler", "rk45", "exponential", "chebyshev", "direct"):
        one = settle(Circuit(MATRICES["symmetric"]), X, 1e-6, relative=True, method=method)
        for power in (-900, 900):
            other = settle(Circuit(MATRICES["symmetric"]), np.ldexp(X, power), 1e-6, relative=True, method=method)
            # A unit of its own is a power of two near that of the row; the digits may differ by roundings.
            np.testing.assert_allclose(np.ldexp(other.xbar, -power), one.xbar, rtol=1e-5, atol=0)


def test_norms_neither_overflow_nor_underflow():
    for power in POWERS:
        v = np.ldexp([3.0, -4.0], power)
        for found in (norm(v), norms(v), norms(v[None])[0]):
            assert abs(Fraction(float(found)) - Fraction(5) * Fraction(2) ** power) <= Fraction(2) ** (power - 50)
    assert norms(np.zeros((2, 0))).tolist() == [0.0, 0.0]
    assert np.isnan(norm(np.array([np.nan, 1.0]))) and norm(np.array([1.0, np.inf])) == np.inf
    assert np.isnan(norms(np.array([1.0, np.nan, 0.0]))) and norms(np.array([-np.inf, 1.0])) == np.inf


def test_rows_of_ordinary_size_are_left_as_they_are():
    rows = np.array([[1e80, 1.0], [1e-80, 0.0], [0.0, 0.0], [1e-120, 0.0], [1e120, 1.0]])
    assert exponents(np.float64, rows).astype(bool).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("size", [1e-300, 1e-100, 1e100, 1e300])
def test_weights_that_leave_no_room_for_products_are_refused(size):
    for make in (Circuit, TwoPopulationCircuit, lambda R: SparseCircuit(scipy.sparse.csr_array(R))):
        with pytest.raises(InputError, match="largest weight"):
            make(size * np.eye(2))
    # A small weight beside others is none of these.
    assert stability(Circuit([[1.0, 1e-300], [0.0, 1.0]])).stable
    with pytest.raises(ConfigError, match="factor"):
        TwoPopulationCircuit(np.eye(2), 1.0, size)
