"""Noise at each reading of a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import not_negative, positive
from neurodecorr.hardware.devices.conductance_range import cells
from neurodecorr.hardware.devices.programming import stacked_normals


class ReadNoiseModel(Protocol):
    """Model of read noise: the standard deviation of one reading."""

    def sigma(self, G: Floats, programmed: Floats, g_max: float, time_s: float) -> Floats:
        """Return the standard deviation of a reading, in siemens, from the conductance now and as programmed."""
        ...


@short_repr
@dataclass(frozen=True)
class ReadNoise:
    """Readings off in proportion to the conductance.

    ::

        G_read = G (1 + σ ξ),    ξ ~ N(0, 1) at every reading

    CrossSim's `NormalProportionalDevice` as read noise.

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

    def sigma(self, G: Floats, programmed: Floats, g_max: float, time_s: float) -> Floats:
        """Return σ G, in siemens."""
        G, g_max = cells(G, g_max)
        cells(programmed, g_max, "programmed"), not_negative(time_s, "time_s", "seconds")
        return self.level * G


@short_repr
@dataclass(frozen=True)
class PCMReadNoise:
    """1/f noise of phase-change memory, accumulated since programming.

    ::

        G_read = G(t) (1 + σ ξ),    σ = Q_s √ln((t + t₀ + t_r) / (2 t_r)),
        Q_s = min(0.0088 / max(ĝ^0.65, 10⁻³), 0.2),    ĝ = G(0) / g_max

    aihwkit's `PCMLikeNoiseModel.apply_drift_noise_to_conductance`.

    Parameters
    ----------
    t_read_s : float, default 250e-9
        Time t_r that one reading takes, in seconds.
    t0_s : float, default 20
        Time t₀ of the first reading after programming, in seconds.
    scale : float, default 1
        Multiplies σ (aihwkit: `read_noise_scale`).

    References
    ----------
    IBM/aihwkit 1.1.0, `inference/noise/pcm.py`; Nandakumar et al., ICECS (2019).
    """

    t_read_s: float = 250e-9
    t0_s: float = 20.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "t_read_s", positive(self.t_read_s, "t_read_s", "seconds"))
        object.__setattr__(self, "t0_s", positive(self.t0_s, "t0_s", "seconds"))
        object.__setattr__(self, "scale", not_negative(self.scale, "scale"))

    def sigma(self, G: Floats, programmed: Floats, g_max: float, time_s: float) -> Floats:
        """Return G(t) Q_s √ln(…), in siemens."""
        G, g_max = cells(G, g_max)
        written, time_s = cells(programmed, g_max, "programmed")[0], not_negative(time_s, "time_s", "seconds")
        strength = np.minimum(0.0088 / np.maximum((written / g_max) ** 0.65, 1e-3), 0.2)
        # A reading that ends before it has averaged once has gathered no noise: the logarithm is not negative.
        gathered = math.sqrt(max(math.log((time_s + self.t0_s + self.t_read_s) / (2 * self.t_read_s)), 0.0))
        return np.asarray(self.scale * G * strength * gathered)


def reading(
    G: Floats,
    programmed: Floats,
    model: ReadNoiseModel | None,
    g_max: float,
    time_s: float,
    streams: Sequence[np.random.Generator],
) -> Floats:
    """Return one reading per stream along the first axis; no conductance is negative.

    ::

        G_read ← max(G + σ ξ, 0),    σ of the model in siemens,    ξ ~ N(0, 1) at every reading
    """
    size = G.shape[-2:]
    if model is None:
        return np.broadcast_to(G, (len(streams), *size))
    return np.maximum(G + model.sigma(G, programmed, g_max, time_s) * stacked_normals(streams, size), 0.0)
