"""docs/ledger.md, line by line: what the paper prints, what its code does, and what this library found on the way.

Every test prints what it measured; `pytest tests/test_ledger.py -rP` shows it. The numbers in docs/ledger.md are these.
"""

import itertools
import math

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr._numerics.blas import one_thread
from neurodecorr.errors import DivergenceError, StabilityError
from neurodecorr.measures import power, rms_correlation
from neurodecorr.plasticity import LearningRule, decorrelating_matrix, initial_state, learn, rules

SLOW = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread(64):
        yield


def expectation(sigma):
    """Return rows X with XᵀX/n = Σ exactly: a batch that is its own expectation."""
    values, vectors = np.linalg.eigh(sigma)
    return math.sqrt(len(sigma)) * (vectors * np.sqrt(values)) @ vectors.T


def root_ratio(X, Xbar):
    return np.sqrt((X * X).mean(axis=0) / (Xbar * Xbar).mean(axis=0))


def layer_root_ratio(X, Xbar):
    return np.full(X.shape[1], math.sqrt((X * X).mean() / (Xbar * Xbar).mean()))


def norm_ratio(X, Xbar):
    """The gain of the public code: mean over samples of ‖x‖/√(‖x̄‖² + 1e-8), one number for the layer."""
    return np.full(X.shape[1], np.mean(np.sqrt((X * X).sum(axis=1)) / np.sqrt((Xbar * Xbar).sum(axis=1) + 1e-8)))


def printed_step(M, X, rate, gain, *, transposed=False, gain_first=False):
    """M ← g ∘ (M − η C M), or M ← g ∘ (M − η M C) as the dense layers of the public code have it."""
    Xbar = X @ M.T
    g, C = gain(X, Xbar)[:, None], Xbar.T @ Xbar / len(X)
    if gain_first:
        return g * M - rate * (C @ (g * M))
    return g * (M - rate * (M @ C if transposed else C @ M))


def after(batches, rate, gain, **options):
    """Return M after one pass of the printed rule, or None once it has left 1e100."""
    M = None
    for X in batches:
        M = np.eye(X.shape[1]) if M is None else M
        with np.errstate(all="ignore"):
            M = printed_step(M, X, rate, gain, **options)
        if not np.abs(M).max() < 1e100:
            return None
    return M


def output(M, sigma):
    """Return rms correlation of M x, and its power relative to that of x."""
    C = M @ sigma @ M.T
    return rms_correlation(covariance=C), power(covariance=C) / power(covariance=sigma)


@pytest.fixture(scope="module")
def natural():
    """8 × 8 patches less their population mean, and their population covariance."""
    with one_thread(64):
        X = nd.data.natural_patches(8, 40_000, seed=0).inputs
        return X - X.mean(axis=0), nd.data.patches.natural_patch_covariance(8)


# Misprints of the text.


def test_T1_the_printed_dynamics_grow_without_bound_and_their_only_rest_is_R_x():
    R, x = np.array([[2.0, 1.0], [0.5, 3.0]]), np.array([1.0, -1.0])
    printed = nd.Circuit(-np.eye(2))  # dx̄/dt = x̄ − R x is a circuit with lateral weights −I and drive −R x
    with pytest.raises(StabilityError):
        nd.settle(printed, -R @ x)
    grown = nd.integrate(printed, -R @ x, 30.0, "exponential", times=[10.0, 30.0], allow_unstable=True).xbar
    print(f"‖x̄‖ of the printed dynamics at t = 10τ, 30τ: {np.linalg.norm(grown, axis=1)}")
    np.testing.assert_allclose(grown[1], -R @ x * math.expm1(30.0), rtol=1e-9)
    still = nd.integrate(printed, -R @ x, 1.0, "exponential", times=[1.0], initial=R @ x, allow_unstable=True).xbar[0]
    np.testing.assert_allclose(still, R @ x, rtol=1e-14)
    np.testing.assert_allclose(nd.settle(nd.Circuit(R), x, tol=1e-12).xbar, np.linalg.solve(R, x), atol=1e-12)
    assert np.linalg.norm(R @ x - np.linalg.solve(R, x)) > 1


