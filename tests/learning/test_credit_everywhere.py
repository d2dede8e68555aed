"""Every rule of credit assignment on convolutions with pooling, and on array libraries other than numpy."""

from dataclasses import replace

import numpy as np
import pytest

from neurodecorr.data import Dataset, Epochs
from neurodecorr.learning import (
    SGD,
    WATCHES,
    Adam,
    Backprop,
    Bernoulli,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    Gaussian,
    NodePerturbation,
    OrnsteinUhlenbeck,
    Recording,
    RMSprop,
    Trainer,
    evaluate,
    training_traces,
)
from neurodecorr.learning.feedback import DECAY, PATHWAYS
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
from neurodecorr.network.algebra import as_numpy

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 2, 6, 6))
LABELS = RNG.integers(0, 4, 8)
Y = np.eye(4)[LABELS]
FORMS = ("none", "feedforward", "recurrent", "batch_norm")
LIBRARIES = ("array_api_strict", "torch")
COARSE = Gaussian(0.1)


def network(form="feedforward", learnt=10, **options):
    """Return two convolutions with pooling between them, and a dense layer, whose decorrelators have learnt."""
    plan = Decorrelation(form, rule="implicit", rate=0.05, gain="node", **options)
    layers = [Conv2d(4, 3, padding=1, activation="tanh"), MaxPool2d(2), Conv2d(3, 2, activation="softplus")]
    net = Network([*layers, Dense(4, "identity")], (2, 6, 6), decorrelation=plan, dtype="float64", seed=3)
    for _ in range(learnt):
        net.decorrelate(net.forward(X, training=True).signals)
    return net


def assigned(rule, net, seed=0, X=X, Y=Y):
    return rule.start(net, 1).assign(X, Y, np.random.default_rng(seed))


def flat(credit):
    return np.concatenate([np.r_[W.ravel(), b] for W, b in credit.gradients])


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def moved_along(net, direction, size):
    """Return the mean loss of a batch after all weights and biases moved."""
    there, begin = net.copy(), 0
    for layer in there.layers:
        for array in (layer.W, layer.b):
            array += size * direction[begin : begin + array.size].reshape(array.shape)
            begin += array.size
    return there.loss.measure(there.forward(X, training=True).output, Y)[0].mean()


@pytest.mark.parametrize("form", FORMS)
def test_transported_weights_and_exact_lateral_feedback_are_backprop_through_convolutions_and_pooling(form):
    net = network(form)
    found = flat(assigned(FeedbackAlignment("transport", "exact"), net))
    assert relative(found, flat(assigned(Backprop(), net))) < 1e-13
    unit, step = found / np.linalg.norm(found), 1e-5
    # Central differences: an error of step² from the third derivative, and of 1e-16/step from rounding.
    slope = (moved_along(net, unit, step) - moved_along(net, unit, -step)) / (2 * step)
    assert slope == pytest.approx(np.linalg.norm(found), rel=1e-8)


@pytest.mark.parametrize("form", ["feedforward", "recurrent"])
def test_adjoint_circuit_of_a_convolution_carries_the_error_that_the_transposed_matrix_would(form):
    net = network(form, settling="direct", tol=1e-12)
    found = flat(assigned(FeedbackAlignment("transport", "adjoint"), net))
    assert relative(found, flat(assigned(Backprop(), net))) < 1e-8


def error_below(delta, B, h, slope):
    """Return δ of the first convolution from that of the second, place by place, with no lateral matrix."""
    activity, kept = np.tanh(h).reshape(8, 6, 6, 4), np.zeros((8, 3, 3, 4))
    patches = (delta @ B).reshape(8, 2, 2, 2, 2, 4)
    for row, column in np.ndindex(2, 2):
        kept[:, row : row + 2, column : column + 2] += patches[:, row, column]
    found = np.zeros_like(activity)
    for s, row, column, c in np.ndindex(kept.shape):
        window = activity[s, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, c]
        i, j = np.unravel_index(window.argmax(), (2, 2))
        found[s, 2 * row + i, 2 * column + j, c] = kept[s, row, column, c]
    return found.reshape(h.shape) * slope(h)


@pytest.mark.parametrize("weights", sorted(PATHWAYS))
def test_every_pathway_carries_errors_down_convolutions_as_sums_over_patches_do(weights):
    net = network()
    rule = FeedbackAlignment(weights).start(net, 1)
    found = rule.assign(X, Y, np.random.default_rng(0))
    expected = error_below(found.deltas[1], rule.path.matrix(1), found.forward.signals[0].h, net.layers[0].slope)
    np.testing.assert_allclose(found.deltas[0], expected, rtol=1e-12, atol=1e-15)
    assert [(W.shape, b.shape) for W, b in found.gradients] == [(la.W.shape, la.b.shape) for la in net.layers]


