"""The networks of this room in Brian2's equations; Brian2 is imported when the first of them is built."""

from neurodecorr.spiking.brian.lif import brian_lif
from neurodecorr.spiking.brian.rate import rate_network, run_rate
from neurodecorr.spiking.brian.session import TARGETS, brian2_module, session
from neurodecorr.spiking.brian.signed import brian_code

__all__ = ["TARGETS", "brian2_module", "brian_code", "brian_lif", "rate_network", "run_rate", "session"]
