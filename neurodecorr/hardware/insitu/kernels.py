"""Compiled learning on chips: pulses on pairs of devices, settled states through the devices as they are.

A synapse (i, j) is a pair of devices. Everything is measured in units of weight: a conductance G is (G − g_min)/s.

===============  ====================================================================================
`pairs`          (2, n, n) what the devices hold above their smallest conductance, G⁺ and G⁻
`factors`        (2, n, n) what each device makes of it for good: mismatch, drift
`limits`         (3, 2, n, n) step up, step down, largest value of each device; a stuck one has steps 0
`leak`           (n,) conductance that each unit has added to itself
`rest`           (n, n) pulses that a synapse still owes
===============  ====================================================================================
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurodecorr._compile import jit, prange
from neurodecorr.hardware.insitu.codes import CAPPED, PULSES, RAILED, REFRESHES, UNSETTLED
from neurodecorr.hardware.insitu.pulses import pulses_due, refresh, send, weigh, weigh_all
from neurodecorr.hardware.insitu.settling import ROUNDS, guard, invert, product, settle

Array = np.ndarray[Any, np.dtype[Any]]

# Samples between two inversions of the weights; between them the settled state is refined by its residual.
BLOCK = 16


@jit()
def change_wanted(eta: float, drive: float, current: float, weight: float, xbar: float, power: float) -> float:
    """η (s_i − i_ij) x̄_j + η R_ij (x̄_j² − p_j): what synapse (i, j) wants, R_ij being what its devices conduct."""
    return eta * ((drive - current) * xbar + weight * (xbar * xbar - power))


@jit()
def learn_chip(
    pairs: Array,
    factors: Array,
    limits: Array,
    leak: Array,
    rest: Array,
    sense: Array,
    counters: Array,
    state: Array,
    X: Array,
    rates: Array,
    power: Array,
    floor: float,
    gain: bool,
    synapse: Array,
    watch: Array,
) -> None:
    """Learn from the rows of X one by one, in place.

    Parameters
    ----------
    pairs, factors, limits, leak, rest : arrays
        The chip; see above.
    sense : (n,) array
        Gain of the measurement of each unit's total drive; 1 if exact.
    counters : (6,) int64 array
        See `codes.COUNTERS`.
    state : (1,) uint64 array
        Generator.
    X : (samples, n) array
        Inputs.
    rates : (samples,) array
        η of each sample.
    power : (n,) array
        p_j that each unit's activity is held to.
    floor : float
        Smallest conductance, in units of weight.
    gain : bool
        Whether the term with p_j is there.
    synapse : (10,) array
        Pulse in units of weight, most pulses, code of `PROGRAMMING`, one-way, slope γ, noise σ, refresh above and
        below, spread of the reset, whether noise is additive.
    watch : (5,) array
        Samples between tests, margin μ, duration in τ, rail, step of the leak. No tests if the first is 0.
    """
    n = leak.size
    unit, most, carry, one_way = synapse[0], int(synapse[1]), synapse[2] > 0.0, synapse[3] > 0.0
    verify, additive = synapse[2] > 1.0, synapse[9] > 0.0
    slope, noise, upper, lower, spread = synapse[4], synapse[5], synapse[6], synapse[7], synapse[8]
    every, margin, duration, rail, step = int(watch[0]), watch[1], watch[2], watch[3], watch[4]
    W, M, work = np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    xbar, drive, error, hit = np.empty(n), np.empty(n), np.empty(n), np.zeros(n, np.bool_)
    weigh_all(pairs, factors, floor, leak, W)
    for t in range(X.shape[0]):
        if every > 0 and t % every == 0:
            guard(W, leak, X, t, margin, duration, rail, step, ROUNDS, xbar, drive, hit, counters)
        if t % BLOCK == 0 or (every > 0 and t % every == 0):
            invert(W, M, work)
        if not settle(W, M, work, X[t], xbar, drive, error):
            counters[UNSETTLED] += 1
            continue
        product(W, xbar, drive)
        for j in range(n):
            drive[j] *= sense[j]
            if abs(xbar[j]) > rail:
                xbar[j] = math.copysign(rail, xbar[j])
                counters[RAILED] += 1
        for i in range(n):
            for j in range(n):
                held = W[i, j] if gain else 0.0
                wanted = change_wanted(rates[t], drive[i], W[i, j] * xbar[j], held, xbar[j], power[j]) / unit
                if abs(wanted) > most:
                    counters[CAPPED] += 1
                    wanted = math.copysign(float(most), wanted)
                due = pulses_due(wanted, most, carry, rest, i, j, state)
                if due == 0:
                    continue
                counters[PULSES] += abs(due)
                send(pairs, limits, i, j, due, unit, one_way, slope, noise, state, additive)
                if one_way and refresh(
                    pairs, factors, limits, i, j, unit, upper, lower, slope, noise, spread, state, additive
                ):
                    counters[REFRESHES] += 1
                before = W[i, j]
                W[i, j] = weigh(pairs, factors, floor, leak, i, j)
                if verify:
                    # What was reached is measured; what is missing stays due, up to what can be sent at once.
                    owed = rest[i, j] + due - (W[i, j] - before) / unit
                    rest[i, j] = min(max(owed, -float(most)), float(most))
    if every > 0:
        guard(W, leak, X, 0, margin, duration, rail, step, ROUNDS, xbar, drive, hit, counters)


@jit(parallel=True)
def learn_chips(
    pairs: Array,
    factors: Array,
    limits: Array,
    leak: Array,
    rest: Array,
    sense: Array,
    counters: Array,
    state: Array,
    X: Array,
    rates: Array,
    power: Array,
    floor: float,
    gain: bool,
    synapse: Array,
    watch: Array,
) -> None:
    """`learn_chip` on every chip, the first axis of its arrays; all see the same inputs."""
    for chip in prange(pairs.shape[0]):
        learn_chip(
            pairs[chip],
            factors[chip],
            limits[chip],
            leak[chip],
            rest[chip],
            sense[chip],
            counters[chip],
            state[chip],
            X,
            rates,
            power,
            floor,
            gain,
            synapse,
            watch,
        )
