"""Array files of unknown origin: good ones are read as numpy reads them, bad ones cost an InputError and no memory."""

import io
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import files, load_inputs, load_split
from neurodecorr.errors import ConfigError, InputError

X = np.arange(6.0).reshape(2, 3)


def npy(array=X, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def forged(shape, descr="<f8", version=1, data=b"\0" * 48):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.npy"


@pytest.mark.parametrize("kind", ["<f8", ">f4", "<f2", "u1", ">u2", "<i8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("compressed", [None, np.savez, np.savez_compressed])
def test_numeric_arrays_are_read_as_numpy_reads_them(path, kind, order, compressed):
    array = np.asarray(X, dtype=kind, order=order)
    if compressed is None:
        np.save(path, array)
    else:
        with path.open("wb") as stream:
            compressed(stream, array, y=array[0])
    found = files.read_arrays(path)
    assert found["arr_0"].dtype == array.dtype
    assert np.array_equal(found["arr_0"], array)
    assert files.array_shapes(path) == {"arr_0": (2, 3), **({"y": (3,)} if compressed else {})}


def test_only_the_named_members_are_read(path):
    with path.open("wb") as stream:
        np.savez(stream, inputs=X, names=np.array(["a", "b"]), objects=np.array([None, {}], dtype=object))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", "{}")
    assert files.array_shapes(path) == {"inputs": (2, 3), "names": (2,), "objects": (2,)}
    assert np.array_equal(files.read_arrays(path, ["inputs"])["inputs"], X)
    with pytest.raises(InputError, match=r"\['names'\] .*<U1"):
        files.read_arrays(path)
    with pytest.raises(InputError, match="Objects need unpickling, which can run code"):
        files.read_arrays(path, ["objects"])


def test_a_symbolic_link_is_followed(path, tmp_path):
    np.save(tmp_path / "real.npy", X)
    path.symlink_to(tmp_path / "real.npy")
    assert np.array_equal(files.read_arrays(path)["arr_0"], X)


class Trap:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_nothing_is_unpickled(path, tmp_path):
    target = tmp_path / "sprung"
    trap = np.array([Trap(target)], dtype=object)
    for content in (npy(trap, allow_pickle=True), pickle.dumps(Trap(target))):
        path.write_bytes(content)
        with pytest.raises(InputError):
            files.read_arrays(path)
        assert not target.exists()
    np.load(io.BytesIO(npy(trap, allow_pickle=True)), allow_pickle=True)
    assert target.exists()  # the trap was live


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "readable array header"),
        (b"plain text", "readable array header"),
        (npy()[:20], "readable array header"),
        (npy()[:-1], r"truncated: its header claims shape \(2, 3\), but 1 bytes are missing"),
        (forged((10**15,)), r"at most 536,870,912 entries; its header claims shape \(1000000000000000,\)"),
        (forged((2**28, 1)), "truncated.*bytes are missing"),
        (forged((10**9, 10**9, 10**9)), "must hold at most"),
        (forged((0, 10**30)), "must hold at most"),
        (forged((-2, -3)), "must hold at most"),
        (forged((10**15,), version=2), "must hold at most"),
        (forged((2,), version=3), "structured arrays"),
        (forged((2,), "|O"), "Objects need unpickling"),
        (forged((2,), "<c16"), "got data of type complex128"),
        (forged((2,), "<M8[s]"), "real numbers"),
        (forged((2,), [("a", "<f8"), ("b", "|O")]), "Objects need unpickling"),
        (forged((2,), "no type"), "readable array header"),
        (forged("two"), "readable array header"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000, "readable array header"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 99, "readable array header"),
    ],
)
def test_a_bad_file_is_refused_before_memory_is_asked_for(path, content, message):
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=message):
        files.read_arrays(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e7  # parsing 10 kB of header costs up to 3 MB


def zipped(content, name="inputs.npy", method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def test_members_of_a_zip_are_checked_like_files(path):
    for content in (forged((10**15,)), forged((7,)), npy(np.array([{}], dtype=object), allow_pickle=True), b"text"):
        path.write_bytes(zipped(content))
        with pytest.raises(InputError, match=r"x.npy\['inputs'\]"):
            files.read_arrays(path)


def test_a_bomb_of_many_members_is_refused_by_their_sum(path, monkeypatch):
    monkeypatch.setattr(files, "MOST_ENTRIES", 1000)
    with path.open("wb") as stream:
        np.savez_compressed(stream, a=np.zeros(600), b=np.zeros(600))
    assert len(files.read_arrays(path, ["a"])["a"]) == 600
    with pytest.raises(InputError, match=r"\['b'\] must hold at most 400 entries"):
        files.read_arrays(path)


def test_a_truncated_or_damaged_zip_is_refused(path):
    good = zipped(npy(np.random.default_rng(0).random(1000)))
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 255
    for content in (good[:-1], good[: len(good) // 2], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.npy"):
            files.read_arrays(path)


def test_an_encrypted_member_is_refused(path):
    content = bytearray(zipped(npy()))
    content[6] |= 1  # general purpose bit 0 of the local header
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"x.npy .*encrypted"):
        files.read_arrays(path)


@settings(deadline=None, max_examples=400)
@given(
    zip_it=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_any_change_of_bytes_gives_an_array_or_an_input_error(tmp_path_factory, zip_it, changes):
    content = bytearray(zipped(npy()) if zip_it else npy())
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "mutant.npy"
    path.write_bytes(bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns about headers in the style of Python 2
        try:
            for array in files.read_arrays(path).values():
                assert array.dtype.kind in "fiub"
        except InputError as error:
            assert "mutant.npy" in str(error)


@pytest.mark.parametrize("make", ["folder", "pipe", "nothing"])
def test_what_is_no_file_is_refused(path, make):
    if make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError, match="cannot read"):
        files.read_arrays(path)


RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((400, 5))
PICTURE = RNG.integers(0, 256, (48, 64)).astype(np.uint8)


def saved(tmp_path, name="x", **arrays):
    if set(arrays) == {"alone"}:
        np.save(tmp_path / f"{name}.npy", arrays["alone"])
        return tmp_path / f"{name}.npy"
    np.savez(tmp_path / f"{name}.npz", **arrays)
    return tmp_path / f"{name}.npz"


@pytest.mark.parametrize(
    "arrays",
    [
        {"alone": RNG.standard_normal((30, 8, 200))},  # trials × channels × time
        {"alone": RNG.standard_normal((30, 64, 64))},  # the same, square: no picture has negative values
        {"alone": RNG.random((12, 16, 100))},
        {"one": TABLE, "two": TABLE[:50]},
        {"photo": RNG.random((1024, 1536))},
        {"alone": RNG.random((480, 640))},
        {"alone": PICTURE},
        {"alone": PICTURE.T},
        {"alone": RNG.integers(0, 256, (640, 200)).astype(np.uint8)},
        {"alone": RNG.standard_normal((100, 90))},
    ],
)
def test_what_cannot_be_told_is_asked(tmp_path, arrays):
    path = saved(tmp_path, **arrays)
    for load in (load_inputs, load_split):
        with pytest.raises(InputError, match="--as images or --as table"):
            load(path, 50)


def test_the_answer_is_taken(tmp_path):
    path = saved(tmp_path, alone=PICTURE)
    assert load_inputs(path, 50, size=4, kind="images").shape == (4, 4)
    assert load_inputs(path, 50, kind="table").features == 64
    assert load_inputs(path, 50, transpose=True).features == 48
    assert load_inputs(saved(tmp_path, "y", alone=RNG.standard_normal((30, 8, 20))), kind="table").features == 160


def test_transposed_columns_are_samples(tmp_path):
    tall, wide = saved(tmp_path, "tall", alone=TABLE), saved(tmp_path, "wide", alone=TABLE.T)
    one, other = load_inputs(tall), load_inputs(wide, transpose=True)
    assert np.allclose(one.inputs, other.inputs, atol=1e-12)
    assert "400 samples of 5 features: rows are samples" in one.description
    assert "400 samples of 5 features: columns are samples" in other.description


def test_channels_by_time_are_said_to_be_rows_by_features(tmp_path):
    found = load_inputs(saved(tmp_path, alone=RNG.standard_normal((8, 5000))))
    assert "8 samples of 5,000 features: rows are samples; transpose with --transpose?" in found.description


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"kind": "images", "transpose": True}, InputError),
        ({"kind": "picture"}, ConfigError),
        ({"source": "natural", "kind": "table"}, InputError),
        ({"source": "gaussian", "transpose": True}, InputError),
    ],
)
def test_an_answer_to_another_question_is_refused(tmp_path, options, error):
    with pytest.raises(error):
        load_inputs(**{"source": saved(tmp_path, alone=TABLE), **options})


