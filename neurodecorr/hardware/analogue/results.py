"""What an analogue circuit does: where it rests, and how it gets there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats


@short_repr
@dataclass(frozen=True, eq=False)
class RestingState:
    """Where the circuit rests.

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
    """Voltages over time.

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
