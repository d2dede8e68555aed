"""How the room `hardware.devices` is called."""

import numpy as np
from bad_values import Call, Choice, Flag, Number, Numbers, Seed, Several, Text, Valid, Whole

from neurodecorr.hardware import devices
from neurodecorr.hardware.devices import Converter, Devices, Drift, ReadNoise
from neurodecorr.hardware.devices.drift import PCMDrift
from neurodecorr.hardware.devices.programming import PCM
from neurodecorr.hardware.devices.read_noise import PCMReadNoise

ROOM = "hardware.devices"
W = np.array([[1.0, 0.25], [-0.5, 0.75]])
G = np.array([[1e-6, 2e-5], [0.0, 2.5e-5]])
UNIFORM = np.array([0.05, 0.5, 0.95])
PLAIN = Devices(mismatch=0.1, drift=Drift(0.05, 0.01), read_noise=ReadNoise(0.1))
CHIP = PLAIN.manufacture((2, 2), 0)
ARRAY = CHIP.program(W, 0)
PAIR = PLAIN.map(W)
EXEMPT = {
    f"{ROOM}.{name}": reason
    for name, reason in {
        "Chip": "made by `Devices.manufacture`",
    }.items()
}
RANGE = {"g_min": Number(0.0, low=0, below=25e-6), "g_max": Number(25e-6, above=0, high=1.0)}
SCALE = Number(1e-5, above=0, high=2.5e-5, none=True)
TIME = Number(10.0, low=0)
READER = Seed(0, none=True)
NOTHING = {"None": "it has none of it"}
ZERO_D = {"0-d": "a number"}
SPREAD = Numbers(np.array([0.0, 1.0, -3.0]), any_shape=True, also=ZERO_D)
CELLS = Numbers(G, any_shape=True, also={**ZERO_D})
HELD = Numbers(G, any_shape=True, also=ZERO_D)
STATE = {"G": HELD, "g_max": Number(25e-6, above=0, high=1.0)}
READING = {**STATE, "programmed": HELD, "time_s": TIME}


def named(**calls):
    """Return calls by name, dots for double underscores."""
    return [Call(f"{ROOM}.{name.replace('__', '.', 1)}", *call) for name, call in calls.items()]


