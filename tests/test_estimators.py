"""The two forms as scikit-learn transformers."""

import copy
import dataclasses
import pickle
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.linalg
from sklearn.base import clone
from sklearn.covariance import OAS, EmpiricalCovariance, LedoitWolf
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import neurodecorr as nd
from neurodecorr import measures, plasticity
from neurodecorr.errors import ConfigError, DegenerateInputWarning, DivergenceError, InputError, StabilityError

pytestmark = pytest.mark.rounding

FORMS = (
    (nd.RecurrentDecorrelator, ("implicit", "explicit", "congruent")),
    (nd.FeedforwardDecorrelator, ("implicit", "explicit", "congruent")),
)
GAINS = ("node", "layer", "none")
# Defaults first; then every two of form, rule, gain and batch together, in few passes: the contract fits 50 times each.
ESTIMATORS = [
    nd.RecurrentDecorrelator(),
    nd.FeedforwardDecorrelator(),
    *(
        FORMS[(i + j) % 2][0](
            rule=rule, gain=gain, epochs=5, **({"batch": 4, "mean": "batch"} if (i + j) % 3 == 0 else {})
        )
        for i, rule in enumerate(FORMS[0][1])
        for j, gain in enumerate(GAINS)
    ),
    *(form(mean="none", schedule="constant", epochs=5) for form, _ in FORMS),
    nd.RecurrentDecorrelator(solver="offline", gain="layer"),
    nd.FeedforwardDecorrelator(solver="offline"),
    nd.RecurrentDecorrelator(solver="offline", covariance=LedoitWolf()),
]


