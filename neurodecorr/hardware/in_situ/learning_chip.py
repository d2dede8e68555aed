"""Chips that learn: pairs of devices, their permanent errors, and their present values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr._validation import count, instance, not_negative, positive, square
from neurodecorr.errors import ConfigError
from neurodecorr.hardware.devices.chip import Array, Chip, Devices
from neurodecorr.hardware.devices.drift import power_law
from neurodecorr.hardware.devices.pairs import (
    Pair,
    code_step,
    code_unit,
    map_to_conductances,
    reference_level,
    targets_on_levels,
    weight_scale,
)
from neurodecorr.hardware.in_situ.integers import COUNTERS
from neurodecorr.hardware.in_situ.synapses import PulsedSynapse


@short_repr
@dataclass(eq=False)
class LearningChips:
    """Chips with pulsed synapses, in units of weight; learning changes them in place.

    Attributes
    ----------
    pairs : (chips, 2, n, n) array
        What the devices hold above their smallest conductance: (G⁺ − g_min)/s and (G⁻ − g_min)/s.
    mismatch, exponents : (chips, 2, n, n) arrays
        What each device makes of it for life, and its exponent of drift.
    limits : (chips, 3, 2, n, n) array
        Step up, step down, bound of each device.
    leak : (chips, n) array
        Conductance that each unit has added to itself.
    rest : (chips, n, n) array
        Pulses that synapses still owe.
    sense : (chips, n) array
        Gain of the measurement of each unit's drive.
    counters : (chips, 6) int64 array
        See `integers.COUNTERS`.
    state : (chips, 1) uint64 array
        Generators.
    floor : float
        g_min/s.
    unit : float
        One pulse at mid-range.
    t0_s : float
        Time t₀ of drift in seconds.
    """

    pairs: Floats
    mismatch: Floats
    exponents: Floats
    limits: Floats
    leak: Floats
    rest: Floats
    sense: Floats
    counters: npt.NDArray[np.int64]
    state: npt.NDArray[np.uint64]
    floor: float
    unit: float
    t0_s: float

    def __repr__(self) -> str:
        return f"LearningChips({len(self.pairs)}, n={self.pairs.shape[-1]})"

    def factors(self, time_s: float) -> Floats:
        """Return what each device makes of what it holds, some time after programming: mismatch times drift."""
        return np.asarray(
            self.mismatch * power_law(self.exponents, not_negative(time_s, "time_s", "seconds"), self.t0_s)
        )

    def weights(self, time_s: float = 0.0) -> Floats:
        """Return the weights that the chips act with, leak included.

        Parameters
        ----------
        time_s : float, default 0
            Time since programming in seconds.

        Returns
        -------
        (chips, n, n) array
        """
        conducted = (self.pairs + self.floor) * self.factors(time_s)
        W = conducted[:, 0] - conducted[:, 1]
        unit = np.arange(W.shape[-1])
        W[:, unit, unit] += self.leak
        return np.asarray(W)


def chip_streams(seed: int, chip: int) -> list[np.random.Generator]:
    """Return the generators of one chip: its manufacture, its programming, its synapses."""
    children = np.random.SeedSequence(seed, spawn_key=(chip,)).spawn(3)
    return [np.random.default_rng(child) for child in children]


def learning_chips(
    R: Floats,
    devices: Devices,
    synapse: PulsedSynapse,
    chips: int,
    seed: int,
    scale: float,
    sense_mismatch: float,
    reference: float | None = None,
) -> LearningChips:
    """Manufacture chips, program R into them, and draw the pulse response of their synapses.

    Parameters
    ----------
    R : (n, n) array
        Weights to start from.
    devices : Devices
        What is fixed in a device: range, mismatch, faults, drift.
    synapse : PulsedSynapse
        How devices move.
    chips : int
        How many.
    seed : int
        Chip k depends on the seed and k alone.
    scale : float
        s in siemens per unit of weight.
    sense_mismatch : float
        Relative standard deviation of the gain by which units measure their drive.
    reference : float, optional
        g_ref of one side in siemens, see `room_for`. Default: the lowest at which R fits, as of `Devices.map`.

    Returns
    -------
    LearningChips

    Raises
    ------
    ConfigError
        If devices have what learning does not model, or a setting is not of its kind.
    """
    _learnable(devices, synapse)
    R = square(R, "R").astype(np.float64)
    chips, seed = several_chips(chips, len(R)), count(seed, "seed", least=0)
    scale = positive(scale, "scale", "siemens per unit of weight")
    sense_mismatch = not_negative(sense_mismatch, "sense_mismatch")
    if reference is not None and (devices.sides == "two" or devices.codes is not None):
        raise ConfigError(f"reference belongs to sides='one' without codes; got {reference!r}.")
    top = (devices.g_max - devices.g_min) / scale
    pair = _targets(R, devices, scale, reference)
    made = [_made(pair, devices, synapse, top, chip_streams(seed, k), sense_mismatch) for k in range(chips)]
    n = len(R)
    # A key of its own for each chip and purpose: another setting does not shift the other draws.
    words = [np.random.SeedSequence(seed, spawn_key=(k, 3)).generate_state(1, np.uint64) for k in range(chips)]
    stacked = {name: np.stack([chip[name] for chip in made]) for name in made[0]}
    return LearningChips(
        pairs=stacked["pairs"],
        mismatch=stacked["mismatch"],
        exponents=stacked["exponents"],
        limits=stacked["limits"],
        sense=stacked["sense"],
        leak=np.zeros((chips, n)),
        rest=np.zeros((chips, n, n)),
        counters=np.zeros((chips, len(COUNTERS)), np.int64),
        state=np.stack(words) | np.uint64(1),  # xorshift64* stays at 0 for ever if it starts there
        floor=devices.g_min / scale,
        unit=synapse.share * top,
        t0_s=1.0 if devices.drift is None else devices.drift.t0_s,
    )


def several_chips(value: Any, n: int) -> int:
    """Return how many chips of n units to make: at least one, and no more than fit in memory."""
    chips = count(value, "chips")
    require_memory(8 * (20.0 * chips * n * n), "what all chips hold")
    return chips


def room_for(R: Floats, devices: Devices, headroom: float) -> tuple[float, float | None]:
    """Return scale and reference that leave room for weights `headroom` times the largest of their sign in R.

    ::

        two sides:  s = (g_max − g_min)/(h max|R|)
        one side:   s = (g_max − g_min)/(h (r₊ + r₋)),    g_ref = g_min + s h r₋,    r± = max(max(±R), max|R|/4)

    With bits and one side, and with codes, s is the largest at which levels or codes reach so far on both sides. The
    lowest reference that holds R, which is the default of `Devices.map`, would leave negative weights no room.

    Returns
    -------
    float, float or None
        s in siemens per unit of weight, and g_ref in siemens where it can be chosen: with one side, without codes.

    Raises
    ------
    ConfigError
        If devices have no level, or no code, on one of the sides.
    """
    low, high = max(-float(R.min()), 0.0), max(float(R.max()), 0.0)
    reach = np.array([[-max(low, _OTHER_SIGN * high), max(high, _OTHER_SIGN * low)]])
    ends = devices.g_min, devices.g_max
    if devices.codes is not None:
        if devices.codes[0] == 0:
            raise ConfigError(f"codes must lie on both sides of 0 for weights to learn; got {devices.codes}.")
        return code_step(devices.codes, *ends, devices.sides) / (headroom * code_unit(reach, devices.codes)), None
    largest, reference = weight_scale(reach, *ends, devices.sides), None
    if devices.sides == "one" and devices.bits is not None:
        reference, largest = reference_level(reach, devices.bits, *ends)
    elif devices.sides == "one":
        reference = devices.g_min - largest * float(reach.min())
    return largest / headroom, reference


# A sign that R hardly has, or has not at all, is given room in terms of the other one: weights may come to have it.
_OTHER_SIGN = 0.25


def _targets(R: Floats, devices: Devices, scale: float, reference: float | None) -> Pair:
    """Return what a chip is told to hold before it learns."""
    if reference is None:
        return devices.map(R, scale)
    ends = devices.g_min, devices.g_max
    if devices.bits is not None:
        return targets_on_levels(R, devices.bits, *ends, devices.sides, scale, reference)
    return map_to_conductances(R, *ends, devices.sides, scale, reference)


def _learnable(devices: Devices, synapse: PulsedSynapse) -> None:
    instance(devices, Devices, "devices", advice="Use Devices(...).")
    instance(synapse, PulsedSynapse, "synapse", advice="Use PulsedSynapse(...).")
    absent = {"wire_resistance_ohm": 0.0, "read_noise": None, "dac": None, "adc": None}
    given = [name for name, default in absent.items() if getattr(devices, name) != default]
    if given:
        raise ConfigError(
            f"learning in situ settles through the devices alone: {', '.join(given)} must be left out; "
            f"got {', '.join(f'{name} = {getattr(devices, name)!r}' for name in given)}."
        )
    if synapse.one_way and devices.sides == "one":
        raise ConfigError("one_way synapses need sides='two': a single device that only grows cannot fall.")


def _made(
    pair: Pair,
    devices: Devices,
    synapse: PulsedSynapse,
    top: float,
    streams: list[np.random.Generator],
    sense_mismatch: float,
) -> dict[str, Any]:
    n, scale = len(pair.plus), pair.scale
    chip = devices.manufacture((n, n), streams[0])
    array = chip.write(pair, streams[1])
    G, mismatch, exponents, stuck = _as_pairs(chip, array, n)
    held = np.divide(G, mismatch, out=np.full_like(G, devices.g_min), where=mismatch > 0)
    limits = synapse.limits(top, n, streams[2])
    limits[:2, stuck != 0] = 0.0
    if devices.sides == "one":
        limits[:2, 1] = 0.0
    pairs = np.maximum((held - devices.g_min) / scale, 0.0)
    # An error of programming may end beyond the bound: the device is what it is.
    limits[2] = np.maximum(limits[2], pairs)
    sense = 1.0 + sense_mismatch * streams[2].standard_normal(n)
    return {"pairs": pairs, "mismatch": mismatch, "exponents": exponents, "limits": limits, "sense": sense}


def _as_pairs(chip: Chip, array: Array, n: int) -> tuple[Floats, Floats, Floats, Any]:
    """Return conductances, mismatch, exponents, faults as (2, n, n); a shared reference is repeated for every row."""

    def spread(lines: Any, default: float) -> Any:
        if lines is None:
            return np.full((2, n, n), default)
        return np.stack([lines[:n], np.broadcast_to(lines[n:], (n, n))])

    stuck = spread(chip.stuck, 0)
    mismatch = np.where(stuck == 0, spread(chip.factors, 1.0), 1.0)
    return spread(array.conductances, 0.0), mismatch, spread(array.exponents, 0.0), stuck
