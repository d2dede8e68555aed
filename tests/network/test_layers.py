"""Layers and the door of the network: convolution against its definition, shapes that must chain, copies."""

import numpy as np
import pytest
from scipy.signal import correlate

from neurodecorr.errors import ConfigError, InputError
from neurodecorr.network import AvgPool2d, Conv2d, Decorrelation, Dense, Flatten, MaxPool2d, Network
from neurodecorr.network.algebra import add_matrix_product, product, solve_positive
from neurodecorr.network.losses import cross_entropy

PICTURES = np.random.default_rng(0).standard_normal((3, 2, 7, 8))


def picture(network, X):
    """Return the last weighted layer's activity with channels first."""
    return network.forward(X).output.reshape(len(X), *network.layers[-1].shape).transpose(0, 3, 1, 2)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 0), (3, 1, 1), (2, 2, 0), (3, 2, 2), (1, 1, 0)])
def test_a_convolution_is_the_sum_over_each_patch(kernel, stride, padding):
    network = Network([Conv2d(4, kernel, stride, padding, "identity")], (2, 7, 8), dtype="float64", loss="mse")
    W = network.layers[0].W.reshape(4, kernel, kernel, 2).transpose(0, 3, 1, 2)
    wide = np.pad(PICTURES, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    plain = [[sum(correlate(x[c], w[c], "valid") for c in range(2)) for w in W] for x in wide]
    np.testing.assert_allclose(picture(network, PICTURES), np.array(plain)[:, :, ::stride, ::stride], atol=1e-12)


@pytest.mark.parametrize(("pool", "reduce"), [(MaxPool2d, np.max), (AvgPool2d, np.mean)])
def test_pooling_reduces_each_window(pool, reduce):
    network = Network([pool(3, 2), Conv2d(2, 1, activation="identity")], (2, 7, 8), dtype="float64", loss="mse")
    network.layers[0].W[...] = np.eye(2)
    windows = np.lib.stride_tricks.sliding_window_view(PICTURES, (3, 3), (2, 3))[:, :, ::2, ::2]
    np.testing.assert_allclose(picture(network, PICTURES), reduce(windows, axis=(-2, -1)), atol=1e-14)


def test_one_matrix_decorrelates_the_patches_of_all_places():
    network = Network([Conv2d(4, 3)], (2, 7, 8), decorrelation=Decorrelation("recurrent"), loss="mse")
    assert network.arrays()["layer0.R"].shape == (18, 18)
    assert network.layers[0].decorrelator.rows == 5 * 6


def test_flatten_changes_nothing_before_a_dense_layer():
    plain, explicit = (
        Network([Conv2d(4, 3), *extra, Dense(3, "identity")], (2, 7, 8), seed=4)
        for extra in ([], [Flatten(), Flatten()])
    )
    np.testing.assert_array_equal(plain.forward(PICTURES).output, explicit.forward(PICTURES).output)


@pytest.mark.parametrize(
    ("layers", "inputs", "message"),
    [
        ([], 4, "at least one layer with weights"),
        ([Dense(4), Conv2d(3, 3)], 4, r"layer 1 \(Conv2d\) needs pictures.*4 features"),
        ([Conv2d(3, 9)], (2, 7, 8), r"layer 0 \(Conv2d\) needs pictures of at least 9 × 9.*7 × 8"),
        ([Conv2d(3, 3), MaxPool2d(6)], (2, 7, 8), r"layer 1 \(MaxPool2d\).*at least 6 × 6.*5 × 6"),
        ([Dense(3), Flatten(), "Dense"], 4, r"layer 2 \(str\) must be a layer"),
        ([Conv2d(3, 3), MaxPool2d(2)], (2, 7, 8), r"last layer must have weights; layer 1 \(MaxPool2d\)"),
        ([Dense(3)], (3, 4), "inputs must be"),
        ([Dense(3)], 0, "inputs must be a whole number"),
        ([Dense(10**4), Dense(10**9)], 10, r"must fit in memory.*layer 1 \(Dense\)"),
    ],
)
def test_layers_that_do_not_chain_are_named(layers, inputs, message):
    with pytest.raises(ConfigError, match=message):
        Network(layers, inputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0), "units"),
        (lambda: Dense(3, "tahn"), "Did you mean 'tanh'"),
        (lambda: Conv2d(3, 2.5), "kernel"),
        (lambda: Conv2d(3, 3, padding=-1), "padding"),
        (lambda: MaxPool2d(2, 0), "stride"),
        (lambda: Network([Dense(3)], 4, loss="cross_entropie"), "Did you mean 'cross_entropy'"),
        (lambda: Network([Dense(3)], 4, dtype="float16"), "dtype"),
    ],
)
def test_bad_descriptions_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def broken(place, value, shape=(5, 4)):
    X = np.ones(shape)
    X[place] = value
    return X


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((5, 3)), r"X must have the shape \(samples, 4\); got \(5, 3\)"),
        (np.ones(4), r"X\[None\]"),
        (np.ones((0, 4)), "shape"),
        (broken((3, 1), np.nan), "row 3, column 1"),
        (broken((2, 0), -np.inf), "row 2, column 0"),
        (np.ones((2, 4), complex), "real numbers"),
        ([["a"] * 4], "real numbers"),
    ],
)
def test_bad_inputs_are_named(X, message):
    with pytest.raises(InputError, match=message):
        Network([Dense(3)], 4).forward(X)


