import numpy as np
import pytest
import scipy.linalg

from neurodecorr.circuit import Circuit, TwoPopulationCircuit, integrate, krylov_trajectories
from neurodecorr.circuit.bounds import Enclosure
from neurodecorr.circuit.krylov_trajectories import arnoldi_frames, expand, projected
from neurodecorr.circuit.problem import Problem


def closed_form(circuit, X, t):
    """Return x̄(t) = (I − e^(−tR/τ)) R⁻¹x per time and sample, one matrix exponential per time."""
    rest = np.linalg.solve(circuit.R, X.T)
    return np.array([(rest - scipy.linalg.expm(-time / circuit.tau * circuit.R) @ rest).T for time in t])


def worst(found, exact):
    """Largest error of a frame over the largest activity, per sample."""
    return (np.linalg.norm(found - exact, axis=2).max(axis=0) / np.linalg.norm(exact, axis=2).max(axis=0)).max()


@pytest.mark.parametrize("condition", [4.0, 100.0, 1000.0])
@pytest.mark.parametrize("rtol", [1e-4, 1e-7, 1e-10])
def test_all_frames_of_one_basis_are_exact_to_the_tolerance(rng, symmetric, condition, rtol):
    circuit, X = Circuit(symmetric(rng, 60, condition), tau=3.0), rng.standard_normal((4, 60))
    times = np.linspace(0, 12, 23)
    found = integrate(circuit, X, 12.0, "chebyshev", times, rtol=rtol)
    assert worst(found.xbar, closed_form(circuit, X, times)) <= rtol
    assert (found.steps == 23).all()


def test_frames_are_free_and_the_default_tolerance_takes_few_products(rng, symmetric):
    circuit, x = Circuit(symmetric(rng, 60, 4.0)), rng.standard_normal(60)
    few, many = (integrate(circuit, x, 8.0, "auto", np.linspace(0, 8, k)) for k in (9, 201))
    assert few.products == many.products <= 20
    assert worst(many.xbar[:, None], closed_form(circuit, x[None], many.t)) <= 1e-7


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_mildly_non_normal_circuits_keep_the_tolerance_with_few_products(rng, symmetric, share):
    R = symmetric(rng, 60, 4.0) + share * rng.standard_normal((60, 60)) / np.sqrt(60)
    circuit, X, times = Circuit(R), rng.standard_normal((3, 60)), np.linspace(0.1, 8, 11)
    found = integrate(circuit, X, 8.0, "chebyshev", times)
    assert worst(found.xbar, closed_form(circuit, X, times)) <= 1e-7
    assert (found.products <= 40).all()


@pytest.mark.parametrize("kind", ["rotating", "non_normal"])
def test_circuits_far_from_real_keep_the_tolerance_by_whatever_way_is_taken(rng, request, kind):
    R = request.getfixturevalue(kind)(rng, 52, 1.2)
    circuit, X, times = Circuit(R), rng.standard_normal((3, 52)), np.linspace(0, 4, 9)
    found = integrate(circuit, X, 4.0, "auto", times)
    assert worst(found.xbar, closed_form(circuit, X, times)) <= 1e-7


def test_starting_activity_and_zero_input_enter_the_basis(rng, symmetric):
    circuit, x = Circuit(symmetric(rng, 60, 4.0)), rng.standard_normal(60)
    rest = np.linalg.solve(circuit.R, x)
    found = integrate(circuit, x, 2.0, "chebyshev", [0.0, 2.0], initial=rest + 1.0)
    assert np.allclose(found.xbar[0], rest + 1.0, rtol=1e-12)
    assert np.allclose(found.xbar[1] - rest, scipy.linalg.expm(-2 * circuit.R) @ np.ones(60), atol=1e-6)
    assert not integrate(circuit, 0 * x, 2.0, "chebyshev").xbar.any()


def test_single_precision_frames_are_good_to_its_rounding(rng, symmetric):
    circuit, X = Circuit(symmetric(rng, 60, 4.0).astype(np.float32)), rng.standard_normal((3, 60)).astype(np.float32)
    times = np.linspace(0, 8, 9)
    found = integrate(circuit, X, 8.0, "chebyshev", times)
    wide = Circuit(circuit.R.astype(float))
    assert found.xbar.dtype == np.float32
    assert worst(found.xbar, closed_form(wide, X.astype(float), times)) <= 2e-5


def test_two_population_and_unstable_circuits_have_no_real_basis_and_go_exactly(rng):
    R, x = rng.standard_normal((30, 30)), rng.standard_normal(30)
    pair, plain = TwoPopulationCircuit(R), Circuit(R)
    for circuit in (pair, plain):
        exact, found = (
            integrate(circuit, x, 2.0, method, [0.5, 2.0], allow_unstable=True) for method in ("exponential", "auto")
        )
        assert np.abs(exact.state - found.state).max() <= 1e-12 * np.abs(exact.state).max()


