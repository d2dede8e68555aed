"""Netlists of circuits for SPICE, and what simulators make of them."""

from neurodecorr.export.spice.netlist import chip_deck, circuit_deck, write_spice, write_spice_chip
from neurodecorr.export.spice.network_netlist import (
    learning_deck,
    network_deck,
    write_spice_learning,
    write_spice_network,
)
from neurodecorr.export.spice.raw import RawPlot, read_raw
from neurodecorr.export.spice.runner import SpiceResult, find_simulator, run_spice, simulator_version
from neurodecorr.export.spice.stimulus import PiecewiseLinear

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
