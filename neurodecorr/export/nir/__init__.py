"""NIR files: circuits and linear networks as graphs that neuromorphic tools read, and the activity to expect."""

from neurodecorr.export.nir import data as data
from neurodecorr.export.nir import graph as graph
from neurodecorr.export.nir.files import add_nir, read_nir, write_nir
from neurodecorr.export.nir.nengo_script import write_nengo_script
from neurodecorr.export.nir.state_spaces import state_space

__all__ = ["add_nir", "read_nir", "state_space", "write_nengo_script", "write_nir"]
