"""The folder of a comparison: what lies in it, and who may write there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from neurodecorr.recording import Claim, claim

__all__ = ["FILES", "KIND", "claim_folder"]

KIND = "comparison"
# Spelt out here, as they must be known before the figures' library is loaded; a test compares them with the figures.
_FIGURES = (
    "correlations",
    "cost",
    "spectra",
    "receptive_fields",
    "lateral_fields",
    "learning",
    "eigenvalues",
    "settling",
    "mismatch",
)
FILES = ("report.html", "result.npz", "traces.h5", *(f"{name}.{kind}" for name in _FIGURES for kind in ("svg", "png")))


def claim_folder(folder: str | os.PathLike[str], settings: Mapping[str, Any], *, overwrite: bool = False) -> Claim:
    """Claim a folder for a comparison; see `recording.claim`.

    Parameters
    ----------
    folder : path-like
        Where to write.
    settings : mapping
        What decides the numbers.
    overwrite : bool, default False
        Whether another run that is there may be replaced.

    Returns
    -------
    Claim
        Its state says whether this very comparison is there already.

    Raises
    ------
    CheckpointError
        If the folder cannot be written, or holds what would be replaced.
    """
    return claim(folder, KIND, settings, makes=FILES, overwrite=overwrite)
