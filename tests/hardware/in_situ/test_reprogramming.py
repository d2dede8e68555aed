"""Learning on the chip heals what programming it once leaves."""

import dataclasses

import numpy as np
import pytest

from neurodecorr import data, plasticity
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices import Devices, Drift
from neurodecorr.hardware.in_situ import InSituRule, PulsedSynapse, compare_in_situ, learn_in_situ, learning_chips
from neurodecorr.hardware.in_situ.learning_chip import room_for

pytestmark = pytest.mark.rounding

REAL = {"noise": 0.3, "spread": 0.3, "slope": 1.0, "asymmetry_spread": 0.1}


def setting(n, samples, condition=1e3, seed=0):
    sigma = data.gaussian_covariance(n, condition, seed)
    R = np.linalg.inv(plasticity.decorrelating_matrix(sigma, "layer"))
    return R, data.correlated_gaussian(n, samples, condition, seed).inputs, sigma


@pytest.mark.parametrize("mismatch", [0.1, 0.2])
def test_mismatch_is_healed_and_no_chip_ends_unstable(mismatch):
    found = compare_in_situ(*setting(16, 8000), Devices(mismatch=mismatch), chips=20)
    assert found.ratio < 0.25
    assert found.unstable[1] == 0 and found.unstable[0] > 0
    # As from 8000 samples with weights alike: 1/√8000 = 0.011 for each pair of units.
    assert found.learnt.max() < 2 * 8000**-0.5
    assert (found.counts["raised"] > 0)[found.exported_margin <= 0].all()
    assert found.counts["unsettled"].sum() == 0


@pytest.mark.parametrize("one_way", [False, True], ids=["two-way", "one-way"])
def test_uneven_noisy_saturating_devices_heal_where_they_verify(one_way):
    R, X, sigma = setting(16, 8000)
    devices = Devices(mismatch=0.1)
    ratio = {}
    for programming in ("stochastic", "verified"):
        synapse = PulsedSynapse(programming=programming, one_way=one_way, **REAL)
        found = compare_in_situ(R, X, sigma, devices, synapse, chips=8, seed=2)
        assert found.unstable[1] == 0
        ratio[programming] = found.ratio
    assert ratio["verified"] < 0.25 < ratio["stochastic"]


KINDS = {
    "two": Devices(),
    "two, bits": Devices(bits=8),
    "two, codes": Devices(codes=(-100, 127)),
    "one": Devices(sides="one"),
    "one, not from 0": Devices(sides="one", g_min=5e-6),
    "one, bits": Devices(sides="one", bits=8),
    "one, codes": Devices(sides="one", codes=(-100, 127)),
}


