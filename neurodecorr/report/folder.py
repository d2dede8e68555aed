"""The folder of a comparison: result, traces, figures, report, and a manifest that lists them."""

from __future__ import annotations

import os
from pathlib import Path

from neurodecorr import plots
from neurodecorr._validation import checked_path, flag, instance
from neurodecorr.comparison import Comparison
from neurodecorr.comparison.comparison import require_comparison
from neurodecorr.io import Recorder, Variable
from neurodecorr.io.atomic import atomic_path, write_bytes, write_text
from neurodecorr.io.claims import Claim, reclaim
from neurodecorr.report.page import FILES, KIND, claim_folder, page

REPORT, RESULT, TRACES = "report.html", "result.npz", "traces.h5"
CURVES = (
    ("margin", "margins", "1/τ", "min Re λ(R)"),
    ("correlation", "correlations", "", "rms correlation coefficient on held-out samples"),
    ("power", "powers", "", "tr cov(x̄)/tr cov(x) on held-out samples"),
)


def publish(
    comparison: Comparison,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    png: bool = False,
    mine: Claim | None = None,
) -> Path:
    """Write the files of a comparison into one folder, and return the path of its report.

    Files: report.html, result.npz, traces.h5, manifest.json, and each figure as SVG. All figures are drawn
    before the first file is written, each file appears whole or not at all, and the manifest is completed last.

    Parameters
    ----------
    comparison : Comparison
        What was found.
    folder : path-like
        Where to; made if missing.
    overwrite : bool, default False
        Whether another run that is there may be replaced; its files, and what was made from it, are removed.
    png : bool, default False
        Whether to write each figure as PNG as well.
    mine : Claim, optional
        The claim to the folder, from `claim_folder`; by default it is made here, from the configuration.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    CheckpointError
        If the folder holds another run or files of somebody else, or a file cannot be written; files not yet replaced
        are unchanged.
    """
    require_comparison(comparison)
    place, overwrite = checked_path(folder, "folder"), flag(overwrite, "overwrite")
    kinds = ("svg", "png") if flag(png, "png") else ("svg",)
    if mine is not None:
        instance(mine, Claim, "mine")
    mine = mine or claim_folder(place, comparison.config, overwrite=overwrite)
    figures = {name: draw(comparison) for name, draw in plots.FIGURES.items()}
    drawn = {
        f"{name}.{kind}": content
        for name, figure in figures.items()
        for kind, content in plots.files.rendered(figure, kinds).items()
    }
    text = page(comparison, {name: drawn[f"{name}.svg"] for name in figures})
    mine.begin()
    written = [comparison.to_result().save(place / RESULT), _write_traces(comparison, place / TRACES)]
    written += [write_bytes(place / name, data) for name, data in drawn.items()]
    written.append(write_text(place / REPORT, text))
    mine.finish(written, config=comparison.config, provenance=comparison.provenance)
    return place / REPORT


def draw_again(
    folder: str | os.PathLike[str], *, overwrite: bool = False, png: bool = False
) -> tuple[Comparison, Path]:
    """Draw figures and report of a folder again, from its result, and return the comparison and the report's path.

    Parameters
    ----------
    folder : path-like
        The folder of a comparison, or its result.npz.
    overwrite : bool, default False
        Whether files that were changed since they were written may be replaced.
    png : bool, default False
        Whether to write each figure as PNG as well, as is done where the folder has them.

    Returns
    -------
    tuple of Comparison and Path
        What is in the folder, and its report.

    Raises
    ------
    CheckpointError
        If there is no comparison, or a file was changed or cannot be written.
    """
    given, overwrite = checked_path(folder, "folder"), flag(overwrite, "overwrite")
    place = given if given.is_dir() else given.parent
    comparison = Comparison.load(given)
    makes = [name for name in FILES if name != RESULT or not (given.is_dir() or given.name == RESULT)]
    mine = reclaim(place, KIND, comparison.config, makes=makes, overwrite=overwrite)
    kept = any((place / f"{name}.png").exists() for name in plots.FIGURES)
    return comparison, publish(comparison, place, png=flag(png, "png") or kept, mine=mine)


def _write_traces(comparison: Comparison, path: Path) -> Path:
    """Write the learning curves of every online form, each with its own step axis, named like "R_local.margin"."""
    online = [entry for entry in comparison.entries if len(entry.steps)]
    curves = {
        Variable(f"{entry.name.replace(' ', '_')}.{name}", unit=unit, description=words): (
            entry.steps,
            getattr(entry, field),
        )
        for entry in online
        for name, field, unit, words in CURVES
    }
    with (
        atomic_path(path) as temporary,
        Recorder(
            temporary, curves, provenance=comparison.provenance, metadata={"dataset": comparison.dataset}
        ) as recorder,
    ):
        for variable, (steps, values) in curves.items():
            recorder.record_rows(steps, {variable.name: values})
    return path
