"""Norms whose squares neither underflow nor overflow.

::

    ‖v‖ = m √Σ (v_i/m)²,    m = max |v_i|

The plain sum of squares is taken wherever it is safe, which is nearly everywhere. Below 1e-154 squares underflow, and
a norm of 0 would certify any error.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.jit import jit
from neurodecorr._typing import Array, Floats
from neurodecorr._validation import FEW

# A sum of squares between these has lost nothing: squares that underflow are below 2⁻¹⁰²², and 2⁻¹⁰⁰ of the sum.
LEAST_SQUARE, LARGEST_SQUARE = 2.0**-900, 2.0**1000


@jit()
def scaled_norm(v: Array) -> float:
    """Return ‖v‖ from entries divided by the largest; NaN and infinity pass through.

    ::

        ‖v‖ = m √(∑ (v_i/m)²),    m = max |v_i|

    Reference: Blue (1978), ACM Transactions on Mathematical Software 4, 15–23.
    """
    largest = 0.0
    for i in range(v.size):
        size = abs(np.float64(v[i]))
        if not size < np.inf:
            return float(size)
        largest = max(largest, size)
    if largest == 0.0:
        return 0.0
    total = 0.0
    for i in range(v.size):
        total += (np.float64(v[i]) / largest) ** 2
    return float(largest * np.sqrt(total))


@jit()
def root(total: float, v: Array) -> float:
    """Return ‖v‖, given the sum of its squares.

    ::

        ‖v‖ = √(∑ v_i²)
    """
    return float(np.sqrt(total)) if LEAST_SQUARE <= total <= LARGEST_SQUARE else scaled_norm(v)


@jit()
def norm(v: Array) -> float:
    """Return ‖v‖, summed in float64.

    ::

        ‖v‖ = √(∑ v_i²)
    """
    total = 0.0
    for i in range(v.size):
        total += np.float64(v[i]) ** 2
    return root(total, v)


EPS = float(np.finfo(np.float64).eps)


def norms(rows: npt.ArrayLike) -> Floats:
    """Return the norm of each row, along the last axis, summed in float64.

    ::

        ‖v‖ = √(∑ v_i²)
    """
    wide = np.asarray(rows).astype(np.float64, copy=False)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.asarray(np.einsum("...j,...j->...", wide, wide))
        safe = (squares >= LEAST_SQUARE) & (squares <= LARGEST_SQUARE)
        if safe.all():
            return np.asarray(np.sqrt(squares))
        largest = np.abs(wide).max(axis=-1, initial=0.0)
        scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
        unit = wide / scale[..., None]
        slow = scale * np.sqrt(np.einsum("...j,...j->...", unit, unit))
        return np.asarray(np.where(safe, np.sqrt(squares), slow))


def frobenius(A: Floats) -> float:
    """Return ‖A‖_F, of a large matrix without BLAS: a pool of threads that it wakes would spin beside that of LAPACK.

    ::

        ‖A‖_F = √(∑ A_ij²)
    """
    return math.sqrt(np.vdot(A, A) if A.size <= FEW else np.einsum("ij,ij->", A, A))


def least_unit(dtype: npt.DTypeLike) -> float:
    """Return the least number > 0 of a floating-point type: what rounding may move a result that underflows."""
    return float(np.finfo(dtype).smallest_subnormal)


def underflow(size: int, dtype: npt.DTypeLike = np.float64) -> float:
    """Return a bound on what underflow may take from the norm of a sum of `size` products in each of `size` rows.

    Each product is off by half the least number at most; sums of such numbers are exact. Doubled, for the products of
    the bound itself.
    """
    return 2 * (size + 4) * math.sqrt(size) * least_unit(dtype)
