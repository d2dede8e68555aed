"""Format cells of CSV files, the same way for every table of the library."""

from __future__ import annotations

import numbers
from collections.abc import Iterable

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
