"""The one door to numba: compiled kernels, cached on disk where a cache can be written."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite  # type: ignore[import-untyped]
import numba
from llvmlite import ir as ir
from numba.core import cgutils as cgutils
from numba.core import compiler, config, serialize
from numba.core import types as types
from numba.core.caching import _Cache
from numba.extending import intrinsic as intrinsic
from numba.misc.appdirs import AppDirs

F = TypeVar("F", bound=Callable[..., Any])
prange = numba.prange
# Rows of a panel: two registers of 512 bits, or four of 256.
LANES = 16
# Whether NUMBA_DISABLE_JIT has kernels run as Python. What is written in machine code has a twin in Python for that.
UNCOMPILED = bool(config.DISABLE_JIT)

# Sums may be reordered and products fused (SIMD), but NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract"}


def jit(*, parallel: bool = False, inline: bool = False) -> Callable[[F], F]:
    """Compile a kernel with IEEE error handling, reorderable sums, and a disk cache where one is writable.

    Parameters
    ----------
    parallel : bool, default False
        Spread `prange` loops over threads, where `threads_work`. Only for independent rows. Other kernels may call such
        a kernel if they are told by an argument whether to: see `OnThreads`.
    inline : bool, default False
        Copy the kernel into its callers: for the few lines of a step, whose call would cost more than they do (0.40 µs
        instead of 0.25 µs a sample for 32 units).
    """

    def compile_kernel(function: F) -> F:
        if UNCOMPILED:
            return function
        serial = _dispatcher(function, False, inline)
        return cast(F, OnThreads(function, _dispatcher(function, True), serial) if parallel else serial)

    return compile_kernel


def _dispatcher(function: Callable[..., Any], parallel: bool, inline: bool = False) -> Any:
    dispatcher = numba.njit(parallel=parallel, error_model="numpy", fastmath=_SUMS, nogil=True, forceinline=inline)(
        function
    )
    file = Path(inspect.getfile(function))
    room = file.parent
    # Typed at a prompt, read out of an archive, or built around other values: no files answer for such a kernel.
    if function.__closure__ is None and file.is_file() and (sources := _sources(room)):
        dispatcher._cache = KernelCache(function, f"parallel={parallel}", _folders(room), sources)
    return dispatcher


class OnThreads:
    """A kernel compiled twice: with its `prange` loops on threads, and without.

    A call from Python takes the first where `threads_work`, the second elsewhere. A kernel that calls this one was
    compiled around the first, and cannot ask: it must be told, as `_numerics.sparse.row_cuts` does, by an argument that
    says whether there is anything to share out.

    Parameters
    ----------
    function : callable
        What was compiled.
    threaded, serial : dispatcher
        The two forms.
    """

    def __init__(self, function: Callable[..., Any], threaded: Any, serial: Any) -> None:
        functools.update_wrapper(self, function)
        self.py_func, self.threaded, self.serial = function, threaded, serial

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel in the form that may run here."""
        return (self.threaded if threads_work() else self.serial)(*arguments)

    @property
    def _numba_type_(self) -> Any:
        """What numba takes this for inside other kernels: the form on threads."""
        return self.threaded._numba_type_


# Layers that two threads of a process may enter at once. numba's own, "workqueue", ends the process then.
THREADSAFE = ("tbb", "omp")
_inherited = False


def threads_work() -> bool:
    """Tell whether kernels may run on numba's threads here, which are launched by this question.

    They may not in a process that was forked from one that had launched them: the threads stayed behind, and a kernel
    would wait for them, or be ended by OpenMP. Nor where the layer cannot be entered by two threads at once.
    """
    return not (UNCOMPILED or _inherited) and _layer() in THREADSAFE


@functools.cache
def _layer() -> str:
    """Return numba's threading layer, launched."""
    numba.get_num_threads()
    return str(numba.threading_layer())


