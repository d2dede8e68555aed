"""Forward Euler with Chebyshev-scheduled steps: the fewest matrix–vector products to a given reduction.

::

    z ← z + dt_j κ ∘ (u − A z),    dt_j = 1/(d + c cos θ_j),    θ_j = (2j − 1)π/2m,    j = 1 … m

The m steps multiply the distance to rest by P_m(F) = T_m((d − F)/c)/T_m(d/c), the smallest polynomial on the ellipse
with foci d ± c. All P_m obey one three-term recurrence, so z_1, z_2, … , each the end of its own optimal schedule, come
at one product each, free of the huge intermediate states that a bad order of the steps makes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import ROUNDING, count, positive
from neurodecorr.circuit.ellipse import Ellipse
from neurodecorr.errors import ConfigError

MOST_STEPS = 1_000_000  # of a schedule, which takes their square

__all__ = ["chebyshev_schedule", "count_of_schedule", "recurrence", "schedule_time"]

Floats = npt.NDArray[np.floating[Any]]


def chebyshev_schedule(steps: int, low: float, high: float) -> Floats:
    """Return the Euler steps that settle a spectrum [low, high] best, in an order that rounding survives.

    ::

        dt_j = 1/(d + c cos θ_j),    d = (high + low)/2,    c = (high − low)/2

    The order is Leja's: each step is the one farthest, in the product of distances, from those before.

    Parameters
    ----------
    steps : int
        Number m of steps.
    low, high : float
        Smallest and largest eigenvalue, 0 < low ≤ high, per τ.

    Returns
    -------
    (m,) array
        Steps in units of τ.

    Examples
    --------
    >>> from neurodecorr.circuit import chebyshev_schedule
    >>> chebyshev_schedule(2, 1.0, 3.0).round(6)
    array([0.369398, 0.773459])

    References
    ----------
    Golub and Varga 1961, Numer. Math. 3, 147.
    """
    m, low, high = count(steps, "steps", most=MOST_STEPS), positive(low, "low"), positive(high, "high")
    if low > high:
        raise ConfigError(f"low must be ≤ high; got low = {low}, high = {high}.")
    nodes = np.cos((2 * np.arange(1, m + 1) - 1) * math.pi / (2 * m))
    return 1 / ((high + low) / 2 + (high - low) / 2 * nodes[_leja_order(nodes)])


def schedule_time(ellipse: Ellipse, steps: npt.ArrayLike) -> Floats:
    """Return the time Σ dt_j of a schedule of m steps, in units of τ.

    ::

        Σ_j 1/(d + c cos θ_j) = T_m'(d/c) / (c T_m(d/c)) = m tanh(m arccosh(d/c)) / √(d² − c²)
    """
    m = np.asarray(steps, np.float64)
    d, c = ellipse.centre, ellipse.focus
    if c == 0:
        return m / d
    return np.asarray(m * np.tanh(m * np.arccosh(d / c)) / math.sqrt((d - c) * (d + c)))


def count_of_schedule(ellipse: Ellipse, t_max: float, most: int) -> int:
    """Return the largest m, at most `most`, whose schedule takes no longer than `t_max`; the time grows with m."""
    if schedule_time(ellipse, most) <= t_max:
        return most
    return bisect_right(range(most), t_max * (1 + ROUNDING), key=lambda m: float(schedule_time(ellipse, m))) - 1


def recurrence(ellipse: Ellipse, most: int) -> Floats:
    """Return (α_k, ω_k) of the three-term recurrence, k = 0 … , until they no longer change or number `most`.

    ::

        p_k = α_k r_k + ω_k p_{k−1},    z_{k+1} = z_k + p_k,
        α_k = 1/(d − cρ_{k−1}/2),    ρ_k = cα_k/2,    ω_k = ρ_k ρ_{k−1};    α_0 = 1/d,  ρ_0 = c/d,  ω_0 = 0
    """
    d, c = ellipse.centre, ellipse.focus
    rho, rows = c / d, [(1 / d, 0.0)]
    while len(rows) < most:
        alpha = 1 / (d - c / 2 * rho)
        row = (alpha, c * alpha / 2 * rho)
        rho = c * alpha / 2
        if row == rows[-1]:
            break
        rows.append(row)
    return np.array(rows)


def _leja_order(nodes: Floats) -> list[int]:
    """Order the nodes by Leja: greedily maximise Σ log |x − x_chosen|."""
    order = [int(np.argmax(np.abs(nodes)))]
    spread = np.zeros(len(nodes))
    for _ in range(len(nodes) - 1):
        with np.errstate(divide="ignore"):
            spread += np.log(np.abs(nodes - nodes[order[-1]]))
        order.append(int(np.argmax(spread)))
    return order
