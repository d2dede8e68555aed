"""Conductances that fall with time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import entries, not_negative, positive
from neurodecorr.errors import InputError
from neurodecorr.hardware.devices.conductance_range import cells

# aihwkit takes logarithms no further down than this share of g_max.
_ZERO = 1e-7


class DriftModel(Protocol):
    """Model of drift: the time of the first reading, and the exponent ν of each device.

    ::

        G(t) = G(0) ((t + t₀)/t₀)^−ν
    """

    @property
    def t0_s(self) -> float:
        """Time of the first reading after programming, in seconds."""
        ...

    def exponents(self, G: Floats, g_max: float, normals: Floats) -> Floats:
        """Return ν of each device, from its target and its standard normal draw."""
        ...


def drift_factor(exponents: npt.ArrayLike, time_s: float, t0_s: float) -> Floats:
    """Return the share of a conductance that is left some time after programming.

    ::

        G(t) / G(0) = ((t + t₀) / t₀)^−ν

    As in aihwkit, t counts from the first reading, which is t₀ after programming: at t = 0 nothing has drifted.

    Parameters
    ----------
    exponents : array
        ν.
    time_s : float
        t ≥ 0 in seconds.
    t0_s : float
        t₀ > 0 in seconds.

    Returns
    -------
    array

    Examples
    --------
    >>> round(float(drift_factor(0.05, time_s=3600.0, t0_s=20.0)), 6)
    0.77111

    References
    ----------
    IBM/aihwkit 1.1.0, `inference/noise/pcm.py`; Nandakumar et al., ICECS (2019).
    """
    return power_law(
        entries(exponents, "exponents"),
        not_negative(time_s, "time_s", "seconds"),
        positive(t0_s, "t0_s", "seconds"),
    )


def power_law(exponents: Floats, time_s: float, t0_s: float) -> Floats:
    """Apply `drift_factor` to validated numbers; raise InputError if the result is not finite.

    ::

        ((t + t₀)/t₀)^−ν
    """
    with np.errstate(over="ignore"):
        left = (1 + time_s / t0_s) ** -exponents
    if not np.isfinite(left).all():
        raise InputError(
            f"exponents must be such that what is left is a number; got {exponents.min():g} to {exponents.max():g}, "
            f"after {time_s:g} s, with t0_s = {t0_s:g}."
        )
    return np.asarray(left)


@short_repr
@dataclass(frozen=True)
class Drift:
    """Drift whose exponents do not depend on the conductance.

    ::

        G(t) = G(0) ((t + t₀) / t₀)^−ν,    ν = max(ν̄ + σ_ν ξ, 0) per device

    Parameters
    ----------
    nu : float, default 0.05
        Mean exponent ν̄ ≥ 0.
    nu_sd : float, default 0
        Standard deviation σ_ν ≥ 0 from device to device, in the units of ν.
    t0_s : float, default 20
        t₀ in seconds.

    References
    ----------
    IBM/aihwkit 1.1.0, `simulator/parameters/inference.py`, `DriftParameter`: its `nu_dtod` is σ_ν / ν̄.
    """

    nu: float = 0.05
    nu_sd: float = 0.0
    t0_s: float = 20.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "nu", not_negative(self.nu, "nu"))
        object.__setattr__(self, "nu_sd", not_negative(self.nu_sd, "nu_sd"))
        object.__setattr__(self, "t0_s", positive(self.t0_s, "t0_s", "seconds"))

    def exponents(self, G: Floats, g_max: float, normals: Floats) -> Floats:
        """Return max(ν̄ + σ_ν ξ, 0)."""
        cells(G, g_max)
        normals = entries(normals, "normals")
        return np.asarray(np.maximum(self.nu + self.nu_sd * normals, 0.0))


@short_repr
@dataclass(frozen=True)
class PCMDrift:
    """Drift as measured on phase-change memory: small conductances drift faster.

    ::

        ν = |μ_ν + σ_ν ξ|,    μ_ν = clip(−0.0155 ln ĝ + 0.0244, 0.049, 0.1),
        σ_ν = clip(−0.0125 ln ĝ − 0.0059, 0.008, 0.045),    ĝ = max(G / g_max, 10⁻⁷)

    aihwkit's `PCMLikeNoiseModel.generate_drift_coefficients`.

    Parameters
    ----------
    t0_s : float, default 20
        t₀ in seconds.
    scale : float, default 1
        Multiplies ν (aihwkit: `drift_scale`).

    References
    ----------
    IBM/aihwkit 1.1.0, `inference/noise/pcm.py`; Nandakumar et al., ICECS (2019).
    """

    t0_s: float = 20.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "t0_s", positive(self.t0_s, "t0_s", "seconds"))
        object.__setattr__(self, "scale", not_negative(self.scale, "scale"))

    def moments(self, G: Floats, g_max: float) -> tuple[Floats, Floats]:
        """Return μ_ν and σ_ν of devices programmed to G."""
        G, g_max = cells(G, g_max)
        logarithm = np.log(np.maximum(G / g_max, _ZERO))
        return np.clip(-0.0155 * logarithm + 0.0244, 0.049, 0.1), np.clip(-0.0125 * logarithm - 0.0059, 0.008, 0.045)

    def exponents(self, G: Floats, g_max: float, normals: Floats) -> Floats:
        """Return |μ_ν + σ_ν ξ| times the scale."""
        mean, spread = self.moments(G, g_max)
        normals = entries(normals, "normals")
        return np.asarray(self.scale * np.abs(mean + spread * normals))
