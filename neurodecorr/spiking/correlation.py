"""Correlation of spike trains with confidence intervals, by a bootstrap over blocks of time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Float64s
from neurodecorr._validation import count, fraction, generator, samples
from neurodecorr.errors import ConfigError, InputError

LEAST_BLOCKS, MOST_BLOCKS = 20, 20_000


@short_repr
@dataclass(frozen=True)
class SpikeCorrelation:
    """Mean absolute correlation coefficient between different units, with its confidence interval.

    Parameters
    ----------
    mean : float
        Mean |ρ_ij| over all pairs, as measured.
    low, high : float
        Confidence interval of what a recording of this length shows on average.
    floor : float
        What it would show if all correlations were zero, √(2/π) times the sampling error of one coefficient. The error
        is that of blocks, corrected for what blocks cut: within 5 % from blocks of three correlation times on.
    blocks : int
        Blocks of time that were drawn from.
    """

    mean: float
    low: float
    high: float
    floor: float
    blocks: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@short_repr
@dataclass(frozen=True)
class Reduction:
    """Factor by which the mean absolute correlation fell, with its confidence interval.

    Parameters
    ----------
    before, after : SpikeCorrelation
        Both measurements.
    factor : float
        Their ratio.
    low, high : float
        Confidence interval of the ratio, from blocks drawn together.
    """

    before: SpikeCorrelation
    after: SpikeCorrelation
    factor: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.before} → {self.after}, {self.factor:.2f} [{self.low:.2f}, {self.high:.2f}] times less"


def mean_correlation(
    activity: npt.ArrayLike, block: int | None = None, *, resamples: int = 1000, level: float = 0.95, seed: Any = 0
) -> SpikeCorrelation:
    """Return the mean |correlation| between units, with a block-bootstrap confidence interval.

    ::

        c = ⟨|ρ_ij|⟩_{i<j},    [c + q_{α/2}, c + q_{1−α/2}],    q quantiles of c* − ⟨c*⟩ over resampled blocks

    Sizes of coefficients are biased upwards by sampling, in c* once more than in c; centring takes that second share
    out. What is left, a mean |ρ| of `floor` for independent units, stays in: the measured value errs on the safe side.

    Parameters
    ----------
    activity : (records, n) array_like
        Activity at equally spaced times. Units without variance are left out.
    block : int, optional
        Records per block; should span several correlation times. √records by default.
    resamples : int, default 1000
        How often blocks are drawn.
    level : float, default 0.95
        Confidence.
    seed : int, SeedSequence or Generator, default 0
        Source of randomness.

    Returns
    -------
    SpikeCorrelation
        Mean, interval, floor.

    Raises
    ------
    InputError
        If fewer than two units vary.
    ConfigError
        If an option is out of range, or the recording shorter than 20 blocks.

    References
    ----------
    Carlstein (1986), Annals of Statistics 14, 1171–1179 (non-overlapping blocks).
    """
    X, size = _recorded(activity, block)
    sums = _block_sums(X, size)
    mean, draws = _drawn(sums, _weights(len(sums[0]), resamples, seed))
    return _correlation(mean, draws, _floor(X, size), len(sums[0]), _level(level))


def reduction(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    block: int | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: Any = 0,
) -> Reduction:
    """Return the factor by which the mean |correlation| fell, blocks drawn together from both recordings.

    ::

        c_before/c_after,    with quantiles of the centred log ratio over resampled blocks

    Parameters
    ----------
    before, after : (records, n) array_like
        Activity under the same stimulus, at the same times.
    block, resamples, level, seed
        As for `mean_correlation`.

    Returns
    -------
    Reduction
        Both measurements, factor and its interval.

    Raises
    ------
    InputError, ConfigError
        As for `mean_correlation`, or if the recordings differ in length.

    References
    ----------
    Carlstein (1986), Annals of Statistics 14, 1171–1179 (non-overlapping blocks).
    """
    recorded = _recorded(before, block), _recorded(after, block)
    first, second = (_block_sums(*one) for one in recorded)
    if len(first[0]) != len(second[0]):
        raise InputError(
            f"before and after must hold the same number of records; got {len(np.asarray(before))} and "
            f"{len(np.asarray(after))}."
        )
    weights, level = _weights(len(first[0]), resamples, seed), _level(level)
    found = [_drawn(sums, weights) for sums in (first, second)]
    floors = [_floor(*one) for one in recorded]
    both = [_correlation(*parts, low, len(weights[0]), level) for parts, low in zip(found, floors, strict=True)]
    # The logarithm makes the interval of a ratio symmetric, and keeps its lower end above 0.
    logs = np.log(found[0][1] / found[1][1])
    factor = both[0].mean / both[1].mean
    low, high = factor * np.exp(_centred(logs, level))
    return Reduction(both[0], both[1], factor, float(low), float(high))


def _recorded(activity: npt.ArrayLike, block: int | None) -> tuple[Float64s, int]:
    """Return the units that vary, less what does not fill a block, and the records per block."""
    X = samples(activity, "activity").astype(np.float64)
    X = X - X.mean(axis=0)
    # A unit that never varies has no correlation coefficient.
    X = X[:, np.ptp(X, axis=0) > 0]
    if X.shape[1] < 2:
        raise InputError(f"activity must vary in at least two units for a correlation; {X.shape[1]} of them varies.")
    # √N blocks of √N records: both their length and their number grow with the recording.
    size = max(1, math.isqrt(len(X))) if block is None else count(block, "block")
    blocks = len(X) // size
    if blocks < LEAST_BLOCKS:
        raise ConfigError(
            f"activity must span at least {LEAST_BLOCKS} blocks of {size} records; it holds {len(X)} records. "
            "Record for longer, or take shorter blocks."
        )
    if blocks > MOST_BLOCKS:
        raise ConfigError(
            f"activity must span at most {MOST_BLOCKS} blocks, since each is drawn anew in each resample; it holds "
            f"{blocks} blocks of {size} records. Take longer blocks."
        )
    return X[: blocks * size], size


def _block_sums(X: Float64s, size: int) -> tuple[Float64s, Float64s]:
    """Return ⟨x⟩ and ⟨xxᵀ⟩ of each block."""
    parts = X[: len(X) // size * size].reshape(-1, size, X.shape[1])
    return parts.sum(axis=1) / size, np.matmul(parts.transpose(0, 2, 1), parts) / size


def _weights(blocks: int, resamples: int, seed: Any) -> Float64s:
    """Return the share of each block in each resample."""
    require_memory(8 * (float(count(resamples, "resamples", 2)) * blocks), "the blocks of all resamples")
    # How often each block is drawn is all that a resample needs: its moments are a weighted sum.
    drawn = generator(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples)
    return np.asarray(drawn / blocks)


def _level(level: float) -> float:
    level = fraction(level, "level")
    if not 0 < level < 1:
        raise ConfigError(f"level must lie strictly between 0 and 1; got {level!r}.")
    return level


def _drawn(sums: tuple[Float64s, Float64s], weights: Float64s) -> tuple[float, Float64s]:
    """Return mean |ρ|, and the same for every resample."""
    whole = np.full((1, len(sums[0])), 1 / len(sums[0]))
    return float(_size(_coefficients(sums, whole))[0]), _size(_coefficients(sums, weights))


def _floor(X: Float64s, size: int) -> float:
    """Return √(2/π) times the rms sampling error of a coefficient, V = 2 V(b) − V(b/2).

    Blocks of b records miss what is correlated across their borders, a share of about 1/b: so V(b) = V (1 − c/b), and
    half as long blocks tell c (batch means of "lugsail" form: Vats and Flegal 2022).
    """
    whole = _variance(X, size)
    half = _variance(X, size // 2) if size > 1 else whole
    return math.sqrt(2 / math.pi * max(2 * whole - half, whole))


def _variance(X: Float64s, size: int) -> float:
    """Return the mean sampling variance of ρ_ij: that of the block means of z_i z_j − ρ_ij (z_i² + z_j²)/2."""
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    above = np.triu_indices(z.shape[1], 1)
    _, moments = _block_sums(z, size)
    rho, squares = (z.T @ z / len(z))[above], np.diagonal(moments, axis1=1, axis2=2)
    parts = moments[:, above[0], above[1]] - rho * (squares[:, above[0]] + squares[:, above[1]]) / 2
    return float(parts.var(axis=0, ddof=1).mean()) / len(parts)


def _coefficients(sums: tuple[Float64s, Float64s], weights: Float64s) -> Float64s:
    """Return ρ_ij, i < j, for each row of weights; NaN where a unit has no variance in that resample."""
    first, second = sums
    n = first.shape[1]
    above = np.triu_indices(n, 1)
    mean = weights @ first
    power = weights @ np.diagonal(second, axis1=1, axis2=2) - mean**2
    cross = weights @ second[:, above[0], above[1]] - mean[:, above[0]] * mean[:, above[1]]
    scale = np.sqrt(np.where(power > 0, power, np.nan))
    return np.asarray(cross / (scale[:, above[0]] * scale[:, above[1]]))


def _size(coefficients: Float64s) -> Float64s:
    return np.asarray(np.nanmean(np.abs(coefficients), axis=1))


def _centred(draws: Float64s, level: float) -> Float64s:
    tails = [(1 - level) / 2, (1 + level) / 2]
    return np.asarray(np.quantile(draws, tails) - draws.mean())


def _correlation(mean: float, draws: Float64s, floor: float, blocks: int, level: float) -> SpikeCorrelation:
    low, high = mean + _centred(draws, level)
    return SpikeCorrelation(mean, max(float(low), 0.0), float(high), floor, blocks)
