"""The comparison itself: what it accepts, what it refuses to judge, and what it leaves out."""

import dataclasses
from importlib import import_module

import numpy as np
import pandas
import pytest
from click.testing import CliRunner
from PIL import Image

import neurodecorr as nd
from neurodecorr import plots
from neurodecorr.cli import main
from neurodecorr.comparison import Comparison, compare
from neurodecorr.comparison.compare import spelt_time
from neurodecorr.data import load_split
from neurodecorr.data.sources import SOURCES, Split
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io import Result

contest = import_module("neurodecorr.comparison.compare")  # its face hides the module behind the function

RNG = np.random.default_rng(1)
TABLE = RNG.standard_normal((600, 6)) @ RNG.standard_normal((6, 6))
QUICK = {"rules": ["implicit"], "rate": 1e-2, "draws": 2}


def degenerate():
    """A table with silent, constant, identical, and linearly dependent units."""
    table = np.hstack([TABLE, np.zeros((600, 5))])
    table[:, 7], table[:, 8], table[:, 9] = 3.0, table[:, 0], table[:, 1] + table[:, 2]
    table[:, 10] = 1e-9 * RNG.standard_normal(600)
    return table


@pytest.fixture(scope="module")
def quick():
    return nd.compare(TABLE, **QUICK)


@pytest.fixture(scope="module")
def several():
    return nd.compare(TABLE, **QUICK, seeds=3)


@pytest.mark.parametrize("form", [nd.Dataset, pandas.DataFrame, np.ndarray.tolist])
def test_arrays_and_data_frames_are_tables(form, quick):
    found = nd.compare(form(TABLE), **QUICK)
    assert [entry.correlation for entry in found.entries] == [entry.correlation for entry in quick.entries]


def test_held_out_samples_may_be_an_array():
    found = nd.compare(TABLE[:500], TABLE[500:], **QUICK)
    assert found.held_out == 100 and found.config["split"] == "as given"


@pytest.mark.filterwarnings("ignore::neurodecorr.errors.DegenerateInputWarning")
def test_units_without_a_signal_of_their_own_are_named_and_left_out():
    found = nd.compare(degenerate(), rules=["explicit", "implicit", "congruent"], rate=1e-2, draws=2)
    assert found.config["silent"] == [6, 7] and found.config["dependent"] == [8, 9]
    assert found["M* offline"].twin_error < 1e-6
    assert all(np.isfinite(entry.correlation) and np.isfinite(entry.power) for entry in found.entries)
    live = [0, 1, 2, 3, 4, 5, 10]
    for entry in found.entries:
        C = entry.covariance[np.ix_(live, live)]
        size = np.sqrt(np.diag(C))
        off = (C / size[:, None] / size)[~np.eye(len(live), dtype=bool)]
        assert entry.correlation == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-9)


