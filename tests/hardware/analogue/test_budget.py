"""The error budget in closed form, against the algebra it comes from and against chips."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.stats

import neurodecorr as nd
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.hardware.analogue import (
    Amplifier,
    AnalogueCircuit,
    bandwidth_needed,
    bits_needed,
    error_budget,
    gain_needed,
    mismatch_allowed,
    offset_allowed,
    settling_time,
    simulate_chips,
)
from neurodecorr.hardware.analogue.monte_carlo import ChipSimulation
from neurodecorr.hardware.analogue.perturbation import device_moments, first_order, second_order, strain, weight_moments
from neurodecorr.hardware.devices import Converter, Devices, Drift, Proportional, ReadNoise
from neurodecorr.hardware.devices.drift import PCMDrift
from neurodecorr.hardware.devices.programming import PCM, Independent
from neurodecorr.hardware.devices.read_noise import PCMReadNoise


def decorrelator(n=32, condition=1e2, seed=0, samples=64):
    M = nd.plasticity.decorrelating_matrix(nd.data.gaussian_covariance(n, condition, seed))
    return np.linalg.inv(M), M, nd.data.correlated_gaussian(n, samples, condition, seed).inputs


# The terms are what they say.


def test_mismatch_is_the_printed_formula():
    R, M, X = decorrelator(8)
    xbar, sigma = X @ M.T, 0.03
    V = (sigma * R) * (sigma * R)
    printed = math.sqrt(((xbar * xbar) @ V.T @ (M * M).T).mean()) / math.sqrt((xbar**2).mean())
    assert error_budget(R, X, Devices(mismatch=sigma))["mismatch"].error == pytest.approx(printed, rel=1e-6)


def test_the_second_order_is_the_sum_of_all_pairings():
    n, rng = 2, np.random.default_rng(0)
    M, V, x = rng.standard_normal((n, n)), rng.random((n, n)), rng.standard_normal(n)
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)  # exact for the fourth powers
    weights = weights / weights.sum()
    total = 0.0
    for k in itertools.product(range(5), repeat=n * n):
        D = np.sqrt(V) * nodes[list(k)].reshape(n, n)
        one = -M @ D @ x
        two = -M @ D @ one
        three = -M @ D @ two
        total += np.prod(weights[list(k)]) * (one @ one + two @ two + 2 * one @ three) / n
    assert second_order(M, V, x[None]) == pytest.approx(total, rel=1e-12)


def test_what_second_order_leaves_is_of_sixth_power():
    R, _, X = decorrelator(6)
    left = []
    for leak in (1e-2, 1e-3):
        chip = AnalogueCircuit.build(R, amplifier=Amplifier(gain=1 / leak))
        error = chip.settle(X).xbar - AnalogueCircuit.build(R).settle(X).xbar
        measured = math.sqrt((error**2).mean() / (np.linalg.solve(R, X.T) ** 2).mean())
        share = error_budget(R, X, amplifier=Amplifier(gain=1 / leak))["gain"]
        left.append((abs(share.error - measured), abs(share.second - measured)))
    # Orders 2 and 3 of 1/A₀: a hundredth and a thousandth for ten times the gain.
    assert left[0][0] / left[1][0] == pytest.approx(100, rel=0.2)
    assert left[0][1] / left[1][1] == pytest.approx(1000, rel=0.3)


def test_moments_of_a_clipped_conductance_are_those_of_the_integral():
    devices = Devices(programming=Independent(0.1))
    G = np.array([0.0, 1e-6, 20e-6])
    mean, variance = device_moments(G, devices)
    for k, target in enumerate(G):
        density = scipy.stats.norm(target, 2.5e-6).pdf
        first, second = (
            scipy.integrate.quad(lambda g, p=p, density=density: g**p * density(g), 0, 60e-6, epsabs=1e-22, limit=200)[
                0
            ]
            for p in (1, 2)
        )
        assert mean[k] == pytest.approx(first, rel=1e-6)
        assert variance[k] == pytest.approx(second - first**2, rel=1e-5)


@pytest.mark.parametrize(
    "devices",
    [
        Devices(mismatch=0.1, programming=Proportional(0.05)),
        Devices(programming=PCM(), drift=PCMDrift(), read_noise=PCMReadNoise()),
        Devices(drift=Drift(0.05, 0.02), g_min=2e-6),
        Devices(stuck_on=0.02, stuck_off=0.05, mismatch=0.1),
        Devices(sides="one", mismatch=0.05),
    ],
    ids=["cells", "PCM", "drift", "stuck", "one side"],
)
def test_moments_of_the_weights_are_those_of_many_chips(devices):
    R, _, _ = decorrelator(16)
    chips = 600
    errors = devices.program_many(R, 1, chips, 1e4, True) - R
    moments = weight_moments(R, devices, 1e4)
    variance = moments.variance.sum() + len(R) * moments.shared.sum()
    # Sampling: a few of 256 weights carry most of the variance, and the 16 references of one side most of its share.
    assert errors.var(axis=0).sum() == pytest.approx(variance, rel=0.1)
    spread = np.sqrt((moments.variance + moments.shared) / chips)
    assert np.abs(errors.mean(axis=0) - moments.bias).max() < 5.5 * spread.max()


@pytest.mark.parametrize("levels", [{"bits": 8}, {"codes": (-128, 127)}], ids=["bits", "codes"])
@pytest.mark.parametrize("sides", ["two", "one"])
def test_the_variance_of_levels_is_that_of_the_weights_as_rounded(sides, levels):
    devices, errors, variances = Devices(sides=sides, **levels), [], []
    for seed in range(4):
        R = np.eye(48) + np.random.default_rng(seed).standard_normal((48, 48)) / 14
        moments = weight_moments(R, devices)
        errors.append(((devices.map(R).weights() - R) ** 2).mean())
        variances.append((moments.variance + moments.shared).mean())
        assert sides == "two" or not moments.shared.any()  # the reference is a level itself
    # Of 9216 squares of a uniform variable, each of relative deviation 0.9, the mean is within 4 % (four deviations).
    assert np.mean(errors) == pytest.approx(np.mean(variances), rel=0.04)


@pytest.mark.parametrize("sides", ["two", "one"])
def test_levels_so_coarse_that_most_weights_become_0_are_outside_the_range_of_the_formula(sides):
    R, X = np.eye(48) + 0.01 * np.random.default_rng(0).standard_normal((48, 48)), np.eye(48)
    coarse, fine = (error_budget(R, X, Devices(bits=bits, sides=sides)) for bits in (5, 9))
    assert not coarse.holds and not coarse["bits"].holds
    assert fine.holds and fine.second == pytest.approx(
        simulate_chips(R, X, Devices(bits=9, sides=sides), chips=1).rms, rel=0.1
    )


def test_weights_of_0_are_levels_on_both_sides():
    R = np.diag(np.linspace(0.5, 1.0, 8)) - 0.2 * np.eye(8, k=1)
    for sides in ("two", "one"):
        moments = weight_moments(R, Devices(bits=6, sides=sides))
        assert not moments.variance[R == 0].any() and moments.fine


# Against chips.

CHIPS = 200
CASES = {
    "mismatch": (Devices(mismatch=0.02), None),
    "mismatch, one side": (Devices(mismatch=0.01, g_min=2e-6, sides="one"), None),
    "programming": (Devices(programming=PCM(0.2)), None),
    "drift": (Devices(drift=Drift(0.05, 0.005)), None),
    "read noise": (Devices(read_noise=ReadNoise(0.02)), None),
    "bits": (Devices(bits=6), None),
    "bits, one side": (Devices(bits=8, g_min=2e-6, sides="one"), None),
    "wires": (Devices(wire_resistance_ohm=1.0), None),
    "offset": (None, Amplifier(offset_v=1e-3)),
    "gain": (None, Amplifier(gain=1e3)),
    "DAC": (Devices(dac=Converter(6, 1.0)), None),
    "ADC": (Devices(adc=Converter(6, 1.0)), None),
    "together": (
        Devices(mismatch=0.02, bits=8, programming=Independent(0.002), g_min=1e-6),
        Amplifier(gain=1e4, offset_v=3e-4),
    ),
}

SAME = ("bits", "bits, one side", "wires", "gain", "DAC", "ADC")  # on every chip


@pytest.mark.parametrize("form", ["closed", "open"])
@pytest.mark.parametrize("case", CASES)
def test_every_share_is_within_a_tenth_of_the_chips(case, form):
    R, M, X = decorrelator()
    W = R if form == "closed" else M
    devices, amplifier = CASES[case]
    budget = error_budget(W, X, devices, amplifier, form=form, time_s=1e3)
    number = 2 if case in SAME else CHIPS
    chips = simulate_chips(W, X, devices, amplifier, number, form=form, time_s=1e3)
    assert chips.unstable == 0 and budget.holds
    assert budget.second == pytest.approx(chips.rms, rel=0.1)
    assert budget.second == pytest.approx(chips.median, rel=0.1)


@pytest.mark.parametrize("form", ["closed", "open"])
@pytest.mark.parametrize("bits", [5, 6, 8])
def test_levels_add_what_they_do_on_the_mean_over_scales(bits, form):
    R, M, X = decorrelator()
    W, ideal, devices = (R if form == "closed" else M), X @ M.T, Devices(bits=bits)
    largest, squares, steps = devices.map(W).scale, [], []
    for u in np.random.default_rng(0).random(60):
        # A weight that is known is rounded the same on every chip: what varies here is where the levels lie.
        scale = largest * (1 - 0.3 * u)
        built = devices.map(W, scale).weights()
        found = np.linalg.solve(built, X.T).T if form == "closed" else X @ built.T
        squares.append(((found - ideal) ** 2).mean() / (ideal**2).mean())
        steps.append((largest / scale) ** 2)
    formula = error_budget(W, X, devices, form=form).second * math.sqrt(np.mean(steps))
    # One scale is off by up to 9 %; the mean of 60 by little more than 1 %.
    assert math.sqrt(np.mean(squares)) == pytest.approx(formula, rel=0.05)


def test_where_the_first_order_fails_the_second_holds_and_then_fails_too():
    R, M, X = decorrelator(condition=1e3)
    ratios = []
    for level in (0.02, 0.06, 0.15):
        budget = error_budget(R, X, Devices(mismatch=level))
        chips = simulate_chips(R, X, Devices(mismatch=level), chips=CHIPS)
        ratios.append((budget.strain, budget.error / chips.median, budget.second / chips.median))
    (s0, a0, b0), (s1, a1, b1), (s2, _, _) = ratios
    assert s0 < 0.02 and abs(a0 - 1) < 0.05 and abs(b0 - 1) < 0.05
    assert 0.08 < s1 < 0.1 and a1 < 0.9 and abs(b1 - 1) < 0.1
    assert s2 > 0.5 and not error_budget(R, X, Devices(mismatch=0.15)).holds
    assert strain(M, (0.06 * R) ** 2) == pytest.approx(s1, rel=1e-3)


def test_first_order_in_any_signal_is_the_mean_over_its_samples():
    rng = np.random.default_rng(0)
    M, V, B, s, X = (rng.random(shape) for shape in ((3, 3), (3, 3), (3, 3), (3,), (5, 3)))
    one_by_one = [first_order(M, V, x[None], B, s) for x in X]
    assert first_order(M, V, X, B, s) == pytest.approx(np.mean(one_by_one), rel=1e-12)


# The inverse question.


@pytest.mark.parametrize("form", ["closed", "open"])
def test_what_is_needed_gives_what_is_wanted(form):
    R, M, X = decorrelator(16)
    W, wanted = (R if form == "closed" else M), 0.03
    bits = bits_needed(W, X, wanted, form=form)
    found = [error_budget(W, X, Devices(bits=b), form=form).error for b in (bits, bits - 1)]
    assert found[0] <= wanted < found[1]
    sigma = mismatch_allowed(W, X, wanted, form=form)
    assert error_budget(W, X, Devices(mismatch=sigma), form=form).second == pytest.approx(wanted, rel=1e-3)
    gain = gain_needed(W, X, wanted, form=form)
    assert error_budget(W, X, amplifier=Amplifier(gain=gain), form=form).error == pytest.approx(wanted)
    offset = offset_allowed(W, X, wanted, form=form)
    assert error_budget(W, X, amplifier=Amplifier(offset_v=offset), form=form).error == pytest.approx(wanted)


@pytest.mark.parametrize("form", ["closed", "open"])
@pytest.mark.parametrize("sides", ["two", "one"])
def test_bits_are_those_at_which_the_rounded_weights_meet_the_error(form, sides):
    # As a trained layer near I: coherent weights below half a level all become 0, and a uniform error is far off.
    rng = np.random.default_rng(0)
    W = np.eye(48) + 0.005 * np.abs(1 + 0.2 * rng.standard_normal((48, 48)))
    X, wanted = rng.standard_normal((64, 48)) + 1.0, 0.1
    devices = Devices(sides=sides)

    def made(bits):
        """The error of the one chip that there is of levels alone, by the simulation."""
        return simulate_chips(W, X, replace(devices, bits=bits), chips=1, form=form).error[0]

    assert error_budget(W, X, replace(devices, bits=5), form=form).error <= wanted < made(5)  # the formula is content
    bits = bits_needed(W, X, wanted, devices, form)
    assert bits == 7 and made(7) <= wanted < made(6)


def test_no_bits_are_enough_for_an_error_of_rounding():
    R, _, X = decorrelator(4)
    assert bits_needed(R, X, 1e-15) is None


def test_the_bandwidth_needed_keeps_the_margin_and_less_does_not():
    R = np.array([[0.5, -2.0], [2.0, 0.5]])
    f = bandwidth_needed(R, tau_s=1e-6)
    kept = [
        AnalogueCircuit.build(R, amplifier=Amplifier(bandwidth_hz=share * f), tau_s=1e-6).stability().margin / 0.5
        for share in (1.0, 0.7)
    ]
    assert kept[0] == pytest.approx(0.9, abs=0.01) and kept[1] < 0.87


# Settling.


def test_a_normal_circuit_waits_for_its_slowest_mode():
    R, _, X = decorrelator(16)
    waiting = settling_time(R, 1e-3)
    assert waiting.normal and waiting.modal == waiting.proven == waiting.worst
    rest = np.linalg.solve(R, X.T).T
    found = nd.integrate(nd.Circuit(R), X, waiting.modal, "exponential", times=[waiting.modal]).xbar[-1]
    left = np.linalg.norm(found - rest, axis=1) / np.linalg.norm(rest, axis=1)
    assert left.max() <= 1e-3 * (1 + 1e-9)


@pytest.mark.parametrize("coupling", [0.5, 3.0, 30.0])
def test_modes_that_lean_on_each_other_take_longer_and_no_input_longer_than_the_worst(coupling):
    R = np.array([[1.0, coupling], [0.0, 1.5]])
    waiting = settling_time(R, 1e-2)
    assert waiting.modal < waiting.worst <= waiting.proven and not waiting.normal
    decay = scipy.linalg.expm(-R * waiting.worst)
    assert np.linalg.norm(decay, 2) == pytest.approx(1e-2, rel=1e-2)
    later = [np.linalg.norm(scipy.linalg.expm(-R * waiting.worst * k), 2) for k in (1.05, 1.5, 3)]
    assert max(later) < 1e-2


# ChipSimulation.


def test_chips_do_not_depend_on_workers_nor_on_how_many_are_made():
    R, _, X = decorrelator(8)
    devices, amplifier = Devices(mismatch=0.05, read_noise=ReadNoise(0.01)), Amplifier(gain=1e3, offset_v=1e-3)
    one, two = (simulate_chips(R, X, devices, amplifier, 40, seed=3, jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.error, two.error)
    np.testing.assert_array_equal(one.margin, two.margin)
    fewer = simulate_chips(R, X, devices, amplifier, 7, seed=3)
    np.testing.assert_allclose(fewer.error, one.error[:7], rtol=1e-12)


@pytest.mark.parametrize("form", ["closed", "open"])
def test_a_chip_of_many_is_the_chip_of_its_seed(form):
    R, _, X = decorrelator(8)
    devices = Devices(mismatch=0.05, programming=Proportional(0.02), adc=Converter(8, 1.0), wire_resistance_ohm=2.0)
    amplifier = Amplifier(gain=1e3, bandwidth_hz=1e5, offset_v=1e-3)
    many = simulate_chips(R, X, devices, amplifier, 3, seed=5, form=form, tau_s=1e-4)
    rng = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(2,)))
    chip = AnalogueCircuit.build(R, devices, amplifier, rng, form=form, tau_s=1e-4)
    ideal = np.linalg.solve(R, X.T).T if form == "closed" else X @ R.T
    error = math.sqrt(((chip.settle(X).xbar - ideal) ** 2).mean() / (ideal**2).mean())
    assert many.error[2] == pytest.approx(error, rel=1e-9)
    if form == "closed":
        assert many.margin[2] == pytest.approx(chip.stability().margin, rel=1e-9)


def test_unstable_chips_are_counted_and_never_averaged():
    R, X = np.array([[1.0, 0.95], [0.95, 1.0]]), np.array([[1.0, 0.5]])
    chips = simulate_chips(R, X, Devices(mismatch=0.2), chips=100)
    assert 5 < chips.unstable < 95
    np.testing.assert_array_equal(np.isinf(chips.error), ~chips.stable)
    assert math.isfinite(chips.rms) and chips.quantile(1.0) == math.inf
    assert not np.isnan(chips.error).any()


@pytest.mark.parametrize("number", [1, 2, 3, 10, 15, 100])
def test_a_quantile_is_the_least_error_that_this_share_of_the_chips_does_not_exceed(number):
    errors = np.random.default_rng(number).permutation(np.arange(1.0, number + 1))
    chips = ChipSimulation(errors, np.ones(number), np.zeros(number), "closed")
    most = chips.quantile(0.9)
    assert (errors <= most).mean() >= 0.9 > (errors < most).mean()
    assert most >= chips.median


def test_one_side_never_needs_fewer_bits_than_its_reference():
    one, two = (bits_needed([[1.0, -0.5], [0.3, 1.0]], [[1.0, 2.0]], 0.9, Devices(sides=k)) for k in ("one", "two"))
    assert one == 2 and two == 1


def test_a_chip_without_any_conductance_left_is_unstable_and_no_error():
    R, _, X = decorrelator(4)
    chips = simulate_chips(R, X, Devices(stuck_off=1.0), chips=3)
    assert chips.unstable == 3 and np.isinf(chips.error).all() and math.isnan(chips.rms)


def test_outputs_beyond_the_swing_are_counted():
    R, _, X = decorrelator(8)
    chips = simulate_chips(R, X, amplifier=Amplifier(swing_v=0.1), chips=2)
    beyond = (np.abs(0.1 * np.linalg.solve(R, X.T)) > 0.1).any(axis=0).mean()
    assert chips.saturated.tolist() == [beyond, beyond] and 0 < beyond < 1


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: error_budget([[-1.0]], [[1.0]]), StabilityError, "R must be stable"),
        (lambda: error_budget([[1.0]], [[0.0]]), InputError, "not all 0"),
        (lambda: simulate_chips([[1.0]], [[1.0]], chips=0), ConfigError, "chips must be a whole number ≥ 1"),
        (lambda: simulate_chips([[1.0]], [[1.0]], form="loop"), ConfigError, "'closed', 'open'"),
        (lambda: simulate_chips([[1.0]], [[0.0]]), InputError, "outputs are not all 0"),
        (lambda: simulate_chips(np.ones((2, 2)), [[1.0, 2.0]]), StabilityError, "min Re λ > 0, to be built"),
        (lambda: simulate_chips([[1.0]], [[1.0]], "pcm"), ConfigError, "or None; got str"),
        (lambda: error_budget([[1.0]], [[1.0]], amplifier={"gain": 1}), ConfigError, "amplifier must be an Amplifier"),
        (lambda: error_budget([[1e300]], [[1.0]]), InputError, "weights must have a largest magnitude"),
        (lambda: bandwidth_needed([[1.0]], 1e-6, keep=1.0), ConfigError, "keep must lie between 0 and 1"),
        (lambda: bandwidth_needed([[-1.0]], 1e-6), StabilityError, "min Re λ > 0"),
        (lambda: settling_time([[1.0, np.nan], [0.0, 1.0]], 0.1), InputError, "R must be finite"),
        (lambda: settling_time(np.ones((2, 3)), 0.1), InputError, "R must be a square matrix"),
        (lambda: bits_needed([[1.0]], [[1.0]], error=0), ConfigError, "error must be > 0"),
        (lambda: settling_time([[-1.0]], 0.1), StabilityError, "min Re λ > 0"),
        (lambda: settling_time([[1.0]], 2.0), ConfigError, "between 0 and 1"),
    ],
)
def test_bad_input_is_told_what_must_hold(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)
