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
from typing import Any, NamedTuple

import numpy as np

from neurodecorr._numerics.jit import jit, prange
from neurodecorr._numerics.norms import norm
from neurodecorr._typing import Array
from neurodecorr.hardware.in_situ.integers import CAPPED, MINUS, PLUS, PULSES, RAILED, RAISED, REFRESHES, UNSETTLED


class Pulses(NamedTuple):
    """Numbers of a device's response to pulses, in units of weight; see `PulsedSynapse`."""

    unit: float  # step of a pulse
    most: int  # pulses at once
    carry: bool  # what is left over stays due
    verify: bool  # what was reached is measured
    one_way: bool  # devices only grow
    slope: float  # γ
    noise: float  # σ
    upper: float  # share of its range above which the fuller device of a pair is reset
    lower: float  # and the emptier one
    spread: float  # of the reset
    additive: bool  # whether noise adds to the step


class StabilityTest(NamedTuple):
    """Settings of the stability test that a chip runs on itself; no tests if `every` is 0."""

    every: int  # samples between tests
    margin: float  # μ
    duration: float  # τ
    rail: float  # largest activity
    step: float  # of the leak


class Room(NamedTuple):
    """Work vectors of one chip, (n,)."""

    v: Array
    flow: Array
    hit: Array


class ChipState(NamedTuple):
    """One chip, or all of them along a first axis; see above.

    `sense` is the gain of the measurement of each unit's total drive, 1 if exact; `counters` are `integers.COUNTERS`;
    `state` is the generator.
    """

    pairs: Array
    factors: Array
    limits: Array
    leak: Array
    rest: Array
    sense: Array
    counters: Array
    state: Array


@jit()
def next_word(state: Array) -> Any:
    """Return the next word of the generator xorshift64*, one state per chip.

    One state per chip makes the draws independent of the number of workers.

    References
    ----------
    Vigna (2016), ACM Transactions on Mathematical Software 42(4), 30.
    """
    word = state[0]
    word ^= word >> np.uint64(12)
    word ^= word << np.uint64(25)
    word ^= word >> np.uint64(27)
    state[0] = word
    return word * np.uint64(2685821657736338717)


@jit()
def uniform(state: Array) -> float:
    """Draw a number from [0, 1) out of the upper 53 bits of a word.

    ::

        u = ⌊word/2¹¹⌋ 2⁻⁵³
    """
    return float(next_word(state) >> np.uint64(11)) * 1.1102230246251565e-16


@jit()
def normal(state: Array) -> float:
    """Draw a number from N(0, 1).

    ::

        z = √(−2 ln u) cos(2π u')

    References
    ----------
    Box & Muller (1958), Annals of Mathematical Statistics 29, 610–611.
    """
    # 1 − u lies in (0, 1], so the logarithm is finite.
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@jit()
def pulse(
    value: float,
    up: bool,
    step: float,
    top: float,
    slope: float,
    noise: float,
    state: Array,
    additive: bool = False,
) -> float:
    """Return a device's value after one pulse: a linear step between hard bounds.

    ::

        v ← clip(v ± Δ (1 ∓ γ w) (1 + σ ξ), 0, top),    w = 2 v/top − 1;    additive: Δ (1 ∓ γ w + σ ξ)

    References
    ----------
    IBM/aihwkit 1.1.0, `src/rpucuda/rpu_linearstep_device.cpp`.
    """
    along = 2.0 * value / top - 1.0
    shape = 1.0 - slope * along if up else 1.0 + slope * along
    if noise > 0.0:
        shape = shape + noise * normal(state) if additive else shape * (1.0 + noise * normal(state))
    moved = value + step * shape if up else value - step * shape
    return min(max(moved, 0.0), top)


@jit()
def pulses_due(wanted: float, most: int, carry: bool, rest: Array, i: int, j: int, state: Array) -> int:
    """Return the signed number of pulses to send, and keep the rest if the synapse can.

    ::

        k = trunc(wanted + rest),    rest ← wanted + rest − k

    Without memory the number is rounded up or down at random, so that it is right on average.
    """
    if carry:
        wanted += rest[i, j]
        due = int(min(max(wanted, -float(most)), float(most)))
        rest[i, j] = wanted - due
        return due
    size = int(min(math.floor(abs(wanted) + uniform(state)), float(most)))
    return size if wanted >= 0.0 else -size


