"""What is recorded comes back to the bit, in bounded memory, and bad input records nothing."""

import itertools
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurodecorr as nd
from neurodecorr.circuit.integrate import record_trajectory
from neurodecorr.credit import Adam, Backprop
from neurodecorr.data import Dataset, Epochs
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io import Recorder, Variable, provenance, read_traces
from neurodecorr.io.observer import EverySamples, LogSpaced, Observable, Observer, spans
from neurodecorr.network import Decorrelation, Dense, Network
from neurodecorr.plasticity import LearningRule, initial_state, learn
from neurodecorr.plasticity.learn import record_learning
from neurodecorr.training import RecordingOptions, Trainer, training_traces

RNG = np.random.default_rng(0)
MIXED = [
    Variable("margin", unit="1/τ", description="min Re λ(R)"),
    Variable("R", (5, 7), "float32", description="lateral weights"),
    Variable("x̄", (3,)),
    Variable("limited steps", (), "int64"),
    Variable("codes", (4,), "uint8"),
    Variable("on", (2, 2), bool),
    Variable("never"),
]


def rows(count):
    return {
        "margin": RNG.standard_normal(count),
        "R": RNG.standard_normal((count, 5, 7)).astype(np.float32),
        "x̄": np.where(RNG.random((count, 3)) < 0.1, np.nan, RNG.standard_normal((count, 3))),
        "limited steps": RNG.integers(-(2**63), 2**63 - 1, count),
        "codes": RNG.integers(0, 256, (count, 4), dtype=np.uint8),
        "on": RNG.random((count, 2, 2)) < 0.5,
    }


def identical(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("compression", [None, 4])
@pytest.mark.parametrize(("buffer_bytes", "count"), [(1, 150), (3000, 1300), (8 * 2**20, 1300)])
def test_traces_come_back_to_the_bit(tmp_path, compression, buffer_bytes, count):
    data = rows(count)
    with Recorder(tmp_path / "t.h5", MIXED, compression=compression, buffer_bytes=buffer_bytes) as recorder:
        for step in range(count):
            recorder.record(3 * step, {name: values[step] for name, values in data.items()})
    traces = read_traces(tmp_path / "t.h5")
    assert traces.complete and traces.names == tuple(sorted(variable.name for variable in MIXED))
    for name, values in data.items():
        assert identical(traces[name].values, values)
        assert traces[name].step.dtype == np.int64 and np.array_equal(traces[name].step, 3 * np.arange(count))
    assert traces["never"].values.shape == (0,) and len(traces["never"]) == 0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans()), max_size=40),
    st.sampled_from([1, 60, 10**6]),
)
def test_any_order_of_recording_and_flushing_comes_back(tmp_path_factory, actions, buffer_bytes):
    path = tmp_path_factory.getbasetemp() / "any.h5"
    expected = {name: [] for name in "abc"}
    step = 0
    with Recorder(path, [Variable(name, (2,)) for name in "abc"], buffer_bytes=buffer_bytes) as recorder:
        for name, stride, flush in actions:
            step += stride
            recorder.record(step, {name: [step, -step]})
            expected[name].append(step)
            if flush:
                recorder.flush()
    traces = read_traces(path)
    for name, steps in expected.items():
        assert traces[name].step.tolist() == steps
        assert traces[name].values.tolist() == [[step, -step] for step in steps]


def test_each_variable_has_its_own_steps(tmp_path):
    with Recorder(tmp_path / "t.h5", [Variable("often"), Variable("rarely")]) as recorder:
        for step in range(0, 1000, 10):
            recorder.record(step, {"often": step} | ({"rarely": step} if step % 500 == 0 else {}))
    traces = read_traces(tmp_path / "t.h5")
    assert traces["often"].step.tolist() == list(range(0, 1000, 10))
    assert traces["rarely"].step.tolist() == [0, 500]


def test_units_metadata_and_provenance_come_back(tmp_path):
    record = provenance({"rate": 1e-3}, seed=3)
    metadata = {"tau_s": 0.02, "samples": 20_000, "equation": "τ dx̄/dt = x − R x̄", "note": ""}
    with Recorder(tmp_path / "traces.h5", MIXED, provenance=record, metadata=metadata):
        pass
    traces = read_traces(tmp_path)
    assert traces.provenance == record and traces.metadata == metadata
    assert (traces["margin"].unit, traces["margin"].description) == ("1/τ", "min Re λ(R)")
    assert traces["R"].unit == ""


