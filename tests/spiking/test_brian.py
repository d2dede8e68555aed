"""Brian2 runs the same equations to the same spikes, and leaves its global state as it was."""

import logging
import math
import os
import shlex
import subprocess
import sys
import warnings

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr import spiking
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.spiking.brian import brian2_module, session

R = np.array([[1.0, -0.5, 0.3], [0.4, 1.2, 0.0], [0.1, -0.6, 0.9]])
SIGMA = np.array([[1.0, 0.6, 0.3], [0.6, 1.0, 0.4], [0.3, 0.4, 1.0]])
INSTALL = 'pip install "neurodecorr[brian2]"'


@pytest.fixture(scope="module")
def brian2():
    try:
        return brian2_module()
    except ConfigError as error:
        pytest.skip(str(error))


def pairs(spikes):
    return np.column_stack([spikes.step, spikes.unit, spikes.sign])


def test_the_rate_circuit_is_our_forward_euler(brian2):
    circuit, x = nd.Circuit(R, tau=0.02), np.array([0.7, -0.3, 1.1])
    run = spiking.run_rate(circuit, spiking.constant_stimulus(x, 0.2))
    own = nd.integrate(circuit, x, 0.2, "euler", times=run.t_s[1:], dt=1e-4)
    assert not run.xbar[0].any()
    np.testing.assert_allclose(run.xbar[1:], own.xbar, rtol=0, atol=1e-12)


def test_the_rate_circuit_with_moving_input_is_our_forward_euler(brian2):
    circuit, stimulus = nd.Circuit(R, tau=0.02), spiking.ou_stimulus(SIGMA, 100, seed=1)
    run = spiking.run_rate(circuit, stimulus)
    xbar = np.zeros(3)
    for k, x in enumerate(stimulus.values):
        np.testing.assert_allclose(run.xbar[k], xbar, rtol=0, atol=1e-12)
        for _ in range(10):
            xbar = xbar + 1e-4 / 0.02 * (x - R @ xbar)


def test_the_rate_circuit_settles_where_settle_says(brian2):
    circuit, x = nd.Circuit(R, tau=0.005), np.array([0.7, -0.3, 1.1])
    slowest = nd.stability(circuit).margin
    run = spiking.run_rate(circuit, spiking.constant_stimulus(x, 0.3))
    # e^(−0.3 s · margin/τ), times the norm of eigenvectors.
    assert np.exp(-0.3 * slowest / 0.005) < 1e-12
    np.testing.assert_allclose(run.xbar[-1], nd.settle(circuit, x, tol=1e-12).xbar, rtol=0, atol=1e-10)


def test_brian2_refuses_a_time_constant_without_unit(brian2):
    network = spiking.brian.rate_network(nd.Circuit(R, tau=0.02), spiking.constant_stimulus([1.0, 0.0, 0.0], 0.01))
    network["units"].namespace["tau"] = 0.02
    with session("numpy"), pytest.raises(brian2.BrianObjectException) as caught:
        network.run(0.01 * brian2.second)
    assert isinstance(caught.value.__cause__, brian2.DimensionMismatchError)


def test_brian2_refuses_siemens_where_volts_belong(brian2):
    from neurodecorr.spiking import brian

    equations = brian.LIF_EQUATIONS.replace("tau_m : volt", "tau_m : siemens")
    with pytest.raises((brian2.BrianObjectException, brian2.DimensionMismatchError)), session("numpy"):
        constants = {"v_rest": -60e-3 * brian2.volt, "g_leak": 10e-9 * brian2.siemens, "tau_m": 0.02 * brian2.second}
        constants |= {"e_inh": -80e-3 * brian2.volt, "bias": 1e-10 * brian2.amp, "gain": 1e-10 * brian2.amp}
        constants |= {"tau_inh": 0.01 * brian2.second, "tau_stdp": 0.02 * brian2.second}
        units = brian2.NeuronGroup(1, equations, method="euler", namespace=constants, threshold="False", refractory=0)
        brian2.Network(units).run(0.001 * brian2.second)


