"""What results look like when they are printed: short, whatever arrays they hold; and they compare as objects."""

import ast
import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr.circuit import Circuit
from neurodecorr.export.budget import HardwareBudget, Needs
from neurodecorr.export.spice.runner import SpiceResult
from neurodecorr.hardware.analogue import AnalogueCircuit
from neurodecorr.hardware.devices import Devices
from neurodecorr.hardware.in_situ import InSituComparison

PACKAGE = Path(nd.__file__).parent
ARRAYS = ("Floats", "NDArray", "Float64s", "Int64s", "Ints", "Array")
LONG = 160


def holders():
    """Yield (class, names of its fields that hold arrays) of the rooms whose results are printed."""
    for path in sorted([*(PACKAGE / "hardware").rglob("*.py"), *(PACKAGE / "spiking").rglob("*.py")]):
        names = [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
        if not names or "@dataclass" not in path.read_text("utf-8"):
            continue
        module = importlib.import_module(".".join(("neurodecorr", *path.relative_to(PACKAGE).with_suffix("").parts)))
        for kind in (getattr(module, name) for name in names if not name.startswith("_")):
            if dataclasses.is_dataclass(kind):
                fields = [f for f in dataclasses.fields(kind) if not str(f.type).startswith("Callable")]
                held = [f for f in fields if any(word in str(f.type) for word in ARRAYS)]
                if held:
                    yield pytest.param(kind, held, id=f"{module.__name__.removeprefix('neurodecorr.')}.{kind.__name__}")


@pytest.mark.parametrize(("kind", "held"), list(holders()))
def test_no_result_compares_its_arrays_or_prints_them(kind, held):
    # == of arrays is an array, whose truth is an error; identity is what is left.
    assert kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__
    generated = hasattr(kind.__repr__, "__wrapped__")  # as dataclass makes it, of every field that does not opt out
    assert not generated or not any(field.repr for field in held)


def test_the_walk_finds_what_it_should():
    names = {case.id for case in holders()}
    assert {
        "hardware.in_situ.reprogramming.InSituComparison",
        "hardware.devices.pairs.Pair",
        "spiking.runs.SpikeRun",
    } <= names


def healing(chips=100, n=32):
    margins = np.full(chips, 0.5)
    margins[:3] = -0.1
    course = np.ones((4, chips))
    return InSituComparison(
        np.full(chips, 0.2), np.full(chips, 0.05), margins, np.full(chips, 0.5), np.array([0, 10, 100, 1000]), course,
        np.ones((chips, n, n)), np.zeros((chips, n)), {"sent": np.zeros(chips, np.int64)},
    )  # fmt: skip


def spice_result(times=1000, n=20):
    traces = {f"xbar{i}": np.ones(times) for i in range(n)}
    t = np.linspace(0, 0.1, times)
    nodes = {"xbar": tuple(traces)}
    return SpiceResult(np.ones(n), t, np.ones((times, n)), {"m": 0.1}, traces, {}, {}, nodes, "ngspice", "43", 0.25)


def budget():
    needs = {"closed": Needs(8, 0.01, 1e3, 1e-4), "open": Needs(None, 0.02, 1e3, 1e-4)}
    return HardwareBudget(
        "R_local", "r.npz", 64, "two", 0.25, 0.05, 1e-6, 0.1, 100, needs, needs, None, 1e6, 2e-6,
        {"closed": 1e-9, "open": 1e-9}, (None,) * 9, "samples.npy",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (healing(), "InSituComparison(100 chips, n=32, samples=1000, median=0.2 → 0.05, unstable=3 → 0)"),
        (spice_result(), "SpiceResult(n=20, 1000 times to 0.1 s, measures=1, ngspice in 0.25 s)"),
        (
            budget(),
            "HardwareBudget('R_local', units=64, margin=0.25, wanted=0.05, bits closed: 8, open: None, open_s=2e-06, "
            "chips=100, 9 rows)",
        ),
    ],
    ids=["healing", "spice", "budget"],
)
def test_a_large_result_is_one_line_that_says_what_came_out(found, text):
    assert repr(found) == text and len(text) < LONG


def test_what_is_made_of_a_circuit_prints_its_size_on_one_line():
    R = np.eye(40) + 0.01
    chip = Devices().manufacture(R.shape, rng=0)
    pair = Devices().map(R)
    own = AnalogueCircuit.build(R)
    made = {"(40, 40)": (chip, chip.program(R, rng=0), pair), "n=40": (own, own.network, Circuit(R))}
    for size, shown in made.items():
        for one in shown:
            assert size in repr(one) and "\n" not in repr(one) and "array" not in repr(one)
