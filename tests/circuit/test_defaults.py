"""Steps that the library chooses pass the checks that a given step must pass, and follow what they integrate."""

import numpy as np
import pytest
import scipy.linalg

from neurodecorr.circuit import Circuit, PiecewiseConstant, TwoPopulationCircuit, integrate, settle
from neurodecorr.circuit.integrate import record_trajectory
from neurodecorr.circuit.stability import fastest_settling_step, following_step, require_step, step_limits
from neurodecorr.circuit.tableaux import TABLEAUX
from neurodecorr.errors import ConfigError, StabilityError
from neurodecorr.io import read_traces

FIXED = ("euler", "rk4", "implicit")


def lightly_damped(rng, n, damping):
    """Modes that turn 1/`damping` radians while they decay by e, seen through a matrix that is not normal."""
    blocks = [rate * np.array([[damping, -1], [1, damping]]) for rate in rng.uniform(0.5, 2, n // 2)]
    V = np.eye(n) + 0.3 * rng.standard_normal((n, n))
    return V @ scipy.linalg.block_diag(*blocks) @ np.linalg.inv(V), np.linalg.cond(V)


def path(R, x, times):
    rest = np.linalg.solve(R, x)
    return np.array([rest - scipy.linalg.expm(-t * R) @ rest for t in times])


@pytest.mark.parametrize("damping", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_every_method_with_its_own_step_follows_circuits_that_hardly_decay(seed, damping):
    rng = np.random.default_rng(seed)
    R, spread = lightly_damped(rng, 4, damping)
    x, times = rng.standard_normal(4), np.linspace(0, 4 / damping, 9)
    exact = path(R, x, times)
    # A mode loses at most a tenth of its decay: e^(−0.9 y) − e^(−y) ≤ 0.04, and its turn is off by less.
    allowed = 0.06 * spread * np.linalg.norm(np.linalg.solve(R, x))
    for method in (*FIXED, "rk45", "exponential", "auto"):
        found = integrate(Circuit(R), x, times[-1], method, times).xbar
        assert np.linalg.norm(found - exact, axis=1).max() <= allowed, method


@pytest.mark.parametrize("seed", range(10))
def test_own_steps_pass_the_check_of_steps_that_are_given(seed):
    rng = np.random.default_rng(seed)
    R, _ = lightly_damped(rng, 6, 10.0 ** rng.uniform(-6, 0))
    for circuit in (Circuit(R), TwoPopulationCircuit(R, 1.0, 10.0 ** rng.uniform(-3, 3))):
        values = circuit.spectrum.eigenvalues
        for name, tableau in TABLEAUX.items():
            for choose in (following_step, fastest_settling_step):
                require_step(circuit, name, choose(tableau, values))
                assert 0 < choose(tableau, values) < step_limits(tableau, values).min()


def test_a_lightly_damped_circuit_comes_to_rest_by_euler_steps_of_its_own():
    R, x = np.array([[0.01, -1.0], [1.0, 0.01]]), np.array([1.0, 0.0])
    rest = np.linalg.solve(R, x)
    for drive in (x, PiecewiseConstant([0.0, 1.0], [x, x]), lambda t: x):
        # Nine tenths of its decay: e^(−0.9 · 0.01 · 200) of the way is left, and by 1000 nothing that matters.
        t_end = 200.0 if callable(drive) else 1000.0
        found = integrate(Circuit(R), drive, t_end, "euler", [t_end]).xbar[-1]
        assert np.linalg.norm(found - rest) <= np.exp(-0.009 * t_end) * np.linalg.norm(rest) * 1.05


def test_recorded_courses_take_the_same_steps(tmp_path):
    R = np.array([[0.05, -1.0], [1.0, 0.05]])
    last = record_trajectory(Circuit(R), [1.0, 0.0], 40.0, tmp_path / "traces.h5", dt=1.0, method="euler")
    whole = integrate(Circuit(R), [1.0, 0.0], 40.0, "euler", np.arange(41.0)).xbar
    np.testing.assert_allclose(last, whole[-1], rtol=0, atol=1e-12)
    assert len(read_traces(tmp_path)["xbar"]) == 41


def test_a_course_of_more_steps_than_can_be_counted_is_refused():
    for method in FIXED:
        with pytest.raises(ConfigError, match=r"at most 1e\+10 steps"):
            integrate(Circuit([[1.0]]), [1.0], 1.0, method, dt=1e-25)
    for x in ([1.0, 1.0], lambda t: np.ones(2)):
        with pytest.raises(ConfigError, match="steps of its own"):
            integrate(Circuit([[1e-9, -1.0], [1.0, 1e-9]]), x, 2.0, "euler")


def test_an_unstable_circuit_may_still_be_watched_by_own_steps():
    found = integrate(Circuit(np.diag([1.0, -0.5])), [1.0, 1.0], 4.0, "euler", [4.0], allow_unstable=True)
    assert found.xbar[0, 1] > 10
    with pytest.raises(StabilityError):
        integrate(Circuit(np.diag([1.0, -0.5])), [1.0, 1.0], 4.0, "euler")


def test_settling_steps_of_lightly_damped_circuits_settle():
    R = np.array([[0.1, -1.0], [1.0, 0.1]])
    for method in ("euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "auto"):
        assert settle(Circuit(R), [1.0, 2.0], method=method).settled, method