CALLS = named(
    PCM=(PCM, {"scale": Number(1.0, low=0)}),
    RRAM=(devices.programming.RRAM, {"scale": Number(1.0, low=0)}),
    Independent=(devices.programming.Independent, {"level": Number(0.1, low=0)}),
    Proportional=(devices.Proportional, {"level": Number(0.1, low=0)}),
    ReadNoise=(ReadNoise, {"level": Number(0.1, low=0)}),
    PCMReadNoise=(
        PCMReadNoise,
        {"t_read_s": Number(250e-9, above=0), "t0_s": Number(20.0, above=0), "scale": Number(1.0, low=0)},
    ),
    PCM__sigma=(PCM().sigma, STATE),
    RRAM__sigma=(devices.programming.RRAM().sigma, STATE),
    Independent__sigma=(devices.programming.Independent(0.1).sigma, STATE),
    Proportional__sigma=(devices.Proportional(0.1).sigma, STATE),
    ReadNoise__sigma=(ReadNoise(0.1).sigma, READING),
    PCMReadNoise__sigma=(PCMReadNoise().sigma, READING),
    Drift__exponents=(Drift().exponents, {**STATE, "normals": Numbers(np.ones((2, 2)), any_shape=True, also=ZERO_D)}),
    PCMDrift__moments=(PCMDrift().moments, STATE),
    PCMDrift__exponents=(
        PCMDrift().exponents,
        {**STATE, "normals": Numbers(np.ones((2, 2)), any_shape=True, also=ZERO_D)},
    ),
    Drift=(Drift, {"nu": Number(0.05, low=0), "nu_sd": Number(0.0, low=0), "t0_s": Number(20.0, above=0)}),
    PCMDrift=(PCMDrift, {"t0_s": Number(20.0, above=0), "scale": Number(1.0, low=0)}),
    Converter=(Converter, {"bits": Whole(4, low=2, high=52), "bound": Number(1.0, above=0)}),
    Converter____call__=(Converter(4, 1.0).__call__, {"values": Numbers(W, any_shape=True, also=ZERO_D)}),
    Converter__saturated=(Converter(4, 1.0).saturated, {"values": Numbers(W, any_shape=True, also=ZERO_D)}),
    Devices=(
        Devices,
        {
            **RANGE,
            "sides": Choice("two"),
            "bits": Whole(4, low=1, high=52, none=True),
            "programming": Valid(PCM(), also=NOTHING),
            "mismatch": Number(0.1, low=0),
            "stuck_on": Number(0.1, low=0, high=0.5),
            "stuck_off": Number(0.1, low=0, high=0.5),
            "drift": Valid(Drift(), also=NOTHING),
            "read_noise": Valid(ReadNoise(0.1), also=NOTHING),
            "wire_resistance_ohm": Number(1.0, low=0),
            "dac": Valid(Converter(4, 1.0), also=NOTHING),
            "adc": Valid(Converter(4, 1.0), also=NOTHING),
            "name": Text("chip"),
        },
    ),
    Devices__map=(PLAIN.map, {"weights": Numbers(W, also={"longer": "more columns"}), "scale": SCALE}),
    Devices__weight_step=(Devices(bits=4).weight_step, {"scale": Number(1e-5, above=0)}),
    Devices__manufacture=(PLAIN.manufacture, {"shape": Several((2, 2)), "rng": Seed(0)}),
    Devices__program=(
        PLAIN.program,
        {"weights": Numbers(W, also={"longer": "more columns"}), "rng": Seed(0), "scale": SCALE},
    ),
    Devices__program_many=(
        PLAIN.program_many,
        {
            "weights": Numbers(W, also={"longer": "more columns"}),
            "rng": Seed(0),
            "chips": Whole(2, low=1, high=10**6),
            "time_s": TIME,
            "read": Flag(False),
        },
    ),
    Chip__program=(CHIP.program, {"weights": Numbers(W), "rng": Seed(0), "scale": SCALE}),
    Chip__write=(CHIP.write, {"pair": Valid(PAIR), "rng": Seed(0)}),
    Array__pair=(ARRAY.pair, {"time_s": TIME, "rng": READER}),
    Array__weights=(ARRAY.weights, {"time_s": TIME, "rng": READER}),
    code_unit=(
        devices.pairs.code_unit,
        {"weights": Numbers(W, also={"longer": "more columns"}), "codes": Several((-4, 4))},
    ),
    coded=(
        devices.pairs.coded,
        {
            "weights": Numbers(W, also={"longer": "more columns"}),
            "codes": Several((-4, 4)),
            "unit": Number(0.5, low=0.25, none=True),
        },
    ),
    drift_factor=(
        devices.drift.drift_factor,
        {"exponents": SPREAD, "time_s": TIME, "t0_s": Number(20.0, above=0)},
    ),
    effective_conductances=(
        devices.wires.effective_conductances,
        {
            "G": Numbers(G, also=dict.fromkeys(("one axis more", "longer", "five axes"), "crossbars of any number")),
            "wire_resistance_ohm": Number(1.0, above=0),
        },
    ),
    level_step=(devices.conductance_range.level_step, {"bits": Whole(4, low=1, high=52), **RANGE}),
    map_to_conductances=(
        devices.map_to_conductances,
        {
            "weights": Numbers(W, also={"longer": "more columns"}),
            **RANGE,
            "sides": Choice("one"),
            "scale": Number(1e-5, above=0, high=1.6e-5, none=True),
            "reference": Number(8e-6, low=5e-6, high=1.5e-5, none=True),
        },
    ),
    mismatch_factors=(devices.defects.mismatch_factors, {"level": Number(0.5, low=0), "normals": SPREAD}),
    node_equations=(
        devices.wires.node_equations,
        {"G": Numbers(G, also={"longer": "more columns"}), "wire": Number(1.0, above=0)},
    ),
    preset=(devices.preset, {"name": Choice("pcm")}),
    preset_names=(devices.presets.preset_names, {}),
    quantised=(
        devices.conductance_range.quantised,
        {
            "G": CELLS,
            "bits": Whole(4, low=1, high=52),
            "g_min": RANGE["g_min"],
            "g_max": Number(25e-6, low=25e-6, high=1),
        },
    ),
    stuck_at=(
        devices.defects.stuck_at,
        {
            "G": Numbers(G),
            "stuck": Numbers(np.array([[1, 0], [-1, 0]])),
            "g_min": Number(0.0, low=0, high=25e-6),
            "g_max": Number(25e-6, low=0),
        },
    ),
    stuck_devices=(
        devices.defects.stuck_devices,
        {
            "on": Number(0.1, low=0, high=0.8),
            "off": Number(0.2, low=0, high=0.9),
            "uniforms": Numbers(UNIFORM, any_shape=True),
        },
    ),
)
# Bits and codes exclude each other.
CALLS.append(Call(f"{ROOM}.Devices", Devices, {"codes": Several((-4, 4), none=True)}))
