"""How to learn: form, rule, rate, and what keeps the output's power."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurodecorr._texts import short_repr
from neurodecorr._validation import RATES, choice, count, positive, rule_name
from neurodecorr.errors import ConfigError
from neurodecorr.plasticity import steps
from neurodecorr.plasticity.steps import FASTEST_MEMORY


def never(value: object) -> bool:
    """Tell whether a time is infinite, whichever object says so: `math.inf`, `numpy.inf` or `float("inf")`."""
    return isinstance(value, float | np.floating) and bool(value == math.inf)


@short_repr
@dataclass(frozen=True)
class Constant:
    """Keep the rate as it is: for inputs whose statistics change.

    The price is a noise floor that grows with the rate.

    Examples
    --------
    >>> rate_at(Constant(), 1e-3, clock=50.0)
    0.001
    """

    hold: float = math.inf
    half: float = 1.0

    def __post_init__(self) -> None:
        if not never(self.hold):
            positive(self.hold, "hold")
        positive(self.half, "half")


@short_repr
@dataclass(frozen=True)
class Decay:
    """Search at a constant rate, then converge.

    ::

        η = η₀ exp(−max(0, s − hold)/half),    s = Σ η

    The clock s is the sum of the rates used so far, so one schedule serves every rate, limited steps included: the
    weak directions of the input grow by a factor e per unit of s. Once `hold` has passed, the law above is
    η(t) = η₀/(1 + η₀t/half), that is half/t. The relative rule makes each remaining correlation decay as exp(−2s),
    whatever the covariance; so half = ½ is the rate of a running average (Robbins–Monro): the rule forgets where it
    started and weighs all samples since alike.

    Parameters
    ----------
    hold : float, default 6.5
        Clock at which the rate begins to fall; weak directions have then grown e^6.5 ≈ 700-fold.
    half : float, default 0.5
        Clock interval over which the rate falls by e.

    Examples
    --------
    >>> rate_at(Decay(), 1e-3, clock=6.0)
    0.001
    """

    hold: float = 6.5
    half: float = 0.5

    def __post_init__(self) -> None:
        positive(self.hold, "hold")
        positive(self.half, "half")


Schedule = Constant | Decay
_NAMED: dict[str, Schedule] = {"constant": Constant(), "decay": Decay()}


def schedule_named(value: object) -> Schedule:
    """Return the schedule called `value` ("constant" or "decay"), or `value` itself if it is one."""
    if isinstance(value, Constant | Decay):
        return value
    if isinstance(value, str) and value in _NAMED:  # asked in every block of samples
        return _NAMED[value]
    if not isinstance(value, str):
        raise ConfigError(f"schedule must be 'constant', 'decay', or an instance of Decay; got {value!r}.")
    return _NAMED[choice(value, "schedule", _NAMED)]


def rate_at(schedule: Schedule, rate: float, clock: float) -> float:
    """Return the learning rate once the rates used so far add up to `clock`."""
    return rate * math.exp(-max(0.0, clock - schedule.hold) / schedule.half)


def clock_after(schedule: Schedule, rate: float, clock: float, rows: float) -> float:
    """Return the clock after `rows` samples, ds/dt = η(s): linear until `hold`, then s + half · ln(1 + η t/half)."""
    held = min(rows, max(0.0, schedule.hold - clock) / rate)
    clock += held * rate
    rest = rows - held
    if rest <= 0:
        return clock
    return clock + schedule.half * math.log1p(rate_at(schedule, rate, clock) * rest / schedule.half)


def rows_until(schedule: Schedule, rate: float, clock: float, later: float) -> float:
    """Return the samples that take the clock to `later`: the inverse of `clock_after`."""
    held = max(0.0, min(later, schedule.hold) - clock)
    rest = later - clock - held
    if rest <= 0:
        return held / rate
    after = rate_at(schedule, rate, clock + held)
    return held / rate + schedule.half / after * math.expm1(rest / schedule.half)


RULES = {"explicit": steps.EXPLICIT, "implicit": steps.LOCAL, "congruent": steps.CONGRUENT}
GAINS = {"node": steps.NODE_GAIN, "layer": steps.LAYER_GAIN, "none": steps.NO_GAIN}
MEANS = ("running", "batch", "none")
ENGINES = ("auto", "plain", "fused", "delayed")


@short_repr
@dataclass(frozen=True)
class LearningRule:
    """Description of how R or M learns: form, rule, rate, gain, limit.

    Parameters
    ----------
    form : {"recurrent", "feedforward"}
        Learn R from its own settled states, or M.
    rule : {"implicit", "explicit", "congruent"}
        "local" is another name of "implicit", whose change of R is local to each synapse.
    rate : float
        Learning rate η > 0 of one sample, in the unit that `rate_is` names.
    schedule : {"decay", "constant"} or Decay
        How the rate falls.
    gain : {"node", "layer", "none"}
        Whose power is kept: each unit's, the layer's, or nobody's.
    mean : {"running", "batch", "none"}
        What is subtracted from the input.
    batch : int
        Samples per update; 1 selects the compiled single-sample rule. A batch of b samples weighs as much as they do
        one by one: M ← (I + ηb C)⁻¹ M with C = ⟨x̄x̄ᵀ⟩, in several steps where η b λ_max(C) > ¼. A short last batch
        counts by its rows.
    limit : float or None
        Largest η·tr⟨x̄x̄ᵀ⟩, where η is of one sample; larger steps are shortened and counted.
    rate_is : {"relative", "absolute"}
        Unit of the rate: one over the mean input power ⟨x²⟩, or 1/x² as the inputs come.
    strongest : float or None
        Largest singular value of M; beyond it a direction carries no signal (None: 1e7 in float64, 3e3 in float32).
    engine : {"auto", "plain", "fused", "delayed"}
        How single samples are computed; the numbers agree to rounding. "plain": every weight by its rule, sample by
        sample. "fused": one pass over M a sample. "delayed": M touched once a block; the congruent rule, which needs M
        at every sample, is fused then, too. "auto": delayed from 256 units on (320 if BLAS has one thread), else fused.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Algorithm 1.
    """

    form: str = "recurrent"
    rule: str = "implicit"
    rate: float = 1e-3
    schedule: str | Schedule = "decay"
    gain: str = "node"
    mean: str = "running"
    batch: int = 1
    limit: float | None = 0.1
    rate_is: str = "relative"
    strongest: float | None = None
    engine: str = "auto"

    def __post_init__(self) -> None:
        choice(self.form, "form", ("recurrent", "feedforward"))
        object.__setattr__(self, "rule", rule_name(self.rule))
        object.__setattr__(self, "rate", positive(self.rate, "rate"))
        choice(self.rate_is, "rate_is", RATES)
        schedule_named(self.schedule)
        choice(self.gain, "gain", GAINS)
        choice(self.mean, "mean", MEANS)
        choice(self.engine, "engine", ENGINES)
        count(self.batch, "batch")
        for name in ("limit", "strongest"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, positive(getattr(self, name), name))
        if self.mean == "batch" and self.batch == 1:
            raise ConfigError("mean='batch' needs batch > 1, since one sample minus its own mean is zero; got batch=1.")

    @cached_property
    def recurrent(self) -> bool:
        """Whether R is learnt (and M follows as its twin)."""
        return self.form == "recurrent"

    @cached_property
    def relative(self) -> bool:
        """Whether the rate is relative to the mean input power."""
        return self.rate_is == "relative"

    @cached_property
    def timing(self) -> Schedule:
        """The schedule of the rate."""
        return schedule_named(self.schedule)

    @cached_property
    def memory(self) -> float:
        """Least weight of a sample in the running mean and power.

        At a falling rate they are plain averages. At a constant rate they forget at the rate of learning, but no faster
        than 0.1 (P0): a mean that follows each sample would leave nothing of it to learn from.
        """
        return 0.0 if math.isfinite(self.timing.hold) else min(self.rate, FASTEST_MEMORY)

    def require_samples(self, samples: int) -> None:
        """Refuse a batch of more samples than there are."""
        if self.batch > samples:
            raise ConfigError(
                f"batch must be at most the number of samples; got batch={self.batch} for {samples} sample(s). "
                f"batch={samples} takes all of them at once."
            )

    def visits(self, features: int) -> int:
        """Return how many samples the rate needs to do its work: thrice its holding time, or 20/η if it is constant.

        It does not depend on the batch.
        """
        n = count(features, "features")
        rate = self.rate if self.limit is None else min(self.rate, self.limit / n)
        hold = self.timing.hold
        return math.ceil((3 * hold if math.isfinite(hold) else 20.0) / rate)
