"""The same source on other array libraries gives what it gives in numpy."""

from itertools import product

import numpy as np
import pytest

from neurodecorr.credit import Backprop
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
from neurodecorr.network.activations import ACTIVATIONS
from neurodecorr.network.algebra import as_numpy

LIBRARIES = ("array_api_strict", "torch")
FORMS = [
    *product(("feedforward", "recurrent"), ("explicit", "implicit", "congruent")),
    ("none", "explicit"),
    ("batch_norm", "explicit"),
]
# The sums run in another order: rounding of 1e-16 grows over three batches, by condition numbers below 1e3.
TOL = 1e-11


def learnt(network, X, Y):
    """Return losses of three batches, and the arrays after them."""
    rule, losses = Backprop().start(network), []
    for _ in range(3):
        credit = rule.assign(X, Y, np.random.default_rng(0))
        losses.append(as_numpy(credit.loss))
        for layer, (W, b) in zip(network.layers, credit.gradients, strict=True):
            layer.W -= 0.1 * W
            layer.b -= 0.1 * b
        network.decorrelate(credit.forward.signals)
    return np.array(losses), {name: as_numpy(array) for name, array in network.arrays().items()}


def agree(network, X, Y, library):
    namespace = pytest.importorskip(library)
    moved = network.to(namespace)
    assert type(moved.layers[0].W).__module__.split(".")[0] == library
    theirs = learnt(moved, moved.take(X), moved.take(Y))
    ours = learnt(network, X, Y)
    np.testing.assert_allclose(theirs[0], ours[0], rtol=0, atol=TOL)
    for name, array in ours[1].items():
        np.testing.assert_allclose(theirs[1][name], array, rtol=0, atol=TOL)
    back = moved.to(np)
    np.testing.assert_allclose(back.forward(X).output, network.forward(X).output, rtol=0, atol=TOL)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("form", "rule"), FORMS)
def test_dense_networks_learn_alike(library, form, rule):
    rng = np.random.default_rng(0)
    plan = Decorrelation(form, rule, rate=0.01, gain="node", rate_is="absolute")
    layers = [*(Dense(6, name) for name in ACTIVATIONS), Dense(3, "identity")]
    network = Network(layers, 5, decorrelation=plan, dtype="float64")
    agree(network, rng.standard_normal((12, 5)), np.eye(3)[rng.integers(0, 3, 12)], library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_convolutional_networks_learn_alike(library):
    rng = np.random.default_rng(0)
    layers = [Conv2d(4, 3, padding=1), MaxPool2d(2), Conv2d(3, 2, stride=2), Dense(3, "identity")]
    network = Network(
        layers,
        (2, 8, 8),
        decorrelation=Decorrelation("feedforward", rate=0.01, rule="explicit", rate_is="absolute"),
        dtype="float64",
    )
    agree(network, rng.standard_normal((4, 2, 8, 8)), np.eye(3)[rng.integers(0, 3, 4)], library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_simulated_settling_runs_in_numpy_and_comes_back(library):
    rng = np.random.default_rng(0)
    plan = Decorrelation("recurrent", "implicit", rate=0.01, settling="direct", tol=1e-10, rate_is="absolute")
    network = Network([Dense(4, "tanh"), Dense(3, "identity")], 5, decorrelation=plan, dtype="float64")
    agree(network, rng.standard_normal((12, 5)), np.eye(3)[rng.integers(0, 3, 12)], library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_moved_network_takes_numpy_inputs(library):
    network = Network([Dense(3, "identity")], 4).to(pytest.importorskip(library))
    assert network.forward(np.ones((2, 4), np.float32)).output.shape == (2, 3)
