"""Sweeps: the same tables whoever does the work, nothing done twice, and what diverged told as such."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neurodecorr.errors import ConfigError, DivergenceError, InputError
from neurodecorr.experiments.sweep import Cell, SweepFile, load_sweep, run_sweep, sweep_grid, write_csv

SMALL = {
    "schema": 1,
    "model": "digits",
    "credit": ["fa"],
    "decorrelation": ["none", "recurrent"],
    "rates": [1e-2, 1e-4],
    "decorrelation_rates": [1e-2],
    "validation": 1300,
    "epochs": 1,
    "seeds": [0, 1],
}


def swept(folder, changes=None, **options):
    """Run a small sweep and return the bytes of its two tables."""
    found = run_sweep(SweepFile.model_validate(SMALL | (changes or {})), folder, **options)
    return [
        write_csv(folder / name, rows).read_bytes() for name, rows in (("g.csv", found.grid), ("t.csv", found.table()))
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return folder, swept(folder)


def results(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "cells").glob("*/*.npz")}


def test_the_table_has_a_row_per_curve_and_the_grid_one_per_cell(finished):
    _, (grid, table) = finished
    assert grid.decode().splitlines()[0] == "curve,rate,decorrelation rate,seed,validation accuracy"
    assert [line.split(",")[0] for line in table.decode().splitlines()[1:]] == [
        "fa none", "fa recurrent",
    ]  # fmt: skip
    assert len(grid.decode().splitlines()) == 1 + 4


@pytest.mark.parametrize("jobs", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_tables_are_the_same_bytes_on_any_number_of_workers(finished, tmp_path, jobs):
    assert swept(tmp_path, jobs=jobs) == finished[1]


DASK = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from dask.distributed import LocalCluster
from test_sweep import swept
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None) as cluster:
        grid, table = swept(Path(sys.argv[1]), scheduler=cluster.scheduler_address)
    Path(sys.argv[1], "both").write_bytes(grid + table)
"""


def test_the_tables_are_the_same_bytes_on_a_dask_cluster(finished, tmp_path):
    pytest.importorskip("dask.distributed", reason="the sweep on a cluster needs: pip install 'neurodecorr[dask]'")
    script = tmp_path / "cluster.py"
    script.write_text(DASK.format(tests=str(Path(__file__).parent)))
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "both").read_bytes() == b"".join(finished[1])


def test_a_scheduler_that_does_not_answer_is_an_error(tmp_path, monkeypatch):
    pytest.importorskip("dask.distributed", reason="the sweep on a cluster needs: pip install 'neurodecorr[dask]'")
    monkeypatch.setattr("neurodecorr.experiments.sweep.SECONDS", 0.2)
    with pytest.raises(ConfigError, match="address of a running Dask scheduler"):
        swept(tmp_path, scheduler="tcp://127.0.0.1:9")


def test_without_dask_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'neurodecorr\[dask\]'"):
        swept(tmp_path, scheduler="tcp://127.0.0.1:9")


def test_finished_cells_are_not_trained_again(finished):
    folder, tables = finished
    before = results(folder)
    assert swept(folder) == tables
    assert results(folder) == before


def test_a_lost_cell_alone_is_trained_again(finished):
    folder, tables = finished
    before = results(folder)
    lost = sorted(path for path in before if path.name == "result.npz")[3]
    for path in lost.parent.iterdir():
        path.unlink()
    assert swept(folder) == tables
    assert {path for path, at in results(folder).items() if before[path] != at} == set(lost.parent.glob("*.npz"))


