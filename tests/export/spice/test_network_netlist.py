"""A network in a netlist rests where its layers do; weights on capacitors learn what our integrators learn."""

import math
import re

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.export import LearningCircuit, run_spice, write_spice
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
    with pytest.raises(ConfigError, match=r"gnucap .*'tanh'"):
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


TAU, TAU_R, DWELL, SAMPLES = 0.02, 2.0, 0.1, 40


def samples_of(n, seed=0):
    rng = np.random.default_rng(seed)
    mixing = np.eye(n) + 0.4 * rng.standard_normal((n, n)) / np.sqrt(n)
    return rng.standard_normal((SAMPLES, n)) @ mixing.T


def integrated(R, X, rule, power, tau_power=np.inf):
    """The equations as they are written, by scipy: activity, weights and power from sample to sample."""
    n = len(R)
    z = np.concatenate([np.zeros(n), R.ravel(), power])

    def slope(t, z, x):
        xbar, R, p = z[:n], z[n:-n].reshape(n, n), z[-n:]
        drive = R @ xbar
        growth, decay = np.outer(drive, xbar), R * p
        if rule == "congruent":
            growth, decay = (growth + growth.T) / 2, (decay + R * p[:, None]) / 2
        return np.concatenate([(x - drive) / TAU, ((growth - decay) / TAU_R).ravel(), (x * x - p) / tau_power])

    for x in X:
        z = solve_ivp(slope, (0, DWELL), z, "DOP853", args=(x,), rtol=1e-10, atol=1e-12).y[:, -1]
    return z[:n], z[n:-n].reshape(n, n), z[-n:]


@pytest.mark.parametrize("rule", ["implicit", "congruent"])
@pytest.mark.parametrize("tau_power", [np.inf, 0.5], ids=["held", "running"])
def test_weights_after_forty_samples_are_those_of_the_equations(rule, tau_power, ngspice, tmp_path):
    n, X = 4, samples_of(4)
    power = np.mean(X * X, axis=0)
    own = None if np.isinf(tau_power) else tau_power
    subject = LearningCircuit(np.eye(n), DWELL, TAU, TAU_R, rule, tau_power_s=own)
    found = run_spice(write_spice(subject, X, tmp_path / "a.cir"))
    xbar, R, p = integrated(np.eye(n), X, rule, power, tau_power)
    assert np.abs(found.weights()[-1] - R).max() < 1e-5 < 0.1 < np.abs(R - np.eye(n)).max()
    assert np.abs(found.xbar[-1] - xbar).max() < 1e-4
    assert found.op is None and found.t[-1] == pytest.approx(SAMPLES * DWELL)
    # The head expects what `learn_continuously` finds, and every weight is measured.
    for node, value in found.expected.items():
        assert found.measures[f"settled_{node}"] == pytest.approx(value, abs=1e-4)
    names = re.findall(r"r\d_\d", " ".join(found.expected))
    assert len(names) == (16 if rule == "implicit" else 10)
    if own is not None:
        assert np.abs(p - power).max() > 0.1


@pytest.mark.parametrize("n", [8, pytest.param(16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rule", ["implicit", pytest.param("congruent", marks=pytest.mark.slow)])
def test_larger_circuits_learn_the_same_to_a_ten_thousandth(n, rule, ngspice, tmp_path):
    X = samples_of(n)
    found = run_spice(write_spice(LearningCircuit(np.eye(n), DWELL, TAU, TAU_R, rule), X, tmp_path / "a.cir"))
    _, R, _ = integrated(np.eye(n), X, rule, np.mean(X * X, axis=0))
    assert np.abs(found.weights()[-1] - R).max() < 1e-4 < 0.1 < np.abs(R - np.eye(n)).max()


def test_the_head_expects_what_an_independent_integrator_finds():
    X = samples_of(4)
    _, R, _ = integrated(np.eye(4), X, "implicit", np.mean(X * X, axis=0))
    deck = netlist(LearningCircuit(np.eye(4), DWELL, TAU, TAU_R), X)
    expected = {probe.node: probe.expected for probe in deck.probes if probe.kind == "weight"}
    assert max(abs(expected[f"r{i}_{j}"] - R[i, j]) for i in range(4) for j in range(4)) < 1e-5


def test_a_synapse_is_charged_by_what_it_can_measure():
    text = netlist(
        LearningCircuit(np.eye(3), DWELL, TAU, TAU_R, power=np.ones(3)), samples_of(3), unit_siemens=1e-6
    ).text()
    growth = dict(re.findall(r"^Bg(\d_\d) 0 r\d_\d I=(.+)$", text, re.MULTILINE))
    assert len(growth) == 9
    for place, current in growth.items():
        i, j = place.split("_")
        # The drive of its own unit, measured by an ammeter, times the activity of the unit before it.
        assert current == f"i(V{i})*v(xbar{j})"


def test_reciprocal_synapses_share_one_capacitor():
    text = netlist(LearningCircuit(np.eye(3), DWELL, TAU, TAU_R, "congruent"), samples_of(3)).text()
    assert len(re.findall(r"^Cr\d_\d", text, re.MULTILINE)) == 6
    assert "v(r0_2)*v(xbar0)" in text and "r2_0" not in text


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"R": -np.eye(3)}, StabilityError, r"min Re λ\(R\) > 0 to settle; at time 0 it is -1"),
        ({"R": np.ones((2, 3))}, InputError, "square"),
        ({"X": np.ones((4, 2))}, InputError, "3 features"),
        ({"X": [[np.nan, 0, 0]]}, InputError, "finite"),
        ({"rule": "locl"}, ConfigError, "Did you mean 'local'"),
        ({"rule": "congruent", "R": np.triu(np.ones((3, 3)))}, InputError, "symmetric"),
        ({"power": np.ones(2)}, InputError, r"shape \(3,\)"),
        ({"power": -np.ones(3)}, InputError, "power must be ≥ 0"),
        ({"dwell_s": 0.0}, ConfigError, "dwell_s must be > 0"),
        ({"tau_s": -1.0}, ConfigError, "tau_s must be > 0"),
        ({"tau_R_s": np.inf}, ConfigError, "tau_R_s must be a finite"),
        ({"step_s": 0.0}, ConfigError, "step_s must be > 0"),
        ({"tau_power_s": 0.0}, ConfigError, "must be > 0"),
        ({"simulator": "gnucap"}, ConfigError, "must be 'ngspice' for a circuit that learns"),
        ({"unit_siemens": "1e-6"}, ConfigError, "siemens must be a number"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_learn_is_refused_and_nothing_written(change, error, message, tmp_path):
    given = {"R": np.eye(3), "X": samples_of(3), "dwell_s": DWELL, "tau_s": TAU, "tau_R_s": TAU_R} | change
    X, options = (
        given.pop("X"),
        {name: given.pop(name) for name in ("step_s", "unit_siemens", "simulator") if name in given},
    )
    with pytest.raises(error, match=message):
        write_spice(LearningCircuit(**given), X, tmp_path / "a.cir", **options)
    assert not list(tmp_path.iterdir())
