"""Learning in sparse circuits: the single-sample rules, masked to the synapses that exist."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from neurodecorr._numerics.jit import jit, prange
from neurodecorr._numerics.sparse import row_cuts, sparse_product
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats
from neurodecorr._validation import choice, fraction, instance, positive, rule_name, samples
from neurodecorr.circuit.solve import bicgstab
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.plasticity.spec import never
from neurodecorr.plasticity.steps import (
    COUNTERS,
    FASTEST_MEMORY,
    HUGE,
    SAMPLES,
    Averages,
    StepParameters,
    centre,
    limited,
    update_power,
    weight_of,
)

LOCAL, SYMMETRIC, RELATIVE = 0, 1, 2
# Counters after those of every rule: rows clipped, products spent.
CLIPPED, PRODUCTS = COUNTERS, COUNTERS + 1


class Synapses(NamedTuple):
    """Weights in compressed sparse rows: unit i hears units indices[s] with weights data[s], indptr[i] ≤ s.

    `taper` holds the reach w of each synapse, or one number for all.
    """

    data: Array
    indices: Array
    indptr: Array
    taper: Array


@jit()
def product_transposed(A: Synapses, v: Array, out: Array) -> None:
    """Write out ← Aᵀ v, in the order in which A lies in memory."""
    out[:] = 0
    for i in range(v.size):
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            out[np.uint32(A.indices[s])] += v[i] * A.data[s]


@jit()
def sparse_local_step(A: Synapses, x: Array, xbar: Array, eta: float, keep: Array, first: int, last: int) -> None:
    """R_ij ← (R_ij + η w_ij x_i x̄_j)/g_j in rows `first` … `last` − 1; `keep` holds 1/g."""
    each = A.taper.size > 1
    for i in range(first, last):
        pull = eta * x[i]
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            j = np.uint32(A.indices[s])
            A.data[s] = (A.data[s] + (A.taper[s] if each else A.taper[0]) * pull * xbar[j]) * keep[j]


@jit()
def sparse_symmetric_step(A: Synapses, x: Array, xbar: Array, eta: float, keep: Array, first: int, last: int) -> None:
    """R_ij ← (R_ij + η/2 w_ij (x_i x̄_j + x̄_i x_j))/√(g_i g_j) in the given rows; `keep` holds 1/√g."""
    each = A.taper.size > 1
    for i in range(first, last):
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            j = np.uint32(A.indices[s])
            mixed = (A.taper[s] if each else A.taper[0]) * 0.5 * eta * (x[i] * xbar[j] + xbar[i] * x[j])
            A.data[s] = (A.data[s] + mixed) * (keep[i] * keep[j])


@jit()
def sparse_feedforward_step(
    A: Synapses, back: Array, xbar: Array, shrink: float, gain: Array, first: int, last: int
) -> None:
    """M_ij ← g_i (M_ij − η/(1 + η x̄ᵀx̄) x̄_i (x̄ᵀM)_j) in the given rows; `shrink` is η/(1 + η x̄ᵀx̄)."""
    for i in range(first, last):
        pull = shrink * xbar[i]
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            A.data[s] = gain[i] * (A.data[s] - pull * back[np.uint32(A.indices[s])])


@jit()
def step_rows(rule: int, A: Synapses, x: Array, xbar: Array, eta: float, gain: Array, first: int, last: int) -> None:
    """Take the step of a rule in rows `first` … `last` − 1."""
    if rule == LOCAL:
        sparse_local_step(A, x, xbar, eta, gain, first, last)
    elif rule == SYMMETRIC:
        sparse_symmetric_step(A, x, xbar, eta, gain, first, last)
    else:
        sparse_feedforward_step(A, x, xbar, eta, gain, first, last)


@jit(parallel=True)
def step_on_threads(rule: int, A: Synapses, x: Array, xbar: Array, eta: float, gain: Array, cuts: Array) -> None:
    """Take the step of a rule, the rows between two cuts by one thread."""
    for part in prange(cuts.size - 1):
        step_rows(rule, A, x, xbar, eta, gain, cuts[part], cuts[part + 1])


@jit()
def clip(A: Synapses, share: float, symmetric: bool, factor: Array) -> int:
    """Shrink the off-diagonal weights so that ∑_{j≠i} |R_ij| ≤ `share` R_ii; return how many rows were too strong.

    By row s_i, or by min(s_i, s_j), which keeps a symmetric R symmetric.
    """
    strong = 0
    for i in range(factor.size):
        own, around = 0.0, 0.0
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            if A.indices[s] == i:
                own = A.data[s]
            else:
                around += abs(A.data[s])
        factor[i] = 1.0
        if around > share * own:
            factor[i] = max(share * own, 0.0) / around
            strong += 1
    if strong > 0:
        for i in range(factor.size):
            for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
                j = np.uint32(A.indices[s])
                if j != i:
                    A.data[s] *= min(factor[i], factor[j]) if symmetric else factor[i]
    return strong


class Settings(NamedTuple):
    """Settings of learning and settling in a sparse circuit.

    Parameters
    ----------
    rule : int
        `LOCAL`, `SYMMETRIC` (R, settled) or `RELATIVE` (M, one product).
    rate, half : float
        η = rate/(1 + t/half) in units of the inverse mean input power.
    limit : float
        Upper bound of η times the power that the synapses of a unit carry.
    share : float
        Dominance kept, see `clip`; infinity for none.
    tol, most : float, int
        Relative residual to settle to, and the products allowed.
    """

    rule: int
    rate: float
    half: float
    limit: float
    share: float
    tol: float
    most: int


@jit()
def learn_rows(settings: Settings, A: Synapses, xbar: Array, averages: Averages, X: Array, cuts: Array) -> int:
    """Learn from the rows of X one by one, in place; return the row that did not settle, or −1.

    Parameters
    ----------
    settings : Settings
        Rule, rate, limits.
    A : Synapses
        R or M.
    xbar : (n,) array
        Last activity, where settling begins.
    averages : Averages
        Running mean and power of the inputs; the gain of the last step; counters, with two more.
    X : (samples, n) array
        The stream.
    cuts : (parts + 1,) array
        Where rows are cut for threads, 0 … n; two numbers for no threads.
    """
    n, rule = xbar.size, settings.rule
    counters, gain = averages.counters, averages.gain
    x, work = np.empty(n), np.empty((6, n))
    fan_in = A.data.size / n
    parameters = StepParameters(rule, 0, 0.0, settings.rate, 0.0, math.inf, settings.limit / fan_in, True, 0.0)
    for k in range(X.shape[0]):
        eta = settings.rate / (1.0 + counters[SAMPLES] / settings.half)
        share = max(weight_of(parameters, counters[SAMPLES]), min(eta, FASTEST_MEMORY))
        centre(parameters, share, X[k], averages.mean, x)
        unit = update_power(share, x, averages.power, n)
        eta = eta / unit if unit > 0 else 0.0
        if rule == RELATIVE:
            sparse_product(A, x, xbar, cuts)
            counters[PRODUCTS] += 1
        else:
            used = bicgstab(A, x, xbar, work, cuts, settings.tol * settings.tol * np.sum(x * x), settings.most)
            if used < 0:
                return k
            counters[PRODUCTS] += used
        size = np.sum(xbar * xbar) / n
        if not size < HUGE:
            return k
        eta = limited(counters, eta, size, parameters.limit)
        for j in range(n):
            gain[j] = 1.0 + eta * averages.power[j]
        if rule == LOCAL:
            gain[:] = 1.0 / gain
        elif rule == SYMMETRIC:
            gain[:] = 1.0 / np.sqrt(gain)
        else:
            product_transposed(A, xbar, x)
            eta = eta / (1.0 + eta * np.sum(xbar * xbar))
        if cuts.size > 2:
            step_on_threads(rule, A, x, xbar, eta, gain, cuts)
        else:
            step_rows(rule, A, x, xbar, eta, gain, 0, n)
        if settings.share < math.inf:
            counters[CLIPPED] += clip(A, settings.share, rule == SYMMETRIC, gain)
        counters[SAMPLES] += 1.0
    return -1


# What the kernels call the rules of each form. The explicit rule of R needs x̄ᵀx̄, and is not offered.
RULES_OF = {
    "recurrent": {"implicit": LOCAL, "congruent": SYMMETRIC},
    "feedforward": {"implicit": RELATIVE},
}
# Samples between two looks at the stability of R.
CHUNK = 1000
LARGEST_DENSE = 100
KRYLOV, LOOSE = 40, 1e-2
MOST_PRODUCTS = 2000


@short_repr
@dataclass(frozen=True)
class SparseLearningRule:
    """Learning rule of sparse weights.

    ::

        implicit   ΔR_ij = η (w_ij x_i x̄_j − R_ij p_j)                             on existing synapses only
        congruent  ΔR_ij = η/2 (w_ij (x_i x̄_j + x̄_i x_j) − R_ij (p_i + p_j))
        implicit   ΔM_ij = η (M_ij p_i − x̄_i (x̄ᵀM)_j)                              feedforward

    to first order in η; the steps taken divide or multiply by the gain g = 1 + ηp, as those of dense circuits do.

    Why a taper w: with w = 1 the implicit rule rests at a truncated R_ij = ⟨x_i x̄_j⟩/p_j. The truncation of a positive
    definite matrix need not be one: long-ranged correlations then cost the circuit its stability. Where w is itself
    positive semidefinite with w_ii = 1 (`grid_taper`), w ∘ ⟨x x̄ᵀ⟩ is positive definite whenever ⟨x x̄ᵀ⟩ is (Schur).

    Parameters
    ----------
    form : {"recurrent", "feedforward"}
        Learn R from its own settled states, or a sparse M (not local: x̄ᵀM).
    rule : {"implicit", "congruent"}
        "congruent", to first order: for an R with R_ij = R_ji only. "local" is another name of "implicit".
    rate : float, default 1e-3
        η at the start, in units of the inverse mean input power.
    half : float, default inf
        Samples after which the rate has halved: η = rate/(1 + t/half).
    limit : float, default 0.1
        Upper bound of η times the power a unit hears, (synapses per unit) · ⟨x̄²⟩; steps beyond are cut and counted.
    dominance : float, optional
        Keep ∑_{j≠i} |R_ij| ≤ dominance · R_ii, below 1, by shrinking synapses after each sample: a proof of stability
        at any time. By default nothing is shrunk.
    tol : float, default 1e-6
        Relative residual ‖x − R x̄‖/‖x‖ to settle each sample to.
    """

    form: str = "recurrent"
    rule: str = "implicit"
    rate: float = 1e-3
    half: float = math.inf
    limit: float = 0.1
    dominance: float | None = None
    tol: float = 1e-6

    def __post_init__(self) -> None:
        rules = RULES_OF[choice(self.form, "form", RULES_OF)]
        object.__setattr__(self, "rule", rule_name(self.rule, rules))
        positive(self.rate, "rate")
        positive(self.limit, "limit")
        positive(self.tol, "tol")
        if not never(self.half):
            positive(self.half, "half", "samples")
        if self.dominance is not None and fraction(self.dominance, "dominance") == 1:
            raise ConfigError(f"dominance must be < 1, where stability is proven; got {self.dominance}.")
        if self.dominance is not None and not self.recurrent:
            raise ConfigError(
                f"dominance={self.dominance} is about the stability of a circuit; form 'feedforward' learns M. "
                "Leave it out."
            )

    @property
    def recurrent(self) -> bool:
        """Whether R is learnt."""
        return self.form == "recurrent"


@short_repr
@dataclass(frozen=True, eq=False)
class SparseState:
    """Sparse weights and the statistics learnt with them.

    Parameters
    ----------
    weights : (n, n) scipy.sparse.csr_array
        R, or M if that is learnt.
    taper : (synapses,) or (1,) array
        Reach w of each synapse.
    xbar, mean, power : (n,) arrays
        Last activity; running mean and power of the inputs.
    counters : (7,) array
        Samples, running ⟨x̄²⟩, steps limited, rows clipped, products spent.
    margin : float
        min Re λ(R) or a lower bound of it, at the last look; NaN before the first.
    """

    weights: Any
    taper: Floats
    xbar: Floats
    mean: Floats
    power: Floats
    counters: Floats
    margin: float = math.nan

    @property
    def samples(self) -> int:
        """Samples learnt from."""
        return int(self.counters[SAMPLES])

    @property
    def products(self) -> int:
        """Matrix–vector products spent on settling."""
        return int(self.counters[PRODUCTS])


def initial_sparse_state(mask: Any) -> SparseState:
    """Return the state before learning: weight 1 of each unit onto itself, 0 on all other synapses.

    Parameters
    ----------
    mask : (n, n) scipy.sparse array or matrix
        A stored entry is a synapse, its value the taper w, 0 < w ≤ 1; 1 for a plain mask. Each unit needs its
        self-synapse. Learning M leaves the taper unused.

    Returns
    -------
    SparseState
        R = I (or M = I) on the given synapses.

    Raises
    ------
    InputError
        If the mask is dense or not square, a self-synapse is missing, or a taper lies outside (0, 1].

    Examples
    --------
    >>> import scipy.sparse
    >>> initial_sparse_state(scipy.sparse.csr_array([[1, 1], [0, 1]])).weights.toarray()
    array([[1., 0.],
           [0., 1.]])
    """
    if not scipy.sparse.issparse(mask) or mask.ndim != 2 or mask.shape[0] != mask.shape[1] or not mask.shape[0]:
        shape = getattr(mask, "shape", None)
        raise InputError(f"mask must be a square scipy.sparse array; got {type(mask).__name__} of shape {shape}.")
    weights = scipy.sparse.csr_array(mask, dtype=np.float64, copy=True)
    weights.sum_duplicates()
    n = weights.shape[0]
    own = weights.indices == np.repeat(np.arange(n), np.diff(weights.indptr))
    if own.sum() < n:
        missing = np.setdiff1d(np.arange(n), weights.indices[own])
        raise InputError(
            f"mask must hold each unit's self-synapse; unit {missing[0]} lacks it ({missing.size} such in all)."
        )
    if not ((weights.data > 0) & (weights.data <= 1)).all():
        raise InputError(
            f"mask must hold numbers in (0, 1], the reach of each synapse; they run from {weights.data.min():.3g} to "
            f"{weights.data.max():.3g}. Use 1 where there is a synapse."
        )
    taper = np.ones(1) if (weights.data == 1).all() else weights.data.copy()
    weights.data[:] = own
    return SparseState(weights, taper, np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(COUNTERS + 2))


def learn_sparse(state: SparseState, X: npt.ArrayLike, plan: SparseLearningRule) -> SparseState:
    """Learn from the rows of X in order, on existing synapses only; the given state is left as it was.

    Each sample settles under the present R, from the last sample's rest, and changes each synapse once: time and
    memory are linear in the number of synapses. After every 1000 samples the stability of R is looked at.

    Parameters
    ----------
    state : SparseState
        Where to begin.
    X : (samples, n) array
        Inputs x.
    plan : SparseLearningRule
        Rule, rate, limits.

    Returns
    -------
    SparseState
        What was learnt.

    Raises
    ------
    StabilityError
        If a sample does not settle, or the circuit has lost stability; the sample and the margin are named.
    InputError
        If X does not fit, or the congruent rule meets weights or synapses that are not symmetric.

    Examples
    --------
    >>> import scipy.sparse
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((4000, 2)) @ [[1.0, 0.0], [0.6, 0.8]]
    >>> synapses = scipy.sparse.csr_array(np.ones((2, 2)))
    >>> state = learn_sparse(initial_sparse_state(synapses), X, SparseLearningRule(rate=1e-2))
    >>> xbar = np.linalg.solve(state.weights.toarray(), X.T)
    >>> bool(abs(np.corrcoef(X.T)[0, 1]) > 0.4), bool(abs(np.corrcoef(xbar)[0, 1]) < 0.1)
    (True, True)
    """
    instance(state, SparseState, "state", advice="Use initial_sparse_state(mask).")
    instance(plan, SparseLearningRule, "plan")
    drives = np.ascontiguousarray(samples(X, "X", state.weights.shape[0]), np.float64)
    if plan.rule == "congruent":
        _require_symmetric(state.weights)
    names = ("weights", "xbar", "mean", "power", "counters")
    state = replace(state, **{name: getattr(state, name).copy() for name in names})
    for begin in range(0, len(drives), CHUNK):
        state = _learn_chunk(state, drives[begin : begin + CHUNK], plan)
    return state


def _learn_chunk(state: SparseState, X: Floats, plan: SparseLearningRule) -> SparseState:
    A = state.weights
    settings = Settings(
        RULES_OF[plan.form][plan.rule],
        float(plan.rate),  # one type each, so that the kernel is compiled once
        float(plan.half),
        float(plan.limit),
        math.inf if plan.dominance is None else float(plan.dominance),
        float(plan.tol),
        MOST_PRODUCTS,
    )
    averages = Averages(state.mean, state.power, np.ones_like(state.power), state.counters)
    synapses = Synapses(A.data, A.indices, A.indptr, state.taper)
    row = learn_rows(settings, synapses, state.xbar, averages, X, row_cuts(A.indptr))
    if row >= 0 and not plan.recurrent:
        raise StabilityError(f"the output left the finite numbers at sample {state.samples}. Lower the rate.")
    if not plan.recurrent:
        return state
    found = margin(A) if np.isfinite(A.data).all() else -math.inf
    if row >= 0 or not found > 0:
        what = "did not settle" if row >= 0 else "has lost stability"
        raise StabilityError(
            f"the sparse circuit {what} at sample {state.samples}: its margin min Re λ(R) is about {found:.3g} and "
            f"must be > 0. Lower the rate ({plan.rate:g}) or the limit ({plan.limit:g}), "
            "taper the mask (grid_taper), or set dominance=0.9."
        )
    return replace(state, margin=found)


def _require_symmetric(R: Any) -> None:
    apart = abs(R - R.T)
    pattern = R.copy()
    pattern.data[:] = 1.0
    if (pattern != pattern.T).nnz or (apart.nnz and apart.max() > 1e-9 * abs(R).max()):
        raise InputError(
            "rule 'congruent' needs reciprocal synapses of equal weight, R_ij = R_ji; of the given ones "
            f"{(pattern != pattern.T).nnz} have no partner, and weights differ by up to "
            f"{apart.max() if apart.nnz else 0.0:.3g}. "
            "Use grid_neighbours, or rule 'implicit'."
        )
