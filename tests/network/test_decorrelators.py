"""The states that decorrelate: against the plain rules, against each other, and where they must refuse."""

from itertools import product

import numpy as np
import pytest

from neurodecorr.credit import Backprop
from neurodecorr.errors import ConfigError, DivergenceError
from neurodecorr.measures import rms_correlation
from neurodecorr.network import Decorrelation, Dense, Network
from neurodecorr.network.decorrelators import decorrelator
from neurodecorr.network.weights import Signals
from neurodecorr.plasticity import rules

RULES = ("explicit", "implicit", "congruent")
GAINS = ("node", "layer", "none")
PLAIN = {
    ("feedforward", "explicit"): rules.explicit_feedforward,
    ("feedforward", "implicit"): rules.implicit_feedforward,
    ("recurrent", "explicit"): rules.explicit_recurrent,
    ("recurrent", "implicit"): rules.local_recurrent,
}


def correlated(rows, n, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, n)) @ rng.standard_normal((n, n)) / np.sqrt(n)).astype(dtype)


def state(plan, n, dtype="float64", rows=1):
    return decorrelator(plan, n, rows, np.dtype(dtype))


def learn(own, X):
    drive = own.centre(X, True)
    Xbar = own.decorrelate(drive, True)
    own.learn(Signals(X, drive, Xbar, X, (), True))
    return drive, Xbar


@pytest.mark.parametrize(
    ("form", "rule", "gain", "rows"), [*product(("feedforward", "recurrent"), RULES[:2], GAINS, (5, 40))]
)
def test_a_step_in_place_is_the_plain_rule(form, rule, gain, rows):
    own = state(Decorrelation(form, rule, rate=0.03, gain=gain, rate_is="absolute"), 12)
    for seed in range(3):
        X = correlated(rows, 12, seed)
        name = "M" if form == "feedforward" else "R"
        before = own.arrays[name].copy()
        drive, Xbar = learn(own, X)
        g = rules.power_gain(drive, Xbar, gain)
        plain = PLAIN[form, rule](before, drive, Xbar, 0.03)
        plain = plain * g[:, None] if form == "feedforward" else plain / g
        np.testing.assert_allclose(own.arrays[name], plain, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("rule", "gain", "rows"), [*product(RULES, GAINS, (6, 30))])
def test_the_twins_stay_inverse_to_each_other(rule, gain, rows):
    own = state(Decorrelation("recurrent", rule, rate=0.02, gain=gain, rate_is="absolute"), 10)
    for seed in range(100):
        learn(own, correlated(rows, 10, seed))
    missed = own.arrays["R"] @ own.arrays["M"] - np.eye(10)
    assert np.abs(missed).max() < 1e-9 * np.linalg.cond(own.arrays["R"])


def curve(form, rule, dtype, batches, settling="twin", gain="node"):
    """Return losses of a network that learns, decorrelating as said."""
    rng = np.random.default_rng(3)
    plan = Decorrelation(form, rule, rate=1e-3, gain=gain, share=0.5, settling=settling, tol=1e-10, rate_is="absolute")
    network = Network([Dense(20), Dense(12, "tanh"), Dense(3, "identity")], 16, decorrelation=plan, dtype=dtype, seed=1)
    rule_at_work, losses = Backprop().start(network), []
    mixing, teacher = rng.standard_normal((16, 16)), rng.standard_normal((16, 3))
    for _ in range(batches):
        X = (rng.standard_normal((32, 16)) @ mixing / 4).astype(dtype)
        Y = np.eye(3, dtype=dtype)[(X @ teacher).argmax(1)]
        credit = rule_at_work.assign(X, Y, rng)
        losses.append(float(credit.loss.mean()))
        for layer, (W, b) in zip(network.layers, credit.gradients, strict=True):
            layer.W -= 0.1 * W
            layer.b -= 0.1 * b
        network.decorrelate(credit.forward.signals)
    return np.array(losses)


@pytest.mark.parametrize(("rule", "gain"), [*product(RULES, ("node", "layer"))])
def test_recurrent_and_feedforward_networks_have_the_same_learning_curve(rule, gain):
    # Rounding errors of 1e-16 per batch grow with learning; 1e-9 leaves seven decades for 200 batches.
    forward, recurrent = (curve(form, rule, "float64", 200, gain=gain) for form in ("feedforward", "recurrent"))
    np.testing.assert_allclose(recurrent, forward, rtol=0, atol=1e-9)
    assert forward[-20:].mean() < 0.7 * forward[:20].mean()