def test_expansion_refuses_a_field_that_rounding_would_swamp():
    assert expand(Enclosure(0.1, 100.0, 60.0), np.array([50.0]), 1e-7) is None
    assert expand(Enclosure(1.0, 4.0, 0.2), np.array([5.0]), 1e-7) is not None
    assert expand(Enclosure(1.0, 1e9, 0.0), np.array([1e3]), 1e-7) is None


def test_frames_by_doubling_are_those_by_marching(rng, rotating, non_normal):
    for R in (rotating(rng, 8, 0.8), non_normal(rng, 8, 1.0)):
        circuit, X = Circuit(R, tau=2.0), rng.standard_normal((5, 8))
        for times in (np.linspace(0, 6, 38), np.linspace(0, 6, 38)[1:], np.linspace(0, 6, 3)):
            found = integrate(circuit, X, 6.0, "exponential", times, initial=np.ones(8))
            rest = np.linalg.solve(R, X.T)
            exact = [(rest + scipy.linalg.expm(-t / 2 * R) @ (1 - rest)).T for t in times]
            assert np.abs(found.xbar - exact).max() <= 1e-13 * np.abs(exact).max()


TIMES = np.linspace(0, 10, 21)


def grcar(rng, n):
    """Pseudospectra far beyond its eigenvalues; field of values into the left half-plane."""
    return 1.2 * np.eye(n) - np.eye(n, k=-1) + sum(np.eye(n, k=k) for k in (1, 2, 3))


def jordan(rng, n):
    """One eigenvalue, 1, and one eigenvector: e^(−tR) grows like t^k e^(−t) before it decays."""
    return np.eye(n) + 1.5 * np.eye(n, k=1)


def triangular(rng, n):
    """Eigenvalues in [0.5, 1.5], and transients that grow by the entries above them."""
    return np.diag(0.5 + rng.random(n)) + np.triu(0.5 * rng.standard_normal((n, n)), 1)


FAMILIES = [grcar, jordan, triangular]


def krylov_closed_form(R, X, times, initial=0.0):
    """Return x̄(t), (times, samples, n), one scipy exponential of the augmented matrix per time."""
    n, start = len(R), np.broadcast_to(initial, X.shape)
    block = np.block([[-R, np.eye(n)], [np.zeros((n, 2 * n))]])
    flows = [scipy.linalg.expm(t * block) for t in times]
    return np.array([start @ E[:n, :n].T + X @ E[:n, n:].T for E in flows])


def problem_of(R, X):
    return Problem(Circuit(R), X, np.zeros_like(X))


@pytest.mark.parametrize("rtol", [1e-3, 1e-7, 1e-10])
@pytest.mark.parametrize("family", FAMILIES)
def test_frames_of_non_normal_circuits_keep_the_tolerance(rng, family, rtol):
    R, X = family(rng, 60), rng.standard_normal((3, 60))
    assert np.linalg.eigvalsh(R + R.T)[0] < 0 < np.linalg.eigvals(R).real.min()
    found = integrate(Circuit(R), X, 10.0, "arnoldi", TIMES, rtol=rtol)
    assert worst(found.xbar, krylov_closed_form(R, X, TIMES)) <= rtol


@pytest.mark.parametrize("family", FAMILIES)
def test_short_bases_begin_anew_and_keep_the_tolerance(rng, family, monkeypatch):
    R, X = family(rng, 60), rng.standard_normal((2, 60))
    monkeypatch.setattr(krylov_trajectories, "MOST_VECTORS", 24)
    for times in (TIMES, [10.0], [0.3, 0.30001, 7.7, 10.0]):
        found = integrate(Circuit(R), X, 10.0, "arnoldi", times)
        assert worst(found.xbar, krylov_closed_form(R, X, times)) <= 1e-7
        assert (found.products > 24).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_error_bound_of_a_basis_is_never_below_the_error(rng, family):
    R, x = family(rng, 50), rng.standard_normal((1, 50))
    exact = krylov_closed_form(R, x, [4.0])[0, 0]
    errors = []
    for count in (6, 10, 14, 18):
        basis = krylov_trajectories._Basis(problem_of(R, x), np.zeros_like(x))
        basis._grow(count)
        flow = basis.flows[0] = projected(basis.H[0, :count, :count], 4.0)
        missed = basis.beta[0] * basis.H[0, count, count - 1] * np.abs(flow.y[:, -1])
        errors.append(np.linalg.norm(basis.states(0, np.array([4.0]))[0] - exact))
        assert errors[-1] <= flow.largest * missed.sum() * flow.step + 1e-13 * np.linalg.norm(exact)
    # Faster than any geometric series: each four vectors gain more than the four before.
    gains = np.array(errors[1:]) / errors[:-1]
    assert (np.diff(gains) < 0).all() and gains[-1] < 0.2


