"""Plans and schedules: what they accept, what they refuse and with which words."""

import math

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr.errors import ConfigError
from neurodecorr.plasticity import Constant, Decay, LearningRule, SparseLearningRule, learn_continuously
from neurodecorr.plasticity.spec import RULES, clock_after, rate_at, rows_until


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"form": "recurent"},
            "form must be one of 'recurrent', 'feedforward'; got 'recurent'. Did you mean 'recurrent'?",
        ),
        ({"rule": "congruant"}, "got 'congruant'. Did you mean 'congruent'?"),
        ({"rule": "implict"}, "one of 'explicit', 'implicit', 'congruent'; got 'implict'. Did you mean 'implicit'?"),
        ({"rule": "lokal"}, "got 'lokal'. Did you mean 'local'?"),
        ({"rate_is": "relativ"}, "one of 'relative', 'absolute'; got 'relativ'. Did you mean 'relative'?"),
        ({"rate": 0}, "rate must be > 0; got 0"),
        ({"rate": -1e-3}, "rate must be > 0; got -0.001"),
        ({"rate": math.nan}, "rate must be a finite number; got nan"),
        ({"rate": math.inf}, "rate must be a finite number; got inf"),
        ({"rate": "fast"}, "rate must be a number; got 'fast' of type str"),
        ({"rate": True}, "rate must be a number; got True of type bool"),
        ({"rate": None}, "rate must be a number; got None of type NoneType"),
        ({"gain": "nodes"}, "gain must be one of 'node', 'layer', 'none'; got 'nodes'. Did you mean 'node'?"),
        ({"mean": "runing"}, "got 'runing'. Did you mean 'running'?"),
        ({"batch": 0}, "batch must be a whole number ≥ 1; got 0"),
        ({"batch": 2.0}, "batch must be a whole number ≥ 1; got 2.0 of type float"),
        ({"mean": "batch"}, "mean='batch' needs batch > 1, since one sample minus its own mean is zero; got batch=1"),
        ({"limit": 0.0}, "limit must be > 0; got 0.0"),
        ({"limit": "none"}, "limit must be a number; got 'none'"),
        ({"strongest": -1.0}, "strongest must be > 0; got -1.0"),
        (
            {"schedule": "decaying"},
            "schedule must be one of 'constant', 'decay'; got 'decaying'. Did you mean 'decay'?",
        ),
        ({"schedule": 0.5}, "schedule must be 'constant', 'decay', or an instance of Decay; got 0.5"),
    ],
)
def test_bad_options_are_refused_with_what_must_hold_and_what_came(options, message):
    with pytest.raises(ConfigError) as caught:
        LearningRule(**options)
    assert message in str(caught.value)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="lerning_rate"):
        LearningRule(lerning_rate=1.0)


def test_passes_do_not_grow_with_the_batch():
    for schedule in ("decay", "constant", Decay(hold=3.0)):
        for features in (8, 256):
            alone = LearningRule(schedule=schedule).visits(features)
            assert {LearningRule(schedule=schedule, batch=b).visits(features) for b in (2, 256, 10**6)} == {alone}


def test_a_batch_of_more_samples_than_there_are_is_refused_with_both_numbers():
    LearningRule(batch=500).require_samples(500)
    with pytest.raises(ConfigError, match=r"batch=501 .*500"):
        LearningRule(batch=501).require_samples(500)


@pytest.mark.parametrize("schedule", [Constant(), Decay(), Decay(hold=0.5, half=2.0)])
@pytest.mark.parametrize("clock", [0.0, 0.4, 7.0])
def test_the_clock_after_many_samples_is_the_sum_of_their_rates(schedule, clock):
    summed, rows = clock, 5000
    for _ in range(rows):
        summed += rate_at(schedule, 1e-3, summed)
    after = clock_after(schedule, 1e-3, clock, rows)
    assert after == pytest.approx(summed, rel=1e-3)
    assert rows_until(schedule, 1e-3, clock, after) == pytest.approx(rows, rel=1e-9)


