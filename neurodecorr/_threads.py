"""BLAS threads: one for small matrices, where handing work over costs more than the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg  # noqa: F401  (loads scipy's BLAS, so that the controller sees it)
from threadpoolctl import ThreadpoolController

__all__ = ["one_pool", "one_thread", "threads"]

SMALL = 512
# Units from which on the products of a block of samples gain from a second thread.
POOLED = 256


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread(size: int = 0) -> Iterator[None]:
    """Run BLAS on one thread inside the block, unless matrices of this size are large."""
    if size > SMALL:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _pools(scipys: bool) -> ThreadpoolController:
    """Return scipy's BLAS, or every other: numpy's wheels bring their own."""
    blas = _controller().select(user_api="blas")
    paths = [library.filepath for library in blas.lib_controllers]
    chosen = [path for path in paths if "scipy.libs" in path] or paths[:1]
    return blas.select(filepath=chosen if scipys else [path for path in paths if path not in chosen])


def threads() -> int:
    """Return the threads that scipy's BLAS runs on now."""
    return max((library.num_threads for library in _pools(True).lib_controllers), default=1)


@contextmanager
def one_pool(size: int) -> Iterator[None]:
    """Run scipy's BLAS on its threads and others on one: two pools spin against each other. Small sizes run on one."""
    if size < POOLED:
        with one_thread():
            yield
        return
    with _pools(False).limit(limits=1):
        yield
