"""A folder is replaced by another so that, whoever is killed when, one of them is found whole."""

import os
import subprocess
import sys

import pytest

from neurodecorr.io import archive
from neurodecorr.io.archive import atomic_folder, read_files

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be killed")

# One process that imports the library and forks a writer for each kill; it has no threads.
SETUP = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from neurodecorr.io import archive
from neurodecorr.io.archive import atomic_folder, read_files

top, exchange = Path(sys.argv[1]), sys.argv[2] == "exchange"
target = top / "folder"
if not exchange:
    archive._exchange = lambda one, other: False

def write(content):
    with atomic_folder(target, "a") as folder:
        for name in ("a", "b", "c"):
            (folder / name).write_bytes(content)

def require_whole(when):
    found = read_files(target)
    assert set(found) == {"a", "b", "c"} and len(set(found.values())) == 1, (when, found, os.listdir(top))
    return found["a"]

write(b"old")
"""
EACH_STEP = """
def dying(call, countdown):
    def counted(*args, **kwargs):
        countdown[0] -= 1
        if countdown[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return counted

killed = 0
for step in range(1, 200):
    child = os.fork()
    if child == 0:
        countdown = [step]
        calls = [(os, name) for name in ("unlink", "rmdir", "open", "fsync", "close")]
        for owner, name in [(Path, "rename"), (Path, "mkdir"), (archive, "_exchange"), *calls]:
            setattr(owner, name, dying(getattr(owner, name), countdown))
        write(b"new%d" % step)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    require_whole(step)
    if status == 0:
        break
    killed += os.WTERMSIG(status) == signal.SIGKILL
write(b"last")
assert require_whole("last") == b"last" and os.listdir(top) == ["folder"], os.listdir(top)
print(killed, step)
"""
AT_RANDOM = """
rng = random.Random(0)
contents = set()
for kill in range(int(sys.argv[3])):
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        while True:
            write(os.urandom(8))
            os.write(tell, b".")
    os.read(told, 1)  # it has replaced the folder once
    os.close(told)
    os.close(tell)
    time.sleep(rng.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    contents.add(require_whole(kill))
write(b"last")
assert require_whole("last") == b"last" and os.listdir(top) == ["folder"], os.listdir(top)
print(len(contents))
"""


def run(script, *arguments):
    command = [sys.executable, "-c", SETUP + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("way", ["exchange", "two steps"])
def test_a_writer_killed_at_any_step_leaves_the_older_folder_or_the_new_one(way, tmp_path):
    killed, steps = run(EACH_STEP, tmp_path, way)
    assert killed == steps - 1 >= 10


@pytest.mark.slow
@pytest.mark.parametrize("way", ["exchange", "two steps"])
def test_a_writer_killed_at_any_time_leaves_a_whole_folder(way, tmp_path):
    assert run(AT_RANDOM, tmp_path, way, 60) == [60]


EXPORT = """
import os, random, signal, sys, time
import numpy as np
from neurodecorr.circuit import Circuit
from neurodecorr.export.bundle import export_bundle, load_bundle

path, rng = sys.argv[1], random.Random(0)
def export(k):
    export_bundle(Circuit(np.diag([1.0, 2.0 + k])), np.ones(2), path)
began = time.monotonic()
export(0)
length = time.monotonic() - began
for kill in range(60):
    child = os.fork()
    if child == 0:
        export(kill + 1)
        export(kill + 2)
        os._exit(0)
    time.sleep(rng.uniform(0.3, 2.2) * length)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    load_bundle(path)
"""


@pytest.mark.slow
def test_a_bundle_is_there_after_each_of_sixty_kills(tmp_path):
    command = [sys.executable, "-c", EXPORT, str(tmp_path / "bundle")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


def write(target, content):
    with atomic_folder(target, "a") as folder:
        (folder / "a").write_bytes(content)


def test_where_names_cannot_be_exchanged_the_older_folder_is_found_and_gets_its_name_back(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    write(target, b"old")
    target.rename(tmp_path / ".folder.old")  # what a kill between two renames leaves
    assert read_files(target) == {"a": b"old"}
    with pytest.raises(KeyboardInterrupt), atomic_folder(target, "a"):
        raise KeyboardInterrupt
    assert read_files(target) == {"a": b"old"} and [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_is_being_filled_is_not_taken_for_abandoned(tmp_path):
    target = tmp_path / "folder"
    with atomic_folder(target, "a") as folder:
        (folder / "a").write_bytes(b"first")
        write(target, b"second")
        assert folder.is_dir()
    assert read_files(target) == {"a": b"first"}
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_folders_of_others_are_left_alone(tmp_path):
    for name in (".folder.old-backup", ".other.0123.tmp", "folder.tmp"):
        (tmp_path / name).mkdir()
    write(tmp_path / "folder", b"new")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is of Linux")
def test_two_names_are_exchanged_at_once(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    assert archive._exchange(tmp_path / "a", tmp_path / "b")
    assert [(tmp_path / name / "file").read_text() for name in "ab"] == ["b", "a"]
    assert not archive._exchange(tmp_path / "a", tmp_path / "absent")
