"""Learning rule of a chip: rate, gain, and the tests of its own stability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, count, number, positive
from neurodecorr._validation import samples as checked_samples
from neurodecorr.errors import ConfigError
from neurodecorr.hardware.in_situ import kernels
from neurodecorr.hardware.in_situ.kernels import StabilityTest
from neurodecorr.locality import Signal, SynapticRule
from neurodecorr.locality.audit import Signals
from neurodecorr.plasticity.spec import Decay, Schedule, rate_at, schedule_named

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


# A chip that starts near its goal needs a shorter hold than one that starts from nothing.
NEAR = Decay(hold=2.0)
GAINS = ("layer", "node", "none")


@short_repr
@dataclass(frozen=True)
class InSituRule:
    """Learning rule by which a chip updates its own R.

    ::

        ΔR_ij = η (s_i − i_ij) x̄_j + η R_ij (x̄_j² − p_j)

    s_i is the total current that unit i receives, i_ij the current of synapse (i, j), R_ij what its devices conduct.
    Both terms vanish on average where ⟨x̄x̄ᵀ⟩ = diag(p), whatever the devices are.

    Parameters
    ----------
    rate : float, default 1e-3
        η > 0, in units of one over the mean input power.
    schedule : {"decay", "constant"} or Decay, default Decay(hold=2)
        How the rate falls.
    gain : {"layer", "node", "none"}
        p_j: the mean power of the inputs, that of the unit's own input, or no second term at all.
    sense_mismatch : float, default 0
        Relative standard deviation of the gain by which units measure s_i.
    sample_s : float, default 0
        Seconds between samples: devices drift while they learn.
    test_every : int, default 256
        Samples between two tests of stability; 0 for none. A test: from rest, under one sample, each unit feeding
        `margin` of its activity back to itself; units that reach the rail within `test_tau` raise their own leak by
        `leak_step`, until none does.
    margin : float, default 0.02
        μ, in units of weight.
    test_tau : float, default 400
        Duration of a test in τ.
    rail : float, default 10
        Largest activity, in units of the root mean power; the rule, too, sees no more than that.
    leak_step : float, default 0.05
        In units of weight.
    """

    rate: float = 1e-3
    schedule: str | Schedule = NEAR
    gain: str = "layer"
    sense_mismatch: float = 0.0
    sample_s: float = 0.0
    test_every: int = 256
    margin: float = 0.02
    test_tau: float = 400.0
    rail: float = 10.0
    leak_step: float = 0.05

    def __post_init__(self) -> None:
        for name in ("rate", "margin", "test_tau", "rail", "leak_step"):
            positive(getattr(self, name), name)
        for name in ("sense_mismatch", "sample_s"):
            if number(getattr(self, name), name) < 0:
                raise ConfigError(f"{name} must be ≥ 0; got {getattr(self, name)!r}.")
        count(self.test_every, "test_every", least=0)
        choice(self.gain, "gain", GAINS)
        schedule_named(self.schedule)

    def rates(self, samples: int) -> Floats:
        """Return η of each sample, in the plan's units."""
        require_memory(8 * (count(samples, "samples", least=0)), "the rates of all samples")
        schedule, clock, rates = schedule_named(self.schedule), 0.0, np.empty(samples)
        for t in range(samples):
            rates[t] = rate_at(schedule, self.rate, clock)
            clock += rates[t]
        return rates

    def powers(self, X: Floats) -> Floats:
        """Return p_j from the inputs."""
        own = np.mean(checked_samples(X, "X").astype(np.float64) ** 2, axis=0)
        return own if self.gain == "node" else np.full_like(own, own.mean())

    def stability_test(self, size: float) -> StabilityTest:
        """Return what the kernel asks of the tests, for inputs of root mean power `size`."""
        rail = float(self.rail * positive(size, "size"))
        return StabilityTest(self.test_every, float(self.margin), float(self.test_tau), rail, float(self.leak_step))
