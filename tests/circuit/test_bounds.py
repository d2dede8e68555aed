import numpy as np
import pytest

from neurodecorr.circuit import Circuit, settle, solve
from neurodecorr.circuit.bounds import coercivity, enclosure
from neurodecorr.circuit.model import Factors
from neurodecorr.errors import DivergenceError, InputError, StabilityError


def tilted(rng, symmetric, n, condition, share):
    """A symmetric matrix plus a Gaussian one of spectral norm about 2 `share`."""
    return symmetric(rng, n, condition) + share * rng.standard_normal((n, n)) / np.sqrt(n)


def enclosed(F, symmetric):
    return enclosure(F, symmetric, coercivity(F, symmetric, np.linalg.norm(F)))


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("condition", [4.0, 100.0])
def test_proven_side_holds_and_is_near(rng, symmetric, share, condition):
    for n in (20, 150):
        F = tilted(rng, symmetric, n, condition, share)
        found = enclosed(F, symmetric=share == 0)
        S, K = np.linalg.eigvalsh((F + F.T) / 2), np.linalg.norm((F - F.T) / 2, 2)
        assert found.low <= S[0] and found.low <= np.linalg.svd(F, compute_uv=False)[-1]
        assert found.low <= np.linalg.eigvals(F).real.min()
        assert found.low >= 0.5 * S[0]
        assert 0.85 * S[-1] <= found.high <= 1.15 * S[-1]
        assert 0.7 * K <= found.skew <= 1.15 * K


def test_proven_side_holds_for_graded_and_nearly_singular_matrices():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 12))
        Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
        F = (Q * 10 ** rng.uniform(-9, 2, n)) @ Q.T
        F = (F + F.T) / 2
        found = enclosed(F, symmetric=True)
        # eigvalsh errs by n ε σ_max; what it cannot tell apart from zero must not be proven either.
        assert found is None or found.low <= np.linalg.eigvalsh(F)[0] + n * 2.3e-16 * np.linalg.norm(F, 2)


def test_indefinite_symmetric_parts_have_no_enclosure(rng):
    assert enclosed(np.diag(np.r_[-1e-3, np.ones(30)]), symmetric=True) is None
    assert enclosed(np.eye(5) - 1.5 * np.eye(5, k=1), symmetric=False) is None


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_large_circuits_settle_without_dense_eigenvalues(rng, symmetric, share):
    n = 420
    circuit = Circuit(tilted(rng, symmetric, n, 10.0, share))
    X = rng.standard_normal((5, n))
    rest = np.linalg.solve(circuit.R, X.T).T
    for method in ("auto", "direct", "chebyshev"):
        found = settle(circuit, X, 1e-6, method=method)
        assert found.settled.all()
        assert (np.linalg.norm(found.xbar - rest, axis=1) <= found.bound).all()
    facts = vars(circuit.spectrum)
    assert "eigenvalues" not in facts and "_sigma" not in facts


def test_large_circuits_without_enclosure_are_judged_by_all_their_modes(rng):
    R = np.eye(410) - 1.2 * np.eye(410, k=1) * (np.arange(410) < 5)[:, None]
    x = rng.standard_normal(410)
    assert settle(Circuit(R), x, 1e-6).settled
    R[0, 0] = -1.0
    with pytest.raises(StabilityError, match="unit 0"):
        settle(Circuit(R), x)
    with pytest.raises(InputError, match="invertible"):
        Circuit(np.ones((410, 410)))


def test_factors_solve_to_the_residual_of_a_stable_factorisation():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 40))
        A = rng.standard_normal((n, n)) * 10 ** rng.uniform(-2, 2, (n, 1))
        for matrix, symmetric in ((A, False), (A @ A.T + 1e-3 * np.eye(n), True)):
            matrix = (matrix + matrix.T) / 2 if symmetric else matrix
            factors, u = Factors(matrix, symmetric), rng.standard_normal((3, n))
            z = factors.solve(u)
            gap = u.astype(np.longdouble) - z.astype(np.longdouble) @ matrix.T.astype(np.longdouble)
            allowed = 1e-13 * n * np.linalg.norm(matrix) * np.linalg.norm(z, axis=1)
            assert factors.definite == symmetric
            assert (np.linalg.norm(gap.astype(float), axis=1) <= allowed).all()


def test_direct_solutions_are_proven_by_their_residual_and_refined_where_that_is_too_little(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 30, 10.0)), rng.standard_normal((4, 30))
    rest = np.linalg.solve(circuit.R, X.T).T
    for tol in (1e-6, 1e-13):
        found = settle(circuit, X, tol, method="direct")
        assert found.settled.all()
        # The reference itself is good to κ ε ‖x̄‖ √n.
        assert (np.linalg.norm(found.xbar - rest, axis=1) <= found.bound + 1e-14).all()


@pytest.mark.parametrize("kind", ["symmetric", "rotating"])
@pytest.mark.parametrize("fault", [1e-7, 1e-3, 1.0, 1e6, np.inf, np.nan])
@pytest.mark.parametrize("always", [False, True])
def test_what_a_broken_solver_returns_is_mended_or_not_called_settled(rng, request, monkeypatch, kind, fault, always):
    circuit = Circuit(request.getfixturevalue(kind)(rng, 12, {"symmetric": 10.0, "rotating": 0.8}[kind]))
    X = rng.standard_normal((6, 12))
    rest, whole, calls = np.linalg.solve(circuit.R, X.T).T, circuit.factors.solve, []

    def broken(U):
        Z = whole(U)
        if always or not calls:
            Z[0, 3] += fault * np.linalg.norm(Z)
        calls.append(len(U))
        return Z

    monkeypatch.setattr(circuit.factors, "solve", broken)
    if not np.isfinite(fault):
        with pytest.raises(DivergenceError):
            solve(circuit, X, 1e-9)
        return
    found = solve(circuit, X, 1e-9)
    assert calls == [6, 1] and found.settled[1:].all()
    for result in (found, settle(circuit, X, 1e-9, method="direct")):
        error = np.linalg.norm(result.xbar - rest, axis=1)
        assert (error <= result.bound + 1e-13).all() and (result.settled == (result.bound <= 1e-9)).all()


def test_symmetric_but_indefinite_matrices_are_factored_by_lu(rng):
    factors = Factors(np.diag([1.0, -2.0, 3.0]), True)
    assert not factors.definite
    assert np.allclose(factors.solve(np.array([[1.0, 2.0, 3.0]])), [[1.0, -1.0, 1.0]])
