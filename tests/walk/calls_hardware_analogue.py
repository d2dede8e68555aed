"""How the room `hardware.analogue` is called."""

import numpy as np
from bad_values import Call, Choice, Number, Numbers, Seed, Valid, Whole

from neurodecorr.circuit import Circuit
from neurodecorr.hardware import analogue
from neurodecorr.hardware.analogue import Amplifier, AnalogueCircuit
from neurodecorr.hardware.devices import Converter, Devices

ROOM = "hardware.analogue"
R = np.array([[2.0, 0.5, 0.0], [0.3, 1.5, -0.2], [0.0, 0.1, 1.0]])
X = np.array([[1.0, -2.0, 0.5], [0.25, 1.0, 3.0]])
PLUS, MINUS = np.maximum(R, 0) * 1e-5, np.maximum(-R, 0) * 1e-5
CHIP = AnalogueCircuit.build(R, Devices(mismatch=0.01), Amplifier(gain=1e4, bandwidth_hz=1e7), tau_s=1e-6)
CHIPS = analogue.simulate_chips(R, X, Devices(mismatch=0.01), chips=4)
EXEMPT = {f"{ROOM}.{name}": "a record of results, filled by the library" for name in ()}
WEIGHTS = Numbers(R)
INPUTS = Numbers(X)
DEVICES = Valid(Devices(mismatch=0.01), also={"None": "ideal ones"})
AMPLIFIER = Valid(Amplifier(gain=1e4), also={"None": "an ideal one"})
VOLTS = Number(0.1, above=0, high=1e30)
IDEAL = {"inf": "an ideal one"}
NEEDS = {
    "weights": WEIGHTS,
    "X": INPUTS,
    "error": Number(0.05, above=0, high=1e6),
    "devices": DEVICES,
    "form": Choice("closed"),
}
PROGRESS = Valid(
    None, also={"None": "nobody listens", "function": "any function"}, skip={"class": "int fails by itself"}
)
BUDGET = {
    "weights": WEIGHTS, "X": INPUTS, "devices": DEVICES, "amplifier": AMPLIFIER, "form": Choice("closed"),
    "volts_per_unit": VOLTS, "time_s": Number(0.0, low=0),
}  # fmt: skip


def named(**calls):
    """Return calls by name, dots for double underscores."""
    return [Call(f"{ROOM}.{name.replace('__', '.', 1)}", *call) for name, call in calls.items()]


CALLS = named(
    Amplifier=(
        Amplifier,
        {
            "gain": Number(1e4, above=0, also=IDEAL),
            "bandwidth_hz": Number(1e6, above=0, also=IDEAL),
            "swing_v": Number(1.0, above=0, also=IDEAL),
            "offset_v": Number(0.0, low=0),
            "bias_a": Number(0.0, low=0),
            "supply_v": Number(1.0, above=0, also=IDEAL),
        },
    ),
    AnalogueCircuit=(
        AnalogueCircuit,
        {
            "plus": Numbers(PLUS),
            "minus": Numbers(MINUS),
            "unit_siemens": Number(1e-5, above=0),
            "capacitance_f": Number(1e-11, above=0),
            "amplifier": Valid(Amplifier()),
            "offsets_v": Numbers(np.array([1e-3, 0.0, 0.0]), none=True),
            "inverter_offsets_v": Numbers(np.array([1e-3, 0.0, 0.0]), none=True),
            "volts_per_unit": VOLTS,
            "dac": Valid(Converter(4, 1.0), also={"None": "none"}),
            "adc": Valid(Converter(4, 1.0), also={"None": "none"}),
            "form": Choice("closed"),
            "sides": Choice("two"),
        },
    ),
    AnalogueCircuit__build=(
        AnalogueCircuit.build,
        {
            "weights": Valid(Circuit(R)),
            "devices": DEVICES,
            "amplifier": AMPLIFIER,
            "rng": Seed(0),
            "form": Choice("closed"),
            "tau_s": Number(1e-6, above=0, none=True),
            "volts_per_unit": VOLTS,
            "time_s": Number(0.0, low=0),
        },
    ),
    AnalogueCircuit__settle=(CHIP.settle, {"X": INPUTS}),
    AnalogueCircuit__integrate=(
        CHIP.integrate,
        {
            "x": Numbers(X[0]),
            "t_end_s": Number(1e-6, above=0),
            "times_s": Numbers(np.array([0.0, 5e-7]), none=True),
            "initial": Numbers(X[0], none=True),
            "method": Choice("exponential", none=True),
        },
    ),
    AnalogueCircuit__energy=(CHIP.energy, {"X": INPUTS, "accuracy": Number(1e-3, above=0, below=1)}),
    ChipSimulation__quantile=(CHIPS.quantile, {"share": Number(0.5, low=0, high=1)}),
    bandwidth_needed=(
        analogue.bandwidth_needed,
        {"weights": WEIGHTS, "tau_s": Number(1e-6, above=0), "devices": DEVICES, "keep": Number(0.9, above=0, below=1)},
    ),
    bits_needed=(analogue.bits_needed, NEEDS),
    error_budget=(analogue.error_budget, BUDGET),
    gain_needed=(analogue.gain_needed, NEEDS),
    mismatch_allowed=(analogue.mismatch_allowed, NEEDS),
    offset_allowed=(analogue.offset_allowed, {**NEEDS, "volts_per_unit": VOLTS}),
    settling_time=(analogue.settling_time, {"R": WEIGHTS, "accuracy": Number(1e-3, above=0, below=1)}),
    simulate_chips=(
        analogue.simulate_chips,
        {
            **BUDGET,
            "chips": Whole(2, low=1, high=10**6),
            "seed": Seed(0),
            "tau_s": Number(1.0, above=0),
            "jobs": Whole(1, low=1),
            "progress": PROGRESS,
        },
    ),
)
