"""Circuits as ordinary differential equations: where they settle, how fast, and whether."""

from neurodecorr.circuit.certificate import Certificate, certificate
from neurodecorr.circuit.chebyshev import chebyshev_schedule
from neurodecorr.circuit.inputs import PiecewiseConstant
from neurodecorr.circuit.integrate import Trajectory, integrate, record_trajectory
from neurodecorr.circuit.mismatch import mismatched
from neurodecorr.circuit.model import Circuit, LinearCircuit, TwoPopulationCircuit
from neurodecorr.circuit.problem import Settled
from neurodecorr.circuit.settle import settle, solve
from neurodecorr.circuit.settler import Settler
from neurodecorr.circuit.sparse import SparseCircuit, sigma_bound
from neurodecorr.circuit.sparse_settling import settle_sparse
from neurodecorr.circuit.stability import Stability, predicted_settling_time, stability, stability_limit
from neurodecorr.circuit.topology import grid_neighbours, grid_taper, random_neighbours

__all__ = [
    "Certificate",
    "Circuit",
    "LinearCircuit",
    "PiecewiseConstant",
    "Settled",
    "Settler",
    "SparseCircuit",
    "Stability",
    "Trajectory",
    "TwoPopulationCircuit",
    "certificate",
    "chebyshev_schedule",
    "grid_neighbours",
    "grid_taper",
    "integrate",
    "mismatched",
    "predicted_settling_time",
    "random_neighbours",
    "record_trajectory",
    "settle",
    "settle_sparse",
    "sigma_bound",
    "solve",
    "stability",
    "stability_limit",
]
