"""Batches, and the congruent rule: every sample settled under the R it meets, certified, and learnt from."""

import dataclasses
import itertools

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.io import read_traces
from neurodecorr.online import sample
from neurodecorr.online.circuit import OnlineCircuit
from neurodecorr.online.process import process_block
from neurodecorr.plasticity import LearningRule, initial_state, learn

pytestmark = pytest.mark.rounding

N = 17
ENGINES = ["integrate", "twin"]
REGIMES = [
    {"rate": 1e-3, "schedule": "constant", "limit": None, "gain": "node"},
    {"rate": 1e-2, "schedule": "decay", "limit": 0.1, "gain": "layer"},
    {"rate": 1.0, "schedule": "decay", "limit": 0.1, "gain": "none"},
    {"rate": 1e-3, "schedule": "constant", "limit": 0.05, "mean": "none", "rate_is": "absolute"},
    {"rate": 0.03, "schedule": "decay", "mean": "batch", "limit": None},
]
# Rules and batches beyond one sample by the explicit or the implicit rule.
NEW = [("congruent", 1), ("implicit", 8), ("explicit", 8), ("congruent", 8), ("implicit", 40), ("congruent", 40)]


def stream(dtype=np.float64, n=N, samples=301):
    rng = np.random.default_rng(4)
    mixing = np.linalg.qr(rng.standard_normal((n, n)))[0] * np.logspace(0, -1, n)
    return (rng.standard_normal((samples, n)) @ mixing.T + 0.5).astype(dtype)


def gain_of(power, eta, mode, explicit):
    p = {"node": power, "layer": np.full_like(power, power.mean()), "none": np.zeros_like(power)}[mode]
    return 1 / (1 - eta * p) if explicit else 1 + eta * p


def root(A):
    values, vectors = np.linalg.eigh(A)
    return (vectors * np.sqrt(values)) @ vectors.T


def learnt_in_plain_numpy(X, rule, batch, gain, rate):
    """The definition: solve R x̄ = x for each row of a batch, step, gain; constant rate, no limit, short steps."""
    n = X.shape[1]
    R, mean, power, rests, seen = np.eye(n), np.zeros(n), np.zeros(n), [], 0
    for begin in range(0, len(X), batch):
        rows = X[begin : begin + batch]
        b = len(rows)
        share = max(b / (seen + b), 1 - (1 - rate) ** b)
        mean = mean + share * (rows.mean(axis=0) - mean)
        drive = rows - mean
        power = power + (share if batch == 1 else max(share, 1 - np.exp(-2 * rate * b))) * ((drive**2).mean(0) - power)
        Xbar = np.linalg.solve(R, drive.T).T
        rests.append(Xbar)
        eta = rate * b / power.mean() if power.any() else 0.0
        C, g = Xbar.T @ Xbar / b, gain_of(power, eta, gain, rule == "explicit")
        if rule == "congruent":
            A = root(np.eye(n) + eta * C)
            R = A @ R @ A / np.sqrt(np.outer(g, g))
        else:
            R = (R @ np.linalg.inv(np.eye(n) - eta * C) if rule == "explicit" else R + eta / b * drive.T @ Xbar) / g
        seen += b
    return R, mean, np.concatenate(rests)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gain", ["node", "layer", "none"])
