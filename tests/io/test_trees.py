"""Trees of arrays come back to the bit; files that lead elsewhere or lie about their size are refused."""

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io import Recorder, Variable, read_traces
from neurodecorr.io.trees import Branch, graft, read_tree, write_tree

RNG = np.random.default_rng(0)
ARRAYS = {
    "doubles": RNG.standard_normal((3, 4)),
    "singles": np.array([-0.0, np.nan, np.inf, 1e-45], np.float32),
    "whole": np.array([[-(2**63)], [2**63 - 1]]),
    "bytes": np.arange(7, dtype=np.uint8),
    "on": np.array([True, False]),
    "names": np.array([["00_x", "x̄"], ["", "a longer name"]]),
    "one": np.array(0.1),
    "none": np.zeros((0, 2)),
}


def identical(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def tree():
    inner = Branch(ARRAYS, {"__type__": "Kind", "dt": 0.1, "count": 3})
    return Branch({"inner": inner, "text": "τ dx̄/dt", "empty": Branch({})})


@pytest.fixture
def good(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.full(20, 31.25)
    (tmp_path / "other.bin").write_bytes(bytes(160))
    return write_tree(tmp_path / "tree.h5", tree())


def test_a_tree_comes_back_to_the_bit(good):
    found = read_tree(good)
    assert found.parts["text"] == "τ dx̄/dt" and found.parts["empty"].parts == {}
    inner = found.parts["inner"]
    assert inner.attributes == {"__type__": "Kind", "dt": 0.1, "count": 3}
    assert inner.parts.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        if array.dtype.kind == "U":
            assert inner.parts[name].tolist() == array.tolist()
        else:
            assert identical(inner.parts[name], array)


def test_equal_trees_give_equal_files(good, tmp_path):
    assert write_tree(tmp_path / "again.h5", tree()).read_bytes() == good.read_bytes()


def test_only_the_parts_asked_for_are_read(good):
    assert list(read_tree(good, ["text", "absent"]).parts) == ["text"]
    assert list(read_tree(good, ["text"], max_bytes=100).parts) == ["text"]


def test_the_limit_counts_every_value(good):
    with pytest.raises(CheckpointError, match=r"100 bytes; .*trust it"):
        read_tree(good, max_bytes=100)


def test_what_others_write_is_read_too(tmp_path):
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file.create_dataset("packed", data=np.arange(100.0), compression="gzip")
        file.create_dataset("fixed", data=np.array([b"ab", b"c"]))
        file.create_dataset("word", data=np.bytes_(b"word"))
        file["compact"] = np.float32(2)
    found = read_tree(tmp_path / "theirs.h5").parts
    assert found["packed"].tolist() == list(range(100)) and found["fixed"].tolist() == ["ab", "c"]
    assert found["word"] == "word" and found["compact"] == 2


def soft_link(file):
    file["link"] = h5py.SoftLink("/inner")


def external_link(file):
    file["inner/link"] = h5py.ExternalLink("other.h5", "/secret")


def external_storage(file):
    file.create_dataset("a", (20,), "f8", external=[("other.bin", 0, 160)])


def virtual(file):
    layout = h5py.VirtualLayout((20,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (20,))
    file.create_virtual_dataset("a", layout)


def a_group_in_itself(file):
    file["inner/again"] = file["inner"]


def never_stored(file):
    file.create_dataset("a", (10**12,), "f8")


def chunks_never_stored(file):
    file.create_dataset("a", (10**12,), "f8", chunks=(1024,))


def a_forged_length(file):
    # Room for 8 bytes, a shape of 8 TB: what a flipped bit or a hostile hand leaves.
    file.create_dataset("a", (1,), "f8", maxshape=(None,), chunks=(1,))[0] = 1
    file["a"].resize((10**12,))


def many_long_texts(file):
    file.create_dataset("a", (200_000,), h5py.string_dtype())


def references(file):
    file.create_dataset("a", (3,), h5py.ref_dtype)


def sequences(file):
    file.create_dataset("a", (3,), h5py.vlen_dtype(np.float64))


def compound(file):
    file.create_dataset("a", (3,), np.dtype([("x", "f8"), ("y", "f8")]))[0] = (1, 2)


def complex_numbers(file):
    file["a"] = np.ones(3, complex)


def nothing(file):
    file["a"] = h5py.Empty("f8")


def a_named_type(file):
    file["a"] = np.dtype("f8")


def a_strange_choice(file):
    file.create_dataset("a", (3,), h5py.enum_dtype({"red": 1, "blue": 2}, basetype="i4"))[...] = 1


def not_utf8(file):
    file.create_dataset("a", data=np.bytes_(b"\xff\xfe"))


HOSTILE = {
    soft_link: "link is a soft link; links are never followed",
    external_link: "inner/link is an external link; links are never followed",
    external_storage: "a keeps its values in another file",
    virtual: "a is made of datasets elsewhere",
    a_group_in_itself: "must not nest groups more than 16 deep",
    never_stored: r"a declares 8000000000000 bytes at None, in a file of",
    chunks_never_stored: "declares 976562500 chunks of 8192 bytes; 0 are stored",
    a_forged_length: "chunks of 8 bytes; 1 are stored",
    many_long_texts: "bytes at None|at most 100000 texts",
    references: "objects are never read|at None",
    sequences: "objects are never read|at None",
    compound: "must hold numbers of at most 8 bytes or texts",
    complex_numbers: "must hold numbers of at most 8 bytes or texts",
    nothing: "a must hold values; it is empty",
    a_named_type: "a must be a group or a dataset; got Datatype",
    a_strange_choice: "must hold numbers of at most 8 bytes or texts",
    not_utf8: "must be an undamaged HDF5 file; UnicodeDecodeError",
}


@pytest.mark.parametrize("forge", HOSTILE, ids=lambda forge: forge.__name__)
def test_a_hostile_tree_is_refused(good, forge):
    with h5py.File(good, "r+") as file:
        forge(file)
    with pytest.raises(CheckpointError, match=HOSTILE[forge]) as caught:
        read_tree(good)
    assert "tree.h5" in str(caught.value) and "\n" not in str(caught.value)


def test_texts_that_share_one_long_text_are_counted_one_by_one(tmp_path):
    # 20 000 references of 16 bytes to one text of 100 kB would unpack to 2 GB.
    with h5py.File(tmp_path / "t.h5", "w") as file:
        data = file.create_dataset("a", (20_000,), h5py.string_dtype())
        data[0] = "x" * 100_000
        start = data.id.get_offset()
    raw = bytearray((tmp_path / "t.h5").read_bytes())
    raw[start : start + 16 * 20_000] = raw[start : start + 16] * 20_000
    (tmp_path / "t.h5").write_bytes(raw)
    with pytest.raises(CheckpointError, match="must hold at most 10000000 bytes"):
        read_tree(tmp_path / "t.h5", max_bytes=10**7)


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.99])
def test_a_truncated_tree_is_refused(good, part):
    data = good.read_bytes()
    good.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CheckpointError, match="must be an undamaged HDF5 file"):
        read_tree(good)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a/b": np.ones(1)}, "without slashes; got 'a/b'"),
        ({"..": np.ones(1)}, "printable text"),
        ({"": np.ones(1)}, "printable text"),
        ({"a\n": np.ones(1)}, "printable text"),
        ({3: np.ones(1)}, "printable text"),
        ({"a": [1, 2]}, "'a' must be an array of numbers or texts, a text or a Branch; got list"),
        ({"a": np.ones(2, complex)}, "got complex128"),
        ({"a": np.array([object()])}, "got object"),
        ({"a": "x\0"}, "must have no NUL"),
    ],
)
def test_what_cannot_be_stored_is_refused(parts, message):
    with pytest.raises(InputError, match=message):
        Branch(parts)


