"""Devices, analogue circuits and learning on chips.

Names are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from neurodecorr._lazy import lazy_face

if TYPE_CHECKING:
    from neurodecorr.hardware.analogue.amplifier import Amplifier
    from neurodecorr.hardware.analogue.budget import error_budget
    from neurodecorr.hardware.analogue.circuit import AnalogueCircuit
    from neurodecorr.hardware.analogue.monte_carlo import simulate_chips
    from neurodecorr.hardware.analogue.requirements import (
        bandwidth_needed,
        bits_needed,
        gain_needed,
        mismatch_allowed,
        offset_allowed,
    )
    from neurodecorr.hardware.analogue.results import settling_time
    from neurodecorr.hardware.devices.chip import Chip, Devices
    from neurodecorr.hardware.devices.converters import Converter
    from neurodecorr.hardware.devices.drift import Drift
    from neurodecorr.hardware.devices.pairs import map_to_conductances
    from neurodecorr.hardware.devices.presets import preset
    from neurodecorr.hardware.devices.programming import Proportional
    from neurodecorr.hardware.devices.read_noise import ReadNoise
    from neurodecorr.hardware.in_situ.integers import IntegerLearningRule, initial_integer_state, learn_integers
    from neurodecorr.hardware.in_situ.reprogramming import InSituComparison, compare_in_situ, learn_in_situ
    from neurodecorr.hardware.in_situ.rule import InSituRule
    from neurodecorr.hardware.in_situ.synapses import PulsedSynapse

_NAMES = {
    "analogue": (
        "Amplifier",
        "AnalogueCircuit",
        "bandwidth_needed",
        "bits_needed",
        "error_budget",
        "gain_needed",
        "mismatch_allowed",
        "offset_allowed",
        "settling_time",
        "simulate_chips",
    ),
    "devices": (
        "Chip",
        "Converter",
        "Devices",
        "Drift",
        "Proportional",
        "ReadNoise",
        "map_to_conductances",
        "preset",
    ),
    "in_situ": (
        "InSituComparison",
        "InSituRule",
        "IntegerLearningRule",
        "PulsedSynapse",
        "compare_in_situ",
        "initial_integer_state",
        "learn_in_situ",
        "learn_integers",
    ),
}

__all__ = [
    "Amplifier",
    "AnalogueCircuit",
    "Chip",
    "Converter",
    "Devices",
    "Drift",
    "InSituComparison",
    "InSituRule",
    "IntegerLearningRule",
    "Proportional",
    "PulsedSynapse",
    "ReadNoise",
    "bandwidth_needed",
    "bits_needed",
    "compare_in_situ",
    "error_budget",
    "gain_needed",
    "initial_integer_state",
    "learn_in_situ",
    "learn_integers",
    "map_to_conductances",
    "mismatch_allowed",
    "offset_allowed",
    "preset",
    "settling_time",
    "simulate_chips",
]

__getattr__, __dir__ = lazy_face(__name__, _NAMES)
