"""Results come back to the bit, and a file that lies costs an error and no memory."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io import Result, load_result, provenance

ARRAYS = {
    "float64": np.array([0.1, -0.0, np.nan, np.inf, 5e-324]),
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "float16": np.array([1.5, 65504], np.float16),
    "complex": np.array([1 + 2j, np.nan * 1j]),
    "int": np.array([[-(2**63), 2**63 - 1]]),
    "uint8": np.arange(256, dtype=np.uint8),
    "bool": np.array([True, False]),
    "number": np.array(3.25),
    "flag": np.array(False),
    "empty": np.empty((0, 3), np.float32),
    "hollow": np.empty((2, 0, 5)),
    "text": np.array(["x̄", "", "decorrelated"]),
    "bytes": np.array([b"a", b"bc"]),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(20.0)[::3],
    "big endian": np.array([1.5, 2.5], ">f8"),
    "x̄": np.ones(2),
    "παράδειγμα 例": np.ones(1),
}


def identical(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_to_the_bit(tmp_path, name):
    again = load_result(Result({name: ARRAYS[name]}).save(tmp_path / "r.npz")).arrays
    assert list(again) == [name] and identical(again[name], ARRAYS[name])
    assert again[name].flags.writeable and again[name].flags.aligned


@settings(max_examples=60, deadline=None)
@given(
    npst.arrays(
        st.sampled_from(["?", "i1", "<i8", ">u4", "f4", "f8", "c16", "U3", "S2"]).map(np.dtype),
        npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_any_array_comes_back_to_the_bit(tmp_path_factory, array):
    path = Result({"a": array}).save(tmp_path_factory.getbasetemp() / "any.npz")
    assert identical(load_result(path).arrays["a"], array)


def test_numpy_reads_the_same_arrays(tmp_path):
    path = Result(ARRAYS, {"a": 1}).save(tmp_path / "r.npz")
    with np.load(path, allow_pickle=False) as stored:
        assert sorted(stored.files) == sorted([*ARRAYS, "meta.json"])
        assert all(identical(stored[name], array) for name, array in ARRAYS.items())


def test_meta_comes_back(tmp_path):
    meta = {"provenance": provenance({"rate": 1e-3}, seed=1), "limited": 0, "bad": float("inf"), "x̄": [None, "é"]}
    assert load_result(Result({}, meta).save(tmp_path / "r.npz")).meta == meta


def test_equal_content_gives_equal_files(tmp_path):
    first = Result(ARRAYS, {"a": 1, "b": 2}).save(tmp_path / "1.npz")
    second = Result(dict(ARRAYS), {"b": 2, "a": 1}).save(tmp_path / "2.npz")
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_stands_for_the_result_in_it(tmp_path):
    Result({"a": 1.5}).save(tmp_path / "run" / "result.npz")
    assert load_result(tmp_path / "run").arrays["a"] == 1.5


def test_the_old_result_is_intact_when_saving_fails(tmp_path, monkeypatch):
    path = Result({"a": np.ones(3)}).save(tmp_path / "r.npz")
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        Result({"a": np.zeros(3)}).save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("arrays", "meta", "message"),
    [
        ({"a": np.array([object()])}, {}, "array 'a' must hold numbers.*got data of type object"),
        ({"a": np.zeros(2, "f8,i4")}, {}, "array 'a' must hold numbers"),
        ({"a": np.array(["2020"], "M8[D]")}, {}, "array 'a' must hold numbers"),
        ({"a": [[1], [2, 3]]}, {}, "array 'a' must be rectangular"),
        ({"a/b": 1}, {}, "must not contain '/'; got 'a/b'"),
        ({"..": 1}, {}, "without a leading dot"),
        ({"a\n": 1}, {}, r"must not contain '\\n'"),
        ({"": 1}, {}, "text of 1 to 200 bytes"),
        ({3: 1}, {}, "text of 1 to 200 bytes.*got 3"),
        ({"meta.json": 1}, {}, "taken by meta"),
        ({}, {"a": object()}, r"meta\['a'\] must be"),
        ([1], {}, "arrays and meta must be mappings"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(arrays, meta, message):
    with pytest.raises(InputError, match=message):
        Result(arrays, meta)


# Files that lie. Each is made by hand, starting from a good one.


THREE = np.arange(3.0)


def npy(array=THREE):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


def header(text, data=b"", version=b"\1\0"):
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text.encode() + data


def shaped(shape, descr="'<f8'", data=b"\0" * 24):
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", data)


DOCUMENT = npy(np.frombuffer(b'{"schema":"neurodecorr-result","version":1,"arrays":["a"],"meta":{}}', np.uint8))


def container(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, data in members:
            file.writestr(name, data)
    return stream.getvalue()


def with_array(data, **options):
    return container([("meta.json.npy", DOCUMENT), ("a.npy", data)], **options)


def with_document(text, name="meta.json.npy"):
    return container([(name, npy(np.frombuffer(text, np.uint8)))])


def forged_size(data, size):
    """Change the size of member a that the central directory declares."""
    at = data.rindex(b"PK\1\2")
    return data[: at + 24] + struct.pack("<I", size) + data[at + 28 :]


def doubled():
    """Give two members the same name."""
    data = container([("meta.json.npy", DOCUMENT), ("a.npy", npy()), ("b.npy", npy())])
    return data.replace(b"b.npy", b"a.npy")


def encrypted(data):
    at = data.rindex(b"PK\1\2")
    return data[: at + 8] + b"\1" + data[at + 9 :]


def huge_directory():
    """Claim a central directory of 40 MB, which the file does hold."""
    entries = b"\0" * 40_000_000
    return entries + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entries), 0, 0)


GOOD = with_array(npy())
HOSTILE = {
    "no zip": (b"not a zip file at all", "must be an undamaged .npz file"),
    "empty": (b"", "must be an undamaged .npz file"),
    "truncated": (GOOD[:-30], "must be an undamaged .npz file"),
    "cut in half": (GOOD[: len(GOOD) // 2], "must be an undamaged .npz file"),
    "flipped bit": (GOOD.replace(struct.pack("<d", 2.0), struct.pack("<d", 2.5)), "Bad CRC-32"),
    "pickled": (with_array(npy(np.array([object()]))), "must hold numbers.*object.*Never unpickled"),
    "bare pickle": (pickle.dumps(os.system), "must be an undamaged .npz file"),
    "structured": (with_array(npy(np.zeros(2, "f8,O"))), "must hold numbers"),
    "declares terabytes": (with_array(shaped("(500000000000,)")), "4000000000000 bytes; 24 are there"),
    "overflowing shape": (with_array(shaped("(4294967296, 4294967296)")), "bytes; 24 are there"),
    "negative shape": (with_array(shaped("(-3,)")), "must hold what its header says"),
    "two negatives": (with_array(shaped("(-3, -1)")), "must hold what its header says"),
    "zero-width text": (with_array(shaped("(1000000000000,)", "'<U0'", b"")), "must hold numbers"),
    "too little data": (with_array(shaped("(3,)", data=b"\0" * 23)), "is 24 bytes; 23 are there"),
    "too much data": (with_array(shaped("(3,)", data=b"\0" * 25)), "is 24 bytes; 25 are there"),
    "code in the header": (with_array(shaped("__import__('os').getcwd()")), "must be an undamaged .npz file"),
    "nested header": (with_array(shaped("(" * 4000)), "must be an undamaged .npz file"),
    "header too long": (with_array(header(" " * 20_000)), "must be an undamaged .npz file"),
    "format 3": (with_array(header("{}", version=b"\3\0")), "format 1.0 or 2.0 was expected; got 3.0"),
    "no array": (with_array(b"hello"), "must be an undamaged .npz file"),
    "size forged up": (forged_size(GOOD, 2**31), "must unpack to at most .* declares 2,147,483"),
    "size forged down": (forged_size(GOOD, 140), "Bad CRC-32"),
    "zip bomb": (
        forged_size(with_array(npy(np.zeros(10**5)), compression=zipfile.ZIP_DEFLATED), 2**32 - 2),
        "declares 4294967[0-9]* or more",
    ),
    "duplicate": (doubled(), "must name each member once; 'a' and 'a' are the same"),
    "path-like": (container([("../a.npy", npy())]), r"must hold plain names.*'\.\./a\.npy'"),
    "absolute": (container([("/etc/a.npy", npy())]), "must hold plain names"),
    "with a drive": (container([("c:a.npy", npy())]), "must hold plain names"),
    "not an array": (container([("a.py", b"print()")]), "must hold plain names"),
    "nameless": (container([(".npy", npy())]), "must hold plain names"),
    "lzma": (with_array(npy(), compression=zipfile.ZIP_LZMA), "must be stored or deflated"),
    "encrypted": (encrypted(GOOD), "and not encrypted"),
    "huge directory": (huge_directory(), "directory of at most 4194304 bytes was expected; it asks for 40000000"),
    "no document": (container([("a.npy", npy())]), r"must hold the member 'meta.json'; it holds \['a'\]"),
    "document of floats": (container([("meta.json.npy", npy())]), "must be bytes in a row; got float64"),
    "bad JSON": (with_document(b"{'a': 1}"), "meta.json must be JSON"),
    "not an object": (with_document(b"[]"), "must be a JSON object; got list"),
    "another schema": (with_document(b'{"schema":"x","version":1}'), "must have schema 'neurodecorr-result'.*got 'x'"),
    "a later version": (with_document(b'{"schema":"neurodecorr-result","version":2}'), "version 1; got.*version 2"),
    "an array lost": (container([("meta.json.npy", DOCUMENT)]), r"must hold the arrays \['a'\]; it holds \[\]"),
    "meta no object": (
        with_document(b'{"schema":"neurodecorr-result","version":1,"arrays":[],"meta":3}'),
        "meta must be a JSON object; got int",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_and_takes_no_memory(tmp_path, kind):
    data, message = HOSTILE[kind]
    path = tmp_path / "result.npz"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message) as caught:
            load_result(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    # What is there may be read; what is only claimed may not. 2 MB cover the interpreter's own work.
    assert peak < 2e6


def test_the_good_file_the_hostile_ones_start_from_is_good(tmp_path):
    (tmp_path / "result.npz").write_bytes(GOOD)
    assert load_result(tmp_path).arrays["a"].tolist() == [0, 1, 2]


def test_compressed_members_are_read(tmp_path):
    (tmp_path / "result.npz").write_bytes(with_array(npy(np.zeros(10**5)), compression=zipfile.ZIP_DEFLATED))
    assert load_result(tmp_path).arrays["a"].shape == (10**5,)


def test_the_limit_counts_what_members_unpack_to(tmp_path):
    (tmp_path / "result.npz").write_bytes(with_array(npy(np.zeros(10**5)), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match=r"500000 bytes; .*800.*max_bytes"):
        load_result(tmp_path, max_bytes=500_000)


@pytest.mark.parametrize("length", range(0, len(GOOD), 41))
def test_no_truncation_is_taken_for_a_result(tmp_path, length):
    path = tmp_path / "cut.npz"
    path.write_bytes(GOOD[:length])
    with pytest.raises(CheckpointError):
        load_result(path)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed_or_changes_nothing(tmp_path_factory, place, change):
    data = bytearray(GOOD)
    data[place] ^= change
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    path.write_bytes(data)
    try:
        result = load_result(path)
    except CheckpointError:
        return
    assert result.arrays["a"].tolist() == [0, 1, 2] and result.meta == {}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot read .*gone\.npz: No such file"):
        load_result(tmp_path / "gone.npz")
    with pytest.raises(CheckpointError, match=r"cannot read .*result\.npz: No such file"):
        load_result(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="not a regular file"):
        load_result(tmp_path / "pipe")
