"""Netlists of whole networks: decorrelating circuits and units of all layers at once, nothing waits for anything."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import finite, positive, real_array
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.spice.deck import Deck, Probe, Run, checked_simulator, probes, spelt, stop_and_step
from neurodecorr.hardware.spice.wiring import SIEMENS
from neurodecorr.network.system import LayerCircuit, NetworkCircuit
from neurodecorr.recording import write_text

__all__ = ["network_deck", "write_spice_network"]

Floats = npt.NDArray[np.floating[Any]]

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


def write_spice_network(
    system: NetworkCircuit,
    x: npt.ArrayLike,
    path: str | os.PathLike[str],
    simulator: str = "ngspice",
    *,
    unit_siemens: float = SIEMENS,
    t_end_s: float | None = None,
    step_s: float | None = None,
) -> Path:
    """Write a network with its decorrelating circuits, as it comes to rest under one input.

    ::

        τ dx̄/dt = A (x − μ) − B x̄,    τ' dy/dt = −y + φ(W x̄ + b),    y is the x of the next layer

    Transconductors and capacitors as in `write_spice`, 1 V per unit. Nodes of layer l: xbar0_3 (activity x̄), h0_3
    (W x̄ + b), y0_3 (activity φ); a non-linear source per unit makes φ. `.op`, `.tran` from rest at 0, and a `.measure`
    for every x̄ and every output of the last layer.

    Parameters
    ----------
    system : NetworkCircuit
        From `Network.as_circuit(tau, tau_units)`; time constants are taken as seconds.
    x : (features,) array_like
        One input, constant in time.
    path : path-like
        The file; replaced as a whole.
    simulator : {"ngspice", "gnucap"}, default "ngspice"
        Which dialect. gnucap knows φ of straight pieces only: identity, relu, leaky_relu.
    unit_siemens : float, default 1e-6
        Conductance G₀ of weight 1.
    t_end_s, step_s : float, optional
        End of the transient and its longest step, in seconds. Default: the sum over layers of the time in which the
        slowest mode shrinks to 1e-6, and 1/200 of the shortest time constant.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    StabilityError
        If a layer's circuit does not settle. Nothing is written.
    InputError, ConfigError
        If the input, an activation or an option cannot be used.
    CheckpointError
        If the file cannot be written.
    """
    deck = network_deck(system, x, simulator, unit_siemens=unit_siemens, t_end_s=t_end_s, step_s=step_s)
    return write_text(path, deck.text())


def network_deck(
    system: NetworkCircuit,
    x: npt.ArrayLike,
    simulator: str = "ngspice",
    *,
    unit_siemens: float = SIEMENS,
    t_end_s: float | None = None,
    step_s: float | None = None,
) -> Deck:
    """Return the netlist that `write_spice_network` writes, as its parts; see there."""
    simulator = checked_simulator(simulator)
    if not isinstance(system, NetworkCircuit):
        raise InputError(f"system must be a NetworkCircuit, as from network.as_circuit(); got {type(system).__name__}.")
    vector = finite(real_array(x, "x"), "x").astype(float)
    features = system.layers[0].W.shape[1]
    if vector.shape != (features,):
        raise InputError(f"x must have shape ({features},), one entry per input; got {vector.shape}.")
    siemens = positive(unit_siemens, "unit_siemens", "siemens")
    slowest = [layer.slowest for layer in system.layers]  # raises where one does not settle
    together = system.tau * sum(slowest) + system.tau_units * len(slowest)
    stop, step = stop_and_step(min(system.tau, system.tau_units), together, 0.0, t_end_s, step_s)
    cards = [f"Vx{j} y_{j} 0 DC {spelt(value)}" for j, value in enumerate(vector)]
    found: tuple[Probe, ...] = ()
    below = [f"y_{j}" for j in range(features)]
    for index, layer in enumerate(system.layers):
        above = [f"y{index}_{i}" for i in range(len(layer.W))]
        cards += _decorrelator(layer, index, below, siemens, system.tau)
        cards += _units(layer, index, siemens, system.tau_units, simulator)
        xbar, vector = _rest(layer, vector)
        found += probes("xbar", [f"xbar{index}_{j}" for j in range(len(xbar))], xbar)
        below = above
    found += probes("output", below, vector)
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
    run = Run(stop, step, True, 1.0, siemens, shortest)
    title = f"neurodecorr: network of {len(system.layers)} layers with decorrelating circuits, for {simulator}"
    return Deck(title, facts, found, tuple(cards), run, simulator)


def _rest(layer: LayerCircuit, x: Floats) -> tuple[Floats, Floats]:
    """Return x̄ and φ(W x̄ + b) at rest."""
    fed = x - layer.mean if layer.feed is None else layer.feed @ (x - layer.mean)
    xbar = fed if layer.lateral is None else np.linalg.solve(layer.lateral, fed)
    return xbar, np.asarray(layer.activation.value(layer.W @ xbar + layer.b))


def _decorrelator(layer: LayerCircuit, index: int, below: Sequence[str], siemens: float, tau: float) -> list[str]:
    """Return the circuit of x̄: transconductors from the layer below and from x̄ itself."""
    n, cards = len(layer.mean), []
    A = np.eye(n) if layer.feed is None else layer.feed
    B = np.eye(n) if layer.lateral is None else layer.lateral
    # Summed exactly, so that the text is the same on every machine.
    offset = [math.fsum(products) for products in (A * layer.mean).tolist()]
    for i in range(n):
        node = f"xbar{index}_{i}"
        cards.append(f"Cx{index}_{i} {node} 0 {spelt(tau * siemens)} IC=0")
        if offset[i]:
            cards.append(f"Ix{index}_{i} {node} 0 DC {spelt(siemens * offset[i])}")
        cards += [
            f"Ga{index}_{i}_{j} 0 {node} {below[j]} 0 {spelt(siemens * A[i, j])}" for j in np.flatnonzero(A[i]).tolist()
        ]
        cards += [
            f"Gb{index}_{i}_{j} {node} 0 xbar{index}_{j} 0 {spelt(siemens * B[i, j])}"
            for j in np.flatnonzero(B[i]).tolist()
        ]
    return cards


def _units(layer: LayerCircuit, index: int, siemens: float, tau: float, simulator: str) -> list[str]:
    """Return the units: a resistor that adds up W x̄ + b, the current φ of it, and a leaky capacitor."""
    ohms, cards = spelt(1 / siemens), []
    for i, row in enumerate(layer.W):
        h, y = f"h{index}_{i}", f"y{index}_{i}"
        cards.append(f"Rh{index}_{i} {h} 0 {ohms}")
        if layer.b[i]:
            cards.append(f"Ih{index}_{i} 0 {h} DC {spelt(siemens * layer.b[i])}")
        cards += [
            f"Gw{index}_{i}_{j} 0 {h} xbar{index}_{j} 0 {spelt(siemens * row[j])}" for j in np.flatnonzero(row).tolist()
        ]
        cards.append(f"Cy{index}_{i} {y} 0 {spelt(tau * siemens)} IC=0")
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
        return f"By{name} 0 {y} I={spelt(siemens)}*({SPELT[activation].format(v=f'v({h})')})"
    low, high = LINES[activation]
    points = f"{spelt(-FAR)},{spelt(-FAR * low * siemens)} 0,0 {spelt(FAR)},{spelt(FAR * high * siemens)}"
    return f"Gy{name} 0 {y} {h} 0 pwl({points})"
