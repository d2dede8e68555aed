"""Every noise of node perturbation, in dense layers and in convolutions: what units are credited for is their own."""

import math

import numpy as np
import pytest
import scipy.signal

from neurodecorr.credit import (
    Backprop,
    BernoulliNoise,
    GaussianNoise,
    NodePerturbation,
    OrnsteinUhlenbeck,
    RecordedNoise,
)
from neurodecorr.network import Conv2d, Decorrelation, Dense, Network

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((3, 1, 4, 4)), np.eye(3)[[0, 2, 1]]
LAYERS = {
    "dense": [Dense(5, "tanh"), Dense(3, "identity")],
    "convolution": [Conv2d(2, 3, activation="tanh"), Dense(3, "identity")],
    "strided and padded": [Conv2d(2, 3, stride=2, padding=1, activation="softplus"), Dense(3, "identity")],
}


def network(kind):
    """Return a network that has learnt something."""
    plan = Decorrelation("feedforward", rule="implicit", rate=0.05, rate_is="absolute")
    net = Network(LAYERS[kind], (1, 4, 4), decorrelation=plan, dtype="float64", seed=3)
    for _ in range(3):
        net.decorrelate(net.forward(X, training=True).signals)
    return net


def gradient(rule, net, seed=0, copies=1):
    """Return what a rule says of a batch of copies."""
    batch = np.tile(X, (copies, 1, 1, 1)), np.tile(Y, (copies, 1))
    credit = rule.start(net, 1).assign(*batch, np.random.default_rng(seed))
    return np.concatenate([np.r_[W.ravel(), b] for W, b in credit.gradients])


def noises(folder):
    """Return one of each; the recording is slow and far from symmetric."""
    slow = scipy.signal.lfilter([1.0], [1.0, -0.9], np.random.default_rng(5).standard_normal(3000))
    np.save(folder / "tape.npy", np.exp(slow / slow.std()))
    recorded = RecordedNoise(folder / "tape.npy")
    return {
        "gaussian": GaussianNoise(),
        "signs": BernoulliNoise(),
        "slow": OrnsteinUhlenbeck(memory=5.0),
        "recorded": recorded,
    }


NOISES = ("gaussian", "signs", "slow", "recorded")


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("variant", ["node", "iterative"])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_mean_estimate_is_the_gradient_whatever_the_noise_and_the_layer(kind, variant, noise, tmp_path):
    net, few, many = network(kind), 128, 2048
    exact = gradient(Backprop(), net)
    rule, errors = NodePerturbation(variant, noises(tmp_path)[noise]), []
    for copies in (few, many):
        found = np.array([gradient(rule, net, seed, copies) for seed in range(8)])
        errors.append(math.sqrt(((found - exact) ** 2).sum(axis=1).mean()) / np.linalg.norm(exact))
    # Eight tries at each end, of some ten free directions: a logarithm scatters by 1/√160, the slope by 0.04.
    assert math.log(errors[1] / errors[0]) / math.log(many / few) == pytest.approx(-0.5, abs=0.15)
    mean = found.mean(axis=0)
    # The mean of eight is off by their scatter over √8 and by a bias, if there is one.
    assert np.linalg.norm(mean - exact) < 2 * errors[1] / math.sqrt(8) * np.linalg.norm(exact)
    assert mean @ exact / np.linalg.norm(mean) / np.linalg.norm(exact) > 0.99


@pytest.mark.parametrize("noise", NOISES)
def test_values_of_one_sample_are_independent_and_of_unit_variance(noise, tmp_path):
    source, rng = noises(tmp_path)[noise].start(), np.random.default_rng(1)
    drawn = np.array([source.draw(0, (4, 6), rng, np.dtype(float)) for _ in range(20_000)])
    spread = 12 if noise == "slow" else 1  # batches of 4 samples, a memory of 5: so many share what they say
    for sample in range(4):
        found = np.cov(drawn[:, sample].T)
        # A product of two values of variance 1 scatters by 1; a square by less than 15, for the recording's long tail.
        assert np.abs(found - np.diag(np.diag(found))).max() < 5 * math.sqrt(spread / 20_000)
        np.testing.assert_allclose(np.diag(found), 1, atol=5 * math.sqrt(15 * spread / 20_000))
    ahead = np.mean(drawn[:, 1:] * drawn[:, :-1])
    expected = {"slow": math.exp(-1 / 5), "recorded": None}.get(noise, 0.0)
    assert ahead > 0.7 if expected is None else ahead == pytest.approx(expected, abs=0.03)


def test_each_place_of_a_convolution_has_a_slow_source_of_its_own():
    """Along the samples noise keeps e^(−1/T); along the places of an image it keeps nothing."""
    net = network("convolution")
    rule, rng = NodePerturbation(noise=OrnsteinUhlenbeck(memory=4.0)).start(net), np.random.default_rng(0)
    like = net.forward(np.zeros((500, 1, 4, 4)))
    found = np.concatenate([rule.draw(like, rng)[0].reshape(500, 4, 2) for _ in range(40)])
    assert np.mean(found[1:] * found[:-1]) == pytest.approx(math.exp(-0.25), abs=0.02)
    # 20 000 samples with a memory of 4: about 2500 independent ones, times 6 or 4 pairs.
    assert abs(np.mean(found[:, 1:] * found[:, :-1])) < 5 / math.sqrt(15_000)
    assert abs(np.mean(found[..., 0] * found[..., 1])) < 5 / math.sqrt(10_000)


def test_a_recording_is_read_in_turn_by_each_unit(tmp_path):
    np.save(tmp_path / "noise.npy", np.arange(10.0))
    tape = (np.arange(10) - 4.5) / np.arange(10).std()
    source, rng = RecordedNoise(tmp_path / "noise.npy").start(), np.random.default_rng(0)
    begun = set()
    for _ in range(30):
        drawn = source.draw(0, (64 + 23, 6), rng, np.dtype(float))
        for column in np.hstack([drawn[:23], drawn[64:]]).T:
            starts = [(k, sign) for k in range(10) for sign in (1, -1) if np.isclose(sign * tape[k], column[0])]
            fits = [np.allclose(sign * tape[(k + np.arange(23)) % 10], column) for k, sign in starts]
            assert sum(fits) == 1
            begun.add(starts[fits.index(True)])
    assert len(begun) == 20  # every place, with both signs
