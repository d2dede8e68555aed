"""Folders and zip files that appear whole or not at all, and are read without being trusted."""

import os
import stat
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from neurodecorr.errors import CheckpointError
from neurodecorr.io import archive, load_result
from neurodecorr.io.archive import atomic_folder, read_files, write_zip

FILES = {"a.csv": b"1,2\n", "layer0/b.bin": bytes(range(256)) * 40}


def write_folder(path, files=None):
    with atomic_folder(path, "a.csv") as folder:
        for name, data in (files or FILES).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)


def forged(path, name, data=b"x", mode=0o100644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr(info, data)
    return path


def test_files_come_back_to_the_bit_from_folder_and_zip(tmp_path):
    write_folder(tmp_path / "folder")
    write_zip(tmp_path / "one.zip", FILES)
    assert read_files(tmp_path / "folder") == read_files(tmp_path / "one.zip") == FILES


def test_equal_content_gives_equal_zip_files(tmp_path):
    write_zip(tmp_path / "one.zip", FILES)
    write_zip(tmp_path / "two.zip", FILES)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_an_interrupted_folder_leaves_nothing_and_the_older_one_stays(tmp_path):
    write_folder(tmp_path / "folder")
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "folder", "a.csv") as folder:
        (folder / "a.csv").write_bytes(b"half")
        raise KeyboardInterrupt
    assert read_files(tmp_path / "folder") == FILES
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_failed_exchange_brings_the_older_folder_back(tmp_path, monkeypatch):
    write_folder(tmp_path / "folder")
    rename = type(tmp_path).rename

    def failing(self, target):
        if self.name.endswith(".tmp"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr("neurodecorr.io.archive._exchange", lambda one, other: False)
    monkeypatch.setattr(type(tmp_path), "rename", failing)
    with pytest.raises(CheckpointError, match="No space left"):
        write_folder(tmp_path / "folder", {"a.csv": b"new"})
    assert read_files(tmp_path / "folder") == FILES


def test_an_older_folder_is_replaced_whole(tmp_path):
    write_folder(tmp_path / "folder")
    write_folder(tmp_path / "folder", {"a.csv": b"new"})
    assert read_files(tmp_path / "folder") == {"a.csv": b"new"}


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds other files and no a\.csv"):
        write_folder(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/../b", "C:\\a", "a\\b", ".hidden", "a//b", "a/b/c/d", "a\nb", "a/"]
)
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match="plain names"):
        read_files(forged(tmp_path / "x.zip", name))
    with pytest.raises(CheckpointError, match="plain names"):
        write_zip(tmp_path / "y.zip", {name: b"x"})


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644], ids=["link", "pipe"])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode):
    with pytest.raises(CheckpointError, match="link or a device"):
        read_files(forged(tmp_path / "x.zip", "R.csv", b"/etc/passwd", mode))


def test_links_in_a_folder_are_refused(tmp_path):
    write_folder(tmp_path / "folder")
    (tmp_path / "secret").write_text("key")
    (tmp_path / "folder" / "R.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match=r"R\.csv is a link"):
        read_files(tmp_path / "folder")


def test_two_names_that_a_file_system_may_take_for_one_are_refused(tmp_path):
    write_zip(tmp_path / "x.zip", {"R.csv": b"1", "r.CSV": b"2"})
    with pytest.raises(CheckpointError, match="are the same"):
        read_files(tmp_path / "x.zip")


def test_a_bomb_is_refused_before_memory_is_taken(tmp_path):
    write_zip(tmp_path / "x.zip", {"zeros": bytes(10**7)})
    assert (tmp_path / "x.zip").stat().st_size < 20_000
    with pytest.raises(CheckpointError, match=r"at most 1000000 bytes; it declares 10000000"):
        read_files(tmp_path / "x.zip", max_bytes=10**6)


def test_a_declared_size_that_the_bytes_cannot_hold_is_refused(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"zeros": bytes(100)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # the uncompressed size in the directory
    data[at : at + 4] = struct.pack("<I", 2**30)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="must unpack to at most"):
        read_files(path, max_bytes=2**31)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_zip_files_are_refused(tmp_path, share):
    path = write_zip(tmp_path / "x.zip", FILES)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="undamaged zip"):
        read_files(path)


def test_both_readers_of_zip_files_say_the_same_of_damage_and_of_size(tmp_path):
    def said(reader, path, limit):
        with pytest.raises(CheckpointError) as caught:
            reader(path, max_bytes=limit)
        return str(caught.value)

    readers, path = (("zip file", read_files), (".npz file", load_result)), tmp_path / "x.npz"
    path.write_bytes(b"PK" + bytes(200))
    for kind, read in readers:
        damage = f"must be an undamaged {kind}; BadZipFile: File is not a zip file."
        assert said(read, path, 1000) == f"{path} {damage} It may be truncated, or no {kind} at all."
    np.savez(path, a=np.zeros(100))
    sizes = {said(read, path, 100) for _, read in readers}
    assert len(sizes) == 1 and "at most 100 bytes; it declares 928 or more" in sizes.pop()


def test_what_is_not_there_or_no_zip_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot read"):
        read_files(tmp_path / "nothing.zip")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(CheckpointError, match="undamaged zip"):
        read_files(tmp_path / "text.zip")


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
