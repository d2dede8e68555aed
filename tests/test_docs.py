"""The documentation holds: blocks run, links lead somewhere, names exist, tables are true."""

import ast
import builtins
import doctest
import functools
import importlib
import inspect
import itertools
import os
import pickle
import re
import shlex
import unicodedata
import warnings
from pathlib import Path

import click
import numpy as np
import pytest

import neurodecorr
from neurodecorr import errors
from neurodecorr._numerics.blas import one_thread

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
if not PAGES:
    pytest.skip("the package is installed without its repository", allow_module_level=True)

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@functools.cache
def text_of(page):
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page, language):
    return [code for found, code in FENCE.findall(text_of(page)) if found == language]


def run_examples(code, names, where):
    """Run `>>>` examples in the namespace `names`."""
    assert code.startswith(">>> "), f"{where} holds no examples"
    said = []
    example = doctest.DocTestParser().get_doctest(code, names, where, where, 0)
    runner = doctest.DocTestRunner(optionflags=EXAMPLES, verbose=False)
    runner.run(example, out=said.append, clear_globs=False)
    names.update(example.globs)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.fixture(autouse=True)
def _quietly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with one_thread(64):
        yield


@pytest.mark.parametrize("page", [path.name for path in PAGES if blocks(path.name, "python")])
def test_every_block_of_python_runs_and_says_what_it_says(page):
    names = {"__name__": "docs"}
    for number, code in enumerate(blocks(page, "python"), start=1):
        run_examples(code, names, f"{page}, block {number}")


# Links and headings.