@pytest.mark.parametrize("condition", [100, *(pytest.param(other, marks=SLOW) for other in (10, 1000, "natural"))])
def test_T2_without_the_root_the_gain_never_rests(condition):
    X, sigma = _stream(condition)
    batches = X.reshape(-1, 64, 16)
    without, rooted = ({"rests": 0, "overflows": 0, "strays": 0} for _ in range(2))
    for gain in (root_ratio, layer_root_ratio):
        for rate in (1e-3, 1e-2, 1e-1):
            without[_fate(after(batches, rate, lambda *a, g=gain: g(*a) ** 2), sigma)] += 1
            rooted[_fate(after(batches, rate, gain), sigma)] += 1
    print(f"{condition}: without the root {without}, with it {rooted}")
    assert without["rests"] == 0
    assert rooted["rests"] == 6


def _stream(condition):
    if condition == "natural":
        X = nd.data.natural_patches(4, 64_000, seed=0).inputs
        return X - X.mean(axis=0), nd.data.patches.natural_patch_covariance(4)
    sigma = nd.data.gaussian_covariance(16, condition)
    return nd.data.correlated_gaussian(16, 64_000, condition, seed=0).inputs, sigma


def _fate(M, sigma):
    """Rests: less correlated than its input, at a power within a factor of two."""
    if M is None:
        return "overflows"
    left, kept = output(M, sigma)
    return "rests" if left < rms_correlation(covariance=sigma) and 0.5 < kept < 2 else "strays"


def test_T2_without_the_root_an_error_of_the_power_alternates_and_grows_by_1_plus_2_eta_p_a_step():
    a = 0.01  # ηp; u = ⟨x̄²⟩/p obeys u ← (1 − a u)²/u, whose rest is 1/(1 + a)
    u, errors = 1 / (1 + a) + 1e-6, []
    for _ in range(200):
        errors.append(u - 1 / (1 + a))
        u = (1 - a * u) ** 2 / u
    ratios = np.array(errors[1:]) / np.array(errors[:-1])
    np.testing.assert_allclose(ratios, -(1 + 2 * a), rtol=1e-3)


def test_T3_the_gain_divides_columns_of_R():
    rng = np.random.default_rng(0)
    M, g = rng.standard_normal((5, 5)) + 4 * np.eye(5), rng.uniform(0.5, 2, 5)
    R = np.linalg.inv(M)
    assert nd.measures.twin_error(R / g[None, :], g[:, None] * M) < 1e-14
    wrong = nd.measures.twin_error(R / g[:, None], g[:, None] * M)
    print(f"‖RM − I‖/√n with rows divided: {wrong:.2f}")
    assert wrong > 0.1


@pytest.mark.parametrize("offset", [0.0, 1.0, 3.0])
def test_T4_a_gain_from_raw_power_keeps_the_mean_squared_as_well(offset):
    sigma = nd.data.gaussian_covariance(16, 1e2)
    X, p = expectation(sigma), np.diag(sigma)
    M = np.eye(16)
    for _ in range(4000):
        Xbar = X @ M.T
        raw = np.sqrt((p + offset**2) / (Xbar * Xbar).mean(axis=0))  # x² not demeaned, x̄² demeaned
        M = printed_step(M, X, 1e-3, lambda *_, g=raw: g)
    kept = output(M, sigma)[1]
    print(f"mean {offset}σ: power {kept:.3f}, 1 + mean² = {1 + offset**2:.0f}")
    # With ratio of powers r, at rest Λ = r p (1 − ηΛ)²: 2 η r p ≤ 0.06 less than r.
    assert kept == pytest.approx(1 + offset**2, rel=0.06)


def test_T5_the_approximation_of_R_is_the_exact_partner_of_the_implicit_rule():
    X = nd.data.correlated_gaussian(16, 6000, 1e2, seed=0).inputs
    left = {(form, rate): _drift(X, rate, form) for form in ("implicit", "explicit") for rate in (1e-3, 1e-2)}
    print({key: f"{value:.1e}" for key, value in left.items()})
    # 6000 rank-one updates, each off by a few roundings: √6000 · 10 ε ≈ 2e-13.
    assert max(left["implicit", 1e-3], left["implicit", 1e-2]) < 2e-13
    assert left["explicit", 1e-3] == pytest.approx(0.12, abs=0.03)
    assert left["explicit", 1e-2] > 0.9


