"""W M in one matrix, and patches a few samples at a time: against x̄ of every row, in plain numpy."""

import threading
from itertools import product

import numpy as np
import pytest

from neurodecorr.credit import (
    Adam,
    Backprop,
    BernoulliNoise,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    NodePerturbation,
)
from neurodecorr.data import Dataset, Epochs
from neurodecorr.network import AvgPool2d, Conv2d, Decorrelation, Dense, MaxPool2d, Network, routes
from neurodecorr.network.weights import FoldedSignals, Signals, WeightedLayer
from neurodecorr.training import Trainer
from neurodecorr.training.trainer import evaluate

DENSE = ([Dense(5, "tanh"), Dense(4, "tanh"), Dense(3, "identity")], (9,))
PICTURES = (
    [
        Conv2d(4, 3, padding=1, activation="tanh"),
        MaxPool2d(2),
        Conv2d(3, 2, stride=2, activation="softplus"),
        AvgPool2d(2, stride=1),
        Dense(3, "identity"),
    ],
    (2, 9, 9),
)
STACKS = {"dense": DENSE, "pictures": PICTURES}
PLANS = {
    "none": Decorrelation(),
    "batch_norm": Decorrelation("batch_norm"),
    "M implicit": Decorrelation("feedforward", rate=0.02, share=0.3),
    "M explicit, no mean": Decorrelation("feedforward", "explicit", rate=0.01, mean="none", gain="node"),
    "M congruent": Decorrelation("feedforward", "congruent", rate=0.02, share=0.5),
    "R implicit": Decorrelation("recurrent", rate=0.02, share=0.5),
    "R settled": Decorrelation("recurrent", rate=0.02, settling="direct", tol=1e-12),
    "public code": Decorrelation.public_code(1e-3),
}
CREDITS = {
    "BP": Backprop(),
    "FA": FeedbackAlignment(),
    "FA exact": FeedbackAlignment(lateral_feedback="exact", conv_biases=False),
    "FA adjoint": FeedbackAlignment("kolen_pollack", "adjoint"),
    "FA random": FeedbackAlignment("mirror", "random"),
    "DFA": DirectFeedbackAlignment(),
    "NP": NodePerturbation(noise=BernoulliNoise(1e-2)),
    "NP activity": NodePerturbation("activity", BernoulliNoise(1e-2), antithetic=True),
    "NP joint": NodePerturbation(noise=BernoulliNoise(1e-2), joint_batch=True),
    "NP noisy": NodePerturbation(noise=BernoulliNoise(1e-2), clean_pass=False),
}
# Rounding grows over the steps by condition numbers below 1e3, and by 1/σ where noise is divided by.
TOL = {"float64": 1e-10, "float32": 2e-3}


def plain_response(self, activity, training):
    """Return what a layer does, x̄ of each row written out, patches of the whole batch included."""
    memos = []
    for route in self.routes:
        activity, memo = route.forth(activity)
        memos.append(memo)
    x = activity.reshape(-1, self.W.shape[1])
    drive = self.decorrelator.centre(x, training)
    xbar = self.decorrelator.decorrelate(drive, training)
    return Signals(x, drive, xbar, xbar @ self.W.T + self.b, tuple(memos[:-1]), training)


def network_of(stack, plan, dtype="float64"):
    layers, inputs = STACKS[stack]
    return Network(layers, inputs, decorrelation=PLANS[plan], dtype=dtype, seed=3)


def batch_of(stack, samples=40, seed=0):
    rng, size = np.random.default_rng(seed), int(np.prod(STACKS[stack][1]))
    X = rng.standard_normal((samples, size)) @ (rng.standard_normal((size, size)) / np.sqrt(size)) + 0.3
    return Dataset(X.astype("f4").astype(float), rng.integers(0, 3, samples), name="drawn")  # batches are of float32


def trained(stack, plan, rule, dtype):
    """Return everything that four batches taught a network, and how many layers ran on W M."""
    network = network_of(stack, plan, dtype)
    trainer = Trainer(network, CREDITS[rule], Adam(1e-2, epsilon=1e-3), seed=1)
    trainer.fit(Epochs(batch_of(stack), 20), epochs=2)
    signals = network.forward(batch_of(stack).inputs[:20], training=True).signals
    return trainer.arrays(), sum(isinstance(found, FoldedSignals) for found in signals)


# In single precision what noise does to a loss is too near rounding, and settling runs in double.
CASES = [*product(STACKS, PLANS, CREDITS, ["float64"])]
CASES += [(*case[:3], "float32") for case in CASES if case[1] != "R settled" and not case[2].startswith("NP")]


@pytest.mark.parametrize(("stack", "plan", "rule", "dtype"), CASES)
def test_networks_learn_what_they_learn_without_folding(stack, plan, rule, dtype, monkeypatch):
    folded, count = trained(stack, plan, rule, dtype)
    monkeypatch.setattr(WeightedLayer, "respond", plain_response)
    plain, none = trained(stack, plan, rule, dtype)
    assert none == 0
    assert (count > 0) == (plan not in ("batch_norm", "R settled"))
    for name, array in plain.items():
        largest = max(1.0, float(np.nanmax(np.abs(array), initial=0.0)))
        np.testing.assert_allclose(folded[name], array, rtol=0, atol=TOL[dtype] * largest, err_msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("stack", "plan"), [*product(STACKS, ("none", "M implicit", "R implicit", "public code"))])
