"""Who is connected to whom: patterns of synapses for sparse circuits."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from neurodecorr._numerics.memory import require_memory
from neurodecorr._typing import Ints
from neurodecorr._validation import count, flag, generator, sequence
from neurodecorr.errors import ConfigError


def grid_neighbours(shape: tuple[int, int], k: int, *, torus: bool = False) -> Any:
    """Connect each unit of a grid to itself and to its k nearest neighbours.

    ::

        N(i) = {i + d : d among the k shortest offsets},    d ∈ N ⇔ −d ∈ N

    The same offsets serve every unit, so the pattern is symmetric. Away from a torus, units at the edge have fewer
    neighbours. Of equally long offsets the first in reading order, with its opposite, comes first.

    Parameters
    ----------
    shape : (rows, columns) of int
        The grid; unit i sits in row i // columns, column i % columns.
    k : int
        Number of neighbours besides the unit itself, 0 ≤ k < rows · columns.
    torus : bool, default False
        Whether opposite edges of the grid touch.

    Returns
    -------
    (n, n) scipy.sparse.csr_array
        1.0 where there is a synapse; indices sorted.

    Raises
    ------
    ConfigError
        If k exceeds the other units, or would take an offset without its opposite.

    Examples
    --------
    >>> grid_neighbours((1, 4), 2).toarray().astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 1, 0],
           [0, 1, 1, 1],
           [0, 0, 1, 1]])
    """
    rows, columns = _grid(shape)
    k, torus = count(k, "k", least=0), flag(torus, "torus")
    require_memory(8 * ((k + 1) * rows * columns), "the synapses")
    offsets = _nearest_offsets(rows, columns, k, torus)
    y, x = np.divmod(np.arange(rows * columns), columns)
    parts = []
    for dy, dx in offsets:
        to_y, to_x = y + dy, x + dx
        if torus:
            parts.append(((to_y % rows) * columns + to_x % columns).astype(np.int32))
        else:
            inside = (to_y >= 0) & (to_y < rows) & (to_x >= 0) & (to_x < columns)
            parts.append(np.where(inside, to_y * columns + to_x, -1).astype(np.int32))
    return _pattern(np.stack(parts, axis=1))


def grid_taper(shape: tuple[int, int], reach: int) -> Any:
    """Connect the units of a grid to those nearer than `reach` in both directions, ever more weakly with distance.

    ::

        w(d) = Λ(d_y/L) Λ(d_x/L),    Λ(t) = max(0, 1 − abs t),    L = reach

    A product of triangles, and so positive semidefinite: w ∘ P is positive definite for every positive definite P
    (Schur). A mask that falls from 1 to 0 at once is not. Up to (2L − 1)² synapses per unit.

    Parameters
    ----------
    shape : (rows, columns) of int
        The grid; unit i sits in row i // columns, column i % columns.
    reach : int
        L, in units of the grid, ≥ 1.

    Returns
    -------
    (n, n) scipy.sparse.csr_array
        The taper w, 1 on the diagonal.

    Examples
    --------
    >>> grid_taper((1, 3), 2).toarray()
    array([[1. , 0.5, 0. ],
           [0.5, 1. , 0.5],
           [0. , 0.5, 1. ]])
    """
    rows, columns = _grid(shape)
    reach = count(reach, "reach")
    require_memory(8 * (min(2 * reach, rows) * min(2 * reach, columns) * rows * columns), "the synapses")
    sides = [
        scipy.sparse.diags_array(
            [np.full(n - abs(d), 1 - abs(d) / reach) for d in range(-min(reach, n) + 1, min(reach, n))],
            offsets=list(range(-min(reach, n) + 1, min(reach, n))),
        )
        for n in (rows, columns)
    ]
    taper = scipy.sparse.csr_array(scipy.sparse.kron(*sides, format="csr"))
    taper.sort_indices()
    return taper


def random_neighbours(n: int, k: int, seed: int | np.random.Generator = 0) -> Any:
    """Connect each unit to itself and to k other units that it receives from, drawn without replacement.

    Parameters
    ----------
    n : int
        Number of units.
    k : int
        Number of others each unit receives from, 0 ≤ k < n.
    seed : int or numpy.random.Generator, default 0
        Chooses them.

    Returns
    -------
    (n, n) scipy.sparse.csr_array
        1.0 where there is a synapse; indices sorted. Not symmetric in general.

    Raises
    ------
    ConfigError
        If k ≥ n.

    Examples
    --------
    >>> random_neighbours(100, 7).nnz
    800
    """
    n, k = count(n, "n"), count(k, "k", least=0)
    _require_room(k, n)
    require_memory(8 * ((k + 1) * n), "the synapses")
    rng = generator(seed)
    senders = np.empty((n, k + 1), np.int32)
    for i in range(n):
        senders[i, :k] = rng.choice(n - 1, k, replace=False, shuffle=False) if k else 0
    senders[:, :k] += senders[:, :k] >= np.arange(n)[:, None]
    senders[:, k] = np.arange(n)
    return _pattern(senders)


def _grid(shape: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns."""
    sides = [count(side, "each side of shape") for side in sequence(shape, "shape", "(rows, columns)")]
    if len(sides) != 2:
        raise ConfigError(f"shape must be (rows, columns); got {len(sides)} numbers.")
    return sides[0], sides[1]


