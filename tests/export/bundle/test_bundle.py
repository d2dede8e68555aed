"""A bundle verifies itself: everything that is changed is found, by name."""

import json
import re
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr.circuit import Circuit
from neurodecorr.errors import CheckpointError, ConfigError, InputError, StabilityError
from neurodecorr.export.bundle import Formats, export_bundle, load_bundle
from neurodecorr.export.bundle.manifest import manifest, require_checksums
from neurodecorr.export.bundle.reference_response import ReferenceResponse
from neurodecorr.export.nir import write_nir
from neurodecorr.io import Result, load_result
from neurodecorr.io.archive import read_files, write_zip
from neurodecorr.io.manifest import content_hash
from neurodecorr.io.trees import Branch, read_tree, write_tree
from neurodecorr.network import Conv2d, Decorrelation, Dense, Network

N, TAU = 5, 0.02
FILES = {
    "G_minus.csv",
    "G_plus.csv",
    "R.csv",
    "R_fixed.csv",
    "README.txt",
    "circuit.cir",
    "circuit.nir",
    "golden.npz",
    "golden_course.csv",
    "golden_rest.csv",
    "golden_stimulus.csv",
    "manifest.json",
    "mean.csv",
    "topology.csv",
    "weights.npz",
}


def unsymmetric(n=N, seed=0):
    """R whose transposition shows, with zeros, and stimuli."""
    rng = np.random.default_rng(seed)
    R = np.eye(n) + 0.5 * rng.standard_normal((n, n)) / np.sqrt(n)
    R[0, 1] = 0.0
    return Circuit(R, TAU), rng.standard_normal((3, n)), rng.standard_normal(n)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    circuit, X, mean = unsymmetric()
    return export_bundle(circuit, X, tmp_path_factory.mktemp("bundle") / "own", name="own", mean=mean)


@pytest.fixture
def copy(original, tmp_path):
    return shutil.copytree(original, tmp_path / "copy")