def test_signals_are_those_of_when_the_layer_ran(stack, plan, training):
    network = network_of(stack, plan)
    X = batch_of(stack).inputs
    network.decorrelate(network.forward(X, training=True).signals)
    signals = network.forward(X, training=training).signals
    activity = network._checked(X)
    expected = []
    for layer in network.layers:
        expected.append(plain_response(layer, activity, training))
        activity = layer.fire(expected[-1].h)
    network.decorrelate(network.forward(2 * X, training=True).signals)  # changes M and μ in place
    for found, wanted in zip(signals, expected, strict=True):
        for name in ("x", "drive", "xbar", "h"):
            np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.mean_input(), wanted.x.mean(axis=0), rtol=0, atol=1e-13)
        rows = 7 * len(wanted.x) // len(X)
        np.testing.assert_allclose(found.head(rows).xbar, wanted.xbar[:rows], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("size", "stride", "padding", "samples"), [(3, 1, 0, 1), (3, 2, 1, 5), (2, 2, 0, 7), (1, 1, 2, 4)]
)
def test_products_with_patches_in_blocks_are_those_with_all_of_them(size, stride, padding, samples, dtype, monkeypatch):
    route = routes.Patches((6, 5, 3), size, stride, padding)
    n = route.shape_behind[-1]
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((samples, 3, 6, 5)).astype(dtype).transpose(0, 2, 3, 1)  # not in order in memory
    K = rng.standard_normal((4, n)).astype(dtype)
    X = route.forth(pictures)[0].reshape(-1, n).astype("f8")
    delta = rng.standard_normal((len(X), 4)).astype(dtype)
    wide = delta.astype("f8") @ K
    monkeypatch.setattr(routes, "BLOCK", 2 * X.size // samples * np.dtype(dtype).itemsize)  # two samples and a rest
    tol = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(route.multiply(pictures, K), X @ K.T.astype("f8"), rtol=0, atol=tol)
    np.testing.assert_allclose(route.correlate(delta, pictures), delta.T.astype("f8") @ X, rtol=0, atol=tol)
    np.testing.assert_allclose(route.spread(delta, K), route.back(wide, None), rtol=0, atol=tol)
    np.testing.assert_allclose(route.mean(pictures), X.mean(axis=0), rtol=0, atol=tol)
    for call in (lambda: route.multiply(pictures, K), lambda: route.spread(delta, K)):
        np.testing.assert_array_equal(call(), call())


def test_blocks_of_patches_are_shared_among_threads(monkeypatch):
    route, rng = routes.Patches((6, 5, 3), 3), np.random.default_rng(0)
    pictures, K = rng.standard_normal((16, 6, 5, 3)), rng.standard_normal((4, 27))
    delta = rng.standard_normal((16 * 12, 4))
    monkeypatch.setattr(routes, "BLOCK", 2 * 12 * 27 * 8)  # two samples

    def found(parts):
        monkeypatch.setattr(routes, "workers", lambda: parts)
        return route.multiply(pictures, K), route.spread(delta, K), route.correlate(delta, pictures)

    alone, shared = found(1), found(3)
    for one, other in zip(alone[:2], shared[:2], strict=True):
        np.testing.assert_array_equal(one, other)  # each block is made by itself
    np.testing.assert_allclose(alone[2], shared[2], rtol=0, atol=1e-12)  # sums of each thread are added
    seen = []
    with np.errstate(over="raise"):
        route._in_blocks(pictures, lambda *_: seen.append(np.geterr()["over"]))
    assert seen == ["raise"] * 8  # in every thread as where it was called


def test_units_decide_whether_w_m_is_made():
    plan = Decorrelation("feedforward", share=0.1)
    network = Network([Dense(30), Dense(4, "identity")], 8, decorrelation=plan)
    kinds = [type(found) for found in network.forward(np.ones((20, 8)), training=True).signals]
    assert kinds == [Signals, FoldedSignals]
    assert all(type(found) is Signals for found in network.forward(np.ones((1, 8))).signals)  # as the audits see them
    assert all(type(found) is FoldedSignals for found in network.forward(np.ones((31, 8))).signals)


@pytest.mark.parametrize(("stack", "plan"), [*product(STACKS, PLANS)])
def test_an_evaluation_is_that_of_the_network_as_it_is_now(stack, plan):
    network, data = network_of(stack, plan), batch_of(stack)
    for _ in range(3):  # what was prepared before must not be met again
        loss, accuracy = evaluate(network, Epochs(data, 7))
        activity = network._checked(data.inputs)
        for layer in network.layers:
            activity = layer.fire(plain_response(layer, activity, False).h)
        losses, _ = network.loss.measure(activity, np.eye(3)[data.targets])
        assert loss == pytest.approx(losses.mean(), rel=1e-10)
        assert accuracy == np.mean(activity.argmax(axis=1) == data.targets)
        Trainer(network, Backprop(), Adam(1e-2)).fit(Epochs(data, 20), epochs=1)


def test_a_prepared_network_keeps_what_it_was_made_of_while_the_other_learns():
    network, data = network_of("pictures", "M implicit"), batch_of("pictures")
    network.decorrelate(network.forward(data.inputs, training=True).signals)
    made, before = network.prepared(10**4), network.forward(data.inputs).output
    for layer in made.layers:
        assert layer.decorrelator.plan.form == "none"
    network.decorrelate(network.forward(2 * data.inputs, training=True).signals)
    np.testing.assert_allclose(made.forward(data.inputs).output, before, rtol=0, atol=1e-12)


def test_threads_read_the_same_signals():
    network, data = network_of("pictures", "M implicit"), batch_of("pictures")
    alone = network.forward(data.inputs).signals
    shared, seen = network.forward(data.inputs).signals, []
    threads = [threading.Thread(target=lambda: seen.append([s.xbar.copy() for s in shared])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    for found in seen:
        for one, own in zip(found, alone, strict=True):
            np.testing.assert_array_equal(one, own.xbar)
