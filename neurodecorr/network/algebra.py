"""Matrix products that write where they are told: one BLAS for numpy arrays, the array namespace's own otherwise.

numpy and scipy each bring a BLAS with threads of its own, which spin against each other; in numpy all products of a
training step go through scipy's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.linalg.blas
import scipy.linalg.lapack
from array_api_compat import array_namespace, device, to_device

from neurodecorr._numerics.blas import in_threads, threads, workers
from neurodecorr._typing import AnyArray
from neurodecorr.errors import DivergenceError
from neurodecorr.network import kernels
from neurodecorr.network.torch import is_tensor

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_GEMM = dict(zip(_FLOATS, (scipy.linalg.blas.sgemm, scipy.linalg.blas.dgemm), strict=True))
# Multiplications that are worth a thread of Python each.
SHARED = 10**7
_POSV = dict(zip(_FLOATS, (scipy.linalg.lapack.sposv, scipy.linalg.lapack.dposv), strict=True))


def product(A: AnyArray, B: AnyArray, weight: float = 1.0) -> AnyArray:
    """Return weight A B."""
    if not _for_blas(A, B):
        return A @ B if weight == 1.0 else weight * (A @ B)
    out = np.empty((A.shape[0], B.shape[1]), A.dtype)
    _gemm(out, A, B, weight, 0.0)
    return out


def add_matrix_product(C: AnyArray, A: AnyArray, B: AnyArray, weight: float = 1.0, keep: float = 1.0) -> None:
    """C ← keep C + weight A B, in place."""
    if _for_blas(A, B) and C.flags.c_contiguous and C.dtype == A.dtype:
        _gemm(C, A, B, weight, keep)
        return
    if is_tensor(C):
        C.addmm_(A, B, beta=keep, alpha=weight)
        return
    if keep != 1.0:
        C *= keep
    C += weight * (A @ B)


def solve_positive(A: AnyArray, B: AnyArray) -> AnyArray:
    """Return A⁻¹B of a symmetric positive definite matrix.

    Raises
    ------
    DivergenceError
        If A is not positive definite.
    """
    if not _for_blas(A, B):
        return array_namespace(A).linalg.solve(A, B)
    _, found, failed = _POSV[A.dtype](A, B)
    if failed:
        raise DivergenceError(
            f"a step of decorrelation met a matrix of {len(A)} units whose leading {failed} are not positive definite. "
            "Lower its rate."
        )
    return np.ascontiguousarray(found)


def empty_like(like: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """Return an unset array of another shape in the type of an array, where that lies."""
    return array_namespace(like).empty(shape, dtype=like.dtype, device=device(like))


def in_order(X: AnyArray) -> AnyArray:
    """Return X, or where it can be told that it lies in another order than its axes, a copy."""
    if isinstance(X, np.ndarray):
        return np.ascontiguousarray(X)
    return X.contiguous() if is_tensor(X) else X


def add_row(X: AnyArray, row: AnyArray) -> None:
    """Add the same numbers to every row of X, in place."""
    if isinstance(X, np.ndarray) and X.flags.c_contiguous and X.dtype == row.dtype:
        kernels.add_row_compiled(X, row)
        return
    X += row


def sum_rows(X: AnyArray) -> AnyArray:
    """Return the sum of all rows of X."""
    if isinstance(X, np.ndarray) and X.flags.c_contiguous:
        return kernels.sum_rows_compiled(X)
    return array_namespace(X).sum(X, axis=0)


def identity(like: AnyArray, size: int) -> AnyArray:
    """Return the identity in the type of another array, where that lies."""
    return array_namespace(like).eye(size, dtype=like.dtype, device=device(like))


def alike(value: Any, like: AnyArray) -> AnyArray:
    """Return numbers as an array of the library, type and device of another."""
    if isinstance(like, np.ndarray):
        return np.asarray(value, like.dtype)
    return array_namespace(like).asarray(value, dtype=like.dtype, device=device(like))


def as_numpy(A: AnyArray) -> Any:
    """Return an array of any library as one of numpy."""
    if isinstance(A, np.ndarray):
        return A
    return np.array(np.from_dlpack(to_device(A, "cpu") if hasattr(A, "cpu") else A))


def _for_blas(A: AnyArray, B: AnyArray) -> bool:
    return isinstance(A, np.ndarray) and isinstance(B, np.ndarray) and A.dtype == B.dtype and A.dtype in _GEMM


def _gemm(C: Any, A: Any, B: Any, weight: float, keep: float) -> None:
    """Let BLAS see the transpose, Cᵀ = Bᵀ Aᵀ, which lies in memory column by column, as it wants it."""
    parts = min(workers(), len(C))
    if parts > threads() and A.size * B.shape[1] > SHARED:
        in_threads(partial(_part, C, A, B, weight, keep, parts), parts)
        return
    b, b_turned = _columns(B.T)
    a, a_turned = _columns(A.T)
    _GEMM[C.dtype](weight, b, a, beta=keep, c=C.T, trans_a=b_turned, trans_b=a_turned, overwrite_c=True)


def _part(C: Any, A: Any, B: Any, weight: float, keep: float, parts: int, part: int) -> None:
    """Make one of so many stretches of rows, by numpy, whose products let other threads run."""
    begin, end = (len(C) * edge // parts for edge in (part, part + 1))
    found = np.matmul(A[begin:end], B)
    if weight != 1.0:
        found *= weight
    if keep == 0.0:
        C[begin:end] = found
        return
    C[begin:end] *= keep
    C[begin:end] += found


def _columns(A: Any) -> tuple[Any, bool]:
    """Return A or its transpose, whichever lies column by column, and whether it is the transpose."""
    if A.flags.f_contiguous:
        return A, False
    return (A.T, True) if A.flags.c_contiguous else (np.asfortranarray(A), False)