def sealed(folder):
    """Write the checksums of a changed bundle anew, as somebody who changes it with care would."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    files = read_files(folder)
    del files["manifest.json"]
    document["files"] = manifest("", files, {}, {})["files"]
    path.write_text(json.dumps(document))
    return folder


def rewritten(folder, name, **changes):
    result = load_result(folder / name)
    Result({**result.arrays, **changes}, result.meta).save(folder / name)
    return sealed(folder)


def test_a_bundle_comes_back_to_the_bit(original):
    circuit, X, mean = unsymmetric()
    found = load_bundle(original).contents
    assert found.circuit.R.tobytes() == circuit.R.tobytes() and found.circuit.tau == TAU
    assert found.mean.tobytes() == mean.tobytes() and found.golden.stimulus.tobytes() == X.tobytes()
    np.testing.assert_allclose(found.golden.response, np.linalg.solve(circuit.R, X.T).T, rtol=0, atol=1e-13)


def test_a_bundle_holds_these_files_and_lists_each_with_its_checksum(original):
    assert {file.name for file in original.iterdir()} == FILES
    document = json.loads((original / "manifest.json").read_text())
    assert set(document["files"]) == FILES - {"manifest.json"}
    assert all(len(entry["sha256"]) == 64 and entry["what"] for entry in document["files"].values())
    assert document["circuits"][""]["tau_s"] == TAU and "R[i, j]" in document["equation"]


def test_the_same_circuit_gives_the_same_bundle_on_another_day(tmp_path, monkeypatch):
    circuit, X, mean = unsymmetric()
    today = export_bundle(circuit, X, tmp_path / "today", mean=mean)

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr(sys.modules["neurodecorr.io.provenance"], "datetime", Tomorrow)
    assert content_hash(export_bundle(circuit, X, tmp_path / "tomorrow", mean=mean)) == content_hash(today)


def test_folder_and_zip_hold_the_same_files(original, tmp_path):
    circuit, X, mean = unsymmetric()
    packed = read_files(export_bundle(circuit, X, tmp_path / "own.zip", name="own", mean=mean))
    assert set(packed) == FILES
    timeless = {name for name in FILES if name.endswith((".csv", ".npz", ".txt", ".cir"))}
    assert all(packed[name] == (original / name).read_bytes() for name in timeless)
    assert load_bundle(tmp_path / "own.zip").contents.circuit.R.tobytes() == circuit.R.tobytes()


def test_a_bundle_packed_by_another_program_loads_too(original, tmp_path):
    shutil.make_archive(str(tmp_path / "packed"), "zip", original.parent, original.name)
    assert load_bundle(tmp_path / "packed.zip").name == "own"


@pytest.mark.parametrize("name", sorted(FILES - {"manifest.json"}))
def test_one_changed_byte_is_found_by_name(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{name.replace('.', '[.]')} must have the checksum"):
        load_bundle(copy)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_found_by_name(copy, name):
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", "[.]")):
        load_bundle(copy)


def test_a_file_that_is_not_in_the_manifest_is_found(copy):
    (copy / "extra.py").write_text("print('hello')")
    with pytest.raises(CheckpointError, match=r"extra[.]py is not in the manifest"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("name", "before", "message"),
    [
        ("topology.csv", "u1,u1,leak,", r"line \d+ must be 'u1,u1,leak,"),
        ("R.csv", "\nu1,", "must be what the weights make"),
        ("R_fixed.csv", "\nu1,", "must be what the weights make"),
        ("G_plus.csv", "\nu1,", "must be what the weights make"),
        ("mean.csv", "\nx1,", "must be what the weights make"),
        ("golden_rest.csv", "\n1,", "must be what the weights make"),
        ("golden_course.csv", "\n0.0,", "must be what the weights make"),
        ("circuit.cir", "G1_1 xbar1 0 xbar1 0 ", "line 2. must be 'G1_1 xbar1 0 xbar1 0 "),
        ("circuit.cir", "I1 0 xbar1 DC ", "'I1 0 xbar1 DC "),
        ("circuit.cir", "* xbar xbar1 = ", "xbar xbar1 = "),
        ("circuit.cir", "C1 xbar1 0 ", "'C1 xbar1 0 "),
        ("circuit.cir", ".tran ", "'.tran "),
        ("circuit.cir", "* tau_s = ", "tau_s = "),
        ("README.txt", "step dt = ", "golden: "),
    ],
)
def test_files_that_disagree_are_found_even_under_new_checksums(copy, name, before, message):
    text, changes = re.subn(re.escape(before) + r"[^,\s]+", before + "7", (copy / name).read_text(), count=1)
    assert changes == 1
    (copy / name).write_text(text)
    with pytest.raises(CheckpointError, match=rf"{name.replace('.', '[.]')}.*{message}"):
        load_bundle(sealed(copy))


ATTACKS = {
    "script": lambda text: "*ng_script\n" + text,
    "script for a title": lambda text: text.replace(text.splitlines()[0], "*ng_script", 1),
    "command in a comment": lambda text: text.replace("*\n", "*# shell touch it\n*\n", 1),
    "control": lambda text: text.replace(".op\n", ".control\nshell touch it\n.endc\n.op\n"),
    "control behind the end": lambda text: text + ".control\nshell touch it\n.endc\n",
    "include": lambda text: text.replace(".op\n", ".include /etc/passwd\n.op\n"),
    "one resistor more": lambda text: text.replace(".op\n", "Rmore xbar0 0 1e12\n.op\n"),
    "a blank": lambda text: text + " ",
    "other line ends": lambda text: text.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_a_netlist_with_more_in_it_is_found_under_new_checksums(copy, attack):
    text = (copy / "circuit.cir").read_text()
    changed = ATTACKS[attack](text)
    assert changed != text
    (copy / "circuit.cir").write_bytes(changed.encode())
    with pytest.raises(CheckpointError, match=r"circuit[.]cir must be what the weights make; line \d+"):
        load_bundle(sealed(copy))


@pytest.mark.parametrize(
    "change",
    [
        {"equation": "τ dx̄/dt = x + R x̄"},
        {"units": {}},
        {"name": "other"},
        {"more": 1},
        {"options": {"bits": 8}},
        {"options": {"unknown": 8}},
        {"origin": None},
    ],
    ids=str,
)
def test_a_manifest_that_says_something_else_is_found(copy, change):
    document = json.loads((copy / "manifest.json").read_text())
    changed = (
        document | change
        if "options" not in change
        else document | {"options": document["options"] | change["options"]}
    )
    if change == {"origin": None}:
        del changed["origin"]
    (copy / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(CheckpointError):
        load_bundle(copy)


def leaves(value, path=()):
    """Yield the place of every value in a JSON document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield path


