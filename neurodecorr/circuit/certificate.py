"""The certificate: a bound on the distance to the rest state that holds in floating point.

::

    ‖z − z*‖ = ‖A⁻¹(u − A z)‖ ≤ ‖u − A z‖ / σ_min(A)

Three things could break it: the rounding of the residual, which cancels, that of σ_min, and underflow. All are bounded
here. Rows near the ends of the range of floats are scaled by powers of two, which is exact, and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.norms import EPS, least_unit, norms, underflow
from neurodecorr._numerics.sparse import Rows
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats
from neurodecorr._validation import sample_or_samples
from neurodecorr.circuit.bounds import rows_of
from neurodecorr.circuit.model import LinearCircuit, require_circuit
from neurodecorr.circuit.sparse import SparseCircuit
from neurodecorr.errors import InputError

TINY = float(np.finfo(np.float64).tiny)
LEAST = least_unit(np.float64)
# The test while running leaves the final certificate room for its own rounding, which is ≪ 1e-9 of the residual.
CERTIFICATE_MARGIN = 1 - 1e-9
# Largest power of two, up and down, at which samples are taken as they are: products with any circuit, and all but the
# squares of norms, then stay within the range of floats.
SAFE_EXPONENTS = {np.dtype(np.float64): 300, np.dtype(np.float32): 40}


@short_repr
@dataclass(frozen=True)
class Certificate:
    """Residual and certified error of settled samples.

    Parameters
    ----------
    residual : (samples,) array
        ‖x − R x̄‖, in the unit of the input.
    bound : (samples,) array
        Certified upper bound of ‖x̄ − x̄*‖, in the unit of the activity.
    """

    residual: Any
    bound: Any


def certificate(circuit: LinearCircuit | SparseCircuit, X: npt.ArrayLike, xbar: npt.ArrayLike) -> Certificate:
    """Certify how far read-outs are from where the circuit settles, whoever computed them.

    ::

        ‖x̄ − x̄*‖ ≤ ‖x − R x̄‖ / σ_min(R)

    Parameters
    ----------
    circuit : Circuit, TwoPopulationCircuit or SparseCircuit
        The circuit.
    X : (samples, n) or (n,) array
        Inputs.
    xbar : (samples, n) or (n,) array
        Read-outs to judge.

    Returns
    -------
    Certificate
        Residual and bound per sample; numbers for one sample.

    Examples
    --------
    >>> from neurodecorr.circuit.model import Circuit
    >>> float(round(certificate(Circuit([[2.0]]), [4.0], [1.5]).bound, 6))
    0.5
    """
    if not isinstance(circuit, SparseCircuit):
        circuit = require_circuit(circuit)
    drives, single = sample_or_samples(X, "X", circuit.size)
    readouts, _ = sample_or_samples(xbar, "xbar", circuit.size)
    if len(drives) != len(readouts):
        raise InputError(f"xbar must have one row per row of X; got {len(readouts)} for {len(drives)}.")
    low = circuit.sigma.low if isinstance(circuit, SparseCircuit) else circuit.weights_spectrum.sharp_sigma_low
    found = certified(circuit.R, drives, readouts, low)
    return Certificate(found.residual[0], found.bound[0]) if single else found


def certified(A: Any, U: Floats, Z: Floats, sigma_low: float) -> Certificate:
    """Return residual and bound per row, with the rounding of the residual, of σ_min and of the norms included.

    A is dense, or a CSR matrix, whose residual is a plain one.

    Reference: Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd edition, §7.1.
    """
    shift = exponents(np.float64, U, Z)
    if shift.any():
        U, Z = scaled(U.astype(np.float64), -shift[:, None]), scaled(Z.astype(np.float64), -shift[:, None])
    gap, rounding = _sparse_residuals(A, U, Z) if scipy.sparse.issparse(A) else residual(A, U, Z)
    norm = norms(gap)
    bound = bound_of(norm + rounding, sigma_low, Z.shape[1])
    return Certificate(scaled_up(norm, shift), scaled_up(bound, shift)) if shift.any() else Certificate(norm, bound)


def bound_of(proven: Any, sigma_low: float, size: int) -> Any:
    """Return the distance to rest that a proven residual allows, with the rounding of its norm over `size` entries."""
    if not sigma_low > 0:
        return np.full(np.shape(proven), math.inf)
    return proven / sigma_low * (1 + (size + 10) * EPS) + LEAST * (proven > 0)


def exponents(dtype: npt.DTypeLike, *rows: Floats) -> npt.NDArray[np.int64]:
    """Return per sample the power of two by which to divide it: 0 unless it lies near an end of the range of a type.

    A sample is as large as the largest entry of its `rows`, (samples, n) each, but no more than the root of the range
    below the largest of the first: what is smaller than that would be lost.
    """
    safe = SAFE_EXPONENTS[np.dtype(dtype)]
    sizes = [np.frexp(np.maximum(part.max(axis=1), -part.min(axis=1)).astype(np.float64)) for part in rows]
    powers = [np.where(size > 0, power, -(2**20)) for size, power in sizes]
    own, largest = powers[0], np.maximum.reduce(powers)
    own = np.maximum(np.where(own < -(2**19), largest, own), largest - safe)
    beyond = (own > safe) | (own < -safe) & (own > -(2**19))
    return np.where(beyond, own, 0).astype(np.int64)


def scaled(values: Any, shift: Any) -> Any:
    """Return values · 2^shift: exact, but for what leaves the range of floats."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(values, shift)


