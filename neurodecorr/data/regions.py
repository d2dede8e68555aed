"""Split pictures into a part to learn from and a held-out part that share no pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurodecorr import _validation
from neurodecorr._typing import Floats
from neurodecorr.errors import InputError

# One part in so many is held out.
_ONE_IN = 5
# Strips of one picture at most, and the width of a strip in patches at least.
_MOST_STRIPS, _LEAST_PATCHES = 20, 2


@dataclass(frozen=True)
class Pieces:
    """Pieces of pictures, and the probability that a patch comes from each.

    Parameters
    ----------
    images : list of (height, width) arrays
        The pieces; a patch lies within one of them.
    weights : (pieces,) array
        Probability of each, in all 1.
    positions : int
        Places that a patch may have, over all pieces.
    """

    images: list[Floats]
    weights: Floats
    positions: int


@dataclass(frozen=True)
class Parts:
    """Training part and held-out part of pictures, and the way they were split.

    Parameters
    ----------
    training, held_out : Pieces
        They share no pixel.
    words : str
        How the pictures were split.
    """

    training: Pieces
    held_out: Pieces
    words: str


def split_pictures(images: Sequence[Floats], size: int, seed: int = 0, *, whole: bool = True) -> Parts:
    """Split pictures into a training part and a held-out part, one fifth, that share no pixel.

    Two pictures or more are split picture by picture, unless `whole` is False. Otherwise each picture is cut into
    strips across its longer side, 20 or as many as are two patches wide, and every fifth is held out. A band of one
    patch's width on either side of it belongs to neither part.

    Parameters
    ----------
    images : sequence of (height, width) arrays
        Grey pictures, each at least `size` in both directions.
    size : int
        Side of a patch, pixels.
    seed : int, default 0
        Chooses the pictures, or which of five strips.
    whole : bool, default True
        Whether pictures stay whole where there are several.

    Returns
    -------
    Parts
        Both parts.

    Raises
    ------
    InputError
        If a picture is too small to be taken apart.
    """
    _validation.count(seed, "seed", least=0)
    if whole and len(images) > 1:
        away = max(1, round(len(images) / _ONE_IN))
        order = np.random.default_rng(seed).permutation(len(images))
        held_out, training = (sorted(part.tolist()) for part in (order[:away], order[away:]))
        words = f"by picture: {away} of {len(images)} held out"
        return Parts(
            _pieces([[images[k]] for k in training], size), _pieces([[images[k]] for k in held_out], size), words
        )
    cut = [_strips(image, size, seed % _ONE_IN) for image in images]
    of = "the picture" if len(images) == 1 else "each picture"
    strips = sorted({many for _, _, many in cut})
    many = f"{strips[0]}" if len(strips) == 1 else f"{strips[0]} to {strips[-1]}"
    chosen = f"every fifth of {many} strips" if strips[0] else "a strip at one end"
    words = f"by region: {chosen} of {of} held out, with a band of {size} pixels between"
    return Parts(_pieces([kept for kept, _, _ in cut], size), _pieces([away for _, away, _ in cut], size), words)


def _pieces(pictures: Sequence[Sequence[Floats]], size: int) -> Pieces:
    """Give every picture the same weight, and every patch of one picture the same."""
    images = [piece for pieces in pictures for piece in pieces]
    counts = [np.array([_positions(piece, size) for piece in pieces], dtype=float) for pieces in pictures]
    weights = np.concatenate([count / count.sum() for count in counts]) / len(pictures)
    return Pieces(images, weights / weights.sum(), int(sum(count.sum() for count in counts)))


def _positions(image: Floats, size: int) -> int:
    return int((image.shape[0] - size + 1) * (image.shape[1] - size + 1))


def _strips(image: Floats, size: int, which: int) -> tuple[list[Floats], list[Floats], int]:
    """Return the pieces to learn from, those to hold out, and the number of strips; 0 if only an end is cut off."""
    upright = image.shape[0] > image.shape[1]
    length = max(image.shape)
    many = _ONE_IN * min(_MOST_STRIPS // _ONE_IN, max(1, length // (_ONE_IN * _LEAST_PATCHES * size)))
    edges = [round(length * k / many) for k in range(many + 1)]
    held_out = [(edges[k], edges[k + 1]) for k in range(which, many, _ONE_IN)]
    if edges[1] < _LEAST_PATCHES * size:  # a small picture: one strip at its end, as wide as it must be
        many, held_out = 0, [(length - max(size, edges[1]), length)]
    bounds = [0, *(edge for begin, end in held_out for edge in (begin - size, end + size)), length]
    kept = [(begin, end) for begin, end in zip(bounds[::2], bounds[1::2], strict=True) if end - begin >= size]
    if not kept:
        raise InputError(
            f"images must be at least {3 * size} pixels long, three patches, for a part to be held out; got "
            f"{image.shape[0]} × {image.shape[1]}. Use smaller patches, or give two pictures or more."
        )
    parts = [[image[a:b] if upright else image[:, a:b] for a, b in bands] for bands in (kept, held_out)]
    return parts[0], parts[1], many
