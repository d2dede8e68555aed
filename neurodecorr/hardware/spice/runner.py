"""Run a netlist in ngspice or gnucap, apart from everything else, and read what came out."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import choice, positive
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.spice.deck import SIMULATORS
from neurodecorr.hardware.spice.printed import complaints, measured, tables
from neurodecorr.hardware.spice.raw import read_raw

__all__ = ["SpiceResult", "find_simulator", "run_spice", "simulator_version"]

Floats = npt.NDArray[np.floating[Any]]

LARGEST = 2**28  # bytes of a netlist
LARGEST_OUTPUT = 2**31  # bytes of one file of results
# Cards that describe and simulate. Others read or write files, or run commands.
CARDS = {".op", ".tran", ".measure", ".meas", ".save", ".store", ".print", ".options", ".option", ".ic", ".end"}
ELEMENTS = frozenset("bcdefghilrv")
FACT = re.compile(r"\* (\w+) = (\S+)\Z")
PROBE = re.compile(r"\* (xbar|output|weight) (\w+) = (\S+)\Z")

DRIVER = """* run one netlist
.control
set filetype=binary
source netlist.cir
run
{writes}
quit
.endc
.end
"""


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
            raise InputError("weights are those of a netlist that learns; this one has no nodes r0_0, r0_1, …")
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
    return found


def _home(simulator: str) -> str:
    return "https://ngspice.sourceforge.io" if simulator == "ngspice" else "https://gnucap.org"


def simulator_version(simulator: str = "ngspice") -> str:
    """Return what a simulator says of its version, such as "ngspice-39"; "" if it says nothing known."""
    command = [find_simulator(simulator), *(["--version"] if simulator == "ngspice" else ["-b", os.devnull])]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, errors="replace"
    )
    found = re.search(r"ngspice-[\w.+]+|main version: (?:master )?([\w.]+)", done.stdout)
    if found is None:
        return ""
    return f"gnucap {found[1]}" if found[1] else found[0]


def run_spice(path: str | os.PathLike[str], simulator: str | None = None, *, timeout_s: float = 600.0) -> SpiceResult:
    """Run a netlist, as `write_spice` and its like write it, and return what the simulator found.

    It runs in an empty folder of its own, without a shell and without start-up files. Netlists may describe circuits
    and ask for analyses, nothing else: cards that include files or run commands are refused.

    Parameters
    ----------
    path : path-like
        The netlist, at most 256 MiB.
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
    text = _netlist(Path(path))
    head = [line for line in text.split("\n", 2**16)[: 2**16] if line.startswith("* ")]
    facts = {found[1]: found[2] for line in head if (found := FACT.match(line))}
    simulator = choice(simulator or facts.get("simulator", "ngspice"), "simulator", SIMULATORS)
    program = find_simulator(simulator)
    began = time.perf_counter()
    run = _run_ngspice if simulator == "ngspice" else _run_gnucap
    with tempfile.TemporaryDirectory(prefix="neurodecorr-") as folder:
        operating, t, traces, measures = run(program, text, Path(folder), timeout_s, Path(path).name)
    seconds = time.perf_counter() - began
    probes = [(match[1], match[2], float(match[3])) for line in head if (match := PROBE.match(line))]
    nodes = {kind: tuple(node for own, node, _ in probes if own == kind) for kind, _, _ in probes}
    volts = float(facts.get("volts_per_unit", 1.0))
    _require_whole(text, t, traces, f"{simulator} could not finish {Path(path).name}")
    names = [node.lower() for node in nodes.get("xbar", ())]
    xbar: Floats = np.empty((len(t), len(names)))
    if traces and names:
        xbar = np.stack([traces[name] for name in names], axis=1) / volts
    op = np.array([operating[name] for name in names]) / volts if operating and names else None
    expected = {node: value for _, node, value in probes}
    version = simulator_version(simulator)
    return SpiceResult(op, t, xbar, measures, traces, operating, expected, nodes, simulator, version, seconds)


