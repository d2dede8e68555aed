"""The fast engines against the plain one: the same learning to rounding, with fewer passes over the matrix."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from neurodecorr._numerics.blas import POOLED, one_pool
from neurodecorr.errors import DivergenceError
from neurodecorr.plasticity import LearningRule, initial_state, learn
from neurodecorr.plasticity.samplewise import FUSED_BLOCK, LONGEST_DELAYED_BLOCK, smallest_delayed

RULES = [
    ("recurrent", "implicit"),
    ("recurrent", "explicit"),
    ("recurrent", "congruent"),
    ("feedforward", "implicit"),
    ("feedforward", "explicit"),
    ("feedforward", "congruent"),
]
# Free and limited steps, every gain, both schedules, with and without mean and power unit.
REGIMES = [
    {"rate": 1e-3, "schedule": "constant", "limit": None, "gain": "node"},
    {"rate": 1e-2, "schedule": "decay", "limit": 0.1, "gain": "layer"},
    {"rate": 1.0, "schedule": "decay", "limit": 0.1, "gain": "none"},
    {"rate": 1e-3, "schedule": "constant", "limit": 0.05, "gain": "node", "mean": "none", "rate_is": "absolute"},
]
N = 17
SAMPLES = 2 * FUSED_BLOCK + 3 * LONGEST_DELAYED_BLOCK + 5  # whole blocks and a remainder, for both engines


def stream(dtype=np.float64, n=N, samples=SAMPLES):
    rng = np.random.default_rng(4)
    mixing = np.linalg.qr(rng.standard_normal((n, n)))[0] * np.logspace(0, -1, n)
    return (rng.standard_normal((samples, n)) @ mixing.T + 0.5).astype(dtype)


def learnt(X, form, rule, engine, **options):
    plan = LearningRule(form=form, rule=rule, engine=engine, **options)
    return learn(initial_state(X, plan), X, plan)


@pytest.mark.parametrize("engine", ["fused", "delayed"])
@pytest.mark.parametrize(
    "regime", REGIMES, ids=lambda regime: f"{regime['schedule']}-{regime['gain']}-{regime['rate']}"
)
@pytest.mark.parametrize(("form", "rule"), RULES)
def test_a_fast_engine_gives_the_numbers_of_the_plain_one(form, rule, regime, engine):
    X = stream()
    plain, fast = (learnt(X, form, rule, name, **regime) for name in ("plain", engine))
    # About 700 steps, each with a few roundings of entries below 10: 700 · 10 · 2e-16 ≈ 1e-12, and far less on average.
    for name in ("M", "R", "mean", "power", "gain"):
        np.testing.assert_allclose(getattr(fast, name), getattr(plain, name), rtol=0, atol=1e-12)
    np.testing.assert_allclose(fast.counters[:4], plain.counters[:4], rtol=1e-12)
    assert fast.settling_error < 1e-12


@pytest.mark.parametrize("engine", ["fused", "delayed"])
def test_single_precision_agrees_to_its_own_rounding(engine):
    X = stream(np.float32)
    plain, fast = (learnt(X, "recurrent", "implicit", name, schedule="constant") for name in ("plain", engine))
    assert fast.M.dtype == fast.R.dtype == np.float32
    np.testing.assert_allclose(fast.M, plain.M, rtol=0, atol=2e-4)
    np.testing.assert_allclose(fast.R, plain.R, rtol=0, atol=2e-4)


@pytest.mark.parametrize("engine", ["fused", "delayed"])
def test_gains_kept_beside_the_matrices_keep_the_twins_closer_than_gains_multiplied_in(engine):
    """One gain shared by M and R cannot be rounded apart; 20 000 separate multiplications can."""
    X = np.tile(stream(), (30, 1))
    plain, fast = (learnt(X, "recurrent", "implicit", name, schedule="constant") for name in ("plain", engine))
    assert fast.twin_error() < 1e-14 < plain.twin_error() < 1e-11


@pytest.mark.parametrize("engine", ["plain", "fused", "delayed"])
def test_the_sample_that_breaks_the_explicit_rule_is_the_same(engine):
    X = stream()
    X[300] *= 100
    plan = LearningRule(form="feedforward", rule="explicit", rate=1e-2, limit=None, engine=engine, schedule="constant")
    with pytest.raises(DivergenceError, match="at sample 300 "):
        learn(initial_state(X, plan), X, plan)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 129])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("rule", "engine"), [("implicit", "fused"), ("implicit", "delayed"), ("congruent", "delayed")])
def test_any_number_of_units_fills_registers_and_groups_of_rows(rule, engine, dtype, n):
    """Fewer units than a register holds, whole registers, and one more; rows beside each other in the cache."""
    X = np.random.default_rng(n).standard_normal((150, n)).astype(dtype)
    plain, fast = (learnt(X, "recurrent", rule, name, schedule="constant", rate=1e-3 / n) for name in ("plain", engine))
    rounding = 150 * 10 * np.finfo(dtype).eps  # 150 steps, a few roundings each of entries near one
    np.testing.assert_allclose(fast.M, plain.M, rtol=0, atol=rounding)
    np.testing.assert_allclose(fast.R, plain.R, rtol=0, atol=rounding)


@pytest.mark.parametrize("engine", ["fused", "delayed"])
def test_the_congruent_pair_is_symmetric_to_the_bit(engine):
    state = learnt(stream(), "recurrent", "congruent", engine, schedule="constant")
    assert (state.M == state.M.T).all()
    assert (state.R == state.R.T).all()


@pytest.mark.parametrize("rule", ["implicit", "explicit"])
@pytest.mark.parametrize("pool", [1, 2])
def test_large_layers_delay_and_small_ones_fuse(rule, pool):
    """The default chooses by size and threads, and both choices are the engines tested above."""
    with threadpool_limits(pool, user_api="blas"):
        smallest = smallest_delayed()
        for n in (smallest - 1, smallest):
            X = np.random.default_rng(0).standard_normal((20, n))
            chosen, fused, delayed = (
                learnt(X, "feedforward", rule, name, rate=1e-5) for name in ("auto", "fused", "delayed")
            )
            np.testing.assert_allclose(fused.M, delayed.M, rtol=0, atol=1e-12)
            assert not (fused.M == delayed.M).all()
            assert (chosen.M == (fused if n < smallest else delayed).M).all()


def test_a_strided_stream_is_read_as_it_lies():
    X = stream()
    plan = LearningRule(form="feedforward", rule="implicit", rate=1e-3)
    apart = np.repeat(X, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(
        learn(initial_state(X, plan), apart, plan).M, learn(initial_state(X, plan), X, plan).M
    )


def test_two_pools_of_threads_never_run_at_once():
    """Inside, only scipy's BLAS keeps its threads; outside, every pool has them back."""
    before = [pool["num_threads"] for pool in threadpool_info()]
    with one_pool(POOLED):
        inside = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert sum(threads > 1 for threads in inside) <= 1
    with one_pool(POOLED - 1):
        assert all(pool["num_threads"] == 1 for pool in threadpool_info() if pool["user_api"] == "blas")
    assert [pool["num_threads"] for pool in threadpool_info()] == before
