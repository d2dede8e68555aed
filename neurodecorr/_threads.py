"""BLAS threads: one for small matrices, where handing work over costs more than the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg  # noqa: F401  (loads scipy's BLAS, so that the controller sees it)
from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]

SMALL = 512


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
