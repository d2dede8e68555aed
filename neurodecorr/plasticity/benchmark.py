"""The harness: every rule on the same stream, measured against the population covariance and the closed form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import count, instance, offers, positive, samples, several, shaped, square
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import DivergenceError, InputError, StabilityError
from neurodecorr.measures import power, rms_correlation
from neurodecorr.plasticity.baselines import Rule
from neurodecorr.plasticity.closed_form import decorrelating_matrix
from neurodecorr.plasticity.learn import advance
from neurodecorr.plasticity.spec import LearningRule
from neurodecorr.plasticity.state import State, initial_state


@short_repr
@dataclass(frozen=True)
class RelativeRule:
    """The relative rules of `learn`, with the interface of `rivals.Rule`.

    Parameters
    ----------
    plan : LearningRule
        Form, rule, rate, gain. Its `batch` divides each block of the stream again.
    """

    plan: LearningRule

    def __post_init__(self) -> None:
        instance(self.plan, LearningRule, "plan")

    @property
    def name(self) -> str:
        """How tables call the rule."""
        plan = self.plan
        words = [
            f"{plan.rule} {'R' if plan.recurrent else 'M'}",
            "no gain" if plan.gain == "none" else f"{plan.gain} gain",
        ]
        words.append(f"b = {plan.batch}")
        return ", ".join([*words, "decaying"] if math.isfinite(plan.timing.hold) else words)

    def start(self, features: int, scale: float = 1.0) -> State:
        """Return the state with M = scale · I, R = I / scale."""
        require_memory(8 * (count(features, "features") ** 2), "the weights")
        state, scale = initial_state(np.ones((1, features)), self.plan), positive(scale, "scale")
        return replace(state, M=state.M * scale, R=state.R / scale)

    def step(self, weights: State, X: Floats) -> State:
        """Return the state after the rows of X."""
        return advance(weights, X, self.plan)

    def matrix(self, weights: State) -> Floats:
        """Return M."""
        return weights.matrix

    def lateral(self, weights: State) -> Floats | None:
        """Return R, if it is what was learnt."""
        return weights.R if self.plan.recurrent else None


@short_repr
@dataclass(frozen=True)
class RuleHistory:
    """History of one rule on one stream; entry 0 is the start.

    Parameters
    ----------
    rule : str
        Name of the rule.
    samples : (k,) integer array
        Samples seen at each record.
    correlation : (k,) array
        rms off-diagonal correlation of the output, from the population covariance.
    power : (k,) array
        Mean output power, in squared units of x.
    margin : (k,) array
        min Re λ(R) of the rule's circuit, or of R = M⁻¹ where it learns M: the circuit settles iff > 0.
    matrix : (n, n) array
        Last finite M.
    stopped : str
        Why the course ended before the stream did; empty if it did not.
    """

    rule: str
    samples: npt.NDArray[np.integer[Any]]
    correlation: Floats
    power: Floats
    margin: Floats
    matrix: Floats
    stopped: str = ""


def run_rule(
    rule: Rule, batches: Iterable[Floats], covariance: Any, scale: float = 1.0, every: int = 1, weights: Any = None
) -> RuleHistory:
    """Run one rule along a stream and record how correlated and how strong its output is.

    ::

        C = M Σ Mᵀ

    Parameters
    ----------
    rule : Rule
        What learns.
    batches : iterable of (b, n) arrays
        The stream, already without its mean; b = 1 is single-sample learning.
    covariance : (n, n) array_like
        Population covariance Σ, by which the output is judged.
    scale : float, default 1
        Start at M = scale · I.
    every : int, default 1
        Batches between records; the last is always recorded.
    weights : optional
        Start here instead: what an earlier `rule.step` returned.

    Returns
    -------
    RuleHistory
        The records. A rule that diverges ends its course early; `stopped` says where and why.

    Examples
    --------
    >>> from neurodecorr.plasticity.baselines import Easi
    >>> stream = [np.array([[1.0, 0.0], [0.0, 2.0]])] * 2000
    >>> course = run_rule(Easi(rate=1e-2), stream, np.diag([0.5, 2.0]), every=1000)
    >>> np.round(course.matrix, 6)
    array([[1.414214, 0.      ],
           [0.      , 0.707107]])
    """
    sigma = square(covariance, "covariance").astype(float)
    every, seen, stopped = count(every, "every"), 0, ""
    offers(rule, ("start", "step", "matrix", "lateral"), "rule", "a rule, such as Easi(rate=1e-2)")
    if not isinstance(batches, Iterable) or isinstance(batches, str | bytes) or getattr(batches, "ndim", 3) != 3:
        raise InputError(f"batches must be an iterable of (b, n) arrays; got {type(batches).__name__}.")
    if weights is not None:
        like = rule.start(len(sigma))
        instance(weights, type(like), "weights", "what an earlier step of this rule returned")
        if isinstance(like, np.ndarray):
            weights = shaped(weights, "weights", *like.shape)
    weights = rule.start(len(sigma), positive(scale, "scale")) if weights is None else weights
    with one_thread(len(sigma)):
        records, matrix = [(0, *_measure(rule, weights, sigma))], rule.matrix(weights)
        for index, batch in enumerate(batches):
            X = samples(batch, f"batch {index}", len(sigma))
            try:
                weights, matrix = _advance(rule, weights, X)
            except (DivergenceError, StabilityError, np.linalg.LinAlgError) as error:
                stopped = f"batch {index}: {error}"
                break
            seen += len(X)
            if (index + 1) % every == 0:
                records.append((seen, *_measure(rule, weights, sigma)))
        if seen > records[-1][0]:
            records.append((seen, *_measure(rule, weights, sigma)))
    when, correlation, strength, margin = np.array(records).T
    return RuleHistory(rule.name, when.astype(int), correlation, strength, margin, matrix, stopped)


def _advance(rule: Rule, weights: Any, X: Floats) -> tuple[Any, Floats]:
    with np.errstate(all="ignore"):  # overflow is told from the weights, just below
        weights = rule.step(weights, X)
        M = rule.matrix(weights)
    if not np.isfinite(M).all() or np.abs(M).max() > 1e100:
        raise DivergenceError(f"the weights of {len(M)} units left the finite numbers. Lower rate or initial scale.")
    return weights, M


def _measure(rule: Rule, weights: Any, sigma: Floats) -> tuple[float, float, float]:
    M = rule.matrix(weights)
    C = M @ sigma @ M.T
    R = rule.lateral(weights)
    return rms_correlation(covariance=C), power(covariance=C), margin(M, inverse=True) if R is None else margin(R)


@short_repr
@dataclass(frozen=True)
class Distance:
    """Distance of a rule from the closed forms at its end.

    Parameters
    ----------
    rule : str
        Name of the rule.
    correlation, power, margin : float
        Last record of the course.
    node, layer : float
        ‖M − M*‖/‖M*‖ to the closed form that keeps each unit's power, or the layer's.
    shape : float
        The same to the first, after each row of M is scaled to fit best: blind to the gain.
    stopped : str
        Why the course ended early; empty if it did not.
    """

    rule: str
    correlation: float
    power: float
    margin: float
    node: float
    layer: float
    shape: float
    stopped: str


def distances(courses: Sequence[RuleHistory], covariance: Any) -> tuple[Distance, ...]:
    """Return how far each course ended from the closed forms M* of `decorrelating_matrix`.

    ::

        ‖M − M*‖ / ‖M*‖    (Frobenius)

    Parameters
    ----------
    courses : sequence of RuleHistory
        From `run_rule`, all on inputs with this covariance.
    covariance : (n, n) array_like
        Population covariance Σ.

    Returns
    -------
    tuple of Distance
        One per course, in order.
    """
    several(courses, RuleHistory, "courses")
    node, layer = (decorrelating_matrix(covariance, gain) for gain in ("node", "layer"))
    return tuple(
        Distance(
            course.rule,
            float(course.correlation[-1]),
            float(course.power[-1]),
            float(course.margin[-1]),
            _relative(course.matrix, node),
            _relative(course.matrix, layer),
            _relative(_fitted(course.matrix, node), node),
            course.stopped,
        )
        for course in courses
    )


def format_distances(table: Sequence[Distance]) -> str:
    """Return the distances as a text table, one rule a line."""
    several(table, Distance, "table", least=1)
    width = max(len(row.rule) for row in table)
    lines = [f"{'rule':{width}}  rms corr    power  margin R  to node M*  to layer M*  shape"]
    for row in table:
        numbers = f"{row.correlation:8.4f} {row.power:8.3g} {row.margin:9.3g} {row.node:11.3g} {row.layer:12.3g}"
        lines.append(f"{row.rule:{width}}  {numbers} {row.shape:6.3g}" + ("  stopped early" if row.stopped else ""))
    return "\n".join(lines)


def _relative(M: Floats, target: Floats) -> float:
    return float(np.linalg.norm(M - target) / np.linalg.norm(target))


def _fitted(M: Floats, target: Floats) -> Floats:
    squares = (M * M).sum(axis=1)
    factors = (M * target).sum(axis=1) / np.where(squares > 0, squares, math.inf)
    return np.asarray(factors[:, None] * M)