@pytest.fixture(autouse=True)
def _array_api(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


def expected_failures(estimator):
    """Return the checks that ask for what the closed form cannot do, and why."""
    if estimator.solver == "online":
        return {}
    collinear = {"check_array_api_input": "its data hold linear combinations of other features"}
    if estimator.covariance is None:
        return collinear
    whole = "an estimator of the covariance needs all samples at once"
    return {"check_fit_score_takes_y": whole, "check_n_features_in_after_fitting": whole}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
@pytest.mark.filterwarnings("ignore::neurodecorr.errors.DegenerateInputWarning")
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def X():
    return nd.data.correlated_gaussian(features=12, samples=20_000, condition=100, seed=3).inputs + 5.0


def test_the_two_forms_give_the_same_output_to_rounding(X):
    recurrent = nd.RecurrentDecorrelator().fit(X)
    feedforward = nd.FeedforwardDecorrelator().fit(X)
    # Settled to a certified relative 1e-6 at worst; the direct method reaches rounding times the condition of R.
    np.testing.assert_allclose(recurrent.transform(X), feedforward.transform(X), rtol=0, atol=1e-10)
    np.testing.assert_allclose(recurrent.M_, feedforward.M_, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rule", ["implicit", "explicit", "congruent"])
def test_default_learning_decorrelates_and_keeps_power(X, rule):
    Xbar = nd.RecurrentDecorrelator(rule=rule).fit(X).transform(X)
    assert nd.measures.rms_correlation(X) > 0.2
    assert nd.measures.rms_correlation(Xbar) < 0.02
    assert 0.9 < nd.measures.power_kept(X, Xbar) < 1.1


def test_layer_gain_whitens_up_to_one_scale(X):
    C = nd.measures.covariance(nd.RecurrentDecorrelator(gain="layer").fit(X).transform(X))
    level = np.trace(nd.measures.covariance(X)) / len(C)
    assert np.abs(C / level - np.eye(len(C))).max() < 0.1


def test_the_congruent_rule_comes_to_rest_at_the_closed_form(X):
    M = nd.RecurrentDecorrelator(rule="congruent").fit(X).M_
    reference = nd.plasticity.decorrelating_matrix(nd.measures.covariance(X))
    assert np.linalg.norm(M - reference) / np.linalg.norm(reference) < 0.03


@pytest.mark.parametrize("form", [nd.RecurrentDecorrelator, nd.FeedforwardDecorrelator])
def test_inverse_transform_returns_the_input(X, form):
    model = form().fit(X)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, rtol=0, atol=1e-8)


@pytest.mark.parametrize("form", [nd.RecurrentDecorrelator, nd.FeedforwardDecorrelator])
def test_float32_stays_float32(X, form):
    model = form().fit(X.astype(np.float32))
    assert {model.R_.dtype, model.M_.dtype, model.mean_.dtype} == {np.dtype(np.float32)}
    assert model.transform(X[:5].astype(np.float32)).dtype == np.float32
    assert model.inverse_transform(X[:5].astype(np.float32)).dtype == np.float32


def test_learning_in_pieces_is_learning_at_once(X):
    whole = nd.RecurrentDecorrelator(epochs=1).fit(X)
    pieces = nd.RecurrentDecorrelator()
    for part in np.split(X, 8):
        pieces.partial_fit(part)
    assert whole.n_samples_seen_ == pieces.n_samples_seen_ == len(X)
    np.testing.assert_allclose(pieces.M_, whole.M_, rtol=0, atol=1e-12)


def test_inference_uses_the_running_mean(X):
    model = nd.FeedforwardDecorrelator(batch=20, mean="batch").fit(X)
    np.testing.assert_allclose(model.mean_, X.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(model.transform(model.mean_[None]), 0, atol=1e-12)


def test_small_data_are_passed_over_until_the_rate_has_done_its_work():
    X = nd.data.digits().inputs
    model = nd.RecurrentDecorrelator().fit(X)
    assert model.n_samples_seen_ == len(X) * -(-19_500 // len(X))
    assert nd.measures.rms_correlation(model.transform(X)) < 0.3 * nd.measures.rms_correlation(X)


def test_pickle_and_clone_and_pipeline(X):
    model = make_pipeline(StandardScaler(), nd.RecurrentDecorrelator(epochs=1)).fit(X[:500])
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.transform(X[:5]), model.transform(X[:5]))
    assert not hasattr(clone(model)[-1], "_state")


@pytest.mark.parametrize(
    ("X_bad", "message"),
    [
        (np.where(np.arange(24).reshape(2, 12) == 1, np.nan, 1.0), "found nan at row 0, column 1"),
        (np.where(np.arange(24).reshape(2, 12) == 12, np.inf, 1.0), "found inf at row 1, column 0"),
        (np.ones(3), "2D array"),
        (np.ones((2, 2, 2)), "dim 3"),
        (np.empty((0, 2)), r"0 sample\(s\)"),
        (np.ones((3, 2)) * 1j, "[Cc]omplex"),
        (np.array([["a", "b"], ["c", "d"]], dtype=object), "could not convert|must be"),
    ],
)
def test_bad_input_is_named_and_leaves_the_model_as_it_was(X, X_bad, message):
    model = nd.RecurrentDecorrelator(epochs=1).fit(X[:200])
    before = model.M_.copy()
    with pytest.raises(InputError, match=message):
        model.partial_fit(X_bad)
    np.testing.assert_array_equal(model.M_, before)


def test_wrong_width_names_both_widths(X):
    model = nd.RecurrentDecorrelator(epochs=1).fit(X[:200])
    with pytest.raises(InputError, match=r"5 features.*12 features"):
        model.transform(np.ones((2, 5)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate must be > 0; got 0"),
        ({"rate": -1.0}, "rate must be > 0"),
        ({"rate": float("nan")}, "finite"),
        ({"rate": "fast"}, "rate must be a number; got 'fast'"),
        ({"rule": "lokal"}, "Did you mean 'local'"),
        ({"gain": "nodes"}, "Did you mean 'node'"),
        ({"schedule": "constnat"}, "Did you mean 'constant'"),
        ({"settling": "chebychev"}, "Did you mean 'chebyshev'"),
        ({"tau": 0}, "tau must be > 0"),
        ({"batch": 0}, "batch must be a whole number"),
        ({"epochs": 0}, "epochs must be a whole number"),
        ({"mean": "batch"}, "needs batch > 1"),
        ({"limit": -1}, "limit must be > 0"),
        ({"solver": "ofline"}, "Did you mean 'offline'"),
        ({"solver": "offline", "gain": "none"}, "gain must be 'node' or 'layer'"),
        ({"covariance": LedoitWolf()}, "covariance needs solver='offline'"),
        ({"solver": "offline", "covariance": np.eye(2)}, "covariance must be a covariance estimator"),
    ],
)
def test_bad_options_are_named(X, options, message):
    with pytest.raises(ConfigError, match=message):
        nd.RecurrentDecorrelator(**options).fit(X[:10])


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="learning_rate"):
        nd.RecurrentDecorrelator(learning_rate=0.1)


@pytest.mark.parametrize("rate", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("rule", ["implicit", "explicit", "congruent"])
def test_huge_rates_are_limited_and_counted(X, rate, rule):
    model = nd.RecurrentDecorrelator(rate=rate, rule=rule, schedule="constant", epochs=1).fit(X[:2000])
    assert model.n_limited_ > 1900
    assert np.isfinite(model.transform(X)).all()
    assert nd.stability(model.circuit_).stable


@pytest.mark.parametrize("rule", ["implicit", "explicit"])
def test_a_circuit_that_drifts_out_of_stability_is_reported_not_returned(X, rule):
    model = nd.RecurrentDecorrelator(rate=1.0, rule=rule, schedule="constant", epochs=3)
    with pytest.raises(StabilityError, match=r"got -.* after sample \d+"):
        model.fit(X)
    assert not hasattr(model, "_state")
    congruent = nd.RecurrentDecorrelator(rate=1.0, rule="congruent", schedule="constant", epochs=3).fit(X)
    assert nd.stability(congruent.circuit_).margin > 0


def test_without_the_limiter_the_explicit_rule_names_the_sample(X):
    model = nd.RecurrentDecorrelator(rate=10, rule="explicit", limit=None)
    with pytest.raises(DivergenceError, match="at sample"):
        model.fit(X)
    assert not hasattr(model, "_state")


@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e30])
def test_the_result_does_not_depend_on_the_unit_of_the_input(X, scale):
    single = X.astype(np.float32)
    unit = nd.RecurrentDecorrelator(epochs=1).fit(single)
    scaled = nd.RecurrentDecorrelator(epochs=1).fit(single * np.float32(scale))
    # float32 keeps 7 digits; 20 000 updates and κ(R) ≈ 10 leave at least 2.
    np.testing.assert_allclose(scaled.M_, unit.M_, rtol=0, atol=2e-2)
    np.testing.assert_allclose(scaled.mean_ / np.float32(scale), unit.mean_, rtol=1e-3)


