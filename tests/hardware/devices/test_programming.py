"""Errors of programming, drift and readings: the formulas of two public tools, and what many devices do."""

import math

import numpy as np
import pytest

from neurodecorr.errors import ConfigError
from neurodecorr.hardware.devices import Devices, Drift, Proportional, ReadNoise
from neurodecorr.hardware.devices.drift import PCMDrift, drift_factor
from neurodecorr.hardware.devices.programming import PCM, RRAM, Independent
from neurodecorr.hardware.devices.read_noise import PCMReadNoise

MICRO = 1e-6
# Conductances of 25 µS devices, µS; those of 40 µS devices are 1.6 times as large.
G25 = np.array([0.0, 1.0, 5.0, 12.5, 20.0, 25.0])

# aihwkit 1.1.0 (torch 2.13.0, float64): `PCMLikeNoiseModel(g_max)` with every normal draw replaced by 1, or by 0; µS.
PCM_SIGMA = {
    25.0: [0.26348, 0.34020304, 0.6095559999999995, 0.9527049999999999, 1.084696000000001, 1.0553799999999995],
    40.0: [0.421568, 0.544324864, 0.9752896, 1.5243280000000006, 1.7355135999999973, 1.688608000000002],
}
NU = [0.1, 0.07429257528545712, 0.049346287642728554, 0.049, 0.049, 0.049]
NU_SD = [0.045, 0.034335947810852516, 0.014217973905426257, 0.008, 0.008, 0.008]
DRIFTED = {
    (25.0, 0.0): [0.0, 1.0, 5.0, 12.5, 20.0, 25.0],
    (25.0, 3600.0): [
        *(0.0, 0.6796279709528673, 3.8686723362756337),
        *(9.68910724206301, 15.502571587300816, 19.37821448412602),
    ],
    (25.0, 2592000.0): [
        *(0.0, 0.41703370753535834, 2.796931060940212),
        *(7.020890565270574, 11.233424904432919, 14.041781130541148),
    ],
    (40.0, 3600.0): [
        *(0.0, 1.0874047535245877, 6.189875738041014),
        *(15.502571587300816, 24.804114539681304, 31.00514317460163),
    ],
}
READ_SIGMA = {
    (25.0, 0.0): [
        *(0.0, 0.29834390408226796, 0.5240306269594779),
        *(0.7221637308145787, 0.8512902650237919, 0.920441457774249),
    ],
    (25.0, 3600.0): [
        *(0.0, 0.2309167659543312, 0.4617593170874721),
        *(0.6374945500718479, 0.7514818057530324, 0.8125254536521851),
    ],
    (25.0, 2592000.0): [
        *(0.0, 0.16090709690613197, 0.3791013224649018),
        *(0.5245715530374175, 0.6183676046780366, 0.6685982477132111),
    ],
    (40.0, 3600.0): [
        *(0.0, 0.3694668255269298, 0.7388149073399557),
        *(1.0199912801149562, 1.2023708892048504, 1.3000407258434983),
    ],
}
# CrossSim 3.2, magnitude 0.05, G_max = 25 µS: error for a normal draw of 1, µS.
CROSSSIM_G = [2.5, 3.0, 4.1, 7.77, 12.0, 13.74, 20.2, 24.9, 25.0]
CROSSSIM_PROPORTIONAL = [0.125, 0.15, 0.205, 0.3885, 0.6, 0.687, 1.01, 1.245, 1.25]
CROSSSIM_INDEPENDENT = [1.25] * 9
# CrossSim 3.2, `RRAMMilo`, 50 … 225 µS.
RRAM_G, RRAM_SIGMA = [50.0, 62.5, 100.0, 150.0, 225.0], [4.326971, 4.2131335, 3.871621, 3.416271, 2.733246]


@pytest.mark.parametrize("g_max", [25.0, 40.0])
def test_programming_errors_of_phase_change_memory_are_those_of_aihwkit(g_max):
    sigma = PCM().sigma(G25 * (g_max / 25) * MICRO, g_max * MICRO)
    np.testing.assert_allclose(sigma / MICRO, PCM_SIGMA[g_max], rtol=1e-13)


@pytest.mark.parametrize("g_max", [25.0, 40.0])
def test_exponents_of_drift_are_those_of_aihwkit(g_max):
    mean, spread = PCMDrift().moments(G25 * (g_max / 25) * MICRO, g_max * MICRO)
    np.testing.assert_allclose(mean, NU, rtol=1e-13)
    np.testing.assert_allclose(spread, NU_SD, rtol=1e-12)


