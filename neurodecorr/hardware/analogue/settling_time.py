"""Settling time of a circuit to a given accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import positive, square
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import ConfigError, StabilityError

# Below this condition of the modes their bound is worth printing.
WORST_MODES = 1e10
# Steps of the grid within the time of the slowest mode; between two of them ln‖e^(−Rs)‖ is taken as straight.
STEPS = 80


@short_repr
@dataclass(frozen=True)
class SettlingTime:
    """Settling times to a share ε of the distance to rest, in units of τ.

    ::

        ln(1/ε)/min Re λ(R) ≤ worst case ≤ bound;    all three are equal for normal R

    Parameters
    ----------
    modal : float
        ln(1/ε)/min Re λ. The worst case of a normal R; of any R what the slowest mode takes in the end.
    proven : float
        No input takes longer: the smaller of ln(1/ε)/λ_min((R + Rᵀ)/2) and ln(κ(V)/ε)/min Re λ.
    worst : float
        Least time from which on ‖e^(−Rs)‖ ≤ ε: that of the slowest input.
    normal : bool
        Whether R Rᵀ = Rᵀ R to rounding; then all three are one.
    """

    modal: float
    proven: float
    worst: float
    normal: bool


def settling_time(R: npt.ArrayLike, accuracy: float) -> SettlingTime:
    """Return the time in which τ dx̄/dt = x − R x̄ comes to a share ε of its distance to rest.

    ::

        ‖x̄(t) − x̄*‖ ≤ κ(V) e^(−min Re λ · t/τ) ‖x̄(0) − x̄*‖,    R = V Λ V⁻¹
        ‖x̄(t) − x̄*‖ ≤ e^(−λ_min((R + Rᵀ)/2) t/τ) ‖x̄(0) − x̄*‖

    A normal R, so every symmetric one, has κ(V) = 1: ln(1/ε)/λ_min. Others can take longer, for modes that lean on each
    other may first grow.

    Parameters
    ----------
    R : (n, n) array
        Weights, or the flow of any stable linear circuit.
    accuracy : float
        ε in (0, 1).

    Returns
    -------
    SettlingTime

    Raises
    ------
    StabilityError
        If the circuit is unstable.

    Examples
    --------
    >>> waiting = settling_time([[2.0, 1.0], [1.0, 2.0]], accuracy=1e-3)
    >>> round(waiting.modal, 4), round(waiting.worst, 4)
    (6.9078, 6.9078)

    References
    ----------
    Trefethen and Embree, Spectra and Pseudospectra, §14 and §17.
    """
    F, accuracy = square(R, "R").astype(np.float64), share(accuracy)
    slowest, log = margin(F), math.log(1 / accuracy)
    if not slowest > 0:
        raise StabilityError(f"R must have min Re λ > 0 to settle; got {slowest:.3g}. Learn with the congruent rule.")
    modal = log / slowest
    size = np.linalg.norm(F) ** 2
    if np.linalg.norm(F @ F.T - F.T @ F) <= 1e-12 * size:
        return SettlingTime(modal, modal, modal, True)
    condition = np.linalg.cond(scipy.linalg.eig(F)[1])
    proven = (log + math.log(condition)) / slowest if condition < WORST_MODES else math.inf
    field = float(scipy.linalg.eigvalsh((F + F.T) / 2)[0])
    proven = min(proven, log / field) if field > 0 else proven
    return SettlingTime(modal, proven, _worst(F, accuracy, modal), False)


def share(accuracy: float) -> float:
    """Return ε in (0, 1), or raise `ConfigError`."""
    if not 0 < positive(accuracy, "accuracy") < 1:
        raise ConfigError(f"accuracy must lie between 0 and 1, a share of the distance to rest; got {accuracy!r}.")
    return float(accuracy)


def _worst(F: Floats, accuracy: float, modal: float) -> float:
    """Return the least s from which on ‖e^(−Fs)‖ ≤ ε, looked for in steps of an 80th of ln(1/ε)/min Re λ."""
    step = modal / STEPS
    # One exponential, then products: ‖e^(−Fs)‖ on a regular grid costs one product a point.
    E = scipy.linalg.expm(-F * step)
    power, norms = np.eye(len(F)), [1.0]
    # Once the norm has fallen to ε, all that comes is at most ε times the largest norm before: look once more as long.
    while norms[-1] > accuracy or len(norms) < STEPS or max(norms) * min(norms) > accuracy:
        power = power @ E
        norms.append(float(np.linalg.norm(power, 2)))
        # A hundred times the time of the slowest mode: the growth of such an R is beyond what can be tabulated.
        if len(norms) > 100 * STEPS:
            return math.inf
    last = int(np.flatnonzero(np.array(norms) > accuracy)[-1])
    # Between the last step above ε and the next, the logarithm of the norm is nearly straight.
    high, low = math.log(norms[last]), math.log(norms[last + 1])
    return step * (last + (high - math.log(accuracy)) / (high - low))
