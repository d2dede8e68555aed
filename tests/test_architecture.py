"""The house as docs/architecture.md describes it: imports point downwards, one importer for each heavy library."""

import ast
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neurodecorr

PACKAGE = Path(neurodecorr.__file__).parent
# Rooms from the ground up; a module may import its own room and any room on a line above its own.
FLOORS = (
    ("errors", "_lazy"),
    ("_typing", "_texts"),
    ("_validation",),
    ("_numerics",),
    ("io", "measures"),
    ("data",),
    ("circuit",),
    ("plasticity",),
    ("estimators", "network", "online"),
    ("credit",),
    ("models",),
    ("training",),
    ("locality",),
    ("hardware", "spiking"),
    ("experiments",),
    ("comparison",),
    ("export",),
    ("plots",),
    ("report",),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
# Each heavy library has one door.
DOORS = {
    "numba": {"_numerics"},
    "matplotlib": {"plots"},
    "h5py": {"io"},
    "brian2": {"spiking"},
    "nir": {"export"},
    "torch": {"network"},
    "click": {"cli"},
    "rich": {"report", "cli"},
    "jinja2": {"report", "cli"},
    "threadpoolctl": {"_numerics", "io", "cli"},
}


@functools.cache
def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes_of(path):
    return tuple(ast.walk(tree_of(path)))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imports(path):
    """Return the full dotted name of everything that `path` imports, at any depth of the file."""
    return tuple(_imports(path))


def _imports(path):
    package = ["neurodecorr", *path.relative_to(PACKAGE).parent.parts]
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


def rooms_imported(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "neurodecorr" and len(parts) > 1:
            yield parts[1]


def test_imports_point_downwards():
    for path in modules():
        here, name = room_of(path), path.relative_to(PACKAGE)
        for room in rooms_imported(path):
            if room in (here, "__version__"):
                continue
            assert room in LEVEL, f"{name} imports neurodecorr.{room}, which has no floor"
            assert LEVEL[room] < LEVEL[here], f"{name}: floor {LEVEL[here]} imports {room} of floor {LEVEL[room]}"


@pytest.mark.parametrize("library", DOORS)
def test_each_heavy_library_has_one_door(library):
    importers = {room_of(path) for path in modules() for name in imports(path) if name.split(".")[0] == library}
    assert importers <= DOORS[library]


def test_no_cycles_between_the_modules_of_a_room():
    graph = {}
    for path in modules():
        name = "neurodecorr." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        graph[name.removesuffix(".__init__")] = set(imports(path))
    edges = {
        name: {other for target in targets for other in graph if other != name and _within(target, other, graph)}
        for name, targets in graph.items()
    }
    seen, stack = set(), []

    def visit(name):
        assert name not in stack, " → ".join([*stack[stack.index(name) :], name])
        if name in seen:
            return
        stack.append(name)
        for other in sorted(edges[name]):
            visit(other)
        stack.pop()
        seen.add(name)

    for name in graph:
        visit(name)


def _within(target, module, graph):
    """Whether importing the dotted name `target` means importing `module` itself (not only its package)."""
    return target == module or (target.rpartition(".")[0] == module and target not in graph)


def test_import_neurodecorr_loads_no_heavy_library():
    code = (
        "import sys, neurodecorr; heavy = 'numba', 'matplotlib', 'sklearn', 'scipy', 'torch', 'brian2', 'h5py', 'nir'; "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "[]"


def test_every_public_name_resolves():
    for name in neurodecorr.__all__:
        assert getattr(neurodecorr, name) is not None


def test_the_names_of_hardware_are_those_of_its_rooms():
    names = {}
    exec("from neurodecorr.hardware import *", names)
    for name in neurodecorr.hardware.__all__:
        (home,) = [home for home, own in neurodecorr.hardware._NAMES.items() if name in own]
        room = importlib.import_module(f"neurodecorr.hardware.{home}")
        assert name in room.__all__ and names[name] is getattr(room, name)
    assert dir(neurodecorr.hardware) == sorted(neurodecorr.hardware.__all__)


def test_a_name_is_looked_up_once():
    code = (
        "import neurodecorr as nd; nd.Circuit, nd.export.write_spice; "
        "print('Circuit' in vars(nd), 'write_spice' in vars(nd.export))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.split() == ["True", "True"]


def test_rooms_within_a_room_are_there_before_anything_is_imported_from_them():
    code = (
        "import neurodecorr as nd\n"
        "for room in (nd.export, nd.hardware):\n"
        "    for name in room._NAMES: print(name in vars(room) or getattr(room, name).__all__ != [])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert set(done.stdout.split()) == {"True"}


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="Circiut"):
        _ = neurodecorr.Circiut
    with pytest.raises(AttributeError, match="Devcies"):
        _ = neurodecorr.hardware.Devcies


def test_models_and_simulations_are_no_packages():
    root = Path(__file__).parent.parent
    assert not list((root / "simulations").rglob("__init__.py"))
    assert not list((root / "models").rglob("__init__.py"))


def test_no_file_outgrows_its_noun():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > 600} == {}


# Whose functions start programs, and which of them go through a shell or know no time limit.
STARTERS = {"run", "call", "check_call", "check_output"}
SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "startfile", "create_subprocess_shell"}
SHELLS |= {f"{way}{how}" for way in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")}
SHELLS |= {"posix_spawn", "posix_spawnp", "create_subprocess_exec"}
STARTS_PROGRAMS = "export/spice/runner.py"


def calls(path):
    """Yield every call of a function of a module, as (module, name, call)."""
    for node in nodes_of(path):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            yield node.func.value.id, node.func.attr, node


def test_one_module_of_the_library_starts_programs_and_none_uses_a_shell():
    starting = [path for path in modules() if {"subprocess", "pty", "multiprocessing.popen_fork"} & set(imports(path))]
    assert [path.relative_to(PACKAGE).as_posix() for path in starting] == [STARTS_PROGRAMS]
    for path in modules():
        for module, name, call in calls(path):
            assert not (module in ("os", "asyncio", "subprocess") and name in SHELLS), f"{path}:{call.lineno}"


def test_every_program_has_a_time_limit_and_none_a_shell():
    root = Path(__file__).parents[1]  # the package may be installed elsewhere
    folders = [PACKAGE, *(root / name for name in ("tests", "simulations", "docs") if (root / name).is_dir())]
    found = 0
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        names = {node.name for one in nodes_of(path) if isinstance(one, ast.ImportFrom) for node in one.names}
        assert not (names & {"Popen", "check_output"}), f"{path}: import subprocess as a whole, which is seen here"
        for module, name, call in calls(path):
            where, options = f"{path}:{call.lineno}", {keyword.arg for keyword in call.keywords}
            if module == "subprocess":
                found += 1
                assert "shell" not in options, where
                assert name not in STARTERS or "timeout" in options, where
                assert name in STARTERS | {"Popen"}, where
    assert found > 20


def test_the_program_that_is_started_is_waited_for_no_longer_than_its_time():
    waits = [
        node
        for node in nodes_of(PACKAGE / STARTS_PROGRAMS)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("wait", "communicate")
    ]
    assert waits and all(node.args or node.keywords for node in waits)


# Where eigenvalues are taken for something else than the stability margin, and what for.
EIGENVALUES = {
    "circuit/spectrum.py": "the spectrum itself",
    "circuit/stability.py": "the margin, the modes, and roots of stability polynomials",
    "comparison/compare.py": "the time that a decomposition takes",
    "export/bundle/agreement.py": "condition of the modes",
    "export/nir/dialects.py": "growth factor per step",
    "hardware/analogue/perturbation.py": "spectral radius of a matrix of variances",
    "hardware/analogue/results.py": "condition of the modes",
}


def test_one_place_computes_the_stability_margin():
    """Everybody else calls `margin`, `is_stable`, `require_stable` or `stability`."""
    for path in modules():
        name, text = path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")
        if re.search(r"\.eig(vals)?\(", text):
            assert name in EIGENVALUES, name
        if not name.startswith("circuit/"):
            assert not re.search(r"(eigvals?\(.*|values?)\.real\.(min|max)\(", text), name


# What stands once, as a pattern of source text, and where.
ONCE = {
    r"alpha \* gap \+ omega": "circuit/chebyshev_kernels.py",  # the Chebyshev recurrence
    r"/ \(d - c / 2 \* rho\)": "circuit/bounds.py",  # its coefficients
    r"omega \* \(?v\[|omega \* v\[": "circuit/solve.py",  # BiCGStab
    r"def \w*certified\(": "circuit/certificate.py",
}


@pytest.mark.parametrize("pattern", ONCE)
def test_one_place_settles_by_one_recurrence_and_certifies(pattern):
    found = [path.relative_to(PACKAGE).as_posix() for path in modules() if re.search(pattern, path.read_text("utf-8"))]
    assert found == [ONCE[pattern]]


def test_nobody_takes_a_scheduled_step_by_hand():
    """The three-term recurrence p ← α r + ω p is `next_step`, its coefficients `coefficients` or `recurrence`."""
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"schedule\[min\(", text), path
        assert (
            not re.search(r"(alpha|\ba) \* .* \+ (omega|\bw|\bo) \* step", text) or path.stem == "chebyshev_kernels"
        ), path


def test_no_kernel_of_circuits_takes_more_than_eight_arguments():
    for path in (PACKAGE / "circuit").glob("*.py"):
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(one, ast.Call) and getattr(one.func, "id", "") == "jit" for one in node.decorator_list
            ):
                assert len(node.args.args) <= 8, f"{path.name}: {node.name}"


def test_no_public_class_or_function_has_a_name_twice():
    homes = {}
    for path in modules():
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(path.relative_to(PACKAGE).as_posix())
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_only_faces_say_what_is_public():
    rooms = {"errors.py", "estimators.py", "measures.py", "models.py"}
    for path in modules():
        names = {
            target.id
            for node in tree_of(path).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        here = path.relative_to(PACKAGE).as_posix()
        assert "__all__" not in names or path.name == "__init__.py" or here in rooms, here


def test_no_kernel_takes_more_than_eight_arguments():
    for path in modules():
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(one) for one in node.decorator_list):
                assert len(node.args.posonlyargs) + len(node.args.args) <= 8, f"{path.name}: {node.name}"
