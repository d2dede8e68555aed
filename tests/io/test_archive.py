"""Folders and zip files that appear whole or not at all, and are read without being trusted."""

import stat
import struct
import zipfile

import numpy as np
import pytest

from neurodecorr.errors import CheckpointError
from neurodecorr.io import load_result
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
