"""Weights, stimulus and time constant as the cards of a netlist have them, for comparison with the other files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr.errors import CheckpointError

__all__ = ["Netlist", "read_netlist"]

Floats = npt.NDArray[np.floating[Any]]

_NUMBER = r"(\S+)"
_FACT = re.compile(rf"^\* (tau_s|siemens_per_weight|volts_per_unit) = {_NUMBER}$", re.MULTILINE)
_EXPECTED = re.compile(rf"^\* xbar \S+ = {_NUMBER}$", re.MULTILINE)
_SYNAPSE = re.compile(rf"^(G|Rp|Rn)(\d+)_(\d+) .* {_NUMBER}$", re.MULTILINE)
_SOURCE = re.compile(rf"^(I|V)(\d+) (?:0 \S+|\S+ 0) (?:DC )?{_NUMBER}$", re.MULTILINE)
_CAPACITOR = re.compile(rf"^C(\d+) \S+ \S+ {_NUMBER} ", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Netlist:
    """What the cards say, in units of the circuit.

    Parameters
    ----------
    R : (n, n) array
        Weights: transconductances, or differences of conductances, over the conductance of weight 1.
    x : (n,) array
        Stimulus: currents or voltages over those of 1.
    tau_s : (n,) array
        Time constant of each unit, C/G₀, in seconds.
    expected : (n,) array
        x̄ that the comments announce.
    """

    R: Floats
    x: Floats
    tau_s: Floats
    expected: Floats

    def __repr__(self) -> str:
        return f"Netlist(n={len(self.R)})"


def read_netlist(text: str, n: int, place: str = "netlist") -> Netlist:
    """Read the cards of a netlist that `write_spice` wrote for a circuit with constant input.

    Parameters
    ----------
    text : str
        The netlist.
    n : int
        Units.
    place : str
        Its name, for messages.

    Raises
    ------
    CheckpointError
        If a card names a unit that is not there, or holds no number.
    """
    try:
        facts = {name: float(value) for name, value in _FACT.findall(text)}
        unit, volts = facts["siemens_per_weight"], facts["volts_per_unit"]
        R, x, tau = np.zeros((n, n)), np.zeros(n), np.zeros(n)
        for kind, i, j, value in _SYNAPSE.findall(text):
            R[int(i), int(j)] += _siemens(kind, float(value)) / unit
        for kind, i, value in _SOURCE.findall(text):
            x[int(i)] = float(value) / (volts * unit if kind == "I" else -volts)
        for i, value in _CAPACITOR.findall(text):
            tau[int(i)] = float(value) / unit
        return Netlist(R, x, tau, np.array([float(value) for value in _EXPECTED.findall(text)]))
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{place} must be a netlist of {n} units; {type(error).__name__}: {error}.") from None


def _siemens(kind: str, value: float) -> float:
    if kind == "G":
        return value
    return 1 / value if kind == "Rp" else -1 / value
