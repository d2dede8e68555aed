"""Learning on the chip against programming it once, on the same chips."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import measures
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import count, instance, not_negative, positive, samples, square
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices.chip import Devices
from neurodecorr.hardware.in_situ import kernels
from neurodecorr.hardware.in_situ.integers import COUNTERS
from neurodecorr.hardware.in_situ.learning_chip import (
    LearningChips,
    chip_streams,
    learning_chips,
    room_for,
    several_chips,
)
from neurodecorr.hardware.in_situ.rule import InSituRule
from neurodecorr.hardware.in_situ.synapses import PulsedSynapse

# Samples between two looks at the clock of drift.
STRETCH = 512


@short_repr
@dataclass(frozen=True, eq=False)
class InSituComparison:
    """Residual correlations of chips after learning in situ and after programming once.

    A chip that is not stable has no residual: infinity.

    Attributes
    ----------
    exported, learnt : (chips,) arrays
        Root mean square correlation between different units, from the covariance: programmed once, and after learning.
    exported_margin, learnt_margin : (chips,) arrays
        min Re λ of the weights as built.
    samples : (records,) array
        Samples learnt at each record; the first is 0.
    course : (records, chips) array
        Residual correlation on the way.
    weights : (chips, n, n) array
        Weights after learning, leak included.
    leak : (chips, n) array
        Conductance that units have added to themselves.
    counts : dict of str to (chips,) int array
        Pulses sent, wanted changes capped, pairs refreshed, activities railed, leaks raised, samples or tests that
        did not settle.
    """

    exported: Floats
    learnt: Floats
    exported_margin: Floats
    learnt_margin: Floats
    samples: npt.NDArray[np.int64]
    course: Floats
    weights: Floats
    leak: Floats
    counts: dict[str, npt.NDArray[np.int64]]

    def __repr__(self) -> str:
        before, after = self.unstable
        return (
            f"InSituComparison({len(self.learnt)} chips, n={self.weights.shape[-1]}, samples={self.samples[-1]}, "
            f"median={np.median(self.exported):.3g} → {np.median(self.learnt):.3g}, unstable={before} → {after})"
        )

    @property
    def ratio(self) -> float:
        """Median residual after learning over that of programming once.

        0 where most chips had no settled state before, infinite where most have none after, and 1 where the medians
        are alike, both infinite or both 0 included: nothing was gained.
        """
        after, once = float(np.median(self.learnt)), float(np.median(self.exported))
        if after == once:
            return 1.0
        return after / once if once > 0 else np.inf

    @property
    def unstable(self) -> tuple[int, int]:
        """Chips without a settled state: programmed once, and after learning."""
        return int((self.exported_margin <= 0).sum()), int((self.learnt_margin <= 0).sum())

    def envelope(self) -> Floats:
        """Return the residual of the tenth, the middle and the ninetieth chip in a hundred, (3, records)."""
        return np.quantile(self.course, [0.1, 0.5, 0.9], axis=1, method="nearest")


def compare_in_situ(
    R: Any,
    X: Any,
    covariance: Any,
    devices: Devices,
    synapse: PulsedSynapse | None = None,
    plan: InSituRule | None = None,
    chips: int = 100,
    seed: int = 0,
    *,
    time_s: float = 0.0,
    headroom: float = 2.0,
    records: int = 1,
) -> InSituComparison:
    """Program R into many chips, let each learn from there, and compare with the programmed chips.

    ::

        ΔR_ij = η (s_i − i_ij) x̄_j + η R_ij (x̄_j² − p_j)

    Chip k has the same mismatch, faults and drift on both sides, and both are looked at when learning ends. The
    exported one uses the whole range of its devices.

    Parameters
    ----------
    R : (n, n) array_like
        Trained weights.
    X : (samples, n) array_like
        Inputs with mean 0, learnt from one by one; not all of them 0.
    covariance : (n, n) array_like
        Covariance Σ of the inputs, by which residuals are measured; symmetric and positive definite.
    devices : Devices
        What the chips are made of.
    synapse : PulsedSynapse, optional
        How they learn. Default: steps of 1e-3, or one level where devices have bits.
    plan : InSituRule, optional
        Rate, gain, tests of stability.
    chips : int, default 100
        How many.
    seed : int, default 0
        Chip k depends on the seed and k alone, not on how many there are or on the threads.
    time_s : float, default 0
        Seconds between programming and learning, in which devices drift.
    headroom : float, default 2
        How far the weights of a chip that learns may come, over the largest weight of R that has their sign; ≥ 1. With
        one side more room costs: the reference rises, and with it what its mismatch adds to all weights of a column.
    records : int, default 1
        Looks at the residual while learning.

    Returns
    -------
    InSituComparison

    Raises
    ------
    InputError
        If shapes do not agree, X is silent, or the covariance is not symmetric and positive definite.
    ConfigError
        If devices have what learning does not model: wires, converters, read noise; or a setting is not of its kind.

    Examples
    --------
    >>> import numpy as np
    >>> from neurodecorr.data import correlated_gaussian, gaussian_covariance
    >>> from neurodecorr.hardware.devices.chip import Devices

    >>> from neurodecorr.plasticity import decorrelating_matrix
    >>> sigma = gaussian_covariance(8, 100.0)
    >>> R = np.linalg.inv(decorrelating_matrix(sigma, "layer"))
    >>> X = correlated_gaussian(8, 4000, 100.0).inputs
    >>> found = compare_in_situ(R, X, sigma, Devices(mismatch=0.1), chips=4)
    >>> found.ratio < 0.5, found.unstable[1]
    (True, 0)
    """
    W, inputs = square(R, "R").astype(float), samples(X, "X").astype(float)
    sigma = square(covariance, "covariance").astype(float)
    if inputs.shape[1] != len(W) or len(sigma) != len(W):
        raise InputError(
            f"R, X and covariance must belong to the same units; got R {W.shape}, X {inputs.shape}, covariance "
            f"{sigma.shape}."
        )
    _require_definite(sigma)
    _power(inputs)
    instance(devices, Devices, "devices", advice="Use Devices(...).")
    synapse = (
        PulsedSynapse(bits=devices.bits)
        if synapse is None
        else instance(synapse, PulsedSynapse, "synapse", advice="Use PulsedSynapse(...).")
    )
    plan = InSituRule() if plan is None else instance(plan, InSituRule, "plan", advice="Use InSituRule(...).")
    chips, time_s = several_chips(chips, len(W)), not_negative(time_s, "time_s", "seconds")
    scale, reference = room_for(W, devices, _headroom(headroom))
    seed = count(seed, "seed", 0)
    population = learning_chips(W, devices, synapse, chips, seed, scale, plan.sense_mismatch, reference)
    # Chips that were only programmed drift just as long as the others learn.
    end_s = time_s + len(inputs) * plan.sample_s
    exported = np.stack([_exported(W, devices, seed, k, end_s) for k in range(chips)])
    records = count(records, "records", most=len(inputs))
    marks = np.linspace(0, len(inputs), records + 1).astype(np.int64)
    course = [_residuals(population.weights(time_s), sigma)[0]]
    for begin, end in itertools.pairwise(marks.tolist()):
        learn_in_situ(population, inputs, synapse, plan, time_s=time_s, begin=begin, end=end)
        course.append(_residuals(population.weights(time_s + end * plan.sample_s), sigma)[0])
    weights = population.weights(end_s)
    before, before_margin = _residuals(exported, sigma)
    after, after_margin = _residuals(weights, sigma)
    counts = {name: population.counters[:, k].copy() for k, name in enumerate(COUNTERS)}
    return InSituComparison(
        before, after, before_margin, after_margin, marks, np.stack(course), weights, population.leak, counts
    )


def learn_in_situ(
    chips: LearningChips,
    X: Floats,
    synapse: PulsedSynapse,
    plan: InSituRule,
    *,
    time_s: float = 0.0,
    begin: int = 0,
    end: int | None = None,
) -> None:
    """Let chips learn from rows `begin` to `end` of X, in place.

    ::

        ΔR_ij = η (s_i − i_ij) x̄_j + η R_ij (x̄_j² − p_j)

    Parameters
    ----------
    chips : LearningChips
        Changed in place.
    X : (samples, n) array
        The whole stream: rates and powers follow from all of it.
    synapse : PulsedSynapse
        How devices move.
    plan : InSituRule
        Rate, gain, tests.
    time_s : float, default 0
        Seconds since programming at the first row of X.
    begin, end : int
        Rows to learn from.

    Raises
    ------
    InputError
        If X is silent or has another number of units than the chips.
    ConfigError
        If a setting is not of its kind.
    """
    if not isinstance(chips, LearningChips):
        raise InputError(f"chips must be LearningChips; got {type(chips).__name__}. Use learning_chips(R, ...).")
    instance(synapse, PulsedSynapse, "synapse", advice="Use PulsedSynapse(...).")
    X = samples(X, "X", features=chips.leak.shape[1]).astype(float)
    power = _power(X)
    rates, powers = (
        instance(plan, InSituRule, "plan", advice="Use InSituRule(...).").rates(len(X)) / power,
        plan.powers(X),
    )
    begin = count(begin, "begin", least=0, most=len(X))
    end = len(X) if end is None else count(end, "end", least=begin, most=len(X))
    time_s = not_negative(time_s, "time_s", "seconds")
    # Drift changes the factors of all devices as time passes; without a duration of a sample nothing drifts.
    stretch = STRETCH if plan.sample_s else max(end - begin, 1)
    for first in range(begin, end, stretch):
        rows = slice(first, min(first + stretch, end))
        kernels.learn_chips(
            kernels.ChipState(
                chips.pairs,
                chips.factors(time_s + first * plan.sample_s),
                chips.limits,
                chips.leak,
                chips.rest,
                chips.sense,
                chips.counters,
                chips.state,
            ),
            np.ascontiguousarray(X[rows]),
            rates[rows],
            powers,
            chips.floor,
            plan.gain != "none",
            synapse.pulses(chips.unit),
            plan.stability_test(np.sqrt(power)),
        )


def _headroom(value: Any) -> float:
    """Return `value` as a number ≥ 1: less would not even hold R."""
    result = positive(value, "headroom")
    if result < 1:
        raise ConfigError(f"headroom must be ≥ 1, the largest weight of R itself; got {value!r}.")
    return result


def _power(X: Floats) -> float:
    """Return the mean power of the inputs, in units of which the chips learn."""
    power = float(np.mean(X * X))
    if power <= 0:
        raise InputError("X must have power, in units of which chips learn; its mean square is 0. Give a signal.")
    return power


def _require_definite(sigma: Floats) -> None:
    """Raise unless residuals can be measured by this covariance."""
    gap = np.abs(sigma - sigma.T)
    if gap.max() > 1e-6 * np.abs(sigma).max():
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        raise InputError(
            f"covariance must be symmetric; got {sigma[i, j]:g} at row {i}, column {j}, and {sigma[j, i]:g} at row "
            f"{j}, column {i}. Use (covariance + covariance.T) / 2."
        )
    least = float(np.linalg.eigvalsh(sigma)[0])
    if least <= 0:
        raise InputError(
            f"covariance must be positive definite; its smallest eigenvalue is {least:.3g}. Leave out units that "
            f"follow from others, or add εI to it."
        )


def _exported(R: Floats, devices: Devices, seed: int, chip: int, time_s: float) -> Floats:
    manufacture, programming, _ = chip_streams(seed, chip)
    return devices.manufacture((len(R), len(R)), manufacture).program(R, programming).weights(time_s)


def _residuals(weights: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Return residual correlation, infinite where unstable, and min Re λ of each chip."""
    margins = margin(weights)
    residual = np.full(len(weights), np.inf)
    for k in np.flatnonzero(margins > 0):
        M = np.linalg.inv(weights[k])
        residual[k] = measures.rms_correlation(covariance=M @ sigma @ M.T)
    return residual, margins
