"""Compiled steps of both spiking networks; one module, since they share their loops over synapses.

Weights come transposed, W[j, i] from unit j to unit i: a spike runs down one row.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from neurodecorr._compile import jit

__all__ = ["step_code", "step_lif"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@jit()
def step_code(
    W: Floats,  # (n, n) weights, transposed; changed
    state: Floats,  # (3, n) u, r, s; changed
    X: Floats,  # (frames, n) input
    span: tuple[int, int, int, int],  # first step, last step + 1, steps per frame, steps per record
    rates: tuple[float, float, float, float],  # dt, τ, λ, γ
    rule: tuple[float, float, bool, bool],  # η, time to halve it, whether to learn, whether one-signed
    record: Floats,  # (records, n) filtered spikes r; written
    spikes: Ints,  # (capacity, 3) step, unit, sign; written
) -> tuple[int, int]:
    """Run the signed spike code; return the number of spikes, and of units left beyond their threshold.

    The flow between spikes is exact: with E = e^(−λ dt), r ← E r, s ← E s and u ← u + x dt/τ + (1 − E)(r − s/(λτ)).
    """
    first, end, hold, every = span
    dt, tau, decay, gamma = rates
    eta, halving, learns, one_signed = rule
    n = len(W)
    u, r, s = state[0], state[1], state[2]
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


@jit()
def step_lif(
    W: Floats,  # (n, n) inhibitory conductances in siemens, transposed; changed
    state: Floats,  # (4, n) v, g, STDP trace, filtered spikes; changed
    waiting: Ints,  # (n,) steps left of the refractory period; changed
    current: Floats,  # (frames, n) input in amperes
    span: tuple[int, int, int, int],  # first step, last step + 1, steps per frame, steps per record
    cell: tuple[float, float, float, float, float, float, float],  # dt, τ_m, τ_inh, v_rest, v_θ, E_inh, g_leak
    rates: tuple[float, int],  # λ of the recorded filter, refractory steps
    rule: tuple[float, float, float, float, bool],  # η, α, τ_STDP, largest weight, whether to learn
    record: Floats,  # (records, n) filtered spikes in 1/s; written
    spikes: Ints,  # (capacity, 3) step, unit, 1; written
) -> int:
    """Run leaky integrate-and-fire units that inhibit each other; return the number of spikes.

    Forward Euler for v, g and the STDP trace; the recorded filter decays exactly.
    """
    first, end, hold, every = span
    dt, tau_m, tau_inh, v_rest, v_threshold, e_inh, g_leak = cell
    decay, refractory = rates
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
