"""Netlists of circuits for SPICE, and what simulators make of them."""

from neurodecorr.export.spice.netlist import write_spice
from neurodecorr.export.spice.network_netlist import LearningCircuit
from neurodecorr.export.spice.runner import run_spice
from neurodecorr.export.spice.stimulus import PiecewiseLinear

__all__ = [
    "LearningCircuit",
    "PiecewiseLinear",
    "run_spice",
    "write_spice",
]
