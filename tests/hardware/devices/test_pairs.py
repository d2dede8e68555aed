"""Weights as conductances: the maps, their inverse, their limits, and the numbers of two public tools."""

import numpy as np
import pytest

from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices import map_to_conductances

W = np.array([[1.0, -0.4, 0.13], [0.25, 0.9, -0.07], [-0.6, 0.0, 1.2]])
MICRO = 1e-6

# aihwkit 1.1.0 (torch 2.13.0, float64): `SinglePairConductanceConverter(g_max=25, g_min)`, µS.
TWO = {
    0.0: (
        [[20.833333333333336, 0.0, 2.708333333333334], [5.208333333333334, 18.750000000000004, 0.0], [0.0, 0.0, 25.0]],
        [[0.0, 8.333333333333334, 0.0], [0.0, 0.0, 1.4583333333333337], [12.500000000000002, 0.0, 0.0]],
        20.833333333333336,
    ),
    # CrossSim 3.2, `BALANCED` core, `ONE_SIDED`: the same numbers.
    2.5: (
        [[21.25, 2.5, 4.9375], [7.1875, 19.375, 2.5], [2.5, 2.5, 25.0]],
        [[2.5, 10.0, 2.5], [2.5, 2.5, 3.8125], [13.75, 2.5, 2.5]],
        18.75,
    ),
}
# aihwkit 1.1.0: `SingleDeviceConductanceConverter(g_max=25, g_min)`, µS.
ONE = {
    0.0: (
        [
            [22.222222222222225, 2.7777777777777772, 10.13888888888889],
            [11.805555555555555, 20.833333333333336, 7.361111111111112],
            [0.0, 8.333333333333334, 25.0],
        ],
        13.88888888888889,
    ),
    2.5: ([[22.5, 5.0, 11.625], [13.125, 21.25, 9.125], [2.5, 10.0, 24.999999999999996]], 12.5),
}
# CrossSim 3.2, `OFFSET` core, `UNIT_COLUMN_SUBTRACTION`: the first line is the reference, µS.
OFFSET = [[13.75] * 3, [23.125, 10.0, 14.96875], [16.09375, 22.1875, 13.09375], [8.125, 13.75, 25.0]]


@pytest.mark.parametrize("g_min", [0.0, 2.5])
def test_two_sides_give_the_conductances_of_aihwkit_and_crosssim(g_min):
    pair = map_to_conductances(W, g_min * MICRO, 25 * MICRO)
    plus, minus, scale = TWO[g_min]
    np.testing.assert_allclose(pair.plus, np.multiply(plus, MICRO), rtol=1e-14, atol=1e-20)
    np.testing.assert_allclose(pair.minus, np.multiply(minus, MICRO), rtol=1e-14, atol=1e-20)
    assert pair.scale == pytest.approx(scale * MICRO, rel=1e-15)


@pytest.mark.parametrize("g_min", [0.0, 2.5])
def test_one_side_gives_the_conductances_of_aihwkit(g_min):
    pair = map_to_conductances(W, g_min * MICRO, 25 * MICRO, sides="one")
    G, scale = ONE[g_min]
    np.testing.assert_allclose(pair.plus, np.multiply(G, MICRO), rtol=1e-14, atol=1e-20)
    assert pair.scale == pytest.approx(scale * MICRO, rel=1e-15)


def test_one_side_with_a_reference_in_the_middle_is_the_offset_core_of_crosssim():
    s, middle = 22.5 / 2.4 * MICRO, 13.75 * MICRO
    pair = map_to_conductances(W, 2.5 * MICRO, 25 * MICRO, sides="one", scale=s, reference=middle)
    np.testing.assert_allclose(np.concatenate([pair.minus, pair.plus]), np.multiply(OFFSET, MICRO), rtol=1e-14)


