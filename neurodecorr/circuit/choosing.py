"""What methods will cost, in matrix–vector products per sample, before any is taken; `settle` chooses the cheapest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._norms import norms
from neurodecorr.circuit.certificate import EPS
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.circuit.search import RESOLUTION

__all__ = ["Forecast", "cheapest", "chosen", "forecasts", "reduction"]

Floats = npt.NDArray[np.floating[Any]]
Forecast = tuple[float, float]

# A product of two matrices counts as this many products with a vector per unit: it runs at twice their speed.
MATRICES = 0.5
# All eigenvalues cost this many products per unit.
EIGENVALUES = 12.5
# The series of the first propagator, and what every doubling and every rung take, in products of matrices.
SERIES, DOUBLING = 6, 2
# A batch is settled as its samples would be, one by one, unless that costs so many times as much.
WORTH = 4


def forecasts(circuit: LinearCircuit, samples: int, factor: float) -> dict[str, Forecast]:
    """Predict what it costs to shrink the residuals of some samples by a factor.

    ::

        chebyshev      m = ln(2 factor)/−ln ϱ                            products, and as many steps
        exponential    4l + (6 + 2d + 2l) N/2b,    d = log₂(2‖F‖dt),    l = log₂(T/dt),    T = ln(2 factor)/min Re λ

    ϱ is the shrinkage of the ellipse around the spectrum; a circuit in which ‖z − z*‖ may grow has no such bound, and
    the forecast is infinite. Exact steps are made from propagators, d + l of which are built once for b samples.

    Parameters
    ----------
    circuit : LinearCircuit
        The circuit, which must be stable.
    samples : int
        Number of samples b.
    factor : float
        Residual at the start over the one to reach, ≥ 1.

    Returns
    -------
    dict
        For each method the products per sample, and the steps that it counts.
    """
    spectrum, N = circuit.spectrum, circuit.state_size
    factor = min(max(factor, 1.0), 1 / EPS)
    slowest = spectrum.margin if spectrum.enclosure is None else spectrum.enclosure.low
    span = (math.log(2) + math.log(factor)) / slowest
    dt = RESOLUTION / slowest
    doublings = max(0.0, math.log2(max(2 * spectrum.column_sum * dt, 1.0)))
    rungs = math.ceil(math.log2(max(span / dt, 2.0)))
    ladder = MATRICES * N * (SERIES + DOUBLING * (math.ceil(doublings) + rungs))
    unknown = 0.0 if spectrum.enclosure is None else EIGENVALUES * N
    steps = float(spectrum.ellipse.steps(factor)) if spectrum.calm else math.inf
    return {"chebyshev": (steps, steps), "exponential": (4 * rungs + (ladder + unknown) / samples, span / dt)}


def chosen(found: Mapping[str, Forecast], most: float) -> str:
    """Return the method of the fewest products among those that do with `most` steps, or with the fewest steps."""
    able = [name for name, (_, steps) in found.items() if steps <= most]
    return min(able, key=lambda name: found[name][0]) if able else min(found, key=lambda name: found[name][1])


def cheapest(circuit: LinearCircuit, samples: int, factor: float, most: float) -> str:
    """Return the method by which a sample settles at the least cost, the same one for a batch as for its samples.

    Only where the samples share propagators, and that makes another method `WORTH` times cheaper, is it that one.
    """
    alone = chosen(forecasts(circuit, 1, factor), most)
    shared = forecasts(circuit, samples, factor)
    together = chosen(shared, most)
    return together if shared[together][0] * WORTH <= shared[alone][0] else alone


def reduction(circuit: LinearCircuit, X: Floats, begin: Floats, tol: float, relative: bool) -> float:
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
