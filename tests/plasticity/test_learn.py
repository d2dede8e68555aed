"""Learning from state to state: twins stay exact, learning is repeatable, errors leave the state alone."""

import math
import warnings
from dataclasses import fields, replace

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr.data import correlated_gaussian
from neurodecorr.errors import ConfigError, DegenerateInputWarning, DivergenceError, InputError, StabilityError
from neurodecorr.io import read_traces
from neurodecorr.measures import power, rms_correlation
from neurodecorr.plasticity import LearningRule, initial_state, learn
from neurodecorr.plasticity.learn import RECORDED, record_learning
from neurodecorr.plasticity.spec import RULES

pytestmark = pytest.mark.rounding

PAIRS = [(form, rule) for form in ("recurrent", "feedforward") for rule in RULES]
ARRAYS = ("M", "R", "mean", "power", "gain", "counters")


def gaussian(features=8, samples=3000, condition=1e2):
    return correlated_gaussian(features=features, samples=samples, condition=condition, seed=0).inputs


def learnt(X, **options):
    plan = LearningRule(**options)
    return learn(initial_state(X, plan), X, plan)


def assert_same(a, b):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def covariance_after(state, X):
    Y = (X - X.mean(axis=0)) @ state.M.T
    return Y.T @ Y / len(Y)


# Twins --------------------------------------------------------------------------------------------------------------


def twin_bound(dtype, rule):
    """Rounding of t updates adds up as eps √t at least and eps t at most: 2e-13 … 2e-10, or 1e-4 … 0.1 in float32.

    These bounds sit near the lower end: no error is systematic.
    """
    return 1e-12 if dtype == "float64" else 5e-3 if rule == "congruent" else 1e-3