def test_a_changed_model_file_makes_new_cells():
    options = {"credit": "bp", "form": "none", "rate": 1e-3, "decorrelation_rate": None, "validation": 10}
    cells = [
        Cell("a.toml", document, None, "", **options, epochs=1, batch=None, seed=0) for document in ("x", "x", "y")
    ]
    assert cells[0].name == cells[1].name != cells[2].name


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_sweep import swept
swept(Path(sys.argv[1]))
"""


def test_a_killed_sweep_goes_on_and_ends_with_the_same_tables(finished, tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as process:
        while process.poll() is None and len(results(tmp_path)) < 3:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    before = {path: at for path, at in results(tmp_path).items() if path.name == "result.npz"}
    assert 0 < len(before) < 8
    assert swept(tmp_path) == finished[1]
    after = results(tmp_path)
    assert all(after[path] == at for path, at in before.items())


def steep(tmp_path):
    """A model whose learning leaves the finite numbers at a high rate."""
    path = tmp_path / "steep.toml"
    path.write_text(
        'schema = 1\ntitle = "t"\nsource = "s"\n[data]\nname = "digits"\nshape = [1, 8, 8]\n'
        '[[layers]]\nkind = "dense"\nunits = 9\nactivation = "relu"\n'
        '[[layers]]\nkind = "dense"\nunits = 10\nactivation = "identity"\n'
        '[training]\nepochs = 2\nbatch = 50\noptimiser = "sgd"\n'
        "[rates]\nbp = { alone = 1e-2, decorrelated = 1e-2, decorrelation = 1e-3 }\n"
    )
    return {"model": str(path), "credit": ["bp"], "decorrelation": ["none"], "seeds": [0]}


def test_diverged_cells_are_kept_as_such_and_not_chosen(tmp_path):
    changes = steep(tmp_path) | {"rates": [1e30, 1e-2]}
    grid, table = swept(tmp_path, changes)
    rows = [line.split(",") for line in grid.decode().splitlines()[1:]]
    assert rows[0][-1] == "nan" and float(rows[1][-1]) > 0
    assert table.decode().splitlines()[1].startswith("bp none,0.01,")
    marked = list((tmp_path / "cells").glob("*/diverged.npz"))
    before = results(tmp_path)
    assert len(marked) == 1 and swept(tmp_path, changes) == [grid, table] and results(tmp_path) == before


def test_a_sweep_in_which_everything_diverges_is_an_error(tmp_path):
    with pytest.raises(DivergenceError, match="every rate of the grid diverged for bp none"):
        swept(tmp_path, steep(tmp_path) | {"rates": [1e30]})


def test_final_runs_that_diverge_are_counted_and_the_others_kept(tmp_path, monkeypatch):
    from neurodecorr.experiments import sweep

    train = sweep._train

    def unlucky(cell, folder):
        return None if cell.validation == 0 and cell.seed == 1 else train(cell, folder)

    monkeypatch.setattr(sweep, "_train", unlucky)
    _, table = swept(tmp_path, {"credit": ["bp"], "decorrelation": ["none"]})
    row = dict(zip(*(line.split(",") for line in table.decode().splitlines()), strict=True))
    assert (row["seeds"], row["diverged"]) == ("2", "1") and np.isfinite(float(row["last"]))


def test_what_cannot_be_used_is_told_before_any_cell(tmp_path):
    for changes, kind, words in (
        ({"model": "digtis"}, ConfigError, "Did you mean 'digits'"),
        ({"data": str(tmp_path / "nobody")}, InputError, "no file or folder"),
        ({"validation": 1500}, ConfigError, "1500"),
        ({"model": "mnist"}, ConfigError, "--data"),
    ):
        with pytest.raises(kind, match=words):
            swept(tmp_path, changes)
    with pytest.raises(ConfigError, match="jobs must be a whole number ≥ 1"):
        swept(tmp_path, jobs=0)
    assert not (tmp_path / "cells").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema = 1", "the key model is missing"),
        ('schema = 2\nmodel = "digits"', "schema"),
        ('schema = 1\nmodel = "digits"\nsed = [1]', "sed is no key of a sweep file. Did you mean 'seeds'"),
        ('schema = 1\nmodel = "digits"\ncredit = ["dffa"]', "credit.0.*got 'dffa'. Did you mean 'dfa'"),
        ('schema = 1\nmodel = "digits"\nrates = [0.0]', "rates.0.*greater than 0"),
        ('schema = 1\nmodel = "digits"\nrates = []', "rates.*at least 1 item"),
        ('schema = 1\nmodel = "digits"\nseeds = [-1]', "seeds.0"),
        ('schema = 1\nmodel = "digits"\nseeds = [1, 1]', "seeds must list each value once"),
        ('schema = 1\nmodel = "digits"\nselect = "test accuracy"', "select.*Did you mean 'validation accuracy'"),
        ("schema = ", "must be TOML"),
    ],
)
def test_a_wrong_sweep_file_is_refused_with_the_key_and_the_nearest_right_one(tmp_path, text, words):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_sweep(path)


def test_paths_in_a_sweep_file_are_found_beside_it(tmp_path):
    (tmp_path / "mine.toml").write_text("schema = 1")
    (tmp_path / "sweep.toml").write_text('schema = 1\nmodel = "mine.toml"\ndata = "nobody/"')
    found = load_sweep(tmp_path / "sweep.toml")
    assert found.model == str(tmp_path / "mine.toml") and found.data == "nobody/"
    with pytest.raises(ConfigError, match=r"cannot read the sweep file .*: No such file"):
        load_sweep(tmp_path / "other.toml")


def table_of(path, shift=0.0, rows=60):
    inputs = np.arange(rows * 64).reshape(rows, 64) * 7919 % 97 / 96.0
    inputs[5, 3] += shift
    labels = np.arange(rows) % 10
    np.savez(path, x_train=inputs, y_train=labels, x_test=inputs[:20], y_test=labels[:20])


TINY = {"credit": ["bp"], "decorrelation": ["none"], "rates": [1e-2], "validation": 20, "batch": 20, "seeds": [0]}


def test_data_that_changed_at_the_same_path_are_trained_on(tmp_path):
    table_of(tmp_path / "d.npz")
    changes = TINY | {"data": str(tmp_path / "d.npz")}
    first, before = swept(tmp_path, changes), results(tmp_path)
    assert swept(tmp_path, changes) == first and results(tmp_path) == before
    table_of(tmp_path / "d.npz", shift=5.0)
    swept(tmp_path, changes)
    assert len(results(tmp_path)) == 2 * len(before) and before.items() <= results(tmp_path).items()


def test_a_sample_of_the_test_set_decides_as_well(tmp_path):
    table_of(tmp_path / "d.npz")
    changes = TINY | {"data": str(tmp_path / "d.npz")}
    swept(tmp_path, changes)
    before = results(tmp_path)
    arrays = dict(np.load(tmp_path / "d.npz"))
    arrays["y_test"][3] += 1
    np.savez(tmp_path / "d.npz", **arrays)
    swept(tmp_path, changes)
    assert len(results(tmp_path)) == 2 * len(before)


def test_the_same_data_spelt_otherwise_are_not_trained_on_again(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    table_of(tmp_path / "a" / "d.npz")
    (tmp_path / "other.npz").symlink_to(tmp_path / "a" / "d.npz")
    monkeypatch.chdir(tmp_path / "a")
    monkeypatch.setenv("HOME", str(tmp_path / "a"))
    first = swept(tmp_path, TINY | {"data": "d.npz"})
    before = results(tmp_path)
    for spelt in ("./d.npz", "../a/d.npz", "b/../d.npz", "../other.npz", str(tmp_path / "a" / "d.npz"), "~/d.npz"):
        assert swept(tmp_path, TINY | {"data": spelt}) == first
    assert results(tmp_path) == before
    copied = tmp_path / "copy.npz"
    copied.write_bytes((tmp_path / "a" / "d.npz").read_bytes())
    assert swept(tmp_path, TINY | {"data": str(copied)}) == first and results(tmp_path) == before


def test_what_is_left_to_the_model_and_what_is_spelt_out_is_one_cell(tmp_path, monkeypatch):
    swept(tmp_path, TINY | {"epochs": 1})
    before = results(tmp_path)
    swept(tmp_path, TINY | {"epochs": 1, "final_epochs": 1})
    assert results(tmp_path) == before


def test_the_version_is_part_of_the_name_of_a_cell(monkeypatch):
    cell = Cell("a.toml", "x", None, "", "bp", "none", 1e-3, None, 10, 1, None, 0)
    before = cell.name
    monkeypatch.setattr("neurodecorr.experiments.sweep.package_version", lambda package: "99")
    assert cell.name != before


@pytest.mark.parametrize("name", ["result.npz", "checkpoint.npz", "both"])
def test_a_damaged_cell_does_not_stop_a_sweep(finished, tmp_path, name):
    folder, tables = finished
    cell = sorted((folder / "cells").iterdir())[0]
    for one in ("result.npz", "checkpoint.npz") if name == "both" else (name,):
        (cell / one).write_bytes(b"PK damaged")
    assert swept(folder) == tables


def test_a_mark_of_divergence_that_is_damaged_is_made_again(tmp_path):
    changes = steep(tmp_path) | {"rates": [1e30, 1e-2]}
    tables = swept(tmp_path, changes)
    (marked,) = (tmp_path / "cells").glob("*/diverged.npz")
    for content in (b"", b"PK"):
        marked.write_bytes(content)
        assert swept(tmp_path, changes) == tables and marked.stat().st_size > 2


def test_data_that_change_while_a_sweep_runs_are_told(tmp_path):
    table_of(tmp_path / "d.npz")
    sweep = SweepFile.model_validate(SMALL | TINY | {"data": str(tmp_path / "d.npz")})
    grid = sweep_grid(sweep)
    table_of(tmp_path / "d.npz", shift=1.0)
    with pytest.raises(InputError, match="must stay as they are"):
        run_sweep(sweep, tmp_path, grid=grid)


@pytest.mark.parametrize("spelt", ["folder", "folder/", "./folder", "../here/folder/"])
def test_data_beside_the_sweep_file_are_found_from_everywhere(tmp_path, monkeypatch, spelt):
    (tmp_path / "here" / "folder").mkdir(parents=True)
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    (tmp_path / "here" / "sweep.toml").write_text(f'schema = 1\nmodel = "digits"\ndata = "{spelt}"')
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = load_sweep(tmp_path / "here" / "sweep.toml")
    assert Path(found.data) == tmp_path / "here" / "folder" and found.model == "digits"
    assert Path(load_sweep("../here/sweep.toml").data) == tmp_path / "here" / "folder"


def test_a_name_that_is_known_wins_over_a_folder(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    (tmp_path / "sweep.toml").write_text('schema = 1\nmodel = "digits"\ndata = "digits"')
    found = load_sweep(tmp_path / "sweep.toml")
    assert (found.model, found.data) == ("digits", "digits")


VICTIM = """
import os, signal
from neurodecorr.experiments import sweep
whole = sweep._train
def train(cell, folder):
    if cell.form == "recurrent" and cell.rate == 1e-4:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(cell, folder)
