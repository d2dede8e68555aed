"""Who is connected to whom: patterns of synapses for sparse circuits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats, Ints
from neurodecorr._validation import count, finite, flag, fraction, generator, instance, positive, sequence, whole_seed
from neurodecorr.circuit.bounds import (
    SHARE,
    Ellipse,
    RitzValues,
    SigmaBound,
    dominance_bound,
    enclosing_ellipse,
    extreme_ritz_values,
    probe_bound,
    recurrence,
    symmetric_part,
)
from neurodecorr.circuit.model import Factors, require_size
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.errors import ConfigError, InputError, StabilityError

# Up to this size all singular values cost less than guesses.
LARGEST_EXACT = 400
# Coefficients kept of a recurrence; long before, they no longer change.
LONGEST_SCHEDULE = 20_000
# Ritz values lie inside the spectrum; the interval of a schedule gets this much room on either side.
SLACK = 0.05


@short_repr
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
    >>> from neurodecorr.circuit.sparse_settling import settle_sparse
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
    def largest(self) -> float:
        """Upper bound of σ_max(R): the root of the largest row sum times the largest column sum of |R|."""
        size = abs(self.R.astype(np.float64))
        return float(np.sqrt(size.sum(axis=0).max() * size.sum(axis=1).max()))

    @cached_property
    def factors(self) -> Factors:
        """Dense factorisation of R, for few units; computed once."""
        return Factors(self.R.toarray().astype(np.float64), symmetric=False)

    @cached_property
    def ellipse(self) -> Ellipse:
        """Ellipse around the numerical range of R, for Chebyshev schedules; from Lanczos estimates, with room."""
        low, high, _ = self._ritz
        low = max(low * (1 - SLACK), self._discs)
        if low <= 0:
            raise StabilityError(
                f"a Chebyshev schedule needs a positive definite symmetric part; its least eigenvalue is about "
                f"{low:.3g}, at or below 0. Use method='bicgstab', or check the circuit with stability()."
            )
        room = SLACK * (high - low)
        high, turn = high + room, self._turn
        return enclosing_ellipse(np.array([low, high, low + 1j * turn, high + 1j * turn]) if turn else _two(low, high))

    @cached_property
    def schedule(self) -> Floats:
        """Coefficients of the Chebyshev recurrence on that ellipse, computed once."""
        return recurrence(self.ellipse, LONGEST_SCHEDULE)

    @cached_property
    def _dominance(self) -> tuple[float, str]:
        """Lower bound of σ_min by diagonal dominance, and its kind."""
        return dominance_bound(self.R, self._symmetric_part)

    @property
    def _discs(self) -> float:
        """Proven lower bound of λ_min((R + Rᵀ)/2) by Gershgorin's discs; 0 where the other bound is the better one."""
        low, kind = self._dominance
        return low if kind == "gershgorin" else 0.0

    @cached_property
    def _symmetric_part(self) -> Any:
        return symmetric_part(self.R)

    @cached_property
    def _ritz(self) -> RitzValues:
        """Estimates of the extreme eigenvalues of the symmetric part, as good as the bound by dominance asks."""
        return extreme_ritz_values(self._symmetric_part, proven=self._discs)

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

    >>> R = 6 * scipy.sparse.eye_array(900) - grid_neighbours((30, 30), 4)
    >>> bound = sigma_bound(SparseCircuit(R))
    >>> round(bound.low, 9), bound.failure
    (1.0, 0.0)

    References
    ----------
    Varah 1975, Linear Algebra Appl. 11, 3; Kuczyński and Woźniakowski 1992, SIAM J. Matrix Anal. 13, 1094.
    """
    instance(circuit, SparseCircuit, "circuit", advice="Dense circuits know their σ_min: stability(circuit).")
    fraction(failure, "failure")
    seed = whole_seed(seed)
    if circuit.size <= LARGEST_EXACT:
        exact = Spectrum(circuit.R.toarray().astype(np.float64))
        return SigmaBound(max(exact.sharp_sigma_low, 0.0), "exact", 0.0, exact.sigma_min, 0)
    with one_thread(0):  # vectors are too short for BLAS threads, which would spin between the passes
        return _bound(circuit, seed, failure)


def _bound(circuit: SparseCircuit, seed: int, failure: float) -> SigmaBound:
    H, (low, kind) = circuit._symmetric_part, circuit._dominance
    estimate, top, products = circuit._ritz
    if low >= SHARE * estimate or estimate <= 0 or failure < 1e-12:
        return SigmaBound(low, kind, 0.0, estimate, products)
    probed, risk, used = probe_bound(H, 0.95 * estimate, top + 0.01 * (top - estimate), seed)
    if probed > low:
        return SigmaBound(probed, "probe", risk, estimate, products + used)
    return SigmaBound(low, kind, 0.0, estimate, products + used)


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
    require_size(finite(own.data, "the weights of R"), own.dtype)
    lonely = np.flatnonzero(np.diff(own.indptr) == 0)
    if lonely.size:
        raise InputError(f"each unit of R must have a synapse; unit {lonely[0]} has none ({lonely.size} such in all).")
    for array in (own.data, own.indices, own.indptr):
        array.setflags(write=False)
    return own


def _two(low: float, high: float) -> npt.NDArray[Any]:
    return np.array([low, high], np.complex128)


def grid_neighbours(shape: tuple[int, int], k: int, *, torus: bool = False) -> Any:
    """Connect each unit of a grid to itself and to its k nearest neighbours.

    ::

        N(i) = {i + d : d among the k shortest offsets},    d ∈ N ⇔ −d ∈ N

    The same offsets serve every unit, so the pattern is symmetric. Away from a torus, units at the edge have fewer
    neighbours. Of equally long offsets the first in reading order, with its opposite, comes first.

    Parameters
    ----------
    shape : (rows, columns) of int
        The grid; unit i sits in row i // columns, column i % columns.
    k : int
        Number of neighbours besides the unit itself, 0 ≤ k < rows · columns.
    torus : bool, default False
        Whether opposite edges of the grid touch.

    Returns
    -------
    (n, n) scipy.sparse.csr_array
        1.0 where there is a synapse; indices sorted.

    Raises
    ------
    ConfigError
        If k exceeds the other units, or would take an offset without its opposite.

    Examples
    --------
    >>> grid_neighbours((1, 4), 2).toarray().astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 1, 0],
           [0, 1, 1, 1],
           [0, 0, 1, 1]])
    """
    rows, columns = _grid(shape)
    k, torus = count(k, "k", least=0), flag(torus, "torus")
    require_memory(8 * ((k + 1) * rows * columns), "the synapses")
    offsets = _nearest_offsets(rows, columns, k, torus)
    y, x = np.divmod(np.arange(rows * columns), columns)
    parts = []
    for dy, dx in offsets:
        to_y, to_x = y + dy, x + dx
        if torus:
            parts.append(((to_y % rows) * columns + to_x % columns).astype(np.int32))
        else:
            inside = (to_y >= 0) & (to_y < rows) & (to_x >= 0) & (to_x < columns)
            parts.append(np.where(inside, to_y * columns + to_x, -1).astype(np.int32))
    return _pattern(np.stack(parts, axis=1))


def grid_taper(shape: tuple[int, int], reach: int) -> Any:
    """Connect the units of a grid to those nearer than `reach` in both directions, ever more weakly with distance.

    ::

        w(d) = Λ(d_y/L) Λ(d_x/L),    Λ(t) = max(0, 1 − abs t),    L = reach

    A product of triangles, and so positive semidefinite: w ∘ P is positive definite for every positive definite P
    (Schur). A mask that falls from 1 to 0 at once is not. Up to (2L − 1)² synapses per unit.

    Parameters
    ----------
    shape : (rows, columns) of int
        The grid; unit i sits in row i // columns, column i % columns.
    reach : int
        L, in units of the grid, ≥ 1.

    Returns
    -------
    (n, n) scipy.sparse.csr_array
        The taper w, 1 on the diagonal.

    Examples
    --------
    >>> grid_taper((1, 3), 2).toarray()
    array([[1. , 0.5, 0. ],
           [0.5, 1. , 0.5],
           [0. , 0.5, 1. ]])
    """
    rows, columns = _grid(shape)
    reach = count(reach, "reach")
    require_memory(8 * (min(2 * reach, rows) * min(2 * reach, columns) * rows * columns), "the synapses")
    sides = [
        scipy.sparse.diags_array(
            [np.full(n - abs(d), 1 - abs(d) / reach) for d in range(-min(reach, n) + 1, min(reach, n))],
            offsets=list(range(-min(reach, n) + 1, min(reach, n))),
        )
        for n in (rows, columns)
    ]
    taper = scipy.sparse.csr_array(scipy.sparse.kron(*sides, format="csr"))
    taper.sort_indices()
    return taper


def random_neighbours(n: int, k: int, seed: int | np.random.Generator = 0) -> Any:
    """Connect each unit to itself and to k other units that it receives from, drawn without replacement.

    Parameters
    ----------
    n : int
        Number of units.
    k : int
        Number of others each unit receives from, 0 ≤ k < n.
    seed : int or numpy.random.Generator, default 0
        Chooses them.

    Returns
    -------
    (n, n) scipy.sparse.csr_array
        1.0 where there is a synapse; indices sorted. Not symmetric in general.

    Raises
    ------
    ConfigError
        If k ≥ n.

    Examples
    --------
    >>> random_neighbours(100, 7).nnz
    800
    """
    n, k = count(n, "n"), count(k, "k", least=0)
    _require_room(k, n)
    require_memory(8 * ((k + 1) * n), "the synapses")
    rng = generator(seed)
    senders = np.empty((n, k + 1), np.int32)
    for i in range(n):
        senders[i, :k] = rng.choice(n - 1, k, replace=False, shuffle=False) if k else 0
    senders[:, :k] += senders[:, :k] >= np.arange(n)[:, None]
    senders[:, k] = np.arange(n)
    return _pattern(senders)


def _grid(shape: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns."""
    sides = [count(side, "each side of shape") for side in sequence(shape, "shape", "(rows, columns)")]
    if len(sides) != 2:
        raise ConfigError(f"shape must be (rows, columns); got {len(sides)} numbers.")
    return sides[0], sides[1]


