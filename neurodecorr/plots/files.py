"""Figures as files: the same figure gives the same bytes, and a file appears whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from neurodecorr.plots.style import STYLE
from neurodecorr.recording import write_bytes

__all__ = ["render", "save"]

FORMATS = ("svg", "png")


def render(figure: Figure, kind: str) -> bytes:
    """Return the figure as the content of a file.

    Parameters
    ----------
    figure : Figure
        What was drawn.
    kind : {"svg", "png"}
        Vector or pixels.

    Returns
    -------
    bytes
        Without date; the same figure gives the same bytes with the same matplotlib.
    """
    buffer = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return buffer.getvalue()


def save(figure: Figure, folder: str | os.PathLike[str], name: str) -> tuple[Path, ...]:
    """Write the figure as NAME.svg and NAME.png, each atomically.

    Parameters
    ----------
    figure : Figure
        What was drawn.
    folder : path-like
        Where to; made if missing.
    name : str
        Name of the files, without suffix.

    Returns
    -------
    tuple of Path
        The SVG file and the PNG file.

    Raises
    ------
    CheckpointError
        If a file cannot be written; older files are unchanged.
    """
    return tuple(write_bytes(Path(folder) / f"{name}.{kind}", render(figure, kind)) for kind in FORMATS)
