"""Sparse weights learn as a dense matrix with a mask would, at a cost linear in the synapses."""

import time
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

import neurodecorr as nd
from neurodecorr._numerics import sparse
from neurodecorr.circuit import SparseCircuit
from neurodecorr.circuit.sparse import grid_neighbours, grid_taper, random_neighbours
from neurodecorr.circuit.sparse_settling import settle_sparse
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import SparseLearningRule, initial_sparse_state, learn_sparse


def dense_reference(w, X, plan):
    """The rule in dense numpy: a solve per sample, the mask by multiplication."""
    n, mask = X.shape[1], w > 0
    W, mean, power = np.eye(n), np.zeros(n), np.zeros(n)
    trace, fan_in = 0.0, mask.sum() / n
    for t, sample in enumerate(X):
        eta = plan.rate / (1 + t / plan.half)
        memory = max(1 / (t + 1), min(eta, 0.1))
        mean = mean + memory * (sample - mean)
        x = sample - mean
        power = power + memory * (x**2 - power)
        eta = eta / power.mean() if power.mean() > 0 else 0.0
        xbar = np.linalg.solve(W, x) if plan.recurrent else W @ x
        size = (xbar**2).mean()
        trace += max(1 / (t + 1), 0.01) * (size - trace)
        strength = fan_in * max(trace, size / 5)
        eta = min(eta, plan.limit / strength) if strength > 0 else eta
        g = 1 + eta * power
        if plan.recurrent and plan.rule == "implicit":
            W = mask * (W + eta * w * np.outer(x, xbar)) / g
        elif plan.rule == "congruent":
            W = mask * (W + eta / 2 * w * (np.outer(x, xbar) + np.outer(xbar, x))) / np.sqrt(np.outer(g, g))
        else:
            W = mask * g[:, None] * (W - eta / (1 + eta * xbar @ xbar) * np.outer(xbar, xbar @ W))
        if plan.dominance is not None:
            around = np.abs(W).sum(axis=1) - np.abs(np.diag(W))
            s = np.minimum(1, plan.dominance * np.diag(W) / np.maximum(around, 1e-300))
            s = np.minimum.outer(s, s) if plan.rule == "congruent" else np.repeat(s[:, None], n, axis=1)
            np.fill_diagonal(s, 1.0)
            W = W * s
    return W


@pytest.fixture(scope="module")
def waves():
    """Inputs of a 6 × 6 grid whose neighbours are correlated."""
    rng = np.random.default_rng(3)
    smooth = grid_taper((6, 6), 2).toarray()
    return rng.standard_normal((3000, 36)) @ smooth / 2 + 0.3


MASKS = {"grid": grid_neighbours((6, 6), 8), "taper": grid_taper((6, 6), 3), "random": random_neighbours(36, 6, seed=1)}


CASES = [("recurrent", "implicit", mask, dominance) for mask in MASKS for dominance in (None, 0.8)]
CASES += [("recurrent", "congruent", mask, dominance) for mask in ("grid", "taper") for dominance in (None, 0.8)]
CASES += [("feedforward", "implicit", mask, None) for mask in MASKS]


@pytest.mark.parametrize(("form", "rule", "mask", "dominance"), CASES)
def test_sparse_learning_is_dense_learning_times_a_mask(form, rule, mask, dominance, waves):
    plan = SparseLearningRule(form, rule, rate=5e-3, half=200, limit=0.01, tol=1e-12, dominance=dominance)
    w = MASKS[mask]
    learnt = learn_sparse(initial_sparse_state(w), waves[:300], plan)
    # 300 steps, each off by the settling error tol · κ(R) ≤ 1e-10 times η.
    np.testing.assert_allclose(learnt.weights.toarray(), dense_reference(w.toarray(), waves[:300], plan), atol=1e-10)
    assert 0 < learnt.counters[2] < 300  # some steps were limited, some were not


