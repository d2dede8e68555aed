"""Rules of credit assignment against the exact gradient, and against what their papers say of them."""

import numpy as np
import pytest

from neurodecorr.credit import (
    Backprop,
    BernoulliNoise,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    GaussianNoise,
    NodePerturbation,
    OrnsteinUhlenbeck,
    RecordedNoise,
)
from neurodecorr.credit.feedback_weights import DECAY, PATHWAYS
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.network import Decorrelation, Dense, Network

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 12))
LABELS = RNG.integers(0, 4, 24)
Y = np.eye(4)[LABELS]


def network(form="feedforward", learnt=20, **options):
    """Return a network of three layers whose decorrelators have learnt something."""
    plan = Decorrelation(form, rule="implicit", rate=0.05, gain="node", rate_is="absolute", **options)
    layers = [Dense(9, "tanh"), Dense(7, "softplus"), Dense(4, "identity")]
    net = Network(layers, (12,), decorrelation=plan, dtype="float64", seed=3)
    for _ in range(learnt):
        net.decorrelate(net.forward(X, training=True).signals)
    return net


def flat(credit):
    return np.concatenate([np.r_[W.ravel(), b] for W, b in credit.gradients])


def assigned(rule, net, seed=0):
    return flat(rule.start(net, 1).assign(X, Y, np.random.default_rng(seed)))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("form", ["none", "feedforward", "recurrent"])
def test_feedback_alignment_with_transported_weights_and_exact_lateral_feedback_is_backprop(form):
    net = network(form)
    assert relative(assigned(FeedbackAlignment("transport", "exact"), net), assigned(Backprop(), net)) < 1e-13


@pytest.mark.parametrize("form", ["feedforward", "recurrent"])
def test_adjoint_circuit_carries_the_error_that_the_transposed_matrix_would(form):
    net = network(form, tol=1e-12)
    assert relative(assigned(FeedbackAlignment("transport", "adjoint"), net), assigned(Backprop(), net)) < 1e-8


@pytest.mark.parametrize("weights", sorted(PATHWAYS))
@pytest.mark.parametrize("lateral", ["none", "exact", "random"])
def test_every_pathway_leaves_the_last_layer_to_its_exact_gradient(weights, lateral):
    net = network()
    mine, true = (rule.start(net, 1).assign(X, Y, RNG) for rule in (FeedbackAlignment(weights, lateral), Backprop()))
    np.testing.assert_allclose(mine.gradients[-1][0], true.gradients[-1][0], rtol=1e-12)
    assert relative(mine.gradients[0][0], true.gradients[0][0]) > 1e-3 or (weights, lateral) == ("transport", "exact")


def test_sign_symmetric_feedback_points_downhill_where_random_feedback_need_not():
    net = network()
    exact = assigned(Backprop(), net)
    found = {w: cosine(assigned(FeedbackAlignment(w, "exact"), net), exact) for w in ("uSF", "frSF", "brSF")}
    assert min(found.values()) > 0.6, found


def test_batch_magnitudes_are_drawn_anew_and_fixed_ones_are_not():
    net = network()
    for name, same in (("frSF", True), ("brSF", False)):
        rule = FeedbackAlignment(name).start(net, 1)
        a, b = (flat(rule.assign(X, Y, np.random.default_rng(seed))) for seed in (0, 1))
        assert np.array_equal(a, b) is same


def test_kolen_pollack_feedback_comes_to_equal_the_forward_weights_at_the_rate_of_the_decay():
    net = network()
    rule = FeedbackAlignment("kolen_pollack").start(net, 1)
    before = net.layers[1].W - rule.arrays["B1"]
    for _ in range(500):
        net.layers[1].W += 0.01 * RNG.standard_normal(net.layers[1].W.shape)  # whatever the optimiser does
        rule.follow()
    after = net.layers[1].W - rule.arrays["B1"]
    np.testing.assert_allclose(after, before * (1 - DECAY) ** 500, rtol=1e-9, atol=1e-12)


