"""Every way of handing over images gives the same grey pixels; what is no image is refused by name."""

import numpy as np
import pytest
from PIL import Image

from neurodecorr.data import files, image_patches, patches
from neurodecorr.errors import InputError

GREY = np.random.default_rng(0).integers(0, 256, (12, 15), dtype=np.uint8)
GREY[0, 0] = 255  # the largest pixel is white, so that all scales agree


def only(images, size=4):
    (picture,) = patches.pictures(images, size)
    return picture


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_are_averaged_and_alpha_is_ignored(channels):
    colours = {1: 1, 2: 1, 3: 3, 4: 3}[channels]
    image = np.random.default_rng(1).integers(0, 256, (9, 10, channels), dtype=np.uint8)
    expected = image[..., :colours].astype(float).mean(axis=2)
    for images in (image[None], [image]):
        assert np.allclose(only(images), expected / expected.max(), rtol=1e-15)


@pytest.mark.parametrize(
    "images",
    [
        GREY,
        GREY[None],
        [GREY],
        (image for image in [GREY]),
        GREY[None, :, :, None],
        np.repeat(GREY[None, :, :, None], 3, axis=3),
        GREY.astype(np.uint16) * 257,
        GREY.astype(">u2") * 257,
        GREY.astype(np.int32),
        GREY.astype(np.float32),
        GREY / 255,
        [GREY.tolist()],
    ],
    ids=lambda images: f"{type(images).__name__} {getattr(images, 'dtype', '')} {getattr(images, 'shape', '')}",
)
def test_the_same_image_in_any_container_and_type(images):
    assert np.allclose(only(images), GREY / 255, rtol=1e-15)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "PA", "I;16"])
def test_the_same_png_in_any_mode(mode, tmp_path):
    if mode == "I;16":
        picture = Image.fromarray(GREY.astype(np.uint16) * 257)
    elif mode == "PA":
        picture = Image.fromarray(GREY).convert("P")
        picture.info["transparency"] = 7
    else:
        picture = Image.fromarray(GREY).convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(255 - GREY))
    picture.save(tmp_path / "grey.png", **({"transparency": 7} if mode == "PA" else {}))
    assert np.allclose(only(tmp_path / "grey.png"), GREY / 255, rtol=1e-15)


def test_black_and_white_png(tmp_path):
    Image.fromarray(GREY > 128).save(tmp_path / "bits.png")
    assert np.array_equal(only(tmp_path / "bits.png"), GREY > 128)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_keeps_grey_to_its_own_precision(mode, tmp_path):
    smooth = np.add.outer(np.arange(16.0), np.arange(24.0)) * 6
    Image.fromarray(smooth.astype(np.uint8)).convert(mode).save(tmp_path / "grey.JPG", format="JPEG", quality=100)
    assert np.allclose(only(tmp_path / "grey.JPG"), smooth / smooth.max(), atol=4 / 255)


def test_a_turned_photograph_is_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90° to view
    Image.fromarray(GREY).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(only(tmp_path / "turned.png"), np.rot90(GREY, -1) / 255)


def test_eight_and_sixteen_bit_pictures_share_one_scale(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "b.png")
    first, second = patches.pictures(tmp_path, 4)
    assert np.allclose(first, second, rtol=1e-15)


