"""From weights to hardware: device models, analogue circuits, learning on chips, and files other tools read.

Names are loaded when they are first used.
"""

from importlib import import_module
from typing import Any

_HOMES: dict[str, str] = {
    "Amplifier": "analogue",
    "AnalogueCircuit": "analogue",
    "Array": "devices",
    "Budget": "analogue",
    "Bundle": "bundle",
    "Chip": "devices",
    "Chips": "analogue",
    "Converter": "devices",
    "Devices": "devices",
    "Drift": "devices",
    "Energy": "analogue",
    "Graph": "nir",
    "Healing": "insitu",
    "InSitu": "insitu",
    "Independent": "devices",
    "IntegerPlan": "insitu",
    "IntegerState": "insitu",
    "PCM": "devices",
    "PCMDrift": "devices",
    "PCMReadNoise": "devices",
    "Pair": "devices",
    "PiecewiseLinear": "spice",
    "Proportional": "devices",
    "PulsedSynapse": "insitu",
    "RRAM": "devices",
    "ReadNoise": "devices",
    "StateSpace": "nir",
    "TimeGridded": "nir",
    "add_nir": "nir",
    "bandwidth_needed": "analogue",
    "bits_needed": "analogue",
    "effective_conductances": "devices",
    "error_budget": "analogue",
    "export_bundle": "bundle",
    "gain_needed": "analogue",
    "heal": "insitu",
    "integer_state": "insitu",
    "learn_in_situ": "insitu",
    "learn_integers": "insitu",
    "load_bundle": "bundle",
    "map_to_conductances": "devices",
    "mismatch_allowed": "analogue",
    "nir_parts": "nir",
    "offset_allowed": "analogue",
    "preset": "devices",
    "preset_names": "devices",
    "read_nir": "nir",
    "read_nir_data": "nir",
    "read_nir_graph": "nir",
    "run_spice": "spice",
    "settling_time": "analogue",
    "simulate_chips": "analogue",
    "state_space": "nir",
    "time_gridded": "nir",
    "write_nengo_script": "nir",
    "write_nir": "nir",
    "write_nir_data": "nir",
    "write_nir_layers": "nir",
    "write_spice": "spice",
    "write_spice_learning": "spice",
    "write_spice_network": "spice",
}

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"neurodecorr.hardware.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'neurodecorr.hardware' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOMES)
