"""Matrices as compiled products read them: panels of rows, on the borders of cache lines."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.jit import LANES, UNCOMPILED, cgutils, intrinsic, ir, types
from neurodecorr._typing import Floats

# Rows that are swept together: what they share is loaded once, and their sums hide each other's latency.
ROWS = 4
# Columns whose sums stay in registers while all rows go by.
COLUMNS = 32


class _Sweep:
    """What the sweeps over `ROWS` rows of a matrix share: vectors of 64 bytes at places of their arguments.

    Left to the compiler, these loops check at every row whether their arguments overlap, and use half the register.
    Argument number `along` is as long as what is swept of a row: a whole number of registers.
    """

    def __init__(self, context: Any, builder: Any, kinds: Any, arguments: Any, along: int) -> None:
        single = kinds[0].dtype == types.float32
        self.builder, self.kind = builder, ir.FloatType() if single else ir.DoubleType()
        self.lanes = LANES if single else LANES // 2
        self.vector = ir.VectorType(self.kind, self.lanes)
        arrays = [context.make_array(k)(context, builder, a) for k, a in zip(kinds[:-1], arguments, strict=False)]
        self.data, self.size, self.index = [a.data for a in arrays], arrays[along].nitems, arguments[-1].type
        self.rows = [builder.add(arguments[-1], self.integer(g)) for g in range(ROWS)]
        stride = builder.extract_value(arrays[0].shape, 1)
        self.starts = [builder.mul(row, stride) for row in self.rows]

    def integer(self, value: int) -> Any:
        return ir.Constant(self.index, value)

    def call(self, name: str, result: Any, arguments: list[Any], **options: Any) -> Any:
        shape = ir.FunctionType(result, [argument.type for argument in arguments])
        name = f"llvm.{name}.v{self.lanes}f{64 * 8 // self.lanes}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, shape, name), arguments, **options)

    def fused(self, factor: Any, other: Any, addend: Any) -> Any:
        return self.call("fma", self.vector, [factor, other, addend])

    def total(self, vector: Any) -> Any:
        return self.call("vector.reduce.fadd", self.kind, [ir.Constant(self.kind, 0.0), vector], fastmath=("reassoc",))

    def at(self, which: int, offset: Any) -> Any:
        return self.builder.gep(self.data[which], [offset])

    def number(self, which: int, offset: Any) -> Any:
        return self.builder.load(self.at(which, offset))

    def place(self, which: int, offset: Any) -> Any:
        return self.builder.bitcast(self.at(which, offset), self.vector.as_pointer())

    def load(self, which: int, offset: Any) -> Any:
        return self.builder.load(self.place(which, offset), align=4)

    def store(self, vector: Any, which: int, offset: Any) -> None:
        self.builder.store(vector, self.place(which, offset), align=4)

    def splat(self, value: Any) -> Any:
        anything, zeros = ir.Constant(self.vector, ir.Undefined), ir.VectorType(ir.IntType(32), self.lanes)
        one = self.builder.insert_element(anything, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, anything, ir.Constant(zeros, None))

    def columns(self) -> Any:
        return cgutils.for_range_slice(self.builder, self.integer(0), self.size, self.integer(self.lanes), self.index)


def _row_products(outer: int) -> Any:
    """Return the sweep that takes `outer` outer products off `ROWS` rows, and writes the rows' products with z."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sweep = _Sweep(context, builder, signature.args, arguments, 3)
        pairs = [(1, 2), (2, 1)][:outer]
        factors = [[sweep.splat(builder.fneg(sweep.number(u, row))) for u, _ in pairs] for row in sweep.rows]
        sums = [cgutils.alloca_once(builder, sweep.vector) for _ in sweep.rows]
        for total in sums:
            builder.store(ir.Constant(sweep.vector, None), total)
        with sweep.columns() as (column, _):
            others = [sweep.load(v, column) for _, v in pairs]
            z = sweep.load(3, column)
            for start, factor, total in zip(sweep.starts, factors, sums, strict=True):
                place = builder.add(start, column)
                entries = sweep.load(0, place)
                for pull, other in zip(factor, others, strict=True):
                    entries = sweep.fused(pull, other, entries)
                if outer:
                    sweep.store(entries, 0, place)
                builder.store(sweep.fused(entries, z, builder.load(total)), total)
        for row, total in zip(sweep.rows, sums, strict=True):
            builder.store(sweep.total(builder.load(total)), sweep.at(4, row))
        return context.get_dummy_value()

    return generate


@intrinsic  # type: ignore[untyped-decorator]
def dot_rows(context: Any, S: Any, left: Any, right: Any, z: Any, out: Any, row: Any) -> Any:
    """Write rows `row` … `row` + 3 of S z into `out`; `left` and `right` are not looked at.

    ::

        out ← S z
    """
    return types.void(S, left, right, z, out, row), _row_products(0)


@intrinsic  # type: ignore[untyped-decorator]
def pull_rows(context: Any, S: Any, left: Any, right: Any, z: Any, out: Any, row: Any) -> Any:
    """S ← S − left rightᵀ in rows `row` … `row` + 3; write their products with z into `out`."""
    return types.void(S, left, right, z, out, row), _row_products(1)


@intrinsic  # type: ignore[untyped-decorator]
def twist_rows(context: Any, S: Any, left: Any, right: Any, z: Any, out: Any, row: Any) -> Any:
    """S ← S − left rightᵀ − right leftᵀ in rows `row` … `row` + 3; write their products with z into `out`."""
    return types.void(S, left, right, z, out, row), _row_products(2)


