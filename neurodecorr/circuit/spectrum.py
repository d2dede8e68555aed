"""Spectral facts of a circuit: singular values for certificates, eigenvalues for time and stability."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.linalg

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.norms import EPS, frobenius
from neurodecorr._numerics.simd import read_only
from neurodecorr._typing import Complexes, Floats
from neurodecorr.circuit.bounds import (
    NOT_COERCIVE,
    Coercivity,
    Ellipse,
    Enclosure,
    coercivity,
    enclosing_ellipse,
    enclosure,
)

# Up to this size all eigenvalues cost no more than bounds from few products.
SMALL = 90
# BLAS takes one thread by itself for matrices of up to this size.
SERIAL = 64
# Up to this size a certificate that falls short of its tolerance is sharpened by all singular values.
SHARP = 400


class Sigma(NamedTuple):
    """Extreme singular values of A, and a certified lower bound of the smallest: its rounding subtracted."""

    least: float
    largest: float
    low: float


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Spectral facts of  dz/ds = κ ∘ (u − A z), each computed when it is first asked for.

    Parameters
    ----------
    flow : (N, N) array
        Matrix F = diag(κ) A of the dynamics, float64. Its eigenvalues λ are decay rates per τ.
    closed : Sigma, optional
        Singular values of A, where the model knows them in closed form; without them κ = 1 and A = F.
    known : (N,) array, optional
        Eigenvalues of F, where the model knows them in closed form.
    """

    flow: Floats
    closed: Sigma | None = None
    known: Complexes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "flow", read_only(self.flow))

    @cached_property
    def _sigma(self) -> Sigma:
        """Singular values from the eigenvalues if A is symmetric; both solvers are backward stable.

        A computed singular value is off by at most about N ε σ_max.
        """
        if self.closed is not None:
            return self.closed
        A = self.flow
        with one_thread(len(A)):
            sigma = np.sort(np.abs(self._symmetric_eigenvalues)) if self.symmetric else scipy.linalg.svdvals(A)[::-1]
        slack = len(A) * EPS * sigma[-1] if len(A) > 1 else 0.0
        return Sigma(float(sigma[0]), float(sigma[-1]), float(sigma[0] - slack))

    @cached_property
    def _symmetric_eigenvalues(self) -> Floats:
        return read_only(scipy.linalg.eigvalsh(self.flow))

    @cached_property
    def coercivity(self) -> Coercivity:
        """Proven lower bound of λ_min((F + Fᵀ)/2), at the cost of two Cholesky factors."""
        if self.closed is not None:
            return NOT_COERCIVE
        with one_thread(len(self.flow)) if len(self.flow) > SERIAL else nullcontext():
            return coercivity(self.flow, self.symmetric, self.size_bound)

    @cached_property
    def enclosure(self) -> Enclosure | None:
        """Rectangle around the field of values of a large coercive F, at the cost of few products; None for others."""
        return self.field if self.coercive and len(self.flow) > SMALL else None

    @cached_property
    def field(self) -> Enclosure | None:
        """Rectangle around the field of values of F at every size; None where F is not coercive."""
        if self.coercive:
            with one_thread(len(self.flow)):
                return enclosure(self.flow, self.symmetric, self.coercivity)
        if self.symmetric and self.margin > 0:
            return Enclosure(self.margin, float(self.eigenvalues[-1].real), 0.0)
        return None

    @property
    def coercive(self) -> bool:
        """Whether the symmetric part of F is proven to be positive definite."""
        return self.coercivity.low > 0

    @property
    def sigma_min(self) -> float:
        """Smallest singular value of A."""
        return self._sigma.least

    @property
    def sigma_max(self) -> float:
        """Largest singular value of A."""
        return self._sigma.largest

    @property
    def sigma_low(self) -> float:
        """Certified lower bound of σ_min: the sharpest one at hand, or else the cheapest."""
        if self.coercive and "_sigma" not in self.__dict__:
            return self.coercivity.low
        return max(self._sigma.low, self.coercivity.low)

    @property
    def sharp_sigma_low(self) -> float:
        """Certified lower bound of σ_min that is sharp, up to `SHARP` units."""
        return max(self._sigma.low, self.coercivity.low) if len(self.flow) <= SHARP else self.sigma_low

    @cached_property
    def size_bound(self) -> float:
        """Upper bound of σ_max, ‖A‖_F; σ_max itself where it is known in closed form."""
        return self.sigma_max if self.closed is not None else frobenius(self.flow)

    @property
    def condition(self) -> float:
        """Condition σ_max/σ_min of A."""
        return self.sigma_max / self.sigma_min if self.sigma_min > 0 else math.inf

    @property
    def condition_bound(self) -> float:
        """Upper bound of the condition of A, or the condition where that is as cheap."""
        return self.size_bound / self.coercivity.low if self.coercive else self.condition

    @property
    def decays(self) -> bool:
        """Whether every mode decays."""
        return self.coercive or self.margin > 0

    @property
    def calm(self) -> bool:
        """Whether ‖z − z*‖ is proven never to grow."""
        return self.coercive or (self.symmetric and self.margin > 0)

    @cached_property
    def eigenvalues(self) -> Complexes:
        """Eigenvalues of F, smallest real part first."""
        with one_thread(len(self.flow)):
            if self.known is not None:
                values = self.known
            elif self.symmetric:
                values = self._symmetric_eigenvalues.astype(np.complex128)
            else:
                values = scipy.linalg.eigvals(self.flow)
        return read_only(values[np.lexsort((values.imag, values.real))])

    @property
    def margin(self) -> float:
        """Stability margin min Re λ(F), per τ."""
        return float(self.eigenvalues[0].real)

    @property
    def slowest(self) -> complex:
        """Eigenvalue with the smallest real part."""
        return complex(self.eigenvalues[0])

    @property
    def fastest(self) -> complex:
        """Eigenvalue of the largest modulus."""
        return complex(self.eigenvalues[np.argmax(np.abs(self.eigenvalues))])

    @cached_property
    def symmetric(self) -> bool:
        """Whether F equals its transpose, to the bit."""
        F = self.flow  # most that are not symmetric show it in their first row
        return bool((F[0] == F[:, 0]).all() and (F == F.T).all())

    @cached_property
    def numerical_margin(self) -> float:
        """Lower bound λ_min((F + Fᵀ)/2) of the margin: if positive, ‖z − z*‖ never grows."""
        with one_thread(len(self.flow)):
            values = scipy.linalg.eigvalsh((self.flow + self.flow.T) / 2)
        return float(values[0] - len(values) * EPS * np.abs(values).max())

    @cached_property
    def ellipse(self) -> Ellipse:
        """Ellipse around the eigenvalues, or the field of values, with the fastest Chebyshev schedule."""
        if self.enclosure is not None:
            return self.enclosure.ellipse
        return enclosing_ellipse(self.eigenvalues)

    def mode(self, eigenvalue: complex) -> Floats:
        """Return the weight |v_i| of each entry of the state in a mode, ‖v‖ = 1, by inverse iteration.

        The shift misses the eigenvalue by √ε σ_max: near enough to converge in two solves, far enough to solve.
        Far from normal, solves leave the range of floats; there the vector that F − λI shrinks most is taken.
        """
        size, scale = len(self.flow), float(np.abs(self.flow).max())
        value = eigenvalue / scale
        F = (self.flow / scale).astype(np.complex128)
        factors, pivots, _ = scipy.linalg.lapack.zgetrf(
            F - (value + math.sqrt(EPS) * max(abs(value), 1)) * np.eye(size)
        )
        v = np.random.default_rng(0).standard_normal(size).astype(np.complex128)
        for _ in range(3):
            v = scipy.linalg.lapack.zgetrs(factors, pivots, v)[0]
            largest = float(np.abs(v).max())
            if not 0 < largest < math.inf:
                return np.asarray(np.abs(np.linalg.svd(F - value * np.eye(size))[2][-1]))
            v = v / largest
        return np.asarray(np.abs(v) / np.linalg.norm(v))


