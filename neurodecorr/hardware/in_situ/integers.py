"""Learning R in 8 or 16 bits, in whole numbers throughout, with rounding at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from neurodecorr._numerics.jit import jit
from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Array, Floats, Int64s
from neurodecorr._validation import count, flag, instance, samples, square
from neurodecorr.errors import ConfigError, InputError

PLUS, MINUS = 0, 1
# How pulses follow from the change that is wanted.
PROGRAMMING = ("stochastic", "carried", "verified")
# What a chip counts while it learns.
COUNTERS = ("pulses", "capped", "refreshes", "railed", "raised", "unsettled")
PULSES, CAPPED, REFRESHES, RAILED, RAISED, UNSETTLED = range(len(COUNTERS))
# What integer learning counts: weights and activities held at their limits, samples that did not come to rest.
INTEGER_COUNTERS = ("saturated", "railed", "unsettled")
SATURATED, INTEGER_RAILED, RESTLESS = range(len(INTEGER_COUNTERS))
# A unit at its limit adds 2⁻⁴ to its own R_ii, and the sample is not learnt from.
RELIEF = 4


class IntegerNumbers(NamedTuple):
    """Formats and limits of learning in whole numbers."""

    largest: int  # of a weight
    fraction: int  # F, bits of a weight after the point
    activity: int  # A, bits of an activity after the point
    guard: int  # G, further bits while it settles
    pace: int  # s, of the step dt = 2⁻ˢ
    most: int  # steps before a sample is given up
    limit: int  # largest activity
    batch: int  # B, samples between two updates
    random: bool  # whether to round at random


class IntegerMemory(NamedTuple):
    """Arrays that learning in whole numbers changes."""

    R: Int64s  # (n, n) weights
    sums: Int64s  # (n, n) changes gathered since the last update
    state: Int64s  # (1,) generator, 1 … 2³² − 1
    counters: Int64s  # (3,) weights held at their limit, activities that reached theirs, samples that did not rest


@jit()
def next_word32(state: Array) -> int:
    """Return the next word of the generator xorshift32, with the triple 13, 17, 5.

    The state is held in 64 bits, so that every shift stays positive.

    References
    ----------
    Marsaglia (2003), Journal of Statistical Software 8(14).
    """
    word = state[0]
    word ^= (word << 13) & 0xFFFFFFFF
    word ^= word >> 17
    word ^= (word << 5) & 0xFFFFFFFF
    state[0] = word
    return int(word)


@jit()
def rounded(value: int, shift: int) -> int:
    """Return value/2ˢ rounded to the nearest whole number, halves upwards; s = 0 changes nothing.

    ::

        ⌊(value + 2ˢ⁻¹)/2ˢ⌋
    """
    return (value + ((1 << shift) >> 1)) >> shift


@jit()
def dithered(value: int, shift: int, state: Array) -> int:
    """Return value/2ˢ rounded at random, exact on average.

    ::

        ⌊(value + u)/2ˢ⌋,    u uniform on 0 … 2ˢ − 1

    References
    ----------
    Gupta, Agrawal, Gopalakrishnan & Narayanan (2015), ICML, arXiv:1502.02551 (stochastic rounding).
    """
    word = next_word32(state)
    noise = word >> (32 - shift) if shift <= 32 else word << (shift - 32)
    return (value + noise) >> shift


@jit()
def clipped(value: int, limit: int) -> int:
    """Return the value limited to ± limit."""
    return min(max(value, -limit), limit)


@jit()
def settle_integers(R: Array, x: Array, y: Array, flow: Array, numbers: IntegerNumbers) -> bool:
    """Settle one sample in whole numbers by steps of dt = 2⁻ˢ; return True if it came to rest.

    ::

        y ← y + (x 2^(F+G) − R y)/2^(F+s),    rounded, until nothing moves
    """
    n, fraction, guard, limit = x.size, numbers.fraction, numbers.guard, numbers.limit
    y[:] = 0
    for _ in range(numbers.most):
        moved = False
        for i in range(n):
            total = x[i] << (fraction + guard)
            for j in range(n):
                total -= R[i, j] * y[j]
            flow[i] = rounded(total, fraction + numbers.pace)
        for i in range(n):
            if flow[i] != 0:
                moved = True
            y[i] = clipped(y[i] + flow[i], limit << guard)
        if not moved:
            return True
    return False


@jit()
def learn_integer_stream(
    memory: IntegerMemory, X: Array, power: Array, shifts: Array, first: int, numbers: IntegerNumbers
) -> None:
    """Learn from the rows of X one by one, in place, in whole numbers only.

    ::

        A_ij ← A_ij + s_i x̄_j 2^F − R_ij p_j,    every B samples  R_ij ← R_ij + A_ij / 2^(2A + e),  A_ij ← 0

    Parameters
    ----------
    memory : IntegerMemory
        Changed in place.
    X : (samples, n) int64 array
        Inputs.
    power : (n,) int64 array
        p_j with 2A fraction bits.
    shifts : (samples,) int64 array
        e of each sample: η = 2⁻ᵉ.
    first : int
        Samples seen before.
    numbers : IntegerNumbers
        Formats and limits.
    """
    R, sums, state, counters = memory.R, memory.sums, memory.state, memory.counters
    largest, fraction, activity, guard = numbers.largest, numbers.fraction, numbers.activity, numbers.guard
    limit, batch, random = numbers.limit, numbers.batch, numbers.random
    n, relief = R.shape[0], 1 << max(fraction - RELIEF, 0)
    y, flow = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for t in range(X.shape[0]):
        if not settle_integers(R, X[t], y, flow, numbers):
            counters[RESTLESS] += 1
        for i in range(n):
            total = 0
            for j in range(n):
                total += R[i, j] * y[j]
            flow[i] = clipped(rounded(total, fraction + guard), limit)
        railed = 0
        for i in range(n):
            y[i] = rounded(y[i], guard)
            if abs(y[i]) >= limit:
                railed += 1
                R[i, i] = clipped(R[i, i] + relief, largest)
        counters[INTEGER_RAILED] += railed
        if railed > 0:
            continue
        update = (first + t + 1) % batch == 0
        shift = 2 * activity + shifts[t]
        for i in range(n):
            for j in range(n):
                sums[i, j] += ((flow[i] * y[j]) << fraction) - R[i, j] * power[j]
                if update:
                    wanted = dithered(sums[i, j], shift, state) if random else rounded(sums[i, j], shift)
                    sums[i, j] = 0
                    R[i, j] += wanted
                    if abs(R[i, j]) > largest:
                        counters[SATURATED] += 1
                        R[i, j] = clipped(R[i, j], largest)


# Bits of an activity, sign included.
ACTIVITY_BITS = 16
LARGEST_ACTIVITY = 2 ** (ACTIVITY_BITS - 1) - 1
# Of a generator without memory of its seed.
LARGEST_WORD = 2**32 - 1
# Of a number of 64 bits, sign included.
MOST_SHIFT = 62


@short_repr
@dataclass(frozen=True)
class IntegerLearningRule:
    """Learning rule of a digital chip that updates R in whole numbers.

    ::

        ΔR_ij = 2⁻ᵉ ∑_batch (s_i x̄_j − R_ij p_j),    rounded to the last bit of R: at random, or to the nearest

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
        """Formats of a state: bits and fraction bits of a weight, fraction bits of an activity."""
        return {"bits": self.bits, "fraction": self.fraction, "activity": self.activity}

    def shifts(self, samples: int, first: int = 0) -> Int64s:
        """Return e of samples `first` … : one more at hold, 2 hold, 4 hold …"""
        first = count(first, "first", least=0, most=2**MOST_SHIFT)
        require_memory(8 * (count(samples, "samples", least=0)), "the rates of all samples")
        seen = (first + np.arange(samples, dtype=np.int64)) // self.hold
        return np.array([self.rate + int(k).bit_length() for k in seen], dtype=np.int64)

    def numbers(self) -> IntegerNumbers:
        """Return what the kernel asks."""
        return IntegerNumbers(
            largest=2 ** (self.bits - 1) - 1,
            fraction=self.fraction,
            activity=self.activity,
            guard=self.guard,
            pace=self.pace,
            most=self.most,
            limit=min(2 ** (self.activity + self.rail), LARGEST_ACTIVITY),
            batch=self.batch,
            random=self.stochastic,
        )


