"""Learning, streamed to a file."""

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.io import read_traces
from neurodecorr.plasticity import LearningRule, initial_state, learn
from neurodecorr.plasticity.learn import RECORDED, record_learning

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


def test_the_file_says_units_rule_rate_seed_and_configuration(tmp_path):
    record_learning(
        X, PLANS["R implicit"], tmp_path / "traces.h5", seed=3, what=["margin", "weights"], config={"data": "gaussian"}
    )
    traces = read_traces(tmp_path)
    assert traces.names == ("R", "margin") and traces["margin"].unit == "1/τ"
    assert (traces.metadata["rule"], traces.metadata["rate"], traces.metadata["step_unit"]) == (
        "implicit",
        1e-3,
        "samples",
    )
    assert traces.provenance["seed"] == 3 and traces.provenance["config"]["data"] == "gaussian"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 15, "plan": PLANS["M implicit"]}, ConfigError, "whole number of batches of 10"),
        ({"what": ["wieghts"]}, ConfigError, "Did you mean 'weights'"),
        ({"what": "weights"}, ConfigError, "must be a sequence"),
        ({"X": []}, InputError, "X must"),
        ({"X": iter(())}, InputError, "at least one block"),
        ({"X": 3}, InputError, "an array, or an iterable"),
    ],
    ids=["every", "name", "text", "empty list", "empty iterable", "number"],
)
def test_what_cannot_be_recorded_is_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        record_learning(**{"X": X, "plan": PLANS["R implicit"], "path": tmp_path / "traces.h5", **options})


def test_all_names_have_a_meaning():
    assert len(RECORDED) == len(set(RECORDED)) == 9