def test_a_folder_is_read_in_order_of_names_and_other_files_are_ignored(tmp_path):
    for k, name in enumerate(["c.png", "a.PNG", "b.jpeg"]):
        Image.fromarray(np.full((5 + k, 6), 255, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._a.png").write_bytes(b"left by a file manager")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "d.png").symlink_to(tmp_path / "c.png")
    assert [image.shape for image in patches.pictures(tmp_path, 4)] == [(6, 6), (7, 6), (5, 6), (5, 6)]
    (tmp_path / "link").symlink_to(tmp_path)
    assert len(patches.pictures(tmp_path / "link", 4)) == 4


def test_paths_and_arrays_may_share_a_sequence(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert np.array_equal(*patches.pictures([str(tmp_path / "a.png"), GREY], 4))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_array_files_hold_images_or_stacks(tmp_path, suffix):
    path = tmp_path / f"images{suffix}"
    save = np.save if suffix == ".npy" else np.savez_compressed
    for image, count in ((GREY, 1), (np.stack([GREY, GREY]), 2), (np.repeat(GREY[None, :, :, None], 3, 3), 1)):
        save(path, image)
        found = patches.pictures(path, 4)
        assert len(found) == count
        assert np.allclose(found[0], GREY / 255, rtol=1e-15)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "at least one image; got none"),
        (np.zeros((0, 9, 9)), "at least one image; got none"),
        (7, "an array, a sequence of arrays, or a path; got int"),
        (np.zeros(9), r"images must be \(h, w\), \(k, h, w\).*got shape \(9,\)"),
        (np.zeros((1, 2, 9, 9, 3)), "got shape"),
        (np.zeros((2, 9, 9, 5)), r"images\[0\] must be one image.*got shape \(9, 9, 5\)"),
        ([GREY, GREY[:3]], r"images\[1\] must be at least 4 × 4 pixels.*got 3 × 15"),
        (np.zeros((9, 9, 3)), r"got 9 × 3. A single colour image is \(1, h, w, channels\)"),
        ([np.zeros(9)], r"images\[0\] must be one image"),
        ([GREY, np.where(GREY == 255, np.nan, GREY)], r"images\[1\] must be finite.*found nan at row 0, column 0"),
        ([GREY * 1j], r"images\[0\] must hold real numbers; got complex"),
        ([GREY.astype(str)], "real numbers"),
        ([[[1, 2], [3]]], "rectangular"),
        ("nowhere.png", "cannot read the picture nowhere.png: No such file"),
        ("nowhere.npy", "cannot read the .npy or .npz file nowhere.npy: No such file"),
        ("nowhere", "folder of pictures or a file of type .png, .jpg, .jpeg, .npy, .npz; got 'nowhere'"),
        (np.zeros((9, 9)), "images must have contrast"),
    ],
)
def test_images_refuse(images, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        image_patches(images, size=4, samples=5)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"picture .*found none"):
        image_patches(tmp_path)


def damaged(kind, good):
    return {"empty": b"", "text": b"not an image", "truncated": good[: len(good) // 2], "header only": good[:30]}[kind]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "header only"])
def test_a_corrupt_picture_is_named(tmp_path, suffix, kind):
    Image.fromarray(np.tile(GREY, (9, 9))).save(tmp_path / f"a{suffix}")
    bad = tmp_path / f"b{suffix}"
    bad.write_bytes(damaged(kind, (tmp_path / f"a{suffix}").read_bytes()))
    with pytest.raises(InputError, match=rf"b\{suffix} must be a readable PNG or JPEG picture"):
        image_patches(tmp_path)


def test_only_png_and_jpeg_decoders_are_offered_the_bytes(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png", format="GIF")
    with pytest.raises(InputError, match=r"a\.png must be a readable PNG or JPEG"):
        image_patches(tmp_path / "a.png")


@pytest.mark.parametrize("limit", [150, 50])  # Pillow warns beyond its limit and raises beyond twice that
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, limit):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InputError, match=r"a.png.*180 pixels.*exceeds limit"):
        image_patches(tmp_path)


def test_more_pixels_than_fit_are_refused(monkeypatch):
    assert patches.MOST_ENTRIES == files.MOST_ENTRIES == 2**29
    monkeypatch.setattr(patches, "MOST_ENTRIES", 2 * GREY.size)
    assert len(patches.pictures([GREY] * 2, 4)) == 2
    with pytest.raises(InputError, match=r"360 pixels .*images\[2\]"):
        patches.pictures([GREY] * 3, 4)