def _drift(X, rate, form):
    """Learn R by R + η (R x̄) x̄ᵀ from its own fixed points, M beside it; return ‖RM − I‖/√n."""
    M, R, p = np.eye(X.shape[1]), np.eye(X.shape[1]), X.var(axis=0)
    for x in X:
        xbar = np.linalg.solve(R, x)
        c, g = (rate, 1 / (1 - rate * p)) if form == "explicit" else (rate / (1 + rate * xbar @ xbar), 1 + rate * p)
        M = g[:, None] * (M - c * np.outer(xbar, xbar @ M))
        R = (R + rate * np.outer(x, xbar)) / g
    return nd.measures.twin_error(R, M)


# What the public code does.


def test_D1_the_other_order_is_harmless_with_a_layer_gain_from_M_equal_I():
    sigma = nd.data.gaussian_covariance(32, 1e3)
    batch = [expectation(sigma)] * 2500
    ours, code = (after(batch, 1e-2, layer_root_ratio, transposed=side) for side in (False, True))
    print(f"‖M − M'‖/‖M‖ = {np.linalg.norm(ours - code) / np.linalg.norm(ours):.1e}; left {output(code, sigma)[0]:.1e}")
    # From M = I both are polynomials in Σ, which commute.
    np.testing.assert_allclose(code, ours, rtol=0, atol=1e-9 * np.abs(ours).max())
    assert output(code, sigma)[0] < 1e-3


def test_D2_the_other_order_destroys_decorrelation_with_a_node_gain():
    sigma = nd.data.gaussian_covariance(32, 1e3)
    batch = [expectation(sigma)] * 2500
    left = [output(after(batch, 1e-2, root_ratio, transposed=side), sigma)[0] for side in (False, True)]
    print(
        f"rms correlation {rms_correlation(covariance=sigma):.3f} → {left[0]:.1e} (text), {left[1]:.3f} (code's order)"
    )
    assert left[0] < 1e-6
    assert left[1] > rms_correlation(covariance=sigma)


def test_D3_the_mean_ratio_of_norms_rests_at_another_power(natural):
    gaussian = nd.data.correlated_gaussian(64, 40_000, 1e3, seed=0).inputs, nd.data.gaussian_covariance(64, 1e3)
    kept = {}
    for name, (X, sigma) in {"natural": natural, "gaussian": gaussian}.items():
        # A scale s of M divides the ratio by s: the rest state's power is the squared ratio at power one.
        kept[name] = norm_ratio(X, X @ decorrelating_matrix(sigma, "layer").T)[0] ** 2
    print(f"power kept at rest: gaussian {kept['gaussian']:.2f}, natural {kept['natural']:.1f}")
    assert kept["gaussian"] == pytest.approx(0.98, abs=0.01)
    assert kept["natural"] == pytest.approx(19, abs=1)


@SLOW
def test_D3_learning_with_it_ends_at_that_power(natural):
    X, sigma = natural
    batches = X[:39_936].reshape(-1, 256, 64)
    M = after(itertools.chain.from_iterable(itertools.repeat(batches, 20)), 1e-3, norm_ratio)
    kept = output(M, sigma)[1]
    print(f"power kept on natural patches: {kept:.1f}")
    assert kept == pytest.approx(19, rel=0.15)


def test_D4_the_order_of_gain_and_step_makes_no_difference_for_a_layer_gain():
    X = nd.data.correlated_gaussian(16, 6400, 1e2, seed=0).inputs.reshape(-1, 64, 16)
    layer = [after(X, 1e-2, layer_root_ratio, gain_first=first) for first in (False, True)]
    node = [after(X, 1e-2, root_ratio, gain_first=first) for first in (False, True)]
    print(f"node gain: ‖M − M'‖/‖M‖ = {np.linalg.norm(node[1] - node[0]) / np.linalg.norm(node[0]):.1e}")
    np.testing.assert_allclose(layer[1], layer[0], rtol=0, atol=1e-12)
    assert np.linalg.norm(node[1] - node[0]) < 1e-2 * np.linalg.norm(node[0])


def test_D5_a_tenth_of_the_batch_leaves_three_times_the_correlation():
    sigma = nd.data.gaussian_covariance(64, 1e2)
    X = nd.data.correlated_gaussian(64, 256 * 600, 1e2, seed=0).inputs.reshape(-1, 256, 64)
    left = {rows: output(after(X[:, :rows], 1e-2, root_ratio), sigma)[0] for rows in (256, 26)}
    print({rows: f"{value:.4f}, √(η/b) = {math.sqrt(1e-2 / rows):.4f}" for rows, value in left.items()})
    assert left[256] == pytest.approx(math.sqrt(1e-2 / 256), rel=0.1)
    assert left[26] == pytest.approx(math.sqrt(1e-2 / 26), rel=0.2)


