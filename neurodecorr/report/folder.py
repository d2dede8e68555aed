"""The folder of a comparison: result, traces, figures, report, and a manifest that lists them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from neurodecorr import plots
from neurodecorr.recording import (
    Recorder,
    Variable,
    atomic_path,
    require_writable,
    write_bytes,
    write_json,
    write_text,
)
from neurodecorr.report.page import page
from neurodecorr.workbench import Comparison

__all__ = ["publish"]

REPORT, RESULT, TRACES, MANIFEST = "report.html", "result.npz", "traces.h5", "manifest.json"
CURVES = (
    ("margin", "margins", "1/τ", "min Re λ(R)"),
    ("correlation", "correlations", "", "rms correlation coefficient on held-out samples"),
    ("power", "powers", "", "tr cov(x̄)/tr cov(x) on held-out samples"),
)


def publish(comparison: Comparison, folder: str | os.PathLike[str]) -> Path:
    """Write everything about a comparison into one folder, and return the path of its report.

    Files: report.html, result.npz, traces.h5, manifest.json, and each figure as SVG and PNG. All figures are drawn
    before the first file is written, each file appears whole or not at all, and the manifest is written last.

    Parameters
    ----------
    comparison : Comparison
        What was found.
    folder : path-like
        Where to; made if missing. Files of the same names are replaced.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    CheckpointError
        If a file cannot be written; files not yet replaced are unchanged.
    """
    place = Path(folder)
    require_writable(place)
    figures = {name: draw(comparison) for name, draw in plots.FIGURES.items()}
    drawn = {
        f"{name}.{kind}": content
        for name, figure in figures.items()
        for kind, content in plots.rendered(figure).items()
    }
    text = page(comparison, {name: drawn[f"{name}.svg"] for name in figures})
    written = [comparison.to_result().save(place / RESULT), _write_traces(comparison, place / TRACES)]
    written += [write_bytes(place / name, data) for name, data in drawn.items()]
    written.append(write_text(place / REPORT, text))
    write_json(place / MANIFEST, _manifest(comparison, written))
    return place / REPORT


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
            for step, value in zip(steps, values, strict=True):
                recorder.record(int(step), {variable.name: float(value)})
    return path


def _manifest(comparison: Comparison, written: list[Path]) -> dict[str, object]:
    contents = {path.name: path.read_bytes() for path in written}
    return {
        "schema": "neurodecorr-manifest",
        "version": 1,
        "kind": "comparison",
        "config": comparison.config,
        "provenance": comparison.provenance,
        "files": [
            {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(contents.items())
        ],
    }
