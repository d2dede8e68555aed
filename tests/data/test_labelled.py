"""Labelled data by name or path: the layout decides the reader, and load_inputs takes the same paths."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest

from neurodecorr.data import Dataset, ImageDataset, labelled, layout, load_inputs
from neurodecorr.errors import ConfigError, InputError

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (30, 6, 5), dtype=np.uint8), np.arange(30) % 10


def save(path, x=X, y=Y, **more):
    np.savez(path, **({"x_train": x[:20], "y_train": y[:20], "x_test": x[20:], "y_test": y[20:]} | more))
    return path


def put_mnist(folder):
    for stem, array in (("train", X[:20]), ("t10k", X[20:])):
        head = struct.pack(">BBBBIII", 0, 0, 8, 3, *array.shape)
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
        labels = Y[: len(array)].astype(np.uint8)
        head = struct.pack(">BBBBI", 0, 0, 8, 1, len(labels))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())


def put_cifar10(folder):
    (folder / "cifar-10-batches-bin").mkdir()
    for stem in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        record = bytes([7]) + RNG.integers(0, 256, 3072, dtype=np.uint8).tobytes()
        (folder / "cifar-10-batches-bin" / f"{stem}.bin").write_bytes(record)


def put_cifar100(folder):
    with tarfile.open(folder / "cifar-100-binary.tar.gz", "w:gz") as tar:
        for name in ("train.bin", "test.bin"):
            info = tarfile.TarInfo(f"cifar-100-binary/{name}")
            info.size = 3074
            tar.addfile(info, io.BytesIO(bytes([7, 70]) + bytes(3072)))


def put_tiny_imagenet(folder):
    from PIL import Image

    for place in ("train/n01/images", "val/images"):
        (folder / place).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(folder / place / "a.JPEG")
    (folder / "wnids.txt").write_text("n01\n")
    (folder / "val" / "val_annotations.txt").write_text("a.JPEG\tn01\n")


@pytest.mark.parametrize(
    ("name", "put", "sizes", "shape", "classes"),
    [
        ("mnist", put_mnist, (20, 10), (1, 6, 5), 10),
        ("cifar10", put_cifar10, (5, 1), (3, 32, 32), 10),
        ("cifar100", put_cifar100, (1, 1), (3, 32, 32), 100),
        ("tiny-imagenet", put_tiny_imagenet, (1, 1), (3, 64, 64), 1),
    ],
)
def test_the_layout_of_a_folder_decides_how_it_is_read(tmp_path, name, put, sizes, shape, classes):
    put(tmp_path)
    (tmp_path / "README").write_text("other files do not matter")
    assert layout(tmp_path) == name
    train, test = labelled(str(tmp_path))
    assert (len(train), len(test)) == sizes
    assert train.shape == test.shape == shape
    assert len(train.classes) == classes
    assert train.name == name


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (X, X[:, None]),
        (X[..., None], X[:, None]),
        (np.stack([X] * 3, axis=3), np.stack([X] * 3, axis=1)),
        (np.stack([X] * 3, axis=1), np.stack([X] * 3, axis=1)),
    ],
)
def test_images_in_an_npz_file_have_their_channels_where_they_are_short(tmp_path, stored, expected):
    path = save(tmp_path / "mine.npz", stored, Y[:, None], index=np.arange(3))
    assert layout(path) == "npz"
    train, test = labelled(path)
    assert isinstance(train, ImageDataset)
    assert np.array_equal(np.concatenate([train.images, test.images]), expected)
    assert np.array_equal(np.concatenate([train.targets, test.targets]), Y)
    assert (train.name, len(train.classes), len(test.classes)) == ("mine", 10, 10)


@pytest.mark.parametrize("x", [X.astype(float), X.reshape(30, -1), X[:, :, :, None].astype("f4")])
def test_other_numbers_in_an_npz_file_are_tables(tmp_path, x):
    train, test = labelled(save(tmp_path / "mine.npz", x, RNG.standard_normal((30, 2))))
    assert isinstance(train, Dataset)
    assert np.array_equal(np.concatenate([train.inputs, test.inputs]), x.reshape(30, -1))
    assert train.targets.shape == (20, 2)
    assert train.shape == (None if x.ndim == 2 else x.shape[1:])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"x_test": X[20:, :5]}, r"samples of one shape; got \(6, 5\) and \(5, 5\)"),
        ({"y_train": Y[:19]}, r"mine.npz: targets must be one whole number for each of 20 images; got shape \(19,\)"),
        ({"y_train": Y[:20] / 2}, "mine.npz: y_train must hold one class, a whole number ≥ 0"),
        ({"y_test": -Y[:10]}, "y_test must hold one class, a whole number ≥ 0"),
        ({"y_test": np.array([10**9] * 10)}, "y_test must number its classes from 0 on; got 1000000000"),
        ({"y_test": np.array([{}] * 10)}, "Objects need unpickling, which can run code"),
        ({"x_train": np.stack([X[:20]] * 5, 3), "x_test": np.stack([X[20:]] * 5, 3)}, "axis of 1 to 4 channels"),
        ({"x_train": np.ones(20), "x_test": np.ones(10)}, "x_train must hold one sample per row"),
        ({"x_train": np.full((20, 3), np.nan), "x_test": np.ones((10, 3))}, "found nan at row 0, column 0"),
    ],
)
def test_members_that_do_not_fit_are_refused_with_the_name_of_the_file(tmp_path, more, message):
    path = save(tmp_path / "mine.npz", **more)
    with pytest.raises(InputError, match=message) as caught:
        labelled(path)
    assert "mine.npz" in str(caught.value)


def test_a_missing_member_is_named(tmp_path):
    np.savez(tmp_path / "mine.npz", x_train=X, y_train=Y, x=X)
    with pytest.raises(InputError, match="Missing: x_test, y_test; found x_train, y_train, x"):
        labelled(tmp_path / "mine.npz")


def test_what_is_no_labelled_data_is_refused_with_what_was_found(tmp_path):
    assert layout(tmp_path) is None
    with pytest.raises(InputError, match=r"must hold MNIST, CIFAR-10, CIFAR-100 or Tiny ImageNet .* folder is empty"):
        labelled(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"found notes.txt"):
        labelled(tmp_path)
    with pytest.raises(InputError, match=r"notes.txt is none of them"):
        labelled(tmp_path / "notes.txt")
    np.savez(tmp_path / "other.npz", inputs=X)
    assert layout(tmp_path / "other.npz") is None
    with pytest.raises(InputError, match=r"there is no file or folder 'data/mnist'"):
        labelled("data/mnist")
    with pytest.raises(ConfigError, match="Did you mean 'digits'"):
        labelled("digit")


def test_load_inputs_takes_the_training_samples_of_labelled_data(tmp_path):
    put_mnist(tmp_path)
    train = labelled(tmp_path)[0].table()
    for path in (tmp_path, save(tmp_path / "mine.npz")):
        dataset = load_inputs(path, samples=12, seed=3)
        chosen = np.random.default_rng(3).permutation(20)[:12]
        expected = train.take(chosen).scaled()
        assert np.array_equal(dataset.inputs, expected.inputs)
        assert np.array_equal(dataset.targets, train.targets[chosen])
        assert "12 of its 20 samples" in dataset.description
