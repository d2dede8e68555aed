"""The compiled engine: both networks without Brian2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._typing import Float64s, Int64s
from neurodecorr.spiking.code import LateralRule, SpikeCode
from neurodecorr.spiking.lif import InhibitoryRule, LIFNetwork
from neurodecorr.spiking.runs import SpikeRun, spikes_from
from neurodecorr.spiking.stimulus import Timing


@jit()
def step_code(
    W: Float64s,  # (n, n) weights, transposed; changed
    state: Float64s,  # (3, n) u, r, s; changed
    X: Float64s,  # (frames, n) input
    span: tuple[int, int, int, int],  # first step, last step + 1, steps per frame, steps per record
    rates: tuple[float, float, float, float],  # dt, τ, λ, γ
    rule: tuple[float, float, bool, bool],  # η, time to halve it, whether to learn, whether one-signed
    record: Float64s,  # (records, n) filtered spikes r; written
    spikes: Int64s,  # (capacity, 3) step, unit, sign; written
) -> tuple[int, int]:
    """Run the signed spike code; return the number of spikes, and of units left beyond their threshold.

    The flow between spikes is exact: with E = e^(−λ dt), r ← E r, s ← E s and u ← u + x dt/τ + (1 − E)(r − s/(λτ)).

    References
    ----------
    Boerlin, Machens & Denève (2013), PLoS Computational Biology 9, e1003258.
    """
    first, end, hold, every = span
    dt, tau, decay, gamma = rates
    eta, halving, learns, one_signed = rule
    n = len(W)
    u, r, s = state[0], state[1], state[2]
    # 1 − e^(−λ dt) by expm1: for short steps the difference would lose its digits.
    keep, lost = math.exp(-decay * dt), -math.expm1(-decay * dt)
    by_input, by_current = dt / tau, lost / (decay * tau)
    signs = np.zeros(n)
    count = overloaded = 0
    for k in range(first, end):
        x = X[min(k // hold, len(X) - 1)]
        before = count
        for i in range(n):
            u[i] += by_input * x[i] + lost * r[i] - by_current * s[i]
            r[i] *= keep
            s[i] *= keep
            signs[i] = 0.0
            if abs(u[i]) > gamma / 2:
                signs[i] = 1.0 if u[i] > 0 else -1.0
                spikes[count, 0], spikes[count, 1], spikes[count, 2] = k, i, signs[i]
                count += 1
        if learns and count > before:
            # All synapses read s and r before any of them delivers this step's charges.
            step = eta / (1.0 + k * dt / halving) * gamma
            for event in range(before, count):
                j = spikes[event, 1]
                for i in range(n):
                    if i != j:
                        W[j, i] += step * signs[j] * (s[i] - W[j, i] * r[j])
                        if one_signed and W[j, i] < 0:
                            W[j, i] = 0.0
        for event in range(before, count):
            j = spikes[event, 1]
            for i in range(n):
                s[i] += gamma * signs[j] * W[j, i]
        for event in range(before, count):
            j = spikes[event, 1]
            u[j] -= gamma * signs[j]
            r[j] += gamma * signs[j]
            overloaded += abs(u[j]) > gamma / 2
        if k % every == 0:
            record[k // every] = r
    return count, overloaded


class LIFCell(NamedTuple):
    """Constants of a unit: seconds, volts and siemens; λ of the recorded filter in 1/s; refractory steps."""

    dt: float
    tau_m: float
    tau_inh: float
    v_rest: float
    v_threshold: float
    e_inh: float
    g_leak: float
    decay: float
    refractory: int


@jit()
def step_lif(
    W: Float64s,  # (n, n) inhibitory conductances in siemens, transposed; changed
    state: Float64s,  # (4, n) v, g, STDP trace, filtered spikes; changed
    waiting: Int64s,  # (n,) steps left of the refractory period; changed
    current: Float64s,  # (frames, n) input in amperes
    span: tuple[int, int, int, int],  # first step, last step + 1, steps per frame, steps per record
    cell: LIFCell,
    rule: tuple[float, float, float, float, bool],  # η, α, τ_STDP, largest weight, whether to learn
    written: tuple[Float64s, Int64s],  # (records, n) filtered spikes in 1/s; (capacity, 3) step, unit, 1
) -> int:
    """Run leaky integrate-and-fire units that inhibit each other; return the number of spikes.

    ::

        v ← v + dt/τ_m (v_rest − v + (g/g_L)(E_inh − v) + I/g_L),    g ← g − dt/τ_inh g,    y ← y − dt/τ_STDP y

    Forward Euler for v, g and the STDP trace; the recorded filter decays exactly.

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath & Gerstner (2011), Science 334, 1569–1573.
    """
    first, end, hold, every = span
    dt, tau_m, tau_inh, v_rest, v_threshold, e_inh, g_leak, decay, refractory = cell
    record, spikes = written
    eta, alpha, tau_stdp, w_max, learns = rule
    n = len(W)
    v, g, trace, rate = state[0], state[1], state[2], state[3]
    keep = math.exp(-decay * dt)
    count = 0
    for k in range(first, end):
        supply = current[min(k // hold, len(current) - 1)]
        before = count
        for i in range(n):
            if waiting[i] > 0:
                waiting[i] -= 1
            if waiting[i] == 0:
                v[i] += dt / tau_m * (v_rest - v[i] + g[i] / g_leak * (e_inh - v[i]) + supply[i] / g_leak)
            g[i] -= dt / tau_inh * g[i]
            trace[i] -= dt / tau_stdp * trace[i]
            rate[i] *= keep
            if waiting[i] == 0 and v[i] > v_threshold:
                spikes[count, 0], spikes[count, 1], spikes[count, 2] = k, i, 1
                count += 1
        if learns and count > before:
            for event in range(before, count):
                i = spikes[event, 1]
                for j in range(n):
                    if j != i:
                        W[j, i] = min(W[j, i] + eta * trace[j], w_max)
            for event in range(before, count):
                j = spikes[event, 1]
                for i in range(n):
                    if i != j:
                        W[j, i] = min(max(W[j, i] + eta * (trace[i] - alpha), 0.0), w_max)
        for event in range(before, count):
            j = spikes[event, 1]
            for i in range(n):
                g[i] += W[j, i]
        for event in range(before, count):
            j = spikes[event, 1]
            v[j] = v_rest
            trace[j] += 1.0
            rate[j] += decay
            waiting[j] = refractory
        if k % every == 0:
            record[k // every] = rate
    return count


# Room for this many spikes is made at a time; a unit spikes at most once a step.
ROOM = 2**20


def compiled_code(code: SpikeCode, X: Float64s, plan: Timing, rule: LateralRule | None) -> SpikeRun:
    """Run a spike code with the compiled kernel.

    References
    ----------
    Boerlin, Machens & Denève (2013), PLoS Computational Biology 9, e1003258.
    """
    W, state = code.R.T.copy(), np.zeros((3, code.units))
    record = np.empty((plan.records, code.units))
    rates = (plan.dt_s, code.tau_s, code.decay_hz, code.gamma)
    learning = (0.0, 1.0, False, False) if rule is None else (rule.rate, rule.halving_s, True, rule.one_signed)
    overloaded = 0

    def run(first: int, end: int, room: Int64s) -> int:
        nonlocal overloaded
        span = (first, end, plan.hold, plan.every)
        spikes, beyond = step_code(W, state, X, span, rates, learning, record, room)
        overloaded += beyond
        return spikes

    rows = _in_pieces(run, plan.steps, code.units)
    spikes = spikes_from(rows, plan.dt_s)
    return SpikeRun(plan.t_s, record, spikes, W.T.copy(), plan.duration_s, overloaded, "compiled")


def compiled_lif(network: LIFNetwork, X: Float64s, plan: Timing, rule: InhibitoryRule | None) -> SpikeRun:
    """Run a LIF network with the compiled kernel.

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath & Gerstner (2011), Science 334, 1569–1573.
    """
    n = network.units
    W = np.where(np.eye(n, dtype=bool), 0.0, network.weights.T)
    state, waiting = np.zeros((4, n)), np.zeros(n, np.int64)
    state[0] = network.rest_v
    record, current = np.empty((plan.records, n)), network.bias_a + network.gain_a * X
    times = (plan.dt_s, network.tau_membrane_s, network.tau_inhibition_s)
    volts = (network.rest_v, network.threshold_v, network.inhibition_v)
    refractory = max(1, round(network.refractory_s / plan.dt_s))
    cell = LIFCell(*times, *volts, network.leak_siemens, network.decay_hz, refractory)
    learning = (0.0, 0.0, 1.0, 0.0, False)
    if rule is not None:
        learning = (rule.rate_siemens, rule.alpha, rule.tau_stdp_s, rule.most_siemens, True)

    def run(first: int, end: int, room: Int64s) -> int:
        span = (first, end, plan.hold, plan.every)
        return step_lif(W, state, waiting, current, span, cell, learning, (record, room))

    rows = _in_pieces(run, plan.steps, n)
    return SpikeRun(plan.t_s, record, spikes_from(rows, plan.dt_s), W.T.copy(), plan.duration_s, 0, "compiled")


def _in_pieces(run: Callable[[int, int, Int64s], int], steps: int, units: int) -> Int64s:
    """Run all steps, as many at a time as the room for their spikes allows; return rows of step, unit, sign."""
    piece = max(1, min(steps, ROOM // units))
    room, rows = np.empty((piece * units, 3), np.int64), [np.empty((0, 3), np.int64)]
    for first in range(0, steps, piece):
        rows.append(room[: run(first, min(first + piece, steps), room)].copy())
    return np.concatenate(rows)
