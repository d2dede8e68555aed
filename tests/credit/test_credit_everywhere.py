"""Every rule of credit assignment on convolutions with pooling, and on array libraries other than numpy."""

from dataclasses import replace

import numpy as np
import pytest

from neurodecorr.credit import (
    SGD,
    Adam,
    Backprop,
    BernoulliNoise,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    GaussianNoise,
    NodePerturbation,
    OrnsteinUhlenbeck,
    RMSprop,
)
from neurodecorr.credit.feedback_weights import DECAY, PATHWAYS
from neurodecorr.data import Dataset, Epochs
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
from neurodecorr.network.algebra import as_numpy
from neurodecorr.training import RecordingOptions, Trainer, evaluate, monitors, training_traces
from neurodecorr.training.monitors import MONITORS

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 2, 6, 6))
LABELS = RNG.integers(0, 4, 8)
Y = np.eye(4)[LABELS]
FORMS = ("none", "feedforward", "recurrent", "batch_norm")
COARSE = GaussianNoise(0.1)


@pytest.fixture(params=["array_api_strict", "torch"])
def elsewhere(request):
    """Yield an array library; torch on one thread, since those of a busy machine wait for each other."""
    found = pytest.importorskip(request.param)
    if request.param != "torch":
        yield found
        return
    before = found.get_num_threads()
    found.set_num_threads(1)
    yield found
    found.set_num_threads(before)


def library(array):
    return type(array).__module__.partition(".")[0]


def network(form="feedforward", learnt=10, **options):
    """Return two convolutions with pooling between them, and a dense layer, whose decorrelators have learnt."""
    plan = Decorrelation(form, rule="implicit", rate=0.05, gain="node", rate_is="absolute", **options)
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
        tries = [flat(assigned(rule, net, seed, **many)) for seed in range(8)]
        size = np.sqrt(np.mean([relative(g, exact) ** 2 for g in tries]))
        found.append((size, np.mean([cosine(g, exact) for g in tries])))
    return np.array(found)


@pytest.mark.parametrize("rule", PERTURBATIONS, ids=str)
def test_node_perturbation_of_convolutions_comes_to_backprop_at_one_over_the_root_of_its_samples(rule):
    # Where a mean loss stands for that without noise, all images are one: its loss is their mean, to first order.
    images, counts = (2, (32, 512)) if rule.clean_pass else (1, (64, 1024))
    found = errors(rule, network(learnt=3), counts, images)
    slope = np.log(found[1, 0] / found[0, 0]) / np.log(counts[1] / counts[0])
    # Eight tries of some ten free directions: a logarithm scatters by 1/√160 at each end, the slope by 0.04.
    assert slope == pytest.approx(-0.5, abs=0.1), found
    # An error without direction is at right angles to the gradient: cos = 1/√(1 + error²).
    np.testing.assert_allclose(found[:, 1], 1 / np.sqrt(1 + found[:, 0] ** 2), atol=0.06)
    assert found[1, 1] > found[0, 1] + 0.1


RULES = [
    Backprop(),
    *(FeedbackAlignment(weights) for weights in sorted(PATHWAYS)),
    *(FeedbackAlignment("mirror", lateral) for lateral in ("exact", "adjoint", "random")),
    FeedbackAlignment(scale=6**0.5, conv_biases=False),
    DirectFeedbackAlignment(),
    *(replace(rule, noise=COARSE) for rule in PERTURBATIONS),
    NodePerturbation(noise=BernoulliNoise(0.1)),
    NodePerturbation(noise=OrnsteinUhlenbeck(0.1, 3.0)),
]


