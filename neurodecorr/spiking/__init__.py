"""The rate circuit, its signed spike code and an inhibitory baseline; compiled, or in Brian2 (extra `[brian2]`)."""

from neurodecorr.spiking.brian import rate_network, run_rate
from neurodecorr.spiking.code import LateralRule, SpikeCode, coding_error_floor, lateral_jump
from neurodecorr.spiking.correlation import Reduction, SpikeCorrelation, mean_correlation, reduction
from neurodecorr.spiking.lif import InhibitoryRule, LIFNetwork
from neurodecorr.spiking.runs import RateRun, SpikeRun, Spikes
from neurodecorr.spiking.simulate import run_code, run_lif
from neurodecorr.spiking.stimulus import Stimulus, constant_stimulus, ou_stimulus

__all__ = [
    "InhibitoryRule",
    "LIFNetwork",
    "LateralRule",
    "RateRun",
    "Reduction",
    "SpikeCode",
    "SpikeCorrelation",
    "SpikeRun",
    "Spikes",
    "Stimulus",
    "coding_error_floor",
    "constant_stimulus",
    "lateral_jump",
    "mean_correlation",
    "ou_stimulus",
    "rate_network",
    "reduction",
    "run_code",
    "run_lif",
    "run_rate",
]
