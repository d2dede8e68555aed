"""`neurodecorr budget`: one page that answers, and plain words where it cannot."""

import json
import math
import re

import numpy as np
import pytest
from click.testing import CliRunner

import neurodecorr as nd
from neurodecorr.cli import main
from neurodecorr.errors import StabilityError
from neurodecorr.export.budget import hardware_budget
from neurodecorr.export.circuits import find_circuits
from neurodecorr.hardware.analogue import error_budget, simulate_chips
from neurodecorr.hardware.devices import Devices
from neurodecorr.io import Result
from neurodecorr.report.tables import budget_text, si

QUICK = ("--chips", "8", "--bits", "6", "--mismatch", "2")


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def left_by_a_run(folder, R, seed=0):
    X = np.random.default_rng(seed).standard_normal((40, len(R))) @ np.asarray(R).T
    Result({"R": np.asarray(R), "X": X}, {"tau": 0.02}).save(folder / "result.npz")
    return folder


@pytest.fixture(scope="module")
def R():
    return np.linalg.inv(nd.plasticity.decorrelating_matrix(nd.data.gaussian_covariance(6, 50.0, 0)))


@pytest.fixture(scope="module")
def answered(tmp_path_factory, R):
    folder = left_by_a_run(tmp_path_factory.mktemp("run"), R)
    return folder, run("budget", folder, *QUICK)


def test_the_page_answers_how_many_bits_what_time_what_error(answered):
    folder, result = answered
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    found = re.search(
        r"For an error of 5 % the circuit R needs devices of (\d+) bits with a mismatch of at most ([\d.]+) %, "
        r"amplifiers with a gain of .* it settles in ([\d.]+) τ = .* Of 8 chips built so, (\d) settle; their median "
        r"error is ([\d.]+) %",
        said,
    )
    bits, mismatch, _, settled, error = (float(word) for word in found.groups())
    assert bits >= 4 and 0.1 < mismatch < 10 and settled == 8 and error < 6
    assert result.stdout.rstrip().endswith(f"page: {folder / 'budget.html'}")
    assert max(len(line) for line in result.stdout.splitlines()[:-1]) <= 100


