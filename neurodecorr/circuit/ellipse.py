"""Ellipses with real foci around a spectrum, and the Chebyshev polynomials that are smallest on them."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Ellipse", "enclosing_ellipse"]

Floats = npt.NDArray[np.floating[Any]]
Complexes = npt.NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True)
class Ellipse:
    """Ellipse with foci d ± c on the positive real axis, and the convergence it allows.

    ::

        P_m(λ) = T_m((d − λ)/c) / T_m(d/c),    P_m(0) = 1,    |P_m| ~ ϱ^m on the ellipse

    Parameters
    ----------
    centre : float
        Centre d > 0.
    focus : float
        Distance c of the foci from the centre, 0 ≤ c < d. A circle has c = 0.
    factor : float
        Asymptotic shrinkage ϱ of the error per step.
    """

    centre: float
    focus: float
    factor: float

    def steps(self, reduction: float) -> int:
        """Return the least m with 1/T_m(d/c) ≤ 1/`reduction` on a real interval, ϱ^m ≤ 1/(2 `reduction`) beyond."""
        wanted = math.log(min(reduction, sys.float_info.max)) if reduction > 1 else 0.0
        return math.ceil((math.log(2) + wanted) / -math.log(self.factor))


def enclosing_ellipse(eigenvalues: Complexes) -> Ellipse:
    """Return the ellipse with real foci whose Chebyshev polynomials shrink all these modes fastest.

    Real spectra: the foci are the extreme eigenvalues, exactly. Complex ones: the two numbers d, c are found by
    minimising the largest factor, which has a single minimum (Manteuffel 1977, Numer. Math. 28, 307).

    Parameters
    ----------
    eigenvalues : (N,) array
        Eigenvalues of the dynamics, all with positive real part.
    """
    low, high = float(eigenvalues.real.min()), float(eigenvalues.real.max())
    if not eigenvalues.imag.any():
        return _ellipse(eigenvalues, (low + high) / 2, (high - low) / 2)
    from scipy.optimize import minimize  # takes a tenth of a second to load, and few circuits need it

    corners = eigenvalues[eigenvalues.imag >= 0]
    best = minimize(
        lambda p: _factor(corners, math.exp(p[0]), math.exp(p[0]) * _share(p[1])),
        _start(corners),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-6, "maxiter": 400},
    )
    centre = math.exp(best.x[0])
    return _ellipse(eigenvalues, centre, centre * _share(best.x[1]))


def _ellipse(eigenvalues: Complexes, centre: float, focus: float) -> Ellipse:
    # A single real eigenvalue is met in one step, ϱ = 0; one near the imaginary axis hardly ever, ϱ = 1 − rounding.
    limits = np.finfo(np.float64)
    factor = min(max(_factor(eigenvalues, centre, focus), float(limits.tiny)), 1 - float(limits.eps))
    return Ellipse(centre, focus, factor)


def _factor(eigenvalues: Complexes, centre: float, focus: float) -> float:
    """Return max |w + √(w² − c²)| / (d + √(d² − c²)), w = d − λ, with the root that lies outside."""
    w = centre - eigenvalues
    root = np.sqrt(w * w - focus**2 + 0j)
    outside = np.maximum(np.abs(w + root), np.abs(w - root)).max()
    return float(outside / (centre + math.sqrt(max(centre**2 - focus**2, 0.0))))


def _start(corners: Complexes) -> tuple[float, float]:
    """Start from a circle through the widest modes, or from the real extent where the spectrum is flat."""
    low, high = corners.real.min(), corners.real.max()
    centre = max((low + high) / 2, float((np.abs(corners) ** 2 / (2 * corners.real)).max()) * 1.01)
    focus = math.sqrt(max((high - low) ** 2 / 4 - corners.imag.max() ** 2, 0.0))
    return math.log(centre), math.asin(math.sqrt(min(focus / centre, 0.999)))


def _share(angle: float) -> float:
    """Map any number to [0, 1): the ratio c/d."""
    return min(math.sin(angle) ** 2, 1 - 1e-12)
