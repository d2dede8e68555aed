"""What simulators print: tables of gnucap, measurements of both, and the lines in which they complain."""

from __future__ import annotations

import re

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.errors import InputError

Table = tuple[tuple[str, ...], Floats]

MEASURED = re.compile(r"^([a-z][a-z0-9_]*)\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:\s|$)", re.IGNORECASE)
COMPLAINT = re.compile(
    r"error|abort|singular|too small|no convergence|not converge|can't|cannot|unknown|undefined|no match|failed"
    r"|not found|incomplete|too few|need |\^ \?",
    re.IGNORECASE,
)
SUFFIXES = {"T": 1e12, "G": 1e9, "Meg": 1e6, "K": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(T|G|Meg|K|m|u|n|p|f)?\Z")


def tables(printed: str) -> tuple[Table, ...]:
    r"""Return the tables that gnucap printed, each as its column names and its numbers.

    Parameters
    ----------
    printed : str
        Standard output of `gnucap -b`.

    Returns
    -------
    tuple of (names, (rows, columns) array)

    Raises
    ------
    InputError
        If a row has not as many numbers as its table has columns.

    Examples
    --------
    >>> names, numbers = tables("#Time   v(a)\n 0.   1.\n 0.5  2.5\n")[0]
    >>> names, numbers.tolist()
    (('Time', 'v(a)'), [[0.0, 1.0], [0.5, 2.5]])
    """
    found: list[tuple[tuple[str, ...], list[list[float]]]] = []
    for line in printed.splitlines():
        if line.startswith("#"):
            words = line[1:].split()
            names = tuple(words if words[:1] == ["Time"] else ["temperature", *words])
            found.append((names, []))
        elif found and line.startswith(" ") and (words := line.split()):
            numbers = [_number(word) for word in words]
            if None in numbers:
                continue
            if len(numbers) != len(found[-1][0]):
                raise InputError(f"gnucap must print {len(found[-1][0])} numbers per row; got {line[:80]!r}.")
            found[-1][1].append([number for number in numbers if number is not None])
    return tuple((names, np.array(rows).reshape(len(rows), len(names))) for names, rows in found)


def _number(word: str) -> float | None:
    found = NUMBER.match(word)
    if found is None:
        return None
    return float(found[1]) * SUFFIXES.get(found[2] or "", 1.0)


def measured(printed: str) -> dict[str, float]:
    r"""Return every `name = number` that stands alone on a line.

    Examples
    --------
    >>> measured("settled_xbar0       =  -5.849234e-01\nsettled_b= 2.\n")
    {'settled_xbar0': -0.5849234, 'settled_b': 2.0}
    """
    found = {}
    for line in printed.splitlines():
        match = MEASURED.match(line.strip())
        if match:
            found[match[1].lower()] = float(match[2])
    return found


def complaints(printed: str, most: int = 12) -> str:
    """Return the lines that say what went wrong; the last ones if none does."""
    lines = [line.strip()[:200] for line in printed.splitlines() if line.strip()]
    bad = [line for line in lines if COMPLAINT.search(line)]
    return "\n".join(bad[:most] or lines[-most:])