@pytest.fixture
def finished(tmp_path):
    path = tmp_path / "traces.h5"
    with Recorder(path, [Variable("a"), Variable("R", (2, 2))], metadata={"tau_s": 0.02}) as recorder:
        for step in range(30):
            recorder.record(step, {"a": step, "R": np.full((2, 2), step)})
    return path


def test_a_tree_joins_a_finished_trace_file(finished):
    before = read_traces(finished)
    graft(finished, tree())
    after = read_traces(finished)
    assert after.complete and after.metadata == before.metadata
    for name in before:
        assert identical(after[name].values, before[name].values) and identical(after[name].step, before[name].step)
    assert identical(read_tree(finished, ["inner"]).parts["inner"].parts["doubles"], ARRAYS["doubles"])
    assert list(finished.parent.iterdir()) == [finished]


def test_a_failed_graft_leaves_the_file_as_it_was(finished, monkeypatch):
    before = finished.read_bytes()
    with pytest.raises(CheckpointError, match="has 'traces' already"):
        graft(finished, Branch({"traces": Branch({})}))
    with pytest.raises(CheckpointError, match="has 'schema' already"):
        graft(finished, Branch({}, {"schema": "mine"}))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CheckpointError, match="No space left on device"):
        graft(finished, tree())
    assert finished.read_bytes() == before and list(finished.parent.iterdir()) == [finished]


