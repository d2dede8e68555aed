"""Where the rules come to rest, on batches whose second moment is exactly Σ: no sampling noise, so rest is exact."""

import numpy as np
import pytest

from neurodecorr.data import correlated_gaussian, gaussian_covariance
from neurodecorr.measures import power, rms_correlation
from neurodecorr.plasticity import LearningRule, decorrelating_matrix, initial_state, learn, rules
from neurodecorr.plasticity.spec import RULES

pytestmark = pytest.mark.rounding

PAIRS = [(form, rule) for form in ("recurrent", "feedforward") for rule in RULES]
N = 4
# Unequal powers, so that node and layer gain rest at different matrices.
SCALE = np.diag([0.5, 0.8, 1.0, 1.4])
SIGMA = SCALE @ gaussian_covariance(N, 8.0, seed=3) @ SCALE
EXACT = np.sqrt(N) * np.linalg.cholesky(SIGMA).T  # XᵀX/n = Σ
GAMMA = {"node": np.diag(np.diag(SIGMA)), "layer": np.trace(SIGMA) / N * np.eye(N)}


def homeostatic_rest(rule, gain, eta=0.05, steps=2000):
    """Iterate M ← diag(g) f(C) M, g = 1 + ηp (explicit: 1/(1 − ηp)), from M = I."""
    step = getattr(rules, f"{rule}_feedforward")
    g = rules.homeostatic_gain(np.diag(SIGMA), eta, gain, rule == "explicit")
    factor = np.sqrt(np.outer(g, g)) if rule == "congruent" else g[:, None]
    M = np.eye(N)
    for _ in range(steps):
        M = factor * step(M, EXACT, EXACT @ M.T, eta)
    return M


@pytest.mark.parametrize("gain", ["node", "layer"])
@pytest.mark.parametrize("rule", ["explicit", "implicit", "congruent"])
def test_the_homeostatic_gain_rests_where_outputs_are_decorrelated_and_keep_their_power(rule, gain):
    M = homeostatic_rest(rule, gain)
    # Correlations decay as exp(−2ηpt) with p ≥ 0.2: e^−40 after 2000 steps, so rounding is all that is left.
    np.testing.assert_allclose(M @ SIGMA @ M.T, GAMMA[gain], rtol=0, atol=1e-12)


@pytest.mark.parametrize("gain", ["node", "layer"])
def test_the_congruent_rule_rests_at_the_closed_form_itself(gain):
    np.testing.assert_allclose(homeostatic_rest("congruent", gain), decorrelating_matrix(SIGMA, gain), atol=1e-12)


@pytest.mark.parametrize("gain", ["node", "layer"])
@pytest.mark.parametrize("rule", ["explicit", "implicit"])
def test_the_other_rules_rest_at_a_rotation_of_the_closed_form(rule, gain):
    M, closed = homeostatic_rest(rule, gain), decorrelating_matrix(SIGMA, gain)
    root = np.sqrt(np.diag(GAMMA[gain]))
    Q = (M / root[:, None]) @ np.linalg.inv(closed / root[:, None])
    np.testing.assert_allclose(Q @ Q.T, np.eye(N), atol=1e-11)
    if gain == "node":  # with one gain for all, M stays a function of Σ and never turns
        assert np.abs(Q - np.eye(N)).max() > 1e-3
    else:
        np.testing.assert_allclose(M, closed, atol=1e-11)


@pytest.mark.parametrize("gain", ["node", "layer"])
@pytest.mark.parametrize("form", ["recurrent", "feedforward"])
def test_congruent_batches_learn_the_closed_form(form, gain):
    X = np.tile(EXACT, (2000, 1))
    plan = LearningRule(
        form=form, rule="congruent", rate=0.05, gain=gain, mean="none", batch=N, schedule="constant", limit=None
    )
    state = learn(initial_state(X, plan), X, plan)
    closed = decorrelating_matrix(SIGMA, gain)
    np.testing.assert_allclose(state.matrix, closed, atol=1e-10)
    np.testing.assert_allclose(state.lateral, np.linalg.inv(closed), atol=1e-10)


