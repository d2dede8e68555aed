"""Output folders: what is there is replaced only if that was asked for."""

import json
import os

import pytest

from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io import claims as module
from neurodecorr.io.claims import claim
from neurodecorr.io.manifest import content_hash, read_manifest

MAKES = ("page.html", "*.svg", "deep/*")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def make(folder, settings, *, kind="picture", files=("page.html", "a.svg"), finish=True, **options):
    """Claim a folder, write files that name the settings, and list them."""
    mine = claim(folder, kind, settings, makes=MAKES, **options)
    if mine.done:
        return mine
    mine.begin()
    for name in files:
        path = mine.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{kind} {name} {settings}")
    if finish:
        mine.finish([mine.folder / name for name in files])
    return mine


def test_claiming_writes_nothing(tmp_path):
    assert claim(tmp_path / "a" / "b", "picture", {}, makes=MAKES).state == "new"
    assert contents(tmp_path) == {} and list(tmp_path.iterdir()) == []


def test_the_same_run_is_done_and_nothing_is_written(tmp_path):
    make(tmp_path, {"size": 8, "rate": 1e-3})
    before = contents(tmp_path)
    assert make(tmp_path, {"rate": 0.001, "size": 8}).done
    assert contents(tmp_path) == before


def test_a_run_of_other_settings_is_refused_and_the_one_there_is_named(tmp_path):
    make(tmp_path, {"size": 8, "rate": 1e-3})
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match=r"size 8, .*size 1\..*--overwrite"):
        make(tmp_path, {"size": 1, "rate": 1e-3})
    assert contents(tmp_path) == before


def test_a_run_of_another_kind_is_refused(tmp_path):
    make(tmp_path, {"size": 8})
    with pytest.raises(CheckpointError, match=r"a picture \(size 8\)"):
        make(tmp_path, {"size": 8}, kind="song")


def test_another_version_of_the_package_makes_another_run(tmp_path, monkeypatch):
    make(tmp_path, {"size": 8})
    monkeypatch.setattr(module, "package_version", lambda name: "99.0")
    with pytest.raises(CheckpointError, match="another version"):
        make(tmp_path, {"size": 8})


def test_overwriting_removes_the_old_run_and_what_was_made_from_it_and_nothing_else(tmp_path):
    first = make(tmp_path, {"size": 8}, files=("page.html", "a.svg", "deep/b"))
    make(tmp_path, {"bits": 4}, kind="price", files=("price.html",), source=first.identity)
    (tmp_path / "mine.txt").write_text("mine")
    make(tmp_path, {"size": 1}, files=("page.html",), overwrite=True)
    assert set(contents(tmp_path)) == {"page.html", "mine.txt", "manifest.json"}
    assert [run.settings for run in read_manifest(tmp_path)] == [{"size": 1}]


def test_what_is_made_from_a_run_stays_beside_it_and_replaces_only_its_like(tmp_path):
    first = make(tmp_path, {"size": 8})
    make(tmp_path, {"bits": 4}, kind="price", files=("price.html",), source=first.identity)
    make(tmp_path, {"to": "csv"}, kind="table", files=("table.csv",), source=first.identity)
    with pytest.raises(CheckpointError, match="a price of bits 4, where now bits 6"):
        make(tmp_path, {"bits": 6}, kind="price", files=("price.html",), source=first.identity)
    make(tmp_path, {"bits": 6}, kind="price", files=("price.html",), source=first.identity, overwrite=True)
    assert sorted(run.kind for run in read_manifest(tmp_path)) == ["picture", "price", "table"]
    assert make(tmp_path, {"size": 8}).done


def test_files_that_nobody_listed_are_refused_if_they_would_be_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    make(tmp_path, {"size": 8})
    other = tmp_path / "other"
    other.mkdir()
    (other / "figure.svg").write_text("mine")
    with pytest.raises(CheckpointError, match=r"figure\.svg, of which no manifest"):
        make(other, {"size": 8})
    assert contents(other) == {"figure.svg": b"mine"}


