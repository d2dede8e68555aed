"""Circuits as ordinary differential equations: where they settle, how fast, and whether."""

from neurodecorr.circuit.certificate import Certificate, certificate
from neurodecorr.circuit.chebyshev import chebyshev_schedule
from neurodecorr.circuit.model import Circuit, LinearCircuit, TwoPopulationCircuit
from neurodecorr.circuit.settling import Settled, settle
from neurodecorr.circuit.stability import Stability, predicted_settling_time, stability
from neurodecorr.circuit.steps import stability_limit
from neurodecorr.circuit.trajectory import Trajectory, integrate

__all__ = [
    "Certificate",
    "Circuit",
    "LinearCircuit",
    "Settled",
    "Stability",
    "Trajectory",
    "TwoPopulationCircuit",
    "certificate",
    "chebyshev_schedule",
    "integrate",
    "predicted_settling_time",
    "settle",
    "stability",
    "stability_limit",
]
