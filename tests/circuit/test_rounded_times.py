"""Times that rounding has moved by some ulps are the times that were meant."""

import numpy as np
import pytest

from neurodecorr._validation import instants, numeral, steps_within
from neurodecorr.circuit import Circuit, PiecewiseConstant, integrate, settle
from neurodecorr.circuit.integrate import record_trajectory
from neurodecorr.errors import InputError
from neurodecorr.io import read_traces

CIRCUIT = Circuit([[2.0, 0.5], [0.0, 1.0]], tau=0.3)


@pytest.mark.parametrize("times", [np.arange(0, 0.4, 0.1), np.arange(4) * 0.1, np.cumsum([0.1, 0.1, 0.1])])
@pytest.mark.parametrize("method", ["euler", "rk4", "rk45", "implicit", "exponential", "chebyshev", "arnoldi", "auto"])
def test_a_grid_that_ends_some_ulps_late_ends_at_t_end(times, method):
    assert times[-1] > 0.3
    found = integrate(CIRCUIT, [1.0, 1.0], 0.3, method, times)
    meant = integrate(CIRCUIT, [1.0, 1.0], 0.3, method, np.append(times[:-1], 0.3))
    assert found.t[-1] == 0.3 and np.array_equal(found.xbar, meant.xbar)


def test_switches_and_functions_take_such_grids_too():
    times = np.arange(0, 0.4, 0.1)
    for x in (PiecewiseConstant(np.arange(0, 0.4, 0.1), np.eye(4)[:, :2]), lambda t: np.array([1.0, t])):
        assert integrate(CIRCUIT, x, 0.3, times=times).t[-1] == 0.3


def test_times_in_float32_are_known_to_float32():
    assert integrate(CIRCUIT, [1.0, 1.0], 0.3, times=np.float32([0.1, 0.3])).t[-1] == 0.3


def test_times_that_are_late_by_more_are_refused_with_all_their_digits():
    for late in (0.3 * (1 + 1e-11), 0.31, 2.0):
        with pytest.raises(InputError, match="t_end") as caught:
            integrate(CIRCUIT, [1.0, 1.0], 0.3, times=[0.1, late])
        assert numeral(late) in str(caught.value)
    with pytest.raises(InputError, match="times"):
        integrate(CIRCUIT, [1.0, 1.0], 0.3, times=[-1e-3, 0.1])


def test_rounding_below_zero_is_zero_and_a_time_stays_what_it_is_elsewhere():
    assert instants([-1e-17, 0.5, 1.0], "times").tolist() == [0.0, 0.5, 1.0]
    assert instants([1e-17, 0.5], "times", 1.0).tolist() == [1e-17, 0.5]
    assert PiecewiseConstant([1e-17, 1.0], np.eye(2)).times[0] == 0.0
    with pytest.raises(InputError):
        instants([0.3, 0.30000000000000004], "times", 0.3)


def test_digits_tell_a_number_from_its_neighbours():
    for value in (0.3, np.nextafter(0.3, 1), 1e300, 1.0, 123456789.123, 5e-324):
        assert float(numeral(value)) == value
    assert numeral(1.0) == "1" and numeral(0.1 + 0.2) == "0.30000000000000004"


@pytest.mark.parametrize(("t_end", "dt"), [(0.3, 0.1), (0.6, 0.2), (0.7, 0.1), (29.0, 0.29), (1.1, 0.1)])
def test_whole_numbers_of_steps_are_counted_whole(t_end, dt, tmp_path):
    rows = round(t_end / dt)
    assert steps_within(t_end, dt) == rows
    record_trajectory(CIRCUIT, [1.0, 1.0], t_end, tmp_path / "traces.h5", dt=dt)
    assert len(read_traces(tmp_path)["xbar"]) == rows + 1
    slow = Circuit(CIRCUIT.R, tau=10 * t_end)
    assert settle(slow, [1.0, 1.0], 1e-9, method="euler", dt=dt, t_max=t_end).steps == rows


def test_a_row_at_a_switch_shows_the_input_after_it(tmp_path):
    # 100 · 0.29 = 28.999999999999996 in floating point: the row is meant to be at the switch.
    x = PiecewiseConstant([0.0, 29.0], [[1.0, 1.0], [-1.0, 2.0]])
    record_trajectory(CIRCUIT, x, 100 * 0.29, tmp_path / "traces.h5", dt=0.29)
    rest = np.linalg.solve(CIRCUIT.R, [1.0, 1.0])
    jump = np.linalg.norm(np.array([-1.0, 2.0]) - CIRCUIT.R @ rest)
    assert abs(read_traces(tmp_path)["residual"].values[-1] - jump) <= 1e-6
