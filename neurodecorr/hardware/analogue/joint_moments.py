"""The error of all sources at once: chips as they are on average, and how far chips spread around that one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr.circuit.stability import is_stable
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.equations import ResistorNetwork, rest_system
from neurodecorr.hardware.analogue.perturbation import (
    first_order,
    mean_shift,
    second_order,
    shared_order,
    shared_strain,
    strain,
)
from neurodecorr.hardware.analogue.weight_statistics import Moments
from neurodecorr.hardware.analogue.wire_resistance import Form
from neurodecorr.hardware.devices import Converter, Devices


@dataclass(frozen=True)
class Joint:
    """What all sources do together.

    Parameters
    ----------
    error : float
        Relative rms error of the outputs, to second order in what differs from chip to chip.
    strain : float
        How much each further order adds, relative to the one before, in the mean square; infinite where the mean chip
        does not settle.
    clips : bool, default False
        Whether the ADC cuts off what spreads: more than one output in a hundred, at two standard deviations.
    """

    error: float
    strain: float
    clips: bool = False


def joint_error(
    moments: Moments,
    devices: Devices,
    amplifier: Amplifier,
    X: Floats,
    ideal: Floats,
    form: Form,
    volts_per_unit: float,
    as_made: bool = False,
) -> Joint:
    """Return what all sources do together.

    ::

        A = E[A] of `rest_system`, the mean chip:    o = A⁻¹ B x,    error² = mean (o − x̄)² + spread
        spread: `spread_second` in V and the shared references around A, and offsets and converters, all through A⁻¹

    Means of several sources add before they are squared, and what spreads is passed on by the chip that is left when
    all means have shifted: after an hour of drift its M is larger than the M that was meant. Nothing is expanded in the
    means, nor in the gain. An open loop is linear in its weights, so that its error is exact.

    Parameters
    ----------
    moments : Moments
        Of all that goes wrong with the devices; `as_made` if this is.
    devices : Devices
        Whose converters stand at the door.
    amplifier : Amplifier
        What all amplifiers have in common.
    X : (samples, n) array
        Inputs.
    ideal : (samples, n) array
        Outputs as meant, x̄.
    form : {"closed", "open"}
        Whether the weights are R or M.
    volts_per_unit : float
        Volts that stand for one unit of x and x̄.
    as_made : bool, default False
        Take the errors that DAC and ADC make of these very inputs and outputs, in place of Δ²/12.

    Returns
    -------
    Joint
    """
    closed, n = form == "closed", len(moments.bias)
    x = X
    if as_made and devices.dac is not None:
        x = devices.dac(volts_per_unit * X) / volts_per_unit
    network = ResistorNetwork(moments.plus, moments.minus, np.zeros(n), np.zeros(n), amplifier, math.inf)
    A, _, B = rest_system(network, closed)
    if closed and not is_stable(A):
        return Joint(math.inf, math.inf)
    through = np.linalg.inv(A)
    outputs = x @ B.T @ through.T
    if closed:
        spread, load = spread_second(through, moments.variance, moments.shared, outputs, ideal)
    else:
        spread, load = first_order(through, moments.variance, x, shared=moments.shared), 0.0
    volts = amplifier.offset_v**2 * offset_reach(through, network)
    clips = False
    if as_made and devices.adc is not None:
        reach = np.abs(outputs) + 2 * math.sqrt(max(spread, 0.0))
        clips = bool((volts_per_unit * reach > devices.adc.bound).mean() > 0.01)
        outputs = devices.adc(volts_per_unit * outputs) / volts_per_unit
    if not as_made:
        volts += steps(devices.dac, through @ B) + steps(devices.adc, np.eye(n))
    total = float(((outputs - ideal) ** 2).mean()) + spread + volts / volts_per_unit**2
    return Joint(math.sqrt(max(total, 0.0) / float((ideal**2).mean())), load, clips)


def offset_reach(through: Floats, network: ResistorNetwork) -> float:
    """Return the mean square of the outputs per square of offset: of amplifiers through t, of inverters through 2hN."""
    inverters = 2 * network.amplifier.inversion * through @ network.N
    return float((through**2 @ network.load**2 + (inverters**2).sum(axis=1)).mean())


def steps(converter: Converter | None, reach: Floats) -> float:
    """Return the mean square, in volts², of rounding to the steps of a converter: Δ²/12 through what follows."""
    return 0.0 if converter is None else converter.step**2 / 12 * float((reach**2).sum(axis=1).mean())


def spread_second(M: Floats, variance: Floats, shared: Floats, outputs: Floats, ideal: Floats) -> tuple[float, float]:
    """Return what spread adds to the mean square error of the mean chip, and the strain.

    ::

        E‖δ‖² + 2 (o − x̄)·E[δ],    o the outputs of the mean chip, δ what a chip adds to them

    Spread also shifts the mean, and that adds to the shift which is there already.
    """
    shifts = mean_shift(M, variance, shared, outputs)
    spread = second_order(M, variance, outputs) + shared_order(M, shared, outputs)
    return (
        spread + 2 * float(((outputs - ideal) * shifts).mean()),
        strain(M, variance) + shared_strain(M, shared),
    )
