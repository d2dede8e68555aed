"""Lower bounds of σ_min(R) at the price of passes over the synapses, for the certificate of sparse circuits.

Two proofs need no luck::

    dominance        σ_min(R) ≥ √(α β),    α, β = min_i (|R_ii| − Σ_{j≠i} |R_ij|) by rows, by columns
    symmetric part   σ_min(R) ≥ λ_min(H) ≥ min_i (H_ii − Σ_{j≠i} |H_ij|),    H = (R + Rᵀ)/2

The third holds but for a stated probability: a random vector that T_m does not blow up has, almost surely, met no
eigenvalue far below the interval of T_m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse

from neurodecorr._sparse import Rows, row_cuts, sparse_product

__all__ = [
    "SigmaBound",
    "dominance_bound",
    "extreme_ritz_values",
    "least_gap",
    "probe_bound",
    "rows_of",
    "symmetric_part",
]

Floats = npt.NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)
# Probes miss the least eigenvector with this probability each; two independent ones with its square.
MISS, PROBES = 1e-6, 2
LANCZOS_STEPS = 80
# The bound is good enough at this share of the estimate; no more products than this are spent on it.
SHARE, MOST_PRODUCTS = 0.8, 4000


@dataclass(frozen=True)
class SigmaBound:
    """A lower bound of the least singular value of R, and what it rests on.

    Parameters
    ----------
    low : float
        Lower bound of σ_min(R); 0 where none was found.
    kind : str
        ``"exact"``: singular values, rounding subtracted. ``"dominance"``: diagonal dominance by rows and by columns
        (Varah 1975). ``"gershgorin"``: discs of the symmetric part. ``"probe"``: random vectors. ``"none"``.
    failure : float
        Probability, over the random vectors, that `low` is no bound; 0 for the other kinds.
    estimate : float
        Estimate of λ_min((R + Rᵀ)/2), of σ_min for the exact kind. No bound; NaN where none was needed.
    products : int
        Matrix–vector products spent.
    """

    low: float
    kind: str
    failure: float
    estimate: float
    products: int


def rows_of(A: Any) -> Rows:
    """Return the arrays of a CSR matrix as kernels take them."""
    return Rows(A.data, A.indices, A.indptr)


def symmetric_part(R: Any) -> Any:
    """Return H = (R + Rᵀ)/2 in float64, CSR."""
    wide = R.astype(np.float64)
    return scipy.sparse.csr_array((wide + wide.T) * 0.5)


def dominance_bound(R: Any, H: Any) -> tuple[float, str]:
    """Return the better of the two bounds by dominance, 0 if there is none, and its kind."""
    gaps = [least_gap(R, axis) for axis in (0, 1)]
    varah = math.sqrt(gaps[0] * gaps[1]) * (1 - 4 * EPS) if min(gaps) > 0 else 0.0
    discs = least_gap(H, 1, signed=True)
    if max(varah, discs) <= 0:
        return 0.0, "none"
    return (varah, "dominance") if varah >= discs else (discs, "gershgorin")


def least_gap(A: Any, axis: int, signed: bool = False) -> float:
    """Return min_i (|A_ii| − Σ_{j≠i} |A_ij|) along an axis, its rounding subtracted; A_ii itself if `signed`."""
    diagonal = A.diagonal().astype(np.float64)
    size = np.abs(diagonal)
    total = np.asarray(abs(A.astype(np.float64)).sum(axis=axis)).ravel()
    longest = int(np.bincount(A.indices, minlength=A.shape[0]).max() if axis == 0 else np.diff(A.indptr).max())
    rounding = (longest + 4) * EPS * total
    return float(((diagonal if signed else size) - (total - size) - rounding).min())


def extreme_ritz_values(H: Any, seed: int = 0, steps: int = LANCZOS_STEPS) -> tuple[float, float]:
    """Estimate λ_min and λ_max of a symmetric matrix by Lanczos steps that keep three vectors.

    The first is an estimate from above, the second one from below. Without reorthogonalisation Ritz values come twice;
    the extreme ones are not harmed (Paige 1976).
    """
    n, rows, cuts = H.shape[0], rows_of(H), row_cuts(H.indptr)
    v, before, w = _unit(n, np.random.default_rng(seed)), np.zeros(n), np.empty(n)
    alpha, beta = [], [0.0]
    for _ in range(min(steps, n)):
        sparse_product(rows, v, w, cuts)
        alpha.append(float(v @ w))
        w -= alpha[-1] * v + beta[-1] * before
        size = float(np.linalg.norm(w))
        if not size > 1e-10 * abs(alpha[0]):
            break
        beta.append(size)
        before, v = v, w / size
    values = scipy.linalg.eigvalsh_tridiagonal(np.array(alpha), np.array(beta[1 : len(alpha)]))
    return float(values[0]), float(values[-1])


def probe_bound(H: Any, low: float, high: float, seed: int = 0) -> tuple[float, float, int]:
    """Bound λ_min of a symmetric matrix from below by random vectors; return bound, failure probability, products.

    ::

        λ_min ≥ a − ½(c − a)(cosh φ − 1),    cosh mφ ≥ 2‖T_m(B) b‖/t,    B = (2H − (c + a)I)/(c − a)

    A uniformly random unit vector b has |vᵀb| ≥ t = δ√(π/2n) with the eigenvector v of λ_min, but for a probability
    ≤ δ. Were λ_min = a − ½(c − a)(cosh φ − 1), then ‖T_m(B) b‖ ≥ cosh(mφ) t. The factor 2 makes room for rounding,
    which adds at most ε‖y‖(1 + φ)/φ² to t, ‖y‖ the longest vector met. Any a < c will do: a bad one makes a weak bound.

    Parameters
    ----------
    H : (n, n) CSR
        Symmetric, float64.
    low, high : float
        Interval [a, c], from `extreme_ritz_values`.
    seed : int
        Chooses the vectors; R must not have been made to fit them.
    """
    n, rows = H.shape[0], rows_of(H)
    overlap = MISS * math.sqrt(math.pi / (2 * n))
    size = float(abs(H).sum(axis=1).max())
    half, middle = (high - low) / 2, (high + low) / 2
    # One product and the recurrence round to this share of the vectors they start from.
    unit = EPS * (np.diff(H.indptr).max() + 8) * 2 * (size + abs(middle)) / half
    longest_run = int(min(MOST_PRODUCTS, max(20, 4 * math.sqrt(half / low) * math.log(4 / overlap))))
    bounds, products = [], 0
    for probe in range(PROBES):
        b = _unit(n, np.random.default_rng([seed, probe]))
        found, used = _grow(rows, b, (middle, half), overlap, unit, longest_run)
        bounds.append(low - half * (math.cosh(found) - 1) - 4 * EPS * size)
        products += used
    return min(bounds), MISS**PROBES, products


def _grow(
    rows: Rows, b: Floats, interval: tuple[float, float], overlap: float, unit: float, most: int
) -> tuple[float, int]:
    """Run the recurrence y ← 2By − y₋ until the φ it excludes is small; return φ, infinite if rounding wins."""
    middle, half = interval
    before, y, w, cuts = b, np.empty_like(b), np.empty_like(b), row_cuts(rows.indptr)
    sparse_product(rows, b, y, cuts)
    y -= middle * b
    y /= half
    longest, phi = 1.0, math.inf
    enough = math.acosh(1 + (1 - SHARE) / 2 * (middle - half) / half)
    for m in range(1, most + 1):
        length = float(np.linalg.norm(y))
        longest = max(longest, length)
        if not longest < 1e100:
            break
        now = math.acosh(max(2 * length / overlap, 1.0)) / m
        if unit * longest * (1 + now) <= overlap / 2 * now**2:
            phi = min(phi, now)
        if phi <= enough:
            break
        sparse_product(rows, y, w, cuts)
        w -= middle * y
        w *= 2 / half
        w -= before
        before, y, w = y, w, before if before is not b else np.empty_like(b)
    return phi if phi < 50 else math.inf, m


def _unit(n: int, rng: np.random.Generator) -> Floats:
    b = rng.standard_normal(n)
    return np.asarray(b / np.linalg.norm(b))
