"""Amplifiers that saturate: between the rails the circuit is linear, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.integrate

from neurodecorr._typing import Floats
from neurodecorr.circuit import PiecewiseConstant
from neurodecorr.errors import DivergenceError
from neurodecorr.hardware.analogue.equations import ResistorNetwork

# Integration towards rest: tolerances relative to the swing, and stages of doubled length.
RTOL, ATOL, CHECK = 1e-8, 1e-10, 1e-7
FIRST, STAGES = 20.0, 14
# Beyond its rail the inside of an amplifier is held by a spring this much stiffer than its own pull: it comes back at
# once when its input calls it, and the slope stays continuous.
STIFF = 100.0


def outputs(network: ResistorNetwork, q: Floats) -> tuple[Floats, Floats]:
    """Return the outputs of amplifiers and inverters from the voltages of the capacitors.

    ::

        o = clip((v + q)/(1 + 1/A₀), ±V),    w = clip(h(2v' − o), ±V)

    Parameters
    ----------
    network : ResistorNetwork
        The circuit, of amplifiers that follow at once.
    q : (..., n) array
        Capacitors, in volts.

    Returns
    -------
    o, w : (..., n) array
        In volts.
    """
    amplifier, swing = network.amplifier, network.amplifier.swing_v
    o = np.clip((network.offsets + q) / (1 + amplifier.leak), -swing, swing)
    return o, inverters(network, o)


def inverters(network: ResistorNetwork, u: Floats) -> Floats:
    """Return what the inverters make of voltages u, w = clip(h(2v' − u), ±V).

    Parameters
    ----------
    network : ResistorNetwork
        The circuit.
    u : (..., n) array
        In volts.

    Returns
    -------
    (..., n) array
        In volts.
    """
    amplifier = network.amplifier
    return np.clip(amplifier.inversion * (2 * network.inverter_offsets - u), -amplifier.swing_v, amplifier.swing_v)


def summing_nodes(network: ResistorNetwork, o: Floats, x: Floats, closed: bool) -> Floats:
    """Return the voltages e of the summing nodes at rest, by Kirchhoff's current law, which holds at a rail too.

    ::

        closed:  t ∘ e = P o + N w − x,    open:  t ∘ e = o − P x + N w

    Parameters
    ----------
    network : ResistorNetwork
        The circuit.
    o, x : (samples, n) array
        Outputs and inputs in volts.
    closed : bool
        Which of the circuits.

    Returns
    -------
    (samples, n) array
        In volts.
    """
    if closed:
        return np.asarray((o @ network.P.T + inverters(network, o) @ network.N.T - x) / network.load)
    return np.asarray((o - x @ network.P.T + inverters(network, -x) @ network.N.T) / network.load)


def rest_at_rails(network: ResistorNetwork, x: Floats) -> Floats:
    """Return the rest point of one input whose amplifiers may saturate: integrate, then solve for it.

    ::

        dq/ds = κ ∘ (x + t ∘ (o − q) − P o − N w)

    Which amplifiers sit at a rail is read off the end of the integration; given that, the equations are linear.

    Parameters
    ----------
    network : ResistorNetwork
        The closed loop.
    x : (n,) array
        Input in volts.

    Returns
    -------
    (n,) array
        Voltages q of the capacitors at rest.

    Raises
    ------
    DivergenceError
        If no rest is reached: at the rails the circuit oscillates, or creeps.
    """
    q: Floats = np.zeros(len(x))
    span = FIRST
    for _ in range(STAGES):
        q = _advance(network, x, q, span)
        solved = _solve(network, x, q)
        scale = np.abs(solved).max() + network.amplifier.swing_v
        # At rest, and near where the integration ended: another set of amplifiers at rails may also have a solution.
        if np.abs(_slope(network, x, solved)).max() <= CHECK * scale and np.abs(solved - q).max() <= 1e-3 * scale:
            return solved
        span *= 2
    raise DivergenceError(
        f"the circuit must come to rest with its outputs within ± {network.amplifier.swing_v:g} V; after "
        f"{FIRST * (2**STAGES - 1):g} τ it has not. Use smaller inputs (volts_per_unit), or a larger swing_v."
    )


def outputs_at_rails(network: ResistorNetwork, drive: Any, t: Floats, begin: Floats, tau_s: float) -> Floats:
    """Return the outputs over time of a closed loop whose amplifiers meet their rails.

    ::

        |o| ≤ V and |w| ≤ V; an amplifier stops at the rail, and leaves it when its input calls it back

    Parameters
    ----------
    network : ResistorNetwork
        The closed loop.
    drive : (n,) or (samples, n) array, PiecewiseConstant, or function of seconds
        Input in volts.
    t : (times,) array
        Seconds, increasing.
    begin : (1, n) or (samples, n) array
        Outputs at t = 0, in volts.
    tau_s : float
        τ in seconds.

    Returns
    -------
    (times, n) or (times, samples, n) array
        In volts.

    Raises
    ------
    DivergenceError
        If the integrator gives up.
    """
    rows, starts, single = _pieces(drive)
    runs = [_run(network, row, starts, t, begin[k % len(begin)], tau_s) for k, row in enumerate(rows)]
    return runs[0] if single else np.stack(runs, axis=1)


def _pieces(drive: Any) -> tuple[Any, Floats, bool]:
    """Return the drives of each sample, when the pieces begin, and whether there is one sample."""
    if callable(drive):
        return [drive], np.zeros(1), True
    if isinstance(drive, PiecewiseConstant):
        single = drive.values.ndim == 2
        return drive.values[None] if single else drive.values.transpose(1, 0, 2), drive.times, single
    return (drive[None, None], np.zeros(1), True) if drive.ndim == 1 else (drive[:, None], np.zeros(1), False)


def _run(network: ResistorNetwork, values: Any, starts: Floats, t: Floats, begin: Floats, tau: float) -> Floats:
    """Return the outputs for one input: piece after piece, each with a drive of its own."""
    found, z = np.empty((len(t), len(begin))), _start(network, begin)
    for k, first in enumerate(starts):
        final = k + 1 == len(starts)
        last = max(t[-1], first) if final else starts[k + 1]
        inside = (t >= first) & ((t <= last) if final else (t < last))
        times = np.append(t[inside], last)
        frames = _follow(network, _drive(values, k, tau), z, times / tau, first / tau)
        found[inside], z = (
            outputs(network, frames[:-1])[0] if _at_once(network) else frames[:-1, : len(begin)],
            frames[-1],
        )
    return found


def _drive(values: Any, piece: int, tau: float) -> Callable[[float], Floats]:
    """Return the input in volts as a function of time in units of τ."""
    if callable(values):
        return lambda now: np.ravel(values(now * tau))
    row = values[piece]
    return lambda now: row


def _at_once(network: ResistorNetwork) -> bool:
    return bool(np.isinf(network.speed))


def _start(network: ResistorNetwork, o: Floats) -> Floats:
    """Return the state with these outputs: capacitors, or amplifiers, capacitors and inverters."""
    q = (1 + network.amplifier.leak) * o - network.offsets
    return q if _at_once(network) else np.concatenate([o, q, outputs(network, q)[1]])


def _follow(network: ResistorNetwork, drive: Callable[[float], Floats], z: Floats, s: Floats, begin: float) -> Floats:
    """Return the states at the times s, in units of τ."""
    slope = _slope if _at_once(network) else _full_slope
    # The integrator needs increasing times; a piece may ask for its last one twice.
    later, where = np.unique(s, return_inverse=True)
    if later[-1] <= begin:
        return np.tile(z, (len(s), 1))
    found = _integrate(lambda now, state: slope(network, drive(now), state), z, begin, later, network)
    if not _at_once(network):
        swing, n = network.amplifier.swing_v, len(network.P)
        found[:, :n], found[:, 2 * n :] = (np.clip(part, -swing, swing) for part in (found[:, :n], found[:, 2 * n :]))
    return found[where]


def _charging(network: ResistorNetwork, x: Floats, q: Floats, o: Floats, w: Floats) -> Floats:
    """Return dq/ds, Kirchhoff's current law at the summing nodes."""
    return np.asarray(network.rates * (x + network.load * (o - q) - network.P @ o - network.N @ w))


def _slope(network: ResistorNetwork, x: Floats, q: Floats) -> Floats:
    return _charging(network, x, q, *outputs(network, q))


def _full_slope(network: ResistorNetwork, x: Floats, z: Floats) -> Floats:
    n, swing, leak = len(x), network.amplifier.swing_v, network.amplifier.leak
    o, w = np.clip(z[:n], -swing, swing), np.clip(z[2 * n :], -swing, swing)
    q = z[n : 2 * n]
    up = network.offsets - (o - q) - o * leak - STIFF * (z[:n] - o)
    down = network.inverter_offsets - (o + w) / 2 - w * leak - STIFF * (z[2 * n :] - w)
    return np.concatenate([network.speed * up, _charging(network, x, q, o, w), network.speed * down])


def _advance(network: ResistorNetwork, x: Floats, q: Floats, span: float) -> Floats:
    found = _integrate(lambda _, z: _slope(network, x, z), q, 0.0, np.array([span]), network)
    return np.asarray(found[-1])


def _integrate(slope: Any, z: Floats, begin: float, s: Floats, network: ResistorNetwork) -> Floats:
    # LSODA switches to an implicit method by itself: fast amplifiers make the loop stiff.
    atol = ATOL * network.amplifier.swing_v
    done = scipy.integrate.solve_ivp(slope, (begin, float(s[-1])), z, "LSODA", s, rtol=RTOL, atol=atol)
    if not done.success:
        raise DivergenceError(f"the circuit at its rails could not be integrated: {done.message}")
    return np.asarray(done.y.T)


def _solve(network: ResistorNetwork, x: Floats, q: Floats) -> Floats:
    """Return the rest point, given which amplifiers sit at a rail now."""
    amplifier, swing, n = network.amplifier, network.amplifier.swing_v, len(x)
    o, w = outputs(network, q)
    free, free_w = np.abs(o) < swing, np.abs(w) < swing
    # o = a q + a0 and w = b o + b0, with zero slopes at the rails.
    a, a0 = np.where(free, 1 / (1 + amplifier.leak), 0.0), np.where(free, network.offsets / (1 + amplifier.leak), o)
    h = amplifier.inversion
    b, b0 = np.where(free_w, -h, 0.0), np.where(free_w, 2 * h * network.inverter_offsets, w)
    P, N, t = network.P, network.N, network.load
    A = P * a + N * (b * a) + np.diag(t * (1 - a))
    rest = x + t * a0 - P @ a0 - N @ (b * a0 + b0)
    try:
        return np.asarray(np.linalg.solve(A, rest))
    except np.linalg.LinAlgError:
        return np.full(n, np.inf)
