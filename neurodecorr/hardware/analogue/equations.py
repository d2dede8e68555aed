"""Kirchhoff's laws of the two circuits, wires included, as linear systems that the integrators of the core can run.

All conductances are in units of the unit conductance G₀, all voltages in volts, time in units of τ = C/G₀. For each
unit i: o_i is the output of its amplifier, w_i that of the inverter that makes −o_i, e_i the inverting input of the
amplifier ("virtual ground"), q_i = o_i − e_i the voltage on the capacitor, x_i the input. P and N are the positive and
the negative conductances, t_i = 1 + ∑_j (P_ij + N_ij) all that hangs on node i, r = ωτ the speed of the amplifiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import scipy.linalg

from neurodecorr._numerics.norms import EPS
from neurodecorr._numerics.simd import read_only
from neurodecorr._typing import Floats
from neurodecorr._validation import choice, positive, shown, square
from neurodecorr.circuit.model import LinearCircuit
from neurodecorr.circuit.spectrum import Sigma, Spectrum
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.devices import Devices
from neurodecorr.hardware.devices.conductance_range import in_siemens
from neurodecorr.hardware.devices.wires import effective_conductances


@dataclass(frozen=True, eq=False)
class ResistorNetwork:
    """Conductances and offsets of the circuit, in units of G₀ and without a time unit.

    Parameters
    ----------
    P, N : (n, n) array
        Positive and negative conductances, in units of G₀.
    offsets, inverter_offsets : (n,) array
        Input offsets of the amplifiers, in volts.
    amplifier : Amplifier
        What all amplifiers have in common.
    speed : float
        Rate of the amplifiers r = ωτ, in units of 1/τ.
    rates : (n,) array
        Relative rates κ of the capacitors, C/κ_i each.
    """

    P: Floats
    N: Floats
    offsets: Floats
    inverter_offsets: Floats
    amplifier: Amplifier
    speed: float
    rates: Floats

    def __post_init__(self) -> None:
        _lock(self, "P", "N", "offsets", "inverter_offsets", "rates")

    def __repr__(self) -> str:
        return f"ResistorNetwork(n={len(self.P)}, speed={self.speed:g}, {self.amplifier})"

    @cached_property
    def load(self) -> Floats:
        """All that hangs on each summing node, t_i = 1 + ∑_j (P_ij + N_ij), (n,)."""
        return read_only(1 + self.P.sum(axis=1) + self.N.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Loop(LinearCircuit):
    """A linear circuit in volts with a constant drive.

    ::

        dz/ds = κ ∘ (B x + c − A z),    s = t/τ,    o = z[:n]

    Parameters
    ----------
    A : (N, N) array
        Matrix of the state.
    kappa : (N,) array
        Relative rates.
    B : (N, n) array
        Where the inputs go.
    c : (N,) array
        What offsets add to the drive, in volts.
    start : (N, n) array
        The state that has a given output, but for a constant.
    start_c : (N,) array
        That constant, in volts.
    R : (n, n) array
        The weights that it stands for.
    tau : float
        Time constant in seconds.

    References
    ----------
    Sun, Pedretti, Ambrosi, Bricalli, Wang & Ielmini (2019), PNAS 116, 4123–4128.
    """

    A: Floats
    kappa: Floats
    B: Floats
    c: Floats
    start: Floats
    start_c: Floats
    R: Floats
    tau: float

    def __post_init__(self) -> None:
        _lock(self, "A", "kappa", "B", "c", "start", "start_c", "R")

    def __repr__(self) -> str:
        return f"Loop(n={len(self.R)}, states={len(self.A)}, tau={self.tau:g})"

    @property
    def matrix(self) -> Floats:
        """Matrix A of the state."""
        return self.A

    @property
    def rates(self) -> Floats:
        """Relative rates κ."""
        return self.kappa

    @cached_property
    def spectrum(self) -> Spectrum:
        """Spectral facts of diag(κ) A, and the singular values of A."""
        sigma = scipy.linalg.svdvals(self.A)
        least, largest = float(sigma[-1]), float(sigma[0])
        return Spectrum(self.kappa[:, None] * self.A, Sigma(least, largest, least - len(self.A) * EPS * largest))

    def drive(self, X: Floats) -> Floats:
        """Return the drive of the whole state for inputs in volts, (samples, n) → (samples, N)."""
        return np.asarray(X @ self.B.T + self.c)

    def state(self, xbar: Floats) -> Floats:
        """Return a state with these outputs, (samples, n) → (samples, N)."""
        return np.asarray(xbar @ self.start.T + self.start_c)

    def unit(self, index: int) -> str:
        """Return the name of one entry of the state."""
        kinds = (
            ("amplifier", "inverter") if self.state_size == 2 * self.size else ("amplifier", "capacitor", "inverter")
        )
        return f"{kinds[index // self.size]} {index % self.size}"


def _lock(system: Any, *names: str) -> None:
    """Let nobody write the arrays of a system that is kept."""
    for name in names:
        object.__setattr__(system, name, read_only(getattr(system, name)))


def rest_system(network: ResistorNetwork, closed: bool) -> tuple[Floats, Floats, Floats]:
    """Return A, b and B of the outputs at rest, A o = B x + b.

    ::

        closed:  (P − hN + diag(t)/A₀) o = x + t ∘ v − 2h N v'
        open:    (1 + t/A₀) ∘ o = (P − hN) x + t ∘ v − 2h N v',    h = 1/(1 + 2/A₀)

    with the offsets v of the amplifiers and v' of the inverters. An inverter gives w = h(2v' − u) for its input u. The
    closed loop inverts its outputs; the open loop inverts its inputs.

    Parameters
    ----------
    network : ResistorNetwork
        The circuit.
    closed : bool
        Whether the devices hold R inside the loop, or M in front of it.

    Returns
    -------
    A : (n, n) array
    b : (n,) array
        In volts.
    B : (n, n) array

    References
    ----------
    Sun et al., PNAS 116(10):4123 (2019), for the closed loop with ideal amplifiers.
    """
    amplifier, n = network.amplifier, len(network.P)
    h = amplifier.inversion
    weights, leak = network.P - h * network.N, network.load * amplifier.leak
    b = network.load * network.offsets - 2 * h * network.N @ network.inverter_offsets
    if closed:
        return weights + np.diag(leak), b, np.eye(n)
    return np.diag(1 + leak), b, weights


def closed_loop(network: ResistorNetwork, tau_s: float) -> Loop:
    """Return the closed loop with its amplifiers as a linear system.

    ::

        dq/ds = κ ∘ (x + t ∘ (o − q) − P o − N w)
        do/ds = r (v − (o − q) − o/A₀)
        dw/ds = r (v' − (o + w)/2 − w/A₀)

    The first line is Kirchhoff's current law at the summing node, the others are the amplifiers. With an infinite
    bandwidth o and w follow at once, and (1 + 1/A₀) do/ds = κ ∘ (x + b − A o) is left, with A and b of `rest_system`.

    Parameters
    ----------
    network : ResistorNetwork
        The circuit.
    tau_s : float
        τ = C/G₀ in seconds.

    Returns
    -------
    Loop
        State (o), or (o, q, w) if the bandwidth is finite.

    References
    ----------
    Sun, Pedretti, Ambrosi, Bricalli, Wang & Ielmini (2019), PNAS 116, 4123–4128.
    """
    R, n, leak = network.P - network.N, len(network.P), network.amplifier.leak
    unit, zero = np.eye(n), np.zeros((n, n))
    if np.isinf(network.speed):
        A, b, B = rest_system(network, closed=True)
        slow = 1 + leak
        return Loop(A / slow, network.rates, B / slow, b / slow, unit, np.zeros(n), R, tau_s)
    load = np.diag(network.load)
    A = np.block([
        [(1 + leak) * unit, -unit, zero],
        [network.P - load, load, network.N],
        [unit / 2, zero, (0.5 + leak) * unit],
    ])  # fmt: skip
    follow = np.full(n, network.speed)
    kappa = np.concatenate([follow, network.rates, follow])
    c = np.concatenate([network.offsets, np.zeros(n), network.inverter_offsets])
    h = network.amplifier.inversion
    # Amplifiers that follow: q = (1 + 1/A₀) o − v, w = h(2v' − o).
    start = np.vstack([unit, (1 + leak) * unit, -h * unit])
    start_c = np.concatenate([np.zeros(n), -network.offsets, 2 * h * network.inverter_offsets])
    return Loop(A, kappa, np.vstack([zero, unit, zero]), c, start, start_c, R, tau_s)


def open_loop(network: ResistorNetwork, tau_s: float) -> Loop:
    """Return the open loop with its amplifiers as a linear system; their bandwidth must be finite.

    ::

        do/ds = r (v − e − o/A₀),    t ∘ e = o − P x + N w
        dw/ds = r (v' − (w − x)/2 − w/A₀),    s the time in units of τ

    x is the input that is inverted twice; t_i = 1 + ∑_j (P_ij + N_ij) is the load of a summing node.

    Parameters
    ----------
    network : ResistorNetwork
        The circuit.
    tau_s : float
        The unit of time in seconds.

    Returns
    -------
    Loop
        State (o, w).
    """
    n, leak = len(network.P), network.amplifier.leak
    unit, zero, per_load = np.eye(n), np.zeros((n, n)), np.diag(1 / network.load)
    A = np.block([[per_load + leak * unit, per_load @ network.N], [zero, (0.5 + leak) * unit]])
    B = np.vstack([per_load @ network.P, unit / 2])
    c = np.concatenate([network.offsets, network.inverter_offsets])
    h = network.amplifier.inversion
    start, start_c = np.vstack([unit, zero]), np.concatenate([np.zeros(n), 2 * h * network.inverter_offsets])
    return Loop(A, np.full(2 * n, network.speed), B, c, start, start_c, network.P - network.N, tau_s)


def margin_required(R: Floats) -> float:
    """Return min Re λ(R), or raise `StabilityError` where it is not above 0.

    ::

        margin = min Re λ(R) > 0
    """
    slowest = float(margin(R))
    if not slowest > 0:
        raise StabilityError(f"R must be stable, min Re λ > 0, to be built as a closed loop; got {slowest:.3g} per τ.")
    return slowest


def require_settling(loop: Loop) -> None:
    """Raise `StabilityError` unless every mode of the loop, its amplifiers included, decays.

    ::

        min Re λ(diag(κ) A) > 0,    dz/ds = κ ∘ (B x + c − A z)
    """
    margin = loop.spectrum.margin
    if not margin > 0:
        raise StabilityError(
            f"the closed loop must be stable, min Re λ > 0 with its amplifiers; got {margin:.3g} per τ. Use a stable "
            "R, faster amplifiers (bandwidth_hz), or a longer tau_s."
        )


Form = Literal["closed", "open"]
FORMS: tuple[Form, ...] = ("closed", "open")
# The square of a voltage enters energies and errors: up to this size it stays a normal number, in both directions.
MOST_VOLTS = 1e30


def checked_form(form: Any) -> Form:
    """Return `form` if it is "closed" or "open", or raise `ConfigError`."""
    choice(form, "form", FORMS)
    return form  # type: ignore[no-any-return]


def unit_volts(value: Any) -> float:
    """Return volts per unit if its square is a finite number, or raise `ConfigError`."""
    volts = positive(value, "volts_per_unit", "volts")
    if not 1 / MOST_VOLTS <= volts <= MOST_VOLTS:
        raise ConfigError(f"volts_per_unit must lie between {1 / MOST_VOLTS:g} and {MOST_VOLTS:g} V; got {volts:g}.")
    return volts


def wire_parts(devices: Any, amplifier: Any) -> tuple[Devices, Amplifier]:
    """Return devices and amplifier, ideal ones for None.

    Raises
    ------
    ConfigError
        If they are anything else.
    """
    made = Devices() if devices is None else devices
    if not isinstance(made, Devices):
        raise ConfigError(f"devices must be Devices, such as preset('pcm'), or None; got {type(made).__name__}.")
    one = Amplifier() if amplifier is None else amplifier
    if not isinstance(one, Amplifier):
        raise ConfigError(f"amplifier must be an Amplifier, such as Amplifier(gain=1e4), or None; got {shown(one)}.")
    return made, one


def wired(plus: Floats, minus: Floats, wire_resistance_ohm: float) -> tuple[Floats, Floats]:
    """Return the (n, n) conductances that act between columns and rows: wires included, a reference for every row.

    The current of a shared reference line comes to every row through a mirror, which loads it as own devices would.

    Parameters
    ----------
    plus : (n, n) array
        G⁺ in siemens.
    minus : (n, n) or (1, n) array
        G⁻ in siemens, or the reference line that all rows share.
    wire_resistance_ohm : float
        Resistance of the wire between neighbouring devices.

    Returns
    -------
    plus, minus : (n, n) array
        In siemens.
    """
    if wire_resistance_ohm > 0:
        if minus.shape == plus.shape:
            plus, minus = (effective_conductances(G, wire_resistance_ohm) for G in (plus, minus))
        else:
            lines = effective_conductances(np.concatenate([plus, minus]), wire_resistance_ohm)
            plus, minus = lines[:-1], lines[-1:]
    return plus, np.array(np.broadcast_to(minus, plus.shape))


def array_conductances(plus: Any, minus: Any, sides: str) -> tuple[Floats, Floats]:
    """Return G⁺ and G⁻ if a square array of devices can have them, in siemens.

    Raises
    ------
    InputError
        If they are no square matrices of one size, hold conductances below 0 or above 1 S, or, with one side, rows of
        G⁻ that differ.
    """
    plus, minus = square(plus, "plus"), square(minus, "minus")
    if plus.shape != minus.shape:
        raise InputError(f"plus and minus must have one shape; got {plus.shape} and {minus.shape}.")
    for name, G in (("plus", plus), ("minus", minus)):
        if (G < 0).any():
            raise InputError(
                f"{name} must hold conductances ≥ 0 S; got {G.min():g} S. Weights of both signs take a pair."
            )
        in_siemens(G.max(), name)
    if sides == "one" and (minus != minus[0]).any():
        row = int(np.argwhere((minus != minus[0]).any(axis=1))[0, 0])
        raise InputError(
            f"minus must have the same line in every row where sides is 'one'; row {row} differs from row 0."
        )
    return plus, minus
