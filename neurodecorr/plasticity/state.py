"""What was learnt so far: the two forms, the running statistics of the input, and what happened on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import instance, samples
from neurodecorr.measures import twin_error
from neurodecorr.plasticity import steps
from neurodecorr.plasticity.spec import LearningRule


@short_repr
@dataclass(frozen=True)
class State:
    """Weights and statistics that a rule has learnt. Powers, means and activities are in units of `scale`.

    Parameters
    ----------
    M, R : (n, n) arrays
        The two forms; R is empty while only M is learnt.
    mean, power, gain : (n,) arrays
        Running mean and power of the inputs, gain of the last step.
    counters : (5,) array
        See `codes`.
    scale : float
        A power of two near the input's size, so that no square over- or underflows.
    resynchronised : int
        How often M was computed anew from R, or a silent direction was held back.
    """

    M: Floats
    R: Floats
    mean: Floats
    power: Floats
    gain: Floats
    counters: Floats
    scale: float
    resynchronised: int = 0

    def __repr__(self) -> str:
        form = "R and M" if self.R.size else "M"
        return (
            f"State({form} of n={len(self.M)}, {self.M.dtype}, samples={self.samples}, limited={self.limited}, "
            f"resynchronised={self.resynchronised})"
        )

    @property
    def matrix(self) -> Floats:
        """Feedforward form M."""
        return self.M

    @property
    def lateral(self) -> Floats:
        """Recurrent form R, inverse of M."""
        return self.R if self.R.size else np.linalg.inv(self.M)

    @property
    def samples(self) -> int:
        """Samples learnt from."""
        return int(self.counters[steps.SAMPLES])

    @property
    def limited(self) -> int:
        """Steps that the limiter shortened."""
        return int(self.counters[steps.LIMITED])

    @property
    def settling_error(self) -> float:
        """Worst relative settling error ‖M r‖/‖x̄‖ met while learning R."""
        return float(self.counters[steps.WORST_ERROR])

    def twin_error(self) -> float:
        """Return ‖RM − I‖/√n (Frobenius norm)."""
        return twin_error(self.lateral, self.M)

    def copy(self) -> State:
        """Return a state that shares no memory with this one."""
        names = ("M", "R", "mean", "power", "gain", "counters")
        return replace(self, **{name: getattr(self, name).copy() for name in names})


def initial_state(X: Floats, plan: LearningRule) -> State:
    """Return the state before learning, M = R = I, with the scale read off the first inputs X (samples, n)."""
    return first_state(samples(X, "X"), instance(plan, LearningRule, "plan"))


def first_state(X: Floats, plan: LearningRule) -> State:
    """Do what `initial_state` says, with arguments that are checked."""
    n, dtype = X.shape[1], X.dtype
    size = float(max(X.max(), -X.min()))
    scale = 2.0 ** round(math.log2(size)) if size > 0 else 1.0
    identity, zeros = np.eye(n, dtype=dtype), np.zeros(n, dtype)
    R = identity.copy() if plan.recurrent else np.empty((0, 0), dtype)
    return State(identity, R, zeros, zeros.copy(), np.ones(n, dtype), np.zeros(steps.COUNTERS), scale)
