"""The inhibitory baseline in Brian2's equations, in volts, amperes and siemens."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shlex
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neurodecorr._validation import choice
from neurodecorr.circuit import Circuit
from neurodecorr.circuit.stability import require_step
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.spiking.code import LateralRule, SpikeCode
from neurodecorr.spiking.lif import InhibitoryRule, LIFNetwork
from neurodecorr.spiking.runs import RateRun, SpikeRun, spikes_from
from neurodecorr.spiking.stimulus import Timing, timing

if TYPE_CHECKING:
    from neurodecorr.spiking.stimulus import Stimulus


TARGETS = ("numpy", "cython", "cpp_standalone")
# Brian2 builds and runs its C++ program itself, without a limit on their time: these seconds are the limit.
BUILD_S, RUN_S = 1200, 86_400
LIMIT = """\
import os, signal, subprocess, sys
program = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, start_new_session=True)
try:
    sys.exit(program.wait(float(sys.argv[1])))
except BaseException:
    if program.poll() is None:
        os.killpg(program.pid, signal.SIGKILL)
    raise
"""
# Brian2 has one device, one set of preferences and one list of objects for the process.
_ALONE = threading.RLock()
INSTALL = 'pip install "neurodecorr[brian2]"'


def brian2_module() -> Any:
    """Return the module brian2.

    Importing it reroutes Python's warnings and uncaught exceptions into its log; both are put back.

    Raises
    ------
    ConfigError
        If Brian2 is not installed, or does not work with this numpy.

    References
    ----------
    Stimberg, Brette & Goodman (2019), eLife 8, e47314.
    """
    loaded = "brian2" in sys.modules
    hook, routed = sys.excepthook, logging._warnings_showwarning is not None  # type: ignore[attr-defined]
    try:
        with quiet():
            brian2 = importlib.import_module("brian2")
    except ModuleNotFoundError as error:
        if error.name != "brian2":
            raise _broken(error) from error
        raise ConfigError(f"This engine needs Brian2, which is not installed. Install it: {INSTALL}") from None
    except Exception as error:
        raise _broken(error) from error
    if not loaded:
        sys.excepthook = hook
        logging.captureWarnings(routed)
    return brian2


def _broken(error: Exception) -> ConfigError:
    return ConfigError(
        f"Brian2 is installed but cannot be imported: {type(error).__name__}: {error}. Brian2 2.9 needs numpy < 2.4. "
        f"Install a version that fits: {INSTALL}"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore deprecation warnings of Brian2 and its parser, which users cannot change."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, SyntaxWarning):
            warnings.filterwarnings("ignore", category=category)
        yield


@contextlib.contextmanager
def session(target: str) -> Iterator[Any]:
    """Yield the module brian2 with one code generation target; restore preferences and device afterwards.

    Parameters
    ----------
    target : {"numpy", "cython", "cpp_standalone"}
        Interpreted arrays; compiled at run time; or one C++ program, built and run in a temporary folder.

    References
    ----------
    Stimberg, Brette & Goodman (2019), eLife 8, e47314.
    """
    brian2 = brian2_module()
    device = brian2.get_device()
    if not isinstance(device, brian2.devices.RuntimeDevice):
        raise ConfigError(
            f"Brian2's device must be 'runtime' when this engine starts; it is {type(device).__name__}, and a run "
            "would mix its objects with yours. Call brian2.set_device('runtime') first."
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ALONE)
        stack.enter_context(quiet())
        stack.callback(_restore, brian2.prefs, dict(brian2.prefs))
        if choice(target, "target", TARGETS) == "cpp_standalone":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="neurodecorr-", ignore_cleanup_errors=True))
            brian2.set_device("cpp_standalone", directory=folder, build_on_run=True)
            stack.callback(_leave_standalone, brian2)
            _limit_time(brian2.prefs)
        else:
            brian2.prefs["codegen.target"] = target
        yield brian2


def _limit_time(preferences: Any) -> None:
    """Let the compiler and the program that it makes run for so long only, and end all that they started."""
    if os.name == "posix":
        limited = [sys.executable, "-c", LIMIT]
        build = shlex.join([*limited, str(BUILD_S), str(preferences["devices.cpp_standalone.make_cmd_unix"])])
        preferences["devices.cpp_standalone.make_cmd_unix"] = build
        preferences["devices.cpp_standalone.run_cmd_unix"] = [*limited, str(RUN_S), "./main"]


def _restore(preferences: Any, before: dict[str, Any]) -> None:
    for name, value in before.items():
        if preferences[name] != value:
            preferences[name] = value


def _leave_standalone(brian2: Any) -> None:
    brian2.get_device().reinit()
    brian2.devices.reset_device()


RATE_EQUATIONS = """
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

        τ dx̄/dt = x − ∑_j R_ij x̄_j

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

    References
    ----------
    Stimberg, Brette & Goodman (2019), eLife 8, e47314. Circuit: Ahmad (2024), arXiv:2407.10780, §3.2 and Appendix D,
    sign corrected.
    """
    plan, brian2 = _plan(circuit, stimulus, dt_s, record_s), brian2_module()
    with quiet():
        return _rate_network(brian2, circuit, stimulus, plan)


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

    References
    ----------
    Stimberg, Brette & Goodman (2019), eLife 8, e47314.
    """
    plan = _plan(circuit, stimulus, dt_s, record_s)
    with session(choice(target, "target", TARGETS)) as brian2:
        network = _rate_network(brian2, circuit, stimulus, plan)
        network.run(plan.duration_s * brian2.second, namespace={})
        record = network["record"]
        return RateRun(np.array(record.t / brian2.second), np.array(record.xbar.T), target)