@pytest.mark.parametrize("headroom", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_headroom_is_room_for_both_signs(kind, headroom, sign):
    """What the devices can hold at most and at least, over the largest weights of R of either sign."""
    R, devices = sign * np.array([[1.0, -0.4, 0.0], [0.2, 0.8, -0.1], [0.0, 0.3, 1.2]]), KINDS[kind]
    scale, reference = room_for(R, devices, headroom)
    chips = learning_chips(R, devices, PulsedSynapse(), 1, 0, scale, 0.0, reference)
    step = devices.weight_step(scale)
    np.testing.assert_allclose(chips.weights()[0], R, atol=0.51 * step + 1e-12)
    minus = chips.pairs[0, 1]
    top = chips.limits[0, 2, 0]
    most, least = (top - minus, -minus) if devices.sides == "one" else (top, -top)
    if devices.codes is not None and devices.sides == "two":
        # Codes reach less far on one side than the devices that hold them.
        most, least = np.array([devices.codes[1], devices.codes[0]])[:, None, None] * step
    assert (most >= headroom * R.max() - 1e-9).all() and (least <= headroom * R.min() + 1e-9).all()
    # And no more than asked for, up to a level, on the side that needs most: a range is precision.
    spare = min((most / R.max()).min(), (least / R.min()).min())
    assert spare <= headroom * (1 + 2 / 100) + 1e-9


def test_weights_of_one_sign_leave_room_for_the_other():
    R = np.array([[1.0, 0.2], [0.1, 1.0]])
    devices = Devices(sides="one")
    scale, reference = room_for(R, devices, 2.0)
    chips = learning_chips(R, devices, PulsedSynapse(), 1, 0, scale, 0.0, reference)
    assert chips.pairs[0, 1] == pytest.approx(2 * 0.25)
    with pytest.raises(ConfigError, match="codes must lie on both sides of 0"):
        room_for(R, Devices(codes=(0, 255)), 2.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("mismatch", [0.05, 0.1])
def test_one_side_heals_nearly_as_well_as_two(mismatch, seed):
    """A third more at most: the mismatch of a reference moves a whole column, and is learnt as everything is."""
    R, X, sigma = setting(16, 8000, seed=seed)
    one, two = (
        compare_in_situ(R, X, sigma, Devices(mismatch=mismatch, sides=sides), chips=8, seed=seed)
        for sides in ("one", "two")
    )
    assert np.median(one.learnt) < 4 / 3 * np.median(two.learnt)
    assert one.unstable[1] == 0 and one.learnt.max() < 0.05


def test_drift_before_and_while_learning_is_healed():
    R, X, sigma = setting(16, 8000)
    devices = Devices(drift=Drift(nu=0.05, nu_sd=0.02))
    before = compare_in_situ(R, X, sigma, devices, chips=8, time_s=1e4)
    assert before.ratio < 0.25 and before.unstable[1] == 0
    meanwhile = compare_in_situ(R, X, sigma, devices, plan=InSituRule(sample_s=1.0), chips=8)
    assert meanwhile.ratio < 0.25 and meanwhile.unstable[1] == 0


def test_coarse_levels_set_the_floor_and_finer_ones_lower_it():
    R, X, sigma = setting(16, 6000)
    floors = [np.median(compare_in_situ(R, X, sigma, Devices(bits=bits), chips=4).learnt) for bits in (5, 7, 9)]
    assert floors[0] > 2 * floors[1] > 3 * floors[2]


def test_the_floor_of_pulses_without_memory_grows_with_their_size_and_not_with_the_rate():
    """Each pulse is a step of a random walk, δ² per pulse; they come at η|Δ|/δ and are pulled back at η."""
    R, X, sigma = setting(16, 6000, condition=30.0)
    floor = {}
    for step, rate in ((1e-3, 2e-3), (4e-3, 2e-3), (4e-3, 5e-4)):
        synapse, plan = PulsedSynapse(step=step, programming="stochastic"), InSituRule(rate, "constant")
        # The floor of a rate itself lies lower: √η against √δ.
        floor[step, rate] = np.median(compare_in_situ(R, X, sigma, Devices(), synapse, plan, chips=8).learnt)
    assert floor[4e-3, 2e-3] / floor[1e-3, 2e-3] > 1.5
    assert floor[4e-3, 5e-4] / floor[4e-3, 2e-3] == pytest.approx(1, abs=0.35)


def test_an_error_of_the_measurement_is_not_healed():
    """s_i off by 5 %: the limit of learning in situ is how well a unit measures its drive."""
    R, X, sigma = setting(16, 8000)
    clean, off = (
        compare_in_situ(R, X, sigma, Devices(), plan=InSituRule(sense_mismatch=s), chips=8) for s in (0.0, 0.05)
    )
    assert np.median(off.learnt) > 2 * np.median(clean.learnt)


def test_an_ideal_chip_loses_only_what_its_stream_cannot_tell():
    found = compare_in_situ(*setting(8, 6000, condition=100.0), Devices(), chips=2, records=3)
    assert found.exported.max() < 1e-10
    assert found.learnt.max() < 2 * 6000**-0.5
    assert found.samples.tolist() == [0, 2000, 4000, 6000] and found.course.shape == (4, 2)
    np.testing.assert_array_equal(found.course[-1], found.learnt)
    low, middle, high = found.envelope()
    assert (low <= middle).all() and (middle <= high).all()


def test_chips_do_not_depend_on_how_many_there_are():
    R, X, sigma = setting(8, 600, condition=100.0)
    many, few = (compare_in_situ(R, X, sigma, Devices(mismatch=0.1), chips=chips, seed=4) for chips in (5, 2))
    np.testing.assert_array_equal(many.weights[:2], few.weights)
    np.testing.assert_array_equal(many.exported[:2], few.exported)


def test_what_does_not_belong_together_is_refused():
    R, X, sigma = setting(4, 10, condition=10.0)
    with pytest.raises(InputError, match="must belong to the same units"):
        compare_in_situ(R, X[:, :3], sigma, Devices(), chips=1)
    with pytest.raises(InputError, match="must belong to the same units"):
        compare_in_situ(R, X, sigma[:3, :3], Devices(), chips=1)
    with pytest.raises(ConfigError, match="headroom must be > 0"):
        compare_in_situ(R, X, sigma, Devices(), chips=1, headroom=0.0)
    with pytest.raises(ConfigError, match="headroom must be ≥ 1"):
        compare_in_situ(R, X, sigma, Devices(), chips=1, headroom=0.9)
    with pytest.raises(ConfigError, match="chips must be"):
        compare_in_situ(R, X, sigma, Devices(), chips=0)


@pytest.mark.parametrize("name", ["devices", "synapse", "plan"])
def test_settings_of_another_kind_are_refused_by_name(name):
    R, X, sigma = setting(4, 10, condition=10.0)
    kind = {"devices": "Devices", "synapse": "PulsedSynapse", "plan": "InSituRule"}[name]
    for wrong in ("pcm", "", 0.1):
        settings = {"devices": Devices(), "synapse": None, "plan": None, name: wrong}
        got = type(wrong).__name__
        with pytest.raises(ConfigError, match=rf"{name} must be a {kind}; got .* of type {got}\. Use {kind}\("):
            compare_in_situ(R, X, sigma, chips=1, **settings)


@pytest.mark.parametrize(("time_s", "message"), [("x", "must be a number"), (-1.0, "must be ≥ 0")])
def test_a_time_that_cannot_be_is_refused(time_s, message):
    with pytest.raises(ConfigError, match=f"time_s {message}"):
        compare_in_situ(*setting(4, 10, condition=10.0), Devices(), chips=1, time_s=time_s)


def test_silence_is_refused_before_any_chip_is_made():
    R, X, sigma = setting(4, 10, condition=10.0)
    with pytest.raises(InputError, match=r"X must have power.*mean square is 0"):
        compare_in_situ(R, 0 * X, sigma, Devices(), chips=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([[1.0, 0.5], [0.2, 1.0]], r"symmetric; got 0\.5 at row 0, column 1, and 0\.2 at row 1, column 0"),
        ([[-1.0, 0.0], [0.0, -1.0]], r"positive definite; its smallest eigenvalue is -1\."),
        ([[1.0, 2.0], [2.0, 1.0]], r"positive definite; its smallest eigenvalue is -1\."),
        ([[1.0, 0.0], [0.0, 0.0]], r"positive definite; its smallest eigenvalue is 0\."),
    ],
    ids=["one-sided", "negative", "indefinite", "a unit without power"],
)
def test_what_is_no_covariance_is_refused(wrong, message):
    with pytest.raises(InputError, match=f"covariance must be {message}"):
        compare_in_situ(np.eye(2), np.array([[1.0, -1.0], [2.0, 1.0]]), wrong, Devices(), chips=1)


@pytest.mark.parametrize(
    ("once", "after", "ratio"),
    [
        ([0.4, 0.2, 0.3], [0.1, 0.15, 0.2], 0.5),
        ([np.inf, np.inf, 0.2], [0.1, 0.1, 0.1], 0.0),
        ([0.2, 0.2, 0.2], [np.inf, np.inf, 0.1], np.inf),
        ([np.inf, np.inf, 0.1], [np.inf, 0.2, np.inf], 1.0),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 1.0),
        ([0.0, 0.0, 0.0], [0.1, 0.1, 0.1], np.inf),
    ],
    ids=["halved", "settled", "lost", "never settled", "perfect", "worse than perfect"],
)
def test_the_ratio_is_a_number_whatever_settles(once, after, ratio):
    found = compare_in_situ(*setting(4, 10, condition=10.0), Devices(), chips=1)
    found = dataclasses.replace(found, exported=np.array(once), learnt=np.array(after))
    assert found.ratio == pytest.approx(ratio)


