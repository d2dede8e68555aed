"""The device models beside aihwkit itself, where it is installed; the other files hold its numbers."""

import warnings

import numpy as np
import pytest

from neurodecorr.hardware.devices import Converter, Devices, map_to_conductances
from neurodecorr.hardware.devices.drift import PCMDrift, drift_factor
from neurodecorr.hardware.devices.programming import PCM
from neurodecorr.hardware.devices.read_noise import PCMReadNoise

INSTALL = "needs aihwkit: pip install torch, then pip install --no-deps aihwkit==1.1.0"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch", reason=INSTALL)
    pytest.importorskip("aihwkit", reason=INSTALL)
    from aihwkit.inference.converter.conductance import SingleDeviceConductanceConverter, SinglePairConductanceConverter
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
    from aihwkit.simulator.parameters.io import IOParameters
    from aihwkit.simulator.tiles.analog_mvm import AnalogMVM

MICRO = 1e-6
W = np.random.default_rng(0).standard_normal((20, 20))
G = np.random.default_rng(1).uniform(0, 25, 5000)


@pytest.fixture(autouse=True)
def _double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def draws(monkeypatch, value):
    """Have aihwkit's normal draws all be `value`."""
    monkeypatch.setattr("aihwkit.inference.noise.pcm.randn_like", lambda x: torch.full_like(x, value))


@pytest.mark.parametrize("g_min", [0.0, 1.5])
def test_pairs(g_min):
    (plus, minus), _ = SinglePairConductanceConverter(g_max=25.0, g_min=g_min).convert_to_conductances(torch.tensor(W))
    pair = map_to_conductances(W, g_min * MICRO, 25 * MICRO)
    np.testing.assert_allclose(pair.plus / MICRO, plus.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(pair.minus / MICRO, minus.numpy(), rtol=0, atol=1e-12)


def test_single_devices():
    single, _ = SingleDeviceConductanceConverter(g_max=25.0, g_min=1.5).convert_to_conductances(torch.tensor(W))
    pair = map_to_conductances(W, 1.5 * MICRO, 25 * MICRO, sides="one")
    np.testing.assert_allclose(pair.plus / MICRO, single.numpy(), rtol=0, atol=1e-12)


def test_programming_errors(monkeypatch):
    draws(monkeypatch, 1.0)
    programmed = PCMLikeNoiseModel(g_max=25.0).apply_programming_noise_to_conductance(torch.tensor(G)).numpy()
    np.testing.assert_allclose(G + PCM().sigma(G * MICRO, 25 * MICRO) / MICRO, programmed, rtol=1e-12)


@pytest.mark.parametrize("draw", [-3.0, 0.0, 1.0])
@pytest.mark.parametrize("time_s", [0.0, 3600.0, 2.6e6])
def test_drift_and_readings(monkeypatch, draw, time_s):
    tool, model = PCMLikeNoiseModel(g_max=25.0), PCMDrift()
    draws(monkeypatch, draw)
    nu = tool.generate_drift_coefficients(torch.tensor(G))
    ours = model.exponents(G * MICRO, 25 * MICRO, np.full(len(G), draw))
    np.testing.assert_allclose(ours, nu.numpy(), rtol=1e-10, atol=1e-12)
    read = tool.apply_drift_noise_to_conductance(torch.tensor(G), nu, time_s).numpy()
    drifted = G * MICRO * drift_factor(ours, time_s, 20.0)
    noise = draw * PCMReadNoise().sigma(drifted, G * MICRO, 25 * MICRO, time_s)
    np.testing.assert_allclose(np.maximum(drifted + noise, 0) / MICRO, read, rtol=1e-10, atol=1e-12)


def test_many_chips_scatter_as_those_of_aihwkit():
    torch.manual_seed(0)
    tool = PCMLikeNoiseModel(g_max=25.0)
    theirs = np.stack([tool.apply_noise(torch.tensor(W), 3600.0).numpy() for _ in range(200)]) - W
    devices = Devices(programming=PCM(), drift=PCMDrift(), read_noise=PCMReadNoise())
    ours = devices.program_many(W, 0, 200, time_s=3600.0, read=True) - W
    # 80 000 errors on each side, of with one spread for each weight: 2 % are four standard errors.
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 6 * theirs.std(0).max() * np.sqrt(2 / 200)


@pytest.mark.parametrize("bits", [4, 7, 9])
def test_converters(bits):
    values = np.random.default_rng(2).uniform(-3, 3, 5000)
    io = IOParameters(inp_bound=2.0, inp_res=1 / (2**bits - 2), inp_noise=0.0)
    quantised = AnalogMVM._prepare_input(torch.tensor(values), 1.0, False, False, io).numpy()
    np.testing.assert_allclose(Converter(bits, 2.0)(values), quantised, rtol=0, atol=1e-12)
