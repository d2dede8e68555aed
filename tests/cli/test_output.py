"""What the commands print: letters that any output has, and no code that a terminal would obey."""

import dataclasses
import io
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest
from click.testing import CliRunner

from neurodecorr._texts import encodable, one_line, printable
from neurodecorr.cli import main
from neurodecorr.cli.errors import plain_output
from neurodecorr.comparison import Comparison
from neurodecorr.models import model_file
from neurodecorr.report import page

ENCODINGS = ("cp1252", "ascii", "latin-1", "cp437", "utf-16")
COMMANDS = ("compare", "report", "models", "show", "train", "sweep", "export", "budget", "locality", "doctor")
LONG = ("compare", "report", "train", "sweep", "budget", "locality")
SWEEP = """schema = 1
model = "digits"
credit = ["bp"]
decorrelation = ["none", "feedforward"]
rates = [1e-3]
decorrelation_rates = [1e-3]
validation = 300
epochs = 1
batch = 500
seeds = [0]
"""


def run(*words, charset="utf-8"):
    return CliRunner(charset=charset).invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a finished comparison, a training run and a sweep."""
    folder = tmp_path_factory.mktemp("output")
    (folder / "sweep.toml").write_text(SWEEP, encoding="utf-8")
    assert run(*words_of("compare", folder), "--out", folder / "compared").exit_code == 0
    assert run(*words_of("train", folder), "--out", folder / "trained").exit_code == 0
    assert run(*words_of("sweep", folder), "--out", folder / "swept").exit_code == 0
    return folder


def words_of(command, folder):
    return {
        "compare": ("compare", "--data", "gaussian", "--size", "2", "--samples", "400", "--rule", "implicit"),
        "report": ("report", folder / "compared"),
        "models": ("models",),
        "show": ("show", "digits"),
        "train": ("train", "digits", "--epochs", "1", "--batch", "500", "--decorrelation", "recurrent"),
        "sweep": ("sweep", folder / "sweep.toml"),
        "export": ("export", folder / "compared", "--to", "spice"),
        "budget": ("budget", folder / "compared", "--chips", "2", "--bits", "4", "--mismatch", "1"),
        "locality": ("locality",),
        "doctor": ("doctor",),
    }[command]


def new_place(command, here, place):
    """Where a command writes, so that it finds nothing of an earlier call; a sweep finds its cells."""
    if command in ("compare", "train", "budget", "export"):
        return ("--out", place / ("circuit.cir" if command == "export" else command))
    return ("--out", here / "swept") if command == "sweep" else ()


@pytest.mark.parametrize(
    ("command", "encoding"),
    [
        pytest.param(command, encoding, marks=[pytest.mark.slow] if command in LONG and encoding != "ascii" else [])
        for command in COMMANDS
        for encoding in ENCODINGS
    ],
)
def test_every_command_prints_in_letters_that_its_output_has(here, command, encoding, tmp_path):
    result = run(*words_of(command, here), *new_place(command, here, tmp_path), charset=encoding)
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes and result.stdout_bytes.decode(encoding)
    if encoding != "utf-16":
        assert b"\\u" not in result.stdout_bytes


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_prints_in_any_letters_and_without_marks_of_its_source(command, encoding):
    result = run(*([command] if command else []), "--help", charset=encoding)
    text = result.stdout_bytes.decode(encoding)
    assert result.exit_code == 0 and "Usage:" in text
    assert "\\b" not in text and "\\u" not in text and "\\x" not in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_cannot_be_used_is_told_in_any_letters(encoding, tmp_path):
    result = run("compare", "--data", tmp_path / "τ̄‖.npy", charset=encoding)
    assert result.exit_code == 2 and b"Error:" in result.stderr_bytes.decode(encoding).encode()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_process_prints_in_the_letters_that_python_was_told(encoding, tmp_path):
    words = [sys.executable, "-m", "neurodecorr", "show", "digits"]
    environment = {
        **os.environ,
        "PYTHONIOENCODING": encoding,
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
    }
    done = subprocess.run(words, capture_output=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0 and done.stderr == b"" and "layer 1" in done.stdout.decode(encoding)


def test_letters_become_words_or_nearest_letters_where_they_lack():
    text = "‖x − R x̄‖ ≤ λ·10⁻¹ µV, τ = ∞, R⁻¹, Wᵀ, naïve, 2 × 3, – … █▉ ─│┼ ☃"
    told = encodable(text, "ascii")
    assert told == "||x - R xbar|| <= lambda.10^-1 uV, tau = inf, R^-1, W^T, naive, 2 x 3, - ... ## -|+ \\u2603"
    assert encodable(text, "utf-8") == text
    assert encodable("µ × ± é ² –", "latin-1") == "µ × ± é ² -"
    assert encodable("y\u0304 M\u0304 \u0101", "ascii") == "ybar Mbar a"


def test_codes_and_marks_of_direction_are_shown_not_obeyed():
    hostile = "a\x1b[2J\x07\x9b31m\u202eb\u200bc\x7f\ud800\u2028d\re"
    told = printable(hostile)
    assert told.isprintable() and told.startswith("a\\x1b[2J\\x07\\x9b31m\\u202eb") and told.endswith("d\\x0de")
    assert printable("x̄\n\tτ") == "x̄\n\tτ" and one_line("a\n b\x1b") == "a b\\x1b"


@pytest.fixture
def hostile_model(tmp_path):
    text = model_file("digits").read_text("utf-8")
    kept = [line for line in text.splitlines() if not line.startswith(("title", "source"))]
    title = 'title = "A\\u001b[31mB\\u202eC\\nD"\nsource = "S\\u009b1m\\u0007"'
    head = [line for line in kept if line.startswith("schema")]
    rest = [line for line in kept if not line.startswith("schema")]
    path = tmp_path / "hostile.toml"
    path.write_text("\n".join([*head, title, *rest]), encoding="utf-8")
    return path


def test_a_title_with_escape_codes_does_not_reach_the_terminal(hostile_model):
    result = run("show", hostile_model)
    assert result.exit_code == 0 and "A\\x1b[31mB\\u202eC D" in result.stdout
    assert all(letter.isprintable() or letter == "\n" for letter in result.stdout)
    refused = run("train", hostile_model, "--data", "\x1b[31mnowhere/")
    assert refused.exit_code == 2 and "\x1b" not in refused.stderr and "\\x1b[31mnowhere" in refused.stderr


def test_a_name_with_escape_codes_does_not_reach_the_page(here):
    found = Comparison.load(here / "compared")
    config = {**found.config, "data": "A\x1b[31m\u202eB<b>"}
    text = page(dataclasses.replace(found, config=config, dataset="A\x1b[31m\u202eB<b>"), {})
    assert "\x1b" not in text and "\u202e" not in text and "<b>B" not in text


def test_streams_are_given_back_and_take_what_progress_bars_write():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    before, sys.stderr = sys.stderr, out
    try:
        with plain_output():
            sys.stderr.write("\r50%|█████     | τ\n")
        assert sys.stderr is out
    finally:
        sys.stderr = before
    out.flush()
    assert out.buffer.getvalue() == b"\r50%|#####     | tau\n"


UNCOMPILED = """
import numpy as np, warnings, neurodecorr as nd
from neurodecorr.network import panels
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
R = np.eye(33) + 0.3 * rng.standard_normal((33, 33)) / 33**0.5
x = rng.standard_normal(33)
circuit = nd.Circuit(R)
for _ in range(4):  # by factors, then by the inverse that it keeps
    found = nd.settle(circuit, x)
    assert np.linalg.norm(found.xbar - np.linalg.solve(R, x)) <= found.bound + 1e-12
