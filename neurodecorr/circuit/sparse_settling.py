"""Settling sparse circuits: Chebyshev-scheduled steps or Krylov solvers, each sample certified by a pass over R."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.norms import EPS, norm, norms
from neurodecorr._numerics.sparse import row_cuts
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, count, flag, positive, sample_or_samples
from neurodecorr.circuit.bounds import rows_of
from neurodecorr.circuit.certificate import certified, exponents, scaled, scaled_up
from neurodecorr.circuit.certificate import residual as extended
from neurodecorr.circuit.chebyshev import schedule_time
from neurodecorr.circuit.chebyshev_kernels import Goals, march_sparse
from neurodecorr.circuit.kernels import DIVERGED, MET, RUNNING
from neurodecorr.circuit.problem import Settled
from neurodecorr.circuit.solve import krylov
from neurodecorr.circuit.sparse import LARGEST_EXACT, SparseCircuit
from neurodecorr.errors import DivergenceError, InputError, StabilityError

SPARSE_METHODS = ("auto", "chebyshev", "bicgstab", "gmres")
# A residual that has grown this far will not come back.
LARGEST_GROWTH = 1e6
MAX_SPARSE_STEPS = 20_000
# Products per unit within which a Krylov solver is expected to end, and those that are not worth asking.
KRYLOV_PRODUCTS, FREE = 6, 200


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
        solvers, no dynamics. ``"auto"``: Chebyshev where it is forecast to come to rest soon; BiCGStab for
        what it leaves, then GMRES, or up to 400 units a factorisation.
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
    >>> from neurodecorr.circuit.sparse import SparseCircuit
    >>> from neurodecorr.circuit.sparse import grid_neighbours
    >>> circuit = SparseCircuit(6 * scipy.sparse.eye_array(900) - grid_neighbours((30, 30), 4))
    >>> rest = settle_sparse(circuit, np.ones(900), tol=1e-9)
    >>> str(rest.outcome), bool(rest.bound <= 1e-9)
    ('settled', True)
    """
    if not isinstance(circuit, SparseCircuit):
        raise InputError(f"circuit must be a SparseCircuit; got {type(circuit).__name__}. Use settle() for dense ones.")
    method = choice(method, "method", SPARSE_METHODS)
    drives, single = sample_or_samples(X, "X", circuit.size)
    U = np.ascontiguousarray(drives, np.float64)
    Z = _start(initial, U)
    most = MAX_SPARSE_STEPS if max_steps is None else count(max_steps, "max_steps")
    tol, relative = positive(tol, "tol", "unit of the activity"), flag(relative, "relative")
    with one_thread(0), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rest = _settle(circuit, U, Z, tol, relative, method, most)
    return rest.sample(0) if single else rest


def _settle(
    circuit: SparseCircuit, U: Floats, Z: Floats, tol: float, relative: bool, method: str, most: int
) -> Settled:
    """Settle each row of Z in place, and certify it."""
    sigma = circuit.sigma.low or max(circuit.sigma.estimate, 0.0) or float(np.abs(circuit.R.diagonal()).max())
    if not sigma > 0:
        raise InputError(
            f"R must have a diagonal that is not zero, or a least singular value that can be bounded; got {sigma:.3g} "
            f"as its bound, for {circuit.size} units."
        )
    # Each row is settled in a unit of its own, where no square of it underflows or overflows.
    shift = exponents(np.float64, U, Z)
    own = np.full(len(U), tol) if relative else scaled(tol, -shift)
    U, Z = scaled(U, -shift[:, None]), scaled(Z, -shift[:, None])
    found = [_settle_one(circuit, u, z, t, relative, sigma, method, most) for u, z, t in zip(U, Z, own, strict=True)]
    steps, products, time, code = (np.array(column) for column in zip(*(row[:4] for row in found), strict=True))
    proof = certified(circuit.R, U, Z, circuit.sigma.low)
    residual, bound = proof.residual, proof.bound
    if method == "auto" and circuit.size <= LARGEST_EXACT:
        direct = _refine(circuit, U, Z, residual, bound, own, relative)
        found = [(*row[:4], "direct" if solved else row[4]) for row, solved in zip(found, direct, strict=True)]
    xbar = scaled(Z, shift[:, None])
    if not np.isfinite(xbar).all():
        row = int(np.argmax(~np.isfinite(xbar).all(axis=1)))
        raise DivergenceError(f"the activity must stay within float64; sample {row} left it. Scale the inputs.")
    if shift.any():
        rounded = scaled(xbar, -shift[:, None])
        bound, Z = bound + norms(rounded - Z), rounded
    outcome = np.full(len(Z), "precision", "<U11")
    outcome[code == RUNNING] = "steps"
    if circuit.sigma.low <= 0:
        outcome[:] = "uncertified"
    outcome[bound <= _allowed(Z, bound, own, relative)] = "settled"
    residual, bound = (scaled_up(size, shift) if shift.any() else size for size in (residual, bound))
    names = {row[4] for row in found}
    used = names.pop() if len(names) == 1 else method
    return Settled(xbar, residual, bound, steps, products, time, outcome, used)


