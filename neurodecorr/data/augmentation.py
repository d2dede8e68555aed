"""Prepare images for a network: cut out a window, mirror by chance, scale each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array
from neurodecorr.data.images import ImageDataset
from neurodecorr.errors import ConfigError, InputError

Size = int | tuple[int, int]

# Name → side of the window (None: that of the image), margin of zeros around the image, whether to mirror by chance.
RECIPES: dict[str, tuple[int | None, int, bool]] = {
    "plain": (None, 0, False),
    "cifar": (None, 4, True),
    "tiny-imagenet": (56, 0, False),
}


@short_repr
@dataclass(frozen=True)
class Preparation:
    """Recipe and scale by which images become the inputs of a network.

    ::

        x = (p/w − m)/s,    per channel

    Parameters
    ----------
    mean, std : tuple of float
        Of each channel, in units of white; std > 0.
    white : float, default 255
        The pixel value that stands for 1.
    crop : int, optional
        Side of the window that is cut out, pixels; by default the image's own height and width.
    padding : int, default 0
        Zeros put around the image before a window is drawn by chance, pixels.
    flip : bool, default False
        Whether half of the images, by chance, are mirrored left to right.

    Raises
    ------
    ConfigError
        If a number lies outside its range.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: float = 255.0
    crop: int | None = None
    padding: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        mean = tuple(_validation.number(m, "each channel's mean") for m in _validation.sequence(self.mean, "mean"))
        std = tuple(_validation.positive(s, "each channel's std") for s in _validation.sequence(self.std, "std"))
        if not mean or len(mean) != len(std):
            raise ConfigError(f"mean and std must hold one number per channel; got {len(mean)} and {len(std)}.")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)
        _validation.positive(self.white, "white")
        _validation.flag(self.flip, "flip")
        _validation.count(self.padding, "padding", least=0)
        if self.crop is not None:
            _validation.count(self.crop, "crop")

    def shape(self, image: Sequence[int]) -> tuple[int, int, int]:
        """Return the shape of a prepared image, (channels, height, width).

        Parameters
        ----------
        image : (channels, height, width)
            The shape that it comes in.
        """
        lengths = [_validation.count(length, "each length of image") for length in _validation.sequence(image, "image")]
        if len(lengths) != 3:
            raise ConfigError(f"image must be (channels, height, width); got {len(lengths)} lengths.")
        channels, height, width = lengths
        return channels, self.crop or height, self.crop or width


def preparation(dataset: ImageDataset, recipe: str = "plain") -> Preparation:
    """Return the preparation of a training set: its own mean and scale per channel, and a recipe.

    A channel that never varies is shifted to 0 and not scaled.

    Parameters
    ----------
    dataset : ImageDataset
        The training set; its statistics also serve validation and test.
    recipe : str, default "plain"
        - "plain": whole images;
        - "cifar": a margin of 4 zeros, a window of the image's size drawn by chance, mirrored by chance;
        - "tiny-imagenet": a 56 × 56 window, drawn by chance in training, in the centre elsewhere.

    Returns
    -------
    Preparation
        For `prepare` and `Epochs`.

    References
    ----------
    "Correlations are ruining your gradient descent", Appendix F (Tiny ImageNet), and its public code (CIFAR).

    Examples
    --------
    >>> preparation(ImageDataset(np.uint8([[[[0, 255]]]]), [0]), "cifar")
    Preparation(mean=(0.5,), std=(0.5,), white=255, crop=None, padding=4, flip=True)
    """
    crop, padding, flip = RECIPES[_validation.choice(recipe, "recipe", RECIPES)]
    _validation.instance(dataset, ImageDataset, "dataset")
    mean, std = dataset.statistics()
    std[std == 0] = 1
    return Preparation(tuple(mean.tolist()), tuple(std.tolist()), float(dataset.white), crop, padding, flip)


def prepare(images: npt.ArrayLike, how: Preparation, rng: np.random.Generator | None = None) -> npt.NDArray[np.float32]:
    """Return images as the inputs of a network.

    ::

        x = (p/w − m)/s,    p the pixels of the window, w their white, m and s per channel

    With a generator: a window drawn by chance, mirrored by chance. Without one, as for validation and test: the window
    in the centre, as it is. Both are then shifted and scaled channel by channel.

    Parameters
    ----------
    images : (b, channels, height, width) array
        Pixels, uint8 or float.
    how : Preparation
        What to do.
    rng : numpy.random.Generator, optional
        Draws windows, then mirrored images.

    Returns
    -------
    (b, channels, crop, crop) array of float32
        The inputs.

    Raises
    ------
    InputError
        If the images are smaller than the window, or have other channels than the preparation.
    """
    pixels, how = (
        _images(images),
        _validation.instance(how, Preparation, "how", advice="Use preparation(images, recipe)."),
    )
    height, width = how.crop or pixels.shape[2], how.crop or pixels.shape[3]
    if rng is None:
        return _normalised(centre_crop(pixels, (height, width)), how.mean, how.std, how.white)
    _generator(rng)
    if (height, width) != pixels.shape[2:] or how.padding:
        pixels = random_crop(pixels, (height, width), rng, how.padding)
    if how.flip:
        pixels = random_flip(pixels, rng)
    return _normalised(pixels, how.mean, how.std, how.white)


