"""A file whose writer was killed is shown as closed: the same bytes but for a superblock that says so."""

import os
import struct

import h5py
import numpy as np
import pytest

from neurodecorr.errors import CheckpointError
from neurodecorr.io.hdf5_files import SIZE, ClosedView, checksum, left_open


@pytest.fixture
def abandoned(tmp_path):
    """A copy of a file while its writer has it open."""
    path = tmp_path / "open.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("a", data=np.arange(5.0))
        file.swmr_mode = True
        file.flush()
        (tmp_path / "copy.h5").write_bytes(path.read_bytes())
    return tmp_path / "copy.h5"


def test_the_checksum_agrees_with_the_published_one():
    # Bob Jenkins, lookup3.c, driver5: hashlittle("Four score and seven years ago", 30, 0).
    assert checksum(b"Four score and seven years ago") == 0x17770551


@pytest.mark.parametrize("entries", [0, 1, 50])
def test_the_checksum_agrees_with_the_one_in_a_file(tmp_path, entries):
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        for index in range(entries):
            file.create_group(str(index))
    head = (tmp_path / "a.h5").read_bytes()[:SIZE]
    assert checksum(head[:44]) == struct.unpack_from("<I", head, 44)[0]


def test_only_a_file_that_was_not_closed_counts_as_left_open(abandoned):
    head = abandoned.read_bytes()[:SIZE]
    assert left_open(head)
    assert not left_open(head[:20]) and not left_open(b"") and not left_open(b"not HDF5" * 10)
    assert not left_open(abandoned.with_name("open.h5").read_bytes()[:SIZE])


def test_hdf5_refuses_the_file_and_reads_the_view(abandoned):
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(abandoned, "r")
    with ClosedView(abandoned) as view, h5py.File(view, "r") as file:
        assert file["a"][:].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("start", [0, 5, 11, 30, 47, 48, 200])
@pytest.mark.parametrize("length", [1, 6, 40, 48, 100])
def test_the_view_differs_in_the_superblock_only(abandoned, start, length):
    raw = abandoned.read_bytes()
    buffer = bytearray(length)
    with ClosedView(abandoned) as view:
        view.seek(start)
        count = view.readinto(buffer)
        assert view.tell() == start + count
    expected = bytearray(raw)
    expected[11] = 0
    expected[28:36] = struct.pack("<Q", len(raw))
    expected[44:48] = struct.pack("<I", checksum(bytes(expected[:44])))
    assert bytes(buffer[:count]) == bytes(expected[start : start + length])
    assert abandoned.read_bytes() == raw


def test_the_end_of_the_file_is_where_it_is(abandoned):
    with ClosedView(abandoned) as view:
        assert view.seek(0, os.SEEK_END) == abandoned.stat().st_size


def test_a_damaged_superblock_is_not_repaired(abandoned):
    data = bytearray(abandoned.read_bytes())
    data[40] ^= 1
    abandoned.write_bytes(data)
    with pytest.raises(CheckpointError, match="its superblock is damaged"):
        ClosedView(abandoned)
