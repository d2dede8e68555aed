"""Learning in whole numbers: bit for bit what plain Python does, and as good as the bits permit."""

import dataclasses

import numpy as np
import pytest

from neurodecorr import data, measures
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.in_situ import IntegerLearningRule, initial_integer_state, integers, learn_integers


def stream(n, samples, condition=30.0):
    return data.correlated_gaussian(n, samples, condition, seed=3).inputs


def residual(W, n, condition=30.0):
    M = np.linalg.inv(W)
    return measures.rms_correlation(covariance=M @ data.gaussian_covariance(n, condition, seed=3) @ M.T)


def next_word(word):
    """xorshift32 (Marsaglia 2003), triple 13, 17, 5."""
    word ^= (word << 13) % 2**32
    word ^= word >> 17
    return word ^ (word << 5) % 2**32


def learn_plain(R, sums, word, counters, X, power, shifts, first, numbers):
    """Learn from the rows of X one by one, in place; return the generator's state."""
    largest, fraction, activity, guard, pace, most, limit, batch, random = numbers
    units = range(len(R))
    for t, x in enumerate(X):
        y, at_rest = _settled(R, x, fraction, guard, pace, most, limit)
        counters[integers.RESTLESS] += not at_rest
        currents = [_nearest(sum(R[i][j] * y[j] for j in units), fraction + guard) for i in units]
        drive = [_held(current, limit) for current in currents]
        xbar = [_nearest(value, guard) for value in y]
        railed = [i for i in units if abs(xbar[i]) >= limit]
        for i in railed:
            R[i][i] = _held(R[i][i] + 2 ** max(fraction - integers.RELIEF, 0), largest)
        counters[integers.INTEGER_RAILED] += len(railed)
        if railed:
            continue
        for i in units:
            for j in units:
                sums[i][j] += drive[i] * xbar[j] * 2**fraction - R[i][j] * power[j]
                if (first + t + 1) % batch:
                    continue
                shift = 2 * activity + shifts[t]
                if random:
                    word = next_word(word)
                    change = (sums[i][j] + word * 2**shift // 2**32) // 2**shift
                else:
                    change = _nearest(sums[i][j], shift)
                sums[i][j] = 0
                moved = R[i][j] + change
                R[i][j] = _held(moved, largest)
                counters[integers.SATURATED] += abs(moved) > largest
    return word


def _settled(R, x, fraction, guard, pace, most, limit):
    units = range(len(x))
    y = [0] * len(x)
    for _ in range(most):
        drives = [x[i] * 2 ** (fraction + guard) - sum(R[i][j] * y[j] for j in units) for i in units]
        flow = [_nearest(drive, fraction + pace) for drive in drives]
        y = [_held(y[i] + flow[i], limit * 2**guard) for i in units]
        if not any(flow):
            return y, True
    return y, False


def _nearest(value, shift):
    """Return value/2ˢ, halves upwards."""
    return (value + ((1 << shift) >> 1)) >> shift


def _held(value, limit):
    return min(max(value, -limit), limit)


def learn_in_python(state, X, plan):
    """Return what `learn_integers` returns, from plain whole numbers of any length."""
    whole = np.rint(np.ldexp(X * state.scale, plan.activity)).astype(np.int64)
    whole = np.clip(whole, -integers.LARGEST_ACTIVITY, integers.LARGEST_ACTIVITY)
    R, sums, counts = state.R.tolist(), state.sums.tolist(), list(state.counts.values())
    shifts = plan.shifts(len(X), state.samples).tolist()
    word = learn_plain(
        R, sums, state.word, counts, whole.tolist(), state.power.tolist(), shifts, state.samples, plan.numbers()
    )
    counts = dict(zip(state.counts, counts, strict=True))
    R, sums = np.array(R), np.array(sums)
    return dataclasses.replace(state, R=R, sums=sums, word=word, samples=state.samples + len(X), counts=counts)


LEARNERS = pytest.mark.parametrize("learn", [learn_integers, learn_in_python], ids=["kernel", "plain"])


def test_the_generator_is_marsaglias():
    word, state = 1, np.array([1], np.int64)
    for known in (270369, 67634689, 2647435461, 307599695):
        word = next_word(word)
        assert word == int(integers.next_word32(state)) == known


@pytest.mark.parametrize("value", [-1000, -5, -1, 0, 3, 4, 5, 999])
@pytest.mark.parametrize("shift", [0, 1, 3, 8])
def test_rounding_is_to_the_nearest_with_halves_upwards(value, shift):
    assert integers.rounded(value, shift) == np.floor(value / 2**shift + 0.5)


@pytest.mark.parametrize("value", [-37, 5, 100])
@pytest.mark.parametrize("shift", [4, 34])
def test_rounding_at_random_is_right_on_average(value, shift):
    state, count = np.array([1], np.int64), 20_000
    wide = value * 2 ** (shift - 4)
    drawn = [integers.dithered(wide, shift, state) for _ in range(count)]
    assert np.mean(drawn) == pytest.approx(value / 16, abs=4 * 0.5 / count**0.5)
    assert set(drawn) <= {np.floor(value / 16), np.ceil(value / 16)}


@pytest.mark.parametrize("pace", [2, 3])
def test_integers_come_to_rest_where_the_circuit_does(pace):
    """At rest every |x 2^(F+G) − R y| ≤ 2^(F+s−1): a residual of 2^(s−1−G−A) in units of x."""
    rng = np.random.default_rng(0)
    fraction, activity, guard = 12, 8, 6
    R = np.rint(np.ldexp(np.eye(5) + 0.15 * rng.normal(size=(5, 5)), fraction)).astype(np.int64)
    x = rng.integers(-600, 600, 5)
    y, flow = np.zeros((2, 5), np.int64)
    numbers = integers.IntegerNumbers(2**15 - 1, fraction, activity, guard, pace, 500, 2**15, 1, True)
    assert integers.settle_integers(R, x, y, flow, numbers)
    assert np.abs((x << (fraction + guard)) - R @ y).max() <= 2 ** (fraction + pace - 1)
    real, settled = np.ldexp(R.astype(float), -fraction), np.ldexp(y.astype(float), -guard - activity)
    bound = 5**0.5 * 2.0 ** (pace - 1 - guard - activity) * np.linalg.norm(np.linalg.inv(real), 2)
    assert np.linalg.norm(settled - np.linalg.solve(real, np.ldexp(x.astype(float), -activity))) <= bound


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("stochastic", [True, False], ids=["random", "nearest"])
def test_kernel_and_plain_python_agree_bit_for_bit(bits, batch, stochastic):
    X = stream(3, 2000, condition=3.0)
    plan = IntegerLearningRule(bits=bits, batch=batch, stochastic=stochastic, rate=6, hold=300)
    start = initial_integer_state(np.eye(3), X, plan, seed=5)
    compiled, plain = learn_integers(start, X, plan), learn_in_python(start, X, plan)
    np.testing.assert_array_equal(compiled.R, plain.R)
    np.testing.assert_array_equal(compiled.sums, plain.sums)
    assert (compiled.word, compiled.counts, compiled.samples) == (plain.word, plain.counts, 2000)
    assert not np.array_equal(compiled.R, start.R)


def test_they_agree_where_weights_saturate_activities_rail_and_nothing_rests():
    X = stream(3, 300)
    plan = IntegerLearningRule(bits=4, rate=2, most=40)
    R = np.array([[0.25, 0.5, 0.0], [0.5, 0.25, 0.0], [0.0, 0.0, 1.0]])  # min λ = −0.25
    start = initial_integer_state(R, X, plan)
    compiled, plain = learn_integers(start, X, plan), learn_in_python(start, X, plan)
    np.testing.assert_array_equal(compiled.R, plain.R)
    assert compiled.counts == plain.counts
    assert min(compiled.counts.values()) > 0
    assert np.abs(compiled.R).max() <= 7


@LEARNERS
@pytest.mark.parametrize("bits", [16, 4], ids=["finer than the raise", "coarser"])
def test_a_unit_at_its_limit_adds_a_sixteenth_to_itself_or_one_last_bit(learn, bits):
    """One sample of 100 times the root mean power of X rails its unit alone, and teaches nothing."""
    X, plan = np.ones((4, 2)), IntegerLearningRule(bits=bits)
    start = initial_integer_state(np.eye(2), X, plan)
    learnt = learn(start, np.array([[100.0, 0.0]]), plan)
    raised = learnt.weights(plan) - np.eye(2)
    np.testing.assert_array_equal(raised, np.diag([max(2.0**-4, 2.0**-plan.fraction), 0.0]))
    assert learnt.counts["railed"] == 1


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"bits": 8}, "bits 8, fraction 6, activity 8"),
        ({"whole": 2}, "bits 16, fraction 13, activity 8"),
        ({"activity": 7}, "bits 16, fraction 14, activity 7"),
    ],
    ids=["bits", "fraction", "activity"],
)
def test_a_state_is_not_read_in_formats_that_it_was_not_written_in(other, told):
    X, plan = stream(3, 20), IntegerLearningRule()
    state = learn_integers(initial_integer_state(np.eye(3), X, plan), X, plan)
    for read in (lambda wrong: learn_integers(state, X, wrong), state.weights):
        with pytest.raises(ConfigError, match=f"made for, bits 16, fraction 14, activity 8; got {told}"):
            read(IntegerLearningRule(**other))