def scaled_up(values: Any, shift: Any) -> Any:
    """Return upper bounds · 2^shift, rounded up where they underflow."""
    return scaled(values, shift) + LEAST * ((values > 0) & (shift < 0))


def residual(A: Floats, U: Floats, Z: Floats) -> tuple[Floats, Floats]:
    """Return u − A z per row as if in one and a half times float64, and a bound on the rounding left in it.

    A and z are split into heads of so few bits that head times head is exact in float64, in any order of summation
    (Ozaki et al. 2012, Numer. Algorithms 59, 95)::

        u − A z = ((u − A_h z_h) − A_h z_t) − A_t z

    What cancels is exact; what rounds is smaller by 2⁻²⁰.
    """
    A, U, Z = (array.astype(np.float64) for array in (A, U, Z))
    size = A.shape[1]
    bits = (53 - math.ceil(math.log2(size))) // 2
    A_head, Z_head = _head(A, bits), _head(Z, bits)
    A_tail, Z_tail = A - A_head, Z - Z_head
    gap = ((U - Z_head @ A_head.T) - Z_tail @ A_head.T) - Z @ A_tail.T
    state = norms(Z)
    tails = np.linalg.norm(A_head) * norms(Z_tail) + np.linalg.norm(A_tail) * state
    # γ_N per product of a tail, one rounding per subtraction; ε is twice the unit roundoff, which covers the rest. Of a
    # scaled row entries may have underflowed, by half the least number each.
    lost = 4 * underflow(size) * (1 + np.linalg.norm(A)) * (state > 0)
    return gap, EPS * (3 * norms(gap) + (size + 8) * tails) + lost


@jit()
def sparse_residual(A: Rows, u: Array, z: Array, gap: Array, noise: Array) -> None:
    """Write u − A z and a bound on its rounding, γ (|u| + |A||z|), in float64."""
    unit = 2.0**-53
    for i in range(u.size):
        total = np.float64(u[i])
        size = abs(total)
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            term = np.float64(A.data[s]) * np.float64(z[np.uint32(A.indices[s])])
            total -= term
            size += abs(term)
        gap[i] = total
        # n products and n subtractions, in any order: γ_{n+1}; 1.01 covers its denominator and the sum of sizes.
        noise[i] = 1.01 * (A.indptr[i + 1] - A.indptr[i] + 2) * unit * size


def _sparse_residuals(A: Any, U: Floats, Z: Floats) -> tuple[Floats, Floats]:
    """Return u − A z per row, and a bound on its rounding, by one pass over the synapses each."""
    rows, gap, noise = rows_of(A), np.empty(U.shape), np.empty(U.shape)
    for row in range(len(U)):
        sparse_residual(rows, U[row], Z[row], gap[row], noise[row])
    return gap, norms(noise) + underflow(A.shape[0]) * Z.any(axis=1)


