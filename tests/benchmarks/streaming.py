"""How fast traces are streamed, beside a plain binary write to the same disk.

Run it with nothing else on the machine, in a folder on the disk in question::

    python tests/benchmarks/streaming.py [FOLDER]

Each rival writes 10⁷ numbers (80 MB) and waits until they are on the disk. Rates are of the numbers alone; the
recorder also stores the step of each row, checksums, and an index that is whole at every moment.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench import interleaved, machine, peer, table

from neurodecorr.io import Recorder, Variable, read_traces

VALUES = 10**7
DISTINCT = 64  # rows that are written in turn, so that no rival times the generator
SHAPES = ((10,), (100,), (1000,), (64, 64), (512, 512))
BLOCK = 1000  # rows per call where they come in blocks
REPEATS = 5


def rows_of(shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Return rows to write in turn, and how many to write."""
    return np.random.default_rng(0).standard_normal((DISTINCT, *shape)), VALUES // int(np.prod(shape))


def plain(path: Path, shape: tuple[int, ...]) -> Callable[[], None]:
    """Write rows as bytes."""
    X, count = rows_of(shape)

    def write() -> None:
        with path.open("wb") as file:
            for k in range(count):
                file.write(X[k % DISTINCT].tobytes())
            file.flush()
            os.fsync(file.fileno())

    return write


def recorded(path: Path, shape: tuple[int, ...]) -> Callable[[], None]:
    """Record row by row."""
    X, count = rows_of(shape)

    def write() -> None:
        with Recorder(path, [Variable("x", shape)]) as recorder:
            for k in range(count):
                recorder.record(k, {"x": X[k % DISTINCT]})

    return write


def recorded_in_blocks(path: Path, shape: tuple[int, ...]) -> Callable[[], None]:
    """Record many rows per call."""
    X, count = rows_of(shape)
    block = min(BLOCK, max(1, 2**23 // X[0].nbytes))
    many = np.resize(X, (block, *shape))

    def write() -> None:
        with Recorder(path, [Variable("x", shape)]) as recorder:
            for k in range(0, count, block):
                size = min(block, count - k)
                recorder.record_rows(np.arange(k, k + size), {"x": many[:size]})

    return write


def h5py_alone(path: Path, shape: tuple[int, ...]) -> Callable[[], None]:
    """Append rows with h5py as its manual shows: one resize and one assignment per row, with a checksum."""
    X, count = rows_of(shape)
    h5py = peer("h5py")

    def write() -> None:
        with h5py.File(path, "w") as file:
            data = file.create_dataset("x", (0, *shape), maxshape=(None, *shape), dtype="f8", fletcher32=True)
            for k in range(count):
                data.resize(k + 1, axis=0)
                data[k] = X[k % DISTINCT]
        with path.open("rb+") as file:
            os.fsync(file.fileno())

    return write


def memory(folder: Path) -> None:
    """Print by how much the peak memory of a process grows after the first tenth of 10⁷ values."""
    code = """
import resource, sys
import numpy as np
from neurodecorr.io import Recorder, Variable
row = np.arange(100.0)
with Recorder(sys.argv[1], [Variable("x", (100,))]) as recorder:
    for k in range(100_000):
        recorder.record(k, {"x": row})
        if k == 10_000:
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early, recorder.buffered_bytes)
"""
    command = [sys.executable, "-c", code, str(folder / "memory.h5")]
    grown, held = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout.split()
    print(
        f"\npeak memory grows by {int(grown)} kB over the last 9·10⁶ values; rows wait in {int(held) / 2**20:.2f} MiB"
    )


def main(folder: Path, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> None:
    """Time all rivals."""
    machine()
    for shape in shapes:
        rivals = {
            "plain binary write": plain(folder / "plain.bin", shape),
            "Recorder.record": recorded(folder / "rows.h5", shape),
            "Recorder.record_rows": recorded_in_blocks(folder / "blocks.h5", shape),
        }
        if np.prod(shape) >= 1000:
            rivals["h5py, row by row"] = h5py_alone(folder / "h5py.h5", shape)
        found = interleaved(rivals, REPEATS)
        table(f"10⁷ values in rows of {shape}", found, "plain binary write")
        for name, timing in found.items():
            share = found["plain binary write"].median / timing.median
            print(f"{name}: {VALUES * 8e-6 / timing.median:.0f} MB/s, {share:.2f} of the plain write")
        assert read_traces(folder / "rows.h5")["x"].values.shape[1:] == shape
    memory(folder)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        main(Path(place))
