"""The baseline: leaky integrate-and-fire units whose inhibition learns to hold their rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Float64s
from neurodecorr._validation import number, positive, square
from neurodecorr.errors import ConfigError, InputError


@short_repr
@dataclass(frozen=True, eq=False)
class LIFNetwork:
    """Leaky integrate-and-fire units that inhibit each other through conductances.

    ::

        τ_m v̇ = v_rest − v + (g/g_L)(E_inh − v) + I/g_L,    τ_inh ġ = −g,    I = I₀ + I₁ x
        v_j > v_θ:  v_j ← v_rest and waits,    g_i ← g_i + w_ij  (i ≠ j)

    Parameters
    ----------
    weights : (n, n) array
        Inhibitory conductances w[i, j] ≥ 0 from unit j to unit i, in siemens; the diagonal is not used.
    bias_a, gain_a : float, default 80e-12 and 40e-12
        Current I₀ and current I₁ per unit of input, in amperes.
    tau_membrane_s, tau_inhibition_s, refractory_s : float, default 20e-3, 10e-3, 5e-3
        Membrane and synaptic time constants and refractory period, in seconds.
    rest_v, threshold_v, inhibition_v : float, default -60e-3, -50e-3, -80e-3
        Resting and reset potential, threshold, reversal potential of inhibition, in volts.
    leak_siemens : float, default 10e-9
        Leak conductance g_L, in siemens.
    decay_hz : float, default 50.0
        Rate λ of the filter through which spikes are recorded, per second.

    Raises
    ------
    InputError
        If the weights are not square, finite and ≥ 0.
    ConfigError
        If a parameter is out of range.

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath & Gerstner (2011), Science 334, 1569–1573, supporting material (constants of the
    cell).
    """

    weights: Float64s
    bias_a: float = 80e-12
    gain_a: float = 40e-12
    tau_membrane_s: float = 20e-3
    tau_inhibition_s: float = 10e-3
    refractory_s: float = 5e-3
    rest_v: float = -60e-3
    threshold_v: float = -50e-3
    inhibition_v: float = -80e-3
    leak_siemens: float = 10e-9
    decay_hz: float = 50.0

    def __post_init__(self) -> None:
        weights = np.array(square(self.weights, "weights"), dtype=np.float64, order="C")
        if (weights < 0).any():
            row, column = (int(i) for i in np.argwhere(weights < 0)[0])
            raise InputError(
                f"weights must be conductances ≥ 0 (S); found {weights[row, column]:.3g} at row {row}, column "
                f"{column}. One-signed inhibition cannot represent it; use SpikeCode for weights of both signs."
            )
        weights.setflags(write=False)
        object.__setattr__(self, "weights", weights)
        units = {"a": "A", "v": "V", "s": "s", "hz": "1/s", "siemens": "S"}
        for name in ("bias_a", "gain_a", "rest_v", "threshold_v", "inhibition_v"):
            object.__setattr__(self, name, number(getattr(self, name), name, units[name.rpartition("_")[2]]))
        for name in ("tau_membrane_s", "tau_inhibition_s", "refractory_s", "leak_siemens", "decay_hz"):
            unit = units[name.rpartition("_")[2]]
            object.__setattr__(self, name, positive(getattr(self, name), name, unit))
        if not self.inhibition_v <= self.rest_v < self.threshold_v:
            raise ConfigError(
                "inhibition_v ≤ rest_v < threshold_v must hold (V); got "
                f"{self.inhibition_v:g}, {self.rest_v:g}, {self.threshold_v:g}."
            )

    @property
    def units(self) -> int:
        """Number of units n."""
        return len(self.weights)

    def __repr__(self) -> str:
        return f"LIFNetwork(units={self.units}, bias_a={self.bias_a:g}, gain_a={self.gain_a:g})"


@short_repr
@dataclass(frozen=True)
class InhibitoryRule:
    """Inhibitory plasticity that holds the rate of each target.

    ::

        spike of j:  w_ij ← w_ij + η (y_i − α),    spike of i:  w_ij ← w_ij + η y_j,    α = 2 ρ₀ τ_STDP
        ẏ = −y/τ_STDP,    y ← y + 1 at each spike of its unit,    0 ≤ w ≤ w_max

    A synapse reads the spikes of its two units and their traces y.

    Parameters
    ----------
    rate_siemens : float, default 1e-11
        Learning rate η, in siemens per event.
    target_hz : float, default 3.0
        Rate ρ₀ that the rule aims at, per second.
    tau_stdp_s : float, default 20e-3
        Time constant of the traces, in seconds.
    most_siemens : float, default 30e-9
        Largest conductance w_max, in siemens.

    Raises
    ------
    ConfigError
        If a parameter is ≤ 0.

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath & Gerstner (2011), Science 334, 1569–1573.
    """

    rate_siemens: float = 1e-11
    target_hz: float = 3.0
    tau_stdp_s: float = 20e-3
    most_siemens: float = 30e-9

    def __post_init__(self) -> None:
        for name, unit in (("rate_siemens", "S"), ("target_hz", "1/s"), ("tau_stdp_s", "s"), ("most_siemens", "S")):
            object.__setattr__(self, name, positive(getattr(self, name), name, unit))

    @property
    def alpha(self) -> float:
        """Depression α = 2 ρ₀ τ_STDP at each presynaptic spike."""
        return 2 * self.target_hz * self.tau_stdp_s
