"""What a circuit keeps from its first settled sample on: factors, then its inverse, for answers at once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy import empty, ndarray

from neurodecorr._numerics.blas import one_thread, rows_product
from neurodecorr._numerics.jit import only
from neurodecorr._numerics.norms import EPS
from neurodecorr._numerics.simd import aligned, in_panels, padded, read_only
from neurodecorr._typing import Floats
from neurodecorr.circuit.certificate import CERTIFICATE_MARGIN, bound_of, plain_rounding
from neurodecorr.circuit.chebyshev_kernels import LEAST_DRIVE, solve_one
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.circuit.problem import Settled
from neurodecorr.circuit.spectrum import SMALL

# The inverse is made once this share of n samples has come one by one: it takes some n/10 solves with the factors.
WORTH_INVERTING = 1 / 64
# Two copies of a matrix of this size fill 300 MB.
LARGEST_INVERTED = 4096
# Matrices and batches up to this many multiplications are no work for several threads of a BLAS.
SERIAL = 2**18
INFINITY = math.inf
FREE = nullcontext()
_LOCK = threading.Lock()

March = Callable[..., tuple[Any, Any]]


class Prepared:
    """Settle plain samples by algebra, each certified by the residual of what is returned.

    ::

        x̄ = M u,    ‖x̄ − x̄*‖ ≤ (‖u − R x̄‖ + rounding)/σ_min(R)

    M is a factorisation first. Samples that come one by one get the inverse in a compiled call; batches, once as many
    samples as units have come, in one product: two triangular solutions take twice its time. Whatever is not plain
    (other types, scales near the ends of the range of floats, tolerances near rounding) is not answered.

    Parameters
    ----------
    circuit : Circuit
        A stable circuit without error units.
    march : function
        Simulates, for `Settled.steps` and `Settled.time`: of (circuit, X, tol, relative).
    """

    def __init__(self, circuit: LinearCircuit, march: March) -> None:
        # The circuit itself is not kept: what refers to itself is not freed before the garbage collector comes.
        self._march, spectrum = march, circuit.spectrum
        self._size, self._dtype, self._R = circuit.size, circuit.R.dtype, circuit.wide
        self._sigma = spectrum.sigma_low
        self._distance = float(bound_of(1.0, self._sigma, circuit.size)) * (1 + EPS)
        self._noise, self._noise_drive = plain_rounding(circuit)
        # Samples so far; whether algebra is known to be cheapest: the factor of the proof serves a symmetric R.
        self.seen = 0
        self.ready = circuit.size <= SMALL or "factors" in vars(circuit) or spectrum.coercivity.factor is not None
        self._inverse: Floats | None = None
        self._one: Any = None
        self._plan = np.empty(0)

    def __call__(self, circuit: LinearCircuit, X: Any, tol: Any, relative: Any, timed: bool = True) -> Settled | None:
        """Return what became of X, (n,) or (samples, n), or None if that is a question for `settle`.

        Unless it is `timed`, it has no steps, no time, and the same digits whatever came before.
        """
        if type(X) is not ndarray or type(tol) is not float or type(relative) is not bool or not 0 < tol < INFINITY:
            return None
        if X.ndim == 2:
            return self._together(circuit, X, tol, relative, timed)
        if self._one is None or not timed:
            return self._first(circuit, X, tol, relative, timed)
        xbar = empty(self._size, self._dtype)
        try:
            bound = self._one(self._plan, X, xbar, -tol if relative else tol)
        except TypeError:  # of another type, shape or layout
            return None
        return self._found(circuit, X, tol, relative, timed, xbar, bound) if bound < INFINITY else None

    def _first(self, circuit: LinearCircuit, x: Floats, tol: float, relative: bool, timed: bool) -> Settled | None:
        """Settle one sample of the type of R by the factors, and count it."""
        self.seen += timed
        if timed and self.seen > max(1.0, WORTH_INVERTING * self._size) and self._size <= LARGEST_INVERTED:
            with _LOCK:
                self._invert(circuit)
        if x.shape != (self._size,) or x.dtype != np.float64 or self._dtype != np.float64:
            return None
        with self._one_thread(1):
            z = circuit.factors.solve(x[None])[0]
            gap = x - self._R @ z
            state, drive = math.sqrt(z @ z), math.sqrt(x @ x)
            residual = math.sqrt(gap @ gap) + self._noise * state + self._noise_drive * drive
            bound = self._distance * residual
        allowed = tol * (state - bound) if relative else tol
        plain = LEAST_DRIVE <= drive <= 1 / LEAST_DRIVE or not x.any()
        if not (plain and bound <= allowed * CERTIFICATE_MARGIN):
            return None
        return self._found(circuit, x, tol, relative, timed, z, bound)

    def _together(self, circuit: LinearCircuit, X: Floats, tol: float, relative: bool, timed: bool) -> Settled | None:
        """Settle a batch of the type of R by the factors, or by the inverse where many samples come."""
        if X.dtype != np.float64 or self._dtype != np.float64 or X.shape[1] != self._size or not len(X):
            return None
        self.seen += len(X) if timed else 0
        many = self._size < (self.seen if timed else len(X)) and self._size <= LARGEST_INVERTED
        with self._one_thread(len(X)), np.errstate(all="ignore"):
            Z = rows_product(X, self._inverted(circuit)) if many else circuit.factors.solve(X)
            gap = rows_product(Z, self._R)
            np.subtract(X, gap, out=gap)
            residual, state, drive = (np.sqrt(np.einsum("ij,ij->i", rows, rows)) for rows in (gap, Z, X))
            residual += self._noise * state + self._noise_drive * drive
            bound = self._distance * residual
            allowed = tol * (state - bound) if relative else tol
            plain = (drive >= LEAST_DRIVE) & (drive <= 1 / LEAST_DRIVE)
            if not plain.all():
                plain |= ~X.any(axis=1)
            if not (plain & (bound <= allowed * CERTIFICATE_MARGIN)).all():
                return None
        return self._found(circuit, X, tol, relative, timed, Z, bound)

    def _one_thread(self, samples: int) -> AbstractContextManager[None]:
        """Keep BLAS to one thread where it would use more, and the work is small."""
        return one_thread(self._size) if samples * self._size**2 > SERIAL else FREE

    def _found(
        self, circuit: LinearCircuit, X: Floats, tol: float, relative: bool, timed: bool, xbar: Floats, bound: Any
    ) -> Settled:
        """Return the result; its samples are copied, for what the user does with them before its steps are read."""
        single = X.ndim == 1
        march = partial(self._march, circuit, X.copy(), tol, relative) if timed else partial(_motionless, X.shape[:-1])
        return Settled.by_algebra(
            march,
            xbar=xbar,
            residual=bound * self._sigma,
            bound=bound,
            products=0 if single else np.zeros(len(X), np.int64),
            outcome="settled" if single else np.full(len(X), "settled"),
            method="direct",
            predicted={},
        )

    def _inverted(self, circuit: LinearCircuit) -> Floats:
        """Return M = R⁻¹, made once; two threads that ask at once make the same."""
        if self._inverse is None:
            self._inverse = read_only(np.ascontiguousarray(circuit.factors.solve(np.eye(self._size)).T))
        return self._inverse

    def _invert(self, circuit: LinearCircuit) -> None:
        """Make the plan of the compiled call: M and R in panels, and what its proof needs."""
        if self._one is not None:
            return
        n = self._size
        with one_thread(n):
            M = self._inverted(circuit)
        rounding = (n + 16) * EPS
        facts = [n, self._distance, rounding, self._noise, self._noise_drive, *np.zeros(3)]
        parts = [np.array(facts), np.zeros(padded(n)), in_panels(-M).ravel(), in_panels(self._R).ravel()]
        plan: Any = aligned((sum(part.size for part in parts),), np.float64)
        np.concatenate(parts, out=plan)
        self._plan = read_only(plan)
        self._one = only(solve_one, self._plan, *np.zeros((2, n), self._dtype), 1.0)


def _motionless(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return no steps and no time, of one sample or of each: nothing was simulated."""
    return (np.zeros(shape, np.int64), np.full(shape, math.nan)) if shape else (0, math.nan)