@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize(("g_min", "g_max"), [(0.0, 25e-6), (2.5e-6, 25e-6), (50e-6, 225e-6), (0.0, 1.0)])
@pytest.mark.parametrize("size", [1, 7, 32])
def test_conductances_give_the_weights_back(sides, g_min, g_max, size):
    W = np.random.default_rng(size).standard_normal((size, size + 1))
    pair = map_to_conductances(W, g_min, g_max, sides)
    # Two roundings, of numbers no larger than g_max, in units of s.
    assert np.abs(pair.weights() - W).max() <= 4 * np.finfo(float).eps * g_max / pair.scale
    assert np.abs(pair.weights() - W).max() < 1e-12


def test_two_sides_without_an_off_current_give_powers_of_two_back_exactly():
    W = np.array([[1.0, -0.5], [0.25, -2.0]])
    assert np.array_equal(map_to_conductances(W, g_max=2.0**-16).weights(), W)


@pytest.mark.parametrize("sides", ["two", "one"])
def test_the_default_scale_uses_the_whole_range_and_no_more(sides):
    pair = map_to_conductances(W, 3e-6, 25e-6, sides)
    G = np.concatenate([pair.plus, pair.minus])
    assert G.max() == pytest.approx(25e-6, rel=1e-14)
    assert G.min() == pytest.approx(3e-6, rel=1e-14)
    assert G.min() >= 3e-6 and G.max() <= 25e-6
    with pytest.raises(InputError, match="scale=None"):
        map_to_conductances(W, 3e-6, 25e-6, sides, scale=pair.scale * (1 + 1e-9))


def test_with_two_sides_one_device_of_each_pair_rests_at_the_smallest_conductance():
    pair = map_to_conductances(W, 2.5e-6, 25e-6)
    assert (np.minimum(pair.plus, pair.minus) == 2.5e-6).all()
    assert pair.sides == "two"


def test_with_one_side_the_rows_share_one_reference_device_per_column():
    pair = map_to_conductances(W, 2.5e-6, 25e-6, sides="one")
    assert pair.minus.shape == (1, 3) and pair.sides == "one"
    assert pair.plus[2, 1] == pytest.approx(pair.minus[0, 1], rel=1e-15)  # the weight 0 is the reference


@pytest.mark.parametrize("sides", ["two", "one"])
def test_weights_that_are_all_zero_stay_zero(sides):
    assert not map_to_conductances(np.zeros((3, 3)), 1e-6, 2e-6, sides).weights().any()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"g_min": -1e-6}, ConfigError, "g_min must be ≥ 0 siemens"),
        ({"g_min": 25e-6, "g_max": 25e-6}, ConfigError, "g_max must exceed g_min; got g_min = 2.5e-05 S"),
        ({"g_max": 25.0}, InputError, "g_max must be in siemens, at most 1 S; got 25 S. 25 µS is 25e-6"),
        ({"g_min": 1.5, "g_max": 25e-6}, InputError, "g_min must be in siemens"),
        ({"g_max": 0.0}, ConfigError, "g_max must be > 0 .siemens.; got 0.0"),
        ({"g_max": np.inf}, ConfigError, "g_max must be a finite number"),
        ({"sides": "too"}, ConfigError, "Did you mean 'two'"),
        ({"scale": -1.0}, ConfigError, "scale must be > 0 .siemens per unit of weight."),
        ({"scale": 1.0}, InputError, "at scale 1 S per unit the weight 1 at row 0, column 0 needs 1 and 0 S"),
        ({"reference": 1e-6}, ConfigError, "reference belongs to sides='one'"),
        ({"sides": "one", "reference": np.nan}, ConfigError, "reference must be a finite number .siemens."),
        ({"sides": "one", "reference": 0.0}, InputError, "weight -0.4 at row 0, column 1 needs -"),
    ],
)
def test_ranges_that_cannot_be_are_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        map_to_conductances(W, **options)


def test_weights_that_are_not_finite_are_refused_with_their_place():
    bad = W.copy()
    bad[1, 2] = np.nan
    with pytest.raises(InputError, match=r"weights must be finite.*row 1, column 2"):
        map_to_conductances(bad)


def test_weights_so_small_that_no_scale_exists_are_refused():
    with pytest.raises(InputError, match="Rescale the weights"):
        map_to_conductances(np.array([[5e-324]]))
