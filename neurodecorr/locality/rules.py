"""The library's own rules as the locality audit sees them: signals, declared reads, and the function run.

The twin rules go through the rank-one updates that the compiled single-sample kernel calls, the rivals through the
functions that their `step` calls. A unit here has an input x_i, an activity x̄_i and a running power p_i; the weights
M and R lead from one such unit to another.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.locality.audit import Audit, Signal, Signals, SynapticRule, audit
from neurodecorr.plasticity import baselines, steps
from neurodecorr.plasticity.rules import power_gain
from neurodecorr.plasticity.spec import GAINS

Change = Callable[[Signals], Floats]

RATE = Signal("rate", "global", positive=True, size=0.05)
XBAR, X = Signal("xbar", "unit"), Signal("x", "unit")
DRIVE = Signal("drive", "drive")
SIZE = Signal("x̄ᵀx̄", "layer", positive=True)
OVERLAP = Signal("overlap", "layer")
POWER = Signal("power", "unit", positive=True, running=True)
MEAN_POWER = Signal("mean power", "layer", positive=True)
ROWS = 8


def _gain(s: Signals, mode: str, explicit: bool = False) -> Floats:
    """Return the homeostatic gain as the kernel computes it; in layer mode the units share one broadcast power."""
    power = s["power"] if mode == "node" else np.zeros(len(s["xbar"]))
    gain = np.empty_like(power)
    steps.homeostatic(gain, power, float(s.get("mean power", 0.0)), s["rate"], GAINS[mode], explicit)
    return gain


def _recurrent(explicit: bool, mode: str) -> Change:
    def change(s: Signals) -> Floats:
        R, eta = s["R"].copy(), s["rate"]
        step = eta / (1.0 - eta * s["x̄ᵀx̄"]) if explicit else eta
        steps.recurrent_step(R, s["drive"], s["xbar"], step, _gain(s, mode, explicit))
        return np.asarray(R - s["R"])

    return change


def _feedforward(explicit: bool, mode: str) -> Change:
    def change(s: Signals) -> Floats:
        M, eta, back = s["M"].copy(), s["rate"], np.empty_like(s["xbar"])
        step = eta if explicit else eta / (1.0 + eta * s["x̄ᵀx̄"])
        steps.multiply_transposed(M, s["xbar"], back)
        steps.feedforward_step(M, back, s["xbar"], step, _gain(s, mode, explicit))
        return np.asarray(M - s["M"])

    return change


def _congruent_recurrent(s: Signals) -> Floats:
    R, eta = s["R"].copy(), s["rate"]
    beta = eta / (1.0 + math.sqrt(1.0 + eta * s["x̄ᵀx̄"]))
    steps.recurrent_sym(R, s["drive"], s["xbar"], beta, s["overlap"], _gain(s, "node"))
    return np.asarray(R - s["R"])


def _congruent_feedforward(s: Signals) -> Floats:
    M, eta, back = s["M"].copy(), s["rate"], np.empty_like(s["xbar"])
    beta = eta / (1.0 + math.sqrt(1.0 + eta * s["x̄ᵀx̄"]))
    steps.multiply(M, s["xbar"], back)
    steps.feedforward_sym(M, back, s["xbar"], beta / (1.0 + beta * s["x̄ᵀx̄"]), s["overlap"], _gain(s, "node"))
    return np.asarray(M - s["M"])


_R, _M = Signal("R", "weight"), Signal("M", "weight")
_R_SYMMETRIC, _M_SYMMETRIC = Signal("R", "weight", symmetric=True), Signal("M", "weight", symmetric=True)
_LATERAL = ("pre", "drive", "own weight", "global scalar")
_COLUMN_SUM = ("pre", "post", "own weight", "global scalar", "transported weight", "other units")

TWIN_RULES: tuple[SynapticRule, ...] = (
    SynapticRule(
        "R implicit, no gain", (_R, DRIVE, XBAR, RATE), _recurrent(False, "none"), ("pre", "drive", "global scalar")
    ),
    SynapticRule("R implicit", (_R, DRIVE, XBAR, POWER, RATE), _recurrent(False, "node"), _LATERAL),
    SynapticRule(
        "R implicit, layer gain",
        (_R, DRIVE, XBAR, MEAN_POWER, RATE),
        _recurrent(False, "layer"),
        (*_LATERAL, "layer scalar"),
    ),
    SynapticRule(
        "R explicit", (_R, DRIVE, XBAR, POWER, SIZE, RATE), _recurrent(True, "node"), (*_LATERAL, "layer scalar")
    ),
    SynapticRule(
        "R congruent",
        (_R_SYMMETRIC, DRIVE, XBAR, POWER, SIZE, OVERLAP, RATE),
        _congruent_recurrent,
        (*_LATERAL, "post", "pre drive", "layer scalar", "reciprocal weight"),
    ),
    SynapticRule(
        "M implicit",
        (_M, XBAR, POWER, SIZE, RATE),
        _feedforward(False, "node"),
        (*_COLUMN_SUM, "layer scalar"),
    ),
    SynapticRule("M explicit", (_M, XBAR, POWER, RATE), _feedforward(True, "node"), _COLUMN_SUM),
    SynapticRule(
        "M congruent",
        (_M_SYMMETRIC, XBAR, POWER, SIZE, OVERLAP, RATE),
        _congruent_feedforward,
        (*_COLUMN_SUM, "layer scalar", "reciprocal weight"),
    ),
)


def _foldiak(mode: str) -> Change:
    def change(s: Signals) -> Floats:
        gain = power_gain(s["x"], s["xbar"], mode, bound=np.inf)
        return np.asarray(baselines.anti_hebbian_step(s["R"], s["xbar"], gain, s["rate"]) - s["R"])

    return change


def _vogels(relayed: str) -> Change:
    return lambda s: baselines.inhibitory_change(s[relayed], s["xbar"], s["rate"], s["target"])


def _regression(inputs: str) -> Change:
    return lambda s: baselines.regression_step(s["W"], s[inputs], s["xbar"], s["summed power"]) - s["W"]


def _off_diagonal(step: Callable[[Floats, Floats, float, float], Floats], kappa: float) -> Change:
    return lambda s: step(s["M"], s["xbar"], s["rate"], kappa) - s["M"]


def _easi(s: Signals) -> Floats:
    return np.asarray(baselines.equivariant_step(s["M"], s["xbar"], s["rate"]) - s["M"])


def _whitening(kind: str) -> Change:
    rule = baselines.Whitening(kind)

    def change(s: Signals) -> Floats:
        moment = (s["moment"] + s["moment"].T) / 2 + 8 * np.eye(len(s["moment"]))  # positive definite
        weights = baselines.RunningCovariance(moment, float(ROWS), moment)
        return np.asarray(rule.matrix(rule.step(weights, s["x"])) - rule.matrix(weights))

    return change


_HEBB = ("pre", "post", "global scalar")
_REGRESSION = ("pre", "post", "own weight")
_OTHERS_SUM = tuple(read for read in _COLUMN_SUM if read != "own weight")  # no diagonal of C, no own term
_SUMMED = Signal("summed power", "unit", positive=True, size=10.0, running=True)
_TARGET = Signal("target", "global", positive=True)
_EVERYTHING = ("pre", "post", "own weight", "reciprocal weight", "transported weight", "other units")


def _rival(name: str, signals: tuple[Signal, ...], change: Change, declared: tuple[str, ...]) -> SynapticRule:
    return SynapticRule(name, signals, change, declared, rows=ROWS)


RIVAL_RULES: tuple[SynapticRule, ...] = (
    _rival("Földiák", (_R, X, XBAR, RATE), _foldiak("none"), _HEBB),
    _rival("Földiák, node gain", (_R, X, XBAR, RATE), _foldiak("node"), (*_HEBB, "own weight")),
    _rival("Vogels, feedforward", (X, XBAR, RATE, _TARGET), _vogels("x"), _HEBB),
    _rival("Vogels, recurrent", (XBAR, RATE, _TARGET), _vogels("xbar"), _HEBB),
    _rival("similarity matching, W", (Signal("W", "weight"), X, XBAR, _SUMMED), _regression("x"), _REGRESSION),
    _rival("similarity matching, Q", (Signal("W", "weight"), XBAR, _SUMMED), _regression("xbar"), _REGRESSION),
    _rival(
        "Oja subspace",
        (Signal("W", "weight"), X, XBAR, RATE),
        lambda s: baselines.subspace_step(s["W"], s["x"], s["xbar"], s["rate"]) - s["W"],
        _COLUMN_SUM,
    ),
    _rival("EASI whitening", (_M, XBAR, RATE), _easi, _COLUMN_SUM),
    _rival("off-diagonal, absolute", (_M, XBAR, RATE), _off_diagonal(baselines.absolute_step, 0.0), _HEBB),
    _rival("COPI", (_M, XBAR, RATE), _off_diagonal(baselines.relative_step, 0.0), _OTHERS_SUM),
    _rival("COPI, κ = 0.5", (_M, XBAR, RATE), _off_diagonal(baselines.relative_step, 0.5), _COLUMN_SUM),
    _rival("ZCA whitening", (Signal("moment", "weight"), X), _whitening("zca"), _EVERYTHING),
    _rival("PCA whitening", (Signal("moment", "weight"), X), _whitening("pca"), _EVERYTHING),
)


def audit_all(seed: int = 0) -> tuple[Audit, ...]:
    """Audit every decorrelation rule, the exact pairs of rules first.

    ::

        (i, j) reads s_k   iff   ΔW_ij(s + ε e_k) ≠ ΔW_ij(s)   beyond rounding

    Parameters
    ----------
    seed : int, default 0
        Chooses the signals.

    Returns
    -------
    tuple of Audit
        One per rule.
    """
    return tuple(audit(rule, seed) for rule in (*TWIN_RULES, *RIVAL_RULES))
