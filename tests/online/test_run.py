"""Every sample settled under the R it meets, certified, and learnt from: the explicit and the implicit rule."""

import dataclasses
import itertools
import resource
import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import neurodecorr as nd
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.io import read_traces
from neurodecorr.online import process, sample
from neurodecorr.online.bounds import SHARES, compute_bounds
from neurodecorr.online.circuit import OnlineCircuit, longest_block
from neurodecorr.online.process import process_block
from neurodecorr.plasticity import LearningRule, initial_state, learn

pytestmark = pytest.mark.rounding

N = 17
SAMPLES = 2 * longest_block(N) + 45  # whole blocks and a remainder
ENGINES = ["integrate", "twin"]
REGIMES = [
    {"rate": 1e-3, "schedule": "constant", "limit": None, "gain": "node"},
    {"rate": 1e-2, "schedule": "decay", "limit": 0.1, "gain": "layer"},
    {"rate": 1.0, "schedule": "decay", "limit": 0.1, "gain": "none"},
    {"rate": 1e-3, "schedule": "constant", "limit": 0.05, "gain": "node", "mean": "none", "rate_is": "absolute"},
]


def stream(dtype=np.float64, n=N, samples=SAMPLES):
    rng = np.random.default_rng(4)
    mixing = np.linalg.qr(rng.standard_normal((n, n)))[0] * np.logspace(0, -1, n)
    return (rng.standard_normal((samples, n)) @ mixing.T + 0.5).astype(dtype)