X = rng.standard_normal((40, 70)) @ rng.standard_normal((70, 70))
for form in (nd.FeedforwardDecorrelator, nd.RecurrentDecorrelator):
    for rule in ("explicit", "congruent"):
        assert np.isfinite(form(rule=rule, epochs=1).fit(X).M_).all()
M, Y, g = rng.standard_normal((70, 70)), 0.01 * rng.standard_normal((40, 70)), rng.uniform(0.9, 1.1, 70)
wanted = g[:, None] * (M - Y.T @ (X @ M))
panels.step_down(M, X, Y, g)
assert np.allclose(M, wanted)
from neurodecorr.cli import main
main(["doctor"])
"""


def test_everything_runs_without_a_compiler(tmp_path):
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", UNCOMPILED], capture_output=True, env=environment, timeout=200, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "NUMBA_DISABLE_JIT" in done.stdout


def test_a_killed_worker_is_told_in_one_line(monkeypatch, tmp_path):
    def killed(*args, **options):
        raise BrokenProcessPool("many lines\nof advice")

    monkeypatch.setattr("neurodecorr.comparison.compare", killed)
    result = run("compare", "--data", "gaussian", "--size", "2", "--samples", "300", "--out", tmp_path / "o")
    assert result.exit_code == 1 and "a worker process was killed" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and "advice" not in result.stderr
