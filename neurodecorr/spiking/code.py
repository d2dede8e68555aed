"""Signed spike code: the rate circuit by spikes of both signs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Float64s
from neurodecorr._validation import entries, positive, square
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import ConfigError, InputError, StabilityError


@short_repr
@dataclass(frozen=True, eq=False)
class SpikeCode:
    """Network of signed spikes whose filtered output settles at x̄ = R⁻¹x = M x.

    ::

        u̇ = (x − s)/τ + λ r,    ṙ = −λ r,    ṡ = −λ s
        |u_j| > γ/2:  σ_j = sign u_j,    u_j ← u_j − γσ_j,    r_j ← r_j + γσ_j,    s_i ← s_i + γ R_ij σ_j

    Between spikes and across them, s = R r and τ d(u + r)/dt = x − R r: what the rate circuit would do with the
    activity r. Its distance from that activity is u, which the threshold keeps within ±γ/2. A spike tells both
    directions, so lateral weights of both signs need no second population.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights, R[i, j] from unit j to unit i. Copied, as float64.
    tau_s : float, default 0.01
        Time constant τ of the circuit, in seconds.
    decay_hz : float, default 50.0
        Rate λ at which a spike's charge decays, per second.
    gamma : float, default 0.1
        Charge γ of a spike, in units of activity. The error is γ/√12, the price λ|x̄|/γ spikes per second.

    Raises
    ------
    InputError
        If R is not square and finite.
    ConfigError
        If a parameter is ≤ 0.
    StabilityError
        If an eigenvalue of R has a real part ≤ 0: the circuit would not settle.

    References
    ----------
    Boerlin, Machens & Denève (2013), PLoS Computational Biology 9, e1003258, here with an identity decoder
    and slow lateral currents only.
    """

    R: Float64s
    tau_s: float = 0.01
    decay_hz: float = 50.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        R = np.array(square(self.R, "R"), dtype=np.float64, order="C")
        R.setflags(write=False)
        object.__setattr__(self, "R", R)
        for name, unit in (("tau_s", "s"), ("decay_hz", "1/s"), ("gamma", "")):
            object.__setattr__(self, name, positive(getattr(self, name), name, unit))
        slowest = margin(R)
        if slowest <= 0:
            raise StabilityError(
                f"All eigenvalues of R must have a positive real part for the circuit to settle; "
                f"the smallest is {slowest:.3g}. Check the sign of R, or learn it again at a lower rate."
            )

    @property
    def units(self) -> int:
        """Number of units n."""
        return len(self.R)

    @property
    def error_floor(self) -> float:
        """Predicted rms error γ/√12."""
        return coding_error_floor(self.gamma)

    def __repr__(self) -> str:
        return f"SpikeCode(units={self.units}, tau_s={self.tau_s:g}, decay_hz={self.decay_hz:g}, gamma={self.gamma:g})"


@short_repr
@dataclass(frozen=True)
class LateralRule:
    """Learning rule of the synapses of a spike code, applied at each presynaptic spike.

    ::

        w_ij ← w_ij + η γ σ_j (s_i − w_ij r_j),    i ≠ j,    η = η₀/(1 + t/T)

    A unit's weight to itself stays: it sets the scale. Without the second term weights grow without bound. At a
    constant rate R turns ever further from symmetry after it has decorrelated, and loses stability: spikes tell
    λ r + ṙ, not r, so changes that follow each other count as correlation. Larger λ and slower inputs put that off; a
    falling rate prevents it.

    Parameters
    ----------
    rate : float, default 2e-3
        Learning rate η₀, in units of 1/x².
    halving_s : float, default 10.0
        Time T after which the rate has halved, in seconds; `math.inf` for a constant rate.
    one_signed : bool, default False
        Keep all lateral weights ≥ 0, that is inhibitory; for comparison with what cells of one kind can do.

    Raises
    ------
    ConfigError
        If a parameter is ≤ 0.
    """

    rate: float = 2e-3
    halving_s: float = 10.0
    one_signed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", positive(self.rate, "rate"))
        if not (isinstance(self.halving_s, float) and self.halving_s == math.inf):
            object.__setattr__(self, "halving_s", positive(self.halving_s, "halving_s", "s"))
        if not isinstance(self.one_signed, bool):
            raise ConfigError(f"one_signed must be True or False; got {self.one_signed!r}.")


def lateral_jump(
    sign: npt.ArrayLike, current: npt.ArrayLike, activity: npt.ArrayLike, weight: npt.ArrayLike, rate: float
) -> Any:
    """Return the change of a lateral weight at one presynaptic spike.

    ::

        Δw = η σ (s_post − w r_pre)

    The synapse reads the sign σ of the spike that reaches it, its target's total lateral current s, its source's trace
    r, and its own weight. It makes no difference whether s and r are read before or after that spike: the kick adds
    σγw to s and σγ to r. Since s_post − w r_pre is the current from all other synapses, the mean change is zero for all
    synapses only where R(C − diag C) = 0 off the diagonal, C = ⟨rrᵀ⟩. R(C − diag C) = Δ with Δ diagonal means
    C − diag C = MΔ, whose diagonal M_jjΔ_jj is zero: Δ = 0, and all correlations are gone.

    Parameters
    ----------
    sign : array_like
        σ = ±1.
    current : array_like
        Lateral current s of the target.
    activity : array_like
        Filtered output r of the source.
    weight : array_like
        Weight w.
    rate : float
        η times the charge γ of a spike.

    Returns
    -------
    array
        Δw.

    Raises
    ------
    InputError
        If an array holds anything but finite numbers, or the shapes do not fit.
    ConfigError
        If the rate is not > 0.

    Examples
    --------
    >>> lateral_jump([1.0, -1.0], [0.5, 0.5], [1.0, 1.0], [0.25, 0.25], 0.01)
    array([ 0.0025, -0.0025])
    """
    given = {"sign": sign, "current": current, "activity": activity, "weight": weight}
    σ, s, r, w = (entries(value, name) for name, value in given.items())
    try:
        np.broadcast_shapes(σ.shape, s.shape, r.shape, w.shape)
    except ValueError:
        shapes = ", ".join(str(part.shape) for part in (σ, s, r, w))
        raise InputError(f"sign, current, activity and weight must have shapes that fit; got {shapes}.") from None
    return (positive(rate, "rate") * σ * (s - w * r))[()]


def coding_error_floor(gamma: float) -> float:
    """Return the rms error of a spike code: that of a uniform distribution with the width of one spike.

    Between two spikes u stays within ±γ/2, and all values there are equally likely: ∫u² du/γ over ±γ/2 is γ²/12.

    ::

        √⟨(r − M x)²⟩ = γ/√12

    Parameters
    ----------
    gamma : float
        Charge γ of a spike.

    Returns
    -------
    float
        In units of activity.

    Examples
    --------
    >>> round(coding_error_floor(0.2), 4)
    0.0577
    """
    return positive(gamma, "gamma") / math.sqrt(12)