def test_D12_inference_uses_the_running_mean_whatever_the_batch():
    X = nd.data.correlated_gaussian(16, 5120, 1e2, seed=0).inputs + 3.0
    model = nd.FeedforwardDecorrelator(mean="batch", batch=256, epochs=1).fit(X)
    alone, among = model.transform(X[:1]), model.transform(X)[:1]
    np.testing.assert_allclose(alone, among, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.mean_, X.mean(axis=0), atol=0.05)


# What this library found.


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=SLOW), pytest.param(2, marks=SLOW)])
def test_N1_at_a_constant_rate_the_explicit_rule_loses_power_and_the_others_gain_it(natural, seed):
    kept = {rule: _power_over_time(rule, seed, natural[1]) for rule in ("explicit", "implicit", "congruent")}
    for rule, trace in kept.items():
        print(f"{rule}, seed {seed}: mean {trace.mean():.3f}, range {trace.min():.2f} … {trace.max():.2f}")
    assert 0.84 < kept["explicit"].mean() < 0.89
    assert 1.14 < kept["implicit"].mean() < 1.20
    assert 1.14 < kept["congruent"].mean() < 1.20


def test_N1_the_bias_of_the_power_is_gone_with_the_decaying_rate(natural):
    kept = {rule: _power_over_time(rule, 0, natural[1], "decay")[-1] for rule in ("explicit", "implicit")}
    print({rule: f"{value:.3f}" for rule, value in kept.items()})
    assert kept["explicit"] == pytest.approx(0.97, abs=0.01)
    assert kept["implicit"] == pytest.approx(0.99, abs=0.01)


def _power_over_time(rule, seed, sigma, schedule="constant"):
    """Power kept on 40 000 natural 8 × 8 patches, η = 1e-3, every 500 samples, without the first 8000."""
    X = nd.data.natural_patches(8, 40_000, seed=seed).inputs
    plan = LearningRule(form="feedforward", rule=rule, rate=1e-3, schedule=schedule)
    state, trace = initial_state(X, plan), []
    for chunk in X.reshape(-1, 500, 64):
        state = learn(state, chunk, plan)
        trace.append(power(covariance=state.M @ sigma @ state.M.T) / power(covariance=sigma))
    return np.array(trace[16:])


@pytest.mark.parametrize(("rule", "sign"), [("explicit", -1), ("implicit", 1), ("congruent", 1)])
def test_N2_log_det_R_rests_where_its_increments_cancel(rule, sign):
    # log det R changes by ±log(1 ± η x̄ᵀx̄) from the step and by ∓Σ log(1 ± η p) from the gain, exactly.
    rate = 1e-3
    X = nd.data.correlated_gaussian(64, 50_000, 1e2, seed=0).inputs
    plan = LearningRule(form="feedforward", rule=rule, rate=rate, schedule="constant", limit=None, mean="none")
    state, squares, grown, given = initial_state(X, plan), [], [], []
    for index, chunk in enumerate(X.reshape(-1, 50, 64)):
        if index >= 200:  # 10 000 samples: 10/η
            square = ((chunk @ state.M.T) ** 2).sum(axis=1) / (state.power.mean() * state.scale**2)
            squares.append(square)
            grown.append(sign * np.log1p(sign * rate * square).mean())
            given.append(sign * np.log1p(sign * rate * state.power / state.power.mean()).sum())
        state = learn(state, chunk, plan)
    squares = np.concatenate(squares)
    predicted = 1 + sign * rate / 2 * ((squares**2).mean() - 64) / 64
    print(f"{rule}: ⟨log(1 ± ηs)⟩ {np.mean(grown):.5f} = Σ log(1 ± ηp) {np.mean(given):.5f}")
    print(f"power {squares.mean() / 64:.3f}, predicted {predicted:.3f}")
    assert np.mean(grown) == pytest.approx(np.mean(given), rel=2e-3)
    assert squares.mean() / 64 == pytest.approx(predicted, abs=0.01)
    assert sign * (squares.mean() / 64 - 1) > 0.02