def test_a_provenance_of_any_length_comes_back(tmp_path):
    # HDF5 keeps attributes above 64 KiB apart from the others.
    record = {"config": {"text": "é" * 200_000}}
    with Recorder(tmp_path / "traces.h5", [Variable("a")], provenance=record):
        pass
    assert read_traces(tmp_path).provenance == record


def test_rows_are_copied_when_they_are_recorded(tmp_path):
    R = np.eye(3)
    with Recorder(tmp_path / "t.h5", [Variable("R", (3, 3))]) as recorder:
        recorder.record(0, {"R": R})
        R[:] = 7
        recorder.record(1, {"R": R})
    assert read_traces(tmp_path / "t.h5")["R"].values[:, 0, 0].tolist() == [1, 7]


def test_a_row_larger_than_a_chunk_comes_back(tmp_path):
    # 3 × 700 × 300 × 8 bytes = 5 MB: split within the row.
    wide = Variable("wide", (3, 700, 300))
    assert np.prod(wide.chunk) * 8 <= 2**20 and wide.chunk[0] == 1
    data = RNG.standard_normal((2, 3, 700, 300))
    with Recorder(tmp_path / "t.h5", [wide], buffer_bytes=10**6) as recorder:
        assert recorder.buffered_bytes == 0
        for step, row in enumerate(data):
            recorder.record(step, {"wide": row})
    assert identical(read_traces(tmp_path / "t.h5")["wide"].values, data)


def test_what_is_rewritten_lies_within_one_page_of_the_file(tmp_path):
    # A chunk of several rows is rewritten as it fills; within a page the kernel never tears it. Others are one row.
    with Recorder(tmp_path / "t.h5", [*MIXED, Variable("xbar", (64,)), Variable("wide", (64, 64))]) as recorder:
        for step in range(3000):
            recorder.record(step, {"margin": 1.0, "xbar": np.ones(64), "codes": np.ones(4, np.uint8)})
            if step % 700 == 0:
                recorder.flush()
    with h5py.File(tmp_path / "t.h5", "r") as file:
        for name in ("margin", "margin_step", "xbar", "codes", "wide"):
            dataset, chunks = file["traces"][name], []
            dataset.id.chunk_iter(chunks.append)
            assert dataset.fletcher32
            assert dataset.chunks[0] == 1 or all(
                chunk.byte_offset // 4096 == (chunk.byte_offset + chunk.size - 1) // 4096 for chunk in chunks
            )


@pytest.mark.parametrize("flush_seconds", [0, 3600])
def test_rows_can_be_read_while_recording_goes_on(tmp_path, flush_seconds):
    with Recorder(tmp_path / "t.h5", [Variable("a")], flush_seconds=flush_seconds) as recorder:
        for step in range(700):
            recorder.record(step, {"a": step})
        if flush_seconds:
            assert len(read_traces(tmp_path / "t.h5")["a"]) == 0
            recorder.flush()
        traces = read_traces(tmp_path / "t.h5")
        assert not traces.complete and traces["a"].values.tolist() == list(range(700))
    assert read_traces(tmp_path / "t.h5").complete


