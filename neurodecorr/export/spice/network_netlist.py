"""Netlists of whole networks: decorrelating circuits and units of all layers at once, nothing waits for anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import finite, positive, real_array, rule_name, samples, square
from neurodecorr.circuit import PiecewiseConstant
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.export.spice.deck import SIEMENS, Analysis, Deck, Probe, probes, stop_and_step
from neurodecorr.export.spice.stimulus import waveforms
from neurodecorr.network.ode import LayerCircuit, NetworkCircuit
from neurodecorr.plasticity.continuous import FLOW_RULES, ContinuousResult, learn_continuously

STEPS = 100  # per τ, by default
EQUATIONS = {
    "implicit": "tau_R dR/dt = (R xbar) xbar^T - R diag(p)",
    "congruent": "tau_R dR/dt = ((R xbar) xbar^T + xbar (R xbar)^T - R diag(p) - diag(p) R) / 2",
}


@short_repr
@dataclass(frozen=True, eq=False)
class LearningCircuit:
    """A circuit that learns R by itself while samples are presented one after the other.

    ::

        C dv_i/dt = G₀ x_i − I_i,              I_i = ∑_j G₀ r_ij v_j            C = τ G₀
        C_R dr_ij/dt = I_i v_j − G₀ p_j r_ij                        implicit    C_R = τ_R G₀
        C_R dr_ij/dt = ½(I_i v_j + I_j v_i) − ½G₀(p_i + p_j) r_ij   congruent

    These are the equations of `learn_continuously`, at 1 V per unit. In a netlist node r0_1 holds R₀₁ in volts; with
    the congruent rule R₁₀ is the same node: a reciprocal synapse. An ammeter (a source of 0 V) in series with the
    synapses of a unit measures its drive I_i = G₀ (R x̄)_i; a multiplier per synapse charges the weight with drive times
    presynaptic activity, and another makes the synaptic current. Nothing in it settles first, and no unit knows R.

    For ngspice: multipliers are its B sources. No `.op`, where nothing is left to learn; the transient begins at x̄ = 0
    and R. One `.measure` per unit and per weight. The head expects what `learn_continuously` finds.

    Parameters
    ----------
    R : (n, n) array_like
        Weights at the start, stable; symmetric for the congruent rule.
    dwell_s : float
        Time for which each sample is presented, in seconds.
    tau_s, tau_R_s : float
        Time constants of activity and weights, in seconds.
    rule : {"implicit", "congruent"}, default "implicit"
        What the weights do.
    power : (n,) array_like, optional
        Power p of each unit's own input. Default: the mean square of its samples. Held, if `tau_power_s` is not given.
    tau_power_s : float, optional
        Time constant of a running power, τ_p dp/dt = x∘x − p, on a capacitor of its own: nodes p0, p1, …

    Raises
    ------
    InputError, ConfigError
        If R is not square and finite, a time is not > 0, or the rule is unknown.
    """

    R: npt.ArrayLike
    dwell_s: float
    tau_s: float
    tau_R_s: float
    rule: str = "implicit"
    power: npt.ArrayLike | None = None
    tau_power_s: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "R", square(self.R, "R").astype(float))
        object.__setattr__(self, "rule", rule_name(self.rule, FLOW_RULES))
        for name in ("dwell_s", "tau_s", "tau_R_s"):
            positive(getattr(self, name), name, "seconds")
        if self.tau_power_s is not None:
            positive(self.tau_power_s, "tau_power_s", "seconds")


def learning_deck(
    subject: LearningCircuit,
    X: npt.ArrayLike,
    simulator: str,
    *,
    unit_siemens: float = SIEMENS,
    step_s: float | None = None,
) -> Deck:
    """Return the netlist of a circuit that learns; see `LearningCircuit`."""
    if simulator != "ngspice":
        raise ConfigError(
            f"simulator must be 'ngspice' for a circuit that learns, as it multiplies; got {simulator!r}."
        )
    rule, weights, tau_s, tau_R_s = subject.rule, np.asarray(subject.R), float(subject.tau_s), float(subject.tau_R_s)
    dwell_s, tau_power_s = float(subject.dwell_s), subject.tau_power_s
    n = len(weights)
    inputs = samples(X, "X", n).astype(float)
    siemens = positive(unit_siemens, "unit_siemens", "siemens")
    step = tau_s / STEPS if step_s is None else positive(step_s, "step_s", "seconds")
    stop, step = stop_and_step(tau_s, tau_s, 0.0, dwell_s * len(inputs), step)
    strengths = _powers(subject.power, inputs)
    if rule == "congruent":
        weights = (weights + weights.T) / 2 if np.allclose(weights, weights.T, rtol=1e-9, atol=1e-12) else weights
    flow = learn_continuously(
        subject.R,
        inputs,
        dwell_s,
        tau_s,
        tau_R_s,
        rule=rule,
        power=strengths,
        tau_power=tau_power_s,
        dt=min(step, tau_s / (2 * STEPS)),
        records=1,
    )
    stimulus = PiecewiseConstant(dwell_s * np.arange(len(inputs)), inputs)
    sources = waveforms(stimulus, n, 1.0).sources(siemens, step, "ngspice")
    cards = _activity(weights, sources, siemens, tau_s, rule)
    cards += _plasticity(weights, strengths, siemens, tau_R_s, rule, tau_power_s is not None)
    if tau_power_s is not None:
        volts = waveforms(stimulus, n, 1.0).sources(1.0, step, "ngspice")
        cards += _running_power(volts, strengths, siemens, positive(tau_power_s, "tau_power_s", "seconds"))
    facts: dict[str, str | float] = {
        "equation": f"tau dxbar/dt = x - R xbar; {EQUATIONS[rule]}",
        "weights": "node r0_1 is the weight from unit 1 to unit 0, in volts",
        "units": "seconds, volts, amperes, siemens, farads",
        "simulator": "ngspice",
    }
    facts |= {"rule": rule, "tau_s": tau_s, "tau_R_s": tau_R_s, "dwell_s": dwell_s, "siemens_per_weight": siemens}
    facts |= {"farads": tau_s * siemens, "farads_of_weights": tau_R_s * siemens, "volts_per_unit": 1.0}
    facts |= {"samples": str(len(inputs)), "power": " ".join(str(p) for p in strengths.tolist())}
    run = Analysis(stop, step, False, 1.0, siemens, tau_s * siemens)
    title = f"neurodecorr: circuit of {n} units that learns its lateral weights, {rule} rule, for ngspice"
    return Deck(title, facts, _probes(flow, rule), tuple(cards), run, "ngspice")


def _powers(power: Any, X: Floats) -> Floats:
    if power is None:
        return np.asarray(np.mean(X * X, axis=0))
    strengths = finite(real_array(power, "power"), "power").astype(float)
    if strengths.shape != (X.shape[1],):
        raise InputError(f"power must have shape ({X.shape[1]},), one entry per unit; got {strengths.shape}.")
    return strengths


def _probes(flow: ContinuousResult, rule: str) -> Any:
    n = len(flow.R)
    held = [(i, j) for i in range(n) for j in range(n) if rule == "implicit" or i <= j]
    nodes = [f"r{i}_{j}" for i, j in held]
    return probes("xbar", [f"xbar{i}" for i in range(n)], flow.xbar) + probes(
        "weight", nodes, [flow.R[at] for at in held]
    )


def _weight(i: int, j: int, rule: str) -> str:
    """Return the node that holds R_ij."""
    return f"r{i}_{j}" if rule == "implicit" or i <= j else f"r{j}_{i}"


def _activity(R: Floats, sources: Sequence[str], siemens: float, tau_s: float, rule: str) -> list[str]:
    """Return the units: capacitor, input, and through an ammeter the currents of all synapses."""
    unit, cards = siemens, []
    for i, source in enumerate(sources):
        cards.append(f"I{i} 0 xbar{i} {source}")
        cards.append(f"C{i} xbar{i} 0 {tau_s * siemens} IC=0")
        cards.append(f"V{i} xbar{i} d{i} 0")
        cards += [f"B{i}_{j} d{i} 0 I={unit}*v({_weight(i, j, rule)})*v(xbar{j})" for j in range(len(R))]
    return cards


def _plasticity(R: Floats, power: Floats, siemens: float, tau_R_s: float, rule: str, running: bool) -> list[str]:
    """Return the weights: capacitor, the current that charges it, and the leak that is the presynaptic power."""
    farads, cards = tau_R_s * siemens, []
    for i in range(len(R)):
        for j in range(len(R)):
            node = f"r{i}_{j}"
            if node != _weight(i, j, rule):
                continue
            growth, leak = f"i(V{i})*v(xbar{j})", _leak(j, power, siemens, running)
            if rule == "congruent":
                growth = f"0.5*(i(V{i})*v(xbar{j})+i(V{j})*v(xbar{i}))"
                leak = f"0.5*({leak}+{_leak(i, power, siemens, running)})"
            cards.append(f"Cr{i}_{j} {node} 0 {farads} IC={R[i, j]}")
            cards.append(f"Bg{i}_{j} 0 {node} I={growth}")
            cards.append(f"Bl{i}_{j} {node} 0 I={leak}*v({node})")
    return cards


def _leak(j: int, power: Floats, siemens: float, running: bool) -> str:
    return f"{siemens}*v(p{j})" if running else f"{siemens * power[j]}"


def _running_power(volts: Sequence[str], power: Floats, siemens: float, tau_s: float) -> list[str]:
    """Return a capacitor per unit, which follows the square of the unit's input."""
    unit, cards = siemens, []
    for j, source in enumerate(volts):
        cards.append(f"Vx{j} x{j} 0 {source}")
        cards.append(f"Cp{j} p{j} 0 {tau_s * siemens} IC={power[j]}")
        cards.append(f"Bp{j} 0 p{j} I={unit}*(v(x{j})*v(x{j})-v(p{j}))")
    return cards


