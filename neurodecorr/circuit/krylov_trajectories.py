"""Trajectories from one polynomial basis: every requested time shares the vectors T_k, so further times are free.

::

    z(s) = z₀ + f_s(F) r₀,    f_s(λ) = (1 − e^(−sλ))/λ = ∑_k a_k(s) T_k((λ − d)/c),    r₀ = κ ∘ (u − A z₀)

One product per k, one cosine transform for the coefficients, one product of matrices for all frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg.blas

from neurodecorr._numerics.blas import rows_product
from neurodecorr._numerics.norms import EPS, norms
from neurodecorr._numerics.simd import read_only
from neurodecorr._typing import Floats
from neurodecorr.circuit.bounds import Enclosure
from neurodecorr.circuit.problem import Problem
from neurodecorr.circuit.propagators import exponential_propagator

FEWEST_VECTORS, MOST_VECTORS = 12, 100
# The error is looked at whenever the basis has grown by this factor.
GROWTH = 1.25
# With h‖H‖ ≤ 1/2 the series between two points of the grid ends within rounding: 2⁻¹⁶/17! < 1e-19.
GRID_NORM, SERIES_TERMS = 0.5, 16
MOST_POINTS = 4096
# Bytes of the bases of all samples that are dealt with together.
MEMORY = 2**26


class KrylovProjection(NamedTuple):
    """The small flow y' = e₁ − H y on a grid from 0 in equal steps, and the largest ‖e^(−tH)‖ met on the way."""

    H: Floats
    step: float
    y: Floats
    largest: float

    def at(self, s: Floats) -> Floats:
        """Return y at times s within the grid, (times, m): by a series from the point of the grid before each."""
        start = np.minimum((s / self.step).astype(np.int64), len(self.y) - 1)
        y, offset = self.y[start], (s - start * self.step)[:, None]
        term = -(y @ self.H.T)
        term[:, 0] += 1
        total = term = offset * term
        for k in range(2, SERIES_TERMS + 1):
            term = (-offset / k) * (term @ self.H.T)
            total = total + term
        return np.asarray(y + total)


def projected(H: Floats, span: float) -> KrylovProjection:
    """Solve y' = e₁ − H y, y(0) = 0, on a grid that resolves it, up to `span` or to the last point there is room for.

    ::

        y_{m+j} = y_m + E(mh) y_j,    E(h) = e^(−hH),    E(2h) = E(h)²
    """
    size = float(np.linalg.norm(H, 1))
    points = min(MOST_POINTS, max(16, math.ceil(size * span / GRID_NORM)))
    step = min(span / points, GRID_NORM / size) if size > 0 else span / points
    Q = exponential_propagator(H, step)
    E, y, done, largest = np.eye(len(H)) - H @ Q, np.zeros((points + 1, len(H))), 1, 1.0
    y[1] = Q[:, 0]
    while done < points:
        largest = max(largest, math.sqrt(float(np.linalg.norm(E, 1) * np.linalg.norm(E, np.inf))))
        more = min(done, points - done)
        y[done + 1 : done + 1 + more] = y[done] + y[1 : 1 + more] @ E.T
        done += more
        E = E @ E
    return KrylovProjection(H, step, y, largest)


