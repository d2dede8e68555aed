"""Files that other programs read: netlists, NIR graphs, bundles and budgets.

Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

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


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return import_module(f"neurodecorr.export.{name}")
    if name in _HOMES:
        return getattr(import_module(f"neurodecorr.export.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'neurodecorr.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