# φ(v) as ngspice spells it.
SPELT = {
    "identity": "{v}",
    "relu": "max({v},0)",
    "leaky_relu": "max({v},0.01*{v})",
    "tanh": "tanh({v})",
    "sigmoid": "0.5*(1+tanh(0.5*{v}))",
    "softplus": "max({v},0)+ln(1+exp(-abs({v})))",
}
# Slopes of φ below and above 0, for a simulator that knows lines only.
LINES = {"identity": (1.0, 1.0), "relu": (0.0, 1.0), "leaky_relu": (0.01, 1.0)}
FAR = 1e6  # volts, the end of such a line


def network_deck(
    system: NetworkCircuit,
    x: npt.ArrayLike,
    simulator: str,
    *,
    unit_siemens: float = SIEMENS,
    t_end_s: float | None = None,
    step_s: float | None = None,
) -> Deck:
    """Return the netlist of a network with its decorrelating circuits; see `netlist`."""
    vector = finite(real_array(x, "x"), "x").astype(float)
    features = system.layers[0].W.shape[1]
    if vector.shape != (features,):
        raise InputError(f"x must have shape ({features},), one entry per input; got {vector.shape}.")
    siemens = positive(unit_siemens, "unit_siemens", "siemens")
    slowest = [layer.slowest for layer in system.layers]  # raises where one does not settle
    together = system.tau * sum(slowest) + system.tau_units * len(slowest)
    stop, step = stop_and_step(min(system.tau, system.tau_units), together, 0.0, t_end_s, step_s)
    cards = [f"Vx{j} y_{j} 0 DC {value}" for j, value in enumerate(vector)]
    found: tuple[Probe, ...] = ()
    below, y = [f"y_{j}" for j in range(features)], vector
    for index, (layer, (xbar, y)) in enumerate(zip(system.layers, system.rests(vector), strict=True)):
        cards += _decorrelator(layer, index, below, siemens, system.tau)
        cards += _units(layer, index, siemens, system.tau_units, simulator)
        found += probes("xbar", [f"xbar{index}_{j}" for j in range(len(xbar))], xbar)
        below = [f"y{index}_{i}" for i in range(len(y))]
    found += probes("output", below, y)
    facts: dict[str, str | float] = {
        "equation": "tau dxbar/dt = A (x - mean) - B xbar; tau_units dy/dt = -y + phi(W xbar + b), y the next x",
        "layers": " ".join(
            f"{layer.W.shape[1]}->{layer.W.shape[0]}:{layer.activation.name}" for layer in system.layers
        ),
        "units": "seconds, volts, amperes, siemens, farads, ohms",
        "simulator": simulator,
    }
    facts |= {
        "tau_s": system.tau,
        "tau_units_s": system.tau_units,
        "siemens_per_weight": siemens,
        "volts_per_unit": 1.0,
    }
    shortest = min(system.tau, system.tau_units) * siemens
    run = Analysis(stop, step, True, 1.0, siemens, shortest)
    title = f"neurodecorr: network of {len(system.layers)} layers with decorrelating circuits, for {simulator}"
    return Deck(title, facts, found, tuple(cards), run, simulator)


