"""One trial: what is learnt is what the rule gives, and every number of the entry is that of its M and R."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from neurodecorr import circuit, data, measures, plasticity
from neurodecorr.comparison import trial
from neurodecorr.comparison.compare import run_all

N, SAMPLES, TOL = 5, 600, 1e-6
X = data.correlated_gaussian(N, SAMPLES, 20.0, seed=3).inputs
SIGMA = measures.covariance(X)


def bench(**changed):
    reference = plasticity.decorrelating_matrix(SIGMA, "node")
    shared = trial.TrialInputs
    made = shared(
        stream=X,
        held_out=X[:100],
        covariance=SIGMA,
        reference=reference,
        circuit=np.linalg.inv(reference),
        null=measures.null_directions(covariance=SIGMA),
        mean=X.mean(axis=0),
        tol=TOL,
        levels=np.array([0.01, 0.1]),
        draws=3,
        seed=4,
    )
    return dataclasses.replace(made, **changed)


RULE = plasticity.LearningRule(form="recurrent", rule="congruent", rate=1e-2)
RECURRENT = ("R congruent", "recurrent", "congruent", RULE)


@pytest.fixture(scope="module")
def entry():
    return trial.run_trial(*RECURRENT, bench())


@pytest.fixture(scope="module")
def learnt():
    """The state after the same samples, learnt in one go."""
    total = max(SAMPLES, RULE.visits(N))
    rows = np.arange(total) % SAMPLES
    return plasticity.learn(plasticity.initial_state(X, RULE), X[rows], RULE)


def test_what_is_learnt_in_stretches_is_what_one_call_learns(entry, learnt):
    np.testing.assert_allclose(entry.matrix, learnt.M, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(entry.lateral, learnt.R, rtol=1e-9, atol=1e-12)
    assert (entry.learnt, entry.failure) == (learnt.samples, "")


def test_measures_of_the_output_are_those_of_its_covariance(entry):
    C = entry.matrix @ SIGMA @ entry.matrix.T
    np.testing.assert_array_equal(entry.covariance, C)
    assert entry.correlation == measures.rms_correlation(covariance=C)
    assert entry.power == pytest.approx(np.trace(C) / np.trace(SIGMA), rel=1e-14)
    assert entry.correlation == entry.correlations[-1] and entry.power == pytest.approx(entry.powers[-1], rel=1e-14)
    assert entry.margin == pytest.approx(np.linalg.eigvals(entry.lateral).real.min(), rel=1e-9)


def test_the_distance_is_that_of_outputs_from_the_closed_form(entry):
    """⟨‖(M − M*)x‖²⟩ over samples whose covariance is Σ, by samples."""
    centred = X - X.mean(axis=0)
    reference = centred @ plasticity.decorrelating_matrix(SIGMA, "node").T
    gap = centred @ entry.matrix.T - reference
    assert entry.distance == pytest.approx(np.linalg.norm(gap) / np.linalg.norm(reference), rel=1e-9)


def test_the_certificate_holds_and_paths_stay_below_their_bounds(entry):
    assert 0 < entry.settling_error <= TOL and entry.settling_time <= entry.settling_time_worst
    assert entry.path_error.shape == (trial.PATHS, trial.PATH_POINTS)
    assert (entry.path_error <= entry.path_bound * (1 + 1e-9) + 1e-12).all()


def test_mismatch_is_that_of_the_same_draws_settled_by_hand(entry):
    drive = X[:100] - entry.mean
    ideal = drive @ entry.matrix.T
    for i, level in enumerate((0.01, 0.1)):
        for k in range(3):
            rng = np.random.default_rng(np.random.SeedSequence(4, spawn_key=(i, k)))
            R = circuit.model.mismatched(entry.lateral, level, rng)
            error = np.linalg.norm(np.linalg.solve(R, drive.T).T - ideal) / np.linalg.norm(ideal)
            assert entry.mismatch_error[i, k] == pytest.approx(error, rel=1e-12)


def test_a_matrix_answers_at_once_and_costs_one_product():
    rule = dataclasses.replace(RULE, form="feedforward")
    found = trial.run_trial("M congruent", "feedforward", "congruent", rule, bench())
    assert (found.settling_time, found.products, found.operations, found.settles) == (0, 1, N * N, False)
    assert found.path_time.size == 0 and found.condition == pytest.approx(np.linalg.cond(found.lateral))


def test_the_closed_form_has_no_distance_from_itself():
    found = trial.run_trial("M* offline", "offline", "closed form", None, bench())
    assert found.distance == 0 and found.twin_error < 1e-12 and len(found.steps) == 0
    assert found.correlation < 1e-12


def test_a_rule_that_breaks_down_ends_its_own_trial_and_says_why():
    rule = plasticity.LearningRule(form="recurrent", rule="explicit", rate=0.05, limit=None)
    found = trial.run_trial("R explicit", "recurrent", "explicit", rule, bench())
    assert found.failure and found.learnt < SAMPLES and math.isfinite(found.correlation)
    assert found.steps[-1] == found.learnt


def test_progress_is_told_in_shares_that_grow_to_one():
    told = []
    trial.run_trial(*RECURRENT, bench(), tell=told.append)
    assert told == sorted(told) and 0 < told[0] < 1 and told[-1] == trial.DONE


@pytest.mark.parametrize("jobs", [1, 2])
def test_trials_side_by_side_give_the_same_entries_in_order(entry, jobs):
    told, trials = [], [partial(trial.run_trial, *RECURRENT, bench(seed=seed)) for seed in (4, 5)]
    found = list(run_all(trials, jobs, lambda *words: told.append(words)))
    np.testing.assert_array_equal(found[0].lateral, entry.lateral)
    np.testing.assert_array_equal(found[0].mismatch_error, entry.mismatch_error)
    assert not np.array_equal(found[1].mismatch_error, entry.mismatch_error)
    assert told[-1] == ("comparing forms", 2, 2)