def test_no_fact_of_a_manifest_can_be_another(original, copy):
    document = json.loads((original / "manifest.json").read_text())
    places = [path for path in leaves(document) if path[0] not in ("files", "provenance", "origin")]
    assert len(places) > 40
    for path in places:
        changed = json.loads((original / "manifest.json").read_text())
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        value = parent[path[-1]]
        parent[path[-1]] = (
            not value if isinstance(value, bool) else value * 1.001 + 1 if isinstance(value, int | float) else "another"
        )
        if path[-1] == "dt_s" and path[0] == "options":
            parent[path[-1]] = 1e-3  # of no file here: the canonical graph has no step
            continue
        (copy / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(CheckpointError):
            load_bundle(copy)


@pytest.mark.parametrize("sign", [-1.0, [-1.0, 1.0, 1.0, 1.0, 1.0]], ids=["all", "one unit"])
def test_weights_with_another_sign_are_refused(copy, sign):
    R = load_result(copy / "weights.npz").arrays["R"] * np.asarray(sign)
    with pytest.raises(CheckpointError, match=r"min Re λ > 0"):
        load_bundle(rewritten(copy, "weights.npz", R=R))


def test_numbers_of_a_graph_cannot_be_others(copy):
    tree = read_tree(copy / "circuit.nir")
    changes = {"tau": lambda a: 2 * a, "min_re_lambda": lambda a: np.array(2 * a), "equation": lambda a: "x"}
    changes |= {"data": lambda a: a * (1 + 1e-15), "edges": lambda a: a[::-1]}
    trees = [with_leaf(tree, name, change) for name, change in changes.items()]
    for changed in [*trees, Branch({**tree.parts, "more": np.ones(3)}, tree.attributes)]:
        write_tree(copy / "circuit.nir", changed)
        with pytest.raises(CheckpointError, match=r"circuit[.]nir"):
            load_bundle(sealed(copy))


def with_leaf(branch, name, change):
    parts = {
        key: with_leaf(part, name, change) if isinstance(part, Branch) else change(part) if key == name else part
        for key, part in branch.parts.items()
    }
    return Branch(parts, branch.attributes)


@pytest.mark.parametrize("scale", [1 + 1e-12, 0.5])
def test_a_certified_bound_that_is_none_is_found(copy, scale):
    bound = load_result(copy / "golden.npz").arrays["bound"]
    with pytest.raises(CheckpointError):
        load_bundle(rewritten(copy, "golden.npz", bound=bound * scale * (1e4 if scale > 1 else 0.0)))


def test_whole_numbers_in_a_file_of_weights_are_numbers(tmp_path):
    R = np.array([[2.0, -1.0], [1.0, 3.0]])
    path = export_bundle(Circuit(R, TAU), np.ones(2), tmp_path / "b")
    found = load_bundle(rewritten(path, "weights.npz", R=R.astype(np.int8)))
    assert np.array_equal(found.contents.circuit.R, R) and found.contents.circuit.R.dtype == np.float64


def test_a_golden_response_that_is_none_is_found(copy):
    response = load_result(copy / "golden.npz").arrays["response"]
    with pytest.raises(CheckpointError, match="R x̄ = x must hold"):
        load_bundle(rewritten_with_tables(copy, response=response * (1 + 1e-9)))


def test_a_golden_time_course_that_is_none_is_found(copy):
    course = load_result(copy / "golden.npz").arrays["course"].copy()
    course[100, 2] += 1e-6
    with pytest.raises(CheckpointError, match="must follow the exact flow"):
        load_bundle(rewritten_with_tables(copy, course=course))


def rewritten_with_tables(folder, **changes):
    golden = ReferenceResponse.from_arrays({**load_result(folder / "golden.npz").arrays, **changes}, "golden")
    for name, text in golden.tables(TAU).items():
        (folder / name).write_text(text)
    return rewritten(folder, "golden.npz", **changes)


def test_weights_of_another_circuit_are_found(copy):
    R = load_result(copy / "weights.npz").arrays["R"].copy()
    R[3, 2] += 2.0**-12  # more than half a step of Q1.14 is 2⁻¹⁵
    with pytest.raises(CheckpointError, match="R_fixed must be what the weights make, to the bit"):
        load_bundle(rewritten(copy, "weights.npz", R=R))


def test_absurd_formats_are_refused_before_anything_is_computed(copy):
    with pytest.raises(CheckpointError, match="fixed_bits must be"):
        load_bundle(rewritten(copy, "weights.npz", fixed_bits=np.array([10**18, 3])))


def test_a_time_constant_that_is_none_is_refused(copy):
    with pytest.raises(CheckpointError):
        load_bundle(rewritten(copy, "weights.npz", tau_s=np.array(-1.0)))


def test_conductances_out_of_their_range_are_found(copy):
    with pytest.raises(CheckpointError, match="G_range_S must be what the weights make"):
        load_bundle(rewritten(copy, "weights.npz", G_range_S=np.array([0.0, 1e-6])))


@pytest.mark.parametrize("key", ["../outside", "/abs", "a\\b"])
def test_a_manifest_that_leads_out_is_refused(copy, key):
    document = json.loads((copy / "manifest.json").read_text())
    document["circuits"] = {key: document["circuits"][""]}
    (copy / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="plain names"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "must have schema 'neurodecorr-bundle'"),
        ({"version": 99}, "a newer neurodecorr"),
        ({"files": []}, "must list files and circuits"),
        ({"circuits": {}}, "must list files and circuits"),
        ({"circuits": {"": {}}}, "must say"),
    ],
    ids=["schema", "version", "files", "circuits", "facts"],
)
def test_a_manifest_that_is_none_is_refused(copy, change, message):
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(document | change))
    with pytest.raises(CheckpointError, match=message):
        load_bundle(copy)


