"""One low-rank step of a square matrix, M ← g∘(M − Yᵀ X M), panel by panel of its columns.

A panel is fetched once, multiplied, and changed while it lies in the cache. A BLAS goes over M three times (product,
gain, update), and packs all of it for a product with few rows. One thread does it: threads of BLAS keep their cores
busy for milliseconds after a product, so that other threads find none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodecorr._numerics.jit import UNCOMPILED, cgutils, intrinsic, ir, jit, types
from neurodecorr._typing import Array

ROWS = 6  # of a tile, whose sums lie in registers
BYTES = 256  # of a row of a tile
CHUNK = 64  # rows of M that are multiplied with all of X while they lie in a near cache
LEAST = 256  # rows of M from which on this is worth its packing


def step_down(M: Array, X: Array, Y: Array, gain: Array) -> None:
    """M ← g∘(M − Yᵀ X M), in place.

    Parameters
    ----------
    M : (n, n) array
        In memory row by row.
    X, Y : (k, n) arrays
        Of its type.
    gain : (n,) array
        g, of each row.
    """
    factors = np.ones(-(-gain.size // ROWS) * ROWS, M.dtype)
    factors[: gain.size] = gain
    step_panels(M, packed_rows(X), packed_columns(Y), factors)


@intrinsic  # type: ignore[untyped-decorator]
def add_tile(
    context: Any, A: Any, a: Any, B: Any, b: Any, below: Any, C: Any, c: Any, under: Any, depth: Any, gain: Any, g: Any
) -> Any:
    """C ← g∘(C + A B) for a tile C of 6 rows of 256 bytes, all its sums in registers.

    All are flat and begin at a, b, c and g; rows of B lie `below` numbers apart, those of C `under`. A holds 6 numbers,
    and B a row of the tile, per step of `depth`. Vectors are the processor's: four of 512 bits or two of 256 at a time.
    """
    real = types.float32 if A.dtype == types.float32 else types.float64
    element, size = (ir.FloatType(), 4) if real == types.float32 else (ir.DoubleType(), 8)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = "+avx512f" in context.codegen().magic_tuple()[2]
        lanes, vectors = (64 // size, 4) if wide else (32 // size, 2)
        vector, index = ir.VectorType(element, lanes), arguments[1].type
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{8 * size}"
        )
        first, second, third, scale = (
            builder.gep(context.make_array(signature.args[k])(context, builder, arguments[k]).data, [arguments[k + 1]])
            for k in (0, 2, 5, 9)
        )

        def place(base: Any, offset: Any) -> Any:
            return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

        def splat(base: Any, offset: Any) -> Any:
            value = builder.load(builder.gep(base, [offset]))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

        def row_of_sums(row: int, left: int) -> list[Any]:
            start = builder.add(builder.mul(arguments[7], index(row)), index(left))
            spots = [place(third, builder.add(start, index(v * lanes))) for v in range(vectors)]
            return [(spot, cgutils.alloca_once_value(builder, builder.load(spot, align=size))) for spot in spots]

        def add_part(left: int) -> None:
            sums = [row_of_sums(row, left) for row in range(ROWS)]
            with cgutils.for_range(builder, arguments[8], intp=index) as loop:
                start = builder.add(builder.mul(loop.index, arguments[4]), index(left))
                spots = [place(second, builder.add(start, index(v * lanes))) for v in range(vectors)]
                right = [builder.load(spot, align=size) for spot in spots]
                for r, row in enumerate(sums):
                    factor = splat(first, builder.add(builder.mul(loop.index, index(ROWS)), index(r)))
                    for (_, total), entries in zip(row, right, strict=True):
                        builder.store(builder.call(fma, [factor, entries, builder.load(total)]), total)
            for r, row in enumerate(sums):
                factor = splat(scale, index(r))
                for spot, total in row:
                    builder.store(builder.fmul(factor, builder.load(total)), spot, align=size)

        for left in range(0, BYTES // size, vectors * lanes):
            add_part(left)
        return context.get_dummy_value()

    place = types.intp
    return types.void(A, place, B, place, place, C, place, place, place, gain, place), generate


@jit()
def packed_rows(X: Array) -> Array:
    """Return the rows of X six by six, (⌈k/6⌉, n, 6)."""
    k, n = X.shape
    out = np.zeros((-(-k // ROWS), n, ROWS), X.dtype)
    for row in range(k):
        for i in range(n):
            out[row // ROWS, i, row % ROWS] = X[row, i]
    return out


@jit()
def packed_columns(Y: Array) -> Array:
    """Return the columns of −Y six by six, (⌈n/6⌉, k, 6)."""
    k, n = Y.shape
    out = np.zeros((-(-n // ROWS), k, ROWS), Y.dtype)
    for row in range(k):
        for i in range(n):
            out[i // ROWS, row, i % ROWS] = -Y[row, i]
    return out


@jit()
def step_panels(M: Array, rows: Array, columns: Array, gain: Array) -> None:
    """Take the step on one panel after the other: first X M, chunk by chunk, then the change, tile by tile.

    Reference: Goto & van de Geijn (2008), ACM Transactions on Mathematical Software 34(3), 12 (packed panels).
    """
    n, width = M.shape[0], BYTES // M.itemsize
    tiles, strips, k, size = rows.shape[0], columns.shape[0], columns.shape[1], ROWS * (BYTES // M.itemsize)
    chunk, edge = np.zeros((CHUNK, width), M.dtype), np.zeros((ROWS, width), M.dtype)
    product, ones = np.empty(tiles * size, M.dtype), np.ones(ROWS, M.dtype)
    whole, A, Q = M.ravel(), rows.ravel(), columns.ravel()
    for left in range(0, n, width):
        product[:] = 0
        for begin in range(0, n, CHUNK):
            depth = min(CHUNK, n - begin)
            if left + width > n:
                chunk[:depth, : n - left] = M[begin : begin + depth, left:]
                for t in range(tiles):
                    start = (t * n + begin) * ROWS
                    add_tile(A, start, chunk.ravel(), 0, width, product, t * size, width, depth, ones, 0)
                continue
            for t in range(tiles):
                start = (t * n + begin) * ROWS
                add_tile(A, start, whole, begin * n + left, n, product, t * size, width, depth, ones, 0)
        for s in range(strips):
            top, change = s * ROWS, s * k * ROWS
            if top + ROWS <= n and left + width <= n:
                add_tile(Q, change, product, 0, width, whole, top * n + left, n, k, gain, top)
                continue
            part = M[top : top + ROWS, left : left + width]
            inside = edge[: part.shape[0], : part.shape[1]]
            inside[:] = part
            add_tile(Q, change, product, 0, width, edge.ravel(), 0, width, k, gain, top)
            part[:] = inside


def _plain_tile(
    A: Array, a: int, B: Array, b: int, below: int, C: Array, c: int, under: int, depth: int, gain: Array, g: int
) -> None:
    columns, rows = np.arange(BYTES // C.itemsize), np.arange(ROWS)[:, None]
    right = B[b + below * np.arange(depth)[:, None] + columns]
    place = c + under * rows + columns
    C[place] = gain[g + rows] * (C[place] + A[a : a + ROWS * depth].reshape(depth, ROWS).T @ right)


if UNCOMPILED:
    add_tile = _plain_tile
