"""The rate circuit, its signed spike code and an inhibitory baseline; compiled, or in Brian2 (extra `[brian2]`)."""

from neurodecorr.spiking import runs as runs
from neurodecorr.spiking.brian import run_rate
from neurodecorr.spiking.code import LateralRule, SpikeCode
from neurodecorr.spiking.correlation import mean_correlation, reduction
from neurodecorr.spiking.lif import InhibitoryRule, LIFNetwork
from neurodecorr.spiking.simulate import run_code, run_lif
from neurodecorr.spiking.stimulus import Stimulus, constant_stimulus, ou_stimulus

__all__ = [
    "InhibitoryRule",
    "LIFNetwork",
    "LateralRule",
    "SpikeCode",
    "Stimulus",
    "constant_stimulus",
    "mean_correlation",
    "ou_stimulus",
    "reduction",
    "run_code",
    "run_lif",
    "run_rate",
]
