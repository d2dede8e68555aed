"""Results of an analogue circuit: state at rest, waveforms and energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
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