def test_a_plan_with_other_rates_and_batches_reads_the_same_state():
    X, plan = stream(3, 20), IntegerLearningRule()
    other = IntegerLearningRule(rate=5, batch=4, guard=5, stochastic=False)
    learnt = learn_integers(initial_integer_state(np.eye(3), X, plan), X, other)
    assert learnt.formats == plan.formats == other.formats
    np.testing.assert_array_equal(learnt.weights(plan), learnt.weights(other))


def test_learning_goes_on_where_it_stopped():
    X, plan = stream(4, 500), IntegerLearningRule(bits=10, batch=16, hold=200)
    start = initial_integer_state(np.eye(4), X, plan)
    whole = learn_integers(start, X, plan)
    parts = learn_integers(learn_integers(start, X[:237], plan), X[237:], plan)
    np.testing.assert_array_equal(whole.R, parts.R)
    np.testing.assert_array_equal(whole.sums, parts.sums)
    assert whole.word == parts.word and start.samples == 0


def test_the_rate_halves_at_every_doubling():
    shifts = IntegerLearningRule(rate=5, hold=4).shifts(17)
    assert shifts.tolist() == [5] * 4 + [6] * 4 + [7] * 8 + [8]
    np.testing.assert_array_equal(IntegerLearningRule(rate=5, hold=4).shifts(7, first=10), shifts[10:])