@jit()
def send(pairs: Array, limits: Array, i: int, j: int, due: int, pulses: Pulses, state: Array) -> None:
    """Send pulses to a pair: take a step from the other device if it holds one, else add it to this one.

    ::

        to raise the weight:  v⁻ ← v⁻ − Δ if v⁻ > Δ/2,    else v⁺ ← v⁺ + Δ

    To lower it, the other way round. Devices that only grow (`one_way`) always take the second way.
    """
    grown, shrunk = (PLUS, MINUS) if due > 0 else (MINUS, PLUS)
    for _ in range(abs(due)):
        holds = limits[1, shrunk, i, j] > 0.0 and pairs[shrunk, i, j] > 0.5 * pulses.unit
        take = holds and not pulses.one_way
        side, row = (shrunk, 1) if take else (grown, 0)
        step, top = limits[row, side, i, j], limits[2, side, i, j]
        pairs[side, i, j] = pulse(
            pairs[side, i, j], not take, step, top, pulses.slope, pulses.noise, state, pulses.additive
        )


@jit()
def refresh(pairs: Array, factors: Array, limits: Array, i: int, j: int, pulses: Pulses, state: Array) -> bool:
    """Reset both devices of a pair once both are high, and write their difference again; return True if done.

    ::

        v⁺, v⁻ ← 0,    then pulses to one side until v⁺ f⁺ − v⁻ f⁻ has its old value

    The difference is that of the currents: two devices without it do not differ by what they seem to hold.
    """
    filled, other = pairs[PLUS, i, j] / limits[2, PLUS, i, j], pairs[MINUS, i, j] / limits[2, MINUS, i, j]
    working = limits[0, PLUS, i, j] > 0.0 and limits[0, MINUS, i, j] > 0.0
    if not working or max(filled, other) <= pulses.upper or min(filled, other) <= pulses.lower:
        return False
    aim = pairs[PLUS, i, j] * factors[PLUS, i, j] - pairs[MINUS, i, j] * factors[MINUS, i, j]
    for side in range(2):
        left = min(abs(pulses.spread * normal(state)), 1.0) if pulses.spread > 0.0 else 0.0
        pairs[side, i, j] = left * limits[2, side, i, j]
    # Programmed with verification: pulses until the value is reached or passed, or as many as fill a device.
    side, sign = (PLUS, 1.0) if aim > 0.0 else (MINUS, -1.0)
    step, top = limits[0, side, i, j], limits[2, side, i, j]
    for _ in range(int(8.0 * top / pulses.unit)):
        now = pairs[PLUS, i, j] * factors[PLUS, i, j] - pairs[MINUS, i, j] * factors[MINUS, i, j]
        if sign * now >= sign * aim:
            break
        pairs[side, i, j] = pulse(
            pairs[side, i, j], True, step, top, pulses.slope, pulses.noise, state, pulses.additive
        )
    return True


@jit()
def weigh(pairs: Array, factors: Array, floor: float, leak: Array, i: int, j: int) -> float:
    """Return the weight that synapse (i, j) conducts, the leak included on the diagonal.

    ::

        W_ij = (v⁺ + v₀) f⁺ − (v⁻ + v₀) f⁻ + δ_ij l_i
    """
    weight = (pairs[PLUS, i, j] + floor) * factors[PLUS, i, j] - (pairs[MINUS, i, j] + floor) * factors[MINUS, i, j]
    return float(weight + leak[i] if i == j else weight)


@jit()
def weigh_all(pairs: Array, factors: Array, floor: float, leak: Array, W: Array) -> None:
    """Write the weights that a chip conducts into W.

    ::

        W_ij ← (v⁺ + v₀) f⁺ − (v⁻ + v₀) f⁻ + δ_ij l_i
    """
    for i in range(W.shape[0]):
        for j in range(W.shape[0]):
            W[i, j] = weigh(pairs, factors, floor, leak, i, j)


# Corrections by an inverse of some samples ago; where so many do not suffice, W is inverted again.
REFINEMENTS = 12
# Residual relative to the input at which a sample counts as settled, far below the error of any device.
SETTLED = 1e-9
# Tests in a row, each followed by a raise, before a chip is given up.
ROUNDS = 400


