"""Monitors of training: numbers per layer from one batch, and guards against what is not finite."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
from array_api_compat import array_namespace

from neurodecorr import _validation, measures
from neurodecorr._typing import AnyArray, Floats
from neurodecorr.credit.backprop import Backprop
from neurodecorr.credit.base import Credit
from neurodecorr.errors import DivergenceError
from neurodecorr.network import Network
from neurodecorr.network.algebra import as_numpy


def require_finite(network: Network, credit: Credit, place: str) -> None:
    """Raise unless loss and gradients of a batch are finite, before they change anything.

    A δ that is not finite shows in the gradient of b, its sum over the batch.

    Raises
    ------
    DivergenceError
        With the first array, from the input on, that is not finite.
    """
    # A sum is finite only if every term is: one pass and one number per array, without a mask in memory.
    parts = [credit.loss, *(b for _, b in credit.gradients)]
    if all(np.isfinite(float(array_namespace(part).sum(part))) for part in parts):
        return
    raise DivergenceError(f"training left the finite numbers at {place}: {cause(network, credit)}")


def cause(network: Network, credit: Credit) -> str:
    """Return a message that names the array that is not finite and the rate to lower."""
    for number, (layer, found) in enumerate(zip(network.layers, credit.forward.signals, strict=True), 1):
        lateral = layer.decorrelator.arrays
        arrays = {"W": layer.W, "b": layer.b, **lateral, "input x": found.x, "decorrelated input x̄": found.xbar}
        for name, values in (arrays | {"drive h": found.h}).items():
            if not np.isfinite(as_numpy(values)).all():
                decorrelation = name in lateral or "x̄" in name
                rate = "rate of decorrelation" if decorrelation else "learning rate"
                return f"{name} of layer {number}. Lower the {rate}."
    for number in range(len(network.layers), 0, -1):
        if not np.isfinite(as_numpy(credit.gradients[number - 1][1])).all():
            return f"the gradient of layer {number}. Lower the learning rate."
    return "the loss. Lower the learning rate."


def finite_state(network: Network, place: str) -> None:
    """Raise unless all that the network has learnt is finite, so that no checkpoint keeps what cannot be used.

    Raises
    ------
    DivergenceError
        With the array and the layer.
    """
    for name, array in network.arrays().items():
        if not np.isfinite(as_numpy(array)).all():
            layer, _, own = name.partition(".")
            rate = "learning rate" if own in ("W", "b") else "rate of decorrelation"
            number = int(layer.removeprefix("layer")) + 1
            raise DivergenceError(
                f"training left the finite numbers at {place}: {own} of layer {number}. Lower the {rate}."
            )


def learnt_decorrelation(network: Network, credit: Credit, place: str) -> None:
    """Let the decorrelators of all layers learn from a batch.

    ::

        M ← (I + ηC)⁻¹ M    or    R ← R (I + ηC),    C = ⟨x̄x̄ᵀ⟩;    the rule of the layer decides

    Raises
    ------
    DivergenceError
        If a step has no meaning, with its layer.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, §3.2.
    """
    signals = credit.forward.signals
    try:
        network.decorrelate(signals)
    except DivergenceError as error:
        raise DivergenceError(f"at {place}, input of layer {_culprit(network, credit)}: {error}") from error


def _culprit(network: Network, credit: Credit) -> int:
    """Return the layer whose decorrelator refuses again."""
    for number, (layer, found) in enumerate(zip(network.layers, credit.forward.signals, strict=True), 1):
        try:
            # On a copy: the search for the layer must not change what it inspects.
            copy.deepcopy(layer.decorrelator).learn(found)
        except DivergenceError:
            return number
    return len(network.layers)


# Rows of a convolution's activity that a correlation is taken from; more would cost time and change nothing.
MOST_ROWS = 4096


def angles(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the angle between each layer's change of W and that of backpropagation, in degrees.

    ::

        α = arccos(⟨ΔW, ∂ℓ/∂W⟩/(‖ΔW‖ ‖∂ℓ/∂W‖)),    computed as 2 arctan(‖u − v‖/‖u + v‖) of unit vectors

    Below 90° the rule goes downhill.

    References
    ----------
    Lillicrap, Cownden, Tweed & Akerman (2016), Nature Communications 7, 13276 (alignment).
    """
    # The same weights and the same batch: only the rule of credit differs.
    exact = Backprop().start(network).assign(X, Y, np.random.default_rng(0))
    pairs = zip(credit.gradients, exact.gradients, strict=True)
    return np.array([_angle(as_numpy(mine), as_numpy(true)) for (mine, _), (true, _) in pairs])


def layer_correlations(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the rms correlation coefficient between the units of each layer's decorrelated input.

    ::

        √⟨ρ_ij²⟩ over i ≠ j,    ρ_ij = C_ij/√(C_ii C_jj),    C = ⟨x̄x̄ᵀ⟩ − ⟨x̄⟩⟨x̄⟩ᵀ
    """
    return np.array([_correlation(as_numpy(found.xbar)) for found in credit.forward.signals])


def input_correlations(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the rms correlation coefficient between the units of each layer's input, before decorrelation.

    ::

        √⟨ρ_ij²⟩ over i ≠ j,    ρ_ij = Σ_ij/√(Σ_ii Σ_jj),    Σ = ⟨xxᵀ⟩ − ⟨x⟩⟨x⟩ᵀ
    """
    return np.array([_correlation(as_numpy(found.x)) for found in credit.forward.signals])


def conditions(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the condition number of the second moment of each layer's decorrelated input.

    ::

        λ_max/λ_min of ⟨x̄x̄ᵀ⟩, over the directions that have power
    """
    found = []
    for signals in credit.forward.signals:
        singular = np.linalg.svd(as_numpy(signals.xbar)[:MOST_ROWS].astype(float), compute_uv=False)
        # Squared, 1e-6 is 1e-12 of the largest eigenvalue: below it is what rounding leaves of missing directions.
        kept = singular[singular > singular[:1] * 1e-6]
        found.append((kept[0] / kept[-1]) ** 2 if kept.size else np.nan)
    return np.array(found)


def weight_norms(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return ‖W‖ (Frobenius) of each layer.

    ::

        ‖W‖ = √(Σ_ij W_ij²)
    """
    return np.array([np.linalg.norm(as_numpy(layer.W)) for layer in network.layers])


def activities(network: Network, credit: Credit, X: AnyArray, Y: AnyArray) -> Floats:
    """Return the root mean square of each layer's decorrelated input.

    ::

        √⟨x̄²⟩ over samples and units
    """
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
    """Return the value of each named monitor, one number per layer."""
    return {_validation.choice(name, "watch", MONITORS): MONITORS[name](network, credit, X, Y) for name in names}


def _angle(a: Floats, b: Floats) -> float:
    """Return 2 arctan(‖u − v‖/‖u + v‖) of unit vectors: exact to rounding, where arccos loses half the digits."""
    a, b = a.ravel().astype(float), b.ravel().astype(float)
    sizes = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    # Written so that NaN counts as no direction, too.
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
