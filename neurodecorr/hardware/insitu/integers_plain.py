"""Learning in whole numbers, in plain Python: what the compiled kernel must do, bit for bit."""

from __future__ import annotations

from neurodecorr.hardware.insitu.codes import INTEGER_RAILED, RELIEF, RESTLESS, SATURATED

__all__ = ["learn_plain", "next_word"]

Rows = list[list[int]]


def next_word(word: int) -> int:
    """xorshift32 (Marsaglia 2003), triple 13, 17, 5."""
    word ^= (word << 13) % 2**32
    word ^= word >> 17
    return word ^ (word << 5) % 2**32


def learn_plain(
    R: Rows,
    sums: Rows,
    word: int,
    counters: list[int],
    X: Rows,
    power: list[int],
    shifts: list[int],
    first: int,
    numbers: list[int],
) -> int:
    """Learn from the rows of X one by one, in place; return the generator's state.

    Parameters
    ----------
    R, sums, counters, X, power, shifts, first, numbers : int, or lists of int
        As `integer_kernels.learn_integer_stream` takes them.
    word : int
        State of the generator.
    """
    largest, fraction, activity, guard, pace, most, limit, batch, random = numbers
    units = range(len(R))
    for t, x in enumerate(X):
        y, at_rest = _settled(R, x, fraction, guard, pace, most, limit)
        counters[RESTLESS] += not at_rest
        currents = [_nearest(sum(R[i][j] * y[j] for j in units), fraction + guard) for i in units]
        drive = [_held(current, limit) for current in currents]
        xbar = [_nearest(value, guard) for value in y]
        railed = [i for i in units if abs(xbar[i]) >= limit]
        for i in railed:
            R[i][i] = _held(R[i][i] + 2 ** max(fraction - RELIEF, 0), largest)
        counters[INTEGER_RAILED] += len(railed)
        if railed:
            continue
        for i in units:
            for j in units:
                sums[i][j] += drive[i] * xbar[j] * 2**fraction - R[i][j] * power[j]
                if (first + t + 1) % batch:
                    continue
                shift = 2 * activity + shifts[t]
                if random:
                    word = next_word(word)
                    change = (sums[i][j] + word * 2**shift // 2**32) // 2**shift
                else:
                    change = _nearest(sums[i][j], shift)
                sums[i][j] = 0
                moved = R[i][j] + change
                R[i][j] = _held(moved, largest)
                counters[SATURATED] += abs(moved) > largest
    return word


def _settled(
    R: Rows, x: list[int], fraction: int, guard: int, pace: int, most: int, limit: int
) -> tuple[list[int], bool]:
    units = range(len(x))
    y = [0] * len(x)
    for _ in range(most):
        drives = [x[i] * 2 ** (fraction + guard) - sum(R[i][j] * y[j] for j in units) for i in units]
        flow = [_nearest(drive, fraction + pace) for drive in drives]
        y = [_held(y[i] + flow[i], limit * 2**guard) for i in units]
        if not any(flow):
            return y, True
    return y, False


def _nearest(value: int, shift: int) -> int:
    """Return value/2ˢ, halves upwards."""
    return (value + ((1 << shift) >> 1)) >> shift


def _held(value: int, limit: int) -> int:
    return min(max(value, -limit), limit)
