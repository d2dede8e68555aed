"""The text of a netlist: a commented head, elements, and the lines that say what to simulate and to measure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neurodecorr._typing import Floats
from neurodecorr._validation import ROUNDING, number, numeral, positive, sequence
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.equations import ResistorNetwork

SIMULATORS = ("ngspice", "gnucap")
LARGEST = 2**21  # elements; a netlist of this size has about 100 MB
WIDTH = 100
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}\Z")
# Words of simulators that no node may have as its name: ground, all vectors, variables, and what begins a waveform.
RESERVED = {"gnd", "null", "all", "alli", "allv", "ally", "nosub", "time", "temper", "temp", "hertz", "frequency"}
RESERVED |= {"ac", "dc", "am", "exp", "pulse", "pwl", "sffm", "sin", "external", "trnoise", "trrandom", "none"}
RESERVED |= {"poly", "table", "value", "vol", "cur"}
RELTOL = 1e-6
SIEMENS = 1e-6  # of weight 1, by default
MOST_STEPS = 10**7


@dataclass(frozen=True)
class Probe:
    """A node whose voltage is a result.

    Parameters
    ----------
    kind : {"xbar", "output", "weight"}
        What it stands for.
    node : str
        Its name.
    expected : float
        What it settles at, in its own unit.
    """

    kind: str
    node: str
    expected: float


@dataclass(frozen=True)
class Analysis:
    """What to simulate.

    Parameters
    ----------
    stop_s, step_s : float
        End of the transient, 0 for none, and its longest step, in seconds.
    rest : bool
        Whether to ask for the operating point too.
    volts, siemens, farads : float
        Sizes of a typical voltage, conductance and capacitance: tolerances go with them.
    """

    stop_s: float
    step_s: float
    rest: bool
    volts: float
    siemens: float
    farads: float


@dataclass(frozen=True)
class Deck:
    """A netlist.

    Parameters
    ----------
    title : str
        First line.
    facts : mapping
        What the head says, in order: name to text or number.
    probes : tuple of Probe
        Nodes to save and to measure.
    cards : tuple of str
        The elements.
    run : Analysis
        What to simulate.
    simulator : {"ngspice", "gnucap"}
        Whose dialect.
    """

    title: str
    facts: Mapping[str, str | float]
    probes: tuple[Probe, ...]
    cards: tuple[str, ...]
    run: Analysis
    simulator: str

    def __repr__(self) -> str:
        return f"Deck({self.title!r}, {len(self.cards)} cards, {len(self.probes)} probes, {self.simulator})"

    def text(self) -> str:
        """Return the text of the file, ASCII.

        Raises
        ------
        ConfigError
            If there are too many elements for a simulator.
        """
        if len(self.cards) > LARGEST:
            raise ConfigError(
                f"a netlist may have at most {LARGEST} elements here; this one needs {len(self.cards)}. "
                "Export fewer units, or a sparse circuit."
            )
        head = [f"* {self.title}", *(f"* {name} = {fact}" for name, fact in self.facts.items())]
        head += [f"* {probe.kind} {probe.node} = {probe.expected}" for probe in self.probes]
        for line in head:
            if not (line.isascii() and line.isprintable()):
                raise InputError(
                    f"each line at the head of a netlist must be one line of plain ASCII; got {line!r:.100}."
                )
        # gnucap would measure an element that has the name of a node.
        elements = {card.partition(" ")[0].lower() for card in self.cards}
        nodes = [probe.node for probe in self.probes]
        if both := [node for node in nodes if node.lower() in elements]:
            raise InputError(f"names of nodes must not be those of elements; {both[0]!r} is both. Choose another.")
        ask = _ask_ngspice if self.simulator == "ngspice" else _ask_gnucap
        return "\n".join([*head, "*", *self.cards, "*", *ask(self.run, nodes), ".end", ""])


def _ask_ngspice(run: Analysis, nodes: Sequence[str]) -> list[str]:
    """Return the analyses and their tolerances; `gmin`, which stands across every node, far below any weight."""
    # Of the unit current; that of the reference setting, 1e-15 A where G₀ is 1 µS.
    amperes = 1e-9 * run.volts * run.siemens
    lines = [
        joined(
            f".options method=trap reltol={RELTOL:.3g} vntol={1e-9 * run.volts:.3g} abstol={amperes:.3g}",
            (
                f"gmin={1e-18 * run.siemens:.3g}",
                f"chgtol={5e-7 * run.volts * run.farads:.3g}",
                f"pivtol={1e-9 * run.siemens:.3g}",
            ),
        ),
        joined(".save", (f"v({node})" for node in nodes)),
        *([".op"] if run.rest else []),
    ]
    if run.stop_s == 0:
        return lines
    measures = (f".measure tran settled_{node} find v({node}) at={run.stop_s}" for node in nodes)
    return [*lines, f".tran {run.step_s} {run.stop_s} 0 {run.step_s} uic", *measures]


def _ask_gnucap(run: Analysis, nodes: Sequence[str]) -> list[str]:
    voltages, amperes = [f"v({node})" for node in nodes], 1e-9 * run.volts * run.siemens
    # Its sources of voltage have an inner resistance, "short"; increments would add up rounding over many steps.
    lines = [
        joined(
            ".options method=trapezoid numdgt=15 nobypass noincmode",
            (
                f"reltol={RELTOL:.3g}",
                f"vntol={1e-9 * run.volts:.3g}",
                f"abstol={amperes:.3g}",
                f"gmin={1e-18 * run.siemens:.3g}",
                f"short={1e-13 / run.siemens:.3g}",
            ),
        ),
        *([joined(".print op", voltages), ".op"] if run.rest else []),
    ]
    if run.stop_s == 0:
        return lines
    return [
        *lines,
        joined(".print tran", voltages),
        joined(".store tran", voltages),
        f".tran {run.step_s} {run.stop_s} 0 uic",
        *(f'.measure settled_{node}=at(probe="v({node})" x={run.stop_s})' for node in nodes),
    ]


def joined(start: str, words: Iterable[str]) -> str:
    """Return one card, continued on lines that begin with a plus where it grows long."""
    lines = [start]
    for word in words:
        if len(lines[-1]) + len(word) < WIDTH:
            lines[-1] += " " + word
        else:
            lines.append("+ " + word)
    return "\n".join(lines)


def probes(kind: str, nodes: Iterable[str], expected: Iterable[float]) -> tuple[Probe, ...]:
    """Return a probe for each node."""
    return tuple(Probe(kind, node, float(value)) for node, value in zip(nodes, expected, strict=True))


def node_names(names: Sequence[str] | None, default: Sequence[str], others: Sequence[str] = ()) -> tuple[str, ...]:
    """Return checked names of nodes.

    Parameters
    ----------
    names : sequence of str or None
        Chosen by the user; `default` if None.
    default : sequence of str
        As many as there are nodes.
    others : sequence of str
        Beginnings of the names of nodes that are made from these.

    Raises
    ------
    InputError
        If a name is no plain identifier, or two are the same to a simulator, which ignores capitals.
    """
    if names is None:
        return tuple(default)
    listed = [names] if isinstance(names, str) else sequence(names, "names", "a sequence of names")
    if isinstance(names, str) or len(listed) != len(default):
        raise InputError(f"names must hold {len(default)} names, one per unit; got {names!r:.100}.")
    seen = dict.fromkeys(RESERVED, "a simulator's own")
    for place, name in enumerate(listed):
        if not isinstance(name, str) or not NAME.match(name):
            raise InputError(
                "names of nodes must be letters, digits and underscores, at most 40, a letter first; "
                f"got {name!r:.100} at {place}."
            )
        for made in (name, *(f"{other}{name}" for other in others)):
            if made.lower() in seen:
                raise InputError(
                    f"names of nodes must differ in more than capitals; {name!r} at {place} is {seen[made.lower()]}."
                )
            seen[made.lower()] = f"that of {place}"
    return tuple(listed)


def stop_and_step(
    tau_s: float, slowest_s: float, since_s: float, t_end_s: float | None, step_s: float | None
) -> tuple[float, float]:
    """Return the end of a transient and its longest step, in seconds; the end is a whole number of steps.

    Parameters
    ----------
    tau_s, slowest_s : float
        Shortest time constant, and that of the slowest mode.
    since_s : float
        Time of the last change of the input. By default the slowest mode then has the time to shrink to 1e-6.
    t_end_s, step_s : float or None
        What the user asks for.
    """
    stop = since_s + math.log(1e6) * slowest_s if t_end_s is None else number(t_end_s, "t_end_s", "seconds")
    if stop < 0:
        raise ConfigError(f"t_end_s must be ≥ 0 (seconds), 0 for no transient; got {t_end_s!r}.")
    step = max(tau_s / 200, stop / 20_000) if step_s is None else positive(step_s, "step_s", "seconds")
    count = stop / step
    if count > MOST_STEPS:
        raise ConfigError(f"step_s must make at most {MOST_STEPS} steps of {numeral(stop)} s; got {numeral(step)} s.")
    return stop, stop / math.ceil(count * (1 - ROUNDING)) if stop > 0 else step


# What a netlist writes for an infinite gain: of an amplifier without a pole, and of one with it.
IDEAL_GAIN, IDEAL_GAIN_WITH_POLE = 1e12, 1e9
# Transconductance in siemens in front of the pole of an amplifier.
POLE = 1e-3
# Nodes that a crossbar makes from the name of a unit: input, summing node, input and output of its inverter, poles of
# both amplifiers, their offsets.
INNER = ("in_", "s_", "p_", "m_", "a_", "b_", "o_", "q_")


def transconductors(
    G: Floats, nodes: Sequence[str], sources: Sequence[str], farads: Floats, start: Floats
) -> list[str]:
    """Return capacitors, current sources and transconductors; currents leave a node through its transconductors.

    Parameters
    ----------
    G : (N, N) array
        Conductances of the synapses, in siemens; row is the receiving node.
    nodes, sources : sequence of str
        Name of each node, and what follows the nodes of its source; "" for none.
    farads : (N,) array
        Capacitances τ G₀/κ.
    start : (N,) array
        Voltages at the start.
    """
    cards = []
    for i, (node, source, capacitance, volts, row) in enumerate(
        zip(nodes, sources, farads.tolist(), start.tolist(), G.tolist(), strict=True)
    ):
        cards += [f"I{i} 0 {node} {source}"] if source else []
        cards.append(f"C{i} {node} 0 {capacitance} IC={volts}")
        cards += [f"G{i}_{j} {node} 0 {nodes[j]} 0 {one}" for j, one in enumerate(row) if one]
    return cards


@dataclass(frozen=True, eq=False)
class Wiring:
    """Devices of a crossbar, in siemens, and the equations that they make with their amplifiers.

    Parameters
    ----------
    plus, minus : (N, N) array
        G⁺ and G⁻, in siemens.
    siemens : float
        G₀, of weight 1.
    network : ResistorNetwork
        The same in units of G₀, with amplifiers, offsets and relative rates.
    """

    plus: Floats
    minus: Floats
    siemens: float
    network: ResistorNetwork

    def __repr__(self) -> str:
        return f"Wiring(n={len(self.plus)}, siemens={self.siemens:g}, {self.network.amplifier})"


def crossbar(wires: Wiring, nodes: Sequence[str], sources: Sequence[str], farads: Floats, start: Floats) -> list[str]:
    """Return integrators, inverters and a resistor per conductance; parameters as of `transconductors`.

    Sources are voltages of minus the input, behind a resistor of weight 1.
    """
    cards, ohms, network, amplifier = [], 1 / wires.siemens, wires.network, wires.network.amplifier
    h, leak = amplifier.inversion, amplifier.leak
    for i, node in enumerate(nodes):
        cards += [f"V{i} in_{node} 0 {sources[i]}"] if sources[i] else []
        cards.append(f"Rx{i} {f'in_{node}' if sources[i] else 0} s_{node} {ohms}")
        own, other = network.offsets[i], network.inverter_offsets[i]
        # An amplifier that follows holds its input at v_os − v/A₀.
        cards.append(f"C{i} {node} s_{node} {farads[i]} IC={start[i] * (1 + leak) - own}")
        cards += _amplifier(f"{i}", (node, f"s_{node}", f"a_{node}", f"o_{node}"), amplifier, own, start[i])
        if wires.minus[:, i].any():
            cards += _inverter(wires, i, (node, node), h * (2 * other - start[i]))
        cards += _synapses(wires, i, nodes, "")
    return cards


def summing_amplifiers(
    wires: Wiring, nodes: Sequence[str], sources: Sequence[str], farads: Floats, start: Floats
) -> list[str]:
    """Return amplifiers that weigh their inputs, for an open loop; parameters as of `crossbar`, no capacitors.

    Sources are voltages of minus the input; inverters give the input. At the start they do not know of it yet.
    """
    cards, ohms, network, amplifier = [], 1 / wires.siemens, wires.network, wires.network.amplifier
    for i, node in enumerate(nodes):
        own, other = network.offsets[i], network.inverter_offsets[i]
        cards += [f"V{i} in_{node} 0 {sources[i]}", f"Rx{i} {node} s_{node} {ohms}"]
        cards += _amplifier(f"{i}", (node, f"s_{node}", f"a_{node}", f"o_{node}"), amplifier, own, start[i])
        if wires.minus[:, i].any():
            cards += _inverter(wires, i, (f"in_{node}", node), amplifier.inversion * 2 * other)
        cards += _synapses(wires, i, nodes, "in_")
    return cards


def _inverter(wires: Wiring, i: int, nodes: tuple[str, str], start: float) -> list[str]:
    """Return an inverter of two conductances G₀, with its nodes: input, and the unit that it belongs to."""
    ohms, (fed, unit) = 1 / wires.siemens, nodes
    around = (f"m_{unit}", f"p_{unit}", f"b_{unit}", f"q_{unit}")
    cards = [f"Ri{i} {fed} p_{unit} {ohms}", f"Rf{i} p_{unit} m_{unit} {ohms}"]
    return cards + _amplifier(f"m{i}", around, wires.network.amplifier, wires.network.inverter_offsets[i], start)


def _synapses(wires: Wiring, i: int, nodes: Sequence[str], fed: str) -> list[str]:
    """Return the resistors of row i, from columns whose nodes begin with `fed`, and from inverters."""
    return [
        f"{name}{i}_{j} {sign}{nodes[j]} s_{nodes[i]} {1 / one}"
        for name, sign, G in (("Rp", fed, wires.plus), ("Rn", "m_", wires.minus))
        for j, one in enumerate(G[i].tolist())
        if one
    ]


def _amplifier(
    name: str, nodes: tuple[str, str, str, str], amplifier: Amplifier, offset: float, start: float
) -> list[str]:
    """Return an amplifier, (1/ω) dv/dt = v_os − v₋ − v/A₀, with nodes: output, v₋, pole, offset at v₊."""
    out, negative, pole, positive = nodes
    cards = [f"Vo{name} {positive} 0 DC {offset}"] if offset else []
    plus = positive if offset else "0"
    if math.isinf(amplifier.bandwidth_hz):
        return [*cards, f"E{name} {out} 0 {plus} {negative} {min(amplifier.gain, IDEAL_GAIN)}"]
    return [
        *cards,
        f"Ga{name} {pole} 0 {negative} {plus} {POLE}",
        f"Ra{name} {pole} 0 {min(amplifier.gain, IDEAL_GAIN_WITH_POLE) / POLE}",
        f"Ca{name} {pole} 0 {POLE / amplifier.rate} IC={start}",
        f"E{name} {out} 0 {pole} 0 1.0",
    ]