@pytest.mark.parametrize("rate", [1e-3, pytest.param(3e-4, marks=SLOW)])
def test_N3_the_noise_floor_of_gaussian_inputs_is_the_root_of_the_rate(rate):
    sigma = nd.data.gaussian_covariance(64, 1e1)
    X = nd.data.correlated_gaussian(64, 40_000, 1e1, seed=0).inputs
    plan = LearningRule(form="feedforward", rule="implicit", rate=rate, schedule="constant", limit=None, mean="none")
    state, left = initial_state(X, plan), []
    for chunk in X.reshape(-1, 500, 64):
        state = learn(state, chunk, plan)
        left.append(output(state.M, sigma)[0])
    floor = math.sqrt(np.mean(np.square(left[40:])))
    print(f"η = {rate:g}: rms correlation {floor:.4f}, √η = {math.sqrt(rate):.4f}")
    assert floor == pytest.approx(math.sqrt(rate), rel=0.05)


def test_N3_the_noise_floor_of_the_congruent_rule_is_higher_by_the_spread_of_R():
    sigma = nd.data.gaussian_covariance(64, 1e2)
    X = nd.data.correlated_gaussian(64, 40_000, 1e2, seed=0).inputs
    plan = LearningRule(
        "feedforward", "congruent", rate=1e-3, schedule="constant", gain="layer", limit=None, mean="none"
    )
    state, left = initial_state(X, plan), []
    for chunk in X.reshape(-1, 500, 64):
        state = learn(state, chunk, plan)
        left.append(output(state.M, sigma)[0])
    floor = math.sqrt(np.mean(np.square(left[40:])))
    logs = np.log(np.linalg.eigvalsh(decorrelating_matrix(sigma, "layer")))
    a = 1 + np.cosh(logs[:, None] - logs)[~np.eye(64, dtype=bool)]
    predicted = math.sqrt(1e-3 * a.mean() / 2)
    print(f"rms correlation {floor:.4f}, predicted {predicted:.4f}")
    assert floor == pytest.approx(predicted, rel=0.05)
    assert predicted > 1.1 * math.sqrt(1e-3)


def _congruent_rest(sigma, rate, gain, steps=1500):
    """Return M and the last output covariances of the congruent rule fed with its own expectation, near M* at first."""
    X, p = expectation(sigma), np.diag(sigma)
    off = np.exp(1e-2 * np.random.default_rng(0).standard_normal(len(sigma)))
    M, trace = decorrelating_matrix(sigma) * np.outer(off, off), []
    for _ in range(steps):
        Xbar = X @ M.T
        g = rules.power_gain(X, Xbar, "node") if gain == "ratio" else rules.homeostatic_gain(p, rate, "node")
        M = rules.congruent_feedforward(M, X, Xbar, rate) * np.sqrt(np.outer(g, g))
        trace.append(M @ sigma @ M.T)
    return M, trace


@pytest.mark.parametrize(
    ("features", "seed", "expected"),
    [(32, 0, 0.057), *(pytest.param(64, seed, 0.031, marks=SLOW) for seed in range(3))],
)
def test_N4_the_congruent_rule_with_the_ratio_of_powers_falls_into_a_cycle_of_two_steps(features, seed, expected):
    _, trace = _congruent_rest(nd.data.gaussian_covariance(features, 1e3, seed), 1e-2, "ratio")
    one, two = (np.abs(np.diag(trace[-1]) / np.diag(trace[-1 - lag]) - 1).max() for lag in (1, 2))
    left = rms_correlation(covariance=trace[-1])
    print(
        f"n = {features}, seed {seed}: left {left:.3f}; powers change by up to {one:.2f} in one step, {two:.3f} in two"
    )
    assert left == pytest.approx(expected, abs=0.006)
    assert one > 0.2
    assert two < 0.05


@pytest.mark.parametrize(("condition", "rests"), [(300, True), (500, False)])
def test_N4_the_cycle_begins_where_the_largest_eigenvalue_of_M_times_R_entrywise_passes_three(condition, rests):
    sigma = nd.data.gaussian_covariance(32, condition)
    M = decorrelating_matrix(sigma)
    largest = np.linalg.eigvals(M * np.linalg.inv(M)).real.max()
    left = rms_correlation(covariance=_congruent_rest(sigma, 1e-2, "ratio")[1][-1])
    print(f"κ = {condition}: largest eigenvalue of M ∘ R {largest:.2f}; left {left:.1e}")
    assert (largest < 3) == rests
    assert (left < 1e-6) == rests


