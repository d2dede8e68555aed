"""Devices that hold weights: how a matrix becomes conductances, and what goes wrong on the way."""

from neurodecorr.hardware.devices.chip import Array, Chip, Devices
from neurodecorr.hardware.devices.conductance_range import level_step, quantised
from neurodecorr.hardware.devices.converters import Converter
from neurodecorr.hardware.devices.defects import mismatch_factors, stuck_at, stuck_devices
from neurodecorr.hardware.devices.drift import Drift, DriftModel, PCMDrift, drift_factor
from neurodecorr.hardware.devices.integer_weights import code_unit, coded
from neurodecorr.hardware.devices.pairs import Pair, map_to_conductances
from neurodecorr.hardware.devices.presets import PRESETS, Preset, preset, preset_names
from neurodecorr.hardware.devices.programming import PCM, RRAM, Independent, Programming, Proportional
from neurodecorr.hardware.devices.read_noise import PCMReadNoise, ReadNoise, ReadNoiseModel
from neurodecorr.hardware.devices.wires import effective_conductances, node_equations

__all__ = [
    "PCM",
    "PRESETS",
    "RRAM",
    "Array",
    "Chip",
    "Converter",
    "Devices",
    "Drift",
    "DriftModel",
    "Independent",
    "PCMDrift",
    "PCMReadNoise",
    "Pair",
    "Preset",
    "Programming",
    "Proportional",
    "ReadNoise",
    "ReadNoiseModel",
    "code_unit",
    "coded",
    "drift_factor",
    "effective_conductances",
    "level_step",
    "map_to_conductances",
    "mismatch_factors",
    "node_equations",
    "preset",
    "preset_names",
    "quantised",
    "stuck_at",
    "stuck_devices",
]
