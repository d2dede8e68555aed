"""The settings of P0's public code against its published equations, written down once more by themselves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from neurodecorr.credit import FeedbackAlignment, GaussianNoise, NodePerturbation
from neurodecorr.credit.ahmad2024 import public_code
from neurodecorr.errors import ConfigError
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network

RATE, LATERAL_RATE = 1e-2, 3e-2
BATCH = 24


class Published:
    """The dense network of the public code in numpy: it stores A = Mᵀ, and learns from the same numbers."""

    def __init__(self, network):
        self.W = [layer.W.copy() for layer in network.layers]
        self.b = [layer.b.copy() for layer in network.layers]
        self.A = [np.eye(W.shape[1]) for W in self.W]
        self.mean = [np.zeros(W.shape[1]) for W in self.W]
        self.moments = [[np.zeros_like(w), np.zeros_like(w)] for pair in zip(self.W, self.b, strict=True) for w in pair]
        self.steps = 0

    def linear(self, layer):
        """The code puts LeakyReLU behind the first three of five layers: behind all but the last two."""
        return layer >= len(self.W) - 2

    def forward(self, x, noise=None):
        """Demean by the batch, decorrelate, update A from the first samples, weigh."""
        kept = []
        for i, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            A, mean = self.A[i], x.mean(axis=0)
            self.mean[i] = 0.9 * self.mean[i] + 0.1 * mean
            xbar = (x - mean) @ A
            count = int(0.1 * len(x)) + 1
            few, raw = xbar[:count], x[:count]
            corr = few.T @ few / len(few)
            gain = np.mean(np.sqrt((raw**2).sum(1)) / np.sqrt((few**2).sum(1) + 1e-8))
            self.A[i] = gain * A - LATERAL_RATE * corr @ (gain * A)
            h = xbar @ W.T + b
            if noise is not None:
                h = h + np.concatenate([np.zeros_like(noise[i]), noise[i]])
            kept.append((A, xbar, h))
            x = h if self.linear(i) else np.where(h > 0, h, 0.01 * h)
        return x, kept

    def gradients(self, X, Y, B):
        """Backpropagation, or feedback alignment where B is given, through A, the demeaning and φ."""
        out, kept = self.forward(X)
        p = np.exp(out - out.max(axis=1, keepdims=True))
        delta, found = (p / p.sum(axis=1, keepdims=True) - Y) / len(X), []
        for i in reversed(range(len(self.W))):
            A, xbar, _ = kept[i]
            found[:0] = [delta.T @ xbar, delta.sum(axis=0)]
            if i:
                e = delta @ (B[i] if B else self.W[i]) @ A.T
                h = kept[i - 1][2]
                delta = (e - e.mean(axis=0)) * (1.0 if self.linear(i - 1) else np.where(h > 0, 1.0, 0.01))
        return found

    def perturbed(self, X, Y, noise, sigma):
        """Node perturbation: clean and noisy samples in one batch."""
        out, kept = self.forward(np.concatenate([X, X]), noise)
        shifted = out - out.max(axis=1, keepdims=True)
        loss = np.log(np.exp(shifted).sum(axis=1)) - (np.concatenate([Y, Y]) * shifted).sum(axis=1)
        factor, found = (loss[: len(X)] - loss[len(X) :]) / len(X), []
        for (_, xbar, _), n in zip(kept, noise, strict=True):
            scaled = factor[:, None] * -n / sigma**2
            found += [scaled.T @ xbar[: len(X)], scaled.sum(axis=0)]
        return found

    def adam(self, gradients):
        """Adam with β = (0.9, 0.9999) and ε = 1e-8."""
        self.steps += 1
        weights = [w for pair in zip(self.W, self.b, strict=True) for w in pair]
        for w, g, (m, v) in zip(weights, gradients, self.moments, strict=True):
            m += 0.1 * (g - m)
            v += 1e-4 * (g * g - v)
            w -= RATE * (m / (1 - 0.9**self.steps)) / (np.sqrt(v / (1 - 0.9999**self.steps)) + 1e-8)


def parts(credit):
    """Return our network, rule and optimiser at work, and the published network beside them."""
    code = public_code([Dense(11), Dense(10), Dense(9), Dense(8), Dense(4, "identity")], credit, RATE, LATERAL_RATE)
    network = Network(code.layers, 12, decorrelation=code.decorrelation, dtype="float64", seed=2)
    weights = [array for layer in network.layers for array in (layer.W, layer.b)]
    return network, code.credit.start(network, 5), code.optimiser.start(weights), Published(network)


def batches(count=4):
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((12, 12))
    for _ in range(count):
        yield 0.3 * rng.standard_normal((BATCH, 12)) @ mixing + 0.5, np.eye(4)[rng.integers(0, 4, BATCH)]


def learn(network, assigner, optimiser, X, Y, rng):
    credit = assigner.assign(X, Y, rng)
    network.decorrelate(credit.forward.signals)
    gradients = [array for pair in credit.gradients for array in pair]
    optimiser.step(gradients)
    return gradients


def agree(network, published, tol):
    for i, layer in enumerate(network.layers):
        pairs = {"W": (layer.W, published.W[i]), "b": (layer.b, published.b[i])}
        lateral = layer.decorrelator.arrays
        pairs |= {"M": (lateral["M"], published.A[i].T), "mean": (lateral["mean"], published.mean[i])}
        for name, (ours, theirs) in pairs.items():
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tol * max(1, np.abs(theirs).max()), err_msg=name)


@pytest.mark.parametrize("credit", ["bp", "fa"])
def test_steps_of_backprop_and_feedback_alignment_are_those_of_the_published_equations(credit):
    network, assigner, optimiser, published = parts(credit)
    B = {int(name[1:]): array for name, array in assigner.arrays.items()}
    for step, (X, Y) in enumerate(batches()):
        ours = learn(network, assigner, optimiser, X, Y, np.random.default_rng(0))
        theirs = published.gradients(X, Y, B)
        for mine, own in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, own, rtol=0, atol=1e-9 if step else 1e-14)
        published.adam(theirs)
        # A bias below a linear unit, whose mean is then taken off, has gradient 0 and rounding of some 1e-16, of which
        # Adam makes 1e-16/ε · η = 1e-10 a step. The gain, which leaves the mean in x, sees it in the next one.
        agree(network, published, 1e-9)


def test_a_step_of_node_perturbation_is_that_of_the_published_equations():
    network, assigner, optimiser, published = parts("np")
    for X, Y in batches():
        twin = np.random.default_rng(7)
        noise = [1e-6 * n for n in assigner._draw(X, twin)]
        ours = learn(network, assigner, optimiser, X, Y, np.random.default_rng(7))
        theirs = published.perturbed(X, Y, noise, 1e-6)
        # Δℓ of 1e-6 carries rounding of some 1e-15, in either code; it is 1e-9 of the gradient, and of Adam's step.
        for mine, own in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, own, rtol=0, atol=1e-7 * max(1, np.abs(own).max()))
        published.adam(theirs)
        agree(network, published, 1e-7)
        for i, layer in enumerate(network.layers):  # go on from the same point
            layer.W[...], layer.b[...] = published.W[i], published.b[i]


def test_each_option_of_the_preset_is_there_by_itself_and_changes_the_step():
    X, _ = next(batches(1))
    plain = Decorrelation("feedforward", rate=LATERAL_RATE, rule="explicit", rate_is="absolute")
    seen = {"as printed": _matrix(plain, X)}
    for name, value in {"order": "MC", "gain": "norms", "share": 0.1, "mean": "batch"}.items():
        options = {"gain": "node"} if name == "order" else {}  # the order shows beside a gain per node
        before = _matrix(replace(plain, **options), X)
        seen[name] = _matrix(replace(plain, **(options | {name: value})), X)
        assert np.abs(seen[name] - before).max() > 1e-4, name
    assert len({array.tobytes() for array in seen.values()}) == len(seen)


def _matrix(plan, X):
    network = Network([Dense(4, "identity")], 12, decorrelation=plan, dtype="float64")
    for _ in range(3):
        network.decorrelate(network.forward(0.5 * X, training=True).signals)
    return network.layers[0].decorrelator.arrays["M"]


def test_the_gradient_through_the_mean_of_the_batch_is_that_of_central_differences():
    plan = Decorrelation("feedforward", mean="batch", mean_passes=True, rate=0.02, rule="explicit", rate_is="absolute")
    network = Network([Dense(6, "tanh"), Dense(4, "identity")], 12, decorrelation=plan, dtype="float64")
    (X, Y), *_ = batches(1)
    for _ in range(5):
        network.decorrelate(network.forward(X, training=True).signals)
    found = network.forward(X, training=True)
    _, E = network.loss.measure(found.output, Y)
    own = network.layers[1].back(E, network.layers[1].W, found.signals[1])
    before = found.signals[1].x

    def total(x):
        return network.loss.measure(network.layers[1].respond(x, True).h, Y)[0].sum()

    for place in [(0, 0), (3, 2), (9, 5)]:
        step = np.zeros_like(before)
        step[place] = 1e-5
        assert own[place] == pytest.approx((total(before + step) - total(before - step)) / 2e-5, rel=1e-6)


def test_convolutions_are_padded_keep_the_printed_order_and_learn_decorrelation_at_a_rate_of_their_own():
    layers = [Conv2d(4, 3), MaxPool2d(2), Dense(5), Dense(3, "identity")]
    code = public_code(layers, "fa", 1e-3, decorrelation_rate=1e-7)
    network = Network(code.layers, (2, 6, 6), decorrelation=code.decorrelation)
    assert [layer.shape for layer in network.layers] == [(6, 6, 4), (5,), (3,)]
    plans = [layer.decorrelator.plan for layer in network.layers]
    assert [(plan.rate, plan.order) for plan in plans] == [(1e-5, "CM"), (1e-7, "MC"), (1e-7, "MC")]
    assert [layer.activation.name for layer in network.layers] == ["leaky_relu", "leaky_relu", "identity"]


def test_without_decorrelation_the_inputs_stay_as_they_are():
    code = public_code([Dense(5), Dense(3, "identity")], "np", 1e-3)
    assert code.decorrelation.form == "none"
    assert code.credit == NodePerturbation(noise=GaussianNoise(1e-6), joint_batch=True)


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="credit"):
        public_code([Dense(3)], "bpp", 1e-3)
    with pytest.raises(ConfigError, match="order='CM'"):
        Decorrelation("recurrent", order="MC")
    with pytest.raises(ConfigError, match="congruent"):
        Decorrelation("feedforward", "congruent", gain="norms")
    with pytest.raises(ConfigError, match="joint_batch"):
        NodePerturbation(samples=2, joint_batch=True)
    with pytest.raises(ConfigError, match="scale"):
        FeedbackAlignment(scale=0.0)


def test_feedback_is_drawn_root_six_times_as_large():
    network = Network([Dense(400), Dense(300, "identity")], 50, dtype="float64")
    rule = public_code([Dense(3)], "fa", 1e-3).credit.start(network, 0)
    # A standard deviation of 120 000 uniform numbers is known to 0.2 %.
    assert rule.arrays["B1"].std() / network.layers[1].W.std() == pytest.approx(math.sqrt(6), rel=0.01)
