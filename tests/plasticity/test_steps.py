"""The compiled single-sample rules against their formulas, written with dense inverses and roots."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.linalg import sqrtm

from neurodecorr.plasticity import Decay, LearningRule, initial_state, learn, steps
from neurodecorr.plasticity.spec import RULES

MEMORY_OF_THE_TRACE, FASTEST_MEMORY, OUTLIER = 0.01, 0.1, 5.0
PAIRS = [(form, rule) for form in ("recurrent", "feedforward") for rule in RULES]
ENGINES = ("plain", "fused", "delayed")
# Every step rounds each entry a few times, and κ(R) stays below 100 here: 200 steps · n · eps · κ ≈ 4e-11.
ROUNDING = 4e-11


@dataclass
class SlowLearner:
    """The single-sample rules, every matrix dense, nothing shared with the library."""

    features: int
    recurrent: bool
    rule: str
    gain: str
    rate: float
    hold: float = math.inf
    half: float = 1.0
    limit: float = math.inf
    centred: bool = False
    rate_is: str = "absolute"
    t: int = 0
    clock: float = 0.0
    trace: float = 0.0
    limited: int = 0
    M: np.ndarray = field(init=False)
    R: np.ndarray = field(init=False)

    def __post_init__(self):
        n = self.features
        self.M, self.R = np.eye(n), np.eye(n)
        self.mean, self.power = np.zeros(n), np.zeros(n)

    def learn(self, X):
        for x in X:
            self.step(x)
        return self

    def step(self, row):
        eta = self.rate * math.exp(-max(0.0, self.clock - self.hold) / self.half)
        forgetting = 0.0 if math.isfinite(self.hold) else min(self.rate, FASTEST_MEMORY)
        memory = max(1 / (self.t + 1), forgetting)
        if self.centred:
            self.mean = self.mean + memory * (row - self.mean)
        x = row - self.mean
        self.power = self.power + memory * (x**2 - self.power)
        unit = self.power.mean() if self.rate_is == "relative" else 1.0
        eta = eta / unit if unit > 0 else 0.0  # the first sample is its own mean
        xbar = np.linalg.solve(self.R, x) if self.recurrent else self.M @ x
        eta = self.shortened(eta, xbar @ xbar)
        g = self.gains(eta)
        self.R, self.M = {"explicit": explicit, "congruent": congruent}.get(self.rule, implicit)(
            self.R, self.M, xbar, eta, g
        )
        self.t += 1
        self.clock += eta * unit

    def shortened(self, eta, size):
        self.trace += max(1 / (self.t + 1), MEMORY_OF_THE_TRACE) * (size - self.trace)
        strongest = self.limit / max(self.trace, size / OUTLIER)
        self.limited += eta > strongest
        return min(eta, strongest)

    def gains(self, eta):
        p = {"node": self.power, "layer": np.full(self.features, self.power.mean()), "none": 0 * self.power}[self.gain]
        return 1 / (1 - eta * p) if self.rule == "explicit" else 1 + eta * p


def explicit(R, M, xbar, eta, g):
    """M ← diag(g)(I − η x̄x̄ᵀ) M and its inverse."""
    A = np.eye(len(g)) - eta * np.outer(xbar, xbar)
    return R @ np.linalg.inv(A) @ np.diag(1 / g), np.diag(g) @ A @ M


def implicit(R, M, xbar, eta, g):
    """M ← diag(g)(I + η x̄x̄ᵀ)⁻¹ M and its inverse."""
    A = np.eye(len(g)) + eta * np.outer(xbar, xbar)
    return R @ A @ np.diag(1 / g), np.diag(g) @ np.linalg.inv(A) @ M


def congruent(R, M, xbar, eta, g):
    """R ← D A R A D with A = (I + η x̄x̄ᵀ)^½, D = diag(g^-½), and its inverse."""
    A = np.real(sqrtm(np.eye(len(g)) + eta * np.outer(xbar, xbar)))
    D, B = np.diag(g**-0.5), np.linalg.inv(A)
    return D @ A @ R @ A @ D, np.linalg.inv(D) @ B @ M @ B @ np.linalg.inv(D)


def stream(samples=200, features=6, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, features)) @ rng.standard_normal((features, features)) / 2 + offset


def both(X, form, rule, gain="node", limit=None, mean="none", rate_is="absolute", engine="plain", **options):
    options = {"rate": 5e-3, "schedule": "constant", **options}
    plan = LearningRule(
        form=form, rule=rule, gain=gain, limit=limit, mean=mean, rate_is=rate_is, engine=engine, **options
    )
    fast = learn(initial_state(X, plan), X, plan)
    scale = fast.scale  # activities are in units of it: with an absolute rate the same steps need η scale²
    slow = SlowLearner(
        X.shape[1],
        form == "recurrent",
        rule,
        gain,
        plan.rate,
        hold=plan.timing.hold,
        half=plan.timing.half,
        limit=math.inf if limit is None else limit,
        centred=mean != "none",
        rate_is=rate_is,
    )
    return fast, slow.learn(X), scale


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gain", ["node", "layer", "none"])
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_every_rule_gain_and_engine_learns_what_its_formula_says(form, rule, gain, engine):
    fast, slow, _ = both(stream(), form, rule, gain, engine=engine)
    np.testing.assert_allclose(fast.M, slow.M, rtol=0, atol=ROUNDING * np.abs(slow.M).max())
    np.testing.assert_allclose(fast.lateral, slow.R, rtol=0, atol=ROUNDING * np.abs(slow.R).max())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_the_limiter_shortens_and_counts_the_same_steps(form, rule, engine):
    X = stream()
    X[50] *= 20.0  # an outlier, which the bound on single samples meets
    fast, slow, _ = both(X, form, rule, limit=0.1, rate=2e-2, engine=engine)
    assert 0 < slow.limited < len(X)
    assert fast.limited == slow.limited
    np.testing.assert_allclose(fast.M, slow.M, rtol=0, atol=ROUNDING * np.abs(slow.M).max())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("form", "rule"), PAIRS)
def test_the_running_mean_is_subtracted_and_the_rate_is_relative_to_the_power(form, rule, engine):
    X = stream(offset=3.0)
    fast, slow, scale = both(X, form, rule, mean="running", rate_is="relative", engine=engine)
    np.testing.assert_allclose(fast.mean * scale, slow.mean, rtol=1e-12)
    np.testing.assert_allclose(fast.power * scale**2, slow.power, rtol=1e-12)
    np.testing.assert_allclose(fast.M, slow.M, rtol=0, atol=ROUNDING * np.abs(slow.M).max())


@pytest.mark.parametrize("engine", ENGINES)
def test_the_rate_falls_with_the_sum_of_the_rates_used(engine):
    schedule = Decay(hold=0.3, half=0.2)
    fast, slow, _ = both(stream(), "recurrent", "implicit", schedule=schedule, rate_is="relative", engine=engine)
    np.testing.assert_allclose(fast.counters[steps.CLOCK], slow.clock, rtol=1e-12)
    assert slow.clock < 200 * 5e-3 * 0.9  # it did fall
    np.testing.assert_allclose(fast.R, slow.R, rtol=0, atol=ROUNDING * np.abs(slow.R).max())


def test_a_unit_of_measurement_does_not_matter():
    X = stream()
    for form, rule in PAIRS:
        plan = LearningRule(form=form, rule=rule, rate=5e-3, mean="running")
        one, million = (learn(initial_state(X * c, plan), X * c, plan) for c in (1.0, 2.0**20))
        np.testing.assert_array_equal(one.M, million.M)  # scales are powers of two: not a bit changes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_congruent_kernels_are_symmetric_to_the_bit(dtype):
    rng = np.random.default_rng(1)
    S = rng.standard_normal((7, 7)).astype(dtype)
    S += S.T
    u, v, g = (rng.standard_normal(7).astype(dtype) for _ in range(3))
    for kernel in (steps.recurrent_sym, steps.feedforward_sym):
        changed = S.copy()
        kernel(changed, u, v, 0.3, 0.7, 1 + g**2)
        assert not np.array_equal(changed, S)
        np.testing.assert_array_equal(changed, changed.T)


def test_a_constant_gain_does_not_drive_the_congruent_twins_apart():
    """√g and 1/√g rounded apart have a product off by the same eps each time: 10⁵ steps would make it 1e-11."""
    R, M, zero = np.eye(3), np.eye(3), np.zeros(3)
    grow, shrink = np.full(3, 1.001), np.full(3, 1 / 1.001)
    for gain in (grow, shrink):
        for _ in range(100_000):
            steps.recurrent_sym(R, zero, zero, 0.0, 0.0, gain)
            steps.feedforward_sym(M, zero, zero, 0.0, 0.0, gain)
    # Unbiased rounding of 2e5 steps, eps √(2e5) on each side: 1.4e-13.
    assert np.abs(np.diag(R @ M) - 1).max() < 5e-13


def test_settling_by_the_twin_is_refined_to_the_square_of_the_twins_error():
    rng = np.random.default_rng(2)
    R = np.eye(5) + 0.2 * rng.standard_normal((5, 5))
    M = np.linalg.inv(R) + 1e-5 * rng.standard_normal((5, 5))
    x, xbar, work, found = rng.standard_normal(5), np.empty(5), np.empty(5), np.empty(5)
    error = steps.settle_and_refine(R, M, x, xbar, work, found)
    exact = np.linalg.solve(R, x)
    before = np.linalg.norm(M @ x - exact) / np.linalg.norm(exact)
    assert before > 1e-6
    np.testing.assert_allclose(error, before, rtol=1e-3)
    assert np.linalg.norm(xbar - exact) / np.linalg.norm(exact) < 10 * (np.linalg.norm(R) * 1e-4) ** 2


def test_homeostatic_gains_are_the_printed_ones():
    p, eta = np.array([0.5, 1.0, 3.0]), 0.1
    for mode, power in ((steps.NODE_GAIN, p), (steps.LAYER_GAIN, np.full(3, 1.5)), (steps.NO_GAIN, np.zeros(3))):
        gain = np.empty(3)
        steps.homeostatic(gain, p, float(p.mean()), eta, mode, False)
        np.testing.assert_allclose(gain, 1 + eta * power, rtol=1e-15)
        steps.homeostatic(gain, p, float(p.mean()), eta, mode, True)
        np.testing.assert_allclose(gain, 1 / (1 - eta * power), rtol=1e-15)


def test_products_are_those_of_numpy():
    rng = np.random.default_rng(3)
    A, v, out = rng.standard_normal((9, 9)), rng.standard_normal(9), np.empty(9)
    steps.multiply(A, v, out)
    np.testing.assert_allclose(out, A @ v, rtol=0, atol=1e-14)
    steps.multiply_transposed(A, v, out)
    np.testing.assert_allclose(out, A.T @ v, rtol=0, atol=1e-14)
