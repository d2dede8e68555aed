"""The topology table: every connection of a circuit in one row, from which R can be built again to the bit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import checked_text, positive, square
from neurodecorr.errors import CheckpointError
from neurodecorr.hardware.bundle.tables import read_rows, table_text

__all__ = ["COLUMNS", "KINDS", "read_topology", "topology_text"]

Floats = npt.NDArray[np.floating[Any]]

COLUMNS = ("pre", "post", "kind", "weight", "unit")
KINDS = ("input", "leak", "inhibitory", "excitatory")
UNIT = "1"
ABOUT = (
    "Connections of the circuit  tau dxbar/dt = x - R xbar,  one per row.",
    "pre -> post: the signal of pre reaches post. x0, x1, ... are inputs (centred: raw input minus mean), u0, u1, ...",
    "units; the activity of unit ui is xbar_i. Rows of R are postsynaptic, columns presynaptic.",
    "kind input: post is driven by +weight * x_pre.",
    "kind leak: the diagonal, R[i, i]; unit i decays by -weight * xbar_i.",
    "kind inhibitory or excitatory: R[post, pre]; post is driven by -weight * xbar_pre, so weight > 0 inhibits and",
    "weight < 0 excites. Absent pairs have weight 0.",
    "Weights are dimensionless (unit 1); drives are in the unit of x, divided by tau.",
)
_INPUT, _UNIT_NAME = re.compile(r"x(\d{1,7})"), re.compile(r"u(\d{1,7})")


def topology_text(R: npt.ArrayLike, tau_s: float | None = None) -> str:
    r"""Return the connections of a circuit as CSV.

    Parameters
    ----------
    R : (n, n) array
        Lateral weights, dimensionless.
    tau_s : float, optional
        Time constant τ in seconds, to be stated above the table.

    Returns
    -------
    str
        Columns pre, post, kind, weight, unit. Inputs first, then by postsynaptic unit.

    Examples
    --------
    >>> import numpy as np
    >>> print("\n".join(topology_text(np.array([[2.0, 0.5], [0.0, 1.0]])).splitlines()[-6:]))
    pre,post,kind,weight,unit
    x0,u0,input,1.0,1
    x1,u1,input,1.0,1
    u0,u0,leak,2.0,1
    u1,u0,inhibitory,0.5,1
    u1,u1,leak,1.0,1
    """
    tau = "" if tau_s is None else f" tau = {positive(tau_s, 'tau_s', 'seconds')!r} s."
    about = (*ABOUT[:-1], ABOUT[-1] + tau)
    return table_text(about, COLUMNS, _rows(square(R, "R").astype(np.float64)))


def read_topology(text: str, place: str = "topology") -> Floats:
    """Return R from the table of its connections, to the bit.

    Parameters
    ----------
    text : str
        What `topology_text` wrote.
    place : str
        Its name, for messages.

    Returns
    -------
    (n, n) array
        R.

    Raises
    ------
    CheckpointError
        If a row is none, a unit lacks its input, a pair comes twice, or a kind contradicts the sign of its weight.

    Examples
    --------
    >>> import numpy as np
    >>> read_topology(topology_text(np.array([[2.0, 0.5], [0.0, 1.0]]))).tolist()
    [[2.0, 0.5], [0.0, 1.0]]
    """
    rows = read_rows(checked_text(text, "text"), COLUMNS, place)
    n = sum(row[2] == "input" for row in rows)
    R, seen, driven = np.zeros((n, n)), set(), set()
    for number, (pre, post, kind, weight, unit) in enumerate(rows, 1):
        where = f"{place}: row {number}"
        value, target = _weight(weight, where), _index(_UNIT_NAME, post, n, where)
        if unit != UNIT:
            raise CheckpointError(f"{where} must have the unit {UNIT!r}, dimensionless; got {unit!r}.")
        if kind == "input":
            if _index(_INPUT, pre, n, where) != target or value != 1.0 or target in driven:
                raise CheckpointError(
                    f"{where}: input xi must drive ui, once, with weight 1; got {pre}, {post}, {weight}."
                )
            driven.add(target)
            continue
        source = _index(_UNIT_NAME, pre, n, where)
        if kind != _kind(target, source, value) or (target, source) in seen:
            raise CheckpointError(f"{where}: {kind!r} must fit the weight {weight} from {pre} to {post}, given once.")
        seen.add((target, source))
        R[target, source] = value
    return R


def _rows(R: Floats) -> Iterator[tuple[str, str, str, float, str]]:
    for i in range(len(R)):
        yield f"x{i}", f"u{i}", "input", 1.0, UNIT
    present = (R != 0) | np.signbit(R)  # -0.0 too: R comes back to the bit
    for i, j in np.argwhere(present).tolist():
        yield f"u{j}", f"u{i}", _kind(i, j, R[i, j]), float(R[i, j]), UNIT


def _kind(i: int, j: int, weight: float) -> str:
    if i == j:
        return "leak"
    return "inhibitory" if weight > 0 else "excitatory"


def _weight(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise CheckpointError(f"{where}: the weight must be a number; got {cell!r}.") from None
    if not np.isfinite(value):
        raise CheckpointError(f"{where}: the weight must be finite; got {cell}.")
    return value


def _index(pattern: re.Pattern[str], name: str, n: int, where: str) -> int:
    match = pattern.fullmatch(name)
    if match is None or int(match[1]) >= n:
        raise CheckpointError(f"{where}: {name!r} must name one of the {n} inputs and units, x0 and u0 on.")
    return int(match[1])
