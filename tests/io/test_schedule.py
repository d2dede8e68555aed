"""Recording times: sorted, unique, with both ends, and evenly spaced where they can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecorr.errors import ConfigError
from neurodecorr.io.observer import EverySamples, LogSpaced, spans

SCHEDULES = st.builds(EverySamples, st.integers(1, 300)) | st.builds(LogSpaced, st.integers(1, 60), st.integers(1, 500))


@given(SCHEDULES, st.integers(0, 400))
def test_recording_times_are_sorted_and_unique_with_both_ends(schedule, total):
    times = schedule.record_times(total)
    assert times.dtype == np.int64
    assert times[0] == 0 and times[-1] == total
    assert np.all(np.diff(times) > 0)


@given(SCHEDULES, st.integers(0, 400))
def test_recording_times_are_the_steps_that_are_due_and_the_end(schedule, total):
    slow = [step for step in range(total + 1) if schedule.due(step) or step == total]
    assert schedule.record_times(total).tolist() == slow


@given(st.integers(1, 2000), st.integers(1, 10**12))
def test_log_spaced_gives_exactly_the_points_asked_for(points, horizon):
    times = LogSpaced(points, horizon).record_times(horizon)
    assert len(times) == min(points, horizon) + 1


@given(st.integers(2, 200), st.integers(2, 10**12))
def test_log_spaced_times_lie_on_the_curve_wherever_samples_are_dense_enough(points, horizon):
    points = min(points, horizon)
    times = LogSpaced(points, horizon).record_times(horizon)[1:]
    curve = float(horizon) ** (np.arange(points) / (points - 1))
    moved = times == np.arange(1, points + 1)
    # Rounding moves a time by half a sample at most; the power itself is good to a few ulp.
    near = np.abs(times - curve) <= 0.5 + 1e-12 * curve
    assert np.all(near | moved)
    # Early times that were moved come first, and only forwards.
    assert np.all(times >= curve - 0.5 - 1e-12 * curve)


def test_log_spaced_matches_powers_of_ten():
    assert LogSpaced(7, 10**6).record_times(10**6).tolist() == [0, 1, 10, 100, 1000, 10**4, 10**5, 10**6]


def test_every_sample_is_due_when_there_are_more_points_than_samples():
    assert LogSpaced(100, 5).record_times(5).tolist() == [0, 1, 2, 3, 4, 5]


def test_after_the_horizon_only_the_end_is_recorded():
    schedule = LogSpaced(3, 100)
    assert schedule.record_times(250).tolist() == [0, 1, 10, 100, 250]
    assert not schedule.due(250)


@given(SCHEDULES, st.integers(0, 400), st.integers(0, 400))
def test_spans_cover_the_rest_of_the_run_once_and_stop_at_every_recording(schedule, total, start):
    parts = spans(schedule, total, start)
    covered = [step for first, last in parts for step in range(first, last)]
    assert covered == list(range(start, total))
    assert [last for _, last in parts] == [time for time in schedule.record_times(total).tolist() if time > start]


def test_asking_again_gives_times_of_ones_own():
    schedule = LogSpaced(3, 100)
    schedule.record_times(100)[:] = -1
    assert schedule.record_times(100).tolist() == [0, 1, 10, 100]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EverySamples(0), "samples must be a whole number ≥ 1; got 0"),
        (lambda: EverySamples(2.5), "samples must be a whole number ≥ 1; got 2.5"),
        (lambda: LogSpaced(0, 10), "points must be"),
        (lambda: LogSpaced(10, 0), "horizon must be"),
        (lambda: EverySamples(3).due(-1), "step must be a whole number ≥ 0; got -1"),
        (lambda: LogSpaced(3, 10).due(True), "step must be"),
        (lambda: LogSpaced(3, 10).record_times(-5), "total must be"),
        (lambda: spans(EverySamples(3), 10, -1), "start must be"),
    ],
)
def test_bad_numbers_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