def test_a_full_mask_rests_where_the_inputs_are_decorrelated(waves):
    state = learn_sparse(
        initial_sparse_state(scipy.sparse.csr_array(np.ones((36, 36)))), waves, SparseLearningRule(rate=1e-2, half=500)
    )
    xbar = np.linalg.solve(state.weights.toarray(), (waves - waves.mean(axis=0)).T)
    assert rms_correlation(covariance=np.cov(waves.T)) > 0.2
    # 3000 samples leave noise of 1/√3000 = 0.018 in a correlation; the rate leaves about as much.
    assert rms_correlation(covariance=np.cov(xbar)) < 0.05


def test_the_given_state_is_left_as_it_was_and_a_stream_may_be_cut_anywhere(waves):
    plan, begin = SparseLearningRule(rate=1e-3, tol=1e-12), initial_sparse_state(MASKS["grid"])
    whole = learn_sparse(begin, waves[:200], plan)
    assert begin.samples == 0 and begin.weights.toarray().tolist() == np.eye(36).tolist()
    cut = learn_sparse(learn_sparse(begin, waves[:70], plan), waves[70:200], plan)
    np.testing.assert_array_equal(whole.weights.data, cut.weights.data)
    assert whole.samples == cut.samples == 200


@pytest.mark.parametrize(
    ("form", "rule"), [("recurrent", "implicit"), ("recurrent", "congruent"), ("feedforward", "implicit")]
)
def test_threads_learn_the_same_weights_as_one(form, rule, waves, monkeypatch):
    plan = SparseLearningRule(form, rule, rate=1e-2)
    alone = learn_sparse(initial_sparse_state(MASKS["taper"]), waves[:50], plan)
    monkeypatch.setattr(sparse, "MANY_SYNAPSES", 0)
    together = learn_sparse(initial_sparse_state(MASKS["taper"]), waves[:50], plan)
    np.testing.assert_array_equal(together.weights.data, alone.weights.data)


def test_the_congruent_rule_keeps_reciprocal_weights_equal_to_rounding(waves):
    R = learn_sparse(
        initial_sparse_state(MASKS["taper"]), waves, SparseLearningRule(rule="congruent", rate=1e-2)
    ).weights
    # The decay forgets each rounding in 1/(ηp) samples, so that none piles up.
    assert abs(R - R.T).max() <= 1e-14 * abs(R).max()


@pytest.mark.parametrize("rule", ["implicit", "congruent"])
def test_a_cut_mask_loses_stability_on_long_ranged_correlations_and_a_positive_taper_does_not(rule):
    patches = nd.data.natural_patches(size=8, samples=3000, seed=1).inputs
    plan = SparseLearningRule(rule=rule, rate=1e-2, half=1000, tol=1e-4)
    with pytest.raises(StabilityError, match=r"at sample \d+: .*min Re λ\(R\)"):
        learn_sparse(initial_sparse_state(grid_neighbours((8, 8), 8)), patches, plan)
    assert np.linalg.eigvalsh(grid_taper((8, 8), 3).toarray())[0] > 0
    state = learn_sparse(initial_sparse_state(grid_taper((8, 8), 3)), patches, plan)
    assert 0 < np.linalg.eigvals(state.weights.toarray()).real.min() == pytest.approx(state.margin, rel=0.3)


@pytest.mark.parametrize("rule", ["implicit", "congruent"])
def test_dominance_proves_stability_of_every_learnt_circuit(rule):
    patches = nd.data.natural_patches(size=8, samples=500, seed=1).inputs
    state = learn_sparse(
        initial_sparse_state(grid_neighbours((8, 8), 8)),
        patches,
        SparseLearningRule(rule=rule, rate=0.1, dominance=0.9),
    )
    R = state.weights.toarray()
    around = np.abs(R).sum(axis=1) - np.abs(np.diag(R))
    assert (around <= 0.9 * np.diag(R) * (1 + 1e-12)).all()
    assert state.counters[3] > 0 and np.linalg.eigvals(R).real.min() >= state.margin > 0


