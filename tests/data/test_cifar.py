"""CIFAR's files in every form that their authors publish: the same images out of each, and an answer to damage."""

import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import cifar, cifar10, cifar100
from neurodecorr.data.cifar import read_plain
from neurodecorr.errors import InputError

RNG = np.random.default_rng(0)
TEN = tuple(f"data_batch_{k}" for k in range(1, 6))
IMAGES = RNG.integers(0, 256, (24, 3072), dtype=np.uint8)  # four in each of six files
LABELS = RNG.integers(0, 10, 24)
COARSE = RNG.integers(0, 20, 24)
FINE = RNG.integers(0, 100, 24)
FINE_NAMES, COARSE_NAMES = [f"fine_{k}" for k in range(100)], [f"coarse_{k}" for k in range(20)]


def files10(form):
    """The six files of CIFAR-10 by name."""
    found = {}
    for k, stem in enumerate((*TEN, "test_batch")):
        part = slice(4 * k, 4 * k + 4)
        if form == "python":
            batch = {b"data": IMAGES[part], b"labels": LABELS[part].tolist(), b"batch_label": b"x"}
            found[stem] = pickle.dumps(batch, 2)
        else:
            found[f"{stem}.bin"] = np.hstack([LABELS[part, None].astype(np.uint8), IMAGES[part]]).tobytes()
    return found


def files100(form):
    """CIFAR-100, 16 images for training and 8 for testing."""
    found = {}
    for stem, part in (("train", slice(0, 16)), ("test", slice(16, 24))):
        if form == "python":
            batch = {"data": IMAGES[part], "fine_labels": FINE[part].tolist(), "coarse_labels": COARSE[part].tolist()}
            found[stem] = pickle.dumps(batch, 2)
        else:
            both = np.stack([COARSE[part], FINE[part]], axis=1).astype(np.uint8)
            found[f"{stem}.bin"] = np.hstack([both, IMAGES[part]]).tobytes()
    if form == "python":
        found["meta"] = pickle.dumps({"fine_label_names": FINE_NAMES, "coarse_label_names": COARSE_NAMES}, 2)
    else:
        found["fine_label_names.txt"] = "\n".join(FINE_NAMES).encode()
        found["coarse_label_names.txt"] = "\n".join(COARSE_NAMES).encode()
    return found


def lay(folder, files, suffix="", pack=bytes):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        packed = suffix and name.endswith(".bin")
        (folder / (name + suffix if packed else name)).write_bytes(pack(content) if packed else content)
    return folder


def archive(path, files, inside, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{inside}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def is_ten(pair):
    train, test = pair
    assert np.array_equal(train.images.reshape(20, -1), IMAGES[:20])
    assert np.array_equal(test.images.reshape(4, -1), IMAGES[20:])
    assert np.array_equal(train.targets, LABELS[:20])
    assert np.array_equal(test.targets, LABELS[20:])
    assert train.shape == (3, 32, 32)
    assert train.classes[0] == "airplane" and train.classes[9] == "truck" and len(train.classes) == 10


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".xz", lzma.compress), (".gz", gzip.compress)])
def test_binary_files_of_cifar_10_are_read_record_by_record(tmp_path, inside, suffix, pack):
    lay(tmp_path / inside, files10("binary"), suffix, pack)
    is_ten(cifar10(tmp_path))


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
def test_pickled_batches_of_cifar_10_are_read_without_unpickling(tmp_path, inside, monkeypatch):
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    lay(tmp_path / inside, files10("python"))
    is_ten(cifar10(str(tmp_path)))


