"""Run a netlist in ngspice or gnucap, apart from everything else, and read what came out."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import checked_path, choice, positive
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.export.spice.cards import Cards, read_cards
from neurodecorr.export.spice.deck import SIMULATORS
from neurodecorr.io.files import read_regular

LARGEST_OUTPUT = 2**31  # bytes of one file that a program writes
PASSED_ON = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")


class OutOfTimeError(Exception):
    """A program did not end in time, and was ended."""


class TooMuchOutputError(Exception):
    """A program wrote a file of more than `LARGEST_OUTPUT` bytes, and was ended."""


@contextlib.contextmanager
def program_folder() -> Iterator[Path]:
    """Give an empty folder for one program, and remove it with all that is left in it.

    Yields
    ------
    Path
        The folder.
    """
    with tempfile.TemporaryDirectory(prefix="neurodecorr-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run_program(command: Sequence[str], folder: Path, timeout_s: float) -> str:
    """Run a program in a folder, without a shell, and return what it printed.

    It sees nothing of the environment but where programs and libraries are; its home is the folder, so that it finds
    no start-up files. What it started is ended with it.

    Parameters
    ----------
    command : sequence of str
        The program, by its whole path, and its arguments.
    folder : Path
        From `program_folder`.
    timeout_s : float
        Longest time to wait, in seconds.

    Returns
    -------
    str
        Its output and its complaints.

    Raises
    ------
    OutOfTimeError, TooMuchOutputError
        If it takes more than it may.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    printed = folder / "printed.txt"
    with printed.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _limit_files(process.pid)
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise OutOfTimeError(command[0]) from None
        finally:
            _end(process)
    if process.returncode == -getattr(signal, "SIGXFSZ", 0):
        raise TooMuchOutputError(command[0])
    return printed.read_bytes().decode("utf-8", "replace")


def _limit_files(pid: int) -> None:
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (LARGEST_OUTPUT, LARGEST_OUTPUT))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, and its session with it."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait(60)


LARGEST = 2**28  # bytes of a netlist
FACT = re.compile(r"\* (\w+) = (\S+)\Z")
PROBE = re.compile(r"\* (xbar|output|weight) (\w+) = (\S+)\Z")
TRANSIENT = re.compile(r"^\.tran\s+(\S+)\s+(\S+)", re.MULTILINE | re.IGNORECASE)

DRIVER = """* run one netlist
.control
set numdgt=16
set wr_singlescale
set wr_vecnames
source netlist.cir
run
{writes}
quit
.endc
.end
"""


