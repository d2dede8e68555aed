"""The error of the outputs in closed form: what each imperfection adds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import not_negative, samples, square
from neurodecorr.errors import InputError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.circuit import AnalogueCircuit
from neurodecorr.hardware.analogue.equations import (
    Form,
    ResistorNetwork,
    checked_form,
    margin_required,
    unit_volts,
    wire_parts,
)
from neurodecorr.hardware.analogue.perturbation import (
    SOURCES,
    first_order,
    joint_error,
    offset_reach,
    sources,
    spread_second,
    steps,
    strain,
    weight_moments,
)
from neurodecorr.hardware.devices import Devices

# Within a tenth of the rms of chips: strain up to which the second order is (the first up to 0.04), and how far Δ²/12
# may be from what levels and converters do to these very weights and signals, less 10 strain² that orders leave out.
SECOND_HOLDS, FORMULA_HOLDS = 0.08, 0.08
ORDER = (*SOURCES, "offset", "gain", "DAC", "ADC")
# Squares and products of squares of weights up to this size stay finite in float64, which ends at 1.8e308.
LARGEST = 1e50


@short_repr
@dataclass(frozen=True)
class Share:
    """Error that one imperfection alone adds.

    Parameters
    ----------
    source : str
        Its name.
    error : float
        Root mean square error of the outputs, over chips, units and inputs, relative to that of the outputs.
    second : float
        The same to second order, where that is known; else the first.
    strain : float
        How much each further order adds, relative to the one before, in the mean square.
    holds : bool, default True
        Whether the formula is made for this: not for stuck devices, which are never small, nor for levels so coarse
        that most weights are smaller than half of one.
    """

    source: str
    error: float
    second: float
    strain: float
    holds: bool = True


@short_repr
@dataclass(frozen=True)
class Budget:
    """Relative rms error of the outputs, source by source and in all.

    ::

        error = √(⟨‖δx̄‖²⟩/⟨‖x̄‖²⟩),    δx̄ = −M δR x̄ to first order

    The shares are those of each source alone. In all they are more, or less, than the root of their sum of squares:
    means add as vectors, and what one source spreads passes through weights that another has shifted.

    Parameters
    ----------
    shares : tuple of Share
        Every source that there is, in the order in which they come about.
    form : {"closed", "open"}
        Whether the devices hold R or M.
    error : float
        Relative rms error of all sources, to first order.
    second : float
        Relative rms error of all sources, see `joint_error`.
    strain : float
        That of all sources together; 0 in the open loop, which is linear in its weights.
    holds : bool
        Whether `second` is within a tenth of chips: a strain ≤ 0.08, every share holds, and levels and converters move
        these very weights and signals about as much as others.
    """

    shares: tuple[Share, ...]
    form: Form
    error: float
    second: float
    strain: float
    holds: bool

    def __getitem__(self, source: str) -> Share:
        """Return the share of one source, "mismatch" say."""
        for share in self.shares:
            if share.source == source:
                return share
        raise KeyError(f"{source!r} is not among {', '.join(repr(share.source) for share in self.shares)}")


def error_budget(
    weights: npt.ArrayLike,
    X: npt.ArrayLike,
    devices: Devices | None = None,
    amplifier: Amplifier | None = None,
    *,
    form: Form = "closed",
    volts_per_unit: float = 0.1,
    time_s: float = 0.0,
) -> Budget:
    """Return in closed form the error of the outputs of a chip.

    ::

        devices    √mean (M∘M) V (x̄∘x̄),    V = Var[δR];   mismatch: V = σR∘σR,   levels: V = Δ²/12
        offset     x̄ = M (x + v (1 + ∑_j |R_ij|)):   √mean_i [σ²(M∘M)(t∘t) + 4σ²(MN∘MN)1],    t_i = 1 + ∑_j (P + N)_ij
        gain       −M (diag(t) + 2N) x̄ / A₀;   second order: + M (diag(t) + 2N) M (diag(t) + 2N) x̄ / A₀² + 4 M N x̄ / A₀²
        converters DAC √mean (M∘M)1 Δ²/12,   ADC Δ/√12

    For the closed loop, R = P − N. In the open loop the devices hold M = P − N: read x for x̄ and I for the M in front.
    These are the shares of each source alone; what they do together is `joint_error`.

    Parameters
    ----------
    weights : (n, n) array
        R for the closed loop, M for the open loop.
    X : (samples, n) array
        Inputs x less their mean, of the kind that the chip will see.
    devices : Devices, optional
        Ideal ones by default.
    amplifier : Amplifier, optional
        Ideal by default.
    form : {"closed", "open"}
        Whether the weights are R or M.
    volts_per_unit : float, default 0.1
        Volts that stand for one unit of x and x̄.
    time_s : float, default 0
        Seconds since programming, for devices that drift.

    Returns
    -------
    Budget

    Raises
    ------
    StabilityError
        If R is unstable.
    InputError
        If the inputs are all 0, or the weights too large or too small for their squares to be numbers.

    Examples
    --------
    >>> import numpy as np

    >>> from neurodecorr.hardware.devices import Devices
    >>> found = error_budget(np.diag([1.0, 2.0]), [[1.0, 2.0]], Devices(mismatch=0.01))
    >>> [(share.source, round(share.error, 6)) for share in found.shares]
    [('mismatch', 0.01)]

    References
    ----------
    Sun, Pedretti, Ambrosi, Bricalli, Wang & Ielmini (2019), PNAS 116, 4123–4128. Widrow & Kollár (2008), Quantization
    Noise, §4 (Δ²/12). Isserlis (1918), Biometrika 12, 134–139 (products of normal variables).
    """
    W = _of_a_size(square(weights, "weights").astype(np.float64))
    rows = samples(X, "X", len(W)).astype(np.float64)
    devices, amplifier = wire_parts(devices, amplifier)
    form, volts, time_s = checked_form(form), unit_volts(volts_per_unit), not_negative(time_s, "time_s", "seconds")
    if form == "closed":
        margin_required(W)
    M = np.linalg.inv(W) if form == "closed" else np.eye(len(W))
    outputs = rows @ (M if form == "closed" else W).T
    signal = outputs if form == "closed" else rows
    size = math.sqrt((outputs**2).mean())
    if size == 0:
        raise InputError(
            f"X must hold inputs that are not all 0: errors are relative to the outputs; got {len(rows)} that are."
        )
    shares = [_of_devices(name, one, W, M, signal, size, time_s, form) for name, one in sources(devices)]
    stuck = [share for share in shares if share.source == "stuck"]
    chip = AnalogueCircuit.build(W, Devices(devices.g_min, devices.g_max, devices.sides), form=form).network
    plain: list[Share] = []
    shift: Floats = np.zeros_like(outputs)
    if amplifier.offset_v > 0:
        plain.append(_plain("offset", amplifier.offset_v * math.sqrt(offset_reach(M, chip)) / (size * volts)))
    if math.isfinite(amplifier.gain):
        gain, shift = _of_gain(chip, M, signal, outputs, amplifier.leak, size, form)
        shares.append(gain)
    through = M if form == "closed" else W
    for name, converter, reach in (("DAC", devices.dac, through), ("ADC", devices.adc, np.eye(len(W)))):
        if converter is not None:
            plain.append(_plain(name, math.sqrt(steps(converter, reach)) / (size * volts)))
    free = replace(devices, stuck_on=0.0, stuck_off=0.0)
    moments, as_made = (weight_moments(W, free, time_s, made) for made in (False, True))
    moved = signal @ moments.bias.T @ M.T
    first = first_order(M, moments.variance, signal, shared=moments.shared)
    first += float(((shift - moved if form == "closed" else shift + moved) ** 2).mean())
    formula = joint_error(moments, devices, amplifier, rows, outputs, form, volts)
    made = joint_error(as_made, devices, amplifier, rows, outputs, form, volts, as_made=True)
    off = abs(formula.error / made.error - 1) if made.error > 0 else 0.0
    shares = sorted(shares + plain, key=lambda share: ORDER.index(share.source))
    strained = formula.strain + sum(share.strain for share in stuck)
    return Budget(
        tuple(shares), form,
        error=math.sqrt(first / size**2 + sum(share.error**2 for share in plain + stuck)),
        second=math.sqrt(formula.error**2 + sum(share.second**2 for share in stuck)),
        strain=strained,
        holds=strained <= SECOND_HOLDS
        and not made.clips
        and off + 10 * strained**2 <= FORMULA_HOLDS
        and all(share.holds for share in shares),
    )  # fmt: skip


def _of_a_size(W: Floats) -> Floats:
    """Return the weights if their squares and those of their inverses are numbers."""
    largest = float(np.abs(W).max())
    if not 1 / LARGEST < largest < LARGEST:
        raise InputError(
            f"weights must have a largest magnitude between {1 / LARGEST:g} and {LARGEST:g}; got {largest:g}. "
            "Rescale them."
        )
    return W


def _of_devices(
    name: str, devices: Devices, W: Floats, M: Floats, signal: Floats, size: float, time_s: float, form: Form
) -> Share:
    """Return the share of one source; of the open loop, which is linear in M, the first order is all."""
    moments = weight_moments(W, devices, time_s)
    first = first_order(M, moments.variance, signal, moments.bias, moments.shared)
    if form == "open" or name == "stuck":  # stuck devices are few and far off: not normal, and not small
        error = math.sqrt(first) / size
        load = strain(M, moments.variance) if form == "closed" else 0.0
        return Share(name, error, error, load, moments.fine and name != "stuck")
    # The mean shift is known: it belongs to the weights around which the others spread.
    shifted = np.linalg.inv(W + moments.bias)
    moved = signal @ W.T @ shifted.T
    spread, load = spread_second(shifted, moments.variance, moments.shared, moved, signal)
    second = spread + float(((moved - signal) ** 2).mean())
    return Share(name, math.sqrt(first) / size, math.sqrt(max(second, 0.0)) / size, load, moments.fine)


def _plain(name: str, error: float) -> Share:
    return Share(name, error, error, 0.0)


def _of_gain(
    chip: ResistorNetwork, M: Floats, signal: Floats, outputs: Floats, leak: float, size: float, form: Form
) -> tuple[Share, Floats]:
    """Return the share of finite gain, and its first order; N raises the matrix of a loop, and lowers one in front."""
    sign = 1 if form == "closed" else -1
    inverted = 2 * sign * signal @ chip.N.T
    first = -leak * (outputs * chip.load + inverted) @ M.T
    again = first * chip.load + (2 * first @ chip.N.T if form == "closed" else 0.0)
    second = first - leak * again @ M.T + 2 * leak**2 * inverted @ M.T
    ratio = leak**2 * float(((again @ M.T) ** 2).mean() / (first**2).mean()) if form == "closed" else 0.0
    return Share("gain", math.sqrt((first**2).mean()) / size, math.sqrt((second**2).mean()) / size, ratio), first
