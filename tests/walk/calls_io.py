"""How the room `recording` is called."""

import time
from pathlib import Path

import numpy as np
from bad_values import Call, Choice, Flag, Free, Number, Numbers, Place, Seed, Several, Table, Text, Valid, Whole

from neurodecorr import io
from neurodecorr.io import Recorder, Result, Variable
from neurodecorr.io.observer import EverySamples, LogSpaced
from neurodecorr.io.provenance import run_id
from neurodecorr.io.trees import Branch

ROW = np.array([1.0, 2.0])
BRANCH = Branch({"a": ROW, "b": Branch({"c": "text"})}, {"unit": "s"})
VARIABLES = (Variable("x", (2,)), Variable("y"))
JSON = Table({"rate": 0.1, "names": ["a"]}, json=True)
MISSING = dict.fromkeys(("list of texts", "texts", "with a text"), "any names")

EXEMPT = {
    "io.RecordingTimes": "a protocol",
}


def traces():
    if Path("traces.h5").exists():
        return "traces.h5"
    with Recorder("traces.h5", VARIABLES) as recorder:
        recorder.record(0, {"x": ROW, "y": 1.0})
    return "traces.h5"


def record(step, values):
    with Recorder("record.h5", VARIABLES) as recorder:
        recorder.record(step, values)


def record_rows(steps, values):
    with Recorder("rows.h5", VARIABLES) as recorder:
        recorder.record_rows(steps, values)


def recorder(**options):
    Recorder(**options).close()


def atomically(path):
    with io.atomic.atomic_path(path) as temporary:
        temporary.write_text("text")


def opened(path, mode):
    with io.atomic.write_atomically(path, mode):
        pass


def result(path, max_bytes):
    if not Path("result.npz").exists():
        Result({"R": np.eye(2)}).save("result.npz")
    return io.load_result(path, max_bytes=max_bytes)


def read(path, names, max_bytes, last=None):
    traces()
    return io.read_traces(path, names, max_bytes=max_bytes, last=last)


def read_tree(path, names, max_bytes):
    if not Path("tree.h5").exists():
        io.trees.write_tree("tree.h5", BRANCH)
    return io.trees.read_tree(path, names, max_bytes=max_bytes)


def graft(path, branch):
    io.trees.write_tree("grafted.h5", Branch({"z": ROW}))
    return io.trees.graft(path, branch)


