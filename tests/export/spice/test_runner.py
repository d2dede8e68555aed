"""A runner that runs circuits and nothing else, and says in the simulator's words what went wrong."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.circuit import Circuit
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.export import run_spice, spice, write_spice
from neurodecorr.export.spice.cards import read_cards
from neurodecorr.export.spice.runner import (
    OutOfTimeError,
    complaints,
    find_simulator,
    measured,
    printed_voltages,
    program_folder,
    run_program,
    simulator_version,
    tables,
)

DIVIDER = """* two resistors
V1 a 0 DC 3
R1 a b 1
R2 b 0 2
.save v(b)
.op
.end
"""


@pytest.fixture
def netlist(tmp_path):
    def write(text):
        file = tmp_path / "netlist.cir"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_a_netlist_of_other_hands_runs_too(ngspice, netlist):
    found = run_spice(netlist(DIVIDER))
    assert found.operating == {"b": 2.0}
    assert found.op is None and found.xbar.shape == (0, 0) and found.expected == {} and found.nodes == {}


def test_the_first_line_is_a_title_whatever_it_says(ngspice, netlist):
    assert run_spice(netlist(DIVIDER.replace("* two", "Ten two"))).operating == {"b": 2.0}


@pytest.mark.parametrize(
    "line",
    [
        ".control",
        ".include /etc/passwd",
        ".lib other.lib tt",
        ".inc other.cir",
        "*#shell touch {proof}",
        "*# shell touch {proof}",
        "!touch {proof}",
        ".system touch {proof}",
        ".op > {proof}",
        ".print op v(b)\n+ > {proof}",
        "V2 c 0 PWL file={proof}",
        "A1 [c] filesource",
        "echo `touch {proof}`",
        ".csparam x=1",
        "X1 a b unknown",
        "  .control",
    ],
)
def test_cards_that_touch_files_or_run_commands_are_refused_before_anything_runs(line, netlist, tmp_path):
    proof = tmp_path / "proof"
    file = netlist(DIVIDER.replace(".op", line.format(proof=proof) + "\n.op"))
    for simulator in ("ngspice", "gnucap"):
        with pytest.raises(InputError, match=r"line \d+ of netlist.cir"):
            run_spice(file, simulator)
    assert not proof.exists()


def test_start_up_files_are_not_read(ngspice, netlist, tmp_path, monkeypatch):
    proof = tmp_path / "proof"
    (tmp_path / ".spiceinit").write_text(f"shell touch {proof}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run_spice(netlist(DIVIDER)).operating == {"b": 2.0}
    assert not proof.exists()


def attacks(proof):
    """Return netlists that touch a file if anything in them is taken for a command, by name."""
    command = f"shell touch {proof}"

    def within(text):
        return DIVIDER.replace(".op\n", f"{text}\n.op\n")

    return {
        "script": f"*ng_script\n{command}\n",
        "script in capitals": f"*NG_SCRIPT\n{command}\n",
        "script behind blanks": f" \t* ng_script\n{command}\n",
        "script behind a byte-order mark": f"\ufeff*ng_script\n{command}\n",
        "script of commands that look like elements": (
            f"*ng_script\ncircbyline * title\ncircbyline r1 a 0 1\ncircbyline *# {command}\ncircbyline .end\n"
        ),
        "script that goes on below": f"*ng_script\n+ {command}\n{DIVIDER}",
        "script with the line ends of Windows": f"*ng_script\r\n{command}\r\n",
        "script on its second line": f"\n*ng_script\n{command}\n",
        "control": within(f".control\n{command}\n.endc"),
        "control in capitals": within(f".CoNtRoL\n{command}\n.ENDC"),
        "control behind blanks": within(f" \t .control\n{command}\n.endc"),
        "control as the title": f".control\n{command}\n.endc\n{DIVIDER}",
        "control behind the end": f"{DIVIDER}.control\n{command}\n.endc\n",
        "control continued": within(f".con\n+ trol\n{command}\n.endc"),
        "control behind a form feed": within(f"* a\x0c.control\x0c{command}\x0c.endc"),
        "control behind a return": within(f"* a\r.control\r{command}\r.endc\r"),
        "control behind a vertical tab": within(f"* a\x0b.control\x0b{command}\x0b.endc"),
        "control behind NUL": within(f"* a\0\n.control\n{command}\n.endc"),
        "control behind a line separator": within(f"* a\u2028.control\u2028{command}\u2028.endc"),
        "control in a comment": within(f"*#control\n*#{command}\n*#endc"),
        "comment": within(f"*#{command}"),
        "comment behind blanks": within(f"  *# {command}"),
        "comment with a blank": within(f"* # {command}"),
        "comment as the title": f"*#{command}\n{DIVIDER}",
        "comment behind a card": within(f"R3 b 0 1 $ {command}"),
        "semicolon": within(f"R3 b 0 1 ; {command}"),
        "second command": within(f".save v(a) ; {command}"),
        "backticks": within(f"V2 c 0 DC `touch {proof}`"),
        "backticks in an option": within(f".options method=`touch {proof}`"),
        "function": within(f".func f(x) {{`touch {proof}`}}\nB1 c 0 V=f(1)"),
        "parameter": within(f".param x='touch {proof}'\nR3 b 0 {{x}}"),
        "constant": within(f".csparam x={{`touch {proof}`}}"),
        "exec": within(f".exec touch {proof}"),
        "system": within(f".system touch {proof}"),
        "exclamation mark": within(f"!touch {proof}"),
        "exclamation mark continued": within(f".op\n+ !touch {proof}"),
        "redirection": within(f".print op v(b) > {proof}"),
        "redirection continued": within(f".print op v(b)\n+\n+ > {proof}"),
        "output file": within(f".options rawfile={proof}"),
        "write": within(f".write {proof} v(b)"),
        "save to a file": within(f".save file={proof} v(b)"),
        "waveform from a file": within(f"V2 c 0 PWL file={proof}"),
        "expression of a file": within(f"B1 c 0 V=file({proof})"),
        "model of a file": within(f'.model src filesource (file="{proof}")\nA1 [c] src'),
        "code model": within(f".codemodel {proof}"),
        "device library": within(f".pre_osdi {proof}"),
        "include": within(f".include {proof}"),
        "include of a password file": within(".inc /etc/passwd"),
        "library": within(f".lib {proof} tt"),
        "subcircuit": within("X1 a b unknown"),
        "command without a dot": within(command),
        "option that sets a path": within(f".options sourcepath={proof}"),
        "title card": within(f".title {command}"),
        "measurement of a text": within(f".measure tran x param='{command}'"),
    }


@pytest.mark.parametrize("name", sorted(attacks("")))
def test_no_spelling_of_a_command_reaches_a_simulator(name, netlist, tmp_path):
    proof = tmp_path / "proof"
    file = netlist(attacks(proof)[name])
    for simulator in ("ngspice", "gnucap"):
        with pytest.raises(InputError, match=r"line \d+ of netlist.cir"):
            run_spice(file, simulator)
    assert not proof.exists()


def test_without_the_refusal_some_of_these_commands_would_run(ngspice, netlist, tmp_path):
    # Else the test above would prove nothing about this simulator.
    for name in ("script", "control", "comment", "control behind the end", "control behind NUL"):
        netlist(attacks("proof")[name])
        command = [find_simulator("ngspice"), "-n", "-b", "netlist.cir"]
        subprocess.run(command, cwd=tmp_path, timeout=60, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        (tmp_path / "proof").unlink()


def test_the_simulator_gets_a_title_and_an_end_of_our_own_and_no_comments(tmp_path):
    text = write_spice(Circuit(np.eye(3), 0.02), np.ones(3), tmp_path / "a.cir").read_text()
    found = read_cards(text, "a.cir")
    lines = found.text().splitlines()
    assert lines[0] == "* neurodecorr" and lines[-1] == ".end" and lines.count(".end") == 1
    assert not any(line.startswith("*") for line in lines[1:])
    assert [line for line in text.splitlines() if not line.startswith("*")] == lines[1:]


PIECES = [
    "*",
    "ng_script",
    "#",
    ".control",
    "shell",
    "touch",
    ".op",
    ".tran",
    ".save",
    ".print",
    ".options",
    ".measure",
    ".ic",
    "+",
    "R1",
    "C1",
    "V1",
    "B1",
    "E1",
    "a",
    "0",
    "1k",
    "-2e3",
    "v(a)",
    "i(V1)",
    "V=",
    "max(",
    ")",
    "(",
    ",",
    "=",
    "`",
    ">",
    "!",
    ";",
    "$",
    "{",
    "}",
    "'",
    '"',
    "file",
    "rawfile",
    "PWL",
    "uic",
    "probe=",
    "/tmp/x",
    ".end",
    ".include",
    " ",
    "\t",
    "\r",
    "\n",
    "\n",
    "\0",
    "\x0c",
    "\ufeff",
    "&",
    "|",
    "\\",
    "~",
    "%",
    "@",
    "[",
    "]",
    "<",
    ":",
    "?",
    "numdgt=",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30), st.booleans())
@settings(max_examples=400, deadline=None)
def test_whatever_is_passed_on_has_no_letter_that_a_shell_or_a_simulator_obeys(pieces, spaced):
    try:
        text = read_cards("title\n" + (" " if spaced else "").join(pieces), "n").text()
    except InputError:
        return
    first, *cards, last, rest = text.split("\n")
    assert (first, last, rest) == ("* neurodecorr", ".end", "")
    for card in cards:
        assert not set(card) & set("`!<>|;$'\\{}[]#%&~?:@\t\r\x0c\0*") - ({"*"} if "b" in text.lower() else set())
        assert card[0] in "+." or card[0].lower() in "rclviegfhb"
        assert not re.search(r"\.(?!\d|op\b|tran\b|save\b|print\b|options?\b|meas|ic\b|store\b)\w", card)


def test_a_token_is_whole_on_its_line_for_us_as_for_the_simulator():
    assert read_cards("t\nV1 a 0\n* between\n\n  + PWL(0 1,\n+2 3)\n.op", "n").cards == (
        "V1 a 0\n+ PWL(0 1,\n+ 2 3)",
        ".op",
    )


@pytest.mark.parametrize("head", ["volts_per_unit = 0", "volts_per_unit = nan", "volts_per_unit = -1",
                                  "volts_per_unit = inf", "volts_per_unit = many", "xbar b = many", "xbar b = nan",
                                  "xbar absent = 1", "xbar b = 1\n* output b = 1", "xbar all = 1"])  # fmt: skip
def test_a_head_that_cannot_be_meant_is_refused(head, ngspice, netlist):
    with pytest.raises(InputError, match=r"netlist.cir.*(volts|number|once|absent|all)"):
        run_spice(netlist(DIVIDER.replace("* two", f"* title\n* {head}\n* two")))


@pytest.mark.parametrize("name", ["all", "ALL", "alli", "time", "temper", "ac", "gnd", "value", "poly", "pwl", "table"])
def test_no_node_has_the_name_of_a_simulators_own_word(name, tmp_path):
    with pytest.raises(InputError, match="a simulator's own"):
        write_spice(Circuit(np.eye(2), 0.02), np.ones(2), tmp_path / "a.cir", names=["a", name])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("kind", "name"), [("ota", "I1"), ("ota", "g0_0"), ("crossbar", "rx0"), ("crossbar", "E1")])
def test_no_node_has_the_name_of_an_element(kind, name, tmp_path):
    with pytest.raises(InputError, match="those of elements"):
        write_spice(Circuit(np.eye(2), 0.02), np.ones(2), tmp_path / "a.cir", kind, names=["a", name])


@pytest.mark.parametrize("text", ["a\n.control", "a\rb", "τ", "a\x0cb"])
@pytest.mark.parametrize("part", ["title", "fact", "name of a fact"])
def test_no_text_at_the_head_of_a_netlist_makes_a_line_of_its_own(part, text):
    deck = spice.netlist.netlist(Circuit([[2.0]], 0.02), [1.0])
    changes = {"title": {"title": text}, "fact": {"facts": {"rule": text}}, "name of a fact": {"facts": {text: 1.0}}}
    with pytest.raises(InputError, match="one line of plain ASCII"):
        replace(deck, **changes[part]).text()


def test_numbers_of_ngspice_come_back_to_the_bit(tmp_path):
    data = np.random.default_rng(0).standard_normal((5, 3)) * 10.0 ** np.arange(-20, -5).reshape(5, 3)
    rows = [" ".join(f"{value:.16e}" for value in (row[0], *row[1:], row[0])) for row in data.tolist()]
    (tmp_path / "a.txt").write_text("\n".join([" time V(A) b#branch time ", *rows]) + "\n")
    t, found = printed_voltages(tmp_path / "a.txt", "netlist.cir")
    assert t.tobytes() == data[:, 0].tobytes() and list(found) == ["a", "b#branch"]
    assert found["a"].tobytes() == data[:, 1].tobytes() and found["b#branch"].tobytes() == data[:, 2].tobytes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " time a time \n",
        " time a time \n 0.0 1.0\n",
        " time a \n 0.0 one\n",
        " time \n 0.0\n 1.0 2.0\n",
        "a\n1,2\n",
    ],
)
def test_a_table_that_is_none_is_refused(text, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match=r"netlist[.]cir: a[.]txt"):
        printed_voltages(tmp_path / "a.txt", "netlist.cir")


def test_an_rc_circuit_charges_as_its_closed_form_says(ngspice, netlist):
    found = run_spice(netlist("* rc\nI1 0 a DC 1\nR1 a 0 2\nC1 a 0 1 IC=0\n.save v(a)\n.op\n.tran 1 4 uic\n.end\n"))
    assert found.operating["a"] == pytest.approx(2.0, rel=1e-9)
    np.testing.assert_allclose(found.traces["a"], 2 * (1 - np.exp(-found.t / 2)), atol=2e-3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_neither_a_pipe_nor_a_device_holds_a_run_up(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match="not a regular file"):
            run_spice(tmp_path / name)
        with pytest.raises(InputError, match="not a regular file"):
            printed_voltages(tmp_path / name, "netlist.cir")


def test_a_program_and_what_it_started_are_ended_with_its_time(tmp_path):
    began = time.monotonic()
    code = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    code += "print(p.pid, flush=True); time.sleep(60)"
    with program_folder() as folder:
        with pytest.raises(OutOfTimeError):
            run_program([sys.executable, "-c", code], folder, 5.0)
        child = int((folder / "printed.txt").read_text())
    assert not folder.exists() and time.monotonic() - began < 50
    for _ in range(100):
        if not running(child):
            return
        time.sleep(0.1)
    raise AssertionError("the child still runs")


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc/self").exists() else False
    except OSError:
        return False


def test_a_program_sees_a_folder_of_its_own_and_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    code = "import os; print(os.environ.get('SECRET'), os.environ['HOME'] == os.getcwd(), sorted(os.listdir('.')))"
    with program_folder() as folder:
        assert run_program([sys.executable, "-c", code], folder, 60.0).split("\n")[0] == "None True ['printed.txt']"


def test_a_run_leaves_nothing_behind(ngspice, netlist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = netlist(DIVIDER)
    run_spice(file)
    assert [path.name for path in tmp_path.iterdir()] == ["netlist.cir"]


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ("R3 b c nonsense", r"(?s)could not simulate netlist.cir:.*nonsense"),
        ("V2 a 0 DC 4", r"(?si)could not simulate netlist.cir:.*singular"),
    ],
    ids=["value", "loop"],
)
def test_a_failed_simulation_is_told_in_the_simulators_own_words(cards, words, ngspice, netlist):
    with pytest.raises(InputError, match=words):
        run_spice(netlist(DIVIDER.replace(".op", cards + "\n.op")))


def test_a_netlist_that_asks_for_nothing_is_an_error(simulator, netlist):
    with pytest.raises(InputError, match="could not simulate"):
        run_spice(netlist(DIVIDER.replace(".op\n", "")), simulator)


def test_a_simulation_that_takes_too_long_is_ended(simulator, tmp_path):
    circuit = Circuit(np.eye(30) + 0.01, 0.02)
    file = write_spice(circuit, np.ones(30), tmp_path / "long.cir", simulator=simulator, t_end_s=10, step_s=1e-5)
    with pytest.raises(ConfigError, match=r"timeout_s = 0.5"):
        run_spice(file, timeout_s=0.5)


@pytest.mark.parametrize("name", ["ngspice", "gnucap"])
def test_an_absent_simulator_is_told_with_the_line_that_installs_it(name, netlist, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=f"apt-get install {name}"):
        run_spice(netlist(DIVIDER), name)
    with pytest.raises(ConfigError, match=f"apt-get install {name}"):
        find_simulator(name)


def test_an_unknown_simulator_gets_the_nearest_one():
    with pytest.raises(ConfigError, match="Did you mean 'ngspice'"):
        find_simulator("ngspce")


def test_a_head_that_names_no_known_simulator_is_refused(netlist):
    with pytest.raises(ConfigError, match=r"simulator .*'spectre'"):
        run_spice(netlist(DIVIDER.replace("* two", "* title\n* simulator = spectre\n* two")))


def test_versions_name_the_program(simulator):
    assert simulator_version(simulator).startswith(simulator)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read the netlist"):
        run_spice(tmp_path / "absent.cir")
    with pytest.raises(InputError, match="cannot read the netlist"):
        run_spice(tmp_path)


def test_a_netlist_of_absurd_size_is_refused(netlist, monkeypatch):
    monkeypatch.setattr("neurodecorr.export.spice.runner.LARGEST", 50)
    with pytest.raises(InputError, match="at most 50 bytes"):
        run_spice(netlist(DIVIDER))


def test_results_of_absurd_size_end_the_run(ngspice, tmp_path, monkeypatch):
    pytest.importorskip("resource")
    monkeypatch.setattr("neurodecorr.export.spice.runner.LARGEST_OUTPUT", 4096)
    circuit = Circuit(np.eye(4), 0.02)
    with pytest.raises(InputError):
        run_spice(write_spice(circuit, np.ones(4), tmp_path / "a.cir"))


def test_over_time_and_weights_belong_to_netlists_that_have_them(ngspice, netlist):
    found = run_spice(netlist(DIVIDER))
    assert found.over_time("output").shape == (0, 0)
    with pytest.raises(ConfigError, match="Did you mean 'weight'"):
        found.over_time("weights")
    with pytest.raises(InputError, match="netlist that learns"):
        found.weights()
    absurd = replace(found, nodes={"weight": ("r0_0", "r999999999_0")})
    with pytest.raises(InputError, match="of 1000000000 units, this one has 2"):
        absurd.weights()


class TestPrinted:
    def test_tables_hold_what_gnucap_prints_with_its_suffixes(self):
        printed = "title\n#      v(a)  v(b)\n 27.   1.5u  -2.\n#Time v(a)\n 0.  0.\n 1.m 2.5K\nx=1.\n"
        (first, op), (second, transient) = tables(printed)
        assert first == ("temperature", "v(a)", "v(b)") and second == ("Time", "v(a)")
        np.testing.assert_allclose(op, [[27, 1.5e-6, -2]])
        np.testing.assert_allclose(transient, [[0, 0], [1e-3, 2500]])

    def test_a_row_of_another_length_is_refused(self):
        with pytest.raises(InputError, match="2 numbers per row"):
            tables("#Time v(a)\n 0. 1. 2.\n")

    def test_measurements_stand_alone_on_their_lines(self):
        printed = "settled_a  =  -5.8e-01\nsettled_b= 2.\nTotal time = 0.1 s = x\nnothing = here\nB = .5 from=1"
        assert measured(printed) == {"settled_a": -0.58, "settled_b": 2.0, "b": 0.5}

    def test_complaints_are_the_lines_that_complain_or_else_the_last_ones(self):
        assert complaints("fine\nError: bad card\nfine\nTimestep too small") == "Error: bad card\nTimestep too small"
        assert complaints("\n".join(f"line {k}" for k in range(40))).splitlines() == [
            f"line {k}" for k in range(28, 40)
        ]


def test_simulators_here_are_those_on_the_path(simulator):
    assert find_simulator(simulator) == shutil.which(simulator)