@intrinsic  # type: ignore[untyped-decorator]
def push_rows(context: Any, S: Any, push: Any, back: Any, row: Any) -> Any:
    """Add rows `row` … `row` + 3 of S, each times its entry of `push`, to `back`.

    ::

        back_j ← back_j + ∑_r push_r S_rj
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sweep = _Sweep(context, builder, signature.args, arguments, 2)
        factors = [sweep.splat(sweep.number(1, row)) for row in sweep.rows]
        with sweep.columns() as (column, _):
            total = sweep.load(2, column)
            for start, factor in zip(sweep.starts, factors, strict=True):
                total = sweep.fused(factor, sweep.load(0, builder.add(start, column)), total)
            sweep.store(total, 2, column)
        return context.get_dummy_value()

    return types.void(S, push, back, row), generate


def _column_products(outer: int) -> Any:
    """Return the sweep that adds an outer product to `COLUMNS` columns, or none, and writes their products with z."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sweep = _Sweep(context, builder, signature.args, arguments, 3)
        places = [builder.add(arguments[-1], sweep.integer(k * sweep.lanes)) for k in range(COLUMNS // sweep.lanes)]
        others = [sweep.load(2, place) for place in places] if outer else []
        # Two chains of sums hide the latency of the multiplier.
        chains = [[cgutils.alloca_once_value(builder, ir.Constant(sweep.vector, None)) for _ in places] for _ in (0, 1)]
        pair = sweep.integer(len(chains))
        with cgutils.for_range_slice(builder, sweep.integer(0), sweep.size, pair, sweep.index) as (row, _):
            for g, sums in enumerate(chains):
                j = builder.add(row, sweep.integer(g))
                start, factor = builder.mul(j, sweep.size), sweep.splat(sweep.number(3, j))
                pull = sweep.splat(sweep.number(1, j)) if outer else None
                for k, total in enumerate(sums):
                    place = builder.add(start, places[k])
                    entries = sweep.load(0, place)
                    if outer:
                        entries = sweep.fused(pull, others[k], entries)
                        sweep.store(entries, 0, place)
                    builder.store(sweep.fused(entries, factor, builder.load(total)), total)
        for place, first, second in zip(places, *chains, strict=True):
            sweep.store(builder.fadd(builder.load(first), builder.load(second)), 4, place)
        return context.get_dummy_value()

    return generate


@intrinsic  # type: ignore[untyped-decorator]
def sum_columns(context: Any, S: Any, left: Any, right: Any, z: Any, out: Any, column: Any) -> Any:
    """Write entries `column` … `column` + 31 of Sᵀ z into `out`, S square; `left` and `right` are not looked at."""
    return types.void(S, left, right, z, out, column), _column_products(0)


@intrinsic  # type: ignore[untyped-decorator]
def grow_columns(context: Any, S: Any, left: Any, right: Any, z: Any, out: Any, column: Any) -> Any:
    """S ← S + left rightᵀ in columns `column` … `column` + 31, S square; write their products with z into `out`."""
    return types.void(S, left, right, z, out, column), _column_products(1)


def _plain_rows(outer: int) -> Any:
    def sweep(S: Any, left: Any, right: Any, z: Any, out: Any, row: int) -> None:
        some = slice(row, row + ROWS)
        part = S[some, : z.size]
        for u, v in [(left, right), (right, left)][:outer]:
            part -= np.outer(u[some], v[: z.size])
        out[some] = part @ z

    return sweep


def _plain_push(S: Any, push: Any, back: Any, row: int) -> None:
    some = slice(row, row + ROWS)
    back += push[some] @ S[some, : back.size]


def _plain_columns(outer: int) -> Any:
    def sweep(S: Any, left: Any, right: Any, z: Any, out: Any, column: int) -> None:
        some = slice(column, column + COLUMNS)
        if outer:
            S[:, some] += np.outer(left, right[some])
        out[some] = z @ S[:, some]

    return sweep


if UNCOMPILED:
    dot_rows, pull_rows, twist_rows = map(_plain_rows, range(3))
    push_rows, (sum_columns, grow_columns) = _plain_push, map(_plain_columns, range(2))


AnyDtype = TypeVar("AnyDtype", bound=np.ndarray[Any, Any])

LINE = 64  # bytes


def padded(size: int) -> int:
    """Return the length of a vector of `size` entries in whole panels."""
    return -(-size // LANES) * LANES


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Floats:
    """Return zeros that begin with a cache line: from elsewhere, every load of a register meets two of them."""
    room = np.zeros(math.prod(shape) * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + room.size - LINE].view(dtype).reshape(shape)


def in_panels(A: Floats) -> Floats:
    """Return a copy of A in panels of 16 rows, (panels, N', 16), each column by column, padded by zeros."""
    size = padded(len(A))
    whole = np.zeros((size, size))
    whole[: len(A), : len(A)] = A
    panels = aligned((size // LANES, size, LANES), np.float64)
    panels[...] = whole.reshape(-1, LANES, size).swapaxes(1, 2)
    return read_only(panels)


def read_only(array: AnyDtype) -> AnyDtype:
    """Return a view that cannot be written: what is kept may be shared, and kernels meet one type of array."""
    view = array.view()
    view.setflags(write=False)
    return view
