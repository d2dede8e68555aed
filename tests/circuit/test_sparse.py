"""Sparse circuits settle where dense ones do, and what certifies them is below the true σ_min."""

import numpy as np
import pytest
import scipy.sparse

from neurodecorr._numerics import sparse as _sparse
from neurodecorr.circuit import Circuit, SparseCircuit, settle, stability
from neurodecorr.circuit.bounds import extreme_ritz_values, probe_bound, symmetric_part
from neurodecorr.circuit.sparse import grid_neighbours, grid_taper, random_neighbours, sigma_bound
from neurodecorr.circuit.sparse_settling import settle_sparse
from neurodecorr.errors import ConfigError, InputError, StabilityError


def weighted(pattern, scale, rng, symmetric):
    """Random weights on a pattern, 1 on the diagonal."""
    R = pattern.copy()
    R.data = scale * rng.standard_normal(R.nnz)
    R = scipy.sparse.csr_array((R + R.T) / 2 if symmetric else R)
    R.setdiag(1.0)
    return R


GRID = grid_neighbours((24, 24), 8)
RANDOM = random_neighbours(576, 8, seed=2)


@pytest.mark.parametrize("torus", [False, True])
@pytest.mark.parametrize(("shape", "k"), [((6, 7), 4), ((6, 7), 8), ((5, 9), 20), ((1, 9), 2), ((3, 3), 0)])
def test_the_neighbours_on_a_grid_are_the_nearest_and_mutual(shape, k, torus):
    P = grid_neighbours(shape, k, torus=torus).toarray()
    n = shape[0] * shape[1]
    y, x = np.divmod(np.arange(n), shape[1])
    gaps = [np.abs(a[:, None] - a) for a in (y, x)]
    if torus:
        gaps = [np.minimum(gap, side - gap) for gap, side in zip(gaps, shape, strict=True)]
    square = gaps[0] ** 2 + gaps[1] ** 2
    assert (P == P.T).all() and (np.diag(P) == 1).all() and set(np.unique(P)) <= {0, 1}
    unit = (shape[0] // 2) * shape[1] + shape[1] // 2
    assert P[unit].sum() == k + 1
    assert square[unit][P[unit] == 1].max() <= np.sort(square[unit])[k]
    if torus:
        assert (P.sum(axis=1) == k + 1).all()


def test_a_neighbour_without_its_opposite_is_refused_and_so_are_too_many():
    with pytest.raises(ConfigError, match=r"k .*k = 2 or 4"):
        grid_neighbours((5, 5), 3)
    with pytest.raises(ConfigError, match="less than the number of units, 25; got 25"):
        grid_neighbours((5, 5), 25)
    with pytest.raises(ConfigError, match="less than the number of units"):
        random_neighbours(3, 3)


def test_random_neighbours_are_k_others_evenly_drawn():
    P = random_neighbours(50, 10, seed=0).toarray()
    assert (np.diag(P) == 1).all() and (P.sum(axis=1) == 11).all()
    heard = np.mean([random_neighbours(50, 10, seed=s).toarray() for s in range(200)], axis=0)
    chance = 10 / 49
    # 2450 means of 200 draws: the largest of so many normal deviations stays below 5 σ.
    assert np.abs(heard[~np.eye(50, dtype=bool)] - chance).max() < 5 * np.sqrt(chance * (1 - chance) / 200)
    assert (random_neighbours(50, 10, seed=0).toarray() == P).all()


@pytest.mark.parametrize(("shape", "reach"), [((5, 6), 1), ((5, 6), 3), ((4, 4), 9)])
def test_a_taper_is_the_product_of_triangles_and_positive_definite(shape, reach):
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    expected = np.prod([np.clip(1 - np.abs(a[:, None] - a) / reach, 0, None) for a in (y, x)], axis=0)
    w = grid_taper(shape, reach)
    np.testing.assert_allclose(w.toarray(), expected, atol=1e-15)
    assert np.linalg.eigvalsh(expected)[0] > 0 and (w.data > 0).all()


@pytest.mark.parametrize("method", ["auto", "chebyshev", "bicgstab", "gmres"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("pattern", [GRID, RANDOM], ids=["grid", "random"])
def test_a_sparse_circuit_settles_where_the_dense_one_does_within_its_bound(pattern, symmetric, method, rng):
    circuit = SparseCircuit(weighted(pattern, 0.15, rng, symmetric))
    X = rng.standard_normal((3, circuit.size)) * [[1e-3], [1.0], [1e3]]
    rest = settle_sparse(circuit, X, tol=1e-8, method=method)
    exact = np.linalg.solve(circuit.R.toarray(), X.T).T
    # The reference itself is off by about n κ(R) ε ‖x̄‖.
    assert (np.linalg.norm(rest.xbar - exact, axis=1) <= rest.bound + 1e-13 * np.linalg.norm(exact, axis=1)).all()
    assert (rest.outcome == "settled").all() and (rest.bound <= 1e-8).all()
    if method == "chebyshev":
        assert rest.steps[0] < rest.steps[1] < rest.steps[2]  # each stops by itself


def test_small_circuits_agree_with_the_dense_settle_and_relative_tolerance_is_kept(rng):
    R = weighted(grid_neighbours((6, 6), 4), 0.2, rng, True)
    x = rng.standard_normal(36)
    sparse, dense = settle_sparse(SparseCircuit(R), x, tol=1e-10), settle(Circuit(R.toarray()), x, tol=1e-10)
    assert np.linalg.norm(sparse.xbar - dense.xbar) <= sparse.bound + dense.bound
    loose = settle_sparse(SparseCircuit(R), 1e6 * x, tol=1e-3, relative=True)
    error = np.linalg.norm(loose.xbar - 1e6 * dense.xbar)
    assert loose.outcome == "settled" and 1e-8 < error / np.linalg.norm(1e6 * dense.xbar) <= 1e-3


def test_a_warm_start_saves_steps_and_float32_weights_are_certified_as_they_are(rng):
    circuit = SparseCircuit(weighted(GRID, 0.15, rng, True).astype(np.float32))
    x = rng.standard_normal(circuit.size)
    cold = settle_sparse(circuit, x, tol=1e-8)
    warm = settle_sparse(circuit, x + 1e-6, tol=1e-8, initial=cold.xbar)
    assert circuit.R.dtype == np.float32 and warm.settled and warm.steps < cold.steps / 2


@pytest.mark.parametrize("scale", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("pattern", [GRID, RANDOM], ids=["grid", "random"])
def test_no_bound_exceeds_the_least_singular_value(pattern, symmetric, scale, rng):
    R = weighted(pattern, scale, rng, symmetric)
    exact = np.linalg.svd(R.toarray(), compute_uv=False)[-1]
    bound = sigma_bound(SparseCircuit(R))
    proof = sigma_bound(SparseCircuit(R), failure=0.0)
    assert max(bound.low, proof.low) <= exact
    assert proof.failure == 0 and proof.kind in ("dominance", "gershgorin", "none")
    least = np.linalg.eigvalsh(symmetric_part(R).toarray())[0]
    if least > 0:
        assert bound.low >= 0.75 * least
    assert bound.kind == ("probe" if bound.failure else proof.kind)


def test_the_probe_finds_out_a_wrong_interval(rng):
    H = symmetric_part(weighted(GRID, 0.15, rng, True))
    values = np.linalg.eigvalsh(H.toarray())
    np.testing.assert_allclose(extreme_ritz_values(H)[:2], values[[0, -1]], rtol=0.02)
    for low, high in [(3 * values[0], values[-1]), (values[0], values[-1] / 2), (0.5 * values[0], 2 * values[-1])]:
        bound, failure, _ = probe_bound(H, low, high)
        assert bound <= values[0] and failure == pytest.approx(1e-12)


def test_one_weak_mode_among_many_is_not_overlooked():
    values = np.ones(2000)
    values[777] = 0.01
    bound = sigma_bound(SparseCircuit(scipy.sparse.csr_array(scipy.sparse.diags_array(values))))
    assert 0.008 < bound.low <= 0.01


def test_what_cannot_be_certified_is_called_uncertified(rng):
    R = weighted(GRID, 0.4, rng, False)
    assert np.linalg.eigvalsh(symmetric_part(R).toarray())[0] < 0
    circuit = SparseCircuit(R)
    rest = settle_sparse(circuit, rng.standard_normal(circuit.size), max_steps=300)
    assert rest.outcome == "uncertified" and rest.bound == np.inf and not rest.settled
    assert circuit.sigma.kind == "none" and circuit.sigma.estimate < 0
    with pytest.raises(StabilityError, match="positive definite symmetric part"):
        settle_sparse(circuit, np.ones(circuit.size), method="chebyshev")


def test_limits_of_steps_and_precision_are_named(rng):
    circuit = SparseCircuit(weighted(GRID, 0.15, rng, True))
    x = rng.standard_normal(circuit.size)
    assert settle_sparse(circuit, x, method="chebyshev", max_steps=3).outcome == "steps"
    fine = settle_sparse(circuit, x, tol=1e-17, max_steps=500)
    assert not fine.settled and fine.bound < 1e-12


def test_bad_weights_are_refused_with_advice(rng):
    with pytest.raises(InputError, match=r"R .*ndarray.*csr_array\(R\)"):
        SparseCircuit(np.eye(3))
    with pytest.raises(InputError, match=r"square matrix, \(n, n\); got shape \(2, 3\)"):
        SparseCircuit(scipy.sparse.csr_array(np.ones((2, 3))))
    with pytest.raises(InputError, match="must be finite"):
        SparseCircuit(scipy.sparse.csr_array([[np.nan, 1.0], [0.0, 1.0]]))
    with pytest.raises(InputError, match="real numbers"):
        SparseCircuit(scipy.sparse.csr_array([[1j]]))
    with pytest.raises(InputError, match="unit 1 has none"):
        SparseCircuit(scipy.sparse.csr_array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(InputError, match="must be a SparseCircuit; got Circuit"):
        settle_sparse(Circuit(np.eye(2)), [1.0, 1.0])
    circuit = SparseCircuit(scipy.sparse.coo_matrix(np.eye(4)))
    with pytest.raises(ConfigError, match="Did you mean 'gmres'"):
        settle_sparse(circuit, np.ones(4), method="gmrs")
    with pytest.raises(InputError, match="initial must have one row"):
        settle_sparse(circuit, np.ones((3, 4)), initial=np.ones((2, 4)))
    with pytest.raises(ValueError, match="read-only"):
        circuit.R.data[0] = 2.0


def test_settle_and_stability_take_sparse_circuits_as_they_take_dense_ones(rng):
    R = weighted(GRID, 0.15, rng, False)
    sparse, dense, x = SparseCircuit(R, tau=3.0), Circuit(R.toarray(), tau=3.0), rng.standard_normal(576)
    a, b = settle(sparse, x, tol=1e-9), settle(dense, x, tol=1e-9)
    assert a.settled and b.settled and np.linalg.norm(a.xbar - b.xbar) <= a.bound + b.bound
    np.testing.assert_array_equal(a.xbar, settle_sparse(sparse, x, tol=1e-9).xbar)
    for option in ({"dt": 0.1}, {"t_max": 9.0}):
        with pytest.raises(ConfigError, match=f"{next(iter(option))} has no meaning for a SparseCircuit"):
            settle(sparse, x, **option)
    with pytest.raises(ConfigError, match=r"method .*'gmres'"):
        settle(sparse, x, method="euler")


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_stability_of_a_sparse_circuit_is_that_of_the_dense_one(symmetric, rng):
    R = weighted(GRID, 0.15, rng, symmetric)
    sparse, dense = SparseCircuit(R, tau=3.0), stability(Circuit(R.toarray(), tau=3.0), "dense")
    found = stability(sparse)
    assert found.kind == "estimate" and found.stable
    # Ritz values are taken to 1e-6 of an eigenvalue; those of a non-normal matrix are as many times less certain
    # as its eigenvectors are dependent, some hundred at most here.
    for name in ("margin", "radius", "euler_limit", "slowest_time", "fastest_time"):
        assert getattr(found, name) == pytest.approx(getattr(dense, name), rel=1e-4)
    assert dense.condition <= found.condition <= 10 * dense.condition
    for method in ("numerical_range", "gershgorin"):
        bound = stability(sparse, method)
        assert bound.kind == "bound" and bound.margin <= dense.margin and bound.radius >= dense.radius
        assert bound.euler_limit <= dense.euler_limit
    assert stability(sparse, "numerical_range").margin > 0
    few = weighted(grid_neighbours((6, 6), 4), 0.2, rng, symmetric)
    exact, expected = stability(SparseCircuit(few)), stability(Circuit(few.toarray()))
    assert exact.kind == "exact" and exact.margin == pytest.approx(expected.margin, rel=1e-12)
    assert exact.condition == pytest.approx(expected.condition, rel=1e-9)


def test_a_sparse_circuit_that_grows_is_called_unstable(rng):
    R = weighted(GRID, 0.8, rng, False)
    assert np.linalg.eigvals(R.toarray()).real.min() < 0
    found = stability(SparseCircuit(R))
    assert found.stable is False and found.euler_limit == 0 and found.condition == np.inf


def test_threads_give_the_same_rest_as_one(rng, monkeypatch):
    R, x = weighted(RANDOM, 0.15, rng, False), rng.standard_normal(576)
    alone = settle_sparse(SparseCircuit(R), x, tol=1e-9)
    monkeypatch.setattr(_sparse, "MANY_SYNAPSES", 0)
    assert len(_sparse.row_cuts(R.indptr)) == _sparse.PARTS + 1
    together = settle_sparse(SparseCircuit(R), x, tol=1e-9)
    # The states of both are sums in the same order; only the norms that tell when to stop are not.
    assert together.steps == alone.steps
    np.testing.assert_array_equal(together.xbar, alone.xbar)


@pytest.mark.parametrize("sizes", [[5] * 100, [0, 0, 1000, 0, 1], list(range(60)), [3]])
def test_rows_are_cut_into_parts_that_cover_them_once_and_are_about_even(sizes, monkeypatch):
    monkeypatch.setattr(_sparse, "MANY_SYNAPSES", 0)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    cuts = _sparse.row_cuts(indptr)
    assert cuts[0] == 0 and cuts[-1] == len(sizes) and (np.diff(cuts) >= 0).all()
    even = indptr[-1] / _sparse.PARTS
    assert np.diff(indptr[cuts]).max() <= even + max(sizes)
    monkeypatch.setattr(_sparse, "MANY_SYNAPSES", indptr[-1] + 1)
    assert _sparse.row_cuts(indptr).tolist() == [0, len(sizes)]