def test_a_file_that_was_changed_is_not_done_is_refused_and_survives_an_overwrite(tmp_path):
    make(tmp_path, {"size": 8})
    (tmp_path / "a.svg").write_text("edited by hand")
    with pytest.raises(CheckpointError, match=r"a\.svg changed since"):
        make(tmp_path, {"size": 8})
    make(tmp_path, {"size": 1}, files=("page.html",), overwrite=True)
    assert (tmp_path / "a.svg").read_text() == "edited by hand"


def test_a_run_that_was_stopped_is_unfinished_and_goes_on(tmp_path):
    make(tmp_path, {"size": 8}, finish=False)
    assert claim(tmp_path, "picture", {"size": 8}, makes=MAKES).state == "unfinished"
    with pytest.raises(CheckpointError, match=r"unfinished .*size 8, .*size 1"):
        make(tmp_path, {"size": 1})
    make(tmp_path, {"size": 8})
    assert make(tmp_path, {"size": 8}).done


def test_a_run_that_lost_a_file_is_unfinished(tmp_path):
    make(tmp_path, {"size": 8})
    (tmp_path / "a.svg").unlink()
    assert not claim(tmp_path, "picture", {"size": 8}, makes=MAKES).done


def test_overwriting_a_stopped_run_removes_what_it_had_written(tmp_path):
    make(tmp_path, {"size": 8}, files=("page.html", "old.svg", "deep/old"), finish=False)
    (tmp_path / "mine.txt").write_text("mine")
    make(tmp_path, {"size": 1}, files=("page.html",), overwrite=True)
    assert set(contents(tmp_path)) == {"page.html", "mine.txt", "manifest.json"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: run["files"].append({"name": "../outside", "bytes": 1, "sha256": ""}),
        lambda run: run["files"].append({"name": "/etc/passwd", "bytes": 1, "sha256": ""}),
        lambda run: run["files"].append({"name": 3, "bytes": 1, "sha256": ""}),
        lambda run: run.update(settings="all"),
        lambda run: run.update(complete="yes"),
        lambda run: run.pop("identity"),
        lambda run: run.update(source=7),
    ],
)
def test_a_damaged_or_hostile_manifest_is_refused(tmp_path, damage):
    make(tmp_path, {"size": 8})
    document = json.loads((tmp_path / "manifest.json").read_text())
    damage(document["runs"][0])
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match=r"manifest\.json must be a manifest"):
            claim(tmp_path, "picture", {"size": 8}, overwrite=overwrite)


def test_a_link_never_leads_a_removal_out_of_the_folder(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    make(folder, {"size": 8}, files=("page.html", "deep/b"))
    outside.mkdir()
    (folder / "deep" / "b").rename(outside / "b")
    (folder / "deep").rmdir()
    (folder / "deep").symlink_to(outside)
    make(folder, {"size": 1}, files=("page.html",), overwrite=True)
    assert (outside / "b").is_file()


def test_a_file_outside_the_folder_is_not_listed(tmp_path):
    mine = claim(tmp_path / "folder", "picture", {})
    (tmp_path / "stray").write_text("")
    with pytest.raises(InputError):
        mine.finish([tmp_path / "stray"])


def test_a_hash_follows_the_content_and_not_the_path(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "x.png").write_bytes(b"1")
        (tmp_path / name / "deep" / "y.png").write_bytes(b"2")
    monkeypatch.chdir(tmp_path / "a")
    one = content_hash(tmp_path / "a")
    assert one == content_hash("../a") == content_hash(tmp_path / "b")
    (tmp_path / "a" / "deep" / "y.png").write_bytes(b"3")
    assert content_hash("../a") != one
    assert content_hash("x.png") == content_hash(tmp_path / "b" / "x.png")


def test_a_pipe_or_nothing_has_no_content(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "nothing"):
        with pytest.raises(InputError):
            content_hash(tmp_path / name)


def test_what_lies_behind_a_link_to_a_folder_is_part_of_the_content_and_a_loop_ends(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("one")
    (tmp_path / "data" / "raw").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    before = content_hash(tmp_path / "data")
    (tmp_path / "elsewhere" / "a").write_text("two")
    assert content_hash(tmp_path / "data") != before