@pytest.mark.parametrize("gain", ["node", "layer"])
@pytest.mark.parametrize("rate", [0.05, 1e4])
@pytest.mark.parametrize(
    ("form", "rule"), [("recurrent", "implicit"), ("feedforward", "implicit"), ("recurrent", "explicit")]
)
def test_batches_rest_where_outputs_are_decorrelated_and_keep_their_power_at_any_rate(form, rule, rate, gain):
    """One batch of all samples at a high rate is cut into steps that are small enough for the rule."""
    X = np.tile(EXACT, (300 if rate < 1 else 3, 1))
    if rule == "explicit" and rate == 1e4:
        X, rate = np.tile(EXACT, (300, 1)), 0.2  # beyond η λ_max(C) = 1 it has no single step
    plan = LearningRule(
        form=form, rule=rule, rate=rate, gain=gain, mean="none", batch=N, limit=None, schedule="constant"
    )
    M = learn(initial_state(X, plan), X, plan).matrix
    np.testing.assert_allclose(M @ SIGMA @ M.T, GAMMA[gain], rtol=0, atol=1e-10)


@pytest.mark.parametrize("gain", ["node", "layer"])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_one_batch_of_all_samples_learns_as_far_as_its_samples_would(form, rule, gain):
    """The clock of 20 000 samples is 6.5 + ½ ln(1 + 27): correlations decay as exp(−2s) in units of p ≥ 0.3."""
    X = np.tile(EXACT, (5000, 1))
    plan = LearningRule(form=form, rule=rule, gain=gain, mean="none", batch=len(X))
    state = learn(initial_state(X, plan), X, plan)
    C = state.matrix @ SIGMA @ state.matrix.T
    np.testing.assert_allclose(np.diag(C) / np.diag(GAMMA[gain]), 1, atol=0.02)
    assert rms_correlation(covariance=C) < 0.02


@pytest.mark.parametrize("eta", [1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("step", [rules.implicit_feedforward, rules.explicit_feedforward])
def test_the_printed_gain_without_the_root_diverges(step, eta):
    sigma = gaussian_covariance(8, 1e2)
    batches = correlated_gaussian(8, 20 * 400, 1e2).inputs.reshape(400, 20, 8)
    found = {1: [], 2: []}  # exponent 1: √(⟨x²⟩/⟨x̄²⟩), as Algorithm 1; exponent 2: ⟨x²⟩/⟨x̄²⟩, as printed in §3.2
    for exponent, powers in found.items():
        M = 0.9 * np.eye(8)
        for X in batches:
            Xbar = X @ M.T
            g = rules.power_gain(X, Xbar, "node", bound=np.inf) ** exponent
            M = g[:, None] * step(M, X, Xbar, eta)
            powers.append(power(covariance=M @ sigma @ M.T))
            if not 1e-6 < powers[-1] < 1e6:
                break
    assert 0.5 < min(found[1]) < max(found[1]) < 1.5
    assert len(found[2]) < 400


def test_single_samples_rest_near_the_closed_form_and_the_congruent_rule_nearest():
    sigma = gaussian_covariance(8, 1e2)
    X = correlated_gaussian(8, 60_000, 1e2).inputs
    closed = decorrelating_matrix(sigma)
    distance = {}
    for rule in ("explicit", "implicit", "congruent"):
        plan = LearningRule(rule=rule, rate=1e-3, mean="none")
        M = learn(initial_state(X, plan), X, plan).matrix
        distance[rule] = float(np.linalg.norm(M - closed) / np.linalg.norm(closed))
    assert distance["congruent"] < 0.02
    assert distance["congruent"] < min(distance["explicit"], distance["implicit"])