def test_a_million_rows_take_no_more_memory_than_the_first_ones(tmp_path):
    # Measured in a process of its own, as the peak of the whole process never falls. 900 000 rows of 16 bytes follow
    # the first measurement: whatever keeps them would add 14 MB at least.
    code = """
import resource, sys
from neurodecorr.io import Recorder, Variable
with Recorder(sys.argv[1], [Variable("a")], buffer_bytes=2**18) as recorder:
    assert recorder.buffered_bytes <= 2**18
    for step in range(1_000_000):
        recorder.record(step, {"a": 1.0 * step})
        if step == 100_000:
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early)
"""
    path = tmp_path / "t.h5"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=600
    )
    kilobytes = int(done.stdout) / (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 4_000
    traces = read_traces(path)
    assert np.array_equal(traces["a"].values, np.arange(1e6))


@pytest.mark.parametrize("buffer_bytes", [1, 100, 10_000, 10**7])
def test_buffers_keep_to_their_bound(tmp_path, buffer_bytes):
    with Recorder(tmp_path / "t.h5", MIXED, buffer_bytes=buffer_bytes) as recorder:
        assert recorder.buffered_bytes <= buffer_bytes


def test_the_older_file_is_intact_until_the_new_one_exists(tmp_path, monkeypatch):
    path = tmp_path / "t.h5"
    path.write_text("the older file")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*unchanged"):
        Recorder(path, [Variable("a")])
    assert path.read_text() == "the older file" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("limit", [150_000, 300_000, 900_000])
def test_a_full_disk_is_an_error_and_no_crash(tmp_path, limit):
    # A limit on the size of files stands for a full disk. HDF5 alone ends the process with a segmentation fault here.
    code = """
import resource, sys
import numpy as np
from neurodecorr.errors import CheckpointError
from neurodecorr.io import Recorder, Variable
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    with Recorder(sys.argv[1], [Variable("a"), Variable("R", (8, 8))], flush_seconds=0) as recorder:
        for step in range(100_000):
            flushed = step
            recorder.record(step, {"a": step, "R": np.full((8, 8), step)})
except CheckpointError as error:
    print(error)
    try:
        recorder.record(step, {"a": 0})
    except CheckpointError as error:
        print(error)
    except NameError:
        sys.exit()
    print(flushed)
"""
    path = tmp_path / "t.h5"
    path.write_text("the older file")
    arguments = [sys.executable, "-c", code, str(path), str(limit)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    assert "t.h5: File too large" in done.stdout
    if limit == 150_000:
        assert path.read_text() == "the older file"
        return
    assert "the recorder is closed" in done.stdout
    traces, flushed = read_traces(path), int(done.stdout.split()[-1])
    assert traces.complete and traces["a"].values.tolist() == list(range(flushed))
    assert np.array_equal(traces["R"].values[:, 3, 5], np.arange(flushed))


def test_a_short_recording_makes_a_small_file(tmp_path):
    # Room is set aside by the megabyte while recording, and given back.
    with Recorder(tmp_path / "t.h5", [Variable("a")]) as recorder:
        recorder.record(0, {"a": 1})
        recorder.flush()
        assert (tmp_path / "t.h5").stat().st_size > 2**20
    assert (tmp_path / "t.h5").stat().st_size < 64 * 2**10


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(CheckpointError, match="run is a file, not a folder"):
        Recorder(tmp_path / "run" / "traces.h5", [Variable("a")])


BAD = [
    (-1, {"margin": 1}, ConfigError, "step must be a whole number ≥ 0; got -1"),
    (1.5, {"margin": 1}, ConfigError, "step must be a whole number ≥ 0; got 1.5"),
    (11, {"margn": 1}, ConfigError, "a recorded name must be one of.*got 'margn'. Did you mean 'margin'?"),
    (11, {"margin": [1]}, InputError, r"'margin' must have shape \(\); got \(1,\) at step 11"),
    (11, {"R": np.ones((7, 5))}, InputError, r"'R' must have shape \(5, 7\); got \(7, 5\)"),
    (11, {"x̄": [1, [2], 3]}, InputError, "'x̄' must be rectangular"),
    (11, {"margin": 1j}, InputError, "'margin' must hold float64, as declared; got complex128"),
    (11, {"margin": "1"}, InputError, "'margin' must hold float64, as declared; got <U1"),
    (11, {"margin": None}, InputError, "'margin' must hold float64, as declared; got object"),
    (11, {"limited steps": 1.0}, InputError, "'limited steps' must hold int64, as declared; got float64"),
    (11, {"limited steps": 2**63}, InputError, "'limited steps' must hold int64.*does not fit"),
    (11, {"codes": [0, 1, 2, 256]}, InputError, "'codes' must hold uint8.*does not fit"),
    (11, {"codes": np.array([0, 1, 2, -1])}, InputError, "'codes' must hold uint8.*does not fit"),
    (11, {"R": np.full((5, 7), 1e39)}, InputError, "'R' must hold float32.*does not fit"),
    (11, {"on": [[0, 1], [1, 0]]}, InputError, "'on' must hold bool"),
    (10, {"margin": 1}, InputError, "the steps of 'margin' must increase; got 10 after 10"),
    (9, {"margin": 1}, InputError, "the steps of 'margin' must increase; got 9 after 10"),
    (11, [("margin", 1)], InputError, "values must be a mapping from names to values; got list"),
]


@pytest.mark.parametrize(("step", "values", "error", "message"), BAD)
def test_bad_rows_are_refused_and_nothing_of_them_is_recorded(tmp_path, step, values, error, message):
    with Recorder(tmp_path / "t.h5", MIXED) as recorder:
        recorder.record(10, {"margin": 0.5, "x̄": np.zeros(3)})
        with pytest.raises(error, match=message):
            recorder.record(step, {"never": 1.0} | values if isinstance(values, dict) else values)
        recorder.record(12, {"margin": 0.25})
    traces = read_traces(tmp_path / "t.h5")
    assert traces["margin"].step.tolist() == [10, 12] and traces["margin"].values.tolist() == [0.5, 0.25]
    assert len(traces["never"]) == 0 and len(traces["x̄"]) == 1


def test_values_that_fit_are_converted(tmp_path):
    with Recorder(tmp_path / "t.h5", MIXED) as recorder:
        recorder.record(np.int64(1), {"margin": 3, "codes": [0, 1, 2, 255], "R": np.full((5, 7), 0.1)})
    traces = read_traces(tmp_path / "t.h5")
    assert traces["margin"].values.tolist() == [3.0] and traces["codes"].values.tolist() == [[0, 1, 2, 255]]
    assert np.all(traces["R"].values == np.float32(0.1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Variable(""), "the name of a variable must be printable text"),
        (lambda: Variable("a/b"), "without slashes.*got 'a/b'"),
        (lambda: Variable("a\0"), "printable text"),
        (lambda: Variable(".."), "printable text"),
        (lambda: Variable(" a"), "outer spaces"),
        (lambda: Variable(3), "printable text.*got 3"),
        (lambda: Variable("a", 3), "the shape of 'a' must be a tuple"),
        (lambda: Variable("a", (3, 0)), "each length in the shape of 'a' must be a whole number ≥ 1; got 0"),
        (lambda: Variable("a", dtype="complex128"), "the real and the imaginary part as two variables"),
        (lambda: Variable("a", dtype="float16"), "the type of 'a' must be one of bool, int8"),
        (lambda: Variable("a", dtype=object), "the type of 'a' must be one of"),
        (lambda: Variable("a", dtype="flaot64"), "the type of 'a' must be one of.*got 'flaot64'"),
        (lambda: Variable("a", unit=3), "unit and description of 'a' must be text"),
    ],
)
def test_variables_that_cannot_be_recorded_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        ([], {}, "variables must be at least one Variable"),
        (["margin"], {}, "variables must be at least one Variable"),
        ([Variable("a"), Variable("a")], {}, "distinct names in the file; 'a' and 'a' both need 'a'"),
        ([Variable("a"), Variable("a_step")], {}, "'a_step' and 'a' both need 'a_step'"),
        ([Variable("a_axis0"), Variable("a", (2,))], {}, "both need 'a_axis0'"),
        ([Variable("a")], {"compression": 10}, "compression must be a whole number ≤ 9; got 10"),
        ([Variable("a")], {"compression": 0}, "compression must be a whole number ≥ 1"),
        ([Variable("a")], {"buffer_bytes": 0}, "buffer_bytes must be a whole number ≥ 1"),
        ([Variable("a")], {"flush_seconds": -1}, "flush_seconds must be ≥ 0"),
        ([Variable("a")], {"flush_seconds": float("nan")}, "flush_seconds must be a finite number"),
        ([Variable("a")], {"metadata": {"schema": "x"}}, "names other than schema"),
        ([Variable("a")], {"metadata": {"tau": [1]}}, r"metadata\['tau'\] must be a number"),
        ([Variable("a")], {"metadata": {"tau": float("nan")}}, r"metadata\['tau'\] must be a finite number"),
        ([Variable("a")], {"metadata": {"note": "a\0b"}}, "must not contain the character NUL"),
    ],
)
def test_bad_options_are_refused_before_the_older_file_is_replaced(tmp_path, variables, options, message):
    path = tmp_path / "t.h5"
    path.write_text("the older file")
    with pytest.raises(ConfigError, match=message):
        Recorder(path, variables, **options)
    assert path.read_text() == "the older file"


