"""What is wired to what on a chip, and whether it settles: conductances, amplifiers, and the system that they make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr._validation import finite, positive, real_array
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.circuit.stability import margin, require_stable
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.devices.pairs import Pair

SIEMENS = 1e-6  # of weight 1, by default


@dataclass(frozen=True, eq=False)
class Wiring:
    """Conductances and amplifiers, and the system that they make at rest.

    ::

        (P − hN + diag(t)/A₀) z = u + t ∘ v − 2h N v',    t_i = 1 + ∑_j (P_ij + N_ij),    h = 1/(1 + 2/A₀)

    with P = G⁺/G₀, N = G⁻/G₀, and the offsets v of integrators and v' of inverters.

    Parameters
    ----------
    plus, minus : (N, N) array
        G⁺ and G⁻, in siemens.
    siemens : float
        G₀, of weight 1.
    rates : (N,) array
        Relative rates κ of the capacitors.
    amplifier : Amplifier
        What all amplifiers have in common.
    offsets : (2, N) array
        Input offsets of integrators and inverters, in volts.
    """

    plus: Floats
    minus: Floats
    siemens: float
    rates: Floats
    amplifier: Amplifier
    offsets: Floats

    def __repr__(self) -> str:
        return f"Wiring(n={len(self.plus)}, siemens={self.siemens:g}, {self.amplifier})"

    @property
    def load(self) -> Floats:
        """All that hangs on each summing node, t, (N,)."""
        return np.asarray(1 + (self.plus + self.minus).sum(axis=1) / self.siemens)

    @property
    def matrix(self) -> Floats:
        """Matrix of the system at rest, (N, N)."""
        h, leak = self.amplifier.inversion, self.load * self.amplifier.leak
        return np.asarray((self.plus - h * self.minus) / self.siemens + np.diag(leak))

    def rest(self, drive: Floats, volts: float) -> Floats:
        """Return the state at rest under a drive, both in units of x̄; `volts` per unit."""
        own, inverters = self.offsets / volts
        shift = self.load * own - 2 * self.amplifier.inversion * (self.minus / self.siemens) @ inverters
        return np.asarray(np.linalg.solve(self.matrix, drive + shift))


def wiring(circuit: LinearCircuit, kind: str, pair: Any, amplifier: Any, offsets_v: Any, unit_siemens: Any) -> Wiring:
    """Return the wiring of a circuit, its options checked; see `write_spice`."""
    A = circuit.wide
    if kind == "ota" and (amplifier is not None or offsets_v is not None):
        raise ConfigError("amplifier and offsets_v belong to kind='crossbar'; transconductors here are ideal.")
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
    offsets = _offsets(offsets_v, len(A))
    plus: Floats
    minus: Floats
    if pair is None:
        unit = SIEMENS if unit_siemens is None else positive(unit_siemens, "unit_siemens", "siemens")
        plus, minus = unit * np.maximum(A, 0), unit * np.maximum(-A, 0)
    else:
        plus, minus, unit = _conductances(pair, A.shape, unit_siemens)
    return Wiring(plus, minus, unit, circuit.rates.astype(float), amplifier, offsets)


def _offsets(offsets_v: Any, n: int) -> Floats:
    if offsets_v is None:
        return np.zeros((2, n))
    offsets = finite(real_array(offsets_v, "offsets_v"), "offsets_v").astype(float)
    if offsets.shape not in ((n,), (2, n)):
        raise InputError(
            f"offsets_v must be ({n},), one per integrator, or (2, {n}), with those of inverters; got {offsets.shape}."
        )
    return offsets if offsets.ndim == 2 else np.stack([offsets, np.zeros(n)])


def _conductances(pair: Any, shape: tuple[int, ...], unit_siemens: Any) -> tuple[Floats, Floats, float]:
    """Return G⁺, G⁻ and G₀ of a pair; a reference that a column shares stands in every row."""
    if not isinstance(pair, Pair):
        raise InputError(f"pair must be a Pair, as from map_to_conductances; got {type(pair).__name__}.")
    plus = finite(real_array(pair.plus, "pair.plus"), "pair.plus").astype(float)
    minus = finite(real_array(pair.minus, "pair.minus"), "pair.minus").astype(float)
    if plus.shape != shape or minus.shape not in (shape, (1, shape[1])):
        raise InputError(f"pair must hold {shape} conductances, those of the circuit's matrix; got {plus.shape}.")
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
    return plus, np.broadcast_to(minus, shape), unit


def initial_outputs(initial: Any, n: int) -> Floats:
    """Return the activities of n units at the start, in units of x̄; 0 for None."""
    if initial is None:
        return np.zeros(n)
    xbar = finite(real_array(initial, "initial"), "initial").astype(float)
    if xbar.shape != (n,):
        raise InputError(f"initial must have shape ({n},), one entry per unit; got {xbar.shape}.")
    return np.asarray(xbar)


def margin_of(wires: Wiring, circuit: LinearCircuit, tau_s: float) -> float:
    """Return min Re λ of the circuit that is written, per τ.

    Raises
    ------
    StabilityError
        If it does not settle, or would not with ideal devices.
    """
    require_stable(circuit)
    slowest = margin(wires.rates[:, None] * wires.matrix) / (1 + wires.amplifier.leak)
    if not math.isinf(wires.amplifier.bandwidth_hz):
        slowest = min(slowest, _margin_with_bandwidth(wires, tau_s))
    if slowest <= 0:
        raise StabilityError(
            f"the circuit must have min Re λ > 0 to settle; with these devices and amplifiers it is {slowest:.4g} "
            f"({circuit.spectrum.margin:.4g} with ideal ones). Choose devices of less mismatch, or faster amplifiers."
        )
    return float(slowest)


def _margin_with_bandwidth(wires: Wiring, tau_s: float) -> float:
    """Return min Re λ of outputs, capacitors and inverters together.

    Currents into summing node s: C d(v − s)/dt = −(G₀(−x − s) + Σ G⁺(v − s) + Σ G⁻(w − s)), amplifiers of one pole.
    """
    n, leak, speed = len(wires.plus), wires.amplifier.leak, wires.amplifier.rate * tau_s
    P, N = wires.plus / wires.siemens, wires.minus / wires.siemens
    load, unit, kappa = np.diag(wires.load), np.eye(n), np.diag(wires.rates)
    flow = np.block([
        [speed * (1 + leak) * unit, -speed * unit, np.zeros((n, n))],
        [kappa @ (P - load), kappa @ load, kappa @ N],
        [speed * unit / 2, np.zeros((n, n)), speed * (0.5 + leak) * unit],
    ])  # fmt: skip
    return float(margin(flow))