@short_repr
@dataclass(frozen=True, eq=False)
class IntegerState:
    """Weights, power and counters of learning in whole numbers.

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

    R: Int64s
    sums: Int64s
    word: int
    samples: int
    power: Int64s
    scale: float
    counts: dict[str, int]
    formats: dict[str, int]

    def __repr__(self) -> str:
        events = ", ".join(f"{name}={number}" for name, number in self.counts.items())
        return f"IntegerState(n={len(self.R)}, samples={self.samples}, {events})"

    def weights(self, plan: IntegerLearningRule) -> Floats:
        """Return R as real numbers, R 2^−fraction.

        Parameters
        ----------
        plan : IntegerLearningRule
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


def initial_integer_state(R: Any, X: Any, plan: IntegerLearningRule, seed: int = 1) -> IntegerState:
    """Return a state that starts from these weights, at the mean power of these inputs.

    Parameters
    ----------
    R : (n, n) array_like
        Weights to start from; rounded to the plan's last bit.
    X : (samples, n) array_like
        Inputs that show their power.
    plan : IntegerLearningRule
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
        If the plan is not an `IntegerLearningRule`, or the seed does not fit into 32 bits.
    """
    instance(plan, IntegerLearningRule, "plan", advice="Use IntegerLearningRule(...).")
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


