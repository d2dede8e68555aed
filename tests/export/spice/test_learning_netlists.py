"""A circuit whose weights are voltages on capacitors learns in ngspice what it learns in our own integrators."""

import re

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.export import LearningCircuit, run_spice, write_spice
from neurodecorr.export.spice.netlist import netlist

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
