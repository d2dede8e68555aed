"""One settling problem, and what a method makes of it: the words that all methods share."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.norms import norms
from neurodecorr._numerics.simd import read_only
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats, Ints
from neurodecorr._validation import count, sample_or_samples, steps_within
from neurodecorr.circuit.certificate import Tolerance, scaled, target, wide_target
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.errors import InputError

LARGEST_COUNT = 2**62
PER_SAMPLE = ("xbar", "residual", "bound", "steps", "products", "time", "outcome")


@dataclass(frozen=True, eq=False)
class Problem:
    """Drives and starting states of a circuit that is to settle.

    Parameters
    ----------
    circuit : LinearCircuit
        The circuit.
    U, Z : (samples, N) array
        Drives and starting states, in the precision of the run.
    tol : float
        Largest distance to rest; a share of ‖x̄*‖ if `relative`.
    relative : bool
        Whether `tol` is relative.
    dt : float or None
        Step in units of τ; None lets the method choose.
    t_max : float
        Longest time in units of τ.
    max_steps : int
        Largest number of steps.
    delivered : dtype, optional
        Precision that the end of a run is rounded to, where that is not the precision of the run.
    known : dict
        Propagators made so far, by their step; shared by the problems of one run.
    shift : int
        Drives, states and an absolute tolerance are those of the user over 2^shift.
    sharp : bool
        Whether a run may end only where the sharp bound of σ_min says so: its time is then the true one, and all
        singular values are computed once. Otherwise the cheapest bound does.
    """

    circuit: LinearCircuit
    U: Floats
    Z: Floats
    tol: float = 1e-6
    relative: bool = False
    dt: float | None = None
    t_max: float = math.inf
    max_steps: int = LARGEST_COUNT
    delivered: np.dtype[Any] | None = None
    known: dict[Any, Floats] = field(default_factory=dict)
    shift: int = 0
    sharp: bool = True

    @property
    def sigma_low(self) -> float:
        """Certified lower bound of σ_min that the goal of a run rests on."""
        spectrum = self.circuit.spectrum
        return spectrum.sharp_sigma_low if self.sharp else spectrum.sigma_low

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the run."""
        return self.U.dtype

    @cached_property
    def A(self) -> Floats:
        """Matrix of the circuit in the precision of the run, read-only."""
        return read_only(np.ascontiguousarray(self.circuit.matrix, self.dtype))

    @cached_property
    def rates(self) -> Floats:
        """Relative rates in the precision of the run."""
        return self.circuit.rates.astype(self.dtype)

    @property
    def first_product(self) -> int:
        """Products for the residual of the start: none from zero, where it is the drive."""
        return int(self.Z.any())

    def goal(self, shrinkage: float) -> Tolerance:
        """Return the goal of a method that shrinks the slowest mode by this factor per step, < 1."""
        patience = 4 * math.log(2) / -math.log(min(max(shrinkage, 1e-3), 1 - 1e-15)) + 16
        if self.delivered is None or self.U.dtype == self.delivered:
            return target(self.circuit, self.sigma_low, self.tol, self.relative, self.dtype, patience)
        return wide_target(self.circuit, self.sigma_low, self.tol, self.relative, self.delivered, patience)

    def rounded(self, Z: Floats) -> tuple[Floats, Floats | float]:
        """Return states in the precision in which they are delivered, and how far that moves each of them."""
        same = self.delivered is None or self.delivered == Z.dtype
        if same and not self.shift:
            return Z, 0.0
        rounded = Z if same else Z.astype(self.delivered)
        if self.shift:
            rounded = scaled(scaled(rounded, self.shift), -self.shift)
        return rounded, norms(Z - rounded.astype(np.float64)) if np.isfinite(rounded).all() else np.inf

    def certifies(self, Z: Floats, bound: Floats) -> npt.NDArray[np.bool_]:
        """Tell which of these states are near enough to rest, given the certified bound of each."""
        if not self.relative:
            return np.asarray(bound <= self.tol)
        return np.asarray(bound <= self.tol * (norms(self.circuit.readout(Z)) - bound))

    def count_of(self, dt: float) -> int:
        """Return how many steps of `dt` the limits on time and steps allow."""
        return int(min(self.max_steps, steps_within(self.t_max, dt), LARGEST_COUNT))

    def only(self, rows: npt.NDArray[Any]) -> Problem:
        """Return the problem of some rows."""
        return replace(self, U=read_only(self.U[rows]), Z=self.Z[rows])


