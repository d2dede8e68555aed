"""Chips: what they keep for life, what each programming and each reading adds, one at a time and many at once."""

import dataclasses
import math

import numpy as np
import pytest

from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices import Converter, Devices, Drift, Proportional, ReadNoise, map_to_conductances
from neurodecorr.hardware.devices.defects import mismatch_factors, stuck_at, stuck_devices
from neurodecorr.hardware.devices.drift import PCMDrift
from neurodecorr.hardware.devices.programming import PCM, Independent
from neurodecorr.hardware.devices.read_noise import PCMReadNoise

R = np.eye(12) + 0.2 * np.random.default_rng(0).standard_normal((12, 12))

EVERYTHING = {
    "mismatch": Devices(mismatch=0.1),
    "levels": Devices(g_min=1e-6, bits=5, sides="one", mismatch=0.05),
    "codes": Devices(codes=(-63, 63), programming=Proportional(0.02)),
    "stuck": Devices(g_min=2e-6, stuck_on=0.05, stuck_off=0.1),
    "phase change": Devices(programming=PCM(), drift=PCMDrift(), read_noise=PCMReadNoise()),
    "wires": Devices(g_min=1e-6, sides="one", mismatch=0.1, wire_resistance_ohm=5.0),
    "all": Devices(
        g_min=1e-6,
        bits=6,
        programming=Independent(0.01),
        mismatch=0.05,
        stuck_on=0.01,
        stuck_off=0.02,
        drift=Drift(0.05, 0.01),
        read_noise=ReadNoise(0.02),
        wire_resistance_ohm=2.0,
    ),
}

# CrossSim 3.2, `AnalogCore` of style `BALANCED`, 2.5 … 25 µS, `cell_bits`, `Rp_row` = `Rp_col` in ohms: W v, computed
# in single precision.
CORE = {
    (None, 0.0): [
        *(0.4755218972526048, -0.377002984257625, -1.2147328129602546),
        *(-0.613490541833902, 0.24606789728838294, 1.0703346155138689),
    ],
    (5, 0.0): [
        *(0.4919115106794384, -0.39577279582270386, -1.2145336929595432),
        *(-0.58812904615202, 0.22271100689672346, 1.0814337748251923),
    ],
    (None, 20.0): [
        *(0.4733574531451613, -0.3746365275572067, -1.2092888795750447),
        *(-0.6097931267064498, 0.24481919092229976, 1.0658292231249922),
    ],
    (5, 20.0): [
        *(0.4896629451493211, -0.3933394997436144, -1.2091187645916848),
        *(-0.5845317896083634, 0.22156222743907894, 1.0768492467961153),
    ],
}


@pytest.mark.parametrize("bits", [None, 5])
@pytest.mark.parametrize("r", [0.0, 20.0])
def test_a_whole_chip_multiplies_as_a_core_of_crosssim(bits, r):
    i, j = np.indices((6, 6))
    W = np.eye(6) + 0.2 * np.cos(1.0 + i + 2.0 * j + 0.3 * i * j)
    array = Devices(g_min=2.5e-6, bits=bits, wire_resistance_ohm=r).program(W, 0)
    product = array.weights() @ np.cos(1.0 + np.arange(6))
    # Single precision of 12 terms no larger than 1.2: 12 · 1.2 · 6e-8.
    np.testing.assert_allclose(product, CORE[bits, r], rtol=0, atol=8e-7)


@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize("g_min", [0.0, 5e-6])
def test_ideal_devices_hold_the_weights_at_any_time_in_any_reading(sides, g_min):
    devices = Devices(g_min=g_min, sides=sides)
    for time_s in (0.0, 1e9):
        assert np.abs(devices.program(R, 0).weights(time_s, rng=1) - R).max() < 1e-12
    assert np.abs(devices.program_many(R, 0, 3, time_s=5.0, read=True) - R).max() < 1e-12


@pytest.mark.parametrize("sides", ["two", "one"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 9)])
def test_chips_may_have_any_shape(sides, shape):
    W = np.random.default_rng(1).standard_normal(shape)
    for devices in (Devices(sides=sides), Devices(g_min=1e-6, sides=sides, bits=50, wire_resistance_ohm=1e-9)):
        array = devices.program(W, 0)
        assert array.pair(5.0, 1).sides == array.pair().sides == sides
        assert np.abs(array.weights() - W).max() < 1e-10
        assert np.array_equal(devices.program_many(W, 0, 2, read=True)[0], devices.program_many(W, 0, 2)[1])


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize(("time_s", "read"), [(0.0, False), (3600.0, True)])
def test_many_chips_at_once_are_bit_for_bit_the_chips_one_by_one(name, time_s, read):
    devices = EVERYTHING[name]
    together = devices.program_many(R, 5, 4, time_s, read)
    apart = []
    for child in np.random.default_rng(5).spawn(4):
        array = devices.program(R, child)
        apart.append(array.weights(time_s, child if read else None))
    assert np.array_equal(together, apart)
    assert len({chip.tobytes() for chip in together}) == 4