def test_large_finite_inputs_pass():
    X = np.full((4, 4), 3e38, np.float32)
    assert Network([Dense(2, "tanh")], 4).forward(X).output.shape == (4, 2)


def test_targets_must_have_the_shape_of_the_output():
    network = Network([Dense(3, "identity")], 4)
    with pytest.raises(InputError, match="single 1"):
        network.loss.measure(network.forward(np.ones((2, 4))).output, np.array([0, 1]))


def test_cross_entropy_survives_large_outputs():
    loss, gradient = cross_entropy(np.array([[1e4, 0.0], [-1e4, 0.0]]), np.eye(2))
    np.testing.assert_allclose(loss, [0.0, 0.0])
    np.testing.assert_allclose(gradient, 0.0, atol=1e-15)


def test_a_copy_shares_nothing():
    network = Network(
        [Dense(5), Dense(2, "identity")],
        4,
        decorrelation=Decorrelation("recurrent", rate=0.1, rule="explicit", rate_is="absolute"),
    )
    twin, X = network.copy(), np.random.default_rng(0).standard_normal((9, 4))
    before = {name: array.copy() for name, array in network.arrays().items()}
    twin.decorrelate(twin.forward(X, training=True).signals)
    for array in twin.arrays().values():
        array += 1
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("form", ["none", "feedforward", "recurrent", "batch_norm"])
def test_loaded_arrays_go_on_bit_for_bit(form):
    plan = Decorrelation(form, "implicit", rate=0.1, rate_is="absolute")
    first, second = (Network([Conv2d(3, 3), Dense(2)], (2, 7, 8), decorrelation=plan, seed=s) for s in (0, 1))
    first.decorrelate(first.forward(PICTURES, training=True).signals)
    second.load({name: array.copy() for name, array in first.arrays().items()})
    for network in (first, second):
        network.decorrelate(network.forward(PICTURES, training=True).signals)
    np.testing.assert_array_equal(first.forward(PICTURES).output, second.forward(PICTURES).output)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("layer0.M"), "'layer0.M' is missing"),
        (lambda arrays: arrays.update(other=np.ones(3)), "'other' is unknown"),
        (lambda arrays: arrays.update({"layer0.W": np.ones((4, 4), np.float32)}), r"shape \(3, 4\); got \(4, 4\)"),
        (lambda arrays: arrays.update({"layer0.b": np.ones(3)}), "type float32; got float64"),
        (lambda arrays: arrays.update({"layer0.b": np.full(3, np.nan, np.float32)}), "layer0.b must be finite"),
    ],
)
def test_arrays_of_another_network_change_nothing(change, message):
    network = Network([Dense(3)], 4, decorrelation=Decorrelation("feedforward"))
    before = {name: array.copy() for name, array in network.arrays().items()}
    arrays = {name: array + 1 for name, array in before.items()}
    change(arrays)
    with pytest.raises(InputError, match=message):
        network.load(arrays)
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_those_of_numpy_for_every_layout(dtype):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((6, 10)).astype(dtype), rng.standard_normal((10, 8)).astype(dtype)
    tol = 50 * np.finfo(dtype).eps
    for a in (A, np.asfortranarray(A), np.repeat(A, 2, 1)[:, ::2]):
        for b in (B, np.asfortranarray(B), B[::-1][::-1]):
            np.testing.assert_allclose(product(a, b, 0.5), 0.5 * (A @ B), rtol=0, atol=tol)
            C = np.ones((6, 8), dtype)
            add_matrix_product(C, a, b, -2.0, 3.0)
            np.testing.assert_allclose(C, 3 - 2 * (A @ B), rtol=0, atol=4 * tol)
    S = (A @ A.T + 6 * np.eye(6)).astype(dtype)
    np.testing.assert_allclose(S @ solve_positive(S, A), A, rtol=0, atol=20 * tol)


def test_the_same_seed_gives_the_same_network():
    first, second = (Network([Dense(5)], 4, seed=3).arrays() for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
