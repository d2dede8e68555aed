"""What is between the parts: the conductances that act once wires are counted, and voltages one for each node."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._checks import finite, real_array
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.devices import Devices, effective_conductances

__all__ = ["node_voltages", "parts", "wired"]

Floats = npt.NDArray[np.floating[Any]]


def parts(devices: Any, amplifier: Any) -> tuple[Devices, Amplifier]:
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
        raise ConfigError(f"amplifier must be an Amplifier, such as Amplifier(gain=1e4), or None; got {one!r}.")
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


def node_voltages(value: Any, name: str, n: int) -> Floats:
    """Return `value` as one voltage for each of n nodes, in volts; zeros for None.

    Raises
    ------
    InputError
        If it holds another number of voltages, or one that is not finite.
    """
    if value is None:
        return np.zeros(n)
    vector = finite(real_array(value, name), name).astype(np.float64)
    if vector.shape != (n,):
        raise InputError(f"{name} must hold one voltage per unit, ({n},); got shape {vector.shape}.")
    return vector
