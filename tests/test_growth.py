"""No hidden copies of matrices, and memory that does not grow with the samples."""

import gc
import tracemalloc

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr.plasticity import LearningRule, initial_state, learn

N, BATCH = 448, 16
MATRIX = 8 * N * N


def peak(call):
    """Return the most bytes that a call holds at once, its result included; compiled and cached before."""
    call()
    gc.collect()
    tracemalloc.start()
    try:
        kept = call()
        return tracemalloc.get_traced_memory()[1] if kept is not None else 0
    finally:
        tracemalloc.stop()


def inputs(samples, n):
    X = np.random.default_rng(1).standard_normal((samples, n))
    return X + 0.5 * np.roll(X, 1, axis=1)


@pytest.fixture(scope="module")
def circuit():
    noise = np.random.default_rng(0).standard_normal((N, N)) / np.sqrt(2 * N)
    return nd.Circuit(np.eye(N) + 0.3 * (noise + noise.T))


# Copies of an n × n matrix that a call may hold at once, its result included, and why.
@pytest.mark.parametrize(
    ("engine", "copies"),
    # New M and R, and in the inspection the symmetric part of R, which LAPACK turns into its factor.
    [("plain", 3), ("fused", 3), ("delayed", 3)],
)
def test_learning_holds_the_new_matrices_and_what_one_look_at_stability_takes(engine, copies):
    X, plan = inputs(64, N), LearningRule(rate=1e-3, engine=engine)
    state = initial_state(X, plan)
    # Blocks of delayed updates are some dozens of vectors: half a matrix at this size.
    assert 2 * MATRIX <= peak(lambda: learn(state, X, plan)) <= (copies + 0.75) * MATRIX


@pytest.mark.parametrize(("method", "copies"), [("auto", 1), ("chebyshev", 0), ("direct", 1)])
def test_settling_holds_a_batch_and_at_most_the_factors(method, copies, circuit):
    X = inputs(BATCH, N)

    def call():
        vars(circuit).pop("factors", None)
        return nd.settle(circuit, X, method=method)

    # "direct": R turned into its factor. Else: the batch alone; some ten arrays of it.
    assert peak(call) <= copies * MATRIX + 16 * X.nbytes


def test_integrating_holds_the_frames_and_one_scaled_matrix(circuit):
    X, times = inputs(BATCH, N), np.linspace(0, 5, 20)
    frames = len(times) * X.nbytes
    assert frames <= peak(lambda: nd.integrate(circuit, X, 5.0, times=times)) <= 2 * frames + 16 * X.nbytes + MATRIX


@pytest.mark.parametrize("engine", ["plain", "fused", "delayed"])
def test_learning_takes_no_more_memory_for_more_samples(engine):
    X, plan = inputs(32_000, 32), LearningRule(rate=1e-3, engine=engine)
    state = initial_state(X, plan)
    short, long = (peak(lambda k=k: learn(state, X[:k], plan)) for k in (4000, 32_000))
    # A chunk of 1000 samples is held at a time, 256 kB; the stream is 8 MB.
    assert long <= 1.05 * short < X.nbytes / 4


def test_masked_learning_takes_no_more_memory_for_more_samples():
    state, plan = (
        nd.plasticity.initial_sparse_state(nd.circuit.sparse.grid_neighbours((8, 8), 8)),
        nd.plasticity.SparseLearningRule(),
    )
    X = inputs(8000, 64)
    short, long = (peak(lambda k=k: nd.plasticity.learn_sparse(state, X[:k], plan)) for k in (2000, 8000))
    # Without a copy, or a mark for each number.
    assert max(short, long) < X.size / 4 and long - short < X.size / 32


def test_a_stream_in_chunks_is_learnt_in_the_memory_of_one_chunk():
    def call(chunks):
        model, rng = nd.RecurrentDecorrelator(), np.random.default_rng(0)
        for _ in range(chunks):
            model.partial_fit(rng.standard_normal((2000, 16)))
        return model

    assert peak(lambda: call(20)) <= 1.05 * peak(lambda: call(3))


def test_the_memory_of_masked_learning_and_of_sparse_settling_is_linear_in_the_synapses():
    def call(side):
        state = nd.plasticity.initial_sparse_state(nd.circuit.sparse.grid_neighbours((side, side), 20, torus=True))
        learnt = nd.plasticity.learn_sparse(state, inputs(3, side * side), nd.plasticity.SparseLearningRule())
        return nd.settle(nd.SparseCircuit(learnt.weights), np.ones(side * side))

    # Four times the units, four times the synapses; 16 times the bytes if anything were dense.
    assert peak(lambda: call(80)) <= 4.2 * peak(lambda: call(40))