def test_many_chips_in_several_blocks_are_those_in_one(monkeypatch):
    from neurodecorr.hardware.devices import chip as chips

    whole = EVERYTHING["all"].program_many(R, 3, 7)
    monkeypatch.setattr(chips, "_BLOCK", 3 * 2 * R.size)
    assert np.array_equal(EVERYTHING["all"].program_many(R, 3, 7), whole)


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_seed_is_a_chip(name):
    devices = EVERYTHING[name]
    assert np.array_equal(devices.program(R, 4).weights(60.0, 1), devices.program(R, 4).weights(60.0, 1))
    assert not np.array_equal(devices.program(R, 4).weights(60.0, 1), devices.program(R, 5).weights(60.0, 2))


def test_programming_again_keeps_mismatch_and_faults_and_draws_new_errors():
    devices = Devices(g_min=1e-6, mismatch=0.1, stuck_on=0.05, stuck_off=0.05, programming=Proportional(0.02))
    chip, rng = devices.manufacture(R.shape, 1), np.random.default_rng(2)
    one, two = chip.program(R, rng), chip.program(R, rng)
    stuck = chip.stuck != 0
    assert 0.05 < stuck.mean() < 0.16
    assert np.array_equal(one.conductances[stuck], two.conductances[stuck])
    assert (one.conductances[~stuck] != two.conductances[~stuck]).all()
    # What is left of two programmings after the errors of 2 % is one mismatch of 10 %.
    targets = np.concatenate([devices.map(R).plus, devices.map(R).minus])
    errors = [(array.conductances / targets - 1)[~stuck] for array in (one, two)]
    assert np.corrcoef(errors)[0, 1] == pytest.approx(0.1**2 / (0.1**2 + 0.02**2), abs=0.02)


def test_sources_of_error_have_streams_of_their_own():
    alone = Devices(mismatch=0.1).manufacture(R.shape, 3)
    more = Devices(mismatch=0.2, stuck_on=0.1, drift=Drift(0.05, 0.01)).manufacture(R.shape, 3)
    np.testing.assert_allclose((more.factors - 1), 2 * (alone.factors - 1), rtol=1e-12)
    fewer = Devices(stuck_on=0.05).manufacture(R.shape, 3)
    assert ((fewer.stuck == 1) <= (more.stuck == 1)).all()
    assert np.array_equal(Devices(drift=Drift()).manufacture(R.shape, 3).normals, more.normals)


def test_mismatch_of_two_sides_moves_each_weight_by_its_share():
    # Without an off current only one device of a pair conducts: W_ij (1 + σ ξ_ij). 400 chips of 144 weights:
    # the spread is known to 5 /√(2 · 57 600) = 1.5 %.
    many = Devices(mismatch=0.05).program_many(R, 1, 400)
    relative = many / R - 1
    assert relative.std() == pytest.approx(0.05, rel=0.015)
    assert abs(relative.mean()) < 5 * 0.05 / math.sqrt(relative.size)


def test_mismatch_of_a_reference_is_shared_by_the_rows_of_a_column():
    # G⁺ and G⁻ are both off, G⁻ alike in all rows: half of the variance is common.
    many = Devices(g_min=1e-6, sides="one", mismatch=0.05).program_many(np.zeros((2, 1)), 1, 4000)
    shared = np.corrcoef(many[:, 0, 0], many[:, 1, 0])[0, 1]
    # 4000 chips: the estimate of a correlation of 0.5 scatters by (1 − 0.25)/√4000 = 0.012; five of these.
    assert shared == pytest.approx(0.5, abs=0.06)


def test_no_mismatch_turns_a_conductance_around():
    assert mismatch_factors(1.0, [-5.0, 0.0]).tolist() == [0.0, 1.0]
    assert Devices(mismatch=2.0).program(R, 0).conductances.min() == 0.0


@pytest.mark.parametrize(("on", "off"), [(0.02, 0.0), (0.0, 0.05), (0.1, 0.3), (1.0, 0.0), (0.0, 1.0)])
def test_stuck_devices_are_as_many_as_said(on, off):
    stuck = stuck_devices(on, off, np.random.default_rng(0).random(100_000))
    for share, sign in ((on, 1), (off, -1)):
        # Binomial: five standard deviations.
        assert (stuck == sign).mean() == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 100_000) + 1e-12)


def test_stuck_devices_ignore_programming_mismatch_and_drift():
    devices = Devices(g_min=2e-6, stuck_on=0.3, stuck_off=0.3, programming=PCM(), mismatch=0.2, drift=Drift(0.1, 0.05))
    chip = devices.manufacture(R.shape, 0)
    array = chip.program(R, 1)
    pair = array.pair(time_s=1e6)
    late = np.concatenate([pair.plus, pair.minus])
    assert (late[chip.stuck == 1] == 25e-6).all() and (late[chip.stuck == -1] == 2e-6).all()
    assert (late[chip.stuck == 0] < array.conductances[chip.stuck == 0]).all()
    assert stuck_at(np.array([1.0, 1.0, 1.0]), np.array([1, 0, -1]), 0.5, 2.0).tolist() == [2.0, 1.0, 0.5]