def _netlist(path: Path) -> str:
    """Return the text of a netlist that does no more than it may."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise InputError(f"a netlist may have at most {LARGEST} bytes; {path.name} has {size}.")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot read the netlist {path}: {error.strerror or error}.") from None
    lines = text.splitlines()
    # The first line is a title, whatever it looks like; as a comment it is one to every simulator.
    if lines and not lines[0].startswith("*"):
        lines[0] = f"* {lines[0]}"
    for number, line in enumerate(lines, start=1):
        _require_harmless(line.strip().lower(), number, path.name)
    return "\n".join([*lines, ""])


def _require_harmless(line: str, number: int, file: str) -> None:
    # ngspice runs what follows "*#"; gnucap writes to the file after ">".
    if not line or (line.startswith("*") and not line.startswith("*#")):
        return
    if line[0] in ELEMENTS and not re.search(r"file\s*=|`|!", line):
        return
    if (line.startswith("+") or line.split()[0] in CARDS) and not re.search(r"[<>|`!]", line):
        return
    raise InputError(
        f"a netlist may hold elements and analyses only; line {number} of {file} is {line[:60]!r}. "
        "Write circuits out in full, and run commands yourself."
    )


def _require_whole(text: str, t: Floats, traces: dict[str, Floats], failed: str) -> None:
    """Raise if a transient ended early or left the finite numbers."""
    asked = re.search(r"^\.tran\s+([-+.\de]+)\s+([-+.\de]+)(?:\s|$)", text, re.MULTILINE | re.IGNORECASE)
    if asked and (not len(t) or t[-1] < float(asked[2]) - 1.001 * float(asked[1])):
        raise InputError(f"{failed}: it stopped at {t[-1] if len(t) else 0:g} s of {asked[2]} s.")
    for node, trace in traces.items():
        if not np.isfinite(trace).all():
            raise InputError(f"{failed}: the voltage of {node} is not finite at {t[~np.isfinite(trace)][0]:g} s.")


Found = tuple[dict[str, float], Floats, dict[str, Floats], dict[str, float]]


def _run_ngspice(program: str, text: str, folder: Path, timeout_s: float, file: str) -> Found:
    asked = [kind for kind in ("op", "tran") if re.search(rf"^\.{kind}\b", text, re.MULTILINE | re.IGNORECASE)]
    (folder / "netlist.cir").write_text(text, encoding="utf-8")
    writes = "\n".join(f"setplot {kind}1\nwrite {kind}.raw" for kind in asked)
    (folder / "driver.cir").write_text(DRIVER.format(writes=writes), encoding="utf-8")
    printed = _run([program, "-n", "-b", "driver.cir"], folder, timeout_s, file)
    missing = [kind for kind in asked if not (folder / f"{kind}.raw").is_file()]
    if missing or not asked or "simulation(s) aborted" in printed or "imulation interrupted" in printed:
        raise InputError(f"ngspice could not simulate {file}:\n{complaints(printed)}")
    operating, traces = dict[str, float](), dict[str, Floats]()
    t: Floats = np.empty(0)
    if "op" in asked:
        plot = read_raw(folder / "op.raw")[0]
        # A plot of one vector has that vector twice, the second time as "all".
        pairs = zip(plot.variables, plot.data[0], strict=True)
        operating = {_node(name): float(value) for name, value in pairs if _node(name) != "all"}
    if "tran" in asked:
        plot = read_raw(folder / "tran.raw")[0]
        t = plot.column("time")
        traces = {
            _node(name): plot.data[:, k] for k, name in enumerate(plot.variables) if name.lower() not in ("time", "all")
        }
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


def _node(variable: str) -> str:
    found = re.fullmatch(r"v\((.+)\)", variable.lower())
    return found[1] if found else variable.lower()


def _run(command: list[str], folder: Path, timeout_s: float, file: str) -> str:
    """Run a command in a folder and return what it printed; end its whole session if it takes too long."""
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    environment |= {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    printed = folder / "printed.txt"
    with printed.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _limit_files(process.pid)
        try:
            process.wait(timeout_s)
        except BaseException as error:
            _end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ConfigError(
                    f"{command[0]} must finish {file} within timeout_s = {timeout_s:g} seconds. Raise timeout_s, or "
                    "write the netlist with a longer step_s or a shorter t_end_s."
                ) from None
            raise
    if process.returncode == -getattr(signal, "SIGXFSZ", 0):
        raise InputError(f"results of {file} may have at most {LARGEST_OUTPUT} bytes. Save fewer nodes or steps.")
    return printed.read_bytes().decode("utf-8", "replace")


def _limit_files(pid: int) -> None:
    if sys.platform == "linux":
        import resource
        from contextlib import suppress

        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (LARGEST_OUTPUT, LARGEST_OUTPUT))


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg") and process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