def _after_fork() -> None:
    """Remember in a child process that its parent had launched threads."""
    global _inherited
    with contextlib.suppress(ValueError):
        numba.threading_layer()
        _inherited = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class KernelCache(_Cache):  # type: ignore[misc]
    """Compiled code of one kernel on disk, one file per kernel and types of arguments.

    numba's own cache watches the file of the kernel alone; a kernel calls kernels of other modules, and their constants
    are compiled into it. Here each file begins with a digest of its content and of every source that it may have come
    from. Code from other sources, and code that was cut short, is compiled anew and overwritten. Compilers, processor
    and options are part of the file's name.

    Parameters
    ----------
    function : callable
        The kernel.
    options : str
        What else decides the code.
    folders : sequence of Path
        Where to look, and where to write: the first that can be written to.
    sources : bytes
        Digest of the sources.
    """

    def __init__(self, function: Callable[..., Any], options: str, folders: tuple[Path, ...], sources: bytes) -> None:
        self._code = function.__code__.co_code
        self._stem = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}".replace("<locals>", "")
        self._options, self._folders, self._sources = options, folders, sources

    @property
    def cache_path(self) -> str | None:
        """First folder that can be written to."""
        return next((str(folder) for folder in self._folders if _writable(folder)), None)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return compiled code for arguments of these types; None if there is none on disk that is whole and fresh."""
        target_context.refresh()
        name = self._name(sig, target_context.codegen())
        for folder in self._folders:
            with contextlib.suppress(OSError):
                content = (folder / name).read_bytes()
                payload = content[_DIGEST:]
                if content[:_DIGEST] == self._digest(payload):
                    found = compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
                    # What launches the threads: numba hands it on to callers, but only from code that it has compiled.
                    # A caller stored without it would, alone in a fresh process, call threads that nobody launched.
                    found.library._reload_init.update(found.reload_init)
                    return found
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write compiled code into the first folder that takes it; do without if none does."""
        if data.library.has_dynamic_globals or any(not loop.can_cache for loop in data.lifted):
            return
        payload = serialize.dumps(data._reduce())
        content, name = self._digest(payload) + payload, self._name(sig, data.codegen)
        any(_written(folder / name, content) for folder in self._folders)

    def _digest(self, payload: bytes) -> bytes:
        return hashlib.sha256(self._sources + payload).digest()

    def _name(self, sig: Any, codegen: Any) -> str:
        makers = (sys.version, numba.__version__, llvmlite.__version__, codegen.magic_tuple())
        settings = (config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK, config.USING_SVML)
        key = repr((str(sig), self._options, self._code, makers, settings, config.DEBUGINFO_DEFAULT))
        return f"{self._stem}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.nbc"

    def enable(self) -> None:
        """Nothing to do: a kernel is cached from the start."""

    def disable(self) -> None:
        """Nothing to do: a kernel is cached to the end."""

    def flush(self) -> None:
        """Nothing to do: what is not fresh is overwritten."""


# Rooms whose kernels and constants other kernels use.
ROOMS = ("_numerics", "io", "circuit", "plasticity")
_DIGEST = hashlib.sha256().digest_size


@functools.cache
def _sources(room: Path) -> bytes:
    """Return a digest of every source file that kernels of this folder are made from; empty if there is none.

    Contents are read, since an upgrade may keep size and time. Kernels import from their own room, from the rooms of
    kernels, and from single modules at the top of the package; a test holds them to it.
    """
    package = Path(__file__).parents[1]
    files = sorted({*room.rglob("*.py"), *(file for name in ROOMS for file in (package / name).rglob("*.py"))})
    files += sorted(package.glob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)} ".encode() + content)
    return digest.digest() if files else b""


@functools.cache
def _folders(room: Path) -> tuple[Path, ...]:
    """Return where kernels of this folder may be kept: beside them or with the user, or as NUMBA_CACHE_DIR says."""
    place = f"{room.name}-{hashlib.sha256(os.fsencode(room.absolute())).hexdigest()[:16]}"
    if config.CACHE_DIR:
        return (Path(config.CACHE_DIR) / place,)
    return room / "__pycache__", Path(AppDirs("neurodecorr", appauthor=False).user_cache_dir) / place


def _written(path: Path, content: bytes) -> bool:
    """Write a file that other processes see whole or not at all; say whether it could be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return False
    return True


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


_CLOSED: dict[Any, Any] = {}
_CLOSING = threading.Lock()


def only(kernel: F, *arguments: Any) -> F:
    """Return a kernel compiled for arguments of these types, that raises TypeError for all others.

    Checking types is the dispatcher's trade: in Python it would take as long as a product of 32 units. Each set of
    types gets a dispatcher of its own, made once: one that is opened again for other types would, for that time, be
    open to all threads.
    """
    if UNCOMPILED:
        return kernel
    function = cast(Any, kernel).py_func
    key = (function, tuple(numba.typeof(argument) for argument in arguments))
    with _CLOSING:
        if key not in _CLOSED:
            dispatcher = _dispatcher(function, False)
            dispatcher(*arguments)
            dispatcher.disable_compile()
            _CLOSED[key] = dispatcher
        return cast(F, _CLOSED[key])


@intrinsic  # type: ignore[untyped-decorator]
def panel_residual(context: Any, panels: Any, u: Any, z: Any, out: Any, p: Any) -> Any:
    """Write out ← rows 16p … 16p + 15 of u − A z, with all sums in registers.

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


def _plain_residual(panels: Any, u: Any, z: Any, out: Any, p: int) -> None:
    rows = slice(LANES * p, LANES * (p + 1))
    out[rows] = u[rows] - z @ panels[p]


if UNCOMPILED:
    panel_residual = _plain_residual