def test_a_closed_recorder_refuses_rows(tmp_path):
    with Recorder(tmp_path / "t.h5", [Variable("a")]) as recorder:
        recorder.record(0, {"a": 1})
    recorder.close()
    for late in (lambda: recorder.record(1, {"a": 1}), recorder.flush):
        with pytest.raises(CheckpointError, match="the recorder is closed"):
            late()
    assert len(read_traces(tmp_path / "t.h5")["a"]) == 1


def test_rows_recorded_before_an_error_of_the_run_are_kept(tmp_path):
    with pytest.raises(ZeroDivisionError), Recorder(tmp_path / "t.h5", [Variable("a")]) as recorder:
        recorder.record(0, {"a": 1})
        1 / 0  # noqa: B018
    traces = read_traces(tmp_path / "t.h5")
    assert traces.complete and traces["a"].values.tolist() == [1]


@pytest.mark.parametrize("buffer_bytes", [1, 3000, 8 * 2**20])
def test_rows_recorded_in_blocks_are_those_recorded_one_by_one(tmp_path, buffer_bytes):
    data, at = rows(1300), 3 * np.arange(1300)
    cuts = [0, 1, 1, 2, 40, 700, 701, 1300]
    with Recorder(tmp_path / "t.h5", MIXED, buffer_bytes=buffer_bytes) as recorder:
        for first, last in itertools.pairwise(cuts):
            block = {name: values[first:last] for name, values in data.items()}
            if last - first == 1:
                recorder.record(int(at[first]), {name: values[0] for name, values in block.items()})
            else:
                recorder.record_rows(at[first:last], block)
    traces = read_traces(tmp_path / "t.h5")
    for name, values in data.items():
        assert identical(traces[name].values, values) and np.array_equal(traces[name].step, at)


