"""Circuits as ordinary differential equations: where they settle, how fast, and whether."""

from neurodecorr.circuit import chebyshev as chebyshev
from neurodecorr.circuit import problem as problem
from neurodecorr.circuit import sparse_settling as sparse_settling
from neurodecorr.circuit.certificate import certificate
from neurodecorr.circuit.inputs import PiecewiseConstant
from neurodecorr.circuit.integrate import integrate
from neurodecorr.circuit.model import Circuit, TwoPopulationCircuit
from neurodecorr.circuit.settle import settle, solve
from neurodecorr.circuit.sparse import SparseCircuit
from neurodecorr.circuit.stability import Stability, stability, stability_limit

__all__ = [
    "Circuit",
    "PiecewiseConstant",
    "SparseCircuit",
    "Stability",
    "TwoPopulationCircuit",
    "certificate",
    "integrate",
    "settle",
    "solve",
    "stability",
    "stability_limit",
]
