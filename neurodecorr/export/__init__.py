"""Files that other programs read: netlists, NIR graphs, bundles and budgets.

Names are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from neurodecorr._lazy import lazy_face

if TYPE_CHECKING:
    from neurodecorr.export.bundle.bundle import export_bundle, load_bundle
    from neurodecorr.export.nir.files import add_nir, read_nir, write_nir
    from neurodecorr.export.nir.nengo_script import write_nengo_script
    from neurodecorr.export.nir.state_spaces import state_space
    from neurodecorr.export.spice.netlist import write_spice
    from neurodecorr.export.spice.network_netlist import LearningCircuit
    from neurodecorr.export.spice.runner import run_spice
    from neurodecorr.export.spice.stimulus import PiecewiseLinear

_NAMES = {
    "bundle": (
        "export_bundle",
        "load_bundle",
    ),
    "nir": (
        "add_nir",
        "read_nir",
        "state_space",
        "write_nengo_script",
        "write_nir",
    ),
    "spice": (
        "LearningCircuit",
        "PiecewiseLinear",
        "run_spice",
        "write_spice",
    ),
}

__all__ = [
    "LearningCircuit",
    "PiecewiseLinear",
    "add_nir",
    "export_bundle",
    "load_bundle",
    "read_nir",
    "run_spice",
    "state_space",
    "write_nengo_script",
    "write_nir",
    "write_spice",
]

__getattr__, __dir__ = lazy_face(__name__, _NAMES)
