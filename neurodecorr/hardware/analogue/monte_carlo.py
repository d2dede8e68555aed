"""Monte Carlo simulation of many chips: their errors, and the number that do not settle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import joblib
import numpy as np
import numpy.typing as npt

from neurodecorr._numerics.blas import one_thread
from neurodecorr._numerics.memory import require_memory
from neurodecorr._texts import short_repr
from neurodecorr._typing import Bools, Floats
from neurodecorr._validation import (
    Progress,
    count,
    fraction,
    not_negative,
    positive,
    progress_function,
    samples,
    square,
)
from neurodecorr.circuit.stability import margin
from neurodecorr.errors import InputError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.equations import (
    Form,
    ResistorNetwork,
    checked_form,
    closed_loop,
    margin_required,
    rest_system,
    unit_volts,
    wire_parts,
    wired,
)
from neurodecorr.hardware.devices import Devices

# Chips that one task makes at once. Fixed, so that chip k is the same chip whoever makes it.
BLOCK = 16
# Far above any machine; a larger number is a mistake, which must not start processes.
MOST_JOBS = 2**15


@short_repr
@dataclass(frozen=True, eq=False)
class ChipSimulation:
    """Errors and stability of many chips of one kind.

    Parameters
    ----------
    error : (chips,) array
        Rms error of the outputs over units and inputs, relative to the ideal outputs; infinite for unstable chips.
    margin : (chips,) array
        min Re λ of the closed loop with its amplifiers, per τ; infinite for open loops, which cannot be unstable.
    saturated : (chips,) array
        Share of the inputs at which an output would leave its swing; their errors are those of an unlimited amplifier.
    form : {"closed", "open"}
        Whether the devices hold R or M.
    """

    error: Floats
    margin: Floats
    saturated: Floats
    form: Form

    @property
    def stable(self) -> Bools:
        """Which chips settle."""
        return self.margin > 0

    @property
    def unstable(self) -> int:
        """Number of chips that do not settle."""
        return int((~self.stable).sum())

    @property
    def median(self) -> float:
        """Median error; infinite if half of the chips are unstable."""
        return float(np.median(self.error))

    @property
    def rms(self) -> float:
        """Rms error of the chips that settle, NaN if none does. A few near-singular chips may decide it."""
        return math.sqrt(float((self.error[self.stable] ** 2).mean())) if self.stable.any() else math.nan

    def quantile(self, share: float) -> float:
        """Return the least error that at least this share of all chips do not exceed."""
        return float(np.quantile(self.error, fraction(share, "share"), method="inverted_cdf"))

    def __repr__(self) -> str:
        return (
            f"ChipSimulation({len(self.error)}, form={self.form!r}, median={self.median:.3g}, unstable={self.unstable})"
        )


def simulate_chips(
    weights: npt.ArrayLike,
    X: npt.ArrayLike,
    devices: Devices | None = None,
    amplifier: Amplifier | None = None,
    chips: int = 100,
    seed: int = 0,
    *,
    form: Form = "closed",
    tau_s: float = 1.0,
    volts_per_unit: float = 0.1,
    time_s: float = 0.0,
    jobs: int = 1,
    progress: Progress | None = None,
) -> ChipSimulation:
    """Make chips and compare where they rest with where the ideal circuit rests.

    ::

        error = √⟨‖x̄_chip − x̄‖²⟩ / √⟨‖x̄‖²⟩,    x̄ = R⁻¹x or M x

    Chip k depends on the seed and on k alone, not on how many chips or workers there are.

    Parameters
    ----------
    weights : (n, n) array
        R for the closed loop, M for the open loop.
    X : (samples, n) array
        Inputs x less their mean.
    devices : Devices, optional
        Ideal ones by default. Every chip has its own mismatch, faults, errors of programming and one reading.
    amplifier : Amplifier, optional
        Ideal by default. Every amplifier has its own offset.
    chips : int, default 100
        How many.
    seed : int, default 0
        Seed ≥ 0.
    form : {"closed", "open"}
        Whether the weights are R or M.
    tau_s : float, default 1
        τ in seconds; counts with a finite bandwidth only.
    volts_per_unit : float, default 0.1
        Volts that stand for one unit of x and x̄.
    time_s : float, default 0
        Seconds since programming, for devices that drift.
    jobs : int, default 1
        Processes. The numbers do not depend on it.
    progress : callable, optional
        Called as `progress(words, done, total)`; `neurodecorr.cli.progress.progress_bar` draws a bar.

    Returns
    -------
    ChipSimulation

    Raises
    ------
    StabilityError
        If R is unstable: the ideal circuit does not settle.
    InputError
        If the outputs are all 0.
    ConfigError
        If an option lies outside its range.

    Examples
    --------
    >>> import numpy as np

    >>> from neurodecorr.hardware.devices import Devices
    >>> found = simulate_chips(np.diag([1.0, 2.0]), [[1.0, 2.0]], Devices(mismatch=0.01), chips=50)
    >>> found.unstable, bool(0.005 < found.median < 0.02)
    (0, True)
    """
    W = square(weights, "weights").astype(np.float64)
    x = unit_volts(volts_per_unit) * samples(X, "X", len(W)).astype(np.float64)
    total, root = count(chips, "chips"), count(seed, "seed", least=0)
    tell = progress_function(progress)
    require_memory(8 * (3 * total), "the figures of all chips")
    plan = _Plan(
        W, x, _ideal(W, x, checked_form(form)), *wire_parts(devices, amplifier), form,
        positive(tau_s, "tau_s", "seconds"), not_negative(time_s, "time_s", "seconds"),
    )  # fmt: skip
    tasks = (joblib.delayed(_block)(plan, root, k, min(BLOCK, total - k)) for k in range(0, total, BLOCK))
    options = {"inner_max_num_threads": 1} if count(jobs, "jobs", most=MOST_JOBS) > 1 else {}
    with joblib.parallel_config("loky", **options):
        found = joblib.Parallel(jobs, return_as="generator")(tasks)
        parts, made = [], 0
        for part in found:
            parts.append(part)
            made += len(part[0])
            if tell is not None:
                tell("simulating chips", made, total)
    error, margin, saturated = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ChipSimulation(error, margin, saturated, plan.form)


def _ideal(W: Floats, x: Floats, form: Form) -> Floats:
    """Return the outputs of the ideal circuit, (n, samples); errors are relative to them."""
    if form == "closed":
        margin_required(W)
    outputs = np.linalg.solve(W, x.T) if form == "closed" else W @ x.T
    if not outputs.any():
        raise InputError("X must hold inputs whose outputs are not all 0: errors are relative to the outputs.")
    return np.asarray(outputs)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Inputs of all blocks, in volts."""

    W: Floats
    x: Floats
    ideal: Floats
    devices: Devices
    amplifier: Amplifier
    form: Form
    tau_s: float
    time_s: float


