"""Inputs by name or by path, as the command line loads them."""

import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from neurodecorr.data import (
    Dataset,
    ImageDataset,
    correlated_gaussian,
    digits,
    image_patches,
    labelled,
    layout,
    load_inputs,
    natural_patches,
)
from neurodecorr.data.sources import SOURCES
from neurodecorr.errors import ConfigError, InputError

TABLE = np.random.default_rng(0).normal(size=(40, 5)) * 3 + 7


def test_names_give_what_they_name():
    assert np.array_equal(load_inputs("natural", 50, 3, 4).inputs, natural_patches(4, 50, 3).inputs)
    assert np.array_equal(load_inputs("gaussian", 50, 3, 4).inputs, correlated_gaussian(16, 50, 1e3, 3).inputs)
    assert load_inputs("digits", 50).shape == (8, 8)
    assert [load_inputs(name, 50).features for name in SOURCES] == [64, 64, 64]


def test_digits_are_the_bundled_ones():
    dataset = digits()
    assert (len(dataset), dataset.features, dataset.shape) == (1797, 64, (8, 8))
    assert (dataset.inputs.min(), dataset.inputs.max()) == (0, 1)
    assert np.array_equal(np.unique(dataset.targets), np.arange(10))
    assert np.array_equal(dataset.inputs * 16, np.round(dataset.inputs * 16))
    # One image drawn as it should look: a zero is a ring, dark in its centre.
    zero = dataset.inputs[dataset.targets == 0].mean(axis=0).reshape(dataset.shape)
    assert zero[3:5, 3:5].max() < 0.3 < zero[3:5, 2].min()


@pytest.mark.parametrize("source", [*SOURCES, "table", "folder"])
def test_every_source_comes_with_mean_0_and_mean_variance_1(source, tmp_path):
    if source == "table":
        source = tmp_path / "x.npy"
        np.save(source, TABLE * 1e6)
    elif source == "folder":
        source = tmp_path
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 80), dtype=np.uint8)).save(tmp_path / "a.png")
    dataset = load_inputs(source, samples=3000, seed=1)
    # Natural patches and Gaussian samples hold this over their population: 3000 draws keep it to a few per cent.
    assert abs(dataset.inputs.mean()) < 0.1
    assert dataset.inputs.var(axis=0).mean() == pytest.approx(1, abs=0.1)


def test_rows_are_drawn_once_each_and_said_so(tmp_path):
    np.save(tmp_path / "x.npy", TABLE)
    for samples, count in ((15, 15), (40, 40), (1000, 40)):
        dataset = load_inputs(tmp_path / "x.npy", samples, seed=2)
        assert f"{count} of its 40 samples in random order" in dataset.description
        assert len(np.unique(dataset.inputs, axis=0)) == len(dataset) == count
    order = np.random.default_rng(2).permutation(40)
    rows = TABLE[order]
    expected = (rows - rows.mean()) / np.sqrt(rows.var(axis=0).mean())
    assert np.allclose(dataset.inputs, expected, atol=1e-13)
    assert dataset.name == "x"


@pytest.mark.parametrize(("inputs", "targets"), [("inputs", "targets"), ("X", "y"), ("inputs", None)])
def test_a_table_in_an_npz_brings_its_targets(tmp_path, inputs, targets):
    members = {"other": np.zeros((3, 4, 4)), "names": np.array(["a"]), inputs: TABLE}
    np.savez(tmp_path / "x.npz", **members, **({targets: np.arange(40)} if targets else {}))
    dataset = load_inputs(str(tmp_path / "x.npz"), samples=12, seed=0)
    if targets is None:
        assert dataset.targets is None
    else:
        rows = TABLE[dataset.targets]
        assert np.allclose(dataset.inputs, (rows - rows.mean()) / np.sqrt(rows.var(axis=0).mean()), atol=1e-13)


