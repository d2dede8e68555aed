"""Levels of a device, and whole-number weights."""

import numpy as np
import pytest

from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices import Devices
from neurodecorr.hardware.devices.conductance_range import level_step, quantised
from neurodecorr.hardware.devices.pairs import code_unit, coded

MICRO = 1e-6
# CrossSim 3.2, `cell_bits = 4`, G_min = 2.5 µS, G_max = 25 µS.
BEFORE = [2.5, 3.0, 4.1, 7.77, 12.0, 13.74, 20.2, 24.9, 25.0]
AFTER = [2.5, 2.5, 4.0, 8.5, 11.5, 13.0, 20.5, 25.0, 25.0]


def test_levels_are_those_of_crosssim():
    G = quantised(np.multiply(BEFORE, MICRO), 4, 2.5 * MICRO, 25 * MICRO)
    np.testing.assert_allclose(G, np.multiply(AFTER, MICRO), rtol=1e-14)


@pytest.mark.parametrize("bits", [1, 2, 5, 8, 16])
def test_a_device_holds_two_to_the_bits_levels_and_both_ends_are_levels(bits):
    G = np.linspace(1e-6, 9e-6, 20_001)
    levels = np.unique(quantised(G, bits, 1e-6, 9e-6).round(18))
    assert len(levels) == min(2**bits, 20_001)
    assert levels[0] == pytest.approx(1e-6) and levels[-1] == pytest.approx(9e-6)


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 7, 8, 11])
def test_no_level_lies_beyond_the_range_by_a_rounding(bits):
    for g_min, g_max in np.sort(np.random.default_rng(bits).uniform(0, 1e-4, (200, 2))):
        levels = quantised(np.linspace(g_min, g_max, 50), bits, g_min, g_max)
        assert levels.min() == g_min
        assert g_max * (1 - 4e-16) <= levels.max() <= g_max


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_no_conductance_moves_further_than_half_a_step_and_a_level_stays(bits):
    G = np.random.default_rng(bits).uniform(0, 25e-6, 1000)
    once = quantised(G, bits, 0.0, 25e-6)
    assert np.abs(once - G).max() <= level_step(bits, 0.0, 25e-6) / 2 * (1 + 1e-12)
    assert np.array_equal(quantised(once, bits, 0.0, 25e-6), once)


def test_the_error_of_many_levels_is_uniform():
    G = np.random.default_rng(0).uniform(0, 25e-6, 100_000)
    error = (quantised(G, 6, 0.0, 25e-6) - G) / level_step(6, 0.0, 25e-6)
    # Variance of a uniform error: 1/12. Its estimate scatters by √(1/180 / 10⁵) = 2.4e-4: five of these.
    assert np.mean(error**2) == pytest.approx(1 / 12, abs=1.2e-3)


@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_weights_on_devices_with_levels_are_off_by_at_most_half_a_step(sides, bits):
    W = np.random.default_rng(3).standard_normal((12, 12))
    devices = Devices(g_min=1e-6, sides=sides, bits=bits)
    pair = devices.map(W)
    step = devices.weight_step(pair.scale)
    assert np.abs(pair.weights() - W).max() <= step / 2 * (1 + 1e-9)
    assert np.abs(np.rint(pair.weights() / step) * step - pair.weights()).max() < 1e-12  # zero is a level


@pytest.mark.parametrize("weights", [[[1.0, 0.5]], [[-1.0, -0.5]], [[0.0, 0.0]], [[3.0, -1e-9]]])
@pytest.mark.parametrize("bits", [2, 5])
def test_one_side_places_its_reference_where_the_weights_leave_room(weights, bits):
    devices = Devices(sides="one", bits=bits)
    pair = devices.map(weights)
    assert np.abs(pair.weights() - weights).max() <= devices.weight_step(pair.scale) / 2 * (1 + 1e-9)