@pytest.mark.parametrize(
    "rule",
    [None, spiking.LateralRule(0.02, math.inf), spiking.LateralRule(0.05, 0.1), spiking.LateralRule(0.05, 0.1, True)],
    ids=["fixed", "learning", "slowing", "one-signed"],
)
def test_the_spike_code_is_the_compiled_one_spike_for_spike(brian2, rule):
    start = np.eye(3) if rule is not None and rule.one_signed else R
    stimulus, code = spiking.ou_stimulus(SIGMA, 500, seed=2), spiking.SpikeCode(start)
    own = spiking.run_code(code, stimulus, rule)
    run = spiking.run_code(code, stimulus, rule, engine="brian2")
    assert len(own.spikes) > 300
    np.testing.assert_array_equal(pairs(run.spikes), pairs(own.spikes))
    np.testing.assert_array_equal(run.t_s, own.t_s)
    # 5000 steps, each rounding numbers near 1 at 1e-16.
    np.testing.assert_allclose(run.activity, own.activity, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.weights, own.weights, rtol=0, atol=1e-12)
    assert run.engine == f"brian2 {brian2.__version__}, numpy" and own.engine == "compiled"


@pytest.mark.parametrize("rule", [None, spiking.InhibitoryRule(5e-10, target_hz=20.0)], ids=["fixed", "learning"])
def test_the_baseline_is_the_compiled_one_spike_for_spike(brian2, rule):
    weights = 1e-9 * np.abs(R)
    network = spiking.LIFNetwork(weights, bias_a=150e-12, gain_a=100e-12)
    stimulus = spiking.ou_stimulus(SIGMA, 1000, seed=3)
    own, run = spiking.run_lif(network, stimulus, rule), spiking.run_lif(network, stimulus, rule, engine="brian2")
    assert len(own.spikes) > 50
    np.testing.assert_array_equal(pairs(run.spikes), pairs(own.spikes))
    np.testing.assert_allclose(run.activity, own.activity, rtol=0, atol=1e-9)
    np.testing.assert_allclose(run.weights, own.weights, rtol=0, atol=1e-9 * 1e-9)
    assert not run.weights.diagonal().any()


def test_units_that_cannot_keep_up_are_counted_alike(brian2):
    code, stimulus = spiking.SpikeCode([[1.0]], gamma=0.01), spiking.constant_stimulus([1.0], 0.2)
    own, run = (spiking.run_code(code, stimulus, dt_s=1e-3, engine=engine) for engine in ("compiled", "brian2"))
    assert run.overloaded == own.overloaded > 10


def test_the_error_of_the_spike_code_in_brian2_is_that_of_its_prediction(brian2):
    xbar = np.array([0.7, -1.2, 0.4])
    run = spiking.run_code(
        spiking.SpikeCode(R, gamma=0.2), spiking.constant_stimulus(R @ xbar, 2.0), record_s=1e-3, engine="brian2"
    )
    assert run.error(xbar, 0.3) == pytest.approx(spiking.code.coding_error_floor(0.2), rel=0.05)


def test_global_state_is_left_as_it_was(brian2):
    np.random.seed(3)  # noqa: NPY002  (the global generator is what must not be touched)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    before = (dict(brian2.prefs), brian2.get_device(), brian2.defaultclock.dt, sys.excepthook, warnings.showwarning)
    filters = list(warnings.filters)
    for engine_run in (
        lambda: spiking.run_rate(nd.Circuit(R), spiking.constant_stimulus([1.0, 0.0, 0.0], 0.01)),
        lambda: spiking.run_code(spiking.SpikeCode(R), spiking.ou_stimulus(SIGMA, 10), engine="brian2"),
    ):
        engine_run()
    after = (dict(brian2.prefs), brian2.get_device(), brian2.defaultclock.dt, sys.excepthook, warnings.showwarning)
    assert after == before
    assert warnings.filters == filters
    assert not logging.getLogger("py.warnings").disabled
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_objects_of_the_caller_do_not_enter_a_run(brian2):
    tau = R_ = x = "the caller's"  # noqa: F841
    with session("numpy"):
        alien = brian2.NeuronGroup(1, "dv/dt = 1/second : 1", method="euler", dt=1e-4 * brian2.second)
        network = brian2.Network(alien)
    spiking.run_rate(nd.Circuit(np.eye(3)), spiking.constant_stimulus([1.0, 0.0, 0.0], 0.01))
    assert alien.v[0] == 0.0
    assert network.t == 0 * brian2.second