@jit()
def invert(W: Array, M: Array, work: Array) -> None:
    """Write W⁻¹ into M by Gauss–Jordan elimination, with the largest pivot of each column.

    References
    ----------
    Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd edition, §14.4 (Gauss–Jordan elimination).
    """
    n = W.shape[0]
    # W is needed again for the residual: the elimination destroys a copy.
    work[:] = W
    M[:] = 0.0
    for k in range(n):
        M[k, k] = 1.0
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(work[i, k]) > abs(work[best, k]):
                best = i
        if best != k:
            for j in range(n):
                work[k, j], work[best, j] = work[best, j], work[k, j]
                M[k, j], M[best, j] = M[best, j], M[k, j]
        # A singular W gives a wrong M, not an exception: the refinement then fails and the sample counts as unsettled.
        scale = 1.0 / work[k, k] if work[k, k] != 0.0 else 0.0
        for j in range(n):
            work[k, j] *= scale
            M[k, j] *= scale
        for i in range(n):
            pull = work[i, k]
            if i != k and pull != 0.0:
                for j in range(n):
                    work[i, j] -= pull * work[k, j]
                    M[i, j] -= pull * M[k, j]


@jit()
def chip_product(A: Array, v: Array, out: Array) -> None:
    """Write out ← A v.

    ::

        out_i = ∑_j A_ij v_j
    """
    for i in range(A.shape[0]):
        total = 0.0
        for j in range(A.shape[1]):
            total += A[i, j] * v[j]
        out[i] = total


@jit()
def refine(W: Array, M: Array, x: Array, xbar: Array, residual: Array, error: Array) -> bool:
    """Correct x̄ by its residual until that is small; return True if it is.

    ::

        x̄ ← x̄ + M (x − W x̄)

    References
    ----------
    Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd edition, §12 (iterative refinement).
    """
    size = norm(x)  # a bound relative to the input does not depend on the unit of the data
    for _ in range(REFINEMENTS):
        chip_product(W, xbar, residual)
        for i in range(x.size):
            residual[i] = x[i] - residual[i]
        if norm(residual) <= SETTLED * size:
            return True
        chip_product(M, residual, error)
        for i in range(x.size):
            xbar[i] += error[i]
    return False


@jit()
def settle_chip(W: Array, M: Array, work: Array, x: Array, xbar: Array, residual: Array, error: Array) -> bool:
    """Settle one sample on the present weights; return True if it came to rest.

    ::

        x̄ = W⁻¹ x,    by x̄ ← x̄ + M (x − W x̄)

    M is an inverse of some samples ago; it is computed again if the refinement does not converge.
    """
    chip_product(M, x, xbar)
    if refine(W, M, x, xbar, residual, error):
        return True
    invert(W, M, work)
    chip_product(M, x, xbar)
    return refine(W, M, x, xbar, residual, error)


@jit()
def stress(W: Array, x: Array, test: StabilityTest, room: Room) -> bool:
    """Test the stability of a chip: return True if no unit reaches its rail.

    ::

        dv/dt = x − (W − μI) v,    from rest, for `test.duration` τ

    Each unit feeds μ of its activity back to itself while it is tested: what is stable then is stable with room.
    """
    v, flow, hit, bound = room.v, room.flow, room.hit, 0.0
    for i in range(W.shape[0]):
        bound = max(bound, np.sum(np.abs(W[i])))
    # The largest row sum bounds every |λ| of W (Gershgorin), and 1/|λ| is half the limit of Euler steps for real λ.
    dt = 1.0 / bound
    v[:] = 0.0
    for i in range(x.size):
        hit[i] = False
    for _ in range(int(test.duration / dt) + 1):
        chip_product(W, v, flow)
        passed = False
        for i in range(x.size):
            v[i] += dt * (x[i] - flow[i] + test.margin * v[i])
            if abs(v[i]) > test.rail:
                hit[i] = True
                passed = True
        if passed:
            return False
    return True


@jit()
def guard(
    W: Array, leak: Array, X: Array, first: int, test: StabilityTest, rounds: int, room: Room, counters: Array
) -> bool:
    """Test the chip and raise the leak of every unit that reached its rail, until none does.

    ::

        l_i ← l_i + Δl    where |v_i| reached the rail
    """
    for round in range(rounds):
        if stress(W, X[(first + round) % X.shape[0]], test, room):
            return True
        for i in range(leak.size):
            if room.hit[i]:
                leak[i] += test.step
                W[i, i] += test.step
                counters[RAISED] += 1
    counters[UNSETTLED] += 1
    return False


