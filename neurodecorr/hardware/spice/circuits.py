"""Netlists of linear circuits: ideal transconductors and capacitors, or a crossbar of conductances with amplifiers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import choice, positive
from neurodecorr.circuit import Circuit, LinearCircuit, SparseCircuit
from neurodecorr.circuit.model import require_circuit
from neurodecorr.errors import InputError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.circuit import AnalogueCircuit
from neurodecorr.hardware.devices.pairs import Pair
from neurodecorr.hardware.spice.deck import Deck, Run, checked_simulator, node_names, probes, stop_and_step
from neurodecorr.hardware.spice.elements import INNER, crossbar, transconductors
from neurodecorr.hardware.spice.stimulus import waveforms
from neurodecorr.hardware.spice.wiring import initial_outputs, margin_of, wiring
from neurodecorr.recording import write_text

__all__ = ["KINDS", "circuit_deck", "write_spice"]

KINDS = ("ota", "crossbar")


def write_spice(
    circuit: LinearCircuit | SparseCircuit,
    x: Any,
    path: str | os.PathLike[str],
    kind: str = "ota",
    simulator: str = "ngspice",
    *,
    pair: Pair | None = None,
    amplifier: Amplifier | None = None,
    offsets_v: npt.ArrayLike | None = None,
    unit_siemens: float | None = None,
    volts_per_unit: float = 1.0,
    tau_s: float | None = None,
    t_end_s: float | None = None,
    step_s: float | None = None,
    initial: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Path:
    """Write a circuit with its stimulus as a netlist that states what every unit should settle at.

    ::

        "ota":       C dv_i/dt = G₀ x_i − Σ_j G₀ R_ij v_j
        "crossbar":  C dv_i/dt = G₀ x_i − Σ_j (G⁺_ij − G⁻_ij) v_j        C = τ G₀

    Node voltages v are `volts_per_unit` times x̄. "ota": per unit one capacitor to ground, one current source and one
    transconductor per synapse. "crossbar": per unit one operational amplifier with a capacitor as integrator and, where
    a negative weight asks for it, one as inverter; per synapse one resistor to each of them, conductances G⁺ and G⁻.

    The file asks for `.op` (the circuit at rest under x(0)), `.tran` from `initial`, and one `.measure` per unit.

    Parameters
    ----------
    circuit : Circuit, TwoPopulationCircuit or SparseCircuit
        The circuit; it must be stable. `.op` would also find the rest of an unstable one.
    x : (n,) array_like, PiecewiseConstant or PiecewiseLinear
        Input; times in the unit of `circuit.tau`.
    path : path-like
        The file; replaced as a whole.
    kind : {"ota", "crossbar"}, default "ota"
        Which form.
    simulator : {"ngspice", "gnucap"}, default "ngspice"
        Which dialect.
    pair : Pair, optional
        Conductances of the devices, programmed from the matrix of the circuit and off by whatever a chip's are; the
        file then describes that chip. Default: exact ones.
    amplifier : Amplifier, optional
        Of the crossbar: its gain and bandwidth. Default: ideal. An infinite gain is written as 1e12, or
        1e9 where the bandwidth is finite.
    offsets_v : (n,) or (2, n) array_like, optional
        Input offsets of the crossbar's integrators, or of integrators and inverters, in volts. Default: 0.
    unit_siemens : float, optional
        Conductance G₀ of weight 1. Default: 1e-6, or `pair.scale`.
    volts_per_unit : float, default 1.0
        Voltage of x̄ = 1.
    tau_s : float, optional
        Time constant in seconds. Default: `circuit.tau`, taken as seconds.
    t_end_s : float, optional
        End of the transient, in seconds; 0 for none. Default: the last change of x plus the time in which the slowest
        mode shrinks to 1e-6.
    step_s : float, optional
        Longest step, in seconds. Default: τ/200, or longer where that would be more than 20000 steps.
    initial : (n,) array_like, optional
        x̄ at the start. Default: 0.
    names : sequence of str, optional
        Names of the nodes, one per unit. Default: xbar0, xbar1, …

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    StabilityError
        If the circuit, or the chip, does not settle. Nothing is written.
    InputError, ConfigError
        If an array has the wrong shape or entries that are not finite; an option is unknown or out of range.
    CheckpointError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from neurodecorr.circuit import Circuit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = write_spice(Circuit([[2.0]], tau=0.02), [1.0], Path(folder) / "unit.cir")
    ...     [line for line in file.read_text().splitlines() if "xbar0" in line][:4]
    ['* xbar xbar0 = 0.5', 'I0 0 xbar0 DC 1e-06', 'C0 xbar0 0 2e-08 IC=0.0', 'G0_0 xbar0 0 xbar0 0 2e-06']

    References
    ----------
    Sun et al., PNAS 116(10):4123 (2019), for the crossbar.
    """
    deck = circuit_deck(
        circuit,
        x,
        kind,
        simulator,
        pair=pair,
        amplifier=amplifier,
        offsets_v=offsets_v,
        unit_siemens=unit_siemens,
        volts_per_unit=volts_per_unit,
        tau_s=tau_s,
        t_end_s=t_end_s,
        step_s=step_s,
        initial=initial,
        names=names,
    )
    return write_text(path, deck.text())


def circuit_deck(
    circuit: LinearCircuit | SparseCircuit,
    x: Any,
    kind: str = "ota",
    simulator: str = "ngspice",
    *,
    pair: Pair | None = None,
    amplifier: Amplifier | None = None,
    offsets_v: npt.ArrayLike | None = None,
    unit_siemens: float | None = None,
    volts_per_unit: float = 1.0,
    tau_s: float | None = None,
    t_end_s: float | None = None,
    step_s: float | None = None,
    initial: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Deck:
    """Return the netlist that `write_spice` writes, as its parts; see there."""
    kind, simulator = choice(kind, "kind", KINDS), checked_simulator(simulator)
    if isinstance(circuit, AnalogueCircuit):
        raise InputError("circuit must be a Circuit; got an AnalogueCircuit. Use write_spice_chip, which takes chips.")
    if isinstance(circuit, SparseCircuit):
        circuit = Circuit(circuit.R.toarray(), circuit.tau)
    circuit = require_circuit(circuit)
    volts = positive(volts_per_unit, "volts_per_unit", "volts")
    tau_s = circuit.tau if tau_s is None else positive(tau_s, "tau_s", "seconds")
    wave = waveforms(x, circuit.size, tau_s / circuit.tau)
    wires = wiring(circuit, kind, pair, amplifier, offsets_v, unit_siemens)
    margin = margin_of(wires, circuit, tau_s)
    stop_s, step = stop_and_step(tau_s, tau_s / margin, wave.end, t_end_s, step_s)
    default = [f"xbar{i}" if i < circuit.size else f"e{i - circuit.size}" for i in range(circuit.state_size)]
    own = node_names(names, default[: circuit.size], INNER)
    start = np.asarray(circuit.state(initial_outputs(initial, circuit.size)[None, :])[0], dtype=float)
    farads = tau_s * wires.siemens
    nodes = (*own, *default[circuit.size :])
    elements = transconductors if kind == "ota" else crossbar
    sources = wave.sources(volts * (wires.siemens if kind == "ota" else -1.0), step, simulator)
    silent = [""] * (circuit.state_size - circuit.size)  # error units get the input, and come last
    cards = elements(wires, nodes, [*silent, *sources], start * volts, farads)
    rest = wires.rest(circuit.drive(wave.at_end(stop_s)[None, :])[0], volts)[: circuit.size]
    facts: dict[str, str | float] = {
        "equation": _equation(circuit),
        "circuit": _words(kind),
        "rows": "weight i_j leads from unit j to unit i",
    }
    facts |= {"units": "seconds, volts, amperes, siemens, farads, ohms", "simulator": simulator, "kind": kind}
    facts |= {"tau_s": tau_s, "siemens_per_weight": wires.siemens, "farads": farads, "volts_per_unit": volts}
    facts["slowest_mode_s"] = tau_s / margin
    run = Run(stop_s, step, True, volts, wires.siemens, farads)
    title = f"neurodecorr: decorrelating circuit of {circuit.size} units, {_words(kind)}, for {simulator}"
    return Deck(title, facts, probes("xbar", own, rest), tuple(cards), run, simulator)


def _words(kind: str) -> str:
    return "transconductors and capacitors" if kind == "ota" else "crossbar with operational amplifiers"


def _equation(circuit: LinearCircuit) -> str:
    if circuit.state_size == circuit.size:
        return "tau dxbar/dt = x - R xbar; at rest xbar = R^-1 x"
    return "tau_e de/dt = x - R xbar - e, tau dxbar/dt = R^T e; at rest xbar = R^-1 x, e = 0"
