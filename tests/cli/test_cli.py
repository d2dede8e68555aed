"""The command line: what it does, and how it answers when it cannot."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import neurodecorr
from neurodecorr import plots
from neurodecorr.cli import main
from neurodecorr.errors import CheckpointError, ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.io import load_result

SMALL = ["--data", "gaussian", "--size", "3", "--samples", "2000", "--draws", "3", "--mismatch", "1,10%"]


@pytest.fixture(scope="module", autouse=True)
def one_figure():
    """Draw one figure only; tests/report draws them all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "FIGURES", {"cost": plots.cost})
        yield


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small comparison, run for real."""
    folder = tmp_path_factory.mktemp("out") / "mine"
    return folder, run("compare", *SMALL, "--rule", "implicit", "--out", folder)


def one_line(result):
    """The only line of an error."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and result.stdout == "" and "Traceback" not in result.output
    return lines[0]


def test_compare_prints_the_table_and_last_the_path_of_the_report(finished):
    folder, result = finished
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"report: {folder / 'report.html'}"
    assert [line.split("  ")[0] for line in result.stdout.splitlines() if re.match(r"M\*|M i|R i", line)] == [
        "M* offline",
        "M implicit",
        "R implicit",
    ] * 3
    assert (folder / "report.html").is_file() and (folder / "manifest.json").is_file()


def test_what_is_said_on_the_way_goes_to_standard_error(finished):
    _, result = finished
    assert "writing" in result.stderr and "writing" not in result.stdout


def test_the_command_in_the_report_gives_the_same_numbers_again(finished, tmp_path):
    folder, _ = finished
    first = load_result(folder)
    command = json.loads((folder / "manifest.json").read_text())["runs"][0]["facts"]["config"]["command"]
    assert command[0] == "neurodecorr"
    assert run(*command[1:], "--out", tmp_path / "again", "--quiet").exit_code == 0
    again = load_result(tmp_path / "again")
    assert first.arrays.keys() == again.arrays.keys()
    for name, values in first.arrays.items():
        np.testing.assert_array_equal(values, again.arrays[name])


def test_quiet_prints_the_path_only(tmp_path):
    result = run("compare", *SMALL, "--rule", "implicit", "--quiet", "--out", tmp_path)
    assert (result.exit_code, result.output) == (0, f"{tmp_path / 'report.html'}\n")


def test_the_folder_is_named_after_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("my table.npy", np.random.default_rng(0).standard_normal((300, 3)))
    result = run("compare", "--data", "my table.npy", "--rule", "implicit", "--draws", "2", "--quiet")
    path = Path("results") / "compare-my table" / "report.html"
    assert (result.exit_code, result.output) == (0, f"{path}\n") and path.is_file()


def test_report_draws_the_same_page_from_the_result(finished):
    folder, first = finished
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    result = run("report", folder)
    assert result.exit_code == 0 and result.stdout == first.stdout
    assert (folder / "report.html").read_bytes() == before


def test_locality_prints_a_verdict_for_every_rule():
    result = run("locality")
    assert result.exit_code == 0
    lines = [line.rsplit("  ", 1) for line in result.stdout.splitlines() if "  " in line]
    found = {name.split("  ")[0].strip(): verdict.strip() for name, verdict in lines}
    assert (found["R implicit"], found["R congruent"], found["M implicit"]) == ("local", "broadcast", "not local")
    assert (found["BP"], found["FA"], found["NP, activity"]) == ("needs Wᵀ, Mᵀ", "local", "needs layer scalar")
    assert "FAILED" not in result.stdout


def test_doctor_names_versions_threads_cache_and_extras():
    result = run("doctor")
    heads = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert {"python", "neurodecorr", "numpy", "numba", "processors", "kernel cache", "[torch]", "[brian2]"} <= set(
        heads
    )
    assert f"neurodecorr   {neurodecorr.__version__}" in result.stdout


def test_every_option_is_explained_with_its_default():
    text = " ".join(run("compare", "--help").stdout.split())
    options = [option for option in main.commands["compare"].params if option.name != "help"]
    assert all(option.help and option.opts[0] in text for option in options)
    for words in ("natural]", "0.001]", "decay]", "node]", "20000]", "1,5,10]", "results/compare-<data>]"):
        assert f"[default: {words}" in text
    assert "neurodecorr compare --data photos/" in text


