"""Time courses streamed to a file."""

import numpy as np
import pytest

from neurodecorr.circuit import Circuit, PiecewiseConstant, TwoPopulationCircuit, integrate
from neurodecorr.circuit.integrate import record_trajectory
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.io import read_traces

R = np.array([[1.1, 0.3, 0.0], [-0.2, 0.7, 0.1], [0.4, 0.0, 1.5]])
CIRCUIT = Circuit(R, tau=0.02)
DT, T = 2e-4, 0.2  # 1000 rows: four stretches


def steps(t):
    return np.array([np.sin(30 * t), 1.0, np.cos(50 * t)])


INPUTS = {
    "constant": [1.0, -0.5, 0.25],
    "switched": PiecewiseConstant([0.0, 0.0501, 0.12], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 1.0]]),
    "function": steps,
}


@pytest.mark.parametrize("kind", INPUTS)
def test_the_streamed_course_is_that_of_one_integration(tmp_path, kind):
    x = INPUTS[kind]
    last = record_trajectory(CIRCUIT, x, T, tmp_path / "traces.h5", dt=DT, method="rk4", step=DT / 2)
    traces = read_traces(tmp_path)
    times = np.arange(1001) * DT
    whole = integrate(CIRCUIT, x, T + DT / 10, "rk4", times, dt=DT / 2).xbar
    # The same steps from the same states, but times that differ by roundings.
    np.testing.assert_allclose(traces["xbar"].values, whole, rtol=0, atol=1e-9)
    assert traces["xbar"].step.tolist() == list(range(1001)) and np.array_equal(last, traces["xbar"].values[-1])


def test_residuals_are_those_of_the_equation(tmp_path):
    record_trajectory(CIRCUIT, INPUTS["constant"], T, tmp_path / "traces.h5", dt=DT)
    traces = read_traces(tmp_path)
    expected = np.linalg.norm(np.array(INPUTS["constant"]) - traces["xbar"].values @ R.T, axis=1)
    np.testing.assert_allclose(traces["residual"].values, expected, rtol=0, atol=1e-12)


def test_the_file_says_dt_units_tau_seed_and_configuration(tmp_path):
    record_trajectory(CIRCUIT, [1.0, 0.0, 0.0], T, tmp_path / "traces.h5", dt=DT, seed=7, config={"rule": "local"})
    traces = read_traces(tmp_path)
    assert (traces.metadata["dt"], traces.metadata["tau"], traces.metadata["tau_unit"]) == (DT, 0.02, "s")
    assert (traces["xbar"].step_unit, traces["xbar"].step_description) == ("dt", f"time of the row over dt = {DT:g} s")
    assert "R[i, j]" in traces.metadata["equation"] and traces.metadata["min_re_lambda"] > 0
    assert traces.provenance["seed"] == 7 and traces.provenance["config"]["rule"] == "local"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"circuit": Circuit([[1.0, 3.0], [3.0, 1.0]]), "x": [1.0, 1.0]}, StabilityError, "settle"),
        ({"circuit": TwoPopulationCircuit(R)}, InputError, "must be a Circuit"),
        ({"what": ("xbra",)}, ConfigError, "Did you mean 'xbar'"),
        ({"what": "xbar"}, ConfigError, "must be a sequence"),
        ({"dt": 1.0}, ConfigError, "t_end"),
        ({"method": "rk44"}, ConfigError, "Did you mean 'rk4"),
    ],
    ids=["unstable", "two populations", "name", "text", "no row", "method"],
)
def test_what_cannot_be_recorded_is_refused(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        record_trajectory(
            **{"circuit": CIRCUIT, "x": [1.0, 0.0, 0.0], "t_end": T, "path": tmp_path / "traces.h5", **change}
        )
