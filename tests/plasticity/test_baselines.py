"""The rival rules: each step against its formula, each rest state against what the formula says of it."""

import numpy as np
import pytest

from neurodecorr.data import gaussian_covariance
from neurodecorr.errors import ConfigError
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import LearningRule, decorrelating_matrix, whitening_matrix
from neurodecorr.plasticity.baselines import Easi, Foldiak, OffDiagonal, Oja, SimilarityMatching, Vogels, Whitening
from neurodecorr.plasticity.benchmark import RelativeRule

N = 5
SIGMA = gaussian_covariance(N, 8.0, seed=1)
EXACT = np.sqrt(N) * np.linalg.cholesky(SIGMA).T  # XᵀX/n = Σ: no sampling noise
RULES = [
    Foldiak(),
    Foldiak(gain="node"),
    Vogels(),
    Vogels(inhibition="recurrent"),
    Oja(),
    SimilarityMatching(),
    Easi(),
    OffDiagonal(),
    OffDiagonal(relative=False),
    OffDiagonal(kappa=0.5, gain="layer"),
    Whitening(),
    Whitening("pca", memory=0.01),
    RelativeRule(LearningRule(rule="implicit", batch=5)),
    RelativeRule(LearningRule(form="feedforward", rule="congruent")),
]


def few(samples=7, seed=0):
    return np.random.default_rng(seed).standard_normal((samples, N)) @ np.linalg.cholesky(SIGMA).T


def rested(rule, steps=2000, X=EXACT, scale=1.0):
    weights = rule.start(N, scale)
    for _ in range(steps):
        weights = rule.step(weights, X)
    return weights


def covariance_of(rule, weights):
    M = rule.matrix(weights)
    return M @ SIGMA @ M.T


