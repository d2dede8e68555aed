"""The one door to numba: compiled kernels, cached on disk where a cache can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["jit", "prange"]

F = TypeVar("F", bound=Callable[..., Any])
prange = numba.prange

# Sums may be reordered and products fused (SIMD), but NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract"}


def jit(*, parallel: bool = False) -> Callable[[F], F]:
    """Compile a kernel with IEEE error handling, reorderable sums, and a disk cache where one is writable.

    Parameters
    ----------
    parallel : bool, default False
        Spread `prange` loops over threads. Only for independent rows.
    """

    def compile_kernel(function: F) -> F:
        def options(cache: bool) -> dict[str, Any]:
            return {"cache": cache, "parallel": parallel, "error_model": "numpy", "fastmath": _SUMS, "nogil": True}

        try:
            return cast(F, numba.njit(**options(cache=True))(function))
        except RuntimeError:  # numba: "no locator available": neither the package nor the user cache is writable
            return cast(F, numba.njit(**options(cache=False))(function))

    return compile_kernel