def two_population_spectrum(weights: Spectrum, A: Floats, rate: float) -> Spectrum:
    """Return the facts of A = [[0, −Rᵀ], [R, I]], κ = (1, k), from those of R.

    ::

        λ² − kλ + kσ² = 0        (the second root as kσ²/λ₁: no cancellation)

    In the singular bases of R, A falls into blocks B(σ) = [[0, −σ], [σ, 1]]. Up to signs B and B⁻¹ are non-negative,
    so ‖B(σ)‖ grows and ‖B(σ)⁻¹‖ falls with σ: the extreme blocks hold the extreme singular values of A.
    """
    sigma = scipy.linalg.svdvals(weights.flow)
    root = np.sqrt((rate**2 - 4 * rate * sigma**2).astype(np.complex128))
    first = (rate + root) / 2
    known = np.concatenate([first, rate * sigma**2 / first])
    kappa = np.repeat([1.0, rate], len(sigma))
    low = _least(weights.sharp_sigma_low) * (1 - 8 * EPS) if weights.sharp_sigma_low > 0 else 0.0
    largest = float(np.linalg.norm([[0, -weights.sigma_max], [weights.sigma_max, 1]], 2))
    return Spectrum(kappa[:, None] * A, Sigma(_least(weights.sigma_min), largest, low), known)


def _least(sigma: float) -> float:
    """Smallest singular value of B(σ), as 1/‖B⁻¹‖ with B⁻¹ = [[1/σ², 1/σ], [−1/σ, 0]]."""
    inverse = np.array([[1 / sigma, 1.0], [-1.0, 0.0]]) / sigma
    return float(1 / np.linalg.norm(inverse, 2))