def test_weight_mirror_learns_the_forward_weights_from_noise():
    net = network()
    rule, rng = FeedbackAlignment("mirror").start(net, 1), np.random.default_rng(0)
    for _ in range(2000):
        rule.path.begin(rng)
    B, W = rule.arrays["B1"], net.layers[1].W
    # The running mean holds about 2/0.01 batches of 64 samples; an entry's noise is ‖w‖/√12800 at most.
    assert relative(B, W) < 4 * np.sqrt(W.shape[1] / 12800)


def test_direct_feedback_reads_no_weight_above():
    net = network()
    rule = DirectFeedbackAlignment().start(net, 1)
    found = net.forward(X, training=True)
    before = rule.assign(X, Y, RNG).deltas
    net.forward = lambda *a, **k: found
    net.layers[2].W = net.layers[2].W + 1.0
    for delta, again in zip(before, rule.assign(X, Y, RNG).deltas, strict=True):
        np.testing.assert_array_equal(delta, again)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"antithetic": True},
        {"variant": "activity"},
        {"variant": "iterative"},
        {"clean_pass": False, "antithetic": True},
        {"noise": BernoulliNoise(1e-4)},
        {"noise": OrnsteinUhlenbeck(1e-4, memory=3.0)},
    ],
    ids=str,
)
def test_node_perturbation_converges_to_backprop_at_one_over_the_root_of_its_samples(options):
    net = network(learnt=3)
    exact = assigned(Backprop(), net)
    counts = (64, 1024)
    errors = []
    for count in counts:
        tries = [relative(assigned(NodePerturbation(samples=count, **options), net, seed), exact) for seed in range(6)]
        errors.append(np.sqrt(np.mean(np.square(tries))))
    slope = np.log(errors[1] / errors[0]) / np.log(counts[1] / counts[0])
    # Six tries of each: the logarithm of their mean error scatters by about 0.07 at each end.
    assert slope == pytest.approx(-0.5, abs=0.12), (errors, slope)


def test_node_perturbation_ends_within_a_cosine_of_099_of_backprop():
    net = network(learnt=3)
    found = assigned(NodePerturbation(samples=20_000), net)
    assert cosine(found, assigned(Backprop(), net)) > 0.99


def test_without_clean_pass_the_mean_loss_stands_for_it_and_the_estimate_stays_unbiased_but_noisy():
    net = network(learnt=3)
    exact = assigned(Backprop(), net)
    noise = GaussianNoise(0.3)  # the variance grows as one over sigma squared
    rule = NodePerturbation(clean_pass=False, noise=noise, samples=1).start(net, 0)
    rng = np.random.default_rng(0)
    mean = np.mean([flat(rule.assign(X, Y, rng)) for _ in range(6000)], axis=0)
    beside = np.mean([assigned(NodePerturbation(noise=noise), net, seed) for seed in range(3000)], axis=0)
    assert cosine(mean, beside) > 0.8
    assert cosine(mean, exact) > 0.7


def test_slow_noise_keeps_what_its_memory_says():
    source = OrnsteinUhlenbeck(1.0, memory=5.0).start()
    drawn = np.concatenate([source.draw(0, (50, 40), RNG, np.dtype(float)) for _ in range(40)])
    assert drawn.std() == pytest.approx(1, abs=0.05)
    assert np.mean(drawn[1:] * drawn[:-1]) == pytest.approx(np.exp(-0.2), abs=0.05)


@pytest.mark.parametrize("content", [None, b"no array", np.ones(5), np.array([1.0, np.nan])], ids=repr)
def test_noise_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "noise.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match="noise"):
        RecordedNoise(path).start()


def test_wrong_options_are_refused_with_the_nearest_right_one():
    with pytest.raises(ConfigError, match="kolen_pollack"):
        FeedbackAlignment("kolen-pollack")
    with pytest.raises(ConfigError, match="exact"):
        FeedbackAlignment(lateral_feedback="exakt")
    with pytest.raises(ConfigError, match="clean"):
        NodePerturbation("activity", clean_pass=False)
    with pytest.raises(ConfigError, match="sigma"):
        GaussianNoise(0.0)
