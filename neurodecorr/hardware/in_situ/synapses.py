"""Synapses whose conductances change by pulses, with their imperfections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, count, flag, fraction, generator, number, positive
from neurodecorr.errors import ConfigError
from neurodecorr.hardware.in_situ.integers import PROGRAMMING
from neurodecorr.hardware.in_situ.kernels import Pulses

# Counts of pulses are 64-bit integers: so many per update leave room for 2³² updates.
MOST_PULSES = 2**31


@short_repr
@dataclass(frozen=True)
class PulsedSynapse:
    """A pair of devices, G⁺ − G⁻, whose conductances move by pulses.

    ::

        v ← clip(v ± Δ± (1 ∓ γ w) (1 + σ ξ), 0, b),    w = 2 v/b − 1,    ξ ~ N(0, 1)
        Δ± = max(Δ (1 + σ_d ξ' ± β), 0),               β = β̄ + σ_β ξ''

    v is the conductance above the smallest one. This is aihwkit's `LinearStepDevice` (v from 0 to b is its w from −1 to
    1): `ConstantStepDevice` at γ = 0, `SoftBoundsDevice` at γ = 1, whose w is relative to the bound of each device
    (`mean_bound_reference=False`). Δ± is as its documentation says; its code takes all of a β̄ > 0 off the steps down. A
    pair moves one device at a time: where devices move both ways, the opposite device gives before this one grows.

    Parameters
    ----------
    step : float, default 1e-3
        Δ: a pulse at mid-range, as a share of the range (aihwkit: `dw_min`, which is a share of half the range).
    bits : int, optional
        Devices of 2ᵇ levels, a pulse being exactly one of them; excludes noise, spread, slope and asymmetry.
    noise : float, default 0
        σ from pulse to pulse (`dw_min_std`).
    spread : float, default 0
        σ_d of the step from device to device, relative (`dw_min_dtod`).
    asymmetry, asymmetry_spread : float, default 0
        Mean β̄ and spread σ_β of up against down (`up_down`, `up_down_dtod`).
    slope : float, default 0
        γ in [0, 1]: 0 constant steps, 1 soft bounds (`gamma_up`, `gamma_down`).
    bound_spread : float, default 0
        Relative spread of b from device to device (`w_max_dtod`).
    one_way : bool, default False
        Devices only grow, as phase-change memory does; pairs are refreshed (`OneSidedUnitCell`).
    refresh_above, refresh_below : float, default 0.75 and 0.25
        A pair is refreshed once its larger device is above the first, its smaller above the second share of b.
    reset_spread : float, default 0.01
        Where a reset ends, in shares of b.
    most : int, default 31
        Most pulses of a synapse for one sample (`desired_bl`).
    programming : {"verified", "carried", "stochastic"}
        What becomes of a change of a broken number of pulses. "stochastic": rounded at random, no memory. "carried":
        the rest waits in the synapse (aihwkit's `MixedPrecisionCompound`; Nandakumar et al. 2020). "verified": the
        synapse measures its own current after the pulses, and what is missing waits.
    additive : bool, default False
        Whether noise is that of a step at mid-range everywhere, Δ± (1 ∓ γ w + σ ξ), instead of growing and shrinking
        with the step (aihwkit: `mult_noise=False`).

    References
    ----------
    IBM/aihwkit 1.1.0, `simulator/configs/devices.py` and `src/rpucuda/rpu_linearstep_device.cpp`; Nandakumar et al.,
    Frontiers in Neuroscience 14:406 (2020).
    """

    step: float = 1e-3
    bits: int | None = None
    noise: float = 0.0
    spread: float = 0.0
    asymmetry: float = 0.0
    asymmetry_spread: float = 0.0
    slope: float = 0.0
    bound_spread: float = 0.0
    one_way: bool = False
    refresh_above: float = 0.75
    refresh_below: float = 0.25
    reset_spread: float = 0.01
    most: int = 31
    programming: str = "verified"
    additive: bool = False

    def __post_init__(self) -> None:
        if not positive(self.step, "step") <= 1:
            raise ConfigError(f"step must be a share of the range of a device, at most 1; got {self.step!r}.")
        wrong = {name: getattr(self, name) for name in ("noise", "spread", "asymmetry_spread", "bound_spread")}
        for name, value in wrong.items():
            if number(value, name) < 0:
                raise ConfigError(f"{name} must be ≥ 0; got {value!r}.")
        if not -1 < number(self.asymmetry, "asymmetry") < 1:
            raise ConfigError(
                f"asymmetry must lie between −1 and 1: both directions must move; got {self.asymmetry!r}."
            )
        for name in ("slope", "refresh_above", "refresh_below", "reset_spread"):
            fraction(getattr(self, name), name)
        if self.refresh_below >= self.refresh_above:
            raise ConfigError(
                f"refresh_below must be < refresh_above, {self.refresh_above:g}; got {self.refresh_below:g}."
            )
        count(self.most, "most", most=MOST_PULSES)
        flag(self.one_way, "one_way")
        flag(self.additive, "additive")
        choice(self.programming, "programming", PROGRAMMING)
        if self.bits is not None:
            if count(self.bits, "bits") > 24:
                raise ConfigError(f"bits must be at most 24; got {self.bits!r}.")
            if self.one_way or self.slope or self.asymmetry or any(wrong.values()):
                raise ConfigError(
                    f"with bits={self.bits} a pulse is exactly one level: noise, spread, asymmetry, slope, "
                    "bound_spread and one_way must stay at their defaults. Leave out bits, and give a step."
                )

    @property
    def share(self) -> float:
        """A pulse as a share of the range: 1/(2ᵇ − 1) with levels, else `step`."""
        return self.step if self.bits is None else 1.0 / (2**self.bits - 1)

    def limits(self, top: float, n: int, rng: np.random.Generator) -> Floats:
        """Draw the devices of a chip: step up, step down and bound of each, in units of weight.

        Parameters
        ----------
        top : float
            Range of a device in units of weight.
        n : int
            Units.
        rng : numpy.random.Generator
            Chooses the devices.

        Returns
        -------
        (3, 2, n, n) array
            Steps are ≥ 0.
        """
        top, n = positive(top, "top"), count(n, "n")
        require_memory(8 * 6.0 * n * n, "the devices of a chip")
        common, bias, bound = generator(rng, "rng").standard_normal((3, 2, n, n))
        beta = self.asymmetry + self.asymmetry_spread * bias
        bounds = top * np.maximum(1.0 + self.bound_spread * bound, 0.1)
        size = self.share * top * (1.0 + self.spread * common + np.array([1.0, -1.0])[:, None, None, None] * beta)
        return np.concatenate([np.maximum(size, 0.0), bounds[None]])

    def pulses(self, unit: float) -> Pulses:
        """Return what the kernel asks, with a pulse of `unit` in units of weight."""
        return Pulses(
            unit=positive(unit, "unit"),
            most=self.most,
            carry=self.programming != "stochastic",
            verify=self.programming == "verified",
            one_way=self.one_way,
            slope=float(self.slope),
            noise=float(self.noise),
            upper=float(self.refresh_above),
            lower=float(self.refresh_below),
            spread=float(self.reset_spread),
            additive=self.additive,
        )
