"""The rule on the chip: where it rests, what it reads, and the kernel against the same written out in plain Python."""

import math

import numba
import numpy as np
import pytest

from neurodecorr import data, locality, plasticity
from neurodecorr.errors import ConfigError
from neurodecorr.hardware.devices import Converter, Devices, Drift
from neurodecorr.hardware.in_situ import InSituRule, PulsedSynapse, kernels, learn_in_situ, learning_chips
from neurodecorr.hardware.in_situ.rule import IN_SITU_RULES

pytestmark = pytest.mark.rounding

N = 4
SIGMA = data.gaussian_covariance(N, 30.0, seed=1)
R = np.linalg.inv(plasticity.decorrelating_matrix(SIGMA, "layer"))
X = data.correlated_gaussian(N, 3000, 30.0, seed=1).inputs
REAL = {"noise": 0.3, "spread": 0.3, "slope": 0.8, "asymmetry_spread": 0.05, "bound_spread": 0.1}
SCALE = 25e-6 / (2 * np.abs(R).max())


def made(devices, synapse, chips=2, seed=0, sense_mismatch=0.0):
    return learning_chips(R, devices, synapse, chips, seed, SCALE, sense_mismatch)


class Draws:
    """The chip's generator in plain integers."""

    def __init__(self, word):
        self.word = int(word)

    def uniform(self):
        word = self.word
        word ^= word >> 12
        word ^= (word << 25) % 2**64
        word ^= word >> 27
        self.word = word
        return (word * 2685821657736338717 % 2**64 >> 11) * 2.0**-53

    def normal(self):
        radius = math.sqrt(-2 * math.log(1 - self.uniform()))
        return radius * math.cos(2 * math.pi * self.uniform())


def follow(chip, X, synapse, plan, rates, powers):
    """Learn on one chip, without tests of stability, by the definition; return its pairs and the pulses sent."""
    pairs, (up, down, top), factors = chip["pairs"].copy(), chip["limits"], chip["factors"]
    draws, rest, unit, sent = Draws(chip["state"]), np.zeros((N, N)), chip["unit"], 0

    def conducted():
        return pairs[0] * factors[0] - pairs[1] * factors[1]

    def pulse(side, i, j, sign):
        w = 2 * pairs[side, i, j] / top[side, i, j] - 1
        noise = synapse.noise * draws.normal() if synapse.noise else 0
        shape = 1 - sign * synapse.slope * w
        shape = shape + noise if synapse.additive else shape * (1 + noise)
        step = (up if sign > 0 else down)[side, i, j]
        pairs[side, i, j] = np.clip(pairs[side, i, j] + sign * step * shape, 0, top[side, i, j])

    def refreshed(i, j):
        full = pairs[:, i, j] / top[:, i, j]
        if full.max() <= synapse.refresh_above or full.min() <= synapse.refresh_below:
            return
        aim = conducted()[i, j]
        for side in (0, 1):
            pairs[side, i, j] = min(abs(synapse.reset_spread * draws.normal()), 1) * top[side, i, j]
        side, sign = (0, 1) if aim > 0 else (1, -1)
        for _ in range(int(8 * top[side, i, j] / unit)):
            if sign * conducted()[i, j] >= sign * aim:
                break
            pulse(side, i, j, 1)

    for x, eta in zip(X, rates, strict=True):
        W = conducted()
        xbar = np.linalg.solve(W, x)
        drive = W @ xbar
        wanted = eta * ((drive[:, None] - W * xbar) * xbar + W * (xbar**2 - powers)) / unit
        for i, j in np.ndindex(N, N):
            if synapse.programming == "stochastic":
                due = int(
                    math.copysign(min(math.floor(abs(wanted[i, j]) + draws.uniform()), synapse.most), wanted[i, j])
                )
            else:
                owed = rest[i, j] + wanted[i, j]
                due = int(np.clip(owed, -synapse.most, synapse.most))
                rest[i, j] = owed - due
            before = conducted()[i, j]
            for _ in range(abs(due)):
                grown, shrunk = (0, 1) if due > 0 else (1, 0)
                if not synapse.one_way and pairs[shrunk, i, j] > unit / 2:
                    pulse(shrunk, i, j, -1)
                else:
                    pulse(grown, i, j, 1)
            if due and synapse.one_way:
                refreshed(i, j)
            if due and synapse.programming == "verified":
                owed = rest[i, j] + due - (conducted()[i, j] - before) / unit
                rest[i, j] = np.clip(owed, -synapse.most, synapse.most)
            sent += abs(due)
    return pairs, sent