def random_crop(
    images: npt.ArrayLike, size: int | tuple[int, int], rng: np.random.Generator, padding: int = 0
) -> Array:
    """Cut one window out of each image, all places equally likely.

    Parameters
    ----------
    images : (b, channels, height, width) array
        Pixels of any type.
    size : int or (int, int)
        Height and width of the window, pixels.
    rng : numpy.random.Generator
        Draws b rows, then b columns.
    padding : int, default 0
        Zeros put around each image first, pixels.

    Returns
    -------
    (b, channels, *size) array
        The windows, of the same type.

    Raises
    ------
    InputError
        If the window is larger than the image and its margin.

    References
    ----------
    Krizhevsky, Sutskever & Hinton (2012), Advances in Neural Information Processing Systems 25, §4.1.
    """
    pixels, (height, width) = _images(images), _size(size)
    _generator(rng)
    _validation.count(padding, "padding", least=0)
    require_memory(
        8 * (pixels.size / pixels[0, 0].size * (pixels.shape[2] + 2 * padding) * (pixels.shape[3] + 2 * padding)),
        "images",
    )
    margin = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(pixels, margin) if _validation.count(padding, "padding", least=0) else pixels
    _fits(padded, height, width)
    rows = rng.integers(0, padded.shape[2] - height + 1, len(padded))
    columns = rng.integers(0, padded.shape[3] - width + 1, len(padded))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    chosen: Array = windows[np.arange(len(padded)), :, rows, columns]
    return chosen


def centre_crop(images: npt.ArrayLike, size: Size) -> Array:
    """Cut the window in the centre out of each image; half a pixel left over goes to the end.

    Parameters
    ----------
    images : (b, channels, height, width) array
        Pixels of any type.
    size : int or (int, int)
        Height and width of the window, pixels.

    Returns
    -------
    (b, channels, *size) array
        The windows, as a view.

    Raises
    ------
    InputError
        If the window is larger than the image.

    Examples
    --------
    >>> centre_crop(np.arange(16).reshape(1, 1, 4, 4), 2).tolist()
    [[[[5, 6], [9, 10]]]]
    """
    pixels, (height, width) = _images(images), _size(size)
    _fits(pixels, height, width)
    top, left = (pixels.shape[2] - height) // 2, (pixels.shape[3] - width) // 2
    return pixels[:, :, top : top + height, left : left + width]


def random_flip(images: npt.ArrayLike, rng: np.random.Generator) -> Array:
    """Mirror each image left to right with probability 1/2.

    Parameters
    ----------
    images : (b, channels, height, width) array
        Pixels of any type.
    rng : numpy.random.Generator
        Draws one bit for each image.

    Returns
    -------
    (b, channels, height, width) array
        A copy.

    References
    ----------
    Krizhevsky, Sutskever & Hinton (2012), Advances in Neural Information Processing Systems 25, §4.1.
    """
    pixels = _images(images)
    _generator(rng)
    mirrored = rng.integers(0, 2, len(pixels)).astype(bool)
    result = pixels.copy()
    result[mirrored] = pixels[mirrored, :, :, ::-1]
    return result


def normalised(
    images: npt.ArrayLike, mean: Sequence[float], std: Sequence[float], white: float = 255.0
) -> npt.NDArray[np.float32]:
    """Return pixels on one scale per channel, as float32.

    ::

        x = (p/w − m)/s

    Parameters
    ----------
    images : (b, channels, height, width) array
        Pixels p.
    mean, std : sequence of float
        m and s of each channel, in units of white.
    white : float, default 255
        The pixel value w that stands for 1.

    Returns
    -------
    (b, channels, height, width) array of float32
        x, with the two roundings of p·1/(ws) − m/s.

    Raises
    ------
    InputError
        If there is not one mean and one std for each channel.
    ConfigError
        If a std, or white, is not > 0.

    Examples
    --------
    >>> normalised(np.uint8([[[[0, 255]]]]), mean=[0.5], std=[0.25]).tolist()
    [[[[-2.0, 2.0]]]]
    """
    m, s = (_validation.finite(_validation.real_array(one, name), name) for one, name in ((mean, "mean"), (std, "std")))
    return _normalised(_images(images), m, s, _validation.positive(white, "white"))


def _normalised(pixels: Array, mean: npt.ArrayLike, std: npt.ArrayLike, white: float) -> npt.NDArray[np.float32]:
    m, s = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if m.shape != (pixels.shape[1],) or s.shape != m.shape:
        raise InputError(
            f"mean and std must hold one number for each of {pixels.shape[1]} channels; got {m.size} and {s.size}."
        )
    if not (np.isfinite(m).all() and (s > 0).all() and white > 0):
        raise ConfigError(f"means must be finite, stds and white > 0; got {m.tolist()}, {s.tolist()} and {white}.")
    x = np.multiply(pixels, (1 / (white * s)).astype(np.float32)[:, None, None], dtype=np.float32)
    x -= (m / s).astype(np.float32)[:, None, None]
    return x


def _generator(rng: object) -> None:
    _validation.instance(
        rng, np.random.Generator, "rng", "a numpy.random.Generator", "Use numpy.random.default_rng(seed)."
    )


def _images(value: Any) -> Array:
    images = _validation.numeric(value, "images")
    if images.ndim != 4 or images.dtype.kind not in "uif" or 0 in images.shape:
        raise InputError(
            f"images must be numbers of shape (b, channels, height, width); got shape {images.shape} of type "
            f"{images.dtype}."
        )
    return images


def _size(value: Size) -> tuple[int, int]:
    if isinstance(value, tuple) and len(value) != 2:
        raise ConfigError(f"size must be one number, or (height, width); got {len(value)} numbers.")
    height, width = value if isinstance(value, tuple) else (value, value)
    return _validation.count(height, "size"), _validation.count(width, "size")


def _fits(images: Array, height: int, width: int) -> None:
    if height > images.shape[2] or width > images.shape[3]:
        raise InputError(
            f"a window of {height} × {width} pixels must fit into the image; this has {images.shape[2]} × "
            f"{images.shape[3]}, its margin included."
        )
