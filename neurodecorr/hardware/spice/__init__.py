"""Netlists of circuits for SPICE, and what simulators make of them."""

from neurodecorr.hardware.spice.chips import chip_deck, write_spice_chip
from neurodecorr.hardware.spice.circuits import circuit_deck, write_spice
from neurodecorr.hardware.spice.learning import learning_deck, write_spice_learning
from neurodecorr.hardware.spice.networks import network_deck, write_spice_network
from neurodecorr.hardware.spice.raw import RawPlot, read_raw
from neurodecorr.hardware.spice.runner import SpiceResult, find_simulator, run_spice, simulator_version
from neurodecorr.hardware.spice.stimulus import PiecewiseLinear

__all__ = [
    "PiecewiseLinear",
    "RawPlot",
    "SpiceResult",
    "chip_deck",
    "circuit_deck",
    "find_simulator",
    "learning_deck",
    "network_deck",
    "read_raw",
    "run_spice",
    "simulator_version",
    "write_spice",
    "write_spice_chip",
    "write_spice_learning",
    "write_spice_network",
]