def flat(weights):
    return [a for a in (weights if isinstance(weights, tuple) else [weights]) if isinstance(a, np.ndarray)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_starts_at_its_scale_and_leaves_what_it_is_given_alone(rule):
    weights, X = rule.start(N, 0.3), few()
    np.testing.assert_allclose(rule.matrix(weights), 0.3 * np.eye(N), atol=1e-15)
    before, samples = [a.copy() for a in flat(weights)], X.copy()
    after = rule.step(weights, X)
    assert not np.array_equal(rule.matrix(after), 0.3 * np.eye(N))
    for a, b in zip(flat(weights), before, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(X, samples)
    assert rule.step(weights, X[:1]) is not None  # one sample is a batch, too
    with pytest.raises(AttributeError):
        rule.rate = 1.0


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_where_a_rule_has_a_circuit_its_matrix_is_what_the_circuit_settles_to(rule):
    weights = rule.step(rule.start(N), few())
    R = rule.lateral(weights)
    if R is None:
        assert not isinstance(rule, Foldiak | SimilarityMatching)
    elif isinstance(rule, SimilarityMatching):
        np.testing.assert_allclose(R @ rule.matrix(weights), weights.W, atol=1e-13)
    else:
        np.testing.assert_allclose(R @ rule.matrix(weights), np.eye(N), atol=1e-13)


# Földiák, Vogels -----------------------------------------------------------------------------------------------------


def test_foldiak_changes_each_synapse_by_minus_eta_times_the_product_of_activities():
    rule, X = Foldiak(rate=0.1), few()
    R = rule.step(rule.start(N), X[:3])
    Q, Xbar = np.eye(N) - R, np.linalg.solve(R, X.T).T
    np.testing.assert_allclose(Xbar, X + Xbar @ Q.T, atol=1e-14)  # x̄ = x + Q x̄
    changed = np.eye(N) - rule.step(R, X)
    for i in range(N):
        for j in range(N):
            expected = Q[i, j] - (0.1 * np.mean(Xbar[:, i] * Xbar[:, j]) if i != j else 0)
            assert changed[i, j] == pytest.approx(expected, abs=1e-14)


def test_foldiak_rests_decorrelated_and_loses_power_unless_it_has_a_gain():
    plain, kept = Foldiak(rate=0.05), Foldiak(rate=0.05, gain="node")
    C, D = covariance_of(plain, rested(plain)), covariance_of(kept, rested(kept))
    assert rms_correlation(covariance=C) < 1e-12
    assert rms_correlation(covariance=D) < 1e-12
    assert np.all(np.diag(C) < np.diag(SIGMA))
    np.testing.assert_allclose(np.diag(D), np.diag(SIGMA), rtol=1e-10)
    np.testing.assert_allclose(np.diag(rested(plain)), 1, atol=1e-14)  # no self-inhibition


def test_recurrent_vogels_without_target_is_foldiak():
    vogels, foldiak = Vogels(rate=0.02, inhibition="recurrent"), Foldiak(rate=0.02)
    np.testing.assert_allclose(rested(vogels, 50), rested(foldiak, 50), atol=1e-14)


def test_feedforward_vogels_rests_where_no_output_follows_another_input():
    M = rested(Vogels(rate=0.1), 4000)
    precision = np.linalg.inv(SIGMA)
    np.testing.assert_allclose(M, precision / np.diag(precision)[:, None], atol=1e-10)
    off = M @ SIGMA - np.diag(np.diag(M @ SIGMA))
    np.testing.assert_allclose(off, 0, atol=1e-10)
    # which does not decorrelate the outputs
    assert rms_correlation(covariance=M @ SIGMA @ M.T) > 0.5 * rms_correlation(covariance=SIGMA)


def test_vogels_reaches_its_target_rate():
    rng = np.random.default_rng(0)
    X = 2.0 + 0.1 * rng.standard_normal((400, N))
    rule = Vogels(rate=0.02, target=0.7)
    Xbar = X @ rested(rule, 500, X).T
    np.testing.assert_allclose(Xbar.mean(axis=0), 0.7, atol=0.01)


# Oja, similarity matching --------------------------------------------------------------------------------------------


def test_oja_changes_each_synapse_as_printed():
    rule, X, rng = Oja(rate=0.1), few(1), np.random.default_rng(3)
    W = rng.standard_normal((N, N))
    y = W @ X[0]
    expected = W + 0.1 * (np.outer(y, X[0]) - np.outer(y, y) @ W)
    np.testing.assert_allclose(rule.step(W, X), expected, atol=1e-13)


def test_oja_and_similarity_matching_with_all_outputs_rest_at_a_rotation_which_does_not_decorrelate():
    W = rested(Oja(rate=0.05), scale=0.5)
    np.testing.assert_allclose(W @ W.T, np.eye(N), atol=1e-12)
    rule = SimilarityMatching(history=1.0)
    M = rule.matrix(rested(rule, 4000, scale=0.5))
    np.testing.assert_allclose(M @ M.T, np.eye(N), atol=1e-2)
    for matrix in (W, M):
        assert rms_correlation(covariance=matrix @ SIGMA @ matrix.T) > 0.5 * rms_correlation(covariance=SIGMA)


def test_similarity_matching_is_a_running_regression_on_the_own_output():
    rule, stream = SimilarityMatching(history=2.0), few(30)
    weights = rule.start(N, 0.5)
    D, WD, QD = np.full(N, 2.0), 2.0 * 0.5 * np.eye(N), np.zeros((N, N))
    for begin in range(0, 30, 3):
        X = stream[begin : begin + 3]
        Y = X @ rule.matrix(weights).T
        weights = rule.step(weights, X)
        D, WD, QD = D + (Y**2).sum(0), WD + Y.T @ X, QD + Y.T @ Y
    np.testing.assert_allclose(weights.D, D, rtol=1e-14)
    np.testing.assert_allclose(weights.W, WD / D[:, None], atol=1e-13)
    Q = QD / D[:, None]
    np.testing.assert_allclose(weights.Q, Q - np.diag(np.diag(Q)), atol=1e-13)


# EASI, off-diagonal rules, whitening ---------------------------------------------------------------------------------


def test_easi_rests_white_and_is_equivariant():
    C = covariance_of(Easi(0.05), rested(Easi(0.05)))
    np.testing.assert_allclose(C, np.eye(N), atol=1e-12)
    # Outputs depend on M A only: mixing the input by A and starting at A⁻¹ changes nothing.
    A, X = np.eye(N) + 0.3 * np.triu(np.ones((N, N)), 1), few()
    plain, mixed = Easi().step(np.eye(N), X), Easi().step(np.linalg.inv(A), X @ A.T)
    np.testing.assert_allclose(mixed @ A, plain, atol=1e-14)


def test_off_diagonal_rules_take_the_printed_step():
    M, X = np.eye(N) + 0.1 * np.random.default_rng(4).standard_normal((N, N)), few()
    Xbar = X @ M.T
    C = Xbar.T @ Xbar / len(X)
    off, D = C - np.diag(np.diag(C)), np.diag(np.diag(C) - 1)
    for kappa in (0.0, 0.3, 1.0):
        E = (1 - kappa) * off + kappa * D
        np.testing.assert_allclose(OffDiagonal(0.1, kappa).step(M, X), M - 0.1 * E @ M, atol=1e-14)
        np.testing.assert_allclose(OffDiagonal(0.1, kappa, relative=False).step(M, X), M - 0.1 * E, atol=1e-14)
    g = np.sqrt((X**2).mean(0) / (Xbar**2).mean(0))
    expected = g[:, None] * (M - 0.1 * off @ M)
    np.testing.assert_allclose(OffDiagonal(0.1, gain="node").step(M, X), expected, atol=1e-13)


@pytest.mark.parametrize("kappa", [0.2, 0.5, 0.8])
def test_the_mixture_of_decorrelation_and_whitening_rests_white(kappa):
    rule = OffDiagonal(0.05, kappa)
    np.testing.assert_allclose(covariance_of(rule, rested(rule)), np.eye(N), atol=1e-12)


def test_copi_decorrelates_and_with_a_gain_keeps_the_power():
    for rule in (OffDiagonal(0.05), OffDiagonal(0.05, gain="node"), OffDiagonal(0.05, relative=False)):
        C = covariance_of(rule, rested(rule))
        assert rms_correlation(covariance=C) < 1e-10
        assert np.allclose(np.diag(C), np.diag(SIGMA)) == (rule.gain == "node")


@pytest.mark.parametrize("kind", ["zca", "pca"])
def test_running_whitening_is_whitening_of_all_samples_seen(kind):
    X, rule = few(300), Whitening(kind)
    weights = rule.start(N)
    for begin, end in ((0, 1), (1, 8), (8, 300)):
        weights = rule.step(weights, X[begin:end])
    np.testing.assert_allclose(weights.moment, X.T @ X / 300, atol=1e-13)
    whole = whitening_matrix(X.T @ X / 300, kind)
    np.testing.assert_allclose(np.abs(rule.matrix(weights)), np.abs(whole), atol=1e-9)


def test_a_forgetting_covariance_follows_a_new_context():
    rule, old, new = Whitening(memory=0.01), np.eye(N), 4.0 * np.eye(N)
    weights = rule.start(N)
    for X in [np.sqrt(N) * old] * 300 + [np.sqrt(N) * new] * 300:
        weights = rule.step(weights, X)
    np.testing.assert_allclose(weights.moment, 16 * np.eye(N), rtol=1e-5)  # 0.99^1500 of the old is left


def test_the_congruent_twins_rest_nearest_to_the_closed_form():
    plan = LearningRule(rule="congruent", rate=0.05, schedule="constant", mean="none", batch=N, limit=None)
    rule = RelativeRule(plan)
    np.testing.assert_allclose(rule.matrix(rested(rule)), decorrelating_matrix(SIGMA), atol=1e-10)


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Foldiak(rate=0), "rate must be > 0; got 0"),
        (lambda: Foldiak(gain="nod"), "gain must be one of 'node', 'layer', 'none'; got 'nod'. Did you mean 'node'?"),
        (lambda: Vogels(rate=-1.0), "rate must be > 0; got -1.0"),
        (lambda: Vogels(target=float("nan")), "target must be a finite number; got nan"),
        (lambda: Vogels(inhibition="recurent"), "Did you mean 'recurrent'?"),
        (lambda: Oja(rate="fast"), "rate must be a number; got 'fast' of type str"),
        (lambda: SimilarityMatching(history=0.0), "history must be > 0; got 0.0"),
        (lambda: Easi(rate=float("inf")), "rate must be a finite number; got inf"),
        (lambda: OffDiagonal(kappa=1.5), "kappa must lie in [0, 1]; got 1.5"),
        (lambda: OffDiagonal(rate=0.0), "rate must be > 0; got 0.0"),
        (lambda: Whitening("zsa"), "Did you mean 'zca'?"),
        (lambda: Whitening(memory=1.0), "memory must lie between 0 and 1, both excluded; got 1.0"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)