@pytest.mark.parametrize(
    ("form", "name", "inside"),
    [
        ("binary", "cifar-10-binary.tar.gz", "cifar-10-batches-bin"),
        ("python", "cifar-10-python.tar.gz", "cifar-10-batches-py"),
    ],
)
def test_archives_of_cifar_10_are_read_as_they_were_downloaded(tmp_path, form, name, inside):
    path = archive(tmp_path / name, files10(form), inside)
    is_ten(cifar10(path))
    is_ten(cifar10(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == [name]  # nothing was extracted
    plain = archive(tmp_path / "renamed.tar", files10(form), inside, "w")
    is_ten(cifar10(plain))


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize("packed", [False, True])
def test_cifar_100_has_fine_and_coarse_labels_in_every_form(tmp_path, form, coarse, packed):
    if packed:
        archive(tmp_path / f"cifar-100-{form}.tar.gz", files100(form), f"cifar-100-{form}")
    else:
        lay(tmp_path / f"cifar-100-{form}", files100(form))
    train, test = cifar100(tmp_path, coarse=coarse)
    labels, names = (COARSE, COARSE_NAMES) if coarse else (FINE, FINE_NAMES)
    assert np.array_equal(train.images.reshape(16, -1), IMAGES[:16])
    assert np.array_equal(test.images.reshape(8, -1), IMAGES[16:])
    assert np.array_equal(train.targets, labels[:16])
    assert np.array_equal(test.targets, labels[16:])
    assert train.classes == tuple(names)


def test_without_a_file_of_names_the_classes_of_cifar_100_are_numbers(tmp_path):
    files = {name: content for name, content in files100("binary").items() if name.endswith(".bin")}
    assert cifar100(lay(tmp_path, files))[0].classes == tuple(str(k) for k in range(100))


def test_batches_as_python_2_pickled_them_are_read(tmp_path, python2):
    contents = {
        stem: python2(IMAGES[4 * k : 4 * k + 4], LABELS[4 * k : 4 * k + 4].tolist())
        for k, stem in enumerate((*TEN, "test_batch"))
    }
    is_ten(cifar10(lay(tmp_path, contents)))


def test_planes_are_red_green_and_blue_row_by_row(tmp_path):
    image = np.arange(3072, dtype=np.uint16).astype(np.uint8)
    files = {name: bytes([3]) + image.tobytes() for name in files10("binary")}
    train, _ = cifar10(lay(tmp_path, files))
    assert train.images[0, 1, 2, 5] == image[1024 + 2 * 32 + 5]


def test_what_is_missing_is_answered_with_what_to_put_where(tmp_path):
    with pytest.raises(InputError, match=r"tar.gz \(170 MB\).*no such folder"):
        cifar10(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"train.bin .*153.7 MB.*the folder is empty"):
        cifar100(tmp_path)
    files = files10("binary")
    del files["data_batch_3.bin"]
    lay(tmp_path, files)
    with pytest.raises(InputError, match=r"data_batch_3; in .*_1.bin, data_batch_2.bin"):
        cifar10(tmp_path)
    path = archive(tmp_path / "cut.tar.gz", files, "x")
    with pytest.raises(InputError, match=r"data_batch_3; in .*cut.tar.gz .*_1, data_batch_2"):
        cifar10(path)


def spoilt(files, name, change):
    return files | {name: change(files[name])}


def with_label(content, label):
    return bytes([label]) + content[1:]


def batch(**entries):
    whole = {"data": IMAGES[:4], "labels": [0, 1, 2, 3]} | entries
    return lambda _: pickle.dumps({key: value for key, value in whole.items() if value is not None}, 2)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("binary", lambda content: content[:-1], "must hold whole records of 3073 bytes each; it holds 12,291 bytes"),
        ("binary", lambda _: b"", "must hold whole records"),
        ("binary", lambda content: content[:-3073], "as many images as its siblings, 4; it holds 3"),
        ("binary", lambda content: with_label(content, 10), "must hold labels 0 … 9; got 10 in record 0"),
        ("python", lambda content: content[:-1], "readable pickle of plain data"),
        ("python", lambda _: pickle.dumps(Trap(), 2), "a call of .*mkdir, which is refused"),
        ("python", batch(data=Trap()), "a call of .*mkdir, which is refused"),
        ("python", batch(data=None), "a dictionary with the key 'data'; got labels"),
        ("python", batch(labels=None), "a dictionary with the key 'labels'; got data"),
        ("python", batch(data=[1, 2]), r"'data' must be an \(images, 3072\) array of uint8; got list"),
        ("python", batch(data=IMAGES[:4].astype(float)), r"got shape \(4, 3072\) of type float64"),
        ("python", batch(data=IMAGES[:4, :9]), r"got shape \(4, 9\)"),
        ("python", batch(labels=[0, 1]), "one whole number for each of 4 images; got 2 entries"),
        ("python", batch(labels="0123"), "must hold a list where it holds a str"),
        ("python", batch(labels=[0, 1, 2, 10**30]), "must hold labels 0 … 9; got -1 in record 3"),
        ("python", batch(labels=[0, 1, 2, "3"]), "one whole number for each"),
        ("python", batch(labels=[0, -5, 2, 3]), "must hold labels 0 … 9; got -1 in record 1"),
        ("python", lambda _: pickle.dumps([1], 2), "a dictionary with the key 'data'; got a list"),
    ],
)
def test_a_damaged_or_hostile_file_is_refused_by_name(tmp_path, monkeypatch, form, change, message):
    monkeypatch.chdir(tmp_path)
    name = "data_batch_2" + (".bin" if form == "binary" else "")
    lay(tmp_path, spoilt(files10(form), name, change))
    with pytest.raises(InputError, match=message) as caught:
        cifar10(tmp_path)
    assert str(tmp_path / name) in str(caught.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lzma.compress(b"abc")[:-9], "truncated: its xz stream has no end"),
        (b"no xz at all", "readable xz file"),
        (lzma.compress(bytes(2**20 + 10)), "must hold at most 1,048,576 bytes"),
        (b"", "must hold whole records"),
    ],
)
def test_a_bad_xz_file_is_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(cifar, "_MOST_BYTES", 2**20)
    lay(tmp_path, files10("binary"))
    (tmp_path / "test_batch.bin").unlink()
    (tmp_path / "test_batch.bin.xz").write_bytes(content)
    with pytest.raises(InputError, match=message):
        cifar10(tmp_path)


