"""Products of row-major arrays by one BLAS, in place.

numpy may bring a copy of its own, whose threads would spin against those of scipy's; all products of long runs go
through scipy's. A BLAS reads column by column: it is shown the transposes, which lie in memory as it wants them.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.linalg.blas

__all__ = ["add_product", "blas", "rows_product"]

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


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
