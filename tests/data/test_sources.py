"""Inputs by name or by path, as the command line loads them."""

import numpy as np
import pytest
from PIL import Image

from neurodecorr.data import correlated_gaussian, digits, image_patches, load_inputs, natural_patches
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
