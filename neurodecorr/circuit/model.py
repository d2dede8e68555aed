"""Synapses as they are built: each off by a random share of its weight."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import scipy.linalg.lapack

from neurodecorr._numerics.norms import frobenius
from neurodecorr._numerics.simd import in_panels, read_only
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import FEW, generator, numeral, positive, square
from neurodecorr.circuit.spectrum import Spectrum, two_population_spectrum
from neurodecorr.errors import ConfigError, IllConditionedWarning, InputError


class Factors:
    """Factors of A, kept for repeated solves, by several threads at once if need be.

    ::

        A⁻¹ u

    Parameters
    ----------
    A : (N, N) array
        Invertible matrix, float64.
    symmetric : bool
        Whether A equals its transpose; Cholesky is tried first then.
    cholesky : (N, N) array, optional
        Cholesky factor of A, lower, where it has been made already.
    """

    def __init__(self, A: Floats, symmetric: bool, cholesky: Floats | None = None) -> None:
        self._pivots: Any = None
        if symmetric and cholesky is None:
            factor, failed = scipy.linalg.lapack.dpotrf(A.T, lower=1, clean=0)
            cholesky = None if failed else factor
        self.definite = cholesky is not None
        if cholesky is None:
            self._factor, self._pivots, _ = scipy.linalg.lapack.dgetrf(A)
            self._pivots.setflags(write=False)
        else:
            self._factor = cholesky
        self._factor.setflags(write=False)

    def solve(self, U: Floats) -> Floats:
        """Return A⁻¹u for each row u of U."""
        if self.definite:
            Z = scipy.linalg.lapack.dpotrs(self._factor, U.T, lower=1)[0]
        else:
            # LAPACK counts from 1: scipy raises the pivots that it is given, in place and without the lock, and lowers
            # them afterwards. Threads that share them read rows that do not exist.
            Z = scipy.linalg.lapack.dgetrs(self._factor, self._pivots.copy(), U.T)[0]
        return np.ascontiguousarray(Z.T)


CONDITION_WARNING = 1e12
CONDITION_LIMIT = 1e15
# Largest ratio of the time constants of two populations.
LARGEST_RATIO = 1e12


@short_repr
class LinearCircuit(ABC):
    """Interface of a linear circuit: matrix, rates, spectrum.

    What is computed once is kept, and cannot be written: several threads may use one circuit.

    ::

        dz/ds = κ ∘ (u − A z),    s = t/τ,    x̄ = z[:n]
    """

    R: Floats
    tau: float

    def __getstate__(self) -> dict[str, Any]:
        """Return the description alone: what a circuit keeps for its next call is made again where it is needed."""
        return {one.name: getattr(self, one.name) for one in fields(cast(Any, self))}

    @property
    @abstractmethod
    def matrix(self) -> Floats:
        """Matrix A of the state, (N, N); its entries are those of R, unrounded."""

    @property
    @abstractmethod
    def rates(self) -> Floats:
        """Relative rate κ of each entry of the state, (N,): τ over its own time constant."""

    @property
    @abstractmethod
    def spectrum(self) -> Spectrum:
        """Spectral facts, computed once."""

    @cached_property
    def weights_spectrum(self) -> Spectrum:
        """Spectral facts of R itself, computed once."""
        return Spectrum(self.R.astype(np.float64, copy=False))

    @property
    def size(self) -> int:
        """Number of units in the read-out, n."""
        return int(self.R.shape[0])

    @property
    def state_size(self) -> int:
        """Number of entries of the state, N ≥ n."""
        return int(self.matrix.shape[0])

    @property
    def flow(self) -> Floats:
        """Matrix diag(κ) A of the dynamics, (N, N), float64; minus the Jacobian per τ."""
        return self.spectrum.flow

    @cached_property
    def frobenius(self) -> float:
        """Frobenius norm of A, computed once."""
        return frobenius(self.wide)

    @cached_property
    def wide(self) -> Floats:
        """A in float64; no copy where there is one."""
        return read_only(self.matrix.astype(np.float64, copy=False))

    @cached_property
    def panels(self) -> Floats:
        """Copy of A in panels of rows, for compiled products; made once."""
        return in_panels(self.matrix)

    @cached_property
    def factors(self) -> Factors:
        """Factorisation of A, computed once; that of the proof of σ_min serves a symmetric A."""
        symmetric = self.spectrum.symmetric
        return Factors(self.wide, symmetric, self.spectrum.coercivity.factor if symmetric else None)

    def drive(self, X: Floats) -> Floats:
        """Return the drive u of the whole state for inputs X, (samples, n) → (samples, N)."""
        return _padded(X, self.state_size, at_end=True)

    def state(self, xbar: Floats) -> Floats:
        """Return the state with this read-out and all else at rest, (samples, n) → (samples, N)."""
        return _padded(xbar, self.state_size, at_end=False)

    def readout(self, Z: Floats) -> Floats:
        """Return the read-out x̄ of states, (…, N) → (…, n)."""
        return Z[..., : self.size]

    def unit(self, index: int) -> str:
        """Return the name of one entry of the state."""
        return f"unit {index}" if index < self.size else f"error unit {index - self.size}"


@short_repr
@dataclass(frozen=True, eq=False, repr=False)
class Circuit(LinearCircuit):
    """Recurrent decorrelating circuit of n units.

    ::

        τ dx̄/dt = x − R x̄,        x̄* = R⁻¹ x

    It settles from every start if and only if all eigenvalues of R have a positive real part.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights, R[i, j] from unit j to unit i. Copied; float32 stays float32.
    tau : float, default 1.0
        Time constant τ > 0; its unit is the unit of every time and step that you pass or get.

    Raises
    ------
    InputError
        If R is not square, not finite, or singular (condition > 1e15), or its largest weight beyond 1e±77.
    ConfigError
        If τ ≤ 0.

    Warns
    -----
    IllConditionedWarning
        If the condition of R exceeds 1e12.

    Examples
    --------
    >>> from neurodecorr.circuit.settle import settle
    >>> circuit = Circuit([[2.0, 1.0], [1.0, 2.0]])
    >>> circuit
    Circuit(n=2, tau=1.0)
    >>> settle(circuit, [3.0, 3.0]).xbar.round(6)
    array([1., 1.])

    References
    ----------
    "Correlations are ruining your gradient descent", §3.2 and Appendix D.
    """

    R: Floats
    tau: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "R", _weights(self.R))
        object.__setattr__(self, "tau", positive(self.tau, "tau"))
        _require_regular(self.weights_spectrum)

    @property
    def matrix(self) -> Floats:
        """Matrix A = R."""
        return self.R

    @property
    def wide(self) -> Floats:
        """R in float64, which the spectrum keeps already."""
        return self.weights_spectrum.flow

    @cached_property
    def rates(self) -> Floats:
        """Relative rates κ = 1."""
        return read_only(np.ones(self.size, self.R.dtype))

    @property
    def frobenius(self) -> float:
        """Frobenius norm of R, which the spectrum keeps already."""
        return self.weights_spectrum.size_bound

    @property
    def spectrum(self) -> Spectrum:
        """Spectral facts of the dynamics, which are those of R."""
        return self.weights_spectrum

    def adjoint(self) -> Circuit:
        """Return the circuit with Rᵀ, which carries errors backwards: it settles at R⁻ᵀe = Mᵀe."""
        return Circuit(self.R.T, self.tau)

    def two_population(self, tau_error: float | None = None) -> TwoPopulationCircuit:
        """Return the circuit with error units that settles at the same x̄* for every invertible R."""
        return TwoPopulationCircuit(self.R, self.tau, tau_error)

    def __repr__(self) -> str:
        return f"Circuit(n={self.size}, tau={self.tau})"


@short_repr
@dataclass(frozen=True, eq=False, repr=False)
class TwoPopulationCircuit(LinearCircuit):
    """Circuit of n units and n error units, stable for every invertible R.

    ::

        τ_e ė = (x − R x̄) − e,    τ dx̄/dt = Rᵀe,        x̄* = R⁻¹x,  e* = 0

    With state z = (x̄, e): A = [[0, −Rᵀ], [R, I]], u = (0, x), κ = (1, τ/τ_e). Each singular value σ of R makes
    two modes, λ² − (τ/τ_e)(λ − σ²) = 0, both with Re λ > 0. The price: reciprocal synapses R and Rᵀ, and a slowest
    mode that goes with σ_min².

    Parameters
    ----------
    R : (n, n) array
        Weights from the units to the error units; used transposed on the way back.
    tau : float, default 1.0
        Time constant τ > 0 of the units.
    tau_error : float, optional
        Time constant τ_e > 0 of the error units, in the unit of `tau`; equal to `tau` by default.

    Raises
    ------
    InputError
        If R is not square, not finite, or singular (condition > 1e15).
    ConfigError
        If a time constant is ≤ 0, or the two differ by a factor beyond 1e12.

    Examples
    --------
    >>> from neurodecorr.circuit.settle import settle
    >>> settle(TwoPopulationCircuit([[-2.0]]), [4.0], tol=1e-9).xbar.round(6)
    array([-2.])
    """

    R: Floats
    tau: float = 1.0
    tau_error: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "R", _weights(self.R))
        object.__setattr__(self, "tau", positive(self.tau, "tau"))
        tau_error = self.tau if self.tau_error is None else positive(self.tau_error, "tau_error")
        object.__setattr__(self, "tau_error", tau_error)
        if not 1 / LARGEST_RATIO <= self.tau / tau_error <= LARGEST_RATIO:
            raise ConfigError(
                f"tau and tau_error must differ by a factor of at most {LARGEST_RATIO:.0e}; got "
                f"{numeral(self.tau)} and {numeral(tau_error)}."
            )
        _require_regular(self.weights_spectrum)

    @property
    def rate(self) -> float:
        """Rate τ/τ_e of the error units."""
        assert self.tau_error is not None
        return self.tau / self.tau_error

    @cached_property
    def matrix(self) -> Floats:
        """Matrix A = [[0, −Rᵀ], [R, I]]."""
        n = self.size
        A = np.zeros((2 * n, 2 * n), self.R.dtype)
        A[:n, n:] = -self.R.T
        A[n:, :n] = self.R
        A[n:, n:] = np.eye(n)
        return read_only(A)

    @cached_property
    def rates(self) -> Floats:
        """Relative rates κ = (1, τ/τ_e)."""
        return read_only(np.repeat([1.0, self.rate], self.size).astype(self.R.dtype))

    @cached_property
    def spectrum(self) -> Spectrum:
        """Spectral facts of the pair of populations, from the singular values of R, computed once."""
        return two_population_spectrum(self.weights_spectrum, self.matrix.astype(np.float64), self.rate)

    def __repr__(self) -> str:
        return f"TwoPopulationCircuit(n={self.size}, tau={self.tau}, tau_error={self.tau_error})"


def require_circuit(circuit: Any) -> LinearCircuit:
    """Return `circuit` if it is one; a bare matrix gets the advice to wrap it."""
    if isinstance(circuit, LinearCircuit):
        return circuit
    raise InputError(f"circuit must be a circuit; got {type(circuit).__name__}. Use Circuit(R, tau).")


def require_size(weights: Floats, dtype: npt.DTypeLike) -> None:
    """Raise unless the largest weight leaves room in the range of floats for products and for squares of norms.

    Raises
    ------
    InputError
        If it is not between 2⁻²⁵⁶ and 2²⁵⁶, 2⁻⁶⁴ and 2⁶⁴ in float32; a matrix of zeros is singular, not small.
    """
    room = 64 if dtype == np.float32 else 256
    # ‖R‖_F lies between the largest weight and √(number of weights) times that.
    if weights.size <= FEW and (
        2.0**-room * math.sqrt(weights.size) <= math.sqrt(np.vdot(weights, weights)) <= 2.0**room
    ):
        return
    largest = max(float(weights.max(initial=0.0)), -float(weights.min(initial=0.0)))
    if largest > 0 and not 2.0**-room <= largest <= 2.0**room:
        raise InputError(
            f"the largest weight of R must lie between {2.0**-room:.2g} and {2.0**room:.2g} ({np.dtype(dtype)}); got "
            f"{largest:.3g}. Change the unit of x̄, which divides R and multiplies τ."
        )


def _weights(R: Any) -> Floats:
    own = np.array(square(R, "R"), order="C", copy=True)
    require_size(own, own.dtype)
    own.setflags(write=False)
    return own


def _require_regular(spectrum: Spectrum) -> None:
    if spectrum.condition_bound <= CONDITION_WARNING:
        return
    condition = spectrum.condition
    facts = (
        f"its singular values run from {spectrum.sigma_min:.3g} to {spectrum.sigma_max:.3g}: condition {condition:.3g}"
    )
    if not condition <= CONDITION_LIMIT:
        raise InputError(
            f"R must be invertible, with a condition ≤ {CONDITION_LIMIT:.0e}; {facts}. "
            "Remove collinear units, or regularise R before building the circuit."
        )
    if condition > CONDITION_WARNING:
        message = f"R should have a condition ≤ {CONDITION_WARNING:.0e}; {facts}. Certified bounds grow with it."
        warnings.warn(message, IllConditionedWarning, stacklevel=4)


def _padded(X: Floats, state_size: int, at_end: bool) -> Floats:
    samples, n = X.shape
    if n == state_size:
        return X
    Z = np.zeros((samples, state_size), X.dtype)
    Z[:, state_size - n if at_end else 0 :][:, :n] = X
    return Z


def mismatched(weights: npt.ArrayLike, level: float, seed: int | np.random.Generator = 0) -> Floats:
    """Return a copy of R or M whose synapses are off by random shares of their weights.

    ::

        W_ij ← W_ij (1 + σ ξ_ij),    ξ_ij ~ N(0, 1)

    The draws ξ depend on the seed alone: one seed misses all weights of one shape alike, at every level.

    Parameters
    ----------
    weights : (n, n) array
        R or M.
    level : float
        Standard deviation σ > 0 of the relative mismatch.
    seed : int or numpy.random.Generator, default 0
        Chooses ξ.

    Returns
    -------
    (n, n) array
        The weights as built.

    Examples
    --------
    >>> import numpy as np

    >>> R = mismatched(np.diag([1.0, 2.0]), 0.1, seed=1)
    >>> bool(R[0, 1] == 0), bool(0 < abs(R[1, 1] / 2 - 1) < 0.5)
    (True, True)
    """
    W, sigma = square(weights, "weights"), positive(level, "level")
    return np.asarray(W * (1 + sigma * generator(seed).standard_normal(W.shape)))
