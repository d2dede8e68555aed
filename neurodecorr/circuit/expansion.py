"""Trajectories from one polynomial basis: every requested time shares the vectors T_k, so further times are free.

::

    z(s) = z₀ + f_s(F) r₀,    f_s(λ) = (1 − e^(−sλ))/λ = Σ_k a_k(s) T_k((λ − d)/c),    r₀ = κ ∘ (u − A z₀)

One product per k, one cosine transform for the coefficients, one product of matrices for all frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.linalg

from neurodecorr._norms import norms
from neurodecorr.circuit.enclosure import Enclosure
from neurodecorr.circuit.problem import Problem

__all__ = ["Expansion", "expand", "expanded_frames"]

Floats = npt.NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)
FEWEST_NODES, MOST_NODES = 32, 4096
# ‖p(F)‖ ≤ (1 + √2) max |p| over the field of values (Crouzeix and Palencia 2017).
CROUZEIX = 1 + math.sqrt(2)
# The basis may exceed its expected size by this much, for bounds that were estimated; beyond, it is given up.
SURPRISE = 10.0
# Bytes of the bases of all samples that are dealt with together.
MEMORY = 2**23
# From this many rows on, a scaled copy of the matrix costs less than scaling the products.
WORTH_SCALING = 8

Operator = Callable[[Floats, Floats], Floats]


class Expansion(NamedTuple):
    """Coefficients a_k(s) of all frames, (times, K), the interval d ± c, and the growth of T_k per k."""

    a: Floats
    centre: float
    focus: float
    growth: float


def expand(field: Enclosure, s: Floats, tol: float) -> Expansion | None:
    """Expand f_s for all times s, to an error of `tol` of the largest; None where rounding or size forbid it.

    On an ellipse of semi-axes α and β around the field of values, |T_k| ≤ ((α + β)/c)^k, c² = α² − β².

    Parameters
    ----------
    field : Enclosure
        Rectangle around the field of values.
    s : (times,) array
        Times in units of τ.
    tol : float
        Largest error of a frame, as a share of the largest ‖z(s) − z₀‖.
    """
    centre, alpha, beta = (field.low + field.high) / 2, (field.high - field.low) / 2, field.skew
    # A narrow or tall field is expanded on a wider interval: the series of an entire function does not mind.
    alpha = max(alpha, 1.25 * beta, 0.01 * centre)
    focus = math.sqrt(alpha**2 - beta**2)
    growth = (alpha + beta) / focus
    # f_s falls with λ: no activity is smaller than that of the fastest mode.
    allowed = tol * float(_flow(np.array([field.high + beta]), s[-1:])[0, 0]) / (1.0 if beta == 0 else CROUZEIX)
    nodes = FEWEST_NODES
    while nodes <= MOST_NODES:
        a = _coefficients(centre, focus, s, nodes)
        count = _count(a, growth, allowed)
        if count <= nodes // 2:
            rounding = 8 * EPS * growth**count * float(np.abs(a).max())
            exact_enough = beta == 0 or rounding <= allowed
            return Expansion(a[:, :count], centre, focus, growth) if exact_enough else None
        nodes *= 2
    return None


def expanded_frames(problem: Problem, found: Expansion) -> tuple[Floats, int] | None:
    """Return the states at all times and the products spent; None if the basis outgrows the field it was made for."""
    samples, size = problem.U.shape
    frames = np.empty((len(found.a), samples * size), problem.dtype)
    together = max(1, MEMORY // (found.a.shape[1] * size * problem.dtype.itemsize))
    operator = _operator(problem, found, together)
    for begin in range(0, samples, together):
        rows = slice(begin, begin + together)
        V = _basis(problem, found, rows, operator)
        if V is None:
            return None
        a = np.append(found.a, np.ones((len(found.a), len(V) - found.a.shape[1])), axis=1).astype(problem.dtype)
        np.matmul(a, V.reshape(len(V), -1), out=frames[:, begin * size : (begin + together) * size])
    return frames.reshape(len(frames), samples, size), found.a.shape[1] - 1 + problem.first_product


def _operator(problem: Problem, found: Expansion, together: int) -> Operator:
    """Return v, w → 2 (F − d)/c v − w, in place of w's successor, by what is fastest for that many rows at once.

    A symmetric matrix times one vector is read by halves; one scaled beforehand saves passes over many vectors.
    """
    A, rates, dtype = problem.A, problem.rates, problem.dtype
    centre, scale = dtype.type(found.centre), dtype.type(2 / found.focus)
    if min(len(problem.U), together) >= WORTH_SCALING:
        F = rates[:, None] * A
        F.ravel()[:: len(F) + 1] -= centre
        F *= scale
        return lambda v, out: np.matmul(v, F.T, out=out)
    halves = len(problem.U) == 1 and problem.circuit.spectrum.symmetric and bool((rates == 1).all())
    symv = scipy.linalg.blas.get_blas_funcs("symv", dtype=dtype)

    def apply(v: Floats, out: Floats) -> Floats:
        if halves:
            out[0] = symv(scale, A.T, v[0])
        else:
            np.matmul(v, A.T, out=out)
            out *= scale * rates
        out -= (centre * scale) * v
        return out

    return apply


def _basis(problem: Problem, found: Expansion, rows: slice, operator: Operator) -> Floats | None:
    """Return T_k r₀ for every k, and z₀ behind them unless it is zero; None if they outgrow the field."""
    U, Z, count = problem.U[rows], problem.Z[rows], found.a.shape[1]
    moved = bool(Z.any())
    V = np.empty((count + moved, *U.shape), problem.dtype)
    V[0] = problem.rates * (U - Z @ problem.A.T if moved else U)
    V[count:] = Z
    for k in range(1, count):
        operator(V[k - 1], V[k])
        if k == 1:
            V[1] *= 0.5
        else:
            V[k] -= V[k - 2]
    expected = SURPRISE * CROUZEIX * found.growth ** (count - 1) * float(np.linalg.norm(norms(V[0])))
    return V if count == 1 or float(np.linalg.norm(norms(V[count - 1]))) <= expected else None


def _coefficients(centre: float, focus: float, s: Floats, nodes: int) -> Floats:
    """Return a_k(s), (times, nodes), by a cosine transform of the values at the Chebyshev nodes."""
    values = centre + focus * np.cos((np.arange(nodes) + 0.5) * math.pi / nodes)
    a = scipy.fft.dct(_flow(values, s), axis=1) / nodes
    a[:, 0] /= 2
    return np.asarray(a)


def _flow(values: Floats, s: Floats) -> Floats:
    """Return f_s(λ) = (1 − e^(−sλ))/λ, which is s at λ = 0."""
    safe = np.where(values == 0, 1.0, values)
    return np.where(values == 0, s[:, None], -np.expm1(-np.multiply.outer(s, safe)) / safe)


def _count(a: Floats, growth: float, allowed: float) -> int:
    """Return how many coefficients leave a tail of at most `allowed`; those at rounding level have ended."""
    sizes = np.abs(a).max(axis=0)
    sizes[sizes <= 8 * EPS * sizes.max()] = 0.0
    used = np.flatnonzero(sizes)
    count = int(used[-1]) + 1 if used.size else 1
    tails = np.cumsum((sizes[:count] * growth ** np.arange(count))[::-1])[::-1]
    small = tails <= allowed
    return max(1, int(np.argmax(small))) if small.any() else count
