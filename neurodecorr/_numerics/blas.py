"""Products of row-major arrays by one BLAS, in place.

numpy may bring a copy of its own, whose threads would spin against those of scipy's; all products of long runs go
through scipy's. A BLAS reads column by column: it is shown the transposes, which lie in memory as it wants them.
"""

from __future__ import annotations

import os
import threading as _threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from functools import cache
from itertools import product
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import scipy.linalg
import scipy.linalg.blas
from threadpoolctl import ThreadpoolController

from neurodecorr._typing import Floats

SMALL = 512
# Units from which on the products of a block of samples gain from a second thread.
POOLED = 256

_LOCK = _threading.RLock()
_OWN: ContextVar[int] = ContextVar("threads for blocks of work", default=0)
_NOTHING: AbstractContextManager[None] = nullcontext()


class _Held:
    """One BLAS library, on one thread while somebody wants it so.

    Parameters
    ----------
    library : threadpoolctl.LibController
        The library.
    """

    def __init__(self, library: Any) -> None:
        self.path = str(library.filepath)
        self.count, self._set = _counters(library)
        # A BLAS on OpenMP keeps a number for each thread that calls it: each holds its own.
        self._private = getattr(library, "threading_layer", "") == "openmp"
        self._holders: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def enter(self, thread: int) -> None:
        """Take one hold for a thread; the lock must be held."""
        holders = self._holders
        if thread not in holders:
            if self._private or not holders:
                found = self.count()
                if found > 1:
                    self._before[self._place(thread)] = found
                    self._set(1)
            holders[thread] = 0
        holders[thread] += 1

    def leave(self, thread: int) -> None:
        """Give one hold back; the lock must be held."""
        holders = self._holders
        holders[thread] -= 1
        if not holders[thread]:
            del holders[thread]
            if self._private or not holders:
                self._restore(self._place(thread))

    def forked(self, thread: int) -> None:
        """In a child process only the thread that forked goes on: the holds of all others are gone."""
        held = bool(self._holders)
        self._holders = {thread: self._holders[thread]} if thread in self._holders else {}
        if held and not self._holders:
            self._restore(self._place(thread))

    def _place(self, thread: int) -> int:
        return thread if self._private else 0

    def _restore(self, place: int) -> None:
        before = self._before.pop(place, None)
        # Another number than 1 is one that the user has set while the hold lasted.
        if before is not None and self.count() == 1:
            self._set(before)


def _counters(library: Any) -> tuple[Callable[[], int], Callable[[int], Any]]:
    """Return what reads and what sets the number of threads of a BLAS.

    Where OpenBLAS has one number for the process, recent versions of threadpoolctl let only one thread set it and
    ignore all others without a word. Here the thread that puts it back need not be the one that has set it.
    """
    if library.internal_api == "openblas" and library.threading_layer != "openmp":
        for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):
            names = [f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set")]
            if all(hasattr(library.dynlib, name) for name in names):
                read, write = (getattr(library.dynlib, name) for name in names)
                return read, write
    return lambda: library.num_threads or 1, library.set_num_threads


class _Limit:
    """A context in which some libraries run on one thread."""

    __slots__ = ("_libraries", "_thread")

    def __init__(self, libraries: tuple[_Held, ...]) -> None:
        self._libraries = libraries

    def __enter__(self) -> None:
        self._thread = _threading.get_ident()
        with _LOCK:
            for library in self._libraries:
                library.enter(self._thread)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _LOCK:
            for library in self._libraries:
                library.leave(self._thread)


@cache
def _found() -> tuple[_Held, ...]:
    """Return every BLAS of the process."""
    return tuple(_Held(library) for library in ThreadpoolController().select(user_api="blas").lib_controllers)


def _libraries() -> tuple[_Held, ...]:
    with _LOCK:  # two threads must not find the same libraries apart
        return _found()


@cache
def _pool() -> tuple[_Held, ...]:
    """Return scipy's BLAS; where none says that it is scipy's, the first."""
    found = _libraries()
    return tuple(held for held in found if "scipy.libs" in held.path) or found[:1]


@cache
def _others() -> tuple[_Held, ...]:
    """Return every BLAS that is not scipy's: numpy's wheels bring their own."""
    return tuple(held for held in _libraries() if held not in _pool())


def one_thread(size: int = 0) -> AbstractContextManager[None]:
    """Run BLAS on one thread inside the block, scipy's on all of its threads where matrices of this size are large.

    Two pools of threads spin against each other: what one has just finished keeps a core from the other.
    """
    return _Limit(_others() if size > SMALL else _libraries())


def one_pool(size: int) -> AbstractContextManager[None]:
    """Run scipy's BLAS on its threads and others on one: two pools spin against each other. Small sizes run on one."""
    return one_thread() if size < POOLED else _Limit(_others())


@contextmanager
def own_threads() -> Iterator[None]:
    """Run BLAS on one thread inside the block, and leave its threads to blocks of work, which ask for `workers`."""
    token = _OWN.set(threads())
    try:
        with one_thread():
            yield
    finally:
        _OWN.reset(token)


def workers() -> int:
    """Return the threads that blocks of work may take: those that `own_threads` left them, or those of scipy's BLAS."""
    return _OWN.get() or threads()


def in_threads(work: Callable[[int], None], parts: int) -> None:
    """Call `work` with 0 … `parts` − 1, each in a thread that treats floating-point errors as the caller does."""
    if parts == 1:
        work(0)
        return
    settings = [copy_context() for _ in range(parts)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(lambda context, part: context.run(work, part), settings, range(parts)))


def threads() -> int:
    """Return the threads that scipy's BLAS runs on now."""
    return max((held.count() for held in _pool()), default=1)


def _after_fork() -> None:
    _LOCK.release()
    if _found.cache_info().currsize:
        for held in _found():
            held.forked(_threading.get_ident())


if hasattr(os, "register_at_fork"):
    # A child forked while another thread counts would wait for ever: nobody is left to let go of the lock.
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_after_fork)


@cache
def blas(dtype: np.dtype[Any]) -> SimpleNamespace:
    """Return scipy's gemm, trsm and syr2k for a type."""
    names = ("gemm", "trsm", "syr2k")
    return SimpleNamespace(**dict(zip(names, scipy.linalg.blas.get_blas_funcs(names, dtype=dtype), strict=True)))


def rows_product(A: Floats, B: Floats, out: Floats | None = None) -> Floats:
    """Return A Bᵀ: every row of A with every row of B."""
    if out is None:
        out = np.empty((len(A), len(B)), A.dtype)
    blas(A.dtype).gemm(1.0, B.T, A.T, trans_a=True, c=out.T, overwrite_c=True)
    return out


def add_product(S: Floats, rows: Floats, columns: Floats, sign: float) -> None:
    """S ← S ± rowsᵀ columns."""
    blas(S.dtype).gemm(sign, columns.T, rows.T, beta=1.0, c=S.T, trans_b=True, overwrite_c=True)
