"""A file that is written whole is there whole, or the older one is untouched."""

import errno
import json
import os
import resource
import stat
import subprocess
import sys

import pytest

from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io.atomic import atomic_path, write_atomically, write_bytes, write_json, write_text

OLD = "the older file"
WRITERS = {
    "text": lambda path: write_text(path, "new"),
    "bytes": lambda path: write_bytes(path, b"new"),
    "json": lambda path: write_json(path, {"new": 1}),
}


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text(OLD)
    return path


def untouched(path):
    """The old content is there, and no temporary file beside it."""
    return path.read_text() == OLD and [file.name for file in path.parent.iterdir()] == [path.name]


def test_text_comes_back_as_it_was_written(tmp_path):
    text = "x̄ = R⁻¹x\r\nsecond line\n\n"
    path = write_text(tmp_path / "note.txt", text)
    assert path.read_bytes() == text.encode("utf-8")


def test_bytes_come_back_as_they_were_written(tmp_path):
    data = bytes(range(256)) * 1000
    assert write_bytes(tmp_path / "data", data).read_bytes() == data


def test_json_comes_back_and_not_finite_numbers_are_spelt_out(tmp_path):
    path = write_json(tmp_path / "m.json", {"x̄": [1.5, None, True], "bad": [float("nan"), float("-inf")]})

    def refuse(token):
        raise AssertionError(token)

    assert json.loads(path.read_text("utf-8"), parse_constant=refuse) == {
        "x̄": [1.5, None, True],
        "bad": ["NaN", "-Infinity"],
    }


def test_missing_folders_are_made(tmp_path):
    assert write_text(tmp_path / "a" / "b" / "c.txt", "deep").read_text() == "deep"


def test_the_temporary_path_keeps_the_suffix_so_that_formats_are_recognised(tmp_path):
    with atomic_path(tmp_path / "figure.svg") as temporary:
        assert temporary.suffix == ".svg" and temporary.parent == tmp_path and temporary.exists()


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".svg")
    write_text(path, "long")
    assert path.read_text() == "long"


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), OSError("boom")])
def test_the_old_file_is_intact_when_the_block_raises(target, error):
    with pytest.raises(type(error)), write_atomically(target) as file:
        file.write("half of the n")
        file.flush()
        raise error
    assert untouched(target)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_the_old_file_is_intact_when_the_disk_is_full_at_the_last_moment(target, writer, call, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(CheckpointError, match=r"file\.txt: .*unchanged") as caught:
        writer(target)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert untouched(target)


def test_the_old_file_is_intact_when_writing_itself_fails(target):
    # A limit on the size of files makes the write fail in the middle, as a full disk would.
    code = (
        "import resource, sys\n"
        "from neurodecorr.io.atomic import write_bytes\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, {resource.RLIM_INFINITY}))\n"
        "write_bytes(sys.argv[1], bytes(100_000))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "CheckpointError: cannot write" in done.stderr and "File too large" in done.stderr
    assert untouched(target)


def test_a_parent_that_is_a_file_is_named(target):
    with pytest.raises(CheckpointError, match=r"file\.txt is a file, not a folder"):
        write_text(target / "deeper" / "new.txt", "new")
    assert untouched(target)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(CheckpointError, match="it is a folder"):
        write_text(tmp_path, "new")


def test_a_folder_without_permission_is_named(target, monkeypatch):
    # Stands for chmod 0500, which does not stop root.
    def forbidden(path, *_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(CheckpointError, match=r"cannot write .*file\.txt: Permission denied"):
        write_text(target, "new")
    monkeypatch.undo()
    assert untouched(target)


def test_an_error_about_another_file_passes_unchanged(target):
    with pytest.raises(FileNotFoundError, match="elsewhere"), write_atomically(target):
        (target.parent / "elsewhere").read_text()
    assert untouched(target)


def test_permissions_of_the_old_file_are_kept(target):
    target.chmod(0o640)
    write_text(target, "new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_of_a_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "new", "new")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_symbolic_link_stays_one_and_its_target_is_replaced(target):
    link = target.with_name("link")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"


def test_an_unknown_mode_is_refused(target):
    with pytest.raises(ConfigError, match="mode must be one of 'w', 'wb'; got 'a'"), write_atomically(target, "a"):
        pass
    assert untouched(target)


def test_what_json_has_no_form_for_is_named(target):
    with pytest.raises(InputError, match=r"file\.txt\['a'\]\[1\] .*object"):
        write_json(target, {"a": [1, object()]})
    assert untouched(target)
