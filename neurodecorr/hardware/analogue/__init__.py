"""The circuit in volts, seconds and siemens: one chip, its error budget in closed form, and many chips."""

from neurodecorr.hardware.analogue import results as results
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.budget import error_budget
from neurodecorr.hardware.analogue.circuit import AnalogueCircuit
from neurodecorr.hardware.analogue.monte_carlo import simulate_chips
from neurodecorr.hardware.analogue.requirements import (
    bandwidth_needed,
    bits_needed,
    gain_needed,
    mismatch_allowed,
    offset_allowed,
)
from neurodecorr.hardware.analogue.results import settling_time

__all__ = [
    "Amplifier",
    "AnalogueCircuit",
    "bandwidth_needed",
    "bits_needed",
    "error_budget",
    "gain_needed",
    "mismatch_allowed",
    "offset_allowed",
    "settling_time",
    "simulate_chips",
]
