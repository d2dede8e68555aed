"""The command export: what it prints and writes, and how it answers when it cannot."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

import neurodecorr as nd
from neurodecorr.cli import export as exporting
from neurodecorr.cli import main
from neurodecorr.comparison import Comparison
from neurodecorr.export.bundle import load_bundle
from neurodecorr.export.circuits import best_circuit, find_circuits
from neurodecorr.export.nir import read_nir
from neurodecorr.export.nir.dialects import DIALECTS
from neurodecorr.export.run import TARGETS
from neurodecorr.export.spice.netlist import KINDS
from neurodecorr.hardware.devices.pairs import SIDES
from neurodecorr.io import Result, load_result
from neurodecorr.io.manifest import content_hash


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def refused(*words, code=2):
    """Return what an impossible command says on standard error, without a traceback."""
    result = run("export", *words)
    assert result.exit_code == code and result.stdout == "" and "Traceback" not in result.stderr, result.stderr
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    words = (
        "--data",
        "gaussian",
        "--size",
        "3",
        "--samples",
        "2000",
        "--rate",
        "1e-2",
        "--draws",
        "1",
        "--quiet",
        "--rule",
        "implicit",
        "--rule",
        "congruent",
    )
    assert run("compare", *words, "--out", folder).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    words = (
        "train",
        "digits",
        "--decorrelation",
        "recurrent",
        "--epochs",
        "1",
        "--batch",
        "500",
        "--quiet",
        "--out",
        folder,
    )
    assert run(*words).exit_code == 0
    return folder


def test_names_spelt_out_for_help_are_those_of_the_library():
    assert exporting.TARGETS == TARGETS and exporting.KINDS == KINDS and exporting.SIDES == SIDES
    assert (*DIALECTS, "nengo") == exporting.DIALECTS


def test_help_teaches_formats_units_and_signs():
    text = run("export", "--help").stdout
    for words in (
        "--to",
        "τ dx̄/dt = x − R x̄",
        "seconds",
        "siemens",
        "R[i, j] > 0 inhibits",
        "neurodecorr export results/",
    ):
        assert words in text


@pytest.mark.parametrize("to", TARGETS)
def test_the_best_circuit_is_exported_and_it_says_which_where_and_how_to_open_it(compared, tmp_path, to):
    best = best_circuit(find_circuits(compared))
    result = run("export", compared, "--to", to, "--tau", "0.02", "--out", tmp_path / "it")
    assert result.exit_code == 0, result.stderr
    head, wrote, opened = result.stdout.splitlines()
    assert head.startswith(f"{best.name}: 9 units, R learnt") and "τ = 0.02 s" in head
    assert wrote.split()[-1] == str(tmp_path / "it") and opened.split()[0] == "open" and str(tmp_path / "it") in opened


def test_by_default_files_go_beside_the_run(compared):
    result = run("export", compared, "--to", "nir", "--circuit", "r_congruent", "--quiet")
    assert result.stdout.strip() == str(compared / "exports" / "R_congruent.nir")


def test_every_format_holds_the_weights_of_the_run(compared, tmp_path):
    entry = Comparison.load(compared)["R implicit"]
    for to in TARGETS:
        assert (
            run(
                "export", compared, "--to", to, "--circuit", "R implicit", "--tau", "0.02", "--out", tmp_path / to
            ).exit_code
            == 0
        )
    bits = entry.lateral.tobytes()
    rows = [line.split(",") for line in (tmp_path / "csv" / "topology.csv").read_text().splitlines() if line[:1] == "u"]
    R = np.zeros_like(entry.lateral)
    for pre, post, _, weight, _ in rows:
        R[int(post[1:]), int(pre[1:])] = float(weight)
    assert R.tobytes() == bits
    assert load_result(tmp_path / "npz").arrays["R"].tobytes() == bits
    assert read_nir(tmp_path / "nir").R.tobytes() == bits and read_nir(tmp_path / "nir").tau == 0.02
    found = load_bundle(tmp_path / "bundle").contents
    assert found.circuit.R.tobytes() == bits and found.mean.tobytes() == entry.mean.tobytes()
    weight = next(line for line in (tmp_path / "spice").read_text().splitlines() if line.startswith("G2_1 "))
    np.testing.assert_allclose(float(weight.split()[-1]), 1e-6 * entry.lateral[2, 1], rtol=1e-15)


def test_an_npz_export_is_a_run_again(compared, tmp_path):
    assert run("export", compared, "--to", "npz", "--tau", "0.02", "--out", tmp_path / "result.npz").exit_code == 0
    (again,) = find_circuits(tmp_path).values()
    best = best_circuit(find_circuits(compared))
    assert again.R.tobytes() == best.R.tobytes() and again.mean.tobytes() == best.mean.tobytes() and again.tau == 0.02


@pytest.mark.parametrize("dialect", ["sinabs", "rockpool", "nengo"])
def test_dialects_are_written_with_a_step(compared, tmp_path, dialect):
    path = tmp_path / ("it.py" if dialect == "nengo" else "it.nir")
    result = run("export", compared, "--to", "nir", "--dialect", dialect, "--tau", "0.02", "--out", path)
    assert result.exit_code == 0, result.stderr
    found = read_nir(path.with_suffix(".nir"))
    assert found.R.tobytes() == best_circuit(find_circuits(compared)).R.tobytes()


@pytest.mark.parametrize(("to", "written"), [("bundle", 1), ("spice", 1), ("nir", 3), ("csv", 3), ("npz", 3)])
def test_of_a_network_all_layers_are_exported(trained, tmp_path, to, written):
    result = run("export", trained, "--to", to, "--tau", "0.02", "--out", tmp_path / "it", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == written


def test_the_bundle_of_a_network_verifies(trained, tmp_path):
    assert run("export", trained, "--to", "bundle", "--samples", 2, "--out", tmp_path / "it.zip").exit_code == 0
    assert list(load_bundle(tmp_path / "it.zip").circuits) == ["layer0", "layer1", "layer2"]


def test_one_layer_can_be_chosen(trained, tmp_path):
    result = run("export", trained, "--to", "nir", "--circuit", "layer1", "--out", tmp_path / "one.nir")
    assert result.exit_code == 0
    assert np.array_equal(read_nir(tmp_path / "one.nir").R, load_result(trained).arrays["network.layer1.R"])


def test_a_circuit_that_does_not_settle_is_refused_and_others_are_named(tmp_path):
    arrays = {"bad.R": [[1.0, 3.0], [3.0, 1.0]], "good.R": [[2.0, 1.0], [1.0, 2.0]]}
    Result(arrays).save(tmp_path / "result.npz")
    words = refused(tmp_path, "--to", "spice", "--circuit", "bad", code=1)
    assert "'bad' must have min Re λ(R) > 0" in words and "'good' settle" in words
    assert not (tmp_path / "exports").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--to", "bundel"], 2, "Did you mean 'bundle'"),
        (["--to", "csv", "--circuit", "R implict"], 2, "Did you mean 'R implicit'"),
        (["--to", "nir", "--dialect", "sinab"], 2, "Did you mean 'sinabs'"),
        (["--to", "csv", "--tau", "-1"], 2, "tau must be > 0"),
        (["--to", "csv", "--bits", "99"], 2, "bits must be 2 … 32"),
        (["--to", "csv", "--g-min", "-1"], 2, "g_min"),
        (["--to", "spice", "--kind", "ota", "--g-min", "-1"], 2, "g_min must be ≥ 0 siemens"),
        (["--to", "nir", "--dt", "-1"], 2, "dt_s must be > 0 (seconds)"),
        (["--to", "csv", "--samples", "0"], 2, "samples must be a whole number ≥ 1"),
        (["--to", "csv", "--circuit", "network"], 2, "a whole network goes to nir, spice, bundle"),
        ([], 2, "Missing option '--to'"),
    ],
    ids=["format", "circuit", "dialect", "tau", "bits", "conductance", "unused", "dt", "samples", "network", "nothing"],
)
def test_what_cannot_be_exported_is_refused_in_one_line(compared, words, code, message):
    assert message in refused(compared, *words, code=code)


def test_missing_folders_and_folders_of_others_are_refused(compared, tmp_path):
    assert "Did you mean" in refused(str(compared) + "x", "--to", "csv")
    assert "must hold result.npz" in refused(tmp_path, "--to", "csv", code=1)
    (tmp_path / "result.npz").write_bytes(b"something else")
    assert "undamaged .npz" in refused(tmp_path, "--to", "csv", code=1)


def test_the_line_on_how_to_open_tables_gives_the_weights(compared, tmp_path):
    printed = run("export", compared, "--to", "csv", "--out", tmp_path / "t").stdout
    code = re.search("python: (numpy.*)", printed)[1]
    weights = eval(code, {"numpy": np})  # the printed line is Python
    np.testing.assert_array_equal(weights, best_circuit(find_circuits(compared)).R)


def test_folders_with_other_files_are_not_replaced(compared, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "is there already" in refused(compared, "--to", "bundle", "--out", tmp_path, code=1)
    assert "holds other files" in refused(compared, "--to", "bundle", "--out", tmp_path, "--overwrite", code=1)
    assert nd.__name__ and (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("to", ["csv", "npz", "nir", "spice", "bundle"])
def test_an_export_again_changes_nothing_and_another_one_is_not_put_in_its_place_unasked(compared, tmp_path, to):
    place = tmp_path / {"csv": "a", "npz": "a.npz", "nir": "a.nir", "spice": "a.cir", "bundle": "a"}[to]
    words = ("export", compared, "--to", to, "--out", place)
    assert run(*words).exit_code == 0
    before = content_hash(place), place.stat().st_mtime_ns
    assert run(*words).exit_code == 0 and (content_hash(place), place.stat().st_mtime_ns) == before
    said = refused(*words[1:], "--tau", "0.5", code=1)
    assert str(place) in said and "--overwrite" in said and content_hash(place) == before[0]
    assert run(*words, "--tau", "0.5", "--overwrite").exit_code == 0 and content_hash(place) != before[0]


def test_a_place_that_cannot_be_written_is_refused(compared, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "is a file, not a folder" in refused(compared, "--to", "npz", "--out", tmp_path / "file" / "a.npz", code=1)
    (tmp_path / "mine.npz").write_text("precious")
    refused(compared, "--to", "npz", "--out", tmp_path / "mine.npz", code=1)
    assert (tmp_path / "mine.npz").read_text() == "precious"
