"""Netlists of circuits and of manufactured chips, and the one door to netlists of everything."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Floats
from neurodecorr._validation import choice, finite, positive, real_array, shown, vector
from neurodecorr.circuit import Circuit, SparseCircuit
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.circuit.stability import margin, require_stable
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.export.spice.deck import (
    INNER,
    SIEMENS,
    SIMULATORS,
    Analysis,
    Deck,
    Wiring,
    crossbar,
    node_names,
    probes,
    stop_and_step,
    summing_amplifiers,
    transconductors,
)
from neurodecorr.export.spice.network_netlist import LearningCircuit, learning_deck, network_deck
from neurodecorr.export.spice.stimulus import SourceWaveforms, waveforms
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.circuit import AnalogueCircuit
from neurodecorr.hardware.analogue.equations import ResistorNetwork, closed_loop, require_settling, rest_system
from neurodecorr.hardware.devices.pairs import Pair
from neurodecorr.io.atomic import write_text
from neurodecorr.network.ode import NetworkCircuit

WORDS = {"ota": "transconductors and capacitors", "crossbar": "crossbar with operational amplifiers"}
KINDS = tuple(WORDS)
EQUATION = "tau dxbar/dt = x - R xbar; at rest xbar = R^-1 x"
PAIR_EQUATION = "tau_e de/dt = x - R xbar - e, tau dxbar/dt = R^T e; at rest xbar = R^-1 x, e = 0"
UNITS = "seconds, volts, amperes, siemens, farads, ohms"
# What the head of a netlist says, in this order.
WORDS_OF_HEAD = ("equation", "circuit", "rows", "units", "simulator", "kind")
NUMBERS_OF_HEAD = ("tau_s", "siemens_per_weight", "farads", "volts_per_unit", "slowest_mode_s")


def write_spice(
    subject: Any,
    inputs: Any,
    path: str | os.PathLike[str],
    kind: str | None = None,
    simulator: str = "ngspice",
    *,
    pair: Pair | None = None,
    amplifier: Amplifier | None = None,
    offsets_v: npt.ArrayLike | None = None,
    unit_siemens: float | None = None,
    volts_per_unit: float | None = None,
    tau_s: float | None = None,
    t_end_s: float | None = None,
    step_s: float | None = None,
    initial: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Path:
    """Write a circuit, a chip, a network or a circuit that learns, with its stimulus, as a netlist.

    Parameters and errors are those of `netlist`.

    Parameters
    ----------
    path : path-like
        The file; replaced as a whole.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    CheckpointError
        If the file cannot be written. Where `netlist` raises, nothing is written.

    Examples
    --------
    >>> import tempfile
    >>> from neurodecorr.circuit import Circuit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = write_spice(Circuit([[2.0]], tau=0.02), [1.0], Path(folder) / "unit.cir")
    ...     [line for line in file.read_text().splitlines() if "xbar0" in line][:4]
    ['* xbar xbar0 = 0.5', 'I0 0 xbar0 DC 1e-06', 'C0 xbar0 0 2e-08 IC=0.0', 'G0_0 xbar0 0 xbar0 0 2e-06']
    """
    deck = netlist(
        subject,
        inputs,
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


def netlist(
    subject: Any,
    inputs: Any,
    kind: str | None = None,
    simulator: str = "ngspice",
    *,
    pair: Pair | None = None,
    amplifier: Amplifier | None = None,
    offsets_v: npt.ArrayLike | None = None,
    unit_siemens: float | None = None,
    volts_per_unit: float | None = None,
    tau_s: float | None = None,
    t_end_s: float | None = None,
    step_s: float | None = None,
    initial: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Deck:
    """Return the netlist of a subject with its stimulus, which states what every unit should settle at.

    ::

        circuit, "ota":       C dv_i/dt = G₀ x_i − ∑_j G₀ R_ij v_j
        circuit, "crossbar":  C dv_i/dt = G₀ x_i − ∑_j (G⁺_ij − G⁻_ij) v_j        C = τ G₀
        chip, closed loop:    the same, with its own conductances, gain, bandwidth and offsets
        chip, open loop:      v_i = ∑_j (G⁺_ij − G⁻_ij) x_j / G₀
        network:              τ dx̄/dt = A (x − μ) − B x̄,   τ' dy/dt = −y + φ(W x̄ + b),   y is the x of the next layer
        learning:             the equations of `LearningCircuit`

    Node voltages v are `volts_per_unit` times x̄. "ota": per unit one capacitor to ground, one current source and one
    transconductor per synapse. "crossbar": per unit one operational amplifier with a capacitor as integrator and, where
    a negative weight asks for it, one as inverter; per synapse one resistor to each of them, conductances G⁺ and G⁻.
    In the open loop of a chip the input drives the resistors of G⁺, an inverter for each input those of G⁻, and G₀ is
    the feedback of each unit. With one side every row has a copy of the reference, as its mirror gives it. A DAC acts
    on the sources; what an ADC makes of the outputs is not in the file. Chip k of `simulate_chips(…, seed=s)` is
    `AnalogueCircuit.build(…, rng)` with `rng` the generator of `numpy.random.SeedSequence(s, spawn_key=(k,))`. Nodes of
    layer l of a network: xbar0_3 (activity x̄), h0_3 (W x̄ + b), y0_3 (activity φ); a non-linear source per unit makes φ.

    The file asks for `.op` (at rest under x(0); not where R is learnt), `.tran` from `initial`, and one `.measure` per
    unit.

    Parameters
    ----------
    subject : Circuit, TwoPopulationCircuit, SparseCircuit, AnalogueCircuit, NetworkCircuit or LearningCircuit
        What is written; it must be stable. `.op` would also find the rest of an unstable one. A chip must stay within
        the swing of its amplifiers: the netlist is linear. A `NetworkCircuit` is what `Network.as_circuit` returns.
    inputs : (n,) array_like, PiecewiseConstant or PiecewiseLinear
        Input x, less its mean; times in the unit of `circuit.tau`, of a chip in seconds. Of a network one raw input,
        constant in time; of a circuit that learns its samples, (samples, n), in order.
    kind : {"ota", "crossbar"}, optional
        Of a circuit: which form. Default: "ota".
    simulator : {"ngspice", "gnucap"}, default "ngspice"
        Which dialect. gnucap has no multipliers, to learn with, and of φ straight pieces only: identity, relu,
        leaky_relu.
    pair : Pair, optional
        Of a circuit: conductances of the devices, programmed from the matrix of the circuit and off by whatever a
        chip's are; the file then describes that chip. Default: exact ones.
    amplifier : Amplifier, optional
        Of a circuit's crossbar: its gain and bandwidth. Default: ideal. An infinite gain is written as 1e12, or
        1e9 where the bandwidth is finite.
    offsets_v : (n,) or (2, n) array_like, optional
        Input offsets of the crossbar's integrators, or of integrators and inverters, in volts. Default: 0.
    unit_siemens : float, optional
        Conductance G₀ of weight 1. Default: 1e-6, or `pair.scale`. A chip has its own.
    volts_per_unit : float, optional
        Of a circuit: voltage of x̄ = 1. Default: 1.
    tau_s : float, optional
        Of a circuit: time constant in seconds. Default: `circuit.tau`, taken as seconds.
    t_end_s : float, optional
        End of the transient, in seconds; 0 for none. Default: the last change of x plus the time in which the slowest
        mode shrinks to 1e-6, summed over layers. An open loop with ideal amplifiers has no modes: none, or τ after the
        last change. A circuit that learns ends with its samples.
    step_s : float, optional
        Longest step, in seconds. Default: 1/200 of the shortest time constant, or longer where that would be more than
        20000 steps; of an open loop that of its amplifiers; τ/100 where R is learnt.
    initial : (n,) array_like, optional
        Of a circuit or a chip: x̄ at the start. Default: 0.
    names : sequence of str, optional
        Of a circuit or a chip: names of the nodes, one per unit. Default: xbar0, xbar1, …

    Returns
    -------
    Deck
        The netlist; `text()` is the file.

    Raises
    ------
    StabilityError, DivergenceError
        If the subject does not settle, at the start or while it learns.
    InputError, ConfigError
        If an array has the wrong shape or entries that are not finite; an option is unknown, out of range or not one
        of this subject; an amplifier leaves its swing; a DAC meets an input that moves in lines.

    Examples
    --------
    >>> from neurodecorr.hardware import AnalogueCircuit, Devices
    >>> chip = AnalogueCircuit.build([[1.0]], Devices(g_max=20e-6, mismatch=0.1), tau_s=1e-6, rng=3)
    >>> cards = netlist(chip, [1.0]).cards
    >>> [bool(float(card.split()[3]) == 1 / chip.plus[0, 0]) for card in cards if card.startswith("Rp0_0")]
    [True]

    References
    ----------
    Sun et al., PNAS 116(10):4123 (2019), for the crossbar.
    """
    given = {
        "kind": kind,
        "pair": pair,
        "amplifier": amplifier,
        "offsets_v": offsets_v,
        "unit_siemens": unit_siemens,
        "volts_per_unit": volts_per_unit,
        "tau_s": tau_s,
        "t_end_s": t_end_s,
        "step_s": step_s,
        "initial": initial,
        "names": names,
    }
    make = next((own for kinds, own in _DECKS if isinstance(subject, kinds)), None)
    if make is None:
        raise InputError(
            f"subject must be a circuit, a chip, a network as from network.as_circuit(), or a LearningCircuit; got "
            f"{type(subject).__name__}. Use Circuit(R, tau) or AnalogueCircuit.build(R)."
        )
    options = {key: value for key, value in given.items() if value is not None}
    if foreign := [name for name in options if name not in signature(make).parameters]:
        raise ConfigError(f"{foreign[0]} must be left out in a netlist of this subject, {type(subject).__name__}.")
    return make(subject, inputs, choice(simulator, "simulator", SIMULATORS), **options)


def circuit_deck(
    circuit: LinearCircuit | SparseCircuit,
    x: Any,
    simulator: str,
    *,
    kind: str = "ota",
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
    """Return the netlist of a circuit; see `netlist`."""
    kind = choice(kind, "kind", KINDS)
    if isinstance(circuit, SparseCircuit):
        circuit = Circuit(circuit.R.toarray(), circuit.tau)
    volts = positive(volts_per_unit, "volts_per_unit", "volts")
    tau_s = circuit.tau if tau_s is None else positive(tau_s, "tau_s", "seconds")
    n, errors = circuit.size, circuit.state_size - circuit.size
    wave = waveforms(x, n, tau_s / circuit.tau)
    if kind == "crossbar":
        made = _with_amplifiers(circuit, tau_s, pair, amplifier, offsets_v, unit_siemens)
    elif amplifier is None and offsets_v is None:
        made = _with_transconductors(circuit, pair, unit_siemens)
    else:
        raise ConfigError(
            "amplifier and offsets_v must be None for transconductors, which are ideal; got "
            f"{shown(amplifier)} and {shown(offsets_v)}. Use kind='crossbar'."
        )
    if made.margin <= 0:
        raise StabilityError(
            f"the circuit must have min Re λ > 0 to settle; with these devices and amplifiers it is {made.margin:.4g} "
            f"({circuit.spectrum.margin:.4g} with ideal ones). Choose devices of less mismatch, or faster amplifiers."
        )
    slowest_s = tau_s / made.margin
    stop_s, step = stop_and_step(tau_s, slowest_s, float(wave.times[-1]), t_end_s, step_s)
    nodes = node_names(names, [f"xbar{i}" for i in range(n)], INNER)
    start = np.zeros(n + errors) if initial is None else circuit.state(vector(initial, "initial", n)[None])[0]
    farads = tau_s * made.siemens
    capacitances = farads / circuit.rates.astype(float)
    # Error units get the input, and come last.
    sources = [""] * errors + wave.sources(volts * made.source, step, simulator)
    every = (*nodes, *(f"e{i}" for i in range(errors)))
    cards = made.elements(every, sources, capacitances, volts * start)
    rest = np.linalg.solve(made.A, circuit.drive(wave.at_end(stop_s)[None])[0] + made.b / volts)
    said = (PAIR_EQUATION if errors else EQUATION, WORDS[kind], "weight i_j leads from unit j to unit i", UNITS)
    facts = _head((*said, simulator, kind), (tau_s, made.siemens, farads, volts, slowest_s))
    run = Analysis(stop_s, step, True, volts, made.siemens, farads)
    title = f"neurodecorr: decorrelating circuit of {n} units, {WORDS[kind]}, for {simulator}"
    return Deck(title, facts, probes("xbar", nodes, rest[:n]), tuple(cards), run, simulator)


@dataclass(frozen=True, eq=False)
class _Built:
    """A circuit in devices: A z = u + b at rest, its margin per τ, G₀, and what its elements are.

    `source` is the size of a source over that of an input in volts: amperes G₀, or minus one volt.
    """

    A: Floats
    b: Floats | float
    margin: float
    siemens: float
    source: float
    elements: Callable[[Sequence[str], Sequence[str], Floats, Floats], list[str]]


def _with_transconductors(circuit: LinearCircuit, pair: Pair | None, unit_siemens: Any) -> _Built:
    """Return κ⁻¹ C dv/dt = G₀ x − (G⁺ − G⁻) v."""
    plus, minus, siemens = _conductances(circuit.wide, pair, unit_siemens)
    require_stable(circuit)
    A = (plus - minus) / siemens
    slowest = margin(circuit.rates.astype(float)[:, None] * A)
    return _Built(A, 0.0, slowest, siemens, siemens, partial(transconductors, plus - minus))


def _with_amplifiers(
    circuit: LinearCircuit, tau_s: float, pair: Pair | None, amplifier: Any, offsets_v: Any, unit_siemens: Any
) -> _Built:
    """Return the closed loop of `hardware.analogue.equations`, its options checked."""
    amplifier = Amplifier() if amplifier is None else amplifier
    if not isinstance(amplifier, Amplifier):
        raise ConfigError(f"amplifier must be an Amplifier; got {type(amplifier).__name__}.")
    if not math.isinf(amplifier.swing_v):
        raise ConfigError(f"amplifier must have an infinite swing_v in a linear netlist; got {amplifier.swing_v:g} V.")
    if amplifier.offset_v and offsets_v is None:
        raise ConfigError(
            f"an amplifier with offset_v = {amplifier.offset_v:g} V, a standard deviation, needs the offsets of one "
            "chip: give offsets_v."
        )
    n = circuit.state_size
    offsets = np.zeros(n) if offsets_v is None else finite(real_array(offsets_v, "offsets_v"), "offsets_v")
    if offsets.shape not in ((n,), (2, n)):
        raise InputError(
            f"offsets_v must be ({n},), one per integrator, or (2, {n}), with those of inverters; got {offsets.shape}."
        )
    own, other = offsets.astype(float) if offsets.ndim == 2 else (offsets.astype(float), np.zeros(n))
    plus, minus, siemens = _conductances(circuit.wide, pair, unit_siemens)
    rates, speed = circuit.rates.astype(float), amplifier.rate * tau_s
    network = ResistorNetwork(plus / siemens, minus / siemens, own, other, amplifier, speed, rates)
    require_stable(circuit)
    A, b, _ = rest_system(network, closed=True)
    elements = partial(crossbar, Wiring(plus, minus, siemens, network))
    return _Built(A, b, closed_loop(network, tau_s).spectrum.margin, siemens, -1.0, elements)


def _conductances(A: Floats, pair: Any, unit_siemens: Any) -> tuple[Floats, Floats, float]:
    """Return G⁺, G⁻ and G₀ of a matrix or of a pair; a reference that a column shares stands in every row."""
    if pair is None:
        unit = SIEMENS if unit_siemens is None else positive(unit_siemens, "unit_siemens", "siemens")
        return unit * np.maximum(A, 0), unit * np.maximum(-A, 0), unit
    if not isinstance(pair, Pair):
        raise InputError(f"pair must be a Pair, as from map_to_conductances; got {type(pair).__name__}.")
    plus = finite(real_array(pair.plus, "pair.plus"), "pair.plus").astype(float)
    minus = finite(real_array(pair.minus, "pair.minus"), "pair.minus").astype(float)
    if plus.shape != A.shape or minus.shape not in (A.shape, (1, len(A))):
        raise InputError(f"pair must hold {A.shape} conductances, those of the circuit's matrix; got {plus.shape}.")
    for name, G in (("plus", plus), ("minus", minus)):
        if (G < 0).any():
            row, column = (int(k) for k in np.argwhere(G < 0)[0])
            raise InputError(
                f"conductances must be ≥ 0; got pair.{name} = {G[row, column]:g} S at row {row}, column {column}."
            )
    unit = positive(pair.scale, "pair.scale", "siemens per unit of weight")
    if unit_siemens is not None and positive(unit_siemens, "unit_siemens", "siemens") != unit:
        raise ConfigError(
            f"unit_siemens must be left out where a pair is given, whose scale is {unit:g} S; got {unit_siemens:g}."
        )
    return plus, np.broadcast_to(minus, A.shape), unit


def chip_deck(
    chip: AnalogueCircuit,
    x: Any,
    simulator: str,
    *,
    t_end_s: float | None = None,
    step_s: float | None = None,
    initial: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Deck:
    """Return the netlist of one manufactured chip; see `netlist`."""
    n, volts, siemens, farads = len(chip.plus), chip.volts_per_unit, chip.unit_siemens, chip.capacitance_f
    wave, start = waveforms(x, n, 1.0), np.zeros(n) if initial is None else vector(initial, "initial", n)
    shortest, slowest = _time_constants(chip, wave)
    stop_s, step = stop_and_step(shortest, slowest, float(wave.times[-1]), t_end_s, step_s)
    rest = chip.settle(wave.at_end(stop_s)).volts / volts
    _require_swing(chip, x, wave, stop_s, start)
    nodes = node_names(names, [f"xbar{i}" for i in range(n)], INNER)
    elements = crossbar if chip.form == "closed" else summing_amplifiers
    sources = _driven(chip, wave).sources(-volts, step, simulator)
    wires, capacitances = Wiring(chip.plus, chip.minus, siemens, chip.network), np.full(n, farads)
    cards = elements(wires, nodes, sources, capacitances, start * volts)
    run = Analysis(stop_s, step, True, volts, siemens, farads)
    title = f"neurodecorr: a chip of {n} units, {chip.form} loop of operational amplifiers, for {simulator}"
    return Deck(title, _facts(chip, simulator, slowest), probes("xbar", nodes, rest), tuple(cards), run, simulator)


def _time_constants(chip: AnalogueCircuit, wave: SourceWaveforms) -> tuple[float, float]:
    """Return the shortest time constant to be resolved and that of the slowest mode, in seconds."""
    if chip.form == "closed":
        require_settling(chip.loop)
        return chip.tau_s, chip.tau_s / chip.stability().margin
    if np.isinf(chip.amplifier.bandwidth_hz):
        return chip.tau_s, chip.tau_s if wave.times[-1] > 0 else 0.0
    return 1 / chip.amplifier.rate, chip.tau_s / chip.stability().margin


def _require_swing(chip: AnalogueCircuit, x: Any, wave: SourceWaveforms, stop_s: float, start: Floats) -> None:
    """Raise `ConfigError` if an amplifier meets its rail."""
    if np.isinf(chip.amplifier.swing_v):
        return
    still = chip.form == "open" and np.isinf(chip.amplifier.bandwidth_hz)
    beyond = bool(np.any(chip.settle(wave.values if still else wave.values[:1]).saturated))
    if not beyond and not still and stop_s > 0:
        beyond = chip.integrate(x, stop_s, initial=start).saturated
    if beyond:
        raise ConfigError(
            f"the outputs must stay within the swing of ± {chip.amplifier.swing_v:g} V in a linear netlist; they do "
            "not. Use smaller inputs, or a chip of fewer volts_per_unit."
        )


def _driven(chip: AnalogueCircuit, wave: SourceWaveforms) -> SourceWaveforms:
    """Return the inputs as the DAC gives them."""
    if chip.dac is None:
        return wave
    if not wave.switches:
        raise ConfigError(
            f"x must be constant from switch to switch where the chip has a DAC; got {len(wave.values)} points joined "
            "by lines. Use PiecewiseConstant."
        )
    return replace(wave, values=chip.dac(chip.volts_per_unit * wave.values) / chip.volts_per_unit)


def _facts(chip: AnalogueCircuit, simulator: str, slowest_s: float) -> dict[str, str | float]:
    law = "tau dxbar/dt = x - R xbar; at rest xbar = R^-1 x, R" if chip.form == "closed" else "xbar = M x, M"
    equation = f"{law} = (Gplus - Gminus)/G0, but for gain, bandwidth and offsets of the amplifiers"
    circuit = f"one manufactured chip, {chip.sides} sides, {chip.form} loop"
    said = (equation, circuit, "conductance i_j leads from unit j to unit i", UNITS, simulator, "crossbar")
    numbers = (chip.tau_s, chip.unit_siemens, chip.capacitance_f, chip.volts_per_unit, slowest_s)
    converters = [name for name, one in (("DAC in the sources", chip.dac), ("ADC left out", chip.adc)) if one]
    more = {"converters": ", ".join(converters)} if converters else {}
    return _head(said, numbers) | more


def _head(said: Sequence[str], numbers: Sequence[float]) -> dict[str, str | float]:
    return {**dict(zip(WORDS_OF_HEAD, said, strict=True)), **dict(zip(NUMBERS_OF_HEAD, numbers, strict=True))}


# What makes the netlist of a subject, by what it is.
_DECKS: tuple[tuple[Any, Callable[..., Deck]], ...] = (
    ((LinearCircuit, SparseCircuit), circuit_deck),
    (AnalogueCircuit, chip_deck),
    (NetworkCircuit, network_deck),
    (LearningCircuit, learning_deck),
)
