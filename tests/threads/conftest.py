"""Work that several threads, or processes, do with the same objects at the same time."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import neurodecorr

PACKAGE = Path(neurodecorr.__file__).parent


def _together(work: Callable, threads: int, rounds: int = 1) -> list:
    """Call `work(k)` from `threads` threads that begin at once, each `rounds` times; return what all calls gave."""
    gate = threading.Barrier(threads)

    def rush(thread):
        gate.wait(60)
        return [work(thread * rounds + k) for k in range(rounds)]

    with ThreadPoolExecutor(threads) as pool:
        return [found for calls in pool.map(rush, range(threads)) for found in calls]


@pytest.fixture
def together() -> Callable:
    return _together


@pytest.fixture
def script(tmp_path) -> Callable:
    """Run a script in a fresh process that ends in time, or fails the test; return what it prints.

    It is a file, which processes that it starts afresh can import.
    """

    def run(text: str, *arguments: str, timeout: float = 300, **environment: str) -> str:
        file = tmp_path / "script.py"
        file.write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, str(file), *arguments],
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-2000:]}"
        return done.stdout

    return run


@pytest.fixture(autouse=True)
def often():
    """Let threads take turns more often than they would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