def _nearest_offsets(rows: int, columns: int, k: int, torus: bool) -> Ints:
    """Return the offset zero and the k shortest ones, each next to its opposite."""
    _require_room(k, rows * columns)
    reach = (rows - 1, columns - 1) if not torus else (rows // 2, columns // 2)
    # A disc of this radius holds k points of the plane; the sides of the grid may cut it.
    radius = int(np.ceil(np.sqrt(k / np.pi))) + 2
    while True:
        sides = [np.arange(-min(side, radius), min(side, radius) + 1) for side in reach]
        if torus:  # half a turn to the left is half a turn to the right
            sides = [s[1:] if 2 * s[-1] == n and n > 1 else s for s, n in zip(sides, (rows, columns), strict=True)]
        dy, dx = (side.ravel() for side in np.meshgrid(*sides, indexing="ij"))
        whole = radius >= max(reach)
        if whole or np.count_nonzero(dy**2 + dx**2 <= radius**2) > k:
            break
        radius *= 2
    own = _key(dy, dx, columns)
    opposite = _key(-dy % rows, -dx % columns, columns) if torus else _key(-dy, -dx, columns)
    own = _key(dy % rows, dx % columns, columns) if torus else own
    order = np.lexsort((own, np.minimum(own, opposite), dy**2 + dx**2))[: k + 1]
    if not np.isin(opposite[order], own[order]).all():
        raise ConfigError(
            f"k must take each offset together with its opposite, so that the pattern is symmetric; {k} does not. "
            f"Use k = {k - 1} or {k + 1}."
        )
    return np.stack([dy[order], dx[order]], axis=1)


def _key(dy: Ints, dx: Ints, columns: int) -> Ints:
    return np.asarray(dy.astype(np.int64) * (2 * columns + 1) + dx)


def _require_room(k: int, n: int) -> None:
    if k >= n:
        raise ConfigError(f"k must be less than the number of units, {n}; got {k}.")


def _pattern(senders: Ints) -> Any:
    """Return the pattern whose row i holds the entries ≥ 0 of row i of `senders`."""
    senders = np.sort(senders, axis=1)
    present = senders >= 0
    indptr = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    indices = senders[present]
    width = np.int32 if len(indices) < 2**31 else np.int64
    shape = (len(senders), len(senders))
    parts = (np.ones(len(indices)), indices.astype(width), indptr.astype(width))
    return scipy.sparse.csr_array(parts, shape=shape)