def test_a_manifest_that_contradicts_the_files_is_found(copy):
    document = json.loads((copy / "manifest.json").read_text())
    document["circuits"][""]["tau_s"] = 0.5
    (copy / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"must say tau_s = 0[.]02"):
        load_bundle(copy)


def test_absurd_sizes_are_refused(original):
    with pytest.raises(CheckpointError, match="at most 1000 bytes"):
        load_bundle(original, max_bytes=1000)


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_truncated_zip_is_refused(original, tmp_path, share):
    path = write_zip(tmp_path / "b.zip", read_files(original))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match="undamaged zip"):
        load_bundle(path)


@pytest.mark.parametrize(
    "formats",
    [
        Formats(kind="crossbar"),
        Formats(kind="crossbar", sides="one", g_min=1e-6, bits=8),
        Formats(simulator="gnucap", bits=32),
    ],
    ids=["crossbar", "one-sided crossbar", "gnucap"],
)
def test_every_kind_of_netlist_and_pair_verifies(tmp_path, formats):
    circuit, X, _ = unsymmetric(seed=3)
    load_bundle(export_bundle(circuit, X, tmp_path / "b", formats=formats))


@pytest.mark.parametrize("dialect", ["sinabs", "rockpool", "nengo"])
def test_numbers_for_a_simulator_come_with_the_canonical_graph_and_verify(tmp_path, dialect):
    circuit, X, _ = unsymmetric(seed=4)
    path = export_bundle(circuit, X, tmp_path / "b", formats=Formats(dialect=dialect))
    load_bundle(path)
    assert (path / "circuit.nir").is_file() and (path / f"circuit_{dialect}.nir").is_file()
    other, _, _ = unsymmetric(seed=5)
    write_nir(other, path / f"circuit_{dialect}.nir")
    with pytest.raises(CheckpointError, match=rf"circuit_{dialect}[.]nir/.*must"):
        load_bundle(sealed(path))


def test_single_precision_weights_are_exported_as_they_are(tmp_path):
    R = unsymmetric()[0].R.astype(np.float32)
    found = load_bundle(export_bundle(Circuit(R), np.ones(N), tmp_path / "b", tau_s=TAU))
    assert np.array_equal(found.contents.circuit.R, R) and found.contents.circuit.tau == TAU