def test_one_side_at_a_given_scale_keeps_the_scale():
    W = np.random.default_rng(0).standard_normal((6, 6))
    devices = Devices(sides="one", bits=6)
    scale = devices.map(W).scale * 0.7
    pair = devices.map(W, scale)
    assert pair.scale == scale
    spare = pair.minus[0, 0] + scale * W.min()  # what the reference leaves below the smallest weight
    assert 0 <= spare < level_step(6, 0.0, 25e-6)
    assert np.abs(pair.weights() - W).max() <= devices.weight_step(scale) / 2 * (1 + 1e-9)


def test_a_device_of_one_bit_has_no_room_for_a_reference_between_both_signs():
    with pytest.raises(ConfigError, match="Choose bits ≥ 2, or two sides"):
        Devices(sides="one", bits=1).map([[1.0, -1.0]])


@pytest.mark.parametrize("bits", [0, -3, 53])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ConfigError, match="bits must be"):
        quantised([1e-6], bits, 0.0, 25e-6)
    with pytest.raises(ConfigError, match="bits must be"):
        Devices(bits=bits)


def test_bits_are_a_whole_number():
    with pytest.raises(ConfigError, match=r"bits must be a whole number ≥ 1; got 4\.5"):
        Devices(bits=4.5)


@pytest.mark.parametrize("value", [-1e-9, 26e-6, np.nan])
def test_conductances_outside_the_range_are_refused(value):
    with pytest.raises(InputError, match=r"G must .*(2.5e-05|finite)"):
        quantised([1e-6, value], 4, 0.0, 25e-6)


# Whole-number weights.


def test_codes_are_those_of_rockpool():
    # Rockpool, `global_quantize`: round(W · 127 / max|W|).
    W = np.random.default_rng(1).standard_normal((9, 9))
    assert np.array_equal(coded(W, (-127, 127)), np.round(W * (127 / np.abs(W).max())).astype(int))


@pytest.mark.parametrize("codes", [(-256, 255), (-128, 127), (-63, 63), (-1, 7)])
def test_every_weight_fits_its_codes_and_one_code_is_at_the_end(codes):
    W = np.random.default_rng(2).standard_normal((20, 20))
    k = coded(W, codes)
    assert k.min() >= codes[0] and k.max() <= codes[1]
    assert k.min() == codes[0] or k.max() == codes[1]
    assert np.abs(k * code_unit(W, codes) - W).max() <= code_unit(W, codes) / 2 * (1 + 1e-12)


@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize("codes", [(-256, 255), (-63, 63), (-1, 7)])
def test_a_chip_of_codes_holds_the_coded_weights(sides, codes):
    W = np.random.default_rng(4).standard_normal((8, 8))
    devices = Devices(g_min=1e-6, g_max=9e-6, sides=sides, codes=codes)
    pair = devices.map(W)
    np.testing.assert_allclose(pair.weights(), coded(W, codes) * code_unit(W, codes), rtol=0, atol=1e-12)
    assert devices.weight_step(pair.scale) == pytest.approx(code_unit(W, codes), rel=1e-12)
    again = devices.map(W / 2, pair.scale)
    np.testing.assert_allclose(
        again.weights(), coded(W / 2, codes, code_unit(W, codes)) * code_unit(W, codes), atol=1e-12
    )


@pytest.mark.parametrize(
    ("codes", "message"),
    [((5, 9), "codes must hold 0"), ((-4, 0), "codes must hold 0"), ((-1.5, 3), "two whole numbers"), (7, "two whole")],
)
def test_codes_that_cannot_be_are_refused(codes, message):
    with pytest.raises(ConfigError, match=message):
        Devices(codes=codes)


def test_weights_without_a_code_are_refused():
    with pytest.raises(InputError, match=r"-0\.5 at row 0, column 1\..*codes"):
        coded([[1.0, -0.5]], (0, 15))
    with pytest.raises(InputError, match=r"0\.1 .*9 at row 0, column 0 .*90"):
        coded([[9.0]], (-63, 63), unit=0.1)


def test_bits_and_codes_exclude_each_other():
    with pytest.raises(ConfigError, match="Give bits or codes, not both"):
        Devices(bits=4, codes=(-3, 3))


def test_without_levels_the_step_between_weights_is_nil():
    assert Devices().weight_step(1e-6) == 0.0