def test_feature_scales_far_apart_are_reported(X):
    with pytest.warns(DegenerateInputWarning, match="Standardise"):
        nd.RecurrentDecorrelator(epochs=1).fit(X[:1000] * np.where(np.arange(12) == 3, 1e-6, 1.0))


def test_identical_units_are_held_back_and_reported(X):
    doubled = np.c_[X, X[:, :1]]
    model = nd.RecurrentDecorrelator(rate=1e-2, schedule="constant")
    with pytest.warns(DegenerateInputWarning, match="no independent signal"):
        model.partial_fit(doubled)
    assert np.isfinite(model.transform(doubled)).all()
    assert np.linalg.norm(model.M_, 2) <= 1e8


def test_units_that_no_rule_can_tell_apart_are_named_before_learning(X):
    with pytest.warns(DegenerateInputWarning, match="such as 0, 12"):
        nd.RecurrentDecorrelator(epochs=1).fit(np.c_[X, 2 * X[:, 0]])
    with pytest.warns(DegenerateInputWarning, match="more units than samples"):
        nd.RecurrentDecorrelator(epochs=1).fit(X[:7])


def test_a_silent_unit_stays_silent_and_does_no_harm(X):
    quiet = np.c_[X, np.full(len(X), 7.0)]
    Xbar = nd.RecurrentDecorrelator().fit(quiet).transform(quiet)
    assert np.abs(Xbar[:, -1]).max() < 1e-6
    assert nd.measures.rms_correlation(Xbar) < 0.02


# Batches --------------------------------------------------------------------------------------------------------------


def heavy_tails(samples, features=8):
    rng = np.random.default_rng(5)
    return rng.standard_t(4, (samples, features)) @ np.linalg.cholesky(nd.data.gaussian_covariance(features, 50.0)).T


KINDS = {
    "gaussian": (lambda N: nd.data.correlated_gaussian(features=8, samples=N, condition=50.0).inputs, 0.1),
    "natural": (lambda N: nd.data.natural_patches(size=5, samples=N, seed=0).inputs, 0.1),
    "heavy tails": (heavy_tails, 0.15),
}


def powers_kept(model, X):
    return model.transform(X).var(axis=0) / X.var(axis=0)