def test_two_tables_are_not_one(tmp_path):
    with pytest.raises(InputError, match="one 400 × 5, two 50 × 5"):
        load_inputs(saved(tmp_path, one=TABLE, two=TABLE[:50]), kind="table")


def test_what_does_not_fit_in_memory_is_refused_before_it_is_made(monkeypatch):
    from neurodecorr._numerics import memory as _memory

    monkeypatch.setattr(_memory, "available", lambda: 10**9)
    with pytest.raises(InputError, match=r"memory: .* GB, and 1 GB"):
        load_split("natural", 10**8)


def test_the_test_set_of_a_labelled_set_is_held_out(tmp_path):
    x, y = RNG.integers(0, 256, (90, 6, 6)).astype(np.uint8), np.arange(90) % 3
    path = saved(tmp_path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    split = load_split(path, 50)
    assert (len(split.stream), len(split.held_out)) == (50, 30) and split.words.startswith("by set")
    rows = np.sort(split.held_out.inputs * x[:60].std(axis=0).mean(), axis=None)
    assert np.allclose(np.diff(rows) > 1e-9, np.diff(np.sort(x[60:], axis=None)) > 0)


def test_copies_among_held_out_rows_are_counted(tmp_path):
    split = load_split(saved(tmp_path, alone=np.tile(TABLE[:100], (4, 1))), 400)
    assert "are copies of rows learnt from" in split.words
    assert "copies" not in load_split(saved(tmp_path, "z", alone=TABLE), 400).words
