"""Compiled kernels on disk: never stale, never in the way."""

import ast
import functools
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import neurodecorr
from neurodecorr._numerics import jit

PACKAGE = Path(neurodecorr.__file__).parent
KERNEL = """
    from neurodecorr._numerics.jit import jit
    from {room}.numbers import FACTOR, inner

    @jit()
    def outer(x):
        return FACTOR * inner(x)
"""
NUMBERS = """
    from neurodecorr._numerics.jit import jit

    FACTOR = {factor}

    @jit()
    def inner(x):
        return x + {summand}
"""
CALL = "from {room}.kernel import outer; print(outer(1.0), sum(outer.stats.cache_hits.values()))"


def write_room(folder, factor=2, summand=1):
    """Write a room of two modules: a kernel, and the constant and the kernel that it takes from elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"kernel": KERNEL, "numbers": NUMBERS, "__init__": ""}.items():
        words = text.format(room=folder.name, factor=factor, summand=summand)
        (folder / f"{name}.py").write_text(textwrap.dedent(words))
    return folder


def call(folder, **environment):
    """Call the kernel in a fresh process; return what it gave, and whether it came from disk."""
    places = os.pathsep.join([str(folder.parent), str(PACKAGE.parent)])
    done = subprocess.run(
        [sys.executable, "-B", "-c", CALL.format(room=folder.name)],
        env={**os.environ, "PYTHONPATH": places, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    value, hits = done.stdout.split()
    return float(value), bool(int(hits))


@pytest.fixture
def room(tmp_path):
    return write_room(tmp_path / "room")


@pytest.fixture
def user(tmp_path):
    """The user's own folder, in place of the real one."""
    return {"XDG_CACHE_HOME": str(tmp_path / "user"), "HOME": str(tmp_path / "home"), "NUMBA_CACHE_DIR": ""}


def test_a_change_in_another_module_is_seen(room, user):
    """numba's own cache watches the file of the kernel alone, and would give the old number."""
    assert call(room, **user) == (4.0, False)
    assert call(room, **user) == (4.0, True)
    for change in ({"factor": 3}, {"summand": 2}):
        stamps = (room / "numbers.py").stat()
        write_room(room, **change)
        os.utime(room / "numbers.py", ns=(stamps.st_atime_ns, stamps.st_mtime_ns))  # neither size nor time tell
        assert (room / "numbers.py").stat().st_size == stamps.st_size
        assert call(room, **user) == (6.0, False)


@pytest.mark.slow
def test_old_code_takes_no_room_beside_new_code(room, user):
    call(room, **user)
    files = sorted((room / "__pycache__").iterdir())
    write_room(room, factor=3)
    call(room, **user)
    assert sorted((room / "__pycache__").iterdir()) == files


@pytest.mark.slow
def test_two_installs_share_nothing(tmp_path, user):
    shared = {**user, "NUMBA_CACHE_DIR": str(tmp_path / "shared")}
    first, second = write_room(tmp_path / "a" / "room"), write_room(tmp_path / "b" / "room", factor=5)
    assert [call(place, **shared)[0] for place in (first, second, first)] == [4.0, 10.0, 4.0]
    assert len(list((tmp_path / "shared").iterdir())) == 2


def test_without_room_beside_the_code_the_users_folder_is_taken(room, user, tmp_path):
    (room / "__pycache__").write_text("a file where a folder should be")
    assert call(room, **user) == (4.0, False)
    assert call(room, **user) == (4.0, True)
    assert list((tmp_path / "user").rglob("*.nbc"))


def test_without_any_room_kernels_compile_all_the_same(room, user, tmp_path):
    for place in (room / "__pycache__", tmp_path / "user", tmp_path / "home"):
        place.write_text("a file where a folder should be")
    assert [call(room, **user) for _ in range(2)] == [(4.0, False), (4.0, False)]


def test_what_lies_beside_the_code_is_read_even_where_nothing_can_be_written(room, user, monkeypatch):
    call(room, **user)
    shutil.copytree(room, room.with_name("kept"))
    found = jit.KernelCache(lambda x: x, "", (room / "__pycache__",), jit._sources(room))
    monkeypatch.setattr(jit.tempfile, "TemporaryFile", _refuse)
    monkeypatch.setattr(jit.tempfile, "NamedTemporaryFile", _refuse)
    assert found.cache_path is None
    assert not jit._written(room / "__pycache__" / "any", b"")
    assert call(room, **user) == (4.0, True)


def _refuse(*_, **__):
    raise OSError(30, "Read-only file system")