def learnt(rule, net):
    """Return all that a rule says of three batches, all it keeps, and the network after them."""
    assigner, said = rule.start(net, 1), []
    for batch in range(3):
        credit = assigner.assign(net.take(X), net.take(Y), np.random.default_rng(batch))
        for layer, (W, b) in zip(net.layers, credit.gradients, strict=True):
            layer.W -= 0.1 * W
            layer.b -= 0.1 * b
        assigner.follow()
        net.decorrelate(credit.forward.signals)
        parts = [credit.loss, credit.forward.output, *credit.deltas, *(a for pair in credit.gradients for a in pair)]
        said += [as_numpy(part) for part in parts]
    kept = {**assigner.arrays, **net.arrays()}
    return said + [as_numpy(kept[name]) for name in sorted(kept)]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_says_in_another_library_what_it_says_in_numpy(elsewhere, rule):
    net = network(learnt=3)
    moved = net.to(elsewhere)
    theirs, ours = learnt(rule, moved), learnt(rule, net)
    assert library(moved.layers[0].W) == elsewhere.__name__
    # Sums run in another order: 1e-16 grows by condition numbers and by 1/σ, together below 1e5.
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(other, mine, rtol=0, atol=1e-11 * max(1, np.abs(mine).max()))


@pytest.mark.parametrize("form", FORMS)
def test_one_batch_of_both_passes_is_in_another_library_what_it_is_in_numpy(elsewhere, form):
    rule = NodePerturbation(noise=COARSE, joint_batch=True)
    net = network(form, learnt=3, mean="batch")
    found = {}
    for space, own in (("numpy", net), (elsewhere.__name__, net.to(elsewhere))):
        credit = assigned(rule, own, X=own.take(X), Y=own.take(Y))
        assert credit.loss.shape[0] == 8 and credit.forward.output.shape == (8, 4)
        assert [s.x.shape[0] for s in credit.forward.signals] == [2 * d.shape[0] for d in credit.deltas]
        parts = [credit.loss, *credit.deltas, *(a for pair in credit.gradients for a in pair)]
        assert {library(part) for part in parts} == {space}
        found[space] = [as_numpy(part) for part in parts]
    for mine, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(other, mine, rtol=0, atol=1e-11 * max(1, np.abs(mine).max()))


IMAGES = Dataset(RNG.random((48, 72)), RNG.integers(0, 4, 48), name="noise")
VECTORS = Dataset(RNG.random((48, 72)), RNG.standard_normal((48, 4)), name="curves")


def trained(net, credit, optimiser, table=IMAGES, **options):
    """Return a trainer, and its history after two epochs."""
    learner = Trainer(net, credit, optimiser, watches=sorted(MONITORS), watch_every=2)
    training, test = Epochs(table.take(np.arange(32)), 8, seed=1), Epochs(table.take(np.arange(32, 48)), 8)
    return learner, learner.fit(training, epochs=2, test=test, **options)


def same(mine, other, tol):
    assert mine.keys() == other.keys()
    for name, array in mine.items():
        np.testing.assert_allclose(as_numpy(other[name]), array, rtol=tol, atol=tol, err_msg=name)


def small(form, dtype, loss="cross_entropy"):
    plan = Decorrelation(form, rule="implicit", rate=0.01, rate_is="absolute")
    layers = [Conv2d(4, 3, padding=1), MaxPool2d(2), Dense(4, "identity")]
    return Network(layers, (2, 6, 6), decorrelation=plan, loss=loss, dtype=dtype)


TRAINED = [
    ("feedforward", Backprop(), SGD(0.05)),
    ("recurrent", FeedbackAlignment("kolen_pollack", "exact"), SGD(0.05, momentum=0.9)),
    ("batch_norm", DirectFeedbackAlignment(), RMSprop(1e-3, epsilon=1e-3)),
    ("feedforward", NodePerturbation(noise=COARSE, joint_batch=True), Adam(1e-3, epsilon=1e-3)),
]


