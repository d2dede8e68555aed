"""Tables as text: comment lines, one line of names, rows of numbers that come back to the bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from neurodecorr._typing import Array
from neurodecorr.errors import CheckpointError
from neurodecorr.io.cells import csv_line


def csv_text(about: Sequence[str], columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV under comment lines.

    Parameters
    ----------
    about : sequence of str
        What the table says, one line each; written behind "# ".
    columns : sequence of str
        Names, with their units.
    rows : iterable of sequences
        Texts, whole numbers, or floats in their shortest exact form.

    Returns
    -------
    str
        Lines that end with a line feed.

    Examples
    --------
    >>> print(csv_text(["Settled activity."], ["unit", "xbar"], [("u0", 0.1)]), end="")
    # Settled activity.
    unit,xbar
    u0,0.1
    """
    lines = [*(f"# {' '.join(line.splitlines())}".rstrip() for line in about), csv_line(columns)]
    lines += [csv_line(row) for row in rows]
    return "\n".join(lines) + "\n"


def matrix_text(about: Sequence[str], A: Array, columns: Sequence[str], first: Sequence[object], name: str) -> str:
    """Return a matrix as CSV, each row behind an entry of `first`, which is called `name`."""
    rows = ([head, *row] for head, row in zip(first, np.asarray(A).tolist(), strict=True))
    return csv_text(about, [name, *columns], rows)


def read_rows(text: str, columns: Sequence[str], place: str) -> list[list[str]]:
    """Return the cells of a table that `csv_text` wrote, row by row.

    Parameters
    ----------
    text : str
        The table.
    columns : sequence of str
        The names that its first line must hold.
    place : str
        Its name, for messages.

    Raises
    ------
    CheckpointError
        If names or numbers of cells are others.
    """
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    head = lines[0].split(",") if lines else []
    if head != list(columns):
        raise CheckpointError(
            f"{place} must have the columns {','.join(columns)}; got {','.join(head)[:80] or 'none'}."
        )
    rows = [line.split(",") for line in lines[1:]]
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise CheckpointError(f"{place}: row {number} must have {len(columns)} cells; it has {len(row)}.")
    return rows
