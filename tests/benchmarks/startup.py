"""What the first call costs: wall and processor seconds of fresh processes, with an empty and a filled kernel cache."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import machine

REPEATS = 3
SETTLE = "import numpy as np, neurodecorr as nd; nd.settle(nd.Circuit(2 * np.eye(32)), np.ones((1, 32)))"
INPUTS = "np.random.default_rng(0).normal(size=(200, 32))"
LEARN = f"import numpy as np, neurodecorr as nd; nd.RecurrentDecorrelator().fit({INPUTS})"
MAIN = "import sys; from neurodecorr.cli import main; main(sys.argv[1:])"
JOBS = {
    "import neurodecorr": ["-c", "import neurodecorr"],
    "neurodecorr --help": ["-c", MAIN, "--help"],
    "first settle": ["-c", SETTLE],
    "first fit": ["-c", LEARN],
    "neurodecorr compare": ["-c", MAIN, "compare", "--quiet", "--out"],
    "neurodecorr compare --size 16": ["-c", MAIN, "compare", "--size", "16", "--quiet", "--out"],
}


def seconds(words: list[str], cache: str) -> tuple[float, float]:
    """Run one process; return wall and processor seconds."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=600)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print one row per job. Cold: one process with an empty cache. Cached: the median of the next ones."""
    machine()
    print("\n| job | cold, wall / processor | cached, wall / processor |\n|---|---|---|", flush=True)
    for job, words in JOBS.items():
        with tempfile.TemporaryDirectory() as place:
            # A folder of its own for each: a run that is there already is not made again.
            calls = [
                [*words, str(Path(place) / f"out{turn}")] if words[-1] == "--out" else words
                for turn in range(REPEATS + 1)
            ]
            cold, *later = [seconds(call, str(Path(place) / "kernels")) for call in calls]
        wall, processor = (statistics.median(column) for column in zip(*later, strict=True))
        print(f"| {job} | {cold[0]:.2f} / {cold[1]:.2f} s | {wall:.2f} / {processor:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
