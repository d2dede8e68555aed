"""The product over existing synapses, compiled, and how its rows are shared between threads.

Indices are read as unsigned: a signed one may count from the end, and the test for that costs half the speed or more.
Rows share nothing, so that threads give the same numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.jit import jit, prange, threads_work
from neurodecorr._typing import Array

# From this many synapses on, waking threads costs little of what they save; more parts than threads keep them busy.
MANY_SYNAPSES, PARTS = 1_000_000, 16


class Rows(NamedTuple):
    """A matrix in compressed sparse rows: row i holds data[indptr[i] : indptr[i + 1]] in columns `indices`.

    Reference: Saad (2003), Iterative Methods for Sparse Linear Systems, 2nd edition, §3.4.
    """

    data: Array
    indices: Array
    indptr: Array


def row_cuts(indptr: Any) -> npt.NDArray[np.int64]:
    """Return where compiled loops over sparse rows are cut for threads: [0, n], so nowhere, for few synapses.

    Nowhere, too, where threads cannot be had. The parts hold about as many synapses each.
    """
    parts = PARTS if indptr[-1] >= MANY_SYNAPSES and threads_work() else 1
    inner = np.searchsorted(indptr, np.linspace(0, indptr[-1], parts + 1)[1:-1])
    return np.array([0, *inner, len(indptr) - 1], np.int64)


@jit()
def product_rows(A: Any, v: Array, out: Array, first: int, last: int) -> None:
    """Write rows `first` … `last` − 1 of A v into `out`.

    ::

        out ← A v
    """
    for i in range(first, last):
        total = 0.0
        for s in range(np.uint64(A.indptr[i]), np.uint64(A.indptr[i + 1])):
            total += A.data[s] * v[np.uint32(A.indices[s])]
        out[i] = total


@jit(parallel=True)
def product_on_threads(A: Any, v: Array, out: Array, cuts: Array) -> None:
    """Write A v into `out`, the rows between two cuts by one thread.

    ::

        out ← A v
    """
    for part in prange(cuts.size - 1):
        product_rows(A, v, out, cuts[part], cuts[part + 1])


@jit()
def sparse_product(A: Any, v: Array, out: Array, cuts: Array) -> None:
    """Write out ← A v, A any tuple with the fields of `Rows`; on threads where the rows are cut."""
    if cuts.size > 2:
        product_on_threads(A, v, out, cuts)
    else:
        product_rows(A, v, out, 0, out.size)
