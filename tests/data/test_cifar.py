"""CIFAR's files in every form that their authors publish: the same images out of each, and an answer to damage."""

import gzip
import io
import lzma
import os
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from neurodecorr.data import cifar, cifar10, cifar100
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
    with pytest.raises(InputError, match=r"cifar-10-binary.tar.gz \(170 MB\) or .*there is no such folder"):
        cifar10(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"train.bin .*153.7 MB.*the folder is empty"):
        cifar100(tmp_path)
    files = files10("binary")
    del files["data_batch_3.bin"]
    lay(tmp_path, files)
    with pytest.raises(InputError, match=r"Missing: data_batch_3; in .* found data_batch_1.bin, data_batch_2.bin"):
        cifar10(tmp_path)
    path = archive(tmp_path / "cut.tar.gz", files, "x")
    with pytest.raises(InputError, match=r"Missing: data_batch_3; in .*cut.tar.gz found data_batch_1, data_batch_2"):
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
