"""Learning R in 8 or 16 bits, in whole numbers throughout, with rounding at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import Floats, choice, count, flag, samples, square
from neurodecorr._memory import require_memory
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.insitu import integer_kernels, integers_plain
from neurodecorr.hardware.insitu.codes import INTEGER_COUNTERS
from neurodecorr.hardware.insitu.kinds import setting

__all__ = ["IntegerPlan", "IntegerState", "integer_state", "learn_integers"]

Integers = npt.NDArray[np.int64]
ENGINES = ("compiled", "plain")
# Bits of an activity, sign included.
ACTIVITY_BITS = 16
LARGEST_ACTIVITY = 2 ** (ACTIVITY_BITS - 1) - 1
# Of a generator without memory of its seed.
LARGEST_WORD = 2**32 - 1
# Of a number of 64 bits, sign included.
MOST_SHIFT = 62


@dataclass(frozen=True)
class IntegerPlan:
    """How a digital chip learns R in whole numbers.

    ::

        ΔR_ij = 2⁻ᵉ Σ_batch (s_i x̄_j − R_ij p_j),    rounded to the last bit of R: at random, or to the nearest

    Parameters
    ----------
    bits : int, default 16
        Bits of a weight, sign included, 3 … 24.
    whole : int, default 1
        Bits before the binary point: weights lie between ± 2^whole; inputs are in units of their root mean power.
    activity : int, default 8
        Fraction bits A of inputs and activities, which have 16 bits in all.
    guard : int, default 6
        Further bits G of the activity while it settles.
    pace : int, default 2
        A step of settling is 2⁻ˢ τ.
    most : int, default 512
        Most steps of settling.
    rail : int, default 4
        An activity that reaches 2^rail times the root mean power of the inputs is held there; its unit raises its own
        R_ii by 2⁻⁴, and the sample is not learnt from.
    rate : int, default 9
        e of the first samples: η = 2⁻⁹ ≈ 2e-3.
    hold : int, default 1024
        Samples before e rises by 1, and again at twice, four, eight times as many: η falls as 1/t.
    batch : int, default 1
        Samples whose changes are summed in 64 bits before R is touched.
    stochastic : bool, default True
        Round at random.
    """

    bits: int = 16
    whole: int = 1
    activity: int = 8
    guard: int = 6
    pace: int = 2
    most: int = 512
    rail: int = 4
    rate: int = 9
    hold: int = 1024
    batch: int = 1
    stochastic: bool = True

    def __post_init__(self) -> None:
        for name in ("bits", "most", "hold", "batch", "activity"):
            count(getattr(self, name), name)
        for name in ("whole", "guard", "pace", "rate", "rail"):
            count(getattr(self, name), name, least=0, most=MOST_SHIFT)
        flag(self.stochastic, "stochastic")
        if not 3 <= self.bits <= 24:
            raise ConfigError(f"bits must lie between 3 and 24; got {self.bits!r}.")
        if self.fraction < 1:
            raise ConfigError(f"whole must leave a bit after the point: at most {self.bits - 2}; got {self.whole!r}.")
        if self.activity > ACTIVITY_BITS - 3:
            raise ConfigError(f"activity must be at most {ACTIVITY_BITS - 3} fraction bits; got {self.activity!r}.")
        # Sums of up to 2¹² products of a weight and a settling activity, and a batch's changes, must fit into 63 bits.
        products = self.bits + ACTIVITY_BITS + self.guard + 12
        wide = max(products, 2 * ACTIVITY_BITS + self.fraction + self.batch.bit_length())
        if wide > 63:
            raise ConfigError(f"bits, guard and batch must leave room in 64 bits; these need {wide} of 63.")

    @property
    def fraction(self) -> int:
        """Fraction bits F of a weight."""
        return self.bits - 1 - self.whole

    @property
    def formats(self) -> dict[str, int]:
        """What a state is written in: bits and fraction bits of a weight, fraction bits of an activity."""
        return {"bits": self.bits, "fraction": self.fraction, "activity": self.activity}

    def shifts(self, samples: int, first: int = 0) -> Integers:
        """Return e of samples `first` … : one more at hold, 2 hold, 4 hold …"""
        first = count(first, "first", least=0, most=2**MOST_SHIFT)
        require_memory(8 * (count(samples, "samples", least=0)), "the rates of all samples")
        seen = (first + np.arange(samples, dtype=np.int64)) // self.hold
        return np.array([self.rate + int(k).bit_length() for k in seen], dtype=np.int64)

    def numbers(self) -> Integers:
        """Return what the kernel asks."""
        largest, limit = 2 ** (self.bits - 1) - 1, min(2 ** (self.activity + self.rail), LARGEST_ACTIVITY)
        settling = (self.fraction, self.activity, self.guard, self.pace, self.most, limit)
        return np.array([largest, *settling, self.batch, self.stochastic], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class IntegerState:
    """What was learnt, in whole numbers.

    Attributes
    ----------
    R : (n, n) int64 array
        Weights in units of their last bit, 2^−fraction.
    sums : (n, n) int64 array
        Changes gathered since the last update.
    word : int
        State of the generator.
    samples : int
        Samples seen.
    power : (n,) int64 array
        p_j in units of 2^(−2 activity).
    scale : float
        One over the root mean power of the inputs, by which they are multiplied before they become whole numbers.
    counts : dict of str to int
        Weights saturated, activities railed, samples unsettled.
    formats : dict of str to int
        What the numbers above are written in: bits and fraction bits of a weight, fraction bits of an activity.
    """

    R: Integers
    sums: Integers
    word: int
    samples: int
    power: Integers
    scale: float
    counts: dict[str, int]
    formats: dict[str, int]

    def __repr__(self) -> str:
        events = ", ".join(f"{name}={number}" for name, number in self.counts.items())
        return f"IntegerState(n={len(self.R)}, samples={self.samples}, {events})"

    def weights(self, plan: IntegerPlan) -> Floats:
        """Return R as real numbers, R 2^−fraction.

        Parameters
        ----------
        plan : IntegerPlan
            A plan with the formats that the state was made for.

        Returns
        -------
        (n, n) array

        Raises
        ------
        ConfigError
            If the plan has other formats.
        """
        _require_formats(self, plan)
        return np.asarray(np.ldexp(self.R.astype(float), -plan.fraction))


def integer_state(R: Any, X: Any, plan: IntegerPlan, seed: int = 1) -> IntegerState:
    """Return a state that starts from these weights, at the mean power of these inputs.

    Parameters
    ----------
    R : (n, n) array_like
        Weights to start from; rounded to the plan's last bit.
    X : (samples, n) array_like
        Inputs that show their power.
    plan : IntegerPlan
        Number formats.
    seed : int, default 1
        State of the generator, 1 … 2³² − 1.

    Returns
    -------
    IntegerState

    Raises
    ------
    InputError
        If a weight does not fit, or the inputs are silent.
    ConfigError
        If the plan is not an `IntegerPlan`, or the seed does not fit into 32 bits.
    """
    setting(plan, "plan", IntegerPlan)
    W, inputs = square(R, "R").astype(float), samples(X, "X", features=len(R)).astype(float)
    if not 1 <= count(seed, "seed") <= LARGEST_WORD:
        raise ConfigError(f"seed must lie between 1 and 2³² − 1: a generator at 0 stays there; got {seed!r}.")
    codes = np.rint(np.ldexp(W, plan.fraction))
    largest = 2 ** (plan.bits - 1) - 1
    if np.abs(codes).max() > largest:
        raise InputError(
            f"R must fit into {plan.bits} bits with {plan.fraction} after the point, at most "
            f"{largest / 2**plan.fraction:g} in size; got {np.abs(W).max():g}. Use more whole bits."
        )
    mean = float(np.mean(inputs**2))
    if mean <= 0:
        raise InputError("X must have power, to be measured in units of it; all its entries are 0.")
    power = np.full(len(W), 1 << (2 * plan.activity), dtype=np.int64)
    counts = dict.fromkeys(INTEGER_COUNTERS, 0)
    whole = codes.astype(np.int64)
    return IntegerState(whole, np.zeros_like(whole), seed, 0, power, mean**-0.5, counts, plan.formats)


def learn_integers(state: IntegerState, X: Any, plan: IntegerPlan, engine: str = "compiled") -> IntegerState:
    """Learn from the rows of X one by one, in whole numbers; the given state stays as it was.

    Parameters
    ----------
    state : IntegerState
        From `integer_state`, or from an earlier call.
    X : (samples, n) array_like
        Inputs with mean 0.
    plan : IntegerPlan
        The plan that the state was made for, or one with the same `formats`.
    engine : {"compiled", "plain"}
        The kernel, or plain Python; they agree bit for bit.

    Returns
    -------
    IntegerState

    Raises
    ------
    InputError
        If the state is not an `IntegerState`, or X has another number of units.
    ConfigError
        If the plan has other formats than the state.

    Examples
    --------
    >>> import numpy as np
    >>> from neurodecorr.data import correlated_gaussian
    >>> from neurodecorr.hardware.insitu import IntegerPlan, integer_state, learn_integers
    >>> X, plan = correlated_gaussian(3, 50, 10.0).inputs, IntegerPlan(bits=8)
    >>> start = integer_state(np.eye(3), X, plan)
    >>> one, other = (learn_integers(start, X, plan, engine).R for engine in ("compiled", "plain"))
    >>> bool((one == other).all())
    True
    """
    if not isinstance(state, IntegerState):
        raise InputError(f"state must be an IntegerState; got {type(state).__name__}. Use integer_state(R, X, plan).")
    _require_formats(state, plan)
    inputs = samples(X, "X", features=len(state.R)).astype(float)
    choice(engine, "engine", ENGINES)
    scaled = np.rint(np.ldexp(inputs * state.scale, plan.activity))
    whole = np.clip(scaled, -LARGEST_ACTIVITY, LARGEST_ACTIVITY).astype(np.int64)
    shifts, numbers = plan.shifts(len(inputs), state.samples), plan.numbers()
    counters = np.array([state.counts[name] for name in INTEGER_COUNTERS], dtype=np.int64)
    learn = _compiled if engine == "compiled" else _plain
    R, sums, word = learn(state, counters, whole, shifts, numbers)
    counts = dict(zip(INTEGER_COUNTERS, counters.tolist(), strict=True))
    return replace(state, R=R, sums=sums, word=word, samples=state.samples + len(inputs), counts=counts)


def _require_formats(state: IntegerState, plan: IntegerPlan) -> None:
    """Raise unless the plan reads the state's whole numbers as they were written."""
    wanted = setting(plan, "plan", IntegerPlan).formats
    if wanted != state.formats:
        made, got = (", ".join(f"{k} {v}" for k, v in formats.items()) for formats in (state.formats, wanted))
        raise ConfigError(
            f"plan must have the formats that the state was made for, {made}; got {got}. Give that plan, or "
            f"make a new state: integer_state(state.weights(old_plan), X, plan)."
        )


def _compiled(
    state: IntegerState, counters: Integers, X: Integers, shifts: Integers, numbers: Integers
) -> tuple[Integers, Integers, int]:
    R, sums, word = state.R.copy(), state.sums.copy(), np.array([state.word], dtype=np.int64)
    integer_kernels.learn_integer_stream(R, sums, word, counters, X, state.power, shifts, state.samples, numbers)
    return R, sums, int(word[0])


def _plain(
    state: IntegerState, counters: Integers, X: Integers, shifts: Integers, numbers: Integers
) -> tuple[Integers, Integers, int]:
    R, sums, counts = state.R.tolist(), state.sums.tolist(), counters.tolist()
    streams = (X.tolist(), state.power.tolist(), shifts.tolist(), state.samples, numbers.tolist())
    word = integers_plain.learn_plain(R, sums, state.word, counts, *streams)
    counters[:] = counts
    return np.array(R, dtype=np.int64), np.array(sums, dtype=np.int64), word
