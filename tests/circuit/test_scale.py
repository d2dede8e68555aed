"""The certificate holds over the whole range of floats: drives times 2^k, judged in rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

from neurodecorr._numerics.norms import norm, norms
from neurodecorr.circuit import Circuit, Settler, SparseCircuit, TwoPopulationCircuit, certificate, settle, stability
from neurodecorr.circuit.certificate import exponents
from neurodecorr.errors import ConfigError, InputError

N = 3
POWERS = (-1074, -1070, -1060, -1030, -1000, -700, -540, -520, -511, -400, -301, 0, 301, 505, 512, 700, 1000, 1015)
SINGLE = (-149, -145, -130, -110, -70, -41, 0, 41, 63, 100, 120)
MATRICES = {
    "symmetric": np.array([[1.5, 0.25, 0.0], [0.25, 2.0, -0.5], [0.0, -0.5, 0.75]]),
    "turning": np.array([[1.0, 0.75, 0.0], [-0.75, 1.0, 0.5], [0.0, -0.5, 1.25]]),
    "far from normal": np.array([[1.0, 3.0, -2.0], [0.0, 1.5, 4.0], [0.0, 0.0, 2.0]]),
}
DRIVE = np.array([0.75, -1.25, 0.5])
METHODS = ("auto", "euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "direct", "twin")


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
            options = {"matrix": np.linalg.inv(MATRICES[name])} if method == "twin" else {}
            for tol, relative in ((1e-6 if dtype == np.float64 else 1e-4, False), (1e-4, True)):
                rest = settle(circuit, X, tol, relative=relative, method=method, **options)
                assert exact.misses(X, rest.xbar, rest.bound) == [], (power, method, relative)
                # Two populations square the condition, which is too much for float32 here.
                able = dtype == np.float64 or kind is Circuit
                assert rest.settled[1:].all() or not able, (power, method, relative)
                # Where results keep their digits, all settle relative to their own size.
                if able and relative and (power > -1000 if dtype == np.float64 else power > -110):
                    assert rest.settled[0], (power, method)
                if relative and power == (POWERS if dtype == np.float64 else SINGLE)[0]:
                    # The least number that there is: half of it is rounding.
                    assert rest.bound[0] > 0 and rest.outcome[0] in ("precision", "mismatch")


@pytest.mark.parametrize("name", MATRICES)
def test_sparse_circuits_and_prepared_ones_hold_too(name):
    R, exact = MATRICES[name], Exact(MATRICES[name])
    sparse, prepared = SparseCircuit(scipy.sparse.csr_array(R)), []
    for method in ("auto", "chebyshev", "direct"):
        for tol, relative in ((1e-6, False), (1e-4, True)):
            prepared.append(Settler(Circuit(R), tol, relative, method))
    definite = np.linalg.eigvalsh(R + R.T)[0] > 0
    for power in POWERS:
        X = drives(power, np.float64)
        for method in ("auto", "bicgstab", "gmres") + (("chebyshev",) if definite else ()):
            for tol, relative in ((1e-4, True), (max(2.0 ** max(power - 20, -1074), 5e-324), False)):
                rest = settle(sparse, X[:1], tol, relative=relative, method=method)
                assert exact.misses(X[:1], rest.xbar, rest.bound) == [], (power, method, relative)
                assert rest.settled.all() or power < -1000, (power, method, relative)
        for settler in prepared:
            assert exact.misses(X, *settler(X)) == [], (power, settler.method)
            assert exact.misses(X[0], *settler(X[0])) == [], (power, settler.method)


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