@pytest.mark.parametrize(
    "batch", [1, 26, 256, 6001, *(pytest.param(b, marks=pytest.mark.slow) for b in (2, 100, 1000))]
)
@pytest.mark.parametrize(("form", "rules"), FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_unit_keeps_its_power_whatever_the_batch(kind, form, rules, batch):
    make, off = KINDS[kind]
    X = make(6001)  # 2, 100 and 1000 leave one row over
    for rule in rules:
        kept = powers_kept(form(rate=1e-2, rule=rule, batch=batch, epochs=5).fit(X), X)
        assert np.abs(kept - 1).max() < off, rule


@pytest.mark.parametrize("batch", [100, 256, 1000])
def test_a_short_last_batch_counts_by_its_rows(batch):
    X = nd.data.natural_patches(size=5, samples=6001, seed=0).inputs
    whole = X[: len(X) - len(X) % batch]
    for form, rules in FORMS:
        for rule in rules:
            more, less = (form(rate=1e-2, rule=rule, batch=batch, epochs=3).fit(Z) for Z in (X, whole))
            np.testing.assert_allclose(powers_kept(more, X), powers_kept(less, X), atol=0.02, err_msg=rule)


@pytest.mark.parametrize("gain", ["node", pytest.param("layer", marks=pytest.mark.slow)])
def test_a_batch_learns_what_its_samples_learn_one_by_one(gain, X):
    alone = nd.FeedforwardDecorrelator(gain=gain, epochs=4).fit(X).M_
    for batch in (2, 20):
        together = nd.FeedforwardDecorrelator(gain=gain, epochs=4, batch=batch).fit(X).M_
        np.testing.assert_allclose(together, alone, rtol=0, atol=0.02 * np.abs(alone).max())


def test_a_batch_larger_than_the_data_is_refused_by_fit_and_taken_by_partial_fit(X):
    model = nd.RecurrentDecorrelator(batch=len(X) + 1)
    with pytest.raises(ConfigError, match=f"got batch={len(X) + 1} for {len(X)} sample"):
        model.fit(X)
    assert not hasattr(model, "_state")
    assert model.partial_fit(X[:7]).n_samples_seen_ == 7


def test_a_large_batch_needs_no_more_passes():
    X = nd.data.correlated_gaussian(features=8, samples=500, condition=50.0).inputs
    assert nd.RecurrentDecorrelator(batch=500).fit(X).n_samples_seen_ == 500 * -(-19_500 // 500)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_matrices_that_do_not_fit_in_memory_are_refused_before_they_are_made(call, monkeypatch):
    from neurodecorr._numerics import memory as _memory

    monkeypatch.setattr(_memory, "available", lambda: 10**9)
    with pytest.raises(InputError, match=r"20,000 units .*X\.T"):
        getattr(nd.RecurrentDecorrelator(), call)(np.ones((2, 20_000)))


def by_square_roots(sigma, gamma):
    """Return M* = Σ^-½ (Σ^½ Γ Σ^½)^½ Σ^-½ by Schur's square roots."""
    root = scipy.linalg.sqrtm(sigma)
    return np.linalg.solve(root, np.linalg.solve(root, scipy.linalg.sqrtm(root @ gamma @ root)).T)


@pytest.mark.parametrize("form", [form for form, _ in FORMS])
@pytest.mark.parametrize("gain", ["node", "layer"])
@pytest.mark.parametrize("mean", ["running", "none"])
def test_offline_is_the_closed_form_of_the_samples(X, form, gain, mean):
    model = form(solver="offline", gain=gain, mean=mean).fit(X)
    centred = X - X.mean(axis=0) if mean == "running" else X
    sigma = centred.T @ centred / len(X)
    gamma = np.diag(np.diag(sigma)) if gain == "node" else np.trace(sigma) / 12 * np.eye(12)
    np.testing.assert_allclose(model.M_, by_square_roots(sigma, gamma), rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.M_ @ sigma @ model.M_, gamma, rtol=0, atol=1e-10 * np.trace(sigma))
    np.testing.assert_allclose(model.R_ @ model.M_, np.eye(12), rtol=0, atol=1e-11)
    np.testing.assert_allclose(model.mean_, X.mean(axis=0) if mean == "running" else np.zeros(12), rtol=1e-12)
    Xbar = model.transform(X)
    np.testing.assert_allclose(Xbar, (X - model.mean_) @ model.M_.T, rtol=0, atol=1e-5 * np.abs(Xbar).max())
    assert model.n_samples_seen_ == len(X)


def test_offline_is_where_learning_comes_to_rest(X):
    offline = nd.FeedforwardDecorrelator(solver="offline").fit(X)
    online = nd.FeedforwardDecorrelator(rule="congruent").fit(X)
    assert np.linalg.norm(online.M_ - offline.M_) < 0.05 * np.linalg.norm(offline.M_)
    assert nd.measures.rms_correlation(offline.transform(X)) < 1e-10


@pytest.mark.parametrize("estimator", [LedoitWolf(), OAS(), EmpiricalCovariance(assume_centered=True)])
def test_offline_takes_the_covariance_that_an_estimator_finds(estimator):
    X = np.random.default_rng(0).standard_normal((20, 31)) + 3.0
    if isinstance(estimator, EmpiricalCovariance) and type(estimator) is EmpiricalCovariance:
        X = X[:, :8]
    model = nd.RecurrentDecorrelator(solver="offline", covariance=estimator, mean="none").set_params(
        mean="none" if estimator.assume_centered else "running"
    )
    found = clone(estimator).fit(X)
    M = model.fit(X).M_
    np.testing.assert_allclose(M @ found.covariance_ @ M, np.diag(np.diag(found.covariance_)), rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.mean_, found.location_, rtol=1e-12)
    assert not hasattr(estimator, "covariance_")  # the given one stays as it was


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_offline_in_pieces_is_offline_at_once(X, dtype):
    X = X[:500].astype(dtype)
    whole, pieces = nd.RecurrentDecorrelator(solver="offline").fit(X), nd.RecurrentDecorrelator(solver="offline")
    for rows in (X[:1], X[1:3], X[3:4], X[4:400], X[400:]):
        pieces.partial_fit(rows)
    assert pieces.R_.dtype == dtype and pieces.n_samples_seen_ == 500
    tight = 1e-11 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(pieces.R_, whole.R_, rtol=0, atol=tight)
    np.testing.assert_allclose(pieces.mean_, whole.mean_, rtol=1e-6 if dtype == np.float32 else 1e-13)
    again = pickle.loads(pickle.dumps(whole.fit(X[:250]))).partial_fit(X[250:])
    np.testing.assert_allclose(again.R_, pieces.R_, rtol=0, atol=tight)
    assert again.circuit_ is again.circuit_


def test_offline_in_pieces_from_two_threads_loses_no_row(X):
    model, pieces = nd.FeedforwardDecorrelator(solver="offline"), np.array_split(X[:2000], 40)
    model.partial_fit(X[:100])
    with ThreadPoolExecutor(4) as pool:
        learning = [pool.submit(model.partial_fit, rows) for rows in pieces]
        reading = [pool.submit(getattr, model, "M_") for _ in pieces]
        for done in learning + reading:
            done.result()
    whole = nd.FeedforwardDecorrelator(solver="offline").fit(np.concatenate([X[:100], X[:2000]]))
    assert model.n_samples_seen_ == 2100
    np.testing.assert_allclose(model.M_, whole.M_, rtol=0, atol=1e-10)


def test_learning_goes_on_from_the_closed_form(X):
    model = nd.RecurrentDecorrelator(solver="offline").fit(X)
    before = model.R_.copy()
    model.set_params(solver="online").partial_fit(X)
    assert model.n_samples_seen_ == 2 * len(X)
    assert 0 < np.linalg.norm(model.R_ - before) < 0.05 * np.linalg.norm(before)
    with pytest.raises(ConfigError, match="must know the covariance of all samples so far"):
        model.set_params(solver="offline").partial_fit(X)


def test_what_offline_cannot_solve_is_named(X):
    with pytest.raises(InputError, match=r"13; it has 12.* units 0, 12"):
        nd.RecurrentDecorrelator(solver="offline").fit(np.column_stack([X, X[:, 0]]))
    with pytest.raises(InputError, match=r"12; it has 7: .*LedoitWolf"):
        nd.RecurrentDecorrelator(solver="offline").fit(X[:8])
    with pytest.raises(InputError, match=r"it has 11: .*units 3\."):
        nd.RecurrentDecorrelator(solver="offline").fit(np.where(np.arange(12) == 3, 7.3, X))
    with pytest.raises(InputError, match="inputs must vary"):
        nd.FeedforwardDecorrelator(solver="offline").fit(np.ones((5, 2)))
    with pytest.raises(InputError, match="Scale it"):
        nd.FeedforwardDecorrelator(solver="offline").fit(X * 1e200)
    with pytest.raises(ConfigError, match="mean='none' needs an estimator"):
        nd.FeedforwardDecorrelator(solver="offline", covariance=OAS(), mean="none").fit(X)
    model = nd.FeedforwardDecorrelator(solver="offline", covariance=OAS()).fit(X)
    with pytest.raises(ConfigError, match="covariance must be left out of partial_fit"):
        model.partial_fit(X)


@pytest.mark.parametrize("form", [form for form, _ in FORMS])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_transform_in_chunks_is_transform_at_once(X, form, dtype):
    rows = 2 * (measures.CHUNK // 12) + 7  # three chunks
    X = np.resize(X, (rows, 12)).astype(dtype)
    model = form(solver="offline").fit(X)
    Xbar = model.transform(X)
    assert Xbar.dtype == dtype
    whole = (X.astype(np.float64) - model.mean_) @ model.M_.astype(np.float64).T
    np.testing.assert_allclose(Xbar, whole, rtol=0, atol=(1e-5 if dtype == np.float32 else 1e-10) * np.abs(whole).max())
    X[-3, 4] = np.inf
    with pytest.raises(InputError, match=rf"found inf at row {rows - 3}, column 4 \(1 such in all\)"):
        model.transform(X)
    with pytest.raises(InputError, match=rf"found inf at row {rows - 3}, column 4"):
        model.fit(X)


def test_fit_and_transform_take_no_copy_of_the_data():
    X = np.random.default_rng(0).standard_normal((400_000, 8)).astype(np.float32)
    model = nd.FeedforwardDecorrelator(epochs=1).fit(X[:1000])
    for call, kept in ((model.transform, X.nbytes), (model.fit, 0)):
        tracemalloc.start()
        result = call(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        del result
        assert peak < kept + 0.5 * X.nbytes


ROW_RULES = [
    (nd.RecurrentDecorrelator, {}),
    (nd.RecurrentDecorrelator, {"rule": "explicit", "gain": "layer"}),
    (nd.RecurrentDecorrelator, {"rule": "congruent"}),
    (nd.RecurrentDecorrelator, {"schedule": "constant", "mean": "none"}),
    (nd.FeedforwardDecorrelator, {"rate_is": "absolute", "rate": 1e-3}),
    (nd.FeedforwardDecorrelator, {"gain": "none", "schedule": "constant"}),
]


@pytest.mark.parametrize(("form", "options"), ROW_RULES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_samples_one_by_one_teach_what_the_plain_loop_learns(X, form, options, dtype):
    X = X[:1300].astype(dtype)
    model = form(**options)
    for k in range(len(X)):
        model.partial_fit(X[k : k + 1])
        if k % 97 == 0:
            assert model.M_.shape == (12, 12)  # a look folds the open block
    plan = dataclasses.replace(model.plan(), engine="plain")
    state = plasticity.learn(plasticity.initial_state(X[:1], plan), X, plan)
    tight = 1e-10 if dtype == np.float64 else 5e-3
    np.testing.assert_allclose(model.M_, state.matrix, rtol=0, atol=tight)
    np.testing.assert_allclose(model.R_, state.lateral, rtol=0, atol=tight)
    np.testing.assert_allclose(model.mean_, state.mean * state.scale, rtol=1e-12 if dtype == np.float64 else 1e-4)
    assert model.n_samples_seen_ == len(X) and model.n_limited_ == state.limited


def streaming(X, rows=300, **options):
    model = nd.RecurrentDecorrelator(**options)
    for k in range(rows):
        model.partial_fit(X[k : k + 1])
    return model


def everything(model):
    return [model.R_, model.M_, model.mean_, model.gain_, [model.n_samples_seen_, model.n_limited_]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_a_bad_sample_of_a_stream_leaves_everything_as_it_was(X, bad):
    model, twin = streaming(X), streaming(X)
    wrong = X[300:303].copy()
    wrong[1, 4] = bad
    with pytest.raises(InputError, match=r"found|within float64"):
        model.partial_fit(wrong)
    for found, kept in zip(everything(model), everything(twin), strict=True):
        np.testing.assert_array_equal(found, kept)
    again = everything(model.partial_fit(X[300:301]))
    for found, kept in zip(again, everything(twin.partial_fit(X[300:301])), strict=True):
        np.testing.assert_allclose(found, kept, rtol=0, atol=1e-12)  # their blocks were folded at other samples


def test_a_step_that_does_not_exist_leaves_the_stream_as_it_was(X):
    model = streaming(X, rule="explicit", limit=None)
    before = copy.deepcopy(everything(model))
    with pytest.raises(DivergenceError, match="at sample 300"):
        model.partial_fit(100 * X[:1])
    for found, kept in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(found, kept)


def test_a_stream_that_loses_stability_stays_before_the_sample_at_which_it_was_seen(X):
    model, k = nd.RecurrentDecorrelator(rate=1.0, schedule="constant"), 0
    with pytest.raises(StabilityError, match=r"min Re λ > 0 to settle"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateInputWarning)
        for k in range(20_000):
            model.partial_fit(X[k : k + 1])
    assert 0 < k < 20_000 and model.n_samples_seen_ == k


def test_what_was_read_of_a_stream_stays_as_it_was(X):
    model = streaming(X)
    held, copies = everything(model), copy.deepcopy(everything(model))
    for k in range(100):
        model.partial_fit(X[k : k + 1])
    for found, kept in zip(held, copies, strict=True):
        np.testing.assert_array_equal(found, kept)
    other = copy.deepcopy(model)
    np.testing.assert_array_equal(other.partial_fit(X[:1]).R_, pickle.loads(pickle.dumps(model)).partial_fit(X[:1]).R_)
    assert model.n_samples_seen_ == 400 and other.n_samples_seen_ == 401


def test_options_changed_on_the_way_count_from_the_next_sample(X):
    model, other = streaming(X), streaming(X)
    before = model.R_
    model.set_params(rate=1e-12, schedule="constant").partial_fit(X[:1])
    other.partial_fit(X[:1])
    assert np.abs(model.R_ - before).max() < 1e-9 < np.abs(other.R_ - before).max()
    with pytest.raises(ConfigError, match="rate must be > 0"):
        model.set_params(rate=-1).partial_fit(X[:1])


def test_a_stream_is_looked_at_once_a_stretch(X, monkeypatch):
    learning = sys.modules["neurodecorr.plasticity.learn"]
    looks, inspect = [], learning.inspect
    monkeypatch.setattr(learning, "inspect", lambda state, plan: looks.append(state.samples) or inspect(state, plan))
    streaming(X, rows=3500)
    assert 3 <= len(looks) <= 12 and np.diff(looks).max() <= 1024


def test_a_stream_from_several_threads_loses_no_sample(X):
    model = streaming(X)
    with ThreadPoolExecutor(4) as pool:
        learning = [pool.submit(model.partial_fit, X[k : k + 1]) for k in range(300, 900)]
        reading = [pool.submit(model.transform, X[:3]) for _ in range(40)]
        for done in learning + reading:
            done.result()
    assert model.n_samples_seen_ == 900
    np.testing.assert_allclose(model.R_ @ model.M_, np.eye(12), rtol=0, atol=1e-9)


def test_the_memory_of_a_stream_does_not_grow(X):
    model, peaks = streaming(X), []
    for _ in range(2):
        tracemalloc.start()
        for k in range(1500):
            model.partial_fit(X[k : k + 1])
        peaks.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 20_000


def test_a_stream_responds_as_its_weights_do_without_folding_them(X):
    model = nd.FeedforwardDecorrelator(mean="running")
    for k in range(75):
        model.partial_fit(X[k : k + 1])
        if k % 7 == 0:
            streamed = model.transform(X[:5])
            folded = (X[:5] - model.mean_) @ model.M_.T
            np.testing.assert_allclose(streamed, folded, rtol=0, atol=1e-12 * np.abs(folded).max())
    with pytest.raises(InputError, match="found nan at row 0, column 3"):
        model.transform(np.where(np.arange(12) == 3, np.nan, X[:1]))
    assert model.transform(X[:2].astype(np.float32)).dtype == np.float32