@pytest.mark.parametrize("additive", [False, True], ids=["", "additive"])
@pytest.mark.parametrize("programming", ["stochastic", "carried", "verified"])
@pytest.mark.parametrize("one_way", [False, True], ids=["two-way", "one-way"])
def test_the_kernel_does_what_the_definition_says(programming, one_way, additive):
    early = {"refresh_above": 0.3, "refresh_below": 0.02} if one_way else {}
    synapse = PulsedSynapse(step=0.01, programming=programming, one_way=one_way, additive=additive, **early, **REAL)
    plan = InSituRule(rate=0.02, schedule="constant", test_every=0, rail=1e6)
    chips, rows = made(Devices(mismatch=0.1), synapse), X[:80]
    start = {name: getattr(chips, name)[1].copy() for name in ("pairs", "limits", "mismatch", "state")}
    learn_in_situ(chips, rows, synapse, plan)
    chip = {**start, "factors": start["mismatch"], "state": start["state"][0], "unit": chips.unit}
    pairs, sent = follow(chip, rows, synapse, plan, plan.rates(80) / np.mean(rows**2), plan.powers(rows))
    assert chips.counters[1, 0] == sent > 100
    assert (chips.counters[1, 2] > 0) == one_way
    # States settle to 1e-9; a change of that size moves no pulse here.
    np.testing.assert_allclose(chips.pairs[1], pairs, atol=1e-6)


def test_the_rule_rests_where_the_activity_is_decorrelated_whatever_the_weights():
    """⟨s x̄ᵀ⟩ = W C: both terms vanish at C = p I, for every W with W⁻¹ Σ W⁻ᵀ = p I, rotated or not."""
    exact = data.correlated_gaussian(N, 200, 30.0, seed=1, exact=True).inputs
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))[0]
    W = R @ rotation
    xbar = np.linalg.solve(W, exact.T).T
    change = np.array(
        [
            [
                np.mean(
                    [
                        kernels.change_wanted(1.0, s[i], W[i, j] * y[j], W[i, j], y[j], 1.0)
                        for s, y in zip(exact, xbar, strict=True)
                    ]
                )
                for j in range(N)
            ]
            for i in range(N)
        ]
    )
    np.testing.assert_allclose(change, 0, atol=1e-12)


def test_a_gain_error_of_the_measured_drive_moves_the_rest_and_mismatch_does_not():
    """With s_i = b_i (W x̄)_i the first term leaves (b_i − 1) W_ij p_j at C = p I."""
    s, y, w = 0.7, -1.3, 0.4
    exact, off = (kernels.change_wanted(1.0, b * s, w * y, w, y, 1.0) for b in (1.0, 1.1))
    assert off - exact == pytest.approx(0.1 * s * y)


@pytest.mark.parametrize("rule", IN_SITU_RULES, ids=lambda rule: rule.name)
def test_a_synapse_reads_its_units_and_itself(rule):
    found = locality.audit(rule)
    assert found.passed and found.verdict == "local", found.violations


def test_the_finer_the_devices_the_closer_they_follow_the_rule_in_floating_point():
    """What a synapse owes is less than a pulse, so the distance is of the first order in the step."""
    plan, away = InSituRule(rate=5e-3, test_every=0), []
    for step in (1e-4, 1e-6):
        chips = made(Devices(), PulsedSynapse(step=step, most=100_000), chips=1)
        W, power = chips.weights()[0], np.mean(X**2)
        learn_in_situ(chips, X, PulsedSynapse(step=step, most=100_000), plan)
        for x, eta in zip(X, plan.rates(len(X)) / power, strict=True):
            xbar = np.linalg.solve(W, x)
            W += eta * (np.outer(W @ xbar, xbar) - W * power)
        away.append(np.abs(chips.weights()[0] - W).max())
        assert chips.counters[0, 1] == 0
    assert away[1] < 1e-3
    assert 30 < away[0] / away[1] < 300


