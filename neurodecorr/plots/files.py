"""Figures as files: the same figure gives the same bytes, and a file appears whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from neurodecorr._texts import printable
from neurodecorr._validation import checked_names, checked_path, checked_text, choice, instance
from neurodecorr.io.atomic import write_bytes
from neurodecorr.plots.style import SETTINGS, STYLE

FORMATS = ("svg", "png")
UNMANAGED = {"figure.autolayout": False, "figure.constrained_layout.use": False}


def render(figure: Figure, kind: str) -> bytes:
    """Return the figure as the content of one file.

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
    choice(kind, "kind", FORMATS)
    return rendered(figure, (kind,))[kind]


def rendered(figure: Figure, kinds: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """Return the figure as the content of files of several kinds, laid out once for all of them.

    Parameters
    ----------
    figure : Figure
        What was drawn.
    kinds : sequence of {"svg", "png"}
        Vector or pixels.

    Returns
    -------
    dict of str to bytes
        The content of each kind, as from `render`.
    """
    instance(figure, Figure, "figure")
    kinds = checked_names(kinds, "kinds", FORMATS, least=1)
    for text in figure.findobj(Text):  # names may come from files; what formats ticks is written as mathematics
        text.set_text(printable(text.get_text(), "\n"))
        text.set_parse_math(text.get_parse_math() and "\\mathdefault" in text.get_text())
    engine = figure.get_layout_engine()
    with SETTINGS, rc_context({**STYLE, **UNMANAGED}):
        if engine is not None:
            engine.execute(figure)
        figure.set_layout_engine(None)  # else each kind would be laid out, and drawn, twice
        try:
            return {kind: _written(figure, kind) for kind in kinds}
        finally:
            figure.set_layout_engine(engine)


def _written(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"metadata": {"Date": None}}
    if kind == "png":
        options = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}}
    figure.savefig(buffer, format=kind, **options)
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
    checked_path(folder, "folder")
    checked_path(checked_text(name, "name"), "name")
    return tuple(write_bytes(Path(folder) / f"{name}.{kind}", content) for kind, content in rendered(figure).items())