def test_every_rule_of_both_forms_is_accepted():
    for form in ("recurrent", "feedforward"):
        for rule in RULES:
            assert LearningRule(form=form, rule=rule).rule == rule
        assert LearningRule(form=form, rule="local") == LearningRule(form=form, rule="implicit")


def test_a_plan_cannot_be_changed():
    with pytest.raises(AttributeError):
        LearningRule().rate = 1.0


@pytest.mark.parametrize("bad", [0, -1, math.nan, "long"])
def test_a_decay_needs_positive_times(bad):
    with pytest.raises(ConfigError, match="hold must be"):
        Decay(hold=bad)
    with pytest.raises(ConfigError, match="half must be"):
        Decay(half=bad)


def test_the_decay_in_the_clock_is_one_over_time_in_samples():
    """ds/dt = η₀ exp(−s/half) has the solution η(t) = η₀/(1 + η₀t/half); Euler's error is of first order in η₀."""
    schedule, eta0 = Decay(hold=2.0, half=0.5), 1e-4
    clock, steps = 2.0, 100_000
    for _ in range(steps):
        clock += rate_at(schedule, eta0, clock)
    expected = eta0 / (1 + eta0 * steps / 0.5)
    assert rate_at(schedule, eta0, clock) == pytest.approx(expected, rel=1e-3)


def test_a_rate_is_constant_until_the_hold_and_then_falls():
    schedule = Decay(hold=2.0, half=0.5)
    assert rate_at(schedule, 0.1, 2.0) == 0.1
    assert rate_at(schedule, 0.1, 2.5) == pytest.approx(0.1 / math.e)
    assert rate_at(Constant(), 0.1, 1e9) == 0.1


@pytest.mark.parametrize("endless", [math.inf, np.inf, float("inf"), np.float32("inf")])
def test_a_time_that_never_ends_may_be_anybodys_infinity(endless):
    assert Constant(hold=endless) == Constant()
    assert SparseLearningRule(half=endless) == SparseLearningRule()


@pytest.mark.parametrize(
    ("typo", "near"),
    [
        ("implict", "implicit"),
        ("Local", "local"),
        ("loc", "local"),
        ("congruant", "congruent"),
        ("explict", None),
        ("expl", None),
    ],
)
def test_a_typo_of_a_rule_gets_the_nearest_name_but_never_the_rule_that_diverges(typo, near):
    makers = [
        lambda: LearningRule(rule=typo),
        lambda: LearningRule("feedforward", typo),
        lambda: SparseLearningRule(rule=typo),
        lambda: nd.network.Decorrelation("recurrent", typo),
        lambda: nd.compare(nd.data.correlated_gaussian(3, 600), rules=[typo]),
        lambda: nd.FeedforwardDecorrelator(rule=typo).fit(np.eye(3)),
        lambda: learn_continuously(np.eye(2), np.ones((3, 2)), 1.0, rule=typo),
    ]
    for make in makers:
        with pytest.raises(ConfigError, match="rule must be one of") as caught:
            make()
        assert "Did you mean 'explicit'" not in str(caught.value)
        if near is not None:
            assert f"Did you mean {near!r}?" in str(caught.value)


def test_local_is_another_name_of_the_implicit_rule_everywhere():
    X = np.random.default_rng(0).standard_normal((50, 3))
    for form in ("recurrent", "feedforward"):
        assert LearningRule(form, "local") == LearningRule(form, "implicit")
        assert nd.network.Decorrelation(form, "local") == nd.network.Decorrelation(form, "implicit")
        assert SparseLearningRule(form, "local") == SparseLearningRule(form, "implicit")
    local, implicit = (learn_continuously(np.eye(3), X, 1.0, rule=rule).R for rule in ("local", "implicit"))
    np.testing.assert_array_equal(local, implicit)
    local, implicit = (nd.RecurrentDecorrelator(rule=rule, epochs=1).fit(X).R_ for rule in ("local", "implicit"))
    np.testing.assert_array_equal(local, implicit)