def test_a_chip_depends_neither_on_the_others_nor_on_the_threads():
    synapse, plan = PulsedSynapse(programming="stochastic", **REAL), InSituRule()
    results = []
    for chips, threads in ((5, 2), (5, 1), (2, 1)):
        before = numba.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        try:
            population = made(Devices(mismatch=0.1), synapse, chips)
            learn_in_situ(population, X[:600], synapse, plan)
        finally:
            numba.set_num_threads(before)
        results.append(population.weights()[:2])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_learning_in_parts_is_learning_at_once():
    synapse, plan = PulsedSynapse(**REAL), InSituRule(test_every=100)
    whole, parts = (made(Devices(mismatch=0.1), synapse) for _ in range(2))
    learn_in_situ(whole, X[:1600], synapse, InSituRule(test_every=0))
    for begin in range(0, 1600, 400):
        learn_in_situ(parts, X[:1600], synapse, InSituRule(test_every=0), begin=begin, end=begin + 400)
    np.testing.assert_array_equal(whole.pairs, parts.pairs)
    assert plan.rates(10).tolist() == [1e-3] * 10


def test_stuck_devices_and_shared_references_do_not_move():
    synapse = PulsedSynapse()
    chips = made(Devices(stuck_on=0.2, stuck_off=0.2, mismatch=0.1), synapse)
    stuck = (chips.limits[:, :2] == 0).all(axis=1)
    before = chips.pairs.copy()
    learn_in_situ(chips, X[:300], synapse, InSituRule())
    assert 0.2 < stuck.mean() < 0.6
    np.testing.assert_array_equal(chips.pairs[stuck], before[stuck])
    assert (chips.pairs != before)[~stuck].any()
    shared = made(Devices(sides="one"), synapse)
    reference = shared.pairs[:, 1].copy()
    assert (np.ptp(reference, axis=1) == 0).all()
    learn_in_situ(shared, X[:300], synapse, InSituRule())
    np.testing.assert_array_equal(shared.pairs[:, 1], reference)


@pytest.mark.parametrize("g_min", [0.0, 2e-6])
@pytest.mark.parametrize("sides", ["one", "two"])
def test_before_learning_a_chip_has_the_weights_that_its_devices_have(g_min, sides):
    devices = Devices(g_min=g_min, sides=sides, mismatch=0.1, drift=Drift(0.05, 0.02), stuck_off=0.05)
    scale = (25e-6 - g_min) / (4 * np.abs(R).max())
    population = learning_chips(R, devices, PulsedSynapse(), 3, 7, scale, 0.0)
    for k in range(3):
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(7, spawn_key=(k,)).spawn(3)]
        array = devices.manufacture((N, N), streams[0]).program(R, streams[1], scale)
        for time_s in (0.0, 1e5):
            np.testing.assert_allclose(population.weights(time_s)[k], array.weights(time_s), atol=1e-12)


def test_the_gain_says_whose_power_is_kept():
    np.testing.assert_allclose(InSituRule(gain="node").powers(X), np.mean(X**2, axis=0))
    np.testing.assert_allclose(InSituRule(gain="layer").powers(X), np.mean(X**2))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rate": 0.0}, "rate must be > 0"),
        ({"gain": "nodes"}, "Did you mean 'node'"),
        ({"sense_mismatch": -0.1}, "sense_mismatch must be ≥ 0"),
        ({"sample_s": -1.0}, "sample_s must be ≥ 0"),
        ({"test_every": -1}, "test_every must be"),
        ({"margin": 0}, "margin must be > 0"),
        ({"schedule": "fall"}, "schedule must be one of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_plans_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        InSituRule(**wrong)


def test_devices_with_what_learning_does_not_model_are_refused():
    with pytest.raises(ConfigError, match="wire_resistance_ohm, adc must be left out"):
        made(Devices(wire_resistance_ohm=1.0, adc=Converter(8, 1.0)), PulsedSynapse())
    with pytest.raises(ConfigError, match="need sides='two'"):
        made(Devices(sides="one"), PulsedSynapse(one_way=True))