def _block(plan: _Plan, seed: int, first: int, number: int) -> tuple[Floats, Floats, Floats]:
    """Make chips `first` … `first + number − 1`, and return error, margin and saturation of each."""
    with one_thread(len(plan.W)):
        networks = [_network(plan, np.random.SeedSequence(seed, spawn_key=(first + k,))) for k in range(number)]
        closed = plan.form == "closed"
        systems = [rest_system(network, closed) for network in networks]
        A, b, B = (np.stack(parts) for parts in zip(*systems, strict=True))
        margin = _margins(plan, networks, A) if closed else np.full(number, np.inf)
        x = plan.x if plan.devices.dac is None else plan.devices.dac(plan.x)
        # Unstable chips have no rest to look at; some of their matrices have no inverse either.
        A = np.where((margin > 0)[:, None, None], A, np.eye(len(plan.W)))
        o = np.linalg.solve(A, B @ x.T + b[:, :, None])
        saturated = (np.abs(o) > plan.amplifier.swing_v).any(axis=1).mean(axis=1)
        read = o if plan.devices.adc is None else plan.devices.adc(o)
        error = np.sqrt(((read - plan.ideal) ** 2).mean(axis=(1, 2)) / (plan.ideal**2).mean())
    return np.where(margin > 0, error, np.inf), margin, saturated


def _network(plan: _Plan, seed: np.random.SeedSequence) -> ResistorNetwork:
    for_devices, for_offsets, for_reading = np.random.default_rng(seed).spawn(3)
    pair = plan.devices.program(plan.W, for_devices).pair(plan.time_s, for_reading)
    plus, minus = wired(pair.plus, pair.minus, plan.devices.wire_resistance_ohm)
    offsets = plan.amplifier.offset_v * for_offsets.standard_normal((2, len(plan.W)))
    speed = plan.amplifier.rate * plan.tau_s
    P, N, rates = plus / pair.scale, minus / pair.scale, np.ones(len(plus))
    return ResistorNetwork(P, N, offsets[0], offsets[1], plan.amplifier, speed, rates)


def _margins(plan: _Plan, networks: list[ResistorNetwork], A: Floats) -> Floats:
    """Return min Re λ of each loop; amplifiers that follow at once leave the eigenvalues of A, slowed by 1 + 1/A₀."""
    if np.isinf(plan.amplifier.bandwidth_hz):
        return np.asarray(margin(A) / (1 + plan.amplifier.leak))
    loops = (closed_loop(network, plan.tau_s) for network in networks)
    return np.array([margin(loop.flow) for loop in loops])