def test_bad_masks_plans_and_weights_are_refused_with_advice():
    with pytest.raises(InputError, match=r"mask .*ndarray.* \(2, 2\)"):
        initial_sparse_state(np.eye(2))
    with pytest.raises(InputError, match="unit 1 lacks it"):
        initial_sparse_state(scipy.sparse.csr_array([[1.0, 1.0], [1.0, 0.0]]))
    with pytest.raises(InputError, match=r"mask must hold numbers in \(0, 1\]"):
        initial_sparse_state(scipy.sparse.csr_array([[1.0, -1.0], [1.0, 1.0]]))
    with pytest.raises(ConfigError, match="Did you mean 'congruent'"):
        SparseLearningRule(rule="congruant")
    with pytest.raises(ConfigError, match=r"rule .*'congruent'\.$"):
        SparseLearningRule("feedforward", "congruent")
    assert SparseLearningRule(rule="local") == SparseLearningRule()
    with pytest.raises(ConfigError, match="dominance must be < 1"):
        SparseLearningRule(dominance=1.0)
    with pytest.raises(ConfigError, match="learns M"):
        SparseLearningRule("feedforward", dominance=0.5)
    with pytest.raises(InputError, match="reciprocal synapses"):
        learn_sparse(initial_sparse_state(MASKS["random"]), np.ones((1, 36)), SparseLearningRule(rule="congruent"))
    with pytest.raises(InputError, match="X must have 36 features"):
        learn_sparse(initial_sparse_state(MASKS["random"]), np.ones((1, 3)), SparseLearningRule())


def _local_inputs(side, count, rng):
    """White noise, each pixel mixed with its neighbours."""
    noise = rng.standard_normal((count, side, side))
    return (noise + 0.5 * np.roll(noise, 1, axis=1) + 0.5 * np.roll(noise, 1, axis=2)).reshape(count, -1)


def _learn_and_settle(side, k, count):
    """Return synapses, CPU seconds to learn and to settle, peak bytes, and the settled state, from nothing."""
    X = _local_inputs(side, count + 1, np.random.default_rng(0))
    tracemalloc.start()
    begin = initial_sparse_state(grid_neighbours((side, side), k, torus=True))
    clock = time.process_time()
    state = learn_sparse(begin, X[:-1], SparseLearningRule(rate=1e-3, tol=1e-3))
    learnt = time.process_time()
    circuit = SparseCircuit(state.weights)
    rest = settle_sparse(circuit, X[-1], tol=1e-6)
    settled = time.process_time()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return circuit, learnt - clock, settled - learnt, peak, rest


@pytest.mark.slow
def test_100_000_units_with_100_synapses_each_learn_and_settle_in_memory_linear_in_synapses():
    _learn_and_settle(110, 100, 2)  # compile
    circuit, learning, settling, peak, rest = _learn_and_settle(317, 100, 20)
    print(f"{circuit}: 20 samples learnt in {learning:.1f} s of CPU, bound and rest in {settling:.1f} s")
    print(f"peak {peak / 1e9:.2f} GB, {peak / circuit.synapses:.0f} bytes per synapse")
    print(f"{circuit.sigma}, {rest.outcome}, bound {rest.bound:.2g}")
    assert circuit.size >= 100_000 and circuit.synapses >= 100 * circuit.size
    assert rest.outcome == "settled" and rest.bound <= 1e-6
    # A weight and its index take 12 bytes; at most ten such copies live at once while transposes are sorted.
    assert peak <= 12 * 12 * circuit.synapses


@pytest.mark.slow
def test_time_and_memory_grow_linearly_with_the_synapses():
    _learn_and_settle(110, 100, 2)
    runs = [_learn_and_settle(side, 100, 20) for side in (80, 160, 317)]
    synapses = [run[0].synapses for run in runs]
    columns = list(zip(*(run[1:4] for run in runs), strict=True))
    for name, values in zip(("learning", "settling", "memory"), columns, strict=True):
        exponent = np.polyfit(np.log(synapses), np.log(values), 1)[0]
        print(f"{name}: exponent {exponent:.2f}")
        # Larger arrays leave the caches, which may cost a factor 3 over a factor 16 of synapses: 0.4.
        assert exponent < (1.05 if name == "memory" else 1.4)