@pytest.mark.parametrize("form", ["npy stack", "npz alone", "npz many", "npz inputs"])
def test_arrays_of_three_or_four_dimensions_are_images(tmp_path, form):
    stack = np.random.default_rng(0).random((3, 20, 20))
    path = tmp_path / f"x.{form[:3]}"
    if form == "npy stack":
        np.save(path, stack)
    elif form == "npz many":
        np.savez(path, one=stack[:2], two=np.repeat(stack[2:, :, :, None], 3, axis=3))
    else:
        np.savez(path, **{"alone" if form == "npz alone" else "inputs": stack})
    dataset = load_inputs(path, 30, 5, 4)
    assert dataset.shape == (4, 4)
    assert np.allclose(dataset.inputs, image_patches(stack, 4, 30, 5).inputs, atol=1e-12)


def test_a_picture_or_a_folder_gives_patches_named_after_it(tmp_path, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    (tmp_path / "digits").mkdir()
    Image.fromarray(image).save(tmp_path / "digits" / "a.png")
    (tmp_path / "link.npy").symlink_to(tmp_path / "digits")
    expected = image_patches(image, 8, 20, 1).inputs
    for source in (tmp_path / "digits", tmp_path / "digits" / "a.png", tmp_path / "link.npy"):
        dataset = load_inputs(source, 20, 1)
        assert np.array_equal(dataset.inputs, expected)
        assert dataset.name == source.stem
        assert str(source) in dataset.description
    monkeypatch.chdir(tmp_path)
    assert len(load_inputs("digits").inputs) == 1797  # a name wins over a folder


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("natrual",), ConfigError, "got 'natrual'. Did you mean 'natural'"),
        (("gausian",), ConfigError, "Did you mean 'gaussian'"),
        (("zzz",), ConfigError, "must be one of 'natural', 'gaussian', 'digits'; got 'zzz'"),
        (("photos/spring",), InputError, "there is no file or folder 'photos/spring'"),
        (("photos.npz",), InputError, "there is no file or folder 'photos.npz'"),
        (("natural", 0), ConfigError, "samples must be"),
        (("natural", 10, -1), ConfigError, "seed must be"),
        (("digits", 10, -1), ConfigError, "seed must be"),
        (("digits", 10, 0, 0), ConfigError, "size must be"),
        (("gaussian", 10, 0, 1), ConfigError, "condition must be 1 for a single feature"),
        (("empty.npz",), InputError, "at least one image"),
        (("mixed.npz",), InputError, r"mixed.npz\['flat'\] must be \(h, w\)"),
        (("flat.npy",), InputError, r"must be \(h, w\)"),
        (("nan.npy",), InputError, "inputs must be finite.*found nan at row 3, column 1"),
        (("same.npy",), InputError, "must vary; all 4 samples of 'same' are the same"),
        (("labels.npz",), InputError, r"\['y'\] must hold real numbers"),
        (("notes.txt",), InputError, "folder of pictures or a file of type"),
    ],
)
def test_sources_refuse(arguments, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("empty.npz")
    np.savez("mixed.npz", stack=np.random.default_rng(0).random((2, 9, 9)), flat=np.zeros(9))
    np.save("flat.npy", np.zeros(9))
    np.save("nan.npy", np.where(np.arange(10).reshape(5, 2) == 7, np.nan, 1.0))
    np.save("same.npy", np.ones((4, 2)))
    np.savez("labels.npz", X=TABLE, y=np.array(["a"] * 40))
    (tmp_path / "notes.txt").write_text("no data")
    with pytest.raises(error, match=message):
        load_inputs(*arguments)


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
    with pytest.raises(InputError, match="x_test, y_test; found x_train, y_train, x"):
        labelled(tmp_path / "mine.npz")


def test_what_is_no_labelled_data_is_refused_with_what_was_found(tmp_path):
    assert layout(tmp_path) is None
    with pytest.raises(InputError, match=r"MNIST.* empty"):
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
