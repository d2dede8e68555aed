"""Trajectories from Arnoldi vectors, one orthonormal basis per sample: for circuits too far from normal for an ellipse.

::

    z(s) ≈ z₀ + β V f_s(H) e₁,    F V = V H + h v eₘᵀ,    f_s(λ) = (1 − e^(−sλ))/λ,    β = ‖r₀‖

All times share one basis. It misses the dynamics by ρ(s) = β h |eₘᵀ f_s(H) e₁|, known without a further product.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._norms import norms
from neurodecorr.circuit.problem import Problem
from neurodecorr.circuit.propagator import exponential_propagator

__all__ = ["Projection", "arnoldi_frames", "projected"]

Floats = npt.NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)
FEWEST_VECTORS, MOST_VECTORS = 12, 100
# The error is looked at whenever the basis has grown by this factor.
GROWTH = 1.25
# With h‖H‖ ≤ 1/2 the series between two points of the grid ends within rounding: 2⁻¹⁶/17! < 1e-19.
GRID_NORM, SERIES_TERMS = 0.5, 16
MOST_POINTS = 4096
# Bytes of the bases of all samples that are dealt with together.
MEMORY = 2**26


class Projection(NamedTuple):
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


def projected(H: Floats, span: float) -> Projection:
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
    return Projection(H, step, y, largest)


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
        self.flows: dict[int, Projection] = {}

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