@pytest.mark.parametrize(("rule", "batch"), NEW)
def test_it_does_what_its_equations_say(rule, batch, gain, engine):
    X = stream(samples=220)  # batches of 8 and 40 leave a short one
    rate = 1e-3 if batch == 1 else 2e-4  # η b tr(C) ≤ ¼: one step a batch
    plan = LearningRule(rule=rule, batch=batch, gain=gain, rate=rate, schedule="constant", limit=None)
    result = nd.run_online(X, plan, 1e-12, engine=engine)
    R, mean, rests = learnt_in_plain_numpy(X, rule, batch, gain, rate)
    # Each step is off by tol, 1e-12, of itself at most, and amplified by κ ≈ 10.
    np.testing.assert_allclose(result.lateral, R, rtol=0, atol=1e-11)
    np.testing.assert_allclose(result.mean, mean, rtol=0, atol=1e-13)
    np.testing.assert_allclose(result.xbar, rests, rtol=0, atol=1e-10)
    assert result.samples == len(X) == result.learnt.samples and result.unproven == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "regime",
    REGIMES,
    ids=lambda regime: f"{regime['schedule']}-{regime['rate']}-{regime.get('mean', 'running')}",
)
@pytest.mark.parametrize(("rule", "batch"), NEW)
def test_it_learns_what_the_rules_for_r_and_m_learn(rule, batch, regime, engine):
    """Batches at high rates take many steps, of rows condensed to n."""
    if batch == 1 and regime.get("mean") == "batch":
        regime = {**regime, "mean": "running"}
    if rule == "explicit" and regime["limit"] is None:
        regime = {**regime, "rate": 1e-3}  # beyond η λ_max(C) = 1 it has no step
    X = stream()
    plan = LearningRule(rule=rule, batch=batch, engine="plain", **regime)
    expected, result = learn(initial_state(X, plan), X, plan), nd.run_online(X, plan, 1e-12, engine=engine)
    for name in ("R", "mean", "power", "gain"):
        np.testing.assert_allclose(getattr(result.learnt, name), getattr(expected, name), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.learnt.counters[:4], expected.counters[:4], rtol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("rule", "batch"), NEW)
def test_single_precision_is_proven_to_one_part_in_a_million(rule, batch, engine):
    X = stream(np.float32)
    plan = LearningRule(rule=rule, batch=batch, rate=1e-3)
    result = nd.run_online(X, plan, 1e-6, engine=engine)
    wide = nd.run_online(X.astype(float), plan, 1e-12)
    assert result.lateral.dtype == result.xbar.dtype == np.float32
    assert result.unproven == 0 and result.worst <= 1e-6
    np.testing.assert_allclose(result.lateral, wide.lateral, rtol=0, atol=2e-5)


def blocks_of(X, plan, tol, engine, size):
    """Yield each circuit before a block, the drives of the block, what was found, and the circuit after it."""
    begun = initial_state(X, plan)
    M = np.empty((0, 0), X.dtype) if engine == "integrate" else begun.M
    circuit, begin = OnlineCircuit.begin(dataclasses.replace(begun, M=M)), 0
    while begin < len(X):
        rows = X[begin : begin + size] / begun.scale
        after, found = process_block(circuit, rows.astype(X.dtype), plan, tol)
        assert len(found.bound) == len(rows)
        yield circuit, rows - after.learnt.mean, found, after
        circuit, begin = after, begin + len(rows)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("tol", [0.3, 1e-2, 1e-5])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("rule", "batch", "stepped"), [(*one, False) for one in NEW[:4]] + [("congruent", 1, True)])
def test_no_bound_is_ever_violated(rule, batch, stepped, engine, tol, dtype, monkeypatch):
    monkeypatch.setattr(sample, "LARGEST", 160 if stepped else 0)
    X = stream(dtype, samples=200)
    plan = LearningRule(rule=rule, batch=batch, rate=1e-2, schedule="constant", limit=0.3, mean="none")
    unit, farthest = np.finfo(dtype).eps, 0.0
    for before, drive, found, after in blocks_of(X, plan, tol, engine, batch):
        R = before.learnt.R.astype(float)
        distance = np.linalg.norm(found.xbar - np.linalg.solve(R, drive.T.astype(float)).T, axis=1)
        size = np.linalg.norm(found.xbar.astype(float), axis=1)
        assert (distance <= found.bound + 1e-13 * size).all()
        assert (found.bound[found.proven] <= tol * size[found.proven]).all() and found.proven.all()
        farthest = max(farthest, (distance / size).max())
        learnt = after.learnt.R.astype(float)
        sigma = np.linalg.svd(learnt, compute_uv=False)[-1]
        assert after.bounds.low <= sigma * (1 + 1e-13)
        assert after.bounds.low > 0.4 * sigma or dtype == np.float32
        if rule == "congruent":
            assert np.array_equal(learnt, learnt.T) and np.linalg.eigvalsh(learnt)[0] > 0
    assert farthest > 0.01 * tol or engine == "twin" or tol < 100 * unit  # so that the test could fail


