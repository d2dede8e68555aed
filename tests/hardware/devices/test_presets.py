"""Published chips by name."""

import numpy as np
import pytest

from neurodecorr.errors import ConfigError
from neurodecorr.hardware.devices import preset
from neurodecorr.hardware.devices.pairs import coded
from neurodecorr.hardware.devices.presets import PRESETS, preset_names

W = np.random.default_rng(0).standard_normal((16, 16))
# Smallest and largest whole-number weight, as the chips' own software has them.
CODES = {"loihi": (-256, 255), "loihi-mixed": (-128, 127), "xylo": (-127, 127), "brainscales2": (-63, 63)}
# Smallest and largest conductance in siemens.
RANGES = {"pcm": (0.0, 25e-6), "rram": (50e-6, 225e-6), "ideal": (0.0, 25e-6)}


@pytest.mark.parametrize("name", sorted(CODES))
def test_digital_chips_hold_whole_numbers_of_microsiemens(name):
    devices, (low, high) = preset(name), CODES[name]
    pair = devices.map(W)
    numbers = (pair.plus - pair.minus) / 1e-6
    np.testing.assert_allclose(numbers, coded(W, (low, high)), rtol=0, atol=1e-9)
    assert devices.codes == (low, high) and devices.name == name


@pytest.mark.parametrize("name", sorted(RANGES))
def test_analogue_devices_use_the_range_that_was_published(name):
    devices = preset(name)
    assert (devices.g_min, devices.g_max) == RANGES[name]
    pair = devices.map(W)
    assert max(pair.plus.max(), pair.minus.max()) == pytest.approx(RANGES[name][1])
    assert min(pair.plus.min(), pair.minus.min()) == RANGES[name][0]


def test_every_preset_has_a_range_or_codes_to_check_it_against_and_a_source():
    assert set(preset_names()) == set(CODES) | set(RANGES)
    assert all("`" in PRESETS[name].source for name in preset_names() if name != "ideal")


def test_the_ideal_preset_returns_the_weights():
    assert np.abs(preset("ideal").program(W, 0).weights(1e6, 1) - W).max() < 1e-12


@pytest.mark.parametrize("name", sorted(preset_names()))
def test_every_preset_can_be_programmed_and_is_off_by_no_more_than_it_should(name):
    error = np.abs(preset(name).program_many(W, 0, 4) - W).max() / np.abs(W).max()
    assert error < 0.5 * (0.05 + 1 / 63 if name in CODES else 0.5)


def test_an_unknown_chip_is_met_with_the_nearest():
    with pytest.raises(ConfigError, match=r"got 'loihi2'\. Did you mean 'loihi'"):
        preset("loihi2")