def test_help_names_every_command_in_full():
    text = run("--help").stdout
    assert all(f"  {name}  " in text for name in ("compare", "doctor", "locality", "report"))
    assert "..." not in text.split("Commands:")[1]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["compar"], "Did you mean 'compare'?"),
        (["compare", "--ruel", "implicit"], "--rule"),
        (["compare", "--rule", "locla"], "Did you mean 'local'?"),
        (["compare", "--gain", "nod"], "Did you mean 'node'?"),
        (["compare", "--data", "natral"], "Did you mean 'natural'?"),
        (["compare", "--mismatch", "1;5"], "not a list of percentages"),
        (["compare", "--samples", "many"], "not a valid integer"),
        (["report", "no-such-folder"], "no-such-folder"),
    ],
)
def test_a_misspelt_word_ends_with_2_and_the_nearest_one(words, answer):
    result = run(*words)
    assert result.exit_code == 2 and answer in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--rate", "0"], "rate must be > 0"),
        (["--rate", "nan"], "rate must be a finite number"),
        (["--samples", "0"], "samples must be a whole number ≥ 1"),
        (["--seed", "-1"], "seed"),
        (["--draws", "0"], "draws must be a whole number ≥ 1"),
        (["--mismatch", "-1"], "mismatch must be > 0"),
        (["--data", "missing.npy"], "missing.npy"),
    ],
)
def test_a_value_out_of_range_ends_with_2_and_one_line(words, answer, tmp_path):
    result = run("compare", *SMALL, "--out", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert one_line(result).startswith("Error: ") and answer in one_line(result)
    assert not (tmp_path / "out").exists()


def test_nan_in_a_users_file_is_named_with_its_place(tmp_path):
    table = np.zeros((50, 3))
    table[17, 2] = np.nan
    np.save(tmp_path / "mine.npy", table)
    result = run("compare", "--data", tmp_path / "mine.npy", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "nan at row 17, column 2" in one_line(result)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(neurodecorr.comparison, "compare", None)  # calling it would raise a TypeError
    result = run("compare", *SMALL, "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1 and "file is a file, not a folder" in one_line(result)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_a_result_is_refused(tmp_path):
    result = run("report", tmp_path)
    assert result.exit_code == 1 and "result.npz" in one_line(result)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError, 2),
        (ConfigError, 2),
        (StabilityError, 1),
        (DivergenceError, 1),
        (CheckpointError, 1),
        (MemoryError, 1),
    ],
)
def test_our_errors_end_with_one_line_and_their_code(error, code, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise error("first line\n   and second")

    monkeypatch.setattr(neurodecorr.comparison, "compare", fail)
    result = run("compare", *SMALL, "--out", tmp_path / "out")
    assert (result.exit_code, one_line(result)) == (code, "Error: first line and second")


def test_debug_shows_where_an_error_came_from(tmp_path):
    result = run("--debug", "compare", *SMALL, "--rate", "0", "--out", tmp_path)
    assert isinstance(result.exception, ConfigError)


def test_an_error_nobody_foresaw_is_not_hidden(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(neurodecorr.comparison, "compare", fail)
    assert isinstance(run("compare", *SMALL, "--out", tmp_path).exception, ZeroDivisionError)


def test_an_interrupted_run_writes_nothing_and_ends_with_130(tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(neurodecorr.comparison, "compare", interrupt)
    result = run("compare", *SMALL, "--out", tmp_path / "out")
    assert (result.exit_code, one_line(result)) == (130, "Interrupted; nothing was written.")
    assert not (tmp_path / "out").exists()


def test_an_interrupt_while_writing_says_what_to_expect(finished, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    folder, _ = finished
    monkeypatch.setattr(neurodecorr.report.folder, "draw_again", interrupt)
    result = run("report", folder, "--quiet")
    assert result.exit_code == 130
    assert one_line(result) == f"Interrupted; each file in {folder} is whole, but some may be missing or old."


def test_a_warning_is_one_line_on_standard_error(tmp_path, monkeypatch):
    import warnings

    def warn(*args, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("unit 3 never varies", UserWarning, stacklevel=1)
        raise ConfigError("enough")

    monkeypatch.setattr(neurodecorr.comparison, "compare", warn)
    result = run("compare", *SMALL, "--out", tmp_path)
    assert result.stderr.strip().splitlines() == ["Warning: unit 3 never varies", "Error: enough"]


def test_the_module_is_the_command():
    words = [sys.executable, "-W", "error", "-m", "neurodecorr"]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout == f"neurodecorr, version {neurodecorr.__version__}\n" and done.stderr == ""
    bad = subprocess.run(
        [*words, "compare", *SMALL, "--rate", "-1"], capture_output=True, text=True, check=False, timeout=600
    )
    assert (bad.returncode, bad.stdout) == (2, "") and bad.stderr.startswith("Error: rate must be > 0")


def test_help_comes_at_once_since_nothing_heavy_is_imported():
    code = (
        "import sys, neurodecorr.cli; "
        "print([m for m in ('numpy', 'scipy', 'numba', 'matplotlib', 'sklearn', 'h5py', 'joblib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "[]"