def _decorrelator(layer: LayerCircuit, index: int, below: Sequence[str], siemens: float, tau: float) -> list[str]:
    """Return the circuit of x̄: transconductors from the layer below and from x̄ itself."""
    n, cards = len(layer.mean), []
    A = np.eye(n) if layer.feed is None else layer.feed
    B = np.eye(n) if layer.lateral is None else layer.lateral
    for i, offset in enumerate(layer.offset):
        node = f"xbar{index}_{i}"
        cards.append(f"Cx{index}_{i} {node} 0 {tau * siemens} IC=0")
        cards += [f"Ix{index}_{i} {node} 0 DC {siemens * offset}"] if offset else []
        cards += [f"Ga{index}_{i}_{j} 0 {node} {below[j]} 0 {siemens * A[i, j]}" for j in np.flatnonzero(A[i]).tolist()]
        cards += [
            f"Gb{index}_{i}_{j} {node} 0 xbar{index}_{j} 0 {siemens * B[i, j]}" for j in np.flatnonzero(B[i]).tolist()
        ]
    return cards


def _units(layer: LayerCircuit, index: int, siemens: float, tau: float, simulator: str) -> list[str]:
    """Return the units: a resistor that adds up W x̄ + b, the current φ of it, and a leaky capacitor."""
    ohms, cards = 1 / siemens, []
    for i, row in enumerate(layer.W):
        h, y = f"h{index}_{i}", f"y{index}_{i}"
        cards.append(f"Rh{index}_{i} {h} 0 {ohms}")
        if layer.b[i]:
            cards.append(f"Ih{index}_{i} 0 {h} DC {siemens * layer.b[i]}")
        cards += [f"Gw{index}_{i}_{j} 0 {h} xbar{index}_{j} 0 {siemens * row[j]}" for j in np.flatnonzero(row).tolist()]
        cards.append(f"Cy{index}_{i} {y} 0 {tau * siemens} IC=0")
        cards.append(f"Ry{index}_{i} {y} 0 {ohms}")
        cards.append(_nonlinear(f"{index}_{i}", h, y, layer.activation.name, siemens, simulator))
    return cards


def _nonlinear(name: str, h: str, y: str, activation: str, siemens: float, simulator: str) -> str:
    """Return the source of the current G₀ φ(h) into y."""
    known = SPELT if simulator == "ngspice" else LINES
    if activation not in known:
        raise ConfigError(
            f"a netlist for {simulator} knows the activations {', '.join(map(repr, known))}; got {activation!r}."
        )
    if simulator == "ngspice":
        return f"By{name} 0 {y} I={siemens}*({SPELT[activation].format(v=f'v({h})')})"
    low, high = LINES[activation]
    points = f"{-FAR},{-FAR * low * siemens} 0,0 {FAR},{FAR * high * siemens}"
    return f"Gy{name} 0 {y} {h} 0 pwl({points})"
