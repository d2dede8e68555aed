"""Side-by-side timing: rivals take turns in one process, so that whatever slows the machine slows all of them."""

from __future__ import annotations

import gc
import importlib
import math
import os
import platform
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy.linalg.blas
from threadpoolctl import threadpool_info

ROUND = 0.02  # seconds that each rival runs per turn, at least


@dataclass(frozen=True)
class Timing:
    """Median and quartiles of the seconds per call."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a share of the median."""
        return (self.high - self.low) / 2 / self.median


def interleaved(rivals: dict[str, Callable[[], object]], repeats: int = 7, pause: float = 0.0) -> dict[str, Timing]:
    """Time each rival in turn, `repeats` times; fast ones are called often enough per turn to be seen by the clock.

    Threads of a library spin for a while after its last call; in a pause before each turn they fall asleep.
    """
    counts = {name: max(1, math.ceil(ROUND / _seconds(call, 2))) for name, call in rivals.items()}
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, call in rivals.items():
            time.sleep(pause)
            seconds[name].append(_seconds(call, counts[name]))
    return {name: Timing(*np.percentile(found, [50, 25, 75])) for name, found in seconds.items()}


def _seconds(call: Callable[[], object], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return max(time.perf_counter() - begin, 1e-9) / count


def peer(name: str) -> ModuleType | None:
    """Return a peer's module, or say that it is absent."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name}: not installed, skipped")
        return None


def table(title: str, found: dict[str, Timing], ours: str, limit: str | None = None, per: int = 1) -> None:
    """Print time (per item, if a call does `per` of them), time over ours, and time over that of the limit."""
    print(f"\n### {title}\n\n| who | time | ± | over {ours} | over limit |\n|---|---|---|---|---|")
    for name, timing in found.items():
        over = f"{timing.median / found[limit].median:.2f}" if limit else ""
        ratio = timing.median / found[ours].median
        print(f"| {name} | {_readable(timing.median / per)} | {timing.spread:.0%} | {ratio:.3g} | {over} |")


def _readable(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def machine() -> None:
    """Print processor, BLAS kernel and threads."""
    names = ("model name", "Hardware")
    try:
        with Path("/proc/cpuinfo").open() as lines:
            cpu = next((line.split(":")[1].strip() for line in lines if line.startswith(names)), platform.machine())
    except OSError:
        cpu = platform.processor()
    print(f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            print(f"{pool['prefix']} {pool['version']}: {pool.get('architecture')}, {pool['num_threads']} threads")


def gemm_rate(dtype: str = "float64", size: int = 1000) -> float:
    """Return floating-point operations per second of a square matrix product, measured now."""
    A = np.asfortranarray(np.random.default_rng(0).standard_normal((size, size)), dtype)
    gemm = scipy.linalg.blas.get_blas_funcs("gemm", (A,))
    return 2 * size**3 / interleaved({"gemm": lambda: gemm(1.0, A, A)}, 5)["gemm"].median


def pass_time(size: int, dtype: str = "float64") -> float:
    """Return the seconds of one read+write pass over a matrix, in the cache level where it lives."""
    A = np.ones((size, size), dtype)
    return interleaved({"pass": lambda: np.negative(A, out=A)}, 5)["pass"].median


@dataclass(frozen=True)
class Peak:
    """Most bytes held at once on top of what was held before: by numpy and Python, and by the process."""

    traced: int
    resident: int


def peak_memory(call: Callable[[], object]) -> Peak:
    """Run a call twice, under tracemalloc and without; the resident peak is 0 where the system does not tell it."""
    gc.collect()
    tracemalloc.start()
    call()
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _resident("VmRSS")
        call()
        return Peak(traced, max(_resident("VmHWM") - before, 0))
    except OSError:
        return Peak(traced, 0)


def _resident(name: str) -> int:
    with Path("/proc/self/status").open() as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def read_time(size: int) -> float:
    """Return the seconds of one read pass over `size` bytes, on as many threads as BLAS has: a dot product."""
    a, b = np.ones(size // 16), np.ones(size // 16)
    return interleaved({"read": lambda: a @ b}, 5)["read"].median
