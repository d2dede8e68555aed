"""The commands models, show, train and sweep: what they print and write, and how they answer when they cannot."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from neurodecorr.cli import main, train
from neurodecorr.credit.feedback_alignment import LATERAL
from neurodecorr.data.augmentation import RECIPES
from neurodecorr.io import load_result
from neurodecorr.models import CREDITS, model_names
from neurodecorr.network.decorrelators import FORMS
from neurodecorr.training import training_traces
from neurodecorr.training.monitors import MONITORS
from neurodecorr.training.traces import KINDS

SHORT = ["--epochs", "2", "--batch", "500"]


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def refused(*words, code=2):
    """Return what an impossible command says on standard error, in one paragraph and without a traceback."""
    result = run(*words)
    assert result.exit_code == code and result.stdout == "" and "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "mine"
    words = ("train", "digits", *SHORT, "--watch", "angle", "--watch-every", "2", "--out", folder)
    return words, folder, run(*words, "--record", "weights,activities", "--record-every", "3")


def test_names_spelt_out_for_help_are_those_of_the_library():
    assert train.CREDITS == CREDITS and train.FORMS == FORMS
    assert tuple(MONITORS) == train.WATCHES and train.RECORDED == KINDS
    assert tuple(RECIPES) == train.RECIPES and train.LATERAL_FEEDBACK == LATERAL


def test_models_lists_every_model_with_its_rules():
    result = run("models")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[: len(model_names())]] == list(model_names())
    assert "rates for bp, fa, dfa, np" in result.stdout


@pytest.mark.parametrize("name", model_names())
def test_show_prints_layers_rates_and_source(name):
    result = run("show", name)
    assert result.exit_code == 0 and "source: " in result.stdout and "layer 1:" in result.stdout
    assert "bp   rate" in result.stdout and "decorrelation: " in result.stdout


def test_show_counts_what_table_1_of_the_paper_implies():
    assert "layer 5:         1000 → 10           W 10 × 1000" in run("show", "dense_cifar10").stdout
    weights = 1000 * 3073 + 3 * 1000 * 1001 + 10 * 1001
    assert f"{weights:,} weights, {3072**2 + 4 * 1000**2:,} lateral ones" in run("show", "dense_cifar10").stdout


def test_train_prints_a_row_per_epoch_and_last_the_path_of_the_result(finished):
    _, folder, result = finished
    assert result.exit_code == 0 and result.stderr == ""
    lines = result.stdout.splitlines()
    assert " ".join(lines[0].split()) == "epoch training loss training accuracy test loss test accuracy"
    assert [line.split()[0] for line in lines[1:3]] == ["1", "2"] and lines[-1] == str(folder / "result.npz")
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint.npz", "curves.png", "curves.svg", "manifest.json", "result.npz", "traces",
    }  # fmt: skip


def test_the_result_says_where_it_came_from(finished):
    found = load_result(finished[1])
    config = found.meta["provenance"]["config"]
    assert (config["model"], config["epochs"], config["document"]["data"]["name"]) == ("digits", 2, "digits")
    assert found.arrays["watched.angle"].shape == (3, 3) and found.arrays["watched_batches"].tolist() == [0, 2, 4]
    assert training_traces(finished[1])["layer0.W"].step.tolist() == [0, 3]


def test_resuming_a_finished_run_prints_the_table_again_and_trains_nothing(finished):
    words, folder, result = finished
    before = (folder / "checkpoint.npz").stat().st_mtime_ns
    again = run(*words, "--resume")
    assert again.stdout == result.stdout and (folder / "checkpoint.npz").stat().st_mtime_ns == before


def test_quiet_prints_the_path_alone(tmp_path):
    result = run("train", "digits", *SHORT, "--quiet", "--out", tmp_path)
    assert (result.stdout, result.stderr) == (f"{tmp_path / 'result.npz'}\n", "")


def test_the_folder_has_a_name_unless_one_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, name in (((), "train-digits-np-recurrent"), (("--seed", "3"), "train-digits-np-recurrent-seed3")):
        options = ("--credit", "np", "--decorrelation", "recurrent", "--quiet")
        assert run("train", "digits", *SHORT, *options, *words).stdout == f"results/{name}/result.npz\n"


def test_an_unfinished_run_is_not_overwritten_by_mistake(finished, tmp_path):
    words, folder, _ = finished
    (tmp_path / "checkpoint.npz").write_bytes((folder / "checkpoint.npz").read_bytes())
    words = (*words[:-1], tmp_path)
    assert "holds an unfinished run. Add --resume" in refused(*words, code=1)
    assert run(*words, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "digtis"], "Did you mean 'digits'?"),
        (["show", "digtis"], "Did you mean 'digits'?"),
        (["trian", "digits"], "Did you mean 'train'?"),
        (["train", "digits", "--credit", "dffa"], "Did you mean 'dfa'?"),
        (["train", "digits", "--decorrelation", "recurent"], "Did you mean 'recurrent'?"),
        (["train", "digits", "--watch", "angel"], "Did you mean 'angle'?"),
        (["train", "digits", "--record", "weights,activites"], "Did you mean 'activities'?"),
        (["train", "digits", "--record", "weights", "--record-every", "0"], "every must be a whole number ≥ 1; got 0"),
        (["train", "digits", "--rate", "0"], "rate must be > 0; got 0.0"),
        (["train", "digits", "--rate", "nan"], "rate must be a finite number; got nan"),
        (["train", "digits", "--epochs", "0"], "epochs must be a whole number ≥ 1; got 0"),
        (["train", "digits", "--every", "0"], "every must be a whole number ≥ 1; got 0"),
        (["train", "digits", "--batch", "-1"], "batch must be a whole number ≥ 1; got -1"),
        (["train", "digits", "--validation", "1500"], "1500"),
        (["train", "mnist"], "give the folder of its files with --data"),
        (["train", "mnist", "--data", "nowhere/"], "there is no file or folder 'nowhere/'"),
        (["train", "mnist", "--data", "digits"], "must get inputs of shape (1, 28, 28); 'digits' has (1, 8, 8)"),
        (
            ["train", "conv_cifar10", "--credit", "np", "--data", "x/"],
            "no rates for credit='np'; it has those of bp, fa",
        ),
        (["sweep", "nothing.toml"], "cannot read the sweep file nothing.toml: No such file or directory"),
        (["sweep", "wrong.toml"], "sedes is no key of a sweep file. Did you mean 'seeds'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_used_is_told_in_one_paragraph_and_writes_nothing(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.toml").write_text('schema = 1\nmodel = "digits"\nsedes = [1]\n')
    assert said in refused(*words)
    assert not (tmp_path / "results").exists()


def test_an_empty_folder_says_which_files_must_be_there(tmp_path):
    assert "must hold MNIST, CIFAR-10, CIFAR-100 or Tiny ImageNet" in refused("train", "mnist", "--data", tmp_path)


def test_nan_in_the_data_is_told_with_its_place(tmp_path):
    inputs = np.ones((9, 64))
    inputs[2, 5] = np.nan
    labels = np.zeros(9, int)
    np.savez(tmp_path / "d.npz", x_train=inputs, y_train=labels, x_test=inputs, y_test=labels)
    assert "found nan at row 2, column 5" in refused("train", "digits", "--data", tmp_path / "d.npz")


def test_divergence_ends_with_1_names_cause_and_layer_and_leaves_the_checkpoint(tmp_path):
    words = ["train", "digits", "--epochs", "2", "--batch", "100", "--every", "1", "--out", tmp_path]
    said = refused(*words, "--rate", "1e30", code=1)
    assert said.startswith("Error: training left the finite numbers at epoch 1, batch") and "of layer" in said
    assert "Lower the learning rate." in said
    kept = load_result(tmp_path / "checkpoint.npz").arrays
    assert kept["place"].tolist()[0] == 0 and not (tmp_path / "result.npz").exists()


def test_the_checkpoint_of_other_options_ends_with_1_and_names_them(finished):
    words, _, _ = finished
    said = refused(*words, "--rate", "0.5", "--resume", code=1)
    assert "was written by a run with other options: optimiser Adam(rate=0.01" in said and "Adam(rate=0.5" in said


def test_ctrl_c_writes_a_checkpoint_says_how_to_go_on_and_the_end_is_the_same(tmp_path):
    options = ["train", "digits", "--epochs", "20", "--batch", "20", "--every", "100000", "--quiet", "--out"]
    command = [sys.executable, "-m", "neurodecorr", *options, str(tmp_path / "a")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (tmp_path / "a" / "checkpoint.npz").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130 and "Traceback" not in said
    assert f"Interrupted; the last checkpoint is in {tmp_path / 'a'}; the same command with --resume goes on" in said
    assert not (tmp_path / "a" / "result.npz").exists()
    assert run(*options, tmp_path / "a", "--resume").exit_code == run(*options, tmp_path / "b").exit_code == 0
    resumed, whole = (load_result(tmp_path / name).arrays for name in "ab")
    assert resumed.keys() == whole.keys()
    assert all(np.array_equal(resumed[name], whole[name], equal_nan=True) for name in whole)


def test_progress_is_shown_in_a_terminal_only(tmp_path):
    pty = pytest.importorskip("pty")
    command = [sys.executable, "-m", "neurodecorr", "train", "digits", "--epochs", "1", "--out", "out"]
    reader, terminal = pty.openpty()
    pytest.importorskip("termios").tcsetwinsize(terminal, (24, 120))  # a new one has no width
    done = subprocess.run(command, stderr=terminal, stdout=subprocess.PIPE, check=True, cwd=tmp_path, timeout=600)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(reader, 100_000):
            shown += part
    os.close(reader)
    assert b"epoch 1: loss" in shown and b"batch" not in done.stdout


SWEEP = """
schema = 1
model = "digits"
credit = ["bp"]
rates = [1e-2]
decorrelation_rates = [1e-3]
validation = 1300
epochs = 1
seeds = [0, 1]
"""


def test_sweep_prints_a_line_per_curve_writes_tables_and_figure_and_repeats_itself(tmp_path):
    (tmp_path / "small.toml").write_text(SWEEP)
    words = ("sweep", tmp_path / "small.toml", "--out", tmp_path / "out")
    result = run(*words)
    assert result.exit_code == 0 and result.stderr == ""
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["bp none", "bp feedforward"]
    assert "rate 0.01, 0.001: test accuracy" in lines[1] and lines[-1] == str(tmp_path / "out" / "table.csv")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "cells", "curves.png", "curves.svg", "grid.csv", "manifest.json", "table.csv",
    }  # fmt: skip
    tables = [(tmp_path / "out" / name).read_bytes() for name in ("grid.csv", "table.csv")]
    assert run(*words, "--quiet").stdout == f"{tmp_path / 'out' / 'table.csv'}\n"
    assert [(tmp_path / "out" / name).read_bytes() for name in ("grid.csv", "table.csv")] == tables


@pytest.mark.parametrize("command", ["models", "show", "train", "sweep"])
def test_help_teaches_with_examples_and_comes_without_anything_heavy(command):
    code = (
        "import sys\nfrom neurodecorr.cli import main\n"
        f"try: main([{command!r}, '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'pydantic', 'joblib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.splitlines()[-1] == "[]" and "Usage: " in done.stdout
    if command in ("train", "sweep"):
        assert "neurodecorr " in done.stdout and "Into the folder go" in done.stdout


def test_doctor_says_which_extras_are_there():
    said = run("doctor").stdout
    assert "[dask]" in said and "[torch]" in said


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def trained(tmp_path):
    words = ("train", "digits", *SHORT, "--quiet", "--out", tmp_path / "tr")
    assert run(*words).exit_code == 0
    return words, tmp_path / "tr"


def test_the_same_run_again_is_told_to_be_there_and_changes_nothing(trained):
    words, folder = trained
    before = files(folder)
    again = run(*(word for word in words if word != "--quiet"))
    assert again.exit_code == 0 and "holds this run already" in again.stderr and "test accuracy" in again.stdout
    assert files(folder) == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (("--credit", "np"), "credit Backprop()"),
        (("--seed", "1"), "seed"),
        (("--rate", "0.5"), "optimiser Adam(rate=0.01"),
        (("--validation", "100"), "fingerprint"),
        (("--watch", "angle"), "watches none"),
        (("--record", "weights"), "recorded nothing"),
        (("--epochs", "3"), "2 epochs; now 3 are asked for. Add --resume"),
        (("--epochs", "1"), "2 epochs; now 1 are asked for"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_another_run_is_refused_names_the_one_that_is_there_and_how_to_replace_it(trained, changes, told):
    words, folder = trained
    before = files(folder)
    said = refused(*words, *changes, code=1)
    assert told in said and "--overwrite" in said and str(folder) in said
    assert files(folder) == before


def test_overwriting_replaces_the_run_and_leaves_what_the_user_put_beside_it(trained, tmp_path):
    words, folder = trained
    (folder / "notes.txt").write_text("mine")
    words = (*words[:4], "--batch", "400", "--quiet")
    assert run(*words, "--overwrite", "--out", folder).exit_code == run(*words, "--out", tmp_path / "b").exit_code == 0
    replaced, fresh = (load_result(place).arrays for place in (folder, tmp_path / "b"))
    assert all(np.array_equal(replaced[name], fresh[name], equal_nan=True) for name in fresh)
    assert (folder / "notes.txt").read_text() == "mine"


def test_going_on_needs_something_to_go_on_from(tmp_path, trained):
    words, _ = trained
    for place in (tmp_path / "missing", tmp_path):
        said = refused(*words[:-1], place, "--resume", code=1)
        assert "must hold checkpoint.npz of a run to go on with; there is none" in said
    assert not (tmp_path / "missing").exists()
    assert "give one of the two" in refused(*words, "--resume", "--overwrite")


def test_a_run_goes_on_to_more_epochs_and_is_then_that_run(trained, tmp_path):
    words, folder = trained
    longer = (*words[:2], "--batch", "500", "--epochs", "3", "--quiet", "--out")
    assert run(*longer, folder, "--resume").exit_code == run(*longer, tmp_path / "b").exit_code == 0
    grown, whole = (load_result(place).arrays for place in (folder, tmp_path / "b"))
    assert all(np.array_equal(grown[name], whole[name], equal_nan=True) for name in whole)
    assert run(*longer, folder).exit_code == 0
    assert "2 are asked for" in refused(*words, code=1)


def test_a_file_that_no_run_wrote_is_not_replaced(tmp_path):
    (tmp_path / "curves.svg").write_text("drawn by hand")
    said = refused("train", "digits", *SHORT, "--out", tmp_path, code=1)
    assert "curves.svg" in said and "--overwrite" in said and len(files(tmp_path)) == 1


def test_whether_a_run_is_finished_does_not_hang_on_the_times_of_its_files(trained):
    words, folder = trained
    for name, time_ns in (("result.npz", 10**18), ("checkpoint.npz", 2 * 10**18)):
        os.utime(folder / name, ns=(time_ns, time_ns))
    assert run(*words).exit_code == 0
    older = (folder / "result.npz").read_bytes()
    assert run(*words[:2], "--batch", "500", "--epochs", "3", "--out", folder, "--resume").exit_code == 0
    (folder / "result.npz").write_bytes(older)
    os.utime(folder / "checkpoint.npz", ns=(10**18, 10**18))
    refused(*words, "--epochs", "3", code=1)


def test_the_data_decide_and_not_how_their_path_is_spelt(tmp_path, monkeypatch):
    inputs = np.arange(60 * 64).reshape(60, 64) % 17 / 16.0
    labels = np.arange(60) % 10

    def write(inputs):
        np.savez(tmp_path / "d.npz", x_train=inputs, y_train=labels, x_test=inputs[:20], y_test=labels[:20])

    write(inputs)
    (tmp_path / "link.npz").symlink_to(tmp_path / "d.npz")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    words = ("train", "digits", "--epochs", "1", "--batch", "30", "--quiet", "--out", tmp_path / "o", "--data")
    assert run(*words, tmp_path / "d.npz").exit_code == 0
    before = files(tmp_path / "o")
    for spelt in ("../d.npz", "./../sub/../d.npz", "../link.npz"):
        assert run(*words, spelt).exit_code == 0
    assert files(tmp_path / "o") == before
    inputs[7, 3] += 1
    write(inputs)
    assert "fingerprint" in refused(*words, tmp_path / "d.npz", code=1)