def test_a_chip_whose_devices_are_all_stuck_off_holds_no_weights():
    assert not Devices(g_min=1e-6, stuck_off=1.0).program(R, 0).weights().any()


def test_drift_of_one_exponent_shrinks_all_weights_alike():
    weights = Devices(drift=Drift(0.05)).program(R, 0).weights(time_s=3600.0)
    np.testing.assert_allclose(weights, R * (1 + 3600 / 20) ** -0.05, rtol=1e-13)


@pytest.mark.parametrize("time_s", [0.0, 3600.0])
def test_an_array_at_one_time_is_the_array_it_was_before(time_s):
    array = EVERYTHING["all"].program(R, 0)
    before = array.conductances.tobytes(), array.exponents.tobytes()
    array.weights(time_s, 3)
    assert (array.conductances.tobytes(), array.exponents.tobytes()) == before


def test_programming_a_pair_is_programming_its_weights():
    devices = Devices(mismatch=0.1, programming=Proportional(0.05))
    chip = devices.manufacture(R.shape, 0)
    assert np.array_equal(chip.write(map_to_conductances(R), 1).weights(), chip.program(R, 1).weights())


def test_one_scale_serves_for_many_weights():
    chip = Devices(mismatch=0.1).manufacture(R.shape, 0)
    whole, half = chip.program(R, 0, scale=5e-6), chip.program(R / 2, 0, scale=5e-6)
    assert whole.scale == half.scale == 5e-6
    np.testing.assert_allclose(half.weights(), whole.weights() / 2, rtol=1e-13)


def test_weights_need_not_be_square():
    W = np.random.default_rng(0).standard_normal((3, 8))
    assert Devices(mismatch=0.1, sides="one").program_many(W, 0, 2).shape == (2, 3, 8)


def test_converters_are_checked_and_carried_along():
    devices = Devices(dac=Converter(8, 1.0), adc=Converter(6, 3.0))
    assert devices.dac.bits == 8 and devices.adc.step == 6 / 62
    with pytest.raises(ConfigError, match=r"dac .*8 of type int"):
        Devices(dac=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"g_min": -1e-9}, "g_min must be ≥ 0 siemens"),
        ({"g_min": 3e-5}, "g_max must exceed g_min"),
        ({"mismatch": -0.1}, "mismatch must be ≥ 0; got -0.1"),
        ({"stuck_on": 1.5}, r"stuck_on must lie in \[0, 1\]; got 1.5"),
        ({"stuck_off": -0.1}, r"stuck_off must lie in \[0, 1\]; got -0.1"),
        ({"stuck_on": 0.6, "stuck_off": 0.6}, r"stuck_on \+ stuck_off must be ≤ 1"),
        ({"wire_resistance_ohm": -1}, "wire_resistance_ohm must be ≥ 0 .ohms."),
        ({"sides": "both"}, "sides must be one of 'two', 'one'; got 'both'"),
        ({"programming": 0.1}, r"programming must have a method sigma.*Proportional\(0.1\)"),
        ({"read_noise": 0.1}, r"read_noise must have a method sigma.*ReadNoise\(0.1\)"),
        ({"drift": 0.05}, r"drift must have a method exponents.*Drift\(0.05\)"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Devices(**options)


@pytest.mark.parametrize("shape", [3, (3,), (3, 3, 3), "33"])
def test_a_chip_has_rows_and_columns(shape):
    with pytest.raises(ConfigError, match=r"shape must be \(rows, columns\)"):
        Devices().manufacture(shape, 0)


def test_weights_that_cannot_be_programmed_are_refused():
    with pytest.raises(InputError, match="weights must be finite"):
        Devices().program([[np.inf]], 0)
    with pytest.raises(InputError, match="weights must be 2-D"):
        Devices().program([1.0, 2.0], 0)
    with pytest.raises(InputError, match="needs"):
        Devices().program(R, 0, scale=1.0)
    with pytest.raises(ConfigError, match="chips must be a whole number ≥ 1; got 0"):
        Devices().program_many(R, 0, 0)
    with pytest.raises(ConfigError, match="rng must be a whole number ≥ 0"):
        Devices().program(R, -1)


def test_a_pair_of_another_shape_or_kind_does_not_fit_a_chip():
    chip = Devices().manufacture((3, 3), 0)
    with pytest.raises(InputError, match=r"pair .*\(3, 3\).*'two'"):
        chip.write(map_to_conductances(np.eye(2)), 0)
    with pytest.raises(InputError, match="and 'one'"):
        chip.write(map_to_conductances(np.eye(3), sides="one"), 0)


def test_conductances_beyond_the_devices_are_refused():
    chip = Devices(g_max=25e-6).manufacture((3, 3), 0)
    with pytest.raises(InputError, match=r"pair .*2.5e-05 S; got 5e-05"):
        chip.write(map_to_conductances(np.eye(3), g_max=50e-6), 0)


def test_descriptions_are_values():
    assert Devices(mismatch=0.1) == Devices(mismatch=0.1)
    assert dataclasses.replace(Devices(), bits=4).map(R).scale == Devices(bits=4).map(R).scale
