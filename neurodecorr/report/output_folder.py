"""The folder of a comparison: what lies in it, who may write there, and what is made from it later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodecorr.io.claims import Claim, claim
from neurodecorr.io.manifest import content_hash, read_manifest

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
BUDGET_FILES = ("budget.html", "budget.json", "budget.svg", "budget.png")


def claim_folder(folder: str | os.PathLike[str], settings: Mapping[str, Any], *, overwrite: bool = False) -> Claim:
    """Claim a folder for a comparison; see `io.claim`.

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


def claim_budget(
    folder: str | os.PathLike[str], settings: Mapping[str, Any], source: str, *, overwrite: bool = False
) -> Claim:
    """Claim a folder for a hardware budget, beside the run that it is made from or elsewhere.

    Parameters
    ----------
    folder : path-like
        Where to write.
    settings : mapping
        What was asked.
    source : str
        From `source_of`: when that run is replaced, its budget goes, too.
    overwrite : bool, default False
        Whether another budget may be replaced.

    Returns
    -------
    Claim
        Its state says whether this very budget is there already.

    Raises
    ------
    CheckpointError
        As `claim_folder`.
    """
    return claim(folder, "budget", settings, makes=BUDGET_FILES, source=source, overwrite=overwrite)


def source_of(folder: str | os.PathLike[str]) -> str:
    """Return the identity of the run in a folder, or a hash of its files where no manifest tells it.

    Parameters
    ----------
    folder : path-like
        The folder of a run, or a file of it.

    Returns
    -------
    str
        Names the run as a source of what is made from it.

    Raises
    ------
    CheckpointError, InputError
        If the manifest is damaged, or there is nothing to hash.
    """
    given = Path(folder)
    place = given if given.is_dir() else given.parent
    known = [run for run in read_manifest(place) if run.source is None]
    if known and known[0].identity:
        return known[0].identity
    whole = [place / name for name in ("result.npz", "checkpoint.npz") if (place / name).is_file()]
    return content_hash(given if given.is_file() else whole[0] if whole else given)