@pytest.mark.parametrize("engine", ENGINES)
def test_steps_and_rows_give_the_same_numbers_by_the_congruent_rule(engine, monkeypatch):
    X, plan = stream(), LearningRule(rule="congruent", rate=5e-3)
    stepped = nd.run_online(X, plan, 1e-12, engine=engine)
    monkeypatch.setattr(sample, "LARGEST", 0)
    rows = nd.run_online(X, plan, 1e-12, engine=engine)
    for name in ("R", "mean", "power", "gain", "counters"):
        np.testing.assert_allclose(getattr(stepped.learnt, name), getattr(rows.learnt, name), rtol=0, atol=1e-11)
    np.testing.assert_allclose(stepped.xbar, rows.xbar, rtol=0, atol=1e-10)
    assert np.array_equal(rows.lateral, rows.lateral.T) and np.array_equal(stepped.lateral, stepped.lateral.T)


@pytest.mark.parametrize("n", [70, 300])
@pytest.mark.parametrize(("rule", "batch"), NEW[:4])
def test_both_engines_agree_at_every_size(rule, batch, n):
    X = stream(n=n, samples=60)
    plan = LearningRule(rule=rule, batch=batch, rate=0.05 / n, schedule="constant")
    first, second = (nd.run_online(X, plan, 1e-10, engine=engine) for engine in ENGINES)
    np.testing.assert_allclose(first.lateral, second.lateral, rtol=0, atol=1e-8)
    np.testing.assert_allclose(first.xbar, second.xbar, rtol=1e-8, atol=1e-8)
    assert second.products == 1 < first.products


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [1, 8])
def test_a_kept_inverse_that_has_drifted_is_made_anew(batch, engine):
    X, plan = stream(), LearningRule(rule="congruent", rate=1e-3, batch=batch)
    begun = initial_state(X, plan)
    state = dataclasses.replace(begun, M=0.5 * np.eye(N))
    result = nd.run_online(X, plan, 1e-9, state=state, engine=engine)
    assert result.learnt.resynchronised == (engine == "twin") and result.unproven == 0
    assert result.state.twin_error() < 1e-12 and np.array_equal(result.state.M, result.state.M.T)
    np.testing.assert_allclose(result.lateral, nd.run_online(X, plan, 1e-12).lateral, rtol=0, atol=1e-8)


@pytest.mark.parametrize("cuts", [[0, 1, 8, 200, 203], [0, 39, 41, 42, 43, 120], [0, 0, 80]], ids=str)
@pytest.mark.parametrize(("rule", "batch"), NEW)
def test_how_the_stream_is_cut_does_not_matter(rule, batch, cuts):
    X = stream()
    plan = LearningRule(rule=rule, batch=batch, rate=1e-3)
    whole = nd.run_online(X, plan, 1e-12)
    parts = (X[a:b] for a, b in itertools.pairwise([*cuts, len(X)]) if b or a)
    result = nd.run_online(parts, plan, 1e-12, state=initial_state(X, plan))
    np.testing.assert_allclose(result.lateral, whole.lateral, rtol=0, atol=1e-11)
    assert result.samples == len(X) and result.xbar.shape == (0, N)
    np.testing.assert_array_equal(result.learnt.counters[0], whole.learnt.counters[0])


@pytest.mark.parametrize(("rule", "batch"), NEW)
def test_a_run_goes_on_where_it_ended(rule, batch):
    X, plan = stream(), LearningRule(rule=rule, batch=batch)
    whole, first = nd.run_online(X, plan, 1e-12), nd.run_online(X[:200], plan, 1e-12, state=initial_state(X, plan))
    second = nd.run_online(X[200:], plan, 1e-12, state=first.state)
    np.testing.assert_allclose(second.lateral, whole.lateral, rtol=0, atol=1e-11)
    assert learn(first.state, X[200:], plan).samples == len(X)