def test_the_known_residual_is_the_residual(rng):
    R, x, m, s, h = triangular(rng, 40), rng.standard_normal((1, 40)), 12, 1.7, 1e-4
    basis = krylov_trajectories._Basis(problem_of(R, x), np.zeros_like(x))
    basis._grow(m)
    basis.flows[0] = projected(basis.H[0, :m, :m], 4.0)
    before, at, after = basis.states(0, np.array([s - h, s, s + h]))
    residual = x[0] - R @ at - (after - before) / (2 * h)
    said = basis.beta[0] * basis.H[0, m, m - 1] * abs(basis.flows[0].at(np.array([s]))[0, -1])
    # The central difference errs by h²/6 of the third derivative.
    assert np.linalg.norm(residual) == pytest.approx(said, rel=1e-5)
    assert np.abs(basis.V[0, :m] @ basis.V[0, :m].T - np.eye(m)).max() <= 1e-14


def test_the_small_flow_is_that_of_the_exponential(rng):
    H = np.triu(rng.standard_normal((9, 9)), -1) + 2 * np.eye(9)
    flow, times = projected(H, 5.0), np.array([0.0, 1e-9, 0.37, 2.5, 5.0])
    exact = krylov_closed_form(H, np.eye(9)[:1], times)[:, 0]
    assert np.abs(flow.at(times) - exact).max() <= 1e-14 * np.abs(exact).max()
    norms = [np.linalg.norm(scipy.linalg.expm(-flow.step * 2**k * H), 2) for k in range(5)]
    assert flow.largest >= max(norms)
    assert projected(1e6 * H, 5.0).step * 4096 < 5.0


def test_invariant_spaces_end_the_basis_and_idle_samples_do_not_matter(rng):
    R = scipy.linalg.block_diag(triangular(rng, 3), triangular(rng, 40))
    X = np.zeros((3, 43))
    X[0, :3], X[1] = rng.standard_normal(3), rng.standard_normal(43)
    found = integrate(Circuit(R), X, 10.0, "arnoldi", TIMES)
    exact = krylov_closed_form(R, X, TIMES)
    assert np.abs(found.xbar[:, 0] - exact[:, 0]).max() <= 1e-13 * np.abs(exact[:, 0]).max()
    assert worst(found.xbar[:, 1:2], exact[:, 1:2]) <= 1e-7
    assert not found.xbar[:, 2].any()


def test_starts_batches_and_any_times_are_those_of_single_samples(rng, monkeypatch):
    R, X, Z = jordan(rng, 50), rng.standard_normal((5, 50)), rng.standard_normal((5, 50))
    times = np.sort(rng.uniform(0, 6, 14))
    monkeypatch.setattr(krylov_trajectories, "MEMORY", 2 * 101 * 50 * 8)
    found = integrate(Circuit(R, tau=2.0), X, 6.0, "arnoldi", times, initial=Z)
    exact = krylov_closed_form(R, X, times / 2, Z)
    assert worst(found.xbar - Z, exact - Z) <= 1e-7
    alone = integrate(Circuit(R, tau=2.0), X[4], 6.0, "arnoldi", times, initial=Z[4])
    assert np.abs(alone.xbar - found.xbar[:, 4]).max() <= 2e-7 * np.abs(exact[:, 4]).max()


def test_large_non_normal_circuits_go_by_few_products_without_being_asked(rng):
    R, x = 1.1 * np.eye(220) + rng.standard_normal((220, 220)) / np.sqrt(220), rng.standard_normal((1, 220))
    assert np.linalg.eigvalsh(R + R.T)[0] < 0
    exact = krylov_closed_form(R, x, TIMES)
    for method in ("auto", "chebyshev"):
        found = integrate(Circuit(R), x[0], 10.0, method, TIMES)
        assert worst(found.xbar[:, None], exact) <= 1e-7
        assert found.products <= 60
    # Small ones keep the tolerance by whatever way is taken.
    small = integrate(Circuit(R[:60, :60]), x[0, :60], 10.0, "auto", TIMES)
    assert worst(small.xbar[:, None], krylov_closed_form(R[:60, :60], x[:, :60], TIMES)) <= 1e-7


def test_two_populations_and_unstable_circuits_keep_the_tolerance(rng):
    R, x = rng.standard_normal((30, 30)) / 3, rng.standard_normal(30)
    for circuit in (TwoPopulationCircuit(R, 1.0, 0.4), Circuit(R)):
        exact, found = (
            integrate(circuit, x, 3.0, method, [0.5, 3.0], allow_unstable=True) for method in ("exponential", "arnoldi")
        )
        assert worst(found.state[:, None], exact.state[:, None]) <= 1e-7


def test_single_precision_bases_are_good_to_its_rounding(rng):
    R, X = triangular(rng, 60).astype(np.float32), rng.standard_normal((2, 60)).astype(np.float32)
    found = integrate(Circuit(R), X, 10.0, "arnoldi", TIMES)
    assert found.xbar.dtype == np.float32
    # Transients of size G multiply its rounding; G is about 10 here.
    assert worst(found.xbar, krylov_closed_form(R.astype(float), X.astype(float), TIMES)) <= 1e-4


def test_too_few_products_are_refused(rng):
    R, X = jordan(rng, 60), rng.standard_normal((1, 60))
    assert arnoldi_frames(problem_of(R, X), TIMES, 1e-7, 14) is None
    assert arnoldi_frames(problem_of(R, X), TIMES, 1e-7, 1000)[1] <= 60
