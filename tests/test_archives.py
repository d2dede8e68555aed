"""Archives of unknown origin: a name twice, a name that leads out, and what unpacks to far more than it is."""

import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from neurodecorr.data import load_inputs, read_idx
from neurodecorr.data.files import array_shapes, read_arrays, read_bytes, read_members
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io import Result, load_result
from neurodecorr.io.archive import read_files
from neurodecorr.io.json import read_json


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return path


ONE, TWO = npy(np.ones((9, 4))), npy(np.zeros((9, 4)))


@pytest.mark.parametrize(
    "names",
    [
        ("X.npy", "X.npy"),
        ("X.npy", "X"),
        ("x.npy", "X.npy"),
        ("\u00e9.npy", "e\u0301.npy"),
        ("X.npy", "y", "X.npy"),
    ],
    ids=str,
)
def test_data_whose_names_come_twice_are_refused(tmp_path, names):
    path = zipped(tmp_path / "d.npz", [(name, ONE if k else TWO) for k, name in enumerate(names)])
    for read in (array_shapes, read_arrays, load_inputs):
        with pytest.raises(InputError, match="name each member once"):
            read(path)


@pytest.mark.parametrize("name", ["../X.npy", "/X.npy", "a/../../X.npy", "C:\\X.npy", "..\\X.npy"])
def test_data_whose_names_lead_out_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="plain names"):
        read_arrays(zipped(tmp_path / "d.npz", [(name, ONE)]))


def test_results_and_bundles_with_a_name_twice_are_refused(tmp_path):
    whole = Result({"R": np.eye(2)}).save(tmp_path / "r.npz")
    with zipfile.ZipFile(whole) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with pytest.raises(CheckpointError, match="once"):
        load_result(zipped(tmp_path / "twice.npz", [*members, members[-1]]))
    for pair in (("a", "a"), ("a", "A"), ("d/\u00e9", "d/e\u0301")):
        with pytest.raises(CheckpointError, match="once"):
            read_files(zipped(tmp_path / "b.zip", [(name, b"1") for name in pair]))


def packed(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_tar_archive_that_holds_a_file_twice_or_leads_out_is_refused(tmp_path):
    assert read_members(packed(tmp_path / "a.tar.gz", [("d/x", b"1"), ("d/y", b"2")]), {"x"}, 9) == {"x": b"1"}
    for other in ("x", "d/x", "e/x"):
        with pytest.raises(InputError, match="must hold x once"):
            read_members(packed(tmp_path / "b.tar.gz", [("d/x", b"1"), (other, b"2")]), {"x"}, 9)
    for other in ("../x", "/x", "d/../../x", "..\\x"):
        with pytest.raises(InputError, match="plain names"):
            read_members(packed(tmp_path / "c.tar.gz", [(other, b"1")]), {"x"}, 9)


def test_json_that_names_a_key_twice_is_refused():
    assert read_json(b'{"a": 1, "b": {"a": 2}}', "it") == {"a": 1, "b": {"a": 2}}
    for text in ('{"a": 1, "a": 2}', '{"b": [{"a": 1, "a": 1}]}'):
        assert json.loads(text)
        with pytest.raises(CheckpointError, match="'a' comes twice"):
            read_json(text.encode(), "it")


ZEROS = np.zeros(90_000_000, np.uint8)


def peak(read, path, error):
    tracemalloc.start()
    try:
        with pytest.raises(error, match="64 MiB and a hundred times"):
            read(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_small_file_that_unpacks_to_much_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, X=ZEROS.reshape(1_000_000, 90))
    assert path.stat().st_size < 200_000
    for read in (load_inputs, read_arrays):
        assert peak(read, path, InputError) < 20e6
    assert peak(load_result, path, CheckpointError) < 20e6
    bomb = zipped(tmp_path / "b.zip", [("a", ZEROS.tobytes())], zipfile.ZIP_DEFLATED)
    assert peak(read_files, bomb, CheckpointError) < 20e6


def test_packed_streams_end_where_they_are_taken_for_bombs(tmp_path):
    content = bytes([0, 0, 8, 1]) + len(ZEROS).to_bytes(4, "big") + ZEROS.tobytes()
    (tmp_path / "x.gz").write_bytes(gzip.compress(content, 6))
    (tmp_path / "x.xz").write_bytes(lzma.compress(content, preset=0))
    for read, name in (
        (read_idx, "x.gz"),
        (lambda path: read_bytes(path, 2**28), "x.gz"),
        (lambda path: read_bytes(path, 2**28), "x.xz"),
    ):
        with pytest.raises(InputError, match="64 MiB and a hundred times"):
            read(tmp_path / name)


def test_data_that_pack_well_but_are_small_are_read(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", X=np.zeros((1000, 1000)))
    assert read_arrays(tmp_path / "d.npz")["X"].shape == (1000, 1000)
