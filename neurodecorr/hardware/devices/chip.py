"""One kind of device, a chip made of them, and the chip with weights in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._numerics import memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.devices.conductance_range import (
    able_to,
    conductance_range,
    conductances,
    level_step,
    rows_and_columns,
)
from neurodecorr.hardware.devices.converters import Converter, converter
from neurodecorr.hardware.devices.defects import held_at, mismatch_factors, shares, stuck_devices
from neurodecorr.hardware.devices.drift import DriftModel, power_law
from neurodecorr.hardware.devices.pairs import (
    SIDES,
    Pair,
    Sides,
    code_step,
    map_to_conductances,
    targets_on_codes,
    targets_on_levels,
    whole_codes,
)
from neurodecorr.hardware.devices.programming import Programming, programmed, stacked_normals
from neurodecorr.hardware.devices.read_noise import ReadNoiseModel, reading
from neurodecorr.hardware.devices.wires import acting_weights

_BLOCK = 1 << 17  # devices worked on at a time: what they hold of one kind stays in the cache
Made = TypeVar("Made", "Chip", "Array")


@short_repr
@dataclass(frozen=True)
class Devices:
    """Description of the devices of a chip: range, levels, errors, faults, drift and wires.

    A weight becomes a conductance, and goes wrong in this order::

        target → level → programming error → mismatch → stuck → drift → read noise → wires

    Parameters
    ----------
    g_min, g_max : float, default 0 and 25e-6
        Range of a device in siemens, 0 ≤ g_min < g_max.
    sides : {"two", "one"}, default "two"
        A device for each sign, or one device and a reference that its column shares.
    bits : int, optional
        Each device holds 2ᵇ levels. Default: any conductance.
    codes : (int, int), optional
        Smallest and largest whole-number weight, for chips that store numbers; excludes `bits`.
    programming : Proportional, Independent, PCM or RRAM, optional
        Error of every programming.
    mismatch : float, default 0
        Relative standard deviation of a factor that each device keeps for life.
    stuck_on, stuck_off : float, default 0
        Shares of devices that stay at g_max, or at g_min, whatever is programmed.
    drift : Drift or PCMDrift, optional
        How conductances fall with time.
    read_noise : ReadNoise or PCMReadNoise, optional
        Error of every reading.
    wire_resistance_ohm : float, default 0
        Resistance of the wire between neighbouring devices, in ohms.
    dac, adc : Converter, optional
        What drives the columns, and what reads the rows. `Array.weights` leaves them to whoever runs the circuit.
    name : str, default ""
        What to call them.

    Examples
    --------
    >>> import numpy as np

    >>> R = np.array([[1.0, 0.3], [-0.2, 1.0]])
    >>> Devices().program(R, rng=0).weights().round(12).tolist()
    [[1.0, 0.3], [-0.2, 1.0]]
    >>> Devices(bits=3).program(R, rng=0).weights().round(3).tolist()
    [[1.0, 0.286], [-0.143, 1.0]]
    """

    g_min: float = 0.0
    g_max: float = 25e-6
    sides: Sides = "two"
    bits: int | None = None
    codes: tuple[int, int] | None = None
    programming: Programming | None = None
    mismatch: float = 0.0
    stuck_on: float = 0.0
    stuck_off: float = 0.0
    drift: DriftModel | None = None
    read_noise: ReadNoiseModel | None = None
    wire_resistance_ohm: float = 0.0
    dac: Converter | None = None
    adc: Converter | None = None
    name: str = ""

    def __post_init__(self) -> None:
        g_min, g_max = conductance_range(self.g_min, self.g_max)
        stuck_on, stuck_off = shares(self.stuck_on, self.stuck_off)
        checked = {
            "g_min": g_min,
            "g_max": g_max,
            "sides": _validation.choice(self.sides, "sides", SIDES),
            "codes": None if self.codes is None else whole_codes(self.codes),
            "mismatch": _validation.not_negative(self.mismatch, "mismatch"),
            "stuck_on": stuck_on,
            "stuck_off": stuck_off,
            "wire_resistance_ohm": _validation.not_negative(self.wire_resistance_ohm, "wire_resistance_ohm", "ohms"),
        }
        for part, value in checked.items():
            object.__setattr__(self, part, value)
        able_to(self.programming, "programming", "sigma", "Proportional(0.1)")
        able_to(self.read_noise, "read_noise", "sigma", "ReadNoise(0.1)")
        able_to(self.drift, "drift", "exponents", "Drift(0.05)")
        _validation.checked_text(self.name, "name")
        converter(self.dac, "dac"), converter(self.adc, "adc")
        if self.bits is not None:
            level_step(self.bits, g_min, g_max)
        if self.bits is not None and self.codes is not None:
            raise ConfigError(f"Give bits or codes, not both; got bits = {self.bits!r} and codes = {self.codes!r}.")

    def map(self, weights: npt.ArrayLike, scale: float | None = None) -> Pair:
        """Return the targets: the pair of conductances for these weights, on the levels that the devices have.

        Parameters
        ----------
        weights : (rows, columns) array
            Row is the receiving unit.
        scale : float, optional
            Siemens per unit of weight. Default: the largest for which every weight fits.

        Returns
        -------
        Pair
        """
        W, ends = _validation.samples(weights, "weights"), (self.g_min, self.g_max)
        if self.codes is not None:
            return targets_on_codes(W, self.codes, *ends, self.sides, scale)
        if self.bits is not None:
            return targets_on_levels(W, self.bits, *ends, self.sides, scale)
        return map_to_conductances(W, *ends, self.sides, scale)

    def weight_step(self, scale: float) -> float:
        """Return the distance between neighbouring weights at a scale in siemens per unit; 0 without levels."""
        s = _validation.positive(scale, "scale", "siemens per unit of weight")
        if self.codes is not None:
            return code_step(self.codes, self.g_min, self.g_max, self.sides) / s
        return 0.0 if self.bits is None else level_step(self.bits, self.g_min, self.g_max) / s

    def manufacture(self, shape: tuple[int, int], rng: int | np.random.Generator) -> Chip:
        """Make a chip for weights of this shape: mismatch, stuck devices and drift are drawn once and stay.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the weights.
        rng : int or numpy.random.Generator
            Which chip. Mismatch, faults and drift have streams of their own: changing one leaves the others.

        Returns
        -------
        Chip
        """
        return _first(_made(self, rows_and_columns(shape), [_validation.generator(rng, "rng")]))

    def program(self, weights: npt.ArrayLike, rng: int | np.random.Generator, scale: float | None = None) -> Array:
        """Make a chip and program these weights into it.

        Parameters
        ----------
        weights : (rows, columns) array
            Row is the receiving unit.
        rng : int or numpy.random.Generator
            Which chip, and its programming errors.
        scale : float, optional
            Siemens per unit of weight. Default: the largest for which every weight fits.

        Returns
        -------
        Array
        """
        W, stream = _validation.samples(weights, "weights"), _validation.generator(rng, "rng")
        return self.manufacture((W.shape[0], W.shape[1]), stream).program(W, stream, scale)

    def program_many(
        self,
        weights: npt.ArrayLike,
        rng: int | np.random.Generator,
        chips: int,
        time_s: float = 0.0,
        read: bool = False,
    ) -> Floats:
        """Return the weights of many chips, each programmed once with the same matrix.

        ::

            [devices.program(W, child).weights(time_s, child if read else None) for child in rng.spawn(chips)]

        These are the numbers that this line gives, bit for bit, from whole arrays at a time.

        Parameters
        ----------
        weights : (rows, columns) array
            Row is the receiving unit.
        rng : int or numpy.random.Generator
            Parent of one stream per chip.
        chips : int
            How many, ≥ 1.
        time_s : float, default 0
            Time since programming in seconds.
        read : bool, default False
            Add the noise of one reading.

        Returns
        -------
        (chips, rows, columns) array
            Signed weights as the chips have them.
        """
        pair, number, read = self.map(weights), _validation.count(chips, "chips"), _validation.flag(read, "read")
        memory.require_memory(8 * (number * pair.plus.size), "the weights of all chips")
        streams = _validation.generator(rng, "rng").spawn(number)
        out = np.empty((chips, *pair.plus.shape))
        block = max(1, _BLOCK // (2 * pair.plus.size))
        for first in range(0, chips, block):
            some = streams[first : first + block]
            array = _written(_made(self, pair.plus.shape, some), pair, some)
            out[first : first + block] = acting_weights(
                _read(array, time_s, some if read else None), self.wire_resistance_ohm
            )
        return out


@short_repr
@dataclass(frozen=True, eq=False)
class Chip:
    """One manufactured chip: mismatch, faults and drift exponents that stay whatever is programmed.

    Attributes
    ----------
    devices : Devices
        What they are like.
    shape : (int, int)
        Rows and columns of the weights.
    factors : (lines, columns) array, optional
        Mismatch: what multiplies each conductance. Lines of G⁺ first, then those of G⁻.
    stuck : (lines, columns) array of int8, optional
        1 where a device stays at g_max, −1 where it stays at g_min.
    normals : (lines, columns) array, optional
        Standard normal draw behind each exponent of drift.
    """

    devices: Devices
    shape: tuple[int, int]
    factors: Floats | None = field(default=None, repr=False)
    stuck: npt.NDArray[np.int8] | None = field(default=None, repr=False)
    normals: Floats | None = field(default=None, repr=False)

    def program(self, weights: npt.ArrayLike, rng: int | np.random.Generator, scale: float | None = None) -> Array:
        """Program weights into this chip.

        Parameters
        ----------
        weights : (rows, columns) array
            Row is the receiving unit.
        rng : int or numpy.random.Generator
            Errors of this programming.
        scale : float, optional
            Siemens per unit of weight. Default: the largest for which every weight fits.

        Returns
        -------
        Array
        """
        return self.write(self.devices.map(weights, scale), rng)

    def write(self, pair: Pair, rng: int | np.random.Generator) -> Array:
        """Program a pair of conductances, as they are, into this chip.

        Parameters
        ----------
        pair : Pair
            Targets, of the chip's shape and sides.
        rng : int or numpy.random.Generator
            Errors of this programming.

        Returns
        -------
        Array
        """
        _validation.instance(pair, Pair, "pair", advice="Use devices.map(weights).")
        if pair.plus.shape != self.shape or pair.sides != self.devices.sides:
            raise InputError(
                f"pair must have shape {self.shape} and sides {self.devices.sides!r}, as the chip has; got "
                f"{pair.plus.shape} and {pair.sides!r}."
            )
        for G in (pair.plus, pair.minus):
            conductances(G, "pair", self.devices.g_min, self.devices.g_max)
        return _first(_written(self, pair, [_validation.generator(rng, "rng")]))


@short_repr
@dataclass(frozen=True, eq=False)
class Array:
    """Chip with programmed weights.

    Attributes
    ----------
    devices : Devices
        What its devices are like.
    scale : float
        Siemens per unit of weight.
    shape : (int, int)
        Rows and columns of the weights.
    conductances : (lines, columns) array
        Conductances in siemens as they came out, right after programming. Lines of G⁺ first, then those of G⁻.
    exponents : (lines, columns) array, optional
        Exponent of drift of each device.
    """

    devices: Devices
    scale: float
    shape: tuple[int, int]
    conductances: Floats = field(repr=False)
    exponents: Floats | None = field(default=None, repr=False)

    def pair(self, time_s: float = 0.0, rng: int | np.random.Generator | None = None) -> Pair:
        """Return the conductances of the devices some time after programming, without the wires between them.

        Parameters
        ----------
        time_s : float, default 0
            Time since programming in seconds.
        rng : int or numpy.random.Generator, optional
            Noise of this reading. Default: none.

        Returns
        -------
        Pair
        """
        pair = _read(self, time_s, None if rng is None else [_validation.generator(rng, "rng")])
        return pair if rng is None else replace(pair, plus=pair.plus[0], minus=pair.minus[0])

    def weights(self, time_s: float = 0.0, rng: int | np.random.Generator | None = None) -> Floats:
        """Return the signed weights that the chip acts with, wires included.

        Parameters
        ----------
        time_s : float, default 0
            Time since programming in seconds.
        rng : int or numpy.random.Generator, optional
            Noise of this reading. Default: none.

        Returns
        -------
        (rows, columns) array
        """
        return acting_weights(self.pair(time_s, rng), self.devices.wire_resistance_ohm)


# One chip, or many along a first axis: the same lines.
def _made(devices: Devices, shape: tuple[int, ...], streams: list[np.random.Generator]) -> Chip:
    rows, columns = shape[0], shape[1]
    size = (2 * rows if devices.sides == "two" else rows + 1, columns)
    mismatch, faults, drift = zip(*(stream.spawn(3) for stream in streams), strict=True)
    factors = stuck = normals = None
    if devices.mismatch:
        factors = mismatch_factors(devices.mismatch, stacked_normals(mismatch, size))
    if devices.stuck_on or devices.stuck_off:
        stuck = stuck_devices(devices.stuck_on, devices.stuck_off, np.stack([stream.random(size) for stream in faults]))
    if devices.drift is not None:
        normals = stacked_normals(drift, size)
    return Chip(devices, (rows, columns), factors, stuck, normals)


def _written(chip: Chip, pair: Pair, streams: list[np.random.Generator]) -> Array:
    devices = chip.devices
    targets = np.concatenate([pair.plus, pair.minus])
    G, exponents = programmed(targets, devices.programming, devices.g_max, streams), None
    if chip.factors is not None:
        G = G * chip.factors
    if devices.drift is not None and chip.normals is not None:
        exponents = np.broadcast_to(devices.drift.exponents(targets, devices.g_max, chip.normals), G.shape)
    if chip.stuck is not None:
        G = held_at(G, chip.stuck, devices.g_min, devices.g_max)
        exponents = None if exponents is None else np.where(chip.stuck == 0, exponents, 0.0)
    return Array(devices, pair.scale, chip.shape, G, exponents)


def _read(array: Array, time_s: float, streams: list[np.random.Generator] | None) -> Pair:
    devices, G, t = array.devices, array.conductances, _validation.not_negative(time_s, "time_s", "seconds")
    if devices.drift is not None and array.exponents is not None and t > 0:
        G = G * power_law(array.exponents, t, devices.drift.t0_s)
    if streams is not None:
        G = reading(G, array.conductances, devices.read_noise, devices.g_max, t, streams)
    rows = array.shape[0]
    return Pair(G[..., :rows, :], G[..., rows:, :], array.scale, devices.g_min, devices.g_max, devices.sides)


def _first(many: Made) -> Made:
    """Return the one thing of a stack of one."""
    arrays = {key: value[0] for key, value in vars(many).items() if isinstance(value, np.ndarray)}
    return replace(many, **arrays)
