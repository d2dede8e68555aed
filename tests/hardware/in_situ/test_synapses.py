"""Pulses: aihwkit's linear step, right on average without memory and exact with it; refresh, settling and tests."""

import numpy as np
import pytest

from neurodecorr.errors import ConfigError
from neurodecorr.hardware.in_situ import PulsedSynapse, kernels


def state(seed=1):
    return np.array([seed], np.uint64)


def star64(word):
    """xorshift64* in plain integers: the next state, and the word given out."""
    word ^= word >> 12
    word ^= (word << 25) % 2**64
    word ^= word >> 27
    return word, word * 2685821657736338717 % 2**64


def pulses(one_way=False, slope=0.0, noise=0.0, additive=False):
    return kernels.Pulses(0.01, 31, False, False, one_way, slope, noise, 0.75, 0.25, 0.0, additive)


def ideal(n=2, top=1.0, step=0.01):
    limits = np.full((3, 2, n, n), step)
    limits[2] = top
    return np.zeros((2, n, n)), limits


def test_the_generator_is_xorshift64star():
    words, plain = state(), 1
    for _ in range(100):
        given = int(kernels.next_word(words))
        plain, expected = star64(plain)
        assert given == expected and int(words[0]) == plain


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("up", [True, False])
def test_a_pulse_is_the_linear_step_of_aihwkit(slope, up):
    """aihwkit's w runs from −1 to 1: w ← w ± Δw (1 ∓ γ w), and v = (w + 1) b/2."""
    top, step = 2.0, 0.01
    for w in (-0.9, 0.0, 0.3):
        sign = 1 if up else -1
        moved = w + sign * (2 * step / top) * (1 - sign * slope * w)
        value = kernels.pulse((w + 1) * top / 2, up, step, top, slope, 0.0, state())
        assert value == pytest.approx((moved + 1) * top / 2, rel=1e-14)


@pytest.mark.parametrize("additive", [False, True], ids=["mult_noise", "additive"])
@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("up", [True, False])
def test_a_noisy_pulse_is_update_once_of_aihwkit(up, slope, additive):
    """`update_once_mult` and `update_once_add` of rpu_linearstep_device.cpp, line by line, with w_max = −w_min = 1."""
    top, step, sigma = 2.0, 0.01, 0.3
    scale = 2 * step / top
    for seed, w in enumerate((-0.9, 0.0, 0.3, 0.8), start=1):
        xi = kernels.normal(state(seed))
        slope_up, slope_down = -slope * scale / 1.0, -slope * scale / -1.0
        if up and additive:
            moved = w + (slope_up * w + scale * (1 + sigma * xi))
        elif up:
            moved = w + (slope_up * w + scale) * (1 + sigma * xi)
        elif additive:
            moved = w - (slope_down * w + scale * (1 + sigma * xi))
        else:
            moved = w - (slope_down * w + scale) * (1 + sigma * xi)
        value = kernels.pulse((w + 1) * top / 2, up, step, top, slope, sigma, state(seed), additive)
        assert value == pytest.approx((moved + 1) * top / 2, rel=1e-14)


@pytest.mark.parametrize("additive", [False, True])
def test_learning_passes_the_kind_of_noise_on_to_its_pulses(additive):
    """At its bound a device of soft bounds has no step left: only additive noise still moves it."""
    pairs, limits = ideal(step=0.01)
    pairs[0, 0, 1] = 1.0
    kernels.send(pairs, limits, 0, 1, 5, pulses(one_way=True, slope=1.0, noise=0.3, additive=additive), state())
    assert (pairs[0, 0, 1] != 1.0) == additive
    assert PulsedSynapse(noise=0.3, additive=additive).pulses(0.1).additive == additive


def test_soft_bounds_are_approached_geometrically_and_constant_steps_reach_them():
    soft, constant = 0.0, 0.0
    for _ in range(30):
        soft = kernels.pulse(soft, True, 0.02, 1.0, 1.0, 0.0, state())
        constant = kernels.pulse(constant, True, 0.05, 1.0, 0.0, 0.0, state())
    assert 1 - soft == pytest.approx((1 - 2 * 0.02) ** 30, rel=1e-12)
    assert constant == 1.0