def test_an_xz_file_of_several_streams_is_read_whole(tmp_path):
    lay(
        tmp_path,
        files10("binary"),
        ".xz",
        lambda content: lzma.compress(content[:5000]) + lzma.compress(content[5000:]),
    )
    is_ten(cifar10(tmp_path))


def header(name, size, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("data_batch_1.bin", 2**30), r"must hold at most .* bytes.*claims"),
        (header("other", 2**40), r"must hold at most 10,000 files and .* bytes once unpacked"),
        (header("data_batch_1.bin", 5000) + b"abc", "tar archive|truncated"),
        (header("data_batch_1.bin", 0, tarfile.SYMTYPE, "/etc/passwd"), "Missing: data_batch_1"),
        (b"no archive", "readable tar archive"),
        (b"\x1f\x8bno gzip", "readable tar archive"),
    ],
)
def test_a_hostile_archive_costs_an_error_and_no_memory(tmp_path, content, message):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=message):
        cifar10(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("names", [FINE_NAMES[:99], [*FINE_NAMES, "more"]])
def test_names_of_classes_must_be_as_many_as_classes(tmp_path, names):
    lay(tmp_path, files100("binary") | {"fine_label_names.txt": "\n".join(names).encode()})
    with pytest.raises(InputError, match=f"fine_label_names.txt must hold 100 names of classes; it holds {len(names)}"):
        cifar100(tmp_path)


FOLDER = Path(os.environ.get("NEURODECORR_DATA", "no folder"))


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not (FOLDER / "cifar10").is_dir(), reason="CIFAR-10 is not in folder cifar10 of NEURODECORR_DATA")
def test_cifar_10_has_its_known_statistics():
    train, test = cifar10(FOLDER / "cifar10")
    mean, std = train.statistics()
    assert (len(train), len(test)) == (50_000, 10_000)
    assert mean.round(4).tolist() == [0.4914, 0.4822, 0.4465]
    assert std.round(4).tolist() == [0.2470, 0.2435, 0.2616]
    assert set(np.bincount(train.targets)) == {5000} and set(np.bincount(test.targets)) == {1000}