# Samples between two inversions of the weights; between them the settled state is refined by its residual.
BLOCK = 16


@jit()
def change_wanted(eta: float, drive: float, current: float, weight: float, xbar: float, power: float) -> float:
    """Return the change that synapse (i, j) asks for; R_ij is the value that its devices conduct.

    ::

        η (s_i − i_ij) x̄_j + η R_ij (x̄_j² − p_j)
    """
    return eta * ((drive - current) * xbar + weight * (xbar * xbar - power))


@jit()
def learn_chip(
    chip: ChipState,
    X: Array,
    rates: Array,
    power: Array,
    floor: float,
    gain: bool,
    pulses: Pulses,
    test: StabilityTest,
) -> None:
    """Learn from the rows of X one by one, in place.

    Parameters
    ----------
    chip : ChipState
        Changed in place; see above.
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
    pulses : Pulses
        How devices move.
    test : StabilityTest
        How stability is kept.
    """
    pairs, factors, limits, leak, rest = chip.pairs, chip.factors, chip.limits, chip.leak, chip.rest
    sense, counters, state = chip.sense, chip.counters, chip.state
    n, unit, most, every = leak.size, pulses.unit, float(pulses.most), test.every
    W, M, work = np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    xbar, drive, error = np.empty(n), np.empty(n), np.empty(n)
    # The stability test may use the vectors of settling: both are written anew for each sample.
    room = Room(xbar, drive, np.zeros(n, np.bool_))
    weigh_all(pairs, factors, floor, leak, W)
    for t in range(X.shape[0]):
        if every > 0 and t % every == 0:
            guard(W, leak, X, t, test, ROUNDS, room, counters)
        if t % BLOCK == 0 or (every > 0 and t % every == 0):
            invert(W, M, work)
        if not settle_chip(W, M, work, X[t], xbar, drive, error):
            counters[UNSETTLED] += 1
            continue
        chip_product(W, xbar, drive)
        for j in range(n):
            drive[j] *= sense[j]
            if abs(xbar[j]) > test.rail:
                xbar[j] = math.copysign(test.rail, xbar[j])
                counters[RAILED] += 1
        for i in range(n):
            for j in range(n):
                held = W[i, j] if gain else 0.0
                wanted = change_wanted(rates[t], drive[i], W[i, j] * xbar[j], held, xbar[j], power[j]) / unit
                if abs(wanted) > most:
                    counters[CAPPED] += 1
                    wanted = math.copysign(most, wanted)
                due = pulses_due(wanted, pulses.most, pulses.carry, rest, i, j, state)
                if due == 0:
                    continue
                counters[PULSES] += abs(due)
                send(pairs, limits, i, j, due, pulses, state)
                if pulses.one_way and refresh(pairs, factors, limits, i, j, pulses, state):
                    counters[REFRESHES] += 1
                before = W[i, j]
                W[i, j] = weigh(pairs, factors, floor, leak, i, j)
                if pulses.verify:
                    # What was reached is measured; what is missing stays due, up to what can be sent at once.
                    owed = rest[i, j] + due - (W[i, j] - before) / unit
                    rest[i, j] = min(max(owed, -most), most)
    if every > 0:
        guard(W, leak, X, 0, test, ROUNDS, room, counters)


@jit(parallel=True)
def learn_chips(
    chips: ChipState,
    X: Array,
    rates: Array,
    power: Array,
    floor: float,
    gain: bool,
    pulses: Pulses,
    test: StabilityTest,
) -> None:
    """Apply `learn_chip` to every chip, the first axis of its arrays; all see the same inputs.

    ::

        ΔR_ij = η (s_i − i_ij) x̄_j + η R_ij (x̄_j² − p_j)
    """
    for k in prange(chips.pairs.shape[0]):
        chip = ChipState(
            chips.pairs[k],
            chips.factors[k],
            chips.limits[k],
            chips.leak[k],
            chips.rest[k],
            chips.sense[k],
            chips.counters[k],
            chips.state[k],
        )
        learn_chip(chip, X, rates, power, floor, gain, pulses, test)
