"""A whole network as a netlist rests where the layer-by-layer pass says, and moves as the system of ODEs does."""

import math

import numpy as np
import pytest

from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.export import run_spice, write_spice
from neurodecorr.export.spice.netlist import netlist
from neurodecorr.network import Decorrelation, Dense, Network
from neurodecorr.network.activations import ACTIVATIONS, Activation

TAU, TAU_UNITS = 0.02, 0.01


def network_of(widths, activation="relu", form="recurrent", seed=0):
    """Return a network whose decorrelators and biases have moved away from where they begin, and one input."""
    rng = np.random.default_rng(seed)
    layers = [*(Dense(width, activation) for width in widths[1:-1]), Dense(widths[-1], "identity")]
    plan = Decorrelation(form, rate=0.05, rule="explicit", rate_is="absolute")
    network = Network(layers, widths[0], loss="mse", decorrelation=plan, seed=seed, dtype="float64")
    mixing = np.eye(widths[0]) + 0.5 * rng.standard_normal((widths[0], widths[0])) / math.sqrt(widths[0])
    X = rng.standard_normal((64, widths[0])) @ mixing.T + 0.3
    for _ in range(20):
        network.decorrelate(network.forward(X, training=True).signals)
    for layer in network.layers:
        layer.b[...] = 0.2 * rng.standard_normal(len(layer.b))
    return network, X[0]


@pytest.mark.parametrize("form", ["recurrent", "feedforward", "none"])
def test_a_relu_network_with_decorrelators_rests_where_forward_says(form, simulator, tmp_path):
    network, x = network_of((6, 6, 6, 3), form=form)
    system = network.as_circuit(TAU, TAU_UNITS)
    found = run_spice(write_spice(system, x, tmp_path / "a.cir", simulator=simulator, t_end_s=0.2))
    passed = network.forward(x[None])
    outputs = [found.operating[node] for node in found.nodes["output"]]
    np.testing.assert_allclose(outputs, passed.output[0], atol=1e-9)
    np.testing.assert_allclose(found.op, np.concatenate([own.xbar[0] for own in passed.signals]), atol=1e-9)
    times = found.t[found.t > 0]
    course = system.integrate(x[None], times[-1], times, rtol=1e-9)
    # Trapezoids of τ'/200: (hλ)²/33 with λ up to 3 of τ; the kink of a ReLU is met within a step.
    assert np.abs(found.over_time("output")[found.t > 0] - course.activity[-1][:, 0]).max() < 1e-4
    assert np.abs(found.xbar[found.t > 0] - np.concatenate([own[:, 0] for own in course.xbar], axis=1)).max() < 1e-4
    hidden = passed.signals[1].x[0]
    assert (hidden == 0).any() and (hidden > 0).any()  # both sides of the kink


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_is_written_as_it_is_computed(activation, ngspice, tmp_path):
    network, x = network_of((3, 4, 2), activation)
    found = run_spice(write_spice(network.as_circuit(TAU, TAU_UNITS), x, tmp_path / "a.cir", t_end_s=0))
    outputs = [found.operating[node] for node in found.nodes["output"]]
    np.testing.assert_allclose(outputs, network.forward(x[None]).output[0], atol=1e-6)


@pytest.mark.slow
def test_a_network_of_two_decorrelated_layers_of_thirty_two_units_follows_its_odes(simulator, tmp_path):
    network, x = network_of((32, 32, 32, 5))
    system = network.as_circuit(TAU, TAU_UNITS)
    found = run_spice(write_spice(system, x, tmp_path / "a.cir", simulator=simulator, t_end_s=0.4))
    outputs = [found.operating[node] for node in found.nodes["output"]]
    np.testing.assert_allclose(outputs, network.forward(x[None]).output[0], atol=1e-9)
    times = found.t[found.t > 0]
    course = system.integrate(x[None], times[-1], times, rtol=1e-9)
    assert np.abs(found.over_time("output")[found.t > 0] - course.activity[-1][:, 0]).max() < 1e-4
    assert np.abs(found.xbar[found.t > 0] - np.concatenate([own[:, 0] for own in course.xbar], axis=1)).max() < 1e-4


def test_the_head_expects_the_forward_pass():
    network, x = network_of((6, 6, 6, 3))
    deck = netlist(network.as_circuit(TAU, TAU_UNITS), x)
    expected = [probe.expected for probe in deck.probes if probe.kind == "output"]
    np.testing.assert_allclose(expected, network.forward(x[None]).output[0], atol=1e-12)
    assert "* layers = 6->6:relu 6->6:relu 6->3:identity" in deck.text()


def test_what_cannot_be_written_is_refused(tmp_path):
    network, x = network_of((3, 4, 2), "tanh")
    system = network.as_circuit(TAU, TAU_UNITS)
    path = tmp_path / "a.cir"
    with pytest.raises(ConfigError, match=r"gnucap knows the activations 'identity', 'relu', 'leaky_relu'; got 'tanh'"):
        write_spice(system, x, path, simulator="gnucap")
    with pytest.raises(ConfigError, match="Did you mean 'gnucap'"):
        write_spice(system, x, path, simulator="gnucp")
    with pytest.raises(InputError, match=r"as from network.as_circuit\(\).*; got Network"):
        write_spice(network, x, path)
    with pytest.raises(InputError, match=r"shape \(3,\), one entry per input; got \(2,\)"):
        write_spice(system, x[:2], path)
    with pytest.raises(InputError, match="finite"):
        write_spice(system, x * np.nan, path)
    own = Activation("cube", lambda h: h**3, lambda h: 3 * h**2)
    other = Network([Dense(2, own)], 2, loss="mse", dtype="float64")
    with pytest.raises(ConfigError, match="got 'cube'"):
        write_spice(other.as_circuit(), np.ones(2), path)
    unstable, x = network_of((3, 4, 2))
    unstable.layers[0].decorrelator.arrays["R"][...] = -np.eye(3)
    with pytest.raises(StabilityError, match="min Re λ > 0 to settle; one has -1"):
        write_spice(unstable.as_circuit(), x, path)
    assert not list(tmp_path.iterdir())