@short_repr
@dataclass(frozen=True, eq=False)
class SpiceResult:
    """What a simulator found.

    Parameters
    ----------
    op : (n,) array or None
        Operating point of x̄, the rest under x(0); None if the netlist asks for none.
    t : (times,) array
        Times of the transient, in seconds.
    xbar : (times, n) array
        Activity over time, in units of x̄: node voltages over `volts_per_unit` of the netlist.
    measures : dict of str to float
        Every `.measure` by its name in lower case, in volts. ngspice prints seven digits.
    traces, operating : dict
        Voltage of every saved node, by its name in lower case, over time and at the operating point, in volts.
    expected : dict of str to float
        What the head of the netlist expects at each node, in units of x̄.
    nodes : dict of str to tuple of str
        Nodes of each kind: "xbar", "output", "weight".
    simulator, version : str
        Who simulated.
    seconds : float
        How long it took.
    """

    op: Floats | None
    t: Floats
    xbar: Floats
    measures: dict[str, float]
    traces: dict[str, Floats]
    operating: dict[str, float]
    expected: dict[str, float]
    nodes: dict[str, tuple[str, ...]]
    simulator: str
    version: str
    seconds: float

    def __repr__(self) -> str:
        end = f"{len(self.t)} times to {self.t[-1]:g} s" if len(self.t) else "no transient"
        about = f"measures={len(self.measures)}, {self.simulator} in {self.seconds:.3g} s"
        return f"SpiceResult(n={self.xbar.shape[1]}, {end}, {about})"

    def over_time(self, kind: str) -> Floats:
        """Return the voltages of all nodes of a kind, (times, nodes).

        Parameters
        ----------
        kind : {"xbar", "output", "weight"}
            Which nodes.
        """
        nodes = self.nodes.get(choice(kind, "kind", ("xbar", "output", "weight")), ())
        return np.stack([self.traces[node.lower()] for node in nodes], axis=1) if nodes else np.empty((len(self.t), 0))

    def weights(self) -> Floats:
        """Return the lateral weights of a circuit that learns, (times, n, n).

        Raises
        ------
        InputError
            If the netlist is that of another circuit.
        """
        nodes = self.nodes.get("weight", ())
        places = [re.fullmatch(r"r(\d+)_(\d+)", node) for node in nodes]
        if not nodes or None in places:
            raise InputError(f"weights are those of a netlist that learns; this has {len(nodes)} nodes r0_0, r0_1, …")
        at = np.array([[int(place[1]), int(place[2])] for place in places if place])
        n = int(at.max()) + 1
        if len(nodes) not in (n * n, n * (n + 1) // 2):
            raise InputError(
                f"a netlist that learns has a node for every weight; of {n} units, this one has {len(nodes)}."
            )
        R = np.empty((len(self.t), n, n))
        values = self.over_time("weight")
        R[:, at[:, 1], at[:, 0]] = values  # reciprocal synapses have one node
        R[:, at[:, 0], at[:, 1]] = values
        return R


def find_simulator(simulator: str = "ngspice") -> str:
    """Return the path of a simulator.

    Parameters
    ----------
    simulator : {"ngspice", "gnucap"}
        Which one.

    Raises
    ------
    ConfigError
        If it is not installed; the message says how to install it.
    """
    found = shutil.which(choice(simulator, "simulator", SIMULATORS))
    if found is None:
        raise ConfigError(
            f"{simulator} must be installed to run netlists, and on the PATH. Install it with "
            f"`apt-get install {simulator}`, or from {_home(simulator)}."
        )
    return os.path.abspath(found)  # noqa: PTH100 - another folder is current when it runs; links keep their names


def _home(simulator: str) -> str:
    return "https://ngspice.sourceforge.io" if simulator == "ngspice" else "https://gnucap.org"


def simulator_version(simulator: str = "ngspice") -> str:
    """Return what a simulator says of its version, such as "ngspice-39"; "" if it says nothing known."""
    command = [find_simulator(simulator), *(["--version"] if simulator == "ngspice" else ["-b", os.devnull])]
    with program_folder() as folder:
        printed = _run(command, folder, 60.0, "its version")
    found = re.search(r"ngspice-[\w.+]+|main version: (?:master )?([\w.]+)", printed)
    if found is None:
        return ""
    return f"gnucap {found[1]}" if found[1] else found[0]


def run_spice(path: str | os.PathLike[str], simulator: str | None = None, *, timeout_s: float = 600.0) -> SpiceResult:
    """Run a netlist, as `write_spice` writes it, and return what the simulator found.

    Netlists may describe circuits and ask for analyses, nothing else. They are read card by card (`read_cards`): what
    is no element and no analysis is refused, in whatever spelling. The simulator gets the cards between a title and an
    end of our own, and runs in an empty folder of its own, without a shell and without start-up files.

    Parameters
    ----------
    path : path-like
        The netlist, a regular file of at most 256 MiB.
    simulator : {"ngspice", "gnucap"}, optional
        Who runs it. Default: whom the head of the netlist names, else ngspice.
    timeout_s : float, default 600
        Longest time to wait, in seconds.

    Returns
    -------
    SpiceResult

    Raises
    ------
    ConfigError
        If the simulator is not installed or takes too long.
    InputError
        If the netlist cannot be read or does more than it may, or the simulation fails; in the simulator's own words.
    """
    timeout_s = positive(timeout_s, "timeout_s", "seconds")
    file = checked_path(path).name
    found = read_cards(read_regular(path, LARGEST, what="netlist", error=InputError).decode("utf-8", "replace"), file)
    facts = {match[1]: match[2] for line in found.comments if (match := FACT.match(line))}
    simulator = choice(facts.get("simulator", "ngspice") if simulator is None else simulator, "simulator", SIMULATORS)
    volts, (nodes, expected) = _volts(facts, file), _probes(found, file)
    installed, version = find_simulator(simulator), simulator_version(simulator)
    run = _run_ngspice if simulator == "ngspice" else _run_gnucap
    began = time.perf_counter()
    with program_folder() as folder:
        operating, t, traces, measures = run(installed, found.text(), folder, timeout_s, file)
    seconds = time.perf_counter() - began
    failed = f"{simulator} could not finish {file}"
    _require_whole(found.text(), t, traces, failed)
    names = [node.lower() for node in nodes.get("xbar", ())]
    for results in (set(traces), set(operating)):
        lost = [node for own in nodes.values() for node in own if results and node.lower() not in results]
        if lost:
            raise InputError(f"{failed}: its head names the node {lost[0]!r}, of which nothing came back. Save it.")
    xbar: Floats = np.empty((len(t), len(names)))
    if traces and names:
        xbar = np.stack([traces[name] for name in names], axis=1) / volts
    op = np.array([operating[name] for name in names]) / volts if operating and names else None
    return SpiceResult(op, t, xbar, measures, traces, operating, expected, nodes, simulator, version, seconds)


def _volts(facts: dict[str, str], file: str) -> float:
    said = facts.get("volts_per_unit", "1")
    volts = _number(said)
    if not volts > 0 or math.isinf(volts):
        raise InputError(f"{file} must say volts_per_unit as a finite number > 0 (volts); it says {said[:40]!r}.")
    return volts


def _probes(found: Cards, file: str) -> tuple[dict[str, tuple[str, ...]], dict[str, float]]:
    """Return the nodes of each kind that the head announces, and what it expects there."""
    nodes: dict[str, list[str]] = {}
    expected: dict[str, float] = {}
    for kind, node, said in (match.groups() for line in found.comments if (match := PROBE.match(line))):
        value = _number(said)
        if not math.isfinite(value):
            raise InputError(f"{file} must expect a finite number at {kind} {node}; it says {said[:40]!r}.")
        if node in expected:
            raise InputError(f"{file} must announce each node once; {node} comes twice.")
        nodes.setdefault(kind, []).append(node)
        expected[node] = value
    return {kind: tuple(own) for kind, own in nodes.items()}, expected


def _number(said: str) -> float:
    """Return the number that a text says, NaN for another text."""
    try:
        return float(said)
    except ValueError:
        return math.nan


def _require_whole(text: str, t: Floats, traces: dict[str, Floats], failed: str) -> None:
    """Raise if a transient ended early or left the finite numbers."""
    asked = TRANSIENT.search(text)
    # Steps with suffixes, "1m" say, compare as NaN: then the simulator is believed.
    if asked and (not len(t) or t[-1] < _number(asked[2]) - 1.001 * _number(asked[1])):
        raise InputError(f"{failed}: it stopped at {t[-1] if len(t) else 0:g} s of {asked[2]} s.")
    for node, trace in traces.items():
        if not np.isfinite(trace).all():
            raise InputError(f"{failed}: the voltage of {node} is not finite at {t[~np.isfinite(trace)][0]:g} s.")


Found = tuple[dict[str, float], Floats, dict[str, Floats], dict[str, float]]


def _run_ngspice(program: str, text: str, folder: Path, timeout_s: float, file: str) -> Found:
    asked = [kind for kind in ("op", "tran") if re.search(rf"^\.{kind}\b", text, re.MULTILINE | re.IGNORECASE)]
    (folder / "netlist.cir").write_text(text, encoding="utf-8")
    writes = "\n".join(f"setplot {kind}1\nwrdata {kind}.txt all" for kind in asked)
    (folder / "driver.cir").write_text(DRIVER.format(writes=writes), encoding="utf-8")
    printed = _run([program, "-n", "-b", "driver.cir"], folder, timeout_s, file)
    missing = [kind for kind in asked if not (folder / f"{kind}.txt").is_file()]
    if missing or not asked or "simulation(s) aborted" in printed or "imulation interrupted" in printed:
        raise InputError(f"ngspice could not simulate {file}:\n{complaints(printed)}")
    operating, traces = dict[str, float](), dict[str, Floats]()
    t: Floats = np.empty(0)
    if "op" in asked:
        operating = {node: float(values[0]) for node, values in printed_voltages(folder / "op.txt", file)[1].items()}
    if "tran" in asked:
        t, traces = printed_voltages(folder / "tran.txt", file)
    return operating, t, traces, measured(printed)


def _run_gnucap(program: str, text: str, folder: Path, timeout_s: float, file: str) -> Found:
    (folder / "netlist.cir").write_text(text, encoding="utf-8")
    printed = _run([program, "-b", "netlist.cir"], folder, timeout_s, file)
    operating, traces = dict[str, float](), dict[str, Floats]()
    t: Floats = np.empty(0)
    for names, rows in tables(printed):
        if not len(rows):
            continue
        if names[0] == "Time":
            t = rows[:, 0].copy()
            traces = {_node(name): rows[:, k + 1].copy() for k, name in enumerate(names[1:])}
        else:
            operating = {_node(name): float(value) for name, value in zip(names[1:], rows[0, 1:], strict=True)}
    if not traces and not operating:
        raise InputError(f"gnucap could not simulate {file}:\n{complaints(printed)}")
    return operating, t, traces, measured(printed)


def printed_voltages(path: Path, file: str) -> tuple[Floats, dict[str, Floats]]:
    """Return the times of a table of ngspice's `wrdata`, none of an operating point, and the voltage of every node.

    Its first column is the scale, time or whatever comes first, and stands once more among the others. Seventeen
    significant digits, `numdgt` and one before the point, give every double back to the bit.
    """
    names, _, rows = read_regular(path, LARGEST_OUTPUT, what="table of ngspice", error=InputError).partition(b"\n")
    columns = [_node(name) for name in names.decode("utf-8", "replace").split()]
    try:
        numbers = np.loadtxt(rows.splitlines(), ndmin=2) if rows.strip() else np.empty((0, 0))
    except ValueError as error:
        raise InputError(
            f"ngspice could not simulate {file}: {path.name} holds no table of real numbers, {error}."
        ) from None
    if not len(numbers) or numbers.shape[1] != len(columns):
        raise InputError(
            f"ngspice could not simulate {file}: {path.name} holds {numbers.shape} numbers of {len(columns)} vectors."
        )
    found = dict(zip(columns, numbers.T.copy(), strict=True))
    t = found.pop("time", np.empty(0))
    if len(found) > 1:
        # A plot of one vector has that vector twice, the second time as "all", which is no name of a node here.
        found.pop("all", None)
    return t, found


def _node(variable: str) -> str:
    found = re.fullmatch(r"v\((.+)\)", variable.lower())
    return found[1] if found else variable.lower()


def _run(command: list[str], folder: Path, timeout_s: float, file: str) -> str:
    """Run a simulator in a folder of its own and return what it printed."""
    try:
        return run_program(command, folder, timeout_s)
    except OutOfTimeError:
        raise ConfigError(
            f"{command[0]} must finish {file} within timeout_s = {timeout_s:g} seconds. Raise timeout_s, or "
            "write the netlist with a longer step_s or a shorter t_end_s."
        ) from None
    except TooMuchOutputError:
        raise InputError(
            f"results of {file} may have at most {LARGEST_OUTPUT} bytes. Save fewer nodes or steps."
        ) from None


MEASURED = re.compile(r"^([a-z][a-z0-9_]*)\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:\s|$)", re.IGNORECASE)
COMPLAINT = re.compile(
    r"error|abort|singular|too small|no convergence|not converge|can't|cannot|unknown|undefined|no match|failed"
    r"|not found|incomplete|too few|need |\^ \?",
    re.IGNORECASE,
)
SUFFIXES = {"T": 1e12, "G": 1e9, "Meg": 1e6, "K": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
PRINTED = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(T|G|Meg|K|m|u|n|p|f)?\Z")


def tables(printed: str) -> tuple[tuple[tuple[str, ...], Floats], ...]:
    r"""Return the tables that gnucap printed, each as its column names and its numbers.

    Parameters
    ----------
    printed : str
        Standard output of `gnucap -b`.

    Returns
    -------
    tuple of (names, (rows, columns) array)

    Raises
    ------
    InputError
        If a row has not as many numbers as its table has columns.

    Examples
    --------
    >>> names, numbers = tables("#Time   v(a)\n 0.   1.\n 0.5  2.5\n")[0]
    >>> names, numbers.tolist()
    (('Time', 'v(a)'), [[0.0, 1.0], [0.5, 2.5]])
    """
    found: list[tuple[tuple[str, ...], list[list[float]]]] = []
    for line in printed.splitlines():
        if line.startswith("#"):
            words = line[1:].split()
            names = tuple(words if words[:1] == ["Time"] else ["temperature", *words])
            found.append((names, []))
        elif found and line.startswith(" ") and (words := line.split()):
            numbers = [_printed_number(word) for word in words]
            if None in numbers:
                continue
            if len(numbers) != len(found[-1][0]):
                raise InputError(f"gnucap must print {len(found[-1][0])} numbers per row; got {line[:80]!r}.")
            found[-1][1].append([number for number in numbers if number is not None])
    return tuple((names, np.array(rows).reshape(len(rows), len(names))) for names, rows in found)


def _printed_number(word: str) -> float | None:
    found = PRINTED.match(word)
    if found is None:
        return None
    return float(found[1]) * SUFFIXES.get(found[2] or "", 1.0)


def measured(printed: str) -> dict[str, float]:
    r"""Return every `name = number` that stands alone on a line.

    Examples
    --------
    >>> measured("settled_xbar0       =  -5.849234e-01\nsettled_b= 2.\n")
    {'settled_xbar0': -0.5849234, 'settled_b': 2.0}
    """
    found = {}
    for line in printed.splitlines():
        match = MEASURED.match(line.strip())
        if match:
            found[match[1].lower()] = float(match[2])
    return found


def complaints(printed: str) -> str:
    """Return the lines that say what went wrong; the last ones if none does."""
    lines = [line.strip()[:200] for line in printed.splitlines() if line.strip()]
    bad = [line for line in lines if COMPLAINT.search(line)]
    return "\n".join(bad[:12] or lines[-12:])