def learnt_sample_by_sample(X, rate):
    """The definition: solve R x̄ = x, learn, apply the homeostatic gain; constant rate, no limit, own mean power."""
    n = X.shape[1]
    R, mean, power, rests = np.eye(n), np.zeros(n), np.zeros(n), []
    for t, row in enumerate(X):
        share = max(1 / (t + 1), min(rate, 0.1))
        mean += share * (row - mean)
        x = row - mean
        power += share * (x * x - power)
        eta = rate / power.mean() if power.any() else 0.0
        xbar = np.linalg.solve(R, x)
        rests.append(xbar)
        R = (R + eta * np.outer(x, xbar)) / (1 + eta * power)
    return R, mean, np.array(rests)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_does_what_one_sample_after_the_other_does(engine):
    X = stream()
    result = nd.run_online(X, LearningRule(rate=1e-3, schedule="constant", limit=None), 1e-12, engine=engine)
    R, mean, rests = learnt_sample_by_sample(X, 1e-3)
    # 300 steps move R by about 1; each is off by tol, 1e-12, of itself, and amplified by κ ≈ 10 at most.
    np.testing.assert_allclose(result.lateral, R, rtol=0, atol=1e-11)
    np.testing.assert_allclose(result.mean, mean, rtol=0, atol=1e-14)
    np.testing.assert_allclose(result.xbar, rests, rtol=0, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rule", ["implicit", "explicit"])
@pytest.mark.parametrize(
    "regime", REGIMES, ids=lambda regime: f"{regime['schedule']}-{regime['gain']}-{regime['rate']}"
)
def test_it_learns_what_the_twin_rules_learn(rule, regime, engine):
    X = stream()
    plan = LearningRule(rule=rule, engine="plain", **regime)
    plain, result = learn(initial_state(X, plan), X, plan), nd.run_online(X, plan, 1e-12, engine=engine)
    for name in ("R", "mean", "power", "gain"):
        np.testing.assert_allclose(getattr(result.learnt, name), getattr(plain, name), rtol=0, atol=2e-11)
    np.testing.assert_allclose(result.learnt.counters[:4], plain.counters[:4], rtol=1e-9)


@pytest.mark.parametrize("n", [5, 64, 300])
def test_both_engines_agree_at_every_size(n):
    X = stream(n=n, samples=longest_block(n) + 20)
    first, second = (
        nd.run_online(X, LearningRule(rate=0.05 / n, schedule="constant"), 1e-10, engine=engine) for engine in ENGINES
    )
    np.testing.assert_allclose(first.lateral, second.lateral, rtol=0, atol=1e-8)
    np.testing.assert_allclose(first.xbar, second.xbar, rtol=1e-8, atol=1e-8)
    assert second.products == 1 < first.products


def rests_of_each_sample(X, result):
    """Where the circuit that each sample met rests: R replayed in long doubles from the x̄ that were learnt from."""
    n, wide = X.shape[1], np.longdouble
    R, mean, power, rests = np.eye(n, dtype=wide), np.zeros(n), np.zeros(n), []
    for t, (row, xbar) in enumerate(zip(X.astype(float), result.xbar, strict=True)):
        share = max(1 / (t + 1), 1e-3)
        mean += share * (row - mean)
        x = row - mean
        power += share * (x * x - power)
        eta = 1e-3 / power.mean() if power.any() else 0.0
        z, inverse = np.zeros(n, wide), np.linalg.inv(R.astype(float))
        for _ in range(4):  # refinement in long doubles
            z += inverse @ (x - R @ z)
        rests.append(z)
        R = (R + eta * np.outer(x, xbar.astype(wide))) / (1 + eta * power)
    return np.array(rests)


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
def test_no_bound_is_ever_violated(tol):
    X = stream()
    result = nd.run_online(X, LearningRule(rate=1e-3, schedule="constant", limit=None), tol)
    # The replay repeats mean and power in another order of operations: 300 roundings of numbers near 1.
    distance = np.linalg.norm(result.xbar - rests_of_each_sample(X, result), axis=1).astype(float)
    assert (distance <= result.bound + 1e-13).all()
    sizes = np.linalg.norm(result.xbar, axis=1)
    assert result.unproven == 0 and result.worst <= tol and (result.bound <= tol * sizes).all()
    assert distance.max() > 1e-4 * tol  # so that the test could fail


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stepped", [True, False])
def test_rows_whose_squares_underflow_are_certified_beside_others(engine, stepped, monkeypatch):
    monkeypatch.setattr(sample, "LARGEST", 160 if stepped else 0)
    X = stream(samples=60)
    small = np.arange(20, 60, 3)
    X[small] = np.ldexp(X[small], -np.linspace(500, 1060, len(small)).astype(int)[:, None])
    result = nd.run_online(
        X, LearningRule(rate=1e-3, schedule="constant", limit=None, mean="none"), 1e-3, engine=engine
    )
    R, power, n = np.eye(N, dtype=np.longdouble), np.zeros(N), N
    for t, x in enumerate(X):
        power += max(1 / (t + 1), 1e-3) * (x * x - power)
        eta, inverse = 1e-3 / power.mean(), np.linalg.inv(R.astype(float))
        z = np.zeros(n, np.longdouble)
        for _ in range(4):
            z += inverse @ (x - R @ z)
        if t in small:
            distance, size = (np.sqrt(np.sum(v**2)) for v in (result.xbar[t] - z, z))
            assert size > 0 and distance <= result.bound[t] + 1e-12 * size, t
            assert result.bound[t] > 0 or distance == 0
        R = (R + eta * np.outer(x, result.xbar[t])) / (1 + eta * power)


@pytest.mark.parametrize("engine", ENGINES)
def test_single_precision_is_proven_to_one_part_in_a_million(engine):
    X = stream(np.float32)
    plan = LearningRule(rate=1e-3, schedule="constant", limit=None)
    result = nd.run_online(X, plan, 1e-6, engine=engine)
    wide = nd.run_online(X.astype(float), plan, 1e-12)
    assert result.lateral.dtype == result.xbar.dtype == np.float32
    assert result.unproven == 0 and result.worst <= 1e-6
    np.testing.assert_allclose(result.lateral, wide.lateral, rtol=0, atol=1e-5)


def test_what_rounding_does_not_allow_is_counted():
    result = nd.run_online(stream(np.float32), tol=1e-9)
    assert 0 < result.unproven <= result.samples and 1e-9 < result.worst < 1e-5


# Small circuits are stepped through; larger ones, single precision and whatever steps do not settle, in blocks.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rule", ["implicit", "explicit"])
def test_steps_and_blocks_give_the_same_numbers(rule, engine, monkeypatch):
    X = stream()
    plan = LearningRule(rule=rule, rate=5e-3)
    steps = nd.run_online(X, plan, 1e-12, engine=engine)
    monkeypatch.setattr(sample, "LARGEST", 0)
    blocked = nd.run_online(X, plan, 1e-12, engine=engine)
    for name in ("R", "mean", "power", "gain", "counters"):
        np.testing.assert_allclose(getattr(steps.learnt, name), getattr(blocked.learnt, name), rtol=0, atol=1e-11)
    np.testing.assert_allclose(steps.xbar, blocked.xbar, rtol=0, atol=1e-10)


def test_no_bound_of_a_block_is_ever_violated(monkeypatch):
    monkeypatch.setattr(sample, "LARGEST", 0)
    test_no_bound_is_ever_violated(1e-6)


def test_a_circuit_without_rest_in_few_steps_settles_in_blocks(monkeypatch):
    X = stream()
    plan = LearningRule(rate=1e-3)
    expected = nd.run_online(X, plan, 1e-12)
    monkeypatch.setattr(process, "most_products", lambda *_: 3)
    found = nd.run_online(X, plan, 1e-12)
    assert found.unproven == 0
    np.testing.assert_allclose(found.lateral, expected.lateral, rtol=0, atol=1e-11)


def test_a_twin_that_has_drifted_is_made_anew():
    X = stream()
    plan = LearningRule(rate=1e-3)
    begun = initial_state(X, plan)
    result = nd.run_online(X, plan, 1e-9, state=dataclasses.replace(begun, M=0.5 * np.eye(N)), engine="twin")
    assert result.learnt.resynchronised == 1 and result.unproven == 0 and result.samples == len(X)
    assert result.learnt.twin_error() < 1e-12
    np.testing.assert_allclose(result.lateral, nd.run_online(X, plan, 1e-12).lateral, rtol=0, atol=1e-8)


def test_two_threads_give_the_numbers_of_one():
    X = stream(n=600, samples=60)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(nd.run_online(X, tol=1e-9).xbar)
    np.testing.assert_allclose(*found, rtol=0, atol=1e-8)


def test_blocks_of_any_length_give_the_numbers_of_one_array():
    X = stream()
    plan = LearningRule(rate=1e-3)
    whole = nd.run_online(X, plan, 1e-12)
    cuts = [0, 1, 8, 200, 203, len(X)]
    parts = nd.run_online((X[a:b] for a, b in itertools.pairwise(cuts)), plan, 1e-12, state=initial_state(X, plan))
    np.testing.assert_allclose(parts.lateral, whole.lateral, rtol=0, atol=1e-11)
    assert parts.samples == len(X) and parts.xbar.shape == (0, N)


def test_a_run_goes_on_where_it_ended():
    X = stream()
    plan = LearningRule()
    whole, first = nd.run_online(X, plan, 1e-12), nd.run_online(X[:200], plan, 1e-12, state=initial_state(X, plan))
    second = nd.run_online(X[200:], plan, 1e-12, state=first.state)
    np.testing.assert_allclose(second.lateral, whole.lateral, rtol=0, atol=1e-11)
    assert first.state.twin_error() < 1e-13 and first.learnt.M.size == 0
    assert learn(first.state, X[200:], plan).samples == len(X)


def test_the_state_given_is_left_as_it_was():
    X = stream()
    state = initial_state(X, LearningRule())
    before = dataclasses.astuple(state.copy())
    nd.run_online(X, state=state, engine="twin")
    for old, new in zip(before, dataclasses.astuple(state), strict=True):
        np.testing.assert_array_equal(old, new)


# The bounds behind the certificate.


def test_the_tracked_bound_never_exceeds_the_smallest_singular_value():
    X = stream()
    plan = LearningRule(rate=5e-3, schedule="constant", limit=None)
    circuit = OnlineCircuit.begin(dataclasses.replace(initial_state(X, plan), M=np.empty((0, 0))))
    while circuit.learnt.samples < len(X):
        begin = circuit.learnt.samples
        circuit, _ = process_block(circuit, X[begin : begin + 50], plan, 1e-6)
        sigma = np.linalg.svd(circuit.learnt.R, compute_uv=False)[-1]
        assert 0.3 * sigma < circuit.bounds.low <= sigma


def test_a_renewed_bound_is_proven_and_near():
    rng = np.random.default_rng(0)
    R = np.eye(30) + 0.1 * rng.standard_normal((30, 30))
    bounds = compute_bounds(R, 0)
    sigma = np.linalg.svd(0.7 * R, compute_uv=False)[-1]
    low = bounds.renewed(0.7 * R, 0).low
    assert min(SHARES) * sigma < low <= sigma


# Recording.


def test_traces_hold_what_the_samples_did(tmp_path):
    X = stream()
    path = tmp_path / "traces.h5"
    result = nd.run_online(X, record=path, every=7, weights_every=100)
    traces = read_traces(path)
    steps = np.arange(7, len(X) + 1, 7)
    assert traces["xbar"].step.tolist() == steps.tolist()
    assert traces["xbar"].step_description == "samples learnt from before the row was recorded"
    np.testing.assert_array_equal(traces["xbar"].values, result.xbar[steps - 1])
    np.testing.assert_array_equal(traces["bound"].values, result.bound[steps - 1])
    np.testing.assert_array_equal(traces["residual"].values, result.residual[steps - 1])
    assert traces["R"].step.tolist() == [0, 100, 200, 300, len(X)]
    np.testing.assert_array_equal(traces["R"].values[-1], result.lateral)
    assert traces["margin"].values[-1] == pytest.approx(np.linalg.eigvals(result.lateral).real.min(), rel=1e-12)
    window = np.cov(result.xbar[100:200].T, bias=True)
    assert traces["correlation"].values[1] == pytest.approx(nd.measures.rms_correlation(covariance=window), rel=1e-9)


class Interrupted:
    """Blocks, the last of which never comes."""

    def __init__(self, X, error):
        self.X, self.error = X, error

    def __iter__(self):
        yield self.X[:100]
        yield self.X[100:150]
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the camera is gone")], ids=repr)
def test_an_interrupted_run_leaves_its_traces_and_its_result(tmp_path, error):
    X = stream()
    path = tmp_path / "traces.h5"
    with pytest.raises(type(error)) as caught:
        nd.run_online(Interrupted(X, error), record=path, every=10)
    result = caught.value.partial_result
    assert result.samples == 150 and result.learnt.samples == 150
    assert read_traces(path)["xbar"].step[-1] == 150
    np.testing.assert_allclose(
        result.lateral, nd.run_online(X[:150], state=initial_state(X[:100], LearningRule())).lateral, atol=1e-5
    )


def test_a_bad_sample_is_named_and_nothing_before_it_is_lost(tmp_path):
    X = stream()
    X[230, 3] = np.nan
    with pytest.raises(InputError, match="found nan at sample 230, column 3"):
        nd.run_online(X)
    path = tmp_path / "traces.h5"
    with pytest.raises(InputError, match="found nan at sample 230, column 3") as caught:
        nd.run_online(iter([X[:200], X[200:]]), record=path, every=50)
    assert caught.value.partial_result.samples == 200
    assert read_traces(path)["xbar"].step.tolist() == [50, 100, 150, 200]


# What cannot be.


@pytest.mark.parametrize(
    ("X", "options", "kind", "message"),
    [
        (
            np.ones((3, 2)),
            {"plan": LearningRule(form="feedforward", rule="implicit")},
            ConfigError,
            "form='feedforward'",
        ),
        (np.ones((3, 2)), {"tol": 0.0}, ConfigError, "tol must be > 0"),
        (np.ones((3, 2)), {"engine": "twins"}, ConfigError, "Did you mean 'twin'"),
        (np.ones((3, 2)), {"every": 0}, ConfigError, "every must be a whole number"),
        (np.ones(3), {}, InputError, "reshape"),
        (iter([]), {}, InputError, "at least one block"),
        (7, {}, InputError, "an array, or an iterable"),
        (iter([np.ones((3, 2)), np.ones((3, 4))]), {}, InputError, "must have 2 features.*from sample 3 on"),
    ],
)
def test_bad_input_is_refused_in_plain_words(X, options, kind, message):
    with pytest.raises(kind, match=message):
        nd.run_online(X, **options)


def test_the_sample_that_breaks_the_explicit_rule_is_named():
    X = stream()
    X[200] *= 100
    plan = LearningRule(rule="explicit", rate=1e-2, limit=None, schedule="constant")
    with pytest.raises(DivergenceError, match="at sample 200 ") as caught:
        nd.run_online(X, plan)
    assert caught.value.partial_result.samples == 200


def test_a_circuit_that_lost_its_stability_is_stopped_and_the_sample_named():
    X = nd.data.correlated_gaussian(features=10, samples=40_000, condition=10.0).inputs
    plan = LearningRule(rate=1e-2, schedule="constant", limit=None)
    with pytest.raises(StabilityError, match=r"-.* sample \d+ .*by unit"):
        nd.run_online(X, plan, engine="twin")


def test_a_direction_without_signal_is_stopped_before_it_drowns_in_rounding():
    X = stream(n=4, samples=3000)
    X[:, 3] = X[:, 2]
    with pytest.raises(StabilityError, match="collinear"):
        nd.run_online(X, LearningRule(rate=1e-2, schedule="constant", strongest=100.0))


def test_silence_settles_at_zero():
    result = nd.run_online(np.zeros((200, 3)))
    assert not result.xbar.any() and not result.bound.any() and result.unproven == 0


# Growth.


def blocks(n, samples, block=5000):
    rng = np.random.default_rng(0)
    for begin in range(0, samples, block):
        yield rng.standard_normal((min(block, samples - begin), n))


def test_memory_does_not_grow_with_the_samples(tmp_path):
    peaks = []
    for samples in (10_000, 40_000):
        tracemalloc.start()
        nd.run_online(blocks(16, samples), engine="twin", record=tmp_path / "t.h5", every=1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 30_000 * 16 * 8 / 2  # half of what the other samples are


@pytest.mark.slow
def test_a_million_samples_take_no_more_memory_than_a_tenth_of_them(tmp_path):
    peaks = []
    for samples in (10**5, 10**6):
        result = nd.run_online(blocks(64, samples), engine="twin", record=tmp_path / "t.h5")
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        assert result.samples == samples and result.unproven == 0
    assert peaks[1] - peaks[0] < 40_000  # kB; x̄ alone would be 512 MB
