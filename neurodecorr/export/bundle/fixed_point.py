"""Weights as whole numbers times a power of two: what a digital chip with fixed point stores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import count, finite, real_array
from neurodecorr.errors import ConfigError, InputError

BITS = (2, 32)


@short_repr
@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Signed two's-complement weights of b bits, of which f come after the binary point.

    ::

        w = k 2⁻ᶠ,    k = −2ᵇ⁻¹ … 2ᵇ⁻¹ − 1

    Parameters
    ----------
    integers : (n, m) array of int32
        k.
    bits : int
        b, the sign included.
    fraction_bits : int
        f; negative where the step is larger than 1.

    Examples
    --------
    >>> import numpy as np
    >>> fixed = to_fixed_point(np.array([[1.5, -0.3]]), bits=8)
    >>> fixed.name, fixed.integers.tolist(), fixed.weights().tolist()
    ('Q1.6', [[96, -19]], [[1.5, -0.296875]])
    """

    integers: npt.NDArray[np.int32]
    bits: int
    fraction_bits: int

    def __repr__(self) -> str:
        return f"FixedPoint({self.integers.shape}, bits={self.bits}, fraction_bits={self.fraction_bits})"

    @property
    def step(self) -> float:
        """Step 2⁻ᶠ between neighbouring weights."""
        return math.ldexp(1.0, -self.fraction_bits)

    @property
    def name(self) -> str:
        """Format as Qm.f: a sign bit, m bits before the binary point and f after it, 1 + m + f = b."""
        return f"Q{self.bits - 1 - self.fraction_bits}.{self.fraction_bits}"

    def weights(self) -> Floats:
        """Return w = k 2⁻ᶠ, exact in float64.

        Returns
        -------
        (n, m) array
        """
        return np.ldexp(self.integers.astype(np.float64), -self.fraction_bits)


def to_fixed_point(weights: npt.ArrayLike, bits: int = 16) -> FixedPoint:
    """Round weights to the finest fixed-point format of so many bits in which all of them fit.

    ::

        k = rint(w 2ᶠ),    f the largest with |k| ≤ 2ᵇ⁻¹ − 1

    No weight is off by more than half a step, 2⁻ᶠ⁻¹; none is clipped. Ties go to even.

    Parameters
    ----------
    weights : (n, m) array_like
        Weights.
    bits : int
        b, 2 … 32, the sign included.

    Returns
    -------
    FixedPoint
        The whole numbers and their format.

    Raises
    ------
    ConfigError
        If `bits` lies outside 2 … 32.
    InputError
        If the weights are not a finite matrix.
    """
    W = finite(real_array(weights, "weights"), "weights").astype(np.float64)
    if W.ndim != 2 or not W.size:
        raise InputError(f"weights must be a matrix; got shape {W.shape}.")
    b = count(bits, "bits")
    if not BITS[0] <= b <= BITS[1]:
        raise ConfigError(f"bits must be {BITS[0]} … {BITS[1]}, the sign included; got {bits}.")
    most, largest = 2 ** (b - 1) - 1, float(np.abs(W).max(initial=0.0))
    if largest == 0:
        return FixedPoint(np.zeros(W.shape, np.int32), b, b - 1)
    f = b - 1 - math.frexp(largest)[1]  # w 2ᶠ < 2ᵇ⁻¹
    if np.rint(math.ldexp(largest, f)) > most:
        f -= 1
    return FixedPoint(np.rint(np.ldexp(W, f)).astype(np.int32), b, f)