@pytest.mark.parametrize("R", [[[0.5]], [[2.0, 0.0], [0.0, 1.0]]], ids=["one unit", "diagonal"])
@pytest.mark.parametrize("kind", ["ota", "crossbar"])
def test_silent_stimuli_and_the_smallest_circuits_verify(tmp_path, R, kind):
    path = export_bundle(Circuit(R, TAU), np.zeros(len(R)), tmp_path / "silent_stimulus", formats=Formats(kind=kind))
    assert not load_bundle(path).contents.golden.course.any()


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    circuit, X, _ = unsymmetric()
    monkeypatch.setattr(
        "neurodecorr.export.bundle.bundle.write_part", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    for name in ("b", "b.zip"):
        with pytest.raises(KeyboardInterrupt):
            export_bundle(circuit, X, tmp_path / name)
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
import numpy as np
from neurodecorr.circuit import Circuit
from neurodecorr.export.bundle import bundle, export_bundle

bundle.write_part = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
export_bundle(Circuit(np.eye(3)), np.ones(3), sys.argv[1])
"""


def test_a_killed_export_leaves_no_half_bundle_and_the_older_one_whole(original, tmp_path):
    shutil.copytree(original, tmp_path / "b")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "b")], check=False, timeout=600)
    assert done.returncode == -signal.SIGKILL
    assert load_bundle(tmp_path / "b").name == "own"
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith(".")] == ["b"]


def network(activation="relu", form="recurrent"):
    own = Network(
        [Dense(4, activation), Dense(3, "identity")],
        5,
        decorrelation=Decorrelation(form, rate=1e-2, rule="explicit", rate_is="absolute"),
        dtype="float64",
        seed=1,
    )
    rng = np.random.default_rng(0)
    X = rng.standard_normal((64, 5)) @ (np.eye(5) + 0.5)
    for _ in range(20):
        own.decorrelate(own.forward(X, training=True).signals)
    return own, X[:4]


@pytest.mark.parametrize("form", ["recurrent", "feedforward", "none"])
def test_a_network_bundle_answers_as_the_network_does(tmp_path, form):
    own, X = network(form=form)
    found = load_bundle(export_bundle(own, X, tmp_path / "b", tau_s=TAU))
    assert list(found.circuits) == ["layer0", "layer1"]
    # Both solve two systems of condition below 100 in double precision.
    np.testing.assert_allclose(found.stack.activity[-1], own.forward(X).output, rtol=0, atol=1e-11)


def test_a_changed_feedforward_weight_is_found(tmp_path):
    own, X = network()
    path = export_bundle(own, X, tmp_path / "b")
    W = load_result(path / "network.npz").arrays["layer0.W"] * 1.001
    with pytest.raises(CheckpointError, match=r"activity|must hold a network"):
        load_bundle(rewritten(path, "network.npz", **{"layer0.W": W}))


@pytest.mark.parametrize("form", ["recurrent", "feedforward"])
@pytest.mark.parametrize(
    "attack",
    [
        lambda text: text.replace(".op\n", ".include /etc/passwd\n.op\n"),
        lambda text: text.replace(".op\n", "Rmore y0_0 0 1e12\n.op\n"),
        lambda text: "*ng_script\n" + text,
        lambda text: re.sub(r"(\nGw0_0_0 .*) \S+\n", r"\1 1e-3\n", text),
        lambda text: re.sub(r"(\n\* output .*) = \S+\n", r"\1 = 1.0\n", text),
        lambda text: re.sub(r"(\nBy\d+_\d+ .*)max", r"\1min", text),
    ],
    ids=["include", "resistor", "script", "weight", "output", "nonlinearity"],
)
def test_the_netlist_of_a_network_is_that_of_its_weights(tmp_path, attack, form):
    own, X = network(form=form)
    path = export_bundle(own, X, tmp_path / "b")
    text = (path / "network.cir").read_text()
    assert attack(text) != text
    (path / "network.cir").write_text(attack(text))
    with pytest.raises(CheckpointError, match=r"network[.]cir must be what the weights make"):
        load_bundle(sealed(path))


def test_feedforward_weights_that_are_no_inverse_of_the_circuit_are_refused(tmp_path):
    own, X = network(form="feedforward")
    path = export_bundle(own, X, tmp_path / "b")
    M = load_result(path / "network.npz").arrays["layer1.feed"]
    with pytest.raises(CheckpointError, match=r"layer1[.]feed must be the inverse of R"):
        load_bundle(rewritten(path, "network.npz", **{"layer1.feed": -M}))


def test_the_graph_of_a_linear_network_is_that_of_its_weights(tmp_path):
    linear = Network([Dense(4, "identity")], 5, decorrelation=Decorrelation("feedforward"), dtype="float32", seed=1)
    path = export_bundle(linear, np.ones((1, 5)), tmp_path / "b")
    assert load_bundle(path).stack.linear
    tree = read_tree(path / "network.nir")
    write_tree(path / "network.nir", with_leaf(tree, "bias", lambda a: a + 1e-9))
    with pytest.raises(CheckpointError, match=r"network[.]nir"):
        load_bundle(sealed(path))


def test_a_script_is_the_one_that_an_export_writes(tmp_path):
    circuit, X, _ = unsymmetric(seed=4)
    path = export_bundle(circuit, X, tmp_path / "b", formats=Formats(dialect="nengo"))
    script = path / "circuit_nengo.py"
    script.write_text(script.read_text().replace("import sys", "import sys, os; os.abort()"))
    with pytest.raises(CheckpointError, match=r"circuit_nengo[.]py must be what the weights make"):
        load_bundle(sealed(path))


def test_a_file_more_is_refused_even_if_the_manifest_lists_it(copy):
    (copy / "run_me.py").write_text("print('hello')")
    with pytest.raises(CheckpointError, match=r"run_me[.]py is not of a bundle"):
        load_bundle(sealed(copy))


def test_convolutions_are_refused_with_advice(tmp_path):
    own = Network([Conv2d(2, 3), Dense(3)], (1, 6, 6))
    with pytest.raises(ConfigError, match="dense to be exported whole"):
        export_bundle(own, np.zeros((1, 36)), tmp_path / "b")


@pytest.mark.parametrize(
    ("circuit", "options", "error", "message"),
    [
        (Circuit([[1.0, 3.0], [3.0, 1.0]]), {}, StabilityError, "settle"),
        (np.eye(2), {}, InputError, "must be a Circuit or a Network"),
        (Circuit(np.eye(2)), {"x": [1.0, np.nan]}, InputError, "finite"),
        (Circuit(np.eye(2)), {"x": [1.0, 1.0, 1.0]}, InputError, "2"),
        (Circuit(np.eye(2)), {"mean": [1.0]}, InputError, r"shape \(2,\)"),
        (Circuit(np.eye(2)), {"tau_s": -1.0}, ConfigError, "tau_s"),
        (Circuit(np.eye(2)), {"name": "../own"}, InputError, "one plain name"),
        (Circuit(np.eye(2)), {"name": "a/b"}, InputError, "one plain name"),
        (Circuit(np.eye(2)), {"mean": [1.0, np.nan]}, InputError, "mean must be finite.* found nan at index 1"),
    ],
    ids=["unstable", "matrix", "nan", "length", "mean", "tau", "parent", "slash", "mean nan"],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path, circuit, options, error, message):
    with pytest.raises(error, match=message):
        export_bundle(circuit, **{"x": [1.0, 1.0], "path": tmp_path / "b", **options})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 99}, "bits must be 2 … 32"),
        ({"bits": 7.5}, "bits must be a whole number"),
        ({"g_min": -1e-6}, "g_min must be ≥ 0 siemens"),
        ({"g_min": 1e-3}, "25 µS is 25e-6"),
        ({"sides": "both"}, "sides must be one of 'two', 'one'"),
        ({"dialect": "sinab"}, "Did you mean 'sinabs'"),
        ({"dt_s": -1.0}, "dt_s must be > 0 [(]seconds[)]"),
        ({"kind": "otaa"}, "Did you mean 'ota'"),
        ({"simulator": "ngspic"}, "Did you mean 'ngspice'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_formats_are_refused_whether_or_not_a_file_would_need_them(options, message):
    with pytest.raises(ConfigError, match=message):
        Formats(**options)


def test_the_checksum_names_every_changed_file(original):
    document = json.loads((original / "manifest.json").read_text())
    files = read_files(original)
    files["R.csv"], files["mean.csv"] = b"", b""
    with pytest.raises(CheckpointError, match=r"R[.]csv, mean[.]csv must have the checksum"):
        require_checksums(document, files, "b")


def test_the_door_has_the_names():
    assert nd.export.export_bundle is export_bundle and nd.export.load_bundle is load_bundle
