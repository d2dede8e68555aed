"""What can be watched while a network learns: numbers per layer, from one batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurodecorr import _validation, measures
from neurodecorr._typing import AnyArray, Floats
from neurodecorr.credit.backprop import Backprop
from neurodecorr.credit.base import Credit
from neurodecorr.network import Network
from neurodecorr.network.algebra import as_numpy

# Rows of a convolution's activity that a correlation is taken from; more would cost time and change nothing.
MOST_ROWS = 4096


def angles(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the angle between each layer's change of W and that of backpropagation, in degrees.

    Below 90° the rule goes downhill.
    """
    exact = Backprop().start(network).assign(X, Y, np.random.default_rng(0))
    pairs = zip(credit.gradients, exact.gradients, strict=True)
    return np.array([_angle(as_numpy(mine), as_numpy(true)) for (mine, _), (true, _) in pairs])


def layer_correlations(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the rms correlation coefficient between the units of each layer's decorrelated input."""
    return np.array([_correlation(as_numpy(found.xbar)) for found in credit.forward.signals])


def input_correlations(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the same of each layer's input before decorrelation."""
    return np.array([_correlation(as_numpy(found.x)) for found in credit.forward.signals])


def conditions(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return λ_max/λ_min of the second moment of each layer's decorrelated input, over the directions it has."""
    found = []
    for signals in credit.forward.signals:
        singular = np.linalg.svd(as_numpy(signals.xbar)[:MOST_ROWS].astype(float), compute_uv=False)
        kept = singular[singular > singular[:1] * 1e-6]
        found.append((kept[0] / kept[-1]) ** 2 if kept.size else np.nan)
    return np.array(found)


def weight_norms(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return ‖W‖ (Frobenius) of each layer."""
    return np.array([np.linalg.norm(as_numpy(layer.W)) for layer in network.layers])


def activities(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the root mean square of each layer's decorrelated input."""
    return np.array([np.sqrt(np.mean(as_numpy(found.xbar).astype(float) ** 2)) for found in credit.forward.signals])


Watch = Callable[[Network, Credit, AnyArray, AnyArray], Floats]
MONITORS: dict[str, Watch] = {
    "angle": angles,
    "correlation": layer_correlations,
    "input correlation": input_correlations,
    "condition": conditions,
    "weight norm": weight_norms,
    "activity": activities,
}


def measure(names: tuple[str, ...], network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> dict[str, Floats]:
    """Return what each watch finds, one number per layer."""
    return {_validation.choice(name, "watch", MONITORS): MONITORS[name](network, credit, X, Y) for name in names}


def _angle(a: Floats, b: Floats) -> float:
    """Return 2 arctan(‖u − v‖/‖u + v‖) of unit vectors: exact to rounding, where arccos loses half the digits."""
    a, b = a.ravel().astype(float), b.ravel().astype(float)
    sizes = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not (sizes[0] > 0 and sizes[1] > 0):
        return float("nan")
    u, v = a / sizes[0], b / sizes[1]
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v))))


def _correlation(X: Floats) -> float:
    """Return the rms correlation; NaN for a layer of one unit, which has no pair."""
    if X.shape[1] < 2:
        return float("nan")
    rows = X[:MOST_ROWS]
    return measures.rms_correlation(covariance=measures.covariance(rows), samples=len(rows))
