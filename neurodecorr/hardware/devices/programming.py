"""Errors of programming a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import not_negative
from neurodecorr.hardware.devices.conductance_range import cells

# Fit to measured devices of 25 µS: standard deviation in µS by powers of g / g_max.
PCM_COEFFICIENTS = (0.26348, 1.9650, -1.1731)
PCM_REFERENCE = 25e-6
# Fit to the programming algorithm IGVVA-100: in siemens, and per siemens.
RRAM_OFFSET, RRAM_SLOPE = 4.782321e-6, 0.009107


class Programming(Protocol):
    """Model of programming errors: the standard deviation around a target.

    ::

        G ← G + σ(G) ξ,    ξ ~ N(0, 1)
    """

    def sigma(self, G: Floats, g_max: float) -> Floats:
        """Return the standard deviation of the programmed conductance, in siemens."""
        ...


@short_repr
@dataclass(frozen=True)
class Proportional:
    """Errors in proportion to the conductance.

    ::

        G ← G (1 + σ ξ),    ξ ~ N(0, 1)

    CrossSim's `NormalProportionalDevice`.

    Parameters
    ----------
    level : float
        σ ≥ 0, relative.

    References
    ----------
    sandialabs/cross-sim 3.2, `simulator/devices/generic_device.py`.
    """

    level: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", not_negative(self.level, "level"))

    def sigma(self, G: Floats, g_max: float) -> Floats:
        """Return σ G, in siemens."""
        return self.level * cells(G, g_max)[0]


@short_repr
@dataclass(frozen=True)
class Independent:
    """Errors of one size at every conductance.

    ::

        G ← G + σ g_max ξ,    ξ ~ N(0, 1)

    CrossSim's `NormalIndependentDevice`, whose conductances are in units of g_max.

    Parameters
    ----------
    level : float
        σ ≥ 0, in units of g_max.

    References
    ----------
    sandialabs/cross-sim 3.2, `simulator/devices/generic_device.py`.
    """

    level: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", not_negative(self.level, "level"))

    def sigma(self, G: Floats, g_max: float) -> Floats:
        """Return σ g_max, in siemens."""
        G, g_max = cells(G, g_max)
        return np.full_like(G, self.level * g_max)


@short_repr
@dataclass(frozen=True)
class RRAM:
    """Errors as measured on resistive memory between 50 and 225 µS.

    ::

        G ← G + σ(G) ξ,    σ(G) = max(4.782321 µS − 0.009107 G, 0)

    CrossSim's `RRAMMilo`, without its current-voltage curves.

    Parameters
    ----------
    scale : float, default 1
        Multiplies σ; ≥ 0.

    References
    ----------
    sandialabs/cross-sim 3.2, `simulator/devices/custom/RRAM_Milo.py`; Milo et al., IRPS (2021), Fig. 4.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", not_negative(self.scale, "scale"))

    def sigma(self, G: Floats, g_max: float) -> Floats:
        """Return σ(G), in siemens; the range of the devices does not enter."""
        G, _ = cells(G, g_max)
        return np.asarray(self.scale * np.maximum(RRAM_OFFSET - RRAM_SLOPE * G, 0.0))


@short_repr
@dataclass(frozen=True)
class PCM:
    """Errors as measured on phase-change memory.

    ::

        G ← G + σ(ĝ) ξ,    σ(ĝ) = (0.26348 + 1.9650 ĝ − 1.1731 ĝ²) µS · g_max / 25 µS,    ĝ = G / g_max

    aihwkit's `PCMLikeNoiseModel`.

    Parameters
    ----------
    scale : float, default 1
        Multiplies σ; ≥ 0 (aihwkit: `prog_noise_scale`).

    References
    ----------
    IBM/aihwkit 1.1.0, `inference/noise/pcm.py`; Nandakumar et al., ICECS (2019).
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", not_negative(self.scale, "scale"))

    def sigma(self, G: Floats, g_max: float) -> Floats:
        """Return σ(ĝ), in siemens."""
        G, g_max = cells(G, g_max)
        relative = G / g_max
        constant, linear, square = PCM_COEFFICIENTS
        # Below 0 only beyond g_max: at ĝ = 1.8, where no target is.
        polynomial = constant + relative * (linear + relative * square)
        return np.asarray(self.scale * 1e-6 * polynomial * (g_max / PCM_REFERENCE))


def programmed(
    targets: Floats, model: Programming | None, g_max: float, streams: Sequence[np.random.Generator]
) -> Floats:
    """Return programmed conductances, one set per stream along the first axis; none is negative.

    ::

        G ← max(G + σ(G) ξ, 0),    ξ ~ N(0, 1)
    """
    if model is None:
        return np.broadcast_to(targets, (len(streams), *targets.shape))
    return np.maximum(targets + model.sigma(targets, g_max) * stacked_normals(streams, targets.shape), 0.0)


def stacked_normals(streams: Sequence[np.random.Generator], size: tuple[int, ...]) -> Floats:
    """Return standard normal draws of each stream, one stream after the other along the first axis."""
    out = np.empty((len(streams), *size))
    for k, stream in enumerate(streams):
        stream.standard_normal(out=out[k])
    return out
