"""Lower bounds of σ_min(R) at the price of passes over the synapses, for the certificate of sparse circuits.

Two proofs need no luck::

    dominance        σ_min(R) ≥ √(α β),    α, β = min_i (|R_ii| − ∑_{j≠i} |R_ij|) by rows, by columns
    symmetric part   σ_min(R) ≥ λ_min(H) ≥ min_i (H_ii − ∑_{j≠i} |H_ij|),    H = (R + Rᵀ)/2

The third holds but for a stated probability: a random vector that T_m does not blow up has, almost surely, met no
eigenvalue far below the interval of T_m.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse

from neurodecorr._numerics.norms import EPS
from neurodecorr._numerics.simd import read_only
from neurodecorr._numerics.sparse import Rows, row_cuts, sparse_product
from neurodecorr._typing import Complexes, Floats


@dataclass(frozen=True)
class Ellipse:
    """Ellipse with foci d ± c on the positive real axis, and the convergence it allows.

    ::

        P_m(λ) = T_m((d − λ)/c) / T_m(d/c),    P_m(0) = 1,    |P_m| ~ ϱ^m on the ellipse

    Parameters
    ----------
    centre : float
        Centre d > 0.
    focus : float
        Distance c of the foci from the centre, 0 ≤ c < d. A circle has c = 0.
    factor : float
        Asymptotic shrinkage ϱ of the error per step.

    References
    ----------
    Manteuffel (1977), Numerische Mathematik 28, 307–327.
    """

    centre: float
    focus: float
    factor: float

    def steps(self, reduction: float) -> int:
        """Return the least m with 1/T_m(d/c) ≤ 1/`reduction` on a real interval, ϱ^m ≤ 1/(2 `reduction`) beyond."""
        wanted = math.log(min(reduction, sys.float_info.max)) if reduction > 1 else 0.0
        return math.ceil((math.log(2) + wanted) / -math.log(self.factor))


def recurrence(ellipse: Ellipse, most: int) -> Floats:
    """Return (α_k, ω_k) of the three-term recurrence, k = 0 … , until they no longer change or number `most`.

    ::

        p_k = α_k r_k + ω_k p_{k−1},    z_{k+1} = z_k + p_k,
        α_k = 1/(d − cρ_{k−1}/2),    ρ_k = cα_k/2,    ω_k = ρ_k ρ_{k−1};    α_0 = 1/d,  ρ_0 = c/d,  ω_0 = 0

    Reference: Golub & Varga (1961), Numerische Mathematik 3, 147–156.
    """
    d, c = ellipse.centre, ellipse.focus
    rho, rows = c / d, [(1 / d, 0.0)]
    while len(rows) < most:
        alpha = 1 / (d - c / 2 * rho)
        row = (alpha, c * alpha / 2 * rho)
        rho = c * alpha / 2
        if row == rows[-1]:
            break
        rows.append(row)
    return np.array(rows)


def enclosing_ellipse(eigenvalues: Complexes) -> Ellipse:
    """Return the ellipse with real foci whose Chebyshev polynomials shrink all these modes fastest.

    Real spectra: the foci are the extreme eigenvalues, exactly. Complex ones: the two numbers d, c are found by
    minimising the largest factor, which has a single minimum (Manteuffel 1977, Numer. Math. 28, 307).

    Parameters
    ----------
    eigenvalues : (N,) array
        Eigenvalues of the dynamics, all with positive real part.

    References
    ----------
    Manteuffel (1977), Numerische Mathematik 28, 307–327.
    """
    low, high = float(eigenvalues.real.min()), float(eigenvalues.real.max())
    if not eigenvalues.imag.any():
        return _ellipse(eigenvalues, (low + high) / 2, (high - low) / 2)
    from scipy.optimize import minimize  # takes a tenth of a second to load, and few circuits need it

    corners = eigenvalues[eigenvalues.imag >= 0]
    best = minimize(
        lambda p: _factor(corners, math.exp(p[0]), math.exp(p[0]) * _share(p[1])),
        _start(corners),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-6, "maxiter": 400},
    )
    centre = math.exp(best.x[0])
    return _ellipse(eigenvalues, centre, centre * _share(best.x[1]))


def _ellipse(eigenvalues: Complexes, centre: float, focus: float) -> Ellipse:
    """Return the ellipse through the outermost eigenvalue, with its shrinkage per step."""
    # A single real eigenvalue is met in one step, ϱ = 0; one near the imaginary axis hardly ever, ϱ = 1 − rounding.
    limits = np.finfo(np.float64)
    factor = min(max(_factor(eigenvalues, centre, focus), float(limits.tiny)), 1 - float(limits.eps))
    return Ellipse(centre, focus, factor)


def _factor(eigenvalues: Complexes, centre: float, focus: float) -> float:
    """Return max |w + √(w² − c²)| / (d + √(d² − c²)), w = d − λ, with the root that lies outside."""
    w = centre - eigenvalues
    root = np.sqrt(w * w - focus**2 + 0j)
    outside = np.maximum(np.abs(w + root), np.abs(w - root)).max()
    return float(outside / (centre + math.sqrt(max(centre**2 - focus**2, 0.0))))


def _start(corners: Complexes) -> tuple[float, float]:
    """Start from a circle through the widest modes, or from the real extent where the spectrum is flat."""
    low, high = corners.real.min(), corners.real.max()
    centre = max((low + high) / 2, float((np.abs(corners) ** 2 / (2 * corners.real)).max()) * 1.01)
    focus = math.sqrt(max((high - low) ** 2 / 4 - corners.imag.max() ** 2, 0.0))
    return math.log(centre), math.asin(math.sqrt(min(focus / centre, 0.999)))


def _share(angle: float) -> float:
    """Map any number to [0, 1): the ratio c/d."""
    return min(math.sin(angle) ** 2, 1 - 1e-12)


# A Ritz value is good enough once its residual is this share of it: a proof and a schedule forgive a tenth.
SHARP = 0.1
MOST_STEPS = 150
CHECK_EVERY = 4
# If the smallest one is not good by then, a factorisation finds it sooner.
FEW_STEPS = 24
# Up to this many units two Cholesky factors take less than Lanczos steps, each of which costs a call or two.
BY_FACTOR = 256
# Solves with a Cholesky factor from a random start: the estimate of λ_min is then good to some ten per cent.
INVERSE_STEPS = 3
# The largest eigenvalues lie a little beyond the Ritz values; Chebyshev polynomials forgive that much.
ENCLOSURE_MARGIN = 1.02
# Shares of the estimate of λ_min that are tried as proven bounds.
SHARES = (0.9, 0.75, 0.5, 0.25, 0.1, 0.03)


class Coercivity(NamedTuple):
    """What a look at H = (F + Fᵀ)/2 tells of F.

    Parameters
    ----------
    low : float
        Proven lower bound of λ_min(H), so of every Re λ(F) and of σ_min(F); 0 where none was found.
    high : float
        Estimate of λ_max(H); NaN where none was needed.
    factor : (N, N) array, optional
        Cholesky factor of H, where one was made.

    References
    ----------
    Horn & Johnson (1991), Topics in Matrix Analysis, §1 (field of values).
    """

    low: float
    high: float
    factor: Floats | None


@dataclass(frozen=True)
class Enclosure:
    """Rectangle [low, high] ± i·skew around the field of values of F.

    Parameters
    ----------
    low : float
        Proven lower bound, > 0, of λ_min((F + Fᵀ)/2), so of every Re λ and of σ_min.
    high : float
        Estimate of λ_max((F + Fᵀ)/2).
    skew : float
        Estimate of ‖(F − Fᵀ)/2‖; zero for a symmetric F.

    References
    ----------
    Horn & Johnson (1991), Topics in Matrix Analysis, §1 (field of values).
    """

    low: float
    high: float
    skew: float

    @property
    def ellipse(self) -> Ellipse:
        """Ellipse through the extremes of the rectangle, with a fast Chebyshev schedule.

        ::

            a, b = (high − low)/2, skew:    c² = a² − b²,    ϱ = (a + b)/(d + √(d² − c²)),    d = (high + low)/2

        The field of values touches the sides of the rectangle and avoids its corners, as an ellipse does. One that is
        higher than wide has no real foci; there the circle is taken whose centre shrinks all four extremes most.
        """
        d, a, b = (self.low + self.high) / 2, (self.high - self.low) / 2, self.skew
        if b <= a:
            c = math.sqrt((a - b) * (a + b))
            return _ellipse(np.array([self.low, self.high, d + 1j * b]), d, c)
        # Of circles through d ± ib the one around d + b²/d has the least radius per distance of its centre from zero.
        return _ellipse(np.array([self.low, self.high, d + 1j * b]), d + b * b / d, 0.0)


NOT_COERCIVE = Coercivity(0.0, math.nan, None)


def coercivity(F: Floats, symmetric: bool, size: float) -> Coercivity:
    """Bound the eigenvalues of the symmetric part of F, of Frobenius norm `size`, from below by a proof.

    ::

        λ_min(H) ≥ s  ⇐  H − sI has a Cholesky factor,    H = (F + Fᵀ)/2

    s is a share of an estimate: by inverse iteration of few units, by Lanczos steps of many.

    Reference: Rump (2006), BIT Numerical Mathematics 46, 433–452.
    """
    H = symmetric_half(F, symmetric)
    if len(H) > BY_FACTOR:
        found = _extremes(lambda v: H @ v, len(H), FEW_STEPS)
        if found.sharp or not found.smallest > 0:
            return Coercivity(_proven(H, found.smallest, size), found.largest, None)
        high = found.largest
    else:
        high = math.nan
    factor, failed = scipy.linalg.lapack.dpotrf(H.T, lower=1, clean=0)
    return NOT_COERCIVE if failed else Coercivity(_proven(H, _smallest(factor), size), high, factor)


def symmetric_half(F: Floats, symmetric: bool) -> Floats:
    """Return H = (F + Fᵀ)/2, F itself if it is symmetric."""
    return F if symmetric else (F + F.T) * 0.5


def enclosure(F: Floats, symmetric: bool, found: Coercivity) -> Enclosure | None:
    """Enclose the field of values of F; None where its symmetric part is not safely positive definite."""
    if not found.low > 0:
        return None
    high, skew = found.high, 0.0
    if math.isnan(high):
        high = _extremes(lambda v: (F @ v + v @ F) / 2, len(F), 0).largest
    if not symmetric:
        K = (F - F.T) * 0.5
        skew = math.sqrt(max(_extremes(lambda v: -(K @ (K @ v)), len(F), 0).largest, 0.0))
    return Enclosure(found.low, max(high * ENCLOSURE_MARGIN, found.low), skew * ENCLOSURE_MARGIN)


@cache
def _start_vector(size: int) -> Floats:
    """Return a random vector, always the same: a vector of ones is orthogonal to the slowest mode of a ring."""
    return read_only(np.random.default_rng(0).standard_normal(size))


def _smallest(factor: Floats) -> float:
    """Estimate λ_min(H) from above by solves with the Cholesky factor of H.

    ::

        v ← H⁻¹v/‖v‖,    λ_min ≈ 1/‖v‖
    """
    v, size = _start_vector(len(factor)), 1.0
    for _ in range(INVERSE_STEPS):
        v = scipy.linalg.lapack.dpotrs(factor, v, lower=1)[0]
        size = math.sqrt(v @ v)
        v = v / size
    return 1 / size


def _proven(H: Floats, smallest: float, norm: float) -> float:
    """Return a proven lower bound of λ_min(H), near its estimate, or 0: H − sI has a Cholesky factor.

    One that runs to its end in floating point proves λ_min > −γ_{n+1} tr/(1 − γ_{n+1}) (Rump 2006, BIT 46, 433). The
    room is four times that, for the order of LAPACK's sums and its reciprocals, and for the rounding of H and of s;
    `norm` ≥ ‖H‖_F.
    """
    if not smallest > 0:
        return 0.0
    size = len(H)
    slack = 4 * EPS * ((size + 10) * float(np.add.reduce(H.diagonal())) + norm)
    for share in SHARES:
        shifted = H.T.copy(order="F")
        shifted.ravel(order="K")[:: size + 1] -= share * smallest
        if scipy.linalg.lapack.dpotrf(shifted, lower=1, overwrite_a=1, clean=0)[1] == 0:
            return max(share * smallest - slack, 0.0)
    return 0.0


class _Extremes(NamedTuple):
    """Extreme Ritz values, and whether the smallest is a good one; the largest is."""

    smallest: float
    largest: float
    sharp: bool


def _extremes(product: Callable[[Floats], Floats], size: int, few: int) -> _Extremes:
    """Return the extreme Ritz values of a symmetric operator, by Lanczos steps with full reorthogonalisation.

    After `few` steps the smallest is given up.
    """
    most = min(MOST_STEPS, size)
    V, alpha, beta = np.zeros((most + 1, size)), np.zeros(most), np.zeros(most)
    v = np.random.default_rng(0).standard_normal(size)
    V[0] = v / np.linalg.norm(v)
    values, residual, sharp = np.zeros(1), np.zeros(2), np.zeros(2, bool)
    for k in range(most):
        w = product(V[k])
        alpha[k] = w @ V[k]
        for _ in range(2):
            w = w - V[: k + 1].T @ (V[: k + 1] @ w)
        beta[k] = np.linalg.norm(w)
        exhausted = beta[k] <= EPS * size * np.abs(alpha[: k + 1]).max()
        if exhausted or k == most - 1 or k % CHECK_EVERY == CHECK_EVERY - 1:
            values, vectors = scipy.linalg.eigh_tridiagonal(alpha[: k + 1], beta[:k])
            residual = beta[k] * np.abs(vectors[-1, [0, -1]])
            sharp = exhausted | (residual <= SHARP * np.abs(values[[0, -1]]))
            if sharp[1] and (sharp[0] or k >= few):
                break
        V[k + 1] = w / beta[k]
    # There is an eigenvalue within the residual of a Ritz value; Chebyshev polynomials grow fast beyond their interval.
    return _Extremes(float(values[0]), float(values[-1] + residual[1]), bool(sharp[0]))


# Probes miss the least eigenvector with this probability each; two independent ones with its square.
MISS, PROBES = 1e-6, 2
LANCZOS_STEPS = 80
# Steps from one look to the next at whether a proven bound suffices; after so many the largest Ritz value is good, too.
ENOUGH_STEPS = 24
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
    """Return the better of the two bounds by dominance, 0 if there is none, and its kind.

    Reference: Varah (1975), Linear Algebra and its Applications 11, 3–5.
    """
    gaps = [least_gap(R, axis) for axis in (0, 1)]
    varah = math.sqrt(gaps[0] * gaps[1]) * (1 - 4 * EPS) if min(gaps) > 0 else 0.0
    discs = least_gap(H, 1, signed=True)
    if max(varah, discs) <= 0:
        return 0.0, "none"
    return (varah, "dominance") if varah >= discs else (discs, "gershgorin")


def least_gap(A: Any, axis: int, signed: bool = False) -> float:
    """Return min_i (|A_ii| − ∑_{j≠i} |A_ij|) along an axis, its rounding subtracted; A_ii itself if `signed`.

    Reference: Varah (1975), Linear Algebra and its Applications 11, 3–5.
    """
    diagonal = A.diagonal().astype(np.float64)
    size = np.abs(diagonal)
    total = np.asarray(abs(A.astype(np.float64)).sum(axis=axis)).ravel()
    longest = int(np.bincount(A.indices, minlength=A.shape[0]).max() if axis == 0 else np.diff(A.indptr).max())
    rounding = (longest + 4) * EPS * total
    return float(((diagonal if signed else size) - (total - size) - rounding).min())


class RitzValues(NamedTuple):
    """Estimates of λ_min from above and of λ_max from below, and how many products they took."""

    low: float
    high: float
    products: int


def extreme_ritz_values(H: Any, seed: int = 0, steps: int = LANCZOS_STEPS, proven: float = 0.0) -> RitzValues:
    """Estimate λ_min and λ_max of a symmetric matrix by Lanczos steps that keep three vectors.

    Without reorthogonalisation Ritz values come twice; the extreme ones are not harmed (Paige 1976). They end early
    once a `proven` lower bound of λ_min is good enough, which the least Ritz value shows: it only falls.

    Reference: Lanczos (1950), Journal of Research of the National Bureau of Standards 45, 255–282.
    """
    n, rows, cuts = H.shape[0], rows_of(H), row_cuts(H.indptr)
    v, before, w = _unit(n, np.random.default_rng(seed)), np.zeros(n), np.empty(n)
    alpha, beta = [], [0.0]
    last = min(steps, n)
    for step in range(1, last + 1):
        sparse_product(rows, v, w, cuts)
        alpha.append(float(v @ w))
        w -= alpha[-1] * v + beta[-1] * before
        size = float(np.linalg.norm(w))
        ended = step == last or not size > 1e-10 * abs(alpha[0])
        if ended or (proven > 0 and step % ENOUGH_STEPS == 0):
            values = scipy.linalg.eigvalsh_tridiagonal(np.array(alpha), np.array(beta[1:]))
            if ended or proven >= SHARE * values[0]:
                break
        beta.append(size)
        before, v = v, w / size
    return RitzValues(float(values[0]), float(values[-1]), len(alpha))


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
