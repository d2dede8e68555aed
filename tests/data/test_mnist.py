"""MNIST's files: good ones are read byte for byte, bad ones cost an InputError that names the file, and no memory."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurodecorr.data import mnist, read_idx
from neurodecorr.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 5, 4), dtype=np.uint8)
LABELS = (np.arange(30) % 10).astype(np.uint8)
STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array, shape=None, kind=8):
    shape = array.shape if shape is None else shape
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + array.tobytes()


def write(folder, name=lambda stem: stem, pack=lambda content: content):
    folder.mkdir(parents=True, exist_ok=True)
    contents = idx(IMAGES[:20]), idx(LABELS[:20]), idx(IMAGES[20:]), idx(LABELS[20:])
    for stem, content in zip(STEMS, contents, strict=True):
        (folder / name(stem)).write_bytes(pack(content))
    return folder


@settings(max_examples=30, deadline=None)
@given(array=hnp.arrays(np.uint8, hnp.array_shapes(max_dims=4, max_side=5)), packed=st.booleans())
def test_an_array_is_read_as_it_was_written(array, packed, tmp_path_factory):
    path = tmp_path_factory.mktemp("idx") / ("x.gz" if packed else "x")
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    found = read_idx(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, array)


@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_the_usual_names_and_places_of_mnist_are_found(tmp_path, inside, packed, dotted):
    def name(stem):
        return (stem.replace("-idx", ".idx") if dotted else stem) + (".gz" if packed else "")

    write(tmp_path / inside, name, gzip.compress if packed else bytes)
    train, test = mnist(str(tmp_path))
    assert np.array_equal(train.images[:, 0], IMAGES[:20])
    assert np.array_equal(test.images[:, 0], IMAGES[20:])
    assert np.array_equal(train.targets, LABELS[:20])
    assert np.array_equal(test.targets, LABELS[20:])
    assert train.classes == test.classes == tuple("0123456789")
    assert train.shape == (1, 5, 4)


def test_a_missing_folder_or_file_is_answered_with_what_to_put_where(tmp_path):
    with pytest.raises(InputError, match=r"idx3-ubyte.gz \(9.9 MB\).*no such folder"):
        mnist(tmp_path / "nothing")
    with pytest.raises(InputError, match="the folder is empty"):
        mnist(tmp_path)
    (write(tmp_path) / STEMS[3]).unlink()
    with pytest.raises(InputError, match=f"Missing: {STEMS[3]}; in .* found t10k-images-idx3-ubyte, train-images"):
        mnist(tmp_path)


HEAD = struct.pack(">BBBBI", 0, 0, 8, 1, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x", b"", r"must start with the bytes 0, 0, 8 .* got \[\]"),
        ("x", b"\x00\x00", r"got \[0, 0\]"),
        ("x", b"PNG and more", r"must start with the bytes 0, 0, 8"),
        ("x", idx(IMAGES, kind=0x0D), r"got \[0, 0, 13, 3\]"),
        ("x", b"\0\0\x08\x00", r"got \[0, 0, 8, 0\]"),
        ("x", b"\0\0\x08\x05" + b"\1" * 20, r"got \[0, 0, 8, 5\]"),
        ("x", b"\0\0\x08\x03\0\0", "truncated within its header"),
        ("x", HEAD + b"ab", r"must hold 3 bytes after its header, which claims shape \(3,\); it holds 2"),
        ("x", HEAD + b"abcd", "it holds more"),
        ("x", idx(IMAGES, (2**32 - 1, 2**32 - 1, 2**32 - 1)), "must hold 1 to 536,870,912 entries; its header claims"),
        ("x", idx(IMAGES, (0, 5, 4)), "must hold 1 to 536,870,912 entries"),
        ("x", idx(IMAGES, (2**29,)), "must hold 536,870,912 bytes after its header.*it holds 600"),
        ("x.gz", gzip.compress(idx(IMAGES, (2**29,))), "must hold 536,870,912 bytes.*it holds 600"),
        ("x", gzip.compress(HEAD + b"abc"), "It is a gzip file: give it a name that ends in .gz"),
        ("x.gz", HEAD + b"abc", "must be a readable gzip file"),
        ("x.gz", gzip.compress(idx(IMAGES))[:-50], "must be a readable gzip file"),
        ("x.gz", gzip.compress(HEAD + bytes(10**8)), "it holds more"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_costs_no_memory(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=message) as caught:
        read_idx(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(tmp_path / name) in str(caught.value)
    assert peak < 4e6


@pytest.mark.parametrize(
    ("stem", "content", "message"),
    [
        (STEMS[0], idx(LABELS[:20]), "train-images-idx3-ubyte must hold images, 3 dimensions; its header claims 1"),
        (STEMS[1], idx(LABELS[:19]), "one label for each of the 20 images of train-images-idx3-ubyte"),
        (STEMS[3], idx(LABELS[20:] + np.uint8(1)), r"t10k-labels-idx1-ubyte must hold labels 0 … 9; got 10 at index 9"),
        (STEMS[2], idx(IMAGES[20:, :4]), r"one shape; got \(1, 5, 4\) and \(1, 4, 4\)"),
    ],
)
def test_images_and_labels_must_fit_together(tmp_path, stem, content, message):
    (write(tmp_path) / stem).write_bytes(content)
    with pytest.raises(InputError, match=message):
        mnist(tmp_path)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 615), value=st.integers(0, 255))
def test_no_forged_byte_raises_anything_but_an_input_error(place, value, tmp_path_factory):
    content = bytearray(idx(IMAGES))
    content[place] = value
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(content)
    try:
        assert read_idx(path).size == 600
    except InputError:
        assert place < 16


FOLDER = Path(os.environ.get("NEURODECORR_DATA", "no folder"))


@pytest.mark.data
@pytest.mark.skipif(not (FOLDER / "mnist").is_dir(), reason="MNIST is not in the folder mnist of NEURODECORR_DATA")
def test_mnist_has_its_known_statistics():
    train, test = mnist(FOLDER / "mnist")
    mean, std = train.statistics()
    assert (len(train), len(test), train.shape) == (60_000, 10_000, (1, 28, 28))
    assert (round(float(mean[0]), 4), round(float(std[0]), 4)) == (0.1307, 0.3081)
    assert np.bincount(train.targets).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