@pytest.mark.parametrize(("g_max", "time_s"), sorted(DRIFTED))
def test_conductances_fall_as_in_aihwkit(g_max, time_s):
    G, model = G25 * (g_max / 25) * MICRO, PCMDrift()
    exponents = model.exponents(G, g_max * MICRO, np.zeros(6))
    np.testing.assert_allclose(
        G * drift_factor(exponents, time_s, model.t0_s) / MICRO, DRIFTED[g_max, time_s], rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize(("g_max", "time_s"), sorted(READ_SIGMA))
def test_noise_of_readings_is_that_of_aihwkit(g_max, time_s):
    G = G25 * (g_max / 25) * MICRO
    drifted = G * drift_factor(PCMDrift().exponents(G, g_max * MICRO, np.zeros(6)), time_s, 20.0)
    sigma = PCMReadNoise().sigma(drifted, G, g_max * MICRO, time_s)
    np.testing.assert_allclose(sigma / MICRO, READ_SIGMA[g_max, time_s], rtol=1e-12, atol=1e-15)


def test_proportional_and_independent_errors_are_those_of_crosssim():
    G = np.multiply(CROSSSIM_G, MICRO)
    np.testing.assert_allclose(Proportional(0.05).sigma(G, 25 * MICRO) / MICRO, CROSSSIM_PROPORTIONAL, rtol=1e-13)
    np.testing.assert_allclose(Independent(0.05).sigma(G, 25 * MICRO) / MICRO, CROSSSIM_INDEPENDENT, rtol=1e-13)
    np.testing.assert_allclose(ReadNoise(0.05).sigma(G, G, 25 * MICRO, 0.0) / MICRO, CROSSSIM_PROPORTIONAL, rtol=1e-13)


def test_errors_of_resistive_memory_are_those_of_crosssim():
    sigma = RRAM().sigma(np.multiply(RRAM_G, MICRO), 225 * MICRO)
    np.testing.assert_allclose(sigma / MICRO, RRAM_SIGMA, rtol=1e-13)


@pytest.mark.parametrize(
    "model", [Proportional(0.05), Independent(0.02), PCM(), RRAM(0.5)], ids=lambda m: type(m).__name__
)
def test_many_programmed_devices_scatter_by_sigma(model):
    # 40 000 devices of one target, far above 0: mean within 5 σ/√N = 0.025 σ, spread within 5 /√(2N) = 1.8 % of σ.
    W = np.full((200, 200), 0.8)
    devices = Devices(g_max=100e-6, programming=model)
    pair = devices.map(W, scale=100e-6)
    G = devices.program(W, 1, scale=100e-6).pair().plus
    sigma = model.sigma(pair.plus[:1, :1], 100e-6).item()
    assert abs(G.mean() - 80e-6) < 0.025 * sigma
    assert G.std() == pytest.approx(sigma, rel=0.018)


def test_no_conductance_is_negative_and_none_is_held_below_the_largest():
    array = Devices(g_max=1e-6, programming=Independent(0.5)).program(np.eye(100), 0)
    assert array.conductances.min() == 0.0
    # As in aihwkit, what is clipped is what no device can be; errors may pass g_max.
    assert array.conductances.max() > 1e-6


@pytest.mark.parametrize("time_s", [1.0, 3600.0, 2.6e6])
def test_drift_is_a_power_of_time_and_nothing_has_drifted_at_the_start(time_s):
    assert drift_factor([0.0, 0.05, 0.1], 0.0, 20.0).tolist() == [1.0, 1.0, 1.0]
    falls = np.log(drift_factor([0.0, 0.05, 0.1], time_s, 20.0))
    np.testing.assert_allclose(falls, np.array([0.0, -0.05, -0.1]) * math.log(1 + time_s / 20), rtol=1e-12)


def test_exponents_of_drift_scatter_from_device_to_device_and_never_grow_conductances():
    normals = np.random.default_rng(0).standard_normal(40_000)
    nu = Drift(nu=0.05, nu_sd=0.01).exponents(np.zeros(40_000), 25e-6, normals)
    # N = 40 000; five standard errors of mean and spread. Five standard deviations from 0, none is clipped.
    assert nu.mean() == pytest.approx(0.05, abs=5 * 0.01 / 200)
    assert nu.std() == pytest.approx(0.01, rel=5 / math.sqrt(80_000))
    assert Drift(nu=0.0, nu_sd=1.0).exponents(np.zeros(3), 1.0, np.array([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.0, 1.0]


def test_readings_differ_each_time_and_their_mean_is_the_conductance():
    array = Devices(read_noise=ReadNoise(0.1)).program(np.full((100, 100), 0.5), 0)
    rng = np.random.default_rng(1)
    first, second = array.weights(rng=rng), array.weights(rng=rng)
    assert not np.array_equal(first, second)
    assert np.array_equal(array.weights(), np.full((100, 100), 0.5))
    # 20 000 readings with σ = 0.05: five standard errors.
    assert np.mean([first, second]) == pytest.approx(0.5, abs=5 * 0.05 / math.sqrt(20_000))
    assert np.std([first, second]) == pytest.approx(0.05, rel=5 / math.sqrt(40_000))


def test_scales_of_phase_change_memory_multiply_their_models():
    G = G25 * MICRO
    np.testing.assert_allclose(PCM(scale=3.0).sigma(G, 25e-6), 3 * PCM().sigma(G, 25e-6), rtol=1e-15)
    ones = np.ones(6)
    assert np.array_equal(PCMDrift(scale=0.5).exponents(G, 25e-6, ones), 0.5 * PCMDrift().exponents(G, 25e-6, ones))
    np.testing.assert_allclose(
        PCMReadNoise(scale=2.0).sigma(G, G, 25e-6, 5.0), 2 * PCMReadNoise().sigma(G, G, 25e-6, 5.0), rtol=1e-15
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Proportional(-0.1), "level must be ≥ 0; got -0.1"),
        (lambda: Independent(np.nan), "level must be a finite number"),
        (lambda: PCM(scale="big"), "scale must be a number; got 'big' of type str"),
        (lambda: RRAM(-1), "scale must be ≥ 0"),
        (lambda: ReadNoise(-1), "level must be ≥ 0"),
        (lambda: Drift(nu=-0.05), "nu must be ≥ 0"),
        (lambda: Drift(nu_sd=-0.05), "nu_sd must be ≥ 0"),
        (lambda: Drift(t0_s=0), "t0_s must be > 0 .seconds."),
        (lambda: PCMDrift(t0_s=-1), "t0_s must be > 0 .seconds."),
        (lambda: PCMReadNoise(t_read_s=0), "t_read_s must be > 0 .seconds."),
        (lambda: Devices().program([[1.0]], 0).weights(time_s=-1.0), "time_s must be ≥ 0 .seconds.; got -1.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "call",
)
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