def test_chips_learn_only_from_inputs_of_their_own_units():
    R, X, _ = setting(4, 10, condition=10.0)
    synapse, plan = PulsedSynapse(), InSituRule()
    chips = learning_chips(R, Devices(), synapse, 1, 0, 25e-6 / (2 * np.abs(R).max()), 0.0)
    for inputs, message in ((X[:, :3], "must have 4 features"), (0 * X, "must have power"), (X[0], "must be 2-D")):
        with pytest.raises(InputError, match=f"X {message}"):
            learn_in_situ(chips, inputs, synapse, plan)
    with pytest.raises(InputError, match="chips must be LearningChips; got str"):
        learn_in_situ("chips", X, synapse, plan)
    with pytest.raises(ConfigError, match=r"synapse .*PulsedSynapse.*str"):
        learn_in_situ(chips, X, "verified", plan)
    with pytest.raises(ConfigError, match=r"plan .*InSituRule.*str"):
        learn_in_situ(chips, X, synapse, "layer")
    for wrong in ({"devices": "pcm", "synapse": synapse}, {"devices": Devices(), "synapse": "pcm"}):
        with pytest.raises(ConfigError, match=r"must be a .*; got .* of type str"):
            learning_chips(R, chips=1, seed=0, scale=1e-6, sense_mismatch=0.0, **wrong)


@pytest.mark.slow
def test_a_hundred_chips_at_ten_percent_keep_at_most_half_of_the_residual():
    R, X, sigma = setting(32, 12_000)
    for synapse in (PulsedSynapse(), PulsedSynapse(**REAL), PulsedSynapse(one_way=True, **REAL)):
        found = compare_in_situ(R, X, sigma, Devices(mismatch=0.1), synapse, chips=100)
        assert found.ratio < 0.15
        assert found.unstable[1] == 0