PROTOCOLS = (2, 3, 4, 5)


def same(found, expected):
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    return type(found) is type(expected) and found == expected


def string(text):
    """A short text as Python 2 writes it."""
    return b"U" + bytes([len(text)]) + text.encode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["u1", "<i8", ">i4", "<f4", "<f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_out_as_they_went_in(protocol, kind, order):
    array = np.asarray(np.arange(12).reshape(3, 4) % 5, dtype=kind, order=order)
    assert same(read_plain(pickle.dumps(array, protocol), "x"), array)
    assert same(read_plain(pickle.dumps({"a": array, "b": array}, protocol), "x")["b"], array)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
def test_plain_values_come_out_as_they_went_in(value, protocol):
    assert same(read_plain(pickle.dumps(value, protocol), "x"), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_keys_of_bytes_come_out_as_texts_and_bytes_as_bytes(protocol):
    found = read_plain(pickle.dumps({b"data": b"\xff\x00", b"\xe9": 1}, protocol), "x")
    assert found == {"data": b"\xff\x00", "é": 1}


def test_a_batch_of_python_2_is_read_as_pickle_reads_it(python2):
    data = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    content = python2(data, [3, 9])
    expected = pickle.loads(content, encoding="bytes")
    found = read_plain(content, "x")
    assert np.array_equal(found["data"], expected[b"data"]) and np.array_equal(found["data"], data)
    assert found["labels"] == expected[b"labels"] == [3, 9]
    assert found["filenames"] == ["a.png", "b.png"]
    assert found["batch_label"] == "training batch 1 of 5"


class Lure:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_trap_is_refused_and_does_not_spring(protocol, tmp_path):
    target = tmp_path / "sprung"
    for value in (
        Lure(os.mkdir, str(target)),
        {"data": [Lure(os.mkdir, str(target))]},
        {"a": Lure(eval, "1 + 1")},
    ):
        with pytest.raises(InputError, match="x must hold plain data; "):
            read_plain(pickle.dumps(value, protocol), "x")
    assert not target.exists()
    pickle.loads(pickle.dumps(Lure(os.mkdir, str(target)), protocol))
    assert target.exists()  # the trap was live


def test_the_message_names_the_call_that_is_refused():
    with pytest.raises(InputError, match=r"call of (posix|nt).system"):
        read_plain(pickle.dumps(Lure(os.system, "true"), 2), "x")


class Plain:
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "readable pickle"),
        (b"plain text", "readable pickle|refused"),
        (b"\x80\x02}q\x00", "readable pickle"),
        (b"\x80\x02K\x01K\x02.", "its end is missing or misplaced"),
        (b"\x80\x02.", "readable pickle"),
        (b"\x80\x02e.", "readable pickle"),
        (b"\x80\x02(.", "readable pickle"),
        (b"\x80\x02h\x05.", "readable pickle"),
        (b"\x80\x02K\x01]K\x02s.", "readable pickle"),
        (b"\x80\x02}]K\x02s.", "a list where a text should be"),
        (b"\x80\x02T\xff\xff\xff\x7fab.", "readable pickle"),
        (b"\x80\x02cos\nsystem\nU\x04true\x85R.", "a call of os.system, which is refused"),
        (b"\x80\x02cos\nsystem\n(U\x04trueo.", "opcode OBJ can do more"),
        (b"(S'true'\nios\nsystem\n.", "can do more and is refused"),
        (b"S'\\q'\n.", "opcode STRING can do more"),
        (b"\x80\x02cneurodecorr\nDataset\n)\x81.", "opcode NEWOBJ can do more"),
        (b"\x80\x02U\x04nameQ.", "opcode BINPERSID can do more"),
        (b"\x80\x02\x82\x01.", "refused|readable"),
        (b"\x80\x02K\x01)R.", "a call of an object, which is refused"),
        (b"\x80\x02]}b.", "it sets the state of an object"),
        (b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.", "it sets the state of an object"),
        (b"\x80\x02}K\x01\x85\x85\x85K\x01s.", "a tuple where a text should be"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fab.", "readable pickle"),
        (pickle.dumps(np.array([None, 1]), 2), "a list where bytes should be"),
        (pickle.dumps(np.zeros(2, dtype=[("a", "u1")]), 2), "plain numbers|refused"),
        (pickle.dumps(np.array(["a"]), 2), "plain numbers"),
        (pickle.dumps(np.float64(1), 2), "call of numpy._?core.multiarray.scalar"),
        (pickle.dumps({1, 2}, 4), "refused"),
        (pickle.dumps(Plain(), 2), "refused|plain data"),
    ],
)
def test_what_is_no_plain_data_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        read_plain(content, "x")


def forged(shape, raw=b"\0" * 8, code="u1"):
    """An array of protocol 2 whose state claims any shape."""
    good = pickle.dumps(np.zeros(8, "u1"), 2)
    state = pickle.dumps(shape, 2)[2:-1].replace(b"q\x00", b"")
    return good.replace(b"K\x08\x85", state, 1)


@pytest.mark.parametrize("shape", [(10**15,), (2**62, 2**62), (0, 10**30), (9,), (-8,), (2,) * 40, (8, 1.0), "text"])
def test_an_array_that_claims_more_than_the_file_holds_costs_no_memory(shape):
    content = forged(shape)
    assert content != pickle.dumps(np.zeros(8, "u1"), 2)
    tracemalloc.start()
    with pytest.raises(InputError, match="x must be a readable pickle"):
        read_plain(content, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_a_text_that_is_named_again_and_again_is_not_copied_again_and_again():
    big = b"T" + struct.pack("<i", 10**6) + b"\0" * 10**6
    encoded = b"c_codecs\nencode\nh\x01" + string("latin1") + b"\x86R0"
    content = b"\x80\x02" + big + b"q\x010" + encoded * 1000 + b"N."
    with pytest.raises(InputError, match="its arrays take more bytes than the file"):
        read_plain(content, "x")


def test_a_place_in_the_memory_that_is_far_away_costs_no_memory():
    # The unpickler in C makes room for every place before it: 32 GB.
    tracemalloc.start()
    assert read_plain(b"\x80\x02Nr\xff\xff\xff\x7f.", "x") is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_nesting_costs_no_recursion():
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    assert isinstance(read_plain(deep, "x"), list)
    laughs = b"\x80\x02]q\x00" + b"".join(b"(" + b"h\x00" * 10 + b"tq\x00" for _ in range(1000)) + b"."
    with pytest.raises(InputError, match="its end is missing"):
        read_plain(laughs, "x")


def test_a_file_of_nothing_but_opcodes_is_stopped(monkeypatch):
    assert cifar._MOST_OPCODES == 2**21
    monkeypatch.setattr(cifar, "_MOST_OPCODES", 1000)
    with pytest.raises(InputError, match="more than 1,000 pickle opcodes"):
        read_plain(b"\x80\x02" + b"N0" * 501 + b"N.", "x")


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 400), value=st.integers(0, 255), cut=st.booleans())
def test_no_forged_byte_raises_anything_but_an_input_error(python2, place, value, cut):
    content = bytearray(python2(np.arange(6, dtype=np.uint8).reshape(2, 3), [1, 2]))
    content[place % len(content)] = value
    try:
        read_plain(bytes(content[: place if cut else None]), "x")
    except InputError as error:
        assert str(error).startswith("x must ")
