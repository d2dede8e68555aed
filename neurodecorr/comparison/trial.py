"""One trial of a comparison: learn, settle, certify, perturb."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import measures, plasticity
from neurodecorr._numerics.blas import one_thread
from neurodecorr._typing import Floats
from neurodecorr.circuit import Circuit, certificate, integrate, settle, stability
from neurodecorr.circuit.model import mismatched
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.circuit.stability import is_stable, margin, predicted_settling_time
from neurodecorr.comparison.comparison import Entry
from neurodecorr.errors import DivergenceError, StabilityError
from neurodecorr.io.observer import LogSpaced, spans
from neurodecorr.measures import NullDirections
from neurodecorr.plasticity import LearningRule, State
from neurodecorr.plasticity.learn import advance

# Points at which learning is looked at; held-out samples that are settled, perturbed, and drawn as paths.
LOOKS, SETTLED, PATHS, PATH_POINTS = 40, 256, 5, 200
# Error of paths over the largest activity: far below the distances that are drawn.
PATH_TOLERANCE = 1e-12
# Units beyond which learning is looked at less often, as a look takes the eigenvalues of R.
MANY_UNITS, FEW_LOOKS = 256, 12
# Samples whose products are counted for so many units, and products at which counting ends: a learner that amplified
# what rounding left of a silent direction would need millions.
COUNTED, MOST_PRODUCTS = 16, 5_000
# Shares of a trial's time, about, after which learning, settling and mismatch are done.
LEARNT, SETTLED_BY, DONE = 0.6, 0.75, 1.0


@dataclass(frozen=True)
class TrialInputs:
    """Inputs that all trials of a comparison share: stream, held-out samples, covariance, reference, mismatch.

    ::

        M* Σ M*ᵀ = diag(Σ),    R* = M*⁻¹

    `reference` is M*, `circuit` its R*; `null` names the directions of the stream without signal.
    """

    stream: Floats
    held_out: Floats
    covariance: Floats
    reference: Floats
    circuit: Floats
    null: NullDirections
    mean: Floats
    tol: float
    levels: Floats
    draws: int
    seed: int

    def correlation(self, covariance: Floats) -> float:
        """Rms correlation between the units that carry a signal of their own in the stream."""
        return measures.correlation_between(measures.counted_covariance(covariance, self.live))

    @cached_property
    def live(self) -> npt.NDArray[np.intp]:
        """Units that carry a signal of their own in the stream."""
        return self.null.live

    @cached_property
    def power(self) -> float:
        """Mean power of the held-out input."""
        return measures.power(covariance=self.covariance)

    @property
    def looks(self) -> int:
        """Number of updates between two inspections."""
        return LOOKS if len(self.covariance) <= MANY_UNITS else FEW_LOOKS


@dataclass(frozen=True)
class TrialHistory:
    """Last state of a trial, and what was recorded while it learnt."""

    M: Floats
    R: Floats
    mean: Floats
    looks: Floats  # (k, 4): step, margin, correlation, power
    failure: str
    limited: int
    learnt: int
    seconds: float


def run_trial(
    name: str,
    form: str,
    rule: str,
    plan: LearningRule | None,
    bench: TrialInputs,
    tell: Callable[[float], None] | None = None,
) -> Entry:
    """Let one form learn from the stream, and measure it on the held-out samples.

    ::

        rms correlation √⟨ρ_ij²⟩_{i≠j} of M Σ Mᵀ, Σ the covariance of the held-out samples

    Parameters
    ----------
    name, form, rule : str
        What is tried; `form` is "offline", "feedforward" or "recurrent".
    plan : LearningRule or None
        How to learn; None for the closed form.
    bench : TrialInputs
        Common inputs.
    tell : callable, optional
        Called now and then with the share of the trial that is done.
    """
    tell = tell or _silent
    with one_thread(len(bench.covariance)):
        course = _offline(bench) if plan is None else _learnt(plan, bench, tell)
        M, R = course.M, course.R
        output = M @ bench.covariance @ M.T
        settling = _settling(R, course.mean, bench) if form == "recurrent" else _instant(R)
        tell(SETTLED_BY)
        spectrum = Spectrum(R.astype(np.float64))
        return Entry(
            name=name,
            form=form,
            rule=rule,
            failure=course.failure,
            learnt=course.learnt,
            limited=course.limited,
            seconds=course.seconds,
            correlation=bench.correlation(output),
            relative=measures.relative_off_diagonal(covariance=output, units=bench.live.tolist()),
            power=_power(output) / bench.power,
            twin_error=measures.twin_error(R, M) if plan is not None else _reference_error(R, M, bench),
            distance=_output_distance(M, bench),
            matrix=M,
            lateral=R,
            covariance=output,
            eigenvalues=spectrum.eigenvalues,
            margin=spectrum.margin,
            steps=course.looks[:, 0].astype(np.int64),
            margins=course.looks[:, 1],
            correlations=course.looks[:, 2],
            powers=course.looks[:, 3],
            mismatch_error=_mismatch(M, R, form == "recurrent", course.mean, bench, tell),
            mean=course.mean,
            **settling,
        )


def _silent(share: float) -> None:
    """Ignore progress."""


def _reference_error(R: Floats, M: Floats, bench: TrialInputs) -> float:
    """Return ‖R*M* − P‖/√n: M* is zero in null directions, which P leaves out."""
    return float(np.linalg.norm(R @ M - bench.null.projector) / math.sqrt(len(R)))


def _output_distance(M: Floats, bench: TrialInputs) -> float:
    """Return √(⟨‖(M − M*)x‖²⟩/⟨‖M*x‖²⟩): what a difference of weights does to outputs; silent units do not count."""
    gap, S = M - bench.reference, bench.covariance
    return math.sqrt(np.trace(gap @ S @ gap.T) / np.trace(bench.reference @ S @ bench.reference.T))


def _offline(bench: TrialInputs) -> TrialHistory:
    return TrialHistory(bench.reference, bench.circuit, bench.mean, np.empty((0, 4)), "", 0, len(bench.stream), 0.0)


def _learnt(plan: LearningRule, bench: TrialInputs, tell: Callable[[float], None]) -> TrialHistory:
    stream = bench.stream
    total = max(len(stream), plan.visits(stream.shape[1]))
    state, failure, seconds = plasticity.initial_state(stream, plan), "", 0.0
    # Inspections evenly spaced in the logarithm: most of the change happens early.
    looks = [_look(state, 0, bench)]
    for begin, end in spans(LogSpaced(bench.looks, total), total):
        # A stream shorter than the rate needs is presented again from its start.
        rows = np.arange(begin, end) % len(stream)
        # Only learning is timed, not the inspections, which other users do not pay for.
        started = time.perf_counter()
        try:
            state = advance(state, stream[rows], plan)
        except (StabilityError, DivergenceError) as error:
            failure = str(error)
            break
        seconds += time.perf_counter() - started
        looks.append(_look(state, end, bench))
        tell(LEARNT * end / total)
    mean = state.mean * state.scale
    return TrialHistory(
        state.M, state.lateral, mean, np.array(looks), failure, state.limited, int(looks[-1][0]), seconds
    )


def _look(state: State, step: int, bench: TrialInputs) -> tuple[float, float, float, float]:
    output = state.M @ bench.covariance @ state.M.T
    return float(step), margin(state.lateral), bench.correlation(output), _power(output) / bench.power


def _power(C: Floats) -> float:
    return float(np.trace(C) / len(C))


def _settling(R: Floats, mean: Floats, bench: TrialInputs) -> dict[str, Any]:
    """Settle held-out samples: how far from the fixed point at worst, how long, how many products."""
    circuit = Circuit(R)
    drive = bench.held_out[:SETTLED] - mean
    timed = settle(circuit, drive, bench.tol, relative=True, method="exponential")
    counted = drive if len(R) <= MANY_UNITS else drive[:COUNTED]
    products = settle(circuit, counted, bench.tol, relative=True, method="chebyshev", max_steps=MOST_PRODUCTS).products
    sizes = np.linalg.norm(timed.xbar, axis=1)
    facts = stability(circuit)
    return {
        "settling_error": float(np.max(timed.bound / sizes)),
        "settling_time": float(np.median(timed.time)),
        "settling_time_worst": float(np.max(timed.time)),
        "predicted_time": float(np.median(predicted_settling_time(circuit, drive / sizes[:, None], bench.tol))),
        "products": float(np.median(products)),
        "condition": facts.condition,
        "synapses": R.size,
        "operations": float(np.median(products)) * R.size,
        **_paths(circuit, drive[:PATHS], float(np.max(timed.time))),
    }


def _paths(circuit: Circuit, drive: Floats, end: float) -> dict[str, Floats]:
    """Follow a few samples to their fixed point: true relative distance beside its certified bound."""
    # Dense at the start, where the fast modes settle.
    t = end * np.linspace(0, 1, PATH_POINTS) ** 2
    rest = settle(circuit, drive, method="direct").xbar
    path = np.swapaxes(integrate(circuit, drive, end, times=t, rtol=PATH_TOLERANCE).xbar, 0, 1)
    size = np.linalg.norm(rest, axis=1)[:, None]
    bound = [
        certificate(circuit, np.broadcast_to(x, xbar.shape), xbar).bound for x, xbar in zip(drive, path, strict=True)
    ]
    return {
        "path_time": t,
        "path_error": np.linalg.norm(path - rest[:, None], axis=2) / size,
        "path_bound": np.array(bound) / size,
    }


def _instant(R: Floats) -> dict[str, Any]:
    """Return the same fields for a form that is one matrix product."""
    return {
        "settling_error": 0.0,
        "settling_time": 0.0,
        "settling_time_worst": 0.0,
        "predicted_time": 0.0,
        "products": 1.0,
        "condition": float(np.linalg.cond(R)),
        "synapses": R.size,
        "operations": float(R.size),
        "path_time": np.empty(0),
        "path_error": np.empty((0, 0)),
        "path_bound": np.empty((0, 0)),
    }


def _mismatch(
    M: Floats, R: Floats, recurrent: bool, mean: Floats, bench: TrialInputs, tell: Callable[[float], None]
) -> Floats:
    """Return the rms relative output error of copies with synaptic mismatch.

    The draws ξ are the same for every form. A circuit that lost stability has no output: its error is infinite.
    """
    drive = bench.held_out[:SETTLED] - mean
    ideal = drive @ M.T
    errors = np.empty((len(bench.levels), bench.draws))
    for i, level in enumerate(bench.levels):
        for k in range(bench.draws):
            # The draw depends on level and number alone: all forms meet the same mismatch.
            rng = np.random.default_rng(np.random.SeedSequence(bench.seed, spawn_key=(i, k)))
            errors[i, k] = _output_error(mismatched(R if recurrent else M, level, rng), recurrent, drive, ideal)
            tell(SETTLED_BY + (DONE - SETTLED_BY) * (i * bench.draws + k + 1) / errors.size)
    return errors


def _output_error(weights: Floats, recurrent: bool, drive: Floats, ideal: Floats) -> float:
    output: Floats
    if not recurrent:
        output = drive @ weights.T
    elif not is_stable(weights):
        return math.inf
    else:
        output = np.linalg.solve(weights, drive.T).T
    return float(np.linalg.norm(output - ideal) / np.linalg.norm(ideal))