"""
VICTIMS = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_sweep, victim
from neurodecorr.experiments import sweep
from neurodecorr.experiments.sweep import SweepFile
sweep._train = victim.train
try:
    sweep.run_sweep(SweepFile.model_validate(test_sweep.SMALL), Path(sys.argv[1]), jobs=2)
except ChildProcessError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes cannot be killed so")
def test_a_worker_that_is_killed_is_told_in_one_sentence(tmp_path):
    (tmp_path / "victim.py").write_text(VICTIM)
    code = VICTIMS.format(tests=str(Path(__file__).parent))
    path = os.pathsep.join([str(tmp_path), *(place for place in sys.path if place)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "a worker process was killed" in done.stdout and "The same command goes on from" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    ["validation = true", 'validation = "9"', "epochs = 1.0", "rates = [true]", 'rates = ["1"]', "rates = [inf]",
     "rates = [nan]", "seeds = [true]", 'seeds = ["0"]', "seeds = [0.0]", 'batch = "9"', "select_at = true"],
)  # fmt: skip
def test_a_number_in_a_sweep_file_must_be_written_as_what_it_is(tmp_path, line):
    (tmp_path / "s.toml").write_text(f'schema = 1\nmodel = "digits"\n{line}\n')
    with pytest.raises(ConfigError, match=line.split()[0]):
        load_sweep(tmp_path / "s.toml")


def test_sweep_files_that_are_no_files_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    for name in ("pipe.toml", "endless.toml"):
        with pytest.raises(ConfigError, match="not a regular file"):
            load_sweep(tmp_path / name)
