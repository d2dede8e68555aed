"""Files for hardware: every argument of every public function refuses what it cannot use, by our own errors."""

import functools
from pathlib import Path

import nir as formats
import numpy as np
import pytest

pytest.importorskip("pandas")

import bad_values  # on the path by pytest's `pythonpath`
from bad_values import Call, Choice, Flag, Number, Numbers, Place, Table, Text, Valid, Whole

from neurodecorr import hardware
from neurodecorr.circuit import Circuit, integrate
from neurodecorr.export import bundle, nir, spice
from neurodecorr.io import Recorder, Variable
from neurodecorr.network import Decorrelation, Dense, Network

CIRCUIT = Circuit([[2.0, 0.5], [0.25, 1.5]], 0.02)
NETWORK = Network([Dense(2, "identity")], 2, decorrelation=Decorrelation("recurrent"), dtype="float64", seed=0)
X, ROW = np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([1.0, 2.0])
UNITS = formats.LI(tau=np.ones(2), r=np.ones(2), v_leak=np.zeros(2))
NODES = {"in": formats.Input(np.array([2])), "xbar": UNITS, "out": formats.Output(np.array([2]))}
ACTIVITY = {"xbar": {"v": formats.TimeGriddedData(np.ones((1, 3, 2)), 0.1)}}
STATE = nir.state_space(formats.NIRGraph(NODES, [("in", "xbar"), ("xbar", "out")]))
DECK = "* t\nV1 a 0 DC 3\nR1 a b 1\nR2 b 0 2\n.save v(b)\n.op\n.end\n"


def positive(value, none=False):
    return Number(value, above=0, none=none)


def file(name, text):
    Path(name).write_text(text)
    return name


def added(path, subject):
    with Recorder("traces.h5", (Variable("y"),)) as recorder:
        recorder.record(0, {"y": 1.0})
    return nir.add_nir(path, subject)


def read(reader):
    def call(path, **options):
        nir.write_nir(CIRCUIT, "circuit.nir", data=ACTIVITY)
        return reader(path, **options)

    return call


def loaded(path, max_bytes):
    if not Path("b").exists():
        bundle.export_bundle(CIRCUIT, X, "b")
    return bundle.load_bundle(path, max_bytes=max_bytes)


BYTES = Whole(2**20, low=1000)
SUBJECT = {"subject": Valid(CIRCUIT), "tau_s": positive(0.1, none=True), "require_stable": Flag(True)}
GRAPH = {
    **SUBJECT,
    "dialect": Choice("sinabs"),
    "dt_s": Number(1e-4, above=0, below=1e-2),
    "discretisation": Choice("held"),
    "data": Table({"xbar": {"v": formats.TimeGriddedData(np.ones((1, 3, 2)), 0.1)}}, none=True),
    "metadata": Valid({"rule": "implicit"}, {"None": "nothing", "empty dict": "nothing", "dict": "a number"}),
}
SIMULATOR = Choice("ngspice")
NETLIST = {
    "inputs": Numbers(ROW),
    "path": Place("a.cir"),
    "simulator": SIMULATOR,
}
TIMES = {"t_end_s": Number(0.1, low=0, none=True), "step_s": Number(1e-3, above=1e-8, none=True)}