def twin_error_after(updates, dtype, rule, gain, rate_is):
    X = gaussian(features=20, samples=min(updates, 100_000)).astype(dtype)
    plan = LearningRule(rule=rule, rate=1e-3, schedule="constant", gain=gain, mean="none", rate_is=rate_is)
    state = initial_state(X, plan)
    for _ in range(updates // len(X)):
        state = learn(state, X, plan)
    assert state.samples == updates
    assert state.limited == 0
    return state.twin_error()


@pytest.mark.parametrize("gain", ["node", "layer"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_twins_stay_each_others_inverse_over_a_hundred_thousand_samples(dtype, rule, gain):
    assert twin_error_after(100_000, dtype, rule, gain, rate_is="relative") <= twin_bound(dtype, rule)


@pytest.mark.slow
@pytest.mark.parametrize("rate_is", ["relative", "absolute"])
@pytest.mark.parametrize("gain", ["node", "layer"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_twins_stay_each_others_inverse_over_a_million_samples(dtype, rule, gain, rate_is):
    assert twin_error_after(1_000_000, dtype, rule, gain, rate_is) <= twin_bound(dtype, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch", [5, 40])
def test_batch_twins_stay_each_others_inverse(batch, rule):
    state = learnt(gaussian(samples=8000), rule=rule, rate=1e-2, schedule="constant", batch=batch)
    # 200 … 1600 steps round R and M by eps each; κ(R) ≈ 10 amplifies.
    assert state.twin_error() < 1e-12


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch", [1, 20])
def test_both_forms_learn_the_same_matrix(rule, batch):
    X = gaussian()
    R = learnt(X, form="recurrent", rule=rule, rate=1e-2, batch=batch)
    M = learnt(X, form="feedforward", rule=rule, rate=1e-2, batch=batch)
    np.testing.assert_allclose(R.M, M.M, rtol=0, atol=1e-11)
    np.testing.assert_allclose(R.R, M.lateral, rtol=0, atol=1e-11)


@pytest.mark.parametrize("batch", [1, 20, pytest.param(2, marks=pytest.mark.slow), 40_000])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_every_rule_decorrelates_and_keeps_the_power(form, rule, batch):
    X = gaussian(samples=40_000)
    C = covariance_after(learnt(X, form=form, rule=rule, rate=1e-2, batch=batch), X)
    assert rms_correlation(covariance=np.cov(X.T)) > 0.3
    assert rms_correlation(covariance=C) < 0.03
    assert abs(power(covariance=C) / X.var() - 1) < 0.05
    np.testing.assert_allclose(np.diag(C), X.var(axis=0), rtol=0.1)


# Repeatability ------------------------------------------------------------------------------------------------------


def in_one_call_and_in_pieces(dtype, **options):
    X, plan = gaussian(samples=2400).astype(dtype), LearningRule(rate=5e-3, **options)
    whole, pieces = learn(initial_state(X, plan), X, plan), initial_state(X, plan)
    for begin, end in ((0, 20), (20, 600), (600, 2000), (2000, 2400)):
        pieces = learn(pieces, X[begin:end], plan)
    assert_same(whole, learn(initial_state(X, plan), X, plan))
    assert whole.M.dtype == whole.lateral.dtype == np.dtype(dtype)
    return whole, pieces


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_learning_in_pieces_is_learning_in_one_call_to_the_bit(form, rule, batch, dtype):
    whole, pieces = in_one_call_and_in_pieces(dtype, form=form, rule=rule, batch=batch, engine="plain")
    assert_same(whole, pieces)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ["fused", "delayed"])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_engines_that_work_in_blocks_agree_on_pieces_to_rounding(form, rule, engine, dtype):
    whole, pieces = in_one_call_and_in_pieces(dtype, form=form, rule=rule, engine=engine)
    # 2400 steps, each rounding M once and κ(R) ≈ 10 amplifying: 10 eps √2400 ≈ 500 eps, in float32 6e-5.
    rounding = 2000 * np.finfo(dtype).eps
    for name in ("M", "R", "power"):
        np.testing.assert_allclose(getattr(whole, name), getattr(pieces, name), rtol=0, atol=rounding, err_msg=name)
    assert whole.samples == pieces.samples == 2400
    assert whole.limited == pieces.limited


def test_order_of_memory_does_not_matter():
    X, plan = gaussian(), LearningRule()
    assert_same(learn(initial_state(X, plan), X, plan), learn(initial_state(X, plan), np.asfortranarray(X), plan))


def test_the_given_state_and_samples_are_left_as_they_were():
    X, plan = gaussian(), LearningRule()
    state = initial_state(X, plan)
    before, samples = state.copy(), X.copy()
    learn(state, X, plan)
    assert_same(state, before)
    np.testing.assert_array_equal(X, samples)


def test_a_copy_shares_no_memory():
    state = initial_state(gaussian(), LearningRule())
    copy = state.copy()
    for name in ARRAYS:
        assert not np.shares_memory(getattr(state, name), getattr(copy, name)), name
    assert {f.name for f in fields(state)} - set(ARRAYS) == {"scale", "resynchronised"}


# Singular points and huge rates -----------------------------------------------------------------------------------


def test_the_explicit_rule_names_the_sample_at_its_singular_point():
    X = np.array([[0.5, 0.0], [1.0, 0.0]])
    options = {"rule": "explicit", "schedule": "constant", "mean": "none", "limit": None, "rate_is": "absolute"}
    plan = LearningRule(rate=1.0, gain="none", **options)
    state = initial_state(X, plan)
    assert learn(state, X[:1], plan).R[0, 0] == pytest.approx(1 / (1 - 0.25))
    before = state.copy()
    with pytest.raises(DivergenceError, match=r"η‖x̄‖² .*sample 0 \(rate 1\).*limit=0.1"):
        learn(state, X[1:], plan)  # η‖x̄‖² = 1 exactly
    assert_same(state, before)
    with pytest.raises(DivergenceError, match="at sample 1 "):
        learn(state, np.array([[0.5, 0.0], [1.0 / 0.75, 0.0]]), plan)  # x̄ = 0.75 x = 1


def test_the_explicit_gain_has_a_singular_point_of_its_own():
    X = np.array([[1.0, 0.0]])
    options = {"rule": "explicit", "schedule": "constant", "mean": "none", "limit": None, "rate_is": "absolute"}
    state = learn(
        initial_state(X, LearningRule(**options)), np.array([[2.0, 0.0]] * 50), LearningRule(rate=0.1, **options)
    )
    quiet = np.array([[0.0, 1e-3]])  # η‖x̄‖² is small now, but ηp ≥ 0.9 · 1.2
    power_of_the_first_unit = state.power[0] * state.scale**2
    with pytest.raises(DivergenceError, match="ηp < 1"):
        learn(state, quiet, LearningRule(rate=1.2 / power_of_the_first_unit, **options))
    learn(state, quiet, LearningRule(rate=1.2 / power_of_the_first_unit, gain="none", **options))  # without gain it may


def test_explicit_batches_name_the_batch_at_their_singular_point():
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])  # λ_max(C) = 1
    for form in ("recurrent", "feedforward"):
        options = {"form": form, "rule": "explicit", "mean": "none", "limit": None, "rate_is": "absolute", "batch": 4}
        state = initial_state(X, LearningRule(rate=0.9, **options))
        learn(state, X, LearningRule(rate=0.9, **options))
        before = state.copy()
        with pytest.raises(DivergenceError, match=r"η λ_max\(C\) .*batch 0 \(rate 1\)"):
            learn(state, X, LearningRule(rate=1.0, **options))
        assert_same(state, before)


@pytest.mark.parametrize("rate", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_huge_rates_are_limited_and_counted(form, rule, batch, rate):
    X = gaussian()
    state = learnt(X, form=form, rule=rule, rate=rate, batch=batch, schedule="constant")
    assert 0 < state.limited <= state.samples
    if batch == 1:
        assert state.limited == state.samples - 1  # the first sample is its own mean
    C = covariance_after(state, X)
    assert rms_correlation(covariance=C) < 0.15 < rms_correlation(covariance=np.cov(X.T)) / 2
    assert np.linalg.eigvals(state.lateral).real.min() > 0


@pytest.mark.parametrize("rate", [0.5, 1.0, 10.0])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_without_the_limiter_huge_rates_raise_or_stay_finite_never_a_silent_nan(form, rule, rate):
    X = gaussian()
    plan = LearningRule(form=form, rule=rule, rate=rate, limit=None, schedule="constant")
    if rule == "explicit":
        with pytest.raises(DivergenceError, match="at sample 1 "):
            learn(initial_state(X, plan), X, plan)
    elif (form, rule) == ("recurrent", "implicit"):
        with pytest.raises(StabilityError, match=r"min Re λ .*-.* sample \d+"):
            learn(initial_state(X, plan), X, plan)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateInputWarning)  # the growth of M has a bound of its own
            state = learn(initial_state(X, plan), X, plan)
        assert np.isfinite(state.M).all()
        assert state.limited == 0
        if rule == "congruent":
            assert np.linalg.eigvalsh(state.lateral)[0] > 0


def test_numbers_beyond_the_range_raise_and_name_the_sample():
    plan = LearningRule(
        form="feedforward", rule="implicit", mean="none", limit=None, schedule="constant", rate_is="absolute"
    )
    X = np.array([[0.0, 0.0], [1.0, 1.0]])
    state = replace(initial_state(X, plan), M=np.eye(2) * 1e200)  # x̄ᵀx̄ overflows
    before = state.copy()
    with pytest.raises(DivergenceError, match="activity left the finite numbers at sample 1"):
        learn(state, X, plan)
    assert_same(state, before)


def test_samples_that_overflow_at_the_scale_of_the_first_inputs_are_refused():
    for small, large in ((np.float32(1e-30), np.float32(1e30)), (1.0, 1e200)):
        state = initial_state(np.full((1, 2), small), LearningRule())
        before = state.copy()
        with pytest.raises(InputError, match=r"within float(32|64).*Use float64"):
            learn(state, np.full((1, 2), large), LearningRule())
        assert_same(state, before)


def test_a_mean_that_follows_each_sample_would_learn_from_rounding_noise():
    """A rate ≥ 1 must not make the running mean equal to the sample: nothing but noise would remain."""
    X = gaussian(samples=200) + 5.0
    state = learnt(X, form="feedforward", rule="implicit", rate=10.0, schedule="constant")
    assert state.power.mean() * state.scale**2 > 0.2 * X.var()


def test_the_clock_adds_up_the_rates_used():
    X = gaussian(samples=1000)
    state = learnt(X, form="feedforward", rule="implicit", rate=1e-3, schedule="constant", mean="none")
    assert state.counters[1] == pytest.approx(1.0, rel=1e-12)


def test_visits_are_thrice_the_holding_time():
    assert LearningRule(rate=1e-3).visits(features=8) == math.ceil(3 * 6.5 / 1e-3)
    assert LearningRule(rate=1e-3, schedule="constant").visits(features=8) == 20_000


X = nd.data.correlated_gaussian(features=5, samples=2500, condition=20.0).inputs
PLANS = {
    "R implicit": LearningRule(form="recurrent", rule="implicit"),
    "R congruent": LearningRule(form="recurrent", rule="congruent"),
    "M implicit": LearningRule(form="feedforward", rule="implicit", batch=10),
}


@pytest.mark.parametrize("name", PLANS)
def test_rows_are_the_states_of_learning(tmp_path, name):
    plan = PLANS[name]
    last = record_learning(X, plan, tmp_path / "traces.h5", every=1000)
    traces = read_traces(tmp_path)
    state = initial_state(X, plan)
    letter = "R" if plan.recurrent else "M"
    assert traces[letter].step.tolist() == [0, 1000, 2000, 2500]
    for row, (begin, end) in enumerate(((0, 0), (0, 1000), (1000, 2000), (2000, 2500))):
        state = learn(state, X[begin:end], plan) if end else state
        assert np.array_equal(traces[letter].values[row], getattr(state, letter))
        assert np.array_equal(traces["mean"].values[row], state.mean * state.scale)
        margin = np.linalg.eigvals(state.lateral).real.min()
        np.testing.assert_allclose(traces["margin"].values[row], margin, rtol=1e-12)
    assert np.array_equal(getattr(last, letter), getattr(state, letter))


def test_blocks_and_one_array_give_the_same_file_content(tmp_path):
    plan = PLANS["R implicit"]
    record_learning(X, plan, tmp_path / "whole" / "traces.h5", every=500)
    state = initial_state(X, plan)
    record_learning(
        (X[i : i + 500] for i in range(0, 2500, 500)), plan, tmp_path / "parts" / "traces.h5", every=500, state=state
    )
    whole, parts = read_traces(tmp_path / "whole"), read_traces(tmp_path / "parts")
    assert all(np.array_equal(whole[name].values, parts[name].values) for name in whole)


def test_correlation_falls_and_twins_stay_twins(tmp_path):
    record_learning(X, LearningRule(rate=1e-2), tmp_path / "traces.h5", every=500)
    traces = read_traces(tmp_path)
    assert traces["correlation"].step.tolist() == [500, 1000, 1500, 2000, 2500]
    assert traces["correlation"].values[-1] < nd.measures.rms_correlation(X) / 2
    assert traces["twin_error"].values.max() < 1e-9 and traces["residual"].values.max() < 1e-6


def test_the_file_says_units_rule_and_rate(tmp_path):
    record_learning(X, PLANS["R implicit"], tmp_path / "traces.h5", what=["margin", "weights"])
    traces = read_traces(tmp_path)
    assert traces.names == ("R", "margin") and traces["margin"].unit == "1/τ"
    assert (traces.metadata["rule"], traces.metadata["rate"], traces.metadata["step_unit"]) == (
        "implicit",
        1e-3,
        "samples",
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 15, "plan": PLANS["M implicit"]}, ConfigError, "whole number of batches of 10"),
        ({"X": []}, InputError, "X must"),
        ({"X": iter(())}, InputError, "at least one block"),
        ({"X": 3}, InputError, "an array, or an iterable"),
    ],
    ids=["every", "empty list", "empty iterable", "number"],
)
def test_what_cannot_be_recorded_is_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        record_learning(**{"X": X, "plan": PLANS["R implicit"], "path": tmp_path / "traces.h5", **options})


def test_all_names_have_a_meaning():
    assert len(RECORDED) == len(set(RECORDED)) == 9
