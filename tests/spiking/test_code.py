"""The signed spike code settles where the rate circuit does, costs what it should, and learns from local signals."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg

import neurodecorr as nd
from neurodecorr import spiking
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.spiking import run_code
from neurodecorr.spiking.kernels import step_code

pytestmark = pytest.mark.rounding

GAMMAS = (0.2, 0.1, 0.05, 0.02)
UNITS = 20


def weights(seed, units=UNITS, scale=0.4):
    rng = np.random.default_rng(seed)
    return np.eye(units) + scale * rng.standard_normal((units, units)) / math.sqrt(units)


def correlated(units=UNITS, condition=100.0, seed=0):
    sigma = nd.data.gaussian_covariance(units, condition, seed)
    return sigma / np.sqrt(np.outer(sigma.diagonal(), sigma.diagonal()))


def at_rest(seed, gamma, tau_s=0.01, decay_hz=50.0, seconds=2.0):
    R, xbar = weights(seed), np.random.default_rng(100 + seed).standard_normal(UNITS)
    code = spiking.SpikeCode(R, tau_s, decay_hz, gamma)
    return xbar, run_code(code, spiking.constant_stimulus(R @ xbar, seconds), dt_s=5e-4 * gamma, record_s=1e-3)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_error_against_mx_is_that_of_a_uniform_distribution_as_wide_as_a_spike(gamma):
    errors = np.array([at_rest(seed, gamma)[1].error(at_rest(seed, gamma)[0], 0.5) for seed in range(4)])
    assert errors / (gamma / math.sqrt(12)) == pytest.approx(1, abs=0.05)
    assert math.sqrt(np.mean(errors**2)) == pytest.approx(spiking.code.coding_error_floor(gamma), rel=0.02)


@pytest.mark.parametrize(("tau_s", "decay_hz"), [(0.02, 50.0), (0.01, 100.0), (0.005, 20.0)])
def test_the_error_does_not_depend_on_time_constants(tau_s, decay_hz):
    xbar, run = at_rest(7, 0.05, tau_s, decay_hz)
    assert run.error(xbar, 1.0) == pytest.approx(0.05 / math.sqrt(12), rel=0.05)
    assert run.overloaded == 0


def test_its_time_average_is_the_rest_of_the_circuit_that_settle_finds():
    R = weights(3)
    x = np.random.default_rng(3).standard_normal(UNITS)
    settled = nd.settle(nd.Circuit(R, tau=0.01), x, tol=1e-9).xbar
    run = run_code(spiking.SpikeCode(R, gamma=0.05), spiking.constant_stimulus(x, 4.0), dt_s=2.5e-5, record_s=1e-3)
    # u stays within ±γ/2 and τ d(u + r)/dt = x − R r, so over T seconds the mean of R r is off by at most
    # τ|Δ(u + r)|/T ≈ τ γ/T: 0.01 · 0.05/3.5 ≈ 1.5e-4, times the norm of M; records add their own sampling error.
    assert np.abs(run.settled(0.5).mean(axis=0) - settled).max() < 2e-3


def test_a_spike_costs_what_its_charge_is_worth():
    xbar, run = at_rest(1, 0.05, seconds=5.0)
    # The mean of r is x̄, and ⟨ṙ⟩ = −λ⟨r⟩ + γ (spikes up − spikes down)/T = 0; few units spike both ways.
    np.testing.assert_allclose(run.spikes_per_unit_second, 50.0 * np.abs(xbar).mean() / 0.05, rtol=0.02)
    assert run.rates_hz.mean() == pytest.approx(run.spikes_per_unit_second, rel=1e-12)


def test_it_follows_the_rate_circuit_while_the_input_moves():
    sigma = correlated()
    R = np.linalg.inv(nd.plasticity.decorrelating_matrix(sigma))
    stimulus = spiking.ou_stimulus(sigma, 3000, seed=1)
    run = run_code(spiking.SpikeCode(R), stimulus, dt_s=5e-5)
    pieces = nd.circuit.PiecewiseConstant(np.arange(3000) * 1e-3, stimulus.values)
    xbar = nd.integrate(nd.Circuit(R, 0.01), pieces, 3.0, "exponential", times=run.t_s).xbar
    # Units near zero spike rarely: their u is not spread evenly, and noise of few spikes passes R.
    assert run.error(xbar) == pytest.approx(0.1 / math.sqrt(12), rel=0.1)


def test_the_lateral_current_is_r_times_the_output_and_errors_stay_below_half_a_spike():
    R, state = weights(5, 6), np.zeros((3, 6))
    spikes, record = np.empty((60_000, 3), np.int64), np.empty((10_000, 6))
    x = spiking.constant_stimulus(np.random.default_rng(5).standard_normal(6), 1.0).values
    step_code(
        R.T.copy(), state, x, (0, 10_000, 10_000, 1), (5e-5, 0.01, 50.0, 0.1), (0.0, 1.0, False, False), record, spikes
    )
    np.testing.assert_allclose(state[2], R @ state[1], rtol=0, atol=1e-12)
    assert np.abs(state[0]).max() <= 0.05


def exactly(R, x, tau, decay, gamma, count):
    """Follow the code from event to event, without steps; return time, unit, sign of the first spikes.

    Between spikes u(t) = u + x t/τ + (r − s/(λτ))(1 − e^(−λt)): one turning point at most, so the first crossing lies
    on one of two monotone stretches, where bisection finds it.
    """
    n = len(R)
    u, r, s, now, found = np.zeros(n), np.zeros(n), np.zeros(n), 0.0, []

    def flow(i, t):
        return u[i] + x[i] * t / tau - (r[i] - s[i] / (decay * tau)) * math.expm1(-decay * t)

    def crossing(i, horizon):
        slope, bend = x[i] / tau, decay * (r[i] - s[i] / (decay * tau))
        turn = math.log(-bend / slope) / decay if slope != 0 and -bend / slope > 1 else 0.0
        marks = [0.0, *([turn] if 0 < turn < horizon else []), horizon]
        for low, high in itertools.pairwise(marks):
            if abs(flow(i, high)) > gamma / 2:
                for _ in range(80):
                    middle = (low + high) / 2
                    low, high = (low, middle) if abs(flow(i, middle)) > gamma / 2 else (middle, high)
                return high
        return math.inf

    while len(found) < count:
        times = [crossing(i, 1.0) for i in range(n)]
        j = int(np.argmin(times))
        t = times[j]
        u[:] = [flow(i, t) for i in range(n)]
        r *= math.exp(-decay * t)
        s *= math.exp(-decay * t)
        sign = 1.0 if u[j] > 0 else -1.0
        u[j] -= gamma * sign
        r[j] += gamma * sign
        s += gamma * sign * R[:, j]
        now += t
        found.append((now, j, sign))
    return found


def test_steps_find_the_spikes_of_a_simulation_without_steps():
    R, x = weights(2, 4), np.array([0.9, -0.7, 0.4, 1.3])
    dt = 1e-6
    run = run_code(spiking.SpikeCode(R, gamma=0.1), spiking.constant_stimulus(x, 0.12), dt_s=dt, record_s=1e-3)
    exact = exactly(R, x, 0.01, 50.0, 0.1, 60)
    assert [unit for _, unit, _ in exact] == run.spikes.unit[:60].tolist()
    assert [sign for *_, sign in exact] == run.spikes.sign[:60].tolist()
    # A spike is seen at the end of its step, up to one step late; late kicks move others by less than that.
    late = (run.spikes.step[:60] + 1) * dt - np.array([time for time, *_ in exact])
    assert (late > -dt).all() and (late < 2 * dt).all()


def plainly(code, stimulus, rule, dt):
    """Run step by step in numpy, learning by `lateral_jump`; return rows of spikes, and the weights."""
    R, u, r, s = code.R.copy(), *np.zeros((3, code.units))
    keep, rows, others = math.exp(-code.decay_hz * dt), [], ~np.eye(code.units, dtype=bool)
    for k in range(round(stimulus.duration_s / dt)):
        x = stimulus.values[int(k * dt / stimulus.frame_s + 1e-9)]
        u = u + dt * x / code.tau_s + (1 - keep) * (r - s / (code.decay_hz * code.tau_s))
        r, s = keep * r, keep * s
        sign = np.where(np.abs(u) > code.gamma / 2, np.sign(u), 0.0)
        rate = rule.rate * code.gamma / (1 + k * dt / rule.halving_s)
        R = R + others * spiking.code.lateral_jump(sign[None], s[:, None], r[None], R, rate)
        if rule.one_signed:
            R = np.where(others, np.maximum(R, 0), R)
        s, u, r = s + code.gamma * R @ sign, u - code.gamma * sign, r + code.gamma * sign
        rows += [(k, unit, int(sign[unit])) for unit in np.flatnonzero(sign)]
    return np.array(rows), R


@pytest.mark.parametrize("one_signed", [False, True], ids=["both signs", "one sign"])
def test_the_kernel_learns_spike_by_spike_what_the_jump_of_the_rule_says(one_signed):
    R = weights(4, 6)
    code = spiking.SpikeCode(np.abs(R) if one_signed else R, gamma=0.2)
    stimulus = spiking.ou_stimulus(correlated(6, 10.0), 1000, seed=2)
    rule = spiking.LateralRule(0.05, halving_s=0.5, one_signed=one_signed)
    run = run_code(code, stimulus, rule, dt_s=1e-4)
    rows, R = plainly(code, stimulus, rule, 1e-4)
    assert len(rows) > 500
    np.testing.assert_array_equal(rows, np.column_stack([run.spikes.step, run.spikes.unit, run.spikes.sign]))
    # 10⁴ steps of rounding, each 1e-16 of numbers near 1.
    np.testing.assert_allclose(run.weights, R, rtol=0, atol=1e-12)
    assert np.abs(R - code.R).max() > 0.05


def test_the_jump_is_the_same_before_and_after_the_kick_of_its_spike():
    rng = np.random.default_rng(0)
    sign, s, r, w = rng.choice([-1.0, 1.0], 50), *rng.standard_normal((3, 50))
    before = spiking.code.lateral_jump(sign, s, r, w, 0.01)
    after = spiking.code.lateral_jump(sign, s + 0.1 * sign * w, r + 0.1 * sign, w, 0.01)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-16)


def test_the_rule_rests_only_where_all_correlations_are_gone():
    # Mean change of w_ij: (R C)_ij − R_ij C_jj = (R (C − diag C))_ij. As a map of the n(n − 1)/2 correlations it has
    # full rank, so only C = diag C is mapped to zero.
    n, R = 6, weights(8, 6)
    columns = []
    for i, j in zip(*np.triu_indices(n, 1), strict=True):
        C = np.zeros((n, n))
        C[i, j] = C[j, i] = 1.0
        columns.append((R @ C)[~np.eye(n, dtype=bool)])
    assert np.linalg.svd(np.array(columns), compute_uv=False).min() > 0.1


@pytest.fixture(scope="module")
def learnt():
    """Activity under new noise before learning, and after 100 s of it with and without negative weights."""
    sigma = correlated()
    lesson, exam = (spiking.ou_stimulus(sigma, frames, seed=seed) for frames, seed in ((100_000, 1), (60_000, 2)))
    start = spiking.SpikeCode(np.eye(UNITS))
    runs = {"before": run_code(start, exam)}
    for name, one_signed in (("both", False), ("one", True)):
        R = run_code(start, lesson, spiking.LateralRule(2e-3, 10.0, one_signed)).weights
        runs[name] = run_code(spiking.SpikeCode(R), exam)
    return runs


def test_the_local_rule_cuts_mean_correlation_at_least_three_times(learnt):
    found = spiking.reduction(learnt["before"].settled(1.0), learnt["both"].settled(1.0))
    assert found.low > 3
    assert found.before.low > found.after.high
    assert learnt["both"].spikes_per_unit_second < learnt["before"].spikes_per_unit_second
    assert learnt["both"].overloaded == 0


def population_correlation(R, sigma, tau=0.01, correlation_time=0.1):
    """Mean |correlation| of the rate circuit under the noise, from the Lyapunov equation of both."""
    n = len(R)
    flow = np.block([[-np.eye(n) / correlation_time, np.zeros((n, n))], [np.eye(n) / tau, -R / tau]])
    noise = scipy.linalg.block_diag(2 * sigma / correlation_time, np.zeros((n, n)))
    C = scipy.linalg.solve_continuous_lyapunov(flow, -noise)[n:, n:]
    return np.abs(C / np.sqrt(np.outer(C.diagonal(), C.diagonal())))[np.triu_indices(n, 1)].mean()


def test_the_learnt_weights_decorrelate_the_rate_circuit_too_as_its_exact_covariance_says(learnt):
    sigma = correlated()
    ideal = np.linalg.inv(nd.plasticity.decorrelating_matrix(sigma))
    before, after = (population_correlation(R, sigma) for R in (np.eye(UNITS), learnt["both"].weights))
    assert before == pytest.approx(0.204, abs=0.001)
    assert after < before / 4
    assert population_correlation(ideal, sigma) < after
    # The bootstrap intervals are about the same circuit, with chance on top.
    found = spiking.reduction(learnt["before"].settled(1.0), learnt["both"].settled(1.0))
    assert found.before.mean == pytest.approx(before, abs=0.02)
    assert after < found.after.high


def test_without_negative_weights_it_cannot(learnt):
    R = learnt["one"].weights
    assert (R >= 0).all() and (R.diagonal() == 1).all()
    found = spiking.reduction(learnt["before"].settled(1.0), learnt["one"].settled(1.0))
    assert found.low > 1.5 and found.high < 2.6
    assert (learnt["both"].weights < -0.05).sum() > 20


def test_learning_leaves_the_weight_of_a_unit_to_itself(learnt):
    np.testing.assert_array_equal(learnt["both"].weights.diagonal(), 1.0)


def test_a_constant_rate_turns_weights_from_symmetry_and_a_falling_one_does_not():
    sigma = correlated()
    lesson = spiking.ou_stimulus(sigma, 90_000, seed=1)
    asymmetry = {}
    for halving_s in (10.0, math.inf):
        R = run_code(spiking.SpikeCode(np.eye(UNITS)), lesson, spiking.LateralRule(2e-3, halving_s)).weights
        asymmetry[halving_s] = np.linalg.norm(R - R.T) / np.linalg.norm(R + R.T)
    assert asymmetry[10.0] < 0.25 < 0.4 < asymmetry[math.inf]
    with pytest.raises(DivergenceError):
        run_code(
            spiking.SpikeCode(np.eye(UNITS)),
            spiking.ou_stimulus(sigma, 250_000, seed=1),
            spiking.LateralRule(2e-3, math.inf),
        )


def test_the_same_seed_gives_the_same_run_and_inputs_stay_as_they_were():
    R = weights(1, 4)
    copy = R.copy()
    stimulus = spiking.ou_stimulus(correlated(4, 10.0), 300, seed=5)
    first, second = (run_code(spiking.SpikeCode(R), stimulus, spiking.LateralRule(0.01)) for _ in range(2))
    np.testing.assert_array_equal(first.activity, second.activity)
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(R, copy)


def test_runs_in_pieces_are_runs_in_one(monkeypatch):
    from neurodecorr.spiking import kernels

    stimulus = spiking.ou_stimulus(correlated(4, 10.0), 50, seed=5)
    whole = run_code(spiking.SpikeCode(weights(1, 4)), stimulus)
    monkeypatch.setattr(kernels, "ROOM", 300)
    pieces = run_code(spiking.SpikeCode(weights(1, 4)), stimulus)
    np.testing.assert_array_equal(whole.spikes.step, pieces.spikes.step)
    np.testing.assert_array_equal(whole.activity, pieces.activity)


def test_a_unit_that_cannot_keep_up_is_counted():
    # At most one spike per step: γ/dt = 0.01/1e-3 = 10 per second, but λ x̄ = 50.
    run = run_code(spiking.SpikeCode([[1.0]], gamma=0.01), spiking.constant_stimulus([1.0], 0.5), dt_s=1e-3)
    assert run.overloaded > 100 and f"overloaded={run.overloaded}" in repr(run)


def test_learning_too_fast_raises_instead_of_returning_nan():
    stimulus = spiking.ou_stimulus(correlated(4, 10.0), 5000, seed=5)
    with pytest.raises(DivergenceError, match=r"finite .* s\. Lower"):
        run_code(spiking.SpikeCode(np.eye(4)), stimulus, spiking.LateralRule(5.0))


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"R": np.ones((2, 3))}, InputError, "square"),
            ({"R": [[1.0, np.nan], [0.0, 1.0]]}, InputError, "row 0, column 1"),
            ({"R": [[0.0, 1.0], [-1.0, -0.5]]}, StabilityError, "positive real part"),
            ({"R": np.eye(2), "gamma": 0.0}, ConfigError, "gamma must be > 0"),
            ({"R": np.eye(2), "tau_s": -1.0}, ConfigError, r"tau_s must be > 0 \(s\)"),
            ({"R": np.eye(2), "decay_hz": np.inf}, ConfigError, "decay_hz must be a finite number"),
        ],
        ids=["shape", "nan", "unstable", "gamma", "tau", "decay"],
    )
    def test_of_a_code_is_refused(self, arguments, error, message):
        with pytest.raises(error, match=message):
            spiking.SpikeCode(**arguments)

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"dt_s": 3e-4}, ConfigError, "whole steps"),
            ({"dt_s": 0.0}, ConfigError, "dt_s must be > 0"),
            ({"record_s": 1.5e-4}, ConfigError, "record_s must be a whole number of steps"),
            ({"engine": "brian"}, ConfigError, "Did you mean 'brian2'"),
            ({"target": "numba"}, ConfigError, "target must be one of"),
            ({"rule": spiking.InhibitoryRule()}, InputError, "rule must be a LateralRule"),
        ],
        ids=["dt", "no dt", "record", "engine", "target", "rule"],
    )
    def test_of_a_run_is_refused(self, options, error, message):
        with pytest.raises(error, match=message):
            run_code(spiking.SpikeCode(np.eye(2)), spiking.ou_stimulus(np.eye(2), 10), **options)

    def test_of_a_start_that_its_rule_could_not_have_learnt_is_refused(self):
        stimulus, rule = spiking.ou_stimulus(np.eye(2), 10), spiking.LateralRule(one_signed=True)
        with pytest.raises(InputError, match=r"-0\.5 at row 0, column 1"):
            run_code(spiking.SpikeCode([[1.0, -0.5], [0.0, 1.0]]), stimulus, rule)

    def test_of_what_is_run_is_refused(self):
        with pytest.raises(InputError, match="must have 2 units, as the network has; got 3"):
            run_code(spiking.SpikeCode(np.eye(2)), spiking.ou_stimulus(np.eye(3), 10))
        with pytest.raises(InputError, match=r"stimulus must be a Stimulus; got ndarray"):
            run_code(spiking.SpikeCode(np.eye(2)), np.zeros(2))
        with pytest.raises(InputError, match=r"code must be a SpikeCode; got ndarray"):
            run_code(np.eye(2), spiking.ou_stimulus(np.eye(2), 10))

    def test_of_a_rule_is_refused(self):
        with pytest.raises(ConfigError, match="rate must be > 0"):
            spiking.LateralRule(rate=0)
        with pytest.raises(ConfigError, match=r"halving_s must be > 0 \(s\)"):
            spiking.LateralRule(halving_s=-1)
        with pytest.raises(ConfigError, match="one_signed must be True or False"):
            spiking.LateralRule(one_signed=1)

    def test_of_a_target_is_refused(self):
        run = run_code(spiking.SpikeCode(np.eye(2)), spiking.constant_stimulus([1.0, 1.0], 0.1))
        with pytest.raises(InputError, match="target must have shape"):
            run.error([1.0, 1.0, 1.0])
        with pytest.raises(ConfigError, match="skip_s must leave at least one record"):
            run.error([1.0, 1.0], skip_s=1.0)