def test_blocks_of_another_type_or_order_are_converted(tmp_path):
    block = np.asfortranarray(np.arange(3500.0).reshape(100, 5, 7))
    with Recorder(tmp_path / "t.h5", [Variable("R", (5, 7), "float32")], buffer_bytes=2000) as recorder:
        recorder.record_rows(range(100), {"R": block})
    assert np.array_equal(read_traces(tmp_path / "t.h5")["R"].values, block.astype(np.float32))


@pytest.mark.parametrize(
    ("steps", "values", "error", "message"),
    [
        ([11, 11], {"margin": [1, 2]}, InputError, "steps must be ≥ 0 and increase; got 11 after 11 at index 1"),
        ([-1, 11], {"margin": [1, 2]}, InputError, "steps must be ≥ 0 and increase; got -1 at index 0"),
        ([1.5], {"margin": [1]}, InputError, r"steps must hold whole numbers; got data of type float64"),
        ([[11]], {"margin": [1]}, InputError, "whole numbers in a row"),
        ([10, 12], {"margin": [1, 2]}, InputError, "the steps of 'margin' must increase; got 10 after 10"),
        ([11, 12], {"margin": [1]}, InputError, r"'margin' must have shape \(2,\); got \(1,\)"),
        ([11, 12], {"margin": [1, [2]]}, InputError, "'margin' must be rectangular"),
        ([11, 12], {"margin": ["1", "2"]}, InputError, "'margin' must hold float64, as declared; got <U1"),
        ([11], {"codes": [[0, 1, 2, 256]]}, InputError, "'codes' must hold uint8.*does not fit"),
        ([11], {"margn": [1]}, ConfigError, "Did you mean 'margin'"),
        ([11], [("margin", [1])], InputError, "values must be a mapping"),
    ],
)
def test_bad_blocks_are_refused_and_nothing_of_them_is_recorded(tmp_path, steps, values, error, message):
    with Recorder(tmp_path / "t.h5", MIXED) as recorder:
        recorder.record(10, {"margin": 0.5})
        with pytest.raises(error, match=message):
            recorder.record_rows(steps, {"never": np.ones(len(steps))} | values if isinstance(values, dict) else values)
        recorder.record_rows([], {"margin": np.zeros(0)})
        recorder.record_rows([12], {"margin": [0.25]})
    traces = read_traces(tmp_path / "t.h5")
    assert traces["margin"].step.tolist() == [10, 12] and len(traces["never"]) == 0