def test_in_single_precision_the_learning_curves_part_by_rounding_alone():
    forward, recurrent = (curve(form, "implicit", "float32", 200) for form in ("feedforward", "recurrent"))
    np.testing.assert_allclose(recurrent, forward, rtol=0, atol=2e-3)


@pytest.mark.parametrize("method", ["direct", "chebyshev"])
def test_simulated_settling_learns_as_the_twin_does(method):
    whole, fast = (curve("recurrent", "implicit", "float64", 20, settling) for settling in (method, "twin"))
    np.testing.assert_allclose(whole, fast, rtol=0, atol=1e-8)


@pytest.mark.parametrize("form", ["feedforward", "recurrent"])
def test_the_adjoint_circuit_settles_at_the_transposed_map(form):
    own = state(Decorrelation(form, "implicit", rate=0.05, settling="direct", tol=1e-10, rate_is="absolute"), 14)
    for seed in range(20):
        learn(own, correlated(10, 14, seed))
    M = own.arrays["M"] if form == "feedforward" else np.linalg.inv(own.arrays["R"])
    E = np.random.default_rng(5).standard_normal((4, 14))
    np.testing.assert_allclose(own.settle_back(E, None), E @ M, rtol=0, atol=1e-8)


def test_a_twin_that_has_drifted_is_computed_anew():
    own = state(Decorrelation("recurrent", "implicit", rate=0.01, rate_is="absolute"), 8)
    own.arrays["M"] *= 1.01
    learn(own, correlated(20, 8))
    missed = own.arrays["R"] @ own.arrays["M"] - np.eye(8)
    assert np.abs(missed).max() < 1e-12


def test_a_twin_that_cannot_be_computed_is_refused():
    own = state(Decorrelation("recurrent", "implicit", rate=0.01, gain="none", rate_is="absolute"), 3)
    own.arrays["R"][...] = 0
    with pytest.raises(DivergenceError, match="must settle to"):
        own._keep_inverse(np.ones((4, 3)))


def test_a_row_that_does_not_settle_is_no_silent_result():
    own = state(Decorrelation("recurrent", settling="direct", tol=1e-18), 6)
    own.arrays["R"][...] = np.eye(6) + 0.1 * correlated(6, 6)
    with pytest.raises(DivergenceError, match=r"rows did not by 'direct' \(row 0: precision"):
        own.decorrelate(correlated(3, 6))


@pytest.mark.parametrize("form", ["feedforward", "recurrent"])
@pytest.mark.parametrize("rows", [4, 30])
def test_the_explicit_rule_needs_a_small_step(form, rows):
    X = correlated(rows, 8)
    largest = np.linalg.norm(X, 2) ** 2 / rows
    quiet, loud = (
        Decorrelation(form, rate=share / largest, gain="none", rule="explicit", rate_is="absolute")
        for share in (0.999, 1.001)
    )
    learn(state(quiet, 8), X)
    with pytest.raises(DivergenceError, match="η λ_max"):
        learn(state(loud, 8), X)


@pytest.mark.parametrize("form", ["feedforward", "recurrent"])
def test_nan_is_refused_by_the_explicit_rule(form):
    with pytest.raises(DivergenceError):
        learn(state(Decorrelation(form, "explicit"), 4), np.full((3, 4), np.nan))