def test_direct_feedback_gives_each_place_of_a_convolution_its_own_row():
    net = network()
    rule = DirectFeedbackAlignment().start(net, 1)
    found = rule.assign(X, Y, RNG)
    for i, places in ((0, 36), (1, 4)):
        h, units = found.forward.signals[i].h, net.layers[i].shape[-1]
        sent = np.einsum("sk,kpc->spc", found.deltas[-1], rule.arrays[f"B{i}"].reshape(4, places, units))
        np.testing.assert_allclose(found.deltas[i], sent.reshape(h.shape) * net.layers[i].slope(h), rtol=1e-12)


def test_kolen_pollack_feedback_of_a_convolution_comes_to_equal_its_weights():
    net = network()
    rule = FeedbackAlignment("kolen_pollack").start(net, 1)
    before = net.layers[1].W - rule.arrays["B1"]
    for _ in range(100):
        net.layers[1].W += 0.01 * RNG.standard_normal(net.layers[1].W.shape)
        rule.follow()
    np.testing.assert_allclose(net.layers[1].W - rule.arrays["B1"], before * (1 - DECAY) ** 100, rtol=1e-9, atol=1e-12)


def of_one_image(net, rule, noise, index):
    """Return δ of every layer for one image by itself, whose patches all have its loss."""
    x, y, sigma = X[index : index + 1], Y[index : index + 1], rule.noise.sigma

    def run(shakes):
        found = net.forward(x, training=True, noise=shakes)
        return net.loss.measure(found.output, y)[0].item(), [s.h for s in found.signals]

    def change(shakes):
        if rule.antithetic:
            return (run([sigma * n for n in shakes])[0] - run([-sigma * n for n in shakes])[0]) / 2
        return run([sigma * n for n in shakes])[0] - run([0 * n for n in shakes])[0]

    if rule.variant == "node":
        return [change(noise) / sigma * n for n in noise]
    if rule.variant == "activity":
        clean, noisy = run([0 * n for n in noise])[1], run([sigma * n for n in noise])[1]
        moved = [after - before for after, before in zip(noisy, clean, strict=True)]
        return [sum(m.size for m in moved) * change(noise) / sum((m**2).sum() for m in moved) * m for m in moved]
    alone = [[n * (i == k) for i, n in enumerate(noise)] for k in range(len(noise))]
    return [n.size * change(alone[k]) / sigma / (n**2).sum() * n for k, n in enumerate(noise)]


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("variant", ["node", "activity", "iterative"])
def test_all_patches_of_an_image_share_the_loss_of_that_image(variant, antithetic):
    net, rule = network(), NodePerturbation(variant, COARSE, antithetic=antithetic)
    found = assigned(rule, net)
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal(delta.shape) for delta in found.deltas]
    for s in range(8):
        own = [n.reshape(8, -1, n.shape[1])[s] for n in noise]
        for delta, expected in zip(found.deltas, of_one_image(net, rule, own, s), strict=True):
            np.testing.assert_allclose(delta.reshape(8, -1, delta.shape[1])[s], expected, rtol=1e-9, atol=1e-12)


PERTURBATIONS = [
    NodePerturbation(),
    NodePerturbation(noise=Bernoulli()),
    NodePerturbation(antithetic=True),
    NodePerturbation("activity"),
    NodePerturbation("iterative"),
    NodePerturbation(clean_pass=False),
    NodePerturbation(clean_pass=False, antithetic=True),
    NodePerturbation(joint_batch=True),
]


def errors(rule, net, counts, images):
    """Return the rms error and the mean cosine to backprop of few and of many copies of each image in a batch."""
    exact, found = flat(assigned(Backprop(), net, X=X[:images], Y=Y[:images])), []
    for count in counts:
        many = {"X": np.tile(X[:images], (count, 1, 1, 1)), "Y": np.tile(Y[:images], (count, 1))}
        tries = [flat(assigned(rule, net, seed, **many)) for seed in range(12)]
        size = np.sqrt(np.mean([relative(g, exact) ** 2 for g in tries]))
        found.append((size, np.mean([cosine(g, exact) for g in tries])))
    return np.array(found)


@pytest.mark.parametrize("rule", PERTURBATIONS, ids=str)
def test_node_perturbation_of_convolutions_comes_to_backprop_at_one_over_the_root_of_its_samples(rule):
    # Where a mean loss stands for that without noise, all images are one: its loss is their mean, to first order.
    images, counts = (1, (64, 1024)) if not rule.clean_pass else (4, (16, 256))
    few, many = errors(rule, network(learnt=3), counts, images)
    slope = np.log(many[0] / few[0]) / np.log(counts[1] / counts[0])
    print(rule, few, many, slope)