def learn_integers(state: IntegerState, X: Any, plan: IntegerLearningRule) -> IntegerState:
    """Learn from the rows of X one by one, in whole numbers; the given state stays as it was.

    ::

        y ← y + 2⁻ˢ (x − R y) until at rest,    ΔR_ij = 2⁻ᵉ ∑_batch (s_i x̄_j − R_ij p_j)

    Parameters
    ----------
    state : IntegerState
        From `initial_integer_state`, or from an earlier call.
    X : (samples, n) array_like
        Inputs with mean 0.
    plan : IntegerLearningRule
        The plan that the state was made for, or one with the same `formats`.

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

    >>> X, plan = correlated_gaussian(3, 50, 10.0).inputs, IntegerLearningRule(bits=8)
    >>> start = initial_integer_state(np.eye(3), X, plan)
    >>> learn_integers(start, X, plan).R.dtype, start.samples
    (dtype('int64'), 0)
    """
    if not isinstance(state, IntegerState):
        raise InputError(
            f"state must be an IntegerState; got {type(state).__name__}. Use initial_integer_state(R, X, plan)."
        )
    _require_formats(state, plan)
    inputs = samples(X, "X", features=len(state.R)).astype(float)
    scaled = np.rint(np.ldexp(inputs * state.scale, plan.activity))
    whole = np.clip(scaled, -LARGEST_ACTIVITY, LARGEST_ACTIVITY).astype(np.int64)
    shifts, numbers = plan.shifts(len(inputs), state.samples), plan.numbers()
    counters = np.array([state.counts[name] for name in INTEGER_COUNTERS], dtype=np.int64)
    R, sums, word = state.R.copy(), state.sums.copy(), np.array([state.word], dtype=np.int64)
    memory = IntegerMemory(R, sums, word, counters)
    learn_integer_stream(memory, whole, state.power, shifts, state.samples, numbers)
    counts = dict(zip(INTEGER_COUNTERS, counters.tolist(), strict=True))
    return replace(state, R=R, sums=sums, word=int(word[0]), samples=state.samples + len(inputs), counts=counts)


def _require_formats(state: IntegerState, plan: IntegerLearningRule) -> None:
    """Raise unless the plan reads the state's whole numbers as they were written."""
    wanted = instance(plan, IntegerLearningRule, "plan", advice="Use IntegerLearningRule(...).").formats
    if wanted != state.formats:
        made, got = (", ".join(f"{k} {v}" for k, v in formats.items()) for formats in (state.formats, wanted))
        raise ConfigError(
            f"plan must have the formats that the state was made for, {made}; got {got}. Give that plan, or "
            f"make a new state: initial_integer_state(state.weights(old_plan), X, plan)."
        )