@dataclass(frozen=True, eq=False)
class SolverResult:
    """States, residuals and outcomes that a method returns, per sample.

    Parameters
    ----------
    Z : (samples, N) array
        States where the method stopped.
    steps, products : (samples,) array
        Steps in time, and matrix–vector products.
    time : (samples,) array
        Simulated time in units of τ; NaN where nothing was simulated.
    code : (samples,) array
        Why it stopped: RUNNING (a limit), MET (the goal), STALLED (rounding), DIVERGED.
    proven : (samples,) array, optional
        Upper bound of ‖u − A z‖ that the method has proven on the way, its rounding included.
    """

    Z: Floats
    steps: Ints
    products: Ints
    time: Floats
    code: Ints
    proven: Floats | None = None

    def patched(self, rows: npt.NDArray[Any], other: SolverResult) -> SolverResult:
        """Return this run with some rows settled by another, whose products come on top."""
        new = copy.deepcopy(self)
        new.Z[rows], new.steps[rows], new.time[rows], new.code[rows] = other.Z, other.steps, other.time, other.code
        new.products[rows] += other.products
        if new.proven is not None:
            new.proven[rows] = np.inf if other.proven is None else other.proven
        return new


@short_repr
@dataclass(frozen=True, eq=False)
class Settled:
    """Settled activity with its certificate, per sample; numbers instead of (samples,) arrays for one sample.

    Parameters
    ----------
    xbar : (samples, n) array
        Settled activity.
    residual : (samples,) array
        ‖u − A z‖ at the end, or an upper bound of it where that proves the tolerance; ‖x − R x̄‖ for a `Circuit`.
    bound : (samples,) array
        Certified upper bound of ‖x̄ − x̄*‖, whatever the outcome.
    steps : (samples,) array
        Steps in time: Euler, Runge–Kutta or implicit steps, or exact steps of dt. 0 where nothing was simulated.
    products : (samples,) array
        Matrix–vector products spent on a sample, those of rejected steps and abandoned methods included; 0 where only
        factors were.
    time : (samples,) array
        Simulated time in units of τ; NaN where nothing was simulated.
    outcome : (samples,) array of str
        ``"settled"``: the bound meets the tolerance. ``"precision"``: rounding keeps it from that. ``"time"``,
        ``"steps"``: a limit came first.
    method : str
        Method that was used; tells what "auto" chose.
    predicted : dict, optional
        What "auto" chose from: the products per sample that each method was predicted to take. Empty for other methods,
        and where the prepared circuit answers at once.

    Notes
    -----
    Where "auto" takes x̄ from algebra, `steps` and `time` are those of the dynamics all the same: they are simulated
    when one of them is read first.
    """

    xbar: Any
    residual: Any
    bound: Any
    steps: Any
    products: Any
    time: Any
    outcome: Any
    method: str
    predicted: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def by_algebra(cls, march: Callable[[], tuple[Any, Any]], **facts: Any) -> Settled:
        """Return what algebra has found, whose steps and time come from `march` when they are read first."""
        found = object.__new__(cls)
        # Without these two names Python asks `__getattr__` for them.
        vars(found).update(facts, _march=march)
        return found

    def __getattr__(self, name: str) -> Any:
        march = vars(self).get("_march") if name in ("steps", "time") else None
        if march is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        # Two threads that read at once both simulate, and find the same.
        steps, time = march()
        vars(self).update(steps=steps, time=time)
        return vars(self)[name]

    def __repr__(self) -> str:
        bound, settled = np.atleast_1d(self.bound), np.atleast_1d(self.settled)
        worst = float(bound.max()) if bound.size else 0.0
        return (
            f"Settled({int(settled.sum())} of {settled.size} samples, n={np.shape(self.xbar)[-1]}, "
            f"bound ≤ {worst:.3g}, method={self.method!r})"
        )

    def sample(self, index: int) -> Settled:
        """Return what became of one sample."""
        if not isinstance(self.bound, np.ndarray):
            raise InputError(f"sample chooses among several samples; this is one, of {np.size(self.xbar)} units.")
        index = count(index, "index", -len(self.bound), len(self.bound) - 1)
        facts: dict[str, Any] = {name: value[index] for name, value in vars(self).items() if name in PER_SAMPLE}
        facts |= {"method": self.method, "predicted": self.predicted}
        return Settled(**facts) if "steps" in facts else Settled.by_algebra(partial(_of_one, self, index), **facts)

    @property
    def settled(self) -> Any:
        """Whether the bound meets the tolerance, per sample."""
        return self.outcome == "settled"


def _of_one(found: Settled, index: int) -> tuple[Any, Any]:
    """Return steps and time of one of several samples."""
    return found.steps[index], found.time[index]


def drive(circuit: LinearCircuit, X: Floats, dtype: npt.DTypeLike) -> Floats:
    """Return the drives of the whole state, (samples, N), in the precision of the run."""
    return read_only(np.ascontiguousarray(circuit.drive(X), dtype))


def start(circuit: LinearCircuit, initial: npt.ArrayLike | None, samples: int, dtype: npt.DTypeLike) -> Floats:
    """Return the starting activity of each sample, (samples, n)."""
    if initial is None:
        return np.zeros((samples, circuit.size), dtype)
    given, _ = sample_or_samples(initial, "initial", circuit.size)
    if len(given) not in (1, samples):
        raise InputError(f"initial must have one row, or one per sample ({samples}); got {len(given)}.")
    return np.array(np.broadcast_to(given, (samples, circuit.size)), dtype)