def _allowed(Z: Floats, bound: Floats, tol: Floats, relative: bool) -> Floats:
    """Return the largest bound that meets the tolerance, per sample."""
    return tol * (norms(Z) - bound) if relative else tol


def _refine(
    circuit: SparseCircuit, U: Floats, Z: Floats, residual: Floats, bound: Floats, tol: Floats, relative: bool
) -> npt.NDArray[np.bool_]:
    """Solve few units anew where their bound is not enough, refined and certified in extended precision; in place.

    Returns which samples that has helped.
    """
    rows = np.flatnonzero(~(bound <= _allowed(Z, bound, tol, relative)))
    helped = np.zeros(len(Z), bool)
    if not rows.size:
        return helped
    A = circuit.R.toarray().astype(np.float64)
    found = circuit.factors.solve(U[rows])
    found += circuit.factors.solve(extended(A, U[rows], found)[0])
    proof = certified(A, U[rows], found, circuit.sigma.low)
    better = proof.bound < bound[rows]
    Z[rows[better]] = found[better]
    residual[rows[better]], bound[rows[better]] = proof.residual[better], proof.bound[better]
    helped[rows[better]] = True
    return helped


def _settle_one(
    circuit: SparseCircuit, u: Floats, z: Floats, tol: float, relative: bool, sigma: float, method: str, most: int
) -> tuple[int, int, float, int, str]:
    """Settle one sample in place; return steps, products, time, code, and the method that did it."""
    goal = _goal(circuit, u, z, tol, relative, sigma, most)
    used = 0
    if method == "chebyshev" or (method == "auto" and _schedule_pays(circuit, u, z, goal)):
        begin = z.copy()
        cuts = row_cuts(circuit.R.indptr)
        steps, code = march_sparse(rows_of(circuit.R), u, z, circuit.schedule, goal, cuts)
        if code == MET or method == "chebyshev":
            return steps, steps + 1, float(schedule_time(circuit.ellipse, steps)), code, "chebyshev"
        used = steps + 1
        if code == DIVERGED or not np.isfinite(z).all():
            z[:] = begin
    few = method == "auto" and circuit.size <= LARGEST_EXACT  # then a factorisation is at hand
    solvers = {"auto": ("bicgstab",) if few else ("bicgstab", "gmres")}.get(method, (method,))
    most = min(most, 2 * KRYLOV_PRODUCTS * circuit.size + FREE) if few else most
    for solver in solvers:
        # Krylov solvers stop on their own recursion; a tenth keeps the true residual below the goal.
        size = goal.absolute + goal.relative * float(norm(z))
        aim = 0.1 * (size or tol * sigma * float(norm(u)) / max(abs(circuit.R).sum(axis=1).max(), EPS))
        solved, spent = krylov(solver, circuit.R, u, z, aim, most)
        used += spent
        if not np.isfinite(solved).all():
            continue
        z[:] = solved
        gap = float(norm(u - circuit.R @ z))
        if gap <= goal.absolute + goal.relative * float(norm(z)):
            return 0, used, math.nan, MET, solver
    return 0, used, math.nan, MET if few else RUNNING, solvers[-1]


def _goal(circuit: SparseCircuit, u: Floats, z: Floats, tol: float, relative: bool, sigma: float, most: int) -> Goals:
    """Return the residual to reach: with its rounding the certificate must still hold."""
    share = sigma * tol / (1 + tol) * (1 - 1e-6)
    noise = 4 * (np.diff(circuit.R.indptr).max() + 2) * EPS * float(norm(u))
    start = float(norm(u - circuit.R @ z)) / max(float(norm(u)), np.finfo(float).tiny)
    growth = LARGEST_GROWTH * max(1.0, start)
    if relative:
        return Goals(0.0, share, growth, most)
    return Goals(max(sigma * tol * (1 - 1e-6) - noise, sigma * tol / 2), 0.0, growth, most)


def _schedule_pays(circuit: SparseCircuit, u: Floats, z: Floats, goal: Goals) -> bool:
    """Tell whether Chebyshev steps are forecast to come to rest within their limit, and before a Krylov solver must.

    A Krylov space of n vectors holds the solution, and rounding costs some more; BiCGStab takes two products for each.
    """
    try:
        ellipse = circuit.ellipse
    except StabilityError:
        return False
    wanted = goal.absolute + goal.relative * float(norm(u)) / circuit.largest
    start = float(norm(u - circuit.R @ z))
    steps = ellipse.steps(start / wanted if wanted > 0 else math.inf)
    return steps <= min(goal.most, KRYLOV_PRODUCTS * circuit.size + FREE)


def _start(initial: npt.ArrayLike | None, U: Floats) -> Floats:
    if initial is None:
        return np.zeros_like(U)
    given, _ = sample_or_samples(initial, "initial", U.shape[1])
    if len(given) not in (1, len(U)):
        raise InputError(f"initial must have one row, or one per sample ({len(U)}); got {len(given)}.")
    return np.array(np.broadcast_to(given, U.shape), np.float64)
