"""`settle`: run a circuit until a certificate says that it is at rest; `solve`: the same rest state by algebra."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.norms import EPS, norms
from neurodecorr._numerics.simd import read_only
from neurodecorr._typing import Floats, Ints
from neurodecorr._validation import choice, count, flag, positive, sample_or_samples
from neurodecorr.circuit.certificate import Certificate, bound_of, certified, exponents, scaled, scaled_up
from neurodecorr.circuit.chebyshev import settle_by_chebyshev, settle_implicitly
from neurodecorr.circuit.kernels import DIVERGED, RUNNING
from neurodecorr.circuit.model import Circuit, LinearCircuit, require_circuit
from neurodecorr.circuit.prepared import Prepared
from neurodecorr.circuit.problem import PER_SAMPLE, Problem, Settled, SolverResult, start
from neurodecorr.circuit.propagators import RESOLUTION, settle_exactly
from neurodecorr.circuit.runge_kutta import settle_adaptively, settle_explicitly
from neurodecorr.circuit.solve import settle_directly
from neurodecorr.circuit.sparse import SparseCircuit
from neurodecorr.circuit.sparse_settling import settle_sparse
from neurodecorr.circuit.spectrum import SMALL
from neurodecorr.circuit.stability import require_stable
from neurodecorr.errors import ConfigError, DivergenceError

# A product of two matrices counts as this many products with a vector per unit: it runs at twice their speed, or more.
MATRICES = 0.5
# A factorisation of N units is this share of a product of two matrices; a Cholesky factor half of it.
FACTORISATION = 1 / 3
# All eigenvalues cost this many products per unit.
EIGENVALUES = 12.5
# The series of the first propagator, and what every doubling and every rung take, in products of matrices.
SERIES, DOUBLING = 6, 2
# Lanczos steps that enclose the field of values; where F is not symmetric its skew part takes twice as many.
ENCLOSING = 24


class Forecast(NamedTuple):
    """Predicted cost of a method: products with R per sample, and the steps that it counts."""

    products: float
    steps: float


def forecasts(circuit: LinearCircuit, samples: int, factor: float, *, dynamics: bool = False) -> dict[str, Forecast]:
    """Predict what it costs to shrink the residuals of some samples by a factor.

    ::

        chebyshev      m = ln(2 factor)/−ln ϱ + a/b                      products, and m steps
        exponential    4l + (6 + 2d + 2l) N/2b,    d = log₂(2‖F‖dt),    l = log₂(T/dt),    T = ln(2 factor)/min Re λ
        direct         2 + N/6b,    N/12b by Cholesky

    ϱ is the shrinkage of the ellipse around the spectrum, a what it costs to enclose that; a circuit in which ‖z − z*‖
    may grow has no such bound, and the forecast is infinite. Exact steps are made from propagators, d + l of which are
    built once for b samples. What the circuit keeps already costs nothing.

    Parameters
    ----------
    circuit : LinearCircuit
        The circuit, which must be stable.
    samples : int
        Number of samples b.
    factor : float
        Residual at the start over the one to reach, ≥ 1.
    dynamics : bool, default False
        Whether to leave out what simulates nothing.

    Returns
    -------
    dict
        For each method the products per sample, and the steps that it counts.
    """
    spectrum, N = circuit.spectrum, circuit.state_size
    known = vars(spectrum)
    factor = min(max(factor, 1.0), 1 / EPS)
    small = not spectrum.coercive or N <= SMALL
    analysis = 0.0 if {"ellipse", "eigenvalues", "field"} & set(known) else (EIGENVALUES * N if small else ENCLOSING)
    found = {}
    if not dynamics:
        shared = spectrum.symmetric and spectrum.coercivity.factor is not None
        made = 0.0 if shared or "factors" in vars(circuit) else MATRICES * FACTORISATION * N
        found["direct"] = Forecast(2 + made * (0.5 if spectrum.symmetric else 1.0) / samples, 0.0)
        if found["direct"].products <= 2 + analysis / samples:  # then nothing else can be cheaper
            return found
    slowest = spectrum.coercivity.low if spectrum.coercive and not small else spectrum.margin
    span = (math.log(2) + math.log(factor)) / slowest
    dt = RESOLUTION / slowest
    doublings = max(0.0, math.log2(max(2 * spectrum.size_bound * dt, 1.0)))
    rungs = math.ceil(math.log2(max(span / dt, 2.0)))
    ladder = MATRICES * N * (SERIES + DOUBLING * (math.ceil(doublings) + rungs))
    unknown = 0.0 if small else EIGENVALUES * N
    found["exponential"] = Forecast(4 * rungs + (ladder + unknown) / samples, span / dt)
    steps = float(spectrum.ellipse.steps(factor)) if spectrum.calm else math.inf
    found["chebyshev"] = Forecast(steps + analysis / samples, steps)
    return found


def chosen(found: Mapping[str, Forecast], most: float) -> str:
    """Return the method of the fewest products among those that do with `most` steps, or with the fewest steps."""
    able = [name for name, forecast in found.items() if forecast.steps <= most]
    if able:
        return min(able, key=lambda name: found[name].products)
    return min(found, key=lambda name: found[name].steps)


def expected_reduction(circuit: LinearCircuit, X: Floats, begin: Floats, tol: float, relative: bool) -> float:
    """Return the largest ratio of a starting residual to the one that meets the tolerance; ‖x̄*‖ ≥ ‖x‖/σ_max.

    Infinite where there is no bound of σ_min, and no tolerance is met.
    """
    spectrum, size = circuit.spectrum, norms(X)
    if not spectrum.sigma_low > 0:
        return math.inf
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        start = size + spectrum.size_bound * norms(begin)
        wanted = spectrum.sigma_low * (tol * size / spectrum.size_bound if relative else np.full(len(X), tol))
        ratio = start / wanted
    return float(np.nanmax(np.where(start > 0, ratio, 1.0), initial=1.0))


# The methods that integrate the dynamics, by name.
SIMULATIONS: dict[str, Callable[[Problem, str], SolverResult]] = {
    "euler": settle_explicitly,
    "rk4": settle_explicitly,
    "rk45": settle_adaptively,
    "implicit": settle_implicitly,
    "exponential": settle_exactly,
    "chebyshev": settle_by_chebyshev,
}
METHODS = ("auto", *SIMULATIONS, "direct")
# These run in float64 whatever the types: they take float32 products where they can, and round at the end.
WIDE = ("chebyshev", "direct")
STEPPED = ("euler", "rk4", "rk45", "implicit", "exponential")
MAX_STEPS = 1_000_000


def settle(
    circuit: LinearCircuit | SparseCircuit,
    X: npt.ArrayLike,
    tol: float = 1e-6,
    *,
    relative: bool = False,
    method: str = "auto",
    dt: float | None = None,
    initial: npt.ArrayLike | None = None,
    t_max: float | None = None,
    max_steps: int | None = None,
) -> Settled:
    """Settle a circuit on each input until its distance to rest is certified.

    ::

        z ← z + p,    p ← α_k κ ∘ (u − A z) + ω_k p        (chebyshev)
        z ← A⁻¹u                                           (direct)
        ‖z − z*‖ ≤ ‖u − A z‖/σ_min(A) ≤ tol

    The rounding of residual and σ_min is part of the bound, so the true error never exceeds it. Each sample stops by
    itself.

    Parameters
    ----------
    circuit : Circuit, TwoPopulationCircuit or SparseCircuit
        The circuit, which must be stable. A sparse one has methods of its own: see `settle_sparse`.
    X : (samples, n) or (n,) array
        Inputs, constant in time.
    tol : float, default 1e-6
        Largest ‖x̄ − x̄*‖, in the unit of x̄.
    relative : bool, default False
        Whether `tol` is a share of ‖x̄*‖.
    method : str, default "auto"
        ``"euler"``, ``"rk4"``: fixed steps. ``"rk45"``: Dormand–Prince, each sample with its own steps unless `dt` is
        given. ``"implicit"``: Radau IIA, order 3. ``"exponential"``: exact, the time found to one dt.
        ``"chebyshev"``: Euler with Chebyshev-scheduled steps, fewest products; samples that a non-normal circuit
        carries away settle by "exponential" instead. ``"direct"``: factorisation. ``"auto"``: of "direct",
        "chebyshev" and "exponential" the one that is predicted to take the fewest products (`Settled.predicted`),
        given what the circuit keeps from earlier calls: factors, bounds, and after some single samples, or as many as
        it has units, its inverse, so that x̄ may differ from call to call, within `bound`. With a start or a limit it
        simulates. What only rounding keeps from the tolerance is refined once by factorisation.
    dt : float, optional
        Step, in the unit of τ. By default the one that settles fastest (Euler, RK4), a quarter (implicit) or 1/64
        (exponential) of the slowest time constant.
    initial : (samples, n) or (n,) array, optional
        Activity at the start; zero by default.
    t_max : float, optional
        Longest time to simulate, in the unit of τ; unlimited by default.
    max_steps : int, optional
        Largest number of steps; 1 000 000 by default.

    Returns
    -------
    Settled
        Activity, residual, bound, steps, products, time and outcome of each sample.

    Raises
    ------
    StabilityError
        If the circuit does not settle, or `dt` is beyond the limit of an explicit method; the mode is named.
    InputError, ConfigError
        If an input or an option cannot be used.
    DivergenceError
        If a sample leaves the range of its floating-point type.

    Examples
    --------
    >>> from neurodecorr.circuit.model import Circuit
    >>> rest = settle(Circuit([[2.0, 0.0], [0.0, 4.0]]), [[2.0, 4.0], [0.0, 8.0]], tol=1e-9)
    >>> rest.xbar.round(6)
    array([[1., 1.],
           [0., 2.]])
    >>> bool(rest.settled.all()), bool((rest.bound <= 1e-9).all())
    (True, True)
    """
    auto = method == "auto"
    free = initial is None and t_max is None and max_steps is None and dt is None
    prepared = _prepared(circuit) if free and method in ("auto", "direct") else None
    if prepared is not None and (prepared.ready or not auto) and isinstance(circuit, Circuit):
        at_once = prepared(circuit, X, tol, relative, timed=auto)
        if at_once is not None:
            return at_once
    if isinstance(circuit, SparseCircuit):
        for name, value in {"dt": dt, "t_max": t_max}.items():
            if value is not None:
                raise ConfigError(
                    f"{name} has no meaning for a SparseCircuit, whose steps are scheduled; leave it out."
                )
        return settle_sparse(circuit, X, tol, relative=relative, method=method, initial=initial, max_steps=max_steps)
    circuit = require_circuit(circuit)
    method = choice(method, "method", METHODS)
    _require_options(method, dt, initial, t_max, max_steps)
    steps = MAX_STEPS if max_steps is None else count(max_steps, "max_steps")
    limits = (
        None if dt is None else positive(dt, "dt", "unit of tau") / circuit.tau,
        math.inf if t_max is None else positive(t_max, "t_max", "unit of tau") / circuit.tau,
        steps,
    )
    timed = method != "direct" and not (auto and free)
    wanted, single = _request(circuit, X, tol, relative, initial, limits, sharp=timed)
    with one_thread(circuit.state_size), np.errstate(over="ignore", invalid="ignore"):
        require_stable(circuit)
        found = _cheapest(wanted, prepared, dynamics=not free) if auto else _settled_by(wanted, method)
    return found.sample(0) if single else found


def _prepared(circuit: object) -> Prepared | None:
    """Return what a circuit keeps for answers at once, made when it is first asked for; None where none is proven."""
    if not isinstance(circuit, Circuit):
        return None
    kept: Prepared | None = vars(circuit).get("_prepared")
    if kept is None:
        require_stable(circuit)
        if not circuit.spectrum.sigma_low > 0:
            return None
        kept = vars(circuit).setdefault("_prepared", Prepared(circuit, _march))
    return kept


def _cheapest(wanted: Problem, prepared: Prepared | None, dynamics: bool) -> Settled:
    """Settle by the method that is predicted to be the cheapest for these samples and those that came before."""
    circuit, samples = wanted.circuit, len(wanted.U)
    if prepared is not None:
        prepared.seen += samples
        samples = prepared.seen
    factor = expected_reduction(circuit, wanted.U, wanted.Z, wanted.tol, wanted.relative)
    predicted = forecasts(circuit, samples, factor, dynamics=dynamics)
    method = chosen(predicted, wanted.max_steps)
    found = _settled_by(wanted, method, refine=method != "direct")
    facts: dict[str, Any] = {
        **vars(found),
        "predicted": {name: forecast.products for name, forecast in predicted.items()},
    }
    if method != "direct":
        return Settled(**facts)
    if prepared is not None:
        prepared.ready = True
    del facts["steps"], facts["time"]
    drives = wanted.U[:, -circuit.size :].copy()
    return Settled.by_algebra(partial(_march, circuit, drives, wanted.tol, wanted.relative), **facts)


def _march(circuit: LinearCircuit, X: Floats, tol: float, relative: bool) -> tuple[Any, Any]:
    """Return the steps and the time that the dynamics take to settle samples, by the method that suits one of them."""
    wanted, single = _request(circuit, X, tol, relative)
    with one_thread(circuit.state_size), np.errstate(over="ignore", invalid="ignore"):
        factor = expected_reduction(circuit, wanted.U, wanted.Z, tol, relative)
        method = chosen(forecasts(circuit, 1, factor, dynamics=True), MAX_STEPS)
        found = _settled_by(wanted, method)
    return (found.steps[0], found.time[0]) if single else (found.steps, found.time)


def solve(
    circuit: LinearCircuit | SparseCircuit, X: npt.ArrayLike, tol: float = 1e-6, *, relative: bool = False
) -> Settled:
    """Solve for the rest state of each input by algebra, and certify it.

    ::

        z = A⁻¹u,    ‖z − z*‖ ≤ ‖u − A z‖/σ_min(A)

    No dynamics: there are no steps and no time, and the circuit need not be stable. A factorisation of R, which is kept
    with the circuit; BiCGStab and GMRES for sparse circuits.

    Parameters
    ----------
    circuit : Circuit, TwoPopulationCircuit or SparseCircuit
        The circuit.
    X : (samples, n) or (n,) array
        Inputs.
    tol : float, default 1e-6
        Largest ‖x̄ − x̄*‖, in the unit of x̄; what misses it is refined once.
    relative : bool, default False
        Whether `tol` is a share of ‖x̄*‖.

    Returns
    -------
    Settled
        As `settle` returns it.

    Raises
    ------
    InputError, ConfigError
        If an input or an option cannot be used.

    Examples
    --------
    >>> from neurodecorr.circuit.model import Circuit
    >>> solve(Circuit([[2.0, 0.0], [0.0, -4.0]]), [2.0, 4.0]).xbar  # settles nowhere, but can be solved
    array([ 1., -1.])
    """
    if isinstance(circuit, SparseCircuit):
        return settle_sparse(circuit, X, tol, relative=relative, method="bicgstab")
    wanted, single = _request(require_circuit(circuit), X, tol, relative, sharp=False)
    with one_thread(wanted.circuit.state_size), np.errstate(over="ignore", invalid="ignore"):
        found = _settled_by(wanted, "direct")
    return found.sample(0) if single else found


def _request(
    circuit: LinearCircuit,
    X: npt.ArrayLike,
    tol: float,
    relative: bool,
    initial: npt.ArrayLike | None = None,
    limits: tuple[float | None, float, int] = (None, math.inf, MAX_STEPS),
    sharp: bool = True,
) -> tuple[Problem, bool]:
    """Return the validated problem, in the unit of the user, and whether it is of one sample."""
    drives, single = sample_or_samples(X, "X", circuit.size)
    dtype = np.result_type(circuit.R, drives)
    positive(tol, "tol", "unit of the activity")
    flag(relative, "relative")
    begin = start(circuit, initial, len(drives), dtype)
    problem = Problem(
        circuit, circuit.drive(drives), circuit.state(begin), tol, relative, *limits, delivered=dtype, sharp=sharp
    )
    return problem, single


def _settled_by(wanted: Problem, method: str, refine: bool = False) -> Settled:
    """Settle by one method, samples near an end of the range of floats in a unit of their own."""
    assert wanted.delivered is not None
    inner = np.dtype(np.float64) if method in WIDE else wanted.delivered

    def settled(rows: Ints, shift: int) -> Settled:
        """Settle rows that are all to be divided by 2^shift, which commutes with the circuit."""
        U, Z, tol = wanted.U, wanted.Z, wanted.tol
        if len(rows) < len(U):
            U, Z = U[rows], Z[rows]
        U, Z = np.ascontiguousarray(U, inner), Z.astype(inner, copy=False)
        if shift:
            U, Z = scaled(U, -shift), scaled(Z, -shift)
            tol = tol if wanted.relative else float(scaled(tol, -shift))
        problem = replace(wanted, U=read_only(U), Z=Z, tol=tol, shift=shift)
        found = _settled(problem, _run(problem, method), method, rows)
        return _refined(problem, found, rows) if refine else found

    return by_exponent(settled, exponents(wanted.delivered, wanted.U, wanted.Z))


def by_exponent(settled: Callable[[Ints, int], Settled], shift: Ints) -> Settled:
    """Settle samples of like exponents together, and put what became of them in order."""
    groups = [np.flatnonzero(shift == power) for power in np.unique(shift)]
    parts = [settled(rows, int(shift[rows[0]])) for rows in groups]
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate(groups))
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])[order] for name in PER_SAMPLE
    }
    return Settled(**joined, method=parts[-1].method)


def _require_options(method: str, dt: Any, initial: Any, t_max: Any, max_steps: Any) -> None:
    """Raise if an option is given that the method would ignore."""
    if dt is not None and method not in STEPPED:
        raise ConfigError(f"dt has no meaning for method {method!r}; use one of {', '.join(STEPPED)}, or leave dt out.")
    if method == "direct":
        for name, value in {"initial": initial, "t_max": t_max, "max_steps": max_steps}.items():
            if value is not None:
                raise ConfigError(
                    f"{name} has no meaning for method {method!r}, which simulates nothing; leave it out."
                )


def _run(problem: Problem, method: str) -> SolverResult:
    if method == "direct":
        return settle_directly(problem)
    fixed = method == "rk45" and problem.dt is not None
    return settle_explicitly(problem, method) if fixed else SIMULATIONS[method](problem, method)


def _settled(problem: Problem, run: SolverResult, method: str, rows: Ints) -> Settled:
    """Certify the states of a run and name what came of each."""
    Z, moved = problem.rounded(run.Z)
    xbar = scaled(problem.circuit.readout(Z), problem.shift) if problem.shift else problem.circuit.readout(Z)
    lost = np.flatnonzero(~np.isfinite(Z).all(axis=1) | ~np.isfinite(xbar).all(axis=1) | (run.code == DIVERGED))
    if lost.size:
        raise DivergenceError(
            f"the activity must stay within {Z.dtype}; sample {rows[lost[0]]} left it ({lost.size} such in all). "
            "Scale the inputs, or use float64."
        )
    proof = _proof(problem, run, Z, moved)
    outcome = np.full(len(Z), "precision", "<U9")
    by_time = run.steps < problem.max_steps
    outcome[run.code == RUNNING] = np.where(by_time, "time", "steps")[run.code == RUNNING]
    outcome[problem.certifies(Z, proof.bound)] = "settled"
    return Settled(
        xbar=xbar,
        residual=scaled_up(proof.residual, problem.shift) if problem.shift else proof.residual,
        bound=scaled_up(proof.bound, problem.shift) if problem.shift else proof.bound,
        steps=run.steps,
        products=run.products,
        time=run.time,
        outcome=outcome,
        method=method,
    )


def _refined(problem: Problem, found: Settled, rows: Ints) -> Settled:
    """Take the rounding off samples at rest but for it, by a solution that is refined in extended precision."""
    stuck = np.flatnonzero(found.outcome == "precision")
    if not stuck.size:
        return found
    part = problem.only(stuck)
    part = replace(part, U=part.U.astype(np.float64), Z=part.Z.astype(np.float64))
    exact = _settled(part, settle_directly(part), found.method, rows[stuck])
    better = exact.bound < found.bound[stuck]
    new = {name: getattr(found, name).copy() for name in ("xbar", "residual", "bound", "outcome")}
    for name, values in new.items():
        values[stuck[better]] = getattr(exact, name)[better]
    return replace(found, **new)


def _proof(problem: Problem, run: SolverResult, Z: Floats, moved: Floats | float) -> Certificate:
    """Return the bound that the method has proven, and where that does not do, the sharper one of three products.

    What rounding the end to Z has moved comes on top.
    """
    circuit, samples = problem.circuit, len(Z)
    low, size = circuit.spectrum.sigma_low, circuit.state_size
    residual = np.full(samples, np.inf) if run.proven is None else run.proven.astype(np.float64)
    bound, moved = bound_of(residual, low, size), np.broadcast_to(moved * (1 + size * EPS), (samples,))
    rows = np.flatnonzero(~problem.certifies(Z, bound + moved))
    if rows.size:
        sharp = certified(circuit.matrix, problem.U[rows], run.Z[rows], circuit.spectrum.sharp_sigma_low)
        residual[rows], bound[rows] = sharp.residual, sharp.bound
    return Certificate(residual + circuit.frobenius * moved, (bound + moved) * (1 + EPS))
