"""The one door to numba: compiled kernels, cached on disk where a cache can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["LANES", "jit", "only", "panel_residual", "prange"]

F = TypeVar("F", bound=Callable[..., Any])
prange = numba.prange
# Rows of a panel: two registers of 512 bits, or four of 256.
LANES = 16

# Sums may be reordered and products fused (SIMD), but NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract"}


def jit(*, parallel: bool = False) -> Callable[[F], F]:
    """Compile a kernel with IEEE error handling, reorderable sums, and a disk cache where one is writable.

    Parameters
    ----------
    parallel : bool, default False
        Spread `prange` loops over threads. Only for independent rows.
    """

    def compile_kernel(function: F) -> F:
        def options(cache: bool) -> dict[str, Any]:
            return {"cache": cache, "parallel": parallel, "error_model": "numpy", "fastmath": _SUMS, "nogil": True}

        try:
            return cast(F, numba.njit(**options(cache=True))(function))
        except RuntimeError:  # numba: "no locator available": neither the package nor the user cache is writable
            return cast(F, numba.njit(**options(cache=False))(function))

    return compile_kernel


def only(kernel: F, *arguments: Any) -> F:
    """Compile a kernel for arguments of these types, and have it raise TypeError for all that it was not compiled for.

    Checking types is the dispatcher's trade: in Python it would take as long as a product of 32 units.
    """
    dispatcher = cast(Any, kernel)
    dispatcher.disable_compile(False)
    dispatcher(*arguments)
    dispatcher.disable_compile()
    return kernel


@intrinsic  # type: ignore[untyped-decorator]
def panel_residual(context: Any, panels: Any, u: Any, z: Any, out: Any, p: Any) -> Any:
    """Write rows 16p … 16p + 15 of u − A z into `out`, with all sums in registers.

    Loops over rows or columns leave the sums to reductions or to memory; for small matrices that costs twice the
    arithmetic. Lengths are multiples of 16; panels[p, j] holds entries 16p … of column j.
    """
    vector = ir.VectorType(ir.FloatType() if panels.dtype == types.float32 else ir.DoubleType(), LANES)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[:4], arguments, strict=False)
        ]
        size = context.make_array(signature.args[1])(context, builder, arguments[1]).nitems
        width, start = ir.Constant(size.type, LANES), builder.mul(arguments[4], ir.Constant(size.type, LANES))
        base = builder.mul(start, size)
        fma = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector, [vector] * 3),
            f"llvm.fma.v{LANES}f{32 if vector.element == ir.FloatType() else 64}",
        )

        def place(which: int, offset: Any) -> Any:
            return builder.bitcast(builder.gep(data[which], [offset]), vector.as_pointer())

        def splat(value: Any) -> Any:
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

        # Two chains of sums hide the latency of the multiplier.
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(2)]
        pair = ir.Constant(size.type, 2)
        with cgutils.for_range_slice(builder, ir.Constant(size.type, 0), size, pair, size.type) as (column, _):
            for k, total in enumerate(sums):
                j = builder.add(column, ir.Constant(size.type, k))
                entries = builder.load(place(0, builder.add(base, builder.mul(j, width))), align=4)
                factor = splat(builder.load(builder.gep(data[2], [j])))
                builder.store(builder.call(fma, [entries, factor, builder.load(total)]), total)
        product = builder.fadd(*(builder.load(total) for total in sums))
        drive = builder.load(place(1, start), align=4)
        builder.store(builder.fsub(drive, product), place(3, start), align=4)
        return context.get_dummy_value()

    return types.void(panels, u, z, out, p), generate
