"""The compiled engine: both networks without Brian2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from neurodecorr.spiking.code import LateralRule, SpikeCode
from neurodecorr.spiking.kernels import step_code, step_lif
from neurodecorr.spiking.lif import InhibitoryRule, LIFNetwork
from neurodecorr.spiking.runs import SpikeRun, spikes_from
from neurodecorr.spiking.schedule import Schedule

__all__ = ["compiled_code", "compiled_lif"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Room for this many spikes is made at a time; a unit spikes at most once a step.
ROOM = 2**20


def compiled_code(code: SpikeCode, X: Floats, plan: Schedule, rule: LateralRule | None) -> SpikeRun:
    """Run a spike code with the compiled kernel."""
    W, state = code.R.T.copy(), np.zeros((3, code.units))
    record = np.empty((plan.records, code.units))
    rates = (plan.dt_s, code.tau_s, code.decay_hz, code.gamma)
    learning = (0.0, 1.0, False, False) if rule is None else (rule.rate, rule.halving_s, True, rule.one_signed)
    overloaded = 0

    def run(first: int, end: int, room: Ints) -> int:
        nonlocal overloaded
        span = (first, end, plan.hold, plan.every)
        spikes, beyond = step_code(W, state, X, span, rates, learning, record, room)
        overloaded += beyond
        return spikes

    rows = _in_pieces(run, plan.steps, code.units)
    spikes = spikes_from(rows, plan.dt_s)
    return SpikeRun(plan.t_s, record, spikes, W.T.copy(), plan.duration_s, overloaded, "compiled")


def compiled_lif(network: LIFNetwork, X: Floats, plan: Schedule, rule: InhibitoryRule | None) -> SpikeRun:
    """Run a LIF network with the compiled kernel."""
    n = network.units
    W = np.where(np.eye(n, dtype=bool), 0.0, network.weights.T)
    state, waiting = np.zeros((4, n)), np.zeros(n, np.int64)
    state[0] = network.rest_v
    record, current = np.empty((plan.records, n)), network.bias_a + network.gain_a * X
    times = (plan.dt_s, network.tau_membrane_s, network.tau_inhibition_s)
    volts = (network.rest_v, network.threshold_v, network.inhibition_v)
    cell = (*times, *volts, network.leak_siemens)
    rates = (network.decay_hz, max(1, round(network.refractory_s / plan.dt_s)))
    learning = (0.0, 0.0, 1.0, 0.0, False)
    if rule is not None:
        learning = (rule.rate_siemens, rule.alpha, rule.tau_stdp_s, rule.most_siemens, True)

    def run(first: int, end: int, room: Ints) -> int:
        span = (first, end, plan.hold, plan.every)
        return step_lif(W, state, waiting, current, span, cell, rates, learning, record, room)

    rows = _in_pieces(run, plan.steps, n)
    return SpikeRun(plan.t_s, record, spikes_from(rows, plan.dt_s), W.T.copy(), plan.duration_s, 0, "compiled")


def _in_pieces(run: Callable[[int, int, Ints], int], steps: int, units: int) -> Ints:
    """Run all steps, as many at a time as the room for their spikes allows; return rows of step, unit, sign."""
    piece = max(1, min(steps, ROOM // units))
    room, rows = np.empty((piece * units, 3), np.int64), [np.empty((0, 3), np.int64)]
    for first in range(0, steps, piece):
        rows.append(room[: run(first, min(first + piece, steps), room)].copy())
    return np.concatenate(rows)
