"""The rule of chips as the locality audit sees it: the function that the kernel calls, and what a synapse reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.hardware.in_situ import kernels
from neurodecorr.locality import Signal, SynapticRule
from neurodecorr.locality.audit import Signals

_R, _XBAR = Signal("R", "weight"), Signal("xbar", "unit")
_DRIVE = Signal("drive", "drive")
_RATE = Signal("rate", "global", positive=True, size=0.05)
_OWN = Signal("power", "unit", positive=True, running=True)
_TARGET = Signal("power", "global", positive=True)


def _change(gain: bool) -> Callable[[Signals], Floats]:
    def change(s: Signals) -> Floats:
        n = len(s["xbar"])
        power = np.broadcast_to(s.get("power", 0.0), n)
        out = np.empty((n, n))
        for i in range(n):
            for j in range(n):
                weight, x = s["R"][i, j], s["xbar"][j]
                held = weight if gain else 0.0
                out[i, j] = kernels.change_wanted(s["rate"], s["drive"][i], weight * x, held, x, power[j])
        return out

    return change


_READS = ("pre", "drive", "own weight", "global scalar")
IN_SITU_RULES: tuple[SynapticRule, ...] = (
    SynapticRule("in situ, layer gain", (_R, _DRIVE, _XBAR, _TARGET, _RATE), _change(True), _READS),
    SynapticRule("in situ, node gain", (_R, _DRIVE, _XBAR, _OWN, _RATE), _change(True), _READS),
    SynapticRule("in situ, no gain", (_R, _DRIVE, _XBAR, _RATE), _change(False), _READS),
)
