"""NIR files: circuits and linear networks as graphs that neuromorphic tools read, and the activity to expect."""

from neurodecorr.export.nir.data import TimeGridded, read_nir_data, time_gridded, write_nir_data
from neurodecorr.export.nir.files import add_nir, nir_parts, read_nir, read_nir_graph, write_nir, write_nir_layers
from neurodecorr.export.nir.graph import Graph, Node
from neurodecorr.export.nir.nengo_script import write_nengo_script
from neurodecorr.export.nir.state_spaces import StateSpace, state_space

__all__ = [
    "Graph",
    "Node",
    "StateSpace",
    "TimeGridded",
    "add_nir",
    "nir_parts",
    "read_nir",
    "read_nir_data",
    "read_nir_graph",
    "state_space",
    "time_gridded",
    "write_nengo_script",
    "write_nir",
    "write_nir_data",
    "write_nir_layers",
]