@functools.cache
def table():
    """Return all calls; made when they are first walked, since the chip and the trajectory are computed."""
    chip = hardware.AnalogueCircuit.build(
        np.asarray(CIRCUIT.R), hardware.Devices(), hardware.Amplifier(), np.random.default_rng(0), tau_s=1e-6
    )
    return (
        Call(
            "spice.write_spice",
            spice.write_spice,
            {
                **NETLIST,
                **TIMES,
                "subject": Valid(CIRCUIT),
                "kind": Choice("crossbar", none=True),
                "pair": Valid(hardware.map_to_conductances(CIRCUIT.R), {"None": "ideal"}),
                "amplifier": Valid(hardware.Amplifier(), {"None": "ideal"}),
                "offsets_v": Numbers(ROW / 1e3, none=True),
                "unit_siemens": Valid(None, {"None": "that of the pair"}),
                "volts_per_unit": positive(1.0, none=True),
                "tau_s": positive(0.02, none=True),
                "initial": Numbers(ROW, none=True),
                "names": Valid(("a", "b"), {"None": "names of our own", "texts": "two names"}),
            },
        ),
        Call(
            "spice.write_spice of devices",
            spice.write_spice,
            {**NETLIST, "subject": Valid(CIRCUIT), "unit_siemens": positive(1e-6, none=True)},
        ),
        Call(
            "spice.write_spice of a chip",
            spice.write_spice,
            {
                **NETLIST,
                "subject": Valid(chip),
                "t_end_s": Number(1e-5, low=0, none=True),
                "step_s": Number(1e-8, above=1e-13, none=True),
            },
        ),
        Call(
            "spice.write_spice of a network",
            spice.write_spice,
            {
                **NETLIST,
                **TIMES,
                "subject": Valid(NETWORK.as_circuit(0.02, 0.02)),
                "unit_siemens": positive(1e-6, none=True),
            },
        ),
        Call(
            "spice.netlist",
            spice.netlist.netlist,
            {"subject": Valid(CIRCUIT), "inputs": Numbers(ROW), "simulator": SIMULATOR},
        ),
        Call(
            "spice.write_spice of a circuit that learns",
            spice.write_spice,
            {
                "subject": Valid(spice.LearningCircuit(np.eye(2), 0.1, 0.02, 10.0)),
                "inputs": Numbers(X),
                "path": Place("a.cir"),
                "unit_siemens": positive(1e-6, none=True),
                "step_s": positive(1e-3, none=True),
            },
        ),
        Call(
            "spice.LearningCircuit",
            lambda **o: spice.netlist.netlist(spice.LearningCircuit(**o), X),
            {
                "R": Numbers(np.eye(2)),
                "dwell_s": positive(0.1),
                "tau_s": positive(0.02),
                "tau_R_s": positive(10.0),
                "rule": Choice("implicit"),
                "power": Numbers(ROW, none=True),
                "tau_power_s": positive(1.0, none=True),
            },
        ),
        Call("spice.find_simulator", spice.runner.find_simulator, {"simulator": SIMULATOR}),
        Call("spice.simulator_version", spice.runner.simulator_version, {"simulator": SIMULATOR}),
        Call(
            "spice.run_spice",
            lambda path, simulator, timeout_s: spice.run_spice(
                file("n.cir", DECK) and path, simulator, timeout_s=timeout_s
            ),
            {"path": Place("n.cir"), "simulator": Choice("ngspice", none=True), "timeout_s": Number(60.0, above=0)},
        ),
        Call(
            "spice.PiecewiseLinear",
            spice.PiecewiseLinear,
            {"times": Numbers(np.array([0.0, 1.0])), "values": Numbers(X, also={"longer": "three units"})},
        ),
        Call("spice.PiecewiseLinear()", spice.PiecewiseLinear([0.0, 1.0], X), {"t": Number(0.5)}),
        Call(
            "nir.write_nir",
            lambda path, **o: nir.write_nir(o.pop("subject"), path, o.pop("dialect"), **o),
            {"path": Place("a.nir"), **GRAPH},
        ),
        Call("nir.nir_parts", nir.files.nir_parts, GRAPH),
        Call("nir.add_nir", added, {"path": Place("traces.h5"), "subject": Valid(CIRCUIT)}),
        Call(
            "nir.write_nir_layers",
            nir.files.write_nir_layers,
            {
                "network": Valid(NETWORK),
                "folder": Place("layers"),
                "tau_s": positive(0.1, none=True),
                "require_stable": Flag(True),
            },
        ),
        Call(
            "nir.write_nengo_script",
            nir.write_nengo_script,
            {**SUBJECT, "path": Place("run.py"), "dt_s": Number(1e-4, above=0, below=1e-2)},
        ),
        Call(
            "nir.read_nir",
            read(nir.read_nir),
            {"path": Place("circuit.nir"), "require_stable": Flag(True), "max_bytes": BYTES},
        ),
        Call("nir.read_nir_graph", read(nir.files.read_nir_graph), {"path": Place("circuit.nir"), "max_bytes": BYTES}),
        Call("nir.read_nir_data", read(nir.data.read_nir_data), {"path": Place("circuit.nir"), "max_bytes": BYTES}),
        Call("nir.state_space", read(nir.state_space), {"path": Place("circuit.nir")}),
        Call("nir.write_nir_data", nir.data.write_nir_data, {"path": Place("d.nir"), "observed": Table(ACTIVITY)}),
        Call(
            "nir.time_gridded",
            nir.data.time_gridded,
            {
                "trajectory": Valid(integrate(CIRCUIT, ROW, 1.0, times=np.linspace(0, 1, 5))),
                "second": Number(1.0, above=0),
            },
        ),
        Call("nir.StateSpace.rest", lambda x: STATE.rest(x), {"x": Numbers(ROW)}),
        Call(
            "nir.StateSpace.respond",
            STATE.respond,
            {"x": Numbers(ROW), "times_s": Numbers(np.array([0.0, 1.0]), any_shape=False)},
        ),
        Call("nir.StateSpace.run", STATE.run, {"X": Numbers(X), "dt_s": Number(0.1, above=0)}),
        Call(
            "bundle.export_bundle",
            bundle.export_bundle,
            {
                "circuit": Valid(CIRCUIT),
                "x": Numbers(ROW),
                "path": Place("b.zip"),
                "name": Text("own", empty=False),
                "mean": Numbers(ROW, none=True),
                "tau_s": Number(0.02, above=0, none=True),
                "formats": Valid(bundle.Formats()),
                "origin": Table({"run": "mine"}, json=True, none=True, empty=True),
            },
        ),
        Call("bundle.load_bundle", loaded, {"path": Place("b"), "max_bytes": Whole(2**24, low=2**20)}),
        Call(
            "bundle.Formats",
            bundle.Formats,
            {
                "bits": Whole(8, low=2, high=32),
                "g_min": Number(1e-6, low=0, below=25e-6),
                "g_max": Number(25e-6, above=1e-6, high=1),
                "sides": Choice("two"),
                "dialect": Choice("canonical"),
                "dt_s": Number(1e-3, above=0, none=True),
                "kind": Choice("ota"),
                "simulator": SIMULATOR,
            },
        ),
        Call(
            "bundle.golden_response",
            bundle.reference_response,
            {"circuit": Valid(CIRCUIT), "X": Numbers(ROW), "tau_s": Number(0.02, above=0, none=True)},
        ),
        Call(
            "bundle.to_fixed_point",
            bundle.fixed_point.to_fixed_point,
            {"weights": Numbers(X, also={"longer": "a matrix"}), "bits": Whole(8, low=2, high=32)},
        ),
        Call(
            "bundle.topology_text",
            bundle.contents.topology_text,
            {"R": Numbers(X), "tau_s": Number(0.02, above=0, none=True)},
        ),
    )


@pytest.mark.parametrize("room", ["spice", "nir", "bundle"])
def test_bad_values_are_refused_by_our_own_errors(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with bad_values.limits(), np.errstate(all="ignore"):
        found = {call.name: bad_values.faults(call) for call in table() if call.name.startswith(f"{room}.")}
    assert {name: faults for name, faults in found.items() if faults} == {}