def test_N4_with_the_homeostatic_gain_it_rests_at_C_equal_diag_p_and_at_the_closed_form():
    sigma = nd.data.gaussian_covariance(32, 1e3)
    M, trace = _congruent_rest(sigma, 1e-2, "homeostatic")
    # The slowest mode shrinks by at least exp(−2 η min p) a step: exp(−2 · 1500 · 0.01 · 0.5) ≈ 3e-7, from 1e-2.
    np.testing.assert_allclose(trace[-1], np.diag(np.diag(sigma)), rtol=0, atol=1e-8)
    np.testing.assert_allclose(M, decorrelating_matrix(sigma), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("rate", "kept"), [(1e-2, 0.980), (5e-2, 0.912)])
def test_N5_the_ratio_of_powers_before_the_update_rests_below_power_one(rate, kept):
    sigma = nd.data.gaussian_covariance(32, 1e2)
    X, p, M = expectation(sigma), np.diag(sigma), np.eye(32)
    for _ in range(1500):
        Xbar = X @ M.T
        M = rules.implicit_feedforward(M, X, Xbar, rate) * rules.power_gain(X, Xbar, "node")[:, None]
    C = M @ sigma @ M.T
    print(f"η = {rate:g}: power {power(covariance=C) / power(covariance=sigma):.4f}")
    np.testing.assert_allclose(np.diag(C) * (1 + rate * np.diag(C)) ** 2, p, rtol=1e-8)
    assert power(covariance=C) / power(covariance=sigma) == pytest.approx(kept, abs=2e-3)


def test_N5_at_a_falling_rate_the_last_batch_decides_under_the_ratio_and_not_under_the_homeostatic_gain():
    X = nd.data.correlated_gaussian(8, 20_001, 1e2, seed=0).inputs
    M = np.eye(8)
    for update, begin in enumerate(np.tile(np.arange(0, len(X), 100), 10)):
        rows = X[begin : begin + 100]  # 200 batches of 100 rows, and one of a single row
        Xbar, rate = rows @ M.T, 1e-2 / (1 + max(0, update - 650) / 50)
        M = rules.implicit_feedforward(M, rows, Xbar, rate) * rules.power_gain(rows, Xbar, "node")[:, None]
    ratio = (X @ M.T).var(axis=0) / X.var(axis=0)
    print(f"power kept with the ratio of powers: {ratio.min():.2f} … {ratio.max():.2f}")
    assert ratio.min() < 0.5
    assert ratio.max() > 2
    for rule in ("implicit", "explicit", "congruent"):
        model = nd.FeedforwardDecorrelator(rule=rule, batch=100, rate=1e-2, epochs=10).fit(X)
        kept = model.transform(X).var(axis=0) / X.var(axis=0)
        print(f"{rule}, homeostatic: {kept.min():.3f} … {kept.max():.3f}")
        np.testing.assert_allclose(kept, 1, atol=0.03)


def test_N6_the_explicit_rule_meets_its_singular_point_on_natural_patches():
    X = nd.data.natural_patches(8, 40_000, seed=0).inputs
    free = LearningRule(rule="explicit", rate=1e-3, schedule="constant", limit=None)
    with pytest.raises(DivergenceError, match="η‖x̄‖² < 1") as caught:
        learn(initial_state(X, free), X, free)
    print(caught.value)
    held = LearningRule(rule="explicit", rate=1e-3, schedule="constant", limit=0.1)
    state = learn(initial_state(X, held), X, held)
    print(f"with the limiter: {state.limited} of {len(X)} steps shortened")
    assert 0 < state.limited < 0.2 * len(X)


@SLOW
def test_N7_at_a_constant_rate_the_local_rule_loses_the_stability_of_its_circuit_and_the_congruent_rule_does_not():
    X = nd.data.natural_patches(8, 150_000, seed=0).inputs
    local = LearningRule(rule="implicit", rate=1e-3, schedule="constant")
    with pytest.raises(StabilityError, match="min Re λ") as caught:
        learn(initial_state(X, local), X, local)
    print(caught.value)
    congruent = LearningRule(rule="congruent", rate=1e-3, schedule="constant")
    margin = np.linalg.eigvalsh(learn(initial_state(X, congruent), X, congruent).R)[0]
    print(f"congruent: λ_min(R) = {margin:.3f} after {len(X)} samples")
    assert margin > 0.05
