"""DAC and ADC: the formulas of two public tools."""

import numpy as np
import pytest

from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices import Converter

VALUES = [-2.0, -1.0, -0.731, -0.2, -0.0039, 0.0, 0.004, 0.1, 0.5, 0.77, 0.999, 1.3]
# aihwkit 1.1.0 (torch 2.13.0, float64), `AnalogMVM`: inp_res = 1/(2⁷ − 2), inp_bound = 1.
DAC = [
    *(-1.0, -1.0, -0.7301587301587301, -0.20634920634920634, 0.0, 0.0, 0.0),
    *(0.09523809523809523, 0.5079365079365079, 0.7777777777777777, 1.0, 1.0),
]
# … and out_res = 1/(2⁹ − 2), out_bound = 12, for 9.3 times the values; CrossSim 3.2, `SignMagnitudeADC`: the same.
ADC = [
    *(-12.0, -9.31764705882353, -6.776470588235294, -1.8823529411764706, -0.047058823529411764, 0.0),
    *(0.047058823529411764, 0.9411764705882353, 4.658823529411765, 7.152941176470588, 9.270588235294117, 12.0),
]
# CrossSim 3.2, `SignMagnitudeDAC`, 7 bits. At 0.5, half-way between two codes, it takes the other one.
CROSSSIM_DAC = [value if at != 0.5 else 31 / 63 for at, value in zip(VALUES, DAC, strict=True)]


def test_a_dac_is_that_of_aihwkit():
    np.testing.assert_allclose(Converter(7, 1.0)(VALUES), DAC, rtol=0, atol=1e-15)


def test_an_adc_is_that_of_aihwkit_and_crosssim():
    np.testing.assert_allclose(Converter(9, 12.0)(9.3 * np.array(VALUES)), ADC, rtol=0, atol=4e-15)


def test_a_dac_is_that_of_crosssim_but_for_halves():
    ours = Converter(7, 1.0)(VALUES)
    apart = np.abs(ours - CROSSSIM_DAC) > 1e-15
    assert np.array(VALUES)[apart].tolist() == [0.5]
    assert ours[apart].item() * 63 == pytest.approx(32) and 0.5 * 63 == 31.5


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_a_converter_has_a_code_for_zero_and_loses_one(bits):
    codes = np.unique(Converter(bits, 5.0)(np.linspace(-6, 6, 20_001)))
    assert len(codes) == 2**bits - 1
    assert 0.0 in codes and codes[0] == -5.0 and codes[-1] == 5.0
    np.testing.assert_allclose(codes, -codes[::-1], rtol=0, atol=0)


def test_within_the_bound_no_value_moves_further_than_half_a_step():
    converter = Converter(6, 2.0)
    values = np.random.default_rng(0).uniform(-2, 2, 1000)
    assert np.abs(converter(values) - values).max() <= converter.step / 2
    assert np.array_equal(converter(converter(values)), converter(values))


def test_values_beyond_the_bound_are_counted():
    assert Converter(4, 1.0).saturated([-1.5, -1.0, 0.3, 1.0, 2.0]) == 2


@pytest.mark.parametrize("bits", [0, 1, 2.5, 53])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ConfigError, match="bits must be"):
        Converter(bits, 1.0)


def test_a_bound_is_positive_and_values_are_finite():
    with pytest.raises(ConfigError, match="bound must be > 0; got 0"):
        Converter(4, 0)
    with pytest.raises(InputError, match="values must be finite"):
        Converter(4, 1.0)([np.inf])
