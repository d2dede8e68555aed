"""Result files of SPICE ("raw" files), binary or text, read without trust in what they say of their size."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._validation import checked_path
from neurodecorr.errors import InputError
from neurodecorr.io.files import read_regular

LARGEST = 2**31  # bytes
MOST_VARIABLES = 2**20
FIELD = re.compile(rb"([A-Za-z. ]{1,40}?):[ \t]*([^\n]*)\n")


@short_repr
@dataclass(frozen=True, eq=False)
class RawPlot:
    """One analysis of a raw file.

    Parameters
    ----------
    title : str
        First line of the netlist.
    name : str
        Name of the analysis, such as "Transient Analysis".
    variables : tuple of str
        Names of the columns, such as "time" and "v(xbar0)".
    kinds : tuple of str
        What they are: time, voltage, current.
    data : (points, variables) array
        In SI units; complex for a complex analysis.
    """

    title: str
    name: str
    variables: tuple[str, ...]
    kinds: tuple[str, ...]
    data: npt.NDArray[Any]

    def __repr__(self) -> str:
        points, variables = self.data.shape
        return f"RawPlot({self.name!r}, {points} points of {variables} variables)"

    def column(self, variable: str) -> npt.NDArray[Any]:
        """Return one column by its name, whatever its capitals.

        Raises
        ------
        InputError
            If there is none of that name.
        """
        names = [own.lower() for own in self.variables]
        if variable.lower() not in names:
            raise InputError(f"{variable!r} must be one of the variables {', '.join(self.variables)[:200]}.")
        return np.asarray(self.data[:, names.index(variable.lower())])


def read_raw(path: str | os.PathLike[str]) -> tuple[RawPlot, ...]:
    """Read all analyses of a raw file, as ngspice writes it with `-r` or `write`.

    Parameters
    ----------
    path : path-like
        The file, at most 2 GiB.

    Returns
    -------
    tuple of RawPlot

    Raises
    ------
    InputError
        If it is no raw file, or shorter than its head says.
    """
    file = checked_path(path)
    content = read_regular(file, LARGEST, what="raw file", error=InputError)
    plots, at = [], 0
    while content[at : at + 1].strip() or content[at:].strip():
        plot, at = _plot(content, at, file.name)
        plots.append(plot)
    if not plots:
        raise InputError(f"{file.name} must be a raw file of SPICE; it is empty.")
    return tuple(plots)


def _plot(content: bytes, at: int, file: str) -> tuple[RawPlot, int]:
    fields, at = _head(content, at, file)
    variables, points = (_whole(fields, name, file) for name in ("no. variables", "no. points"))
    if variables > MOST_VARIABLES:
        raise InputError(f"{file} claims {variables} variables; at most {MOST_VARIABLES} are read.")
    names, kinds, at = _variables(content, at, variables, file)
    end = content.find(b"\n", at)
    mark = content[at:end].strip().lower() if end >= 0 else b""
    flags = fields.get("flags", "real").lower()
    dtype: Any = np.complex128 if "complex" in flags else np.float64
    if mark == b"binary:":
        data, at = _binary(content, end + 1, points, variables, dtype, file)
    elif mark == b"values:":
        data, at = _text(content, end + 1, points, variables, dtype, file)
    else:
        raise InputError(f"{file} must go on with 'Binary:' or 'Values:' after its variables; got {mark[:40]!r}.")
    return RawPlot(fields.get("title", ""), fields.get("plotname", ""), names, kinds, data), at


def _head(content: bytes, at: int, file: str) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    while True:
        while content[at : at + 1] in (b"\n", b"\r", b" ", b"\t"):
            at += 1
        if content[at : at + 10].lower() == b"variables:":
            return fields, at + 10
        found = FIELD.match(content, at)
        if found is None or len(fields) > 100:
            raise InputError(f"{file} must be a raw file of SPICE; at byte {at} stands {content[at : at + 30]!r}.")
        fields[found[1].decode().strip().lower()] = found[2].decode("utf-8", "replace").strip()
        at = found.end()


def _whole(fields: dict[str, str], name: str, file: str) -> int:
    text = fields.get(name, "")
    if not re.fullmatch(r"\d{1,12}", text):
        raise InputError(f"{file} must say {name!r} as a whole number; got {text[:40]!r}.")
    return int(text)


def _variables(content: bytes, at: int, count: int, file: str) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    names, kinds = [], []
    for index in range(count):
        while content[at : at + 1] == b"\n":  # the list begins on the line of its title or on the next one
            at += 1
        end = content.find(b"\n", at)
        words = content[at:end].decode("utf-8", "replace").split() if end >= 0 else []
        if len(words) < 3 or words[0] != str(index):
            raise InputError(f"{file} must list {count} variables with number, name and kind; line {index} does not.")
        names.append(words[1])
        kinds.append(words[2])
        at = end + 1
    while content[at : at + 1] in (b"\n", b"\r"):
        at += 1
    return tuple(names), tuple(kinds), at


def _binary(
    content: bytes, at: int, points: int, variables: int, dtype: Any, file: str
) -> tuple[npt.NDArray[Any], int]:
    size = np.dtype(dtype).itemsize * points * variables
    if len(content) - at < size:
        raise InputError(f"{file} claims {points} × {variables} numbers, {size} bytes; {len(content) - at} are left.")
    data = np.frombuffer(content, dtype, points * variables, at).reshape(points, variables)
    return data.copy(), at + size


def _text(content: bytes, at: int, points: int, variables: int, dtype: Any, file: str) -> tuple[npt.NDArray[Any], int]:
    if 2 * points * variables > len(content) - at:  # a digit and a space each
        raise InputError(f"{file} claims {points} × {variables} numbers; {len(content) - at} bytes are left.")
    # Each point: its number, then one value per variable; a complex one is two numbers with a comma.
    following = re.search(rb"^Title:", content[at:], re.MULTILINE)
    end = at + following.start() if following else len(content)
    words = content[at:end].split()
    if len(words) != points * (variables + 1):
        raise InputError(f"{file} must hold {points} × ({variables} + 1) words after 'Values:'; got {len(words)}.")
    try:
        table = np.array(words).reshape(points, variables + 1)[:, 1:]
        if dtype is np.complex128:
            halves = [[complex(*map(float, word.split(b","))) for word in row] for row in table]
            return np.array(halves).reshape(points, variables), end
        return table.astype(np.float64), end
    except (ValueError, TypeError):
        raise InputError(f"{file} must hold numbers after 'Values:'.") from None
