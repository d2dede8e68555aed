"""Weights that are whole numbers, as digital chips store them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._validation import positive, samples
from neurodecorr.errors import ConfigError, InputError


def code_unit(weights: npt.ArrayLike, codes: tuple[int, int]) -> float:
    """Return the smallest weight per code for which every weight fits.

    ::

        q = max(max(W) / high, min(W) / low)

    Parameters
    ----------
    weights : (rows, columns) array
        W.
    codes : (int, int)
        Smallest and largest code, low ≤ 0 < high.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a weight is negative where no code is.
    """
    W, (low, high) = samples(weights, "weights"), whole_codes(codes)
    if low == 0 and W.min() < 0:
        row, column = (int(k) for k in np.argwhere(W < 0)[0])
        raise InputError(
            f"weights must be ≥ 0 for the codes 0 … {high}; got {W[row, column]:g} at row {row}, column {column}. "
            "Choose codes on both sides of 0."
        )
    return max(float(W.max()) / high, float(W.min()) / low if low else 0.0, 0.0) or 1.0


def coded(weights: npt.ArrayLike, codes: tuple[int, int], unit: float | None = None) -> npt.NDArray[np.int64]:
    """Return weights as whole numbers.

    ::

        k = rint(W / q),    low ≤ k ≤ high

    Halves go to the even code. With low = −high and no `unit` this is Rockpool's `global_quantize`.

    Parameters
    ----------
    weights : (rows, columns) array
        W.
    codes : (int, int)
        Smallest and largest code, low ≤ 0 < high.
    unit : float, optional
        q, weight per code. Default: `code_unit`.

    Returns
    -------
    (rows, columns) array of int64

    Raises
    ------
    InputError
        If a weight does not fit.

    Examples
    --------
    >>> coded([[1.0, -0.5], [0.26, 0.0]], codes=(-4, 4)).tolist()
    [[4, -2], [1, 0]]

    References
    ----------
    synsense/rockpool, `rockpool/transform/quantize_methods.py`.
    """
    W, (low, high) = samples(weights, "weights"), whole_codes(codes)
    q = code_unit(W, codes) if unit is None else positive(unit, "unit", "weight per code")
    with np.errstate(over="ignore"):
        k = np.rint(W / q)
    outside = (k < low) | (k > high)
    if outside.any():
        row, column = (int(n) for n in np.argwhere(outside)[0])
        raise InputError(
            f"weights must fit the codes {low} … {high}; at {q:g} per code the weight {W[row, column]:g} at row {row}, "
            f"column {column} needs {k[row, column]:g} ({int(outside.sum())} such in all). Choose a larger "
            "unit, that is a smaller scale, or none."
        )
    return np.asarray(k.astype(np.int64))


def whole_codes(codes: Any) -> tuple[int, int]:
    """Return (low, high) with low ≤ 0 < high, or raise `ConfigError`."""
    pair = tuple(codes) if isinstance(codes, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(k, int) and not isinstance(k, bool) for k in pair):
        raise ConfigError(f"codes must be two whole numbers, such as (-256, 255); got {codes!r}.")
    if not pair[0] <= 0 < pair[1]:
        raise ConfigError(f"codes must hold 0 and a number above it, such as (-256, 255); got {codes!r}.")
    return pair[0], pair[1]
