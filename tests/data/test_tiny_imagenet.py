"""Tiny ImageNet's folder: every picture with its class, decoded once, and an answer to what does not fit."""

import sys

import numpy as np
import pytest
from PIL import Image

from neurodecorr.data import tiny_imagenet
from neurodecorr.errors import InputError

CLASSES = ("n03", "n01", "n02")  # numbered in the order of wnids.txt, which is not that of the alphabet


def picture(path, shade, size=(64, 64), mode="RGB", kind="JPEG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (shade, 255 - shade, 30) if mode == "RGB" else shade).save(path, kind, quality=100)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data"
    for label, name in enumerate(CLASSES):
        for k in range(2):
            picture(place / "train" / name / "images" / f"{name}_{k}.JPEG", 40 * label + 10 * k)
    picture(place / "val" / "images" / "val_0.JPEG", 200)
    picture(place / "val" / "images" / "val_1.JPEG", 100, mode="L")
    (place / "val" / "val_annotations.txt").write_text("val_1.JPEG\tn02\t0\t0\t9\t9\nval_0.JPEG\tn03\t1\t2\t3\t4\n")
    (place / "wnids.txt").write_text("\n".join(CLASSES) + "\n")
    (place / "words.txt").write_text("n01\tgoldfish\nn02\tbus, coach\nn99\tother\n")
    return place


def test_every_picture_comes_with_its_class(folder):
    train, test = tiny_imagenet(folder)
    assert train.shape == (3, 64, 64)
    assert train.classes == ("n03", "goldfish", "bus, coach")
    assert train.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.targets.tolist() == [2, 0]
    # JPEG at quality 100 rounds a flat picture's three channels by a few steps.
    assert np.abs(train.images[:, 0].mean(axis=(1, 2)) - [0, 10, 40, 50, 80, 90]).max() < 4
    assert np.abs(train.images[:, 1].mean(axis=(1, 2)) - [255, 245, 215, 205, 175, 165]).max() < 4
    assert np.abs(test.images[0] - np.float64(100)).max() < 4  # grey: three equal channels


def test_the_folder_may_be_one_level_down_and_lists_may_be_missing(folder):
    (folder / "wnids.txt").unlink()
    (folder / "words.txt").unlink()
    inner = folder.parent / "tiny-imagenet-200"
    folder.rename(inner)
    train, _ = tiny_imagenet(inner.parent)
    assert train.classes == ("n01", "n02", "n03")
    assert train.targets.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_cache_is_written_whole_read_without_decoding_and_mapped(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    plain = tiny_imagenet(folder)
    first = tiny_imagenet(folder, cache=cache)
    assert sorted(path.name for path in cache.iterdir()) == ["train.npy", "val.npy"]
    monkeypatch.setattr(sys.modules[tiny_imagenet.__module__], "read_picture", None)
    second = tiny_imagenet(folder, cache=str(cache))
    for part in range(2):
        assert np.array_equal(first[part].images, plain[part].images)
        assert np.array_equal(second[part].images, plain[part].images)
        assert isinstance(second[part].images.base, np.memmap)
        assert not second[part].images.flags.writeable


def test_a_cache_that_is_not_finished_leaves_nothing_behind(folder, tmp_path):
    (folder / "train" / "n02" / "images" / "n02_1.JPEG").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"n02_1.JPEG"):
        tiny_imagenet(folder, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("array", [np.zeros((5, 3, 64, 64), np.uint8), np.zeros(6), np.zeros((6, 3, 64, 64))])
def test_a_cache_of_something_else_is_refused(folder, tmp_path, array):
    np.save(tmp_path / "train.npy", array)
    with pytest.raises(InputError, match=r"6 pictures of train|uint8"):
        tiny_imagenet(folder, cache=tmp_path)


def test_a_truncated_cache_is_refused(folder, tmp_path):
    tiny_imagenet(folder, cache=tmp_path / "cache")
    path = tmp_path / "cache" / "train.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"must be a readable .npy file.*Delete it"):
        tiny_imagenet(folder, cache=tmp_path / "cache")


def test_progress_is_told_on_demand(folder):
    told = []
    tiny_imagenet(folder, progress=lambda *words: told.append(words))
    assert {words for words, _, _ in told} == {"pictures of train", "pictures of val"}
    assert all(0 <= done < total for _, done, total in told)


def annotations(text):
    return lambda folder: (folder / "val" / "val_annotations.txt").write_text(text)


def wnids(text):
    return lambda folder: (folder / "wnids.txt").write_text(text)


def replaced(**options):
    return lambda folder: picture(folder / "train" / "n01" / "images" / "n01_0.JPEG", 9, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (annotations("val_0.JPEG n03\n"), "separated by a tab; line 1 is 'val_0.JPEG n03'"),
        (annotations("val_0.JPEG\tn03\t0\nval_1.JPEG\tn77\t0\n"), r"line 2 is 'val_1.JPEG\\tn77\\t0'"),
        (annotations("../../secret.JPEG\tn03\n"), "line 1 is"),
        (annotations("lost.JPEG\tn03\n"), "cannot read the picture .*lost.JPEG: No such file"),
        (annotations("\n"), "must list at least one picture"),
        (wnids("n01\nn02\nn03\nn04\n"), "one folder for each line of wnids.txt; there is none for 'n04'"),
        (wnids("n01\nn01\n"), "some of them twice"),
        (wnids("../val\n"), "there is none for '../val'"),
        (replaced(size=(64, 63)), "n01_0.JPEG must be a picture of 64 × 64 pixels of 8 bits; got 63 × 64"),
        (lambda folder: (folder / "val" / "val_annotations.txt").unlink(), "Missing: val/val_annotations.txt"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message):
        tiny_imagenet(folder)


def test_a_class_without_pictures_is_named(folder):
    for path in (folder / "train" / "n01" / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"n01.images .*empty"):
        tiny_imagenet(folder)


def test_a_missing_folder_is_answered_with_what_to_put_where(tmp_path):
    with pytest.raises(InputError, match=r"\(237 MB, .*train, val.*no such folder"):
        tiny_imagenet(tmp_path / "nothing")
