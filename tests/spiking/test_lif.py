"""The inhibitory baseline: cells that spike when they should, and a rule that holds their rates."""

import math

import numpy as np
import pytest

from neurodecorr import spiking
from neurodecorr.errors import ConfigError, InputError

DT = 1e-4


@pytest.mark.parametrize("bias_a", [120e-12, 150e-12, 300e-12])
def test_an_isolated_cell_spikes_at_the_rate_of_the_closed_form(bias_a):
    # v reaches 10 mV above rest after τ ln(V/(V − 10 mV)), V = I/g_L; then it waits 5 ms.
    drive = bias_a / 10e-9
    period = 5e-3 + 20e-3 * math.log(drive / (drive - 10e-3))
    run = spiking.run_lif(spiking.LIFNetwork([[0.0]], bias_a=bias_a), spiking.constant_stimulus([0.0], 20.0), dt_s=1e-5)
    # A period is found to a step of 1e-5 s, and Euler's own error is of that size.
    assert run.spikes_per_unit_second == pytest.approx(1 / period, rel=2e-3)
    gaps = np.diff(run.spikes.step)
    assert gaps.min() == gaps.max()


def test_a_cell_below_its_threshold_is_silent():
    run = spiking.run_lif(spiking.LIFNetwork([[0.0]], bias_a=99e-12), spiking.constant_stimulus([0.0], 2.0))
    assert len(run.spikes) == 0 and run.rates_hz.tolist() == [0.0]


def plainly(network, stimulus, rule):
    """Run step by step in numpy; return rows of step and unit, and the weights."""
    n = network.units
    W, others = np.where(np.eye(n, dtype=bool), 0, network.weights), ~np.eye(n, dtype=bool)
    v, g, trace, last = np.full(n, network.rest_v), np.zeros(n), np.zeros(n), np.full(n, -(10**9))
    rows, wait = [], round(network.refractory_s / DT)
    for k in range(round(stimulus.duration_s / DT)):
        current = network.bias_a + network.gain_a * stimulus.values[int(k * DT / stimulus.frame_s + 1e-9)]
        flow = (
            network.rest_v - v + g / network.leak_siemens * (network.inhibition_v - v) + current / network.leak_siemens
        )
        free = k - last >= wait
        v = np.where(free, v + DT / network.tau_membrane_s * flow, v)
        g, trace = g * (1 - DT / network.tau_inhibition_s), trace * (1 - DT / rule.tau_stdp_s)
        spiking_now = free & (v > network.threshold_v)
        W = np.where(others & spiking_now[:, None], np.minimum(W + rule.rate_siemens * trace, rule.most_siemens), W)
        less = np.clip(W + rule.rate_siemens * (trace[:, None] - rule.alpha), 0, rule.most_siemens)
        W = np.where(others & spiking_now[None], less, W)
        g, trace = g + W @ spiking_now, trace + spiking_now
        v, last = np.where(spiking_now, network.rest_v, v), np.where(spiking_now, k, last)
        rows += [(k, unit) for unit in np.flatnonzero(spiking_now)]
    return np.array(rows), W


def test_the_kernel_learns_spike_by_spike_what_the_equations_say():
    rng = np.random.default_rng(0)
    network = spiking.LIFNetwork(2e-9 * rng.random((5, 5)), bias_a=150e-12, gain_a=80e-12)
    stimulus = spiking.ou_stimulus(0.5 + 0.5 * np.eye(5), 1500, seed=1)
    rule = spiking.InhibitoryRule(3e-10, target_hz=10.0, most_siemens=3e-9)
    run = spiking.run_lif(network, stimulus, rule)
    rows, W = plainly(network, stimulus, rule)
    assert len(rows) > 100
    np.testing.assert_array_equal(rows, np.column_stack([run.spikes.step, run.spikes.unit]))
    np.testing.assert_allclose(run.weights, W, rtol=0, atol=1e-9 * 1e-9)
    assert (W == 0).sum() > 2 and (W == 3e-9).any()  # both ends of the range were met


def test_inhibition_brings_rates_to_their_target():
    stimulus = spiking.ou_stimulus(0.5 + 0.5 * np.eye(10), 60_000, seed=3)
    network = spiking.LIFNetwork(np.zeros((10, 10)), bias_a=120e-12)
    free = spiking.run_lif(network, stimulus)
    learnt = spiking.run_lif(network, stimulus, spiking.InhibitoryRule(1e-10, target_hz=5.0))
    held = spiking.run_lif(spiking.LIFNetwork(learnt.weights, bias_a=120e-12), stimulus)
    # Not exactly: spikes of a pair that come together count for more than α takes away.
    assert np.abs(held.rates_hz - 5).max() < 0.3 * np.abs(free.rates_hz - 5).min()
    assert (learnt.weights >= 0).all() and not learnt.weights.diagonal().any()


def test_recorded_activity_is_the_rate_of_spikes():
    run = spiking.run_lif(
        spiking.LIFNetwork([[0.0]], bias_a=200e-12), spiking.constant_stimulus([0.0], 10.0), record_s=DT
    )
    assert run.settled(1.0).mean() == pytest.approx(run.spikes_per_unit_second, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weights": [[0.0, -1e-9], [0.0, 0.0]]}, InputError, r"found -1e-09 at row 0, column 1"),
        ({"weights": np.zeros((2, 3))}, InputError, "square"),
        ({"weights": [[0.0]], "leak_siemens": 0.0}, ConfigError, r"leak_siemens must be > 0 \(S\)"),
        ({"weights": [[0.0]], "threshold_v": -70e-3}, ConfigError, "rest_v < threshold_v"),
        ({"weights": [[0.0]], "bias_a": np.nan}, ConfigError, r"bias_a must be a finite number \(A\)"),
    ],
    ids=["negative", "shape", "leak", "threshold", "bias"],
)
def test_bad_cells_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        spiking.LIFNetwork(**arguments)


def test_bad_runs_are_refused():
    stimulus = spiking.constant_stimulus([0.0], 0.1)
    with pytest.raises(InputError, match="rule must be a InhibitoryRule"):
        spiking.run_lif(spiking.LIFNetwork([[0.0]]), stimulus, spiking.LateralRule())
    with pytest.raises(InputError, match="network must be a LIFNetwork; got SpikeCode"):
        spiking.run_lif(spiking.SpikeCode([[1.0]]), stimulus)
    with pytest.raises(ConfigError, match=r"target_hz must be > 0 \(1/s\)"):
        spiking.InhibitoryRule(target_hz=0.0)
