"""Format cells of CSV files, the same way for every table of the library."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence

import numpy as np

from neurodecorr._typing import Array

# What spreadsheets take for the beginning of a formula, in both widths.
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
QUOTED = set(',"\n\r')


def csv_cell(value: object) -> str:
    """Return a value as a cell: numbers in their shortest exact form, texts quoted where needed.

    A text that a spreadsheet would run as a formula gets an apostrophe in front, which shows it as a text.

    Parameters
    ----------
    value : object
        A number, a text, or None for an empty cell.

    Returns
    -------
    str
        The cell.

    Examples
    --------
    >>> [csv_cell(value) for value in (0.1, -3, None, "u0", "-0.5", "a,b")]
    ['0.1', '-3', '', 'u0', '-0.5', '"a,b"']
    >>> csv_cell("=cmd|' /C calc'!A0")
    "'=cmd|' /C calc'!A0"

    References
    ----------
    Shafranovich (2005), RFC 4180, §2.
    """
    if type(value) is float:  # most cells of a large table
        return repr(value)
    if value is None:
        return ""
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return repr(float(value))
    text = str(value)
    if text.lstrip(" ").startswith(FORMULA) and not _is_number(text):
        text = f"'{text}"
    if QUOTED & set(text) or text != text.strip():
        text = '"' + text.replace('"', '""') + '"'
    return text


def csv_line(values: Iterable[object]) -> str:
    """Return a row of cells, without its line end.

    References
    ----------
    Shafranovich (2005), RFC 4180, §2.
    """
    return ",".join(csv_cell(value) for value in values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