@pytest.mark.parametrize("source", [*SOURCES, "folder", "picture", "npy", "npz", "labelled"])
def test_compare_runs_on_every_source_that_help_names(source, tmp_path):
    pictures = RNG.integers(0, 256, (3, 40, 60)).astype(np.uint8)
    place = {
        "folder": tmp_path / "photos",
        "picture": tmp_path / "photos" / "1.jpg",
        "npy": tmp_path / "x.npy",
        "npz": tmp_path / "x.npz",
        "labelled": tmp_path / "l.npz",
    }.get(source, source)
    (tmp_path / "photos").mkdir()
    for k, image in enumerate(pictures):
        Image.fromarray(image).save(tmp_path / "photos" / f"{k}.{'jpg' if k else 'png'}")
    np.save(tmp_path / "x.npy", TABLE)
    np.savez(tmp_path / "x.npz", a=pictures, b=pictures[:, :30])
    x, y = RNG.integers(0, 256, (400, 4, 4)).astype(np.uint8), np.arange(400) % 3
    np.savez(tmp_path / "l.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    found = compare(lambda seed: load_split(place, 400, seed, 3), rate=0.03, draws=2)
    assert not any(entry.failure for entry in found.entries)
    assert found.exact == (source in ("natural", "gaussian", "folder", "picture", "npz"))
    assert np.isfinite([entry.correlation for entry in found.entries]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::neurodecorr.errors.DegenerateInputWarning")
def test_compare_runs_on_784_units_of_which_many_are_silent():
    centre = np.add.outer(np.abs(np.arange(28) - 13.5), np.abs(np.arange(28) - 13.5)).ravel()
    pictures = np.maximum(0, RNG.standard_normal((2000, 784)) + 2 - centre / 5) * (centre < 20)
    found = nd.compare(
        pictures, rules=["implicit"], rate=0.05, limit=None, batch=50, schedule="constant", draws=1, mismatch=[0.01]
    )
    assert len(found.config["silent"]) == int((centre >= 20).sum()) > 100
    assert np.isfinite([entry.correlation for entry in found.entries]).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE[:6], "more samples than units"),
        (TABLE[:, :1], "at least two units that vary"),
        (np.hstack([TABLE[:, :1], np.ones((600, 3))]), "at least two units that vary"),
        (TABLE[:100], "at least 25 held-out samples"),
        (TABLE.T, "--transpose"),
        (np.ones((100, 5)), "at least two units that vary"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_any_work(table, message, monkeypatch):
    monkeypatch.setattr(contest, "run_all", None)
    with pytest.raises(InputError, match=message):
        nd.compare(table, **QUICK)


def test_more_units_than_memory_holds_are_refused(monkeypatch):
    from neurodecorr._numerics import memory

    monkeypatch.setattr(memory, "available", lambda: 3 * 10**8)
    with pytest.raises(InputError, match=r"3 forms with 1,500 units must fit in memory"):
        nd.compare(RNG.standard_normal((2000, 1500)), **QUICK)


def test_the_exact_covariance_of_what_was_held_out_is_used():
    split = load_split("gaussian", 500, size=2)
    found = compare(lambda seed: split, **QUICK)
    assert found.exact and found.scatter == 0
    np.testing.assert_array_equal(found.covariance, nd.data.gaussian_covariance(4, 1e3, 0))
    few = compare(lambda seed: dataclasses.replace(split, covariance=None), **QUICK)
    assert not few.exact and few.scatter == 1 / np.sqrt(1024)


def test_seeds_give_intervals_and_the_first_is_shown(quick, several):
    found, alone = several, [quick, *(nd.compare(TABLE, **QUICK, seed=seed) for seed in (1, 2))]
    assert found.seeds.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.before_over_seeds, [one.correlation for one in alone])
    for k, entry in enumerate(found.entries):
        assert entry.correlation == quick.entries[k].correlation
        np.testing.assert_array_equal(entry.over_seeds[:, 0], [one.entries[k].correlation for one in alone])
    with pytest.raises(ConfigError):
        nd.compare(TABLE, **QUICK, seeds=0)


def test_with_given_held_out_samples_seeds_reorder_the_stream():
    found = nd.compare(TABLE[:500], TABLE[500:], **QUICK, seeds=2)
    online = found["R implicit"].over_seeds[:, 0]
    assert online[0] != online[1] and np.ptp(found.before_over_seeds) == 0


def damaged(comparison, change):
    result = comparison.to_result()
    arrays, meta = {name: array.copy() for name, array in result.arrays.items()}, {**result.meta}
    meta["config"] = dict(meta["config"])
    meta["entries"] = [dict(entry) for entry in meta["entries"]]
    change(arrays, meta)
    return Result(arrays, meta)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("correlation", lambda arrays, meta: meta.update(correlation="0.3")),
        ("relative", lambda arrays, meta: meta.update(relative=float("nan"))),
        ("held_out", lambda arrays, meta: meta.update(held_out="many")),
        ("held_out", lambda arrays, meta: meta.update(held_out=0)),
        ("shape", lambda arrays, meta: meta.update(shape=[2, 7])),
        ("exact", lambda arrays, meta: meta.update(exact="yes")),
        ("power", lambda arrays, meta: meta["entries"][1].update(power="1")),
        ("power", lambda arrays, meta: meta["entries"][1].update(power=float("nan"))),
        ("learnt", lambda arrays, meta: meta["entries"][1].update(learnt=True)),
        ("name", lambda arrays, meta: meta["entries"][1].update(name=7)),
        ("margin", lambda arrays, meta: meta["entries"][1].pop("margin")),
        ("margins", lambda arrays, meta: arrays["R_implicit.margins"].fill(np.nan)),
        ("matrix", lambda arrays, meta: arrays.update({"R_implicit.matrix": np.eye(5)})),
        ("lateral", lambda arrays, meta: arrays.update({"R_implicit.lateral": np.full((6, 6), "a")})),
        ("covariance", lambda arrays, meta: arrays.update(covariance=np.full((6, 6), np.inf))),
        ("mismatch_error", lambda arrays, meta: arrays["R_implicit.mismatch_error"].fill(np.nan)),
        ("samples", lambda arrays, meta: meta["config"].update(samples="20")),
        ("tol", lambda arrays, meta: meta["config"].update(tol="small")),
        ("entries", lambda arrays, meta: meta.update(entries="none")),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_named(quick, field, change):
    with pytest.raises(CheckpointError, match=field):
        Comparison.from_result(damaged(quick, change))


def test_a_comparison_over_seeds_comes_back_from_its_file(tmp_path, several):
    found = several
    found.to_result().save(tmp_path / "result.npz")
    again = Comparison.load(tmp_path)
    np.testing.assert_array_equal(again.seeds, found.seeds)
    np.testing.assert_array_equal(again["R implicit"].over_seeds, found["R implicit"].over_seeds)


def test_a_forecast_is_told_before_a_long_comparison_and_then_its_progress(monkeypatch):
    monkeypatch.setattr(contest, "forecast", lambda *_: 100.0)
    told = []
    nd.compare(TABLE, **QUICK, progress=lambda *words: told.append(words))
    assert told[0] == ("about 2 minutes: 3 forms, 6 units, 480 samples", 0, 0)
    assert {words for words, _, total in told[1:] if total == 3} == {"comparing forms"} and told[-1][1] == 3
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


@pytest.mark.parametrize(
    ("seconds", "words"), [(31, "40 seconds"), (89, "90 seconds"), (91, "2 minutes"), (7200, "2.0 hours")]
)
def test_forecasts_are_rounded_up(seconds, words):
    assert spelt_time(seconds) == words


def test_the_split_says_whose_scale_it_is():
    split = load_split("natural", 2000, size=3)
    assert isinstance(split, Split) and split.stream.inputs.var(axis=0).mean() == pytest.approx(1, abs=0.1)


@pytest.fixture
def one_figure(monkeypatch):
    monkeypatch.setattr(plots, "FIGURES", {"cost": plots.cost})


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_is_not_written_twice_unasked(tmp_path, monkeypatch, one_figure):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    np.save("data/x.npy", TABLE)
    words = ["compare", "--rule", "implicit", "--rate", "1e-2", "--draws", "2", "--out", "out", "--data"]
    assert run(*words, "data/x.npy").exit_code == 0
    before = contents(tmp_path / "out")
    # The same settings and data, however the path is spelt.
    again = run(*words, "./data/../data/x.npy")
    assert again.exit_code == 0 and "done already" in again.stdout and again.stdout.endswith("report.html\n")
    # Other settings, and other data at the same place.
    other = run(*words, "data/x.npy", "--seed", "1")
    assert other.exit_code == 1 and "seed 0, where now seed 1" in other.stderr and "--overwrite" in other.stderr
    np.save("data/x.npy", 2 * TABLE)
    assert "content" in run(*words, "data/x.npy").stderr
    assert contents(tmp_path / "out") == before
    assert run(*words, "data/x.npy", "--overwrite").exit_code == 0
    assert contents(tmp_path / "out")["result.npz"] != before["result.npz"]


def test_a_report_that_was_edited_is_not_drawn_over(tmp_path, one_figure):
    folder = tmp_path / "out"
    words = [
        "--data",
        "gaussian",
        "--size",
        "2",
        "--samples",
        "500",
        "--rule",
        "implicit",
        "--rate",
        "1e-2",
        "--draws",
        "2",
    ]
    assert run("compare", *words, "--out", folder).exit_code == 0
    (folder / "report.html").write_text("my words")
    assert run("report", folder).exit_code == 1 and (folder / "report.html").read_text() == "my words"
    assert (
        run("report", folder, "--overwrite").exit_code == 0 and "my words" not in (folder / "report.html").read_text()
    )


def test_a_budget_is_not_replaced_unasked_and_goes_with_its_run(tmp_path, one_figure):
    folder = tmp_path / "out"
    data = [
        "--data",
        "gaussian",
        "--size",
        "2",
        "--samples",
        "500",
        "--rule",
        "implicit",
        "--rate",
        "1e-2",
        "--draws",
        "2",
    ]
    assert run("compare", *data, "--out", folder).exit_code == 0
    asked = ["budget", folder, "--chips", "2", "--bits", "4", "--mismatch", "1"]
    assert run(*asked).exit_code == 0
    before = contents(folder)
    again = run(*asked)
    assert again.exit_code == 0 and "done already" in again.stdout
    other = run(*asked, "--tau", "1e-5")
    assert other.exit_code == 1 and "a budget of tau" in other.stderr
    assert contents(folder) == before
    assert run(*asked, "--tau", "1e-5", "--overwrite").exit_code == 0
    assert run("compare", *data, "--out", folder).stdout.startswith("done already")
    # A budget of the old circuit must not stand beside the new report.
    assert run("compare", *data, "--seed", "1", "--out", folder, "--overwrite").exit_code == 0
    assert not [name for name in contents(folder) if name.startswith("budget")]


def test_figures_of_the_folder_are_those_that_are_drawn():
    from neurodecorr.report.page import FILES

    assert {name for name in FILES if name.endswith(".svg")} == {f"{name}.svg" for name in plots.FIGURES}
