"""The network as one system of ODEs: it rests where the layer-by-layer pass says, within its certificate."""

from itertools import product

import numpy as np
import pytest

from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.network import Conv2d, Decorrelation, Dense, Network

FORMS = [*product(("feedforward", "recurrent"), ("explicit", "implicit", "congruent")), ("none", "explicit")]
X = np.random.default_rng(1).standard_normal((6, 8)) + 0.5


def network(form="recurrent", rule="implicit", rate=0.05, **plan):
    rng = np.random.default_rng(0)
    found = Network(
        [Dense(7, "tanh"), Dense(6), Dense(3, "identity")],
        8,
        decorrelation=Decorrelation(form, rule, rate=rate, gain="node", rate_is="absolute", **plan),
        dtype="float64",
    )
    mixing = rng.standard_normal((8, 8)) / 3
    for _ in range(20):
        found.decorrelate(found.forward(rng.standard_normal((16, 8)) @ mixing + 0.2, training=True).signals)
    return found


@pytest.mark.parametrize(("form", "rule"), [*FORMS, ("batch_norm", "explicit")])
def test_both_views_rest_at_the_same_point(form, rule):
    own = network(form, rule)
    rest, forward = own.as_circuit(tau=2.0, tau_units=0.5).settle(X, 1e-9), own.forward(X)
    error = np.linalg.norm(rest.output - forward.output, axis=1)
    assert (error <= rest.bound + 1e-12).all()
    assert (rest.bound <= 1e-9).all()
    for xbar, found in zip(rest.xbar, forward.signals, strict=True):
        np.testing.assert_allclose(xbar, found.xbar, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("form", "rule"), FORMS)
def test_the_rests_of_the_description_are_where_nothing_moves(form, rule):
    own, system = network(form, rule), network(form, rule).as_circuit()
    rests = system.rests(X)
    assert max(np.abs(part).max() for part in system.velocity(X, [one for pair in rests for one in pair])) < 1e-12
    for layer, signals, (xbar, _) in zip(system.layers, own.forward(X).signals, rests, strict=True):
        np.testing.assert_allclose(xbar, signals.xbar, rtol=0, atol=1e-12)
        np.testing.assert_allclose(layer.R @ xbar.T, (signals.x - layer.mean).T, rtol=0, atol=1e-11)
        A = np.eye(len(layer.mean)) if layer.feed is None else layer.feed
        np.testing.assert_allclose(layer.offset, A @ layer.mean, rtol=0, atol=1e-14)


def test_the_certificate_bounds_the_distance_of_every_layer_at_any_time():
    own = network()
    circuit, forward = own.as_circuit(), own.forward(X)
    rest = [array for found in forward.signals for array in (found.xbar, own_activity(own, forward, found))]
    moving = circuit.integrate(X, 4.0, [0.0, 0.5, 2.0, 4.0])
    for frame in range(4):
        state = [part[frame] for pair in zip(moving.xbar, moving.activity, strict=True) for part in pair]
        for z, there, bound in zip(state, rest, circuit.bounds(X, state), strict=True):
            assert (np.linalg.norm(z - there, axis=1) <= bound + 1e-12).all()


def own_activity(own, forward, found):
    index = next(i for i, signals in enumerate(forward.signals) if signals is found)
    return own.layers[index].fire(found.h)


def test_integration_ends_where_settling_does():
    circuit = network().as_circuit()
    rest = circuit.settle(X, 1e-8, method="rk4")
    ended = circuit.integrate(X, rest.time, [rest.time])
    np.testing.assert_allclose(ended.activity[-1][-1], rest.output, rtol=0, atol=1e-7)


@pytest.mark.parametrize("tau_units", [0.05, 1.0, 7.0])
def test_scheduled_steps_and_runge_kutta_steps_rest_at_the_same_point(tau_units):
    circuit = network().as_circuit(tau=2.0, tau_units=tau_units)
    fast, followed = (circuit.settle(X, 1e-9, method=method) for method in ("chebyshev", "rk4"))
    for one, other, bound, own in zip(
        fast.activity, followed.activity, fast.bounds[1::2], followed.bounds[1::2], strict=True
    ):
        assert (np.linalg.norm(one - other, axis=1) <= bound + own + 1e-12).all()
    assert fast.time < followed.time


def test_what_the_schedule_does_not_settle_is_followed_to_its_end():
    # Far from normal: eigenvalues of 1 alone, and a transient that grows a thousandfold.
    own = network()
    own.layers[0].decorrelator.arrays["R"][...] = np.eye(8) - 2.5 * np.eye(8, k=1)
    rest = own.as_circuit().settle(X, 1e-3)
    assert (rest.bound <= 1e-3).all()


def test_one_layer_follows_the_closed_form():
    # x̄(t) = (1 − e^(−t)) x, y' = −y + W x̄: y(t) = (1 − e^(−t) − t e^(−t)) W x.
    own = Network([Dense(3, "identity")], 8, dtype="float64")
    moving = own.as_circuit().integrate(X, 3.0)
    t = moving.t[:, None, None]
    np.testing.assert_allclose(moving.activity[0], (1 - np.exp(-t) * (1 + t)) * (X @ own.layers[0].W.T), atol=1e-7)


def test_a_layer_that_does_not_settle_is_refused():
    own = network()
    own.layers[1].decorrelator.arrays["R"][...] = -np.eye(7)
    with pytest.raises(StabilityError, match="min Re λ > 0"):
        own.as_circuit().settle(X)


def test_convolutions_are_refused():
    with pytest.raises(ConfigError, match="layer 0 with weights is not"):
        Network([Conv2d(2, 3), Dense(2)], (1, 5, 5)).as_circuit()


@pytest.mark.parametrize("name", ["tau", "tau_units"])
def test_time_constants_must_be_positive(name):
    with pytest.raises(ConfigError, match=name):
        network().as_circuit(**{name: 0.0})


def test_inputs_must_fit_the_first_layer():
    with pytest.raises(InputError, match="8 features"):
        network().as_circuit().settle(np.ones((2, 5)))


def test_bounds_hold_where_squares_underflow():
    own = Network(
        [Dense(6, "relu"), Dense(3, "identity")], 8, decorrelation=Decorrelation("recurrent"), dtype="float64"
    )
    system = own.as_circuit()
    # Without biases and means the network is homogeneous: its rest scales with the input.
    one = system.settle(X, 1e-12)
    assert not any(layer.b.any() or layer.mean.any() for layer in system.layers)
    for power in (-400, -520, -600, -1000, -1060):
        rest = system.settle(np.ldexp(X, power), np.ldexp(1e-3, max(power, -1040)))
        exact = np.ldexp(one.output.astype(np.longdouble), power)
        distance = np.sqrt(((rest.output - exact) ** 2).sum(axis=1))
        assert (distance <= rest.bound + np.ldexp(np.longdouble(1e-11), power)).all(), power
        assert (rest.bound > 0).all()


def test_times_are_checked_and_forgiven_their_rounding():
    system = network().as_circuit()
    assert system.integrate(X[:1], 0.3, np.arange(0, 0.4, 0.1)).t[-1] == 0.3
    with pytest.raises(InputError, match="t_end"):
        system.integrate(X[:1], 0.3, [0.0, 0.4])
