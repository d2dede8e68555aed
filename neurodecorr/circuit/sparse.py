"""Sparse circuits: each unit hears a few others, and settling costs passes over the synapses.

Nothing here is quadratic in the number of units: not the matrix, not the spectrum bounds, not the certificate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from neurodecorr._checks import choice, count, finite, fraction, positive, sample_or_samples
from neurodecorr._threads import one_thread
from neurodecorr.circuit.chebyshev import schedule_time
from neurodecorr.circuit.csr import Goals, march_sparse, sparse_residual
from neurodecorr.circuit.ellipse import Ellipse, enclosing_ellipse
from neurodecorr.circuit.kernels import DIVERGED, MET, RUNNING
from neurodecorr.circuit.krylov import Counted, krylov
from neurodecorr.circuit.probe import (
    SigmaBound,
    dominance_bound,
    extreme_ritz_values,
    probe_bound,
    rows_of,
    symmetric_part,
)
from neurodecorr.circuit.settling import Settled
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.errors import InputError, StabilityError

__all__ = ["SparseCircuit", "settle_sparse", "sigma_bound"]

Floats = npt.NDArray[np.floating[Any]]

EPS = float(np.finfo(np.float64).eps)
METHODS = ("auto", "chebyshev", "bicgstab", "gmres")
# Up to this size all singular values cost less than guesses.
LARGEST_EXACT = 400
# Ritz values lie inside the spectrum; the interval of a schedule gets this much room on either side.
SLACK = 0.05
# A residual that has grown this far will not come back.
LARGEST_GROWTH = 1e6
MAX_STEPS = 20_000


@dataclass(frozen=True, eq=False, repr=False)
class SparseCircuit:
    """Recurrent decorrelating circuit of n units with few synapses each.

    ::

        τ dx̄/dt = x − R x̄,        x̄* = R⁻¹ x,    R_ij = 0 where there is no synapse

    Parameters
    ----------
    R : (n, n) scipy.sparse array or matrix
        Lateral weights, R[i, j] from unit j to unit i, in any sparse format. Copied to CSR; float32 stays float32.
        Entries that are stored and zero are synapses of weight 0.
    tau : float, default 1.0
        Time constant τ > 0; its unit is the unit of every time that you pass or get.

    Raises
    ------
    InputError
        If R is dense, not square, not finite, or a unit has no synapses at all.
    ConfigError
        If τ ≤ 0.

    Examples
    --------
    >>> import scipy.sparse
    >>> from neurodecorr.circuit import SparseCircuit, settle_sparse
    >>> circuit = SparseCircuit(scipy.sparse.csr_array([[2.0, 1.0], [1.0, 2.0]]))
    >>> circuit
    SparseCircuit(n=2, synapses=4, tau=1.0)
    >>> settle_sparse(circuit, [3.0, 3.0]).xbar.round(6)
    array([1., 1.])

    References
    ----------
    "Correlations are ruining your gradient descent", §3.2 and Appendix D.
    """

    R: Any
    tau: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "R", _weights(self.R))
        object.__setattr__(self, "tau", positive(self.tau, "tau"))

    @property
    def size(self) -> int:
        """Number of units, n."""
        return int(self.R.shape[0])

    @property
    def synapses(self) -> int:
        """Number of synapses, self-synapses included."""
        return int(self.R.nnz)

    @cached_property
    def sigma(self) -> SigmaBound:
        """Lower bound of σ_min(R), computed once by `sigma_bound`."""
        return sigma_bound(self)

    @cached_property
    def ellipse(self) -> Ellipse:
        """Ellipse around the numerical range of R, for Chebyshev schedules; from Lanczos estimates, with room."""
        low, high = self._ritz
        if low <= 0:
            raise StabilityError(
                f"a Chebyshev schedule needs a positive definite symmetric part; its least eigenvalue is about "
                f"{low:.3g}, at or below 0. Use method='bicgstab', or check the circuit with stability()."
            )
        room = SLACK * (high - low)
        low, high, turn = low * (1 - SLACK), high + room, self._turn
        return enclosing_ellipse(np.array([low, high, low + 1j * turn, high + 1j * turn]) if turn else _two(low, high))

    @cached_property
    def _ritz(self) -> tuple[float, float]:
        """Estimates of the extreme eigenvalues of the symmetric part, computed once."""
        return extreme_ritz_values(symmetric_part(self.R))

    @cached_property
    def _turn(self) -> float:
        """Largest |Im| of the numerical range: the norm of (R − Rᵀ)/2, estimated; 0 for a symmetric R."""
        wide = self.R.astype(np.float64)
        skew = scipy.sparse.csr_array((wide - wide.T) * 0.5)
        skew.eliminate_zeros()
        if not skew.nnz:
            return 0.0
        v = np.random.default_rng(0).standard_normal(self.size)
        for _ in range(20):
            v = skew @ (v / np.linalg.norm(v))
        return float(np.linalg.norm(v)) * (1 + SLACK)

    def __repr__(self) -> str:
        return f"SparseCircuit(n={self.size}, synapses={self.synapses}, tau={self.tau})"


def sigma_bound(circuit: SparseCircuit, seed: int = 0, failure: float = 1e-12) -> SigmaBound:
    """Bound σ_min(R) from below without dense algebra.

    ::

        σ_min(R) ≥ √(α β)    and    σ_min(R) ≥ λ_min((R + Rᵀ)/2)

    Up to 400 units by all singular values; beyond, the better of a proof by diagonal dominance and, where R is far from
    dominant, one by random vectors, which fails with probability ≤ 1e-12.

    Parameters
    ----------
    circuit : SparseCircuit
        The circuit.
    seed : int, default 0
        Chooses the random vectors.
    failure : float, default 1e-12
        Probability of a wrong bound that is tolerated; below 1e-12, only deterministic proofs are tried.

    Returns
    -------
    SigmaBound
        The bound, what it rests on, and its price.

    Examples
    --------
    >>> import scipy.sparse
    >>> from neurodecorr.circuit import SparseCircuit, grid_neighbours, sigma_bound
    >>> R = 6 * scipy.sparse.eye_array(900) - grid_neighbours((30, 30), 4)
    >>> bound = sigma_bound(SparseCircuit(R))
    >>> round(bound.low, 9), bound.failure
    (1.0, 0.0)

    References
    ----------
    Varah 1975, Linear Algebra Appl. 11, 3; Kuczyński and Woźniakowski 1992, SIAM J. Matrix Anal. 13, 1094.
    """
    fraction(failure, "failure")
    if circuit.size <= LARGEST_EXACT:
        exact = Spectrum.of(circuit.R.toarray().astype(np.float64))
        return SigmaBound(max(exact.sigma_low, 0.0), "exact", 0.0, exact.sigma_min, 0)
    with one_thread(0):  # vectors are too short for BLAS threads, which would spin between the passes
        return _bound(circuit, seed, failure)


def _bound(circuit: SparseCircuit, seed: int, failure: float) -> SigmaBound:
    H = symmetric_part(circuit.R)
    low, kind = dominance_bound(circuit.R, H)
    estimate, top = circuit._ritz
    products = min(circuit.size, 80)
    if low >= 0.8 * estimate or estimate <= 0 or failure < 1e-12:
        return SigmaBound(low, kind, 0.0, estimate, products)
    probed, risk, used = probe_bound(H, 0.95 * estimate, top + 0.01 * (top - estimate), seed)
    if probed > low:
        return SigmaBound(probed, "probe", risk, estimate, products + used)
    return SigmaBound(low, kind, 0.0, estimate, products + used)


def settle_sparse(
    circuit: SparseCircuit,
    X: npt.ArrayLike,
    tol: float = 1e-6,
    *,
    relative: bool = False,
    method: str = "auto",
    initial: npt.ArrayLike | None = None,
    max_steps: int | None = None,
) -> Settled:
    """Run a sparse circuit on each input until its distance to rest is certified.

    ::

        ‖x̄ − x̄*‖ ≤ (‖x − R x̄‖ + rounding)/σ,    σ ≤ σ_min(R) from `sigma_bound`

    Each sample stops by itself. Where no bound of σ_min is found the residual alone is brought below `tol` times the
    estimate of σ_min, or times max |R_ii| if there is none, and the outcome says ``"uncertified"``, the bound infinite.

    Parameters
    ----------
    circuit : SparseCircuit
        The circuit.
    X : (samples, n) or (n,) array
        Inputs, constant in time.
    tol : float, default 1e-6
        Largest ‖x̄ − x̄*‖, in the unit of x̄.
    relative : bool, default False
        Whether `tol` is a share of ‖x̄*‖.
    method : str, default "auto"
        ``"chebyshev"``: Euler with Chebyshev-scheduled steps, one product each. ``"bicgstab"``, ``"gmres"``: Krylov
        solvers, no dynamics. ``"auto"``: Chebyshev, and BiCGStab, then GMRES, for samples that it leaves.
    initial : (samples, n) or (n,) array, optional
        Activity at the start; zero by default. The last sample's rest is a good start for a slow input.
    max_steps : int, optional
        Largest number of products per sample and method; 20 000 by default.

    Returns
    -------
    Settled
        As `settle` returns; the outcome may be ``"uncertified"``.

    Raises
    ------
    StabilityError
        If Chebyshev steps are asked for and the symmetric part of R is not positive definite.
    InputError, ConfigError
        If an input or an option cannot be used.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> from neurodecorr.circuit import SparseCircuit, grid_neighbours, settle_sparse
    >>> circuit = SparseCircuit(6 * scipy.sparse.eye_array(900) - grid_neighbours((30, 30), 4))
    >>> rest = settle_sparse(circuit, np.ones(900), tol=1e-9)
    >>> str(rest.outcome), bool(rest.bound <= 1e-9)
    ('settled', True)
    """
    if not isinstance(circuit, SparseCircuit):
        raise InputError(f"circuit must be a SparseCircuit; got {type(circuit).__name__}. Use settle() for dense ones.")
    method = choice(method, "method", METHODS)
    drives, single = sample_or_samples(X, "X", circuit.size)
    U = np.ascontiguousarray(drives, np.float64)
    Z = _start(initial, U)
    most = MAX_STEPS if max_steps is None else count(max_steps, "max_steps")
    tol = positive(tol, "tol", "unit of the activity")
    with one_thread(0):
        rest = _settle(circuit, U, Z, tol, relative, method, most)
    return rest.sample(0) if single else rest


def _settle(
    circuit: SparseCircuit, U: Floats, Z: Floats, tol: float, relative: bool, method: str, most: int
) -> Settled:
    """Settle each row of Z in place, and certify it."""
    sigma = circuit.sigma.low or max(circuit.sigma.estimate, 0.0) or float(np.abs(circuit.R.diagonal()).max())
    if not sigma > 0:
        raise InputError("R must have a diagonal that is not zero, or a least singular value that can be bounded.")
    found = [_settle_one(circuit, u, z, tol, relative, sigma, method, most) for u, z in zip(U, Z, strict=True)]
    steps, products, time, code = (np.array(column) for column in zip(*found, strict=True))
    residual, bound = _certified(circuit, U, Z)
    allowed = tol * (np.linalg.norm(Z, axis=1) - bound) if relative else np.full(len(Z), tol)
    outcome = np.full(len(Z), "precision", "<U11")
    outcome[code == RUNNING] = "steps"
    if circuit.sigma.low <= 0:
        outcome[:] = "uncertified"
    outcome[bound <= allowed] = "settled"
    used = "chebyshev" if method == "auto" and not np.isnan(time).any() else method
    return Settled(Z, residual, bound, steps, products, time, outcome, used)


def _settle_one(
    circuit: SparseCircuit, u: Floats, z: Floats, tol: float, relative: bool, sigma: float, method: str, most: int
) -> tuple[int, int, float, int]:
    """Settle one sample in place; return steps, products, time and code."""
    goal = _goal(circuit, u, z, tol, relative, sigma, most)
    used = 0
    if method == "chebyshev" or (method == "auto" and _has_schedule(circuit)):
        begin = z.copy()
        ellipse = circuit.ellipse
        steps, code = march_sparse(rows_of(circuit.R), u, z, ellipse.centre, ellipse.focus, goal)
        if code == MET or method == "chebyshev":
            return steps, steps + 1, float(schedule_time(ellipse, steps)), code
        used = steps + 1
        if code == DIVERGED or not np.isfinite(z).all():
            z[:] = begin
    for solver in ("bicgstab", "gmres") if method == "auto" else (method,):
        counted = Counted(circuit.R)
        # Krylov solvers stop on their own recursion; a tenth keeps the true residual below the goal.
        size = goal.absolute + goal.relative * float(np.linalg.norm(z))
        aim = 0.1 * (size or tol * sigma * float(np.linalg.norm(u)) / max(abs(circuit.R).sum(axis=1).max(), EPS))
        solved = krylov(solver, counted, u, z, aim, most)
        used += counted.products
        z[:] = solved
        gap = float(np.linalg.norm(u - circuit.R @ z))
        if gap <= goal.absolute + goal.relative * float(np.linalg.norm(z)):
            return 0, used, math.nan, MET
    return 0, used, math.nan, RUNNING


def _goal(circuit: SparseCircuit, u: Floats, z: Floats, tol: float, relative: bool, sigma: float, most: int) -> Goals:
    """Return the residual to reach: with its rounding the certificate must still hold."""
    share = sigma * tol / (1 + tol) * (1 - 1e-6)
    noise = 4 * (np.diff(circuit.R.indptr).max() + 2) * EPS * float(np.linalg.norm(u))
    start = float(np.linalg.norm(u - circuit.R @ z)) / max(float(np.linalg.norm(u)), np.finfo(float).tiny)
    growth = LARGEST_GROWTH * max(1.0, start)
    if relative:
        return Goals(0.0, share, growth, most)
    return Goals(max(sigma * tol * (1 - 1e-6) - noise, sigma * tol / 2), 0.0, growth, most)


def _has_schedule(circuit: SparseCircuit) -> bool:
    try:
        return circuit.ellipse.factor < 1 - 1e-6
    except StabilityError:
        return False


def _certified(circuit: SparseCircuit, U: Floats, Z: Floats) -> tuple[Floats, Floats]:
    """Return residual and certified bound per row, the rounding of the residual included."""
    gap, noise = np.empty(circuit.size), np.empty(circuit.size)
    residual, total = np.empty(len(U)), np.empty(len(U))
    for row, (u, z) in enumerate(zip(U, Z, strict=True)):
        sparse_residual(rows_of(circuit.R), u, z, gap, noise)
        residual[row] = np.linalg.norm(gap)
        total[row] = (residual[row] + np.linalg.norm(noise)) * (1 + (circuit.size + 10) * EPS)
    low = circuit.sigma.low
    return residual, total / low if low > 0 else np.full(len(U), math.inf)


def _start(initial: npt.ArrayLike | None, U: Floats) -> Floats:
    if initial is None:
        return np.zeros_like(U)
    given, _ = sample_or_samples(initial, "initial", U.shape[1])
    if len(given) not in (1, len(U)):
        raise InputError(f"initial must have one row, or one per sample ({len(U)}); got {len(given)}.")
    return np.array(np.broadcast_to(given, U.shape), np.float64)


def _weights(R: Any) -> Any:
    """Return an own, sorted, read-only CSR copy of R."""
    if not scipy.sparse.issparse(R):
        raise InputError(f"R must be sparse; got {type(R).__name__}. Use scipy.sparse.csr_array(R), or Circuit(R).")
    if R.ndim != 2 or R.shape[0] != R.shape[1] or R.shape[0] == 0:
        raise InputError(f"R must be a square matrix, (n, n); got shape {R.shape}.")
    if R.dtype.kind not in "fiub":
        raise InputError(f"R must hold real numbers; got data of type {R.dtype}.")
    own = scipy.sparse.csr_array(R, dtype=np.float32 if R.dtype == np.float32 else np.float64, copy=True)
    own.sum_duplicates()
    finite(own.data, "the weights of R")
    lonely = np.flatnonzero(np.diff(own.indptr) == 0)
    if lonely.size:
        raise InputError(f"each unit of R must have a synapse; unit {lonely[0]} has none ({lonely.size} such in all).")
    for array in (own.data, own.indices, own.indptr):
        array.setflags(write=False)
    return own


def _two(low: float, high: float) -> npt.NDArray[Any]:
    return np.array([low, high], np.complex128)
