"""The signed spike code in Brian2's equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.spiking.brian.rate import connect, timed
from neurodecorr.spiking.brian.session import session
from neurodecorr.spiking.code import LateralRule, SpikeCode
from neurodecorr.spiking.runs import SpikeRun, spikes_from
from neurodecorr.spiking.schedule import Schedule

__all__ = ["brian_code"]

# In continuous time leak is λ and lag is 1. With leak = (1 − e^(−λ dt))/dt and lag = leak/λ, and an input that stands
# still during a step, Euler's step is the exact flow. Brian2's own "exact" refuses the singular matrix of this system.
EQUATIONS = """
du/dt = (x(t, i) - lag*s)/tau + leak*r : 1
dr/dt = -leak*r : 1
ds/dt = -leak*s : 1
"""
THRESHOLD = "abs(u) > gamma/2"
RESET = """
r += gamma*sign(u)
u -= gamma*sign(u)
"""
LEARN = "w += int(i != j)*rate/(1 + t/halving)*gamma*sign(u_pre)*(s_post - w*r_pre)"
ONE_SIGNED = "\nw = clip(w, 0, inf)"
KICK = "s_post += gamma*w*sign(u_pre)"


def brian_code(
    code: SpikeCode, X: npt.NDArray[np.float64], plan: Schedule, rule: LateralRule | None, target: str
) -> SpikeRun:
    """Run a spike code in Brian2; all synapses read before any of them delivers a step's charges."""
    with session(target) as brian2:
        network = _network(brian2, code, X, plan, rule)
        network.run(plan.duration_s * brian2.second, namespace={})
        record, spikes = network["record"], network["spikes"]
        step = np.rint(np.array(spikes.t / brian2.second) / plan.dt_s)
        rows = np.column_stack([step, np.array(spikes.i), np.sign(np.array(spikes.u))])
        weights = np.array(network["lateral"].w).reshape(code.units, code.units).T.copy()
        engine = f"brian2 {brian2.__version__}, {target}"
        activity = np.array(record.r.T)
        overloaded = int(np.sum(np.abs(spikes.u) > 1.5 * code.gamma))
    return SpikeRun(plan.t_s, activity, spikes_from(rows, plan.dt_s), weights, plan.duration_s, overloaded, engine)


def _network(brian2: Any, code: SpikeCode, X: npt.NDArray[np.float64], plan: Schedule, rule: LateralRule | None) -> Any:
    dt = plan.dt_s * brian2.second
    leak = -np.expm1(-code.decay_hz * plan.dt_s) / plan.dt_s
    constants = {
        "tau": code.tau_s * brian2.second,
        "leak": leak * brian2.hertz,
        "lag": leak / code.decay_hz,
        "gamma": code.gamma,
    }
    units = brian2.NeuronGroup(
        code.units,
        EQUATIONS,
        method="euler",
        threshold=THRESHOLD,
        reset=RESET,
        dt=dt,
        namespace={**constants, "x": timed(brian2, X, plan)},
        name="units",
    )
    on_pre = {"kick": KICK}
    if rule is not None:
        on_pre["learn"] = LEARN + (ONE_SIGNED if rule.one_signed else "")
        constants |= {"rate": rule.rate, "halving": rule.halving_s * brian2.second}
    lateral = brian2.Synapses(units, units, "w : 1", on_pre=on_pre, dt=dt, namespace=constants, name="lateral")
    lateral.kick.order = 1  # after all have learnt
    connect(lateral, code.R, "w")
    record = brian2.StateMonitor(units, "r", record=True, dt=plan.every * dt, when="end", name="record")
    spikes = brian2.SpikeMonitor(units, variables="u", name="spikes")
    return brian2.Network(units, lateral, record, spikes)