def arnoldi_frames(problem: Problem, s: Floats, rtol: float, most: float) -> tuple[Floats, int] | None:
    """Return the states at times s (units of τ) and the products per sample; None if `most` products do not do.

    The error of a frame is kept below `rtol` of the largest ‖z(s) − z₀‖ of the sample, by::

        ‖error(s)‖ ≤ G ∫₀ˢ ρ(σ) dσ,    G = max_t ‖e^(−tF)‖

    which is proven where the field of values of F lies in the right half-plane, G = 1; elsewhere G is estimated by that
    of H. A basis that grows too long is left at the latest time where the bound holds, and a new one begins there.

    Parameters
    ----------
    problem : Problem
        The circuit, drives and starting states.
    s : (times,) array
        Times in units of τ, increasing.
    rtol : float
        Largest error of a frame, as a share of the largest distance from the start.
    most : float
        Products per sample that may be spent.

    References
    ----------
    Saad 1992, SIAM J. Numer. Anal. 29, 209; Botchev, Grimm and Hochbruck 2013, SIAM J. Sci. Comput. 35, A1376.
    """
    samples, size = problem.U.shape
    frames, spent = np.empty((len(s), samples, size), problem.dtype), 0
    together = max(1, MEMORY // ((MOST_VECTORS + 1) * size * problem.dtype.itemsize))
    for begin in range(0, samples, together):
        rows = np.arange(begin, min(begin + together, samples))
        part = problem.only(rows) if len(rows) < samples else problem
        products = _march(part, s, rtol, most, frames[:, begin : begin + together])
        if products is None:
            return None
        spent = max(spent, products)
    return frames, spent


def _march(problem: Problem, s: Floats, rtol: float, most: float, frames: Floats) -> int | None:
    """Write the frames of few samples, basis after basis; return the products spent."""
    Z, now, spent = problem.Z, 0.0, problem.first_product
    scale, done = np.zeros(len(Z)), int(s[0] == 0)
    frames[:done] = Z
    while done < len(s):
        basis = _Basis(problem, Z)
        reach = basis.reach(s[-1] - now, s[-1], rtol, scale, most - spent)
        spent += basis.count + int(now > 0)
        if reach <= 0:
            return None
        upto = int(np.searchsorted(s, now + reach * (1 + 4 * EPS), side="right"))
        whole = upto == len(s)
        times = s[done:upto] - now if whole else np.append(s[done:upto] - now, reach)
        ends = np.empty_like(Z)
        for row in range(len(Z)):
            states = Z[row] + basis.states(row, np.minimum(times, reach))
            frames[done:upto, row], ends[row] = states[: upto - done], states[-1]
        if upto > done:
            far = np.linalg.norm(frames[done:upto].astype(np.float64) - problem.Z, axis=2).max(axis=0)
            scale = np.maximum(scale, far)
        Z, now, done = ends, now + reach, upto
    return spent


class _Basis:
    """Orthonormal bases V of the Krylov spaces of all samples, grown together, and H = VᵀFV of each."""

    def __init__(self, problem: Problem, Z: Floats) -> None:
        self.problem, self.count = problem, 0
        samples, size = Z.shape
        self.limit = min(MOST_VECTORS, size)
        self.V = np.zeros((samples, self.limit + 1, size), problem.dtype)
        self.H = np.zeros((samples, self.limit + 1, self.limit))
        start = problem.rates * (problem.U - Z @ problem.A.T)
        self.beta = norms(start)
        self.V[:, 0] = start / np.where(self.beta > 0, self.beta, 1)[:, None].astype(problem.dtype)
        self.contracts = problem.circuit.spectrum.field is not None
        self.flows: dict[int, KrylovProjection] = {}

    def reach(self, span: float, whole: float, rtol: float, scale: Floats, most: float) -> float:
        """Grow until the error keeps its bound up to `span`; return up to where it does once no more vectors fit."""
        count, hardest = FEWEST_VECTORS, 0
        while True:
            self._grow(min(count, self.limit))
            last = self.count == self.limit or self.count >= most
            reached = self._reach_of(hardest, span, whole, rtol, scale)
            if reached >= span or last:
                found = [self._reach_of(row, span, whole, rtol, scale) for row in range(len(self.V))]
                hardest = int(np.argmin(found))
                if found[hardest] >= span or last:
                    return 0.0 if found[hardest] < span and self.count >= most else found[hardest]
            count = math.ceil(GROWTH * count)

    def states(self, row: int, s: Floats) -> Floats:
        """Return z(s) − z₀ of one sample."""
        weights = self.beta[row] * self.flows[row].at(s)
        return np.asarray(weights.astype(self.V.dtype) @ self.V[row, : self.count])

    def _reach_of(self, row: int, span: float, whole: float, rtol: float, scale: Floats) -> float:
        """Return the latest time at which the error of one sample keeps within its share of the bound."""
        m = self.count
        flow = self.flows[row] = projected(self.H[row, :m, :m], span)
        if self.beta[row] == 0:
            return span
        missed = self.beta[row] * self.H[row, m, m - 1] * np.abs(flow.y[:, -1])
        error = np.cumsum((missed[1:] + missed[:-1]) / 2) * flow.step * (1.0 if self.contracts else flow.largest)
        distance = np.maximum(self.beta[row] * norms(flow.y[1:]), scale[row])
        times = flow.step * np.arange(1, len(flow.y))
        good = np.flatnonzero(error <= rtol * distance * times / whole)
        if not good.size:
            return 0.0
        return span if times[good[-1]] >= span * (1 - 1e-12) else float(times[good[-1]])

    def _grow(self, count: int) -> None:
        """Grow all bases to `count` vectors, by Gram–Schmidt done twice; complete spaces go on with zeros."""
        A, rates = self.problem.A.T, self.problem.rates
        for k in range(self.count, count):
            w = (self.V[:, k] @ A) * rates
            size = norms(w)
            known = self.V[:, : k + 1]
            for _ in range(2):
                share = known @ w[:, :, None]
                w = w - (share.swapaxes(1, 2) @ known)[:, 0]
                self.H[:, : k + 1, k] += share[:, :, 0]
            left = norms(w)
            left[left <= 8 * float(np.finfo(w.dtype).eps) * size] = 0.0
            self.H[:, k + 1, k] = left
            self.V[:, k + 1] = w * np.where(left > 0, 1 / np.where(left > 0, left, 1), 0)[:, None].astype(w.dtype)
        self.count = count


FEWEST_NODES, MOST_NODES = 32, 4096
# ‖p(F)‖ ≤ (1 + √2) max |p| over the field of values (Crouzeix and Palencia 2017).
CROUZEIX = 1 + math.sqrt(2)
# The basis may exceed its expected size by this much, for bounds that were estimated; beyond, it is given up.
SURPRISE = 10.0
# Bytes of the bases of all samples that are dealt with together.
EXPANSION_MEMORY = 2**23
# Roundings of a cosine transform of some hundred values.
TRANSFORM_ROUNDING = 4.0
# From this many rows on, a scaled copy of the matrix costs less than scaling the products.
WORTH_SCALING = 8

Operator = Callable[[Floats, Floats], Floats]
SYMV = {np.dtype(np.float32): scipy.linalg.blas.ssymv, np.dtype(np.float64): scipy.linalg.blas.dsymv}
# Expansions of so many frames and fewer are kept for the next call with the same times.
MOST_KEPT_FRAMES = 2000


class Expansion(NamedTuple):
    """Coefficients a_k(s) of all frames, (times, K), the interval d ± c, the growth of T_k per k, and the tolerance."""

    a: Floats
    centre: float
    focus: float
    growth: float
    tol: float


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

    References
    ----------
    Druskin & Knizhnerman (1989), USSR Computational Mathematics and Mathematical Physics 29(6), 112–121.
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
            # T_k is rounded at every step before it; what is lost grows as U_{k−j}, to ε k²|T_k|.
            k = np.arange(count)
            rounding = 8 * EPS * float((np.abs(a[:, :count]) @ ((k + 1) ** 2 * growth**k)).max())
            exact_enough = beta == 0 or rounding <= allowed
            return Expansion(read_only(a[:, :count]), centre, focus, growth, tol) if exact_enough else None
        nodes *= 2
    return None


def expansion(field: Enclosure, s: Floats, tol: float) -> Expansion | None:
    """Do as `expand` does; expansions of few frames are kept for circuits that are integrated again and again."""
    return _kept_expansion(field, s.tobytes(), tol) if len(s) <= MOST_KEPT_FRAMES else expand(field, s, tol)


@lru_cache(maxsize=16)
def _kept_expansion(field: Enclosure, s: bytes, tol: float) -> Expansion | None:
    return expand(field, np.frombuffer(s), tol)


def expanded_frames(problem: Problem, found: Expansion) -> tuple[Floats, int] | None:
    """Return the states at all times and the products spent; None if the basis outgrows the field it was made for."""
    samples, size = problem.U.shape
    frames = np.empty((len(found.a), samples * size), problem.dtype)
    together = max(1, EXPANSION_MEMORY // (found.a.shape[1] * size * problem.dtype.itemsize))
    operator = _operator(problem, found, together)
    for begin in range(0, samples, together):
        rows = slice(begin, begin + together)
        V = _basis(problem, found, rows, operator)
        if V is None:
            return None
        a = np.append(found.a, np.ones((len(found.a), len(V) - found.a.shape[1])), axis=1).astype(problem.dtype)
        part = np.matmul(a, V.reshape(len(V), -1), out=frames[:, begin * size : (begin + together) * size])
        if found.growth > 1 and not _resolved(found, V, part[-1].reshape(-1, size) - problem.Z[rows]):
            return None
    return frames.reshape(len(frames), samples, size), found.a.shape[1] - 1 + problem.first_product


def _resolved(found: Expansion, V: Floats, moved: Floats) -> bool:
    """Tell whether the rounding of the coefficients, ε max |a| each, leaves the frames their digits.

    Beside long vectors T_k r₀ that cancel, which a skew F makes, it does not.
    """
    lengths = np.sqrt(np.einsum("krn,krn->r", V[: found.a.shape[1]], V[: found.a.shape[1]]))
    lost = TRANSFORM_ROUNDING * EPS * float(np.abs(found.a).max()) * lengths
    return bool((lost <= found.tol * norms(moved)).all())


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
        return lambda v, out: rows_product(v, F, out)
    halves = len(problem.U) == 1 and problem.circuit.spectrum.symmetric and bool((rates == 1).all())
    symv = SYMV[dtype]

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