@pytest.mark.parametrize(("rule", "batch"), NEW)
def test_traces_hold_what_the_samples_did(tmp_path, rule, batch):
    X, path = stream(), tmp_path / "traces.h5"
    result = nd.run_online(X, LearningRule(rule=rule, batch=batch), record=path, every=7, weights_every=120)
    traces = read_traces(path)
    steps = np.arange(7, len(X) + 1, 7)
    assert traces["xbar"].step.tolist() == steps.tolist()
    for name in ("xbar", "bound", "residual"):
        np.testing.assert_array_equal(traces[name].values, getattr(result, name)[steps - 1])
    assert traces["R"].step.tolist() == [0, 120, 240, len(X)]
    np.testing.assert_array_equal(traces["R"].values[-1], result.lateral)
    assert traces["margin"].values[-1] == pytest.approx(np.linalg.eigvals(result.lateral).real.min(), rel=1e-12)
    window = np.cov(result.xbar[120:240].T, bias=True)
    assert traces["correlation"].values[1] == pytest.approx(nd.measures.rms_correlation(covariance=window), rel=1e-9)


@pytest.mark.parametrize(
    ("rule", "batch", "kept"), [("congruent", 1, 150), ("implicit", 40, 120), ("explicit", 8, 144)]
)
def test_an_interrupted_run_leaves_its_whole_batches(tmp_path, rule, batch, kept):
    X, path = stream(), tmp_path / "traces.h5"

    def interrupted():
        yield X[:100]
        yield X[100:150]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        nd.run_online(interrupted(), LearningRule(rule=rule, batch=batch), record=path, weights_every=40)
    assert caught.value.partial_result.samples == kept == caught.value.partial_result.learnt.samples
    assert read_traces(path)["xbar"].step[-1] == 100


def test_a_bad_sample_is_named_by_its_place_in_the_stream():
    X = stream()
    X[230, 3] = np.nan
    with pytest.raises(InputError, match="found nan at sample 230, column 3") as caught:
        nd.run_online(iter([X[:201], X[201:]]), LearningRule(batch=40))
    assert caught.value.partial_result.samples == 200


def test_the_batch_that_breaks_the_explicit_rule_is_named_and_those_before_it_are_kept():
    X = stream()
    X[200] *= 1000
    plan = LearningRule(rule="explicit", rate=1e-3, limit=None, rate_is="absolute", batch=10, mean="none")
    with pytest.raises(DivergenceError, match="at batch 20 ") as caught:
        nd.run_online(X, plan)
    assert caught.value.partial_result.samples == 200


@pytest.mark.parametrize("batch", [1, 8])
def test_the_congruent_rule_needs_a_symmetric_r_and_a_positive_one(batch):
    X, plan = stream(), LearningRule(rule="congruent", batch=batch)
    begun = initial_state(X, plan)
    turned = np.eye(N)
    turned[2, 5] = 0.3
    with pytest.raises(InputError, match=r"symmetric.*0\.3 at row 2, column 5"):
        nd.run_online(X, plan, state=dataclasses.replace(begun, R=turned))
    with pytest.raises(StabilityError, match="min Re λ > 0"):
        nd.run_online(X, plan, state=dataclasses.replace(begun, R=np.diag([-1.0, *np.ones(N - 1)])))
    near = np.eye(N)
    near[2, 5] = 1e-15
    result = nd.run_online(X, plan, state=dataclasses.replace(begun, R=near))
    assert np.array_equal(result.lateral, result.lateral.T)


def test_a_state_of_another_scale_is_given_the_power_of_its_input_by_the_first_batch():
    X, plan = stream(), LearningRule(batch=8)
    begun = initial_state(X, plan)
    state = dataclasses.replace(begun, R=50 * begun.R, M=begun.M / 50)
    expected, result = learn(state, X, plan), nd.run_online(X, plan, 1e-12, state=state)
    np.testing.assert_allclose(result.lateral, expected.R, rtol=0, atol=1e-9)
    assert result.unproven == 0


def test_silence_settles_at_zero():
    for rule, batch in NEW:
        result = nd.run_online(np.zeros((50, 3)), LearningRule(rule=rule, batch=batch))
        assert not result.xbar.any() and not result.bound.any() and result.unproven == 0


def test_rows_of_r_are_recorded_between_batches():
    with pytest.raises(ConfigError, match="whole number of batches of 8 samples; got 100"):
        nd.run_online(stream(), LearningRule(batch=8), record="unused.h5", weights_every=100)
