"""The rate circuit in Brian2's equations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import choice
from neurodecorr.circuit import Circuit
from neurodecorr.circuit.steps import require_step
from neurodecorr.errors import InputError
from neurodecorr.spiking.brian.session import TARGETS, brian2_module, quiet, session
from neurodecorr.spiking.runs import RateRun
from neurodecorr.spiking.schedule import Schedule, schedule

if TYPE_CHECKING:
    from neurodecorr.spiking.stimulus import Stimulus

__all__ = ["rate_network", "run_rate"]

EQUATIONS = """
dxbar/dt = (x(t, i) - lateral)/tau : 1
lateral : 1
"""
SYNAPSES = """
w : 1
lateral_post = w*xbar_pre : 1 (summed)
"""


def rate_network(circuit: Circuit, stimulus: Stimulus, *, dt_s: float = 1e-4, record_s: float = 1e-3) -> Any:
    """Return the rate circuit as a Brian2 network, to run or to build upon.

    ::

        τ dx̄/dt = x − Σ_j R_ij x̄_j

    Forward Euler. Its parts: network["units"] (xbar, lateral), network["lateral"] (w, from j to i),
    network["record"] (xbar). Brian2 checks the units of all equations; τ is taken in seconds.

    Parameters
    ----------
    circuit : Circuit
        The circuit; its τ is in seconds.
    stimulus : Stimulus
        Input x.
    dt_s : float, default 1e-4
        Time step, in seconds.
    record_s : float, default 1e-3
        Time from record to record, in seconds.

    Returns
    -------
    brian2.Network
        Not yet run.

    Raises
    ------
    ConfigError
        If Brian2 is not installed, or a time does not fit.
    InputError
        If `circuit` is not a Circuit, or the stimulus does not fit it.
    """
    plan, brian2 = _plan(circuit, stimulus, dt_s, record_s), brian2_module()
    with quiet():
        return _network(brian2, circuit, stimulus, plan)


def run_rate(
    circuit: Circuit, stimulus: Stimulus, *, dt_s: float = 1e-4, record_s: float = 1e-3, target: str = "numpy"
) -> RateRun:
    """Run the rate circuit in Brian2.

    ::

        x̄ ← x̄ + dt/τ (x − R x̄)

    Parameters
    ----------
    circuit : Circuit
        The circuit; its τ is in seconds.
    stimulus : Stimulus
        Input x.
    dt_s : float, default 1e-4
        Time step, in seconds.
    record_s : float, default 1e-3
        Time from record to record, in seconds.
    target : {"numpy", "cython", "cpp_standalone"}
        What Brian2 turns its equations into.

    Returns
    -------
    RateRun
        Activity from time 0 on, before each recorded step.

    Raises
    ------
    ConfigError
        If Brian2 is not installed, or an option does not fit.
    InputError
        If `circuit` is not a Circuit, or the stimulus does not fit it.
    StabilityError
        If the circuit settles, but not in Euler steps of `dt_s`.
    """
    plan = _plan(circuit, stimulus, dt_s, record_s)
    with session(choice(target, "target", TARGETS)) as brian2:
        network = _network(brian2, circuit, stimulus, plan)
        network.run(plan.duration_s * brian2.second, namespace={})
        record = network["record"]
        return RateRun(np.array(record.t / brian2.second), np.array(record.xbar.T), target)


def _plan(circuit: Any, stimulus: Any, dt_s: float, record_s: float) -> Schedule:
    if not isinstance(circuit, Circuit):
        raise InputError(
            f"circuit must be a Circuit; got {type(circuit).__name__}. Use Circuit(R, tau), tau in seconds."
        )
    plan = schedule(stimulus, circuit.size, dt_s, record_s)
    if circuit.spectrum.decays:  # Brian2 takes Euler steps; an unstable circuit may be shown to run away
        require_step(circuit, "euler", plan.dt_s / circuit.tau)
    return plan


def _network(brian2: Any, circuit: Circuit, stimulus: Stimulus, plan: Schedule) -> Any:
    dt = plan.dt_s * brian2.second
    namespace = {"tau": circuit.tau * brian2.second, "x": timed(brian2, stimulus.values, plan)}
    n = circuit.size
    units = brian2.NeuronGroup(n, EQUATIONS, method="euler", dt=dt, namespace=namespace, name="units")
    lateral = brian2.Synapses(units, units, SYNAPSES, dt=dt, namespace={}, name="lateral")
    connect(lateral, circuit.wide.astype(np.float64), "w")
    record = brian2.StateMonitor(units, "xbar", record=True, dt=plan.every * dt, name="record")
    return brian2.Network(units, lateral, record)


def timed(brian2: Any, values: npt.NDArray[np.float64], plan: Schedule) -> Any:
    """Return the stimulus as a Brian2 function x(t, i)."""
    return brian2.TimedArray(values, dt=plan.hold * plan.dt_s * brian2.second, name="x_values")


def connect(synapses: Any, weights: npt.NDArray[np.float64], name: str) -> None:
    """Connect all units to all; Brian2 orders synapses by their source, so the weights W[i, j] go in transposed."""
    n = len(weights)
    source, target = (place.ravel() for place in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    synapses.connect(i=source, j=target)
    setattr(synapses, name, weights.T.ravel())