@pytest.mark.parametrize(("form", "rule"), [*product(("feedforward", "recurrent"), RULES)])
def test_a_relative_rate_is_that_over_the_mean_power_of_the_drives(form, rule):
    X = correlated(20, 6)
    power = float(np.mean(X * X))
    relative, absolute = (
        state(Decorrelation(form, rule, rate, mean="none", rate_is=unit), 6)
        for rate, unit in ((0.02, "relative"), (0.02 / power, "absolute"))
    )
    for own in (relative, absolute):
        learn(own, X)
    name = "M" if form == "feedforward" else "R"
    np.testing.assert_allclose(relative.arrays[name], absolute.arrays[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("form", "rule"), [*product(("feedforward", "recurrent"), RULES)])
def test_at_a_relative_rate_nothing_depends_on_the_unit_of_the_input(form, rule):
    small, large = (state(Decorrelation(form, rule, 0.02), 6) for _ in range(2))
    for seed in range(10):
        learn(small, correlated(20, 6, seed))
        learn(large, 2.0**20 * correlated(20, 6, seed))
    name = "M" if form == "feedforward" else "R"
    assert np.abs(small.arrays[name] - np.eye(6)).max() > 0.01
    np.testing.assert_allclose(large.arrays[name], small.arrays[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("form", "rule"), [*product(("feedforward", "recurrent"), RULES)])
def test_a_layer_without_input_learns_nothing_at_a_relative_rate(form, rule):
    own = state(Decorrelation(form, rule), 4)
    learn(own, np.zeros((3, 4)))
    np.testing.assert_array_equal(own.arrays["M"], np.eye(4))


@pytest.mark.parametrize("rate", [1e-3, 1e-2])
def test_a_recurrent_network_learns_and_decorrelates_at_the_usual_relative_rates(rate):
    rng, plan = np.random.default_rng(3), Decorrelation("recurrent", "local", rate)
    assert plan == Decorrelation("recurrent", "implicit", rate, rate_is="relative")
    network = Network([Dense(20), Dense(3, "identity")], 16, decorrelation=plan, dtype="float64", seed=1)
    rule, losses, left = Backprop().start(network), [], []
    mixing, teacher = rng.standard_normal((16, 16)), rng.standard_normal((16, 3))
    for _ in range(400):
        X = rng.standard_normal((32, 16)) @ mixing / 4
        credit = rule.assign(X, np.eye(3)[(X @ teacher).argmax(1)], rng)
        losses.append(float(credit.loss.mean()))
        left.append(rms_correlation(credit.forward.signals[0].xbar))
        for layer, (W, b) in zip(network.layers, credit.gradients, strict=True):
            layer.W -= 0.1 * W
            layer.b -= 0.1 * b
        network.decorrelate(credit.forward.signals)
    assert np.mean(losses[-40:]) < 0.7 * np.mean(losses[:40])
    # 32 samples add 1/√32 = 0.18 of their own to the correlation.
    assert np.mean(left[-40:]) < np.mean(left[:40]) - 0.02


@pytest.mark.parametrize("rule", RULES[:2])
def test_learning_decorrelates(rule):
    own = state(Decorrelation("feedforward", rule, rate=0.05, gain="layer", mean="none", rate_is="absolute"), 6)
    X = correlated(4000, 6, 1)
    for batch in X.reshape(-1, 40, 6):
        learn(own, batch)

    def share(Xbar):
        C = Xbar.T @ Xbar
        return np.linalg.norm(C - np.diag(np.diag(C))) / np.linalg.norm(C)

    assert share(own.decorrelate(X)) < 0.3 * share(X)


def test_an_update_reads_whole_samples():
    own = state(
        Decorrelation("feedforward", rate=0.01, share=0.26, gain="none", rule="explicit", rate_is="absolute"), 3, rows=4
    )
    assert own.rows_read(10) == 3 * 4  # ⌈2.6⌉ samples of four patches
    X = correlated(10 * 4, 3)
    learn(own, X)
    plain = rules.explicit_feedforward(np.eye(3), X[:12], X[:12], 0.01)
    np.testing.assert_allclose(own.arrays["M"], plain, rtol=0, atol=1e-14)


def test_the_mean_follows_the_batches():
    own = state(Decorrelation("feedforward", rate=1e-9, memory=0.25, rule="explicit", rate_is="absolute"), 3)
    for _ in range(2):
        learn(own, np.full((5, 3), 2.0))
    np.testing.assert_allclose(own.arrays["mean"], 2 * (1 - 0.75**2))
    np.testing.assert_allclose(own.centre(np.full((1, 3), 2.0), False), 2 * 0.75**2)


def test_batch_norm_uses_the_batch_in_training_and_running_moments_at_test():
    own = state(Decorrelation("batch_norm", memory=1.0), 4)
    X = correlated(200, 4) + 3
    _, Xbar = learn(own, X)
    np.testing.assert_allclose(Xbar.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(Xbar.var(0), 1, atol=1e-3)
    np.testing.assert_allclose(own.decorrelate(own.centre(X, False)), Xbar, atol=1e-12)


def test_single_features_and_silent_units_stay_finite():
    for form, rule in product(("feedforward", "recurrent"), RULES):
        own = state(Decorrelation(form, rule, rate=0.01, gain="node", rate_is="absolute"), 1)
        drive, _ = learn(own, np.zeros((3, 1)))
        assert np.isfinite(own.decorrelate(drive)).all()
        assert all(np.isfinite(array).all() for array in own.arrays.values())


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("form", "recurent", "recurrent"),
        ("rule", "implict", "implicit"),
        ("gain", "nodes", "node"),
        ("settling", "chebyshew", "chebyshev"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_one(field, value, meant):
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        Decorrelation(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("rate", 0), ("share", 1.5), ("memory", 0), ("tol", -1.0)])
def test_a_number_out_of_range_is_refused(field, value):
    with pytest.raises(ConfigError, match=field):
        Decorrelation(**{field: value})