def test_steps_scatter_as_said():
    words, count = state(7), 20_000
    steps = np.array([kernels.pulse(0.5, True, 0.01, 1.0, 0.0, 0.3, words) for _ in range(count)]) - 0.5
    # Four standard errors of mean and standard deviation.
    assert steps.mean() == pytest.approx(0.01, abs=4 * 0.003 / count**0.5)
    assert steps.std() == pytest.approx(0.003, rel=4 / (2 * count) ** 0.5)


@pytest.mark.parametrize("wanted", [0.25, -1.7, 3.0])
def test_without_memory_pulses_are_right_on_average(wanted):
    words, rest, count = state(3), np.zeros((1, 1)), 20_000
    due = [kernels.pulses_due(wanted, 31, False, rest, 0, 0, words) for _ in range(count)]
    assert np.mean(due) == pytest.approx(wanted, abs=4 * 0.5 / count**0.5)
    assert set(due) <= {np.floor(wanted), np.ceil(wanted)} and rest[0, 0] == 0


def test_with_memory_nothing_is_lost():
    rng, words, rest = np.random.default_rng(0), state(), np.zeros((1, 1))
    wanted = rng.normal(scale=0.4, size=1000)
    due = [kernels.pulses_due(value, 31, True, rest, 0, 0, words) for value in wanted]
    assert sum(due) + rest[0, 0] == pytest.approx(wanted.sum(), abs=1e-12)
    assert abs(rest[0, 0]) < 1


def test_at_most_so_many_pulses_at_once():
    words, rest = state(), np.zeros((1, 1))
    assert kernels.pulses_due(7.6, 3, True, rest, 0, 0, words) == 3
    assert rest[0, 0] == pytest.approx(4.6)
    assert kernels.pulses_due(-7.6, 3, False, rest, 0, 0, words) == -3


def test_a_pair_takes_from_one_device_before_it_gives_to_the_other():
    pairs, limits = ideal()
    pairs[1, 0, 1] = 0.02
    kernels.send(pairs, limits, 0, 1, 3, pulses(), state())
    np.testing.assert_allclose(pairs[:, 0, 1], [0.01, 0.0], atol=1e-15)
    one_way, _ = ideal()
    kernels.send(one_way, limits, 0, 1, -3, pulses(one_way=True), state())
    np.testing.assert_allclose(one_way[:, 0, 1], [0.0, 0.03], atol=1e-15)
    assert pairs[:, 1].max() == pairs[:, 0, 0].max() == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_refreshed_pair_conducts_what_it_did_and_has_room_again(sign):
    pairs, limits = ideal()
    factors = np.ones((2, 2, 2))
    factors[:, 0, 1] = [1.1, 0.9]
    pairs[:, 0, 1] = [0.9, 0.5] if sign > 0 else [0.3, 0.95]
    before = pairs[0, 0, 1] * 1.1 - pairs[1, 0, 1] * 0.9
    assert np.sign(before) == sign
    done = kernels.refresh(pairs, factors, limits, 0, 1, pulses(one_way=True), state())
    after = pairs[0, 0, 1] * 1.1 - pairs[1, 0, 1] * 0.9
    assert done and pairs[:, 0, 1].min() == 0
    assert 0 <= sign * (after - before) <= 0.011  # up to the pulse that passes it
    assert not kernels.refresh(pairs, factors, limits, 0, 1, pulses(one_way=True), state())


def test_inverse_and_settled_state_are_those_of_numpy():
    rng = np.random.default_rng(2)
    W, x = rng.normal(size=(9, 9)) + np.diag([0, *[3.0] * 8]), rng.normal(size=9)
    M, work, xbar, residual, error = np.empty((9, 9)), np.empty((9, 9)), *np.empty((3, 9))
    kernels.invert(W, M, work)
    np.testing.assert_allclose(M @ W, np.eye(9), atol=1e-12)
    nearby = W + 0.02 * rng.normal(size=W.shape)
    assert kernels.settle_chip(nearby, M, work, x, xbar, residual, error)
    # The residual is 1e-9 of |x|.
    np.testing.assert_allclose(
        xbar, np.linalg.solve(nearby, x), atol=1e-9 * np.linalg.norm(x) * np.linalg.norm(np.linalg.inv(nearby), 2)
    )
    far = -3 * W
    assert kernels.settle_chip(far, M, work, x, xbar, residual, error)  # inverts anew
    np.testing.assert_allclose(M @ far, np.eye(9), atol=1e-12)


