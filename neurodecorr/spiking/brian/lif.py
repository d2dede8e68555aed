"""The inhibitory baseline in Brian2's equations, in volts, amperes and siemens."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.spiking.brian.rate import connect, timed
from neurodecorr.spiking.brian.session import session
from neurodecorr.spiking.lif import InhibitoryRule, LIFNetwork
from neurodecorr.spiking.runs import SpikeRun, spikes_from
from neurodecorr.spiking.schedule import Schedule

__all__ = ["brian_lif"]

EQUATIONS = """
dv/dt = (v_rest - v + g/g_leak*(e_inh - v) + (bias + gain*x)/g_leak)/tau_m : volt (unless refractory)
dg/dt = -g/tau_inh : siemens
dtrace/dt = -trace/tau_stdp : 1
rate : hertz
x : 1
"""
RESET = """
v = v_rest
trace += 1
rate += decay
"""
DEPRESS = "w = int(i != j)*clip(w + eta*(trace_post - alpha), 0*siemens, w_max)"
POTENTIATE = "w = int(i != j)*clip(w + eta*trace_pre, 0*siemens, w_max)"
KICK = "g_post += w"


def brian_lif(
    network: LIFNetwork, X: npt.NDArray[np.float64], plan: Schedule, rule: InhibitoryRule | None, target: str
) -> SpikeRun:
    """Run a LIF network in Brian2; targets of this step's spikes learn first, then their sources."""
    with session(target) as brian2:
        parts = _network(brian2, network, X, plan, rule)
        parts.run(plan.duration_s * brian2.second, namespace={})
        record, spikes = parts["record"], parts["spikes"]
        step = np.rint(np.array(spikes.t / brian2.second) / plan.dt_s)
        rows = np.column_stack([step, np.array(spikes.i), np.ones(len(step))])
        weights = np.array(parts["lateral"].w).reshape(network.units, network.units).T.copy()
        engine = f"brian2 {brian2.__version__}, {target}"
        activity = np.array(record.rate.T)
    return SpikeRun(plan.t_s, activity, spikes_from(rows, plan.dt_s), weights, plan.duration_s, 0, engine)


def _network(
    brian2: Any, network: LIFNetwork, X: npt.NDArray[np.float64], plan: Schedule, rule: InhibitoryRule | None
) -> Any:
    second, volt, siemens, ampere = brian2.second, brian2.volt, brian2.siemens, brian2.amp
    dt = plan.dt_s * second
    cells = {
        "v_rest": network.rest_v * volt,
        "v_threshold": network.threshold_v * volt,
        "e_inh": network.inhibition_v * volt,
        "g_leak": network.leak_siemens * siemens,
        "tau_m": network.tau_membrane_s * second,
        "tau_inh": network.tau_inhibition_s * second,
        "tau_stdp": (1.0 if rule is None else rule.tau_stdp_s) * second,
        "bias": network.bias_a * ampere,
        "gain": network.gain_a * ampere,
        "decay": network.decay_hz * brian2.hertz,
        "keep": np.exp(-network.decay_hz * plan.dt_s),
        "x_values": timed(brian2, X, plan),
    }
    units = brian2.NeuronGroup(
        network.units,
        EQUATIONS,
        method="euler",
        threshold="v > v_threshold",
        reset=RESET,
        refractory=network.refractory_s * second,
        dt=dt,
        namespace=cells,
        name="units",
    )
    units.v = network.rest_v * volt
    feed = units.run_regularly("x = x_values(t, i)\nrate *= keep", dt=dt, when="start", name="feed")
    lateral = brian2.Synapses(units, units, "w : siemens", dt=dt, name="lateral", **_learning(brian2, rule))
    for order, pathway in enumerate(("potentiate", "depress", "kick")):
        if hasattr(lateral, pathway):
            getattr(lateral, pathway).order = order
    connect(lateral, np.where(np.eye(network.units, dtype=bool), 0.0, network.weights) * siemens, "w")
    record = brian2.StateMonitor(units, "rate", record=True, dt=plan.every * dt, when="end", name="record")
    return brian2.Network(units, lateral, record, brian2.SpikeMonitor(units, name="spikes"), feed)


def _learning(brian2: Any, rule: InhibitoryRule | None) -> dict[str, Any]:
    """Return what synapses do at spikes, and the constants of that."""
    if rule is None:
        return {"on_pre": {"kick": KICK}, "namespace": {}}
    constants = {
        "eta": rule.rate_siemens * brian2.siemens,
        "alpha": rule.alpha,
        "w_max": rule.most_siemens * brian2.siemens,
    }
    return {
        "on_pre": {"depress": DEPRESS, "kick": KICK},
        "on_post": {"potentiate": POTENTIATE},
        "namespace": constants,
    }