def test_damaged_code_is_compiled_anew(room, user):
    call(room, **user)
    for damage in (lambda code: code[: len(code) // 2], lambda code: code[:-1] + b"?"):
        for file in (room / "__pycache__").glob("*.nbc"):
            file.write_bytes(damage(file.read_bytes()))
        assert call(room, **user) == (4.0, False)
    assert call(room, **user) == (4.0, True)


def test_processes_that_write_at_once_leave_whole_code(room, user):
    places = os.pathsep.join([str(room.parent), str(PACKAGE.parent)])
    command = [sys.executable, "-B", "-c", CALL.format(room=room.name)]
    environment = {**os.environ, **user, "PYTHONPATH": places}
    together = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {process.communicate()[0].split()[0] for process in together} == {"4.0"}
    assert call(room, **user) == (4.0, True)
    assert not [file for file in (room / "__pycache__").iterdir() if file.suffix != ".nbc"]


THREADS = """
    from neurodecorr._numerics.jit import jit, prange

    @jit(parallel=True)
    def on_threads(x):
        for i in prange(x.size):
            x[i] += 1

    @jit()
    def caller(x, many):
        if many:
            on_threads(x)
"""
USE = """
import sys
import numpy as np
from room.threads import caller, on_threads
x = np.zeros(64)
on_threads(x) if sys.argv[1] == "alone" else caller(x, sys.argv[1] == "many")
print(x.sum(), sum(caller.stats.cache_hits.values()))
"""


def run(command, **environment):
    """Run a fresh process; return what it prints. A crash is told by its exit status."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    return done.stdout


def test_a_caller_compiled_around_stored_threads_launches_them_when_it_is_stored_itself(room, user):
    """Each line a fresh process. numba alone loses sight of the threads in the second, and the third crashes."""
    (room / "threads.py").write_text(textwrap.dedent(THREADS))
    places = {**user, "PYTHONPATH": os.pathsep.join([str(room.parent), str(PACKAGE.parent)])}
    command = [sys.executable, "-B", "-c", USE]
    assert run([*command, "alone"], **places).split() == ["64.0", "0"]
    assert run([*command, "many"], **places).split() == ["64.0", "0"]
    assert run([*command, "many"], **places).split() == ["64.0", "1"]
    assert run([*command, "few"], **places).split() == ["0.0", "1"]  # the threads need not even be called


SPARSE = """
import numpy as np
import neurodecorr as nd
from neurodecorr._numerics import sparse
sparse.MANY_SYNAPSES = 1000
state = nd.plasticity.initial_sparse_state(nd.circuit.sparse.grid_neighbours((12, 12), 20))
X = np.random.default_rng(0).standard_normal((20, 144))
learnt = nd.plasticity.learn_sparse(state, X, nd.plasticity.SparseLearningRule())
assert len(sparse.row_cuts(learnt.weights.indptr)) > 2
print(nd.settle(nd.SparseCircuit(learnt.weights), X).xbar.sum())
"""


@pytest.mark.slow
@pytest.mark.parametrize("lost", [(), ("*.sparse_product-*", "*.learn_rows-*", "*.bicgstab-*", "*.march_sparse-*")])
def test_threads_of_sparse_circuits_are_there_whatever_was_stored_before(tmp_path, lost):
    """Callers without files are as a process leaves them that was interrupted between its kernels."""
    command, place = [sys.executable, "-B", "-c", SPARSE], {"NUMBA_CACHE_DIR": str(tmp_path)}
    found = [run(command, **place)]
    files = [file for pattern in lost for file in tmp_path.rglob(pattern)]
    assert len(files) >= len(lost)
    for file in files:
        file.unlink()
    found += [run(command, **place), run(command, **place)]
    assert len(set(found)) == 1


def test_serial_and_parallel_code_of_one_name_are_told_apart(tmp_path):
    def kernel(x):
        return x

    class Target:
        def magic_tuple(self):
            return ("machine", "processor", "features")

    caches = [jit.KernelCache(kernel, f"parallel={choice}", (tmp_path,), b"sources") for choice in (False, True)]
    assert len({cache._name((1,), Target()) for cache in caches}) == 2


def test_sources_are_told_by_content_and_by_name(tmp_path):
    def digest(files):
        for file in tmp_path.glob("*.py"):
            file.unlink()
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        jit._sources.cache_clear()
        return jit._sources(tmp_path)

    contents = [{"a.py": "1", "b.py": "2"}, {"a.py": "2", "b.py": "1"}, {"a.py": "12", "b.py": ""}, {"a.py": "1"}]
    assert len({digest(files) for files in contents}) == len(contents)
    jit._sources.cache_clear()


def test_code_typed_at_a_prompt_is_compiled_without_a_cache():
    space = {"jit": jit.jit}
    exec(compile("@jit()\ndef twice(x):\n    return 2 * x\n", "<prompt>", "exec"), space)
    assert space["twice"](2.0) == 4.0 and space["twice"].stats.cache_path is None


@functools.cache
def imported(path):
    """Return the files of the package from which a file imports."""
    return tuple(_imported(path))


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("neurodecorr"):
            base = PACKAGE.joinpath(*node.module.split(".")[1:])
            for name in [base, *(base / alias.name for alias in node.names)]:
                files = (
                    name.with_suffix(".py"),
                    name / "__init__.py",
                )  # the package itself looks its names up when asked
                yield from (file for file in files if file.is_file() and file != PACKAGE / "__init__.py")


def test_a_kernel_takes_nothing_from_a_room_whose_files_its_cache_does_not_watch():
    """Holds, as a room's modules are followed from import to import, for what they take from elsewhere too."""
    kernels = [path for path in PACKAGE.rglob("*.py") if "@jit(" in path.read_text(encoding="utf-8")]
    assert kernels
    for kernel in kernels:
        seen, waiting = set(), [kernel]
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting += imported(path)
        places = {kernel.parent, *(PACKAGE / room for room in jit.ROOMS)}
        watched = {path for path in seen if path.parent == PACKAGE or places & set(path.parents)}
        assert seen == watched, f"{kernel.relative_to(PACKAGE)} depends on {sorted(map(str, seen - watched))}"