def space(n):
    return kernels.Room(np.empty(n), np.empty(n), np.zeros(n, bool))


def with_smallest(value, n=6, seed=0):
    """Symmetric weights with eigenvalues from `value` to 2."""
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    return Q @ np.diag(np.linspace(value, 2.0, n)) @ Q.T


@pytest.mark.parametrize(("value", "passes"), [(-0.05, False), (0.0, False), (0.005, False), (0.08, True)])
def test_the_test_passes_what_is_stable_with_room(value, passes):
    """Beyond the margin activity grows as e^((μ − λ)t); with room it rests at x/(λ − μ)."""
    W, room = with_smallest(value), space(6)
    test = kernels.StabilityTest(1, 0.02, 400.0, 20.0 + 1 / 0.06 * 6**0.5, 0.05)
    assert kernels.stress(W, np.ones(6), test, room) == passes
    assert room.hit.any() != passes


def test_units_at_the_rail_raise_their_own_leak_until_the_chip_settles():
    W, leak, counters = with_smallest(-0.3), np.zeros(6), np.zeros(6, np.int64)
    before, X = W.copy(), np.random.default_rng(1).normal(size=(50, 6))
    test = kernels.StabilityTest(1, 0.02, 400.0, 10.0, 0.05)
    assert kernels.guard(W, leak, X, 0, test, 400, space(6), counters)
    np.testing.assert_allclose(W, before + np.diag(leak), atol=1e-14)
    assert np.linalg.eigvalsh(W).min() > 0
    assert counters[4] == np.rint(leak / 0.05).sum() > 0 and counters[5] == 0


def test_a_chip_that_cannot_be_held_is_counted():
    W, leak, counters = with_smallest(-0.3), np.zeros(6), np.zeros(6, np.int64)
    test = kernels.StabilityTest(1, 0.02, 400.0, 10.0, 1e-6)
    assert not kernels.guard(W, leak, np.ones((1, 6)), 0, test, 3, space(6), counters)
    assert counters[5] == 1


def test_drawn_devices_have_the_spreads_asked_for():
    synapse = PulsedSynapse(step=0.01, spread=0.2, asymmetry=0.1, bound_spread=0.05)
    up, down, top = synapse.limits(2.0, 100, np.random.default_rng(0))
    # 20 000 devices: four standard errors.
    assert (up + down).mean() / 2 == pytest.approx(0.02, rel=4 * 0.2 / 20_000**0.5)
    assert ((up + down) / 2).std() == pytest.approx(0.2 * 0.02, rel=4 / 40_000**0.5)
    np.testing.assert_allclose(up - down, 2 * 0.1 * 0.02, atol=1e-12)
    assert top.std() == pytest.approx(0.1, rel=4 / 40_000**0.5)


def test_with_bits_a_pulse_is_a_level():
    synapse = PulsedSynapse(bits=3)
    up, down, top = synapse.limits(7.0, 4, np.random.default_rng(0))
    assert synapse.share == 1 / 7
    assert (up == 1).all() and (down == 1).all() and (top == 7).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"step": 0.0}, "step must be > 0"),
        ({"step": 1.5}, "at most 1"),
        ({"noise": -0.1}, "noise must be ≥ 0"),
        ({"asymmetry": 1.0}, "between −1 and 1"),
        ({"slope": 1.1}, r"slope must lie in \[0, 1\]"),
        ({"refresh_below": 0.8}, "refresh_below must be < refresh_above"),
        ({"most": 0}, "most must be"),
        ({"programming": "verify"}, "Did you mean 'verified'"),
        ({"bits": 6, "noise": 0.1}, "exactly one level"),
        ({"bits": 30}, "at most 24"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_synapses_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        PulsedSynapse(**wrong)
