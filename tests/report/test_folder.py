"""The folder of a comparison."""

import hashlib
import json

import numpy as np
import pytest

from neurodecorr import io, plots, report
from neurodecorr.comparison import Comparison
from neurodecorr.errors import CheckpointError
from neurodecorr.io import read_traces
from neurodecorr.report import folder as folder_module


@pytest.fixture
def quick(monkeypatch):
    """Draw one figure only."""
    monkeypatch.setattr(plots, "FIGURES", {"cost": plots.cost})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("png", [False, True])
def test_everything_lies_in_the_folder(png, tmp_path, specimen, request):
    if png:
        request.getfixturevalue("quick")
    path = report.folder.publish(specimen, tmp_path / "deep" / "folder", png=png)
    figures = {f"{name}.{kind}" for name in plots.FIGURES for kind in (("svg", "png") if png else ("svg",))}
    assert path == tmp_path / "deep" / "folder" / "report.html"
    assert set(contents(path.parent)) == figures | {"report.html", "result.npz", "traces.h5", "manifest.json"}


def test_the_manifest_lists_every_other_file_with_its_checksum(tmp_path, specimen, quick):
    files = contents(report.folder.publish(specimen, tmp_path).parent)
    manifest = json.loads(files.pop("manifest.json"))
    (run,) = manifest["runs"]
    assert (manifest["schema"], manifest["version"], run["kind"]) == ("neurodecorr-manifest", 2, "comparison")
    assert run["facts"]["config"] == specimen.config and run["facts"]["provenance"]["seed"] == 7 and run["complete"]
    listed = {entry["name"]: (entry["bytes"], entry["sha256"]) for entry in run["files"]}
    assert listed == {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}


def test_traces_hold_the_learning_curves_of_every_online_form(tmp_path, specimen, quick):
    traces = read_traces(report.folder.publish(specimen, tmp_path).parent)
    online = [entry for entry in specimen.entries if len(entry.steps)]
    for entry in online:
        for name, values in (("margin", entry.margins), ("correlation", entry.correlations), ("power", entry.powers)):
            trace = traces[f"{entry.name.replace(' ', '_')}.{name}"]
            np.testing.assert_array_equal(trace.step, entry.steps)
            np.testing.assert_array_equal(trace.values, values)
    assert len(list(traces)) == 3 * len(online)


def test_a_report_drawn_again_from_the_result_is_the_same(tmp_path, troubled, quick):
    report.folder.publish(troubled, tmp_path)
    before = contents(tmp_path)
    report.folder.publish(Comparison.load(tmp_path), tmp_path)
    after = contents(tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"traces.h5", "manifest.json"}  # HDF5 may lay equal content out differently


def test_drawing_again_keeps_png_where_there_is_some_and_makes_it_when_asked(tmp_path, specimen, quick):
    report.folder.publish(specimen, tmp_path)
    assert not list(tmp_path.glob("*.png"))
    report.folder.draw_again(tmp_path, png=True)
    assert [path.name for path in tmp_path.glob("*.png")] == ["cost.png"]
    report.folder.draw_again(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert "cost.png" in {entry["name"] for entry in manifest["runs"][0]["files"]}


@pytest.mark.parametrize("place", ["file", "file/deeper"])
def test_a_folder_below_a_file_is_refused_and_the_file_kept(tmp_path, specimen, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="file is a file, not a folder"):
        report.folder.publish(specimen, tmp_path / place)
    assert contents(tmp_path) == {"file": b"mine"}


def test_asking_whether_a_folder_can_be_written_makes_nothing(tmp_path):
    io.atomic.require_writable(tmp_path / "a" / "b")
    assert contents(tmp_path) == {}


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module.os, "access", lambda *_: False)  # the tests may run as a user who may do all
    with pytest.raises(CheckpointError, match="no permission to write"):
        io.atomic.require_writable(tmp_path / "a")


def test_a_full_disk_leaves_every_file_whole_and_the_old_report_in_place(
    tmp_path, specimen, troubled, quick, monkeypatch
):
    report.folder.publish(specimen, tmp_path)
    before = contents(tmp_path)

    def full(path, text):
        raise CheckpointError(f"cannot write {path}: No space left on device.")

    monkeypatch.setattr(folder_module, "write_text", full)
    with pytest.raises(CheckpointError, match="No space left"):
        report.folder.publish(troubled, tmp_path)
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    assert after["report.html"] == before["report.html"]
    (run,) = json.loads(after["manifest.json"])["runs"]
    assert not run["complete"]


def test_a_figure_that_cannot_be_drawn_costs_no_file(tmp_path, specimen, monkeypatch):
    def broken(comparison):
        raise ZeroDivisionError

    monkeypatch.setattr(plots, "FIGURES", {"cost": broken})
    with pytest.raises(ZeroDivisionError):
        report.folder.publish(specimen, tmp_path / "new")
    assert contents(tmp_path) == {}