CALLS = [
    Call(
        "io.Branch",
        Branch,
        {
            "parts": Table({"a": ROW, "b": "text"}, also={"empty dict": "an empty group"}),
            "attributes": Table(
                {"unit": "s", "n": 1}, empty=True, also={"dict": "a number", "with another key": "a number"}
            ),
        },
    ),
    Call("io.EverySamples", EverySamples, {"samples": Whole(10, low=1)}),
    Call("io.EverySamples.due", EverySamples(10).due, {"step": Whole(10, low=0)}),
    Call("io.EverySamples.record_times", EverySamples(10).record_times, {"total": Whole(100, low=0)}),
    Call("io.LogSpaced", LogSpaced, {"points": Whole(6, low=1), "horizon": Whole(100, low=1)}),
    Call("io.LogSpaced.due", LogSpaced(6, 100).due, {"step": Whole(10, low=0)}),
    Call("io.LogSpaced.record_times", LogSpaced(6, 100).record_times, {"total": Whole(100, low=0)}),
    Call(
        "io.Recorder",
        recorder,
        {
            "path": Place("made.h5"),
            "variables": Several(VARIABLES),
            "provenance": Table({"a": 1}, none=True, json=True),
            "metadata": Table({"a": 1}, none=True, empty=True, also={"dict": "a number", "with another key": "too"}),
            "parts": Valid(BRANCH, also={"None": "no parts"}),
            "compression": Whole(1, low=1, high=9, none=True),
            "buffer_bytes": Whole(1000, low=1),
            "flush_seconds": Number(5.0, low=0),
        },
    ),
    Call(
        "io.Recorder.record",
        record,
        {"step": Whole(1, low=0), "values": Table({"x": ROW, "y": 1.0}, empty=True)},
    ),
    Call(
        "io.Recorder.record_rows",
        record_rows,
        {
            "steps": Numbers([1, 2], also={"as objects": "whole numbers"}),
            "values": Table({"x": np.ones((2, 2)), "y": ROW}, empty=True),
        },
    ),
    Call(
        "io.Result",
        Result,
        {
            "arrays": Table(
                {"R": ROW, "names": np.array(["a", "b"])}, empty=True, also={"dict": "0-d", "with another key": "0-d"}
            ),
            "meta": Table({"rate": 1.0}, json=True),
        },
    ),
    Call("io.Result.save", Result({"R": ROW}).save, {"path": Place("saved.npz")}),
    Call(
        "io.Variable",
        Variable,
        {
            "name": Text("x", empty=False),
            "shape": Several((2, 3), empty=True),
            "dtype": Choice("float64", also={"None": "numpy's float64", "class": "int"}),
            "unit": Text("s"),
            "description": Text("an activity"),
        },
    ),
    Call("io.atomic_path", atomically, {"path": Place("atomic.txt")}),
    Call(
        "io.claim",
        io.claims.claim,
        {
            "folder": Place("claimed"),
            "kind": Text("note"),
            "settings": JSON,
            "makes": Several(("note.txt",), empty=True, also=MISSING),
            "source": Text("a", also={"None": "a run of its own"}),
            "overwrite": Flag(False),
        },
    ),
    Call(
        "io.reclaim",
        io.claims.reclaim,
        {
            "folder": Place("claimed"),
            "kind": Text("note"),
            "settings": JSON,
            "makes": Several(("note.txt",), empty=True, also=MISSING),
            "overwrite": Flag(False),
        },
    ),
    Call("io.content_hash", io.manifest.content_hash, {"path": Place(__file__)}),
    Call("io.read_manifest", io.manifest.read_manifest, {"folder": Place(".")}),
    Call("io.graft", graft, {"path": Place("grafted.h5"), "branch": Valid(BRANCH)}),
    Call("io.load_result", result, {"path": Place("result.npz"), "max_bytes": Whole(10**6, low=1)}),
    Call(
        "io.provenance",
        io.provenance,
        {"config": JSON, "seed": Seed(0), "started": Number(time.perf_counter(), high=3.0, none=True)},
    ),
    Call(
        "io.read_traces",
        read,
        {
            "path": Place("traces.h5"),
            "names": Several(("x",), none=True, empty=True),
            "max_bytes": Whole(10**6, low=1),
            "last": Whole(1, low=1, none=True),
        },
    ),
    Call(
        "io.read_tree",
        read_tree,
        {
            "path": Place("tree.h5"),
            "names": Several(("a",), none=True, empty=True, also=MISSING),
            "max_bytes": Whole(10**6, low=1),
        },
    ),
    Call("io.require_writable", io.atomic.require_writable, {"folder": Place("folder")}),
    Call("io.run_id", run_id, {"config": JSON}),
    Call(
        "io.spans",
        io.observer.spans,
        {"times": Valid(EverySamples(10)), "total": Whole(100, low=0), "start": Whole(0, low=0)},
    ),
    Call("io.write_atomically", opened, {"path": Place("opened.txt"), "mode": Choice("w")}),
    Call(
        "io.write_bytes",
        io.atomic.write_bytes,
        {"path": Place("b"), "data": Valid(b"a", also={"bytes": "right"})},
    ),
    Call("io.write_json", io.atomic.write_json, {"path": Place("j.json"), "value": Free({"a": 1})}),
    Call("io.write_text", io.atomic.write_text, {"path": Place("t.txt"), "text": Text("text")}),
    Call("io.write_tree", io.trees.write_tree, {"path": Place("w.h5"), "branch": Valid(BRANCH)}),
]
