"""A runner that runs circuits and nothing else, and says in the simulator's words what went wrong."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from neurodecorr.circuit import Circuit
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware import run_spice, write_spice
from neurodecorr.hardware.spice import find_simulator, simulator_version
from neurodecorr.hardware.spice.printed import complaints, measured, tables

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
        with pytest.raises(InputError, match=r"elements and analyses only; line \d+ of netlist.cir"):
            run_spice(file, simulator)
    assert not proof.exists()


def test_start_up_files_are_not_read(ngspice, netlist, tmp_path, monkeypatch):
    proof = tmp_path / "proof"
    (tmp_path / ".spiceinit").write_text(f"shell touch {proof}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run_spice(netlist(DIVIDER)).operating == {"b": 2.0}
    assert not proof.exists()


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
    with pytest.raises(ConfigError, match=r"within timeout_s = 0.5 seconds. Raise timeout_s"):
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
    with pytest.raises(ConfigError, match="simulator must be one of 'ngspice', 'gnucap'; got 'spectre'"):
        run_spice(netlist(DIVIDER.replace("* two", "* title\n* simulator = spectre\n* two")))


def test_versions_name_the_program(simulator):
    assert simulator_version(simulator).startswith(simulator)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read the netlist"):
        run_spice(tmp_path / "absent.cir")
    with pytest.raises(InputError, match="cannot read the netlist"):
        run_spice(tmp_path)


def test_a_netlist_of_absurd_size_is_refused(netlist, monkeypatch):
    monkeypatch.setattr("neurodecorr.hardware.spice.runner.LARGEST", 50)
    with pytest.raises(InputError, match="at most 50 bytes"):
        run_spice(netlist(DIVIDER))


def test_results_of_absurd_size_end_the_run(ngspice, tmp_path, monkeypatch):
    pytest.importorskip("resource")
    monkeypatch.setattr("neurodecorr.hardware.spice.runner.LARGEST_OUTPUT", 4096)
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
        assert complaints("\n".join("abcd"), most=2) == "c\nd"


def test_simulators_here_are_those_on_the_path(simulator):
    assert find_simulator(simulator) == shutil.which(simulator)
