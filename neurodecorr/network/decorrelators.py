"""The states that decorrelate the input of a layer; all answer the same questions.

Rows are samples (of a convolution: patches). `centre` subtracts the mean, `decorrelate` maps drives x − μ to x̄,
`turn_back` applies the transpose of the derivative of that map, `learn` changes it after a batch.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace

from neurodecorr.network import steps
from neurodecorr.network.algebra import identity, less, product, sum_rows
from neurodecorr.network.decorrelation import Decorrelation
from neurodecorr.network.settling import settle_rows
from neurodecorr.network.twin import Twin
from neurodecorr.plasticity import twins

__all__ = ["Decorrelator", "decorrelator"]

Array = Any  # any array-API array
VARIANCE_FLOOR = 1e-5  # added to the variances of batch norm, as is usual


class Decorrelator(Protocol):
    """What a layer asks of whatever decorrelates its input.

    `arrays` holds everything that learning changes, by name: what a checkpoint has to keep.
    """

    plan: Decorrelation
    arrays: dict[str, Array]

    def centre(self, X: Array, training: bool) -> Array:
        """Return the drives x − μ."""

    def decorrelate(self, drive: Array, training: bool = False) -> Array:
        """Return x̄ for each drive."""

    def turn_back(self, E: Array, found: Any) -> Array:
        """Return the gradient at x for each gradient e at x̄, given the signals of the batch.

        The mean μ counts as constant, except in batch norm and where the plan says that the gradient passes it.
        """

    def settle_back(self, E: Array, found: Any) -> Array:
        """Return the same from the adjoint circuit, settled by the method of the plan."""

    def learn(self, X: Array, drive: Array, Xbar: Array) -> None:
        """Change the map and the running mean after one batch."""

    def as_ode(self) -> tuple[Array | None, Array | None]:
        """Return A and B of τ dx̄/dt = A (x − μ) − B x̄; None is the identity."""


class Plain:
    """No decorrelation: x̄ = x."""

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        self.plan, self.arrays = plan, dict[str, Array]()

    def centre(self, X: Array, training: bool) -> Array:
        """Return x."""
        return X

    def decorrelate(self, drive: Array, training: bool = False) -> Array:
        """Return x."""
        return drive

    def turn_back(self, E: Array, found: Any) -> Array:
        """Return e."""
        return E

    settle_back = turn_back

    def learn(self, X: Array, drive: Array, Xbar: Array) -> None:
        """Learn nothing."""

    def as_ode(self) -> tuple[Array | None, Array | None]:
        """τ dx̄/dt = x − x̄."""
        return None, None


class _Centred:
    """A running mean μ, and the choice of what is subtracted; `rows` is their number per sample."""

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        self.plan, self.rows, self.arrays = plan, rows, {"mean": np.zeros(features, dtype)}

    def centre(self, X: Array, training: bool) -> Array:
        """Return x − μ with the running mean, or while learning that of the batch if the plan says so."""
        if self.plan.mean == "none":
            return X
        batchwise = training and self.plan.mean == "batch"
        return less(X, array_namespace(X).mean(X, axis=0) if batchwise else self.arrays["mean"])

    def _follow(self, name: str, now: Array) -> None:
        followed = self.arrays[name]
        followed += self.plan.memory * (now - followed)

    def _follow_mean(self, X: Array) -> None:
        self._follow("mean", sum_rows(X) / X.shape[0])

    def _read(self, drive: Array, Xbar: Array) -> tuple[Array, Array]:
        """Return the rows that an update reads: those of the first samples of the batch."""
        samples = drive.shape[0] // self.rows
        count = min(samples, int(self.plan.share * samples) + 1) * self.rows
        return drive[:count, :], Xbar[:count, :]


class _Lateral(_Centred):
    """What the two twins share: the rate of the batch, and the gain of the congruent rule."""

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        super().__init__(plan, features, rows, dtype)
        if plan.rule == "congruent":
            self.arrays["power"] = np.zeros(features, dtype)

    def learn(self, X: Array, drive: Array, Xbar: Array) -> None:
        """Take one step of the rule with the rows that are read; μ follows."""
        drive, Xbar = self._read(drive, Xbar)
        plan = self.plan
        if plan.rule == "congruent":
            self._follow("power", array_namespace(X).mean(drive * drive, axis=0))
            gain = twins.homeostatic_gain(self.arrays["power"], plan.rate, plan.gain)
            self._congruent(drive, Xbar, array_namespace(X).sqrt(gain))
        else:
            if plan.rule == "explicit":
                steps.require_small_step(Xbar, plan.rate)
            self._step(drive, Xbar, self._gain(X, drive, Xbar))
        self._follow_mean(X)

    def _gain(self, X: Array, drive: Array, Xbar: Array) -> Any:
        if self.plan.gain == "norms":
            return steps.norm_ratio(X[: drive.shape[0], :], Xbar)
        return steps.power_gain(drive, Xbar, self.plan.gain)

    def _through_mean(self, E: Array, found: Any) -> Array:
        passes = self.plan.mean_passes and self.plan.mean == "batch" and found.training
        return E - array_namespace(E).mean(E, axis=0) if passes else E

    def _step(self, drive: Array, Xbar: Array, gain: Any) -> None:
        raise NotImplementedError

    def _congruent(self, drive: Array, Xbar: Array, root: Array) -> None:
        raise NotImplementedError


class Feedforward(_Lateral):
    """x̄ = M (x − μ)."""

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        super().__init__(plan, features, rows, dtype)
        self.arrays["M"] = np.eye(features, dtype=dtype)

    def decorrelate(self, drive: Array, training: bool = False) -> Array:
        """Return M (x − μ)."""
        return product(drive, self.arrays["M"].T)

    def turn_back(self, E: Array, found: Any) -> Array:
        """Return Mᵀe."""
        return self._through_mean(product(E, self.arrays["M"]), found)

    def settle_back(self, E: Array, found: Any) -> Array:
        """Return Mᵀe as the rest of τ dδ̄/dt = e − Rᵀδ̄, R = M⁻¹."""
        if self.plan.settling == "twin":
            return self.turn_back(E, found)
        return self._through_mean(settle_rows(array_namespace(E).linalg.inv(self.arrays["M"]).T, E, self.plan), found)

    def as_ode(self) -> tuple[Array | None, Array | None]:
        """τ dx̄/dt = M (x − μ) − x̄."""
        return self.arrays["M"], None

    def _step(self, drive: Array, Xbar: Array, gain: Any) -> None:
        if self.plan.order == "MC":
            steps.shrink_columns(self.arrays["M"], Xbar, self.plan.rate, gain)
            return
        steps.shrink(self.arrays["M"], Xbar, self.plan.rule, self.plan.rate, gain)

    def _congruent(self, drive: Array, Xbar: Array, root: Array) -> None:
        M = self.arrays["M"]
        M[...] = twins.congruent_feedforward(M, drive, Xbar, self.plan.rate) * (root[:, None] * root[None, :])


class Recurrent(_Lateral):
    """The rest of τ dx̄/dt = x − μ − R x̄, found by its twin M = R⁻¹ or by a method of `circuit.settle`."""

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        super().__init__(plan, features, rows, dtype)
        self.arrays["R"] = np.eye(features, dtype=dtype)
        self._twin = Twin(self.arrays, plan) if plan.settling == "twin" else None

    def decorrelate(self, drive: Array, training: bool = False) -> Array:
        """Return where the circuit settles."""
        return self._twin.forth(drive) if self._twin else settle_rows(self.arrays["R"], drive, self.plan)

    def turn_back(self, E: Array, found: Any) -> Array:
        """Return where the adjoint circuit τ dδ̄/dt = e − Rᵀδ̄ settles: Mᵀe."""
        E = self._twin.back(E) if self._twin else settle_rows(self.arrays["R"].T, E, self.plan)
        return self._through_mean(E, found)

    settle_back = turn_back

    def as_ode(self) -> tuple[Array | None, Array | None]:
        """τ dx̄/dt = (x − μ) − R x̄."""
        return None, self.arrays["R"]

    def _step(self, drive: Array, Xbar: Array, gain: Any) -> None:
        steps.grow(self.arrays["R"], drive, Xbar, self.plan.rule, self.plan.rate, gain)
        if self._twin:
            self._twin.step(drive, Xbar, gain)

    def _congruent(self, drive: Array, Xbar: Array, root: Array) -> None:
        R = self.arrays["R"]
        R[...] = twins.congruent_recurrent(R, drive, Xbar, self.plan.rate) / (root[:, None] * root[None, :])
        if self._twin:
            self._twin.congruent(drive, Xbar, root)


class BatchNorm(_Centred):
    """x̄ = (x − μ)/√(σ² + ε) of each unit over the batch, for comparison; at test by running mean and variance."""

    def __init__(self, plan: Decorrelation, features: int, rows: int, dtype: Any) -> None:
        super().__init__(plan, features, rows, dtype)
        self.arrays["variance"] = np.ones(features, dtype)

    def centre(self, X: Array, training: bool) -> Array:
        """Return x minus the mean of the batch while learning, and minus the running mean at test."""
        return X - (array_namespace(X).mean(X, axis=0) if training else self.arrays["mean"])

    def decorrelate(self, drive: Array, training: bool = False) -> Array:
        """Return the drives over their standard deviation."""
        return drive * self._scale(drive, training)

    def turn_back(self, E: Array, found: Any) -> Array:
        """Return the gradient through the map, the mean and the variance of the batch."""
        scale = self._scale(found.drive, found.training)
        if found.training:
            xp = array_namespace(E)
            E = E - xp.mean(E, axis=0) - found.xbar * xp.mean(E * found.xbar, axis=0)
        return E * scale

    settle_back = turn_back

    def learn(self, X: Array, drive: Array, Xbar: Array) -> None:
        """Running mean and variance follow."""
        self._follow("variance", array_namespace(X).var(X, axis=0))
        self._follow_mean(X)

    def as_ode(self) -> tuple[Array | None, Array | None]:
        """τ dx̄/dt = (x − μ)/√(σ² + ε) − x̄."""
        scale = self._scale(self.arrays["variance"], False)
        return identity(scale, scale.shape[0]) * scale, None

    def _scale(self, drive: Array, training: bool) -> Array:
        xp = array_namespace(drive)
        variance = xp.mean(drive * drive, axis=0) if training else self.arrays["variance"]
        return 1 / xp.sqrt(variance + VARIANCE_FLOOR)


_STATES: dict[str, Any] = {"none": Plain, "feedforward": Feedforward, "recurrent": Recurrent, "batch_norm": BatchNorm}


def decorrelator(plan: Decorrelation, features: int, rows: int, dtype: Any) -> Decorrelator:
    """Return the state of a decorrelator before learning, M = R = I and μ = 0, for so many rows per sample."""
    found: Decorrelator = _STATES[plan.form](plan, features, rows, dtype)
    return found
