"""Results of an analogue circuit: state at rest, waveforms, energy, and the time to settle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import positive, square
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import ConfigError, StabilityError
from neurodecorr.hardware.analogue.amplifier import Amplifier


@short_repr
@dataclass(frozen=True)
class Energy:
    """Power at rest times the time that settling takes.

    ::

        E = T (p_array + p_amplifiers),    p_array = ⟨Σ G v²⟩,    p_amplifiers = k I_bias V_supply

    with the voltage v across each conductance G, the mean over inputs, and k amplifiers. At rest no current charges a
    capacitor. Converters, wires and what amplifiers lose while they drive are left out: a lower bound.

    Parameters
    ----------
    array_w : float
        Power that turns to heat in the conductances, in watts.
    amplifiers_w : float
        Power of the amplifiers' bias, in watts.
    settling_s : float
        Time T in seconds.
    devices : int
        Devices of the array, 2n², or n² + n with one line of references; feedback and inverters have 3n more.
    amplifiers : int
        Number k of amplifiers.

    References
    ----------
    Sun et al., PNAS 116(10):4123 (2019), and Sun et al., "Time complexity of in-memory solution of linear systems",
    IEEE Trans. Electron Devices (2020), doi 10.1109/TED.2020.2992435, for the time; the power is Joule's law.
    """

    array_w: float
    amplifiers_w: float
    settling_s: float
    devices: int
    amplifiers: int

    @property
    def power_w(self) -> float:
        """Power of array and amplifiers, in watts."""
        return self.array_w + self.amplifiers_w

    @property
    def joules(self) -> float:
        """Energy E for one input, in joules."""
        return self.power_w * self.settling_s


def array_power(plus: Floats, minus: Floats, unit: float, ends: tuple[Floats, Floats, Floats, Floats]) -> float:
    """Return the mean power that the conductances turn to heat, in watts (Joule's law).

    ::

        p = Σ_ij [G⁺_ij (a_j − e_i)² + G⁻_ij (b_j − e_i)²] + G₀ ∑_i (d_i − e_i)²

    Parameters
    ----------
    plus, minus : (n, n) array
        G⁺ and G⁻ in siemens.
    unit : float
        G₀ in siemens.
    ends : tuple of four (samples, n) arrays
        What drives the columns of G⁺ (a) and of G⁻ (b), the input or feedback conductances (d), and the summing
        nodes (e), in volts.

    Returns
    -------
    float
    """
    a, b, d, e = ends
    crossing = [_crossing(plus, a, e), _crossing(minus, b, e)]
    return float(sum(crossing) + unit * ((d - e) ** 2).sum(axis=1).mean())


def _crossing(G: Floats, column: Floats, row: Floats) -> float:
    """Return ⟨Σ_ij G_ij (column_j − row_i)²⟩ without an array of (samples, n, n)."""
    squares = (column**2) @ G.sum(axis=0) + (row**2) @ G.sum(axis=1)
    return float((squares - 2 * np.einsum("si,ij,sj->s", row, G, column, optimize=True)).mean())


def bias_power(amplifier: Amplifier, count: int) -> float:
    """Return the power of the bias of `count` amplifiers, in watts.

    ::

        p = k I_bias V_supply
    """
    return count * amplifier.bias_a * amplifier.supply_v


@short_repr
@dataclass(frozen=True, eq=False)
class RestingState:
    """Outputs at rest, and the samples whose amplifiers reach a supply rail.

    ::

        closed loop:  x̄ = R⁻¹ x,    open loop:  x̄ = M x,    each with the errors of its chip

    Parameters
    ----------
    xbar : (n,) or (samples, n) array
        Outputs in the unit of the input, as the ADC gives them.
    volts : (n,) or (samples, n) array
        Outputs in volts, in front of the ADC.
    saturated : bool or (samples,) array
        Whether an amplifier sits at its rail.
    """

    xbar: Floats
    volts: Floats
    saturated: Any

    def __repr__(self) -> str:
        saturated = f"{int(np.sum(self.saturated))} of {np.size(self.saturated)}"
        return f"RestingState(xbar {np.shape(self.xbar)}, saturated={saturated})"


@short_repr
@dataclass(frozen=True, eq=False)
class Waveforms:
    """Voltages of one run over time.

    Parameters
    ----------
    t_s : (times,) array
        Seconds.
    volts : (times, n) or (times, samples, n) array
        Outputs.
    xbar : (times, n) or (times, samples, n) array
        The same in the unit of the input; no ADC.
    saturated : bool
        Whether an amplifier met its rail on the way.
    """

    t_s: Floats
    volts: Floats
    xbar: Floats
    saturated: bool

    def __repr__(self) -> str:
        return f"Waveforms(volts {self.volts.shape}, t_end_s={self.t_s[-1]:g}, saturated={self.saturated})"


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
