"""Elements of linear circuits: transconductors and capacitors, or resistors, capacitors and amplifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.spice.deck import spelt
from neurodecorr.hardware.spice.wiring import Wiring

__all__ = ["INNER", "crossbar", "summing_amplifiers", "transconductors"]

Floats = npt.NDArray[np.floating[Any]]

# What a netlist writes for an infinite gain: of an amplifier without a pole, and of one with it.
IDEAL_GAIN, IDEAL_GAIN_WITH_POLE = 1e12, 1e9
# Transconductance in siemens in front of the pole of an amplifier.
POLE = 1e-3
# Nodes that a crossbar makes from the name of a unit: input, summing node, input and output of its inverter, poles of
# both amplifiers, their offsets.
INNER = ("in_", "s_", "p_", "m_", "a_", "b_", "o_", "q_")


def transconductors(
    wires: Wiring, nodes: Sequence[str], sources: Sequence[str], start: Floats, farads: float
) -> list[str]:
    """Return capacitors, current sources and transconductors; currents leave a node through its transconductors.

    Parameters
    ----------
    wires : Wiring
        The circuit.
    nodes, sources : sequence of str
        Name of each node, and what follows the nodes of its source; "" for none.
    start : (N,) array
        Voltages at the start.
    farads : float
        Capacitance τ G₀.
    """
    G, cards = wires.plus - wires.minus, []
    for i, node in enumerate(nodes):
        if sources[i]:
            cards.append(f"I{i} 0 {node} {sources[i]}")
        cards.append(f"C{i} {node} 0 {spelt(farads / wires.rates[i])} IC={spelt(start[i])}")
        cards += [f"G{i}_{j} {node} 0 {nodes[j]} 0 {spelt(G[i, j])}" for j in np.flatnonzero(G[i]).tolist()]
    return cards


def crossbar(wires: Wiring, nodes: Sequence[str], sources: Sequence[str], start: Floats, farads: float) -> list[str]:
    """Return integrators, inverters and a resistor per conductance; parameters as of `transconductors`.

    Sources are voltages of minus the input, behind a resistor of weight 1.
    """
    cards, ohms, h, leak = [], spelt(1 / wires.siemens), wires.amplifier.inversion, wires.amplifier.leak
    for i, node in enumerate(nodes):
        if sources[i]:
            cards.append(f"V{i} in_{node} 0 {sources[i]}")
        cards.append(f"Rx{i} {f'in_{node}' if sources[i] else 0} s_{node} {ohms}")
        own, other = wires.offsets[:, i]
        # An amplifier that follows holds its input at v_os − v/A₀.
        held = spelt(start[i] * (1 + leak) - own)
        cards.append(f"C{i} {node} s_{node} {spelt(farads / wires.rates[i])} IC={held}")
        cards += _amplifier(f"{i}", (node, f"s_{node}", f"a_{node}", f"o_{node}"), wires.amplifier, own, start[i])
        if wires.minus[:, i].any():
            cards += _inverter(wires, i, (node, node), h * (2 * other - start[i]))
        cards += _synapses(wires, i, nodes, "")
    return cards


def summing_amplifiers(
    wires: Wiring, nodes: Sequence[str], sources: Sequence[str], start: Floats, farads: float
) -> list[str]:
    """Return amplifiers that weigh their inputs, for an open loop; parameters as of `crossbar`, no capacitors.

    Sources are voltages of minus the input; inverters give the input. At the start they do not know of it yet.
    """
    cards, ohms, h = [], spelt(1 / wires.siemens), wires.amplifier.inversion
    for i, node in enumerate(nodes):
        own, other = wires.offsets[:, i]
        cards += [f"V{i} in_{node} 0 {sources[i]}", f"Rx{i} {node} s_{node} {ohms}"]
        cards += _amplifier(f"{i}", (node, f"s_{node}", f"a_{node}", f"o_{node}"), wires.amplifier, own, start[i])
        if wires.minus[:, i].any():
            cards += _inverter(wires, i, (f"in_{node}", node), h * 2 * other)
        cards += _synapses(wires, i, nodes, "in_")
    return cards


def _inverter(wires: Wiring, i: int, nodes: tuple[str, str], start: float) -> list[str]:
    """Return an inverter of two conductances G₀, with its nodes: input, and the unit that it belongs to."""
    ohms, (fed, unit) = spelt(1 / wires.siemens), nodes
    around = (f"m_{unit}", f"p_{unit}", f"b_{unit}", f"q_{unit}")
    cards = [f"Ri{i} {fed} p_{unit} {ohms}", f"Rf{i} p_{unit} m_{unit} {ohms}"]
    return cards + _amplifier(f"m{i}", around, wires.amplifier, wires.offsets[1, i], start)


def _synapses(wires: Wiring, i: int, nodes: Sequence[str], fed: str) -> list[str]:
    """Return the resistors of row i, from columns whose nodes begin with `fed`, and from inverters."""
    return [
        f"{name}{i}_{j} {sign}{nodes[j]} s_{nodes[i]} {spelt(1 / G[i, j])}"
        for name, sign, G in (("Rp", fed, wires.plus), ("Rn", "m_", wires.minus))
        for j in np.flatnonzero(G[i]).tolist()
    ]


def _amplifier(
    name: str, nodes: tuple[str, str, str, str], amplifier: Amplifier, offset: float, start: float
) -> list[str]:
    """Return an amplifier, (1/ω) dv/dt = v_os − v₋ − v/A₀, with nodes: output, v₋, pole, offset at v₊."""
    out, negative, pole, positive = nodes
    cards = []
    if offset:
        cards.append(f"Vo{name} {positive} 0 DC {spelt(offset)}")
    else:
        positive = "0"
    if math.isinf(amplifier.bandwidth_hz):
        return [*cards, f"E{name} {out} 0 {positive} {negative} {spelt(min(amplifier.gain, IDEAL_GAIN))}"]
    return [
        *cards,
        f"Ga{name} {pole} 0 {negative} {positive} {spelt(POLE)}",
        f"Ra{name} {pole} 0 {spelt(min(amplifier.gain, IDEAL_GAIN_WITH_POLE) / POLE)}",
        f"Ca{name} {pole} 0 {spelt(POLE / amplifier.rate)} IC={spelt(start)}",
        f"E{name} {out} 0 {pole} 0 1.0",
    ]
