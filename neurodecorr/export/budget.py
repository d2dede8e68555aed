"""What a learnt circuit asks of a chip: how many bits, how long to settle, what error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr._validation import Progress, count, fraction, positive, progress_function
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import ConfigError, InputError, StabilityError
from neurodecorr.export.circuits import Found
from neurodecorr.hardware.analogue import (
    Amplifier,
    AnalogueCircuit,
    bandwidth_needed,
    bits_needed,
    error_budget,
    gain_needed,
    mismatch_allowed,
    offset_allowed,
    settling_time,
    simulate_chips,
)
from neurodecorr.hardware.analogue.equations import FORMS, Form
from neurodecorr.hardware.analogue.results import SettlingTime
from neurodecorr.hardware.devices import Devices

OUTPUT_V = 0.1  # rms of the outputs, in volts, unless told
# What energy is reckoned with: supply current at rest and voltage of each amplifier.
BIAS_A, SUPPLY_V = 10e-6, 1.8
# Bits, mismatch, gain and offset each take half of the error: four equal squares make the whole.
SHARE = 0.5
MOST_CHIPS = 90  # per cent of chips that the second number of a cell holds for


@dataclass(frozen=True)
class Needs:
    """What devices and amplifiers must be like for one form.

    Parameters
    ----------
    bits : int or None
        Least bits of a device; None if 24 are not enough.
    mismatch : float
        Largest relative standard deviation.
    gain : float
        Least gain A₀ of the amplifiers.
    offset_v : float
        Largest standard deviation of their offsets, in volts.
    """

    bits: int | None
    mismatch: float
    gain: float
    offset_v: float


@dataclass(frozen=True)
class BudgetCell:
    """Error of one form with one imperfection, relative to the output.

    Parameters
    ----------
    predicted : float
        Closed form, second order where there is one.
    holds : bool
        Whether the closed form is within its range.
    median, most : float
        Median over chips, and what nine of ten chips stay below; infinite where unstable chips decide.
    unstable, chips : int
        Chips that do not settle, and all.
    """

    predicted: float
    holds: bool
    median: float
    most: float
    unstable: int
    chips: int


@dataclass(frozen=True)
class Row:
    """One imperfection, in both forms."""

    label: str
    kind: str  # "bits", "mismatch", "amplifier" or "together"
    level: float
    closed: BudgetCell
    open: BudgetCell


@dataclass(frozen=True, eq=False)
class HardwareBudget:
    """The answers for one circuit.

    Parameters
    ----------
    name, source : str
        The circuit, and the file that it comes from.
    units : int
        n.
    sides : {"two", "one"}
        Two devices for each weight, n² pairs, or one and a reference for each column, n² + n.
    margin : float
        min Re λ(R), per τ.
    wanted : float
        Error that is asked for, relative to the output.
    tau_s : float
        τ in seconds.
    volts_per_unit : float
        Volts that stand for one unit of x̄.
    chips : int
        Chips of each kind.
    alone, together : dict of str to Needs
        By form: as the only imperfection, and each taking half of the error.
    waiting : SettlingTime
        Time for R to settle to the wanted error, in τ.
    bandwidth_hz : float
        Gain–bandwidth product that keeps nine tenths of the margin.
    open_s : float
        Time for M to settle to the wanted error with these amplifiers, in seconds.
    joules : dict of str to float
        Energy for one input, by form.
    rows : tuple of Row
        Errors, imperfection by imperfection; the last is everything together.
    samples : str
        Where the inputs come from.
    """

    name: str
    source: str
    units: int
    sides: str
    margin: float
    wanted: float
    tau_s: float
    volts_per_unit: float
    chips: int
    alone: dict[Form, Needs]
    together: dict[Form, Needs]
    waiting: SettlingTime
    bandwidth_hz: float
    open_s: float
    joules: dict[Form, float]
    rows: tuple[Row, ...]
    samples: str

    def __repr__(self) -> str:
        bits = ", ".join(f"{form}: {needs.bits}" for form, needs in self.together.items())
        return (
            f"HardwareBudget({self.name!r}, units={self.units}, margin={self.margin:.3g}, wanted={self.wanted:g}, "
            f"bits {bits}, open_s={self.open_s:.3g}, chips={self.chips}, {len(self.rows)} rows)"
        )


def hardware_budget(
    found: Found,
    *,
    bits: Sequence[int] = (4, 6, 8),
    mismatch: Sequence[float] = (0.01, 0.02, 0.05, 0.1),
    accuracy: float = 0.05,
    chips: int = 100,
    tau_s: float = 1e-6,
    devices: Devices | None = None,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress | None = None,
) -> HardwareBudget:
    """Answer how many bits, what settling time and what error, in closed form and on simulated chips.

    Parameters
    ----------
    found : Found
        A learnt circuit and its inputs, from `find_circuits`.
    bits : sequence of int
        Numbers of bits to try.
    mismatch : sequence of float
        Relative standard deviations of devices to try.
    accuracy : float, default 0.05
        Wanted error, relative to the output, in (0, 1).
    chips : int, default 100
        Chips of each kind.
    tau_s : float, default 1e-6
        τ in seconds.
    devices : Devices, optional
        Range and sides of the devices.
    seed : int, default 0
        Seed of the chips.
    jobs : int, default 1
        Processes. The numbers do not depend on it.
    progress : callable, optional
        Called as `progress(words, done, total)`; `neurodecorr.cli.progress.progress_bar` draws a bar.

    Returns
    -------
    HardwareBudget

    Raises
    ------
    StabilityError
        If the circuit is unstable: it cannot be built as a loop.
    InputError, ConfigError
        If the inputs are all 0, or an option lies outside its range.
    """
    wanted = _share(accuracy)
    slowest = margin(found.R)
    if not slowest > 0:
        raise StabilityError(
            f"{found.name} must be stable to be built, min Re λ(R) > 0; got {slowest:.3g}. Choose another with "
            "--circuit, or learn with the congruent rule."
        )
    X, M = found.drive.astype(np.float64), np.linalg.inv(found.R)
    size = math.sqrt(((X @ M.T) ** 2).mean())
    if size == 0:
        raise InputError(f"the inputs of {found.name} must not all be equal to their mean: errors are relative to x̄.")
    bench = _Bench(
        {"closed": found.R.astype(np.float64), "open": M}, X, devices or Devices(), OUTPUT_V / size,
        positive(tau_s, "tau_s", "seconds"), count(chips, "chips"), count(seed, "seed", 0), count(jobs, "jobs"),
        progress_function(progress),
    )  # fmt: skip
    alone = {form: bench.needs(form, wanted) for form in FORMS}
    together = {form: bench.needs(form, SHARE * wanted) for form in FORMS}
    bandwidth = bandwidth_needed(found.R, bench.tau_s, bench.devices)
    energies = {form: bench.energy(form, together[form].gain, bandwidth, wanted) for form in FORMS}
    return HardwareBudget(
        name=found.name,
        source=str(found.meta.get("source", "")),
        units=len(M),
        sides=bench.devices.sides,
        margin=slowest,
        wanted=wanted,
        tau_s=bench.tau_s,
        volts_per_unit=bench.volts_per_unit,
        chips=bench.chips,
        alone=alone,
        together=together,
        waiting=settling_time(found.R, wanted),
        bandwidth_hz=bandwidth,
        open_s=energies["open"][1],
        joules={form: energies[form][0] for form in FORMS},
        rows=tuple(bench.rows(bits, mismatch, together)),
        samples=str(found.meta.get("samples", "")),
    )


def ideal_devices(g_min: float, g_max: float, sides: Any) -> Devices:
    """Return devices without errors, of this range in siemens.

    Parameters
    ----------
    g_min, g_max : float
        Range in siemens.
    sides : {"two", "one"}
        A device for each sign, or one device and a shared reference.

    Returns
    -------
    Devices
    """
    return Devices(g_min=g_min, g_max=g_max, sides=sides)


@dataclass(frozen=True, eq=False)
class _Bench:
    """What all numbers of one circuit share."""

    weights: dict[Form, Floats]
    X: Floats
    devices: Devices
    volts_per_unit: float
    tau_s: float
    chips: int
    seed: int
    jobs: int
    progress: Progress | None

    def needs(self, form: Form, error: float) -> Needs:
        """Return what gives each of the four sources this error."""
        W, X, devices = self.weights[form], self.X, self.devices
        return Needs(
            bits_needed(W, X, error, devices, form),
            mismatch_allowed(W, X, error, devices, form),
            gain_needed(W, X, error, devices, form),
            offset_allowed(W, X, error, devices, form, self.volts_per_unit),
        )

    def energy(self, form: Form, gain: float, bandwidth_hz: float, accuracy: float) -> tuple[float, float]:
        """Return joules for one input, and seconds to settle."""
        amplifier = Amplifier(max(gain, 1.0), bandwidth_hz, bias_a=BIAS_A, supply_v=SUPPLY_V)
        chip = AnalogueCircuit.build(
            self.weights[form], self.devices, amplifier, form=form, tau_s=self.tau_s, volts_per_unit=self.volts_per_unit
        )
        energy = chip.energy(self.X, accuracy)
        return energy.joules, energy.settling_s

    def rows(self, bits: Iterable[int], mismatch: Iterable[float], together: dict[Form, Needs]) -> list[Row]:
        """Return the errors, imperfection by imperfection."""
        ideal, plans = Amplifier(), []
        for b in bits:
            made = replace(self.devices, bits=count(b, "bits"))
            plans.append((f"{b} bits", "bits", float(b), dict.fromkeys(FORMS, (made, ideal))))
        for level in mismatch:
            made = replace(self.devices, mismatch=positive(level, "mismatch"))
            plans.append((f"mismatch {100 * level:g} %", "mismatch", level, dict.fromkeys(FORMS, (made, ideal))))
        for amplifier, label in ((Amplifier(gain=1e4), "gain 80 dB"), (Amplifier(offset_v=1e-3), "offset 1 mV")):
            plans.append((label, "amplifier", 0.0, dict.fromkeys(FORMS, (self.devices, amplifier))))
        designs = {form: _design(self.devices, needs) for form, needs in together.items()}
        plans.append(("all together", "together", 0.0, designs))
        rows = []
        for plan in plans:
            rows.append(self.row(*plan))
            if self.progress is not None:
                self.progress("simulating chips", len(rows), len(plans))
        return rows

    def row(self, label: str, kind: str, level: float, made: dict[Form, tuple[Devices, Amplifier]]) -> Row:
        """Return both cells of a row."""
        return Row(label, kind, level, *(self.cell(form, *made[form], varies=kind != "bits") for form in FORMS))

    def cell(self, form: Form, devices: Devices, amplifier: Amplifier, varies: bool) -> BudgetCell:
        """Return closed form and chips; where nothing varies from chip to chip, one is made."""
        W, volts = self.weights[form], self.volts_per_unit
        budget = error_budget(W, self.X, devices, amplifier, form=form, volts_per_unit=volts)
        chips = simulate_chips(
            W, self.X, devices, amplifier, self.chips if varies else 1, self.seed, form=form,
            volts_per_unit=volts, jobs=self.jobs if varies else 1,
        )  # fmt: skip
        most = chips.quantile(MOST_CHIPS / 100)
        return BudgetCell(budget.second, budget.holds, chips.median, most, chips.unstable, len(chips.error))


def _design(devices: Devices, needs: Needs) -> tuple[Devices, Amplifier]:
    """Return devices and amplifiers that are just good enough."""
    made = replace(devices, bits=needs.bits, mismatch=needs.mismatch)
    return made, Amplifier(gain=needs.gain, offset_v=needs.offset_v)


def _share(accuracy: float) -> float:
    if not 0 < fraction(accuracy, "accuracy") < 1:
        raise ConfigError(f"accuracy must lie between 0 and 1, a share of the output; got {accuracy!r}.")
    return float(accuracy)
