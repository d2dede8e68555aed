"""Watches against what they stand for, computed otherwise."""

import numpy as np
import pytest

from neurodecorr.credit import Backprop, DirectFeedbackAlignment, FeedbackAlignment
from neurodecorr.errors import ConfigError
from neurodecorr.network import Decorrelation, Dense, Network
from neurodecorr.training.monitors import MONITORS, measure

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6)) @ RNG.standard_normal((6, 6))
Y = np.eye(3)[RNG.integers(0, 3, 40)]


@pytest.fixture
def network():
    plan = Decorrelation("feedforward", rule="implicit", rate=0.05, rate_is="absolute")
    net = Network([Dense(5, "tanh"), Dense(1, "tanh"), Dense(3, "identity")], 6, decorrelation=plan, dtype="float64")
    for _ in range(30):
        net.decorrelate(net.forward(X, training=True).signals)
    return net


def watched(network, rule, *names):
    credit = rule.start(network, 1).assign(X, Y, np.random.default_rng(0))
    return measure(names or tuple(MONITORS), network, credit, X, Y), credit


def test_every_watch_gives_one_number_per_layer(network):
    found, _ = watched(network, Backprop())
    assert found.keys() == MONITORS.keys()
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(MONITORS, (3,))


def test_the_angle_of_backpropagation_to_itself_is_zero_and_its_negative_at_180_degrees(network):
    found, credit = watched(network, Backprop(), "angle")
    # arccos near 1 loses half the digits: √(2 ε) radians is 1.2e-6 degrees
    np.testing.assert_allclose(found["angle"], 0, atol=2e-6)
    turned = type(credit)([(-W, b) for W, b in credit.gradients], credit.loss, credit.forward, credit.deltas)
    np.testing.assert_allclose(measure(("angle",), network, turned, X, Y)["angle"], 180, atol=2e-6)


@pytest.mark.parametrize("rule", [FeedbackAlignment(), DirectFeedbackAlignment()], ids=str)
def test_the_angle_is_that_between_the_changes(network, rule):
    found, credit = watched(network, rule, "angle")
    exact = Backprop().start(network).assign(X, Y, RNG)
    for angle, (mine, _), (true, _) in zip(found["angle"], credit.gradients, exact.gradients, strict=True):
        cosine = np.tensordot(mine, true) / np.sqrt(np.tensordot(mine, mine) * np.tensordot(true, true))
        assert np.cos(np.radians(angle)) == pytest.approx(cosine, abs=1e-12)
    assert found["angle"][-1] < 2e-6 < found["angle"][0]


def test_correlations_are_those_of_numpy_and_nan_without_a_pair(network):
    found, credit = watched(network, Backprop(), "correlation", "input correlation")
    for name, attribute in (("correlation", "xbar"), ("input correlation", "x")):
        rows = getattr(credit.forward.signals[0], attribute)
        off = np.corrcoef(rows.T)[~np.eye(6, dtype=bool)]
        assert found[name][0] == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-9)
        assert np.isnan(found[name][2])  # one unit
    assert found["correlation"][0] < 0.3 * found["input correlation"][0]


def test_the_condition_is_that_of_the_second_moment(network):
    found, credit = watched(network, Backprop(), "condition")
    for i in (0, 1):
        rows = credit.forward.signals[i].xbar
        assert found["condition"][i] == pytest.approx(np.linalg.cond(rows.T @ rows), rel=1e-6)


def test_weight_norm_and_activity_are_frobenius_and_root_mean_square(network):
    found, credit = watched(network, Backprop(), "weight norm", "activity")
    for i, layer in enumerate(network.layers):
        assert found["weight norm"][i] == pytest.approx(np.sqrt((layer.W**2).sum()))
        assert found["activity"][i] == pytest.approx(np.sqrt((credit.forward.signals[i].xbar ** 2).mean()))


def test_watching_changes_nothing(network):
    before = {name: array.copy() for name, array in network.arrays().items()}
    watched(network, FeedbackAlignment())
    assert all(np.array_equal(before[name], array) for name, array in network.arrays().items())


def test_an_unknown_watch_is_refused_with_the_nearest(network):
    with pytest.raises(ConfigError, match="Did you mean 'condition'"):
        watched(network, Backprop(), "conditon")