def test_state_is_restored_after_a_failure(brian2):
    before = dict(brian2.prefs)
    with pytest.raises(RuntimeError, match="on purpose"), session("cython"):
        raise RuntimeError("on purpose")
    assert dict(brian2.prefs) == before


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpp_standalone", "cython"])
def test_compiled_targets_give_the_same_spikes_and_put_the_device_back(brian2, target):
    stimulus, code = spiking.ou_stimulus(SIGMA, 500, seed=2), spiking.SpikeCode(R)
    own = spiking.run_code(code, stimulus, spiking.LateralRule(0.02))
    device = brian2.get_device()
    for _ in range(2):  # a second standalone run must not meet the first one's state
        run = spiking.run_code(code, stimulus, spiking.LateralRule(0.02), engine="brian2", target=target)
        np.testing.assert_array_equal(pairs(run.spikes), pairs(own.spikes))
        np.testing.assert_allclose(run.weights, own.weights, rtol=0, atol=1e-12)
        assert brian2.get_device() is device


@pytest.mark.skipif(os.name != "posix", reason="ends sessions of processes")
def test_programs_that_brian2_builds_and_runs_have_a_limit_on_their_time(brian2):
    before = dict(brian2.prefs)
    with session("cpp_standalone"):
        build = shlex.split(brian2.prefs["devices.cpp_standalone.make_cmd_unix"])
        run = brian2.prefs["devices.cpp_standalone.run_cmd_unix"]
    assert (build[3:], run[3:]) == (["1200", "make"], ["86400", "./main"])
    assert dict(brian2.prefs) == before
    for seconds, code, expected in ((60, "raise SystemExit(3)", 3), (0.2, "import time; time.sleep(60)", 1)):
        command = [*run[:3], str(seconds), sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, timeout=50, check=False)
        assert done.returncode == expected


def test_a_caller_in_standalone_mode_is_told_so(brian2):
    brian2.set_device("cpp_standalone", build_on_run=False)
    try:
        with pytest.raises(ConfigError, match="device must be 'runtime'"):
            spiking.run_rate(nd.Circuit(R), spiking.constant_stimulus([1.0, 0.0, 0.0], 0.01))
    finally:
        brian2.devices.reset_device()


def test_without_brian2_the_message_holds_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "brian2", None)
    stimulus = spiking.constant_stimulus([1.0, 0.0, 0.0], 0.01)
    for call in (
        lambda: spiking.run_rate(nd.Circuit(R), stimulus),
        lambda: spiking.brian.rate_network(nd.Circuit(R), stimulus),
        lambda: spiking.run_code(spiking.SpikeCode(R), stimulus, engine="brian2"),
        lambda: spiking.run_lif(spiking.LIFNetwork(np.zeros((3, 3))), stimulus, engine="brian2"),
    ):
        with pytest.raises(ConfigError, match="not installed") as caught:
            call()
        assert INSTALL in str(caught.value)


def test_a_broken_brian2_is_told_from_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / "brian2.py").write_text("raise ImportError('numpy.core.multiarray is gone')")
    monkeypatch.delitem(sys.modules, "brian2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be imported: .*numpy < 2\.4") as caught:
        brian2_module()
    assert INSTALL in str(caught.value)


def test_bad_circuits_are_refused_before_brian2_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "brian2", None)
    with pytest.raises(InputError, match="circuit must be a Circuit; got ndarray"):
        spiking.run_rate(R, spiking.constant_stimulus([1.0, 0.0, 0.0], 0.01))
    with pytest.raises(ConfigError, match="target must be one of"):
        spiking.run_rate(nd.Circuit(R), spiking.constant_stimulus([1.0, 0.0, 0.0], 0.01), target="numba")
