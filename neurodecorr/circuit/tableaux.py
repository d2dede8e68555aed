"""Explicit Runge–Kutta methods as data: coefficients, order, and the polynomial that decides stability."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from neurodecorr._numerics.simd import read_only
from neurodecorr._typing import Floats


@dataclass(frozen=True, eq=False)
class Tableau:
    """Butcher tableau of an explicit method.

    ::

        k_i = f(z + h ∑_j a_ij k_j),    z ← z + h ∑_i b_i k_i

    Parameters
    ----------
    a : (s, s) array
        Weights of earlier stages, strictly lower triangular.
    b : (s,) array
        Weights of the step.
    order : int
        Order of convergence.
    error : (s + 1,) array, optional
        Weights of the error estimate, where there is one; the last belongs to the slope at the new point.
    dense : (s + 1, 4) array, optional
        Coefficients of the interpolant, z(t + θh) = z + h ∑_i k_i ∑_j dense_ij θ^(j+1).
    """

    a: Floats
    b: Floats
    order: int
    error: Floats = field(default_factory=lambda: np.empty(0))
    dense: Floats = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def stages(self) -> int:
        """Number of slopes per step, which is its number of matrix–vector products."""
        return len(self.b)

    @cached_property
    def polynomial(self) -> Floats:
        """Coefficients p_k of the stability polynomial, (s + 1,), constant first.

        ::

            z_{k+1} − z* = P(−hF)(z_k − z*),    P(y) = 1 + ∑_k (bᵀa^(k−1)1) y^k
        """
        powers = [np.ones(self.stages)]
        for _ in range(self.stages - 1):
            powers.append(self.a @ powers[-1])
        return read_only(np.array([1.0, *(float(self.b @ power) for power in powers)]))


EULER = Tableau(a=np.zeros((1, 1)), b=np.ones(1), order=1)

RK4 = Tableau(
    a=np.array([[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0]]),
    b=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    order=4,
)

# Dormand and Prince 1980, J. Comput. Appl. Math. 6, 19. The seventh stage is the slope at the new point.
DORMAND_PRINCE = Tableau(
    a=np.array(
        [
            [0, 0, 0, 0, 0, 0],
            [1 / 5, 0, 0, 0, 0, 0],
            [3 / 40, 9 / 40, 0, 0, 0, 0],
            [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
            [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
            [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        ]
    ),
    b=np.array([35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84]),
    order=5,
    error=np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40]),
    # Shampine 1986, Math. Comp. 46, 135: the interpolant of order 4 whose midpoint is the most exact.
    dense=np.array(
        [
            [1, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
            [0, 0, 0, 0],
            [0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
            [0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
            [0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
            [0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
            [0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
        ]
    ),
)

TABLEAUX = {"euler": EULER, "rk4": RK4, "rk45": DORMAND_PRINCE}
