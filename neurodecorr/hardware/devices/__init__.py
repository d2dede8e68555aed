"""Devices that hold weights: how a matrix becomes conductances, and what goes wrong on the way."""

from neurodecorr.hardware.devices import conductance_range as conductance_range
from neurodecorr.hardware.devices import defects as defects
from neurodecorr.hardware.devices import wires as wires
from neurodecorr.hardware.devices.chip import Chip, Devices
from neurodecorr.hardware.devices.converters import Converter
from neurodecorr.hardware.devices.drift import Drift
from neurodecorr.hardware.devices.pairs import map_to_conductances
from neurodecorr.hardware.devices.presets import preset
from neurodecorr.hardware.devices.programming import Proportional
from neurodecorr.hardware.devices.read_noise import ReadNoise

__all__ = ["Chip", "Converter", "Devices", "Drift", "Proportional", "ReadNoise", "map_to_conductances", "preset"]
