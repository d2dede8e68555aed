"""What can be judged at all, and from which size on a number is more than scatter: asked before any work."""

from __future__ import annotations

import math

import numpy as np

from neurodecorr._memory import require_memory
from neurodecorr.data import Split
from neurodecorr.errors import InputError

__all__ = ["LEAST_HELD_OUT", "require_judgeable", "require_room"]

# Held-out samples below which correlations of independent units scatter by more than 0.2.
LEAST_HELD_OUT = 25
# Square matrices that a trial holds at its fullest, beside the samples.
_MATRICES = 12


def require_judgeable(split: Split) -> None:
    """Raise unless a comparison on this split can be judged.

    Parameters
    ----------
    split : Split
        Stream and held-out samples.

    Raises
    ------
    InputError
        If fewer than two units vary, there are too few samples for so many units, or too few held-out samples.
    """
    stream, held_out, name = split.stream, split.held_out, repr(split.stream.name)
    rows = stream.inputs
    active = int((rows.max(axis=0) > rows.min(axis=0)).sum())
    if active < 2:
        raise InputError(
            f"{name} must have at least two units that vary, as correlation is between two; got {active} of "
            f"{stream.features}. For images use patches of size 2 or more."
        )
    if len(stream) <= active:
        raise InputError(
            f"{name} must have more samples than units to learn from; got {len(stream):,} samples of {active:,} units: "
            "rows are samples. Give more samples or fewer units, or take columns for samples with --transpose."
        )
    chance = 1 / math.sqrt(len(held_out))
    if split.covariance is None and len(held_out) < LEAST_HELD_OUT:
        raise InputError(
            f"{name} must leave at least {LEAST_HELD_OUT} held-out samples to be judged on; got {len(held_out)}, among "
            f"which independent units show correlations of about {chance:.2g} by chance. Give more samples."
        )
    shown = np.diag(split.covariance) if split.covariance is not None else held_out.inputs.var(axis=0)
    if int((shown > 0).sum()) < 2:
        raise InputError(
            f"the held-out part of {name} must vary in at least two units; got {int((shown > 0).sum())}. Use another "
            "seed or other data."
        )


def require_room(split: Split, forms: int, jobs: int) -> None:
    """Raise if the matrices of the trials will not fit in memory.

    Parameters
    ----------
    split : Split
        Stream and held-out samples; they are there already.
    forms, jobs : int
        Trials, and how many of them at a time.
    """
    n = split.stream.features
    needed = 8 * n * n * (4 * forms + _MATRICES * min(jobs, forms))
    require_memory(needed, f"a comparison of {forms} forms with {n:,} units", "Use fewer units.")
