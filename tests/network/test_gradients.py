"""Gradients against central differences, for every layer, activation, loss and form of decorrelation."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.credit import Backprop
from neurodecorr.network import AvgPool2d, Conv2d, Decorrelation, Dense, Flatten, MaxPool2d, Network
from neurodecorr.network.activations import ACTIVATIONS
from neurodecorr.network.losses import LOSSES

FORMS = [
    *product(("feedforward", "recurrent"), ("explicit", "implicit", "congruent")),
    ("none", "explicit"),
    ("batch_norm", "explicit"),
]
STEP = 1e-5  # the error of a central difference is of order STEP² + rounding/STEP ~ 1e-10
TOL = 1e-6  # what is promised


def trained(layers, inputs, plan, loss="cross_entropy", samples=12, seed=0):
    """Return a float64 network whose decorrelators have learnt from a few correlated batches, and a batch."""
    rng = np.random.default_rng(seed)
    network = Network(layers, inputs, loss=loss, decorrelation=plan, seed=seed, dtype="float64")
    size = int(np.prod(inputs))
    mixing = rng.standard_normal((size, size)) / np.sqrt(size)
    for _ in range(5):
        X = rng.standard_normal((samples, size)) @ mixing + 0.3
        network.decorrelate(network.forward(X, training=True).signals)
    for layer in network.layers:
        layer.b += 0.1 * rng.standard_normal(layer.b.shape)
    outputs = network.layers[-1].W.shape[0]
    return network, X, np.eye(outputs)[rng.integers(0, outputs, samples)]


def largest_error(network, X, Y, seed=1, entries=6):
    """Return the largest error of a gradient over the largest gradient, at random weights of each array."""
    rng = np.random.default_rng(seed)
    credit = Backprop().start(network).assign(X, Y, rng)
    errors, sizes = [], []
    for layer, found in zip(network.layers, credit.gradients, strict=True):
        for array, gradient in zip((layer.W, layer.b), found, strict=True):
            for place in rng.integers(0, array.size, entries):
                numeric = slope(network, X, Y, array, np.unravel_index(place, array.shape))
                errors.append(abs(numeric - gradient[np.unravel_index(place, array.shape)]))
            sizes.append(np.abs(gradient).max())
    return max(errors) / max(sizes)


def slope(network, X, Y, array, place):
    """Return the central difference of the mean loss by one weight."""
    kept, losses = array[place], []
    for step in (STEP, -STEP):
        array[place] = kept + step
        losses.append(network.loss.measure(network.forward(X, training=True).output, Y)[0].mean())
    array[place] = kept
    return (losses[0] - losses[1]) / (2 * STEP)


@pytest.mark.parametrize(("form", "rule"), FORMS)
def test_dense_gradients_are_those_of_central_differences(form, rule):
    plan = Decorrelation(form, rule, rate=0.02, gain="node", rate_is="absolute")
    network, X, Y = trained([Dense(7, "tanh"), Dense(6, "softplus"), Dense(4, "identity")], 9, plan)
    assert largest_error(network, X, Y) < TOL


@pytest.mark.parametrize(("form", "rule"), FORMS)
def test_convolutional_gradients_are_those_of_central_differences(form, rule):
    plan = Decorrelation(form, rule, rate=0.02, gain="layer", share=0.5, rate_is="absolute")
    layers = [
        Conv2d(4, 3, padding=1, activation="tanh"),
        MaxPool2d(2),
        Conv2d(3, 2, stride=2, activation="tanh"),
        AvgPool2d(2, stride=1),
        Flatten(),
        Dense(3, "identity"),
    ]
    network, X, Y = trained(layers, (2, 10, 10), plan, samples=5)
    assert largest_error(network, X, Y) < TOL


@pytest.mark.parametrize(("activation", "loss"), [*product(ACTIVATIONS, LOSSES)])
def test_every_activation_and_loss_has_the_gradient_of_its_value(activation, loss):
    plan = Decorrelation("feedforward", rate=0.02, rule="explicit", rate_is="absolute")
    network, X, Y = trained([Dense(8, activation), Dense(3, activation)], 5, plan, loss)
    assert largest_error(network, X, Y) < TOL


@pytest.mark.parametrize("method", ["direct", "chebyshev", "exponential"])
def test_a_simulated_recurrent_layer_passes_gradients_back_by_its_adjoint_circuit(method):
    plan = Decorrelation("recurrent", "implicit", rate=0.02, settling=method, tol=1e-11, rate_is="absolute")
    network, X, Y = trained([Dense(6, "tanh"), Dense(3, "identity")], 5, plan)
    assert largest_error(network, X, Y) < TOL


@settings(max_examples=15, deadline=None)
@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    form=st.sampled_from(["feedforward", "recurrent", "batch_norm"]),
    seed=st.integers(0, 1000),
)
def test_gradients_hold_for_any_shape(widths, form, seed):
    layers = [*(Dense(units, "tanh") for units in widths), Dense(3, "identity")]
    network, X, Y = trained(layers, 4, Decorrelation(form, "implicit", rate=0.02, rate_is="absolute"), seed=seed)
    assert largest_error(network, X, Y, entries=2) < TOL


def test_max_pooling_sends_the_gradient_to_the_first_of_equal_numbers():
    network = Network([MaxPool2d(2), Dense(2, "identity")], (1, 2, 2), dtype="float64")
    found = network.forward(np.ones((1, 1, 2, 2)))
    back = network.layers[0].back(np.ones((1, 1)), np.ones((1, 1)), found.signals[0])
    np.testing.assert_array_equal(back, [[[[1.0, 0.0], [0.0, 0.0]]]])