def slug(heading):
    """The anchor that MyST gives to a heading, which is GitHub's."""
    words = re.sub(r"[`*\\]", "", heading).strip().lower()
    kept = (c for c in words if c in "-_ " or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def anchors(page):
    bare = FENCE.sub("", text_of(page))
    headings = re.findall(r"^#{1,3} (.+)$", bare, re.MULTILINE)
    return {slug(heading) for heading in headings} | set(re.findall(r"^\(([\w-]+)\)=$", bare, re.MULTILINE))


def links():
    for path in PAGES:
        bare = FENCE.sub("", text_of(path.name))
        yield from ((path.name, target) for target in re.findall(r"\]\(([^)\s]+)\)", bare))


@pytest.mark.parametrize("page", [path.name for path in PAGES])
def test_every_link_between_pages_leads_somewhere(page):
    for target in {target for one, target in links() if one == page and not target.startswith("https://")}:
        other, _, anchor = target.partition("#")
        other = other or page
        if other == "gallery/index.rst":  # made from simulations/ when the pages are built
            continue
        assert (DOCS / other).is_file(), f"{page} links to {other}"
        assert not anchor or anchor in anchors(other), f"{page} links to {target}; {other} has {sorted(anchors(other))}"


def test_every_page_is_in_the_table_of_contents_and_on_the_front_page():
    contents = re.search(r"^```\{toctree\}\n(.*?)^```$", text_of("index.md"), re.MULTILINE | re.DOTALL)[1]
    named = {line for line in contents.split() if not line.startswith(":")}
    assert named - {"gallery/index"} == {path.stem for path in PAGES} - {"index"}
    assert {target for page, target in links() if page == "index.md"} >= {
        f"{name}.md" for name in named if "/" not in name
    }


@pytest.mark.parametrize("page", [path.name for path in PAGES])
def test_every_file_of_the_repository_that_a_page_names_is_there(page):
    for name in re.findall(r"`((?:tests|simulations|docs|models)/[\w/.]*)`", text_of(page)):
        assert (ROOT / name).exists(), f"{page} names {name}"


# Commands.


def commands():
    for path in PAGES:
        for block in blocks(path.name, "console"):
            yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ neurodecorr"))


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_is_one_that_the_command_line_understands(command, monkeypatch):
    from neurodecorr.cli import main

    name, *arguments = shlex.split(command)[1:]
    assert name in main.commands, f"{name!r} is not among {sorted(main.commands)}"
    for parameter in main.commands[name].params:
        if isinstance(parameter.type, click.Path):
            monkeypatch.setattr(parameter.type, "exists", False)  # the files of an example need not be there
    main.commands[name].make_context(name, arguments)


# Names.


def resolve(name):
    """Return what `room.module.name` stands for; a function wins over a module of the same name."""
    head, _, last = name.rpartition(".")
    if not head:
        return importlib.import_module(f"neurodecorr.{last}")
    try:
        parent = importlib.import_module(f"neurodecorr.{head}")
    except ModuleNotFoundError:
        parent = resolve(head)
    return getattr(parent, last) if hasattr(parent, last) else importlib.import_module(f"neurodecorr.{name}")


ROOMS = sorted(
    {path.name.removesuffix(".py") for path in (ROOT / "neurodecorr").iterdir() if not path.name.startswith("_")}
)
NAMED = re.compile(r"`((?:" + "|".join(ROOMS) + r")\.[A-Za-z_][\w.]*)`")


@pytest.mark.parametrize("page", [path.name for path in PAGES])
def test_every_function_that_a_page_names_exists(page):
    for name in set(NAMED.findall(text_of(page))):
        assert resolve(name) is not None, name


# Tables.


def rows(page, first, last):
    """Return the rows of the tables whose header runs from the cell `first` to the cell `last`."""
    found, header = [], None
    for line in text_of(page).splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if header is None:
            header = cells
        elif header[0] == first and header[-1] == last and not set("".join(cells)) <= set("-: "):
            found.append(tuple(cells))
    return found


def flat(text):
    return " ".join(text.split())


EQUATIONS = rows("theory.md", "Equation", "Source")


@pytest.mark.parametrize(("fragment", "name"), [(row[1].strip("`"), row[2].strip("`")) for row in EQUATIONS])
def test_every_equation_of_the_table_stands_in_the_docstring_of_its_function(fragment, name):
    assert flat(fragment) in flat(inspect.getdoc(resolve(name)) or ""), f"{name} does not say {fragment}"


def public_formulas():
    for room in ("circuit", "plasticity", "measures"):
        module = importlib.import_module(f"neurodecorr.{room}")
        for name in module.__all__:
            if re.search(r"::\n\n", inspect.getdoc(getattr(module, name)) or ""):
                yield f"{room}.{name}"


def test_every_public_function_with_a_formula_is_in_the_table():
    listed = {resolve(row[2].strip("`")) for row in EQUATIONS}
    assert [name for name in public_formulas() if resolve(name) not in listed] == []


def test_every_equation_number_of_the_table_stands_on_the_page():
    labels = {int(number) for block in blocks("theory.md", "text") for number in re.findall(r"^\((\d+)\)", block, re.M)}
    assert labels == set(range(1, max(labels) + 1))
    cited = {int(number) for row in EQUATIONS for number in re.findall(r"\((\d+)\)", row[0])}
    assert cited <= labels


def test_the_rooms_of_the_architecture_page_are_those_that_the_imports_obey():
    source = ast.parse((ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    floors = next(
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "FLOORS"
    )
    told = [tuple(re.findall(r"`(\w+)`", row[1])) for row in rows("architecture.md", "Floor", "What they hold")]
    assert [set(floor) for floor in told] == [set(floor) for floor in floors]
    assert [row[0] for row in rows("architecture.md", "Floor", "What they hold")] == [
        str(k) for k in range(len(floors))
    ]


def ledger_tests():
    files = [ROOT / "tests" / name for name in ("test_ledger.py", "test_ledger_networks.py")]
    body = [node for path in files for node in ast.parse(path.read_text(encoding="utf-8")).body]
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"}


def test_every_line_of_the_ledger_names_its_checks_and_every_check_its_line():
    entries = re.split(r"^### ", text_of("ledger.md"), flags=re.MULTILINE)[1:]
    told = {}
    for entry in entries:
        key = re.match(r"[TDN]\d+", entry)[0]
        names = re.findall(r"`(test_\w+)`", entry)
        assert names, f"{key} has no check"
        assert all(name.startswith(f"test_{key}_") for name in names), f"{key} names another line's check"
        told |= dict.fromkeys(names)
    assert set(told) == set(ledger_tests())


# The page on reliability.

BAD = rows("reliability.md", "Input", "Afterwards")
ACCEPTED = rows("reliability.md", "Input", "Check")


@pytest.fixture(scope="module")
def reliability(tmp_path_factory):
    """The names and the files that the tables use."""
    before = Path.cwd()
    names = {"__name__": "docs"}
    os.chdir(tmp_path_factory.mktemp("reliability"))
    try:
        for number, code in enumerate(blocks("reliability.md", "python"), start=1):
            run_examples(code, names, f"reliability.md, block {number}")
        yield names, Path.cwd()
    finally:
        os.chdir(before)


def everything(names, folder):
    """Return the bytes of what a call might change: arrays, the model, all files."""
    held = {name: value.tobytes() for name, value in names.items() if isinstance(value, np.ndarray)}
    files = {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return held, pickle.dumps(names["model"]), files


def test_the_table_of_bad_input_has_rows_and_every_row_says_unchanged():
    assert len(BAD) > 40
    assert {row[4] for row in BAD} == {"unchanged"}


@pytest.mark.parametrize("row", BAD, ids=[f"{row[0]}: {row[1]}" for row in BAD])
def test_bad_input_raises_what_the_table_says_and_changes_nothing(row, reliability, monkeypatch):
    _, call, kind, message, _ = row
    names, folder = reliability
    monkeypatch.chdir(folder)
    before = everything(names, folder)
    kind = getattr(errors, kind.strip("`"), None) or getattr(builtins, kind.strip("`"))
    with pytest.raises(kind, match=re.escape(message)) as caught:
        eval(call.strip("`"), names)
    assert type(caught.value) is kind
    assert everything(names, folder) == before


@pytest.mark.parametrize("row", ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_difficult_input_does_what_the_table_says(row, reliability, monkeypatch):
    _, _, warning, check = row
    names, folder = reliability
    monkeypatch.chdir(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert eval(check.strip("`"), names)
    expected = set() if warning == "–" else {warning.strip("`")}
    assert {found.category.__name__ for found in caught} == expected


# The examples in docstrings.


def documented_modules():
    package = Path(neurodecorr.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(package).with_suffix("").parts
            yield ".".join(itertools.chain(["neurodecorr"], parts)).removesuffix(".__init__")


@pytest.mark.parametrize("name", sorted(documented_modules()))
def test_the_examples_in_docstrings_are_exact(name):
    module = importlib.import_module(name)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        example.globs.setdefault("np", np)
        said = []
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
        runner.run(example, out=said.append)
        assert runner.summarize(verbose=False).failed == 0, "".join(said)