def test_nothing_is_added_to_what_is_still_recorded_damaged_or_linked(finished, tmp_path):
    with Recorder(tmp_path / "growing.h5", [Variable("a")]), pytest.raises(CheckpointError, match="Close its recorder"):
        graft(tmp_path / "growing.h5", tree())
    (tmp_path / "text.h5").write_text("no HDF5 file")
    with pytest.raises(CheckpointError, match="must be an undamaged HDF5 file"):
        graft(tmp_path / "text.h5", tree())
    with h5py.File(finished, "r+") as file:
        file["link"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(CheckpointError, match="is an external link"):
        graft(finished, tree())
    with pytest.raises(CheckpointError, match="No such file"):
        graft(tmp_path / "absent.h5", tree())


def test_a_recorder_takes_a_tree_beside_its_traces(tmp_path):
    path = tmp_path / "traces.h5"
    with Recorder(path, [Variable("a")], parts=tree()) as recorder:
        recorder.record(0, {"a": 1.0})
        recorder.flush()
        assert read_tree(path, ["text"]).parts["text"] == "τ dx̄/dt"  # from the start, while it grows
    assert read_traces(path)["a"].values.tolist() == [1.0]
    assert identical(read_tree(path, ["inner"]).parts["inner"].parts["singles"], ARRAYS["singles"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (Branch({"traces": Branch({})}), "names other than traces, schema"),
        (Branch({}, {"provenance": "x"}), "got 'provenance'"),
        ({"a": np.ones(1)}, "parts must be a Branch of arrays and texts; got dict"),
    ],
)
def test_parts_may_not_take_the_place_of_traces(tmp_path, parts, message):
    with pytest.raises(ConfigError, match=message):
        Recorder(tmp_path / "t.h5", [Variable("a")], parts=parts)
    assert not (tmp_path / "t.h5").exists()


def test_tree_and_traces_of_a_killed_run_are_readable(tmp_path):
    code = """
import os, signal, sys
import numpy as np
from neurodecorr.io import Recorder, Variable
from neurodecorr.io.trees import Branch
parts = Branch({"node": Branch({"weight": np.arange(6.0).reshape(2, 3)})}, {"__type__": "x"})
recorder = Recorder(sys.argv[1], [Variable("a", (50,))], parts=parts)
for step in range(500):
    recorder.record(step, {"a": np.full(50, step)})
recorder.flush()
recorder.record(500, {"a": np.zeros(50)})
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "traces.h5"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=600)
    assert done.returncode == -9
    traces = read_traces(path)
    assert not traces.complete and len(traces["a"]) == 500 and (traces["a"].values[:, 7] == np.arange(500)).all()
    assert read_tree(path, ["node"]).parts["node"].parts["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("tool", ["h5dump", "ncdump"])
def test_tools_of_the_oldest_format_read_a_trace_file(finished, tool):
    # Both are built on HDF5 1.10 in many distributions; newer formats would be closed to them.
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed; apt install hdf5-tools netcdf-bin")
    command = {"h5dump": ["h5dump", "-d", "/traces/a"], "ncdump": ["ncdump", "-v", "/traces/a"]}[tool]
    done = subprocess.run([*command, str(finished)], capture_output=True, text=True, check=True, timeout=600)
    assert "27, 28, 29" in done.stdout
