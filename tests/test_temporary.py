"""Files under temporary names: of the living they stay, of the dead they go."""

import os
import signal
import subprocess
import sys
import time

import h5py
import pytest

from neurodecorr.io.atomic import atomic_path, temporary_beside, write_text

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of files are those of POSIX")
WRITER = """
import sys, time
from pathlib import Path
from neurodecorr.io.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(100)
"""


def writing(path):
    """Start a process that is in the middle of a file."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_what_a_killed_writer_left_is_removed_by_the_next_and_what_a_living_one_has_stays(tmp_path):
    dead, alive = writing(tmp_path / "result.npz"), writing(tmp_path / "curves.svg")
    try:
        dead.kill()
        dead.communicate()
        assert len(hidden(tmp_path)) == 4
        for _ in range(2):
            write_text(tmp_path / "table.csv", "new")
            assert [name.split(".")[1] for name in hidden(tmp_path)] == ["curves", "curves"]
        alive.kill()
        alive.communicate()
        write_text(tmp_path / "result.npz", "new")
        assert hidden(tmp_path) == []
    finally:
        alive.kill()
        alive.wait()


def test_files_of_other_programs_and_folders_stay(tmp_path):
    names = [
        ".hidden.tmp",
        ".a.b.tmp",
        ".x.0123456789ab",
        "y.0123456789ab.tmp",
        ".0123456789ab.tmp",
    ]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".folder.0123456789ab.tmp").mkdir()
    write_text(tmp_path / "a.txt", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", ".folder.0123456789ab.tmp", *names}


def test_what_an_older_version_left_is_removed(tmp_path):
    (tmp_path / ".result.0123456789ab.tmp.npz").write_text("half")
    (tmp_path / ".result.0123456789ac.lock").write_text("")
    write_text(tmp_path / "a.txt", "new")
    assert hidden(tmp_path) == []


def test_writers_of_one_process_do_not_take_each_other_s_files(tmp_path):
    with atomic_path(tmp_path / "a.txt") as first, atomic_path(tmp_path / "a.txt") as second:
        first.write_text("first")
        second.write_text("second")
        write_text(tmp_path / "b.txt", "third")
        assert first.read_text() == "first" and second.read_text() == "second"
    assert (tmp_path / "a.txt").read_text() == "first" and hidden(tmp_path) == []


def test_a_library_that_locks_its_files_can_write_one(tmp_path):
    with atomic_path(tmp_path / "a.h5") as temporary, h5py.File(temporary, "w") as file:
        file["x"] = 1
        write_text(tmp_path / "b.txt", "meanwhile")
    assert h5py.File(tmp_path / "a.h5")["x"][()] == 1


def test_nothing_is_left_by_a_block_that_raises_or_is_interrupted(tmp_path):
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), temporary_beside(tmp_path / "a.txt"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_a_training_run_removes_what_a_killed_one_left(tmp_path):
    options = ["--epochs", "8", "--batch", "20", "--every", "1"]
    command = [sys.executable, "-m", "neurodecorr", "train", "digits", *options]
    command += ["--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (tmp_path / "checkpoint.npz").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    (tmp_path / ".checkpoint.0123456789ab.tmp.npz").write_bytes(b"half")
    done = subprocess.run([*command, "--resume"], capture_output=True, check=False, timeout=200, env=dict(os.environ))
    assert done.returncode == 0 and hidden(tmp_path) == [], done.stderr
