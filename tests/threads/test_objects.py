"""Estimators, networks, hardware and recorders between threads; settings of the process stay as they were."""

import pickle
import warnings

import numpy as np
import pytest
from joblib import Parallel, delayed
from PIL import Image

import neurodecorr as nd
from neurodecorr import hardware
from neurodecorr.data.cifar import read_plain
from neurodecorr.data.patches import read_picture
from neurodecorr.hardware import analogue
from neurodecorr.io import Variable, read_traces

pytestmark = pytest.mark.threads

THREADS = (1, 2, 4, 8)


@pytest.fixture
def X(rng):
    return rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("settling", ["direct", "chebyshev", "exponential", "auto"])
def test_one_fitted_estimator_transforms_in_several_threads(together, X, settling, threads):
    for model in (nd.RecurrentDecorrelator(epochs=2, settling=settling), nd.FeedforwardDecorrelator(epochs=2)):
        model.fit(X)
        recurrent = isinstance(model, nd.RecurrentDecorrelator)
        drive = X - model.mean_
        rest = np.linalg.solve(model.R_, drive.T).T if recurrent else drive @ model.M_.T
        size = np.linalg.norm(rest, axis=1)

        def transform(_, model=model, rest=rest, size=size):
            return bool((np.linalg.norm(model.transform(X) - rest, axis=1) <= 1.01e-6 * size).all())

        assert all(together(transform, threads, rounds=3))


@pytest.mark.parametrize("threads", THREADS)
def test_estimators_that_learn_at_once_learn_what_each_learns_alone(together, X, threads):
    def learn(k):
        kind = (nd.RecurrentDecorrelator, nd.FeedforwardDecorrelator)[k % 2]
        model = kind(1e-2, rule=("implicit", "congruent", "explicit")[k % 3], batch=(1, 10)[k // 2 % 2])
        for begin in range(0, 300, 60):
            model.partial_fit(X[begin : begin + 60])
        return model.M_

    alone = [learn(k) for k in range(12)]
    for k, found in enumerate(together(lambda k: learn(k % 12), threads, rounds=3)):
        assert np.allclose(found, alone[k % 12], rtol=1e-9, atol=1e-12)


def test_a_transform_during_learning_leaves_no_old_circuit_behind(together, X):
    model = nd.RecurrentDecorrelator(1e-2).partial_fit(X[:50])

    def work(k):
        if k == 0:
            for begin in range(50, 300, 5):
                model.partial_fit(X[begin : begin + 5])
        else:
            for _ in range(40):
                model.transform(X[:5])

    together(work, 4)
    assert np.array_equal(model.circuit_.R, model.R_)


@pytest.mark.parametrize("threads", THREADS)
def test_threads_share_an_analogue_circuit(together, rng, threads):
    R = np.array([[2.0, 0.5, 0.1], [0.3, 1.5, -0.4], [0.0, -0.2, 1.0]])
    ideal, X = analogue.AnalogueCircuit.build(R, tau_s=1e-6), 0.1 * rng.standard_normal((20, 3))
    real = analogue.AnalogueCircuit.build(
        R, hardware.Devices(mismatch=0.02), analogue.Amplifier(gain=1e4, bandwidth_hz=1e8, swing_v=0.3), tau_s=1e-6
    )
    weights = ideal.weights / np.abs(ideal.weights).max() * np.abs(R).max()
    assert np.allclose(weights, R, atol=1e-9)
    rest, alone = np.linalg.solve(R, X.T).T, analogue.AnalogueCircuit.settle(real, X).xbar
    still = analogue.AnalogueCircuit(**{name: getattr(real, name) for name in real.__dataclass_fields__})
    flows = still.integrate(X, 5e-6, [1e-6, 5e-6]).xbar

    def work(_):
        good = np.abs(ideal.settle(X).xbar - rest).max() < 1e-9
        good &= bool(np.allclose(real.settle(X).xbar, alone, rtol=1e-9, atol=1e-12))
        good &= bool(np.allclose(real.integrate(X, 5e-6, [1e-6, 5e-6]).xbar, flows, rtol=1e-9, atol=1e-12))
        return bool(good) and real.stability().margin > 0

    assert all(together(work, threads, rounds=2))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("settling", ["twin", "direct", "chebyshev"])
def test_threads_pass_their_batches_through_one_network(together, rng, settling, threads):
    form = nd.network.Decorrelation("recurrent", rate=1e-3, settling=settling, rule="explicit", rate_is="absolute")
    layers = [nd.Dense(200, decorrelation=form), nd.Dense(5, decorrelation=form)]
    network = nd.Network(layers, inputs=50, seed=1, dtype="float64")
    X = rng.standard_normal((1400, 50))  # large enough for memory that is used again
    system, alone = network.as_circuit(), network.forward(X).output
    rest = system.settle(X[:3], 1e-8).output
    assert np.abs(rest - alone[:3]).max() < 1e-6

    def work(k):
        rows = slice(k % 8, None, 2)
        good = np.allclose(network.forward(X[rows]).output, alone[rows], rtol=1e-5, atol=1e-6)
        return good and bool(np.abs(system.settle(X[:3], 1e-8).output - rest).max() < 2e-8)

    assert all(together(work, threads, rounds=2))


def test_many_readers_leave_filters_of_warnings_as_they_were(together, tmp_path, rng):
    path = nd.io.Result({"R": np.eye(3)}).save(tmp_path / "result.npz")
    pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    plain = pickle.dumps({"a": [1, 2]}, 2)
    before = list(warnings.filters)

    def read(_):
        same = bool((nd.load_result(path).arrays["R"] == np.eye(3)).all())
        same &= bool((read_picture(tmp_path / "grey.png") == pixels).all())
        return same and read_plain(plain, "a pickle") == {"a": [1, 2]}

    assert all(together(read, 8, rounds=40))
    assert warnings.filters == before


@pytest.mark.parametrize("threads", THREADS)
def test_threads_record_to_one_file(together, tmp_path, threads):
    names = [f"trace {k}" for k in range(threads)]
    with nd.io.Recorder(
        tmp_path / "traces.h5", [Variable(name, (5,)) for name in names], buffer_bytes=4000
    ) as recorder:

        def record(k):
            for step in range(200):
                recorder.record(step, {names[k]: np.full(5, 1000 * k + step)})
            recorder.record_rows(np.arange(200, 300), {names[k]: np.full((100, 5), k)})

        together(record, threads)
    traces = read_traces(tmp_path)
    for k, name in enumerate(names):
        assert traces[name].step.tolist() == list(range(300))
        assert np.array_equal(traces[name].values[:200, 0], 1000 * k + np.arange(200))
        assert (traces[name].values[200:] == k).all()


def test_joblib_threads_use_one_circuit_and_one_estimator(X, rng):
    model = nd.RecurrentDecorrelator(epochs=1).fit(X)
    circuit = nd.Circuit(2 * np.eye(6) + rng.standard_normal((6, 6)) / 9)
    rest, learnt = np.linalg.solve(circuit.R, X.T).T, np.linalg.solve(model.R_, (X - model.mean_).T).T
    use = delayed(lambda: (nd.settle(circuit, X, 1e-8, method="direct").xbar, model.transform(X)))
    for xbar, own in Parallel(4, backend="threading")(use() for _ in range(40)):
        assert np.abs(xbar - rest).max() < 1e-8 and np.allclose(own, learnt, rtol=1e-5, atol=1e-6)