def test_the_folder_gets_the_page_its_figure_and_its_numbers(answered):
    folder, _ = answered
    page = (folder / "budget.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "<script" not in page and "default-src 'none'" in page
    assert "data:image/svg+xml;base64," in page and "What an error of 5 % takes" in page
    assert (folder / "budget.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads((folder / "budget.json").read_text(encoding="utf-8"))
    assert facts["schema"] == "neurodecorr-budget" and facts["units"] == 6
    assert {row["label"] for row in facts["rows"]} >= {"6 bits", "mismatch 2 %", "all together"}


def test_the_numbers_are_those_of_the_functions(answered, R):
    folder, _ = answered
    found = find_circuits(folder)["R"]
    facts = json.loads((folder / "budget.json").read_text(encoding="utf-8"))
    (row,) = (row for row in facts["rows"] if row["kind"] == "mismatch")
    X, devices = found.drive, Devices(mismatch=0.02)
    chips = simulate_chips(R, X, devices, chips=8)
    assert row["closed"]["predicted"] == pytest.approx(error_budget(R, X, devices).second, rel=1e-12)
    assert row["closed"]["median"] == pytest.approx(chips.median, rel=1e-9)
    assert facts["waiting"]["modal"] == pytest.approx(math.log(20) / np.linalg.eigvals(R).real.min())


def test_a_smaller_error_asks_for_more(tmp_path, R):
    found = find_circuits(left_by_a_run(tmp_path, R))["R"]
    loose, tight = (hardware_budget(found, accuracy=e, bits=(), mismatch=(), chips=4) for e in (0.1, 0.01))
    for form in ("closed", "open"):
        assert tight.alone[form].bits > loose.alone[form].bits
        assert tight.alone[form].mismatch < loose.alone[form].mismatch / 9
        assert tight.alone[form].gain == pytest.approx(10 * loose.alone[form].gain)
    assert tight.waiting.modal == pytest.approx(2 * loose.waiting.modal)
    # Each of four takes half of the error, so all together keep it: to the sampling of four chips.
    assert tight.rows[-1].closed.median < 0.01 * 1.3


def test_quiet_prints_the_path_only_and_out_leaves_the_run_alone(answered, tmp_path):
    folder, _ = answered
    result = run("budget", folder, *QUICK, "--quiet", "--out", tmp_path)
    assert (result.exit_code, result.output) == (0, f"{tmp_path / 'budget.html'}\n")


def test_names_of_a_foreign_folder_do_no_harm(tmp_path, R):
    Result({"<b>.R": R}).save(tmp_path / "result.npz")
    result = run("budget", tmp_path, *QUICK)
    assert result.exit_code == 0
    assert "<b>" not in (tmp_path / "budget.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("chips", [1, 2, 3])
def test_a_few_chips_have_a_page_too(tmp_path, R, chips):
    Result({"R": R}).save(tmp_path / "result.npz")
    result = run("budget", tmp_path, "--chips", str(chips), "--bits", "6", "--mismatch", "2", "--quiet")
    assert result.exit_code == 0 and (tmp_path / "budget.html").is_file(), result.stderr


def test_devices_are_counted_as_the_sides_say(tmp_path, R):
    Result({"R": R}).save(tmp_path / "result.npz")
    n = len(R)
    for sides, said in (("two", f"{2 * n * n:,} devices in pairs"), ("one", f"{n * n + n:,} devices with references")):
        printed = run("budget", tmp_path, *QUICK, "--sides", sides, "--overwrite").stdout
        assert said in " ".join(printed.split())


def test_help_has_examples_and_the_inverse_question():
    said = " ".join(run("budget", "--help").stdout.split())
    assert "neurodecorr budget results/compare-natural" in said and "the fewest bits" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["budgt"], 2, "Did you mean 'budget'?"),
        (["budget", "--sides", "tow", "x"], 2, "Did you mean 'two'?"),
        (["budget", "no-such-folder"], 2, "DIR must be the folder of a run"),
        (["budget", "empty"], 1, "must hold result.npz"),
        (["budget", "unstable"], 1, "must be stable to be built, min Re λ(R) > 0; got -1"),
        (["budget", "good", "--circuit", "Q"], 2, "circuit must be one of 'R'; got 'Q'"),
        (["budget", "good", "--accuracy", "0"], 2, "is not a percentage between 0 and 100"),
        (["budget", "good", "--bits", "4,x"], 2, "is not a list of whole numbers"),
        (["budget", "good", "--bits", "0"], 2, "bits must be ≥ 1"),
        (["budget", "good", "--chips", "0"], 2, "chips must be a whole number ≥ 1"),
        (["budget", "good", "--jobs", "0"], 2, "Error: jobs must be a whole number ≥ 1"),
        (["budget", "good", "--tau", "-1"], 2, "tau_s must be > 0 (seconds)"),
        (["budget", "good", "--g-min", "1"], 2, "g_max must exceed g_min"),
    ],
    ids=[
        "command",
        "sides",
        "absent",
        "empty",
        "unstable",
        "circuit",
        "accuracy",
        "list",
        "bits",
        "chips",
        "jobs",
        "tau",
        "g",
    ],
)
def test_what_cannot_be_answered_is_said_in_plain_words(words, code, said, tmp_path, monkeypatch, R):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "unstable", "good"):
        (tmp_path / name).mkdir()
    left_by_a_run(tmp_path / "good", R)
    left_by_a_run(tmp_path / "unstable", [[-1.0, 0.0], [0.0, 2.0]])
    result = run(*words)
    assert result.exit_code == code
    assert said in " ".join(result.stderr.split()) and "Traceback" not in result.output
    assert not (tmp_path / "good" / "budget.html").exists()


def test_an_unstable_circuit_is_refused_in_python_too(tmp_path):
    found = find_circuits(left_by_a_run(tmp_path, [[-1.0, 0.0], [0.0, 2.0]]))["R"]
    with pytest.raises(StabilityError, match="congruent rule"):
        hardware_budget(found)


def test_numbers_with_units_keep_three_digits():
    assert [si(v, "s") for v in (0.0, 9.996e-7, 1.234e-6, 0.9996, 12345.0, math.inf)] == [
        "0 s",
        "1 µs",
        "1.23 µs",
        "1 s",
        "12.3 ks",
        "inf s",
    ]


def test_text_marks_where_the_formula_does_not_hold(tmp_path):
    hard = np.linalg.inv(nd.plasticity.decorrelating_matrix(nd.data.gaussian_covariance(8, 1e4, 0)))
    found = find_circuits(left_by_a_run(tmp_path, hard))["R"]
    said = budget_text(hardware_budget(found, bits=(), mismatch=(0.001, 0.3), chips=20))
    (good,) = (line for line in said.splitlines() if line.startswith("mismatch 0.1 %"))
    (bad,) = (line for line in said.splitlines() if line.startswith("mismatch 30 %"))
    assert "*" in bad and "*" not in good and "Trust the chips" in said
