"""Conductances that act between columns and rows once wires are counted."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from neurodecorr._typing import Floats
from neurodecorr._validation import choice, positive, shown, square
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.devices import Devices
from neurodecorr.hardware.devices.conductance_range import in_siemens
from neurodecorr.hardware.devices.wires import effective_conductances

Form = Literal["closed", "open"]
FORMS: tuple[Form, ...] = ("closed", "open")
# The square of a voltage enters energies and errors: up to this size it stays a normal number, in both directions.
MOST_VOLTS = 1e30


def checked_form(form: Any) -> Form:
    """Return `form` if it is "closed" or "open", or raise `ConfigError`."""
    choice(form, "form", FORMS)
    return form  # type: ignore[no-any-return]


def unit_volts(value: Any) -> float:
    """Return volts per unit if its square is a finite number, or raise `ConfigError`."""
    volts = positive(value, "volts_per_unit", "volts")
    if not 1 / MOST_VOLTS <= volts <= MOST_VOLTS:
        raise ConfigError(f"volts_per_unit must lie between {1 / MOST_VOLTS:g} and {MOST_VOLTS:g} V; got {volts:g}.")
    return volts


def wire_parts(devices: Any, amplifier: Any) -> tuple[Devices, Amplifier]:
    """Return devices and amplifier, ideal ones for None.

    Raises
    ------
    ConfigError
        If they are anything else.
    """
    made = Devices() if devices is None else devices
    if not isinstance(made, Devices):
        raise ConfigError(f"devices must be Devices, such as preset('pcm'), or None; got {type(made).__name__}.")
    one = Amplifier() if amplifier is None else amplifier
    if not isinstance(one, Amplifier):
        raise ConfigError(f"amplifier must be an Amplifier, such as Amplifier(gain=1e4), or None; got {shown(one)}.")
    return made, one


def wired(plus: Floats, minus: Floats, wire_resistance_ohm: float) -> tuple[Floats, Floats]:
    """Return the (n, n) conductances that act between columns and rows: wires included, a reference for every row.

    The current of a shared reference line comes to every row through a mirror, which loads it as own devices would.

    Parameters
    ----------
    plus : (n, n) array
        G⁺ in siemens.
    minus : (n, n) or (1, n) array
        G⁻ in siemens, or the reference line that all rows share.
    wire_resistance_ohm : float
        Resistance of the wire between neighbouring devices.

    Returns
    -------
    plus, minus : (n, n) array
        In siemens.
    """
    if wire_resistance_ohm > 0:
        if minus.shape == plus.shape:
            plus, minus = (effective_conductances(G, wire_resistance_ohm) for G in (plus, minus))
        else:
            lines = effective_conductances(np.concatenate([plus, minus]), wire_resistance_ohm)
            plus, minus = lines[:-1], lines[-1:]
    return plus, np.array(np.broadcast_to(minus, plus.shape))


def array_conductances(plus: Any, minus: Any, sides: str) -> tuple[Floats, Floats]:
    """Return G⁺ and G⁻ if a square array of devices can have them, in siemens.

    Raises
    ------
    InputError
        If they are no square matrices of one size, hold conductances below 0 or above 1 S, or, with one side, rows of
        G⁻ that differ.
    """
    plus, minus = square(plus, "plus"), square(minus, "minus")
    if plus.shape != minus.shape:
        raise InputError(f"plus and minus must have one shape; got {plus.shape} and {minus.shape}.")
    for name, G in (("plus", plus), ("minus", minus)):
        if (G < 0).any():
            raise InputError(
                f"{name} must hold conductances ≥ 0 S; got {G.min():g} S. Weights of both signs take a pair."
            )
        in_siemens(G.max(), name)
    if sides == "one" and (minus != minus[0]).any():
        row = int(np.argwhere((minus != minus[0]).any(axis=1))[0, 0])
        raise InputError(
            f"minus must have the same line in every row where sides is 'one'; row {row} differs from row 0."
        )
    return plus, minus