@pytest.mark.parametrize(("every", "ends", "begin"), [(1, 4, 0), (3, 7, 0), (7, 3, 5), (50, 1, 5)])
def test_an_observer_records_the_steps_that_a_plain_loop_would(tmp_path, every, ends, begin):
    values = np.random.default_rng(0).standard_normal(41)
    wide = Observable([Variable("wide")], lambda block: {"wide": block}, every, begin, per_step=True)
    end = Observable([Variable("end")], lambda block: {"end": block[-1]} if len(block) else {}, ends, begin)
    step = begin
    with Observer(tmp_path / "t.h5", [wide, end], "x = x", "samples") as observer:
        observer.observe(step, ())
        while step < 41:
            length = observer.steps_left(step, min(9, 41 - step))
            block, step = values[step : step + length], step + length
            observer.observe(step, block, len(block))
        observer.finish(step, block)
    traces = read_traces(tmp_path / "t.h5")
    assert traces["wide"].step.tolist() == [k for k in range(begin + 1, 42) if (k - begin) % every == 0]
    assert traces["end"].step.tolist() == [k for k in range(begin + 1, 42) if (k - begin) % ends == 0 or k == 41]
    for name in ("wide", "end"):
        assert identical(traces[name].values, values[traces[name].step - 1])


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


# What runs record: a circuit that is integrated, a rule that learns, a circuit that lives, a network in training.

R = np.array([[1.1, 0.3, 0.0], [-0.2, 0.7, 0.1], [0.4, 0.0, 1.5]])
X = np.random.default_rng(3).standard_normal((200, 4))
RULE = LearningRule(rate=1e-3)
KINDS = Dataset(X, (X[:, 0] > 0).astype(int))


def integrated(folder=None, **options):
    circuit, x, times = nd.Circuit(R, 0.02), np.array([1.0, -0.5, 0.25]), np.arange(51) * 1e-3
    if folder is None:
        return nd.integrate(circuit, x, times[-1], "rk4", times, dt=1e-3).xbar[-1]
    return record_trajectory(circuit, x, times[-1], folder / "traces.h5", dt=1e-3, method="rk4", step=1e-3, **options)


def learnt(folder=None, **options):
    state = initial_state(X, RULE)
    if folder is None:
        return learn(state, X, RULE).R
    return record_learning(X, RULE, folder / "traces.h5", every=50, state=state, **options).R


def lived(folder=None):
    return nd.run_online(X, RULE, record=folder / "traces.h5" if folder else None, every=50).lateral


def trained(folder=None, what=("weights",)):
    network = Network([Dense(2, "identity")], 4, decorrelation=Decorrelation("recurrent"), dtype="float64", seed=0)
    recording = {"folder": folder, "recording": RecordingOptions(what, every=2)} if folder else {}
    Trainer(network, Backprop(), Adam(1e-2)).fit(Epochs(KINDS, 40, seed=1), 2, **recording)
    return network.layers[0].W


RUNS = (integrated, learnt, lived, trained)


@pytest.mark.parametrize("run", RUNS)
def test_recording_changes_nothing_of_what_is_computed(run, tmp_path):
    np.testing.assert_allclose(run(tmp_path), run(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("run", "steps", "unit"),
    [(integrated, [*range(51)], "dt"), (learnt, [0, 50, 100, 150, 200], "samples"), (lived, [50, 100, 150, 200],
     "samples"), (trained, [0, 2, 4, 6, 8], "batches")],
)  # fmt: skip
def test_rows_are_due_when_they_were_asked_for_and_the_file_says_in_what_they_count(run, steps, unit, tmp_path):
    run(tmp_path)
    traces = training_traces(tmp_path) if run is trained else read_traces(tmp_path)
    first = {integrated: "xbar", learnt: "R", lived: "xbar", trained: "layer0.R"}[run]
    assert traces[first].step.tolist() == steps and traces[first].step_unit == unit


@pytest.mark.parametrize("run", [integrated, learnt])
def test_the_file_says_seed_and_configuration(run, tmp_path):
    run(tmp_path, seed=7, config={"data": "gaussian"})
    about = read_traces(tmp_path).provenance
    assert about["seed"] == 7 and about["config"]["data"] == "gaussian"


@pytest.mark.parametrize(("run", "wrong"), [(integrated, "xbra"), (learnt, "wieghts"), (trained, "wieghts")])
def test_what_is_to_be_recorded_is_a_sequence_of_known_names(run, wrong, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean"):
        run(tmp_path, what=(wrong,))
    with pytest.raises(ConfigError, match="must be a sequence"):
        run(tmp_path, what="weights")