def _plan(circuit: Any, stimulus: Any, dt_s: float, record_s: float) -> Timing:
    if not isinstance(circuit, Circuit):
        raise InputError(
            f"circuit must be a Circuit; got {type(circuit).__name__}. Use Circuit(R, tau), tau in seconds."
        )
    plan = timing(stimulus, circuit.size, dt_s, record_s)
    if circuit.spectrum.decays:  # Brian2 takes Euler steps; an unstable circuit may be shown to run away
        require_step(circuit, "euler", plan.dt_s / circuit.tau)
    return plan


def _rate_network(brian2: Any, circuit: Circuit, stimulus: Stimulus, plan: Timing) -> Any:
    dt = plan.dt_s * brian2.second
    namespace = {"tau": circuit.tau * brian2.second, "x": timed(brian2, stimulus.values, plan)}
    n = circuit.size
    units = brian2.NeuronGroup(n, RATE_EQUATIONS, method="euler", dt=dt, namespace=namespace, name="units")
    lateral = brian2.Synapses(units, units, SYNAPSES, dt=dt, namespace={}, name="lateral")
    connect(lateral, circuit.wide.astype(np.float64), "w")
    record = brian2.StateMonitor(units, "xbar", record=True, dt=plan.every * dt, name="record")
    return brian2.Network(units, lateral, record)


def timed(brian2: Any, values: npt.NDArray[np.float64], plan: Timing) -> Any:
    """Return the stimulus as a Brian2 function x(t, i)."""
    return brian2.TimedArray(values, dt=plan.hold * plan.dt_s * brian2.second, name="x_values")


