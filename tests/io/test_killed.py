"""A run that is killed leaves every row up to its last flush."""

import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from neurodecorr.errors import CheckpointError
from neurodecorr.io import Recorder, Variable, read_traces

# Tells the number of every step after the rows recorded so far were flushed.
WRITER = """
import os, sys
import numpy as np
from neurodecorr.io import Recorder, Variable
path, every = sys.argv[1], int(sys.argv[2])
variables = [Variable("a"), Variable("x", (64,)), Variable("on", (5,), bool), Variable("R", (64, 64), "float32")]
with Recorder(path, variables, compression=int(sys.argv[3]) or None, flush_seconds=3600) as recorder:
    step = 0
    while True:
        values = {"a": step, "x": np.full(64, step), "on": [step % 3 == 0] * 5}
        recorder.record(step, values | ({"R": np.full((64, 64), step)} if step % 7 == 0 else {}))
        if step % every == 0:
            recorder.flush()
            os.write(1, b"%d\\n" % step)
        step += 1
"""


def killed(path, every, compression, seconds, writer=WRITER):
    """Run the writer, kill it some time after its first flush, and return the last step it said was flushed."""
    command = [sys.executable, "-c", writer, str(path), str(every), str(compression)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        told = [process.stdout.readline()]
        listener = threading.Thread(target=lambda: told.extend(process.stdout))
        listener.start()
        time.sleep(seconds)
        process.kill()
        listener.join()
    return int([line for line in told if line.endswith(b"\n")][-1])


def check(traces, flushed):
    """Every row up to the last flush is there, and every row that is there is right."""
    assert not traces.complete
    for name in ("a", "x", "on"):
        assert len(traces[name]) > flushed
        assert np.array_equal(traces[name].step, np.arange(len(traces[name])))
    assert len(traces["R"]) > flushed // 7
    assert np.array_equal(traces["a"].values, traces["a"].step)
    assert np.all(traces["x"].values == traces["x"].step[:, None])
    assert np.all(traces["on"].values == (traces["on"].step % 3 == 0)[:, None])
    assert np.all(traces["R"].values == traces["R"].step[:, None, None])


@pytest.mark.parametrize(("every", "compression"), [(1, 0), (1, 4), (50, 0), (2000, 0)])
def test_every_row_up_to_the_last_flush_survives_a_kill(tmp_path, every, compression):
    flushed = killed(tmp_path / "traces.h5", every, compression, random.uniform(0.05, 0.3))
    check(read_traces(tmp_path), flushed)


@pytest.mark.slow
@pytest.mark.parametrize(("every", "compression"), [(1, 0), (1, 4), (50, 0), (50, 4)])
def test_every_row_up_to_the_last_flush_survives_a_hundred_kills(tmp_path, every, compression):
    for _ in range(100):
        flushed = killed(tmp_path / "traces.h5", every, compression, random.uniform(0, 0.4))
        check(read_traces(tmp_path), flushed)


# Blocks of rows that are wider than a page, and the last row of each block told after its flush.
BLOCKS = """
import os, sys
import numpy as np
from neurodecorr.io import Recorder, Variable
with Recorder(sys.argv[1], [Variable("x", (700,)), Variable("a")], flush_seconds=3600) as recorder:
    step = 0
    while True:
        steps = np.arange(step, step + 37)
        recorder.record_rows(steps, {"x": np.repeat(steps[:, None], 700, axis=1).astype(float), "a": steps})
        recorder.flush()
        step += 37
        os.write(1, b"%d\\n" % (step - 1))
"""


def check_blocks(traces, flushed):
    for name in ("x", "a"):
        assert len(traces[name]) > flushed
        assert np.array_equal(traces[name].step, np.arange(len(traces[name])))
    assert np.array_equal(traces["a"].values, traces["a"].step)
    assert np.all(traces["x"].values == traces["x"].step[:, None])


def test_every_block_up_to_the_last_flush_survives_a_kill(tmp_path):
    flushed = killed(tmp_path / "traces.h5", 0, 0, random.uniform(0.05, 0.3), BLOCKS)
    check_blocks(read_traces(tmp_path), flushed)


@pytest.mark.slow
def test_every_block_up_to_the_last_flush_survives_a_hundred_kills(tmp_path):
    for _ in range(100):
        flushed = killed(tmp_path / "traces.h5", 0, 0, random.uniform(0, 0.4), BLOCKS)
        check_blocks(read_traces(tmp_path), flushed)


@pytest.fixture
def abandoned(tmp_path):
    """What is on the disk while a recorder is at work: the same as after a kill."""
    path = tmp_path / "growing.h5"
    with Recorder(path, [Variable("a"), Variable("R", (3, 3))], compression=4) as recorder:
        for step in range(600):
            recorder.record(step, {"a": step, "R": np.full((3, 3), step)})
        recorder.flush()
        recorder.record(600, {"a": 600})
        (tmp_path / "copy.h5").write_bytes(path.read_bytes())
    return tmp_path / "copy.h5"


def test_the_file_is_written_in_the_order_that_readers_need(abandoned):
    # Flags of the superblock: open for writing (1), by a single writer with many readers (4).
    assert abandoned.read_bytes()[11] == 0b101


def test_a_file_that_was_not_closed_is_read_and_left_as_it_is(abandoned):
    before = abandoned.read_bytes()
    traces = read_traces(abandoned)
    assert not traces.complete
    assert traces["a"].values.tolist() == list(range(600)) and len(traces["R"]) == 600
    assert abandoned.read_bytes() == before


def test_damage_in_a_file_that_was_not_closed_is_an_error_and_no_endless_wait(abandoned):
    # HDF5's own mode for such files waits twice as long before each of a hundred attempts.
    data = abandoned.read_bytes()
    used = len(data.rstrip(b"\0"))
    started = time.monotonic()
    for length in range(0, used, used // 12):
        abandoned.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            read_traces(abandoned)
    assert time.monotonic() - started < 20


def test_a_reader_never_sees_a_wrong_row_while_the_writer_is_at_work(tmp_path):
    path = tmp_path / "traces.h5"
    command = [sys.executable, "-c", WRITER, str(path), "1", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        flushed = int(process.stdout.readline())
        os.set_blocking(process.stdout.fileno(), False)
        try:
            for _ in range(10):
                told = process.stdout.read() or b""
                lines = [line for line in told.splitlines(keepends=True) if line.endswith(b"\n")]
                flushed = max([flushed, *map(int, lines[-1:])])
                traces = read_traces(path)
                # Rows are told one dataset after the other, so the last ones may stand in some variables only.
                check(traces, flushed)
        finally:
            process.kill()
