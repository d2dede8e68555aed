"""`run_code` and `run_lif`: one spiking network, one stimulus, on the engine of your choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._validation import choice
from neurodecorr.errors import DivergenceError, InputError
from neurodecorr.spiking.brian import TARGETS, brian_code, brian_lif
from neurodecorr.spiking.code import LateralRule, SpikeCode
from neurodecorr.spiking.kernels import compiled_code, compiled_lif
from neurodecorr.spiking.lif import InhibitoryRule, LIFNetwork
from neurodecorr.spiking.runs import SpikeRun
from neurodecorr.spiking.stimulus import Stimulus, timing

ENGINES = ("compiled", "brian2")


def run_code(
    code: SpikeCode,
    stimulus: Stimulus,
    rule: LateralRule | None = None,
    *,
    dt_s: float = 1e-4,
    record_s: float = 5e-3,
    engine: str = "compiled",
    target: str = "numpy",
) -> SpikeRun:
    """Run a signed spike code, and let its synapses learn if a rule is given.

    Steps are exact between spikes; a unit spikes at most once a step. Take dt ≪ γ/(λ max|x̄|), else units fall behind.

    Parameters
    ----------
    code : SpikeCode
        The network.
    stimulus : Stimulus
        Its input.
    rule : LateralRule, optional
        How its synapses learn; not at all by default.
    dt_s : float, default 1e-4
        Time step, in seconds.
    record_s : float, default 5e-3
        Time from record to record, in seconds.
    engine : {"compiled", "brian2"}
        Who runs it. The two agree spike for spike.
    target : {"numpy", "cython", "cpp_standalone"}
        What Brian2 turns its equations into.

    Returns
    -------
    SpikeRun
        Filtered activity, spikes, weights at the end.

    Raises
    ------
    DivergenceError
        If the activity leaves the finite numbers.
    ConfigError
        If an option does not exist or does not fit, or Brian2 is not installed.
    InputError
        If the stimulus does not fit the network.

    Examples
    --------
    >>> import numpy as np
    >>> from neurodecorr import spiking
    >>> R = np.array([[1.0, -0.4], [0.3, 1.0]])
    >>> code = spiking.SpikeCode(R, gamma=0.05)
    >>> stimulus = spiking.constant_stimulus(R @ [0.7, -0.5], 2.0)
    >>> run = run_code(code, stimulus, dt_s=2e-5, record_s=2e-5)
    >>> run.settled(skip_s=0.5).mean(axis=0).round(2)
    array([ 0.7, -0.5])

    References
    ----------
    Boerlin, Machens & Denève (2013), PLoS Computational Biology 9, e1003258.
    """
    if not isinstance(code, SpikeCode):
        raise InputError(f"code must be a SpikeCode; got {type(code).__name__}. Use SpikeCode(R).")
    _require_rule(rule, LateralRule)
    if rule is not None and rule.one_signed:
        _require_one_sign(code.R)
    plan = timing(stimulus, code.units, dt_s, record_s)
    choice(target, "target", TARGETS)
    if choice(engine, "engine", ENGINES) == "compiled":
        run = compiled_code(code, stimulus.values, plan, rule)
    else:
        run = brian_code(code, stimulus.values, plan, rule, target)
    return _finite(run, "Lower the learning rate, or shorten dt_s.")


def run_lif(
    network: LIFNetwork,
    stimulus: Stimulus,
    rule: InhibitoryRule | None = None,
    *,
    dt_s: float = 1e-4,
    record_s: float = 5e-3,
    engine: str = "compiled",
    target: str = "numpy",
) -> SpikeRun:
    """Run leaky integrate-and-fire units; let their inhibition learn if a rule is given.

    ::

        τ_m v̇ = v_rest − v + (g/g_L)(E_inh − v) + (I₀ + I₁ x)/g_L

    Parameters
    ----------
    network : LIFNetwork
        The network.
    stimulus : Stimulus
        Its input x; the current is I₀ + I₁ x.
    rule : InhibitoryRule, optional
        How its synapses learn; not at all by default.
    dt_s : float, default 1e-4
        Time step, in seconds.
    record_s : float, default 5e-3
        Time from record to record, in seconds.
    engine : {"compiled", "brian2"}
        Who runs it. The two agree spike for spike.
    target : {"numpy", "cython", "cpp_standalone"}
        What Brian2 turns its equations into.

    Returns
    -------
    SpikeRun
        Filtered spikes in spikes per second, spike trains, weights at the end in siemens.

    Raises
    ------
    DivergenceError
        If the potential leaves the finite numbers.
    ConfigError
        If an option does not exist or does not fit, or Brian2 is not installed.
    InputError
        If the stimulus does not fit the network.

    Examples
    --------
    >>> import numpy as np
    >>> from neurodecorr import spiking
    >>> network = spiking.LIFNetwork(np.zeros((2, 2)), bias_a=150e-12)
    >>> run_lif(network, spiking.constant_stimulus([0.0, 0.0], 1.0)).rates_hz
    array([37., 37.])

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath & Gerstner (2011), Science 334, 1569–1573.
    """
    if not isinstance(network, LIFNetwork):
        raise InputError(f"network must be a LIFNetwork; got {type(network).__name__}. Use LIFNetwork(weights).")
    _require_rule(rule, InhibitoryRule)
    plan = timing(stimulus, network.units, dt_s, record_s)
    choice(target, "target", TARGETS)
    if choice(engine, "engine", ENGINES) == "compiled":
        run = compiled_lif(network, stimulus.values, plan, rule)
    else:
        run = brian_lif(network, stimulus.values, plan, rule, target)
    return _finite(run, "Shorten dt_s.")


def _require_rule(rule: Any, kind: type) -> None:
    if rule is not None and not isinstance(rule, kind):
        raise InputError(f"rule must be a {kind.__name__} or None; got {type(rule).__name__}.")


def _require_one_sign(R: npt.NDArray[np.float64]) -> None:
    negative = np.argwhere((R < 0) & ~np.eye(len(R), dtype=bool))
    if len(negative):
        row, column = (int(i) for i in negative[0])
        raise InputError(
            f"Lateral weights of the code must be ≥ 0 where the rule keeps them so; found {R[row, column]:.3g} at row "
            f"{row}, column {column}. Start from other weights, or learn with both signs."
        )


def _finite(run: SpikeRun, advice: str) -> SpikeRun:
    good = np.isfinite(run.activity).all(axis=1)
    if good.all() and np.isfinite(run.weights).all():
        return run
    when = run.t_s[int(np.argmin(good))] if not good.all() else run.duration_s
    raise DivergenceError(
        f"Activity and weights must stay finite; they left the finite numbers at {when:g} s. {advice}"
    )