def _head(matrix: Floats, bits: int) -> Floats:
    """Return the leading `bits` bits of each row, on the grid of the row's largest entry."""
    exponent = np.frexp(np.abs(matrix).max(axis=1, keepdims=True))[1]
    grid = np.maximum(np.ldexp(1.0, exponent - bits), TINY)
    return np.asarray(np.rint(matrix / grid) * grid)


class Tolerance(NamedTuple):
    """Bounds that a running method compares its residual with: the goal, and the level of rounding.

    Parameters
    ----------
    absolute, relative : float
        The residual to reach is `absolute` + `relative` ‖x̄‖; a negative `absolute` is never reached.
    noise, noise_drive : float
        Rounding of a plain residual: `noise` ‖z‖ + `noise_drive` ‖u‖.
    readout : int
        Number n of read-outs at the head of the state.
    patience : float
        Steps in which a residual below its rounding must still halve; otherwise it has stalled.
    floor : float
        What underflow adds to the rounding of a plain residual, unless the state is zero.
    """

    absolute: float
    relative: float
    noise: float
    noise_drive: float
    readout: int
    patience: float
    floor: float


def plain_rounding(circuit: LinearCircuit, dtype: npt.DTypeLike = np.float64) -> tuple[float, float]:
    """Return the rounding of a plain residual per ‖z‖ and per ‖u‖.

    ::

        ‖fl(u − A z) − (u − A z)‖ ≤ γ ‖A‖_F ‖z‖ + γ ‖u‖,    γ = (N + 2) ε

    Reference: Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd edition, §3.1.
    """
    gamma = (circuit.state_size + 2) * (EPS if dtype is np.float64 else float(np.finfo(dtype).eps))
    return gamma * circuit.frobenius, gamma


def target(
    circuit: LinearCircuit, low: float, tol: float, relative: bool, dtype: npt.DTypeLike, patience: float
) -> Tolerance:
    """Return the goal ‖z − z*‖ ≤ tol, or ≤ tol ‖x̄*‖, for a method that runs in this precision; σ_min ≥ `low`.

    Relative: bound ≤ tol (‖x̄‖ − bound) ≤ tol ‖x̄*‖, so bound ≤ tol/(1 + tol) ‖x̄‖.
    """
    noise, noise_drive = plain_rounding(circuit, dtype)
    share = low * tol / (1 + tol) if relative else 0.0
    floor = underflow(circuit.state_size, dtype)
    return Tolerance(0.0 if relative else low * tol, share, noise, noise_drive, circuit.size, patience, floor)


def wide_target(
    circuit: LinearCircuit, low: float, tol: float, relative: bool, dtype: npt.DTypeLike, patience: float
) -> Tolerance:
    """Return the goal of a run in float64 whose end is rounded to `dtype`, by at most half an ulp of each entry.

    What rounding will add to the bound, u ‖z‖, is taken off the tolerance, or half of that where it is no larger.
    """
    goal = target(circuit, low, tol, relative, np.float64, patience)
    if np.dtype(dtype) == np.float64:
        return goal
    rounding = float(np.finfo(dtype).eps) / 2
    if relative:
        return target(circuit, low, max(tol - (1 + 2 * tol) * rounding, tol / 2), relative, np.float64, patience)
    return goal._replace(relative=-low * rounding)


def rounding_level(state: Any, drive: Any, goal: Tolerance) -> Any:
    """Return the bound on the rounding of a plain residual, from the norms of state and drive.

    Reference: Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd edition, §3.1.
    """
    return goal.noise * state + goal.noise_drive * drive + goal.floor * (state > 0)


def reached(gap: Any, noise: Any, readout: Any, goal: Tolerance) -> Any:
    """Tell whether a plain residual of norm `gap` meets the goal.

    Its rounding is added, but at most the residual once more: beyond that the plain residual proves nothing either way
    and the final certificate, which is sharper, decides.
    """
    return gap + np.minimum(gap, noise) <= (goal.absolute + goal.relative * readout) * CERTIFICATE_MARGIN