@pytest.mark.parametrize(("form", "credit", "optimiser"), TRAINED, ids=str)
def test_two_epochs_in_another_library_learn_what_they_learn_in_numpy(elsewhere, form, credit, optimiser):
    net = small(form, "float64")
    moved = net.to(elsewhere)
    (learner, theirs), (_, ours) = trained(moved, credit, optimiser), trained(net, credit, optimiser)
    assert library(learner.network.layers[0].W) == elsewhere.__name__
    same(ours.to_arrays(), theirs.to_arrays(), 1e-8)
    same(net.arrays(), moved.arrays(), 1e-8)


def test_single_precision_in_another_library_learns_what_it_learns_in_numpy(elsewhere):
    net = small("feedforward", "float32")
    moved = net.to(elsewhere)
    trained(moved, Backprop(), Adam(1e-3, epsilon=1e-3))
    trained(net, Backprop(), Adam(1e-3, epsilon=1e-3))
    assert {as_numpy(array).dtype for array in moved.arrays().values()} == {np.dtype("float32")}
    same(net.arrays(), moved.arrays(), 1e-5)


def test_targets_that_are_numbers_train_alike(elsewhere):
    net = small("none", "float64", "mse")
    moved = net.to(elsewhere)
    (_, theirs), (_, ours) = (trained(n, Backprop(), SGD(0.01), VECTORS) for n in (moved, net))
    same(ours.to_arrays(), theirs.to_arrays(), 1e-8)
    assert np.isnan(theirs.epochs["test accuracy"]).all()


class Stopped(Exception):
    pass


def stop(words, done, total):
    if done == 5:
        raise Stopped


SLOW = NodePerturbation(noise=OrnsteinUhlenbeck(0.1)), Adam(1e-3, epsilon=1e-3)


def test_a_run_that_was_stopped_goes_on_in_another_library_to_the_same_numbers(elsewhere, tmp_path):
    whole, cut, again = (small("recurrent", "float64").to(elsewhere) for _ in range(3))
    trained(whole, *SLOW, folder=tmp_path / "whole", recording=RecordingOptions(every=2))
    with pytest.raises(Stopped):
        trained(cut, *SLOW, folder=tmp_path / "cut", progress=stop)
    trained(again, *SLOW, folder=tmp_path / "cut", resume=True)
    assert library(again.layers[0].W) == elsewhere.__name__
    same({name: as_numpy(array) for name, array in whole.arrays().items()}, again.arrays(), 0)
    traces = training_traces(tmp_path / "whole")
    assert {len(trace.step) for trace in traces.values()} == {4}
    assert all(np.isfinite(trace.values).all() for trace in traces.values())


def test_a_run_of_numpy_goes_on_in_another_library_to_rounding_and_says_so(elsewhere, tmp_path):
    whole, cut = (small("recurrent", "float64") for _ in range(2))
    again = small("recurrent", "float64").to(elsewhere)
    trained(whole, *SLOW)
    with pytest.raises(Stopped):
        trained(cut, *SLOW, folder=tmp_path, progress=stop)
    with pytest.warns(UserWarning, match=f"not to the bit, as it began with arrays numpy → {elsewhere.__name__}"):
        trained(again, *SLOW, folder=tmp_path, resume=True)
    same(whole.arrays(), again.arrays(), 1e-8)


def test_small_angles_between_gradients_are_watched_to_all_digits():
    a, b = RNG.standard_normal((2, 50))
    b -= a * (a @ b) / (a @ a)
    for tilt in (1e-12, 1e-6, 0.3, 1.5, 3.0, np.pi):
        turned = np.cos(tilt) * a + np.sin(tilt) * b * np.linalg.norm(a) / np.linalg.norm(b)
        assert np.radians(monitors._angle(a, 7 * turned)) == pytest.approx(tilt, rel=1e-9, abs=1e-15)
    assert np.isnan(monitors._angle(a, 0 * a))


def test_evaluation_is_alike(elsewhere):
    net = small("feedforward", "float64")
    moved = net.to(elsewhere)
    assert evaluate(moved, Epochs(IMAGES, 8)) == pytest.approx(evaluate(net, Epochs(IMAGES, 8)), rel=1e-12)
