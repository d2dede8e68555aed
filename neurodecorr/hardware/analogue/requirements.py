"""Requirements on devices and amplifiers for a given error."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Floats
from neurodecorr._validation import number, positive, samples, square
from neurodecorr.circuit.stability import is_stable, margin
from neurodecorr.errors import ConfigError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.budget import Budget, error_budget
from neurodecorr.hardware.analogue.circuit import AnalogueCircuit
from neurodecorr.hardware.analogue.equations import Form, checked_form, margin_required, wire_parts
from neurodecorr.hardware.devices import Devices

# More bits than a memory cell holds; the search for the fewest bits ends here with None.
MOST_BITS = 24
# An error this many times the output says nothing about a device: it was meant in another unit.
MOST_ERROR = 1e6


def bits_needed(weights: npt.ArrayLike, X: npt.ArrayLike, error: float, devices: Devices | None = None,
                form: Form = "closed") -> int | None:  # fmt: skip
    """Return the fewest bits whose levels alone add no more than a given error.

    ::

        error(b) = √(⟨‖(W_b⁻¹ − W⁻¹) x‖²⟩ / ⟨‖W⁻¹ x‖²⟩),    open loop: W_b and W in place of their inverses

    W_b = `Devices.map(W).weights()` holds the levels that these very weights get. The answer begins at the least b of
    `error_budget`, ⌈log₂(1 + error(1)/error)⌉ with error(b) ∝ 1/(2ᵇ − 1), and goes up until W_b meets the error: where
    weights are smaller than half a level that is a bit or two more. Fewer bits may meet it, too, but by luck of where
    the weights lie, or because a circuit that leaves small weights out is near enough.

    Parameters
    ----------
    weights : (n, n) array
        R for the closed loop, M for the open loop.
    X : (samples, n) array
        Inputs x less their mean.
    error : float
        Relative rms error of the outputs, > 0.
    devices : Devices, optional
        Range and sides; the rest is left out.
    form : {"closed", "open"}
        Whether the weights are R or M.

    Returns
    -------
    int or None
        None if 24 are not enough.

    Raises
    ------
    StabilityError
        If R is unstable.
    InputError
        If the outputs are all 0.

    Examples
    --------
    >>> import numpy as np

    >>> bits_needed(np.array([[1.0, 0.4], [0.4, 1.3]]), [[1.0, -1.0]], error=0.01)
    6
    """
    wanted = _wanted(error)
    plain, form = _plain(devices), checked_form(form)
    per_step = _alone(weights, X, replace(plain, bits=MOST_BITS), form).error * (2.0**MOST_BITS - 1)
    W, rows = square(weights, "weights").astype(np.float64), samples(X, "X").astype(np.float64)
    ideal = _outputs(W, rows, form)

    def enough(bits: int) -> bool:
        rounded = replace(plain, bits=bits).map(W).weights()
        if form == "closed" and not is_stable(rounded):
            return False
        return bool(((_outputs(rounded, rows, form) - ideal) ** 2).mean() <= wanted**2 * (ideal**2).mean())

    # A reference needs levels on both of its sides.
    least = 2 if plain.sides == "one" else 1
    bits = max(least, math.ceil(math.log2(1 + per_step / wanted)))
    while bits <= MOST_BITS and not enough(bits):
        bits += 1
    return bits if bits <= MOST_BITS else None


def _outputs(W: Floats, X: Floats, form: Form) -> Floats:
    """Return R⁻¹x, or M x, for each row x."""
    return np.asarray(np.linalg.solve(W, X.T) if form == "closed" else W @ X.T)


def mismatch_allowed(weights: npt.ArrayLike, X: npt.ArrayLike, error: float, devices: Devices | None = None,
                     form: Form = "closed") -> float:  # fmt: skip
    """Return the largest mismatch σ that alone adds no more than a given error.

    ::

        error² = a σ² + b σ⁴,    a and b from the first and the second order

    Parameters
    ----------
    weights : (n, n) array
        R for the closed loop, M for the open loop.
    X : (samples, n) array
        Inputs x less their mean.
    error : float
        Relative rms error of the outputs, > 0.
    devices : Devices, optional
        Range and sides; the rest is left out.
    form : {"closed", "open"}
        Whether the weights are R or M.

    Returns
    -------
    float
        Relative standard deviation.

    Examples
    --------
    >>> import numpy as np

    >>> round(mismatch_allowed(np.diag([1.0, 2.0]), [[1.0, 2.0]], error=0.01), 4)
    0.01
    """
    wanted = _wanted(error)
    share = _alone(weights, X, replace(_plain(devices), mismatch=PROBE), form).shares[0]
    a = (share.error / PROBE) ** 2
    b = max(0.0, share.second**2 - share.error**2) / PROBE**4
    # The root of bσ⁴ + aσ² = error², written so that b → 0 does no harm.
    return math.sqrt(2 * wanted**2 / (a + math.sqrt(a**2 + 4 * b * wanted**2)))


# Small enough for the clipping of conductances at 0 not to count, large enough for the difference of orders.
PROBE = 1e-3


def gain_needed(weights: npt.ArrayLike, X: npt.ArrayLike, error: float, devices: Devices | None = None,
                form: Form = "closed") -> float:  # fmt: skip
    """Return the least gain A₀ that alone adds no more than a given error.

    ::

        error ≈ √⟨‖M (diag(t) + 2N) x̄‖²⟩/(A₀ √⟨‖x̄‖²⟩),    so A₀ ∝ 1/error

    Parameters
    ----------
    weights : (n, n) array
        R for the closed loop, M for the open loop.
    X : (samples, n) array
        Inputs x less their mean.
    error : float
        Relative rms error of the outputs, > 0.
    devices : Devices, optional
        Range and sides; the rest is left out.
    form : {"closed", "open"}
        Whether the weights are R or M.

    Returns
    -------
    float
        Volts per volt.
    """
    share = error_budget(weights, X, _plain(devices), Amplifier(gain=1.0), form=form)["gain"]
    return share.error / _wanted(error)


def offset_allowed(weights: npt.ArrayLike, X: npt.ArrayLike, error: float, devices: Devices | None = None,
                   form: Form = "closed", volts_per_unit: float = 0.1) -> float:  # fmt: skip
    """Return the largest standard deviation of offsets that alone adds no more than a given error, in volts.

    Parameters
    ----------
    weights : (n, n) array
        R for the closed loop, M for the open loop.
    X : (samples, n) array
        Inputs x less their mean.
    error : float
        Relative rms error of the outputs, > 0.
    devices : Devices, optional
        Range and sides; the rest is left out.
    form : {"closed", "open"}
        Whether the weights are R or M.
    volts_per_unit : float, default 0.1
        Volts that stand for one unit of x and x̄.

    Returns
    -------
    float
        Volts.
    """
    amplifier = Amplifier(offset_v=1.0)
    budget = error_budget(weights, X, _plain(devices), amplifier, form=form, volts_per_unit=volts_per_unit)
    return _wanted(error) / budget["offset"].error


def bandwidth_needed(weights: npt.ArrayLike, tau_s: float, devices: Devices | None = None, keep: float = 0.9) -> float:
    """Return the least gain–bandwidth product at which a closed loop keeps most of its stability margin.

    ::

        min Re λ((I + (diag(t) + 2N − R)/r)⁻¹ R) ≥ keep · min Re λ(R),    r = 2π GBW τ

    The first order in 1/r of `AnalogueCircuit.stability`. Slower amplifiers slow the loop down, or make it oscillate.

    Parameters
    ----------
    weights : (n, n) array
        R.
    tau_s : float
        τ in seconds.
    devices : Devices, optional
        Range and sides; the rest is left out.
    keep : float, default 0.9
        Share of the margin, in (0, 1).

    Returns
    -------
    float
        Hertz.

    Raises
    ------
    StabilityError
        If R is unstable: it has no margin to keep.
    ConfigError
        If `keep` lies outside (0, 1).
    """
    if not 0 < number(keep, "keep") < 1:
        raise ConfigError(f"keep must lie between 0 and 1, a share of the margin; got {keep!r}.")
    chip = AnalogueCircuit.build(weights, _plain(devices), tau_s=tau_s)
    network, R = chip.network, chip.weights
    lag = np.diag(network.load) + 2 * network.N - R
    wanted = keep * margin_required(R)

    def enough(r: float) -> bool:
        return bool(margin(np.linalg.solve(np.eye(len(R)) + lag / r, R)) >= wanted)

    high = float(np.abs(lag).sum(axis=1).max()) / (1 - keep)
    while not enough(high):
        high *= 4
    low = high
    while enough(low) and low > 1e-3:
        low /= 2
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high / (2 * math.pi * positive(tau_s, "tau_s", "seconds"))


def _wanted(error: float) -> float:
    """Return an error that is allowed: a positive number whose square is one."""
    wanted = positive(error, "error")
    if wanted > MOST_ERROR:
        raise ConfigError(f"error must be relative to the outputs, at most {MOST_ERROR:g}; got {wanted:g}.")
    return wanted


def _plain(devices: Devices | None) -> Devices:
    made, _ = wire_parts(devices, None)
    return Devices(made.g_min, made.g_max, made.sides)


def _alone(weights: npt.ArrayLike, X: npt.ArrayLike, devices: Devices, form: Form) -> Budget:
    return error_budget(weights, X, devices, form=form)