def floating(X, plan):
    """The same rule in floating point, settled exactly."""
    W, x = np.eye(X.shape[1]), X / np.sqrt(np.mean(X**2))
    for row, shift in zip(x, plan.shifts(len(x)), strict=True):
        y = np.linalg.solve(W, row)
        W += 2.0**-shift * (np.outer(row, y) - W)
    return W


def test_sixteen_bits_learn_what_floating_point_learns():
    X, plan = stream(8, 12_000), IntegerLearningRule(bits=16, batch=16)
    learnt = learn_integers(initial_integer_state(np.eye(8), X, plan), X, plan)
    reference = residual(floating(X, plan), 8)
    assert reference < 0.03
    assert residual(learnt.weights(plan), 8) == pytest.approx(reference, rel=0.1)
    assert learnt.counts == {"saturated": 0, "railed": 0, "unsettled": 0}


def test_without_random_rounding_small_changes_are_lost():
    """A change below half of the last bit never happens: at η = 2⁻⁹ and 8 bits only |s x̄ − R p| ≥ 4 does."""
    X = stream(8, 12_000)
    plans = [IntegerLearningRule(bits=8, stochastic=stochastic) for stochastic in (True, False)]
    moved = [
        np.abs(learn_integers(initial_integer_state(np.eye(8), X, p), X, p).weights(p) - np.eye(8)).sum() for p in plans
    ]
    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bits": 2}, "between 3 and 24"),
        ({"bits": 8, "whole": 7}, "at most 6"),
        ({"activity": 14}, "at most 13"),
        ({"bits": 24, "guard": 12}, "room in 64 bits"),
        ({"batch": 0}, "batch must be"),
        ({"rate": -1}, "rate must be"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_number_formats_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        IntegerLearningRule(**wrong)


def test_what_does_not_fit_is_refused():
    X, plan = stream(3, 20), IntegerLearningRule(bits=8)
    with pytest.raises(InputError, match=r"must fit into 8 bits.*at most 1\.98"):
        initial_integer_state(2.5 * np.eye(3), X, plan)
    with pytest.raises(InputError, match="must have power"):
        initial_integer_state(np.eye(3), 0 * X, plan)
    with pytest.raises(ConfigError, match="at 0 stays there"):
        initial_integer_state(np.eye(3), X, plan, seed=2**32)
    with pytest.raises(InputError, match="must have 3 features"):
        learn_integers(initial_integer_state(np.eye(3), X, plan), np.ones((4, 2)), plan)


def test_plans_and_states_of_another_kind_are_refused():
    X, plan = stream(3, 20), IntegerLearningRule()
    start, message = initial_integer_state(np.eye(3), X, plan), "plan must be a IntegerLearningRule; got .* of type str"
    for wrong in (
        lambda: initial_integer_state(np.eye(3), X, "x"),
        lambda: learn_integers(start, X, "x"),
        lambda: start.weights("x"),
    ):
        with pytest.raises(ConfigError, match=message):
            wrong()
    with pytest.raises(InputError, match="state must be an IntegerState; got ndarray"):
        learn_integers(np.eye(3), X, plan)