def _nearest_offsets(rows: int, columns: int, k: int, torus: bool) -> Ints:
    """Return the offset zero and the k shortest ones, each next to its opposite."""
    _require_room(k, rows * columns)
    reach = (rows - 1, columns - 1) if not torus else (rows // 2, columns // 2)
    # A disc of this radius holds k points of the plane; the sides of the grid may cut it.
    radius = int(np.ceil(np.sqrt(k / np.pi))) + 2
    while True:
        sides = [np.arange(-min(side, radius), min(side, radius) + 1) for side in reach]
        if torus:  # half a turn to the left is half a turn to the right
            sides = [s[1:] if 2 * s[-1] == n and n > 1 else s for s, n in zip(sides, (rows, columns), strict=True)]
        dy, dx = (side.ravel() for side in np.meshgrid(*sides, indexing="ij"))
        whole = radius >= max(reach)
        if whole or np.count_nonzero(dy**2 + dx**2 <= radius**2) > k:
            break
        radius *= 2
    own = _key(dy, dx, columns)
    opposite = _key(-dy % rows, -dx % columns, columns) if torus else _key(-dy, -dx, columns)
    own = _key(dy % rows, dx % columns, columns) if torus else own
    order = np.lexsort((own, np.minimum(own, opposite), dy**2 + dx**2))[: k + 1]
    if not np.isin(opposite[order], own[order]).all():
        raise ConfigError(
            f"k must take each offset together with its opposite, so that the pattern is symmetric; {k} does not. "
            f"Use k = {k - 1} or {k + 1}."
        )
    return np.stack([dy[order], dx[order]], axis=1)


def _key(dy: Ints, dx: Ints, columns: int) -> Ints:
    return np.asarray(dy.astype(np.int64) * (2 * columns + 1) + dx)


def _require_room(k: int, n: int) -> None:
    if k >= n:
        raise ConfigError(f"k must be less than the number of units, {n}; got {k}.")


def _pattern(senders: Ints) -> Any:
    """Return the pattern whose row i holds the entries ≥ 0 of row i of `senders`."""
    senders = np.sort(senders, axis=1)
    present = senders >= 0
    indptr = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    indices = senders[present]
    width = np.int32 if len(indices) < 2**31 else np.int64
    shape = (len(senders), len(senders))
    parts = (np.ones(len(indices)), indices.astype(width), indptr.astype(width))
    return scipy.sparse.csr_array(parts, shape=shape)