def connect(synapses: Any, weights: npt.NDArray[np.float64], name: str) -> None:
    """Connect all units to all; Brian2 orders synapses by their source, so the weights W[i, j] go in transposed."""
    n = len(weights)
    source, target = (place.ravel() for place in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    synapses.connect(i=source, j=target)
    setattr(synapses, name, weights.T.ravel())


# In continuous time leak is λ and lag is 1. With leak = (1 − e^(−λ dt))/dt and lag = leak/λ, and an input that stands
# still during a step, Euler's step is the exact flow. Brian2's own "exact" refuses the singular matrix of this system.
CODE_EQUATIONS = """
du/dt = (x(t, i) - lag*s)/tau + leak*r : 1
dr/dt = -leak*r : 1
ds/dt = -leak*s : 1
"""
THRESHOLD = "abs(u) > gamma/2"
CODE_RESET = """
r += gamma*sign(u)
u -= gamma*sign(u)
"""
LEARN = "w += int(i != j)*rate/(1 + t/halving)*gamma*sign(u_pre)*(s_post - w*r_pre)"
ONE_SIGNED = "\nw = clip(w, 0, inf)"
CODE_KICK = "s_post += gamma*w*sign(u_pre)"


def brian_code(
    code: SpikeCode, X: npt.NDArray[np.float64], plan: Timing, rule: LateralRule | None, target: str
) -> SpikeRun:
    """Run a spike code in Brian2; all synapses read before any of them delivers a step's charges.

    ::

        u̇ = (x − s)/τ + λ r,    ṙ = −λ r,    ṡ = −λ s

    References
    ----------
    Boerlin, Machens & Denève (2013), PLoS Computational Biology 9, e1003258; Stimberg, Brette & Goodman (2019), eLife
    8, e47314.
    """
    with session(target) as brian2:
        network = _code_network(brian2, code, X, plan, rule)
        network.run(plan.duration_s * brian2.second, namespace={})
        record, spikes = network["record"], network["spikes"]
        step = np.rint(np.array(spikes.t / brian2.second) / plan.dt_s)
        rows = np.column_stack([step, np.array(spikes.i), np.sign(np.array(spikes.u))])
        weights = np.array(network["lateral"].w).reshape(code.units, code.units).T.copy()
        engine = f"brian2 {brian2.__version__}, {target}"
        activity = np.array(record.r.T)
        overloaded = int(np.sum(np.abs(spikes.u) > 1.5 * code.gamma))
    return SpikeRun(plan.t_s, activity, spikes_from(rows, plan.dt_s), weights, plan.duration_s, overloaded, engine)


def _code_network(
    brian2: Any, code: SpikeCode, X: npt.NDArray[np.float64], plan: Timing, rule: LateralRule | None
) -> Any:
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
        CODE_EQUATIONS,
        method="euler",
        threshold=THRESHOLD,
        reset=CODE_RESET,
        dt=dt,
        namespace={**constants, "x": timed(brian2, X, plan)},
        name="units",
    )
    on_pre = {"kick": CODE_KICK}
    if rule is not None:
        on_pre["learn"] = LEARN + (ONE_SIGNED if rule.one_signed else "")
        constants |= {"rate": rule.rate, "halving": rule.halving_s * brian2.second}
    lateral = brian2.Synapses(units, units, "w : 1", on_pre=on_pre, dt=dt, namespace=constants, name="lateral")
    lateral.kick.order = 1  # after all have learnt
    connect(lateral, code.R, "w")
    record = brian2.StateMonitor(units, "r", record=True, dt=plan.every * dt, when="end", name="record")
    spikes = brian2.SpikeMonitor(units, variables="u", name="spikes")
    return brian2.Network(units, lateral, record, spikes)


LIF_EQUATIONS = """
dv/dt = (v_rest - v + g/g_leak*(e_inh - v) + (bias + gain*x)/g_leak)/tau_m : volt (unless refractory)
dg/dt = -g/tau_inh : siemens
dtrace/dt = -trace/tau_stdp : 1
rate : hertz
x : 1
"""
LIF_RESET = """
v = v_rest
trace += 1
rate += decay
"""
DEPRESS = "w = int(i != j)*clip(w + eta*(trace_post - alpha), 0*siemens, w_max)"
POTENTIATE = "w = int(i != j)*clip(w + eta*trace_pre, 0*siemens, w_max)"
LIF_KICK = "g_post += w"


def brian_lif(
    network: LIFNetwork, X: npt.NDArray[np.float64], plan: Timing, rule: InhibitoryRule | None, target: str
) -> SpikeRun:
    """Run a LIF network in Brian2; targets of this step's spikes learn first, then their sources.

    ::

        τ_m v̇ = v_rest − v + (g/g_L)(E_inh − v) + I/g_L,    τ_inh ġ = −g

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath & Gerstner (2011), Science 334, 1569–1573.
    """
    with session(target) as brian2:
        parts = _lif_network(brian2, network, X, plan, rule)
        parts.run(plan.duration_s * brian2.second, namespace={})
        record, spikes = parts["record"], parts["spikes"]
        step = np.rint(np.array(spikes.t / brian2.second) / plan.dt_s)
        rows = np.column_stack([step, np.array(spikes.i), np.ones(len(step))])
        weights = np.array(parts["lateral"].w).reshape(network.units, network.units).T.copy()
        engine = f"brian2 {brian2.__version__}, {target}"
        activity = np.array(record.rate.T)
    return SpikeRun(plan.t_s, activity, spikes_from(rows, plan.dt_s), weights, plan.duration_s, 0, engine)


def _lif_network(
    brian2: Any, network: LIFNetwork, X: npt.NDArray[np.float64], plan: Timing, rule: InhibitoryRule | None
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
        LIF_EQUATIONS,
        method="euler",
        threshold="v > v_threshold",
        reset=LIF_RESET,
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
        return {"on_pre": {"kick": LIF_KICK}, "namespace": {}}
    constants = {
        "eta": rule.rate_siemens * brian2.siemens,
        "alpha": rule.alpha,
        "w_max": rule.most_siemens * brian2.siemens,
    }
    return {
        "on_pre": {"depress": DEPRESS, "kick": LIF_KICK},
        "on_post": {"potentiate": POTENTIATE},
        "namespace": constants,
    }
