"""Inputs that carry no, or no independent, signal: bounded, finite, and never silent."""

import warnings

import numpy as np
import pytest

from neurodecorr.errors import DegenerateInputWarning
from neurodecorr.measures import rms_correlation
from neurodecorr.plasticity import LearningRule, initial_state, learn
from neurodecorr.plasticity.spec import RULES

pytestmark = pytest.mark.rounding

PAIRS = [(form, rule) for form in ("recurrent", "feedforward") for rule in RULES]
DTYPES = ("float64", "float32")
STRONGEST = {"float64": 1e7, "float32": 3e3}


def signal(samples=6000, features=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, features)) @ (np.eye(features) + 0.4 * rng.standard_normal((features,) * 2))


def with_identical_units(X):
    return np.column_stack([X[:, :4], X[:, 1], X[:, 5]])


def with_collinear_units(X):
    return np.column_stack([X[:, :5], X[:, 0] + 2 * X[:, 1]])


def learnt(X, form, rule, batch=1, **options):
    plan = LearningRule(form=form, rule=rule, batch=batch, **{"rate": 1e-2, "schedule": "constant", **options})
    return learn(initial_state(X, plan), X, plan)


def residual_correlation(state, X, units=slice(None)):
    X = X.astype(float)
    Y = ((X - X.mean(axis=0)) @ state.M.astype(float).T)[:, units]
    return rms_correlation(covariance=Y.T @ Y / len(Y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
@pytest.mark.parametrize("value", [0.0, 7.3])
def test_a_constant_unit_is_left_alone_and_the_others_are_decorrelated(value, form, rule, batch, dtype):
    X = signal().astype(dtype)
    X[:, 2] = value
    state = learnt(X, form, rule, batch)
    others = [0, 1, 3, 4, 5]
    # The running mean of a constant is that constant but for rounding, and the gain of rounding is close to one.
    np.testing.assert_allclose(state.M[2, others], 0, atol=1e-5)
    np.testing.assert_allclose(state.M[2, 2], 1, atol=1e-2)
    assert (
        residual_correlation(state, X, others) < 0.2 < residual_correlation(initial_state(X, LearningRule()), X, others)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("form", "rule"), [pair for pair in PAIRS if pair[1] != "congruent"])
@pytest.mark.parametrize("degenerate", [with_identical_units, with_collinear_units])
def test_dependent_units_warn_and_stay_bounded(degenerate, form, rule, dtype):
    X = degenerate(signal()).astype(dtype)
    with pytest.warns(DegenerateInputWarning, match=r"1 direction.* units"):
        state = learnt(X, form, rule)
    assert np.linalg.norm(state.M, 2) <= STRONGEST[dtype] * (1 + 1e-5)
    assert state.resynchronised > 0
    if form == "recurrent":
        assert state.twin_error() < (1e-6 if dtype == "float64" else 1e-2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["recurrent", "feedforward"])
@pytest.mark.parametrize("degenerate", [with_identical_units, with_collinear_units])
def test_the_congruent_rule_bounds_itself_on_dependent_units(degenerate, form, dtype):
    """A symmetric M cannot grow along the silent direction without answering to the others: no guard is needed."""
    X = degenerate(signal()).astype(dtype)
    state = learnt(X, form, "congruent")
    assert np.linalg.norm(state.M, 2) < 200
    assert np.linalg.eigvalsh(state.lateral.astype(float))[0] > 0


def test_a_bound_of_the_users_own_is_kept():
    X = with_identical_units(signal())
    with pytest.warns(DegenerateInputWarning, match="held at 50"):
        state = learnt(X, "recurrent", "implicit", strongest=50.0)
    assert np.linalg.norm(state.M, 2) <= 50 * (1 + 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_more_units_than_samples_stays_finite(form, rule, batch, dtype):
    X = signal(samples=4).astype(dtype)
    state = learnt(X, form, rule, batch)
    assert np.isfinite(state.M).all()
    assert np.linalg.norm(state.M, 2) < 2
    plan = LearningRule(form=form, rule=rule, batch=batch, rate=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateInputWarning)
        for _ in range(300):
            state = learn(state, X, plan)
    assert np.linalg.norm(state.M, 2) <= STRONGEST[dtype] * (1 + 1e-5)


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_an_input_of_zeros_or_of_one_sample_changes_nothing(form, rule, batch):
    for X in (np.zeros((100, 3)), np.ones((1, 3)), np.full((100, 3), 5.0)):
        np.testing.assert_array_equal(learnt(X, form, rule, batch).M, np.eye(3))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_the_scale_of_the_input_does_not_matter(form, rule, batch, dtype, scale):
    X = signal(samples=2000)
    state = learnt((X * scale).astype(dtype), form, rule, batch)
    reference = learnt(X.astype(dtype), form, rule, batch)
    # Powers of ten are not powers of two: the inputs differ by rounding, which κ(R) of the order of 10 amplifies.
    np.testing.assert_allclose(state.M, reference.M, atol=1e-12 if dtype == "float64" else 1e-3)
    assert residual_correlation(reference, X) < 0.75 * residual_correlation(initial_state(X, LearningRule()), X)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_units_of_very_different_scales_stay_finite_and_exact(form, rule, batch, dtype):
    """The strongest unit sets the pace, so the weak ones hardly learn; nothing overflows, the twins stay exact."""
    X = (signal() * [1e-6, 1e6, 1.0, 1.0, 1e3, 1e-3]).astype(dtype)
    state = learnt(X, form, rule, batch)
    assert np.isfinite(state.M).all()
    assert np.isfinite(state.power).all()
    assert state.twin_error() < (1e-12 if dtype == "float64" else 1e-3)


@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_a_unit_that_falls_silent_keeps_its_synapses_bounded(form, rule):
    X = signal()
    X[3000:, 2] = 0.0
    assert np.linalg.norm(learnt(X, form, rule, mean="none").M, 2) < 100
